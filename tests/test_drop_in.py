"""docs/drop-in.md: its scripts run, and its hand-written lines are what it says replaces them."""

import math
import re
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import genkern as gk

ROOT = Path(gk.__file__).parents[1]
PAGE = (ROOT / "docs" / "drop-in.md").read_text(encoding="utf-8")
SCRIPTS = sorted((ROOT / "examples" / "drop_in").glob("*.py"))
LIBRARIES = {
    "diffusers_autoencoder": ("diffusers",),
    "pythae_models": ("pythae", "sklearn"),
    "pyro_inference": ("pyro",),
    "scvi_models": ("scvi", "anndata"),
    "lightning_module": ("lightning", "sklearn"),
    "torch_distributions": ("sklearn",),
}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore")
def test_a_script_runs_and_says_what_it_found(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for library in LIBRARIES.get(script.stem, ()):
        pytest.importorskip(library)
    runpy.run_path(str(script), run_name="__main__")
    numbers = re.findall(r"-?\d+\.\d+", capsys.readouterr().out)
    assert numbers and all(math.isfinite(float(n)) for n in numbers)


def test_every_script_is_on_the_page() -> None:
    assert len(SCRIPTS) >= 10
    assert set(re.findall(r"examples/drop_in/(\w+)\.py", PAGE)) == {script.stem for script in SCRIPTS}


MU, LOGVAR, X = (torch.randn(6, 4, generator=torch.Generator().manual_seed(i), dtype=torch.float64) for i in range(3))
P = MU.softmax(-1)
KEY = gk.random.key(0)


def _one_pass() -> Tensor:
    z, kl = gk.gaussian_rsample_kl(MU, LOGVAR, key=KEY)
    return torch.cat([z, kl.unsqueeze(1)], 1)


def _packed() -> Tensor:
    z, kl = gk.gaussian_rsample_kl_packed(torch.cat([MU, LOGVAR], 1), key=KEY)
    return torch.cat([z, kl.unsqueeze(1)], 1)


def _by_hand() -> Tensor:
    z = MU + torch.exp(0.5 * LOGVAR) * gk.random.normal(KEY, MU.shape, dtype=MU.dtype)
    return torch.cat([z, -0.5 * (1 + LOGVAR - MU.pow(2) - LOGVAR.exp()).sum(1, keepdim=True)], 1)


# By the line of the page: what people write, what replaces it.
LINES: dict[str, tuple[Callable[[], Tensor], Callable[[], Tensor]]] = {
    "gk.gaussian_rsample(mu": (lambda: _by_hand()[:, :4], lambda: gk.gaussian_rsample(MU, LOGVAR, key=KEY)),
    "gk.gaussian_kl(": (
        lambda: -0.5 * torch.sum(1 + LOGVAR - MU.pow(2) - LOGVAR.exp()),
        lambda: gk.gaussian_kl(MU, LOGVAR, reduction="sum"),
    ),
    "gk.gaussian_rsample_kl(": (_by_hand, _one_pass),
    "gk.gaussian_rsample_kl_packed(": (_by_hand, _packed),
    "gk.bernoulli_nll(": (
        lambda: F.binary_cross_entropy(torch.sigmoid(MU), P, reduction="sum"),
        lambda: gk.bernoulli_nll(P, MU, reduction="sum"),
    ),
    "gk.gaussian_nll(x, mu": (
        lambda: 0.5 * (math.log(2 * math.pi) + LOGVAR + (X - MU) ** 2 / LOGVAR.exp()).sum(-1),
        lambda: gk.gaussian_nll(X, MU, LOGVAR),
    ),
    "2 * gk.gaussian_nll(": (
        lambda: F.mse_loss(MU, X, reduction="sum") / len(X),
        lambda: 2 * gk.gaussian_nll(X, MU, full=False, reduction="batchmean"),
    ),
    "gk.importance_weighted_bound(": (
        lambda: torch.logsumexp(X, 0) - math.log(len(X)),
        lambda: gk.importance_weighted_bound(X),
    ),
    "gk.discrete_entropy(": (lambda: -(P * torch.log(P + 1e-8)).sum(-1), lambda: gk.discrete_entropy(P)),
    "gk.gan_discriminator_loss(": (
        lambda: F.softplus(-MU).mean() + F.softplus(X).mean(),
        lambda: gk.gan_discriminator_loss(real=MU, fake=X, kind="non_saturating"),
    ),
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_is_what_it_replaces(line: str) -> None:
    by_hand, replacement = LINES[line]
    assert line in PAGE
    torch.testing.assert_close(replacement(), by_hand(), rtol=1e-6, atol=1e-6)


def test_every_line_of_the_table_is_run() -> None:
    rows = PAGE.partition("| by hand |")[2].split("\n\n")[0].splitlines()[2:]
    assert len(rows) == len(LINES) == 10
