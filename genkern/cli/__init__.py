"""The command line: ``genkern info | demo | train | evaluate``."""

import importlib
import sys

from genkern._help import EXTRAS, page

__all__ = ["main"]


def main() -> None:
    """Run the command line; exit code 2 and one line on stderr where an extra is missing or the input is at fault."""
    try:
        # Optional packages stand at the top of that module: the import is what finds them missing.
        app = importlib.import_module("genkern.cli.app")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("genkern"):
            raise
        package = error.name.partition(".")[0]
        told = f"genkern: the command line needs {package}: pip install 'genkern[demo]'; see {page(EXTRAS)}"
        print(told, file=sys.stderr)
        raise SystemExit(2) from None
    app.run()
