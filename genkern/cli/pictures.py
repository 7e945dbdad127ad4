"""The pictures of a run: samples, reconstructions, history."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genkern import random
from genkern.cli.checkpoint import replace_file
from genkern.cli.errors import missing_extra
from genkern.cli.trainer import HISTORY, STREAMS, Trainer

__all__ = ["draw_history", "draw_reconstructions", "draw_samples"]

_COLUMNS = 10
_SAMPLE_ROWS = 6
_GAP = 1


def draw_samples(trainer: Trainer, path: Path) -> None:
    """E[x | z] for z drawn from the prior at temperature 1: no picking, no truncation."""
    # Evaluation has the two keys after training's.
    key = random.split(random.key(trainer.settings.seed), STREAMS + 3)[-1]
    samples = trainer.average.sample(_COLUMNS * _SAMPLE_ROWS, key=key)
    _draw_grid(path, [samples], f"{trainer.images.name}: samples, decoder means of z ~ N(0, I), temperature 1")


def draw_reconstructions(trainer: Trainer, path: Path) -> None:
    """Held-out images, each above its reconstruction from the posterior mean."""
    inputs = trainer.images.held_out[: 3 * _COLUMNS]
    _draw_grid(
        path,
        [inputs, trainer.average.reconstruct(inputs)],
        f"{trainer.images.name}: held-out images, each above its reconstruction",
    )


def draw_history(trainer: Trainer, path: Path) -> None:
    """The bound and its parts over the steps."""
    figure = _figure(9.0, 3.6)
    columns = dict(zip(HISTORY, zip(*trainer.history, strict=True), strict=True)) if trainer.history else {}
    for position, (part, title) in enumerate(
        (("elbo", "ELBO"), ("reconstruction", "log p(x|z)"), ("kl", "KL(q(z|x) ‖ p(z))")), start=1
    ):
        axes = figure.add_subplot(1, 3, position)
        for prefix, label in (("", "training"), ("held_out_", "held out")):
            axes.plot(columns.get("step", ()), columns.get(prefix + part, ()), label=label)
        axes.set_title(f"{title}, nats")
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    axes.legend()
    _save(figure, path)


def _draw_grid(path: Path, layers: Sequence[Tensor], title: str) -> None:
    """Images in rows of ten; those of later layers under those of the first."""
    rows = [torch.cat([layer[at : at + _COLUMNS] for layer in layers]) for at in range(0, len(layers[0]), _COLUMNS)]
    tiles = torch.cat([_padded(row, len(layers)) for row in rows]).clamp(0, 1).float()
    tiles = torch.nn.functional.pad(tiles, (0, _GAP, 0, _GAP), value=1.0)
    lines, (channels, height, width) = len(tiles) // _COLUMNS, tiles.shape[1:]
    grid = tiles.view(lines, _COLUMNS, channels, height, width).permute(0, 3, 1, 4, 2)
    grid = grid.reshape(lines * height, _COLUMNS * width, channels)
    figure = _figure(9.0, 9.0 * grid.shape[0] / grid.shape[1] + 0.35)
    axes = figure.add_subplot()
    shown = grid.squeeze(2) if channels == 1 else grid[..., :3]
    axes.imshow(shown.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()
    _save(figure, path)


def _padded(row: Tensor, layers: int) -> Tensor:
    """A short last row, filled up with white in every layer."""
    parts = row.chunk(layers)
    missing = _COLUMNS - len(parts[0])
    blank = torch.ones(missing, *row.shape[1:])
    return torch.cat([torch.cat([part, blank]) for part in parts])


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("drawing pictures", error) from error
    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Any, path: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    replace_file(path, buffer.getvalue())
