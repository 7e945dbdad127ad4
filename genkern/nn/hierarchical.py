"""The hierarchical VAE: latents on many levels, inferred from the top down by one fused operation each."""

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from genkern import _checks, functional, random
from genkern.functional import _ordered
from genkern.functional._scale import Clamp
from genkern.nn._buffers import update_buffers
from genkern.nn._condition import Condition, Told
from genkern.nn._inputs import floating_like, one_key, scale_options
from genkern.nn._modes import evaluating
from genkern.nn.likelihoods import Likelihood, make_likelihood
from genkern.nn.objectives.objective import check_parts

__all__ = ["HierarchicalELBO", "HierarchicalTerms", "HierarchicalVAE", "Level", "clip_or_skip"]

POSTERIORS = ("residual", "absolute")
FREE_BITS_OVER = ("level", "group")
_LEAST = 1e-3  # nats, of a level whose share of a balanced KL is asked for


class HierarchicalTerms(NamedTuple):
    """The evidence lower bound of each datum and its parts, in nats: elbo = reconstruction − kl, ``[B]`` each.

    ``kl_levels`` ``[B, L]`` are the divergences of the levels, the top first, whose sum `kl` is.
    """

    elbo: Tensor
    reconstruction: Tensor
    kl: Tensor
    kl_levels: Tensor


class Level(Protocol):
    """The methods that :class:`HierarchicalVAE` calls of a level; `h` is the state that goes from the top down."""

    group: int
    """The one of the encoder's features that this level sees; levels of a group follow one another."""
    latent_shape: tuple[int, ...]
    """Shape of the level's latent, without the batch."""

    def enter(self, h: Tensor) -> Tensor:
        """The state at the level's resolution."""
        ...

    def prior(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and raw scale of p(z | latents above), ``[B, *latent_shape]`` each, and the state that goes on."""
        ...

    def posterior(self, h: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and raw scale of q(z | latents above, x), or how it departs from the prior."""
        ...

    def merge(self, h: Tensor, z: Tensor) -> Tensor:
        """The state with what z says."""
        ...


class HierarchicalELBO(nn.Module):
    """The negative evidence lower bound of a hierarchy, averaged over the batch, with its KL weighted as asked.

    Parameters
    ----------
    beta : float
        Weight of the KL. 1 is the bound itself.
    warmup : int
        Steps over which that weight grows linearly from 0 (Sønderby et al. 2016). 0: none.
    free_bits : float
        KL below this many nats is not penalised: max(KL, free_bits) of a level's or a group's mean over the batch
        (Kingma et al. 2016, appendix C.8).
    free_bits_over : {"level", "group"}
        The values that the threshold applies to; a group is the levels of one resolution.
    balance : bool
        While the warm-up lasts, levels are weighted in proportion to their KL and their number of latents, weights
        that add up to the number of levels and have no gradient: a level that is little used is hardly penalised
        (Vahdat & Kautz 2020, appendix A).

    Attributes
    ----------
    step : Tensor
        Calls in training mode so far, int64; kept in the ``state_dict``, so a resumed run goes on where it stopped.

    Notes
    -----
    ``forward(reconstruction, kl_levels, groups=None, sizes=None)``: ``[B]`` and ``[B, L]`` in nats, and a group and a
    number of latents a level, → a scalar of their dtype to be minimised.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import HierarchicalELBO
    >>> HierarchicalELBO(free_bits=1.0)(torch.tensor([-3.0, -5.0]), torch.tensor([[0.0, 4.0], [1.0, 2.0]])).item()
    8.0
    """

    step: Tensor

    def __init__(
        self,
        beta: float = 1.0,
        *,
        warmup: int = 0,
        free_bits: float = 0.0,
        free_bits_over: str = "level",
        balance: bool = False,
    ) -> None:
        super().__init__()
        self.beta = _checks.number("beta", beta, minimum=0)
        self.warmup = _checks.integer("warmup", warmup, minimum=0)
        self.free_bits = _checks.number("free_bits", free_bits, minimum=0)
        _checks.choice("free_bits_over", free_bits_over, FREE_BITS_OVER)
        self.free_bits_over = free_bits_over
        self.balance = _checks.boolean("balance", balance)
        if self.balance and not self.warmup:
            raise ValueError("balance: expected False without a warmup, while which it lasts, got True")
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(
        self,
        reconstruction: Tensor,
        kl_levels: Tensor,
        groups: Sequence[int] | None = None,
        sizes: Sequence[int] | None = None,
    ) -> Tensor:
        _checks.tensors(reconstruction=reconstruction, kl_levels=kl_levels)
        if kl_levels.ndim != 2 or kl_levels.shape[1] == 0:
            raise ValueError(f"kl_levels: expected shape (B, L), got {_checks.shape_text(kl_levels.shape)}")
        check_parts(reconstruction=reconstruction, kl_levels=kl_levels[:, 0])
        count = kl_levels.shape[1]
        groups = self._of_levels("groups", groups, count, self.free_bits and self.free_bits_over == "group")
        sizes = self._of_levels("sizes", sizes, count, self.balance)
        kl = torch.stack([_ordered.mean(level) for level in kl_levels.unbind(1)])
        if self.free_bits and self.free_bits_over == "group":
            places = torch.tensor(groups, device=kl.device)
            kl = torch.stack([kl[places == group].sum() for group in dict.fromkeys(groups)])
        elif self.balance:
            kl = kl * self._shares(kl.detach(), kl.new_tensor(sizes))
        if self.free_bits:
            kl = kl.clamp(min=self.free_bits)
        weight = self.beta if self.warmup == 0 else self.beta * self._progress()
        if self.training:
            update_buffers(self, ("step",), lambda step: (step + 1,))
        return weight * kl.sum() - _ordered.mean(reconstruction)

    def extra_repr(self) -> str:
        return (
            f"beta={self.beta}, warmup={self.warmup}, free_bits={self.free_bits} over {self.free_bits_over}, "
            f"balance={self.balance}"
        )

    def _progress(self) -> Tensor:
        return (self.step / self.warmup).clamp(max=1.0)

    def _shares(self, kl: Tensor, sizes: Tensor) -> Tensor:
        wanted = sizes * (kl + _LEAST)
        shares = wanted * (len(kl) / wanted.sum())
        return torch.where(self._progress() < 1, shares, torch.ones_like(shares))

    @staticmethod
    def _of_levels(name: str, given: Sequence[int] | None, count: int, needed: object) -> Sequence[int]:
        if given is None and not needed:
            return [0] * count
        if given is None or len(given) != count:
            got = None if given is None else len(given)
            raise ValueError(f"{name}: expected one of each of {count} levels, got {got}")
        return given


class HierarchicalVAE(nn.Module):
    """Variational autoencoder with a ladder of latents (Sønderby et al. 2016; Vahdat & Kautz 2020; Child 2021).

    p(x, z) = p(x | z) Π p(z_l | z_<l) and q(z | x) = Π q(z_l | z_<l, x), all Gaussians diagonal. One state goes from
    the top down, in sampling as in inference: each level gives the moments of its prior, infers those of its posterior
    from the state and what the encoder saw, draws its latent and merges it.

    Parameters
    ----------
    encoder : Module
        `x` ``[B, ...]`` → a sequence of features, one for each group of levels: :class:`LadderEncoder`.
    decoder : Module
        With ``levels``, a ModuleList of :class:`Level` from the top down, ``start(num)``, the state at the top of so
        many data, and ``finish(h)``, the likelihood's parameters: :class:`LadderDecoder`.
    likelihood : str or Likelihood
        As :class:`VAE`; a mixture of discretized logistics, for images of 8 bits, by default.
    objective : HierarchicalELBO, optional
        What `loss` minimises: the plain bound by default.
    posterior : {"residual", "absolute"}
        Whether the moments of a level's posterior are relative to the prior's, as NVAE has it
        (:func:`genkern.gaussian_residual_rsample_kl`), or q's own, as VDVAE has it. Either is one pass forward and one
        backward.
    checkpoint : bool
        Whether a level's activations are computed again in the backward pass instead of kept: the noise is a function
        of its key, so the numbers are the same.
    scale_param, scale_offset, clamp, clamp_mode
        The meaning of scales: see :mod:`genkern.functional`. Log standard deviations by default, as in both papers.

    Attributes
    ----------
    latent_shape : tuple of int
        ``(n,)``, the number n of latents of all levels.

    Notes
    -----
    Methods that draw take ``key=`` or ``generator=``, of which every level gets a key of its own, and
    ``element_offset=``: a data-parallel rank whose first datum is row r of the global batch passes r × n. They take
    ``condition=`` as :class:`VAE` has it, for an encoder that has such a parameter and for ``start(num, condition)`` of
    a decoder whose attribute ``conditional`` is true. `sample`, `reconstruct` and `log_marginal` compute in evaluation
    mode, as those of :class:`VAE`.

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
        _checks.choice("posterior", posterior, POSTERIORS)
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = make_likelihood(likelihood)
        self.objective = HierarchicalELBO() if objective is None else objective
        self.posterior = posterior
        self.checkpoint = _checks.boolean("checkpoint", checkpoint)
        self.scale_options = scale_options(scale_param, scale_offset, clamp, clamp_mode)
        ladder: list[Any] = list(levels)  # of Level
        self.groups: tuple[int, ...] = tuple(level.group for level in ladder)
        self.sizes: tuple[int, ...] = tuple(math.prod(level.latent_shape) for level in ladder)
        self.latent_shape = (sum(self.sizes),)
        self._told = Told(encoder=encoder, decoder=decoder)

    def forward(self, x: Tensor, **noise: Any) -> Tensor:
        """`loss`, so that wrappers that call a module (DistributedDataParallel) train it."""
        return self.loss(x, **noise)

    def extra_repr(self) -> str:
        options = {"posterior": self.posterior, "checkpoint": self.checkpoint, **self.scale_options}
        return ", ".join(f"{name}={value!r}" for name, value in options.items())

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
        h, features, keys = self._begin(x, condition, encoder_input, key, generator)
        row = self._row(element_offset)
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
        count = len(self.sizes)
        temperatures = self._temperatures(temperature)
        from_level = _checks.integer("from_level", from_level, minimum=0)
        observation_noise = _checks.boolean("observation_noise", observation_noise)
        if from_level > count:
            raise ValueError(f"from_level: expected 0 to {count}, the number of levels, got {from_level}")
        if from_level and x is None:
            raise ValueError(f"x: expected data, whose posterior has the {from_level} levels above, got None")
        if x is not None and len(x) != num:
            raise ValueError(f"x: expected num = {num} data, got {len(x)}")
        self._told.check(condition, num)
        row, like = self._row(element_offset), floating_like(self.decoder)
        keys = random.split(one_key(like.device, key=key, generator=generator), count + 1)
        with evaluating(self):
            features = None
            if from_level and x is not None:
                features = self.encoder(x, **self._told.options("encoder", condition))
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
    def reconstruct(self, x: Tensor, *, condition: Condition = None, key: Tensor | None = None) -> Tensor:
        """E[x | z] of a draw of q(z | x), by default that of key 0, in the shape of `x`; no graph is kept.

        Of levels below the top there is no one mean: each is Gaussian given those above.
        """
        _checks.tensor("x", x)
        key = random.key(0, device=x.device) if key is None else key
        return self.sample(len(x), condition=condition, x=x, from_level=len(self.sizes), key=key)

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
        """Importance-weighted estimate of log p(x), ``[B]`` in nats: as :meth:`VAE.log_marginal`.

        The encoder runs once, the ladder once a sample; `chunk_size` weights of each datum are held at a time.
        """
        num_samples = _checks.integer("num_samples", num_samples, minimum=1)
        chunk_size = _checks.integer("chunk_size", chunk_size, minimum=1)
        with evaluating(self):
            keys = random.split(one_key(x.device, key=key, generator=generator), num_samples)
            total = functional.LogMeanExp()
            for chunk in keys.split(chunk_size):
                total.update(self.log_weights(x, chunk, condition=condition, element_offset=element_offset))
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

        `keys` is ``[K, 2]``, as :func:`genkern.random.split` makes them.
        """
        _checks.instance("keys", keys, Tensor, "a uint64 Tensor of shape (K, 2)")
        if keys.dtype != torch.uint64 or keys.dim() != 2 or keys.shape[1] != 2 or len(keys) == 0:
            raise ValueError(f"keys: expected uint64 of shape (K, 2), got {keys.dtype} of {tuple(keys.shape)}")
        row = self._row(element_offset)
        start, features, _ = self._begin(x, condition, encoder_input, keys[0], None)
        weights = []
        for key in keys:
            h, total = start, torch.zeros((), device=x.device)
            for level, level_key, offset in self._levels(random.split(key, len(self.sizes) + 1), row):
                h, log_ratio = self._inferred(level, h, features[level.group], level_key, offset, weighted=True)
                total = total + log_ratio
            log_likelihood = self.likelihood.log_prob(x, self.decoder.finish(h), frozen=True)  # type: ignore[operator]
            weights.append(log_likelihood + total)
        return torch.stack(weights)

    def _begin(
        self,
        x: Tensor,
        condition: Condition,
        encoder_input: Tensor | None,
        key: Tensor | None,
        generator: torch.Generator | None,
    ) -> tuple[Tensor, Sequence[Tensor], Tensor]:
        """The state at the top, the encoder's features, and a key a level, and one more."""
        _checks.counts("x", x)
        seen = x if encoder_input is None else encoder_input
        _checks.tensor("x" if encoder_input is None else "encoder_input", seen)
        self._told.check(condition, len(x))
        features = self.encoder(seen, **self._told.options("encoder", condition))
        expected = max(self.groups) + 1
        if isinstance(features, Tensor) or len(features) < expected:
            got = "a Tensor" if isinstance(features, Tensor) else len(features)
            raise ValueError(f"encoder: expected features of {expected} groups, got {got}")
        keys = random.split(one_key(x.device, key=key, generator=generator), len(self.sizes) + 1)
        return self._start(len(x), condition), features, keys

    def _start(self, num: int, condition: Condition) -> Tensor:
        return self.decoder.start(num, **self._told.options("decoder", condition))  # type: ignore[operator]

    def _levels(self, keys: Tensor, row: int) -> Iterable[tuple[Any, Tensor, int]]:
        """The levels, each with its key and the place in its noise of the first datum here."""
        offsets = [row * size for size in self.sizes]
        return zip(self.decoder.levels, keys[: len(self.sizes)], offsets, strict=True)  # type: ignore[arg-type]

    def _inferred(
        self, level: Any, h: Tensor, features: Tensor, key: Tensor, offset: int, weighted: bool = False
    ) -> tuple[Tensor, Tensor]:
        """The state below the level, with a draw of q; the level's KL, or log p − log q of the draw, ``[B]``."""
        step = partial(self._through, level, weighted=weighted)
        if self.checkpoint and torch.is_grad_enabled():
            return checkpoint(step, h, features, key, offset, use_reentrant=False)
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
        return _checks.integer("element_offset", element_offset, minimum=0) // max(self.latent_shape[0], 1)

    def _temperatures(self, temperature: float | Sequence[float]) -> list[float]:
        count = len(self.sizes)
        if not isinstance(temperature, Sequence):
            return [_checks.number("temperature", temperature, minimum=0)] * count
        if len(temperature) != count:
            raise ValueError(f"temperature: expected one number or {count}, one a level, got {len(temperature)}")
        return [_checks.number("temperature", value, minimum=0) for value in temperature]


def clip_or_skip(parameters: Iterable[Tensor], *, clip: float | None = None, skip: float | None = None) -> bool:
    """Whether an update is to be taken; gradients are clipped to the norm `clip`.

    Deep hierarchies have rare gradients thousands of times larger than the rest, after which they do not recover: an
    update whose gradient has a norm above `skip`, or none at all (NaN, infinity), is left out (Child 2021, section
    3.1). It waits for the device.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import clip_or_skip
    >>> weight = torch.ones(4, requires_grad=True)
    >>> weight.grad = torch.full((4,), 50.0)
    >>> clip_or_skip([weight], clip=1.0, skip=200.0), clip_or_skip([weight], skip=0.5)
    (True, False)
    """
    clip = math.inf if clip is None else _checks.positive_number("clip", clip)
    skip = math.inf if skip is None else _checks.positive_number("skip", skip)
    parameters = list(parameters)
    norm = float(torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
    if not math.isfinite(norm) or norm > skip:
        return False
    if norm > clip:
        torch.nn.utils.clip_grads_with_norm_(parameters, clip, torch.tensor(norm))
    return True
