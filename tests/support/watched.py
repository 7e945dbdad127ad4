"""`watched.py PROGRAM ARGUMENTS...` runs a program, and fails it if its process group's threads outlive the group.

Where anything besides torch.distributed still holds the group, such as a DistributedDataParallel, the group ends later,
under Python's lock, and now and then waits for ever: gloo's threads need that lock to let go of their last tensors.
"""

from __future__ import annotations

import runpy
import sys
from contextlib import suppress
from pathlib import Path

import torch.distributed as dist


def gloo_threads() -> list[str]:
    names = []
    for thread in Path("/proc/self/task").glob("*/comm"):
        with suppress(OSError):  # it has ended
            names.append(thread.read_text().strip())
    return sorted(name for name in names if "gloo" in name)


def main(program: str, *arguments: str) -> None:
    running = gloo_threads()
    destroy = dist.destroy_process_group

    def destroy_and_look() -> None:
        nonlocal running
        running = gloo_threads()
        destroy()
        if left := gloo_threads():
            raise RuntimeError(f"the process group has ended, its threads have not: {left}")

    dist.destroy_process_group = destroy_and_look
    sys.argv = [program, *arguments]
    runpy.run_path(program, run_name="__main__")
    if Path("/proc/self/task").exists() and not running:
        raise RuntimeError("no thread of gloo was seen while the group was there")


if __name__ == "__main__":
    main(*sys.argv[1:])
