"""Callers that run at the same time: threads, forked processes, the workers of a DataLoader."""

import os
import select
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from support.backends import Backend
from support.cases import CASES, Case, Tensors
from support.inputs import cotangent
from support.workers import SHAPE, Rows, work
from torch import Tensor
from torch.utils.data import DataLoader

every_case = pytest.mark.parametrize("case", CASES, ids=str)
PATIENCE = 30.0  # seconds after which a forked process hangs


def assert_same(results: Tensors, expected: Tensors) -> None:
    assert results.keys() == expected.keys()
    for name, value in results.items():
        # float64: plain torch's sums depend on the number of threads, which differs between the two
        torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-12, msg=name)


@every_case
def test_threads_that_run_forward_and_backward_at_once_do_not_disturb_each_other(case: Case, backend: Backend) -> None:
    expected = [work(case, row) for row in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for row, results in enumerate(pool.map(lambda row: work(case, row % 4), range(12))):
            assert_same(results, expected[row % 4])


@every_case
def test_a_forked_process_computes_the_same(case: Case, native: Backend) -> None:
    torch.set_num_threads(2)
    tensors = {name: t.requires_grad_() for name, t in case.inputs(SHAPE, torch.float64).items()}
    outputs = case(tensors)
    cotangents = [cotangent(o, 1) for o in outputs]

    def run() -> list[Tensor]:
        results = case(tensors)
        return [*results, *torch.autograd.grad(results, list(tensors.values()), cotangents)]

    expected = run()  # by threads that a fork does not have
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        answer = b"an error"
        try:
            if any(t.shape != SHAPE for t in tensors.values()) or case.name == "gaussian_nll-optimal":
                torch.set_num_threads(1)  # sums that plain torch takes, whose threads it would wait for
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
        assert (answers.read() if answered else b"nothing") == b"the same"


def same(result: Tensor, expected: Tensor) -> bool:
    return torch.allclose(result, expected, rtol=1e-12, atol=1e-12)


@pytest.fixture(scope="module", params=["fork", "spawn"])
def rows(request: pytest.FixtureRequest) -> list[dict[str, Tensors]]:
    """What two workers of a DataLoader make, started one way or the other, after kernels ran in this process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for case in CASES:
            work(case)
        loader = DataLoader(
            Rows(), batch_size=None, num_workers=2, multiprocessing_context=request.param, timeout=int(PATIENCE)
        )
        return list(loader)
    finally:
        torch.set_num_threads(threads)


@every_case
def test_workers_of_a_data_loader_compute_the_same(rows: list[dict[str, Tensors]], case: Case) -> None:
    assert len(rows) == len(Rows())
    for row, results in enumerate(rows):
        assert_same(results[case.name], work(case, row))
