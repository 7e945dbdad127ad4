"""What the drop-ins make is copied, pickled and saved in every way that the projects' own is, patched or not."""

import copy
import io
import multiprocessing.reduction
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support import saved
from support.inputs import normal
from support.saved import results

from genkern.compat import diffusers as fused_diffusers
from genkern.compat import nvae
from genkern.compat import pythae as fused_pythae

pytest.importorskip("diffusers")
pytest.importorskip("pythae")
pytest.importorskip("pyro")
import pythae.models as models
from diffusers.models.autoencoders import autoencoder_oobleck, vae

from genkern.compat import pyro as fused_pyro

PATCHES = (fused_diffusers, fused_pythae)
SIZE = (1, 4, 4)


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    for project in PATCHES:
        project.unpatch()


def gaussian() -> Any:
    return vae.DiagonalGaussianDistribution(normal((2, 4, 3, 2), 0))


def edited() -> Any:
    d = gaussian()
    d.std, d.var = d.std * 0.5, d.var * 0.25
    return d


def written() -> Any:
    d = gaussian()
    d.logvar.sub_(1.0)
    return d


def certain() -> Any:
    return vae.DiagonalGaussianDistribution(normal((2, 4, 3, 2), 0), deterministic=True)


def oobleck() -> Any:
    return autoencoder_oobleck.OobleckDiagonalGaussianDistribution(normal((2, 4, 5), 0))


def of_nvae() -> Any:
    return nvae.Normal(normal((2, 3), 0), normal((2, 3), 1), 0.7)


def edited_of_nvae() -> Any:
    d = nvae.Normal(normal((2, 3), 0), normal((2, 3), 1))
    d.sigma *= 0.5
    return d


def model(name: str) -> Callable[[], Any]:
    def build() -> Any:
        torch.manual_seed(0)
        config = getattr(models, f"{name}_Config" if name == "INFOVAE_MMD" else f"{name}Config")
        return getattr(models, name)(config(input_dim=SIZE, latent_dim=3)).double()

    return build


def of_pyro(name: str) -> Callable[[], Any]:
    def build() -> Any:
        if name in ("Normal", "Laplace"):
            return getattr(fused_pyro, name)(normal((2, 3), 0), normal((2, 3), 1).exp())
        if name == "DiagonalGaussian":
            return fused_pyro.DiagonalGaussian(normal((2, 3), 0), normal((2, 3), 1))
        return getattr(fused_pyro, name)(logits=normal((2, 3), 0))

    return build


MODELS = sorted({name for _, name in fused_pythae._MIXINS})
PATCHED: dict[str, Callable[[], Any]] = {
    "diffusers": gaussian,
    "diffusers, assigned": edited,
    "diffusers, written into": written,
    "diffusers, deterministic": certain,
    "Oobleck": oobleck,
    **{f"pythae {name}": model(name) for name in MODELS},
}
THINGS: dict[str, Callable[[], Any]] = {
    **PATCHED,
    "NVAE": of_nvae,
    "NVAE, assigned": edited_of_nvae,
    **{f"pyro {name}": of_pyro(name) for name in fused_pyro.__all__},
}


def _save(thing: Any, **options: Any) -> Any:
    file = io.BytesIO()
    torch.save(thing, file, **options)
    file.seek(0)
    return torch.load(file, weights_only=False)


WAYS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "torch.save": _save,
    "torch.save, old format": lambda thing: _save(thing, _use_new_zipfile_serialization=False),
    "between processes": lambda thing: pickle.loads(multiprocessing.reduction.ForkingPickler.dumps(thing)),
    "oldest pickle": lambda thing: pickle.loads(pickle.dumps(thing, 2)),
    "newest pickle": lambda thing: pickle.loads(pickle.dumps(thing, pickle.HIGHEST_PROTOCOL)),
}


def assert_same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    for mine, its in zip(results(found), results(expected), strict=True):
        torch.testing.assert_close(mine, its, rtol=0, atol=0, equal_nan=True)


def patch(legacy: bool) -> None:
    for project in PATCHES:
        project.patch(legacy=legacy)


def unpatch() -> None:
    for project in PATCHES:
        project.unpatch()


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")  # of a class made while patching
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", THINGS)
def test_what_was_saved_is_what_it_was(name: str, way: str) -> None:
    for legacy in (False, True):
        patch(legacy)
        thing = THINGS[name]()
        assert type(thing).__module__.startswith("genkern.")
        assert_same(WAYS[way](thing), thing)
        unpatch()
        assert_same(WAYS[way](thing), thing)  # its class is there without the patch


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", PATCHED)
def test_a_projects_own_are_saved_as_ever_while_a_patch_is_in_force(name: str, way: str) -> None:
    thing = THINGS[name]()
    assert type(thing).__module__.startswith(name.split(",")[0].split()[0].replace("Oobleck", "diffusers"))
    expected = WAYS[way](thing)
    assert_same(expected, thing)
    patch(legacy=False)
    assert_same(WAYS[way](thing), thing)
    unpatch()
    assert_same(WAYS[way](thing), thing)


@pytest.mark.parametrize("name", PATCHED)
def test_a_pickle_of_a_projects_own_is_loaded_by_what_its_name_means(name: str) -> None:
    thing = THINGS[name]()
    stored = pickle.dumps(thing)
    patch(legacy=True)
    while_patched = pickle.dumps(thing)
    loaded = pickle.loads(stored)
    assert type(loaded).__module__.startswith("genkern.")
    if isinstance(loaded, torch.nn.Module):
        results(loaded)
        assert all(map(torch.equal, loaded.state_dict().values(), thing.state_dict().values()))
    else:
        for attribute, value in vars(thing).items():
            found = getattr(loaded, attribute)
            assert torch.equal(found, value) if isinstance(value, torch.Tensor) else found == value
        torch.testing.assert_close(loaded.kl(loaded), thing.kl(thing), equal_nan=True)
        assert_same(pickle.loads(pickle.dumps(loaded)), loaded)
    assert type(pickle.loads(while_patched)) is type(thing)  # the name alone is ambiguous there, the object is not
    unpatch()
    assert_same(pickle.loads(while_patched), thing)


def test_a_fresh_process_loads_everything(tmp_path: Path) -> None:
    pickles, expected = {}, {}
    for legacy in (False, True):
        patch(legacy)
        for name, make in THINGS.items():
            thing = make()
            pickles[f"{name} {legacy}"] = pickle.dumps(thing)
            expected[f"{name} {legacy}"] = results(thing)
        unpatch()
    for name, make in PATCHED.items():
        thing = make()
        patch(legacy=False)
        pickles[f"{name} of the project"] = pickle.dumps(thing)
        unpatch()
        expected[f"{name} of the project"] = results(thing)
    path = tmp_path / "things"
    path.write_bytes(pickle.dumps(pickles))
    command = [sys.executable, "-W", "ignore", saved.__file__, str(path)]
    folders = os.pathsep.join(
        filter(None, [str(Path(fused_diffusers.__file__).parents[2]), os.environ.get("PYTHONPATH")])
    )
    threads = str(torch.get_num_threads())  # by which a matrix product of torch's rounds
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": folders, "OMP_NUM_THREADS": threads})
    loaded = torch.load(path)
    assert loaded.keys() == expected.keys()
    for name, (module, found) in loaded.items():
        assert module.startswith("genkern.") != name.endswith("project"), name
        for mine, its in zip(found, expected[name], strict=True):
            torch.testing.assert_close(mine, its, rtol=0, atol=0, equal_nan=True, msg=name)


@pytest.mark.parametrize("name", MODELS)
def test_a_folder_of_pythaes_is_loaded_by_either(name: str, tmp_path: Path) -> None:
    build = model(name)
    own = build()
    own.save(str(tmp_path / "own"))
    patch(legacy=True)
    fused = build()
    fused.save(str(tmp_path / "fused"))
    for load in (getattr(models, name).load_from_folder, models.AutoModel.load_from_folder):
        for folder in ("own", "fused"):
            assert_same(load(str(tmp_path / folder)).double(), fused)
    unpatch()
    for load in (getattr(models, name).load_from_folder, models.AutoModel.load_from_folder):
        for folder in ("own", "fused"):
            assert_same(load(str(tmp_path / folder)).double(), own)


@pytest.mark.parametrize("name", MODELS)
def test_a_patched_model_is_in_the_module(name: str) -> None:
    patch(legacy=False)
    assert getattr(fused_pythae, name) is getattr(models, name)
    assert getattr(models, name).__name__ == name  # by which pythae finds its configuration
    unpatch()
    patch(legacy=True)
    assert issubclass(getattr(fused_pythae, name), getattr(fused_pythae, f"{name}Mixin"))
    assert getattr(fused_pythae, name) is not getattr(models, name)
    with pytest.raises(AttributeError, match="no attribute 'RHVAE'"):
        fused_pythae.RHVAE  # noqa: B018
