"""Floors of the CUDA kernels on a large GPU, computed from bytes and machine code before anything is measured."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import cuda_sass
from cuda_sass import Instruction, Kernel

ARCH = "sm_90"

# An H200-class GPU. Copy: bytes read and written, as a large copy was seen to reach.
SMS, CLOCK_GHZ, COPY_TB_S = 132, 1.98, 4.3
# Lanes of an SM that a unit serves per clock, compute capability 9.0 ("Throughput of Native Arithmetic Instructions",
# CUDA C++ Programming Guide). Four schedulers issue an instruction of 32 lanes each. An integer multiply-add takes one
# half of the pipe for FMA, so both together have 128.
ISSUE = 128
LANES = {"FMA": 128, "IMAD": 64, "ALU": 64, "XU": 16, "FP64": 64}
MULTIPLIER = re.compile(r"-0x2daee0ad\b|\b0xd2511f53\b")  # kMultiplier0 of csrc/math/philox.h: ten times a counter

SIZES = {"float": 4, "bf16": 2, "f16": 2, "double": 8}


@dataclass(frozen=True)
class Work:
    """What an element costs whoever computes it: tensors read and written, normals, the formula's special functions."""

    reads: int
    writes: int
    normals: int = 0
    special: int = 0


# With a reduced loss, prior N(0, I) and a scale an element. By the names of the tiles that the kernels are made of.
OPERATIONS = {
    "gaussian_rsample_kl, forward": Work(2, 1, 1),
    "gaussian_rsample_kl, backward": Work(3, 2, 1),
    "gaussian_rsample, forward": Work(2, 1, 1),
    "gaussian_rsample, backward": Work(2, 2, 1),
    "gaussian_kl, forward": Work(2, 0),
    "gaussian_kl, backward": Work(2, 2),
    "gaussian_residual_rsample_kl, forward": Work(4, 1, 1),
    "gaussian_residual_rsample_kl, backward": Work(5, 4, 1),
    "gaussian_nll, forward": Work(3, 0),
    "gaussian_nll, backward": Work(3, 2),
    "laplace_nll, forward": Work(3, 0),
    "laplace_nll, backward": Work(3, 2),
    "bernoulli_nll, forward": Work(2, 0),
    "bernoulli_nll, backward": Work(2, 1),
    "discretized_gaussian_nll, forward": Work(3, 0),
    "discretized_gaussian_nll, backward": Work(3, 2),
    "gaussian_entropy, forward": Work(1, 0),
    "gaussian_entropy, backward": Work(1, 1),
    "random.normal": Work(0, 1, 1),
}
TILES = {
    ("SampleForward", "reduce"): "gaussian_rsample_kl, forward",
    ("SampleForward", "map"): "gaussian_rsample, forward",
    ("KlForward", "reduce"): "gaussian_kl, forward",
    ("HeadBackward", "map"): "gaussian_rsample_kl, backward",
    ("ResidualForward", "reduce"): "gaussian_residual_rsample_kl, forward",
    ("ResidualBackward", "map"): "gaussian_residual_rsample_kl, backward",
    ("NllForward", "reduce"): "gaussian_nll, forward",
    ("NllBackward", "map"): "gaussian_nll, backward",
    ("LaplaceForward", "reduce"): "laplace_nll, forward",
    ("LaplaceBackward", "map"): "laplace_nll, backward",
    ("BernoulliForward", "reduce"): "bernoulli_nll, forward",
    ("BernoulliBackward", "map"): "bernoulli_nll, backward",
    ("DiscretizedForward", "reduce"): "discretized_gaussian_nll, forward",
    ("DiscretizedBackward", "map"): "discretized_gaussian_nll, backward",
    ("EntropyForward", "reduce"): "gaussian_entropy, forward",
    ("EntropyBackward", "map"): "gaussian_entropy, backward",
    ("FillTile", "map"): "random.normal",
}


def weigh(instruction: Instruction, wide: int = 16) -> dict[str, int]:
    """What of an operation's work an instruction does; `wide` are the bytes of a group's access."""
    moved = instruction.bytes
    return {
        "load": moved if instruction.name == "LDG" else 0,
        "wide load": moved if instruction.name == "LDG" and moved == wide else 0,
        "store": moved if instruction.name == "STG" else 0,
        "philox": 1 if MULTIPLIER.search(instruction.operands) else 0,
        "special": 1 if instruction.name == "MUFU" else 0,
    }


@dataclass(frozen=True)
class Times:
    """Picoseconds an element on the whole GPU."""

    memory: float
    issue: float
    special: float  # the unit of the special functions, XU
    unit: float  # the busiest one
    unit_name: str

    @property
    def bound(self) -> str:
        return max((self.memory, "memory"), (self.issue, "issue"), (self.unit, self.unit_name))[1]

    @property
    def percent_of_copy(self) -> float:
        return 100 * (self.memory / max(self.memory, self.issue, self.unit))


def times(bytes_moved: float, units: Mapping[str, float]) -> Times:
    """Of `bytes_moved` and instructions by unit, an element."""
    clocks = {unit: units.get(unit, 0) / lanes for unit, lanes in LANES.items()}
    clocks["FMA"] += units.get("IMAD", 0) / LANES["FMA"]
    name = max(clocks, key=lambda unit: clocks[unit])
    ps = 1000 / (SMS * CLOCK_GHZ)
    return Times(bytes_moved / COPY_TB_S, sum(units.values()) / ISSUE * ps, clocks["XU"] * ps, clocks[name] * ps, name)


# --- the noise by itself ---


def noise_costs(probe: Iterable[Kernel]) -> dict[str, dict[str, float]]:
    """Instructions by unit for one value: of noise_probe.cu, a thread's path less that which makes no noise."""
    kernels = {re.sub(r"^_ZN7genkern\d+([a-z_]+?)E.*", r"\1", kernel.name): kernel for kernel in probe}

    def path(name: str, need: Mapping[str, int]) -> Counter[str]:
        found = cuda_sass.cheapest(kernels[name], None, need, weigh)
        if not found:
            raise ValueError(f"noise_probe.cu: no path through {name} does {dict(need)}")
        return cuda_sass.count_units(found)

    base = path("words", {"store": 16})
    # Two special functions a counter: a root each for two pairs of floats, a root and the quotient of the logarithm
    # for one pair of doubles.
    normal = {"store": 16, "philox": 10, "special": 2}
    costs = {
        "a word of Philox": (path("philox_words", {"store": 16, "philox": 10}), 4),
        "a normal, float": (path("normals_float", normal), 4),
        "a normal, double": (path("normals_double", normal), 2),
    }
    return {what: {unit: (made[unit] - base[unit]) / each for unit in made} for what, (made, each) in costs.items()}


# --- a kernel ---


@dataclass(frozen=True)
class Route:
    """The fast way of a kernel: once through its main loop, the cheapest that does the operation's work."""

    elements: int
    path: list[Instruction]

    @property
    def units(self) -> dict[str, float]:
        return {unit: n / self.elements for unit, n in cuda_sass.count_units(self.path).items()}


@dataclass(frozen=True)
class Form:
    """What a readable name says: NllForward<float, bf16, plain> reduce."""

    tile: str
    arithmetic: str
    storage: str
    width: int  # elements of a group
    driver: str

    @classmethod
    def of(cls, name: str) -> Form | None:
        found = re.fullmatch(r"(\w+)<(\w+), (\w+)(?: by (\d+))?(?:, plain)?> (map|reduce)", name)
        if not found or found[3] not in SIZES:
            return None
        return cls(found[1], found[2], found[3], int(found[4] or 16 // SIZES[found[3]]), found[5])

    @property
    def operation(self) -> str | None:
        return TILES.get((self.tile, self.driver))


def route(kernel: Kernel, form: Form) -> Route | None:
    """None where no loop does the work of the operation, or the operation is not known."""
    if form.operation is None:
        return None
    work, size, width = OPERATIONS[form.operation], SIZES[form.storage], form.width
    a_counter = 2 if form.arithmetic == "double" else 4
    need = {
        "wide load": size * width * work.reads,
        "store": size * width * work.writes,
        "philox": 10 * work.normals * max(1, width // a_counter),
        "special": work.special * width + 2 * work.normals * max(1, width // a_counter),
    }
    for loop in sorted(cuda_sass.loops(kernel), key=lambda each: len(each.body)):
        if path := cuda_sass.cheapest(kernel, loop, need, partial(weigh, wide=min(16, size * width)), exact=["store"]):
            return Route(width, path)
    return None


# --- tables ---


def noise_table(costs: Mapping[str, Mapping[str, float]]) -> list[str]:
    columns = ["FMA", "IMAD", "ALU", "XU", "FP64", "uniform"]
    rows = [
        f"| one value | instructions | {' | '.join(columns)} | ps, issue | ps, XU | ps, busiest unit |",
        "|---|---:|" + "---:|" * (len(columns) + 3),
    ]
    for what, units in costs.items():
        t = times(0, units)
        each = " | ".join(f"{units.get(unit, 0):.1f}" for unit in columns)
        rows.append(
            f"| {what} | {sum(units.values()):.1f} | {each} | {t.issue:.2f} | {t.special:.2f} "
            f"| {t.unit:.2f} ({t.unit_name}) |"
        )
    return rows


def operation_table(normal: Mapping[str, float]) -> list[str]:
    """No kernel's code but the noise's: what bounds any kernel that makes it this way."""
    rows = [
        "| operation | bytes, float32 | ps, memory | ps, noise | at most, % of copy "
        "| bytes, bfloat16 | ps, memory | at most, % of copy |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, work in OPERATIONS.items():
        noise = {unit: n * work.normals for unit, n in normal.items()}
        wide, narrow = (times(size * (work.reads + work.writes), noise) for size in (4, 2))
        rows.append(
            f"| `{name.split(',')[0]}`{name[len(name.split(',')[0]) :]} | {4 * (work.reads + work.writes)} "
            f"| {wide.memory:.2f} | {f'{wide.issue:.2f}' if work.normals else '–'} | {wide.percent_of_copy:.0f} "
            f"| {2 * (work.reads + work.writes)} | {narrow.memory:.2f} | {narrow.percent_of_copy:.0f} |"
        )
    return rows


def kernel_table(kernels: Mapping[str, Kernel]) -> list[str]:
    """By readable name: instructions in all, and the route where there is one."""
    rows = [
        "| kernel | bytes | instructions | loads | stores | ps, memory | ps, issue | ps, XU | ps, busiest unit | bound "
        "| predicted, % of copy |",
        "|---|---:|---:|---|---|---:|---:|---:|---:|---|---:|",
    ]
    for name, kernel in sorted(kernels.items()):
        form = Form.of(name)
        found = route(kernel, form) if form else None
        if not form or not found or not form.operation:
            continue
        work = OPERATIONS[form.operation]
        moved = SIZES[form.storage] * (work.reads + work.writes)
        t = times(moved, found.units)
        loads, stores = (_accesses(found.path, opcode) for opcode in ("LDG", "STG"))
        rows.append(
            f"| `{name}` | {moved} | {len(found.path) / found.elements:.1f} | {loads} | {stores} | {t.memory:.2f} "
            f"| {t.issue:.2f} | {t.special:.2f} | {t.unit:.2f} ({t.unit_name}) | {t.bound} | {t.percent_of_copy:.0f} |"
        )
    return rows if len(rows) > 2 else ["None of the kernels has one."]


def count_table(kernels: Mapping[str, Kernel]) -> list[str]:
    """Of the whole code of each kernel, every path of it."""
    columns = ["FMA", "IMAD", "ALU", "XU", "FP64", "uniform", "control"]
    rows = [
        f"| kernel | instructions | {' | '.join(columns)} | IMAD.WIDE | LOP3 | MUFU | loads | stores |",
        "|---|---:|" + "---:|" * (len(columns) + 2) + "---|---|---|",
    ]
    for name, kernel in sorted(kernels.items()):
        code = list(kernel.instructions)
        units = cuda_sass.count_units(code)
        multiplies = sum(each.opcode.startswith("IMAD.WIDE") for each in code)
        logic = sum(each.name == "LOP3" for each in code)
        special = Counter(each.opcode.split(".")[1] for each in code if each.name == "MUFU")
        rows.append(
            f"| `{name}` | {len(code)} | {' | '.join(str(units[unit]) for unit in columns)} | {multiplies} | {logic} "
            f"| {_listed(special)} | {_accesses(code, 'LDG')} | {_accesses(code, 'STG')} |"
        )
    return rows


def _accesses(code: Iterable[Instruction], opcode: str) -> str:
    """How many of each width in bits: 3 × 128."""
    return _listed(Counter(8 * each.bytes for each in code if each.name == opcode))


def _listed(counts: Mapping[str, int] | Mapping[int, int]) -> str:
    return ", ".join(f"{n} × {what}" for what, n in sorted(counts.items(), reverse=True)) or "–"
