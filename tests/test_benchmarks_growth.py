"""Curves over sizes and ratios of odd lengths: shapes are as large as asked, and tables say what was measured."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.measured import MACHINE, RUN
from torch import Tensor

from benchmarks import growth, odd_sizes
from benchmarks.cases import OPERATIONS, Operation, step

_SIZES = [10**power for power in range(4, 9)]
_EVERY_OPERATION = pytest.mark.parametrize("op", OPERATIONS, ids=lambda op: op.name)


@_EVERY_OPERATION
def test_a_curve_has_shapes_of_about_the_sizes_asked_for(op: Operation) -> None:
    shapes = [growth.shape_for(op, numel) for numel in _SIZES]
    for numel, shape in zip(_SIZES, shapes, strict=True):
        assert numel / 2 < math.prod(shape) < 2 * numel
    # Large ones are many of what the operation is measured on elsewhere, or pairs of its dimensions.
    usual = op.shapes["large"][0]
    assert shapes[-1][2 if op.of_pairs else 1 :] == usual[2 if op.of_pairs else 1 :]
    _check_finite(op, shapes[0])


@_EVERY_OPERATION
def test_odd_and_padded_rows_are_as_many(op: Operation) -> None:
    odd, padded = (odd_sizes.shape_for(op, length, rows_as_of=31) for length in (31, 32))
    assert odd[:-1] == padded[:-1] and (odd[-1], padded[-1]) == (31, 32)
    assert 0.5e6 < math.prod(odd) < 2e6


def _check_finite(op: Operation, shape: tuple[int, ...]) -> None:
    found: Any = step(op.genkern, op.make_inputs(shape, torch.float32), op.modes[-1])()
    assert all(isinstance(y, Tensor) and y.isfinite().all() for y in found)


def test_a_curve_is_measured_told_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limit = ["--memory", "0.0005"]  # more than 10⁵ numbers, less than two times as many
    assert growth.main(["--family", "random", "--largest", "100000", "--results", str(tmp_path), *limit]) == 0
    printed = capsys.readouterr().out
    (path,) = growth.CHAPTER.files(tmp_path)
    assert printed.endswith(f"{path}\ntables: python -m benchmarks.report\n")
    assert printed.count("left out, 0.00") == 2 and "copy-195x512-float32-forward: left out" in printed
    curves = json.loads(path.read_text())["curves"]
    assert [(curve["op"], curve["mode"]) for curve in curves] == [
        ("copy", "forward"),
        ("clone", "forward"),
        ("random_normal", "forward"),
        ("random_uniform", "forward"),
    ]
    for point in curves[2]["points"]:
        assert point["numel"] == math.prod(point["shape"])
        assert point["quantiles"][0] <= point["median"] <= point["quantiles"][1]
        assert point["rounds"] >= 3 and point["calls"] >= 1
    told = growth.CHAPTER.tell(tmp_path, lambda path, measured: "picture.png")
    assert "| operation | 10⁴ | 10⁵ | growth |" in told and "](picture.png)" in told
    assert "| `random_normal`, forward | " in told
    assert told.count("| – | – |") == 2  # of the copies, neither the second size nor growth
    growth.draw(json.loads(path.read_text()), tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_growth_is_the_dearest_size_beyond_the_cheapest_over_the_cheapest() -> None:
    curves = [
        _curve("copy", "copy", "forward", [9, 1, 1, 1, 1]),
        _curve("gaussian_kl", "gaussian", "forward_backward", [9.5, 2, 1.6, 6.4, 4.8]),
        _curve("mmd", "mixture", "forward_backward", [8, 4, 2, 1, 0.5]),
        _curve("ema_update_", "gan", "forward", [8]),
    ]
    told = growth.block({"machine": MACHINE, "run": RUN, "curves": curves}, None)
    assert told.startswith("A CPU, 2 cores, avx2; torch 2.13, genkern 0.1 at abc, 2026-01-01. ") and "![" not in told
    assert "| `copy` | 9 | 1 | 1 | 1 | 1 | 1.00 |" in told
    assert "| `gaussian_kl` | 9.5 | 2 | 1.6 | 6.4 | 4.8 | 4.00 |" in told
    assert "| `mmd` | 8 | 4 | 2 | 1 | 0.5 | 1.00 |" in told
    assert "| `ema_update_`, forward | 8 | – | – | – | – | – |" in told


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_every_family_has_a_panel(kind: str, tmp_path: Path) -> None:
    copies = [_curve(name, "copy", "forward", [1, 1, 1, 2, 2]) for name in ("copy", "clone")]
    curves = [*copies, *(_curve(op.name, op.family, op.modes[-1], [3, 2, 2, 4, 4]) for op in OPERATIONS)]
    growth.draw({"machine": MACHINE, "run": RUN, "curves": curves}, tmp_path / f"picture.{kind}")
    picture = (tmp_path / f"picture.{kind}").read_bytes()
    assert picture.startswith(b"\x89PNG" if kind == "png" else b"<?xml") and len(picture) > 10_000


def test_odd_lengths_are_measured_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(odd_sizes, "_LENGTHS", {15: 16, 65: 80})
    monkeypatch.setattr(odd_sizes, "_NUMEL", 10**4)
    monkeypatch.setattr(odd_sizes, "_ROUNDS", 2)
    assert odd_sizes.main(["--family", "mixture", "--results", str(tmp_path)]) == 0
    told = odd_sizes.CHAPTER.tell(tmp_path, lambda path, measured: None)
    assert "| operation | 15 : 16 | 65 : 80 |" in told and "| `mmd` | " in told
    (path,) = odd_sizes.CHAPTER.files(tmp_path)
    for row in json.loads(path.read_text())["rows"]:
        assert row["family"] == "mixture" and row["mode"] == "forward_backward"
        assert [(length["odd"], length["padded"]) for length in row["lengths"]] == [(15, 16), (65, 80)]
        assert all(length["time"]["median"] > 0 for length in row["lengths"])


def test_the_largest_ratio_is_marked_and_those_above_the_bound_are_named() -> None:
    rows = [_row("discrete_kl", 1.7, 1.2), _row("gaussian_kl", 0.9, 1.1)]
    told = odd_sizes.block({"machine": MACHINE, "run": RUN, "rows": rows}, None)
    assert "| `discrete_kl` | **1.70** | 1.20 |\n| `gaussian_kl` | 0.90 | **1.10** |" in told
    assert told.endswith("\nAbove 1.5: `discrete_kl` at 15.")
    assert odd_sizes.block({"machine": MACHINE, "run": RUN, "rows": rows[1:]}, None).endswith("Above 1.5: none.")


def _curve(op: str, family: str, mode: str, nanoseconds: list[float]) -> dict[str, Any]:
    points = [
        {"shape": [numel], "numel": numel, "median": 1e-9 * ns * numel, "quantiles": [0, 1], "rounds": 3, "calls": 1}
        for numel, ns in zip(_SIZES, nanoseconds, strict=False)
    ]
    return {"op": op, "family": family, "mode": mode, "points": points}


def _row(op: str, *ratios: float) -> dict[str, Any]:
    lengths = [
        {"odd": odd, "padded": odd + 1, "time": {"median": ratio}, "padded_time": {"median": 1.0}}
        for odd, ratio in zip((15, 31), ratios, strict=True)
    ]
    return {"op": op, "family": "any", "mode": "forward_backward", "lengths": lengths}
