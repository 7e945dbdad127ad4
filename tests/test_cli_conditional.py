"""Classes on the command line, from the data to the pictures; the hierarchical VAE, told classes or not."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from support.command import assert_refused, contents, finish, run_here, start

from genkern.cli.checkpoint import load_checkpoint
from genkern.cli.data import Images, cache, load_images
from genkern.cli.engine import Engine, started
from genkern.cli.errors import CommandError
from genkern.cli.gan.settings import GANSettings
from genkern.cli.gan.trainer import GANTrainer
from genkern.cli.sampling import pictures_of, rows_of_classes
from genkern.cli.trained import load
from genkern.cli.vae.evaluation import evaluate
from genkern.cli.vae.settings import VAESettings
from genkern.cli.vae.trainer import VAETrainer

pytestmark = pytest.mark.late

SIDE, STEP = 6, 80
LADDER = ("vae", "--model", "hierarchical", "--levels", "1,1", "--width", "4", "--latent-dim", "2")
MODELS = {
    "vae": ("vae", "--model", "mlp", "--latent-dim", "2", "--conditional"),
    "projection": ("gan", "--width", "2", "--latent-dim", "3", "--conditional"),
    "auxiliary": ("gan", "--width", "2", "--latent-dim", "3", "--conditional", "--classifier", "auxiliary"),
    "hierarchy": (*LADDER, "--conditional", "--skip", "1e4"),
}
RUN = ("--batch-size", "4", "--interval", "3", "--threads", "1")


def telling_images(number: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Images of three classes in no order, whose level is their class."""
    labels = np.random.default_rng(0).integers(0, 3, number)
    images = np.broadcast_to((STEP * labels).astype(np.uint8)[:, None, None], (number, SIDE, SIDE))
    return images, labels


def told_by(images: torch.Tensor) -> list[int]:
    return [round(image.mean().item() * 255 / STEP) for image in images]


def saved(folder: Path) -> Path:
    images, labels = telling_images()
    np.savez(folder / "telling.npz", images=images, y=labels)
    return folder / "telling.npz"


@pytest.fixture(autouse=True, scope="module")
def _few_importance_samples() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genkern.cli.vae.evaluation._IMPORTANCE_SAMPLES", 20)
        yield


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return saved(tmp_path)


def loaded(path: Path, **options: Any) -> Images:
    return load_images(str(path), SIDE, labelled=True, **options)


# The classes of the data


def assert_told(images: Images, *classes: str) -> None:
    assert images.classes == classes
    for part in (images.train, images.held_out):
        labels = part.labels()
        assert labels is not None and labels.dtype == torch.int64 and len(labels) == len(part) > 0
        assert labels.tolist() == told_by(part[:])
        some = part.some(np.arange(0, len(part), 2)).sample(3)
        assert some.labels().tolist() == told_by(some[:])  # type: ignore[union-attr]


def write_folders(folder: Path) -> None:
    for index, (image, label) in enumerate(zip(*telling_images(), strict=True)):
        place = folder / "abc"[label] / ("old" if index % 2 else "")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(image)).save(place / f"{index:02}.png")


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.astype(np.uint8).tobytes()


def test_folders_of_the_first_level_are_classes_also_of_a_file_decoded_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folders(tmp_path)
    (tmp_path / "c" / "00broken.png").write_bytes(b"no image")
    first = loaded(tmp_path, bad="skip")
    assert_told(first, "a", "b", "c")
    monkeypatch.setattr(cache, "decode", None)
    again = loaded(tmp_path, bad="skip")
    assert_told(again, "a", "b", "c")
    without = load_images(str(tmp_path), SIDE, bad="skip")
    assert without.train.labels() is None
    assert first.fingerprint == again.fingerprint != without.fingerprint


def test_a_file_decoded_before_there_were_labels_is_made_again(tmp_path: Path) -> None:
    write_folders(tmp_path)
    fingerprint = load_images(str(tmp_path), SIDE).fingerprint
    (path,) = (tmp_path / ".genkern-cache").glob("*.json")
    described = json.loads(path.read_text())
    described.pop("labels")
    path.write_text(json.dumps(described | {"format": 1}))
    assert_told(loaded(tmp_path), "a", "b", "c")
    assert load_images(str(tmp_path), SIDE).fingerprint == fingerprint


def test_another_label_is_another_data_set(tmp_path: Path) -> None:
    images, labels = telling_images()
    found = []
    for name, given in (("one", labels), ("other", labels[::-1])):
        np.savez(tmp_path / f"{name}.npz", images=images, y=given)
        found.append(
            [part(tmp_path / f"{name}.npz").fingerprint for part in (loaded, lambda p: load_images(str(p), 8))]
        )
    assert found[0][0] != found[1][0] and found[0][1] == found[1][1]


@pytest.mark.parametrize("name", ["y", "labels", "targets"])
@pytest.mark.parametrize("kind", [np.int64, np.uint8, str])
def test_labels_of_arrays(tmp_path: Path, name: str, kind: Any) -> None:
    images, labels = telling_images()
    np.savez(tmp_path / "a.npz", images=images, **{name: (labels + 4).astype(kind)})
    assert_told(loaded(tmp_path / "a.npz"), "4", "5", "6")


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_labels_of_idx_files_lie_beside_them(tmp_path: Path, packed: str) -> None:
    images, labels = telling_images()
    pack = gzip.compress if packed else bytes
    for prefix, part in (("train", slice(20)), ("t10k", slice(20, 30))):
        (tmp_path / f"{prefix}-images-idx3-ubyte{packed}").write_bytes(pack(idx(images[part])))
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels[part]))
    assert_told(loaded(tmp_path), "0", "1", "2")
    assert_told(loaded(tmp_path / f"train-images-idx3-ubyte{packed}"), "0", "1", "2")
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(b"broken")
    assert len(load_images(str(tmp_path), SIDE).held_out) == 10  # nothing is asked of it
    with pytest.raises(CommandError, match=r"^--data: expected .* \(not an IDX file of bytes\)"):
        loaded(tmp_path)


def test_digits_and_data_sets_of_packages_have_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = load_images("digits", 8, labelled=True)
    assert digits.classes == tuple("0123456789")
    assert torch.equal(digits.train[:], load_images("digits", 8).train[:])

    images, labels = telling_images()
    items = [
        (Image.fromarray(np.ascontiguousarray(image)), int(label)) for image, label in zip(images, labels, strict=True)
    ]

    class Part(list[Any]):
        classes = ("cat", "dog", "owl")
        column_names = ("img", "fine_label")
        features: Any = {"fine_label": SimpleNamespace(names=["cat", "dog", "owl"])}  # noqa: RUF012

    torchvision = SimpleNamespace(Pets=lambda root, train, download: Part(items[:20] if train else items[20:]))
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "torchvision.datasets", torchvision)
    assert_told(load_images("torchvision:Pets", 8, labelled=True), "cat", "dog", "owl")

    rows = [{"img": image, "fine_label": label} for image, label in items]
    parts = {"train": Part(rows[:20]), "test": Part(rows[20:])}
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=lambda name: parts))
    assert_told(load_images("huggingface:pets", 8, labelled=True), "cat", "dog", "owl")


def test_data_without_classes_are_refused_in_a_line(genkern: Any, tmp_path: Path) -> None:
    images, labels = telling_images()
    np.save(tmp_path / "none.npy", images)
    np.savez(tmp_path / "short.npz", images=images, y=labels[:-1])
    np.savez(tmp_path / "numbers.npz", images=images, y=labels / 2)
    np.savez(tmp_path / "one.npz", images=images, y=labels * 0)
    write_folders(tmp_path / "loose")
    (tmp_path / "flat").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "loose" / "in no folder.png")
    for index in range(6):
        Image.new("L", (4, 4)).save(tmp_path / "flat" / f"{index}.png")
    for given in ("none.npy", "short.npz", "numbers.npz", "one.npz", "loose", "flat"):
        with pytest.raises(
            CommandError, match="^--conditional: expected images of two or more classes.*, got "
        ) as error:
            loaded(tmp_path / given)
        assert "\n" not in str(error.value) and given in str(error.value)
    result = genkern("train", "gan", "--data", "faces", "--conditional", "--out", tmp_path / "out")
    assert_refused(result, "--conditional: expected", "'faces'")


# Labels go with the images


def trainer_of(model: str, data: Path, **changes: Any) -> VAETrainer | GANTrainer:
    shared = {"batch_size": 4, "interval": 3, "conditional": True} | changes
    if model == "gan":
        return GANTrainer(GANSettings(latent_dim=3, width=2, **shared), loaded(data))
    kind = {"levels": "1,1", "width": 4} if model == "hierarchical" else {}
    settings = VAESettings(model=model, latent_dim=2, **kind, **shared)  # type: ignore[arg-type]
    return VAETrainer(settings, loaded(data))


@pytest.mark.parametrize(
    ("model", "changes"), [("mlp", {}), ("mlp", {"accumulate": 3}), ("hierarchical", {"accumulate": 2}), ("gan", {})]
)
def test_a_model_is_told_the_class_of_each_image_in_every_order(
    data: Path, monkeypatch: pytest.MonkeyPatch, model: str, changes: dict[str, Any]
) -> None:
    trainer = trainer_of(model, data, **changes)
    told = []
    of = trainer.steps.gan.module if isinstance(trainer, GANTrainer) else trainer.vae
    name = "discriminator_step" if model == "gan" else "elbo"
    step = getattr(of, name)

    def recorded(x: torch.Tensor, condition: torch.Tensor, **options: Any) -> Any:
        told.append((told_by(x), condition.tolist()))
        return step(x, condition=condition, **options)

    monkeypatch.setattr(of, name, recorded)
    for _ in range(13):  # more than two epochs of 24
        trainer.advance()
    assert all(shown == classes for shown, classes in told)
    assert sum(len(shown) for shown, _ in told) == 13 * 4
    shown = [image for images, _ in told for image in images]
    assert shown[:24] != shown[24:48] and sorted(shown[:24]) == sorted(shown[24:48])


@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_a_conditional_run_resumes_to_the_same_bits(genkern: Any, data: Path, tmp_path: Path, options: Any) -> None:
    for out, lengths in {"whole": (7,), "parts": (2, 7)}.items():
        for steps in lengths:
            run = ("train", *options, "--data", data, "--out", tmp_path / out, *RUN, "--steps", steps)
            code, text, err = genkern(*run)
            assert code == 0, err
            assert "3 classes, which the model is told" in text
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    _, metadata = load_checkpoint(tmp_path / "whole" / "checkpoint.safetensors")
    assert metadata["images"]["classes"] == ["0", "1", "2"]
    unconditional = [option for option in options if option not in ("--conditional", "--classifier", "auxiliary")]
    run = ("train", *unconditional, "--data", data, "--out", tmp_path / "whole", *RUN, "--steps", 8)
    assert_refused(genkern(*run), "conditional=True", "--out")


@pytest.mark.parametrize("model", ["projection", "hierarchy"])
def test_two_processes_have_the_numbers_of_one(genkern: Any, data: Path, tmp_path: Path, model: str) -> None:
    def arguments(out: str) -> tuple[Any, ...]:
        more = ("--no-minibatch-stddev",) if model == "projection" else ()
        return ("train", *MODELS[model], "--data", data, "--out", tmp_path / out, *RUN, *more, "--steps", 4)

    assert genkern(*arguments("one"))[0] == 0
    finish(start(*arguments("two"), "--processes", 2))
    one, two = (load_file(tmp_path / out / "checkpoint.safetensors") for out in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-4, msg=name)


# What is drawn and measured


def test_a_picture_has_a_row_a_class(data: Path) -> None:
    assert rows_of_classes(3, 4).tolist() == [0] * 4 + [1] * 4 + [2] * 4  # type: ignore[union-attr]
    assert rows_of_classes(3, 2, 5).tolist() == [0, 0, 1, 1, 2, 2, 0, 0, 1, 1]  # type: ignore[union-attr]
    assert rows_of_classes(None, 4) is None and len(rows_of_classes(1000, 4)) == 128  # type: ignore[arg-type]
    trainer = trainer_of("mlp", data)
    grid = trainer.sample_grid(6, 10)
    assert grid.shape == (30, 1, SIDE, SIDE)
    labels = torch.arange(3).repeat_interleave(10)
    assert torch.equal(grid, trainer.model.sample(30, condition=labels, key=trainer.key("samples")))
    by_default = trainer.samples(50)
    order = trainer.images.train.labels(torch.arange(50) % 24)
    assert torch.equal(by_default, trainer.model.sample(50, condition=order, key=trainer.key("samples")))


def test_a_conditional_vae_learns_what_its_classes_look_like(data: Path) -> None:
    trainer = trainer_of("mlp", data, learning_rate=0.01, batch_size=12, rate_warmup=0)
    for _ in range(120):
        trainer.advance()
    means = trainer.sample_grid(6, 4).flatten(1).mean(dim=1).view(3, 4).mean(dim=1)
    torch.testing.assert_close(means, torch.arange(3.0) * STEP / 255, rtol=0.0, atol=0.1)


@pytest.fixture(scope="module", params=MODELS.values(), ids=MODELS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run whose images are gone."""
    folder = tmp_path_factory.mktemp("conditional")
    path = saved(folder)
    kind, *options = request.param
    given = ("--data", path, "--out", folder / "run", *RUN, "--steps", "3")
    assert run_here("train", kind, *options, *given) == 0
    path.unlink()
    return folder / "run"


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_checkpoint_draws_its_classes_without_data(run: Path, genkern: Any, tmp_path: Path) -> None:
    trained = load(run)
    assert trained.classes == ("0", "1", "2")
    assert pixels(next((run / "progress").iterdir())).shape == (3 * SIDE, 8 * SIDE)
    code, text, err = genkern("sample", run, "-n", "4", "--out", tmp_path / "all.png")
    assert code == 0 and "wrote 12 samples" in text, err
    assert pixels(tmp_path / "all.png").shape == (3 * SIDE, 4 * SIDE)
    assert genkern("sample", run, "-n", "4", "--class", "2", "--out", tmp_path / "one.png")[0] == 0
    assert pixels(tmp_path / "one.png").shape == (2 * SIDE, 2 * SIDE)
    assert genkern("sample", run, "--class", "2", "-n", "3", "--out", tmp_path / "each")[0] == 0
    assert len(list((tmp_path / "each").iterdir())) == 3
    code, _, err = genkern("interpolate", run, "--paths", "4", "--steps", "3", "--out", tmp_path / "paths.png")
    assert code == 0 and pixels(tmp_path / "paths.png").shape == (4 * SIDE, 3 * SIDE), err
    assert_refused(genkern("sample", run, "--class", "owl"), "--class: expected one of 0, 1, 2", "got 'owl'")
    assert_refused(genkern("interpolate", run, "--class", "3"), "--class: expected one of", "got '3'")
    assert_refused(genkern("evaluate", run), "No such file")


def test_a_class_is_named_or_numbered(tmp_path: Path, genkern: Any) -> None:
    write_folders(tmp_path / "folders")
    out, options = tmp_path / "out", (*MODELS["vae"], *RUN, "--size", SIDE, "--steps", "1")
    assert genkern("train", *options, "--data", tmp_path / "folders", "--out", out)[0] == 0
    for asked, name in (("c", "named.png"), ("2", "numbered.png"), ("1", "other.png")):
        assert genkern("sample", out, "--class", asked, "-n", "4", "--out", tmp_path / name)[0] == 0
    named, numbered, other = ((tmp_path / f"{name}.png").read_bytes() for name in ("named", "numbered", "other"))
    assert named == numbered != other
    plain = [option for option in options if option != "--conditional"]
    assert genkern("train", *plain, "--data", tmp_path / "folders", "--out", tmp_path / "plain")[0] == 0
    assert_refused(genkern("sample", tmp_path / "plain", "--class", "a"), "--class", "--conditional")


PROGRAM = """
import sys
sys.modules["genkern"] = None
import torch
for name in sys.argv[2:]:
    program = torch.export.load(f"{sys.argv[1]}/{name}.pt2").module()
    torch.save(program(*torch.load(f"{sys.argv[1]}/{name}.input")), f"{sys.argv[1]}/{name}.output")
"""


@pytest.mark.parametrize("run", [MODELS[name] for name in ("vae", "auxiliary", "hierarchy")], indirect=True)
def test_exported_programs_take_labels(run: Path, genkern: Any, tmp_path: Path) -> None:
    code, _, err = genkern("export", run, "--out", tmp_path)
    assert code == 0, err
    trained = load(run)
    generator = torch.Generator().manual_seed(0)
    labels, z = torch.tensor([2, 0, 1, 1, 2]), torch.randn(5, *trained.model.latent_shape, generator=generator)
    expected = {"generator" if hasattr(trained.model, "generator") else "decoder": (z, trained.pictures_of(z, labels))}
    if hasattr(trained.model, "encode"):
        x = torch.rand(5, *trained.image_shape, generator=generator)
        expected["encoder"] = (x, trained.model.encode(x, condition=labels))
    for name, (given, _) in expected.items():
        torch.save((given, labels), tmp_path / f"{name}.input")
    subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM, str(tmp_path), *expected], check=True)
    for name, (_, right) in expected.items():
        torch.testing.assert_close(torch.load(tmp_path / f"{name}.output"), right)


@pytest.mark.parametrize("model", ["mlp", "hierarchical"])
def test_bounds_of_classes_sum_to_those_of_all(data: Path, model: str) -> None:
    trainer = trainer_of(model, data)
    for _ in range(6):
        trainer.advance()
    figures = evaluate(trainer)  # type: ignore[arg-type]
    classes = figures["classes"]
    assert list(classes) == ["0", "1", "2"]
    assert figures["images"] == sum(of["images"] for of in classes.values()) == 6
    for name in ("elbo_nats", "reconstruction_nats", "kl_nats"):
        whole = sum(of["images"] * of[name] for of in classes.values() if of["images"])
        assert whole / 6 == pytest.approx(figures[name], rel=1e-9), name
    whole = sum(of["log_likelihood_images"] * of["log_likelihood_nats"] for of in classes.values() if of["images"])
    assert whole / 6 == pytest.approx(figures["log_likelihood_nats"], rel=1e-9)
    assert ("kl_levels_nats" in figures) == (model == "hierarchical")
    assert sum(figures.get("kl_levels_nats", [figures["kl_nats"]])) == pytest.approx(figures["kl_nats"], rel=1e-6)


@pytest.mark.parametrize("model", ["vae", "projection", "hierarchy"])
def test_evaluation_reports_classes(genkern: Any, data: Path, tmp_path: Path, model: str) -> None:
    out, file = tmp_path / "out", tmp_path / "f.json"
    assert genkern("train", *MODELS[model], "--data", data, "--out", out, *RUN, "--steps", "3")[0] == 0
    code, text, err = genkern("evaluate", out, "--samples", "70", "--json", file)
    assert code == 0, err
    figures = json.loads(file.read_text())
    if model == "projection":
        assert figures["quality"]["samples"]["mmd"] is not None
        return
    assert figures["held_out"]["classes"].keys() == {"0", "1", "2"} and "log p(x)" in text and "class" in text
    assert ("latent" in figures) == (model == "vae") and ("KL of level 2" in text) == (model == "hierarchy")


@pytest.mark.parametrize(
    "options", [(), ("--model", "gan"), ("--model", "hierarchical")], ids=["vae", "gan", "hierarchy"]
)
def test_the_demo_is_told_classes_too(genkern: Any, data: Path, tmp_path: Path, options: Any) -> None:
    out = tmp_path / "out"
    code, _, err = genkern(
        "demo", "--data", data, "--out", out, "--conditional", "--steps", "1", "--latent-dim", "2", *options
    )
    assert code == 0, err
    assert (out / "samples.png").exists() and "failed" not in json.loads((out / "metrics.json").read_text())


# The hierarchy


def hierarchy(data: Path, precision: str = "32", **changes: Any) -> VAETrainer:
    settings = {"model": "hierarchical", "likelihood": "discretized_logistic", "latent_dim": 2, "width": 8}
    settings |= {"batch_size": 4, "interval": 5, "precision": precision, "levels": "1,2"} | changes
    return VAETrainer(VAESettings(**settings), load_images(str(data), SIDE), started(precision=precision))


def test_a_hierarchy_trains_and_its_levels_are_logged(genkern: Any, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = (
        "train",
        "vae",
        "--model",
        "hierarchical",
        "--data",
        data,
        "--width",
        "4",
        "--out",
        out,
        *RUN,
        "--log",
        "csv",
    )
    code, _, err = genkern(*run, "--steps", "3")
    assert code == 0, err
    (record,) = json.loads((out / "metrics.json").read_text())["history"]
    assert record["kl"] == pytest.approx(sum(record[f"kl_{level}"] for level in range(1, 5)))
    assert (out / "log.csv").read_text().startswith("step,elbo,reconstruction,kl,kl_1,kl_2,kl_3,kl_4,held_out_elbo")
    _, metadata = load_checkpoint(out / "checkpoint.safetensors")
    assert metadata["settings"]["likelihood"] == "discretized_logistic" and metadata["settings"]["latent_dim"] == 16


@pytest.mark.parametrize(
    ("shape", "levels"),
    [
        ((1, 8, 8), (2, 2)),
        ((1, 25, 25), (2, 4, 4, 2)),
        ((1, 28, 28), (2, 4, 4, 2)),
        ((3, 64, 64), (2, 4, 4, 4, 2)),
        ((3, 64, 20), (2, 4, 4, 2)),
        ((1, 3, 3), (2,)),
    ],
)
def test_levels_follow_the_size_of_images(shape: tuple[int, int, int], levels: tuple[int, ...]) -> None:
    assert VAESettings(model="hierarchical").levels_of(shape) == levels
    assert VAESettings(model="hierarchical", levels="1, 0,3").levels_of(shape) == (1, 0, 3)


def test_a_hierarchy_learns_and_in_bfloat16_too(data: Path) -> None:
    ends = []
    for precision in ("32", "bf16"):
        trainer = hierarchy(data, precision)
        for _ in range(60):
            trainer.advance()
        first, last = (trainer.records()[at]["held_out_elbo"] for at in (0, -1))
        assert last > first + 10
        assert all(t.dtype != torch.bfloat16 for t in trainer.state()[0].values())
        ends.append(last)
    assert ends[0] != ends[1] and ends[0] == pytest.approx(ends[1], rel=0.1)


@pytest.mark.parametrize("changes", [{"beta": 5.0}, {"free_bits": 2.0}, {"warmup": 50}])
def test_the_weight_of_a_hierarchys_divergences_counts(data: Path, changes: dict[str, Any]) -> None:
    trained = []
    for trainer in (hierarchy(data), hierarchy(data, **changes)):
        for _ in range(3):
            trainer.advance()
        trained.append(torch.nn.utils.parameters_to_vector(trainer.vae.parameters()))
    assert not torch.equal(*trained)


@pytest.mark.parametrize("model", ["hierarchical", "mlp"])
def test_an_update_of_a_larger_gradient_is_left_out(data: Path, model: str) -> None:
    def moved(skip: float | None) -> bool:
        settings = VAESettings(model=model, latent_dim=2, batch_size=4, skip=skip)
        trainer = VAETrainer(settings, load_images(str(data), SIDE))
        before = torch.nn.utils.parameters_to_vector(trainer.vae.parameters()).clone()
        trainer.advance()
        return not torch.equal(before, torch.nn.utils.parameters_to_vector(trainer.vae.parameters()))

    assert moved(None) and moved(1e9) and not moved(1e-9)


def test_a_path_through_a_hierarchy_ends_at_its_samples(data: Path) -> None:
    """The picture of noise is the sample that is made of this noise."""
    trainer = hierarchy(data)
    model: Any = trainer.model
    with torch.no_grad():
        still = pictures_of(model, torch.zeros(2, *model.latent_shape))
        torch.testing.assert_close(still, model.sample(2, temperature=0.0))
        assert not torch.equal(still, pictures_of(model, torch.ones(2, *model.latent_shape)))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--model", "hierarchical", "--objective", "iwae"), "--objective: expected elbo with --model hierarchical"),
        (("--model", "hierarchical", "--levels", "2,x"), "--levels: expected numbers, such as 2,4,4,2, got '2,x'"),
        (("--model", "hierarchical", "--levels", "0,0"), "--levels: expected one or more levels"),
        (("--model", "hierarchical", "--levels", "1,1,1,1,1,1,1"), "--levels: expected at most 4 resolutions"),
        (("--model", "hierarchical", "--free-bits", "-1"), "--free-bits: expected at least 0, got -1.0"),
        (("--model", "hierarchical", "--width", "0"), "--width: expected at least 1, got 0"),
        (("--model", "mlp", "--levels", "2,2"), "--levels: expected --model hierarchical beside it, got 'mlp'"),
        (("--model", "conv", "--free-bits", "1"), "--free-bits: expected --model hierarchical beside it, got 'conv'"),
        (("--skip", "0"), "--skip: expected a positive number, got 0.0"),
        (("--conditional", "--objective", "vampprior"), "--conditional: expected another --objective"),
        (
            ("--model", "hierarchical", "--free-bits", "1", "--accumulate", "2"),
            "--accumulate: expected 1 with --free-bits, which takes a batch as a whole",
        ),
    ],
)
def test_what_has_no_meaning_is_refused(genkern: Any, data: Path, tmp_path: Path, options: Any, told: str) -> None:
    assert_refused(genkern("train", "vae", "--data", data, "--out", tmp_path / "out", *RUN, *options), told)
    assert not (tmp_path / "out" / "checkpoint.safetensors").exists()


def test_free_bits_are_of_a_batch_as_a_whole(data: Path) -> None:
    two = Engine(SimpleNamespace(global_rank=1, world_size=2, device=torch.device("cpu")))
    with pytest.raises(CommandError, match="^--free-bits: expected one process"):
        VAETrainer(VAESettings(model="hierarchical", free_bits=1.0), load_images(str(data), SIDE), two)


def test_a_classifier_is_a_conditional_gans(genkern: Any, data: Path, tmp_path: Path) -> None:
    run = ("train", "gan", "--data", data, "--out", tmp_path / "out", *RUN, "--classifier")
    assert_refused(genkern(*run, "auxiliary"), "--classifier: expected --conditional beside it, got 'auxiliary'")
    assert_refused(genkern(*run, "softmax", "--conditional"), "--classifier: expected one of projection, auxiliary")
