"""The one table of what is measured: operations, shapes, dtypes and modes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

import genkern as gk
from benchmarks import rivals

Shape = tuple[int, ...]
Formula = Callable[..., rivals.Outputs]

GENKERN = "genkern"
EAGER = "eager"
DISTRIBUTIONS = "torch.distributions"
COMPILE = "torch.compile"
MAX_AUTOTUNE = "torch.compile max-autotune"
OWN = "torch function"
COPY = "copy"
"""A plain copy of one tensor of the case's size: the bandwidth that the floor is stated in."""

ONE_THREAD = "genkern, 1 thread"
"""genkern itself, where a run has more threads: what they bring."""

RIVALS = (EAGER, DISTRIBUTIONS, COMPILE, MAX_AUTOTUNE, OWN, ONE_THREAD)
MODES = ("forward", "forward_backward")

GPU_SHAPES: dict[str, tuple[Shape, ...]] = {
    "small": ((128, 10), (256, 64)),
    "typical": ((4096, 64),),
    "large": ((65536, 512),),
}
"""On a GPU the largest must not fit its L2 cache; float32, and the large ones in bfloat16, too."""
GPU_IMAGES: dict[str, tuple[Shape, ...]] = {
    "small": ((128, 10),),
    "typical": ((64, 4, 32, 32),),
    "large": ((65536, 512), (32, 4, 512, 512)),
}
"""The same for an operation that is measured on images on the CPU."""


@dataclass(frozen=True)
class Operation:
    """One operation and its contestants, all of one signature.

    `moved` counts the values an element that is fused must move, forward and backward: each input once, each output
    once, noise made again and not stored.
    """

    name: str
    family: str
    make_inputs: Callable[[Shape, torch.dtype], tuple]
    genkern: Formula
    rivals: dict[str, Formula]
    moved: tuple[int, int]
    compiled: str | None = EAGER
    shapes: dict[str, tuple[Shape, ...]] = field(
        default_factory=lambda: {
            "small": ((2, 4), (128, 10), (256, 64)),
            "typical": ((4096, 64),),
            "large": ((8192, 512),),
        }
    )
    also: tuple[tuple[Shape, torch.dtype], ...] = ()
    modes: tuple[str, ...] = MODES


@dataclass(frozen=True)
class Case:
    op: Operation
    size: str
    shape: Shape
    dtype: torch.dtype
    mode: str
    device: str = "cpu"

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape))
        return "-".join([self.op.name, shape, dtype_name(self.dtype), self.mode])

    @property
    def numel(self) -> int:
        return torch.Size(self.shape).numel()

    @property
    def bytes_per_element(self) -> int:
        forward, backward = self.op.moved
        return (forward if self.mode == "forward" else forward + backward) * self.dtype.itemsize

    @property
    def quick(self) -> bool:
        if self.device == "cuda":
            return self.size == "large" or self.shape == (128, 10)
        return self.shape in ((128, 10), (8192, 512)) and self.dtype == torch.float32

    @property
    def quick_compile(self) -> bool:
        """Compiling takes seconds a formula: in a quick run, only where the comparison says most."""
        return self.size == "large" and self.op.name in ("gaussian_rsample_kl", "gaussian_nll")


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def cases(family: str, device: str = "cpu") -> list[Case]:
    """In an order that keeps the modes of one problem side by side: they share a compiled formula."""
    return [
        Case(op, size, shape, dtype, mode, device)
        for op in OPERATIONS
        if op.family == family
        for size, shape, dtype in _problems(op, device)
        for mode in op.modes
    ]


def _problems(op: Operation, device: str) -> list[tuple[str, Shape, torch.dtype]]:
    shapes, also = op.shapes, op.also
    if device == "cuda":
        images = any(len(shape) == 4 for sizes in shapes.values() for shape in sizes)
        shapes = GPU_IMAGES if images else GPU_SHAPES
        also = tuple((shape, torch.bfloat16) for shape in shapes["large"])
    return [
        *((size, shape, torch.float32) for size, sizes in shapes.items() for shape in sizes),
        *(("large", shape, dtype) for shape, dtype in also),
    ]


def step(formula: Formula, inputs: Sequence, mode: str) -> Callable[[], object]:
    """One call as a training step makes it: on leaves that want gradients; backward with dense random ones."""
    if mode == "forward":
        return lambda: formula(*inputs)
    leaves = [x for x in inputs if isinstance(x, Tensor) and x.requires_grad]
    outputs = list(formula(*inputs))
    generator = torch.Generator(outputs[0].device).manual_seed(1)
    # Drawn once, in the outputs' own dtype: eager bfloat16 sums to bfloat16 where genkern sums to float32.
    grads = [torch.randn(y.shape, generator=generator, device=y.device).to(y.dtype) for y in outputs]
    del outputs
    return lambda: torch.autograd.grad(formula(*inputs), leaves, grads)


def _gaussian(shape: Shape, dtype: torch.dtype) -> tuple[Tensor, ...]:
    return _leaf(shape, dtype, 2), _leaf(shape, dtype, 3, 0.5)


def _packed(shape: Shape, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """`shape` is that of the sample; the encoder's output has twice the channels."""
    return (_leaf((shape[0], 2 * shape[1], *shape[2:]), dtype, 2, 0.5),)


def _residual(shape: Shape, dtype: torch.dtype) -> tuple[Tensor, ...]:
    return *_gaussian(shape, dtype), _leaf(shape, dtype, 5, 0.5), _leaf(shape, dtype, 6, 0.5)


def _observed(shape: Shape, dtype: torch.dtype) -> tuple[Tensor, ...]:
    return _leaf(shape, dtype, 4).requires_grad_(False), *_gaussian(shape, dtype)


def _observed_one_scale(shape: Shape, dtype: torch.dtype) -> tuple[Tensor, ...]:
    x, loc, _ = _observed(shape, dtype)
    return x, loc, _leaf((), dtype, 3, 0.5)


def _leaf(shape: Shape, dtype: torch.dtype, seed: int, spread: float = 1.0) -> Tensor:
    generator = torch.Generator(torch.get_default_device()).manual_seed(seed)
    return (spread * torch.randn(shape, generator=generator)).to(dtype).requires_grad_()


OPERATIONS = (
    Operation(
        "gaussian_rsample_kl",
        "gaussian",
        _gaussian,
        gk.gaussian_rsample_kl,
        {EAGER: rivals.rsample_kl, DISTRIBUTIONS: rivals.distributions_rsample_kl},
        moved=(3, 5),
        also=(((8192, 512), torch.bfloat16),),
    ),
    Operation(
        "gaussian_rsample_kl_packed",
        "gaussian",
        _packed,
        gk.gaussian_rsample_kl_packed,
        {EAGER: rivals.rsample_kl_packed, DISTRIBUTIONS: rivals.distributions_rsample_kl_packed},
        moved=(3, 5),
        shapes={"small": ((2, 4), (128, 10)), "typical": ((64, 4, 32, 32),), "large": ((8192, 512),)},
    ),
    Operation(
        "gaussian_residual_rsample_kl",
        "gaussian",
        _residual,
        gk.gaussian_residual_rsample_kl,
        {EAGER: rivals.residual_rsample_kl, DISTRIBUTIONS: rivals.distributions_residual_rsample_kl},
        moved=(5, 9),
    ),
    Operation(
        "gaussian_kl",
        "gaussian",
        _gaussian,
        lambda loc, logvar: (gk.gaussian_kl(loc, logvar),),
        {EAGER: rivals.kl, DISTRIBUTIONS: rivals.distributions_kl},
        moved=(2, 4),
    ),
    Operation(
        "gaussian_rsample",
        "gaussian",
        _gaussian,
        lambda loc, logvar: (gk.gaussian_rsample(loc, logvar),),
        {EAGER: rivals.rsample, DISTRIBUTIONS: rivals.distributions_rsample},
        moved=(3, 4),
    ),
    Operation(
        "gaussian_nll",
        "gaussian",
        _observed,
        lambda x, loc, logvar: (gk.gaussian_nll(x, loc, logvar),),
        {EAGER: rivals.nll, DISTRIBUTIONS: rivals.distributions_nll, OWN: rivals.torch_nll},
        moved=(3, 5),
    ),
    Operation(
        "gaussian_nll_one_scale",
        "gaussian",
        _observed_one_scale,
        lambda x, loc, logvar: (gk.gaussian_nll(x, loc, logvar),),
        {EAGER: rivals.nll, DISTRIBUTIONS: rivals.distributions_nll, OWN: rivals.torch_nll},
        moved=(2, 3),
    ),
    Operation(
        "random_normal",
        "random",
        lambda shape, dtype: (shape, dtype, torch.get_default_device()),
        # The key is drawn anew as the operations do, so that both sides make fresh noise.
        lambda shape, dtype, device: (gk.random.normal(gk.random.reserve(device=device), shape, dtype=dtype),),
        {OWN: rivals.torch_normal},
        moved=(1, 0),
        compiled=OWN,
        modes=("forward",),
    ),
)
