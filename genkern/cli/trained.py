"""``genkern sample``, ``interpolate`` and ``export``: what needs a checkpoint and none of its data."""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor, nn

from genkern import random
from genkern.cli.checkpoint import load_checkpoint, replace_file
from genkern.cli.data import Images, Pixels
from genkern.cli.drawing import save_image, save_mosaic
from genkern.cli.errors import CommandError
from genkern.cli.gan.settings import GANSettings, build_gan
from genkern.cli.gan.trainer import GANTrainer
from genkern.cli.job import console
from genkern.cli.sampling import Model, drawn, paths, pictures_of, rows_of_classes
from genkern.cli.session import checkpoint_of, prepare_folder
from genkern.cli.trainer import family_of
from genkern.cli.vae.settings import VAESettings, build_vae
from genkern.nn import GAN, VAE

_NAMED = 20
Checkpoint = Annotated[Path, typer.Argument(help="A checkpoint, or the folder of a run.")]
Class = Annotated[str | None, typer.Option("--class", help="Of a conditional model: one class, its name or number.")]
Seed = Annotated[int, typer.Option(help="Every number drawn is a function of it.")]


@dataclass(frozen=True)
class Trained:
    """The averaged model of a run, the shape of its images, and the classes that it is told."""

    model: Model
    image_shape: tuple[int, int, int]
    classes: tuple[str, ...] = ()

    def pictures_of(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return pictures_of(self.model, z, labels)

    def labels(self, asked: str | None, columns: int, rows: int | None = None) -> Tensor | None:
        """Those of a picture: every image of the class that is asked for, or else each row of its own."""
        if asked is None:
            return rows_of_classes(len(self.classes) or None, columns, rows)
        if not self.classes:
            raise CommandError(f"--class: expected a model trained with --conditional, got one without for {asked!r}")
        numbers = {str(place): place for place in range(len(self.classes))}
        place = (numbers | {name: place for place, name in enumerate(self.classes)}).get(asked)
        if place is None:
            names = ", ".join(self.classes[:_NAMED]) + (", …" if len(self.classes) > _NAMED else "")
            raise CommandError(f"--class: expected one of {names}, or its number from 0, got {asked!r}")
        return torch.full(((rows or 1) * columns,), place)


def load(checkpoint: Path) -> Trained:
    """CommandError for what is no checkpoint of a run."""
    path = checkpoint_of(checkpoint)
    tensors, metadata = load_checkpoint(path)
    try:
        of_images = metadata["images"]
        channels, height, width = (int(size) for size in of_images["shape"])
        gan = family_of(metadata) == GANTrainer.family
        settings: Any = (GANSettings if gan else VAESettings)(**metadata["settings"])
        classes = tuple(of_images.get("classes", ()))
        images = replace(_of_no_pixels((channels, height, width), int(of_images["train"])), classes=classes)
        model: Model = build_gan(settings, images) if gan else build_vae(settings, images)
        prefix = "gan." if gan else "average."
        model.load_state_dict({key[len(prefix) :]: t for key, t in tensors.items() if key.startswith(prefix)})
    except (KeyError, TypeError, ValueError, RuntimeError, CommandError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CommandError(f"{path}: not a checkpoint of a run of this version ({reason})") from error
    return Trained(model.eval().requires_grad_(False), (channels, height, width), classes)


def _of_no_pixels(shape: tuple[int, int, int], count: int) -> Images:
    """As many images as the run had, for what is made of their number and shape."""
    pixels = Pixels(shape, lambda places: np.zeros((len(places), *shape), np.float32), np.arange(count))
    return Images("", pixels, pixels, augment=False)


@torch.no_grad()
def sample(
    checkpoint: Checkpoint,
    num: Annotated[
        int | None,
        typer.Option("--num", "-n", help="How many; of a conditional model, in each class. 64, or 8 in each."),
    ] = None,
    of_class: Class = None,
    out: Annotated[Path, typer.Option(help="A .png of all, or a folder of one each.")] = Path("samples.png"),
    seed: Seed = 0,
) -> None:
    """Draw images from a trained model, at temperature 1 and without picking; of a conditional one, a row a class."""
    if num is not None and num < 1:
        raise CommandError(f"--num: expected at least 1, got {num}")
    if out.suffix and out.suffix.lower() != ".png":
        raise CommandError(f"--out: expected a .png or a folder, got {str(out)!r}")
    trained = load(checkpoint)
    by_class = bool(trained.classes) and of_class is None
    columns = num or (8 if by_class else 64)
    labels = trained.labels(of_class, columns, len(trained.classes) if by_class else None)
    num = columns if labels is None else len(labels)
    images = drawn(trained.model, num, random.key(seed), labels=labels)
    if out.suffix.lower() == ".png":
        save_mosaic(out, images, columns if by_class else math.ceil(math.sqrt(num)))
    else:
        prepare_folder(out)
        digits = len(str(num - 1))
        for index, image in enumerate(images):
            save_image(out / f"{index:0{digits}}.png", image)
    console().print(f"wrote {num} samples into {out}")


@torch.no_grad()
def interpolate(
    checkpoint: Checkpoint,
    rows: Annotated[int, typer.Option("--paths", help="Paths, a row each.")] = 6,
    steps: Annotated[int, typer.Option(help="Images of a path.")] = 10,
    of_class: Class = None,
    out: Annotated[Path, typer.Option(help="A .png.")] = Path("interpolation.png"),
    seed: Seed = 0,
) -> None:
    """Draw spherical paths between pairs of draws of z ~ N(0, I), each within a class; of a hierarchy, of its noise."""
    for name, value, least in (("paths", rows, 1), ("steps", steps, 2)):
        if value < least:
            raise CommandError(f"--{name}: expected at least {least}, got {value}")
    if out.suffix.lower() != ".png":
        raise CommandError(f"--out: expected a .png, got {str(out)!r}")
    trained = load(checkpoint)
    z, labels = paths(trained.model, rows, steps, random.key(seed)), trained.labels(of_class, steps, rows)
    save_mosaic(out, trained.pictures_of(z, labels), steps)
    console().print(f"wrote {rows} paths into {out}")


def export(
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Option(help="Folder of the programs.")] = Path("genkern-export"),
) -> None:
    """Write a model as programs that need no genkern: torch.export's .pt2, and .onnx where onnx is installed.

    Of a VAE `encoder` (images to moments of q) and `decoder` (z to mean images); of a hierarchical one `decoder` (noise
    of all levels to mean images); of a GAN `generator` (z to images). A conditional model's take labels as well.
    """
    trained = load(checkpoint)
    model, z = trained.model, torch.zeros(2, *(trained.model.latent_shape or ()))
    programs = {"generator" if isinstance(model, GAN) else "decoder": (_Call(model, trained.pictures_of), z)}
    if isinstance(model, VAE):
        programs["encoder"] = _Call(model, partial(_encoded, model)), torch.zeros(2, *trained.image_shape)
    prepare_folder(out)
    told = (torch.tensor([0, 1]),) if trained.classes else ()
    dynamic = ({0: torch.export.Dim.DYNAMIC},) * (1 + len(told))
    written = []
    for name, (program, of) in programs.items():
        example = (of, *told)
        exported = torch.export.export(program, example, dynamic_shapes=(dynamic,))
        buffer = io.BytesIO()
        torch.export.save(exported, buffer)
        replace_file(out / f"{name}.pt2", buffer.getvalue())
        written.append(f"{name}.pt2")
        if find_spec("onnxscript"):
            onnx = torch.onnx.export(program, example, dynamo=True, dynamic_shapes=(dynamic,))
            assert onnx is not None
            replace_file(out / f"{name}.onnx", onnx.model_proto.SerializeToString())
            written.append(f"{name}.onnx")
    console().print(f"wrote {', '.join(written)} into {out}")


class _Call(nn.Module):
    """A function of a model as a module, which is what is exported."""

    def __init__(self, model: nn.Module, call: Callable[..., Any]) -> None:
        super().__init__()
        self.model, self._call = model, call

    def forward(self, *values: Tensor) -> Any:
        return self._call(*values)


def _encoded(model: VAE, x: Tensor, labels: Tensor | None = None) -> Any:
    return model.encode(x, condition=labels)
