"""One image of a file: upright, cropped to a square of the size that is asked for, its levels as they are."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from genkern.cli.data.pixels import WHITE
from genkern.cli.errors import optional

_GREY = frozenset({"1", "L", "LA", "La"})
_TRANSPARENT = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
_WHITE = WHITE[np.dtype(np.uint16)]
_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError)


class Unreadable(Exception):
    """The file is no image, or a broken one; what is wrong is the message."""


@dataclass(frozen=True)
class Kind:
    """What the array must hold in which an image is kept with others."""

    colour: bool = False
    deep: bool = False
    """Whether there are more than 256 levels."""
    transparent: bool = False
    """Whether there is an alpha channel, which is not kept."""

    def __or__(self, other: Kind) -> Kind:
        return Kind(self.colour or other.colour, self.deep or other.deep, self.transparent or other.transparent)

    @property
    def dtype(self) -> str:
        return "uint16" if self.deep else "uint8"

    @property
    def channels(self) -> int:
        return 3 if self.colour else 1


def kind_of(content: bytes) -> Kind:
    """What the head of a file says of the image; Unreadable where it says nothing."""
    try:
        with _opened(content) as image:
            grey = image.mode in _GREY or _is_deep(image)
            if image.mode in ("P", "PA"):
                grey = bool((np.reshape(image.getpalette(), (-1, 3)).std(axis=1) == 0).all())
            return Kind(not grey, _is_deep(image), _is_transparent(image) and not _is_deep(image))
    except _ERRORS as error:
        raise Unreadable(_reason(error)) from error


def decode(content: bytes, size: int, kind: Kind) -> np.ndarray:
    """``[C, size, size]``, of the kind's type; what is transparent shows white below.

    Integers of more than 8 bits are levels of 65535, floating numbers of 1; others than those raise Unreadable.
    """
    ops, fit = optional("PIL.ImageOps", "--data FOLDER"), {"method": _pil().Resampling.LANCZOS}
    try:
        with _opened(content) as image:
            image = ops.exif_transpose(image)
            if _is_deep(image):
                bands = [_pil().fromarray(_levels(np.asarray(image)))] * kind.channels
            else:
                flat = _on_white(image).convert("RGB" if kind.colour else "L")
                if not kind.deep:
                    square = np.asarray(ops.fit(flat, (size, size), **fit))
                    return np.ascontiguousarray(square.reshape(size, size, -1).transpose(2, 0, 1))
                bands = [_pil().fromarray(np.asarray(band, np.float32) / 255) for band in flat.split()]
            squares = np.stack([np.asarray(ops.fit(band, (size, size), **fit)) for band in bands])
    except _ERRORS as error:
        raise Unreadable(_reason(error)) from error
    return (squares.clip(0, 1) * _WHITE).round().astype(np.uint16)


def _levels(numbers: np.ndarray) -> np.ndarray:
    """Numbers of a deep image as float32 in [0, 1]."""
    most = 1.0 if numbers.dtype.kind == "f" else float(_WHITE)
    if not (numbers.min() >= 0 and numbers.max() <= most):
        raise ValueError(f"expected numbers from 0 to {most:g}, got {numbers.min():g} to {numbers.max():g}")
    return (numbers / most).astype(np.float32)


def _is_deep(image: Any) -> bool:
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _is_transparent(image: Any) -> bool:
    return image.mode in _TRANSPARENT or "transparency" in image.info


def _on_white(image: Any) -> Any:
    if not _is_transparent(image):
        return image
    image = image.convert("RGBA")
    return _pil().alpha_composite(_pil().new("RGBA", image.size, (255, 255, 255, 255)), image)


def _opened(content: bytes) -> Any:
    try:
        return _pil().open(io.BytesIO(content))
    except (*_ERRORS, _pil().DecompressionBombError) as error:
        raise Unreadable(_reason(error)) from error


def _pil() -> Any:
    return optional("PIL.Image", "--data FOLDER")


def _reason(error: BaseException) -> str:
    text = (str(error) or type(error).__name__).splitlines()[0]
    return "not an image" if text.startswith("cannot identify image file") else text
