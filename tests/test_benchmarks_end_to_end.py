"""Training steps with and without genkern are the same training, and the table says what was measured."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

sys.path.append(str(Path(__file__).parents[1]))  # for `from benchmarks import ...`

import genkern as gk
from benchmarks import chapter, end_to_end
from benchmarks.end_to_end import CHAPTER
from benchmarks.end_to_end_models import TRAININGS, Network, Training
from genkern.compat import diffusers as compat_diffusers

pytestmark = pytest.mark.late

_SMALL = {
    "ConvVAE": {"batch": 3, "size": 8, "latent": 2, "width": 4},
    "HierarchicalVAE": {"batch": 2, "size": 8, "latent": 2, "width": 8, "mixtures": 2},
    "TCVAE": {"batch": 6, "size": 4, "latent": 3, "width": 8},
    "Autoencoder": {"batch": 2, "size": 8, "width": 8},
    "Critic": {"batch": 3, "size": 8, "latent": 4, "width": 4},
}


@pytest.fixture(params=TRAININGS, ids=lambda training: training.network.__name__)
def networks(request: pytest.FixtureRequest) -> dict[str, Network]:
    training: Training = request.param
    name = training.network.__name__
    if name == "Autoencoder":
        pytest.importorskip("diffusers")
    return training.networks(**_SMALL[name])


def test_losses_and_gradients_are_the_same(networks: dict[str, Network], monkeypatch: pytest.MonkeyPatch) -> None:
    for network in networks.values():
        network.double()
    before, after = networks.values()
    # From here on torch's noise is genkern's: each draw reserves a key of torch's generator, as genkern's do.
    monkeypatch.setattr(torch, "randn", _drawn_by(gk.random.normal))
    monkeypatch.setattr(torch, "rand", _drawn_by(gk.random.uniform))
    monkeypatch.setattr(torch, "randn_like", lambda x: torch.randn(x.shape, dtype=x.dtype))
    losses = []
    for network in (before, after):
        torch.manual_seed(1)
        losses.append(network.loss())
        losses[-1].backward()
    # Another term, weight or draw shows in the first digits. The eager divergences lose some of float64's sixteen
    # where posterior and prior are close; the networks between multiply what is lost by a few.
    tolerance: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-12}
    torch.testing.assert_close(losses[1], losses[0], **tolerance)
    pairs = list(zip(before.named_parameters(), after.parameters(), strict=True))
    assert any(p.grad is not None for (_, p), _ in pairs)
    for (name, expected), found in pairs:
        assert torch.equal(found, expected), name
        assert (found.grad is None) == (expected.grad is None), name
        if expected.grad is not None:
            torch.testing.assert_close(found.grad, expected.grad, **tolerance)


def _drawn_by(draw: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """In place of torch.randn or torch.rand, which take sizes one by one or together."""

    def drawn(*size: Any, dtype: torch.dtype, **_: Any) -> Tensor:
        shape = size if isinstance(size[0], int) else size[0]
        return draw(gk.random.reserve(), tuple(shape), dtype=dtype)

    return drawn


def test_a_step_trains_and_leaves_no_gradient(networks: dict[str, Network]) -> None:
    for network in networks.values():
        weights = {name: p.detach().clone() for name, p in network.named_parameters()}
        end_to_end.training_step(network)()
        assert all(p.grad is None and p.isfinite().all() for p in network.parameters())
        moved = {name for name, p in network.named_parameters() if not torch.equal(p, weights[name])}
        assert moved and moved <= {name for name, p in network.named_parameters() if p.requires_grad}


def test_the_head_is_what_the_step_calls(networks: dict[str, Network]) -> None:
    """The same calls on both sides, and a gradient of each input that has one in training."""
    found = []
    for network in networks.values():
        formulas, calls = network.formulas, end_to_end._calls(network)
        assert network.formulas is formulas
        assert all(x.is_leaf for _, inputs in calls for x in inputs)
        found.append([(formula.__name__, [(x.shape, x.requires_grad) for x in inputs]) for formula, inputs in calls])
        gradients = end_to_end.head(network)()
        assert isinstance(gradients, tuple) and all(g.isfinite().all() for g in gradients)
        assert len(gradients) == sum(wanted for _, inputs in found[-1] for _, wanted in inputs) > 0
    assert found[0] == found[1]
    public = {name for name in dir(type(formulas)) if not name.startswith("_")}
    assert {name for name, _ in found[0]} == public


def test_the_posterior_is_that_of_the_patched_autoencoder() -> None:
    pytest.importorskip("diffusers")
    training = next(t for t in TRAININGS if t.network.__name__ == "Autoencoder")
    before, after = training.networks(**_SMALL["Autoencoder"]).values()
    autoencoder: Any = before.autoencoder
    posterior = autoencoder.encode(before.x).latent_dist
    assert type(posterior) is before.formulas.posterior
    moments = autoencoder.quant_conv(autoencoder.encoder(before.x))
    torch.testing.assert_close(posterior.parameters, moments)
    with compat_diffusers.patch():
        assert type(autoencoder.encode(before.x).latent_dist) is after.formulas.posterior
    assert issubclass(after.formulas.posterior, compat_diffusers.DiagonalGaussianDistribution)


class _Slow:
    def square(self, x: Tensor) -> Tensor:
        time.sleep(6e-3)
        return (x * x).sum()


class _Fast(_Slow):
    def square(self, x: Tensor) -> Tensor:
        return (x * x).sum()


class _Tiny(Network):
    title = "a step"

    def __init__(self, formulas: _Slow) -> None:
        super().__init__()
        self.formulas = formulas
        self.weight = nn.Parameter(torch.ones(4))

    def loss(self) -> Tensor:
        return self.formulas.square(self.weight * 2)


def test_steps_are_measured_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(end_to_end, "TRAININGS", (Training(_Tiny, _Slow, _Fast),))
    assert end_to_end.main(["--rounds", "5", "--results", str(tmp_path)]) == 0
    (path,) = CHAPTER.files(tmp_path)
    printed = capsys.readouterr().out
    assert printed.startswith("a step | ") and str(path) in printed
    assert printed.endswith("tables: python -m benchmarks.report\n")
    measured = json.loads(path.read_text(encoding="utf-8"))
    (row,) = measured["rows"]
    assert set(row) == {"step", "before", "after", "head_before", "head_after", "peak_before", "peak_after"}
    assert row["before"]["rounds"] == 5 and row["before"]["median"] > 6e-3 > row["after"]["median"]
    assert row["head_before"]["median"] > 6e-3 > row["head_after"]["median"]
    header, _, line = CHAPTER.block(measured, None).splitlines()[-3:]
    assert header.startswith("| step | without | with | × |")
    assert line.startswith("| a step | ") and line.count("|") == header.count("|") and "unclear" not in line


def test_the_table_has_ratios_sizes_and_shares() -> None:
    row = {
        "step": "a step",
        "before": _timing(0.3, 0.01),
        "after": _timing(0.2, 0.02),
        "head_before": _timing(0.12, 0.0),
        "head_after": _timing(0.001, 0.0),
        "peak_before": 3 * 2**30,
        "peak_after": 5 * 2**20,
    }
    noisy = {**row, "after": _timing(0.29, 0.02), "peak_before": None, "peak_after": None}
    run = {"date": "2026-01-01T00:00:00Z", "commit": "abc", "versions": {"torch": "2.13", "genkern": "0.1"}}
    cpu = {"cpu": "A CPU", "cores": 2, "isa": "avx2"}
    told = CHAPTER.block({"machine": cpu, "run": run, "threads": 2, "rows": [row, noisy]}, None)
    assert told.startswith("A CPU, 2 cores, avx2; torch 2.13, genkern 0.1 at abc, 2026-01-01, 2 threads. ")
    assert "| a step | 300 ms | 200 ms | 1.50 | 3 GiB | 5 MiB | 40 % | 0.5 % |" in told
    assert "| a step | 300 ms | 290 ms | unclear | – | – | 40 % | 0.34 % |" in told
    gpu = CHAPTER.block({"machine": {**cpu, "gpu": "A GPU"}, "run": run, "threads": 1, "rows": [row]}, None)
    assert gpu.startswith("A GPU; ") and "thread" not in gpu


def test_a_ratio_wants_a_difference_beyond_the_spread() -> None:
    assert chapter.ratio_of(_timing(2.0, 0.4), _timing(1.0, 0.1)) == "2.00"
    assert chapter.ratio_of(_timing(1.0, 0.1), _timing(2.0, 0.4)) == "0.50"
    assert chapter.ratio_of(_timing(2.0, 1.1), _timing(1.0, 0.1)) == "unclear"


def _timing(median: float, spread: float) -> dict[str, Any]:
    return {"median": median, "quantiles": [median - spread / 2, median + spread / 2], "rounds": 11, "calls": 1}
