"""The one table of what is measured: operations, shapes, dtypes and modes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

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
LIGER = "Liger-Kernel"
"""On a GPU, where it is installed."""
COPY = "copy"
"""A plain copy of one tensor of the case's size: the bandwidth that the floor is stated in."""
EXP = "exp"
"""torch.exp of values in the cache: the rate that the floor is stated in where exponentials take longer than bytes."""
GRAPH = "genkern, CUDA graph"
EAGER_GRAPH = "eager, CUDA graph"
"""The same calls captured and replayed, on a GPU."""

ONE_THREAD = "genkern, 1 thread"
"""genkern itself, where a run has more threads: what they bring."""
APART = "genkern, apart"
"""A fused operation by those it is made of, each of genkern: what fusing them brings."""

RIVALS = (EAGER, DISTRIBUTIONS, COMPILE, MAX_AUTOTUNE, OWN, LIGER, APART, ONE_THREAD, GRAPH, EAGER_GRAPH)
MODES = ("forward", "forward_backward")
OTHER_DTYPES = (torch.float64, torch.float16, torch.bfloat16)
"""Besides float32, which is measured on every shape."""
DTYPES = (torch.float32, *OTHER_DTYPES)

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
CLASSES: dict[str, Any] = {
    "shapes": {"small": ((16, 4, 8), (16, 32, 32)), "typical": ((256, 32, 32),), "large": ((4096, 32, 32),)},
    "gpu_shapes": {"small": ((16, 32, 32),), "typical": ((1024, 32, 32),), "large": ((32768, 32, 32),)},
}
"""[batch, variables, classes]; DreamerV3 has 32 of 32."""
PAIRS: dict[str, tuple[Shape, ...]] = {
    "small": ((128, 128, 16),),
    "typical": ((512, 512, 64),),
    "large": ((1024, 1024, 64),),
}
"""Points, points they are compared with, dimensions. Eager formulas hold several tensors of the large one's size."""
GPU_PAIRS: dict[str, tuple[Shape, ...]] = {**PAIRS, "large": ((2048, 2048, 64),)}

FEATURES: dict[str, Any] = {
    "shapes": {"small": ((8, 16, 4, 4),), "typical": ((32, 512, 4, 4),), "large": ((64, 256, 16, 16),)},
    "gpu_shapes": {"small": ((8, 64, 4, 4),), "typical": ((32, 512, 4, 4),), "large": ((256, 512, 16, 16),)},
}
"""Of a discriminator, near its end."""
GENES: dict[str, Any] = {
    "shapes": {"small": ((128, 10), (128, 200)), "typical": ((128, 4000),), "large": ((1024, 2000),)},
    "gpu_shapes": {"small": ((128, 200),), "typical": ((128, 4000),), "large": ((8192, 4096),)},
}
"""Cells, genes."""
PARAMETERS: dict[str, Any] = {
    "shapes": {"small": ((16, 256),), "typical": ((100, 4096),), "large": ((200, 32768),)},
    "gpu_shapes": {"small": ((16, 256),), "typical": ((200, 32768),), "large": ((512, 65536),)},
}
"""Tensors, and elements of each."""


N = TypeVar("N", int, float)


@dataclass(frozen=True)
class Operation:
    """One operation and its contestants, all of one signature.

    `moved` counts the values an element that is fused must move, forward and backward: each input once, each output
    once, noise made again and not stored. (0, 0): an element is a pair of points in one dimension, of which nothing is
    moved. `exps` counts the exponentials, logarithms, sines and cosines it takes at least; the noise of a normal sample
    takes 1.5: a pair of numbers, one logarithm, a sine and a cosine. `words` counts the 32-bit words of Philox.
    """

    name: str
    family: str
    make_inputs: Callable[[Shape, torch.dtype], tuple]
    genkern: Formula
    rivals: dict[str, Formula]
    moved: tuple[int, int]
    exps: tuple[float, float] = (0, 0)
    words: tuple[int, int] = (0, 0)
    compiled: str | None = EAGER
    shapes: dict[str, tuple[Shape, ...]] = field(
        default_factory=lambda: {
            "small": ((2, 4), (128, 10), (256, 64)),
            "typical": ((4096, 64),),
            "large": ((8192, 512),),
        }
    )
    modes: tuple[str, ...] = MODES
    gpu_shapes: dict[str, tuple[Shape, ...]] | None = None  # where its inputs are none of the usual images
    liger: Formula | None = None

    @property
    def of_pairs(self) -> bool:
        return self.moved == (0, 0)


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
    def rivals(self) -> dict[str, Formula]:
        liger = self.op.liger if self.device == "cuda" and importlib.util.find_spec("liger_kernel") else None
        return {**self.op.rivals, **({LIGER: liger} if liger else {})}

    @property
    def numel(self) -> int:
        return torch.Size(self.shape).numel()

    @property
    def bytes_per_element(self) -> int:
        return self._in_mode(self.op.moved) * self.dtype.itemsize

    @property
    def exps_per_element(self) -> float:
        return self._in_mode(self.op.exps)

    @property
    def words_per_element(self) -> int:
        return self._in_mode(self.op.words)

    def _in_mode(self, counts: tuple[N, N]) -> N:
        """Of the counts forward and backward, those that this mode takes together."""
        forward, backward = counts
        return forward if self.mode == "forward" else forward + backward

    @property
    def quick(self) -> bool:
        if self.op.of_pairs:
            return self.dtype == torch.float32 and self.size != "typical"
        if self.device == "cuda":
            return self.size == "large" or self.shape == (128, 10)
        return self.shape in ((128, 10), (8192, 512)) and self.dtype == torch.float32

    def compiles(self, quick: bool) -> bool:
        """Whether torch.compile takes part. It takes seconds a formula: in a quick run only where it says most."""
        if quick:
            return self.size == "large" and self.op.name in ("gaussian_rsample_kl", "gaussian_nll", "bernoulli_nll")
        return self.size == "large" or self.dtype == torch.float32


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
    """float32 on every shape; other dtypes on a small and a large one, on a GPU bfloat16 on the large ones."""
    shapes = op.shapes
    others = [(size, shapes[size][-1], dtype) for dtype in OTHER_DTYPES for size in ("small", "large")]
    if device == "cuda":
        images = any(len(shape) == 4 for sizes in shapes.values() for shape in sizes)
        shapes = op.gpu_shapes or (GPU_PAIRS if op.of_pairs else GPU_IMAGES if images else GPU_SHAPES)
        others = [("large", shape, torch.bfloat16) for shape in shapes["large"]]
    return [*((size, shape, torch.float32) for size, sizes in shapes.items() for shape in sizes), *others]


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
    # As torch.autograd.grad calls it, but without that function's checks in Python: with a gradient for each of two
    # outputs they take longer than a small backward pass, and loss.backward() makes none of them.
    backward = torch.autograd.Variable._execution_engine.run_backward
    options = {"allow_unreachable": True, "accumulate_grad": False}
    return lambda: backward(tuple(formula(*inputs)), tuple(grads), False, False, tuple(leaves), **options)


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


def _pixels(shape: Shape, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Black and white, with logits."""
    return (_leaf(shape, dtype, 4).detach() > 0).to(dtype), _leaf(shape, dtype, 2, 2.0)


def _genes(shape: Shape, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Cells × genes, five in six counts 0; an inverse dispersion by gene, means and logits of a loss by element."""
    mean = (1.5 * _leaf(shape, dtype, 2).detach() - 2.5).exp()
    spread = (0.5 * _leaf(shape, torch.float32, 4).detach()).exp()
    x = torch.poisson(mean.float() * spread, torch.Generator(mean.device).manual_seed(5)).to(dtype)
    theta = _leaf(shape[-1:], dtype, 3).detach().exp()
    return x, mean.requires_grad_(), theta.requires_grad_(), _leaf(shape, dtype, 6)


def _grey_levels(shape: Shape, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Of 256 in [-1, 1], a few at the ends, with means and log variances of a diffusion model's last step."""
    x = (_leaf(shape, dtype, 4, 64.0).detach().round() * (2 / 255) + 1 / 255).clamp(-1, 1)
    loc = (x + 0.005 * _leaf(shape, dtype, 2).detach()).requires_grad_()
    return x, loc, (_leaf(shape, dtype, 3, 0.5).detach() - 8).requires_grad_()


def _mixture(shape: Shape, dtype: torch.dtype) -> tuple[Tensor, ...]:
    points, components, dims = shape
    return _leaf((points, dims), dtype, 2), *_gaussian((components, dims), dtype)


def _sets(shape: Shape, dtype: torch.dtype) -> tuple[Tensor, ...]:
    return _mixture(shape, dtype)[:2]


def _leaf(shape: Shape, dtype: torch.dtype, seed: int, spread: float = 1.0) -> Tensor:
    generator = torch.Generator(torch.get_default_device()).manual_seed(seed)
    return (spread * torch.randn(shape, generator=generator)).to(dtype).requires_grad_()


def _logistics(shape: Shape, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """`shape` is that of the parameters, 100 a pixel: colours of 256 levels, ten components."""
    x = _leaf((shape[0], 3, *shape[2:]), torch.float32, 4).detach()
    return ((x.clamp(-2, 2) * 63.75).round() / 127.5).to(dtype), _leaf(shape, dtype, 2)


def _logits(shape: Shape, dtype: torch.dtype) -> tuple[Tensor, ...]:
    return (_leaf(shape, dtype, 2, 2.0),)


def _two_logits(shape: Shape, dtype: torch.dtype) -> tuple[Tensor, ...]:
    return _leaf(shape, dtype, 2, 2.0), _leaf(shape, dtype, 3, 2.0)


def _masses(shape: Shape, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """None of them 0, which float16 would round some to: a divergence from there is infinite."""
    smallest = torch.finfo(dtype).tiny
    return tuple(
        logits.detach().softmax(-1).clamp(min=smallest).requires_grad_() for logits in _two_logits(shape, dtype)
    )


def _parameters(shape: Shape, dtype: torch.dtype) -> tuple[tuple[Tensor, ...], ...]:
    """Averages, and what they follow: as many tensors as the shape's first size."""
    return tuple(tuple(t.clone() for t in _leaf(shape, dtype, seed).detach().unbind()) for seed in (2, 3))


def _ema_update(averages: Sequence[Tensor], values: Sequence[Tensor]) -> rivals.Outputs:
    gk.ema_update_(averages, values, rivals.EMA_DECAY)
    return tuple(averages)


def _rsample_kl(loc: Tensor, logvar: Tensor) -> rivals.Outputs:
    return gk.gaussian_rsample(loc, logvar), gk.gaussian_kl(loc, logvar)


def _rsample_kl_packed(moments: Tensor) -> rivals.Outputs:
    return _rsample_kl(*moments.chunk(2, dim=1))


def _residual_rsample_kl(
    prior_loc: Tensor, prior_logvar: Tensor, delta_loc: Tensor, delta_logvar: Tensor
) -> rivals.Outputs:
    loc, logvar = prior_loc + delta_loc, prior_logvar + delta_logvar
    z, kl = gk.gaussian_rsample(loc, logvar), gk.gaussian_kl(loc, logvar, prior_loc, prior_logvar)
    return z, kl, -gk.gaussian_nll(z, loc, logvar), -gk.gaussian_nll(z, prior_loc, prior_logvar)


OPERATIONS = (
    Operation(
        "gaussian_rsample_kl",
        "gaussian",
        _gaussian,
        gk.gaussian_rsample_kl,
        {EAGER: rivals.rsample_kl, DISTRIBUTIONS: rivals.distributions_rsample_kl, APART: _rsample_kl},
        moved=(3, 5),
        exps=(2.5, 2.5),
        words=(1, 1),
    ),
    Operation(
        "gaussian_rsample_kl_packed",
        "gaussian",
        _packed,
        gk.gaussian_rsample_kl_packed,
        {
            EAGER: rivals.rsample_kl_packed,
            DISTRIBUTIONS: rivals.distributions_rsample_kl_packed,
            APART: _rsample_kl_packed,
        },
        moved=(3, 5),
        exps=(2.5, 2.5),
        words=(1, 1),
        shapes={"small": ((2, 4), (128, 10)), "typical": ((64, 4, 32, 32),), "large": ((8192, 512),)},
    ),
    Operation(
        "gaussian_residual_rsample_kl",
        "gaussian",
        _residual,
        gk.gaussian_residual_rsample_kl,
        {
            EAGER: rivals.residual_rsample_kl,
            DISTRIBUTIONS: rivals.distributions_residual_rsample_kl,
            APART: _residual_rsample_kl,
        },
        moved=(5, 9),
        exps=(3.5, 3.5),
        words=(1, 1),
    ),
    Operation(
        "gaussian_kl",
        "gaussian",
        _gaussian,
        lambda loc, logvar: (gk.gaussian_kl(loc, logvar),),
        {EAGER: rivals.kl, DISTRIBUTIONS: rivals.distributions_kl},
        moved=(2, 4),
        exps=(1, 1),
    ),
    Operation(
        "gaussian_rsample",
        "gaussian",
        _gaussian,
        lambda loc, logvar: (gk.gaussian_rsample(loc, logvar),),
        {EAGER: rivals.rsample, DISTRIBUTIONS: rivals.distributions_rsample},
        moved=(3, 4),
        exps=(2.5, 2.5),
        words=(1, 1),
    ),
    Operation(
        "gaussian_nll",
        "gaussian",
        _observed,
        lambda x, loc, logvar: (gk.gaussian_nll(x, loc, logvar),),
        {EAGER: rivals.nll, DISTRIBUTIONS: rivals.distributions_nll, OWN: rivals.torch_nll},
        moved=(3, 5),
        exps=(1, 1),
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
        "laplace_nll",
        "likelihood",
        _observed,
        lambda x, loc, logvar: (gk.laplace_nll(x, loc, logvar),),
        {EAGER: rivals.laplace_nll, DISTRIBUTIONS: rivals.distributions_laplace_nll},
        moved=(3, 5),
        exps=(1, 1),
    ),
    Operation(
        "bernoulli_nll",
        "likelihood",
        _pixels,
        lambda x, logits: (gk.bernoulli_nll(x, logits),),
        {
            EAGER: rivals.bernoulli_nll,
            DISTRIBUTIONS: rivals.distributions_bernoulli_nll,
            OWN: rivals.torch_bernoulli_nll,
        },
        moved=(2, 3),
        exps=(2, 1),
    ),
    Operation(
        "discretized_gaussian_nll",
        "likelihood",
        _grey_levels,
        lambda x, loc, logvar: (gk.discretized_gaussian_nll(x, loc, logvar),),
        {EAGER: rivals.discretized_gaussian_nll},
        moved=(3, 5),
        exps=(4, 4),  # the scale, a cdf at both edges, a logarithm; backward two densities in its place
    ),
    Operation(
        "discretized_gaussian_nll_tanh",
        "likelihood",
        _grey_levels,
        lambda x, loc, logvar: (gk.discretized_gaussian_nll(x, loc, logvar, cdf="tanh"),),
        {EAGER: rivals.discretized_gaussian_nll_tanh},
        moved=(3, 5),
        exps=(4, 4),
    ),
    Operation(
        "discretized_logistic_mixture_nll",
        "likelihood",
        _logistics,
        lambda x, params: (gk.discretized_logistic_mixture_nll(x, params, mixtures=10),),
        {EAGER: rivals.logistic_mixture_nll},
        moved=(1, 2),  # of the parameters, beside whose 100 the three of x count for nothing
        exps=(1.3, 1.3),  # of 10 components in 3 colours: a scale, two sigmoids and a logarithm; their weights
        shapes={"small": ((2, 100, 4, 4),), "typical": ((8, 100, 32, 32),), "large": ((64, 100, 32, 32),)},
        gpu_shapes={"small": ((8, 100, 8, 8),), "typical": ((32, 100, 32, 32),), "large": ((128, 100, 64, 64),)},
    ),
    Operation(
        "poisson_nll",
        "counts",
        lambda shape, dtype: _genes(shape, dtype)[:2],
        lambda x, rate: (gk.poisson_nll(x, rate),),
        {
            EAGER: lambda x, rate: ((rate - torch.xlogy(x, rate) + torch.lgamma(x + 1)).sum(dim=1),),
            DISTRIBUTIONS: lambda x, rate: (-torch.distributions.Poisson(rate).log_prob(x).sum(dim=1),),
        },
        moved=(2, 3),
        exps=(0.2, 0),  # the logarithm of a product, where a count is small and not 0
        **GENES,
    ),
    Operation(
        "negative_binomial_nll",
        "counts",
        lambda shape, dtype: _genes(shape, dtype)[:3],
        lambda x, mean, theta: (gk.negative_binomial_nll(x, mean, theta),),
        {EAGER: rivals.negative_binomial, DISTRIBUTIONS: rivals.distributions_negative_binomial},
        moved=(2, 3),  # the inverse dispersion is one a gene
        exps=(1.3, 1.2),  # of which zeros, five in six, take one
        **GENES,
    ),
    Operation(
        "zero_inflated_negative_binomial_nll",
        "counts",
        _genes,
        lambda x, mean, theta, logits: (gk.zero_inflated_negative_binomial_nll(x, mean, theta, logits),),
        {EAGER: rivals.zero_inflated_negative_binomial},
        moved=(3, 5),
        exps=(4.5, 3.3),
        **GENES,
    ),
    Operation(
        "discrete_entropy",
        "discrete",
        lambda shape, dtype: _masses(shape, dtype)[:1],
        lambda p: (gk.discrete_entropy(p, reduction="none"),),
        {EAGER: rivals.discrete_entropy},
        moved=(1, 2),
        exps=(1, 1),
        **CLASSES,
    ),
    Operation(
        "discrete_kl",
        "discrete",
        _masses,
        lambda p, q: (gk.discrete_kl(p, q, reduction="none"),),
        {EAGER: rivals.discrete_kl, OWN: rivals.torch_discrete_kl},
        moved=(2, 4),
        exps=(1, 1),
        liger=rivals.liger_discrete_kl,
        **CLASSES,
    ),
    Operation(
        "categorical_entropy",
        "discrete",
        _logits,
        lambda logits: (gk.categorical_entropy(logits, reduction="none"),),
        {EAGER: rivals.categorical_entropy, DISTRIBUTIONS: rivals.distributions_categorical_entropy},
        moved=(1, 2),
        exps=(1, 1),
        **CLASSES,
    ),
    Operation(
        "categorical_kl",
        "discrete",
        _two_logits,
        lambda q, p: (gk.categorical_kl(q, p, reduction="none"),),
        {
            EAGER: rivals.categorical_kl,
            DISTRIBUTIONS: rivals.distributions_categorical_kl,
            OWN: rivals.torch_categorical_kl,
        },
        moved=(2, 4),
        exps=(2, 2),
        liger=rivals.liger_categorical_kl,
        **CLASSES,
    ),
    Operation(
        "categorical_kl_balanced",
        "discrete",
        _two_logits,
        # The sum of two losses, 0.5 and 0.1 of one divergence, each with a gradient into one side.
        lambda q, p: (
            0.6
            * gk.categorical_kl(
                q, p, unimix=0.01, free_bits=1.0, free_bits_over="event", grad_scale_q=1 / 6, grad_scale_p=5 / 6
            ),
        ),
        {EAGER: rivals.balanced_kl},
        moved=(2, 4),
        exps=(3, 3),
        **CLASSES,
    ),
    Operation(
        "gumbel_softmax",
        "discrete",
        _logits,
        lambda logits: (gk.gumbel_softmax(logits),),
        {
            EAGER: rivals.gumbel_softmax,
            DISTRIBUTIONS: rivals.distributions_gumbel_softmax,
            OWN: rivals.torch_gumbel_softmax,
        },
        moved=(2, 3),
        exps=(3, 0),
        words=(1, 0),
        **CLASSES,
    ),
    Operation(
        "gaussian_mixture_log_prob",
        "mixture",
        _mixture,
        lambda z, loc, logvar: (gk.gaussian_mixture_log_prob(z, loc, logvar),),
        {EAGER: rivals.mixture, DISTRIBUTIONS: rivals.distributions_mixture},
        moved=(0, 0),
        shapes=PAIRS,
    ),
    Operation(
        "gaussian_mixture_log_prob_marginals",
        "mixture",
        _mixture,
        lambda z, loc, logvar: gk.gaussian_mixture_log_prob(z, loc, logvar, marginals=True),
        {EAGER: rivals.mixture_marginals},
        moved=(0, 0),
        exps=(1, 1),
        shapes=PAIRS,
    ),
    Operation(
        "total_correlation",
        "mixture",
        _mixture,
        lambda z, loc, logvar: gk.total_correlation(z, loc, logvar, dataset_size=rivals.DATASET_SIZE),
        {EAGER: rivals.total_correlation},
        moved=(0, 0),
        exps=(1, 1),
        shapes=PAIRS,
    ),
    Operation(
        "mmd",
        "mixture",
        _sets,
        lambda x, y: (gk.mmd(x, y, kernel="imq", scales=rivals.imq_scales(x), estimator="v"),),
        {EAGER: rivals.mmd, OWN: rivals.torch_mmd},
        moved=(0, 0),
        shapes=PAIRS,
    ),
    Operation(
        "gan_discriminator_loss_hinge",
        "gan",
        _two_logits,
        lambda real, fake: (gk.gan_discriminator_loss(real=real, fake=fake, kind="hinge"),),
        {EAGER: rivals.hinge_loss},
        moved=(2, 4),
    ),
    Operation(
        "gan_discriminator_loss_non_saturating",
        "gan",
        _two_logits,
        lambda real, fake: (gk.gan_discriminator_loss(real=real, fake=fake, kind="non_saturating"),),
        {EAGER: rivals.non_saturating_loss, OWN: rivals.torch_non_saturating_loss},
        moved=(2, 4),
        exps=(4, 2),
    ),
    Operation(
        "gan_discriminator_loss_relativistic",
        "gan",
        _two_logits,
        lambda real, fake: (gk.gan_discriminator_loss(real=real, fake=fake, kind="relativistic"),),
        {EAGER: rivals.relativistic_loss},
        moved=(2, 4),
        exps=(2, 1),
    ),
    Operation(
        "interpolate",
        "gan",
        _two_logits,
        lambda real, fake: (gk.interpolate(real, fake),),
        {EAGER: rivals.interpolate},
        moved=(3, 3),
    ),
    Operation(
        "gradient_norm_penalty",
        "gan",
        _logits,
        lambda grad: (gk.gradient_norm_penalty(grad),),
        {EAGER: rivals.gradient_norm_penalty},
        moved=(1, 2),
    ),
    Operation(
        "zero_centered_penalty",
        "gan",
        _logits,
        lambda grad: (gk.zero_centered_penalty(grad),),
        {EAGER: rivals.zero_centered_penalty},
        moved=(1, 2),
    ),
    Operation(
        "minibatch_stddev",
        "gan",
        _logits,
        lambda x: (gk.minibatch_stddev(x),),
        {EAGER: rivals.minibatch_stddev},
        moved=(2, 3),
        **FEATURES,
    ),
    Operation(
        "ema_update_",
        "gan",
        _parameters,
        _ema_update,
        {EAGER: rivals.ema_update, OWN: rivals.torch_ema_update},
        moved=(3, 0),
        modes=("forward",),
        **PARAMETERS,
    ),
    # The key is drawn anew as the operations do, so that both sides make fresh noise.
    *(
        Operation(
            f"random_{draw.__name__}",
            "random",
            lambda shape, dtype: (shape, dtype, torch.get_default_device()),
            lambda shape, dtype, device, draw=draw: (draw(gk.random.reserve(device=device), shape, dtype=dtype),),
            {OWN: rival},
            moved=(1, 0),
            exps=(exps, 0),
            words=(1, 0),
            compiled=OWN,
            modes=("forward",),
        )
        for draw, rival, exps in (
            (gk.random.normal, rivals.torch_normal, 1.5),
            (gk.random.uniform, rivals.torch_uniform, 0),
        )
    ),
)
