"""A data-parallel training step of a VAE on two processes joined by gloo, for tests of objectives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

import genkern as gk
from genkern.nn import VAE, BetaTCVAE, GaussianLikelihood, InfoVAE, MLPDecoder, MLPEncoder, Objective, VampPrior
from support.ranks import join, leave

RANKS, ROWS, LATENT, DIMS = 2, 5, 3, 4
KEY = gk.random.key(11)


def energy_distance(x: Tensor, y: Tensor) -> Tensor:
    """2 E|x − y| − E|x − x'| − E|y − y'|: a discrepancy that needs nothing of genkern."""
    return 2 * torch.cdist(x, y).mean() - torch.cdist(x, x).mean() - torch.cdist(y, y).mean()


def objectives(global_batch: bool) -> dict[str, Objective]:
    torch.manual_seed(1)
    return {
        "tc-mss": BetaTCVAE(0.5, 3.0, 2.0, dataset_size=100, global_batch=global_batch),
        "tc-mws": BetaTCVAE(0.5, 3.0, 2.0, dataset_size=100, weighting="mws", global_batch=global_batch),
        "info": InfoVAE(energy_distance, alpha=0.5, lambda_=7.0, global_batch=global_batch),
        "vamp": VampPrior(4, (DIMS,)),
    }


def build(objective: Objective) -> VAE:
    torch.manual_seed(0)
    networks = MLPEncoder((DIMS,), LATENT, hidden=(8,)), MLPDecoder((DIMS,), LATENT, hidden=(8,))
    return VAE(*networks, likelihood=GaussianLikelihood(0.5), objective=objective).double()


def data() -> Tensor:
    return torch.rand(RANKS * ROWS, DIMS, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def step(model: Any, vae: VAE, x: Tensor, element_offset: int = 0) -> dict[str, Tensor]:
    """The loss, and the gradients that an optimiser would see."""
    loss = model(x, key=KEY, element_offset=element_offset)
    loss.backward()
    return {"loss": loss.detach(), **{name: p.grad for name, p in vae.named_parameters() if p.grad is not None}}


def train_on_rank(rank: int, rendezvous: str, result: str) -> None:
    torch.set_num_threads(1)
    join(Path(rendezvous), rank, RANKS)
    found = {}
    for name, objective in objectives(True).items():
        vae = build(objective)
        part = slice(rank * ROWS, (rank + 1) * ROWS)
        found[name] = step(DistributedDataParallel(vae), vae, data()[part], rank * ROWS * LATENT)
        dist.all_reduce(found[name]["loss"])
        found[name]["loss"] /= RANKS
    torch.save(found, f"{result}.{rank}")
    leave()
