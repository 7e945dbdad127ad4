"""Objectives that look at q(z), the posterior averaged over the data, as the batch shows it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from genkern import _checks, functional, random
from genkern.functional import _ordered
from genkern.nn._gather import gather_batch
from genkern.nn._inputs import one_key
from genkern.nn.objectives.objective import Model, Objective, check_parts
from genkern.nn.priors import StandardNormalPrior

__all__ = ["BetaTCVAE", "InfoVAE"]


class BetaTCVAE(Objective):
    """The negative ELBO with the three parts of its KL term weighted apart (Chen et al. 2018), averaged over the batch.

    −log p(x | z) + alpha · index-code mutual information + beta · total correlation + gamma · dimension-wise KL.

    Parameters
    ----------
    alpha, beta, gamma : float
        Not negative. All 1: the ELBO, its KL estimated by the one z that is drawn.
    dataset_size : int
        Data in the training set.
    weighting : {"mss", "mws"}
        How q(z) is estimated from the batch; with `options` as `genkern.total_correlation` has it.
    global_batch : bool
        Under ``torch.distributed``: estimate q(z) from the batches of all ranks, which must be of one size, by an
        all-gather that is differentiated; a rank's loss is then its own −log p(x | z) and the other terms of all, so
        that DistributedDataParallel's mean is the gradient of the global loss. False: from the rank's own batch.
    **options
        ``mss_weights``, ``joint_weight``.

    See Also
    --------
    genkern.total_correlation : the three parts
    ELBO : one weight for all of them

    Notes
    -----
    ``forward(reconstruction, mutual_information, total_correlation, dimension_wise_kl)``: four tensors of log
    probabilities in nats, a datum each → a scalar to be minimised. z is that of ``VAE.elbo`` under the same key.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import BetaTCVAE, MLPDecoder, MLPEncoder, VAE
    >>> vae = VAE(MLPEncoder((4,), 2), MLPDecoder((4,), 2), objective=BetaTCVAE(beta=6.0, dataset_size=1000))
    >>> vae.loss(torch.rand(32, 4)).backward()
    """

    own_prior = True

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 6.0,
        gamma: float = 1.0,
        *,
        dataset_size: int,
        weighting: str = "mss",
        global_batch: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self.alpha = _checks.number("alpha", alpha, minimum=0)
        self.beta = _checks.number("beta", beta, minimum=0)
        self.gamma = _checks.number("gamma", gamma, minimum=0)
        self.global_batch = _checks.boolean("global_batch", global_batch)
        self.options: dict[str, Any] = {"dataset_size": dataset_size, "weighting": weighting, **options}
        tried = torch.zeros(3, 1, 1, device="cpu")
        functional.total_correlation(*tried, **self.options)  # refuses options now that would not do later

    def forward(
        self, reconstruction: Tensor, mutual_information: Tensor, total_correlation: Tensor, dimension_wise_kl: Tensor
    ) -> Tensor:
        _checks.tensor("reconstruction", reconstruction)
        check_parts(  # of the global batch, where that is asked for
            mutual_information=mutual_information,
            total_correlation=total_correlation,
            dimension_wise_kl=dimension_wise_kl,
        )
        _checks.same_device(reconstruction=reconstruction, mutual_information=mutual_information)
        kl = self.alpha * _ordered.mean(mutual_information) + self.beta * _ordered.mean(total_correlation)
        return kl + self.gamma * _ordered.mean(dimension_wise_kl) - _ordered.mean(reconstruction)

    def loss(self, vae: Model, x: Tensor, *, encoder_input: Tensor | None = None, **noise: Any) -> Tensor:
        loc, scale = vae.moments(x, encoder_input).chunk(2, dim=1)
        z = functional.gaussian_rsample(loc, scale, **vae.scale_options, **noise)
        reconstruction = vae.likelihood.log_prob(x, vae.decode(z))
        z, loc, scale = (part.flatten(1) for part in (z, loc, scale))
        if self.global_batch:
            z, loc, scale = gather_batch(z, loc, scale)
        return self(reconstruction, *functional.total_correlation(z, loc, scale, **self.options, **vae.scale_options))

    def extra_repr(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"alpha={self.alpha}, beta={self.beta}, gamma={self.gamma}, global_batch={self.global_batch}{options}"


class InfoVAE(Objective):
    """The negative ELBO with a divergence of q(z) from the prior in place of some of its KL (Zhao et al. 2019).

    ``−log p(x | z) + (1 − alpha) · KL(q(z | x) ‖ p(z)) + (alpha + lambda_ − 1) · D(q(z), p(z))``, averaged over the
    batch.

    Parameters
    ----------
    mmd : callable, optional
        ``mmd(z, prior_z)``: D of two sets of points ``[B, latent size]``, a scalar. By default
        `genkern.mmd` with the inverse multiquadrics of Tolstikhin et al. 2018, "Wasserstein auto-encoders":
        scales of 2 · latent size, the mean squared distance of two draws of the prior, times 0.1, 0.2, 0.5, 1, 2, 5
        and 10; unbiased, but for a batch of one datum.
    alpha : float
        At most 1: the weight that the mutual information of x and z gains. 0 keeps the KL term, 1 drops it.
    lambda_ : float
        At least 1 − alpha. D is a small number: some hundreds give it a say beside the likelihood of an image.
    global_batch : bool
        Under ``torch.distributed``: compare the draws of all ranks, whose batches must be of one size, by an
        all-gather that is differentiated; DistributedDataParallel's mean is then the gradient of the global loss.
        False: the rank's own.

    See Also
    --------
    genkern.mmd : the discrepancy
    ELBO : the plain bound

    Notes
    -----
    ``forward(reconstruction, kl, divergence)``: ``[B]``, ``[B]``, 0-dim, in nats but for the last → a scalar to be
    minimised. z is that of ``VAE.elbo`` under the same key; as many points of the prior are drawn beside it.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> from genkern.nn import InfoVAE, MLPDecoder, MLPEncoder, VAE
    >>> vae = VAE(MLPEncoder((4,), 2), MLPDecoder((4,), 2), objective=InfoVAE(lambda_=100.0))
    >>> vae.loss(torch.rand(32, 4)).backward()

    Another discrepancy:

    >>> def rbf(z, prior_z):
    ...     return gk.mmd(z, prior_z, scales=(z.shape[1],), estimator="v")
    >>> objective = InfoVAE(rbf, lambda_=100.0)
    """

    own_prior = True

    def __init__(
        self,
        mmd: Callable[[Tensor, Tensor], Tensor] | None = None,
        *,
        alpha: float = 0.0,
        lambda_: float = 1000.0,
        global_batch: bool = False,
    ) -> None:
        super().__init__()
        if mmd is not None and not callable(mmd):
            raise TypeError(f"mmd: expected a callable or None, got {_checks.type_name(mmd)}")
        global_batch = _checks.boolean("global_batch", global_batch)
        alpha, lambda_ = _checks.number("alpha", alpha), _checks.number("lambda_", lambda_)
        if not alpha <= 1:
            raise ValueError(f"alpha: expected a number <= 1, got {alpha}")
        if not alpha + lambda_ >= 1:
            raise ValueError(f"lambda_: expected a number >= 1 - alpha = {1 - alpha:g}, got {lambda_}")
        self.mmd = imq_mmd if mmd is None else mmd
        self.alpha = alpha
        self.lambda_ = lambda_
        self.global_batch = global_batch

    def forward(self, reconstruction: Tensor, kl: Tensor, divergence: Tensor) -> Tensor:
        check_parts(reconstruction=reconstruction, kl=kl)
        _checks.tensor("divergence", divergence)
        _checks.same_device(reconstruction=reconstruction, divergence=divergence)
        weight = self.alpha + self.lambda_ - 1
        return (1 - self.alpha) * _ordered.mean(kl) + weight * divergence - _ordered.mean(reconstruction)

    def loss(self, vae: Model, x: Tensor, *, encoder_input: Tensor | None = None, **noise: Any) -> Tensor:
        offset = noise.pop("element_offset", 0)
        moments = vae.moments(x, encoder_input)
        key = one_key(x.device, **noise)
        prior = StandardNormalPrior()
        z, kl = prior.rsample_kl(moments, **vae.scale_options, key=key, element_offset=offset)
        reconstruction = vae.likelihood.log_prob(x, vae.decode(z))
        points = z.flatten(1)
        if self.global_batch:
            (points,), offset = gather_batch(points), 0
        drawn = prior.sample(points.shape, points, key=random.fold_in(key, 0), element_offset=offset)
        return self(reconstruction, kl, self.mmd(points, drawn))

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, lambda_={self.lambda_}, global_batch={self.global_batch}"


def imq_mmd(z: Tensor, prior_z: Tensor) -> Tensor:
    """The discrepancy of a Wasserstein auto-encoder (Tolstikhin et al. 2018): kernels of seven sizes."""
    scales = [2 * z.shape[1] * factor for factor in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)]
    return functional.mmd(z, prior_z, kernel="imq", scales=scales, estimator="u" if z.shape[0] > 1 else "v")
