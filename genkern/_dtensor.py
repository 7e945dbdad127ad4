"""Operations on DTensors: every rank computes its own rows, and nothing is communicated.

One rule serves every operation. The rows, which are dimension 0 of the elements that the arguments broadcast to, may
be sharded; an argument without rows, such as a learned prior, is replicated. Each rank calls the operation on what it
holds, with the place of its first row in ``element_offset``, so that together they draw the noise of one process. What
is reduced over rows becomes a partial sum, and so does the gradient of a replicated argument.
The rule stands above autograd, so it serves kernels and definitions, forward, backward and second derivatives alike.
"""

import math
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_PLAIN = (Tensor, torch.nn.Parameter)  # what is most often given


def given(args: Sequence[Any]) -> bool:
    """Whether an argument is a DTensor. No import: where there is one, its module is loaded."""
    if all(type(a) in _PLAIN or not isinstance(a, Tensor) for a in args):
        return False
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and any(isinstance(a, module.DTensor) for a in args)


def whole(tensor: Tensor) -> Tensor:
    """The tensor, whole on each rank; of a DTensor all ranks ask for it together."""
    return tensor.full_tensor() if given([tensor]) else tensor  # type: ignore[attr-defined]


def call(op: Any, args: Sequence[Any]) -> Any:
    """`op` (a `genkern._library.Operation`) with a DTensor among its arguments; its results are DTensors of its mesh.

    Raises
    ------
    TypeError, ValueError
        An argument is no DTensor, lies on another mesh or is placed in another way: nothing is redistributed.
    """
    named, options = op.split(args)
    noisy = "eps" in named
    if not op.by_rows:
        name = next(name for name, value in named.items() if given((value,)))
        raise TypeError(f"{name}: expected a Tensor, as {op.name} does not work by rows, got a DTensor")
    # They include the checks of the whole.
    fakes = [result.empty() for result in op.results([*map(_without_data, named.values()), *options.values()])]
    rows = _Rows(named, options, op.noise_by_row)
    local = [rows.local(name, value) for name, value in named.items()]

    weight = 1.0  # of this rank's rows in a mean
    if rows.sharded and options.get("reduction") in ("mean", "batchmean") and rows.total:
        weight = rows.count / rows.total
        if not rows.count:
            options = {**options, "reduction": "sum"}  # which is 0 where a mean is nan
    if rows.sharded and noisy and named["eps"] is None:
        results = _draw(op, local, options, fakes[0].shape, rows)
    else:
        results = _as_tuple(op(*op.join(local, options)))

    wholes = []
    for i, (result, fake) in enumerate(zip(results, fakes, strict=True)):
        result = result * weight if weight != 1.0 and not fake.dim() else result
        wholes.append(rows.whole(result, fake, rows.lead if noisy and i == 0 else 0))
    return tuple(wholes) if len(wholes) > 1 else wholes[0]


def everywhere(total: Any) -> Any:
    """A sum over the batch that every datum needs: over the ranks, too, where it is a DTensor. So is its gradient."""
    if not given((total,)):
        return total
    from torch.distributed.tensor import Replicate

    everywhere = [Replicate()] * total.device_mesh.ndim
    # The gradient of the second is summed at once, as a scalar; the first alone would leave it to the rows.
    return total.redistribute(placements=everywhere).redistribute(placements=everywhere)


class _Rows:
    """The rows that this rank has: `count` of `total`, from `first` on; `lead` dimensions of a sample precede them."""

    def __init__(self, named: dict[str, Any], options: dict[str, Any], noise_by_row: bool) -> None:
        from torch.distributed.tensor import DTensor

        self._noise_by_row = noise_by_row
        self.lead = len(options.get("sample_shape", ()))
        if isinstance(named.get("key"), DTensor):
            raise TypeError("key: expected a Tensor, the same on every rank, got a DTensor")
        tensors: dict[str, Any] = {n: v for n, v in named.items() if n != "key" and isinstance(v, Tensor)}
        as_first, first = next((name, value) for name, value in tensors.items() if isinstance(value, DTensor))
        self.mesh = first.device_mesh
        for name, value in tensors.items():
            if not isinstance(value, DTensor):
                raise TypeError(f"{name}: expected a DTensor as {as_first}, got a Tensor: distribute it first")
            if value.device_mesh != self.mesh:
                raise ValueError(f"{name}: expected {self.mesh} as {as_first}, got {value.device_mesh}")
        self._ndim = max(value.dim() for name, value in tensors.items() if name != "eps")
        sizes = {v.shape[self._dim(n)] for n, v in tensors.items() if self._reaches(n, v)}
        self.total = next((size for size in sizes if size != 1), 1)
        self._has_rows = {n: self._reaches(n, v) and self._is_long(n, v) for n, v in tensors.items()}
        self.split = self._common_split(tensors)
        self.sharded = any(self.split)
        self.first, self.count = 0, self.total
        for dim in (dim for dim, split in enumerate(self.split) if split):
            most = -(-self.count // self.mesh.size(dim))
            skipped = min(most * self.mesh.get_local_rank(dim), self.count)
            self.first, self.count = self.first + skipped, min(most, self.count - skipped)
        if self.sharded:
            self._check_datum(named, options)

    def local(self, name: str, value: Any) -> Any:
        """The part of an argument on this rank; its gradient is one of these rows alone."""
        if name not in self._has_rows:
            return value
        from torch.distributed.tensor import Partial, Replicate

        if self._has_rows[name]:
            local = value.to_local(grad_placements=value.placements)
            if self.sharded and local.shape[self._dim(name)] != self.count:
                raise ValueError(
                    f"{name}: expected {self.count} rows on this rank, as torch.chunk divides {self.total}, "
                    f"got {local.shape[self._dim(name)]}"
                )
            return local
        return value.to_local(grad_placements=[Partial("sum") if split else Replicate() for split in self.split])

    def whole(self, result: Tensor, like: Tensor, dim: int) -> Tensor:
        """The DTensor of which this rank computed `result`: by rows along `dim`, or the sum over all ranks' rows."""
        from torch.distributed.tensor import DTensor, Partial, Replicate, Shard

        part = Shard(dim) if like.dim() else Partial("sum")
        placements = [part if split else Replicate() for split in self.split]
        return DTensor.from_local(result, self.mesh, placements, shape=like.shape, stride=like.stride())

    def _dim(self, name: str) -> int:
        return self.lead if name == "eps" else 0

    def _reaches(self, name: str, value: Tensor) -> bool:
        """Whether it has the dimension of the rows at all."""
        ndim = 1 if name == "eps" and self._noise_by_row else self._ndim + self._dim(name)
        return value.dim() == ndim > 0

    def _is_long(self, name: str, value: Any) -> bool:
        """Whether that is not to be broadcast; where the whole has a single row, the placement decides."""
        return value.shape[self._dim(name)] != 1 or (self.total == 1 and any(p.is_shard() for p in value.placements))

    def _common_split(self, tensors: dict[str, Any]) -> list[bool]:
        """Over which dimensions of the mesh the rows are sharded, in all arguments that have them."""
        from torch.distributed.tensor import Replicate, Shard

        first: str | None = None
        for name, value in tensors.items():
            rows = Shard(self._dim(name))
            if not self._has_rows[name]:
                expected, right = "Replicate(), as it has no rows", all(p.is_replicate() for p in value.placements)
            elif first is None:
                expected, right = f"{rows} or Replicate()", all(p in (rows, Replicate()) for p in value.placements)
                first, split = name, [p.is_shard() for p in value.placements]
            else:
                wanted = tuple(rows if s else Replicate() for s in split)
                expected, right = f"{wanted} as {first}", value.placements == wanted
            if not right:
                raise ValueError(
                    f"{name}: expected placements {expected}, got {value.placements}: redistribute it first"
                )
        return split if first else [False] * self.mesh.ndim

    def _check_datum(self, named: dict[str, Any], options: dict[str, Any]) -> None:
        """A datum, and what is packed along a dimension, must lie on one rank."""
        across = [name for name in ("dim", "channel_dim") if name in options]  # dimensions that the results lack
        most = self._ndim - len(across) - 1
        if options.get("event_ndim") is not None and options["event_ndim"] > most:
            raise ValueError(
                f"event_ndim: expected at most {most}, as dimension 0 is sharded, got {options['event_ndim']}"
            )
        for name in ("chunk_dim", *across):
            dim = named.get(name, options.get(name))
            if dim is not None and dim % self._ndim == 0:
                raise ValueError(f"{name}: expected another dimension than 0, which is sharded, got {dim}")


def _draw(op: Any, args: list[Any], options: dict[str, Any], shape: torch.Size, rows: _Rows) -> tuple[Tensor, ...]:
    """The noise of these rows: of each sample, if there are several, in a launch of its own, as they lie apart."""
    lead = rows.lead
    offset = options["element_offset"] + rows.first * (1 if op.noise_by_row else math.prod(shape[lead + 1 :]))
    if lead and math.prod(shape[:lead]):
        apart = math.prod(shape[lead:])
        each = [
            _as_tuple(op(*op.join(args, {**options, "sample_shape": (), "element_offset": offset + apart * sample})))
            for sample in range(math.prod(shape[:lead]))
        ]
        z = torch.stack([results[0] for results in each])
        return z.unflatten(0, shape[:lead]), *each[0][1:]
    return _as_tuple(op(*op.join(args, {**options, "element_offset": offset})))


def _without_data(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")


def _as_tuple(results: Any) -> tuple[Tensor, ...]:
    return results if isinstance(results, tuple) else (results,)
