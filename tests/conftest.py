"""Fixtures every test may use; what they are made of is in tests/support."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parent))  # for `from support import ...`

from support import cases, command, covering, matrix
from support.backends import AUTO, BACKENDS, EVERY_ISA, NATIVE, REFERENCE, Backend
from support.devices import located_on


@pytest.fixture(params=BACKENDS, ids=str)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Each backend, in force for the test: the reference, and the best kernels of each device.

    What the test makes without saying where lies on the backend's device.
    """
    yield from _in_force(request.param, request)


@pytest.fixture(params=EVERY_ISA, ids=str)
def every_isa(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """The same with the CPU kernels of each instruction set, for what depends on the arithmetic."""
    yield from _in_force(request.param, request)


@pytest.fixture(params=[REFERENCE, AUTO], ids=str)
def chosen(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """The reference and the choice that users get, for what no compiled kernel serves alone."""
    yield from _in_force(request.param, request)


@pytest.fixture
def native(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """The compiled CPU kernels, in force for the test."""
    yield from _in_force(NATIVE, request)


@pytest.fixture(autouse=True)
def _same_seed_and_threads() -> Iterator[None]:
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def covered(request: pytest.FixtureRequest) -> covering.Covered:
    """Thins options that a test crosses by itself to a covering set; --full keeps all."""
    return (lambda options: options) if request.config.option.full else covering.keep_options


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten colour images of different sizes."""
    images = tmp_path / "images"
    command.save_colour_images(images)
    return images


@pytest.fixture
def genkern(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command; gives its exit code, stdout and stderr."""
    return lambda *arguments: (command.run_here(*arguments), *capsys.readouterr())


def _in_force(backend: Backend, request: pytest.FixtureRequest) -> Iterator[Backend]:
    if missing := backend.missing():
        pytest.skip(missing)
    with backend.use(), located_on(backend.device, request.module, cases):
        yield backend


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--operations",
        action="store_true",
        help="run no test, print what the collected ones cover: operations x properties, and what is missing",
    )
    parser.addoption("--full", action="store_true", help="every combination and every fault: see covering.py")
    parser.addoption("--calls", type=int, help="how many calls tests/test_drawn_calls.py draws for each backend")
    parser.addoption("--call", help="the one call that it draws, such as gaussian_kl-123")


def pytest_configure(config: pytest.Config) -> None:
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    torch.set_num_threads(max(1, torch.get_num_threads() // workers))
    if "PYTEST_XDIST_WORKER" not in os.environ:
        config.pluginmanager.register(Teller(config))
    config.addinivalue_line("markers", "full: run with --full alone")
    config.addinivalue_line("markers", "late: takes seconds, and comes behind the others")
    config.addinivalue_line("markers", "crossed: every combination is run without --full, too: see covering.py")
    config.addinivalue_line("markers", "covers(*properties, of, except_): see tests/support/matrix.py")


class Teller:
    """Names a test that fails when it fails, not when all others have run."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal is not None and terminal.verbosity <= 0:
            terminal.write_line(f"\nFAILED {report.nodeid}", red=True)


@pytest.hookimpl(trylast=True)  # what -k leaves is what is covered
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept = covering.keep([item for item in items if config.option.full or not item.get_closest_marker("full")])
    chosen = {*kept}
    others = [item for item in items if item not in chosen]
    if config.option.full:
        kept, chosen = kept + others, {*items}
    else:
        config.hook.pytest_deselected(items=others)
    late = [item for item in items if item in chosen and item.get_closest_marker("late")]  # as their files have them
    early = [item for item in kept if not item.get_closest_marker("late")]
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    items[:] = [item for worker in range(workers) for item in share(early, late, worker, workers)]


def share(early: list[pytest.Item], late: list[pytest.Item], worker: int, workers: int) -> list[pytest.Item]:
    """What a worker begins with. Late tests stay together: what they are made of is made once for their file."""
    return early[worker::workers] + late[worker * len(late) // workers : (worker + 1) * len(late) // workers]


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    if not session.config.option.operations:
        return None
    table = matrix.Table.of(session.items)
    missing = [*table.missing(), *matrix.unregistered()]
    session.config.get_terminal_writer().line("\n".join(["", str(table), "", *missing]))
    session.testsfailed = len(missing)
    return True
