"""Training a `genkern.nn.GAN`: the steps of two optimisers, in turn, on one process or several."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from genkern import _checks, random
from genkern.nn._condition import Condition
from genkern.nn._inputs import one_key
from genkern.nn.gan import GAN, Augment, GANTerms

__all__ = ["AdversarialSteps", "AdversarialTerms", "lazy_adam"]


class AdversarialTerms(NamedTuple):
    """The figures of one batch: the discriminator's terms, and the generator's loss, None where it took no step.

    Attributes
    ----------
    discriminator : GANTerms
        Its loss is without a graph.
    generator : Tensor or None
        0-dim, without a graph.

    See Also
    --------
    AdversarialSteps : gives them
    GANTerms : the discriminator's

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import AdversarialTerms, GANTerms
    >>> zero = torch.tensor(0.0)
    >>> AdversarialTerms(GANTerms(zero, zero, zero, zero), None).generator is None  # a step of the discriminator alone
    True
    """

    discriminator: GANTerms
    generator: Tensor | None


class AdversarialSteps:
    """One discriminator step a batch, and every `n_critic`-th time a generator step and an update of the average.

    Parameters
    ----------
    gan : GAN
        Or a wrapper of one that is called as it is, such as DistributedDataParallel.
    generator_optimizer, discriminator_optimizer : Optimizer
        Optimisers of ``gan.generator`` (and ``gan.encoder``, for a `VAEGAN`) and of ``gan.discriminator``.
    n_critic : int
        Discriminator steps to one of the generator: 5 for the Wasserstein GANs of Arjovsky et al. 2017 and Gulrajani et
        al. 2017.
    reduce_gradients : callable, optional
        Called with the list of an optimiser's parameters between backward and step; several processes pass
        `average_gradients`.
    scaler : torch.amp.GradScaler, optional
        Scales both losses, as float16 needs it under autocast. Gradients are scaled back before `reduce_gradients`;
        where they are not finite behind it, the optimiser takes no step. The scale is updated once a batch.

    See Also
    --------
    GAN : the model that is trained
    average_gradients : for ``reduce_gradients=``
    AdversarialTerms : the result

    Notes
    -----
    Call it with a batch, and ``condition=``, ``key=``, ``generator=``, ``element_offset=``, ``augment=`` as the steps
    of `GAN`; the two steps have keys of their own. The result is an `AdversarialTerms`. With the
    ``state_dict`` of this and of the GAN, a run goes on as if it had not been stopped.

    Examples
    --------
    >>> import torch, genkern as gk
    >>> from genkern.nn import AdversarialSteps, ConvDiscriminator, ConvGenerator, GAN
    >>> gan = GAN(ConvGenerator((1, 8, 8), 4, width=8), ConvDiscriminator((1, 8, 8), width=8), loss="hinge")
    >>> adam = lambda module: torch.optim.Adam(module.parameters(), lr=1e-3, betas=(0.0, 0.99))
    >>> step = AdversarialSteps(gan, adam(gan.generator), adam(gan.discriminator), n_critic=2)
    >>> [step(torch.rand(5, 1, 8, 8), key=gk.random.key(i)).generator is None for i in range(4)]
    [True, False, True, False]
    """

    def __init__(
        self,
        gan: nn.Module,
        generator_optimizer: Optimizer,
        discriminator_optimizer: Optimizer,
        *,
        n_critic: int = 1,
        reduce_gradients: Callable[[list[Tensor]], object] | None = None,
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        self.gan = gan
        _checks.instance("gan", self._inner(), GAN, "a GAN")
        _checks.instance("generator_optimizer", generator_optimizer, Optimizer, "an Optimizer")
        _checks.instance("discriminator_optimizer", discriminator_optimizer, Optimizer, "an Optimizer")
        n_critic = _checks.positive("n_critic", n_critic)
        if reduce_gradients is not None and not callable(reduce_gradients):
            raise TypeError(f"reduce_gradients: expected a function or None, got {_checks.type_name(reduce_gradients)}")
        if scaler is not None:
            _checks.instance("scaler", scaler, torch.amp.GradScaler, "a GradScaler or None")
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.n_critic = n_critic
        self.reduce_gradients = reduce_gradients
        self.scaler = torch.amp.GradScaler("cpu", enabled=False) if scaler is None else scaler
        self.steps = 0

    def __call__(
        self,
        real: Tensor,
        *,
        condition: Condition = None,
        key: Tensor | None = None,
        generator: torch.Generator | None = None,
        element_offset: int = 0,
        augment: Augment | None = None,
    ) -> AdversarialTerms:
        _checks.tensor("real", real)
        keys = random.split(one_key(real.device, key=key, generator=generator))
        options = {"condition": condition, "element_offset": element_offset, "augment": augment}
        terms = self.gan(real, step="discriminator", key=keys[0], **options)
        self._minimize(terms.loss, self.discriminator_optimizer)
        terms = terms._replace(loss=terms.loss.detach())
        self.steps += 1
        loss = None
        if self.steps % self.n_critic == 0:
            loss = self.gan(real, step="generator", key=keys[1], **options)
            self._minimize(loss, self.generator_optimizer)
            self._inner().update_average()
            loss = loss.detach()
        self.scaler.update()
        return AdversarialTerms(terms, loss)

    def state_dict(self) -> dict[str, Any]:
        """The states of both optimisers and the scaler, and the count of steps; the GAN has its own."""
        return {"steps": self.steps, **{name: part.state_dict() for name, part in self._parts().items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        _checks.instance("state_dict", state_dict, dict, "a dict")
        expected = ("steps", *self._parts())
        if set(state_dict) != set(expected):
            raise ValueError(f"state_dict: expected {', '.join(expected)}, got {', '.join(map(str, state_dict))}")
        self.steps = state_dict["steps"]
        for name, part in self._parts().items():
            part.load_state_dict(state_dict[name])

    def _parts(self) -> dict[str, Any]:
        """The parts that have a state of their own."""
        parts = {
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }
        return {**parts, "scaler": self.scaler} if self.scaler.is_enabled() else parts

    def _inner(self) -> Any:
        """The GAN, within torch.compile's wrapper and DistributedDataParallel's."""
        inner: Any = self.gan
        for wrapper in ("_orig_mod", "module", "_orig_mod"):
            inner = getattr(inner, wrapper, inner)
        return inner

    def _minimize(self, loss: Tensor, optimizer: Optimizer) -> None:
        optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(optimizer)
        if self.reduce_gradients is not None:
            self.reduce_gradients([p for group in optimizer.param_groups for p in group["params"]])
            if self.scaler.is_enabled():
                # What another process found in its own gradients is in the reduced ones: all step, or none does.
                self.scaler._check_inf_per_device(optimizer)
        self.scaler.step(optimizer)


def lazy_adam(lr: float, betas: tuple[float, float], interval: int) -> dict[str, Any]:
    """Adam's options for a loop in which a penalty is an optimiser step of its own, after every `interval`-th other.

    Parameters
    ----------
    lr : float
        The rate without the penalty's steps.
    betas : (float, float)
        The decays without them.
    interval : int
        k.

    Returns
    -------
    dict
        ``lr`` times c, ``betas`` to the power of c, with c = k / (k + 1): k + 1 steps then go as far as k.

    See Also
    --------
    GAN : its ``penalty_interval`` needs no such correction

    Notes
    -----
    Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN", appendix B. `GAN` adds the
    penalty to the loss of the step on which it is due; there are no further steps to correct for.

    Examples
    --------
    >>> from genkern.nn import lazy_adam
    >>> lazy_adam(0.002, (0.0, 0.99), 16)["betas"]
    (0.0, 0.9905...)
    """
    lr = _checks.number("lr", lr, minimum=0)
    _checks.instance("betas", betas, tuple | list, "two numbers")  # type: ignore[arg-type]
    if len(betas) != 2:
        raise ValueError(f"betas: expected two numbers, got {len(betas)}")
    betas = (_checks.fraction("betas", betas[0]), _checks.fraction("betas", betas[1]))
    interval = _checks.positive("interval", interval)
    c = interval / (interval + 1)
    return {"lr": c * lr, "betas": (betas[0] ** c, betas[1] ** c)}
