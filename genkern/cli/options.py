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
Conditional = Annotated[
    bool, typer.Option("--conditional", help="Tell the model the class of each image: its folder, or its label.")
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
Device = Annotated[str, typer.Option(help="auto (a GPU, if there is one), cpu, cuda, cuda:1, mps.")]
Precision = Annotated[
    str | None, typer.Option(help="Of the networks: 32, bf16, or 16 on a GPU; weights and losses are float32.")
]
Compile = Annotated[bool, typer.Option("--compile", help="Compile the networks by torch.compile.")]
Processes = Annotated[int | None, typer.Option(help="Processes that share every batch, on one machine.")]
Workers = Annotated[int | None, typer.Option(help="Processes that read images ahead; beside a GPU some by default.")]
Clip = Annotated[float | None, typer.Option(help="Largest norm of a step's gradient.")]
RateWarmup = Annotated[int | None, typer.Option(help="Steps in which the learning rate grows from 0.")]
Cosine = Annotated[int | None, typer.Option(help="Steps in which the learning rate falls to 0.")]
LatentDim = Annotated[int | None, typer.Option(help="Latent dimensions.")]
Seed = Annotated[int | None, typer.Option(help="Every random number of the run is a function of it.")]
Size = Annotated[int | None, typer.Option(help="Pixels to a side, for files of images.")]
BatchSize = Annotated[int | None, typer.Option(help="Images a step.")]
LearningRate = Annotated[float | None, typer.Option(help="Learning rate of Adam.")]
Interval = Annotated[int | None, typer.Option(help="Steps between two checkpoints.")]
