"""The variational autoencoder: the user's encoder and decoder, joined by fused Gaussian operations."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from genkern import _checks, functional, random
from genkern.functional._noise import Generators
from genkern.functional._scale import Clamp
from genkern.nn._inputs import floating_like, one_key, packed_moments, scale_options
from genkern.nn._modes import evaluating
from genkern.nn.likelihoods import Likelihood, make_likelihood
from genkern.nn.objectives import ELBO, Objective
from genkern.nn.priors import Prior

__all__ = ["VAE", "ELBOTerms"]


class ELBOTerms(NamedTuple):
    """The evidence lower bound of each datum and its two parts, ``[B]`` each, in nats: elbo = reconstruction − kl."""

    elbo: Tensor
    reconstruction: Tensor
    kl: Tensor


class VAE(nn.Module):
    """Variational autoencoder (Kingma & Welling 2014; Rezende et al. 2014) with a diagonal Gaussian latent.

    Parameters
    ----------
    encoder : Module
        `x` ``[B, ...]`` → packed moments, means then scales along dimension 1: ``[B, 2·latent, ...]``.
    decoder : Module
        `z` ``[B, latent, ...]`` → the likelihood's parameters: means or logits in the shape of `x`, or twice as many
        channels for ``GaussianLikelihood("decoder")``.
    likelihood : str or Likelihood
        ``"gaussian"`` (one learned σ), ``"bernoulli"``, ``"laplace"``, ``"discretized_gaussian"``,
        ``"discretized_logistic"`` (ten components, of which the decoder gives the parameters), or an instance with
        options of its own.
    objective : Objective, optional
        The quantity that `loss` minimises, and the prior: :class:`ELBO` (the plain bound, by default), :class:`IWAE`,
        :class:`BetaTCVAE`, :class:`InfoVAE`, :class:`VampPrior`.
    latent_shape : sequence of int, optional
        Shape of one latent, for `sample`; ``encoder.latent_shape`` where the encoder has one.
    scale_param, scale_offset, clamp, clamp_mode
        The meaning of the second half of the moments: see :mod:`genkern.functional`.

    Notes
    -----
    Every method that draws takes ``key=`` or ``generator=`` (torch's default generator if neither is given) and
    ``element_offset=``: a data-parallel rank whose first datum is row r of the global batch passes
    r × latent size and draws exactly its part of the global noise. Log-probabilities and divergences are in nats, in
    float32 or wider, under autocast too.

    `sample`, `reconstruct` and `log_marginal` compute in evaluation mode whatever the mode of the modules, which they
    leave as it is: a datum does not depend on its neighbours, and no statistics move. All else has the mode it is in.
    A transform of ``torch.func``, with ``functional_call`` or without, advances a warm-up as a plain call does.

    Examples
    --------
    >>> import torch, genkern as gk
    >>> from genkern.nn import MLPDecoder, MLPEncoder, VAE
    >>> vae = VAE(MLPEncoder((1, 8, 8), 2), MLPDecoder((1, 8, 8), 2))
    >>> x = torch.rand(5, 1, 8, 8)
    >>> vae.loss(x).backward()
    >>> vae.elbo(x, key=gk.random.key(0)).kl.shape
    torch.Size([5])
    >>> vae.sample(3, key=gk.random.key(1)).shape
    torch.Size([3, 1, 8, 8])
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        *,
        likelihood: str | Likelihood = "gaussian",
        objective: Objective | None = None,
        latent_shape: Sequence[int] | None = None,
        scale_param: str = "logvar",
        scale_offset: float = 0.0,
        clamp: Clamp | None = None,
        clamp_mode: str = "hard",
    ) -> None:
        super().__init__()
        _checks.instance("encoder", encoder, nn.Module, "a Module")
        _checks.instance("decoder", decoder, nn.Module, "a Module")
        if objective is not None:
            _checks.instance("objective", objective, Objective, "an Objective or None")
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = make_likelihood(likelihood)
        self.objective: Objective = ELBO() if objective is None else objective
        shape = getattr(encoder, "latent_shape", None) if latent_shape is None else latent_shape
        self.latent_shape = None if shape is None else _checks.sizes("latent_shape", shape)
        self.scale_options = scale_options(scale_param, scale_offset, clamp, clamp_mode)

    def forward(self, x: Tensor, **noise: Any) -> Tensor:
        """`loss`, so that wrappers that call a module (DistributedDataParallel) train it."""
        return self.loss(x, **noise)

    def extra_repr(self) -> str:
        options = {"latent_shape": self.latent_shape, **self.scale_options}
        return ", ".join(f"{name}={value!r}" for name, value in options.items())

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and raw scale (as `scale_param` says) of q(z | x), ``[B, latent, ...]`` each: views of one tensor."""
        loc, scale = self.moments(x).chunk(2, dim=1)
        return loc, scale

    def decode(self, z: Tensor) -> Tensor:
        """The parameters of p(x | z), as the decoder gives them; ``likelihood.mean`` of them is the picture."""
        return self.decoder(z)

    def elbo(
        self,
        x: Tensor,
        *,
        encoder_input: Tensor | None = None,
        key: Tensor | None = None,
        generator: Generators | None = None,
        element_offset: int = 0,
    ) -> ELBOTerms:
        """The evidence lower bound of each datum and its parts, from one draw of z; whatever the objective's weights.

        The KL is in closed form, but under a :class:`VampPrior` that of the draw.

        `encoder_input` is what the encoder sees in place of `x`: a noisy or masked `x` gives the denoising bound (Im et
        al. 2017), any other function of `x` a bound as well.

        Examples
        --------
        >>> import torch
        >>> from genkern.nn import MLPDecoder, MLPEncoder, VAE
        >>> terms = VAE(MLPEncoder((4,), 2), MLPDecoder((4,), 2)).elbo(torch.rand(3, 4))
        >>> bool((terms.elbo == terms.reconstruction - terms.kl).all())
        True
        """
        noise = {"key": key, "generator": generator, "element_offset": element_offset}
        reconstruction, kl = self.reconstruction_and_kl(x, encoder_input, **noise)
        return ELBOTerms(reconstruction - kl, reconstruction, kl)

    def loss(
        self,
        x: Tensor,
        *,
        encoder_input: Tensor | None = None,
        key: Tensor | None = None,
        generator: Generators | None = None,
        element_offset: int = 0,
    ) -> Tensor:
        """The objective's scalar for one batch, in nats, to be minimised. In training mode it advances a warm-up."""
        _checks.counts("x", x)
        return self.objective.loss(
            self, x, encoder_input=encoder_input, key=key, generator=generator, element_offset=element_offset
        )

    @torch.no_grad()
    def sample(
        self,
        num: int,
        *,
        key: Tensor | None = None,
        generator: torch.Generator | None = None,
        element_offset: int = 0,
        temperature: float = 1.0,
        observation_noise: bool = False,
    ) -> Tensor:
        """`num` new data ``[num, ...]``: z from the prior, N(0, temperature²·I), then E[x | z]; no graph is kept.

        `observation_noise` draws x from p(x | z) instead: a sample of the model itself, grainy for images.
        """
        num = _checks.integer("num", num, minimum=0)
        observation_noise = _checks.boolean("observation_noise", observation_noise)
        if self.latent_shape is None:
            raise ValueError(
                "latent_shape: expected the shape of one latent, given to VAE or known to the encoder, got None"
            )
        like = floating_like(self.decoder)
        latent_key, noise_key = random.split(one_key(like.device, key=key, generator=generator))
        shape = (num, *self.latent_shape)
        with evaluating(self):
            prior = self._prior()
            z = prior.sample(shape, like, key=latent_key, element_offset=element_offset, temperature=temperature)
            params = self.decode(z)
        mean = self.likelihood.mean(params)
        if not observation_noise:
            return mean
        first_row = element_offset // max(math.prod(self.latent_shape), 1)
        return self.likelihood.sample(params, key=noise_key, element_offset=first_row * math.prod(mean.shape[1:]))

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """E[x | z] at the mean of q(z | x), in the shape of `x`; no graph is kept."""
        with evaluating(self):
            return self.likelihood.mean(self.decode(self.encode(x)[0]))

    @torch.no_grad()
    def log_marginal(
        self,
        x: Tensor,
        num_samples: int = 100,
        *,
        chunk_size: int = 10,
        key: Tensor | None = None,
        generator: torch.Generator | None = None,
        element_offset: int = 0,
    ) -> Tensor:
        """Importance-weighted estimate of log p(x), ``[B]`` in nats: in expectation a lower bound.

        log 1/K Σ p(x | z_k) p(z_k) / q(z_k | x) with z_k ~ q(z | x) (Burda et al. 2016), tight as K grows. `chunk_size`
        samples of each datum are in memory at a time and the sum is streamed, so `num_samples` is bounded by time
        alone; sample k has a key of its own, so the draws do not depend on `chunk_size`. No graph is kept.
        """
        num_samples = _checks.integer("num_samples", num_samples, minimum=1)
        chunk_size = _checks.integer("chunk_size", chunk_size, minimum=1)
        with evaluating(self):
            loc, scale = (half.contiguous() for half in self.encode(x))
            keys = random.split(one_key(x.device, key=key, generator=generator), num_samples)
            total = functional.LogMeanExp()
            prior = self._prior()
            for chunk in keys.split(chunk_size):
                log_w, _ = self.weighted_draws(x, loc, scale, chunk, element_offset, prior=prior, frozen=True)
                total.update(log_w)
        return total.compute()

    def log_weights(
        self, x: Tensor, keys: Tensor, *, encoder_input: Tensor | None = None, element_offset: int = 0
    ) -> Tensor:
        """log p(x, z) − log q(z | x) of one z a key and datum, ``[K, B]`` in nats, with gradients.

        `keys` is ``[K, 2]``, as :func:`genkern.random.split` makes them. What
        :func:`genkern.importance_weighted_bound` and :class:`genkern.LogMeanExp` take.

        Examples
        --------
        >>> import torch, genkern as gk
        >>> from genkern.nn import MLPDecoder, MLPEncoder, VAE
        >>> vae = VAE(MLPEncoder((4,), 2), MLPDecoder((4,), 2))
        >>> log_w = vae.log_weights(torch.rand(3, 4), gk.random.split(gk.random.key(0), 10))
        >>> gk.importance_weighted_bound(log_w).shape
        torch.Size([3])
        """
        _checks.counts("x", x)
        _checks.instance("keys", keys, Tensor, "a uint64 Tensor of shape (K, 2)")
        if keys.dtype != torch.uint64:
            raise TypeError(f"keys: expected dtype torch.uint64, got {keys.dtype}")
        if keys.dim() != 2 or keys.shape[1] != 2 or len(keys) == 0:
            raise ValueError(f"keys: expected shape (K, 2) with K >= 1, got {tuple(keys.shape)}")
        loc, scale = self.moments(x, encoder_input).chunk(2, dim=1)
        return self.weighted_draws(x, loc, scale, keys, element_offset, frozen=True)[0]

    # What objectives are made of (`genkern.nn.objectives.objective.Model`).

    def moments(self, x: Tensor, encoder_input: Tensor | None = None) -> Tensor:
        """Packed moments of q(z | x), of `encoder_input` where there is one."""
        seen = x if encoder_input is None else encoder_input
        _checks.tensor("x" if encoder_input is None else "encoder_input", seen)
        return packed_moments(self.encoder, seen)

    def reconstruction_and_kl(
        self, x: Tensor, encoder_input: Tensor | None = None, **options: Any
    ) -> tuple[Tensor, Tensor]:
        """log p(x | z) and KL(q(z | x) ‖ p(z)), ``[B]`` each; `options` of the noise, and free bits."""
        moments = self.moments(x, encoder_input)
        z, kl = self._prior().rsample_kl(moments, **self.scale_options, **options)
        return self.likelihood.log_prob(x, self.decode(z)), kl

    def weighted_draws(
        self,
        x: Tensor,
        loc: Tensor,
        scale: Tensor,
        keys: Tensor,
        element_offset: int = 0,
        *,
        prior: Prior | None = None,
        frozen: bool = False,
        detach_log_q: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """log p(x, z) − log q(z | x) ``[K, B]``, and the z it is of ``[K, B, ...]``, one a key.

        `prior` spares asking the objective; `frozen` densities depend on no other datum; `detach_log_q` keeps q's
        parameters from log q, but not from z.
        """
        options = self.scale_options
        draws = torch.stack(
            [functional.gaussian_rsample(loc, scale, key=key, element_offset=element_offset, **options) for key in keys]
        )
        z = draws.flatten(0, 1)
        held = (loc.detach(), scale.detach()) if detach_log_q else (loc, scale)
        log_q = functional.gaussian_log_prob(z, *(m.repeat(len(keys), *[1] * (m.ndim - 1)) for m in held), **options)
        many = (len(keys), *[-1] * x.ndim)
        log_likelihood = self.likelihood.log_prob(x.expand(many).flatten(0, 1), self.decode(z), frozen=frozen)
        return (log_likelihood + (prior or self._prior()).log_prob(z) - log_q).view(len(keys), -1), draws

    def _prior(self) -> Prior:
        return self.objective.prior(self)
