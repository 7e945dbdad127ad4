"""The losses of disentangling-vae (Dubois et al., ``disvae/models/losses.py``): their names, arguments, reductions."""

from typing import Any

import torch
from torch import Tensor

from genkern import functional

__all__ = ["_get_log_pz_qz_prodzi_qzCx", "_kl_normal_loss", "_reconstruction_loss"]


def _kl_normal_loss(mean: Tensor, logvar: Tensor, storer: dict[str, Any] | None = None) -> Tensor:
    """KL from N(0, I), summed over dimensions, mean over the batch: ``[B, D]`` → a scalar, in nats.

    Where `storer`, a dictionary of lists, is given, ``kl_loss`` and ``kl_loss_0``, ``kl_loss_1`` … of each dimension
    are appended to; that reads them back from the device.

    See Also
    --------
    genkern.gaussian_kl : with a prior, free bits and units

    Examples
    --------
    >>> import torch
    >>> from genkern.compat.disentangling_vae import _kl_normal_loss
    >>> _kl_normal_loss(torch.ones(3, 2), torch.zeros(3, 2))
    tensor(1.)
    """
    if storer is None:
        return functional.gaussian_kl(mean, logvar, reduction="batchmean")
    by_dimension = functional.gaussian_kl(mean, logvar, reduction="none").mean(dim=0)
    total = by_dimension.sum()
    storer["kl_loss"].append(total.item())
    for i, value in enumerate(by_dimension.tolist()):
        storer[f"kl_loss_{i}"].append(value)
    return total


def _reconstruction_loss(
    data: Tensor, recon_data: Tensor, distribution: str = "bernoulli", storer: dict[str, Any] | None = None
) -> Tensor:
    """The reconstruction loss, summed over an image, mean over the batch: a scalar.

    Parameters
    ----------
    data, recon_data : Tensor
        ``[B, C, H, W]`` in [0, 1]; probabilities for "bernoulli", which torch scores: the fused likelihood takes
        logits.
    distribution : {"bernoulli", "gaussian", "laplace"}
        "gaussian": squared error of grey levels 0 … 255, over 255. "laplace": absolute error times 3.

    See Also
    --------
    genkern.gaussian_nll
    genkern.laplace_nll
    genkern.bernoulli_nll : of logits

    Examples
    --------
    >>> import torch
    >>> from genkern.compat.disentangling_vae import _reconstruction_loss
    >>> _reconstruction_loss(torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2), "laplace")
    tensor(12.)
    """
    if distribution == "bernoulli":
        loss = torch.nn.functional.binary_cross_entropy(recon_data, data, reduction="sum") / data.shape[0]
    elif distribution == "gaussian":
        loss = 2 * 255.0 * functional.gaussian_nll(data, recon_data, full=False, reduction="batchmean")
    elif distribution == "laplace":
        loss = 3 * functional.laplace_nll(data, recon_data, full=False, reduction="batchmean")
    else:
        raise ValueError(f"distribution: expected 'bernoulli', 'gaussian' or 'laplace', got {distribution!r}")
    if storer is not None:
        storer["recon_loss"].append(loss.item())
    return loss


def _get_log_pz_qz_prodzi_qzCx(
    latent_sample: Tensor,
    latent_dist: tuple[Tensor, Tensor],
    n_data: int,
    is_mss: bool = True,
    legacy: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """log p(z), log q(z), log Π q(z_d), log q(z|x) of every datum, ``[B]`` each, in O(B·D) memory.

    Parameters
    ----------
    latent_sample : Tensor
        ``[B, D]``.
    latent_dist : (Tensor, Tensor)
        Means and log variances, ``[B, D]``.
    n_data : int
        Size of the training set.
    is_mss : bool
        Minibatch stratified sampling; else plain means over the batch: no weights at all, as there.
    legacy : bool
        disentangling-vae's weights: those of stratified sampling put a datum's own 1/N on the first datum of the
        batch, whichever datum asks, and the joint density counts a component's weight D times. Default: the paper's
        (Chen et al. 2018, appendix C).

    See Also
    --------
    genkern.total_correlation : the parts of the KL divergence from the same sums

    Examples
    --------
    >>> import torch
    >>> from genkern.compat.disentangling_vae import _get_log_pz_qz_prodzi_qzCx
    >>> z = torch.randn(8, 3)
    >>> [part.shape for part in _get_log_pz_qz_prodzi_qzCx(z, (z, torch.zeros_like(z)), 100)]
    [torch.Size([8]), torch.Size([8]), torch.Size([8]), torch.Size([8])]
    """
    mean, logvar = latent_dist
    log_pz = functional.gaussian_log_prob(latent_sample, torch.zeros_like(latent_sample))
    log_q_zCx = functional.gaussian_log_prob(latent_sample, mean, logvar)
    if is_mss:
        _, total_correlation, dimension_wise_kl = functional.total_correlation(
            latent_sample,
            mean,
            logvar,
            dataset_size=n_data,
            mss_weights="legacy" if legacy else "paper",
            joint_weight="per_dim" if legacy else "once",
        )
        log_prod_qzi = dimension_wise_kl + log_pz
        log_qz = total_correlation + log_prod_qzi
    else:
        log_qz, log_prod_qzi = functional.gaussian_mixture_log_prob(
            latent_sample,
            mean,
            logvar,
            log_weights=latent_sample.new_zeros(len(mean)),
            marginals=True,
        )
    return log_pz, log_qz, log_prod_qzi, log_q_zCx
