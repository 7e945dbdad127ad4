"""The hierarchical VAE: latents on many levels, inferred from the top down by one fused operation each."""

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from genkern import _checks, functional, random
from genkern.functional._scale import Clamp
from genkern.nn._condition import Condition, Conditioned
from genkern.nn._inputs import check_keys, floating_like, one_key, scale_options
from genkern.nn._modes import evaluating
from genkern.nn.likelihoods import Likelihood, make_likelihood
from genkern.nn.objectives import HierarchicalELBO

__all__ = ["HierarchicalTerms", "HierarchicalVAE", "Level"]

POSTERIORS = ("residual", "absolute")


class HierarchicalTerms(NamedTuple):
    """The evidence lower bound of each datum and its parts, in nats: elbo = reconstruction − kl.

    Attributes
    ----------
    elbo : Tensor
        ``[B]``, at most log p(x).
    reconstruction : Tensor
        ``[B]``, log p(x | z) of the z that were drawn.
    kl : Tensor
        ``[B]``, the sum of `kl_levels`.
    kl_levels : Tensor
        ``[B, L]``, the divergence of each level, the top first.

    See Also
    --------
    HierarchicalVAE.elbo : gives them
    ELBOTerms : those of a VAE with one level

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import HierarchicalVAE, LadderDecoder, LadderEncoder
    >>> levels = 1, 2  # at 4 and at 8 pixels a side
    >>> encoder = LadderEncoder((1, 8, 8), levels, width=8)
    >>> decoder = LadderDecoder((1, 8, 8), levels, width=8, latent_channels=4)
    >>> HierarchicalVAE(encoder, decoder).elbo(torch.rand(5, 1, 8, 8)).kl_levels.shape
    torch.Size([5, 3])
    """

    elbo: Tensor
    reconstruction: Tensor
    kl: Tensor
    kl_levels: Tensor


class Level(Protocol):
    """The methods of a level of a `HierarchicalVAE`; `h` ``[B, ...]`` is the state that goes from the top down.

    See Also
    --------
    LadderLevel : one that is ready
    HierarchicalVAE

    Examples
    --------
    >>> from genkern.nn import LadderDecoder
    >>> [level.latent_shape for level in LadderDecoder((1, 8, 8), (1, 1), width=8, latent_channels=4).levels]
    [(4, 4, 4), (4, 8, 8)]
    """

    group: int
    """The one of the encoder's features that this level sees; levels of a group follow one another."""
    latent_shape: tuple[int, ...]
    """Shape of the level's latent, without the batch."""

    def enter(self, h: Tensor) -> Tensor:
        """The state at the level's resolution: it may come from a coarser one."""
        ...

    def prior(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and raw scale of p(z | latents above), ``[B, *latent_shape]`` each, and the state that goes on."""
        ...

    def posterior(self, h: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and raw scale of q(z | latents above, x), or how they depart from the prior's, shaped as those."""
        ...

    def merge(self, h: Tensor, z: Tensor) -> Tensor:
        """The state with what z ``[B, *latent_shape]`` says."""
        ...


class HierarchicalVAE(Conditioned):
    """Variational autoencoder with a ladder of latents (Sønderby et al. 2016; Vahdat & Kautz 2020; Child 2021).

    p(x, z) = p(x | z) Π p(z_l | z_<l) and q(z | x) = Π q(z_l | z_<l, x), all Gaussians diagonal. One state goes from
    the top down, in sampling as in inference: each level gives the moments of its prior, infers those of its posterior
    from the state and what the encoder saw, draws its latent and merges it.

    Parameters
    ----------
    encoder : Module
        `x` ``[B, ...]`` → a sequence of features, one for each group of levels: `LadderEncoder`.
    decoder : Module
        With ``levels``, a ModuleList of `Level` from the top down, ``start(num)``, the state at the top of so
        many data, and ``finish(h)``, the likelihood's parameters: `LadderDecoder`. A wrapper goes about the
        whole model, not about a part whose methods are called.
    likelihood : str or Likelihood
        As `VAE`; a mixture of discretized logistics, for images of 8 bits, by default.
    objective : HierarchicalELBO, optional
        What `loss` minimises: the plain bound by default.
    posterior : {"residual", "absolute"}
        Whether the moments of a level's posterior are relative to the prior's, as NVAE has it
        (`genkern.gaussian_residual_rsample_kl`), or q's own, as VDVAE has it. Either is one pass forward and one
        backward.
    checkpoint : bool
        Whether a level's activations are computed again in the backward pass instead of kept: the noise is a function
        of its key, so the numbers are the same. Not under transforms of ``torch.func``.
    scale_param, scale_offset, clamp, clamp_mode
        The meaning of scales: see `genkern.functional`. Log standard deviations by default, as in both papers.

    Attributes
    ----------
    latent_shape : tuple of int
        ``(n,)``, the number n of latents of all levels.
    sizes, groups : tuple of int
        The number of latents and the group of each level, the top first.

    See Also
    --------
    LadderEncoder
    LadderDecoder
    HierarchicalELBO : what it minimises
    VAE : one level

    Notes
    -----
    Methods that draw take ``key=`` or ``generator=``, of which every level gets a key of its own, and
    ``element_offset=``: a data-parallel rank whose first datum is row r of the global batch passes r × n. They take
    ``condition=`` as `VAE` does, for an encoder that has such a parameter and a decoder whose ``start`` has one.
    `sample`, `reconstruct` and `log_marginal` compute in evaluation mode, as those of `VAE`.

    Examples
    --------
    >>> import torch, genkern as gk
    >>> from genkern.nn import DiscretizedLogisticMixtureLikelihood, HierarchicalVAE, LadderDecoder, LadderEncoder
    >>> likelihood, levels = DiscretizedLogisticMixtureLikelihood(3), (1, 2, 2)
    >>> channels = likelihood.param_channels(1)
    >>> encoder = LadderEncoder((1, 8, 8), levels, width=8)
    >>> decoder = LadderDecoder((1, 8, 8), levels, width=8, latent_channels=4, out_channels=channels)
    >>> vae = HierarchicalVAE(encoder, decoder, likelihood=likelihood)
    >>> x = torch.rand(5, 1, 8, 8)
    >>> vae.loss(x).backward()
    >>> vae.elbo(x, key=gk.random.key(0)).kl_levels.shape
    torch.Size([5, 5])
    >>> vae.sample(2, temperature=0.8).shape
    torch.Size([2, 1, 8, 8])
    """

    _ROLES = ("encoder", "decoder")
    _METHODS: ClassVar[dict[str, str]] = {"decoder": "start"}

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        *,
        likelihood: str | Likelihood = "discretized_logistic",
        objective: HierarchicalELBO | None = None,
        posterior: str = "residual",
        checkpoint: bool = False,
        scale_param: str = "logstd",
        scale_offset: float = 0.0,
        clamp: Clamp | None = None,
        clamp_mode: str = "hard",
    ) -> None:
        super().__init__()
        _checks.instance("encoder", encoder, nn.Module, "a Module")
        _checks.instance("decoder", decoder, nn.Module, "a Module")
        if objective is not None:
            _checks.instance("objective", objective, HierarchicalELBO, "a HierarchicalELBO or None")
        levels = getattr(decoder, "levels", None)
        if not isinstance(levels, nn.ModuleList) or len(levels) == 0:
            raise TypeError(
                "decoder: expected a Module with levels, a ModuleList of one or more, "
                f"got {'none' if levels is None else _checks.type_name(levels)}"
            )
        for part in ("start", "finish"):
            if not callable(getattr(decoder, part, None)):
                raise TypeError(f"decoder: expected a Module with start and finish, got no {part}")
        for level in levels:
            for part in ("group", "latent_shape", "enter", "prior", "posterior", "merge"):
                if not hasattr(level, part):
                    got = _checks.type_name(level)
                    raise TypeError(f"decoder: expected levels as Level describes them, got {got} without {part}")
        _checks.choice("posterior", posterior, POSTERIORS)
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = make_likelihood(likelihood)
        self.objective = HierarchicalELBO() if objective is None else objective
        self.posterior = posterior
        self.checkpoint = _checks.boolean("checkpoint", checkpoint)
        self.scale_options = scale_options(scale_param, scale_offset, clamp, clamp_mode)

    def forward(self, x: Tensor, **noise: Any) -> Tensor:
        """`loss`, so that wrappers that call a module (DistributedDataParallel) train it."""
        return self.loss(x, **noise)

    def extra_repr(self) -> str:
        options = {"posterior": self.posterior, "checkpoint": self.checkpoint, **self.scale_options}
        return ", ".join(f"{name}={value!r}" for name, value in options.items())

    @property
    def groups(self) -> tuple[int, ...]:
        return tuple(level.group for level in self._ladder)

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(math.prod(level.latent_shape) for level in self._ladder)

    @property
    def latent_shape(self) -> tuple[int]:
        return (sum(self.sizes),)

    @property
    def _ladder(self) -> Sequence[Any]:
        return self.decoder.levels  # type: ignore[return-value]

    def elbo(
        self,
        x: Tensor,
        *,
        condition: Condition = None,
        encoder_input: Tensor | None = None,
        key: Tensor | None = None,
        generator: torch.Generator | None = None,
        element_offset: int = 0,
    ) -> HierarchicalTerms:
        """The evidence lower bound of each datum and its parts, from one draw; whatever the objective's weights.

        `encoder_input` is what the encoder sees in place of `x`.
        """
        h, features = self._begin(x, condition, encoder_input)
        keys, row = self._keys(x.device, key, generator), self._row(element_offset)
        divergences = []
        for level, level_key, offset in self._levels(keys, row):
            h, kl = self._inferred(level, h, features[level.group], level_key, offset)
            divergences.append(kl)
        kl_levels = torch.stack(divergences, dim=1)
        reconstruction, kl = self.likelihood.log_prob(x, self.decoder.finish(h)), kl_levels.sum(dim=1)  # type: ignore[operator]
        return HierarchicalTerms(reconstruction - kl, reconstruction, kl, kl_levels)

    def loss(self, x: Tensor, **options: Any) -> Tensor:
        """The objective's scalar for one batch, in nats, to be minimised; `options` are those of `elbo`."""
        terms = self.elbo(x, **options)
        return self.objective(terms.reconstruction, terms.kl_levels, self.groups, self.sizes)

    @torch.no_grad()
    def sample(
        self,
        num: int,
        *,
        condition: Condition = None,
        x: Tensor | None = None,
        from_level: int = 0,
        key: Tensor | None = None,
        generator: torch.Generator | None = None,
        element_offset: int = 0,
        temperature: float | Sequence[float] = 1.0,
        observation_noise: bool = False,
    ) -> Tensor:
        """`num` new data ``[num, ...]``: latents from their priors, then E[x | z]; no graph is kept.

        `temperature` multiplies the priors' standard deviations, of all levels or of each. With `x` ``[num, ...]`` the
        levels above `from_level` are draws of q(z | x), and the prior has the rest: what the levels above say of an
        image. `observation_noise` draws x from p(x | z) instead of its mean.
        """
        num = _checks.integer("num", num, minimum=0)
        count = len(self._ladder)
        temperatures = self._temperatures(temperature)
        from_level = _checks.integer("from_level", from_level, minimum=0)
        observation_noise = _checks.boolean("observation_noise", observation_noise)
        if from_level > count:
            raise ValueError(f"from_level: expected 0 to {count}, the number of levels, got {from_level}")
        if from_level and x is None:
            raise ValueError(f"x: expected data, whose posterior has the {from_level} levels above, got None")
        if x is not None:
            _checks.tensor("x", x)
            if x.ndim == 0 or x.shape[0] != num:
                raise ValueError(f"x: expected num = {num} data, got shape {_checks.shape_text(x.shape)}")
        self._told.check(condition, num)
        row = self._row(element_offset)
        keys = self._keys(floating_like(self.decoder).device, key, generator)
        with evaluating(self):
            features = None if x is None or not from_level else self._features(x, condition)
            h = self._start(num, condition)
            for index, (level, level_key, offset) in enumerate(self._levels(keys, row)):
                if features is not None and index < from_level:
                    h, _ = self._inferred(level, h, features[level.group], level_key, offset)
                    continue
                loc, scale, h = level.prior(level.enter(h))
                noise: dict[str, Any] = {"key": level_key, "element_offset": offset}
                noise |= {"temperature": temperatures[index], **self.scale_options}
                h = level.merge(h, functional.gaussian_rsample(loc, scale, **noise))
            params = self.decoder.finish(h)  # type: ignore[operator]
        mean = self.likelihood.mean(params)
        if not observation_noise:
            return mean
        return self.likelihood.sample(params, key=keys[-1], element_offset=row * math.prod(mean.shape[1:]))

    @torch.no_grad()
    def reconstruct(self, x: Tensor, *, condition: Condition = None) -> Tensor:
        """E[x | z] where each level's z is the mean of its q, given the means above; no graph is kept."""
        with evaluating(self):
            h, features = self._begin(x, condition)
            for level in self._ladder:
                h = level.enter(h)
                loc, _ = level.posterior(h, features[level.group])
                prior_loc, _, h = level.prior(h)
                h = level.merge(h, prior_loc + loc if self.posterior == "residual" else loc)
            return self.likelihood.mean(self.decoder.finish(h))  # type: ignore[operator]

    @torch.no_grad()
    def log_marginal(
        self,
        x: Tensor,
        num_samples: int = 100,
        *,
        condition: Condition = None,
        chunk_size: int = 10,
        key: Tensor | None = None,
        generator: torch.Generator | None = None,
        element_offset: int = 0,
    ) -> Tensor:
        """Importance-weighted estimate of log p(x), ``[B]`` in nats: as `VAE.log_marginal`.

        The encoder runs once, the ladder once a sample; `chunk_size` weights of each datum are held at a time.
        """
        num_samples = _checks.integer("num_samples", num_samples, minimum=1)
        chunk_size = _checks.integer("chunk_size", chunk_size, minimum=1)
        row = self._row(element_offset)
        with evaluating(self):
            begun = self._begin(x, condition)
            keys = random.split(one_key(x.device, key=key, generator=generator), num_samples)
            total = functional.LogMeanExp()
            for chunk in keys.split(chunk_size):
                total.update(self._weights(x, chunk, *begun, row))
        return total.compute()

    def log_weights(
        self,
        x: Tensor,
        keys: Tensor,
        *,
        condition: Condition = None,
        encoder_input: Tensor | None = None,
        element_offset: int = 0,
    ) -> Tensor:
        """log p(x, z) − log q(z | x) of one z a key and datum, ``[K, B]`` in nats, with gradients.

        `keys` is ``[K, 2]``, as `genkern.random.split` makes them.
        """
        check_keys(keys)
        begun = self._begin(x, condition, encoder_input)
        return self._weights(x, keys, *begun, self._row(element_offset))

    def _weights(self, x: Tensor, keys: Tensor, start: Tensor, features: Sequence[Tensor], row: int) -> Tensor:
        weights = []
        for key in keys:
            h, total = start, torch.zeros((), device=x.device)
            for level, level_key, offset in self._levels(self._keys(x.device, key), row):
                h, log_ratio = self._inferred(level, h, features[level.group], level_key, offset, weighted=True)
                total = total + log_ratio
            log_likelihood = self.likelihood.log_prob(x, self.decoder.finish(h), frozen=True)  # type: ignore[operator]
            weights.append(log_likelihood + total)
        return torch.stack(weights)

    def _begin(
        self, x: Tensor, condition: Condition, encoder_input: Tensor | None = None
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """The state at the top, and the encoder's features."""
        _checks.counts("x", x)
        if x.ndim == 0:
            raise ValueError("x: expected shape (B, ...), got ()")
        self._told.check(condition, x.shape[0])
        if encoder_input is not None:
            _checks.tensor("encoder_input", encoder_input)
        features = self._features(x if encoder_input is None else encoder_input, condition)
        return self._start(x.shape[0], condition), features

    def _features(self, seen: Tensor, condition: Condition) -> Sequence[Tensor]:
        features = self.encoder(seen, **self._told.options("encoder", condition))
        expected = max(self.groups) + 1
        if isinstance(features, Tensor) or len(features) < expected:
            got = "a Tensor" if isinstance(features, Tensor) else len(features)
            raise ValueError(f"encoder: expected features of {expected} groups, got {got}")
        return features

    def _keys(self, device: torch.device, key: Tensor | None, generator: torch.Generator | None = None) -> Tensor:
        """A key for each level, and one more."""
        return random.split(one_key(device, key=key, generator=generator), len(self._ladder) + 1)

    def _start(self, num: int, condition: Condition) -> Tensor:
        return self.decoder.start(num, **self._told.options("decoder", condition))  # type: ignore[operator]

    def _levels(self, keys: Tensor, row: int) -> Iterable[tuple[Any, Tensor, int]]:
        """The levels, each with its key and the place in its noise of the first datum here."""
        offsets = [row * size for size in self.sizes]
        return zip(self._ladder, keys[: len(offsets)], offsets, strict=True)

    def _inferred(
        self, level: Any, h: Tensor, features: Tensor, key: Tensor, offset: int, weighted: bool = False
    ) -> tuple[Tensor, Tensor]:
        """The state below the level, with a draw of q; the level's KL, or log p − log q of the draw, ``[B]``."""
        step = partial(self._through, level, weighted=weighted)
        if self.checkpoint and torch.is_grad_enabled():
            held = [] if torch.compiler.is_compiling() else [id(p) for p in level.parameters()]
            again = partial(_with_the_same, level, held, step)
            return checkpoint(again, h, features, key, offset, use_reentrant=False)
        return step(h, features, key, offset)

    def _through(
        self, level: Any, h: Tensor, features: Tensor, key: Tensor, offset: int, *, weighted: bool
    ) -> tuple[Tensor, Tensor]:
        h = level.enter(h)
        q = level.posterior(h, features)
        prior_loc, prior_scale, h = level.prior(h)
        options: dict[str, Any] = {"key": key, "element_offset": offset, **self.scale_options}
        if self.posterior == "residual":
            z, kl, log_q, log_p = functional.gaussian_residual_rsample_kl(prior_loc, prior_scale, *q, **options)
            figure = log_p - log_q if weighted else kl
        elif weighted:
            z = functional.gaussian_rsample(*q, **options)
            p = prior_loc, prior_scale
            log_q, log_p = (functional.gaussian_log_prob(z, *of, **self.scale_options) for of in (q, p))
            figure = log_p - log_q
        else:
            loc, scale = q
            z, figure = functional.gaussian_rsample_kl(loc, scale, prior_loc, prior_scale, **options)
        return level.merge(h, z), figure

    def _row(self, element_offset: int) -> int:
        """The row of the global batch that is first here."""
        element_offset = _checks.integer("element_offset", element_offset, minimum=0)
        (size,) = self.latent_shape
        if element_offset % max(size, 1):
            raise ValueError(
                f"element_offset: expected a multiple of {size}, the latents of a datum, got {element_offset}"
            )
        return element_offset // max(size, 1)

    def _temperatures(self, temperature: float | Sequence[float]) -> list[float]:
        count = len(self._ladder)
        if not isinstance(temperature, Sequence):
            return [_checks.number("temperature", temperature, minimum=0)] * count
        if len(temperature) != count:
            raise ValueError(f"temperature: expected one number or {count}, one a level, got {len(temperature)}")
        return [_checks.number("temperature", value, minimum=0) for value in temperature]


def _with_the_same(level: Any, held: list[int], step: Any, *values: Any) -> Any:
    """The step, if the level still has the parameters that it had: torch.func.functional_call takes its own away."""
    if held and held != [id(p) for p in level.parameters()]:
        raise RuntimeError(
            "checkpoint: expected the parameters of the forward pass in the backward pass, got others; "
            "torch.func.functional_call needs checkpoint=False"
        )
    return step(*values)
