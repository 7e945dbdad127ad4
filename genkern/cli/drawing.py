"""Images as files, in a grid, curves over the steps: what the pictures of every model are drawn with."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genkern.cli.checkpoint import replace_file
from genkern.cli.errors import optional

COLUMNS = 10
_LEVELS = 255
_GAP = 1


def save_image(path: Path, image: Tensor) -> None:
    """A PNG of an image ``[C, H, W]`` in [0, 1]."""
    levels = (image.clamp(0, 1) * _LEVELS).round().byte().movedim(0, -1).squeeze(-1).cpu().numpy()
    buffer = io.BytesIO()
    optional("PIL.Image", "a picture").fromarray(levels).save(buffer, "PNG")
    replace_file(path, buffer.getvalue())


def save_mosaic(path: Path, images: Tensor, columns: int) -> None:
    """A PNG of images side by side, in rows; a short last row ends in white."""
    missing = -len(images) % columns
    tiles = torch.cat([images, images.new_ones(missing, *images.shape[1:])]).unflatten(0, (-1, columns))
    save_image(path, tiles.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2))


def draw_grid(path: Path, layers: Sequence[Tensor], title: str) -> None:
    """Images in rows of ten; those of later layers under those of the first."""
    rows = [torch.cat([layer[at : at + COLUMNS].cpu() for layer in layers]) for at in range(0, len(layers[0]), COLUMNS)]
    tiles = torch.cat([_padded(row, len(layers)) for row in rows]).clamp(0, 1).float()
    tiles = torch.nn.functional.pad(tiles, (0, _GAP, 0, _GAP), value=1.0)
    lines, (channels, height, width) = len(tiles) // COLUMNS, tiles.shape[1:]
    grid = tiles.view(lines, COLUMNS, channels, height, width).permute(0, 3, 1, 4, 2)
    grid = grid.reshape(lines * height, COLUMNS * width, channels)
    figure = _figure(9.0, 9.0 * grid.shape[0] / grid.shape[1] + 0.35)
    axes = figure.add_subplot()
    shown = grid.squeeze(2) if channels == 1 else grid[..., :3]
    axes.imshow(shown.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()
    _save(figure, path)


def draw_curves(path: Path, records: Sequence[dict[str, float]], panels: dict[str, dict[str, str]]) -> None:
    """A panel for each title, in it a curve for each label: the figure of that name in every record."""
    figure = _figure(3.0 * len(panels), 3.6)
    for position, (title, curves) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), position)
        for label, name in curves.items():
            axes.plot([record["step"] for record in records], [record[name] for record in records], label=label)
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        axes.legend()
    _save(figure, path)


def _padded(row: Tensor, layers: int) -> Tensor:
    """A short last row, filled up with white in every layer."""
    parts = row.chunk(layers)
    missing = COLUMNS - len(parts[0])
    blank = row.new_ones(missing, *row.shape[1:])
    return torch.cat([torch.cat([part, blank]) for part in parts])


def _figure(width: float, height: float) -> Any:
    figure = optional("matplotlib.figure", "drawing pictures")
    return figure.Figure(figsize=(width, height), layout="constrained")


def _save(figure: Any, path: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    replace_file(path, buffer.getvalue())
