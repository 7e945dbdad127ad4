"""pythae's VAE, BetaTCVAE, IWAE and INFOVAE_MMD with their heads and losses by the fused operations.

::

    from genkern.compat import pythae as fused
    with fused.patch():  # or fused.patch() once, and fused.unpatch()
        model = pythae.models.VAE(config)

or, for a class of one's own, a mixin in front: ``class Mine(fused.VAEMixin, pythae.models.VAE)``. Tested with pythae
0.1.2. Signatures, reductions and results are pythae's; what differs in numbers: the noise is genkern's. Probabilities
that a "bce" decoder gives are scored by torch, as there: the fused likelihood takes logits.

The models are saved in every way that pythae's are. A folder that ``save`` wrote is loaded by either; a pickle of a
patched model is one of this module's class, ``genkern.compat.pythae.VAE``, and needs no patch where it is loaded.
"""

import importlib
from functools import cache
from typing import Any

import torch
from torch import Tensor

from genkern import _checks, functional, random
from genkern.compat._patching import Patch, Switch, original
from genkern.functional.mmd import MOST_SCALES

__all__ = ["BetaTCVAEMixin", "INFOVAE_MMDMixin", "IWAEMixin", "VAEMixin", "patch", "unpatch"]


class _Head:
    """The methods that the four models share."""

    model_config: Any
    legacy = False

    def _sample_gauss(self, mu: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        key = random.reserve(device=mu.device)
        z = functional.gaussian_rsample(mu, std, key=key, scale_param="std")
        return z, random.normal(key, z.shape, dtype=z.dtype)

    def _reconstruction_loss(self, recon_x: Tensor, x: Tensor) -> Tensor:
        """Summed over the last dimension: ½ squared error, or the cross-entropy of probabilities."""
        _checks.choice("reconstruction_loss", self.model_config.reconstruction_loss, ("mse", "bce"))
        if self.model_config.reconstruction_loss == "mse":
            return functional.gaussian_nll(x, recon_x, full=False, event_ndim=1)
        bce = torch.nn.functional.binary_cross_entropy(recon_x, x.expand_as(recon_x), reduction="none")
        return bce.sum(dim=-1)

    def _has_its_own(self, *methods: str) -> bool:
        """Whether any of these, which pythae's loss calls and the fused one does not, is not pythae's."""
        return any(getattr(self, method).__module__.partition(".")[0] != "pythae" for method in methods)

    def _of_images(self, recon_x: Tensor, x: Tensor) -> Tensor:
        return self._reconstruction_loss(recon_x.reshape(x.shape[0], -1), x.reshape(x.shape[0], -1))


class VAEMixin(_Head):
    """Mixin in front of ``pythae.models.VAE``: half the squared error and the KL divergence (Kingma & Welling 2014).

    See Also
    --------
    genkern.gaussian_rsample_kl : the operation
    genkern.nn.VAE : genkern's own

    Examples
    --------
    A model of your own on pythae's::

        from genkern.compat import pythae as fused

        class Mine(fused.VAEMixin, pythae.models.VAE): ...
    """

    def loss_function(
        self, recon_x: Tensor, x: Tensor, mu: Tensor, log_var: Tensor, z: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, its reconstruction part and its divergence, means over the batch."""
        recon_loss = self._of_images(recon_x, x)
        kld = functional.gaussian_kl(mu, log_var)
        return (recon_loss + kld).mean(), recon_loss.mean(), kld.mean()


class BetaTCVAEMixin(_Head):
    """Mixin in front of ``pythae.models.BetaTCVAE``: the KL term in three parts, in O(B·D) memory (Chen et al. 2018).

    The weights of minibatch stratified sampling are the paper's; ``legacy = True`` has pythae's, which put a datum's
    own weight 1/N on the first datum of the batch, whichever datum asks. They are those of plain weighting for a batch
    of one datum, where pythae divides by 0. A model with a density or weights of its own, in the methods that pythae
    has for them, keeps pythae's loss.

    See Also
    --------
    genkern.total_correlation : the operation
    genkern.nn.BetaTCVAE : the objective of genkern's own VAE

    Examples
    --------
    A model of your own on pythae's::

        from genkern.compat import pythae as fused

        class Mine(fused.BetaTCVAEMixin, pythae.models.BetaTCVAE): ...
    """

    alpha: float
    beta: float
    gamma: float
    use_mss: bool

    def loss_function(
        self, recon_x: Tensor, x: Tensor, mu: Tensor, log_var: Tensor, z: Tensor, dataset_size: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, its reconstruction part, and its weighted divergences, means over the batch."""
        if self._has_its_own("_compute_log_gauss_density", "_log_importance_weight_matrix"):
            return super().loss_function(recon_x, x, mu, log_var, z, dataset_size)  # type: ignore[misc]
        recon_loss = self._of_images(recon_x, x)
        mutual_information, total_correlation, dimension_wise_kl = functional.total_correlation(
            z,
            mu,
            log_var,
            dataset_size=dataset_size,
            weighting="mss" if self.use_mss else "mws",
            mss_weights="legacy" if self.legacy else "paper",
        )
        regularisation = (
            self.alpha * mutual_information + self.beta * total_correlation + self.gamma * dimension_wise_kl
        )
        return (recon_loss + regularisation).mean(), recon_loss.mean(), regularisation.mean()


class IWAEMixin(_Head):
    """Mixin in front of ``pythae.models.IWAE``: the importance-weighted bound (Burda et al. 2016).

    The loss is minus the bound, −mean log (1/K) Σ w; pythae's has the same gradient and another value, −mean Σ ŵ log w
    with ŵ the normalised weights held fixed, which is no bound: ``legacy = True`` gives that.

    See Also
    --------
    genkern.importance_weighted_bound : the operation
    genkern.nn.IWAE : the objective of genkern's own VAE

    Examples
    --------
    A model of your own on pythae's::

        from genkern.compat import pythae as fused

        class Mine(fused.IWAEMixin, pythae.models.IWAE): ...
    """

    def loss_function(
        self, recon_x: Tensor, x: Tensor, mu: Tensor, log_var: Tensor, z: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, the mean reconstruction part and the mean sampled divergence."""
        recon_loss = self._reconstruction_loss(recon_x, x.reshape(recon_x.shape[0], 1, -1))
        log_p = functional.gaussian_log_prob(z, torch.zeros_like(z), full=False, event_ndim=1)
        kld = functional.gaussian_log_prob(z, mu, log_var, full=False, event_ndim=1) - log_p
        log_w = -(recon_loss + kld)
        if self.legacy:
            loss = -(log_w.softmax(dim=1).detach() * log_w).sum(1).mean()
        else:
            loss = -functional.importance_weighted_bound(log_w, dim=1).mean()
        return loss, recon_loss.mean(), kld.mean()


class INFOVAE_MMDMixin(_Head):
    """Mixin in front of ``pythae.models.INFOVAE_MMD``: MMD without the matrices of kernel values (Zhao et al. 2019).

    A batch of one datum, which may be the last of an epoch, has no pairs for the unbiased estimator; pythae divides by
    0 there, and its loss and gradients are nan. Here it has the biased one, k(z, z) + k(z', z') − 2 k(z, z') with z'
    the draw from the prior, as `genkern.nn.InfoVAE` has it. A model with kernels of its own, in the methods that
    pythae has for them, keeps pythae's loss.

    See Also
    --------
    genkern.mmd : the operation
    genkern.nn.InfoVAE : the objective of genkern's own VAE

    Examples
    --------
    A model of your own on pythae's::

        from genkern.compat import pythae as fused

        class Mine(fused.INFOVAE_MMDMixin, pythae.models.INFOVAE_MMD): ...
    """

    alpha: float
    lbd: float
    kernel_choice: str
    scales: list[float]

    def loss_function(
        self, recon_x: Tensor, x: Tensor, z: Tensor, z_prior: Tensor, mu: Tensor, log_var: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The loss, its reconstruction part, its divergence, means over the batch, and the discrepancy."""
        if self._has_its_own("rbf_kernel", "imq_kernel"):
            return super().loss_function(recon_x, x, z, z_prior, mu, log_var)  # type: ignore[misc]
        recon_loss = self._of_images(recon_x, x)
        kld = functional.gaussian_kl(mu, log_var)
        mmd = self._discrepancy(z, z_prior)
        loss = recon_loss + (1 - self.alpha) * kld + (self.alpha + self.lbd - 1) * mmd
        return loss.mean(), recon_loss.mean(), kld.mean(), mmd

    def _discrepancy(self, z: Tensor, z_prior: Tensor) -> Tensor:
        base = 2.0 * self.model_config.latent_dim * self.model_config.kernel_bandwidth**2
        # Any other choice than "rbf" is the other kernel in pythae.
        kernel, scales = ("rbf", [1.0]) if self.kernel_choice == "rbf" else ("imq", self.scales)
        widths = [float(scale * base) for scale in scales]
        estimator = "u" if len(z) > 1 else "v"
        parts = [
            functional.mmd(z, z_prior, kernel=kernel, scales=widths[i : i + MOST_SCALES], estimator=estimator)
            for i in range(0, len(widths), MOST_SCALES)
        ]
        return sum(parts[1:], parts[0])


_MIXINS = {
    ("pythae.models.vae.vae_model", "VAE"): VAEMixin,
    ("pythae.models.beta_tc_vae.beta_tc_vae_model", "BetaTCVAE"): BetaTCVAEMixin,
    ("pythae.models.iwae.iwae_model", "IWAE"): IWAEMixin,
    ("pythae.models.info_vae.info_vae_model", "INFOVAE_MMD"): INFOVAE_MMDMixin,
}


@cache
def _models() -> dict[str, type]:
    """Subclasses of pythae's models, by their names in this module; pythae's own subclasses keep their bases."""
    importlib.import_module("pythae.models")
    found = {}
    for (module, name), mixin in _MIXINS.items():
        for legacy in (False, True):
            # pickle finds a class by its qualified name, pythae its configuration by the plain one.
            known_as = f"_Legacy{name}" if legacy else name
            contents = {"legacy": legacy, "__module__": __name__, "__qualname__": known_as}
            found[known_as] = type(name, (mixin, original(module, name)), contents)
    return found


def __getattr__(name: str) -> Any:
    if name.removeprefix("_Legacy") in {name for _, name in _MIXINS}:
        return _models()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _patch(legacy: bool) -> Patch:
    prefix = "_Legacy" if legacy else ""
    return Patch({place: _models()[prefix + place[1]] for place in _MIXINS})


_switch = Switch(_patch)
patch, unpatch = _switch.patch, _switch.unpatch
