"""The drop-ins for projects that are no packages, beside the formulas those publish, in plain torch and float64."""

import math
from collections import defaultdict
from collections.abc import Callable

import pytest
import torch
from support.originals import LOG_2_PI, NormalOfNVAE
from torch import Tensor
from torch.nn import functional as F

import genkern as gk
from genkern.compat import disentangling_vae, guided_diffusion, nvae, vdvae
from genkern.compat.torch import gaussian_nll_loss


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


def assert_same(ours: Callable[..., Tensor], formula: Callable[..., Tensor], *arguments: Tensor) -> None:
    """Values, and the gradients of all arguments."""
    found, expected = ours(*arguments), formula(*arguments)
    torch.testing.assert_close(found, expected)
    wanted = [a for a in arguments if a.requires_grad]
    for mine, its in zip(
        torch.autograd.grad(found.sin().sum(), wanted), torch.autograd.grad(expected.sin().sum(), wanted), strict=True
    ):
        torch.testing.assert_close(mine, its)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("shape", [(3, 4), (3, 1), (3,)])
def test_gaussian_nll_loss_is_torchs(reduction: str, full: bool, shape: tuple[int, ...]) -> None:
    var = normal(*shape, seed=2).square().detach()
    var[0] = 1e-9  # below the floor, where the gradient passes
    var.requires_grad_()
    options = {"full": full, "reduction": reduction, "eps": 1e-4}
    assert_same(
        lambda x, y, v: gaussian_nll_loss(x, y, v, **options),
        lambda x, y, v: F.gaussian_nll_loss(x, y, v, **options),
        normal(3, 4),
        normal(3, 4, seed=1),
        var,
    )


def test_gaussian_nll_loss_takes_one_variance_and_refuses_what_torch_refuses() -> None:
    x, y = normal(3, 4), normal(3, 4, seed=1)
    for var in (2.0, torch.tensor(2.0, dtype=torch.float64)):
        torch.testing.assert_close(gaussian_nll_loss(x, y, var), F.gaussian_nll_loss(x, y, torch.full_like(x, 2.0)))
    with pytest.raises(ValueError, match=r"var: expected the shape of input \(3, 4\), got \(2, 4\)"):
        gaussian_nll_loss(x, y, torch.ones(2, 4))
    with pytest.raises(ValueError, match="reduction: expected one of 'mean', 'sum', 'none', got 'batchmean'"):
        gaussian_nll_loss(x, y, 1.0, reduction="batchmean")


def test_the_divergence_of_vdvae() -> None:
    assert_same(
        vdvae.gaussian_analytical_kl,
        lambda m1, m2, s1, s2: -0.5 + s2 - s1 + 0.5 * (s1.exp() ** 2 + (m1 - m2) ** 2) / s2.exp() ** 2,
        *(normal(2, 3, 4, 4, seed=i) for i in range(4)),
    )


def test_the_sample_of_vdvae() -> None:
    def formula(mu: Tensor, logsigma: Tensor) -> Tensor:
        return mu + logsigma.exp() * gk.random.normal(gk.random.reserve(), mu.shape, dtype=mu.dtype)

    def seeded(sample: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda *arguments: (torch.manual_seed(3), sample(*arguments))[1]

    assert_same(seeded(vdvae.draw_gaussian_diag_samples), seeded(formula), normal(2, 5), normal(2, 5, seed=1))


@pytest.mark.parametrize("low_bit", [False, True])
def test_the_mixture_of_vdvae(low_bit: bool) -> None:
    """Equation 2 of PixelCNN++ (Salimans et al. 2017), masses as differences of the logistic's cdf."""
    bins, m = 32 if low_bit else 256, 3
    x = (torch.randint(bins, (2, 4, 4, 3)) / (bins - 1) * 2 - 1).double()
    parameters = normal(2, 4, 4, 10 * m)

    def formula(p: Tensor) -> Tensor:
        logits, rest = p[..., :m], p[..., m:].unflatten(-1, (3, 3 * m))
        means, log_scales, coefficients = rest[..., :m], rest[..., m : 2 * m].clamp(min=-7), rest[..., 2 * m :].tanh()
        value = x.unsqueeze(-1)
        means = torch.stack(
            [
                means[..., 0, :],
                means[..., 1, :] + coefficients[..., 0, :] * value[..., 0, :],
                means[..., 2, :]
                + coefficients[..., 1, :] * value[..., 0, :]
                + coefficients[..., 2, :] * value[..., 1, :],
            ],
            dim=-2,
        )
        half = 1 / (bins - 1)
        above = torch.sigmoid((value - means + half) / log_scales.exp())
        below = torch.sigmoid((value - means - half) / log_scales.exp())
        mass = torch.where(value < -0.999, above, torch.where(value > 0.999, 1 - below, above - below))
        return -(mass.log().sum(-2) + logits.log_softmax(-1)).logsumexp(-1).sum((1, 2)) / math.prod(x.shape[1:])

    assert_same(lambda p: vdvae.discretized_mix_logistic_loss(x, p, low_bit), formula, parameters)


def test_images_of_vdvae_are_channels_last() -> None:
    torch.manual_seed(1)
    found = vdvae.sample_from_discretized_mix_logistic(normal(2, 4, 4, 30).detach(), 3)
    torch.manual_seed(1)
    expected = gk.discretized_logistic_mixture_sample(normal(2, 4, 4, 30).detach(), mixtures=3, channel_dim=-1)
    assert found.shape == (2, 4, 4, 3) and torch.equal(found, expected)


@pytest.mark.parametrize("temp", [1.0, 0.7])
def test_the_normal_of_nvae(temp: float) -> None:
    arguments = [4 * normal(2, 3, seed=i) for i in range(4)]
    x = normal(2, 3, seed=9)
    methods: list[Callable] = [
        lambda kind, m, s, *_: kind(m, s, temp).sample_given_eps(x),
        lambda kind, m, s, *_: kind(m, s, temp).log_p(x),
        lambda kind, m, s, *_: kind(m, s, temp).sigma * kind(m, s, temp).mu,
    ]
    for method in methods:
        assert_same(lambda *a, f=method: f(nvae.Normal, *a), lambda *a, f=method: f(NormalOfNVAE, *a), *arguments[:2])
    assert_same(
        lambda m, s, n, t: nvae.Normal(m, s, temp).kl(nvae.Normal(n, t)),
        lambda m, s, n, t: NormalOfNVAE(m, s, temp).kl(NormalOfNVAE(n, t)),
        *arguments,
    )
    q = nvae.Normal(*arguments[:2], temp)
    z, eps = q.sample()
    torch.testing.assert_close(z, q.sample_given_eps(eps))
    assert not torch.equal(eps, q.sample()[1])


def test_the_divergence_of_guided_diffusion() -> None:
    def formula(m1: Tensor, l1: Tensor, m2: Tensor, l2: Tensor) -> Tensor:
        return 0.5 * (-1.0 + l2 - l1 + torch.exp(l1 - l2) + (m1 - m2) ** 2 * torch.exp(-l2))

    assert_same(guided_diffusion.normal_kl, formula, *(normal(2, 3, seed=i) for i in range(4)))
    zero = torch.zeros((), dtype=torch.float64)
    assert_same(
        lambda m, s: guided_diffusion.normal_kl(m, s, 0.0, 0.0),
        lambda m, s: formula(m, s, zero, zero),
        normal(2, 3),
        normal(3, seed=1),
    )
    torch.testing.assert_close(
        guided_diffusion.normal_kl(0.0, 0.5, normal(2, 3), 0.0), formula(zero, zero + 0.5, normal(2, 3), zero)
    )
    with pytest.raises(TypeError, match="expected at least one Tensor"):
        guided_diffusion.normal_kl(0.0, 0.0, 0.0, 0.0)


def test_the_likelihood_of_guided_diffusion() -> None:
    x = (torch.arange(256).double() / 255 * 2 - 1).repeat(2, 1)
    means, log_scales = normal(2, 256), 0.3 * normal(2, 256, seed=1)  # no mass so small that the formula loses digits

    def cdf(z: Tensor) -> Tensor:
        return 0.5 * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (z + 0.044715 * z**3)))

    def formula(m: Tensor, s: Tensor) -> Tensor:
        above, below = cdf((x - m + 1 / 255) * torch.exp(-s)), cdf((x - m - 1 / 255) * torch.exp(-s))
        mass = torch.where(x < -0.999, above, torch.where(x > 0.999, 1 - below, above - below))
        return mass.clamp(min=1e-12).log()

    def ours(m: Tensor, s: Tensor) -> Tensor:
        return guided_diffusion.discretized_gaussian_log_likelihood(x, means=m, log_scales=s, legacy=True)

    assert_same(ours, formula, means, log_scales)
    far = torch.full((1,), 30.0)
    exact = guided_diffusion.discretized_gaussian_log_likelihood(far * 0, means=far, log_scales=far * 0)
    floor = guided_diffusion.discretized_gaussian_log_likelihood(far * 0, means=far, log_scales=far * 0, legacy=True)
    assert exact < -400 and floor.item() == pytest.approx(math.log(1e-12))
    with pytest.raises(ValueError, match=r"means: expected the shape of x \(1,\), got \(2,\)"):
        guided_diffusion.discretized_gaussian_log_likelihood(far, means=torch.zeros(2), log_scales=far)


def test_the_divergence_of_disentangling_vae() -> None:
    def formula(mean: Tensor, logvar: Tensor) -> Tensor:
        return (0.5 * (-1 - logvar + mean**2 + logvar.exp())).mean(0).sum()

    mean, logvar = normal(5, 3), normal(5, 3, seed=1)
    assert_same(disentangling_vae._kl_normal_loss, formula, mean, logvar)
    storer: defaultdict[str, list[float]] = defaultdict(list)
    loss = disentangling_vae._kl_normal_loss(mean, logvar, storer)
    torch.testing.assert_close(loss, formula(mean, logvar))
    assert storer["kl_loss"] == [loss.item()]
    assert sum(storer[f"kl_loss_{i}"][0] for i in range(3)) == pytest.approx(loss.item())


@pytest.mark.parametrize("distribution", ["bernoulli", "gaussian", "laplace"])
def test_the_reconstruction_of_disentangling_vae(distribution: str) -> None:
    data = normal(4, 1, 3, 3, seed=1).sigmoid().detach()

    def formula(logits: Tensor) -> Tensor:
        probabilities = logits.sigmoid()
        total = {
            "bernoulli": F.binary_cross_entropy(probabilities, data, reduction="sum"),
            "gaussian": F.mse_loss(probabilities * 255, data * 255, reduction="sum") / 255,
            "laplace": 3 * F.l1_loss(probabilities, data, reduction="sum"),
        }[distribution]
        return total / len(data)

    assert_same(
        lambda logits: disentangling_vae._reconstruction_loss(data, logits.sigmoid(), distribution),
        formula,
        normal(4, 1, 3, 3),
    )
    storer: defaultdict[str, list[float]] = defaultdict(list)
    loss = disentangling_vae._reconstruction_loss(data, data, distribution, storer)
    assert storer["recon_loss"] == [loss.item()]
    with pytest.raises(ValueError, match="distribution: expected"):
        disentangling_vae._reconstruction_loss(data, data, "poisson")


@pytest.mark.parametrize(("is_mss", "legacy"), [(True, True), (True, False), (False, False)])
def test_the_densities_of_disentangling_vae(is_mss: bool, legacy: bool) -> None:
    size, n_data = 6, 40

    def weights() -> Tensor:
        m = size - 1
        others = torch.full((size, size), 1 / m, dtype=torch.float64)
        stratified = (n_data - m) / (n_data * m)
        if legacy:
            others.view(-1)[:: m + 1] = 1 / n_data
            others.view(-1)[1 :: m + 1] = stratified
            others[m - 1, 0] = stratified
        else:
            for i in range(size):
                others[i, i] = 1 / n_data
                others[i, (i + 1) % size] = stratified
        return others.log().unsqueeze(-1) if is_mss else torch.zeros(size, size, 1, dtype=torch.float64)

    def density(z: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
        return -0.5 * (LOG_2_PI + logvar + (z - mean) ** 2 * torch.exp(-logvar))

    def formula(z: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
        matrix = density(z.unsqueeze(1), mean.unsqueeze(0), logvar.unsqueeze(0))
        weighted = matrix + weights()
        joint = weighted.sum(2) if legacy else matrix.sum(2) + weights().squeeze(-1)
        zero = torch.zeros_like(z)
        return torch.stack(
            [
                density(z, zero, zero).sum(1),
                joint.logsumexp(1),
                weighted.logsumexp(1).sum(1),
                density(z, mean, logvar).sum(1),
            ]
        )

    def ours(z: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
        return torch.stack(disentangling_vae._get_log_pz_qz_prodzi_qzCx(z, (mean, logvar), n_data, is_mss, legacy))

    assert_same(ours, formula, *(normal(size, 3, seed=i) for i in range(3)))
