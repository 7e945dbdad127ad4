"""Where the microseconds of a call with a small latent go: `python -m benchmarks.overhead`."""

from __future__ import annotations

import sys
from unittest import mock

import torch

import genkern as gk
from benchmarks import cases, machine, rivals
from benchmarks.measure import Step, alternate
from genkern.functional import gaussian

SHAPE = (2, 4)
ROUNDS = 61


def microseconds(steps: dict[str, Step]) -> dict[str, float]:
    """Medians over rounds in which every step has its turn."""
    return {name: 1e6 * found.median for name, found in alternate(steps, ROUNDS).items()}


def without_graph(step: Step) -> Step:
    def run() -> None:
        with torch.no_grad():
            step()

    return run


def main() -> None:
    torch.set_num_threads(1)
    loc, logvar = (torch.randn(SHAPE).requires_grad_() for _ in range(2))
    formulas: dict[str, cases.Formula] = {
        "eager": rivals.rsample_kl,
        "torch.compile": torch.compile(rivals.rsample_kl),
        "genkern": gk.gaussian_rsample_kl,
        "torch.ops": lambda loc, logvar: torch.ops.genkern.gaussian_rsample_kl.draw(loc, logvar, None, None, None)[:2],
    }
    steps: dict[str, Step] = {}
    for mode in ("forward", "forward + backward"):
        for name, formula in formulas.items():
            steps[f"{name}, {mode}"] = cases.step(formula, (loc, logvar), mode)
        steps[f"unbind, {mode}"] = cases.step(torch.unbind, (torch.randn(2, *SHAPE).requires_grad_(),), mode)
    steps["nothing"] = without_graph(lambda: None)
    steps["genkern, without graph"] = without_graph(steps["genkern, forward"])
    took = microseconds(steps)
    results = gk.gaussian_rsample_kl(loc, logvar)
    with mock.patch.object(gaussian._rsample_kl, "_compiled_call", lambda *args: results):
        python = microseconds({"python": steps["genkern, forward"]})["python"]
    kernel = took["genkern, without graph"] - took["nothing"] - python
    forward, both = took["genkern, forward"], took["genkern, forward + backward"]
    engine = took["unbind, forward + backward"] - took["unbind, forward"]
    rows = [
        *((name, took[name]) for name in steps if name.partition(",")[0] in formulas and "graph" not in name),
        ("of genkern's both: the Python layer", python),
        ("conversion, dispatcher, checks, allocation, kernel", kernel),
        ("recording the graph", forward - python - kernel),
        ("torch's engine, as for torch.unbind: one node, two outputs, next to no arithmetic", engine),
        ("the backward op and freeing the graph", both - forward - engine),
    ]
    sys.stdout.write(f"{machine.title(machine.describe())}; {list(SHAPE)}, one thread\n\n| | µs |\n|---|---:|\n")
    sys.stdout.writelines(f"| {name} | {value:.1f} |\n" for name, value in rows)


if __name__ == "__main__":
    main()
