"""Train a GAN on scikit-learn's digits in several processes: one run, whatever their number.

    torchrun --nproc-per-node 2 examples/train_gan_ddp.py --steps 2000

As train_vae_ddp.py: a step is a function of (seed, step) alone. Gradients are averaged between backward and step, by a
function that AdversarialSteps is given; DistributedDataParallel(gan, find_unused_parameters=True) does as well.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits

import genkern as gk
from genkern.nn import GAN, AdversarialSteps, ConvDiscriminator, ConvGenerator, average_gradients

LATENT = 16
SHAPE = (1, 8, 8)


def main() -> None:
    options = parse_options()
    dist.init_process_group("gloo")  # "nccl", and a device for each rank, on GPUs
    rank, world = dist.get_rank(), dist.get_world_size()
    if options.batch_size % world:
        raise SystemExit(f"--batch-size: expected a multiple of {world}, the number of processes")

    torch.manual_seed(options.seed)  # the same first weights on every rank
    # Without the statistic of a batch, which would be that of each rank.
    discriminator = ConvDiscriminator(SHAPE, width=16, minibatch_stddev=False)
    gan = GAN(ConvGenerator(SHAPE, LATENT, width=16), discriminator, penalty="r1")
    adams = (
        torch.optim.Adam(part.parameters(), lr=options.learning_rate, betas=(0.0, 0.99))
        for part in (gan.generator, gan.discriminator)
    )
    take_step = AdversarialSteps(gan, *adams, reduce_gradients=average_gradients)
    start = restore(options.checkpoint, gan, take_step)

    digits = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) / 16
    order_key, noise_key = gk.random.split(gk.random.key(options.seed))
    size = options.batch_size // world
    first = rank * size  # of this rank's rows, in the batch of all ranks
    for step in range(start, options.steps):
        batch = gk.random.uniform(gk.random.fold_in(order_key, step), (len(digits),)).argsort()[: options.batch_size]
        x = digits[batch[first : first + size]]
        terms = take_step(x, key=gk.random.fold_in(noise_key, step), element_offset=first * LATENT)

        done = step + 1
        if done % options.save_every == 0 or done == options.steps:
            losses = torch.stack([terms.discriminator.loss, terms.generator])
            dist.all_reduce(losses)
            if rank == 0:
                save(options.checkpoint, gan, take_step, done)
                of_discriminator, of_generator = (losses / world).tolist()
                print(
                    f"step {done:5d}   discriminator {of_discriminator:7.4f}   generator {of_generator:7.4f}",
                    flush=True,
                )
    dist.destroy_process_group()


def save(path: Path, gan: GAN, take_step: AdversarialSteps, step: int) -> None:
    """Written beside, flushed to the disk, renamed: whenever the run is killed, `path` is a whole checkpoint."""
    beside = path.with_name(f"{path.name}.part")
    with beside.open("wb") as file:
        torch.save({"gan": gan.state_dict(), "steps": take_step.state_dict(), "step": step}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def restore(path: Path, gan: GAN, take_step: AdversarialSteps) -> int:
    """The step to go on from, on every rank: 0 where there is no checkpoint."""
    if not path.exists():
        return 0
    checkpoint: dict[str, Any] = torch.load(path, weights_only=True)
    gan.load_state_dict(checkpoint["gan"])
    take_step.load_state_dict(checkpoint["steps"])
    return checkpoint["step"]


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a GAN on handwritten digits in several processes.")
    parser.add_argument("--steps", type=int, default=2000, help="in all, those before an interruption included")
    parser.add_argument("--batch-size", type=int, default=64, help="of all processes together")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", type=Path, default=Path("gan_ddp.pt"), help="resumed from, if it is there")
    parser.add_argument("--save-every", type=int, default=100, metavar="STEPS")
    return parser.parse_args()


if __name__ == "__main__":
    main()
