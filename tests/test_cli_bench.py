"""`genkern bench`: what it measures and writes, what it compares, how it refuses."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.backends import NATIVE
from support.command import assert_refused
from support.measured import MACHINE, RUN, results_of, row_of

import genkern as gk
from benchmarks import results
from benchmarks.cases import EAGER, GENKERN, OPERATIONS
from benchmarks.results import Results
from genkern.cli import bench

pytestmark = pytest.mark.late

_ROOT = Path(__file__).parents[1]
_ONE_CASE = ["bench", "--family", "random", "-k", "128x10", "--quick"]

needs_kernels = pytest.mark.skipif(NATIVE.missing() is not None, reason=str(NATIVE.missing()))


def test_every_family_of_the_table_can_be_asked_for():
    assert sorted(bench._FAMILIES) == sorted({op.family for op in OPERATIONS})


@needs_kernels
def test_a_run_writes_its_rows_and_a_page(tmp_path):
    process = _run(*_ONE_CASE, "--out", tmp_path / "out")
    assert process.returncode == 0, process.stdout + process.stderr
    assert "random_normal [128, 10] float32 forward: " in process.stderr  # the progress
    [file] = (tmp_path / "out").glob("*.json")
    rows = {row.rival: row for row in results.load(file).rows}
    assert rows[GENKERN].median > 0 and rows[GENKERN].launches == 1
    assert "[128, 10]" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


@needs_kernels
def test_an_instruction_set_is_that_of_the_whole_run_and_of_its_file(tmp_path):
    """The last is the narrowest, and not what is chosen where there is another."""
    isa = gk.info()["isa"]["available"][-1]
    process = _run(*_ONE_CASE, "--isa", isa, "--out", tmp_path)
    assert process.returncode == 0, process.stdout + process.stderr
    [file] = tmp_path.glob("*.json")
    found = results.load(file)
    assert file.stem == found.machine["name"] and file.stem.endswith(f"-{isa}")
    [run] = found.runs.values()
    assert found.machine["isa"] == run["isa"] == isa
    assert run["torch_isa"] == torch.backends.cpu.get_cpu_capability().lower()  # of its own: not what was asked for
    assert f"cores, {isa}" in (tmp_path / "report.html").read_text(encoding="utf-8")


@needs_kernels
def test_an_instruction_set_that_is_not_there_is_refused(tmp_path):
    process = _run("bench", "--isa", "mmx", "--out", tmp_path)
    available = ", ".join(gk.info()["isa"]["available"])
    assert process.returncode == 2 and not list(tmp_path.iterdir())
    assert f"--isa: this processor has no 'mmx'; there are {available}" in process.stderr
    process = _run("bench", "--isa", "baseline", "--device", "cuda")
    assert process.returncode == 2 and "--isa: of the CPU's kernels, not for --device cuda" in process.stderr


@needs_kernels
def test_a_wheel_carries_the_suite(tmp_path):
    """The package as build_py leaves it, with the binary of the checkout."""
    built = [sys.executable, "setup.py", "build_py", "--build-lib", tmp_path / "lib"]
    subprocess.run(built, cwd=_ROOT, env={**os.environ, "GENKERN_NATIVE": "0"}, check=True, capture_output=True)
    for file in (*(_ROOT / "genkern").glob("_C*.so"), _ROOT / "genkern" / "_build.json"):
        shutil.copy(file, tmp_path / "lib" / "genkern")
    process = _run(*_ONE_CASE, cwd=tmp_path, path=tmp_path / "lib")
    assert process.returncode == 0, process.stdout + process.stderr
    written = tmp_path / "genkern-bench"
    assert len(list(written.glob("*.json"))) == 1 and (written / "report.html").exists()


def test_two_files_are_compared(genkern, tmp_path):
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    small = {"shape": (2, 4), "floor": None}
    old = [row_of(GENKERN, 3e-3), row_of(EAGER, 8e-3), dataclasses.replace(row_of(GENKERN, 1e-3, 1e-3), **small)]
    new = [row_of(GENKERN, 1e-3), row_of(EAGER, 4e-3), dataclasses.replace(row_of(GENKERN, 2e-3, 2e-3), **small)]
    results.save(before, results_of(*old))
    results.save(after, Results({**MACHINE, "name": "another"}, {RUN["date"]: RUN}, tuple(new)))
    code, out, _ = genkern("bench", "--compare", before, after)
    assert code == 0
    [large] = [line for line in out.splitlines() if "[8192, 512]" in line]
    assert [cell.strip() for cell in large.split("│")[6:10]] == ["3 ms", "1 ms", "3", "2"]
    assert "1 faster, 0 slower, 1 unclear" in out
    assert "measured on machine and on another" in out
    assert "0 faster, 1 slower, 1 unclear" in genkern("bench", "--compare", after, before)[1]


def test_unusable_requests_are_refused(genkern, tmp_path):
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps({"format": "other"}))
    assert_refused(genkern("bench", "--family", "faces"), "--family: expected one of gaussian", "'faces'")
    assert_refused(genkern("bench", "--device", "tpu"), "--device: expected cpu or cuda, got 'tpu'")
    assert_refused(genkern("bench", "--compare", broken, broken), "--compare: broken.json: not a file of benchmark")
    assert_refused(genkern("bench", "--compare", tmp_path / "none.json", broken), "--compare", "none.json")


def test_a_package_without_the_suite_says_so(genkern, tmp_path, monkeypatch):
    monkeypatch.setattr(bench.genkern, "__file__", str(tmp_path / "genkern" / "__init__.py"))
    assert_refused(genkern("bench"), "the benchmark suite was not installed with this genkern")


@needs_kernels
def test_threads_that_are_no_number_are_refused():
    process = _run("bench", "--threads", "many")
    assert process.returncode == 2 and "--threads: expected a positive number or 'all', got 'many'" in process.stderr


def _run(*arguments: object, cwd: Path = _ROOT, path: Path = _ROOT) -> subprocess.CompletedProcess[str]:
    """As a user does: the pytest within must not take itself for a worker of this one, which measures nothing."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "genkern.cli", *map(str, arguments)],
        cwd=cwd,
        env={**inherited, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
    )
