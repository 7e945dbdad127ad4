"""What --data may name, how image files are read, and the file of decoded images."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import tarfile
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import command

from genkern.cli.data import Pixels, cache, load_images
from genkern.cli.data.decode import Kind, Unreadable, decode, kind_of
from genkern.cli.errors import CommandError
from genkern.cli.quality import principal_components

RAMP = np.linspace(0, 65535, 64 * 64).round().reshape(64, 64)


def saved(array: np.ndarray, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form, **options)
    return buffer.getvalue()


DEEP = {
    "16-bit PNG": saved(RAMP.astype(np.uint16), "PNG"),
    "16-bit TIFF": saved(RAMP.astype(np.uint16), "TIFF"),
    "16-bit PGM": saved(RAMP.astype(np.int32), "PPM"),
    "int32 TIFF": saved(RAMP.astype(np.int32), "TIFF"),
    "float TIFF": saved((RAMP / 65535).astype(np.float32), "TIFF"),
}


@pytest.mark.parametrize("content", DEEP.values(), ids=DEEP)
def test_many_grey_levels_keep_their_range(content: bytes) -> None:
    kind = kind_of(content)
    assert kind == Kind(colour=False, deep=True)
    levels = decode(content, 64, kind)
    assert levels.dtype == np.uint16 and levels.shape == (1, 64, 64)
    assert np.abs(levels[0].astype(float) - RAMP).max() <= 1


def test_numbers_without_a_known_white_are_refused() -> None:
    for array in (RAMP.astype(np.int32) * 1000, RAMP.astype(np.float32), -RAMP.astype(np.float32) / 65535):
        content = saved(array, "TIFF")
        with pytest.raises(Unreadable, match="expected numbers from 0 to (1|65535), got"):
            decode(content, 8, kind_of(content))


def test_grey_stays_grey_unless_some_image_has_colour(tmp_path: Path) -> None:
    palette = Image.new("P", (8, 8), 7)
    palette.putpalette([level for level in range(256) for _ in range(3)])
    for index in range(9):
        Image.new("L", (8, 8), 25 * index).save(tmp_path / f"{index}.png")
    palette.save(tmp_path / "9.png")
    images = load_images(str(tmp_path), 8)
    assert images.shape == (1, 8, 8)
    torch.testing.assert_close(images.train[1], torch.full((1, 8, 8), 25 / 255))
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "a.png")
    assert load_images(str(tmp_path), 8).shape == (3, 8, 8)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white_and_said(mode: str, tmp_path: Path) -> None:
    for index in range(5):
        if mode == "P":
            image = Image.new("P", (4, 4), 0)
            image.putpalette([255, 0, 0] + [0] * 765)
            image.save(tmp_path / f"{index}.png", transparency=0)
        else:
            Image.new(mode, (4, 4), (9, 0) if mode == "LA" else (255, 0, 0, 0)).save(tmp_path / f"{index}.png")
    images = load_images(str(tmp_path), 4)
    assert (images.train[:] == 1).all()
    assert any("5 images with an alpha channel, laid on white" in note for note in images.notes)


def colours(number: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (12, 10, 3), np.uint8) for _ in range(number)]


def write_tree(folder: Path, number: int = 10) -> None:
    """Two classes, one of them in a folder of folders, and what is no image."""
    for index, image in enumerate(colours(number)):
        place = folder / ("cats" if index % 2 else "dogs/old")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{index}.png")
    (folder / "cats" / "._1.png").write_bytes(b"of macOS")
    (folder / "__MACOSX" / "cats").mkdir(parents=True)
    (folder / "__MACOSX" / "cats" / "1.png").write_bytes(b"of macOS")
    (folder / "notes.txt").write_text("no image")


def test_folders_are_read_whole_and_their_first_level_are_the_classes(tmp_path: Path) -> None:
    write_tree(tmp_path)
    images = load_images(str(tmp_path), 6)
    assert (len(images.train), len(images.held_out)) == (8, 2)
    assert images.classes == ("cats", "dogs") and images.augment


def test_archives_have_the_images_of_the_folder(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree")
    expected = load_images(str(tmp_path / "tree"), 6)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for path in sorted((tmp_path / "tree").rglob("*")):
            file.write(path, path.relative_to(tmp_path / "tree"))
    for suffix, mode in (("tar", "w"), ("tar.gz", "w:gz")):
        with tarfile.open(tmp_path / f"a.{suffix}", mode) as tar:
            tar.add(tmp_path / "tree", ".")
    for name in ("a.zip", "a.tar", "a.tar.gz"):
        images = load_images(str(tmp_path / name), 6)
        assert torch.equal(images.train[:], expected.train[:]) and images.classes == expected.classes, name


def test_arrays_keep_their_size(tmp_path: Path) -> None:
    array = np.stack(colours(10))
    np.save(tmp_path / "last.npy", array)
    np.save(tmp_path / "first.npy", array.transpose(0, 3, 1, 2))
    np.savez(tmp_path / "some.npz", images=array, labels=np.arange(10))
    np.save(tmp_path / "floats.npy", (array / 255).astype(np.float64))
    for name in ("last.npy", "first.npy", "some.npz", "floats.npy"):
        images = load_images(str(tmp_path / name), 64)
        assert images.shape == (3, 12, 10) and not images.augment
        torch.testing.assert_close(images.train[2], torch.from_numpy(array[2].transpose(2, 0, 1) / 255).float())
    grey = torch.from_numpy(RAMP / 65535)
    np.save(tmp_path / "grey.npy", RAMP[None].repeat(6, 0).astype(np.uint16))
    torch.testing.assert_close(load_images(str(tmp_path / "grey.npy"), 64).train[0][0].double(), grey)


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_files_are_read_as_they_are_distributed(zipped: bool, tmp_path: Path) -> None:
    sets = {
        "train": np.random.default_rng(0).integers(0, 256, (12, 5, 4), np.uint8),
        "t10k": np.zeros((3, 5, 4), np.uint8),
    }
    for name, array in sets.items():
        content = gzip.compress(idx(array)) if zipped else idx(array)
        (tmp_path / f"{name}-images-idx3-ubyte{'.gz' if zipped else ''}").write_bytes(content)
    images = load_images(str(tmp_path), 64)
    assert images.shape == (1, 5, 4) and (len(images.train), len(images.held_out)) == (12, 3)
    torch.testing.assert_close(images.train[:][:, 0], torch.from_numpy(sets["train"] / 255).float())
    one = load_images(str(next(tmp_path.glob("train*"))), 64)
    assert len(one.train) + len(one.held_out) == 12


def test_data_sets_of_packages_are_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def digits(root: str, train: bool, download: bool) -> list[tuple[Image.Image, int]]:
        assert download
        return [(Image.new("L", (4, 4), 10 * n + train), n) for n in range(7)]

    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "torchvision.datasets", SimpleNamespace(Digits=digits))
    images = load_images("torchvision:Digits", 64)
    assert len(images.train) == len(images.held_out) == 7
    assert round(images.train[1][0, 0, 0].item() * 255) == 11
    with pytest.raises(CommandError, match="expected a dataset of torchvision, got 'Digit'"):
        load_images("torchvision:Digit", 64)

    broken = SimpleNamespace(Digits=lambda *_, **__: 1 / 0)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", broken)
    with pytest.raises(CommandError, match="^--data: cannot load 'torchvision:Digits': division by zero"):
        load_images("torchvision:Digits", 64)

    class Part(list[dict[str, Any]]):
        column_names = ("img", "label")

    parts = {
        name: Part({"img": Image.new("RGB", (4, 4), (n, 0, 0)), "label": n} for n in range(6))
        for name in ("train", "test")
    }
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=lambda name: parts))
    assert load_images("huggingface:made", 64).shape == (3, 4, 4)


def test_a_file_that_cannot_be_read_stops_the_run_or_is_left_out_and_named(tmp_path: Path) -> None:
    command.save_colour_images(tmp_path / "images", 12)
    whole = (tmp_path / "images" / "3.png").read_bytes()
    (tmp_path / "images" / "3.png").write_bytes(b"no image")
    (tmp_path / "images" / "5.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CommandError, match="cannot read the image '3.png': not an image; --bad-images skip"):
        load_images(str(tmp_path / "images"), 8)
    images = load_images(str(tmp_path / "images"), 8, bad="skip")
    assert len(images.train) + len(images.held_out) == 10
    assert "'3.png': not an image" in images.notes[0] and "5.png" in images.notes[0]


def test_another_folder_is_another_file_whatever_its_times(tmp_path: Path) -> None:
    for name, level in (("black", 0), ("white", 255)):
        (tmp_path / name).mkdir()
        for index in range(5):
            path = tmp_path / name / f"{index}.bmp"
            Image.new("L", (4, 4), level).save(path)
            os.utime(path, (0, 0))
    means = [load_images(str(tmp_path / name), 4, cache=tmp_path / "c").train[:].mean() for name in ("black", "white")]
    assert means == [0.0, 1.0]


def test_a_folder_at_the_top_of_a_tar_is_no_class(tmp_path: Path) -> None:
    command.save_colour_images(tmp_path / "images", 6)
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tmp_path / "images", ".")
    assert load_images(str(tmp_path / "a.tar"), 4).classes == ()


def test_links_are_followed(tmp_path: Path) -> None:
    command.save_colour_images(tmp_path / "elsewhere", 6)
    folder = tmp_path / "images"
    (folder / "cats").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(folder / "cats" / "0.png")
    (folder / "dogs").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (folder / "again").symlink_to(folder, target_is_directory=True)  # for ever
    images = load_images(str(folder), 4)
    assert len(images.train) + len(images.held_out) == 7 and images.classes == ("cats", "dogs")


def test_the_same_file_twice_in_a_tar_is_two_images(tmp_path: Path) -> None:
    command.save_colour_images(tmp_path / "images", 6)
    os.link(tmp_path / "images" / "0.png", tmp_path / "images" / "twin.png")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tmp_path / "images", ".")
        assert any(member.islnk() for member in tar.getmembers())
    images = load_images(str(tmp_path / "a.tar"), 4)
    assert len(images.train) + len(images.held_out) == 7


def test_what_is_broken_in_an_archive_is_left_out(tmp_path: Path) -> None:
    command.save_colour_images(tmp_path / "images", 8)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for path in sorted((tmp_path / "images").iterdir()):
            file.write(path, path.name)
        file.writestr("cats.png/", "")
        place = file.getinfo("3.png").header_offset + 60
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[place] ^= 255
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(CommandError, match="cannot read the image '3.png': Bad CRC-32"):
        load_images(str(tmp_path / "a.zip"), 4)
    images = load_images(str(tmp_path / "a.zip"), 4, bad="skip")
    assert len(images.train) + len(images.held_out) == 7


def test_names_may_be_any_bytes(tmp_path: Path) -> None:
    for index in range(6):
        Image.new("L", (4, 4)).save(os.fsencode(tmp_path) + b"/\xff" + str(index).encode() + b".png", "PNG")
    (tmp_path / "broken\nname.png").write_bytes(b"no image")
    images = load_images(str(tmp_path), 4, bad="skip")
    assert len(images.train) + len(images.held_out) == 6
    assert "'broken\\nname.png': not an image" in images.notes[0]


def test_images_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(tmp_path / "tree")
    first = load_images(str(tmp_path / "tree"), 6, cache=tmp_path / "cache")
    assert sorted(path.suffix for path in (tmp_path / "cache").iterdir()) == [".json", ".pixels"]
    monkeypatch.setattr(cache, "decode", None)
    again = load_images(str(tmp_path / "tree"), 6, cache=tmp_path / "cache")
    assert torch.equal(first.train[:], again.train[:]) and first.fingerprint == again.fingerprint
    with pytest.raises(TypeError):  # another size is another file
        load_images(str(tmp_path / "tree"), 7, cache=tmp_path / "cache")


def test_a_file_that_has_changed_or_is_not_whole_is_made_again(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree")
    first = load_images(str(tmp_path / "tree"), 6)
    (pixels,) = (tmp_path / "tree" / ".genkern-cache").glob("*.pixels")
    pixels.write_bytes(pixels.read_bytes()[:-1])
    assert torch.equal(load_images(str(tmp_path / "tree"), 6).train[:], first.train[:])
    pixels.with_suffix(".json").write_text("{")
    assert torch.equal(load_images(str(tmp_path / "tree"), 6).train[:], first.train[:])
    Image.fromarray(colours(1)[0][:, ::-1]).save(tmp_path / "tree" / "cats" / "1.png")
    changed = load_images(str(tmp_path / "tree"), 6)
    assert not torch.equal(changed.train[:], first.train[:]) and changed.fingerprint != first.fingerprint


def test_workers_decode_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(tmp_path / "tree", 30)
    expected = load_images(str(tmp_path / "tree"), 6, cache=tmp_path / "alone")
    monkeypatch.setattr(cache, "_FEW", 1)
    found = load_images(str(tmp_path / "tree"), 6, cache=tmp_path / "several")
    assert found.fingerprint == expected.fingerprint


def test_two_runs_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree")
    found: list[str] = []
    runs = [
        threading.Thread(target=lambda: found.append(load_images(str(tmp_path / "tree"), 6).fingerprint))
        for _ in range(2)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert len(found) == 2 and len(set(found)) == 1
    assert not list((tmp_path / "tree" / ".genkern-cache").glob("*.part"))


def test_a_file_is_read_image_by_image(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (300, 3, 8, 8), np.uint8)
    path = tmp_path / "a.pixels"
    path.write_bytes(images.tobytes())
    pixels = Pixels.in_file(path, (3, 8, 8), "uint8", 300)
    torch.testing.assert_close(pixels[torch.tensor([299, 0, 7])], torch.from_numpy(images[[299, 0, 7]] / 255).float())
    torch.testing.assert_close(pixels.some(np.array([5, 2]))[1], torch.from_numpy(images[2] / 255).float())
    torch.testing.assert_close(pixels.mean(), torch.from_numpy(images.mean(0) / 255).float())
    assert len(pixels.sample(10)) == 10 and pixels.sample(1000) is pixels
    assert sum(len(part) for _, part in pixels.parts(7)) == 300


BAD = {
    "no such": lambda folder: folder / "nowhere",
    "a text": lambda folder: folder / "notes.txt",
    "a broken archive": lambda folder: folder / "broken.zip",
    "an empty folder": lambda folder: folder / "empty",
    "a list of vectors": lambda folder: folder / "vectors.npy",
    "objects": lambda folder: folder / "objects.npy",
    "numbers beyond 1": lambda folder: folder / "large.npy",
    "several arrays": lambda folder: folder / "several.npz",
    "a short IDX file": lambda folder: folder / "short-idx3-ubyte",
    "a broken gz": lambda folder: folder / "flipped-idx3-ubyte.gz",
    "nothing": lambda folder: "",
    "a broken IDX file": lambda folder: folder / "train-images-idx3-ubyte",
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_what_is_no_data_is_refused_in_a_line(bad: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "broken.zip").write_bytes(b"PK nothing")
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "vectors.npy", np.zeros((9, 5)))
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    np.save(tmp_path / "large.npy", np.full((9, 5, 5), 2.0))
    np.savez(tmp_path / "several.npz", a=np.zeros((9, 5, 5)), b=np.zeros((9, 5, 5)))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(bytes([0, 0, 13, 3]) + bytes(12))
    (tmp_path / "short-idx3-ubyte").write_bytes(idx(np.zeros((6, 4, 4), np.uint8))[:-1])
    packed = bytearray(gzip.compress(idx(np.zeros((6, 4, 4), np.uint8))))
    packed[12] ^= 255
    (tmp_path / "flipped-idx3-ubyte.gz").write_bytes(packed)
    with pytest.raises(CommandError, match="^--data: ") as error:
        load_images(str(bad(tmp_path)), 8)
    assert "\n" not in str(error.value)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(CommandError, match="^--cache: cannot write into"):
        load_images(str(tmp_path / "tree"), 6, cache=tmp_path / "file")


def test_brackets_in_paths_are_printed(genkern: Any, tmp_path: Path) -> None:
    write_tree(tmp_path / "tree [v2]")
    out = tmp_path / "out [/b]"
    code, printed, _ = genkern(
        "train", "vae", "--data", tmp_path / "tree [v2]", "--out", out, "--steps", "1", "--size", "8", "--model", "mlp"
    )
    assert code == 0 and "tree [v2]: 8 images" in printed and "out [/b]" in printed
    assert "2 classes" in printed and json.loads((out / "metrics.json").read_text())["steps"] == 1


def test_a_run_goes_on_where_its_images_have_moved(genkern: Any, tmp_path: Path) -> None:
    write_tree(tmp_path / "tree")
    run = ("train", "vae", "--out", tmp_path / "out", "--size", "8", "--model", "mlp", "--interval", "1")
    assert genkern(*run, "--data", tmp_path / "tree", "--steps", "1")[0] == 0
    (tmp_path / "tree").rename(tmp_path / "moved")
    code, printed, _ = genkern(*run, "--data", tmp_path / "moved", "--steps", "2")
    assert code == 0 and "resumed" in printed and "at step 1" in printed


@pytest.mark.parametrize("model", ["vae", "gan"])
@pytest.mark.parametrize("kind", ["constant", "nearly equal", "two"])
def test_what_comes_after_training_stands_images_that_are_all_alike(
    model: str, kind: str, genkern: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genkern.cli.vae.timing._BUDGET_S", 0.0)
    array = np.full((10, 8, 8), 128, np.uint8)
    if kind != "constant":
        array[0 if kind == "two" else slice(0, 3), 0, 0] = 129
    np.save(tmp_path / "alike.npy", array)
    demo = ("--model", "gan") if model == "gan" else ("--model", "mlp")
    code, _, error = genkern("demo", "--data", tmp_path / "alike.npy", "--out", tmp_path / "out", "--steps", "2", *demo)
    assert code == 0, error
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert "failed" not in metrics and metrics["quality"]["samples"]["mmd"] is not None


def test_a_failure_behind_the_training_loses_nothing_else(
    genkern: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no figures today")

    monkeypatch.setattr("genkern.cli.vae.command.evaluate", fails)
    monkeypatch.setattr("genkern.cli.vae.timing._BUDGET_S", 0.0)
    code, _, error = genkern("demo", "--data", "digits", "--out", tmp_path / "out", "--steps", "2")
    assert code == 2 and "figures: RuntimeError: no figures today" in error
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["failed"] == {"figures": "RuntimeError: no figures today"} and metrics["steps"] == 2
    assert (tmp_path / "out" / "samples.png").exists()


def test_principal_components_of_many_images_take_no_full_decomposition(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.randn(520, 510, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows[:, :4] *= 20
    found, again = principal_components(rows, 4), principal_components(rows, 4)
    assert found.svd_solver == "randomized" and (found.components_ == again.components_).all()
    exact = torch.linalg.svdvals(rows - rows.mean(0))[:4].square() / 519
    torch.testing.assert_close(torch.from_numpy(found.explained_variance_), exact, rtol=1e-6, atol=0.0)


def test_notes_are_told(genkern: Any, tmp_path: Path) -> None:
    write_tree(tmp_path / "tree")
    (tmp_path / "tree" / "broken.png").write_bytes(b"no image")
    run = ("train", "vae", "--data", tmp_path / "tree", "--out", tmp_path / "out", "--steps", "1", "--size", "8")
    code, _, error = genkern(*run)
    assert code == 2 and "broken.png" in error and not (tmp_path / "out").exists()
    code, printed, _ = genkern(*run, "--bad-images", "skip", "--model", "mlp")
    assert code == 0 and "left out, as they cannot be read: 'broken.png': not an image" in printed
    code, _, error = genkern(*run, "--bad-images", "never")
    assert code == 2 and "--bad-images: expected one of stop, skip" in error
