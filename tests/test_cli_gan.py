"""GANs on the command line: training that resumes, on one process or two; the quality of samples; pictures."""

import json
import math
import os
import signal
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from support.command import assert_refused, contents, finish, start, tiny_images, wait_for
from torch.nn import functional as torch_functional

import genkern as gk
from genkern.cli import augmentation
from genkern.cli.checkpoint import load_checkpoint
from genkern.cli.engine import Engine
from genkern.cli.errors import CommandError
from genkern.cli.gan.command import RECIPES
from genkern.cli.gan.settings import LOSSES, PENALTIES, GANSettings
from genkern.cli.gan.trainer import GANTrainer
from genkern.cli.quality import Space, coverage, nearest, quality
from genkern.cli.sampling import slerp
from genkern.cli.vae.settings import VAESettings
from genkern.cli.vae.trainer import VAETrainer

pytestmark = pytest.mark.late

FAST = ["--latent-dim", "3", "--size", "6", "--threads", "1"]
SMALL = [*FAST, "--width", "2", "--batch-size", "4", "--interval", "4", "--penalty-interval", "3"]


@pytest.fixture
def train(genkern, folder):
    def run(out, *options):
        return genkern("train", "gan", "--data", folder, "--out", out, *SMALL, *options)

    return run


def tiny_trainer(images=None, **changes):
    settings = GANSettings(latent_dim=3, width=2, batch_size=4, interval=5).changed(**changes)
    return GANTrainer(settings, images or tiny_images())


# Training


def test_demo_writes_pictures_figures_and_a_checkpoint(genkern, folder, tmp_path, monkeypatch):
    small = GANSettings(data="folder", width=2, batch_size=4, interval=5), 5
    monkeypatch.setitem(RECIPES, "folder", small)
    out = tmp_path / "out"
    code, text, err = genkern("demo", "--model", "gan", "--data", folder, "--out", out, *FAST)
    assert code == 0, err
    pictures = {"samples.png", "interpolation.png", "neighbours.png", "history.png"}
    assert set(os.listdir(out)) == {"checkpoint.safetensors", "metrics.json", "progress", *pictures}
    for name in pictures:
        with Image.open(out / name) as picture:
            picture.load()
            assert min(picture.size) > 100
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["steps"] == 5 and metrics["data"]["train"] == 8
    (record,) = metrics["history"]
    assert record.keys() == {"step", *GANTrainer.figures, *GANTrainer.held_out_figures}
    assert all(math.isfinite(value) for value in record.values())
    assert metrics["quality"]["images"] == {"samples": 16, "held_out": 4, "mirrored": True}
    for words in ("held out", "precision", "recall", "nearest training image"):
        assert words in text


def test_another_likelihood_is_none_of_a_gans_options(genkern, tmp_path):
    result = genkern("demo", "--model", "gan", "--likelihood", "laplace", "--out", tmp_path / "out")
    assert_refused(result, "--likelihood", "--model", "'gan'")


@pytest.mark.parametrize("data", ["faces", "digits"])
def test_bundled_images_train(genkern, tmp_path, data):
    code, _, err = genkern("train", "gan", "--data", data, "--out", tmp_path, *SMALL, "--steps", "4")
    assert code == 0, err
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["history"][0]["step"] == 4
    assert metrics["quality"]["images"]["mirrored"] == (data == "faces")


@pytest.mark.parametrize(
    "options",
    [{"loss": loss} for loss in LOSSES] + [{"penalty": penalty} for penalty in PENALTIES] + [{"penalty_weight": 0.5}],
)
def test_every_loss_and_penalty_trains(options):
    trainer = tiny_trainer(**options)
    before = {name: value.clone() for name, value in trainer.gan.state_dict().items()}
    for _ in range(5):
        trainer.advance()
    after = trainer.gan.state_dict()
    assert all(value.isfinite().all() for value in after.values())
    for network in ("generator.", "discriminator.", "average."):
        assert any(not torch.equal(before[name], after[name]) for name in before if name.startswith(network))
    (record,) = trainer.records()
    assert (record["penalty"] > 0) == (trainer.settings.penalty != "none")


@pytest.mark.parametrize(
    ("options", "weight"), [([], 0.1), (["--penalty", "gp"], None), (["--penalty", "gp", "--penalty-weight", "2"], 2.0)]
)
def test_a_recipes_weight_is_for_the_penalties_it_was_found_with(train, tmp_path, options, weight):
    train(tmp_path / "out", "--steps", "1", *options)
    metadata = load_checkpoint(tmp_path / "out" / "checkpoint.safetensors")[1]
    assert metadata["settings"]["penalty_weight"] == weight


@pytest.mark.parametrize("first", [3, 4, 6])
def test_resumed_run_has_the_numbers_of_an_uninterrupted_one(train, tmp_path, first):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    options = ["--n-critic", "2", "--loss", "relativistic"]
    train(whole, "--steps", "9", *options)
    train(parts, "--steps", str(first), *options)
    code, text, err = train(parts, "--steps", "9", *options)
    assert code == 0, err
    assert f"resumed {parts / 'checkpoint.safetensors'} at step {first}" in text.replace("\n", "")
    assert contents(parts) == contents(whole)


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT])
def test_stopped_run_resumes_to_the_same_numbers(train, folder, tmp_path, signum):
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    process = start("train", "gan", "--data", folder, "--out", stopped, *SMALL, "--steps", "10000000")
    wait_for(stopped / "checkpoint.safetensors", process)
    process.send_signal(signum)
    _, err = process.communicate(timeout=60)
    reached = load_checkpoint(stopped / "checkpoint.safetensors")[1]["step"]
    assert ("interrupted" in err) == (signum == signal.SIGINT)
    for out in (stopped, whole):
        code, _, err = train(out, "--steps", str(reached + 3))
        assert code == 0, err
    assert contents(stopped) == contents(whole)


def test_a_run_of_another_kind_or_with_other_settings_is_refused(train, genkern, folder, tmp_path):
    train(tmp_path / "gan", "--steps", "4")
    before = contents(tmp_path / "gan")
    assert_refused(train(tmp_path / "gan", "--steps", "5", "--penalty", "gp"), "penalty", "--resume never")
    vae = ["train", "vae", "--data", folder, "--size", "6", "--model", "mlp", "--steps", "1", "--out"]
    assert_refused(genkern(*vae, tmp_path / "gan"), "expected a run of a vae, a gan is there")
    assert contents(tmp_path / "gan") == before
    genkern(*vae, tmp_path / "vae")
    assert_refused(train(tmp_path / "vae"), "expected a run of a gan, a vae is there")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--loss", "elbo"),
        ("--penalty", "l2"),
        ("--penalty-weight", "-1"),
        ("--penalty-interval", "0"),
        ("--n-critic", "0"),
        ("--latent-dim", "0"),
        ("--width", "0"),
        ("--ema", "1"),
        ("--ema", "nan"),
        ("--learning-rate", "-1"),
    ],
)
def test_bad_options_are_refused_by_name(train, tmp_path, option, value):
    assert_refused(train(tmp_path / "out", option, value), option, "expected")


def test_diverged_training_says_so(train, tmp_path):
    assert_refused(train(tmp_path / "out", "--steps", "50", "--learning-rate", "1e30"), "diverged", "--learning-rate")


def test_evaluation_is_that_of_the_run(train, genkern, tmp_path):
    out, file = tmp_path / "out", tmp_path / "figures.json"
    train(out, "--steps", "4")
    code, text, err = genkern("evaluate", out, "--json", file)
    assert code == 0, err
    figures, metrics = json.loads(file.read_text()), json.loads((out / "metrics.json").read_text())
    assert figures["quality"] == metrics["quality"] and figures["steps"] == 4
    assert "precision" in text


# Several processes


BINARY = ("--likelihood", "bernoulli", "--binarize")


@pytest.mark.parametrize("family", ["gan", pytest.param("vae", marks=pytest.mark.full)])
def test_several_processes_have_the_numbers_of_one_and_resume_them(genkern, folder, tmp_path, family):
    options = {
        # A rank's groups of images are its own, so the statistic over a group is not that of one process.
        "gan": [*SMALL, "--no-minibatch-stddev", "--n-critic", "2"],
        "vae": ["--model", "mlp", "--latent-dim", "2", "--size", "6", "--batch-size", "4", "--interval", "4", *BINARY],
    }[family]

    def arguments(out, steps):
        return ("train", family, "--data", folder, "--out", tmp_path / out, *options, "--steps", steps)

    code, _, err = genkern(*arguments("one", 8))
    assert code == 0, err
    for out, lengths in {"two": (8,), "parts": (3, 8)}.items():
        for steps in lengths:
            finish(start(*arguments(out, steps), processes=2))
    assert contents(tmp_path / "parts") == contents(tmp_path / "two")
    finish(start(*arguments("four", 8), "--processes", 4))  # started by the command itself
    expected = load_file(tmp_path / "one" / "checkpoint.safetensors")
    for out in ("two", "four"):
        found = load_file(tmp_path / out / "checkpoint.safetensors")
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            # float32, gradients summed in another order; Adam divides by their size: rate 1e-3 times 8 steps
            torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4, msg=f"{out} {name}")


def test_shares_of_a_batch_are_equal_and_losses_are_means_over_images():
    two = Engine(SimpleNamespace(global_rank=1, world_size=2, device=torch.device("cpu")))
    with pytest.raises(CommandError, match="^--batch-size: expected a multiple of the 2 processes, got 5"):
        GANTrainer(GANSettings(batch_size=5), tiny_images(), two)
    for options in ({"objective": "info"}, {"objective": "beta-tcvae"}, {"sigma": "optimal"}):
        (name,) = options
        with pytest.raises(CommandError, match=f"^--{name} {options[name]}: expected one process"):
            VAETrainer(VAESettings(model="mlp", latent_dim=2, **options), tiny_images(), two)


# Augmentation


def test_smooth_augmentation_is_torchs_resampling():
    x, key = torch.rand(8, 3, 9, 7), gk.random.key(1)
    smooth = augmentation.smoothly_augmented(x, key, 8, slice(0, 8))
    kept = (augmentation.mirrored(x, key, 8, slice(0, 8)) == x).flatten(1).all(1)
    assert 0 < kept.sum() < 8
    expected = augmentation.augmented(x, key, 8, slice(0, 8))
    torch.testing.assert_close(smooth.clamp(0, 1)[kept], expected[kept])
    halves = [augmentation.smoothly_augmented(x[rows], key, 8, rows) for rows in (slice(0, 4), slice(4, 8))]
    torch.testing.assert_close(torch.cat(halves), smooth)


def test_smooth_augmentation_has_second_derivatives():
    x, key = torch.rand(2, 1, 4, 3, dtype=torch.float64, requires_grad=True), gk.random.key(1)

    def judged(x):
        return torch_functional.softplus(augmentation.smoothly_augmented(x, key, 2, slice(0, 2))).sum()

    assert torch.autograd.gradgradcheck(judged, (x,))


def test_real_and_generated_photographs_are_augmented_each_their_own_way(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "genkern.cli.gan.trainer.smoothly_augmented", lambda x, key, size, rows: seen.append(tuple(key.tolist())) or x
    )
    trainer = tiny_trainer(penalty="none", loss="relativistic")
    for _ in range(2):
        trainer.advance()
    assert len(seen) == len(set(seen)) == 8  # two batches for each of the two players, twice
    tiny_trainer(tiny_images(augment=False)).advance()
    assert len(seen) == 8


# Quality


def brute_coverage(points, of, k):
    inside = 0
    for point in points:
        for centre in of:
            radius = sorted((centre - other).norm().item() for other in of)[k]
            if (point - centre).norm().item() <= radius:
                inside += 1
                break
    return inside / len(points)


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_are_those_of_the_definition(k):
    samples, data = torch.randn(30, 4, dtype=torch.float64), 0.7 + torch.randn(20, 4, dtype=torch.float64)
    for points, of in ((samples, data), (data, samples)):
        expected = brute_coverage(points, of, k)
        assert 0 < expected < 1
        assert coverage(points, of, k) == pytest.approx(expected)


def test_quality_is_that_of_the_formulas():
    images = tiny_images(num=30)
    samples = torch.rand(60, 1, 7, 6)
    figures = quality(images, lambda num: samples[:num])
    space = Space(images)
    points, held_out = space(samples), space.held_out
    assert len(held_out) == 6 and space.dims == figures["space"]["principal_components"] == 16
    d = torch.cdist(space.train, space.train).square()
    median = d[tuple(torch.triu_indices(60, 60, 1))].sort().values[(60 * 59 // 2 - 1) // 2].item()
    assert figures["mmd_scales"] == pytest.approx([factor * median for factor in (0.25, 0.5, 1, 2, 4)])

    def kernel(x, y):
        return sum(torch.exp(-torch.cdist(x, y).square() / scale) for scale in figures["mmd_scales"]) / 5

    def within(x):
        return (kernel(x, x).sum() - len(x)) / (len(x) * (len(x) - 1))

    for name, found in (("samples", points), ("training", space.train)):
        expected = within(found) + within(held_out) - 2 * kernel(found, held_out).mean()
        assert figures[name]["mmd"] == pytest.approx(expected.item(), abs=1e-7)
        assert figures[name]["precision"] == coverage(found, held_out)
        assert figures[name]["recall"] == coverage(held_out, found)
    to_train = torch.cdist(points, space.train).min(1).values.median() / nearest(held_out, space.train)[0].median()
    assert figures["samples"]["nearest_training_ratio"] == pytest.approx(to_train.item())


def test_copies_of_training_images_show():
    images = tiny_images(num=30)
    everything = torch.cat([images.train[:], images.train[:].flip(-1)])
    figures = quality(images, lambda num: everything[:num])
    assert figures["samples"]["nearest_training_ratio"] == pytest.approx(0, abs=1e-5)
    for name in ("mmd", "precision", "recall"):
        assert figures["samples"][name] == figures["training"][name]
    assert figures["gaussian"]["nearest_training_ratio"] > 0.5


def test_neighbours_are_nearest():
    points, of = torch.randn(300, 3), torch.randn(50, 3)
    distances, index = nearest(points, of)
    everywhere = (points[:, None] - of).norm(dim=2)
    assert torch.equal(index, everywhere.argmin(1))
    torch.testing.assert_close(distances, everywhere.min(1).values)


def test_paths_of_z_keep_its_length_and_end_where_they_should():
    start_, end = torch.randn(2, 5, 64, dtype=torch.float64)
    end = end * (start_.norm(dim=1) / end.norm(dim=1)).unsqueeze(1)
    torch.testing.assert_close(slerp(start_, end, 0.0), start_)
    torch.testing.assert_close(slerp(start_, end, 1.0), end)
    torch.testing.assert_close(slerp(start_, end, 0.3).norm(dim=1), start_.norm(dim=1))
