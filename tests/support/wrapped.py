"""A VAE trained for a few steps by one process, or by several under DistributedDataParallel or fully_shard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

import genkern as gk
from genkern.nn import VAE, GaussianLikelihood, MLPDecoder, MLPEncoder
from support.inputs import normal

LATENT = 3
ROWS = 8
STEPS = 3
KEY = gk.random.key(11)


def make() -> VAE:
    torch.manual_seed(3)
    vae = VAE(MLPEncoder((4,), LATENT), MLPDecoder((4,), LATENT), likelihood=GaussianLikelihood("learned", channels=4))
    return vae.double()


def sharded(vae: VAE) -> VAE:
    fully_shard(vae.encoder)
    fully_shard(vae.decoder)
    fully_shard(vae)
    for method in ("elbo", "sample"):
        register_fsdp_forward_method(vae, method)
    return vae


WRAPPERS: dict[str, Callable[[VAE], nn.Module]] = {"DDP": DistributedDataParallel, "FSDP2": sharded}


def train(wrap: Callable[[VAE], nn.Module] = lambda vae: vae, rank: int = 0, world: int = 1) -> dict[str, Any]:
    """Losses of the batch, weights after the last step, and then the bound of each row and new data."""
    vae = make()
    model = wrap(vae)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    size = ROWS // world
    first = rank * size
    offset = first * LATENT
    losses = []
    for step in range(STEPS):
        x = normal((ROWS, 4), 20 + step)[first : first + size]
        loss = model(x, key=gk.random.fold_in(KEY, step), element_offset=offset)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    weights = {name: whole(value) for name, value in vae.state_dict().items()}
    bounds = vae.elbo(normal((ROWS, 4), 30)[first : first + size], key=KEY, element_offset=offset).elbo.detach()
    samples = vae.sample(size, key=KEY, element_offset=offset, observation_noise=True)
    return {
        "losses": mean(torch.stack(losses), world),
        "weights": weights,
        "bounds": gather(bounds, world),
        "samples": gather(samples, world),
    }


def whole(value: Tensor) -> Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value.clone()


def mean(value: Tensor, world: int) -> Tensor:
    if world > 1:
        dist.all_reduce(value)
    return value / world


def gather(value: Tensor, world: int) -> Tensor:
    if world == 1:
        return value
    parts = [torch.empty_like(value) for _ in range(world)]
    dist.all_gather(parts, value.contiguous())
    return torch.cat(parts)
