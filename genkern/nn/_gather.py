"""The batch of all ranks, differentiated."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def gather_batch(*tensors: Tensor) -> list[Tensor]:
    """Each ``[B, D]`` of the default process group's ranks in their order, ``[ranks · B, D]``; one exchange for all.

    B must be the same on every rank. Backward adds up the gradients of all ranks' losses. Without a process group, or
    alone in one, the tensors as they are.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return list(tensors)
    return list(_AllGather.apply(torch.stack(tensors)).flatten(1, 2).unbind())


class _AllGather(torch.autograd.Function):
    """``[N, B, D]`` → ``[N, ranks, B, D]``."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        parts = [torch.empty_like(part) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, part.contiguous())
        return torch.stack(parts, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        return grad[:, dist.get_rank()]
