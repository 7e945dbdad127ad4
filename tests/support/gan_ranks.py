"""A few adversarial steps, by one process or by two joined by gloo that share the batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import genkern as gk
from genkern.nn import GAN, VAEGAN, AdversarialSteps, MLPDecoder, MLPEncoder, average_gradients
from support.ranks import join, leave

RANKS, ROWS, LATENT, DIMS, STEPS = 2, 4, 3, 5, 4
KEY = gk.random.key(11)
HOWS = ("averaged", "DDP")


class Critic(nn.Module):
    """In two parts, none of which lets one datum influence another."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Linear(DIMS, 6), nn.Tanh())
        self.classify = nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.features(x))


def build(name: str) -> GAN:
    torch.manual_seed(0)
    networks = MLPDecoder((DIMS,), LATENT, hidden=(8,)), Critic()
    gans = {
        "r1": lambda: GAN(*networks, penalty="r1", penalty_interval=2),
        "gp": lambda: GAN(*networks, loss="wgan", penalty="gp"),
        "vae-gan": lambda: VAEGAN(MLPEncoder((DIMS,), LATENT, hidden=(8,)), *networks, penalty="r1"),
    }
    return gans[name]().double()


GANS = ("r1", "gp", "vae-gan")


def train(name: str, how: str = "alone", rank: int = 0, world: int = 1) -> dict[str, Any]:
    """The state after some steps, and new data of this rank."""
    gan = build(name)
    made = [p for n, p in gan.named_parameters() if n.startswith(("generator", "encoder"))]
    steps = AdversarialSteps(
        DistributedDataParallel(gan, find_unused_parameters=True) if how == "DDP" else gan,
        torch.optim.Adam(made, lr=1e-2),
        torch.optim.Adam(gan.discriminator.parameters(), lr=1e-2),
        n_critic=2,
        reduce_gradients=average_gradients if how == "averaged" else None,
    )
    size = RANKS * ROWS // world
    generator = torch.Generator().manual_seed(2)
    for step in range(STEPS):
        x = torch.rand(RANKS * ROWS, DIMS, generator=generator, dtype=torch.float64)[rank * size : (rank + 1) * size]
        steps(x, key=gk.random.fold_in(KEY, step), element_offset=rank * size * LATENT)
    return {**gan.state_dict(), "samples": gan.sample(size, key=KEY, element_offset=rank * size * LATENT)}


def train_on_rank(rank: int, rendezvous: str, result: str) -> None:
    torch.set_num_threads(1)
    join(Path(rendezvous), rank, RANKS)
    torch.save({(name, how): train(name, how, rank, RANKS) for name in GANS for how in HOWS}, f"{result}.{rank}")
    leave()
