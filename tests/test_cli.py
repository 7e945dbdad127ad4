"""The commands as a user runs them: what they write, how they resume, how they fail."""

import errno
import json
import os
import signal
import sys

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support.command import assert_refused, contents, start, wait_for

import genkern as gk
from genkern._help import EXTRAS, page
from genkern.cli import main
from genkern.cli.checkpoint import load_checkpoint
from genkern.cli.vae.trainer import VAETrainer

pytestmark = pytest.mark.late

FAST = ["--model", "mlp", "--latent-dim", "2", "--size", "6", "--threads", "1"]
SMALL = [*FAST, "--batch-size", "4", "--interval", "5"]


@pytest.fixture
def train(genkern, folder):
    def run(out, *options):
        return genkern("train", "vae", "--data", folder, "--out", out, *SMALL, *options)

    return run


# What they write


def test_info_is_the_librarys_own(genkern):
    code, out, _ = genkern("info", "--json")
    assert code == 0
    assert json.loads(out) == json.loads(json.dumps(gk.info(), default=str))
    code, out, _ = genkern("info")
    assert code == 0
    assert torch.__version__ in out


def test_demo_writes_pictures_metrics_and_a_checkpoint(genkern, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("genkern.cli.vae.timing._BUDGET_S", 0.0)
    out = tmp_path / "deep" / "out"
    code, text, _ = genkern("demo", "--data", folder, "--out", out, *FAST, "--steps", "100")
    assert code == 0
    names = {
        "checkpoint.safetensors",
        "best.safetensors",
        "metrics.json",
        "progress",
        "samples.png",
        "reconstructions.png",
        "history.png",
    }
    assert set(os.listdir(out)) == names
    for name in ("samples.png", "reconstructions.png", "history.png"):
        with Image.open(out / name) as picture:
            picture.load()
            assert min(picture.size) > 100
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["steps"] == 100
    assert metrics["data"]["train"] == 8
    assert metrics["step_time"]["genkern_ms"] > 0 and metrics["step_time"]["plain_torch_ms"] > 0
    held_out = metrics["held_out"]
    assert metrics["quality"]["samples"].keys() == {"mmd", "precision", "recall", "nearest_training_ratio"}
    assert held_out["images"] == 2
    assert held_out["elbo_nats"] == pytest.approx(held_out["reconstruction_nats"] - held_out["kl_nats"])
    assert set(held_out["baselines_nats"]) == {"gaussian_per_pixel", "ppca_2"}
    assert "held out" in text and "bits/dim" in text and "plain torch" in text


@pytest.mark.parametrize("options", [["--data", "faces"], ["--data", "digits", "--likelihood", "bernoulli"]])
def test_bundled_images_train(genkern, tmp_path, options):
    code, _, _ = genkern("train", "vae", *options, "--out", tmp_path, *FAST, "--steps", "5", "--interval", "5")
    assert code == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    (record,) = metrics["history"]
    assert record["step"] == 5
    if "bernoulli" in options:
        assert set(metrics["held_out"]["baselines_nats"]) == {"bernoulli_per_pixel"}
        assert "not a density" in metrics["held_out"]["measure"]


@pytest.mark.parametrize("sigma", ["learned", "optimal", "decoder", "0.2"])
@pytest.mark.parametrize("model", ["conv", "hybrid"])
def test_every_sigma_and_model_trains(train, tmp_path, sigma, model):
    code, _, _ = train(tmp_path / "out", "--steps", "2", "--sigma", sigma, "--model", model)
    assert code == 0
    tensors, metadata = load_checkpoint(tmp_path / "out" / "checkpoint.safetensors")
    assert metadata["step"] == 2
    assert metadata["settings"]["sigma"] == sigma
    assert all(value.isfinite().all() for value in tensors.values())


@pytest.mark.parametrize("model", ["conv", "hybrid"])
def test_a_mixture_of_logistics_trains_on_colours_and_is_evaluated(train, genkern, tmp_path, model):
    out, file = tmp_path / "out", tmp_path / "figures.json"
    code, _, err = train(out, "--steps", "5", "--likelihood", "discretized_logistic", "--model", model)
    assert code == 0, err
    held_out = json.loads((out / "metrics.json").read_text())["held_out"]
    assert "probability" in held_out["measure"] and set(held_out["baselines_nats"]) == {
        "discretized_gaussian_per_pixel"
    }
    code, _, err = genkern("evaluate", out, "--samples", "500", "--json", file)
    assert code == 0, err
    assert json.loads(file.read_text())["held_out"]["elbo_nats"] == pytest.approx(held_out["elbo_nats"], rel=1e-5)


@pytest.mark.parametrize("objective", ["iwae", "beta-tcvae", "info", "vampprior"])
def test_every_objective_trains_resumes_to_the_same_numbers_and_is_evaluated(train, genkern, tmp_path, objective):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(whole, "--steps", "10", "--objective", objective)
    train(parts, "--steps", "4", "--objective", objective)
    code, _, err = train(parts, "--steps", "10", "--objective", objective)
    assert code == 0, err
    assert contents(parts) == contents(whole)
    metrics = json.loads((whole / "metrics.json").read_text())
    assert metrics["settings"]["objective"] == objective
    assert metrics["settings"]["beta"] == (6.0 if objective == "beta-tcvae" else 1.0)
    learned = "model.objective.pseudo_inputs" in load_file(whole / "checkpoint.safetensors")
    assert learned == (objective == "vampprior")
    file = tmp_path / "figures.json"
    code, _, err = genkern("evaluate", whole, "--samples", "500", "--json", file)
    assert code == 0, err
    figures = json.loads(file.read_text())
    for name in ("elbo_nats", "log_likelihood_nats"):
        assert figures["held_out"][name] == pytest.approx(metrics["held_out"][name], rel=1e-5)
    train(tmp_path / "elbo", "--steps", "10")
    assert_refused(train(tmp_path / "elbo", "--steps", "12", "--objective", objective), "objective='elbo'", "--out")


def test_demo_takes_another_objective(genkern, folder, tmp_path):
    code, _, err = genkern(
        "demo", "--data", folder, "--out", tmp_path / "out", "--objective", "info", *FAST, "--steps", "5"
    )
    assert code == 0, err
    assert "step_time" not in json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (tmp_path / "out" / "samples.png").exists()


def test_checkpoint_is_a_plain_safetensors_file(train, tmp_path):
    train(tmp_path / "out", "--steps", "5")
    tensors = load_file(tmp_path / "out" / "checkpoint.safetensors")
    assert "model.encoder.layers.0.weight" in tensors


# Evaluation


def test_evaluation_is_a_table_and_json_and_agrees_with_the_run(train, genkern, tmp_path):
    out, file = tmp_path / "out", tmp_path / "figures.json"
    train(out, "--steps", "20")
    code, text, err = genkern("evaluate", out, "--samples", "500", "--json", file, "--threads", "1")
    assert code == 0, err
    figures, metrics = json.loads(file.read_text()), json.loads((out / "metrics.json").read_text())
    assert figures["checkpoint"] == str(out / "best.safetensors")
    assert figures["steps"] == metrics["kept_step"] and figures["settings"] == metrics["settings"]
    for name in ("images", "elbo_nats", "kl_nats", "log_likelihood_nats", "elbo_bits_per_dim"):
        assert figures["held_out"][name] == pytest.approx(metrics["held_out"][name], rel=1e-5)
    latent = figures["latent"]
    parts = (latent["mutual_information_nats"], latent["total_correlation_nats"], latent["dimension_wise_kl_nats"])
    assert latent["kl_nats"] == pytest.approx(sum(parts))
    assert latent["mutual_information_nats"] <= latent["mutual_information_limit_nats"]
    assert latent["images"] == 8 and latent["units"] == 2 and 0 <= latent["active_units"] <= 2
    assert figures["parzen"]["images"] == 2 and figures["parzen"]["samples"] == 10_000
    for words in ("ELBO, 2 held-out images", "500 importance samples", "mutual information", "active units", "Parzen"):
        assert words in text


def test_evaluation_is_reproducible_and_more_samples_do_not_change_the_rest(train, genkern, tmp_path):
    train(tmp_path / "out", "--steps", "5")
    found = []
    for samples in ("70", "70", "200"):
        genkern("evaluate", tmp_path / "out" / "checkpoint.safetensors", "--samples", samples, "--json", tmp_path / "f")
        found.append(json.loads((tmp_path / "f").read_text()))
    assert found[0] == found[1]
    assert found[2]["held_out"].pop("importance_samples") == 200
    for figures in found:
        for name in ("log_likelihood_nats", "log_likelihood_bits_per_dim"):
            figures["held_out"].pop(name)
    found[1]["held_out"].pop("importance_samples")
    assert found[2] == found[1]


def test_evaluation_finds_images_that_have_moved(train, genkern, folder, tmp_path):
    out = tmp_path / "out"
    train(out, "--steps", "5")
    folder.rename(tmp_path / "elsewhere")
    assert_refused(genkern("evaluate", out, "--samples", "2"), "--data", "No such file")
    code, _, err = genkern("evaluate", out, "--samples", "2", "--data", tmp_path / "elsewhere")
    assert code == 0, err
    (tmp_path / "elsewhere" / "0.png").unlink()
    assert_refused(
        genkern("evaluate", out, "--samples", "2", "--data", tmp_path / "elsewhere"), "other images", "elsewhere"
    )


def test_unusable_evaluations_are_refused(train, genkern, tmp_path):
    out = tmp_path / "out"
    train(out, "--steps", "5")
    assert_refused(genkern("evaluate", out, "--samples", "0"), "--samples", "got 0")
    assert_refused(genkern("evaluate", out, "--threads", "0"), "--threads", "got 0")
    assert_refused(genkern("evaluate", out, "--json", tmp_path / "no" / "f.json"), "--json", "f.json")
    assert_refused(genkern("evaluate", out, "--json", tmp_path), "--json")
    assert_refused(genkern("evaluate", tmp_path / "nothing"), "nothing", "not a readable checkpoint")
    save_file({"x": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    assert_refused(genkern("evaluate", tmp_path / "foreign.safetensors"), "written by genkern")
    tensors, metadata = load_checkpoint(out / "checkpoint.safetensors")
    metadata["settings"]["colour"] = "red"
    save_file(tensors, tmp_path / "newer.safetensors", metadata={"genkern": json.dumps(metadata)})
    assert_refused(genkern("evaluate", tmp_path / "newer.safetensors"), "newer.safetensors", "colour")


def test_full_disk_leaves_the_previous_figures(train, genkern, tmp_path, monkeypatch):
    train(tmp_path / "out", "--steps", "5")
    (tmp_path / "f.json").write_text("before")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("genkern.cli.checkpoint.os.replace", full)
    result = genkern("evaluate", tmp_path / "out", "--samples", "2", "--json", tmp_path / "f.json")
    assert_refused(result, "No space left on device", "f.json")
    assert (tmp_path / "f.json").read_text() == "before"


# Resuming


@pytest.mark.parametrize("sigma", ["learned", "optimal"])
@pytest.mark.parametrize("first", [5, 10, 13])
def test_resumed_run_has_the_numbers_of_an_uninterrupted_one(train, tmp_path, first, sigma):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    options = ["--sigma", sigma, "--warmup", "15"]
    train(whole, "--steps", "20", *options)
    train(parts, "--steps", str(first), *options)
    code, text, _ = train(parts, "--steps", "20", *options)
    assert code == 0
    assert f"resumed {parts / 'checkpoint.safetensors'} at step {first}" in text.replace("\n", "")
    assert contents(parts) == contents(whole)


@pytest.fixture
def bounds(monkeypatch):
    """A held-out bound that is best at the second of three intervals."""
    by_step = {5: 1.0, 10: 3.0, 15: 2.0}
    monkeypatch.setattr(VAETrainer, "_held_out", lambda self: [by_step[self.step], 0.0, 0.0])


@pytest.mark.usefixtures("bounds")
def test_the_best_model_is_kept_beside_the_last_and_figures_are_of_it(train, genkern, tmp_path):
    out = tmp_path / "out"
    _, text, _ = train(out, "--steps", "15")
    assert "best at step 10" in text
    assert [load_checkpoint(out / name)[1]["step"] for name in ("best.safetensors", "checkpoint.safetensors")] == [
        10,
        15,
    ]
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["steps"], metrics["kept_step"], len(metrics["history"])) == (15, 10, 3)
    genkern("evaluate", out, "--samples", "5", "--json", tmp_path / "f.json")
    assert json.loads((tmp_path / "f.json").read_text())["steps"] == 10
    _, text, _ = train(tmp_path / "last", "--steps", "15", "--keep", "last")
    assert "best at step" not in text and not (tmp_path / "last" / "best.safetensors").exists()
    assert json.loads((tmp_path / "last" / "metrics.json").read_text())["kept_step"] == 15


@pytest.mark.usefixtures("bounds")
@pytest.mark.parametrize("first", ["3", "5", "12"])
def test_a_resumed_run_keeps_the_same_best_model(train, tmp_path, first):
    train(tmp_path / "whole", "--steps", "15")
    train(tmp_path / "parts", "--steps", first)
    train(tmp_path / "parts", "--steps", "15")
    whole, parts = ((tmp_path / run / "best.safetensors").read_bytes() for run in ("whole", "parts"))
    assert whole == parts


@pytest.mark.usefixtures("bounds")
@pytest.mark.parametrize("options", [["--steps", "4"], ["--steps", "15", "--keep", "last"]])
def test_the_best_model_of_another_run_is_none_of_this_one(train, tmp_path, options):
    train(tmp_path / "out", "--steps", "15")
    code, _, error = train(tmp_path / "out", "--resume", "never", "--seed", "5", *options)
    assert code == 0, error
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["kept_step"] == int(options[1])
    assert not (tmp_path / "out" / "best.safetensors").exists()


def test_figures_that_are_not_finite_are_a_divergence(train, tmp_path, monkeypatch):
    monkeypatch.setattr(VAETrainer, "_held_out", lambda self: [float("nan"), 0.0, 0.0])
    assert_refused(train(tmp_path / "out", "--steps", "5"), "diverged at step 5 (held_out_elbo nan)")
    assert not (tmp_path / "out" / "checkpoint.safetensors").exists()


def test_the_history_is_logged_and_a_resumed_run_leaves_the_same_table(train, tmp_path):
    train(tmp_path / "whole", "--steps", "15", "--log", "csv")
    train(tmp_path / "parts", "--steps", "12", "--log", "csv")
    train(tmp_path / "parts", "--steps", "15", "--log", "csv")
    whole, parts = ((tmp_path / run / "log.csv").read_text() for run in ("whole", "parts"))
    assert whole == parts
    head, *lines = whole.splitlines()
    records = json.loads((tmp_path / "whole" / "metrics.json").read_text())["history"]
    assert [dict(zip(head.split(","), map(float, line.split(",")), strict=True)) for line in lines] == records
    assert_refused(train(tmp_path / "other", "--log", "excel"), "--log: expected one of csv, tensorboard, got 'excel'")


def test_tensorboard_shows_the_history(train, tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(tmp_path / "out", "--steps", "10", "--log", "tensorboard")
    train(tmp_path / "out", "--steps", "15", "--log", "tensorboard")
    shown = events.EventAccumulator(str(tmp_path / "out" / "tensorboard"))
    shown.Reload()
    records = json.loads((tmp_path / "out" / "metrics.json").read_text())["history"]
    for name in records[0].keys() - {"step"}:
        assert [(e.step, e.value) for e in shown.Scalars(name)] == [
            (r["step"], pytest.approx(r[name])) for r in records
        ]


def test_finished_run_is_not_trained_again(train, tmp_path):
    train(tmp_path / "out", "--steps", "10")
    before = contents(tmp_path / "out")
    code, _, _ = train(tmp_path / "out", "--steps", "10")
    assert code == 0
    assert contents(tmp_path / "out") == before


def test_resume_never_starts_over(train, tmp_path):
    train(tmp_path / "whole", "--steps", "10")
    train(tmp_path / "out", "--steps", "10", "--seed", "3")
    code, _, _ = train(tmp_path / "out", "--steps", "10", "--resume", "never")
    assert code == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_another_seed_gives_other_numbers(train, tmp_path):
    train(tmp_path / "a", "--steps", "5")
    train(tmp_path / "b", "--steps", "5", "--seed", "1")
    assert contents(tmp_path / "a")["checkpoint.safetensors"] != contents(tmp_path / "b")["checkpoint.safetensors"]


def _endless(folder, out):
    """A run that would take for ever, in a process of its own; returns once it has saved something."""
    process = start("train", "vae", "--data", folder, "--out", out, *SMALL, "--steps", "10000000")
    wait_for(out / "checkpoint.safetensors", process)
    return process


def test_killed_run_resumes_to_the_same_numbers(train, folder, tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = _endless(folder, killed)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    _, metadata = load_checkpoint(killed / "checkpoint.safetensors")
    assert metadata["step"] > 0 and metadata["step"] % 5 == 0
    steps = str(metadata["step"] + 12)
    code, _, err = train(killed, "--steps", steps)
    assert code == 0, err
    train(whole, "--steps", steps)
    assert contents(killed) == contents(whole)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_saves_and_says_so(train, folder, tmp_path, signum):
    out = tmp_path / "out"
    process = _endless(folder, out)
    process.send_signal(signum)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signum
    _, metadata = load_checkpoint(out / "checkpoint.safetensors")
    assert err == (
        f"genkern: interrupted at step {metadata['step']}, saved in {out / 'checkpoint.safetensors'}; "
        "the same command goes on from there\n"
    )
    code, _, _ = train(out, "--steps", str(metadata["step"] + 1))
    assert code == 0


def test_another_runs_checkpoint_is_refused_and_kept(train, genkern, folder, tmp_path):
    out = tmp_path / "out"
    train(out, "--steps", "5")
    before = contents(out)
    assert_refused(train(out, "--steps", "10", "--seed", "9"), "seed=0", "9", "--resume never")
    assert_refused(train(out, "--steps", "10", "--likelihood", "bernoulli"), "likelihood='gaussian'")
    (folder / "0.png").unlink()
    assert_refused(train(out, "--steps", "10"), "other images")
    assert contents(out) == before


# Faults


@pytest.mark.parametrize("damage", ["truncated", "noise", "empty", "foreign", "missing", "misshapen"])
def test_damaged_checkpoint_is_refused_and_kept(train, tmp_path, damage):
    out = tmp_path / "out"
    train(out, "--steps", "5")
    path = out / "checkpoint.safetensors"
    good = path.read_bytes()
    if damage in ("truncated", "noise", "empty"):
        path.write_bytes({"truncated": good[: len(good) // 2], "noise": os.urandom(5000), "empty": b""}[damage])
    else:
        tensors, metadata = load_checkpoint(path)
        header = {"genkern": json.dumps(metadata)}
        if damage == "foreign":
            header = {"format": "pt"}
        elif damage == "missing":
            tensors.pop("model.encoder.layers.0.weight")
        else:
            tensors["model.encoder.layers.0.weight"] = torch.zeros(2, 2)
        save_file(tensors, path, metadata=header)
    before = contents(out)
    assert_refused(train(out, "--steps", "10"), str(path))
    assert contents(out) == before


@pytest.mark.parametrize("failing", ["replace", "fsync"])
def test_full_disk_leaves_the_previous_checkpoint(train, tmp_path, monkeypatch, failing):
    out = tmp_path / "out"
    train(out, "--steps", "5")
    before = contents(out)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(f"genkern.cli.checkpoint.os.{failing}", full)
        assert_refused(train(out, "--steps", "20"), "No space left on device", "checkpoint.safetensors")
    assert contents(out) == before
    code, _, _ = train(out, "--steps", "20")
    assert code == 0
    train(tmp_path / "whole", "--steps", "20")
    assert contents(out) == contents(tmp_path / "whole")


def test_unusable_folder_of_images_is_refused_before_anything_is_written(genkern, folder, tmp_path):
    out = tmp_path / "out"

    def demo(data):
        return genkern("demo", "--data", data, "--out", out, "--steps", "1")

    assert_refused(demo(tmp_path / "nowhere"), "--data", "nowhere", "No such file")
    assert_refused(demo(folder / "0.png"), "--data", "expected 'faces'", "0.png")
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "notes.txt").write_text("no image")
    assert_refused(demo(empty), "--data", "no images")
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:40])
    assert_refused(demo(folder), "--data", "3.png")
    (folder / "3.png").write_bytes(b"not an image at all")
    assert_refused(demo(folder), "--data", "3.png")
    for index in range(3, 10):
        (folder / f"{index}.png").unlink()
    assert_refused(demo(folder), "--data", "at least 5", "got 3")
    assert not out.exists()


def test_unwritable_out_is_refused(train, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert_refused(train(tmp_path / "file"), "--out", "file")
    assert_refused(train(tmp_path / "file" / "below"), "--out", "below")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--likelihood", "poisson"),
        ("--sigma", "wide"),
        ("--sigma", "-1"),
        ("--model", "unet"),
        ("--latent-dim", "0"),
        ("--batch-size", "0"),
        ("--steps", "0"),
        ("--threads", "0"),
        ("--resume", "maybe"),
        ("--objective", "gan"),
        ("--beta", "-1"),
        ("--beta", "nan"),
        ("--interval", "0"),
    ],
)
def test_bad_options_are_refused_by_name(train, tmp_path, option, value):
    assert_refused(train(tmp_path / "out", option, value), option, "expected")
    assert not (tmp_path / "out" / "checkpoint.safetensors").exists()


@pytest.mark.parametrize(
    ("objective", "option", "value"),
    [("iwae", "--beta", "2"), ("info", "--beta", "2"), ("beta-tcvae", "--warmup", "9")],
)
def test_options_that_an_objective_has_no_use_for_are_refused(train, tmp_path, objective, option, value):
    assert_refused(train(tmp_path / "out", "--objective", objective, option, value), option, "--objective", objective)


def test_diverged_training_says_so_and_keeps_the_last_good_checkpoint(train, tmp_path):
    out = tmp_path / "out"
    assert_refused(train(out, "--steps", "50", "--learning-rate", "1e30"), "diverged", "--learning-rate")
    assert not (out / "metrics.json").exists()


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_missing_command_line_package_is_one_line(monkeypatch, capsys, package):
    for name in [name for name in sys.modules if name.startswith("genkern.cli.")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SystemExit) as exit:
        main()
    assert exit.value.code == 2
    assert capsys.readouterr().err == (
        f"genkern: the command line needs {package}: pip install 'genkern[demo]'; see {page(EXTRAS)}\n"
    )


@pytest.mark.parametrize(("data", "package"), [("faces", "skimage.data"), ("digits", "sklearn.datasets")])
def test_missing_data_package_is_one_line(genkern, tmp_path, monkeypatch, data, package):
    monkeypatch.setitem(sys.modules, package, None)
    assert_refused(genkern("demo", "--data", data, "--out", tmp_path / "out"), package.split(".")[0], "pip install")
