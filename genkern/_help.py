"""Pages that messages name: in docs/ of a checkout, in genkern/_docs/ of an installation, which has a copy of each."""

from pathlib import Path

PLAIN_TORCH = "install.md#plain-torch-where-kernels-were-expected"
EXTRAS = "install.md#extras"
DATA = "data.md"
CLASSES = "data.md#classes"
OPTIONS = "training.md"

PAGES = sorted({name.partition("#")[0] for name in (PLAIN_TORCH, EXTRAS, DATA, CLASSES, OPTIONS)})

_package = Path(__file__).parent


def page(name: str) -> str:
    """The path of that page on this machine, with its anchor."""
    installed = _package / "_docs"
    return str((installed if installed.is_dir() else _package.parent / "docs") / name)
