"""The registry of genkern.random: one `Noise` a function, and it is in every test that fits it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

import genkern as gk


@dataclass(frozen=True)
class Noise:
    """A function of genkern.random: `call(key, n)` runs it, for something of size n, on the key's device."""

    name: str
    ops: tuple[str, ...]  # of torch.ops.genkern, that serve it
    call: Callable[[Tensor, int], Tensor]
    takes_key: bool = True

    def __str__(self) -> str:
        return self.name

    @property
    def op(self) -> str:
        return self.name


NOISE = (
    Noise("random.key", (), lambda key, n: gk.random.key(n, n, key.device), takes_key=False),
    Noise("random.split", ("key_split",), lambda key, n: gk.random.split(key, n)),
    Noise("random.fold_in", ("key_fold_in",), lambda key, n: gk.random.fold_in(key, n)),
    Noise(
        "random.reserve",
        ("key_reserve", "key_reserve_on", "key_reserve_cuda"),
        lambda key, n: gk.random.reserve(device=key.device),
        takes_key=False,
    ),
    Noise("random.normal", ("random_normal",), lambda key, n: gk.random.normal(key, (n, 3), element_offset=n)),
    Noise("random.uniform", ("random_uniform",), lambda key, n: gk.random.uniform(key, (n, 3), element_offset=n)),
)
