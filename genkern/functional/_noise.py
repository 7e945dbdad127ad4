"""The noise that an operation takes, from `key=`, `generator=`, `eps=` or none of them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from genkern import _checks, _dtensor, random

Generators = torch.Generator | Sequence[torch.Generator]
Noise = tuple[Tensor | None, Tensor | None, torch.Generator | None]  # key, eps and generator, for an operation


def source(
    like: Tensor,
    key: Tensor | None,
    generator: Generators | None,
    eps: Tensor | None,
    shape: Sequence[int] = (),
    draw: Callable[..., Tensor] = random.normal,
) -> Noise:
    """`key`, `eps` and `generator` for an operation, which draws a key itself where the first two are None.

    `shape` is that of the noise, and `draw` makes it of a key; only a list of generators needs them.
    """
    if key is not None or eps is not None:
        if generator is not None or (key is not None and eps is not None):
            raise ValueError("key, generator, eps: expected at most one of the three")
        return key, eps, None
    if generator is None or isinstance(generator, torch.Generator):
        return None, None, generator
    return None, _noise_by_row(like, shape, generator, draw), None


def _noise_by_row(
    like: Tensor, shape: Sequence[int], generators: Sequence[torch.Generator], draw: Callable[..., Tensor]
) -> Tensor:
    """Row i is drawn from generator i alone, so that it does not depend on its neighbours."""
    dtype = _checks.compute_dtype(like)
    keys = keys_by_row(shape, generators)
    rows = [draw(key, tuple(shape[1:]), dtype=dtype, device=like.device) for key in keys]
    return torch.stack(rows) if rows else like.new_empty(tuple(shape), dtype=dtype)


def keys_by_row(shape: Sequence[int], generators: Sequence[torch.Generator]) -> list[Tensor]:
    """A key of each generator, for the rows of a sample of that shape."""
    if not isinstance(generators, list | tuple) or not all(isinstance(g, torch.Generator) for g in generators):
        raise TypeError(f"generator: expected a torch.Generator or a list of them, got {_checks.type_name(generators)}")
    if not shape or len(generators) != shape[0]:
        raise ValueError(f"generator: expected one per row of the sample {tuple(shape)}, got {len(generators)}")
    return [random.reserve(g, g.device) for g in generators]


def widest(*tensors: Tensor) -> Tensor:
    """The tensor whose type the noise has: the first in float64, or the first of all."""
    return next((t for t in tensors if t.dtype == torch.float64), tensors[0])


def written_out(
    noise: Noise, like: Tensor, shape: Sequence[int], element_offset: int, draw: Callable[..., Tensor] = random.normal
) -> Tensor:
    """The noise as a tensor of the type of arithmetic, for what is to be done with it before the operation."""
    key, eps, generator = noise
    element_offset = _checks.integer("element_offset", element_offset, minimum=0)
    dtype = _checks.compute_dtype(like)
    if eps is not None:
        _checks.tensor("eps", eps)
        return eps.to(dtype)
    key = random.reserve(generator, like.device) if key is None else key
    return draw(key, tuple(shape), dtype=dtype, element_offset=element_offset, device=like.device)


def tempered(
    noise: Noise, like: Tensor, shape: Sequence[int], temperature: Tensor | float, element_offset: int
) -> tuple[Noise, float, int]:
    """Noise, temperature and offset for an operation; a temperature that is learned becomes a part of the noise."""
    if not isinstance(temperature, Tensor):
        return noise, temperature, element_offset
    check_learned("temperature", temperature, like)
    eps = written_out(noise, like, shape, element_offset)
    return (None, eps * temperature.to(eps.dtype), None), 1.0, 0


def check_learned(name: str, value: Tensor, like: Tensor) -> None:
    """A number that is learned is a tensor without dimensions, on the CPU or where the sample is."""
    _checks.tensor(name, value)
    if value.dim():
        raise ValueError(f"{name}: expected a number or a Tensor of shape (), got {_checks.shape_text(value.shape)}")
    if value.device.type != "cpu":
        _checks.same_device(**{"the sample": like, name: value})
    if _dtensor.given((value, like)):
        raise TypeError(f"{name}: expected a number, as the sample is a DTensor, got {_checks.type_name(value)}")
