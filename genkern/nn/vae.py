"""The variational autoencoder: the user's encoder and decoder, joined by fused Gaussian operations."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from genkern import _checks, functional, random
from genkern.functional._noise import Generators
from genkern.functional._scale import Clamp
from genkern.nn._condition import Condition, Conditioned, repeated, taking_of
from genkern.nn._inputs import check_keys, floating_like, one_key, packed_moments, scale_options
from genkern.nn._modes import evaluating
from genkern.nn.likelihoods import Likelihood, make_likelihood
from genkern.nn.objectives import ELBO, Objective
from genkern.nn.priors import GaussianPrior, Prior

__all__ = ["VAE", "ELBOTerms"]


class ELBOTerms(NamedTuple):
    """The evidence lower bound of each datum and its two parts, in nats: elbo = reconstruction − kl.

    Attributes
    ----------
    elbo : Tensor
        ``[B]``, at most log p(x).
    reconstruction : Tensor
        ``[B]``, log p(x | z) of the z that was drawn.
    kl : Tensor
        ``[B]``, the divergence of q(z | x) from the prior.

    See Also
    --------
    VAE.elbo : gives them
    HierarchicalTerms : those of a hierarchy

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import MLPDecoder, MLPEncoder, VAE
    >>> terms = VAE(MLPEncoder((4,), 2), MLPDecoder((4,), 2)).elbo(torch.rand(5, 4))
    >>> torch.equal(terms.elbo, terms.reconstruction - terms.kl)
    True
    """

    elbo: Tensor
    reconstruction: Tensor
    kl: Tensor


class VAE(Conditioned):
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
        The quantity that `loss` minimises, and the prior: `ELBO` (the plain bound, by default), `IWAE`,
        `BetaTCVAE`, `InfoVAE`, `VampPrior`.
    latent_shape : sequence of int, optional
        Shape of one latent, for `sample`; ``encoder.latent_shape`` where the encoder has one.
    prior : Module, optional
        A condition → packed moments of p(z | condition), ``[B, 2·latent, ...]``, scales as the encoder's:
        `ClassPrior`, or any of yours. By default p(z) is the objective's, N(0, I) as a rule.
    scale_param, scale_offset, clamp, clamp_mode
        The meaning of the second half of the moments: see `genkern.functional`.

    See Also
    --------
    ELBO : what it minimises unless told otherwise
    GaussianLikelihood
    MLPEncoder
    ConvEncoder
    HierarchicalVAE : many levels
    GaussianHead : the head alone

    Notes
    -----
    Every method that draws takes ``key=`` or ``generator=`` (torch's default generator if neither is given) and
    ``element_offset=``: a data-parallel rank whose first datum is row r of the global batch passes
    r × latent size and draws exactly its part of the global noise. Log-probabilities and divergences are in nats, in
    float32 or wider, under autocast too.

    `sample`, `reconstruct` and `log_marginal` compute in evaluation mode whatever the mode of the modules, which they
    leave as it is: a datum does not depend on its neighbours, and no statistics move. All else has the mode it is in.
    A transform of ``torch.func``, with ``functional_call`` or without, advances a warm-up as a plain call does.

    **Conditions.** All methods take ``condition=``: labels, vectors, images, or a tuple, list or mapping of such, one
    row a datum. Those of the encoder and the decoder whose ``forward`` has a parameter of that name are given it, as is
    `prior`; the others are called as before. A parameter without a default makes the condition necessary; so does the
    attribute ``takes_condition`` of a module, if it is True, and if it is False the module is given none. The model is
    then p(x | condition) (Kingma et al. 2014; Sohn et al. 2015).

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

    Of ten classes, with a learned Gaussian of latents for each:

    >>> from genkern.nn import ClassPrior
    >>> shape = (1, 8, 8)
    >>> vae = VAE(MLPEncoder(shape, 2, num_classes=10), MLPDecoder(shape, 2, num_classes=10), prior=ClassPrior(10, 2))
    >>> vae.loss(x, condition=torch.arange(5)).backward()
    >>> vae.sample(10, condition=torch.arange(10)).shape
    torch.Size([10, 1, 8, 8])
    """

    _ROLES = ("encoder", "decoder", "prior")
    _TAKING_NOTHING_ELSE = ("prior",)

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        *,
        likelihood: str | Likelihood = "gaussian",
        objective: Objective | None = None,
        latent_shape: Sequence[int] | None = None,
        prior: nn.Module | None = None,
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
        if prior is not None:
            _checks.instance("prior", prior, nn.Module, "a Module or None")
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = make_likelihood(likelihood)
        self.objective: Objective = ELBO() if objective is None else objective
        shape = getattr(encoder, "latent_shape", None) if latent_shape is None else latent_shape
        self.latent_shape = None if shape is None else _checks.sizes("latent_shape", shape)
        self.prior = prior
        kind = _checks.type_name(self.objective)
        if self.objective.own_prior and prior is not None:
            got = _checks.type_name(prior)
            raise ValueError(f"prior: expected None with {kind}, whose loss is for a prior of its own, got {got}")
        if type(self.objective).prior is not Objective.prior and taking_of(encoder) is not None:
            raise ValueError(f"objective: expected one with N(0, I) for an encoder that takes a condition, got {kind}")
        self.scale_options = scale_options(scale_param, scale_offset, clamp, clamp_mode)

    def forward(self, x: Tensor, **noise: Any) -> Tensor:
        """`loss`, so that wrappers that call a module (DistributedDataParallel) train it."""
        return self.loss(x, **noise)

    def extra_repr(self) -> str:
        options = {"latent_shape": self.latent_shape, **self.scale_options}
        return ", ".join(f"{name}={value!r}" for name, value in options.items())

    def encode(self, x: Tensor, *, condition: Condition = None) -> tuple[Tensor, Tensor]:
        """Mean and raw scale (as `scale_param` says) of q(z | x), ``[B, latent, ...]`` each: views of one tensor."""
        self._check_condition(condition, x, role="encoder")
        loc, scale = self.moments(x, condition=condition).chunk(2, dim=1)
        return loc, scale

    def decode(self, z: Tensor, *, condition: Condition = None) -> Tensor:
        """The parameters of p(x | z), as the decoder gives them; ``likelihood.mean`` of them is the picture."""
        if isinstance(z, Tensor):
            self._told.check(condition, z.shape[0] if z.ndim else 0, role="decoder")
        return self.decoder(z, **self._told.options("decoder", condition))

    def elbo(
        self,
        x: Tensor,
        *,
        condition: Condition = None,
        encoder_input: Tensor | None = None,
        key: Tensor | None = None,
        generator: Generators | None = None,
        element_offset: int = 0,
    ) -> ELBOTerms:
        """The evidence lower bound of each datum and its parts, from one draw of z; whatever the objective's weights.

        The KL is in closed form, but under a `VampPrior` that of the draw.

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
        self._check_condition(condition, x)
        reconstruction, kl = self.reconstruction_and_kl(x, encoder_input, condition=condition, **noise)
        return ELBOTerms(reconstruction - kl, reconstruction, kl)

    def loss(
        self,
        x: Tensor,
        *,
        condition: Condition = None,
        encoder_input: Tensor | None = None,
        key: Tensor | None = None,
        generator: Generators | None = None,
        element_offset: int = 0,
    ) -> Tensor:
        """The objective's scalar for one batch, in nats, to be minimised. In training mode it advances a warm-up."""
        self._check_condition(condition, x)
        noise = {"key": key, "generator": generator, "element_offset": element_offset}
        model = self if condition is None else _Conditional(self, condition)
        return self.objective.loss(model, x, encoder_input=encoder_input, **noise)

    @torch.no_grad()
    def sample(
        self,
        num: int,
        *,
        condition: Condition = None,
        key: Tensor | None = None,
        generator: torch.Generator | None = None,
        element_offset: int = 0,
        temperature: float = 1.0,
        observation_noise: bool = False,
    ) -> Tensor:
        """`num` new data ``[num, ...]``: z from the prior, then E[x | z]; no graph is kept.

        `temperature` multiplies the prior's standard deviation. `condition` has `num` rows.
        `observation_noise` draws x from p(x | z) instead: a sample of the model itself, grainy for images.
        """
        num = _checks.integer("num", num, minimum=0)
        observation_noise = _checks.boolean("observation_noise", observation_noise)
        if self.latent_shape is None:
            raise ValueError(
                "latent_shape: expected the shape of one latent, given to VAE or known to the encoder, got None"
            )
        self._told.check(condition, num)
        like = floating_like(self.decoder)
        latent_key, noise_key = random.split(one_key(like.device, key=key, generator=generator))
        shape = (num, *self.latent_shape)
        with evaluating(self):
            prior = self._prior(condition)
            z = prior.sample(shape, like, key=latent_key, element_offset=element_offset, temperature=temperature)
            params = self.decode(z, condition=condition)
        mean = self.likelihood.mean(params)
        if not observation_noise:
            return mean
        first_row = element_offset // max(math.prod(self.latent_shape), 1)
        return self.likelihood.sample(params, key=noise_key, element_offset=first_row * math.prod(mean.shape[1:]))

    @torch.no_grad()
    def reconstruct(self, x: Tensor, *, condition: Condition = None) -> Tensor:
        """E[x | z] at the mean of q(z | x), in the shape of `x`; no graph is kept."""
        self._check_condition(condition, x)
        with evaluating(self):
            return self.likelihood.mean(self.decode(self.encode(x, condition=condition)[0], condition=condition))

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
        """Importance-weighted estimate of log p(x), ``[B]`` in nats: in expectation a lower bound.

        log 1/K Σ p(x | z_k) p(z_k) / q(z_k | x) with z_k ~ q(z | x) (Burda et al. 2016), tight as K grows. `chunk_size`
        samples of each datum are in memory at a time and the sum is streamed, so `num_samples` is bounded by time
        alone; sample k has a key of its own, so the draws do not depend on `chunk_size`. No graph is kept.
        """
        num_samples = _checks.integer("num_samples", num_samples, minimum=1)
        chunk_size = _checks.integer("chunk_size", chunk_size, minimum=1)
        self._check_condition(condition, x)
        with evaluating(self):
            loc, scale = (half.contiguous() for half in self.encode(x, condition=condition))
            keys = random.split(one_key(x.device, key=key, generator=generator), num_samples)
            total = functional.LogMeanExp()
            held = {"condition": condition, "prior": self._prior(condition), "frozen": True}
            for chunk in keys.split(chunk_size):
                log_w, _ = self.weighted_draws(x, loc, scale, chunk, element_offset, **held)
                total.update(log_w)
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

        `keys` is ``[K, 2]``, as `genkern.random.split` makes them. What
        `genkern.importance_weighted_bound` and `genkern.LogMeanExp` take.

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
        check_keys(keys)
        self._check_condition(condition, x)
        loc, scale = self.moments(x, encoder_input, condition=condition).chunk(2, dim=1)
        return self.weighted_draws(x, loc, scale, keys, element_offset, condition=condition, frozen=True)[0]

    # What objectives are made of (`genkern.nn.objectives.objective.Model`).

    def moments(self, x: Tensor, encoder_input: Tensor | None = None, *, condition: Condition = None) -> Tensor:
        """Packed moments of q(z | x), of `encoder_input` where there is one."""
        seen = x if encoder_input is None else encoder_input
        _checks.tensor("x" if encoder_input is None else "encoder_input", seen)
        self._told.check(condition, seen.shape[0] if seen.ndim else 0, role="encoder")
        return packed_moments("encoder", self.encoder, seen, **self._told.options("encoder", condition))

    def reconstruction_and_kl(
        self, x: Tensor, encoder_input: Tensor | None = None, *, condition: Condition = None, **options: Any
    ) -> tuple[Tensor, Tensor]:
        """log p(x | z) and KL(q(z | x) ‖ p(z)), ``[B]`` each; `options` of the noise, and free bits."""
        moments = self.moments(x, encoder_input, condition=condition)
        z, kl = self._prior(condition).rsample_kl(moments, **self.scale_options, **options)
        return self.likelihood.log_prob(x, self.decode(z, condition=condition)), kl

    def weighted_draws(
        self,
        x: Tensor,
        loc: Tensor,
        scale: Tensor,
        keys: Tensor,
        element_offset: int = 0,
        *,
        condition: Condition = None,
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
        params = self.decode(z, condition=repeated(condition, len(keys)))
        log_likelihood = self.likelihood.log_prob(x.expand(many).flatten(0, 1), params, frozen=frozen)
        log_p = (prior or self._prior(condition)).log_prob(z)
        return (log_likelihood + log_p - log_q).view(len(keys), -1), draws

    def _prior(self, condition: Condition = None) -> Prior:
        if self.prior is None:
            return self.objective.prior(self)
        loc, scale = packed_moments("prior", self.prior, condition).chunk(2, dim=1)
        return GaussianPrior(loc, scale, self.scale_options)

    def _check_condition(self, condition: Condition, x: Tensor, role: str | None = None) -> None:
        _checks.counts("x", x)
        self._told.check(condition, x.shape[0] if x.ndim else 0, role=role)


class _Conditional:
    """A VAE and one condition: to objectives, which know of none, a model as any other."""

    def __init__(self, vae: VAE, condition: Condition) -> None:
        self.likelihood = vae.likelihood
        self.scale_options = vae.scale_options
        self.encode = partial(vae.encode, condition=condition)
        self.decode = partial(vae.decode, condition=condition)
        self.moments = partial(vae.moments, condition=condition)
        self.reconstruction_and_kl = partial(vae.reconstruction_and_kl, condition=condition)
        self.weighted_draws = partial(vae.weighted_draws, condition=condition)
