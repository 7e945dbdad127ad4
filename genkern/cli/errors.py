"""Errors of a command whose input, not its code, is at fault."""

import importlib
from typing import Any


class CommandError(Exception):
    """Printed as one line on stderr; the process then exits with code 2."""


def optional(module: str, what: str) -> Any:
    """A module of an optional package, which `what` needs; CommandError where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = error.name.partition(".")[0] if error.name else str(error)
        raise CommandError(f"{what} needs {package}, which is not installed: pip install 'genkern[demo]'") from error
