"""The speeds that operations should reach, and the reasons where one falls short; `verdicts` judges the results."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.cases import COMPILE, EAGER, OWN, Shape
from benchmarks.problems import family
from benchmarks.results import Row

FLOOR = "floor"
"""It stands in place of a rival where `least` is a share of the floor, in per cent."""


@dataclass(frozen=True)
class Which:
    """Rows of one CPU thread, of the operations and the families that are named. What is empty leaves nothing out."""

    operations: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    shapes: tuple[Shape, ...] = ()
    elements: int = 0

    def __contains__(self, row: Row) -> bool:
        named = row.op in self.operations or family(row) in self.families
        chosen = (
            (self.dtypes, row.dtype),
            (self.modes, row.mode),
            (self.sizes, row.size),
            (self.shapes, row.shape),
        )
        return (
            row.device == "cpu"
            and row.threads == 1
            and row.numel >= self.elements
            and (named or not (self.operations or self.families))
            and all(not values or value in values for values, value in chosen)
        )


@dataclass(frozen=True)
class Target:
    """`name` says which rows, in words without their dtypes and modes; `least` is a factor, or per cent of FLOOR."""

    name: str
    rows: Which
    rival: str
    least: float
    isa: str | None = None  # of the only instruction set that is held to it

    @property
    def goal(self) -> str:
        return f"{self.least:g} % of the floor" if self.rival == FLOOR else f"{self.least:g} × {self.rival}"


@dataclass(frozen=True)
class Reason:
    """Why `rows` miss targets beside `rivals`, or any where there are none; Markdown, without what results hold."""

    text: str
    rows: Which
    rivals: tuple[str, ...] = ()

    def explains(self, target: Target, row: Row) -> bool:
        return row in self.rows and (not self.rivals or target.rival in self.rivals)


_SAMPLE_KL = ("gaussian_rsample_kl", "gaussian_rsample_kl_packed", "gaussian_residual_rsample_kl")
_LATENTS = (*_SAMPLE_KL, "gaussian_kl", "gaussian_rsample")
_GAUSSIAN_LOSSES = ("gaussian_kl", "gaussian_nll", "gaussian_nll_one_scale")
_PAIRWISE = ("gaussian_mixture_log_prob", "gaussian_mixture_log_prob_marginals", "total_correlation")
_ELEMENTWISE = ("gaussian", "likelihood", "discrete", "gan")
_CLASSES = ("categorical_entropy", "categorical_kl", "categorical_kl_balanced")

_FLOAT32 = ("float32",)
_HALVES = ("float16", "bfloat16")
_OTHERS = ("float64", *_HALVES)
_FORWARD, _BACKWARD = ("forward",), ("forward_backward",)
_SMALL, _LARGE = ("small",), ("large",)
_FEWEST = 128 * 10
"""Elements, from which on every operation is held to being faster; below them there are only calls."""
_MANY = 256 * 64


TARGETS = (
    *(
        Target("every operation, from [128, 10] on", Which(elements=_FEWEST), rival, 1)
        for rival in (EAGER, COMPILE, OWN)
    ),
    *(
        Target("sample + KL, large batches", Which(_SAMPLE_KL, (), _FLOAT32, modes, _LARGE), rival, least)
        for modes, rival, least in (
            (_FORWARD, EAGER, 5),
            (_FORWARD, COMPILE, 15),
            (_BACKWARD, EAGER, 3.5),
            (_BACKWARD, COMPILE, 10),
        )
    ),
    *(
        Target(
            "sample + KL on AVX2, from [128, 10] on",
            Which(_SAMPLE_KL, (), _FLOAT32, modes, elements=_FEWEST),
            EAGER,
            least,
            isa="avx2",
        )
        for modes, least in ((_FORWARD, 4), (_BACKWARD, 3))
    ),
    *(
        Target(
            "samples and KL of small latents, to [256, 64]",
            Which(_LATENTS, (), _FLOAT32, _BACKWARD, _SMALL),
            rival,
            3,
        )
        for rival in (EAGER, COMPILE)
    ),
    *(
        Target(
            "likelihoods, KL and classes, large batches",
            Which(_GAUSSIAN_LOSSES, ("likelihood", "discrete"), _FLOAT32, (), _LARGE),
            rival,
            least,
        )
        for rival, least in ((EAGER, 3), (FLOOR, 70))
    ),
    *(
        Target(
            "densities of mixtures and total correlation, large batches",
            Which(_PAIRWISE, (), _FLOAT32, (), _LARGE),
            rival,
            least,
        )
        for rival, least in ((EAGER, 25), (COMPILE, 3))
    ),
    *(
        Target(
            "counts, [128, 4000] and [1024, 2000]",
            Which((), ("counts",), _FLOAT32, _BACKWARD, shapes=((128, 4000), (1024, 2000))),
            rival,
            least,
        )
        for rival, least in ((EAGER, 6), (COMPILE, 4))
    ),
    Target(
        "families gaussian, likelihood, discrete and GAN, from [128, 10] on",
        Which((), _ELEMENTWISE, _OTHERS, _BACKWARD, elements=_FEWEST),
        EAGER,
        1.5,
    ),
    Target(
        "samples, from [128, 10] on",
        Which((*_SAMPLE_KL, "gaussian_rsample", "gumbel_softmax"), (), _OTHERS, _FORWARD, elements=_FEWEST),
        EAGER,
        3,
    ),
    Target("uniform numbers (`torch.rand`), from 16,384 on", Which(("random_uniform",), elements=_MANY), OWN, 3),
    Target(
        "normal numbers (`torch.randn`), from 16,384 on",
        Which(("random_normal",), (), ("float64",), elements=_MANY),
        OWN,
        2,
    ),
)

_NOISE = """\
**Noise beside other work.** About half of the time of a sample with its KL goes into noise, which is bound by
arithmetic: a number takes more than twice as many instructions on AVX2 as on AVX-512
([how many](#what-bounds-the-cpu-kernels)). Backward makes the noise again, and the gradients of large batches are
[new pages](#cost-growth) each time. In small batches the noise takes more than the calls that are spared."""

REASONS = (
    Reason(_NOISE, Which(_SAMPLE_KL[:2])),
    Reason(_NOISE, Which(_SAMPLE_KL[2:]), (EAGER,)),
    Reason(
        """\
**Residuals beside `torch.compile`.** The lead is in the noise, which a compiled loop draws a number at a time. The four
exponentials of a residual's two scales are vectors on both sides.""",
        Which(_SAMPLE_KL[2:]),
        (COMPILE,),
    ),
    Reason(
        """\
**A sample alone.** Eager keeps the noise; here backward makes it again. Drawn twice, it is about half of the
instructions, which are no fewer for numbers of 16 bits.""",
        Which(("gaussian_rsample",)),
    ),
    Reason(
        """\
**KL of small latents.** Eager has few operations there, and `torch.compile` a single kernel as well. What is spared is
calls, which at [256, 64] take less than the arithmetic that is the same for all.""",
        Which(("gaussian_kl",), (), _FLOAT32, (), _SMALL),
    ),
    Reason(
        "**KL of large batches.** Two gradients are [new pages](#cost-growth) on both sides.",
        Which(("gaussian_kl",), (), _FLOAT32, _BACKWARD, _LARGE),
        (EAGER,),
    ),
    Reason(
        """\
**KL beside `torch.compile`.** Its loop takes an exponential as the formula is written. exp(d) − 1 − d that
[keeps its digits](numerics.md#expx--1--x) is more arithmetic, which no memory hides in the forward pass.""",
        Which(("gaussian_kl",), (), ("float32", "float64"), _FORWARD, _LARGE),
        (COMPILE,),
    ),
    Reason(
        "**KL beside its floor.** Its exponential takes longer than the 8 bytes of an element do.",
        Which(("gaussian_kl",), (), _FLOAT32),
        (FLOOR,),
    ),
    Reason(
        """\
**One scale for all.** Its exponential is taken again for every element, where the rivals take one for all: an element
moves 8 bytes, beside which that shows.""",
        Which(("gaussian_nll_one_scale",), (), ("float32", "float64")),
    ),
    Reason(
        "**Bernoulli.** An exponential and a logarithm for 8 bytes, exact in both tails.",
        Which(("bernoulli_nll",), (), _FLOAT32),
        (FLOOR,),
    ),
    Reason(
        """\
**Grey levels.** The mass of a bin is exact in both tails by several forms, and all lanes compute all of them. The
formula of the rivals subtracts two values of the cdf.""",
        Which(("discretized_gaussian_nll", "discretized_gaussian_nll_tanh")),
    ),
    Reason(
        """\
**Classes from logits.** Eager's softmax is fused already. Differences of masses that
[keep their digits](numerics.md#discrete-distributions) take a series a class, with `unimix` two divisions more. The
less memory there is to wait for, as in 16 bits and in batches that the cache holds, the more they weigh.""",
        Which(_CLASSES),
    ),
    Reason(
        """\
**Poisson counts.** An element costs little more than its share of the gradient's [new pages](#cost-growth), which are
the same on both sides.""",
        Which(("poisson_nll",), (), _FLOAT32, _BACKWARD, _LARGE),
        (COMPILE,),
    ),
    Reason(
        "**Probabilities beside their floor.** Logarithms that are right at masses of 0, and a division, for 8 bytes.",
        Which(("discrete_entropy", "discrete_kl"), (), _FLOAT32),
        (FLOOR,),
    ),
    Reason(
        """\
**Mixtures of logistics.** A bin's mass is exact in both tails by several forms, as with grey levels, and components are
weighted as they come: arithmetic for 4 bytes a parameter.""",
        Which(("discretized_logistic_mixture_nll",), (), _FLOAT32),
    ),
    Reason(
        "**KL of discrete probabilities.** Eager's temporaries are memory that the allocator keeps, so no new pages.",
        Which(("discrete_kl",), (), _FLOAT32),
        (EAGER,),
    ),
    Reason(
        """\
**KL of discrete probabilities beside `torch.compile`.** Its logarithm is that of a rounded quotient; here the rounding
is undone.""",
        Which(("discrete_kl",), (), _FLOAT32),
        (COMPILE,),
    ),
    Reason(
        "**Interpolation.** Three streams through memory, on both sides.",
        Which(("interpolate",), (), _FLOAT32, (), _LARGE),
        (COMPILE,),
    ),
    Reason(
        """\
**Uniform numbers in float64.** A number takes two words, so twice as much of Philox as in float32, on half as many
lanes.""",
        Which(("random_uniform",), (), ("float64",), (), _SMALL),
        (OWN,),
    ),
    Reason(
        """\
**Gumbel noise.** Two accurate logarithms an element, by the definition of [the noise](random.md#from-words-to-noise).
In 16 bits backward makes the sample again, since the gradient of a rounded one has too few digits.""",
        Which(("gumbel_softmax",)),
    ),
    Reason(
        """\
**Marginals of mixtures.** An exponential for each pair and dimension is what all sides spend. It bounds what can be
gained, the more so on AVX2, where it takes twice as long.""",
        Which(("gaussian_mixture_log_prob_marginals", "total_correlation")),
    ),
    Reason(
        "**Deviation of a minibatch.** Each group is read three times, for a variance that loses no digits.",
        Which(("minibatch_stddev",)),
        (COMPILE,),
    ),
    Reason(
        "**Averages of small tensors.** Buffers and one launch are what `ema_update_` adds.",
        Which(("ema_update_",), sizes=_SMALL),
        (OWN,),
    ),
    Reason("**Averages of large tensors.** Both sides wait for memory.", Which(("ema_update_",)), (OWN,)),
    Reason(
        """\
**32 MiB of float64.** Results of this size are [new pages](#cost-growth) in every call, on all sides, and take most of
the time.""",
        Which(
            ("gradient_norm_penalty", "random_uniform"),
            (),
            ("float64",),
            shapes=((8192, 512),),
        ),
    ),
    Reason(
        """\
**16 bits beside eager.** Eager converts in each of its operations, 3 to 5 instructions a vector; a kernel converts
once, so what is left is the arithmetic of float32. Where that is much, a gain in memory is no gain in time. Where it is
little, as in `interpolate`, rounding is a good part of it.""",
        Which((), _ELEMENTWISE, _HALVES),
        (EAGER,),
    ),
    Reason(
        """\
**16 bits beside `torch.compile`.** In its one loop a half goes from the load to the arithmetic; here it goes through a
tile's buffer in the cache.""",
        Which((), _ELEMENTWISE, _HALVES),
        (COMPILE,),
    ),
    Reason(
        """\
**float64 in the cache.** Polynomials of about twice the length on half as many lanes: where no memory is waited for,
arithmetic is most of the time on both sides.""",
        Which((), _ELEMENTWISE, ("float64",), (), _SMALL),
        (EAGER,),
    ),
)
"""The first that explains a row is told."""
