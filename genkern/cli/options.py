"""Options that commands share."""

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    str,
    typer.Option(
        help="faces, digits; a folder, zip or tar of images; .npy, .npz; IDX files; torchvision:NAME, huggingface:NAME."
    ),
]
Cache = Annotated[Path | None, typer.Option(help="Folder of decoded images; beside the data by default.")]
BadImages = Annotated[str | None, typer.Option(help="Files that cannot be read: stop, or skip them.")]
Out = Annotated[Path, typer.Option(help="Folder of the results.")]
Steps = Annotated[int | None, typer.Option(help="Training steps; what suits the data by default.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads; torch's default otherwise.")]
Keep = Annotated[
    str, typer.Option(help="What pictures and figures are of: the best model, by the held-out bound, or the last.")
]
Log = Annotated[str | None, typer.Option(help="Write the history as it grows: csv, or tensorboard.")]
Resume = Annotated[str, typer.Option(help="auto: go on from the checkpoint in --out; never: start over.")]
LatentDim = Annotated[int | None, typer.Option(help="Latent dimensions.")]
Seed = Annotated[int | None, typer.Option(help="Every random number of the run is a function of it.")]
Size = Annotated[int | None, typer.Option(help="Pixels to a side, for files of images.")]
BatchSize = Annotated[int | None, typer.Option(help="Images a step.")]
LearningRate = Annotated[float | None, typer.Option(help="Learning rate of Adam.")]
Interval = Annotated[int | None, typer.Option(help="Steps between two checkpoints.")]
