"""Names of another project bound to replacements, in every module that imported them by that name, and back."""

import copyreg
import importlib
import inspect
import sys
from collections.abc import Callable, Collection, Mapping
from functools import partial, reduce
from types import MappingProxyType
from typing import Any

import torch

from genkern import _checks

_INHERITED = object()


class Patch:
    """Replaces objects, found by the module and the name that define them, wherever that name is bound to them.

    Instances of a replaced class are copied and pickled as before, although its name means another class meanwhile.

    Parameters
    ----------
    replacements : mapping
        From ``(module, name)`` to the object that takes the place of the one there.
    attributes : mapping
        From ``(module, name)``, ``(module, "Class.name")`` or ``(class, name)`` to what stands at this one place, and
        there alone.
    """

    def __init__(
        self,
        replacements: Mapping[tuple[str, str], Any],
        attributes: Mapping[tuple[Any, str], Any] = MappingProxyType({}),
    ) -> None:
        self._replacements = dict(replacements)
        self._attributes = dict(attributes)
        self._originals: dict[tuple[str, str], Any] = {}
        self._own: list[tuple[Any, str, Any]] = []

    @property
    def active(self) -> bool:
        return bool(self._originals)

    def apply(self) -> None:
        """Put the replacements in place; a patch in force stays as it is."""
        if self.active:
            return
        found = {place: getattr(importlib.import_module(place[0]), place[1]) for place in self._replacements}
        self._originals = found
        for place, original in found.items():
            _rebind(place[1], original, self._replacements[place])
            _replaced.setdefault(place, original)
            if isinstance(original, type):
                copyreg.pickle(original, partial(_reduce, place))
        for (module, path), value in self._attributes.items():
            *names, name = path.split(".")
            owner = reduce(getattr, names, importlib.import_module(module) if isinstance(module, str) else module)
            self._own.append((owner, name, vars(owner).get(name, _INHERITED)))
            setattr(owner, name, value)

    def undo(self) -> None:
        """Put the originals back, in modules that were imported meanwhile, too."""
        originals, self._originals = self._originals, {}
        for place, original in originals.items():
            _rebind(place[1], self._replacements[place], original)
            _replaced.pop(place, None)
            copyreg.dispatch_table.pop(original, None)
        while self._own:
            owner, name, value = self._own.pop()
            delattr(owner, name) if value is _INHERITED else setattr(owner, name, value)


class Applied:
    """A patch in force, which ends with the `with` block that it is given to, if there is one."""

    def __init__(self, patch: Patch) -> None:
        self._patch = None if patch.active else patch  # what was in force before stays in force
        patch.apply()

    def __enter__(self) -> None:
        if self._patch is not None:
            self._patch.apply()

    def __exit__(self, *exception: object) -> None:
        if self._patch is not None:
            self._patch.undo()


class Switch:
    """A project's drop-ins as they are, and as that project has them (`legacy`): one of the two in force, or none.

    Parameters
    ----------
    make : callable
        The patch of either; called when it is first asked for, since it may import the project.
    """

    def __init__(self, make: Callable[[bool], Patch]) -> None:
        self._make = make
        self._made: dict[bool, Patch] = {}

    def patch(self, *, legacy: bool = False) -> Applied:
        """Put the drop-ins of this module where the project has its own, in every module that imported them.

        Parameters
        ----------
        legacy : bool
            Whether reductions, weights and values are the project's own, see the notes of the drop-ins.

        Returns
        -------
        Applied
            A context manager: ``with patch(): ...`` ends with the block. Without ``with``, ``unpatch`` ends it. Where
            it is in force, it changes nothing, and an inner block leaves it in force.

        Raises
        ------
        ImportError
            The project is not installed.
        ValueError
            It is in force with the other `legacy`.

        See Also
        --------
        unpatch : ends it

        Examples
        --------
        diffusers' autoencoders, with the kernels in this block and without them behind it::

            from genkern.compat import diffusers as fused

            with fused.patch():
                posterior = AutoencoderKL(...).encode(images).latent_dist
        """
        other = self._made.get(not legacy)
        if other is not None and other.active:
            raise ValueError(f"legacy: expected {not legacy}, which is in force, got {legacy}; call unpatch() first")
        if legacy not in self._made:
            self._made[legacy] = self._make(legacy)
        return Applied(self._made[legacy])

    def unpatch(self) -> None:
        """Put the project's own back; nothing happens where ``patch`` is not in force.

        See Also
        --------
        patch : begins it

        Examples
        --------
        ::

            from genkern.compat import scvi as fused

            fused.patch()
            model.train()
            fused.unpatch()
        """
        for patch in self._made.values():
            patch.undo()


class ModelSwitch:
    """The drop-ins of a project that is scripts, whose modules have any name: a model leads to its classes.

    Parameters
    ----------
    find : callable
        The classes that tell the code of one model from that of another.
    make : callable
        The patch of that code; called with these classes when it is first asked for.
    """

    def __init__(self, find: Callable[[Any], tuple[type, ...]], make: Callable[..., Patch]) -> None:
        self._find = find
        self._make = make
        self._made: dict[tuple[type, ...], Patch] = {}

    def patch(self, model: torch.nn.Module) -> Applied:
        """Put the drop-ins of this module into the code that `model` is an instance of.

        All models of that code have them, those made later too. Parameters, buffers and their names stay as they are.

        Parameters
        ----------
        model : torch.nn.Module
            A model of the project, or a module that holds one.

        Returns
        -------
        Applied
            A context manager: ``with patch(model): ...`` ends with the block. Without ``with``, ``unpatch`` ends it.
            Where it is in force, it changes nothing, and an inner block leaves it in force.

        Raises
        ------
        TypeError, ValueError
            `model` is no module, or none of its parts is what the project publishes.

        See Also
        --------
        unpatch : ends it

        Examples
        --------
        A VDVAE of the project's own code, from here on with the kernels::

            from genkern.compat import vdvae as fused

            fused.patch(vae)
        """
        found = self._find(model)
        if found not in self._made:
            self._made[found] = self._make(*found)
        elif not self._made[found].active:
            self._made[found] = self._made.pop(found)  # the last to be applied
        return Applied(self._made[found])

    def unpatch(self) -> None:
        """Put the project's own back, for all models; nothing happens where ``patch`` is not in force.

        See Also
        --------
        patch : begins it

        Examples
        --------
        ::

            from genkern.compat import nvae as fused

            fused.patch(model)
            train(model)
            fused.unpatch()
        """
        for patch in reversed(self._made.values()):  # patches of one code's parts may share what they replace
            patch.undo()


def defining(model: Any, method: str, parameters: tuple[str, ...], names: Collection[str]) -> type:
    """The class of a part of `model` that defines a method of these parameters in a module that has these names."""
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model: expected a torch.nn.Module, got {_checks.type_name(model)}")
    for part in model.modules():
        for kind in reversed(type(part).__mro__):  # a method that a subclass has of its own stays
            function = vars(kind).get(method)
            if (
                inspect.isfunction(function)
                and tuple(inspect.signature(function).parameters) == ("self", *parameters)
                and all(hasattr(sys.modules.get(kind.__module__), name) for name in names)
            ):
                return kind
    raise ValueError(
        f"model: expected one with a part that defines {method}({', '.join(parameters)}) in a module that has "
        f"{', '.join(names)}, got {type(model).__name__}, which has none"
    )


def _rebind(name: str, old: Any, new: Any) -> None:
    for module in list(sys.modules.values()):
        own = getattr(module, "__name__", "").startswith("genkern.")
        if not own and getattr(module, "__dict__", {}).get(name) is old:
            setattr(module, name, new)


_replaced: dict[tuple[str, str], Any] = {}
"""The objects that patches in force have replaced."""


def original(module: str, name: str) -> Any:
    """The object that stands there without a patch."""
    found = getattr(importlib.import_module(module), name)
    return _replaced.get((module, name), found)


def _reduce(place: tuple[str, str], instance: Any) -> tuple[Any, ...]:
    """The result of ``object.__reduce_ex__`` but for the class: pickle refuses one that is not what its name means."""
    _, (_, *arguments), *state = instance.__reduce_ex__(2)
    return (_new, (*place, *arguments), *state)


def _new(module: str, name: str, *arguments: Any) -> Any:
    kind = original(module, name)
    return kind.__new__(kind, *arguments)
