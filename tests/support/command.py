"""The command line as a user has it: images to train on, a command run here or in a process of its own."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from genkern.cli import main
from genkern.cli.data import Images, Pixels

PATIENCE = 120.0  # seconds after which a run hangs


def save_colour_images(folder: Path, number: int = 10) -> None:
    """Of different sizes, and a file that is not an image."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    for index in range(number):
        pixels = torch.randint(0, 256, (8 + index, 12, 3), dtype=torch.uint8, generator=generator)
        Image.fromarray(pixels.numpy()).save(folder / f"{index}.png")
    (folder / "notes.txt").write_text("not an image")


def tiny_images(augment: bool = True, num: int = 10, channels: int = 1) -> Images:
    generator = torch.Generator().manual_seed(0)
    train, held_out = (torch.rand(count, channels, 7, 6, generator=generator) for count in (num, 3))
    return Images("tiny", Pixels.of(train), Pixels.of(held_out), augment)


def run_here(*arguments) -> int:
    """The exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["genkern", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit:
            main()
    return exit.value.code or 0


def start(*arguments, processes: int = 1, **options) -> subprocess.Popen:
    """A command in a process of its own, or in several by torchrun."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", *launcher, "-m", "genkern.cli", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


def wait_for(path: Path, process: subprocess.Popen) -> None:
    """Until the process has written the file."""
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def finish(process: subprocess.Popen) -> None:
    """To an exit without error."""
    try:
        _, err = process.communicate(timeout=PATIENCE)
    finally:
        stop(process)
    assert process.returncode == 0, err


def stop(process: subprocess.Popen) -> None:
    """By the launcher, where there is one, which takes its processes with it."""
    if process.poll() is None:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def assert_refused(result: tuple[int, str, str], *words: str) -> None:
    code, _, err = result
    assert code == 2
    assert err.startswith("genkern: ") and err.count("\n") == 1
    assert all(word in err for word in words), err


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}
