"""Windows, as far as a process of another system can be made to lack what Windows lacks.

python tests/support/windows.py '[["info"], ...]'   runs genkern commands there, one after the other
"""

from __future__ import annotations

import importlib
import importlib.abc
import json
import os
import signal
import sys
import warnings
from pathlib import Path

# Modules of Unix alone, and what Windows' os and signal go without.
MODULES = ("fcntl", "grp", "posix_ipc", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty")
OS = (
    *("fork", "forkpty", "getuid", "geteuid", "getgid", "getloadavg", "getpgid", "killpg", "mkfifo", "nice", "pread"),
    *("register_at_fork", "sched_getaffinity", "sched_setaffinity", "setsid", "sysconf", "uname", "wait4", "O_CLOEXEC"),
    *("O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "fchmod", "chown", "statvfs"),
)
SIGNALS = ("SIGALRM", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP", "SIGUSR1", "SIGUSR2")
OTHERS = (
    *(
        "filelock",
        "lightning_fabric",
        "matplotlib.pyplot",
        "rich.progress",
        "safetensors.torch",
        "sklearn.decomposition",
    ),
    *("torch._dynamo", "torch.distributed", "torch.utils.data", "typer"),
)


class NoUnix(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def pretend() -> None:
    """For what is imported after this: genkern. Other libraries are imported before, and are those of this system."""
    for name in OTHERS:
        importlib.import_module(name)
    for name in MODULES:
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, NoUnix())
    for name in OS:
        if hasattr(os, name):  # systems differ in what they have
            delattr(os, name)
    for name in SIGNALS:
        delattr(signal, name)
    sys.platform = "win32"
    # Text without a stated encoding, which Windows reads in its own, needs -X warn_default_encoding to be seen.
    warnings.filterwarnings("error", category=EncodingWarning, module=r"genkern(\.|$)")
    replace, unlink, open_ = os.replace, os.unlink, os.open

    def refusing(*paths: str | os.PathLike[str]) -> None:
        for path in map(os.path.realpath, paths):
            if path in _in_use():
                raise PermissionError(13, "The process cannot access the file", str(path))

    def replace_unused(source: str, target: str) -> None:
        refusing(source, target)
        replace(source, target)

    def unlink_unused(path: str, **options: object) -> None:
        refusing(path)
        unlink(path, **options)

    def open_file(path: str, *arguments: int, **options: int) -> int:
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied", str(path))
        return open_(path, *arguments, **options)

    os.replace, os.rename, os.unlink, os.remove, os.open = (
        *(replace_unused, replace_unused, unlink_unused, unlink_unused),
        open_file,
    )


def _in_use() -> set[str]:
    """Files that this process has open or mapped."""
    opened = {os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()}
    mapped = {line.split(maxsplit=5)[-1] for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()}
    return opened | mapped


def main(*commands: list[str]) -> None:
    pretend()
    from genkern.cli import main as command

    for arguments in commands:
        sys.argv = ["genkern", *arguments]
        try:
            command()
        except SystemExit as exit:
            if exit.code:
                raise


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
