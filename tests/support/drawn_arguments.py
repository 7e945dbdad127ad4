"""What several operations take: scales, priors, noise, reductions, classes, put into a `Draw`."""

from __future__ import annotations

from typing import Any

import torch

import genkern as gk
from genkern import _checks
from genkern.functional._free_bits import OVER
from support.drawn import Draw, Noise
from support.inputs import REDUCTIONS, UNITS, Shape

OFFSETS = (0, 1, 3, 5, 2**33 + 1)


def put_location(d: Draw, name: str, shape: Shape) -> None:
    d.tensor(name, d.part(shape), twin="loc")


def put_scale(d: Draw, name: str, shape: Shape, law: str) -> None:
    d.tensor(name, d.part(shape), law, twin="scale")


def common_shape(d: Draw) -> Shape:
    return tuple(torch.broadcast_shapes(*(t.shape for t in d.tensors.values())))


def put_loc_and_scale(d: Draw, law: str | None = None) -> Shape:
    law = law or put_scale_options(d)
    shape = d.shape()
    put_location(d, "loc", shape)
    put_scale(d, "scale", shape, law)
    return common_shape(d)


def put_scale_options(d: Draw) -> str:
    """Options of the scale, and the law of its numbers."""
    scale_param = d.option("scale_param", _checks.SCALE_PARAMS) or "logvar"
    d.option("scale_offset", (0.0, 0.1, 1, 1e-3), 0.2)
    if d.chance(0.35):
        mode = d.option("clamp_mode", _checks.CLAMP_MODES, 0.6) or "hard"
        bounds: dict[str, tuple[Any, ...]] = {
            "softclip": ((-0.5, None), (2, None), (-30.0, None)),
            "tanh": ((-1.5, 1.5), (-10, 10), (-0.25, 0.25)),
        }
        one_sided = ((None, 0.6), (-0.5, None), (-30.0, 20.0), (0.5, 1), (0.5, 0.5), [-0.5, 0.6])
        d.options["clamp"] = d.one((None, (None, None), *bounds.get(mode, one_sided)))
    return "positive" if scale_param in ("std", "var") else "real"


def put_kl_options(d: Draw) -> None:
    if d.chance(0.4):
        d.options["free_bits"] = d.one((0.0, 0.1, 0.5, 2, 1e-3, 30.0))
        d.option("free_bits_over", OVER, 0.7)
    for name in ("grad_scale_q", "grad_scale_p"):
        d.option(name, (0, 0.0, 0.2, 1.0, 2.5, -1), 0.2)


def put_reduction(d: Draw, shape: Shape) -> None:
    d.option("reduction", REDUCTIONS, 0.7)
    d.option("units", UNITS, 0.4)
    d.option("event_ndim", (None, *range(len(shape) + 1)), 0.4)


def put_sample(d: Draw, shape: Shape, of: tuple[str, ...] = ("loc", "scale")) -> None:
    sample_shape = d.option("sample_shape", ((), (2,), [3], (0,), (2, 1), (1, 2, 2)), 0.3) or ()
    put_noise(d, (*sample_shape, *shape), of)


def put_noise(d: Draw, shape: Shape, of: tuple[str, ...]) -> None:
    d.option("temperature", (1.0, 0, 0.0, 0.7, 2, -1.0), 0.3)
    offset = d.option("element_offset", OFFSETS, 0.2) or 0
    d.noisy(Noise(gk.random.normal, shape, of, offset), "real")


def put_likelihood(d: Draw, *names: str) -> None:
    law = put_scale_options(d)
    shape = d.shape()
    d.tensor("x", d.part(shape), twin="loc")
    put_location(d, "loc", shape)
    kind = d.weighted([("tensor", 6), ("absent", 1), ("number", 1), *((name, 1.5) for name in names)])
    if kind == "tensor":
        put_scale(d, "scale", shape, law)
    elif kind != "absent":
        d.options["scale"] = d.one((1.0, 0.5, 2, 1e-3)) if kind == "number" else kind
    d.option("full", (True, False), 0.4)
    put_reduction(d, common_shape(d))


def put_bins(d: Draw) -> None:
    d.option("bins", (2, 4, 16, 256, 255, 65536), 0.4)
    if d.chance(0.2):
        d.options["low"], d.options["high"] = d.one(((-3.0, 2.0), (0, 1), (-1e-3, 1e-3), (0.0, 255)))


def put_logistic_mixture(d: Draw) -> tuple[Shape, int, int]:
    """The shape of the pixels, the number of channels, and their dimension."""
    pixels = d.shape(most=5)
    mixtures = d.options["mixtures"] = d.one((1, 1, 2, 3, 5))
    coupled = d.option("rgb_coupling", (False,), 0.5) is None
    channels = 3 if coupled else d.one((1, 1, 2, 3, 4))
    count = 10 * mixtures if coupled else mixtures + 2 * mixtures * channels
    dim = d.random.randint(0, len(pixels))
    of_params = (*(size if d.chance(0.85) else 1 for size in pixels), count)
    d.tensors["params"] = d.tensor("params", of_params).movedim(-1, dim)
    if dim != 1 or d.chance(0.3):
        d.options["channel_dim"] = dim if d.chance(0.5) else dim - len(pixels) - 1
    if d.chance(0.2):
        d.options["low"], d.options["high"] = d.one(((-3.0, 2.0), (0, 1), (-1e-3, 1e-3)))
    d.option("min_log_scale", (-7.0, 0, -2.5, -100.0), 0.3)
    return pixels, channels, dim


def put_classes(d: Draw, law: str, *names: str) -> tuple[Shape, int]:
    """Tensors with classes along a dimension: the shape of the rest, and that dimension."""
    rest, classes = d.shape(most=5), d.one((1, 2, 3, 4, 6, 9, 17, 40))
    dim = len(rest) if d.chance(0.5) else d.random.randint(0, len(rest))
    shapes = [tuple(size if d.chance(0.9) else 1 for size in rest) for _ in names]
    for name, shape in zip(names, shapes, strict=True):
        count = classes if name == names[0] or d.chance(0.95) else 1
        d.tensors[name] = d.tensor(name, (*shape, count), law, twin="classes").movedim(-1, dim)
    if dim != len(rest) or d.chance(0.3):
        d.options["dim"] = dim if d.chance(0.5) else dim - len(rest) - 1
    return tuple(torch.broadcast_shapes(*shapes)), dim


def put_masses(d: Draw, *names: str) -> None:
    shape, _ = put_classes(d, "mass", *names)
    put_reduction(d, shape)


def put_log_weights(d: Draw) -> int:
    shape = d.shape(least=1)
    dim = d.random.randrange(len(shape))
    shape = tuple(max(1, size) if i == dim else size for i, size in enumerate(shape))
    d.tensor("log_w", shape, "logit")
    if dim or d.chance(0.3):
        d.options["dim"] = dim if d.chance(0.5) else dim - len(shape)
    return dim


def put_key(d: Draw) -> None:
    d.options["key"] = gk.random.key(d.random.getrandbits(64), d.one((0, 7, 2**64 - 1)))
