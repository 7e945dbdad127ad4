"""A chapter of the report: what one script measures and keeps in a file a machine, and how a page tells it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine, results

Measured = dict[str, Any]
"""`machine`, `run` (of `benchmarks.machine`), and what the script found."""


@dataclass(frozen=True)
class Chapter:
    """`name` is the folder under results, and what its block on `page` is marked by.

    `block` gives the Markdown of one machine's file, told the address of its picture, if there is one; `draw` draws it,
    in the format of the path's name (`plot.save`): PNG beside the file, SVG for the page of HTML.
    """

    name: str
    page: str
    block: Callable[[Measured, str | None], str]
    draw: Callable[[Measured, Path], None] | None = None

    @property
    def title(self) -> str:
        return self.name.replace("_", "-").capitalize()

    @property
    def begin(self) -> str:
        return f"<!-- {self.name}:start -->"

    @property
    def end(self) -> str:
        return f"<!-- {self.name}:end -->"

    def path(self, folder: Path = results.FOLDER, device: str = "cpu") -> Path:
        return folder / self.name / f"{machine.describe(device)['name']}.json"

    def keep(self, folder: Path, found: Measured, device: str = "cpu") -> Path:
        """`found`, with the machine and the run, as this machine's file."""
        measured = {"machine": machine.describe(device), "run": machine.describe_run(), **found}
        path = self.path(folder, device)
        results.write(path, json.dumps(measured, indent=2) + "\n")
        return path

    def files(self, folder: Path = results.FOLDER) -> list[Path]:
        return sorted((folder / self.name).glob("*.json"))

    def tell(self, folder: Path, picture: Callable[[Path, Measured], str | None]) -> str:
        """The block: machines one after another; `picture` gives the address of that of a file, if there is one.

        ValueError, naming the file, where it is none of this chapter's.
        """
        told = []
        for path in self.files(folder):
            try:
                measured = json.loads(path.read_text(encoding="utf-8"))
                told.append(self.block(measured, picture(path, measured)).strip())
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{self.name}/{path.name}: not a file of this chapter ({error!r})") from error
        nothing = f"Nothing is recorded yet: `python -m benchmarks.{self.name}`, then `python -m benchmarks.report`."
        return "\n\n".join(told) or nothing


def provenance(measured: Measured) -> str:
    """Where, with what and when, as a sentence without its end."""
    run = measured["run"]
    commit = f" at {run['commit']}" if run["commit"] else ""
    versions = run["versions"]
    return (
        f"{machine.title(measured['machine'])}; torch {versions['torch']}, genkern {versions['genkern']}{commit}, "
        f"{run['date'][:10]}"
    )


def ratio_of(before: Measured, after: Measured) -> str:
    """How many times as fast `after` is, of two timings: not stated where the larger spread exceeds the difference."""
    spread = max(high - low for low, high in (before["quantiles"], after["quantiles"]))
    if abs(before["median"] - after["median"]) <= spread:
        return "unclear"
    return f"{before['median'] / after['median']:.2f}"


def size_text(size: float | None) -> str:
    """Bytes, or a dash where the system does not tell."""
    if size is None:
        return "–"
    return f"{size / 2**30:.3g} GiB" if size >= 2**30 else f"{size / 2**20:.3g} MiB"
