"""A device without kernels takes the definition, forward and backward: shown by one that is made for it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support import elsewhere, matrix, standin
from support.backends import REFERENCE
from support.once import made_once

import genkern as gk

pytestmark = pytest.mark.late

GROUPS = list(dict.fromkeys(group for group, _, _ in elsewhere.calls(full=False)))


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every call on the CPU and on the stand-in, by a process of its own: the device is there for good."""

    def make(path: Path) -> None:
        command = [sys.executable, standin.__file__, str(path), *["--full"] * request.config.option.full]
        done = subprocess.run(command, cwd=Path(gk.__file__).parents[1], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    return torch.load(made_once("standin", make, tmp_path_factory), weights_only=False)


@pytest.mark.parametrize(
    "group",
    [
        pytest.param(g, marks=matrix.covers("a device without kernels", of=(g,)) if g in matrix.ROWS else ())
        for g in GROUPS
    ],
)
def test_a_device_without_kernels_takes_the_definition(
    results: dict[str, Any], group: str, request: pytest.FixtureRequest
) -> None:
    calls = elsewhere.calls(request.config.option.full)
    expected, found = results["cpu"][group], results[standin.NAME][group]
    assert found.keys() == expected.keys() == {name for own, name, _ in calls if own == group}
    for call, here in expected.items():
        there = found[call]
        assert not isinstance(here, str) and not isinstance(there, str), f"{call}: {here} | {there}"
        assert there["devices"] == {standin.NAME}, call  # outputs and gradients
        assert there["ops"] == here["ops"], call
        assert there["values"].keys() == here["values"].keys()
        for name, value in there["values"].items():
            torch.testing.assert_close(value, here["values"][name], **closeness(value.dtype), msg=f"{call}: {name}")


def closeness(dtype: torch.dtype) -> dict[str, Any]:
    """The same formula, summed in another order; noise in float32: 4 ulp, and 1e-6 near a zero of its sine."""
    exact = {"rtol": 1e-13, "atol": 1e-13, "equal_nan": True}
    narrow = {torch.float32: 4 * 2.0**-23, torch.bfloat16: 2.0**-8}
    return {**exact, "rtol": narrow[dtype], "atol": 1e-6} if dtype in narrow else exact


@pytest.mark.parametrize("draw", [gk.random.normal, gk.random.uniform])
def test_a_graph_makes_the_noise_there_too(results: dict[str, Any], draw: Any) -> None:
    with REFERENCE.use():
        expected = draw(gk.random.key(3), (3, 5))
    torch.testing.assert_close(results["compiled"][draw.__name__], expected, **closeness(torch.float32))


@pytest.mark.parametrize("op", ["gaussian_entropy", "random_normal"])
def test_the_native_backend_names_the_device_that_it_does_not_serve(results: dict[str, Any], op: str) -> None:
    if gk.has_native("cpu"):
        assert results[f"native {op}"].startswith(f"backend 'native' has no compiled kernel for {op} on standin")
    else:
        assert results[f"native {op}"].startswith("backend 'native' is not available")
