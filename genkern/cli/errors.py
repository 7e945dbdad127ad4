"""What a command raises when its input, not its code, is at fault."""

from __future__ import annotations

__all__ = ["CommandError", "missing_extra"]


class CommandError(Exception):
    """Printed as one line on stderr; the process then exits with code 2."""


def missing_extra(what: str, error: ImportError) -> CommandError:
    """For an optional package that is not installed."""
    package = error.name.partition(".")[0] if error.name else str(error)
    return CommandError(f"{what} needs {package}, which is not installed: pip install 'genkern[demo]'")
