"""Progress of a run: a bar of rich on a terminal, a line a case elsewhere."""

from __future__ import annotations

import os
import sys
from typing import TextIO

try:
    from rich import progress as rich_progress
    from rich.console import Console
except ImportError:
    rich_progress = None  # type: ignore[assignment]


class Progress:
    """Made while stderr is still the terminal's: pytest captures it during the tests."""

    def __init__(self) -> None:
        self._file: TextIO = os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8")
        self._total, self._done = 0, 0
        self._bar = None
        if rich_progress is not None and self._file.isatty():
            self._bar = rich_progress.Progress(
                rich_progress.TextColumn("{task.description}"),
                rich_progress.BarColumn(),
                rich_progress.MofNCompleteColumn(),
                rich_progress.TimeElapsedColumn(),
                rich_progress.TimeRemainingColumn(),
                console=Console(file=self._file),
                # A thread that redraws ten times a second would take its time from what is measured.
                auto_refresh=False,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._task = self._bar.add_task("benchmarks", total=None)

    def begin(self, what: str, total: int) -> None:
        self._total = total
        if self._bar is not None:
            self._bar.start()
            self._bar.update(self._task, description=what, total=total, refresh=True)

    def done(self, line: str) -> None:
        self._done += 1
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False)
            self._bar.advance(self._task)
            self._bar.refresh()
        else:
            print(f"[{self._done:3}/{self._total}] {line}", file=self._file, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._file.close()
