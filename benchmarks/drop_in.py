"""Training steps of other projects' models with and without genkern's drop-ins, in alternating rounds.

python -m benchmarks.drop_in   measures; benchmarks.report writes docs/drop-in.md
"""

from __future__ import annotations

import argparse
import importlib
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.chapter import Chapter, Measured, provenance, ratio_of
from benchmarks.measure import alternate
from benchmarks.results import FOLDER, format_time
from genkern import distributions
from genkern.compat import diffusers as compat_diffusers
from genkern.compat import disentangling_vae, guided_diffusion, nvae, vdvae
from genkern.compat import pythae as compat_pythae
from genkern.compat.torch import gaussian_nll_loss

_ROUNDS = 31

Step = Callable[[], object]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drop_in", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help=f"default: {_ROUNDS}")
    parser.add_argument(
        "--results", type=Path, default=FOLDER, metavar="FOLDER", help="where drop_in/<machine>.json goes"
    )
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    rows = [{"step": name, **measure(*steps, options.rounds)} for name, steps in cases()]
    print(CHAPTER.keep(options.results, {"rows": rows}))
    print("tables: python -m benchmarks.report")
    return 0


def measure(before: Step, after: Step, rounds: int) -> dict[str, Any]:
    """Seconds of a step without and with the drop-in: medians and 20–80 % quantiles."""
    return {name: asdict(found) for name, found in alternate({"before": before, "after": after}, rounds).items()}


def block(measured: Measured, picture: str | None) -> str:
    lines = [
        f"{provenance(measured)}. One thread, float32, forward and backward of what the row names; medians over "
        "alternating rounds. Unclear: the spread exceeds the difference.",
        "",
        "| step | without | with | × |",
        "|---|---:|---:|---:|",
    ]
    for row in measured["rows"]:
        before, after = row["before"], row["after"]
        times = f"{format_time(before['median'])} | {format_time(after['median'])}"
        lines.append(f"| {row['step']} | {times} | {ratio_of(before, after)} |")
    return "\n".join(lines)


def cases() -> Iterator[tuple[str, tuple[Step, Step]]]:
    yield "`torch.distributions`: sample, density, divergence of normals, [4096, 64]", _distributions()
    yield "`F.gaussian_nll_loss`, [4096, 64]", _nll()
    yield "diffusers: posterior, moments [4, 8, 64, 64]", _posterior(torch.contiguous_format)
    yield "diffusers: posterior, moments [4, 8, 64, 64], channels last", _posterior(torch.channels_last)
    yield "pythae: `VAE`, 128 images of 28 × 28", _pythae("VAE", 128, latent_dim=16)
    yield "pythae: `IWAE`, 64 images, 10 samples", _pythae("IWAE", 64, latent_dim=16, number_samples=10)
    yield "pythae: `BetaTCVAE`, 512 images, 10 dimensions", _pythae("BetaTCVAE", 512, latent_dim=10)
    yield "pythae: `INFOVAE_MMD`, 512 images, 10 dimensions", _pythae("INFOVAE_MMD", 512, latent_dim=10)
    yield "pyro: a step of SVI, 4096 × 64 normal latents", _pyro()
    yield "VDVAE: sample and divergence of a block, [16, 16, 32, 32]", _vdvae_block()
    yield "NVAE: sample and divergence of a group, [16, 20, 32, 32]", _nvae()
    yield "guided-diffusion: bound of images, [16, 3, 32, 32]", _guided_diffusion()
    yield "disentangling-vae: densities of β-TC, 256 × 10", _disentangling_vae()


def _distributions() -> tuple[Step, Step]:
    leaves = [torch.randn(4096, 64).requires_grad_() for _ in range(2)]

    def step(kind: Any) -> Step:
        def run() -> None:
            loc, raw = leaves
            q, p = kind(loc, raw.exp()), kind(torch.zeros(()), torch.ones(()))
            z = q.rsample()
            loss = (q.log_prob(z) - p.log_prob(z)).mean() + torch.distributions.kl_divergence(q, p).mean()
            torch.autograd.grad(loss, leaves)

        return run

    return step(torch.distributions.Normal), step(distributions.Normal)


def _nll() -> tuple[Step, Step]:
    mean, target = torch.randn(4096, 64).requires_grad_(), torch.randn(4096, 64)
    var = torch.rand(4096, 64).requires_grad_()

    def step(loss: Any) -> Step:
        return lambda: torch.autograd.grad(loss(mean, target, var), (mean, var))

    return step(F.gaussian_nll_loss), step(gaussian_nll_loss)


def _posterior(layout: torch.memory_format) -> tuple[Step, Step]:
    """The whole `AutoencoderKL` is a step of benchmarks.end_to_end."""
    vae = importlib.import_module("diffusers.models.autoencoders.vae")
    moments = torch.randn(4, 8, 64, 64).contiguous(memory_format=layout).requires_grad_()
    cotangent = torch.randn(4, 4, 64, 64).contiguous(memory_format=layout)

    def step(kind: Any) -> Step:
        def run() -> None:
            posterior = kind(moments)
            torch.autograd.grad((posterior.sample() * cotangent).sum() + posterior.kl().mean(), moments)

        return run

    return step(vae.DiagonalGaussianDistribution), step(compat_diffusers.DiagonalGaussianDistribution)


def _pythae(name: str, batch: int, **options: Any) -> tuple[Step, Step]:
    models = importlib.import_module("pythae.models")

    def step() -> Step:
        torch.manual_seed(0)
        config = getattr(models, "INFOVAE_MMD_Config" if name == "INFOVAE_MMD" else f"{name}Config")
        model = getattr(models, name)(config(input_dim=(1, 28, 28), **options))
        x: Tensor = torch.rand(batch, 1, 28, 28)

        def run() -> None:
            model.zero_grad()
            model({"data": x}, dataset_size=60_000).loss.backward()

        return run

    before = step()
    with compat_pythae.patch():
        return before, step()


def _pyro() -> tuple[Step, Step]:
    pyro, infer = importlib.import_module("pyro"), importlib.import_module("pyro.infer")
    fused = importlib.import_module("genkern.compat.pyro")
    loc, raw = (torch.randn(4096, 64).requires_grad_() for _ in range(2))
    x = torch.randn(4096, 64)

    def step(normal: Any) -> Step:
        def model() -> None:
            z = pyro.sample("z", normal(torch.zeros(4096, 64), torch.ones(())).to_event(2))
            pyro.sample("x", normal(z, torch.ones(())).to_event(2), obs=x)

        def guide() -> None:
            pyro.sample("z", normal(loc, raw.exp()).to_event(2))

        loss = infer.TraceMeanField_ELBO().differentiable_loss
        return lambda: torch.autograd.grad(loss(model, guide), (loc, raw))

    return step(pyro.distributions.Normal), step(fused.Normal)


# What the repositories publish, as formulas.


def _gradients(step: Callable[..., Tensor], *leaves: Tensor) -> Step:
    return lambda: torch.autograd.grad(step(*leaves), leaves)


def _leaves(count: int, *shape: int) -> list[Tensor]:
    return [torch.randn(shape).requires_grad_() for _ in range(count)]


def _vdvae_block() -> tuple[Step, Step]:
    def before(qm: Tensor, pm: Tensor, qv: Tensor, pv: Tensor) -> Tensor:
        z = torch.exp(qv) * torch.empty_like(qm).normal_(0.0, 1.0) + qm
        kl = -0.5 + pv - qv + 0.5 * (qv.exp() ** 2 + (qm - pm) ** 2) / pv.exp() ** 2
        return z.sum() + kl.sum()

    def after(qm: Tensor, pm: Tensor, qv: Tensor, pv: Tensor) -> Tensor:
        return vdvae.draw_gaussian_diag_samples(qm, qv).sum() + vdvae.gaussian_analytical_kl(qm, pm, qv, pv).sum()

    leaves = _leaves(4, 16, 16, 32, 32)
    return _gradients(before, *leaves), _gradients(after, *leaves)


def _nvae() -> tuple[Step, Step]:
    def soft_clamp(x: Tensor) -> Tensor:
        return x.div(5.0).tanh().mul(5.0)

    def before(qm: Tensor, qs: Tensor, pm: Tensor, ps: Tensor) -> Tensor:
        qm, pm = soft_clamp(qm), soft_clamp(pm)
        qs, ps = torch.exp(soft_clamp(qs)) + 1e-2, torch.exp(soft_clamp(ps)) + 1e-2
        z = torch.randn_like(qm).mul(qs).add(qm)
        term1, term2 = (qm - pm) / ps, qs / ps
        return z.sum() + (0.5 * (term1 * term1 + term2 * term2) - 0.5 - torch.log(term2)).sum()

    def after(qm: Tensor, qs: Tensor, pm: Tensor, ps: Tensor) -> Tensor:
        q, p = nvae.Normal(qm, qs), nvae.Normal(pm, ps)
        return q.sample()[0].sum() + q.kl(p).sum()

    leaves = _leaves(4, 16, 20, 32, 32)
    return _gradients(before, *leaves), _gradients(after, *leaves)


def _guided_diffusion() -> tuple[Step, Step]:
    x = torch.randint(256, (16, 3, 32, 32)) / 127.5 - 1

    def cdf(z: Tensor) -> Tensor:
        return 0.5 * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (z + 0.044715 * torch.pow(z, 3))))

    def before(mean: Tensor, logvar: Tensor) -> Tensor:
        kl = 0.5 * (-1.0 + logvar + torch.exp(-logvar) + (mean**2) * torch.exp(-logvar))
        inverse = torch.exp(-0.5 * logvar)
        above, below = cdf((x - mean + 1 / 255) * inverse), cdf((x - mean - 1 / 255) * inverse)
        masses = torch.where(x > 0.999, (1 - below).clamp(min=1e-12).log(), (above - below).clamp(min=1e-12).log())
        return kl.sum() - torch.where(x < -0.999, above.clamp(min=1e-12).log(), masses).sum()

    def after(mean: Tensor, logvar: Tensor) -> Tensor:
        nll = guided_diffusion.discretized_gaussian_log_likelihood(x, means=mean, log_scales=0.5 * logvar)
        return guided_diffusion.normal_kl(0.0, 0.0, mean, logvar).sum() - nll.sum()

    leaves = _leaves(2, 16, 3, 32, 32)
    return _gradients(before, *leaves), _gradients(after, *leaves)


def _disentangling_vae() -> tuple[Step, Step]:
    size, n_data = 256, 60_000

    def density(z: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
        return -0.5 * (math.log(2 * math.pi) + logvar) - 0.5 * ((z - mean) ** 2 * torch.exp(-logvar))

    weights = torch.full((size, size), 1 / (size - 1))
    weights.view(-1)[::size] = 1 / n_data
    weights.view(-1)[1::size] = (n_data - size + 1) / (n_data * (size - 1))
    weights = weights.log().view(size, size, 1)

    def before(z: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
        matrix = density(z.view(size, 1, -1), mean.view(1, size, -1), logvar.view(1, size, -1)) + weights
        joint, product = matrix.sum(2).logsumexp(1), matrix.logsumexp(1).sum(1)
        return (density(z, mean, logvar).sum(1) + 5 * joint - 4 * product - density(z, 0 * z, 0 * z).sum(1)).mean()

    def after(z: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
        prior, joint, product, own = disentangling_vae._get_log_pz_qz_prodzi_qzCx(z, (mean, logvar), n_data)
        return (own + 5 * joint - 4 * product - prior).mean()

    leaves = _leaves(3, size, 10)
    return _gradients(before, *leaves), _gradients(after, *leaves)


CHAPTER = Chapter("drop_in", "docs/drop-in.md", block)

if __name__ == "__main__":
    sys.exit(main())
