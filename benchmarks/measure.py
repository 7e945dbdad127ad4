"""How a case is measured: contestants in alternating rounds of one run, compilation and memory apart."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import math
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.cases import Formula

Step = Callable[[], object]


@dataclass(frozen=True)
class Effort:
    """How long to measure; a turn is as many calls of one contestant in a row as fill `turn_s`."""

    budget_s: float
    fewest_rounds: int
    most_rounds: int
    turn_s: float = 2e-3


FULL = Effort(budget_s=3.0, fewest_rounds=11, most_rounds=101)
QUICK = Effort(budget_s=0.5, fewest_rounds=5, most_rounds=31)


@dataclass(frozen=True)
class Timing:
    """Seconds a call; `quantiles` are the 20th and the 80th percentile over rounds."""

    median: float
    quantiles: tuple[float, float]
    rounds: int
    calls: int


def interleave(
    benchmark: Any, own: str, steps: dict[str, Step], effort: Effort, device: str = "cpu"
) -> dict[str, Timing]:
    """Time every step; `own` through pytest-benchmark's fixture, the others between its rounds.

    On a GPU by CUDA events around a turn of calls: the GPU's time, or the host's where it is slower to launch.

    Whatever else the machine does meets all sides, and each follows every other by chance, so none always finds the
    caches as one certain rival left them. Empty where benchmarks are disabled: every step has then run once.
    """
    clock = _gpu_seconds if device == "cuda" else host_seconds
    seconds = {name: min(clock(step, 1) for _ in range(4)) for name, step in steps.items()}  # rough, once warm
    calls = {name: min(10_000, max(1, math.ceil(effort.turn_s / s))) for name, s in seconds.items()}
    a_round = sum(calls[name] * seconds[name] for name in steps)
    rounds = min(effort.most_rounds, max(effort.fewest_rounds, int(effort.budget_s / a_round)))
    times: dict[str, list[float]] = {name: [] for name in steps}
    order = [name for name in steps if name != own]

    def turn(name: str) -> None:
        times[name].append(clock(steps[name], calls[name]))

    def rivals_turn() -> None:
        random.shuffle(order)
        for name in order:
            turn(name)

    with no_garbage_collection():
        if device == "cuda":
            benchmark.pedantic(lambda: turn(own), teardown=rivals_turn, rounds=rounds)
        else:
            benchmark.pedantic(steps[own], teardown=rivals_turn, rounds=rounds, iterations=calls[own])
    if benchmark.stats is None:
        return {}
    if device != "cuda":
        times[own] = list(benchmark.stats.stats.data)
    return {name: timing(times[name], calls[name]) for name in steps}


def alternate(steps: dict[str, Step], rounds: int, device: str = "cpu", turn_s: float = 5e-3) -> dict[str, Timing]:
    """The same without the fixture: `rounds` rounds, in each of which every step has its turn."""
    clock = _gpu_seconds if device == "cuda" else host_seconds
    calls = {}
    for name, step in steps.items():
        step()
        calls[name] = max(1, int(turn_s / clock(step, 1)))
    times: dict[str, list[float]] = {name: [] for name in steps}
    order = list(steps)
    with no_garbage_collection():
        for _ in range(rounds):
            random.shuffle(order)
            for name in order:
                times[name].append(clock(steps[name], calls[name]))
    return {name: timing(times[name], calls[name]) for name in steps}


def timing(seconds: list[float], calls: int = 1) -> Timing:
    fifths = statistics.quantiles(seconds, n=5, method="inclusive")
    return Timing(statistics.median(seconds), (fifths[0], fifths[-1]), len(seconds), calls)


def compile_formula(
    formula: Formula, run: Callable[[Formula], object], mode: str | None = None
) -> tuple[Formula, float]:
    """torch.compile, by default with its defaults, and the seconds `run`'s first call takes more than its second."""
    _warm_compiler()
    # Else the second shape would be compiled for any shape, and not as a program of one shape gets it.
    torch._dynamo.reset()
    program = torch.compile(formula, mode=mode)

    def of_a_new_step(*inputs: Any) -> Any:
        # Else a mode that captures graphs keeps the memory of every forward pass that no backward pass follows.
        torch.compiler.cudagraph_mark_step_begin()
        return program(*inputs)

    compiled: Formula = of_a_new_step if mode else program
    times = []
    for _ in range(2):
        start = time.perf_counter()
        run(compiled)
        times.append(time.perf_counter() - start)
    return compiled, times[0] - times[1]


EXPS = 65536
"""So many that the call itself counts for little, so few that they and their exponentials lie in the second cache."""


def exponentials(dtype: torch.dtype) -> Step:
    """torch.exp of EXPS numbers on one thread of the CPU: vectorised, nothing but arithmetic.

    Of 16 bits in float32, where they are computed. (On a GPU it would wait for memory.)
    """
    source = torch.randn(EXPS, dtype=torch.float32 if dtype.itemsize == 2 else dtype)
    target = torch.empty_like(source)
    return on_one_thread(lambda: torch.exp(source, out=target))


def graphed(step: Step) -> Step:
    """The replay of a CUDA graph of the step."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):  # what is only done once is done before it is captured
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def peak_memory(step: Step) -> int | None:
    """Bytes of resident memory that one call adds at its peak: outputs, what is saved, workspace; not the inputs.

    The kernel's own high-water mark (VmHWM, reset before the call) after free pages have been given back, so memory
    that does not come from torch's allocator counts, too. None where the system has neither.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "malloc_trim") or not Path("/proc/self/clear_refs").exists():
        return None
    peaks = []
    for _ in range(3):
        gc.collect()
        libc.malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        before = _status_bytes("VmRSS")
        step()
        peaks.append(max(0, _status_bytes("VmHWM") - before))
    return int(statistics.median(peaks))


def peak_gpu_memory(step: Step) -> int:
    """The same of what torch has allocated on the GPU."""
    step()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step()
    return torch.cuda.max_memory_allocated() - before


def on_one_thread(step: Step) -> Step:
    """The same call with one thread, and the threads of the run again after it."""

    def run() -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        step()
        torch.set_num_threads(threads)

    return run


def _status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def host_seconds(step: Step, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        step()
    return (time.perf_counter() - start) / calls


def _gpu_seconds(step: Step, calls: int) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for _ in range(calls):
        step()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) * 1e-3 / calls


@functools.cache
def _warm_compiler() -> None:
    """The compiler's own import and first start are not part of any formula's compile time."""
    torch.compile(lambda x: x + 1)(torch.zeros(8))


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
