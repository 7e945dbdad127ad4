"""One run a folder: a second one is refused, and what a killed one leaves behind is in nobody's way."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genkern.cli.errors import CommandError

_NAME = ".genkern-lock"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder; CommandError where another run does. The lock is the system's, and ends with the process."""
    try:
        import fcntl
    except ImportError:  # of Windows
        yield
        return
    path = folder / _NAME
    while True:
        try:
            file = path.open("w")
        except OSError as error:
            raise CommandError(f"--out: cannot write {str(path)!r} ({error.strerror})") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise CommandError(f"--out: another run is writing into {str(folder)!r}; give another one") from error
        except OSError:  # a file system that has no locks
            break
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                break
        file.close()  # the run that held it has taken it away between the two steps
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()
