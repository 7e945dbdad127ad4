"""Where the commands train: devices, precisions, processes, workers."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from support import trained_elsewhere
from support.command import assert_refused, contents, finish, start, tiny_images, wait_for
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, Shard
from torch.testing._internal.distributed.fake_pg import FakeStore

from genkern.cli import engine
from genkern.cli.engine import Engine, started
from genkern.cli.errors import CommandError
from genkern.cli.gan.settings import GANSettings
from genkern.cli.gan.trainer import GANTrainer
from genkern.cli.job import console
from genkern.cli.session import fit, kept
from genkern.cli.sharding import shard
from genkern.cli.vae.settings import VAESettings, build_vae
from genkern.cli.vae.trainer import VAETrainer

pytestmark = pytest.mark.late

SMALL = ["--size", "6", "--batch-size", "4", "--interval", "2", "--latent-dim", "2", "--steps", "4", "--threads", "1"]


def vae_settings(**changes):
    return VAESettings(model="mlp", latent_dim=2, batch_size=4, interval=5).changed(**changes)


def gan_settings(**changes):
    return GANSettings(latent_dim=3, width=2, batch_size=4, interval=5, penalty_interval=2).changed(**changes)


def history(trainer, steps=5):
    for _ in range(steps):
        trainer.advance()
    return torch.tensor(trainer.history)


def close(found, expected):
    """Numbers of two trees that differ by rounding."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        return all(close(found[name], expected[name]) for name in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(close, found, expected))
    if expected is None or isinstance(expected, str):
        return found == expected
    return found == pytest.approx(expected, rel=2e-3, abs=2e-4)


def test_another_device_has_the_numbers_of_the_cpu():
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-W", "ignore", trained_elsewhere.__file__]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    expected, found = json.loads(run.stdout)
    assert expected.pop("devices") == ["cpu", "cpu"] and found.pop("devices") == ["standin", "standin"]
    assert close(found, expected)


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("gpu", "auto, cpu, cuda, cuda:NUMBER or mps, got 'gpu'"),
        ("cpu:1", "auto, cpu, cuda, cuda:NUMBER or mps, got 'cpu:1'"),
        ("cuda:", "auto, cpu, cuda, cuda:NUMBER or mps, got 'cuda:'"),
        ("cuda:2", "a device that torch finds here, got 'cuda:2'"),
        ("mps", "a device that torch finds here, got 'mps'"),
    ],
)
def test_a_device_that_is_not_there_is_refused(genkern, folder, tmp_path, monkeypatch, device, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    result = genkern("train", "vae", "--data", folder, "--out", tmp_path / "out", *SMALL, "--device", device)
    assert_refused(result, f"--device: expected {expected}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--precision", "8"], "--precision: expected one of 32, bf16, 16, got '8'"),
        (["--processes", "0"], "--processes: expected at least 1, and none under torchrun, got 0"),
        (["--workers", "-1"], "--workers: expected at least 0, got -1"),
        (["--clip", "0"], "--clip: expected a positive number, got 0.0"),
        (["--rate-warmup", "-1"], "--rate-warmup: expected at least 0, got -1"),
        (["--ema", "1"], "--ema: expected a number from 0 to below 1, got 1.0"),
    ],
)
@pytest.mark.parametrize("family", ["vae", "gan"])
def test_what_no_engine_can_do_is_refused(genkern, folder, tmp_path, family, options, expected):
    result = genkern("train", family, "--data", folder, "--out", tmp_path / "out", *SMALL, *options)
    assert_refused(result, expected)


def test_auto_is_a_gpu_where_torch_finds_one(monkeypatch):
    assert engine._place("auto") == ("cuda" if torch.cuda.is_available() else "cpu", None)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert engine._place("auto") == ("mps", None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert engine._place("auto") == ("cuda", None)
    assert engine._place("cuda:1") == ("cuda", 1)


def test_one_gpu_is_not_for_several_processes(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for device, processes in (("cuda:1", 2), ("cuda", 3), ("auto", 3)):
        told = f"^--device: expected cuda with a device for each of {processes} processes, got '{device}'"
        with pytest.raises(CommandError, match=told):
            started(device, processes=processes)


def test_torchrun_starts_as_many_on_every_machine(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(CommandError, match="^torchrun: expected as many processes on every machine, got 2 of 3"):
        started()
    with pytest.raises(CommandError, match="^--processes: expected at least 1, and none under torchrun, got 2"):
        started(processes=2)


def test_a_clusters_environment_is_no_order_to_start_processes(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("SLURM_JOB_NAME", "train")
    assert started().count == 1


def test_what_float16_is_not_for_is_refused():
    with pytest.raises(CommandError, match="^--precision: expected 32 or bf16 on the CPU, got '16'"):
        started(precision="16")
    with pytest.raises(CommandError, match="^--precision: expected 32 or bf16 with --penalty r1, got '16'"):
        gan_settings(precision="16")
    assert gan_settings(precision="16", penalty="none").precision == "16"


def test_what_a_compiler_cannot_do_is_told_in_one_line(genkern, folder, tmp_path, monkeypatch):
    def fail(self):
        def call(*args, **kwargs):
            raise torch._dynamo.exc.TorchDynamoException("no C++ compiler")

        self.forward = call

    monkeypatch.setattr(nn.Module, "compile", fail)
    result = genkern("train", "vae", "--data", folder, "--out", tmp_path / "out", *SMALL, "--compile")
    assert_refused(result, "--compile: no C++ compiler")


def test_the_best_model_is_on_the_device_of_the_last(tmp_path):
    trainer = VAETrainer(vae_settings(interval=1), tiny_images())
    fit(trainer, tmp_path, 3, resume="never", keep="best", watch=(), console=console(quiet=True))
    trainer.history.append((4.0, *(-1e9 for _ in trainer.history[-1][1:])))
    trainer.step = 4
    best = kept(trainer, tmp_path, "best")
    assert best.step < 4 and best.engine is trainer.engine


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_stops_the_one_that_trains(folder, tmp_path, signum):
    options = ["--out", tmp_path, *SMALL, "--steps", "10000000", "--workers", "1"]
    process = start("train", "vae", "--data", folder, *options, start_new_session=True)
    wait_for(tmp_path / "checkpoint.safetensors", process)
    os.killpg(process.pid, signum)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signum and err.startswith("genkern: interrupted") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("trainer", "settings"), [(VAETrainer, vae_settings), (GANTrainer, gan_settings)], ids=["vae", "gan"]
)
def test_bfloat16_trains_as_float32_does(trainer, settings):
    """Networks in 16 bits, parameters, losses and averages in 32."""
    expected = history(trainer(settings(), tiny_images()))
    rounded = trainer(settings(precision="bf16"), tiny_images(), started(precision="bf16"))
    found = history(rounded)
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, rtol=0.03, atol=0.03)
    assert all(t.dtype != torch.bfloat16 for t in rounded.state()[0].values())


def scaling() -> Engine:
    """float16's scale of the losses, in float32."""
    fabric = started().fabric
    precision = SimpleNamespace(scaler=torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2))
    made = SimpleNamespace(strategy=SimpleNamespace(precision=precision))
    for name in ("device", "world_size", "global_rank", "is_global_zero", "to_device", "autocast"):
        setattr(made, name, getattr(fabric, name))
    return Engine(made)


@pytest.mark.parametrize(
    ("trainer", "settings"), [(VAETrainer, vae_settings), (GANTrainer, gan_settings)], ids=["vae", "gan"]
)
def test_a_scale_of_the_losses_changes_no_number_and_is_kept(trainer, settings):
    images = tiny_images()
    expected = history(trainer(settings(), images))
    scaled = trainer(settings(), images, scaling())
    torch.testing.assert_close(history(scaled, 3), torch.tensor([]))
    tensors, metadata = scaled.state()
    assert metadata["scaler"]["scale"] == 2.0**11
    resumed = trainer(settings(), images, scaling())
    resumed.restore({name: t.clone() for name, t in tensors.items()}, metadata, "here")
    assert resumed.engine.scaler.get_scale() == 2.0**11
    torch.testing.assert_close(history(resumed, 2), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["vae", "gan"])
def test_workers_change_no_bit(genkern, folder, tmp_path, family):
    for workers in ("0", "2"):
        out = tmp_path / workers
        code, _, err = genkern("train", family, "--data", folder, "--out", out, *SMALL, "--workers", workers)
        assert code == 0, err
    assert contents(tmp_path / "0") == contents(tmp_path / "2")


@pytest.mark.parametrize(
    ("trainer_type", "settings", "compiled"),
    [
        (VAETrainer, vae_settings(), {"encoder", "decoder"}),
        (GANTrainer, gan_settings(), {"generator"}),
        (GANTrainer, gan_settings(penalty="none"), {"generator", "discriminator"}),
    ],
    ids=["vae", "gan", "gan without penalty"],
)
def test_networks_are_compiled_and_have_the_numbers_of_eager_ones(monkeypatch, trainer_type, settings, compiled):
    networks = []
    compile_module = nn.Module.compile

    def quickly(self):
        networks.append(self)
        compile_module(self, backend="aot_eager")

    monkeypatch.setattr(nn.Module, "compile", quickly)
    expected = history(trainer_type(settings, tiny_images()))
    assert not networks
    trainer = trainer_type(settings, tiny_images(), started(compiles=True))
    model = trainer.vae if isinstance(trainer, VAETrainer) else trainer.gan
    assert {name for name, part in model.named_children() if any(part is n for n in networks)} == compiled
    torch.testing.assert_close(history(trainer), expected, rtol=1e-4, atol=1e-4)
    assert not any("_orig_mod" in name for name in trainer.state()[0])


def test_samples_of_every_interval_are_drawn_from_the_same_noise(genkern, folder, tmp_path):
    code, _, err = genkern("train", "vae", "--data", folder, "--out", tmp_path, *SMALL, "--learning-rate", "0")
    assert code == 0, err
    first, second = sorted((tmp_path / "progress").iterdir())
    assert [first.name, second.name] == ["0000002.png", "0000004.png"]
    assert first.read_bytes() == second.read_bytes()


def test_without_fabric_it_is_named(monkeypatch):
    for name in ("lightning_fabric", "lightning", "lightning.fabric"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(CommandError, match="lightning-fabric, which is not installed: pip install 'genkern"):
        started()


@pytest.mark.parametrize("options", [["--out", "/proc/nowhere"], ["--batch-size", "3"]], ids=["first", "all"])
def test_several_processes_fail_in_one_line(folder, tmp_path, options):
    """Whether it is the first alone that fails, or all do."""
    process = start("train", "vae", "--data", folder, "--out", tmp_path, *SMALL, *options, "--processes", 2)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.startswith(f"genkern: {options[0]}: ") and err.count("\n") == 1


# A sharded model

SHARDED = {
    "mlp": ["--model", "mlp", "--latent-dim", "2", "--clip", "0.5"],
    "vampprior": ["--objective", "vampprior"],
    "hierarchical": ["--model", "hierarchical", "--width", "4", "--levels", "1,1", "--skip", "1e9", "--keep", "last"],
}


@pytest.fixture
def mesh():
    """A mesh of two processes. The second does not exist, and nothing is sent to it."""
    distributed.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    yield init_device_mesh("cpu", (2,))
    distributed.destroy_process_group()


@pytest.mark.parametrize("options", [{"model": "conv"}, {"objective": "vampprior"}, {"model": "hierarchical"}])
def test_a_process_holds_its_shard_of_every_parameter(mesh, options):
    model = build_vae(VAESettings(latent_dim=2, **options), tiny_images())
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    shard(model, mesh)
    assert {name: value.shape for name, value in model.state_dict().items()} == shapes
    for name, parameter in model.named_parameters():
        assert isinstance(parameter, DTensor) == (parameter.ndim > 0), name
        if parameter.ndim:
            assert parameter.placements == (Shard(0),)
            assert parameter.to_local().shape == (-(-len(parameter) // 2), *parameter.shape[1:]), name
    units = {name for name, module in model.named_modules() if name and isinstance(module, FSDPModule)}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):  # whole on its own or with its block, not with all others
            assert any(name == unit or name.startswith(f"{unit}.") for unit in units), name
    assert not units & {"encoder", "decoder"}


@pytest.mark.parametrize("model", ["mlp", pytest.param("vampprior", marks=pytest.mark.full), "hierarchical"])
def test_a_sharded_run_has_the_numbers_of_one_process_and_resumes_them(genkern, folder, tmp_path, model):
    def arguments(out, steps):
        return ("train", "vae", "--data", folder, "--out", tmp_path / out, *SMALL, *SHARDED[model], "--steps", steps)

    def results(out):
        metrics = json.loads((tmp_path / out / "metrics.json").read_text())
        return load_file(tmp_path / out / "checkpoint.safetensors"), metrics

    assert genkern(*arguments("one", 6))[0] == 0
    for out, lengths in {"two": (6,), "parts": (3, 6)}.items():
        for steps in lengths:
            finish(start(*arguments(out, steps), "--shard", "--processes", 2))
    assert contents(tmp_path / "parts") == contents(tmp_path / "two")
    finish(start(*arguments("begun", 3), "--shard", processes=2))  # by torchrun
    assert genkern(*arguments("begun", 6))[0] == 0  # and gone on with by one process
    expected, metrics = results("one")
    for out in ("two", "begun"):
        found, figures = results(out)
        assert close(figures, metrics)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            # float32, gradients summed in another order; Adam divides by their size: rate 1e-3 times 6 steps
            torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4, msg=f"{out} {name}")


def test_one_process_has_no_shards(genkern, folder, tmp_path):
    result = genkern("train", "vae", "--data", folder, "--out", tmp_path / "out", *SMALL, "--shard")
    assert_refused(result, "--shard: expected several processes, got 1")


def test_the_scale_of_losses_is_of_whole_gradients(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(CommandError, match="^--precision: expected 32 or bf16 with --shard, got '16'"):
        started("cuda", "16", processes=2, shards=True)


def test_the_best_model_of_a_sharded_run_is_whole(tmp_path):
    distributed.init_process_group("gloo", rank=0, world_size=1, store=distributed.HashStore())
    trainer = VAETrainer(vae_settings(interval=1), tiny_images(), replace(started(), shards=True))
    fit(trainer, tmp_path, 3, resume="never", keep="best", watch=(), console=console(quiet=True))
    distributed.destroy_process_group()
    last = kept(trainer, tmp_path, "last")
    assert last.step == 3
    trainer.history.append((4.0, *(-1e9 for _ in trainer.history[-1][1:])))
    trainer.step = 4
    best = kept(trainer, tmp_path, "best")
    assert best.step < 4 and best.history is trainer.history
    for whole in (last, best):
        assert not any(isinstance(value, DTensor) for value in whole.state()[0].values())
        assert whole.samples(2).isfinite().all()
