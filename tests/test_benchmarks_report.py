"""The report says what the files say, on every page that it writes. Next to nothing is timed here."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.measured import DROP_IN, MACHINE, MEMORY, RUN, results_of, row_of, write

from benchmarks import (
    drop_in,
    highlights,
    machine,
    measure,
    memory,
    predictions,
    report,
    results,
    single_cell,
    tables,
    verdicts,
)
from benchmarks.cases import APART, COMPILE, EAGER, GENKERN, MAX_AUTOTUNE, OPERATIONS, cases
from benchmarks.chapters import CHAPTERS
from benchmarks.results import Results, Row
from benchmarks.targets import FLOOR, REASONS, TARGETS, Reason, Target, Which

PAGES = ("README.md", "docs/performance.md", "benchmarks/results/README.md")


def test_the_tables_of_a_gpu_name_it_and_no_threads() -> None:
    rows = [
        dataclasses.replace(row_of(rival, seconds), shape=(65536, 512), device="cuda")
        for rival, seconds in ((GENKERN, 1e-3), (EAGER, 4.1e-3), (MAX_AUTOTUNE, 1.3e-3))
    ]
    gpu = {"name": machine.gpu_name("NVIDIA A100-SXM4-80GB"), "gpu": "NVIDIA A100-SXM4-80GB"}
    assert gpu["name"] == "nvidia-a100-sxm4-80gb"
    measured = Results({**gpu, "cpu": "A CPU", "cores": 2, "isa": "avx2"}, {RUN["date"]: RUN}, tuple(rows))
    for text in (tables.short([measured]), tables.full([measured], lambda _: {})):
        assert "NVIDIA A100-SXM4-80GB" in text and "thread" not in text and "A CPU" not in text
        assert "× torch.compile max-autotune" in text and "| 4.1 |" in text and "| 1.30 |" in text


def test_what_a_gpu_is_predicted_to_take_stands_beside_what_it_took(root: Path) -> None:
    page = root / "benchmarks" / "results" / "cuda.md"
    assert _report(root) == 0
    (before,) = (line for line in page.read_text().splitlines() if line.startswith("| `gaussian_kl` float32 "))
    # Two inputs forward, two inputs and two gradients backward, 4 bytes each of 65536 × 512 elements, at 4.8 TB/s.
    assert [cell.strip() for cell in before.split("|")[3:-1]] == ["55.9 µs", "memory", "", "168 µs", "memory", ""]
    row = dataclasses.replace(row_of(GENKERN, 336e-6), shape=(65536, 512), device="cuda")
    gpu = {"name": machine.gpu_name(predictions.H200.name), "gpu": predictions.H200.name}
    results.save(root / "results" / "gpu.json", dataclasses.replace(results_of(row), machine={**MACHINE, **gpu}))
    assert _report(root) == 0
    (after,) = (line for line in page.read_text().splitlines() if line.startswith("| `gaussian_kl` float32 "))
    assert after == before[: before.rindex("|  |")] + "| 336 µs, 50% |"


def test_what_bounds_a_case_is_the_slowest_part() -> None:
    gpu = predictions.GPU("a GPU", bandwidth=1e12, multiprocessors=10, clock=1e9)
    (case,) = (c for c in cases("random", "cuda") if str(c) == "random_uniform-65536x512-bfloat16-forward")
    elements = 65536 * 512
    assert predictions.bound(case, gpu) == pytest.approx(
        {"memory": 2 * elements / 1e12, "special functions": 0, "Philox": 15 * elements / (64 * 10 * 1e9)}
    )


def test_no_ratio_is_stated_where_the_spread_exceeds_the_difference() -> None:
    own, rival = row_of(GENKERN, 1.0, spread=0.1), row_of(EAGER, 3.0, spread=0.2)
    assert results.speedup(own, rival) == 3.0
    assert results.speedup(own, dataclasses.replace(rival, q80=6.0)) is None
    assert results.speedup(own, None) is None
    assert "| unclear |" in tables.short([results_of(own, dataclasses.replace(rival, q80=6.0))])


def test_the_summary_has_medians_of_families_and_how_many_ratios_are_unclear() -> None:
    rows = []
    for dims, (seconds, spread) in enumerate([(2.0, 0.0), (4.0, 0.0), (5.0, 0.0), (1.0, 0.5)], start=1):
        for row in (row_of(GENKERN, 1.0), row_of(EAGER, seconds, spread)):
            rows.append(dataclasses.replace(row, shape=(8192, dims)))
    rows += [dataclasses.replace(row, op="mmd") for row in (row_of(GENKERN, 1.0), row_of(COMPILE, 1.0, 0.5))]
    found = tables.summary(results_of(*rows))
    assert found.header == ["family", "operations", "cases", "× eager", "× torch.compile", "% of floor"]
    assert found.lines == [
        ["gaussian", "1", "4", "4.0 (1 unclear)", "–", "50 %"],
        ["mixture", "1", "1", "–", "1 unclear", "50 %"],
    ]


def test_the_cases_that_are_slower_than_eager_are_counted_and_named() -> None:
    """An unclear ratio, a rival that could not run and a run of more threads count for nothing."""
    rows = []
    for dims, (own, rival, spread) in enumerate([(1.0, 2.0, 0.0), (1.0, 0.8, 0.0), (1.0, 0.8, 0.5)], start=1):
        for row in (row_of(GENKERN, own), row_of(EAGER, rival, spread)):
            rows.append(dataclasses.replace(row, shape=(8192, dims), dtype="float16"))
    rows += [dataclasses.replace(row_of(GENKERN, 2.0), op="mmd"), dataclasses.replace(row_of(COMPILE, 1.0), op="mmd")]
    rows += [dataclasses.replace(row, threads=2) for row in (row_of(GENKERN, 2.0), row_of(EAGER, 1.0))]
    found = results_of(*rows)
    told = (
        "Slower than eager: 1 of 2 cases in float16, 1 thread (1 more unclear, not counted): "
        "`gaussian_kl` float16 [8192, 2] forward and backward."
    )
    assert tables.slower(found) == told
    assert told in tables.full([found], lambda _: {}) and told in tables.summaries([found])
    assert told in tables.short([results_of(*rows, row_of(GENKERN, 1.0))])
    gpu = dataclasses.replace(found, machine={**MACHINE, "gpu": "A GPU"})
    assert tables.slower(gpu).startswith("Slower than eager: 2 of 3 cases in float16 and float32 (1")


@pytest.mark.parametrize("slower", [0, 10, 11])
def test_slower_cases_are_named_where_they_are_at_most_ten(slower: int) -> None:
    rows = []
    for dims in range(12):
        for row in (row_of(GENKERN, 2.0), row_of(EAGER, 1.0 if dims < slower else 3.0)):
            rows.append(dataclasses.replace(row, shape=(8192, dims)))
    told = tables.slower(results_of(*rows))
    assert told.startswith(f"Slower than eager: {slower} of 12 ") and "unclear" not in told and APART not in told
    assert told.count("`gaussian_kl`") == (slower if slower <= 10 else 0)


def test_fused_operations_that_are_slower_than_their_parts_are_told_beside() -> None:
    found = results_of(row_of(GENKERN, 2.0), row_of(EAGER, 3.0), row_of(APART, 1.0))
    assert tables.slower(found) == (
        "Slower than eager: 0 of 1 cases in float32, 1 thread. Slower than genkern, apart: 1 of 1 cases in float32, "
        "1 thread: `gaussian_kl` [8192, 512] forward and backward."
    )


def test_targets_count_the_rows_that_meet_them_and_list_the_others_by_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unclear row counts for nothing, unless the best of its spread falls short, too; nor does one without rival."""
    twice = Target("of all", Which(families=("gaussian",)), EAGER, 2)
    floor = Target("of the floor", Which(("gaussian_kl",)), FLOOR, 70)
    elsewhere = Target("elsewhere", Which(), EAGER, 1, isa="avx512")
    monkeypatch.setattr(verdicts, "TARGETS", (twice, floor, elsewhere))
    known = Reason("Because.", Which(dtypes=("float16",)), (EAGER,))
    monkeypatch.setattr(verdicts, "REASONS", (known,))

    def pair(dims: int, dtype: str, eager: float, spread: float = 0.0) -> list[Row]:
        rows = [row_of(GENKERN, 1.0), row_of(EAGER, eager, spread)]
        return [dataclasses.replace(row, op="gaussian_nll", shape=(1, dims), dtype=dtype) for row in rows]

    rows = [
        *pair(1, "float16", 2.0),
        *pair(2, "float16", 1.999),
        *pair(3, "float16", 1.25),
        *pair(4, "float16", 1.2, spread=2.0),
        *pair(5, "float32", 1.2, spread=0.8),
        *pair(6, "float32", 3.0)[:1],
        *(dataclasses.replace(row, threads=2) for row in pair(7, "float32", 1.0)),
        dataclasses.replace(row_of(GENKERN, 1.0), op="gaussian_nll", shape=(1, 8), median=None, reason="no memory"),
        row_of(GENKERN, 1.0),
    ]
    here, there = results_of(*rows), Results({**MACHINE, "isa": "avx512"}, {RUN["date"]: RUN}, tuple(rows[2:4]))
    told = verdicts.block([here, there])
    assert "- **A CPU, 2 cores, avx2**: 1 of 5 (1 more unclear)\n" in told
    assert "| of all | all | both | 2 × eager | 1 of 4 (1 more unclear) | 0 of 1 |" in told
    assert "| of the floor | all | both | 70 % of the floor | 0 of 1 | – |" in told
    assert "| elsewhere | all | both | 1 × eager | – | 1 of 1 |" in told
    with_reason, _, without = told.partition("Because.")[2].partition("**No reason yet.**")
    nll = "| `gaussian_nll` | {} | {} | forward and backward | 2 × eager | {} |"
    assert nll.format("float16", "[1, 2], [1, 3]", "1.25 – 1.99 | 1.99") in with_reason
    assert nll.format("float32", "[1, 5]", "≤ 1.60") in without
    assert "| `gaussian_kl` | float32 | [8192, 512] | forward and backward | 70 % of the floor | 50.0 |" in without
    assert verdicts.block([]) == verdicts.block([results_of()]) == tables.NOTHING


def test_a_machine_on_which_nothing_misses_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "TARGETS", (Target("of all", Which(), EAGER, 2),))
    cases = [(results_of(row_of(GENKERN, 1.0), row_of(EAGER, *eager))) for eager in ((1.5,), (2.5,), (2.5, 4.0))]
    cases = [dataclasses.replace(case, machine={**MACHINE, "cores": n}) for n, case in enumerate(cases, 1)]
    assert "| 2 × eager | 1.50 | met | unclear |" in verdicts.block(cases)
    assert "misse" not in verdicts.block(cases[1:])


def test_targets_and_reasons_name_what_is_measured() -> None:
    operations, families = {op.name for op in OPERATIONS}, {op.family for op in OPERATIONS}
    shapes = {shape for op in OPERATIONS for sizes in op.shapes.values() for shape in sizes}
    for which in (known.rows for known in (*TARGETS, *REASONS)):
        assert operations.issuperset(which.operations) and families.issuperset(which.families)
        assert shapes.issuperset(which.shapes)
    assert len({(target.name, target.goal, target.rows) for target in TARGETS}) == len(TARGETS)


def test_tables_tell_which_floors_are_of_exponentials() -> None:
    own = dataclasses.replace(row_of(GENKERN, 1.0), exps_per_element=100, exp_rate=1e9)
    assert "| 50 % exp |" in tables.full([results_of(own)], lambda _: {})
    assert "| 50 % |" in tables.full([results_of(row_of(GENKERN, 1.0))], lambda _: {})


def test_launches_are_told_once_unless_shapes_differ() -> None:
    """In float32: in other dtypes, which are measured on fewer shapes, they are the same."""
    rows = [
        dataclasses.replace(row_of(rival, 1.0), op=op, shape=shape, launches=count)
        for op, shape, counts in (
            ("gaussian_kl", (2, 4), (2, 12)),
            ("gaussian_kl", (8, 4), (2, 12)),
            ("gaussian_nll", (2, 4), (2, 14)),
            ("gaussian_nll", (8, 4), (3, 14)),
        )
        for rival, count in zip((GENKERN, EAGER), counts, strict=True)
    ]
    rows.append(dataclasses.replace(rows[0], dtype="float16", launches=9))
    launches = tables.sections(results_of(*rows))[-1]
    assert launches.title == "Launches, 1 thread"
    assert launches.table.lines == [
        ["`gaussian_kl`", "all", "forward and backward", "2", "12"],
        ["`gaussian_nll`", "[2, 4]", "forward and backward", "2", "14"],
        ["`gaussian_nll`", "[8, 4]", "forward and backward", "3", "14"],
    ]


def test_results_survive_a_file_and_newer_rows_replace_older_ones(tmp_path: Path) -> None:
    old = results_of(row_of(GENKERN, 1.0), row_of(EAGER, 3.0))
    newer = dataclasses.replace(row_of(GENKERN, 0.5), run="2026-02-02T00:00:00Z")
    updated = old.updated({**RUN, "date": newer.run}, [newer])
    results.save(tmp_path / "machine.json", updated)
    assert results.load(tmp_path / "machine.json") == updated
    assert updated.rows == (newer,) and list(updated.runs) == [newer.run]
    assert [path.name for path in tmp_path.iterdir()] == ["machine.json"]


def test_report_writes_the_pages_and_check_compares_them(root: Path) -> None:
    results.save(root / "results" / "machine.json", results_of(row_of(GENKERN, 1e-3), row_of(EAGER, 3.5e-3)))
    assert _report(root, "--check") == 1
    assert _report(root) == 0
    assert _report(root, "--check") == 0
    for name in PAGES:
        text = (root / name).read_text()
        assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
        assert "| 3.5" in text and "| 1 ms |" in text
    assert "3.5" in (root / "build" / "benchmarks.html").read_text()
    (root / "README.md").write_text((root / "README.md").read_text().replace("| 3.5 |", "| 9.9 |"))
    assert _report(root, "--check") == 1


def test_readme_shows_the_machine_that_measured_most_of_its_operations(root: Path) -> None:
    assert "No results are recorded yet" in highlights.table([])
    cases = [(op, shape, rival) for op, shape in highlights.SHOWN.items() for rival in (GENKERN, EAGER, COMPILE)]
    seconds = {GENKERN: 1e-3, EAGER: 4e-3, COMPILE: 2e-3}
    rows = [dataclasses.replace(row_of(rival, seconds[rival]), op=op, shape=shape) for op, shape, rival in cases]
    other = [dataclasses.replace(row, shape=(2, 4)) for row in rows]
    most = dataclasses.replace(results_of(*rows, *other), machine={**MACHINE, "name": "most", "cpu": "The one of most"})
    results.save(root / "results" / "first.json", results_of(*rows[:3], *other))
    results.save(root / "results" / "most.json", most)
    assert _report(root) == 0
    text = (root / "README.md").read_text(encoding="utf-8")
    assert "The one of most" in text and text.count("| 1 ms | 4.0 | 2.0 |") == len(highlights.SHOWN) == 8
    picture = (root / highlights.PICTURE).read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 10_000


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)
def test_check_compares_the_block_of_every_chapter(root: Path, chapter: Any) -> None:
    assert _report(root) == 0
    path = root / chapter.page
    text = path.read_text()
    assert "old" not in text and f"python -m benchmarks.{chapter.name}" in text
    path.write_text(text.replace(f"python -m benchmarks.{chapter.name}", "something else"))
    assert _report(root, "--check") == 1


@pytest.mark.parametrize("broken", ["not JSON", '{"format": "other"}', '{"format": "genkern.benchmarks/1"}'])
def test_a_broken_results_file_is_named_and_nothing_is_written(
    tmp_path: Path, broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "machine.json").write_text(broken)
    assert report.main(["--results", str(tmp_path), "--root", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("benchmarks.report: machine.json: not a file of benchmark results")
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("broken", ["not JSON", "[]", "{}"])
def test_a_broken_file_of_a_chapter_is_named(root: Path, broken: str, capsys: pytest.CaptureFixture[str]) -> None:
    write(root / "results" / "memory" / "machine.json", broken)
    before = (root / "README.md").read_text()
    assert _report(root) == 2
    assert capsys.readouterr().err.startswith("benchmarks.report: memory/machine.json: not a file of this chapter")
    assert (root / "README.md").read_text() == before


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


def test_memory_over_the_batch_is_measured_drawn_and_told(root: Path) -> None:
    options = ["--results", str(root / "results")]
    if memory.main(["--largest", "128", "--largest-eager", "64", *options]) == 2:
        pytest.skip("the system does not tell a process its peak memory")
    (measured,) = memory.CHAPTER.files(root / "results")
    assert _report(root) == 0
    written = (root / "docs" / "performance.md").read_text()
    assert written.startswith("before\n") and written.endswith("after\n") and "old" not in written
    assert "| batch | genkern | eager |" in written and "| 128 | " in written
    picture = measured.with_suffix(".png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 10_000
    assert f"](../results/memory/{measured.stem}.png)" in written
    measured.with_suffix(".png").unlink()
    assert _report(root) == 0
    assert measured.with_suffix(".png").read_bytes() == picture
    assert (root / "docs" / "performance.md").read_text() == written
    told = memory.block(MEMORY, "picture.png")
    assert "| 128 | 3 MiB | 1 GiB |\n| 256 | 5 GiB | – |" in told and "](picture.png)" in told


def test_drop_ins_are_measured_and_written(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    steps = (lambda: calls.append("before"), lambda: calls.append("after"))

    def seconds(step: Callable[[], object], _: int) -> float:
        step()
        return {"before": 2e-3, "after": 1e-4}[calls[-1]]

    monkeypatch.setattr(measure, "host_seconds", seconds)
    monkeypatch.setattr(drop_in, "cases", lambda: iter([("a step", steps)]))
    assert drop_in.main(["--rounds", "5", "--results", str(root / "results")]) == 0
    assert _report(root) == 0
    text = (root / "docs" / "drop-in.md").read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| a step |"))
    assert row.split("|")[-2] == " 20.00 " and {"before", "after"} <= set(calls)
    assert _report(root) == 0
    assert (root / "docs" / "drop-in.md").read_text(encoding="utf-8") == text
    assert text.startswith("before") and text.endswith("after\n")


def test_epochs_of_single_cells_are_measured_and_written(root: Path) -> None:
    pytest.importorskip("scvi")
    given = ["--cells", "70", "--genes", "20", "--rounds", "1", "--threads", "1", "--curve", "2"]
    assert single_cell.main([*given, "--results", str(root / "results")]) == 0
    assert _report(root) == 0
    text = (root / "docs" / "counts.md").read_text(encoding="utf-8")
    for likelihood in ("negative binomial", "zero-inflated negative binomial"):
        row = next(line for line in text.splitlines() if line.startswith(f"| {likelihood} | 20 | 1 |"))
        told = json.loads(single_cell.CHAPTER.files(root / "results")[0].read_text())["rows"]
        (found,) = (r for r in told if single_cell._LIKELIHOODS[r["likelihood"]] == likelihood)
        assert all(found["share"][name] > 0 and found["epochs"][name]["rounds"] == 3 for name in ("before", "after"))
        assert [f" {found['share'][name]:.0%} " for name in ("before", "after")] == row.split("|")[7:9]
        assert [f" {found['bound'][name]:.1f} " for name in ("before", "after")] == row.split("|")[11:13]
        assert found["bound"]["before"] == pytest.approx(found["bound"]["after"], rel=0.2)  # of another noise
    (file,) = single_cell.CHAPTER.files(root / "results")
    without, fused, scvis = json.loads(file.read_text())["curve"]["runs"].values()
    for of, length in (("negative_elbo", 2), ("gradient_norm", 2)):  # a batch an epoch
        assert len(without[of]) == length and min(without[of]) > 0
        assert scvis[of] == pytest.approx(without[of], rel=1e-4)
        assert fused[of] != without[of] and fused[of] == pytest.approx(without[of], rel=0.5)
    assert f"the bound after 2 epochs, in nats a cell, is {without['negative_elbo'][-1]:.1f} without, " in text
    assert file.with_suffix(".png").stat().st_size > 10_000


def test_several_machines_of_a_chapter_follow_each_other(root: Path) -> None:
    for name in ("first", "second"):
        told = {**DROP_IN, "machine": {**MACHINE, "name": name, "cpu": name}}
        write(root / "results" / "drop_in" / f"{name}.json", json.dumps(told))
    assert _report(root) == 0
    text = (root / "docs" / "drop-in.md").read_text(encoding="utf-8")
    assert text.index("first, 2 cores") < text.index("| a `step` | 2 s | 500 ms | 4.00 |") < text.index("second, 2")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Every page with its blocks, and a folder for results."""
    blocks = {name: [(report.BEGIN, report.END)] for name in PAGES}
    for name in ("operations", "bytes"):
        blocks["docs/performance.md"].append((f"<!-- {name}:start -->", f"<!-- {name}:end -->"))
    blocks["docs/performance.md"].append((verdicts.BEGIN, verdicts.END))
    blocks["benchmarks/results/cuda.md"] = [(predictions.BEGIN, predictions.END)]
    for chapter in CHAPTERS:
        blocks.setdefault(chapter.page, []).append((chapter.begin, chapter.end))
    for name, markers in blocks.items():
        told = "between\n".join(f"{begin}\nold\n{end}\n" for begin, end in markers)
        write(tmp_path / name, f"before\n{told}after\n")
    (tmp_path / "results").mkdir()
    return tmp_path


def _report(root: Path, *options: str) -> int:
    return report.main(["--results", str(root / "results"), "--root", str(root), *options])
