"""Options, and the `arena` fixture that measures a case and keeps its rows for the results file."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # for `from benchmarks import ...`, however pytest was started

import genkern as gk
from benchmarks import launches, machine, results
from benchmarks.cases import (
    COMPILE,
    COPY,
    EAGER,
    EAGER_GRAPH,
    EXP,
    GENKERN,
    GRAPH,
    MAX_AUTOTUNE,
    ONE_THREAD,
    Case,
    Formula,
    cases,
    step,
)
from benchmarks.measure import (
    FULL,
    QUICK,
    Step,
    compile_formula,
    exponentials,
    graphed,
    interleave,
    on_one_thread,
    peak_gpu_memory,
    peak_memory,
)
from benchmarks.progress import Progress
from genkern import _backend

_QUICK_FOLDER = Path(".benchmarks") / "quick"
_SESSION = pytest.StashKey["Session"]()


class Session:
    """One run: what was asked for, and the rows so far."""

    def __init__(self, config: pytest.Config) -> None:
        self.quick: bool = config.getoption("--quick")
        threads: str = config.getoption("--threads")
        self.threads = machine.describe()["cores"] if threads == "all" else int(threads)  # of the CPU
        self.device: str = config.getoption("--device")
        self.machine = machine.describe(self.device)
        self.effort = QUICK if self.quick else FULL
        # A quick run is for the person who runs it; what is kept and reported is the full one.
        default = config.rootpath / _QUICK_FOLDER if self.quick else results.FOLDER
        self.folder = Path(config.getoption("--results") or default)
        self.run = machine.describe_run()
        self.rows: list[results.Row] = []
        self.progress = Progress()
        self._generated = 0  # kernels of the formula that was compiled last
        self._compiled: tuple[tuple, dict[str, Formula], dict[str, float], dict[str, str]] | None = None

    @property
    def path(self) -> Path:
        return self.folder / f"{self.machine['name']}.json"

    def measure(self, case: Case, benchmark: Any) -> None:
        formulas: dict[str, Formula] = {GENKERN: case.op.genkern, **case.rivals}
        with torch.device(case.device):
            inputs = case.op.make_inputs(case.shape, case.dtype)
        compile_times: dict[str, float] = {}
        failed: dict[str, str] = {}
        if not benchmark.disabled and case.compiles(self.quick):
            compiled, compile_times, failed = self._compile(case, inputs)
            formulas |= compiled
        steps = {name: step(formula, inputs, case.mode) for name, formula in formulas.items()}
        launched = {name: launches.dispatched(steps[name]) for name in launches.COUNTED if name in steps}
        if case.mode == case.op.modes[-1] and COMPILE in formulas:
            launched[COMPILE] = self._generated
        if case.device == "cuda":
            failed |= self._graph(steps)
        if case.size == "large" and not case.op.of_pairs:
            source = torch.randn(case.shape, device=case.device).to(case.dtype)
            target = torch.empty_like(source)
            steps[COPY] = lambda: target.copy_(source)
        if case.size == "large" and case.device == "cpu":
            steps[EXP] = exponentials(case.dtype)
        if case.size == "large" and self.threads > 1:
            steps[ONE_THREAD] = on_one_thread(steps[GENKERN])
        timings = interleave(benchmark, GENKERN, steps, self.effort, case.device)
        if not timings:
            return
        # What is captured as a graph keeps its memory from call to call, max-autotune's own graphs too.
        without = (COPY, EXP, ONE_THREAD, MAX_AUTOTUNE, GRAPH, EAGER_GRAPH)
        contestants = [name for name in timings if name not in without] if case.size == "large" else []
        peak = peak_gpu_memory if case.device == "cuda" else peak_memory
        peaks = {name: peak(steps[name]) for name in contestants}
        rows = results.case_rows(case, self.threads, self.run["date"], timings, peaks, compile_times, launched, failed)
        benchmark.group = f"{case.op.name} {case.mode}"
        benchmark.extra_info.update({row.rival: row.median for row in rows}, threads=self.threads)
        self.rows += rows
        self.progress.done(results.summary_line(rows))

    @staticmethod
    def _graph(steps: dict[str, Step]) -> dict[str, str]:
        """Adds the replays; tells why where a step cannot be captured."""
        failed = {}
        for name, of in ((GRAPH, GENKERN), (EAGER_GRAPH, EAGER)):
            if of in steps:
                try:
                    steps[name] = graphed(steps[of])
                except RuntimeError as error:
                    failed[name] = type(error).__name__
        return failed

    def _compile(self, case: Case, inputs: tuple) -> tuple[dict[str, Formula], dict[str, float], dict[str, str]]:
        """Once for all modes of a problem: forward on leaves compiles the backward, too."""
        problem = (case.op.name, case.shape, case.dtype)
        if case.op.compiled is None:
            return {}, {}, {}
        if self._compiled is None or self._compiled[0] != problem:
            formula, longest = case.op.rivals[case.op.compiled], case.op.modes[-1]
            self._compiled = problem, {}, {}, {}
            _, compiled, seconds, failed = self._compiled

            def run(formula: Formula) -> None:
                step(formula, inputs, longest)()  # two calls: `step` makes one to know the outputs
                if case.device == "cuda":
                    torch.cuda.synchronize()

            modes = {COMPILE: None, MAX_AUTOTUNE: "max-autotune"} if case.device == "cuda" else {COMPILE: None}
            for name, mode in modes.items():
                try:
                    before = launches.generated()
                    compiled[name], seconds[name] = compile_formula(formula, run, mode)
                    if name == COMPILE:
                        self._generated = launches.generated() - before
                except Exception as error:  # a missing C++ compiler, mostly: the other contestants are still measured
                    failed[name] = type(error).__name__
        return self._compiled[1:]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("genkern benchmarks")
    group.addoption("--quick", action="store_true", help="two shapes, few rounds: under two minutes, kept apart")
    group.addoption("--threads", default="1", help="torch threads: a number, or 'all' (default: 1)")
    group.addoption("--device", default="cpu", choices=["cpu", "cuda"], help="where to measure (default: cpu)")
    group.addoption("--isa", metavar="NAME", help="instruction set of genkern's CPU kernels (default: the best)")
    group.addoption("--page", action="store_true", help="write report.html beside results that are not the checkout's")
    group.addoption("--results", metavar="FOLDER", help="where <machine>.json goes (default: benchmarks/results)")


def pytest_configure(config: pytest.Config) -> None:
    threads = config.getoption("--threads")
    if threads != "all" and (not threads.isdigit() or int(threads) < 1):
        raise pytest.UsageError(f"--threads: expected a positive number or 'all', got {threads!r}")
    device, isa = config.getoption("--device"), config.getoption("--isa")
    if isa and device == "cuda":
        raise pytest.UsageError("--isa: of the CPU's kernels, not for --device cuda")
    cuda = gk.info()["cuda"]
    if device == "cuda" and cuda["device_reason"]:
        raise pytest.UsageError(f"--device cuda: no GPU: {cuda['device_reason']}")
    if not gk.has_native(device):
        reason = cuda["reason"] if device == "cuda" else gk.info()["reason"]
        raise pytest.UsageError(f"benchmarks measure compiled kernels, and genkern has none here: {reason}")
    if isa:
        _set_isa(config, isa)
    config.stash[_SESSION] = Session(config)  # after that: the instruction set is part of the machine's name


def _set_isa(config: pytest.Config, isa: str) -> None:
    """For the whole run."""
    native: Any = _backend.native
    before, available = native.isa(), native.isas()
    if isa not in available:
        raise pytest.UsageError(f"--isa: this processor has no {isa!r}; there are {', '.join(available)}")
    native.set_isa(isa)
    config.add_cleanup(lambda: native.set_isa(before))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        found = cases(metafunc.module.FAMILY, metafunc.config.getoption("--device"))
        metafunc.parametrize("case", found, ids=str)


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """No file names in the middle of the progress."""
    if reporter := session.config.pluginmanager.get_plugin("terminalreporter"):
        reporter.showfspath = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--quick"):
        left_out = [item for item in items if (case := _case(item)) and not case.quick]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport, config: pytest.Config) -> tuple[str, str, str] | None:
    """The line a case prints says more than a dot."""
    measured = report.passed and report.when == "call" and config.stash[_SESSION].rows
    return ("passed", "", "") if measured else None


@pytest.fixture(scope="session")
def session(request: pytest.FixtureRequest) -> Iterator[Session]:
    run = request.config.stash[_SESSION]
    # An empty cache: compile times are those of a first run, and nothing of an older torch is met.
    cache = tempfile.mkdtemp(prefix="genkern-bench-")
    before = torch.get_num_threads()
    torch.set_num_threads(run.threads)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
    yield run
    torch.set_num_threads(before)
    del os.environ["TORCHINDUCTOR_CACHE_DIR"]
    shutil.rmtree(cache, ignore_errors=True)


@pytest.fixture
def arena(request: pytest.FixtureRequest, session: Session, benchmark: Any) -> Callable[[Case], None]:
    def measure(case: Case) -> None:
        if not benchmark.disabled:
            session.progress.begin(str(case), sum(_case(item) is not None for item in request.session.items))
        torch.manual_seed(0)
        session.measure(case, benchmark)

    return measure


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Also after an interruption: what was measured until then is kept."""
    run = session.config.stash[_SESSION]
    run.progress.close()
    if run.rows:
        old = results.load(run.path) if run.path.exists() else results.Results(run.machine, {}, ())
        results.save(run.path, old.updated(run.run, run.rows))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    run = config.stash[_SESSION]
    if not run.rows:
        return
    terminalreporter.section("genkern")
    terminalreporter.line(f"{len(run.rows)} rows at {run.threads} thread(s): {os.path.relpath(run.path)}")
    if run.folder == results.FOLDER:
        terminalreporter.line("tables, pictures, page: python -m benchmarks.report")
    elif config.getoption("--page"):
        _write_page(terminalreporter, run)


def _write_page(terminalreporter: Any, run: Session) -> None:
    try:
        from benchmarks import page

        page.write(run.folder, run.folder / "report.html")
        terminalreporter.line(f"as a page: {os.path.relpath(run.folder / 'report.html')}")
    except ImportError as error:
        terminalreporter.line(f"no page: {error}")


def _case(item: pytest.Item) -> Case | None:
    return item.callspec.params.get("case") if hasattr(item, "callspec") else None
