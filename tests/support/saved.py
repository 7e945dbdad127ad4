"""Loads what tests/compat/test_saving.py pickled in another process, and says what it gives."""

import pickle
import sys

import torch


def results(thing: object) -> list[torch.Tensor]:
    """All that a distribution or a model draws and computes, from one seed."""
    torch.manual_seed(5)
    if isinstance(thing, torch.nn.Module):
        thing = thing.eval().double()
        x = torch.rand((3, *thing.input_dim), dtype=torch.float64)
        return list(thing({"data": x}, dataset_size=50).values())
    if isinstance(thing, torch.distributions.Distribution):
        sample = thing.sample()
        return [sample, thing.log_prob(sample)]
    sample = thing.sample()
    if isinstance(sample, tuple):
        return [*sample, thing.log_p(sample[0]), thing.kl(thing), thing.mu, thing.sigma]
    return [sample, thing.kl(), thing.kl(thing), thing.mean, thing.std, thing.var, thing.logvar]


if __name__ == "__main__":
    path = sys.argv[1]
    with open(path, "rb") as file:
        loaded = {name: pickle.loads(saved) for name, saved in pickle.load(file).items()}
    torch.save({name: (type(thing).__module__, results(thing)) for name, thing in loaded.items()}, path)
