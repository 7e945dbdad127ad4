"""The implementations that every operation is tested on."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

import genkern as gk
from genkern import _backend
from support import aarch64, emulated


@dataclass(frozen=True)
class Backend:
    name: str
    mode: str
    device: str = "cpu"
    isa: str | None = None

    def __str__(self) -> str:
        return self.name

    @property
    def kernels(self) -> str:
        """Whose kernels run, if any: one name for all instruction sets of the CPU."""
        return self.mode if self.device == "cpu" and self.isa not in ELSEWHERE else self.name

    def missing(self) -> str | None:
        """What this machine or build lacks for it."""
        if self.mode == "native" and _backend.native is None:
            return f"no compiled kernels: {_backend.reason}"
        if self.isa in ELSEWHERE:
            return ELSEWHERE[self.isa].missing()
        if self.isa is not None and self.isa not in _backend.native.isas():
            return f"this processor has no {self.isa}"
        return None

    @contextmanager
    def use(self) -> Iterator[None]:
        if _backend.native is None:
            with gk.use_backend(self.mode):
                yield
            return
        before = _backend.native.isa()
        if self.isa in ELSEWHERE:
            ELSEWHERE[self.isa].load()
        if self.isa is not None:
            _backend.native.set_isa(self.isa)
        try:
            with gk.use_backend(self.mode):
                yield
        finally:
            _backend.native.set_isa(before)


EMULATED = "cuda-emulated"  # the CUDA kernels, compiled for the CPU
ELSEWHERE = {EMULATED: emulated, aarch64.NAME: aarch64}  # kernels that are not genkern's binary's
ISAS = ("neon",) if platform.machine() in ("aarch64", "arm64") else ("avx512", "avx2", "baseline")
REFERENCE = Backend("reference", "reference")
NATIVE = Backend("native", "native")
AUTO = Backend("auto", "auto")  # what users have: kernels, and the definition where torch must see every step
BACKENDS = [REFERENCE, NATIVE, Backend(EMULATED, "native", isa=EMULATED)]
if aarch64.ASKED_FOR:
    BACKENDS.append(Backend(aarch64.NAME, "native", isa=aarch64.NAME))
if torch.cuda.is_available() and gk.has_native("cuda"):
    BACKENDS.append(Backend("cuda", "native", device="cuda"))
OTHER_ISAS = [Backend(f"native-{isa}", "native", isa=isa) for isa in ISAS]
EVERY_ISA = [REFERENCE, *OTHER_ISAS, *BACKENDS[2:]]


def oracle() -> gk.use_backend:
    """The definitions in plain torch; in float64 they are what everything is measured against."""
    return gk.use_backend("reference")
