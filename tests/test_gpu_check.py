"""scripts/gpu_check.sh as far as it goes without a GPU: which stages run, and what its table says of them."""

import os
import re
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "gpu_check.sh"
STAGES = [
    *("build", "every kernel once", "GPU tests", "matrix on the GPU", "demo", "benchmarks"),
    *("memcheck", "racecheck", "initcheck"),
]

# Stands for the Python that has torch: says what a GPU's would say, and keeps what it was asked.
PYTHON = """#!/bin/bash
echo "$*" >>{asked}
case "$*" in
    -) printf '%s\\n' {facts} ;;
    "- "*) ;;
    "-c import {lacking}") exit 1 ;;
    setup.py*) {build} ;;
    *genkern*) echo "built for 9.0 with CUDA 13.0" ;;
    *every_kernel_once.py) echo "{kernels}" ;;
    *demo_on.py*) echo "the demo on cuda in bf16 begins as that of the CPU in float32" ;;
    "-m pytest"*) echo "== {tests} in 1s ==" ;;
esac
"""
SANITIZER = '#!/bin/bash\n"${@: -2}"\necho "========= ERROR SUMMARY: 0 errors"\n'


class Machine:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.says = {
            "asked": folder / "asked",
            "facts": '"" 9.0 "A GPU, 80 GiB" /nowhere',
            "lacking": "nothing",
            "build": "true",
            "kernels": "124 calls, 0 results not those of the CPU",
            "tests": "12 passed, 1 skipped",
        }

    def run(self, *options: str, **says: str) -> tuple[int, dict[str, tuple[str, str]], str]:
        """Exit status; result and detail of each stage, from the end of the output; all of the output."""
        (self.folder / "python").write_text(PYTHON.format(**{**self.says, **says}))
        (self.folder / "compute-sanitizer").write_text(SANITIZER)
        for name in ("python", "compute-sanitizer"):
            (self.folder / name).chmod(0o755)
        env = {**os.environ, "PYTHON": str(self.folder / "python"), "PATH": f"{self.folder}:{os.environ['PATH']}"}
        command = [str(SCRIPT), str(self.folder / "out"), *options]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
        assert done.stderr == ""
        rows = [re.match(r"(.{22}) (passed|FAILED|not run) +\d+ s  (.*)", line) for line in done.stdout.splitlines()]
        table = {row[1].strip(): (row[2], row[3]) for row in rows if row}
        assert list(table) == STAGES
        last = done.stdout.splitlines()[-len(STAGES) :]
        assert last == (self.folder / "out" / "summary.txt").read_text().splitlines()[-len(STAGES) :]
        assert len(list((self.folder / "out").iterdir())) <= 9  # ten with the measurements
        return done.returncode, table, done.stdout

    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_where_there_is_no_gpu_every_stage_says_so_and_none_runs(machine: Machine) -> None:
    status, table, _ = machine.run(facts='"no GPU: torch was built without CUDA"')
    assert status == 1
    assert set(table.values()) == {("not run", "no GPU: torch was built without CUDA")}
    assert not any("setup.py" in line or "pytest " in line for line in machine.asked())


def test_where_everything_passes_so_does_it(machine: Machine) -> None:
    status, table, text = machine.run()
    assert status == 0, text
    assert {result for result, _ in table.values()} == {"passed"}
    assert table["build"][1] == "built for 9.0 with CUDA 13.0"
    assert table["GPU tests"][1] == "12 passed, 1 skipped in 1s"
    assert "A GPU, 80 GiB" in text


def test_the_matrix_runs_on_every_file_that_takes_a_backend(machine: Machine) -> None:
    machine.run()
    (matrix,) = (line for line in machine.asked() if "cuda and not emulated" in line)
    for name in ("matrix", "gaussian", "gaussian_head", "random", "gradients", "composition", "numeric_kernels"):
        assert f"tests/test_{name}.py" in matrix


def test_a_failing_stage_does_not_stop_the_others(machine: Machine) -> None:
    status, table, _ = machine.run(kernels="124 calls, 3 results not those of the CPU")
    assert status == 1
    assert table["every kernel once"] == ("FAILED", "124 calls, 3 results not those of the CPU")
    assert {table[name][0] for name in STAGES if name != "every kernel once"} == {"passed"}


def test_tests_of_which_none_passed_have_failed(machine: Machine) -> None:
    status, table, _ = machine.run(tests="300 skipped")
    assert status == 1
    assert table["GPU tests"] == table["matrix on the GPU"] == ("FAILED", "300 skipped in 1s")


def test_without_a_build_nothing_else_is_run(machine: Machine) -> None:
    status, table, _ = machine.run(build="echo no nvcc; exit 1")
    assert status == 1
    assert table.pop("build") == ("FAILED", "no nvcc")
    assert set(table.values()) == {("not run", "the build failed")}


def test_what_is_not_installed_is_named(machine: Machine) -> None:
    status, table, _ = machine.run(lacking="pytest")
    assert status == 1
    for name in ("GPU tests", "matrix on the GPU", "benchmarks"):
        assert table[name][0] == "not run" and table[name][1].startswith("pytest is not installed")
    assert table["every kernel once"][0] == "passed"


def test_a_demo_that_needs_what_is_not_there_is_not_run(machine: Machine) -> None:
    _, table, _ = machine.run(lacking="sklearn")
    assert table["demo"] == ("not run", "sklearn is not installed")
    assert table["benchmarks"][0] == "passed"


def test_a_second_call_goes_on_from_a_stage_and_keeps_what_has_run(machine: Machine) -> None:
    machine.run(kernels="124 calls, 3 results not those of the CPU")
    smoke = (machine.folder / "out" / "smoke.log").read_text()
    (machine.folder / "asked").unlink()
    status, table, _ = machine.run("--from", "demo", tests="99 passed")
    assert status == 1
    assert table["every kernel once"] == ("FAILED", "124 calls, 3 results not those of the CPU")
    assert table["GPU tests"] == table["matrix on the GPU"] == ("passed", "12 passed, 1 skipped in 1s")
    assert table["benchmarks"] == ("passed", "99 passed in 1s")
    assert (machine.folder / "out" / "smoke.log").read_text() == smoke
    asked = "\n".join(machine.asked())
    assert "setup.py" in asked and "demo_on.py" in asked  # another machine has no build
    assert "test_cuda.py" not in asked


def test_of_a_stage_that_never_ran_nothing_is_kept(machine: Machine) -> None:
    status, table, _ = machine.run("--from", "benchmarks")
    assert status == 1
    for name in STAGES[1:5]:
        assert table[name] == ("not run", "nothing is kept of it")
    assert {table[name][0] for name in ("build", *STAGES[5:])} == {"passed"}


def test_a_second_call_over_all_that_failed_passes(machine: Machine) -> None:
    machine.run(tests="300 skipped")
    status, table, text = machine.run("--from", "GPU tests")
    assert status == 0, text
    assert {result for result, _ in table.values()} == {"passed"}


@pytest.mark.parametrize("options", [["--from"], ["--from", "nowhere"], ["--to", "demo"], ["a", "b"]], ids="_".join)
def test_other_options_are_refused_and_the_stages_named(tmp_path: Path, options: list[str]) -> None:
    done = subprocess.run([str(SCRIPT), str(tmp_path / "out"), *options], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"STAGE one of: {', '.join(STAGES)}" in done.stderr
    assert not (tmp_path / "out").exists()


def test_it_wants_a_folder() -> None:
    done = subprocess.run([str(SCRIPT)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage:" in done.stderr
