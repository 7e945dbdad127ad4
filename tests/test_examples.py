"""The programs in examples/, run as a user runs them, and watched: see support/watched.py."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.once import made_once

import genkern as gk

pytestmark = pytest.mark.late

ROOT = Path(gk.__file__).parents[1]
WATCHED = ROOT / "tests" / "support" / "watched.py"
PATIENCE = 240.0  # seconds after which a run hangs
STEPS = 8
# Of seed 0, an activation in the second step is 0 but for rounding: on either side of it the gradients are others.
RUN = ("--seed", "1", "--batch-size", "32", "--save-every", "2", "--steps")


def start(model: str, processes: int, checkpoint: Path, steps: int) -> subprocess.Popen[str]:
    pytest.importorskip("sklearn")
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"),
            *(str(WATCHED), str(ROOT / "examples" / f"train_{model}_ddp.py")),
            *(f"--checkpoint={checkpoint}", *RUN, str(steps)),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(run: subprocess.Popen[str]) -> str:
    try:
        output, _ = run.communicate(timeout=PATIENCE)
    finally:
        kill(run)
    assert run.returncode == 0, output
    return output


def kill(run: subprocess.Popen[str]) -> None:
    """By torchrun, which takes its processes with it: they are in sessions of their own."""
    if run.poll() is None:
        run.terminate()
        run.communicate(timeout=PATIENCE)


@pytest.fixture(scope="module")
def by_two_processes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """The checkpoint of a model after some steps."""

    def checkpoint(model: str, steps: int = STEPS) -> dict[str, Any]:
        name = f"{model}-by-two-{steps}"
        path = made_once(name, lambda path: finish(start(model, 2, path, steps)), tmp_path_factory)
        return torch.load(path, weights_only=True)

    return checkpoint


@pytest.mark.parametrize(
    ("processes", "model"),
    [(1, "gan"), (4, "vae"), *(pytest.param(*other, marks=pytest.mark.full) for other in ((1, "vae"), (4, "gan")))],
)
def test_the_number_of_processes_changes_no_more_than_rounding(
    by_two_processes: Callable[..., dict[str, Any]], tmp_path: Path, processes: int, model: str
) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    output = finish(start(model, processes, checkpoint, STEPS))
    assert [line.split()[:2] for line in output.splitlines() if line.startswith("step")] == [
        ["step", str(step)] for step in (2, 4, 6, 8)
    ]
    found = torch.load(checkpoint, weights_only=True)[model]
    for name, value in by_two_processes(model)[model].items():
        # float32, gradients summed in another order; the optimiser divides by their size: rate 1e-3 times 8 steps
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("model", [pytest.param("vae", marks=pytest.mark.full), "gan"])  # which has more to keep
def test_a_killed_run_goes_on_to_the_bits_of_one_that_was_not(
    by_two_processes: Callable[..., dict[str, Any]], tmp_path: Path, model: str
) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    interrupted = start(model, 2, checkpoint, 10**6)
    try:
        deadline = time.monotonic() + PATIENCE
        while not checkpoint.exists() and interrupted.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        kill(interrupted)
    reached = torch.load(checkpoint, weights_only=True)["step"]
    steps = max(STEPS, reached + 2)
    finish(start(model, 2, checkpoint, steps))
    assert_equal(torch.load(checkpoint, weights_only=True), by_two_processes(model, steps))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("conditional_vae.py", r"step +3 .*\nrecognised: [01]\.\d+ of drawn digits, 0\.9\d+ of held-out real ones\n"),
        ("conditional_gan.py", r"step +3 .*\nrecognised: [01]\.\d+ of drawn digits, 0\.9\d+ of held-out real ones\n"),
        ("hierarchical_vae.py", r"one level: \d+ parameters\n.*bits.*\ntwelve levels: \d+ parameters\n.*bits.*\n"),
    ],
)
def test_a_model_of_conditions_or_levels_trains(name: str, said: str, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), "--steps", "3"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(said, done.stdout), done.stdout


def assert_equal(found: object, expected: object) -> None:
    if isinstance(expected, dict):
        assert isinstance(found, dict) and found.keys() == expected.keys()
        for name, value in expected.items():
            assert_equal(found[name], value)
    elif isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected)
    else:
        assert found == expected
