"""Helpers by which all tutorials show their results: a style for light and dark pages, images side by side, tables."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from IPython.display import Markdown
from matplotlib.axes import Axes
from torch import Tensor
from torch.nn import functional

plt.style.use(Path(__file__).with_name("figures.mplstyle"))

_WIDTH, _GAP = 7.0, 1


def show(images: Tensor, columns: int, title: str = "", ax: Axes | None = None) -> None:
    """Images ``[N, 1 or 3, H, W]`` in [0, 1], in rows of so many; between them the page is seen."""
    opaque = images.new_ones(len(images), 1, *images.shape[2:])
    tiles = functional.pad(_rgba(images.detach().clamp(0, 1), opaque), (0, _GAP, 0, _GAP))
    tiles = functional.pad(tiles, (0, 0, 0, 0, 0, 0, 0, -len(tiles) % columns))
    tiles = tiles.unflatten(0, (-1, columns)).permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
    if ax is None:
        _, ax = plt.subplots(figsize=(_WIDTH, _WIDTH * tiles.shape[0] / tiles.shape[1] + 0.3 * bool(title)))
    ax.imshow(tiles.numpy(), interpolation="nearest")
    ax.set_title(title)
    ax.set_axis_off()


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Markdown:
    """A name in the first column, numbers in the others."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))


def _rgba(images: Tensor, alpha: Tensor) -> Tensor:
    return functional.pad(images.expand(-1, 3, -1, -1), (0, 0, 0, 0, 0, 1)) + functional.pad(alpha, (0, 0, 0, 0, 3, 0))
