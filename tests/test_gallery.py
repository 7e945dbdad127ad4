"""docs/gallery.md: what it shows is there, and is all that the commands draw. (`python docs/gallery.py` draws it.)"""

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
DRAW_NOTHING = {"evaluate", "export", "info", "rebuild"}


@pytest.fixture(scope="module")
def gallery() -> ModuleType:
    pytest.importorskip("typer")
    spec = importlib.util.spec_from_file_location("gallery", ROOT / "docs" / "gallery.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page(gallery: ModuleType) -> str:
    return gallery.PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def app() -> Any:
    typer = pytest.importorskip("typer")
    from genkern.cli.app import app

    return typer.main.get_command(app)


def test_the_folder_has_the_pictures_that_the_page_shows_and_no_others(gallery: ModuleType, page: str) -> None:
    shown = gallery.pictures(page)
    assert len(shown) == len(set(shown))
    assert sorted(shown) == sorted(str(path.relative_to(gallery.FOLDER)) for path in gallery.FOLDER.rglob("*.*"))
    for name in shown:
        assert (gallery.FOLDER / name).read_bytes().startswith(b"\x89PNG"), name


def test_pictures_are_small_together(gallery: ModuleType) -> None:
    assert sum(path.stat().st_size for path in gallery.FOLDER.rglob("*.png")) < 2 * 2**20


def test_commands_have_the_options_that_the_page_gives_them(gallery: ModuleType, page: str, app: Any) -> None:
    for arguments in gallery.commands(page):
        command, rest = app, arguments
        while hasattr(command, "resolve_command"):
            with command.make_context("genkern", rest[:1], resilient_parsing=True) as context:
                name, command, rest = command.resolve_command(context, rest)
        assert command.make_context(name, list(rest)).args == []


def test_every_command_that_draws_is_on_the_page(gallery: ModuleType, page: str, app: Any) -> None:
    run = {arguments[0] for arguments in gallery.commands(page)}
    assert run | {"bench"} == set(app.commands) - DRAW_NOTHING  # of bench the page shows what was measured once


def test_every_kind_of_picture_is_on_the_page(gallery: ModuleType, page: str) -> None:
    from genkern.cli.gan.pictures import PICTURES as OF_GANS
    from genkern.cli.vae.pictures import PICTURES as OF_VAES

    shown = gallery.pictures(page)
    demos: dict[str, set[str]] = {"vae": set(), "gan": set()}
    for command, *options in gallery.commands(page):
        out = options[options.index("--out") + 1]
        if command == "demo":
            family = "gan" if "gan" in options else "vae"
            demos[family] |= {Path(name).name for name in shown if Path(name).parent == Path(out)}
        else:
            assert out in shown or any(name.startswith(f"{out}/progress/") for name in shown)
    assert demos == {"vae": set(OF_VAES), "gan": set(OF_GANS)}


def test_every_kind_of_picture_of_benchmarks_is_on_the_page(gallery: ModuleType, page: str) -> None:
    from benchmarks.plot import PLOTS

    measured = [ROOT / "docs" / address for address in re.findall(r"\]\((\.\./benchmarks/[^)]*\.png)\)", page)]
    machine = min((path.stem for path in measured), key=len)
    assert [path.stem for path in measured] == [machine + of.suffix for of in PLOTS]
    assert all(path.exists() for path in measured)
