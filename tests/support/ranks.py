"""Processes that work together by gloo: `launch` starts them, each evaluates the cases on its part.

As a program: `python ranks.py RESULTS RANK WORLD`, with what to evaluate in RESULTS.wanted.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Placement, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.debug import CommDebugMode

PATIENCE = 180.0  # seconds after which the processes hang
COLUMNS = 6
COMPILED = ("gaussian_rsample", "gaussian_kl", "gaussian_rsample_kl_packed")
SEED = 5

# By name: the rows of the batch, the mesh of 4 processes (2 have one dimension) and where its rows lie.
PLACEMENTS: dict[str, tuple[int, tuple[int, ...], tuple[Placement, ...]]] = {
    "sharded": (8, (4,), (Shard(0),)),
    "sharded unevenly": (5, (4,), (Shard(0),)),
    "replicated": (3, (4,), (Replicate(),)),
    "sharded over the first dimension": (5, (2, 2), (Shard(0), Replicate())),
    "sharded over the second dimension": (5, (2, 2), (Replicate(), Shard(0))),
    "sharded over both dimensions": (7, (2, 2), (Shard(0), Shard(0))),
}


def placements(world: int) -> list[str]:
    return [name for name, (_, mesh, _) in PLACEMENTS.items() if world == 4 or len(mesh) == 1]


def launch(program: str, world: int, *args: str) -> None:
    """Run `program ARGS RANK WORLD` in `world` processes at once; none outlives this call."""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    processes = [
        subprocess.Popen(
            [sys.executable, program, *args, str(rank), str(world)],
            cwd=root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(world)
    ]
    try:
        for process in processes:
            output, _ = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, output
    finally:
        for process in processes:
            process.kill()
            process.wait()


def join(rendezvous: Path, rank: int, world: int) -> None:
    dist.init_process_group(
        "gloo",
        init_method=f"file://{rendezvous.absolute()}",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=PATIENCE / 3),
    )


def leave() -> None:
    """Wrappers, which are in cycles, go first: see watched.py."""
    gc.collect()
    dist.destroy_process_group()


def distribute(value: Tensor, mesh: DeviceMesh, where: Sequence[Placement]) -> DTensor:
    """As a leaf; every rank has the same numbers, so nothing needs to be sent."""
    return distribute_tensor(value.detach(), mesh, where, src_data_rank=None).detach().requires_grad_()


def distributed(
    tensors: dict[str, Tensor], rows: int, mesh: DeviceMesh, where: Sequence[Placement]
) -> dict[str, DTensor]:
    """Those that have rows as `where` says, the others on every rank; noise may be one number a row."""
    ndim = max(t.dim() for t in tensors.values())
    everywhere = [Replicate()] * mesh.ndim

    def has_rows(name: str, t: Tensor) -> bool:
        return (t.dim() == ndim or (name == "eps" and t.dim() == 1)) and t.shape[0] == rows

    return {name: distribute(t, mesh, where if has_rows(name, t) else everywhere) for name, t in tensors.items()}


def evaluate_distributed(
    case: Any,
    tensors: dict[str, Tensor],
    rows: int,
    mesh: DeviceMesh,
    where: tuple[Placement, ...],
    options: dict[str, Any],
) -> dict[str, Any]:
    """Outputs and gradients, gathered; how their parts were placed; what was sent for them."""
    from support.inputs import cotangent

    leaves = distributed(tensors, rows, mesh, where)
    with CommDebugMode() as forward:
        outputs = case(leaves, **options)
    cotangents = [
        distribute_tensor(
            cotangent(torch.empty(o.shape, dtype=o.dtype), 100 + i),
            mesh,
            [p if p.is_shard() else Replicate() for p in o.placements],
            src_data_rank=None,
        )
        for i, o in enumerate(outputs)
    ]
    with CommDebugMode() as backward:
        grads = torch.autograd.grad(
            outputs, list(leaves.values()), cotangents, allow_unused=True, materialize_grads=True
        )
    parts = {
        **{f"{kind} {i}": o for i, (kind, o) in enumerate(zip(case.outputs, outputs, strict=True))},
        **{f"gradient of {name}": g for name, g in zip(leaves, grads, strict=True)},
    }
    return {
        "values": {name: part.detach().full_tensor() for name, part in parts.items()},
        "placements": {name: tuple(map(str, part.placements)) for name, part in parts.items()},
        "sent": {
            "forward": {str(op): n for op, n in forward.get_comm_counts().items()},
            "backward": {str(op): n for op, n in backward.get_comm_counts().items()},
        },
    }


def second_derivatives(case: Any, leaves: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of the squared outputs, which keep their rows, and of the squared gradients of that; DTensors or not."""
    options = {"reduction": case.reductions[0]} if case.reduces else {}

    def derivatives(values: Sequence[Tensor | None], create_graph: bool) -> list[Tensor]:
        total = sum(whole(value).square().sum() for value in values if value is not None)
        return torch.autograd.grad(
            total, list(leaves.values()), create_graph=create_graph, allow_unused=True, materialize_grads=True
        )

    second = derivatives(derivatives(case(leaves, **options), True), False)
    return {name: whole(value) for name, value in zip(leaves, second, strict=True)}


def whole(value: Tensor) -> Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value


def compile_cases(mesh: DeviceMesh, rows: int) -> dict[str, bool]:
    """Whether a compiled call has the bits of an eager one, forward and backward."""
    from support.cases import CASES

    same = {}
    for case in (case for case in CASES if case.name in COMPILED):
        tensors = case.inputs((rows, COLUMNS), torch.float64)
        leaves = {name: distribute(t, mesh, [Shard(0)]) for name, t in tensors.items()}

        def run(call: Any, leaves: dict[str, DTensor] = leaves) -> list[Tensor]:
            outputs = call(leaves)
            total = sum(o.full_tensor().sum() for o in outputs)
            return [*outputs, *torch.autograd.grad(total, list(leaves.values()))]

        compiled = run(torch.compile(case, backend="aot_eager", fullgraph=True))
        pairs = zip(compiled, run(case), strict=True)
        same[case.name] = all(torch.equal(c.to_local(), e.to_local()) for c, e in pairs)
    return same


def several_samples(mesh: DeviceMesh) -> tuple[Tensor, Tensor]:
    """Of noise that is given: its rows are its second dimension. By two processes, and by one."""
    import genkern as gk
    from support.inputs import normal

    loc, scale, eps = normal((5, COLUMNS), 0), normal((5, COLUMNS), 1), normal((3, 5, COLUMNS), 2)
    placed = [distribute(t, mesh, [Shard(t.dim() - 2)]) for t in (loc, scale, eps)]
    z = gk.gaussian_rsample(*placed[:2], sample_shape=(3,), eps=placed[2])
    return z.detach().full_tensor(), gk.gaussian_rsample(loc, scale, sample_shape=(3,), eps=eps)


def refusals(mesh: DeviceMesh) -> dict[str, str]:
    """What is said of calls that would need communication, or that no rank could answer alone."""
    import genkern as gk

    world, key = mesh.size(), gk.random.key(1)
    plain = torch.zeros(4, 6)
    rows, columns = (distribute(plain, mesh, [Shard(dim)]) for dim in (0, 1))
    everywhere = distribute(plain, mesh, [Replicate()])
    prior = distribute(torch.zeros(world), mesh, [Shard(0)])
    several = distribute(torch.zeros(4, world), mesh, [Shard(0)])
    ragged = DTensor.from_local(torch.zeros(1 + dist.get_rank(), 6), mesh, [Shard(0)], shape=(4, 6), stride=(6, 1))
    other = distribute(plain, init_device_mesh("cpu", (1, world)), [Replicate(), Shard(0)])
    calls: dict[str, Callable[[], Any]] = {
        "columns": lambda: gk.gaussian_kl(columns, columns),
        "partial": lambda: gk.gaussian_entropy(DTensor.from_local(plain, mesh, [Partial()])),
        "differently": lambda: gk.gaussian_rsample(rows, everywhere, key=key),
        "prior": lambda: gk.gaussian_kl(several, several, prior),
        "plain": lambda: gk.gaussian_kl(rows, plain),
        "plain first": lambda: gk.gaussian_kl(plain, rows),
        "plain first, drawn": lambda: gk.gaussian_rsample(plain, rows),
        "eps": lambda: gk.gaussian_rsample(rows, rows, eps=plain),
        "key": lambda: gk.gaussian_rsample(
            rows, rows, key=distribute_tensor(key, mesh, [Replicate()], src_data_rank=None)
        ),
        "mesh": lambda: gk.gaussian_kl(rows, other),
        "event": lambda: gk.gaussian_entropy(rows, event_ndim=2),
        "chunk": lambda: gk.gaussian_rsample_kl_packed(rows, 0, key=key),
        "classes": lambda: gk.categorical_kl(rows, rows, dim=-2),
        "channels": lambda: gk.discretized_logistic_mixture_nll(
            distribute(torch.zeros(2, 6), mesh, [Shard(0)]),
            distribute(torch.zeros(5, 6), mesh, [Shard(0)]),
            mixtures=1,
            channel_dim=0,
            rgb_coupling=False,
        ),
        "event of classes": lambda: gk.categorical_entropy(rows, event_ndim=1),
        "ragged": lambda: gk.gaussian_entropy(ragged),
        "shape": lambda: gk.gaussian_kl(rows, distribute(torch.zeros(3, 6), mesh, [Shard(0)])),
    }
    found = {}
    for name, call in calls.items():
        try:
            call()
            found[name] = "accepted"
        except (TypeError, ValueError) as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found


def options_of(case: Any, placement: str) -> list[dict[str, Any]]:
    """Those under which it matters which rows a rank has; all of them where that is hardest."""
    if placement != "sharded unevenly":
        draws_several = any("sample_shape" in o for o in case.variants)
        return [{}, *[{"reduction": "mean"}] * case.reduces, *[{"sample_shape": (2,)}] * draws_several]
    found = [{}, *(o for o in case.variants if o.keys() & {"sample_shape", "element_offset", "free_bits"})]
    if case.reduces:
        found += [{"reduction": r} for r in ("none", "sum", "mean")]
        found += [{"reduction": r, "units": "bits_per_dim"} for r in ("event", "batchmean") if case.units]
    return found


def evaluate_cases(world: int, wanted: dict[str, list[str]]) -> dict[str, Any]:
    """The cases that are wanted of each placement."""
    import genkern as gk
    from support.cases import CASES

    found: dict[str, Any] = {}
    for placement, names in wanted.items():
        rows, shape, where = PLACEMENTS[placement]
        mesh = init_device_mesh("cpu", shape if len(shape) > 1 else (world,))
        for case in (case for case in CASES if case.name in names):
            tensors = case.inputs((rows, COLUMNS), torch.float64)
            run = partial(evaluate_distributed, case, tensors, rows, mesh, where)
            results = {repr(options): run(options) for options in options_of(case, placement)}
            with gk.use_backend("reference"):
                results["reference"] = run({})
            if case.keyed:
                torch.manual_seed(SEED)
                results["draw"] = run({"generator": None})
            if placement == "sharded unevenly":
                results["second"] = second_derivatives(case, distributed(tensors, rows, mesh, where))
            found[f"{placement}: {case.name}"] = results
    return found


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])
    path, rank, world = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    join(path.with_suffix(".rendezvous"), rank, world)
    from support.wrapped import WRAPPERS, train

    results = {name: train(wrap, rank, world) for name, wrap in WRAPPERS.items()}
    results["cases"] = evaluate_cases(world, json.loads(path.with_suffix(".wanted").read_text()))
    mesh = init_device_mesh("cpu", (world,))
    if world == 2:
        results["refusals"] = refusals(mesh)
        results["compiled"] = compile_cases(mesh, rows=5)
        results["several samples of eps"] = several_samples(mesh)
    if rank == 0:
        torch.save(results, path)
    leave()
