"""The options of commands: annotated fields of dataclasses, each with its type, its default and what it is for."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_args

from typer import Option

Cache = Annotated[Path | None, Option(help="Folder of decoded images; beside the data by default.")]
Device = Annotated[str, Option(help="auto (a GPU, if there is one), cpu, cuda, cuda:1, mps.")]
Threads = Annotated[int | None, Option(help="CPU threads; torch's default otherwise.")]


@dataclass(frozen=True)
class RunOptions:
    """The length of a run, and what changes its numbers by no more than rounding; settings are what does."""

    out: Annotated[Path, Option(help="Folder of the results.")]
    steps: Annotated[int | None, Option(help="Training steps; what suits the data by default.")] = None
    cache: Cache = None
    device: Device = "auto"
    compile: Annotated[bool, Option("--compile", help="Compile the networks by torch.compile.")] = False
    processes: Annotated[int | None, Option(help="Processes that share every batch, on one machine.")] = None
    shard: Annotated[
        bool, Option("--shard", help="Each process holds its shard of the model: for one too large for a device.")
    ] = False
    workers: Annotated[int | None, Option(help="Processes that read ahead; beside a GPU some by default.")] = None
    threads: Threads = None
    resume: Annotated[str, Option(help="auto: go on from the checkpoint in --out; never: start over.")] = "auto"
    keep: Annotated[
        str, Option(help="What pictures and figures are of: the best model, by the held-out bound, or the last.")
    ] = "last"
    log: Annotated[str | None, Option(help="Write the history as it grows: csv, or tensorboard.")] = None


def command(
    settings: type, *, only: tuple[str, ...] = (), without: tuple[str, ...] = (), **defaults: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make of a function of `RunOptions` and of given settings one as typer takes it, with an option for each.

    It has those of both classes, or `only` some, or none `without`; beside them those that the function has itself. A
    setting that is not given is None, for what suits the data.
    """

    def decorated(function: Callable[..., None]) -> Callable[..., None]:
        hints = {  # a class that gives a field another default leaves out what it is for
            name: hint
            for kind in (*reversed(settings.__mro__), RunOptions)
            for name, hint in inspect.get_annotations(kind).items()
            if hasattr(hint, "__metadata__")
        }
        run = {field.name: field.default for field in fields(RunOptions)}
        known = run | defaults
        _, _, *own = inspect.signature(function).parameters.values()
        extra = {parameter.name for parameter in own}
        named = (set(only) or set(hints)) - set(without) - extra
        for name in [name for name in hints if name in named]:
            kind, *said = get_args(hints[name])
            annotation = hints[name] if name in known else Annotated[(kind | None, *said)]
            default = known.get(name)
            own.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation))

        @functools.wraps(function)
        def call(**given: Any) -> None:
            how = {name: given.pop(name) for name in run if name in given}
            more = {name: given.pop(name) for name in extra}
            function(RunOptions(**how), given, **more)

        call.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]
        call.__annotations__ = {parameter.name: parameter.annotation for parameter in own}
        return call

    return decorated
