"""A training run from start or checkpoint to its last step: progress, checkpoints, interruption."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text
from torch import Tensor

from genkern.cli.checkpoint import load_checkpoint, save_checkpoint
from genkern.cli.errors import CommandError
from genkern.cli.trainer import Trainer

CHECKPOINT = "checkpoint.safetensors"
BEST = "best.safetensors"
KEEP = ("best", "last")
_RESUME = ("auto", "never")
TrainerT = TypeVar("TrainerT", bound=Trainer[Any])
Look = Callable[[Trainer[Any]], Callable[[], None]]
"""What looks at a trainer, on all processes if its model is sharded, and gives what the first process then calls."""


class Interrupted(Exception):
    """The user or the system asked the run to stop; it has been saved."""

    def __init__(self, signum: int, step: int, checkpoint: Path) -> None:
        super().__init__(f"interrupted at step {step}, saved in {checkpoint}; the same command goes on from there")
        self.exit_code = 128 + signum


def prepare_folder(out: Path) -> None:
    """Make the folder of the results; fail now rather than after training."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".genkern-writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise CommandError(f"--out: cannot write into {str(out)!r} ({error.strerror})") from error


def checkpoint_of(path: Path) -> Path:
    """The checkpoint itself; of the folder of a run the best one, if there is one, or the last."""
    if not path.is_dir():
        return path
    return path / BEST if (path / BEST).exists() else path / CHECKPOINT


def fit(
    trainer: Trainer[Any],
    out: Path,
    steps: int,
    *,
    resume: str,
    keep: str,
    watch: Sequence[Look],
    console: Console,
) -> None:
    """Train up to `steps` steps, saving at the end of every interval; of several processes, the first one saves.

    Where `keep` is "best", the state of the best interval is saved beside the last one.
    """
    if keep not in KEEP:
        raise CommandError(f"--keep: expected one of {', '.join(KEEP)}, got {keep!r}")
    if resume not in _RESUME:
        raise CommandError(f"--resume: expected one of {', '.join(_RESUME)}, got {resume!r}")
    path = out / CHECKPOINT
    (there,) = trainer.engine.highest(int(path.exists() and resume == "auto"))
    if resumed := bool(there):
        trainer.engine.together(lambda: trainer.restore(*load_checkpoint(path), str(path)))
        console.print(f"resumed {path} at step {trainer.step}")
    with closing(trainer), _stop_signals() as stopped, _progress(trainer, steps, console) as advanced:
        while trainer.step < steps:
            at_interval, signum = trainer.advance(stopped)
            advanced(at_interval)
            if at_interval or signum or trainer.step == steps:
                engine, seen = trainer.engine, list[Callable[[], None]]()
                save = partial(_save, trainer, trainer.state(), out, keep, resumed, seen)
                if at_interval and (engine.is_first or engine.shards):
                    try:
                        seen += [look(trainer) for look in watch]
                    except BaseException:
                        save()  # not `together`: the others may be waiting for this one's shard
                        raise
                engine.together(save)
            if signum and trainer.step < steps:
                raise Interrupted(signum, trainer.step, path)


def _save(
    trainer: Trainer[Any],
    state: tuple[dict[str, Tensor], dict[str, Any]],
    out: Path,
    keep: str,
    resumed: bool,
    seen: Sequence[Callable[[], None]],
) -> None:
    if not trainer.engine.is_first:
        return
    try:
        for write in seen:  # before: a run that is killed in between writes again
            write()
    finally:
        save_checkpoint(out / CHECKPOINT, *state)
        if keep == "best" and trainer.best_step() == trainer.step:
            save_checkpoint(out / BEST, *state)
        elif keep != "best" or not (resumed or trainer.history):  # that of a run before this one
            (out / BEST).unlink(missing_ok=True)


def kept(trainer: TrainerT, out: Path, keep: str) -> TrainerT:
    """The trainer as it was at its best interval, with its whole history; itself where none was better or is kept.

    One whose model is sharded comes from a checkpoint, whole, for one process alone.
    """
    best = trainer.best_step() if keep == "best" else None
    if best not in (None, trainer.step) and (found := _saved(trainer, out / BEST, best)):
        return found
    return (_saved(trainer, out / CHECKPOINT, trainer.step) or trainer) if trainer.engine.shards else trainer


def _saved(trainer: TrainerT, path: Path, step: int | None) -> TrainerT | None:
    """The trainer as it was at this step, if the file is of this run."""
    if not path.exists():
        return None
    tensors, metadata = load_checkpoint(path)
    if metadata.get("step") != step:
        return None
    found = type(trainer)(trainer.settings, trainer.images, trainer.engine.alone())
    try:
        found.restore(tensors, metadata, str(path), to_train=False)
    except CommandError:
        return None
    found.history = trainer.history
    return found


@contextmanager
def _stop_signals() -> Iterator[Callable[[], int]]:
    """Turn the first SIGINT or SIGTERM into a question asked between two steps; the second acts as usual."""
    received: list[int] = []
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}

    def note(signum: int, frame: FrameType | None) -> None:
        received.append(signum)
        signal.signal(signum, before[signal.Signals(signum)])

    for signum in before:
        signal.signal(signum, note)
    try:
        yield lambda: received[0] if received else 0
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


class _Rate(ProgressColumn):
    """Steps a second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.3g} steps/s")


@contextmanager
def _progress(trainer: Trainer[Any], steps: int, console: Console) -> Iterator[Callable[[bool], None]]:
    """A bar on a terminal, and a line for every interval anywhere."""
    console.print(trainer.legend, style="dim")
    bar = Progress(
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("training", total=steps, completed=trainer.step)

        def advanced(at_interval: bool) -> None:
            bar.update(task, completed=trainer.step)
            if at_interval:
                console.print(trainer.line())
                sys.stdout.flush()

        yield advanced
