"""The benchmarks compare equals, and the report says what the files say. Nothing is timed here."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
import time
import types
from pathlib import Path

import pytest
import scipy.stats
import torch
from torch import Tensor

sys.path.append(str(Path(__file__).parents[1]))  # for `from benchmarks import ...`

from benchmarks import drop_in, launches, machine, memory, report, results, tables
from benchmarks.cases import EAGER, GENKERN, LIGER, MAX_AUTOTUNE, OPERATIONS, Case, Formula, Operation, cases, step
from benchmarks.results import Results, Row
from benchmarks.rivals import EMA_DECAY

# Large enough for the statistics of noise, small enough to be quick.
_SHAPE = (64, 64)
# float32 sums of 64 terms that cancel in parts; no contestant is more exact than that.
_TOLERANCE = {"rtol": 2e-5, "atol": 2e-4}
# PixelCNN++ subtracts sigmoids that may be 1e-5 apart, of which a rounding is 0.6 %.
_TOLERANCES = {"discretized_logistic_mixture_nll": {"rtol": 1e-2, "atol": 5e-3}}

_CONTESTANTS = [
    pytest.param(op, formula, id=f"{op.name}-{name}")
    for op in OPERATIONS
    for name, formula in [(GENKERN, op.genkern), *op.rivals.items()]
]


@pytest.mark.parametrize(("op", "formula"), _CONTESTANTS)
@pytest.mark.parametrize("shape", [(2, 4), (1, 1), (3, 4, 2, 2)], ids=str)
def test_every_contestant_runs_in_every_mode(op: Operation, formula: Formula, shape: tuple[int, ...]) -> None:
    inputs = op.make_inputs(_shape_for(op, shape), torch.float32)
    for mode in op.modes:
        outputs = step(formula, inputs, mode)()
        assert all(isinstance(y, Tensor) and y.isfinite().all() for y in outputs)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("op", "formula"), _CONTESTANTS)
def test_contestants_compute_the_same(op: Operation, formula: Formula, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples are noise of the right law; losses and gradients are those of the sample that was drawn."""
    inputs = op.make_inputs(_shape_for(op, _SHAPE), torch.float32)
    outputs = formula(*inputs)
    if op.name == "random_normal":
        _check_standard_normal(outputs[0])
        return
    if op.name == "ema_update_":
        _check_averages(formula, *inputs)
        return
    if op.name == "gumbel_softmax":
        _check_relaxed_sample(outputs[0], *inputs)
        return
    expected = op.rivals[EAGER](*inputs)
    assert [y.shape for y in outputs] == [y.shape for y in expected]
    if "rsample" in op.name:
        loc, logvar = _sampled_from(inputs)
        eps = ((outputs[0] - loc) / torch.exp(0.5 * logvar)).detach()
        _check_standard_normal(eps)
        with monkeypatch.context() as drawn:
            drawn.setattr(torch, "randn_like", lambda _: eps)
            expected = op.rivals[EAGER](*inputs)
    if op.name == "interpolate":
        real, fake = (x.detach() for x in inputs)
        eps = ((outputs[0].detach() - fake) / (real - fake)).median(dim=1, keepdim=True).values
        assert scipy.stats.kstest(eps.flatten().numpy(), "uniform").pvalue > 1e-4
        with monkeypatch.context() as drawn:
            drawn.setattr(torch, "rand", lambda *_, **__: eps)
            expected = op.rivals[EAGER](*inputs)
    leaves = [x for x in inputs if x.requires_grad]
    grads = [torch.randn_like(y) for y in expected]
    pairs = [
        *zip(outputs, expected, strict=True),
        *zip(torch.autograd.grad(outputs, leaves, grads), torch.autograd.grad(expected, leaves, grads), strict=True),
    ]
    for got, want in pairs:
        torch.testing.assert_close(got, want, **_TOLERANCES.get(op.name, _TOLERANCE))


@pytest.mark.parametrize("name", ["discrete_kl", "categorical_kl"])
def test_liger_kernel_is_measured_on_a_gpu_that_has_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its module is torch's with other kernels, which stands in for it here."""
    op = next(op for op in OPERATIONS if op.name == name)
    case = Case(op, "small", (3, 4, 5), torch.float32, "forward_backward", "cuda")
    assert (LIGER in case.rivals) == (importlib.util.find_spec("liger_kernel") is not None)
    assert LIGER not in dataclasses.replace(case, device="cpu").rivals
    stand_in = types.SimpleNamespace(LigerKLDIVLoss=torch.nn.KLDivLoss)
    monkeypatch.setitem(sys.modules, "liger_kernel", types.ModuleType("liger_kernel"))
    monkeypatch.setitem(sys.modules, "liger_kernel.transformers", stand_in)
    assert op.liger is not None
    inputs = op.make_inputs(case.shape, case.dtype)
    torch.testing.assert_close(op.liger(*inputs), op.rivals[EAGER](*inputs), **_TOLERANCE)


def _shape_for(op: Operation, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of pairs, points before dimensions; the mixture of logistics has 100 channels of parameters."""
    if op.of_pairs:
        return (shape[0], *shape[:2])
    return (shape[0], 100, *(shape[2:] or (2, 2))) if op.name.startswith("discretized_logistic") else shape


def _check_averages(formula: Formula, averages: tuple[Tensor, ...], values: tuple[Tensor, ...]) -> None:
    expected = [a + (1 - EMA_DECAY) * (v - a) for a, v in zip(averages, values, strict=True)]
    updated = formula(averages, values)
    assert all(a is b for a, b in zip(updated, averages, strict=True))
    torch.testing.assert_close(list(updated), expected, **_TOLERANCE)


def _check_relaxed_sample(y: Tensor, logits: Tensor) -> None:
    """Noise is recovered up to a constant a row; a difference of two Gumbel variables is logistic."""
    noise = (torch.log(y) - logits).detach().double()
    left, right = noise.chunk(2, dim=1)
    assert scipy.stats.kstest((left - right).flatten().numpy(), "logistic").pvalue > 1e-4
    grad = torch.randn_like(y)
    expected = y * (grad - (grad * y).sum(dim=-1, keepdim=True))
    torch.testing.assert_close(torch.autograd.grad(y, logits, grad)[0], expected.detach(), **_TOLERANCE)


def _sampled_from(inputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """The location and log variance of a head's sample: the arguments, their halves, or prior + residual."""
    if len(inputs) == 4:
        return inputs[0] + inputs[2], inputs[1] + inputs[3]
    loc, logvar = inputs if len(inputs) == 2 else inputs[0].chunk(2, dim=1)
    return loc, logvar


@pytest.mark.parametrize("op", [op for op in OPERATIONS if op.family == "gan"], ids=lambda op: op.name)
def test_an_operation_of_gans_is_one_launch_forward_and_one_backward(op: Operation) -> None:
    found = launches.counts(op, compiled=False)
    assert found[GENKERN] == {mode: 1 + (mode != "forward") for mode in op.modes}
    assert all(found[EAGER][mode] > found[GENKERN][mode] for mode in op.modes)


def test_bytes_per_element_count_each_input_and_output_once() -> None:
    nll = next(op for op in OPERATIONS if op.name == "gaussian_nll")
    assert Case(nll, "large", (8, 8), torch.float32, "forward").bytes_per_element == 12
    assert Case(nll, "large", (8, 8), torch.bfloat16, "forward_backward").bytes_per_element == 16


def test_a_gpu_is_measured_on_large_shapes_of_two_dtypes() -> None:
    for family in {op.family for op in OPERATIONS}:
        found = cases(family, "cuda")
        assert {case.device for case in found} == {"cuda"}
        large = [case for case in found if case.size == "large"]
        assert {case.dtype for case in large} == {torch.float32, torch.bfloat16}
        assert min(case.numel for case in large) >= 2**25
        assert {case.op.name for case in found if case.quick} == {op.name for op in OPERATIONS if op.family == family}
    assert any(len(case.shape) == 4 and case.size == "large" for case in cases("gaussian", "cuda"))


def test_the_tables_of_a_gpu_name_it_and_no_threads() -> None:
    rows = [
        dataclasses.replace(_row(rival, seconds), shape=(65536, 512), device="cuda")
        for rival, seconds in ((GENKERN, 1e-3), (EAGER, 4.1e-3), (MAX_AUTOTUNE, 1.3e-3))
    ]
    gpu = {"name": machine.gpu_name("NVIDIA A100-SXM4-80GB"), "gpu": "NVIDIA A100-SXM4-80GB"}
    assert gpu["name"] == "nvidia-a100-sxm4-80gb"
    measured = Results({**gpu, "cpu": "A CPU", "cores": 2, "isa": "avx2"}, {_RUN["date"]: _RUN}, tuple(rows))
    for text in (tables.short([measured]), tables.full([measured], lambda name: None)):
        assert "NVIDIA A100-SXM4-80GB" in text and "thread" not in text and "A CPU" not in text
        assert "× torch.compile max-autotune" in text and "| 4.1 |" in text and "| 1.30 |" in text


def test_no_ratio_is_stated_where_the_spread_exceeds_the_difference() -> None:
    own, rival = _row(GENKERN, 1.0, spread=0.1), _row(EAGER, 3.0, spread=0.2)
    assert results.speedup(own, rival) == 3.0
    assert results.speedup(own, dataclasses.replace(rival, q80=6.0)) is None
    assert results.speedup(own, None) is None
    assert "| unclear |" in tables.short([_results(own, dataclasses.replace(rival, q80=6.0))])


def test_results_survive_a_file_and_newer_rows_replace_older_ones(tmp_path: Path) -> None:
    old = _results(_row(GENKERN, 1.0), _row(EAGER, 3.0))
    newer = dataclasses.replace(_row(GENKERN, 0.5), run="2026-02-02T00:00:00Z")
    updated = old.updated({**_RUN, "date": newer.run}, [newer])
    results.save(tmp_path / "machine.json", updated)
    assert results.load(tmp_path / "machine.json") == updated
    assert updated.rows == (newer,) and list(updated.runs) == [newer.run]
    assert [path.name for path in tmp_path.iterdir()] == ["machine.json"]


def test_report_writes_the_pages_and_check_compares_them(tmp_path: Path) -> None:
    pages = [tmp_path / "README.md", tmp_path / "docs" / "performance.md"]
    pages[1].parent.mkdir()
    for page in pages:
        page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    results.save(tmp_path / "machine.json", _results(_row(GENKERN, 1e-3), _row(EAGER, 3.5e-3)))
    arguments = ["--results", str(tmp_path), "--root", str(tmp_path)]
    assert report.main([*arguments, "--check"]) == 1
    assert report.main(arguments) == 0
    assert report.main([*arguments, "--check"]) == 0
    for page in pages:
        text = page.read_text()
        assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
        assert "| 1 ms |" in text and "| 3.5 |" in text
    pages[0].write_text(pages[0].read_text().replace("| 3.5 |", "| 9.9 |"))
    assert report.main([*arguments, "--check"]) == 1


@pytest.mark.parametrize("broken", ["not JSON", '{"format": "other"}', '{"format": "genkern.benchmarks/1"}'])
def test_a_broken_results_file_is_named_and_nothing_is_written(
    tmp_path: Path, broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "machine.json").write_text(broken)
    assert report.main(["--results", str(tmp_path), "--root", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("benchmarks.report: machine.json: not a file of benchmark results")
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("cpu", "name"),
    [
        ("AMD EPYC", "amd-epyc-2-cores-avx2"),
        ("Intel(R) Xeon(R) CPU E5-2690 v4 @ 2.60GHz", "intel-xeon-e5-2690-v4-2-cores-avx2"),
        ("AMD EPYC 7763 64-Core Processor", "amd-epyc-7763-2-cores-avx2"),
    ],
)
def test_a_machine_is_named_after_its_processor(cpu: str, name: str) -> None:
    assert machine.machine_name(cpu, 2, "avx2") == name


def test_a_page_without_markers_is_an_error() -> None:
    with pytest.raises(ValueError, match="README.md: expected one pair of"):
        report.replace_block("README.md", "no markers", "block")


def test_memory_over_the_batch_is_measured_drawn_and_told(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "performance.md"
    page.write_text(f"before\n{memory.BEGIN}\nold\n{memory.END}\nafter\n")
    options = ["--results", str(tmp_path / "results"), "--root", str(tmp_path)]
    assert memory.main(["--draw", *options]) == 2  # nothing is recorded
    if memory.main(["--largest", "256", "--largest-eager", "128", *options]) == 2:
        pytest.skip("the system does not tell a process its peak memory")
    written = page.read_text()
    assert written.startswith("before\n") and written.endswith("after\n") and "old" not in written
    assert "| batch | genkern | eager |" in written and "| 256 | " in written
    picture = (tmp_path / "docs" / "memory-over-batch.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 10_000
    (tmp_path / "docs" / "memory-over-batch.png").unlink()
    assert memory.main(["--draw", *options]) == 0
    assert (tmp_path / "docs" / "memory-over-batch.png").read_bytes() == picture
    assert page.read_text() == written
    measured = {"machine": {"cpu": "A CPU", "cores": 2, "isa": "avx2"}, "run": _RUN, "dims": 64}
    peaks = {"genkern": [[128, 3 * 2**20], [256, 5 * 2**30]], "eager": [[128, 2**30]]}
    told = memory.block({**measured, "peaks": peaks}, "picture.png")
    assert "| 128 | 3 MiB | 1 GiB |\n| 256 | 5 GiB | – |" in told and "](picture.png)" in told


_RUN = {
    "date": "2026-01-01T00:00:00Z",
    "commit": "abc",
    "versions": {"python": "3.11", "torch": "2.13", "genkern": "0.1"},
    "isa": "avx2",
    "load_before": 0.0,
}


def _results(*rows: Row) -> Results:
    return Results({"name": "machine", "cpu": "A CPU", "cores": 2, "isa": "avx2"}, {_RUN["date"]: _RUN}, rows)


def _row(rival: str, median: float, spread: float = 0.0) -> Row:
    return Row(
        op="gaussian_kl",
        size="large",
        shape=(8192, 512),
        dtype="float32",
        device="cpu",
        threads=1,
        mode="forward_backward",
        rival=rival,
        run="2026-01-01T00:00:00Z",
        median=median,
        q20=median - spread / 2,
        q80=median + spread / 2,
        rounds=11,
        calls=1,
        bytes_per_element=24,
        copy_bandwidth=2.5e10,
        floor=median / 2,
        peak_memory=2**25,
        compile_time=None,
        reason=None,
    )


def _check_standard_normal(eps: Tensor) -> None:
    """Mean and variance within five standard errors; and no two draws alike."""
    n = eps.numel()
    assert abs(eps.mean().item()) < 5 / n**0.5
    assert abs(eps.var().item() - 1) < 5 * (2 / n) ** 0.5
    assert eps.unique().numel() > 0.99 * n


def test_drop_ins_are_measured_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "docs" / "drop-in.md"
    page.parent.mkdir()
    page.write_text(f"before\n{drop_in.BEGIN}\n{drop_in.END}\nafter\n", encoding="utf-8")
    calls: list[str] = []
    steps = (lambda: (time.sleep(2e-3), calls.append("before")), lambda: calls.append("after"))
    monkeypatch.setattr(drop_in, "cases", lambda: iter([("a step", steps)]))
    arguments = ["--results", str(tmp_path / "results"), "--root", str(tmp_path)]
    assert drop_in.main(["--table", *arguments]) == 2  # nothing is recorded
    assert drop_in.main(["--rounds", "5", *arguments]) == 0
    text = page.read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| a step |"))
    assert float(row.split("|")[-2]) > 10 and {"before", "after"} <= set(calls)
    assert drop_in.main(["--table", *arguments]) == 0
    assert page.read_text(encoding="utf-8") == text and text.startswith("before") and text.endswith("after\n")
