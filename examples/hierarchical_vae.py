"""Twelve levels of latents beside one, with as many parameters and steps: bits a dimension of held-out digits.

python examples/hierarchical_vae.py
"""

import argparse
import math

import torch
from sklearn.datasets import load_digits

from genkern import nn

SHAPE, BATCH, LEVELS = (1, 8, 8), 64, (2, 3, 4, 3)  # at 1, 2, 4 and 8 pixels a side


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a hierarchical VAE on scikit-learn's digits, and a plain one.")
    parser.add_argument("--steps", type=int, default=2000)
    steps = parser.parse_args().steps
    images = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) / 16
    held_out = torch.arange(len(images)) % 5 == 0

    likelihood = nn.DiscretizedLogisticMixtureLikelihood(5, bins=17)
    channels = likelihood.param_channels(1)
    torch.manual_seed(0)
    one_level = nn.VAE(
        nn.ConvEncoder(SHAPE, 16, width=34),
        nn.ConvDecoder(SHAPE, 16, width=34, out_channels=channels),
        likelihood=likelihood,
    )
    ladder = nn.HierarchicalVAE(
        nn.LadderEncoder(SHAPE, LEVELS, width=32),
        nn.LadderDecoder(SHAPE, LEVELS, width=32, latent_channels=4, out_channels=channels),
        likelihood=likelihood,
    )
    for name, vae in {"one level": one_level, "twelve levels": ladder}.items():
        print(f"{name}: {sum(p.numel() for p in vae.parameters())} parameters")
        train(vae, images[~held_out], images[held_out], steps)


def train(vae: nn.VAE | nn.HierarchicalVAE, x: torch.Tensor, held_out: torch.Tensor, steps: int) -> None:
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3)
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        vae.loss(x[torch.randint(len(x), (BATCH,))]).backward()
        if nn.clip_or_skip(vae.parameters(), clip=200.0, skip=1000.0):
            optimizer.step()
        if step % 250 == 0 or step == steps:
            with torch.no_grad():
                bits = -vae.elbo(held_out).elbo.mean() / (held_out[0].numel() * math.log(2))
            print(f"  step {step:5d}   held out {bits:.3f} bits a dimension (ELBO)")


if __name__ == "__main__":
    main()
