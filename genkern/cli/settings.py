"""Settings of every training run; with the data and the step, they determine every number of the run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Any, TypeVar

from typer import Option

from genkern.cli.data import BAD_IMAGES, Images, load_images
from genkern.cli.engine import PRECISIONS
from genkern.cli.errors import CommandError

Self = TypeVar("Self", bound="RunSettings")


@dataclass(frozen=True)
class RunSettings:
    """Everything but the length of the run: a run of 200 steps is a run of 100 steps, continued."""

    data: Annotated[
        str,
        Option(
            help="faces, digits; a folder, zip or tar of images; .npy, .npz; IDX files; torchvision:NAME, "
            "huggingface:NAME."
        ),
    ] = "faces"
    size: Annotated[int, Option(help="Pixels to a side, for files of images.")] = 64
    batch_size: Annotated[int, Option(help="Images a step.")] = 64
    learning_rate: Annotated[float, Option(help="Learning rate of Adam.")] = 1e-3
    rate_warmup: Annotated[int, Option(help="Steps in which the learning rate grows from 0.")] = 0
    cosine: Annotated[int, Option(help="Steps in which the learning rate falls to 0.")] = 0
    clip: Annotated[float | None, Option(help="Largest norm of a step's gradient.")] = None
    ema: Annotated[float, Option(help="Decay of the averaged model.")] = 0.995
    precision: Annotated[
        str, Option(help="Of the networks: 32, bf16, or 16 on a GPU; weights and losses are float32.")
    ] = "32"
    interval: Annotated[int, Option(help="Steps between two checkpoints.")] = 100
    seed: Annotated[int, Option(help="Every random number of the run is a function of it.")] = 0
    bad_images: Annotated[str, Option(help="Files that cannot be read: stop, or skip them.")] = "stop"
    conditional: Annotated[
        bool, Option("--conditional", help="Tell the model the class of each image: its folder, or its label.")
    ] = False

    def __post_init__(self) -> None:
        self.require_at_least(1, "size", "batch_size", "interval")
        self.require_at_least(0, "learning_rate", "rate_warmup", "cosine")
        if self.clip is not None and not self.clip > 0:
            raise CommandError(f"--clip: expected a positive number, got {self.clip}")
        if not 0 <= self.ema < 1:
            raise CommandError(f"--ema: expected a number from 0 to below 1, got {self.ema}")
        self.require_one_of(tuple(PRECISIONS), "precision")
        self.require_one_of(BAD_IMAGES, "bad_images")

    def changed(self: Self, **values: Any) -> Self:
        """Settings with the given values in place, but for those that are None."""
        return replace(self, **{name: value for name, value in values.items() if value is not None})

    def load(self, **where: Any) -> Images:
        return load_images(self.data, self.size, labelled=self.conditional, bad=self.bad_images, **where)

    def num_classes(self, images: Images) -> int | None:
        """How many classes a conditional model is told."""
        return len(images.classes) if self.conditional else None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def require_same(self, stored: Mapping[str, Any], where: str) -> None:
        """Refuse to continue a run that was made with other settings; data have a fingerprint, wherever they lie."""
        for field in fields(self):
            if field.name == "data":
                continue
            mine, theirs = getattr(self, field.name), stored.get(field.name, field.default)
            if mine != theirs:
                raise CommandError(
                    f"{where}: a run with {field.name}={theirs!r} is there, this one has {mine!r}; "
                    "give another --out, or --resume never to replace it"
                )

    def require_at_least(self, minimum: int, *names: str) -> None:
        for name in names:
            if not getattr(self, name) >= minimum:
                option = f"--{name.replace('_', '-')}"
                raise CommandError(f"{option}: expected at least {minimum}, got {getattr(self, name)}")

    def require_one_of(self, allowed: tuple[str, ...], name: str) -> None:
        if getattr(self, name) not in allowed:
            raise CommandError(
                f"--{name.replace('_', '-')}: expected one of {', '.join(allowed)}, got {getattr(self, name)!r}"
            )
