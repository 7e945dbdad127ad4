"""What a command raises when its input, not its code, is at fault."""

from __future__ import annotations

__all__ = ["CommandError", "missing_extra"]


class CommandError(Exception):
    """Printed as one line on stderr; the process then exits with code 2."""


def missing_extra(what: str, error: ImportError) -> CommandError:
    """For an optional package that is not installed."""
    return CommandError(f"{what} needs {error.name or error}, which is not installed: pip install 'genkern[demo]'")
