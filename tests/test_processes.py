"""Callers that run at the same time: threads, forked processes, the workers of a DataLoader."""

import os
import select
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from support import matrix
from support.backends import Backend
from support.cases import CASES, Case, Tensors
from support.inputs import cotangent
from support.noise import Noise
from support.workers import OPERATIONS, SHAPE, Rows, work
from torch import Tensor
from torch.utils.data import DataLoader

every_case = pytest.mark.parametrize("case", CASES, ids=str)
PATIENCE = 30.0  # seconds after which a forked process hangs


def assert_same(results: Tensors, expected: Tensors) -> None:
    assert results.keys() == expected.keys()
    for name, value in results.items():
        # float64: plain torch's sums depend on the number of threads, which differs between the two
        torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-12, msg=name)


@matrix.covers("several threads")
@every_case
def test_threads_that_run_forward_and_backward_at_once_do_not_disturb_each_other(case: Case, backend: Backend) -> None:
    expected = [work(case, row) for row in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for row, results in enumerate(pool.map(lambda row: work(case, row % 4), range(8))):
            assert_same(results, expected[row % 4])


@matrix.covers("fork")
@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_a_forked_process_computes_the_same(operation: Case | Noise, native: Backend) -> None:
    torch.set_num_threads(2)
    if isinstance(operation, Case):
        assert forked(*forward_and_backward(operation)) == b"the same"
    else:
        assert forked(lambda: [work(operation)["noise"]]) == b"the same"


def forward_and_backward(case: Case) -> tuple[Callable[[], list[Tensor]], bool]:
    """What to run, and whether plain torch takes sums in it, whose threads a forked process would wait for."""
    tensors = {name: t.requires_grad_() for name, t in case.inputs(SHAPE, torch.float64).items()}
    cotangents = [cotangent(o, 1) for o in case(tensors)]

    def run() -> list[Tensor]:
        results = case(tensors)
        return [*results, *torch.autograd.grad(results, list(tensors.values()), cotangents)]

    by_torch = case.name in ("gaussian_nll-optimal", "minibatch_stddev")
    return run, by_torch or any(t.shape != SHAPE for t in tensors.values())


def forked(run: Callable[[], list[Tensor]], on_one_thread: bool = False) -> bytes:
    """What a forked process says of its results, beside those that this one has by threads that a fork lacks."""
    expected = run()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        answer = b"an error"
        try:
            if on_one_thread:
                torch.set_num_threads(1)
            results = run()
            torch.set_num_threads(1)
            answer = b"the same" if all(map(same, results, expected)) else b"something else"
        finally:
            os.write(writer, answer)
            os._exit(0)
    os.close(writer)
    answered, _, _ = select.select([reader], [], [], PATIENCE)
    if not answered:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as answers:
        return answers.read() if answered else b"nothing"


def same(result: Tensor, expected: Tensor) -> bool:
    if not result.is_floating_point():
        return torch.equal(result, expected)
    return torch.allclose(result, expected, rtol=1e-12, atol=1e-12)


@pytest.fixture(scope="module", params=["fork", "spawn"])
def rows(request: pytest.FixtureRequest) -> list[dict[str, Tensors]]:
    """What two workers of a DataLoader make, started one way or the other, after kernels ran in this process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for operation in OPERATIONS:
            work(operation)
        loader = DataLoader(
            Rows(), batch_size=None, num_workers=2, multiprocessing_context=request.param, timeout=int(PATIENCE)
        )
        return list(loader)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.late
@matrix.covers("DataLoader workers")
@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_workers_of_a_data_loader_compute_the_same(rows: list[dict[str, Tensors]], operation: Case | Noise) -> None:
    assert len(rows) == len(Rows())
    for row, results in enumerate(rows):
        assert_same(results[operation.name], work(operation, row))
