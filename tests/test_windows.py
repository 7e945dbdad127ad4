"""Where Python has no fcntl, no fork and few signals, and a file that is open cannot be replaced: as on Windows."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.late,
    pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="which files are open is read from /proc"),
]

ROOT = Path(__file__).resolve().parents[1]
SMALL = ["--model", "mlp", "--latent-dim", "2", "--size", "6", "--threads", "1", "--batch-size", "4", "--interval", "2"]


def run(*words):
    environment = {**os.environ, "GENKERN_BACKEND": "reference", "PYTHONPATH": os.pathsep.join([str(ROOT), "tests"])}
    command = [sys.executable, "-X", "warn_default_encoding", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_run_is_trained_resumed_and_evaluated(folder, tmp_path):
    out = str(tmp_path / "out")
    train = ["train", "vae", "--data", str(folder), "--out", out, *SMALL]
    commands = [[*train, "--steps", "4"], [*train, "--steps", "6"], ["evaluate", out, "--threads", "1"]]
    said = run("tests/support/windows.py", json.dumps(commands))
    assert "at step 4" in said
    assert (tmp_path / "out" / "checkpoint.safetensors").is_file() and not list(tmp_path.rglob("*.part"))


def test_the_library_differentiates_and_what_windows_lacks_is_missing(tmp_path):
    """Without the latter the former would show nothing."""
    code = f"""
import os, signal
from pathlib import Path
import torch
from support.windows import pretend

pretend()
import genkern as gk, genkern.compat.torch, genkern.distributions, genkern.nn

x = torch.randn(3, 4, requires_grad=True)
gk.gaussian_kl(x, x).sum().backward()
assert gk.info()["backend"] == "reference" and x.grad.isfinite().all()

folder = Path({str(tmp_path)!r})

def missing(error, use):
    try:
        use()
    except error:
        return
    raise AssertionError(error)

missing(ImportError, lambda: __import__("fcntl"))
missing(AttributeError, lambda: os.fork())
missing(AttributeError, lambda: signal.SIGHUP)
missing(PermissionError, lambda: os.open(folder, os.O_RDONLY))
opened = open(folder / "new", "w", encoding="utf-8")
missing(PermissionError, lambda: os.replace(folder / "new", folder / "old"))
missing(PermissionError, (folder / "new").unlink)
opened.close()
os.replace(folder / "new", folder / "old")
"""
    run("-c", code)


def test_the_tests_can_be_collected():
    code = "from support.windows import pretend; pretend(); import conftest, support.once; print('imported')"
    assert run("-c", code) == "imported\n"
