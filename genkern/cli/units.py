"""Nats per image to bits per dimension."""

import math

GREY_LEVEL_BITS = 8.0
"""log2 256: what a density over pixels in [0, 1] gains in bits/dim when pixels are counted in 256 grey levels."""


def bits_per_dim(log_probability: float, dims: int) -> float:
    """−log2 p per dimension, of a log-probability in nats."""
    return -log_probability / (dims * math.log(2))
