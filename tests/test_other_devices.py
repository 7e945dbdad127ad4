"""A device without kernels takes the definition, forward and backward: shown by one that is made for it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support import matrix, standin
from support.cases import Case
from support.noise import Noise
from support.workers import OPERATIONS

import genkern as gk


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every case on the CPU and on the stand-in, by a process of its own: the device is there for good."""
    path = tmp_path_factory.mktemp("standin") / "results.pt"
    done = subprocess.run(
        [sys.executable, standin.__file__, str(path)], cwd=Path(gk.__file__).parents[1], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return torch.load(path, weights_only=False)


@matrix.covers("a device without kernels")
@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
@pytest.mark.parametrize("noise", ["key", "draw"])
def test_a_device_without_kernels_takes_the_definition(
    results: dict[str, Any], operation: Case | Noise, noise: str
) -> None:
    here, there = (results[f"{noise} on {place}"][operation.name] for place in ("cpu", standin.NAME))
    assert there["devices"] == {standin.NAME}  # outputs and gradients
    assert there["ops"] == here["ops"]
    assert there["values"].keys() == here["values"].keys()
    for name, value in there["values"].items():
        # float64: the same formula, summed in another order. Noise in float32: 4 ulp, and 1e-6 near a zero of its sine.
        close = {"rtol": 1e-13, "atol": 1e-13} if value.dtype == torch.float64 else {"rtol": 4 * 2.0**-23, "atol": 1e-6}
        torch.testing.assert_close(value, here["values"][name], **close, msg=name)


def test_the_native_backend_names_the_device_that_it_does_not_serve(results: dict[str, Any]) -> None:
    if gk.has_native("cpu"):
        assert results["native"].startswith("backend 'native' has no compiled kernel for gaussian_entropy on standin")
    else:
        assert results["native"].startswith("backend 'native' is not available")
