"""Everything that genkern makes public, by the names under which users reach it, and what its docstrings must have."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from types import ModuleType

import genkern.compat

MODULES = (
    "genkern",
    "genkern.random",
    "genkern.nn",
    "genkern.distributions",
    *(f"genkern.compat.{name}" for _, name, _ in pkgutil.iter_modules(genkern.compat.__path__) if name[0] != "_"),
)


def names() -> list[str]:
    """Such as genkern.gaussian_kl; modules that are public within another are in MODULES."""
    found = ((name, importlib.import_module(name)) for name in MODULES)
    return [f"{name}.{own}" for name, module in found for own in module.__all__ if not _is_module(module, own)]


def documented() -> Iterator[tuple[str, object]]:
    """Functions and classes, each once, under the first of its names; what is neither has no docstring of its own."""
    for name in names():
        module, _, own = name.rpartition(".")
        found = getattr(importlib.import_module(module), own)
        if inspect.isclass(found) or inspect.isroutine(found):
            yield name, found


def lacking(doc: str) -> list[str]:
    """What a docstring has not that each must have."""
    summary, _, rest = inspect.cleandoc(doc).partition("\n")
    lacks = []
    if not re.fullmatch(r"[^:].{10,}\.", summary) or (rest and not rest.startswith("\n")):
        lacks.append("a summary of one line, which is a sentence of its own")
    for section in ("See Also", "Examples"):
        if not re.search(rf"^{section}\n-{{{len(section)}}}\n\S", rest, re.MULTILINE):
            lacks.append(section)
    if re.search(r":(func|class|meth|mod|data):`", doc):
        lacks.append("names that a terminal shows as they are meant: `name`")
    return lacks


def _is_module(module: ModuleType, name: str) -> bool:
    return isinstance(getattr(module, name), ModuleType)
