"""The pictures of docs/gallery.md: runs the commands that stand there, and keeps the pictures that the page shows.

python docs/gallery.py
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).with_suffix(".md")
FOLDER = Path(__file__).with_suffix("")
_COMMAND = re.compile(r"^\$ genkern (.*)$", re.MULTILINE)
_PICTURE = re.compile(rf"!\[[^\]]*\]\({FOLDER.name}/([^)]*)\)")


def commands(page: str) -> list[list[str]]:
    """The arguments of each `genkern` on the page."""
    return [shlex.split(arguments) for arguments in _COMMAND.findall(page)]


def pictures(page: str) -> list[str]:
    """The pictures that the page shows, by their paths in the folder beside it."""
    return _PICTURE.findall(page)


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as made:
        for arguments in commands(page):
            subprocess.run([sys.executable, "-m", "genkern.cli", *arguments], cwd=made, check=True)
        for name in pictures(page):
            keep(Path(made, name), FOLDER / name)
    subprocess.run([sys.executable, "-m", "benchmarks.report"], cwd=ROOT, check=True)  # those of what was measured


def keep(source: Path, target: Path) -> None:
    """A PNG with as many colours as it needs, beside and renamed."""
    from PIL import Image

    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_suffix(".part.png")
    Image.open(source).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(beside, optimize=True)
    os.replace(beside, target)


if __name__ == "__main__":
    main()
