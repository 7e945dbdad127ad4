"""Errors of a command whose input, not its code, is at fault."""

import importlib
import re
from typing import Any

from genkern._help import CLASSES, DATA, EXTRAS, OPTIONS, page

_PAGES = {"--data": DATA, "--bad-images": DATA, "--cache": DATA, "--conditional": CLASSES}


class CommandError(Exception):
    """Printed as one line on stderr; the process then exits with code 2."""


def with_page(error: CommandError) -> str:
    """The line; where an option is at fault, with the page that describes it."""
    option = re.match(r"--[a-z-]+(?=:)", str(error))
    return f"{error}; see {page(_PAGES.get(option[0], OPTIONS))}" if option else str(error)


def optional(module: str, what: str) -> Any:
    """A module of an optional package, which `what` needs; CommandError where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = error.name.partition(".")[0] if error.name else str(error)
        missing = f"{what} needs {package}, which is not installed: pip install 'genkern[demo]'; see {page(EXTRAS)}"
        raise CommandError(missing) from error
