"""What is made of a checkpoint: samples, paths, programs that need no genkern; and the lock of a run's folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import command
from support.command import assert_refused, contents

from genkern import random
from genkern.cli.errors import CommandError
from genkern.cli.lock import alone_in
from genkern.cli.sampling import drawn
from genkern.cli.trained import load

pytestmark = pytest.mark.late

MODELS = {
    "conv": ("vae", "--model", "conv", "--latent-dim", "2"),
    "hybrid, vampprior": ("vae", "--objective", "vampprior", "--latent-dim", "2"),
    "discretized logistics": ("vae", "--likelihood", "discretized_logistic", "--latent-dim", "2"),
    "gan": ("gan", "--width", "2", "--latent-dim", "3"),
}


@pytest.fixture(scope="module", params=MODELS.values(), ids=MODELS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run whose images are gone."""
    kind, *options = request.param
    folder = tmp_path_factory.mktemp("trained")
    command.save_colour_images(folder / "images")
    given = ("--data", folder / "images", "--out", folder / "run", "--size", "8", "--steps", "2", "--interval", "1")
    assert command.run_here("train", kind, *given, "--batch-size", "4", *options) == 0
    shutil.rmtree(folder / "images")
    return folder / "run"


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_checkpoint_is_enough(run: Path, genkern: Any, tmp_path: Path) -> None:
    trained = load(run)
    images = drawn(trained.model, 5, random.key(3)).clamp(0, 1)
    levels = (images * 255).round().byte().movedim(1, -1).numpy()
    assert genkern("sample", run, "-n", "5", "--seed", "3", "--out", tmp_path / "each")[0] == 0
    assert sorted(path.name for path in (tmp_path / "each").iterdir()) == [f"{n}.png" for n in range(5)]
    assert all((pixels(tmp_path / "each" / f"{n}.png") == levels[n]).all() for n in range(5))
    assert genkern("sample", run, "-n", "5", "--seed", "3", "--out", tmp_path / "grid.png")[0] == 0
    grid = pixels(tmp_path / "grid.png")
    assert grid.shape == (16, 24, 3)  # two rows of three, the last place white
    assert (grid[8:, 8:16] == levels[4]).all() and (grid[8:, 16:] == 255).all()
    code, _, _ = genkern("interpolate", run, "--paths", "2", "--steps", "3", "--seed", "1", "--out", tmp_path / "p.png")
    assert code == 0 and pixels(tmp_path / "p.png").shape == (16, 24, 3)
    start, _ = random.normal(random.key(1), (2, 2, *trained.model.latent_shape))
    with torch.no_grad():
        first = (trained.pictures_of(start).clamp(0, 1) * 255).round().byte().movedim(1, -1).numpy()
    assert np.abs(pixels(tmp_path / "p.png")[:8, :8].astype(int) - first[0]).max() <= 1


PROGRAM = """
import sys
sys.modules["genkern"] = None
import torch
for name in sys.argv[2:]:
    program = torch.export.load(f"{sys.argv[1]}/{name}.pt2").module()
    torch.save(program(torch.load(f"{sys.argv[1]}/{name}.input")), f"{sys.argv[1]}/{name}.output")
"""


def test_programs_need_no_genkern_and_have_the_same_numbers(run: Path, genkern: Any, tmp_path: Path) -> None:
    out = tmp_path / "programs"
    code, told, error = genkern("export", run, "--out", out)
    assert code == 0, error
    trained = load(run)
    z = torch.randn(3, *trained.model.latent_shape, generator=torch.Generator().manual_seed(0))
    expected: dict[str, Any] = {}
    if hasattr(trained.model, "encode"):
        x = torch.rand(3, *trained.image_shape, generator=torch.Generator().manual_seed(1))
        expected["encoder"] = (x, trained.model.encode(x))
        expected["decoder"] = (z, trained.pictures_of(z))
    else:
        expected["generator"] = (z, trained.pictures_of(z))
    for name, (given, _) in expected.items():
        assert f"{name}.pt2" in told
        torch.save(given, out / f"{name}.input")
    subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM, str(out), *expected], check=True)
    for name, (_, right) in expected.items():
        torch.testing.assert_close(torch.load(out / f"{name}.output"), right)


def test_what_cannot_be_done_is_one_line(genkern: Any, tmp_path: Path) -> None:
    (tmp_path / "no.safetensors").write_bytes(b"nothing")
    for name in ("sample", "interpolate", "export"):
        assert_refused(genkern(name, tmp_path / "no.safetensors"), "not a readable checkpoint")
        assert_refused(genkern(name, tmp_path / "none"), "none")
    assert_refused(genkern("sample", tmp_path, "--out", "a.jpg"), "--out: expected a .png or a folder, got 'a.jpg'")
    assert_refused(genkern("interpolate", tmp_path, "--out", "a.jpg"), "--out: expected a .png, got 'a.jpg'")
    assert_refused(genkern("sample", tmp_path, "-n", "0"), "--num: expected at least 1, got 0")
    assert_refused(genkern("interpolate", tmp_path, "--steps", "1"), "--steps: expected at least 2, got 1")


def test_a_second_run_in_a_folder_is_refused(genkern: Any, folder: Path, tmp_path: Path) -> None:
    given = ("--data", folder, "--out", tmp_path / "out", "--size", "6", "--model", "mlp", "--steps", "1")
    (tmp_path / "out").mkdir()
    with alone_in(tmp_path / "out"):
        before = contents(tmp_path / "out")
        assert_refused(genkern("train", "vae", *given), "another run is writing into")
        assert contents(tmp_path / "out") == before
    assert genkern("train", "vae", *given)[0] == 0
    assert not list((tmp_path / "out").glob(".*"))


def test_a_lock_dies_with_its_owner(tmp_path: Path) -> None:
    program = f"""
import os, sys
from pathlib import Path
from genkern.cli.lock import alone_in
with alone_in(Path({str(tmp_path)!r})):
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == -9
    assert list(tmp_path.iterdir())  # the file is there, the lock is not
    with alone_in(tmp_path), pytest.raises(CommandError, match="another run"), alone_in(tmp_path):
        pass
    assert not list(tmp_path.iterdir())
