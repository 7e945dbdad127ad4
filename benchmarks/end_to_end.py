"""Training steps of whole models with and without genkern, in alternating rounds: time, peak memory, share of the head.

python -m benchmarks.end_to_end [--rounds N] [--threads N] [--device cuda] [--results FOLDER]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.chapter import Chapter, Measured, provenance, ratio_of, size_text
from benchmarks.end_to_end_models import TRAININGS, Network, Training
from benchmarks.measure import Step, alternate, peak_gpu_memory, peak_memory
from benchmarks.results import FOLDER, format_time

_ROUNDS = 11
_READ = (
    "A step is forward, backward and Adam, float32, on one batch again and again; × is the ratio of medians over "
    "alternating rounds, unclear where the larger spread (20–80 %) exceeds the difference. Peak memory is what a step "
    "adds to weights, optimizer state and batch. The head is what genkern replaces: the calls that a step makes of it, "
    "forward and backward on that step's tensors, timed alone and as a share of the step."
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.end_to_end", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help=f"default: {_ROUNDS}")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU (default: 1)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default: cpu")
    parser.add_argument("--results", type=Path, default=FOLDER, metavar="FOLDER", help="where the folder of JSON lies")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    rows = []
    for training in TRAININGS:
        rows.append(measure(training, options.rounds, options.device))
        print(" | ".join(_cells(rows[-1])), flush=True)
    path = CHAPTER.keep(options.results, {"threads": options.threads, "rows": rows}, options.device)
    print(f"{path}\ntables: python -m benchmarks.report")
    return 0


def measure(training: Training, rounds: int, device: str = "cpu") -> dict[str, Any]:
    """Seconds of the step and of its head on either side, and the bytes that a step adds."""
    networks = {side: network.to(device) for side, network in training.networks().items()}
    steps = {side: training_step(network) for side, network in networks.items()}
    heads = {f"head_{side}": head(network) for side, network in networks.items()}
    found = {name: asdict(timing) for name, timing in alternate({**steps, **heads}, rounds, device).items()}
    peak = peak_gpu_memory if device == "cuda" else peak_memory
    return {
        "step": networks["before"].title,
        **found,
        **{f"peak_{side}": peak(step) for side, step in steps.items()},
    }


def training_step(network: Network) -> Step:
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-4)

    def run() -> None:
        network.loss().backward()
        optimizer.step()
        optimizer.zero_grad()  # last, so that between steps there are no gradients that a peak would not count

    return run


def head(network: Network) -> Step:
    """What one step calls of its formulas, again: forward, and backward for dense random gradients."""
    calls = _calls(network)
    leaves = [x for _, inputs in calls for x in inputs if x.requires_grad]

    def forward() -> list[Tensor]:
        return [y for formula, inputs in calls for y in _tensors(formula(*inputs)) if y.requires_grad]

    grads = [torch.randn_like(y) for y in forward()]
    return lambda: torch.autograd.grad(forward(), leaves, grads)


Call = tuple[Callable[..., Any], tuple[Tensor, ...]]


def _calls(network: Network) -> list[Call]:
    """The formulas that a step calls, in order, with inputs that are leaves of the values and strides they had."""
    calls: list[Call] = []
    formulas = network.formulas
    network.formulas = _Recorder(formulas, calls)
    network.loss()
    network.formulas = formulas
    return calls


class _Recorder:
    def __init__(self, formulas: Any, calls: list[Call]) -> None:
        self._formulas, self._calls = formulas, calls

    def __getattr__(self, name: str) -> Callable[..., Any]:
        formula = getattr(self._formulas, name)

        def record(*inputs: Tensor) -> Any:
            self._calls.append((formula, tuple(x.detach().requires_grad_(x.requires_grad) for x in inputs)))
            return formula(*inputs)

        return record


def _tensors(result: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


def block(measured: Measured, picture: str | None) -> str:
    """The Markdown of one machine's file; there is no picture."""
    threads = measured["threads"]
    where = "" if "gpu" in measured["machine"] else f", {threads} thread{'s' * (threads != 1)}"
    header = ["step", "without", "with", "×", "peak memory without", "with", "share of head without", "with"]
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *(_cells(row) for row in measured["rows"])]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{provenance(measured)}{where}. {_READ}\n\n{table}"


def _cells(row: dict[str, Any]) -> list[str]:
    before, after = row["before"], row["after"]
    return [
        row["step"],
        format_time(before["median"]),
        format_time(after["median"]),
        ratio_of(before, after),
        size_text(row["peak_before"]),
        size_text(row["peak_after"]),
        _share(row["head_before"], before),
        _share(row["head_after"], after),
    ]


def _share(head: dict[str, Any], step: dict[str, Any]) -> str:
    percent = 100 * head["median"] / step["median"]
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"


CHAPTER = Chapter("end_to_end", "docs/performance.md", block)

if __name__ == "__main__":
    sys.exit(main())
