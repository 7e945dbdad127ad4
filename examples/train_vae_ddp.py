"""Train a VAE on scikit-learn's digits with DistributedDataParallel: one run, whatever the number of processes.

    torchrun --nproc-per-node 2 examples/train_vae_ddp.py --steps 500

A step is a function of (seed, step) alone: its rows and its noise come from keys, and a rank draws the noise of its own
rows of the batch. So the weights do not depend on the number of processes, up to rounding, and a run that was stopped,
at any moment, goes on to exactly the numbers of one that was not. docs/distributed.md says more.
"""

from __future__ import annotations

import argparse
import gc
import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch.nn.parallel import DistributedDataParallel

import genkern as gk
from genkern.nn import VAE, ConvDecoder, ConvEncoder

LATENT = 8


def main() -> None:
    options = parse_options()
    dist.init_process_group("gloo")  # "nccl", and a device for each rank, on GPUs
    rank, world = dist.get_rank(), dist.get_world_size()
    if options.batch_size % world:
        raise SystemExit(f"--batch-size: expected a multiple of {world}, the number of processes")

    torch.manual_seed(options.seed)  # the same first weights on every rank
    vae = VAE(ConvEncoder((1, 8, 8), LATENT), ConvDecoder((1, 8, 8), LATENT), likelihood="bernoulli")
    optimizer = torch.optim.Adam(vae.parameters(), lr=options.learning_rate)
    start = restore(options.checkpoint, vae, optimizer)
    model = DistributedDataParallel(vae)

    digits = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) / 16
    order_key, latent_key = gk.random.split(gk.random.key(options.seed))
    size = options.batch_size // world
    first = rank * size  # of this rank's rows, in the batch of all ranks
    for step in range(start, options.steps):
        batch = gk.random.uniform(gk.random.fold_in(order_key, step), (len(digits),)).argsort()[: options.batch_size]
        x = digits[batch[first : first + size]]
        loss = model(x, key=gk.random.fold_in(latent_key, step), element_offset=first * LATENT)
        optimizer.zero_grad()
        loss.backward()  # DistributedDataParallel averages the gradients: that of the mean over the whole batch
        optimizer.step()

        done = step + 1
        if done % options.save_every == 0 or done == options.steps:
            total = loss.detach().clone()
            dist.all_reduce(total)
            if rank == 0:
                save(options.checkpoint, vae, optimizer, done)
                print(f"step {done:5d}   loss {total.item() / world:9.4f} nats a digit", flush=True)
    # The wrapper, which is in a cycle, holds the group too. Whatever lets go of it last waits for gloo's threads; they
    # wait for Python's lock, which destroy_process_group alone gives up meanwhile.
    del model
    gc.collect()
    dist.destroy_process_group()


def save(path: Path, vae: VAE, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Written beside, flushed to the disk, renamed: whenever the run is killed, `path` is a whole checkpoint."""
    beside = path.with_name(f"{path.name}.part")
    with beside.open("wb") as file:
        torch.save({"vae": vae.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def restore(path: Path, vae: VAE, optimizer: torch.optim.Optimizer) -> int:
    """The step to go on from, on every rank: 0 where there is no checkpoint."""
    if not path.exists():
        return 0
    checkpoint: dict[str, Any] = torch.load(path, weights_only=True)
    vae.load_state_dict(checkpoint["vae"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    return checkpoint["step"]


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a VAE on handwritten digits in several processes.")
    parser.add_argument("--steps", type=int, default=500, help="in all, those before an interruption included")
    parser.add_argument("--batch-size", type=int, default=128, help="of all processes together")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", type=Path, default=Path("vae_ddp.pt"), help="resumed from, if it is there")
    parser.add_argument("--save-every", type=int, default=50, metavar="STEPS")
    return parser.parse_args()


if __name__ == "__main__":
    main()
