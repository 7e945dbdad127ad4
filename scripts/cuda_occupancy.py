"""Theoretical occupancy of a kernel: how many of its blocks an SM holds at once, and what stops one more."""

from __future__ import annotations

from dataclasses import dataclass

WARP = 32


@dataclass(frozen=True)
class Limits:
    """What one SM holds: "Technical Specifications per Compute Capability" in NVIDIA's CUDA C++ Programming Guide."""

    warps: int
    blocks: int
    shared: int  # bytes, of all resident blocks
    registers: int = 65536


LIMITS = {
    "sm_80": Limits(warps=64, blocks=32, shared=164 * 1024),
    "sm_90": Limits(warps=64, blocks=32, shared=228 * 1024),
    "sm_100": Limits(warps=64, blocks=32, shared=228 * 1024),
    "sm_120": Limits(warps=48, blocks=24, shared=100 * 1024),
}

# Of compute capability 8.0 and later, from the toolkit's own calculator (cuda_occupancy.h; the best practices guide,
# "Calculating Occupancy"): a warp takes registers in units of 256 from the quarter of the SM that runs it; a block
# takes shared memory in units of 128 bytes, and the system 1 KiB of it besides.
REGISTER_UNIT = 256
QUARTERS = 4
SHARED_UNIT = 128
SHARED_BY_SYSTEM = 1024


@dataclass(frozen=True)
class Occupancy:
    blocks: int  # resident on an SM
    warps: int
    percent: int  # of the warps an SM can hold
    limit: str  # what stops one more block


def occupancy(arch: str, threads: int, registers: int, shared: int) -> Occupancy:
    """`shared` is static and dynamic together, in bytes; the SM is taken to give as much to shared memory as it can."""
    limits = LIMITS[arch]
    warps = _units(threads, WARP)
    warps_by_registers = limits.registers // QUARTERS // (_units(registers * WARP, REGISTER_UNIT) * REGISTER_UNIT)
    fits = {
        "warps": limits.warps // warps,
        "blocks": limits.blocks,
        "registers": warps_by_registers * QUARTERS // warps,
        "shared memory": limits.shared // (_units(shared + SHARED_BY_SYSTEM, SHARED_UNIT) * SHARED_UNIT),
    }
    limit = min(fits, key=lambda what: fits[what])
    resident = fits[limit]
    return Occupancy(resident, resident * warps, round(100 * resident * warps / limits.warps), limit)


def _units(amount: int, unit: int) -> int:
    return -(-amount // unit)
