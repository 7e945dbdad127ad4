"""Images as files, in a grid, curves over the steps: what the pictures of every model are drawn with."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genkern.cli.checkpoint import replace_file
from genkern.cli.errors import optional
from genkern.cli.trainer import Trainer

COLUMNS, SAMPLE_ROWS = 10, 6
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
    save_image(path, _joined(_rows(images, columns)))


def draw_grid(path: Path, layers: Sequence[Tensor], title: str) -> None:
    """Images in rows of ten; those of later layers under those of the first."""
    rows = torch.stack([_rows(layer.cpu().float(), COLUMNS) for layer in layers], dim=1).flatten(0, 1).clamp(0, 1)
    grid = _joined(torch.nn.functional.pad(rows, (0, _GAP, 0, _GAP), value=1.0)).movedim(0, -1)
    figure = _figure(9.0, 9.0 * grid.shape[0] / grid.shape[1] + 0.35)
    axes = figure.add_subplot()
    shown = grid.squeeze(2) if grid.shape[2] == 1 else grid[..., :3]
    axes.imshow(shown.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()
    _save(figure, path)


def draw_samples(title: str, trainer: Trainer[Any], path: Path) -> None:
    """Samples by the averaged model: no picking, no truncation."""
    draw_grid(path, [trainer.sample_grid(SAMPLE_ROWS, COLUMNS)], f"{trainer.images.name}: {title}")


def draw_history(panels: dict[str, dict[str, str]], trainer: Trainer[Any], path: Path) -> None:
    """A panel for each title, in it a curve over the steps for each label: the figure of that name."""
    records = trainer.records()
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


def _rows(images: Tensor, columns: int) -> Tensor:
    """``[rows, columns, C, H, W]``, the last row filled up with white."""
    missing = -len(images) % columns
    return torch.cat([images, images.new_ones(missing, *images.shape[1:])]).unflatten(0, (-1, columns))


def _joined(rows: Tensor) -> Tensor:
    return rows.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)


def _figure(width: float, height: float) -> Any:
    figure = optional("matplotlib.figure", "drawing pictures")
    return figure.Figure(figsize=(width, height), layout="constrained")


def _save(figure: Any, path: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    replace_file(path, buffer.getvalue())
