"""Fused, reproducible kernels for generative models.

An argument that does not fit raises TypeError or ValueError, whose message names it, what was expected and what came.
"""

from typing import TYPE_CHECKING

from genkern import functional, random
from genkern._backend import has_native, info, use_backend
from genkern._version import __version__
from genkern.functional import *  # noqa: F403

__all__ = ["__version__", "functional", "has_native", "info", "random", "use_backend"]
if not TYPE_CHECKING:
    __all__ += functional.__all__
