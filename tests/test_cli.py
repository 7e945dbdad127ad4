"""The commands as a user runs them: what they write, how they resume, how they fail."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import genkern as gk
from genkern.cli import main
from genkern.cli.checkpoint import load_checkpoint

FAST = ["--model", "mlp", "--latent-dim", "2", "--size", "6", "--threads", "1"]
SMALL = [*FAST, "--batch-size", "4", "--interval", "5"]


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def folder(tmp_path):
    """Ten colour images of different sizes."""
    images = tmp_path / "images"
    images.mkdir()
    generator = torch.Generator().manual_seed(0)
    for index in range(10):
        pixels = torch.randint(0, 256, (8 + index, 12, 3), dtype=torch.uint8, generator=generator)
        Image.fromarray(pixels.numpy()).save(images / f"{index}.png")
    (images / "notes.txt").write_text("not an image")
    return images


@pytest.fixture
def genkern(monkeypatch, capsys):
    """Runs a command; gives its exit code, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["genkern", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit:
            main()
        output = capsys.readouterr()
        return exit.value.code or 0, output.out, output.err

    return run


@pytest.fixture
def train(genkern, folder):
    def run(out, *options):
        return genkern("train", "vae", "--data", folder, "--out", out, *SMALL, *options)

    return run


def assert_refused(result, *words):
    code, _, err = result
    assert code == 2
    assert err.startswith("genkern: ") and err.count("\n") == 1
    assert all(word in err for word in words), err


def contents(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


# What they write


def test_info_is_the_librarys_own(genkern):
    code, out, _ = genkern("info", "--json")
    assert code == 0
    assert json.loads(out) == json.loads(json.dumps(gk.info(), default=str))
    code, out, _ = genkern("info")
    assert code == 0
    assert torch.__version__ in out


def test_demo_writes_pictures_metrics_and_a_checkpoint(genkern, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("genkern.cli.timing._BUDGET_S", 0.0)
    out = tmp_path / "deep" / "out"
    code, text, _ = genkern("demo", "--data", folder, "--out", out, *FAST, "--steps", "100")
    assert code == 0
    names = {"checkpoint.safetensors", "metrics.json", "samples.png", "reconstructions.png", "history.png"}
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


def test_checkpoint_is_a_plain_safetensors_file(train, tmp_path):
    train(tmp_path / "out", "--steps", "5")
    tensors = load_file(tmp_path / "out" / "checkpoint.safetensors")
    assert "model.encoder.layers.0.weight" in tensors


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


def _start(folder, out, env=None):
    """A run that would take for ever, in a process of its own; returns once it has saved something."""
    command = [sys.executable, "-W", "ignore", "-m", "genkern.cli", "train", "vae", "--data", str(folder)]
    process = subprocess.Popen(
        [*command, "--out", str(out), *SMALL, "--steps", "10000000"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    deadline = time.monotonic() + 60
    while not (out / "checkpoint.safetensors").exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def test_killed_run_resumes_to_the_same_numbers(train, folder, tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = _start(folder, killed)
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
    process = _start(folder, out)
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
    assert_refused(demo(folder / "0.png"), "--data", "0.png", "Not a directory")
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
        ("--beta", "-1"),
        ("--beta", "nan"),
        ("--interval", "0"),
    ],
)
def test_bad_options_are_refused_by_name(train, tmp_path, option, value):
    assert_refused(train(tmp_path / "out", option, value), option, "expected")
    assert not (tmp_path / "out" / "checkpoint.safetensors").exists()


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
    assert capsys.readouterr().err == f"genkern: the command line needs {package}: pip install 'genkern[demo]'\n"


@pytest.mark.parametrize(("data", "package"), [("faces", "skimage.data"), ("digits", "sklearn.datasets")])
def test_missing_data_package_is_one_line(genkern, tmp_path, monkeypatch, data, package):
    monkeypatch.setitem(sys.modules, package, None)
    assert_refused(genkern("demo", "--data", data, "--out", tmp_path / "out"), package.split(".")[0], "pip install")
