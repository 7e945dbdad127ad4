"""Machine code as nvdisasm prints it: kernels, their control flow, and what a path through them issues, by unit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

_SECTION = re.compile(r"\s*\.section\s+\.text\.([\w$]+)")
_LABEL = re.compile(r"(\.L_\w+|\$?[\w$]+):\s*$")
_INSTRUCTION = re.compile(r"\s*/\*[0-9a-f]{4,}\*/\s+(@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)\s*(.*?)\s*;")
_TARGET = re.compile(r"`\((\.L_\w+)\)")
_WIDTH = {"U8": 1, "S8": 1, "U16": 2, "S16": 2, "64": 8, "128": 16, "256": 32}

# The unit that executes an opcode, by its first word.
_UNIT_OF = {
    opcode: unit
    for unit, opcodes in {
        "FMA": "FFMA FMUL FADD FFMA2 FMUL2 FADD2 HFMA2 HMUL2 HADD2",
        "IMAD": "IMAD",
        "FP64": "DADD DMUL DFMA DSETP DMNMX",
        "XU": "MUFU I2F F2I F2F FRND POPC FLO BREV",
        "memory": "LDG STG LD ST LDS STS LDL STL LDC LDCU ATOM ATOMG ATOMS RED REDG SHFL CCTL LDGSTS",
        "control": "BRA BRX JMP CALL RET EXIT BSSY BSYNC BREAK WARPSYNC BAR DEPBAR MEMBAR ERRBAR YIELD NANOSLEEP KILL",
        "other": "S2R S2UR CS2R R2UR VOTE VOTEU MATCH REDUX",
    }.items()
    for opcode in opcodes.split()
}


@dataclass(frozen=True)
class Instruction:
    opcode: str  # with its modifiers: LDG.E.128
    operands: str = ""
    predicate: str = ""  # "@P0", "@!P0"; empty where it always executes

    @property
    def name(self) -> str:
        return self.opcode.split(".")[0]

    @property
    def unit(self) -> str:
        """Uniform: once for a warp, on a datapath of its own. ALU: logic, comparisons, integer sums, all the rest."""
        return _UNIT_OF.get(self.name) or ("uniform" if self.name.startswith("U") else "ALU")

    @property
    def bytes(self) -> int:
        """Moved to or from global memory by one thread."""
        if self.name not in ("LDG", "STG"):
            return 0
        return next((_WIDTH[word] for word in self.opcode.split(".") if word in _WIDTH), 4)

    @property
    def target(self) -> str | None:
        found = _TARGET.search(self.operands)
        return found[1] if found and self.name == "BRA" else None

    @property
    def ends(self) -> bool:
        """The next instruction is not reached from it."""
        if self.name in ("RET", "BRX", "JMP", "KILL"):
            return True
        # A branch may also name its condition as an operand, ahead of the target.
        return not self.predicate and (self.name == "EXIT" or (self.name == "BRA" and self.operands.startswith("`")))


Weigh = Callable[[Instruction], Mapping[str, int]]


@dataclass
class Block:
    instructions: list[Instruction] = field(default_factory=list)
    successors: list[int] = field(default_factory=list)

    @property
    def cold(self) -> bool:
        """It calls a routine: the compiler's slow paths for denormals, infinities and the like."""
        return any(instruction.name == "CALL" for instruction in self.instructions)


@dataclass
class Kernel:
    name: str  # as mangled
    blocks: list[Block]

    @property
    def instructions(self) -> Iterator[Instruction]:
        for block in self.blocks:
            yield from block.instructions


@dataclass(frozen=True)
class Loop:
    head: int
    body: frozenset[int]


def parse(listing: str) -> list[Kernel]:
    """The kernels of `nvdisasm -c CUBIN`, each without the routines it calls and without padding."""
    kernels: list[Kernel] = []
    for name, lines in _sections(listing):
        blocks: list[Block] = [Block()]
        labels: dict[str, int] = {}
        for line in lines:
            if label := _LABEL.match(line):
                if label[1].startswith("$"):
                    break  # a called routine: it follows the kernel
                if blocks[-1].instructions:
                    blocks.append(Block())
                labels[label[1]] = len(blocks) - 1
            elif found := _INSTRUCTION.match(line):
                instruction = Instruction(found[2], found[3], (found[1] or "").strip())
                if instruction.name == "NOP":
                    continue
                blocks[-1].instructions.append(instruction)
                if instruction.ends or instruction.target:
                    blocks.append(Block())
        _connect(blocks, labels)
        kernels.append(Kernel(name, blocks))
    return kernels


def _sections(listing: str) -> Iterator[tuple[str, list[str]]]:
    name, lines = "", list[str]()
    for line in listing.splitlines():
        if found := _SECTION.match(line):
            if name:
                yield name, lines
            name, lines = found[1], []
        lines.append(line)
    if name:
        yield name, lines


def _connect(blocks: list[Block], labels: dict[str, int]) -> None:
    for index, block in enumerate(blocks):
        if not block.instructions:
            if index + 1 < len(blocks):
                block.successors.append(index + 1)
            continue
        last = block.instructions[-1]
        # An indexed branch lists its targets in a comment.
        named = re.findall(r"\.L_\w+", last.operands) if last.name in ("BRA", "BRX") else []
        block.successors += [labels[label] for label in named if label in labels]
        if not last.ends and index + 1 < len(blocks):
            block.successors.append(index + 1)


def count_units(instructions: Iterable[Instruction]) -> Counter[str]:
    return Counter(instruction.unit for instruction in instructions)


def count_names(instructions: Iterable[Instruction], *names: str) -> Counter[str]:
    """By full opcode, of the opcodes whose first word is among `names`; the cache's hints are left out."""
    wanted = (instruction for instruction in instructions if instruction.name in names)
    return Counter(re.sub(r"\.(CONSTANT|EF|EL|LU|NA|SYS|STRONG|GPU)\b", "", each.opcode) for each in wanted)


def loops(kernel: Kernel) -> list[Loop]:
    """The natural loops: for each block that is jumped back to, all from which the jump is reached without it."""
    predecessors: dict[int, set[int]] = {index: set() for index in range(len(kernel.blocks))}
    for index, block in enumerate(kernel.blocks):
        for successor in block.successors:
            predecessors[successor].add(index)
    bodies: dict[int, set[int]] = {}
    for latch, head in _back_edges(kernel):
        body = bodies.setdefault(head, {head})
        pending = [latch]
        while pending:
            block_index = pending.pop()
            if block_index not in body:
                body.add(block_index)
                pending += predecessors[block_index]
    return [Loop(head, frozenset(body)) for head, body in bodies.items()]


def _back_edges(kernel: Kernel) -> list[tuple[int, int]]:
    """Edges to a block that is still on the path from the entry, depth first."""
    edges: list[tuple[int, int]] = []
    open_, done = {0}, set[int]()
    stack = [(0, iter(kernel.blocks[0].successors))]
    while stack:
        index, successors = stack[-1]
        following = next(successors, None)
        if following is None:
            stack.pop()
            open_.discard(index)
            done.add(index)
        elif following in open_:
            edges.append((index, following))
        elif following not in done:
            open_.add(following)
            stack.append((following, iter(kernel.blocks[following].successors)))
    return edges


def cheapest(
    kernel: Kernel, loop: Loop | None, need: Mapping[str, int], weigh: Weigh, exact: Collection[str] = ()
) -> list[Instruction]:
    """The path of the fewest instructions, once through a loop or from entry to end, that does what is needed.

    `weigh` tells what an instruction contributes to the needs, of which the `exact` ones must not be exceeded. Inner
    loops are passed once at most, slow paths (Block.cold) not at all. Empty: there is no such path.
    """
    edges = _forward_edges(kernel, loop)
    keys = list(need)
    entry = loop.head if loop else 0
    # Of each block: for each amount of the need that is met from there on, the length and the blocks of the best path.
    best: dict[int, dict[tuple[int, ...], tuple[int, tuple[int, ...]]]] = {}
    for index in _postorder(edges, entry):
        block = kernel.blocks[index]
        states = best[index] = {}
        if block.cold:
            continue
        gives = Counter[str]()
        for instruction in block.instructions:
            gives.update(weigh(instruction))
        onward = [state for following in edges[index] if following != _END for state in best[following].items()]
        if _END in edges[index]:
            onward.append(((0,) * len(keys), (0, ())))
        for met, (length, blocks) in onward:
            if any(key in exact and done + gives[key] > need[key] for key, done in zip(keys, met, strict=True)):
                continue
            total = tuple(min(need[key], done + gives[key]) for key, done in zip(keys, met, strict=True))
            found = (length + len(block.instructions), (index, *blocks))
            states[total] = min(states.get(total, found), found)
    _, blocks = best[entry].get(tuple(need.values()), (0, ()))
    return [instruction for index in blocks for instruction in kernel.blocks[index].instructions]


_END = -1


def _forward_edges(kernel: Kernel, loop: Loop | None) -> dict[int, list[int]]:
    """Successors without the jumps back; _END after the last block of a path.

    A jump back to the head of an inner loop goes on where that head leaves its loop.
    """
    bodies = {each.head: each.body for each in loops(kernel)}
    back = set(_back_edges(kernel))
    inside = loop.body if loop else range(len(kernel.blocks))
    edges: dict[int, list[int]] = {}
    for index in inside:
        following: list[int] = []
        for successor in kernel.blocks[index].successors:
            if (index, successor) not in back:
                following += [successor] if successor in inside else []
            elif loop and successor == loop.head:
                following.append(_END)
            else:
                leaving = kernel.blocks[successor].successors
                following += [s for s in leaving if s not in bodies[successor] and s in inside]
        if not loop and not kernel.blocks[index].successors:
            following.append(_END)
        edges[index] = following
    return edges


def _postorder(edges: Mapping[int, list[int]], entry: int) -> list[int]:
    order: list[int] = []
    seen = {entry, _END}
    stack = [(entry, iter(edges[entry]))]
    while stack:
        index, successors = stack[-1]
        for following in successors:
            if following not in seen:
                seen.add(following)
                stack.append((following, iter(edges[following])))
                break
        else:
            stack.pop()
            order.append(index)
    return order
