"""Which kernels run; and that a binary which does not fit is refused, named, and never crashes the process."""

import json
import os
import shutil
import subprocess
import sys
import threading
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import build_plan
import pytest
import torch

import genkern as gk
from genkern import _backend

PACKAGE = Path(gk.__file__).parent
BINARY = f"_C{EXTENSION_SUFFIXES[0]}"
REBUILD = "python -m genkern.rebuild"


class Install:
    """A copy of genkern whose build record and binary a test may spoil."""

    def __init__(self, site):
        self.site = site
        self.folder = site / "genkern"
        ignore = shutil.ignore_patterns("__pycache__", "*.so", "_build.json")
        shutil.copytree(PACKAGE, self.folder, ignore=ignore)

    def record(self, folder=".", **changes):
        fits = {
            "genkern": gk.__version__,
            "native": True,
            "reason": None,
            "on_request": False,
            "torch": torch.__version__,
            "cxx11_abi": torch.compiled_with_cxx11_abi(),
            "python": "3",
            "extension_suffix": EXTENSION_SUFFIXES[0],
            "compiler": "c++",
            "cuda": {"toolkit": None, "archs": None, "reason": "not built"},
        }
        (self.folder / folder).mkdir(parents=True, exist_ok=True)
        (self.folder / folder / "_build.json").write_text(json.dumps({**fits, **changes}))

    def binary(self, content, folder="."):
        (self.folder / folder / BINARY).write_bytes(content)

    def of_wheel(self, version, content=b"not a library", **changes):
        """What a wheel has for that torch."""
        folder = f"_binaries/torch-{version}"
        self.record(folder, torch=version, wheel=True, **changes)
        self.binary(content, folder)
        return self.folder / folder / BINARY

    def python(self, code, **env):
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GENKERN_")}
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=self.site,
            env={**inherited, "PYTHONPATH": str(self.site), **env},
            capture_output=True,
            text=True,
            check=False,
        )

    def falls_back(self):
        """Import it: it must work on the reference, warn exactly once, and give the reason, which is returned."""
        done = self.python("import json, genkern; print(json.dumps([genkern.__file__, genkern.info()]))")
        assert done.returncode == 0, done.stderr
        file, info = json.loads(done.stdout)
        assert Path(file).parent == self.folder
        assert info["backend"] == "reference"
        assert done.stderr.count("RuntimeWarning: genkern runs on the reference") == 1
        assert f"genkern runs on the reference: {info['reason']}; see {info['help']}\n" in done.stderr
        assert info["cuda"]["built"] is False and info["cuda"]["reason"] == info["reason"]
        return info["reason"]

    def refused(self, monkeypatch):
        """The reason, asked of the loader in this process: for what is refused before anything is loaded."""
        monkeypatch.setattr(_backend, "_folder", self.folder)
        folder, _, reason = _backend._choose()
        module, reason = (None, reason) if reason else _backend._load(folder)
        assert module is None
        return reason


@pytest.fixture
def install(tmp_path):
    return Install(tmp_path)


class TestBinaryIsRefused:
    # Loading these bytes would fail with another message: they are never loaded.
    garbage = b"not a library"

    def test_when_built_for_another_torch(self, install):
        install.record(torch="2.10.0")
        install.binary(self.garbage)
        assert install.falls_back() == (
            f"genkern's binary was built for torch 2.10.0, but torch {torch.__version__} is running; "
            f"rebuild it: run '{REBUILD}'"
        )

    @pytest.mark.parametrize(
        ("field", "value", "named"),
        [
            ("torch", f"{torch.__version__}.other", f"torch {torch.__version__}.other"),
            ("torch", f"{torch.__version__.split('+')[0]}+cu1", "torch 2."),
            ("cxx11_abi", not torch.compiled_with_cxx11_abi(), "torch's C++11 ABI"),
            ("extension_suffix", ".cpython-300.so", "Python ABI .cpython-300.so"),
            ("genkern", "0.0.0", "genkern 0.0.0"),
        ],
    )
    def test_when_any_part_of_its_abi_differs(self, install, monkeypatch, field, value, named):
        install.record(**{field: value})
        install.binary(self.garbage)
        reason = install.refused(monkeypatch)
        assert f"was built for {named}" in reason and REBUILD in reason

    def test_when_it_is_missing(self, install, monkeypatch):
        install.record()
        reason = install.refused(monkeypatch)
        assert BINARY in reason and "No such file" in reason and REBUILD in reason

    def test_when_it_is_no_library(self, install):
        install.record()
        install.binary(self.garbage)
        reason = install.falls_back()
        assert BINARY in reason and REBUILD in reason

    def test_when_it_was_cut_short(self, install):
        whole = (Path(torch.__file__).parent / "lib" / "libc10.so").read_bytes()
        install.record()
        install.binary(whole[: len(whole) // 2])
        reason = install.falls_back()
        assert f"{BINARY} is cut short" in reason and REBUILD in reason

    def test_when_a_symbol_is_missing_and_the_loader_is_quoted(self, install, tmp_path):
        compiler, missing = build_plan.find_compiler(os.environ)
        if compiler is None:
            pytest.skip(missing)
        source = tmp_path / "module.cpp"
        source.write_text(
            'extern "C" int not_in_this_torch(); extern "C" int PyInit__C() { return not_in_this_torch(); }'
        )
        command = [*compiler.split(), "-shared", "-fPIC", str(source), "-o", str(install.folder / BINARY)]
        subprocess.run(command, check=True)
        install.record()
        reason = install.falls_back()
        assert "undefined symbol: not_in_this_torch" in reason and REBUILD in reason

    @pytest.mark.parametrize("text", ["", '{"native": tr', "[]"], ids=["empty", "cut short", "another layout"])
    def test_when_its_build_record_is_broken(self, install, monkeypatch, text):
        (install.folder / "_build.json").write_text(text)
        install.binary(self.garbage)
        reason = install.refused(monkeypatch)
        assert "genkern/_build.json cannot be read" in reason and REBUILD in reason

    def test_when_it_was_never_built(self, install):
        assert install.falls_back().startswith("genkern was never built here")


SERIES, PATCH = torch.__version__.split("+")[0].rsplit(".", 1)


class TestWheel:
    """A binary for each of several torch releases."""

    def chosen(self, install, monkeypatch):
        monkeypatch.setattr(_backend, "_folder", install.folder)
        folder, _, reason = _backend._choose()
        return reason or folder / BINARY

    @pytest.mark.parametrize("version", [torch.__version__, f"{SERIES}.{PATCH}", f"{SERIES}.9+cu999"])
    def test_that_of_the_running_series_is_loaded(self, install, monkeypatch, version):
        install.of_wheel("2.1.0")
        own = install.of_wheel(version)
        install.of_wheel("99.0.0")
        assert self.chosen(install, monkeypatch) == own

    def test_it_runs(self, install):
        install.of_wheel("99.0.0")
        own = install.of_wheel(torch.__version__, (PACKAGE / BINARY).read_bytes())
        code = "import genkern as gk, torch; gk.gaussian_kl(*torch.ones(2, 2, 3)); print(gk.info()['binary'])"
        done = install.python(code, GENKERN_BACKEND="native")
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, str(own), "")

    @pytest.mark.parametrize("version", [f"{SERIES}.0a0+git1234567", f"{SERIES}.0.dev20260101", "99.0.0"])
    def test_none_fits_and_the_command_that_builds_one_is_named(self, install, monkeypatch, version):
        install.of_wheel("2.1.0")
        install.of_wheel(version)
        assert self.chosen(install, monkeypatch) == (
            f"genkern has binaries for torch 2.1.0, {version}, and torch {torch.__version__} is running; "
            f"build one: run '{REBUILD}'"
        )

    def test_one_for_another_python_is_refused(self, install, monkeypatch):
        install.of_wheel(torch.__version__, extension_suffix=".cpython-300.so")
        assert "Python ABI .cpython-300.so" in self.chosen(install, monkeypatch)

    def test_an_own_build_goes_first_and_one_that_does_not_fit_is_passed_over(self, install, monkeypatch):
        of_wheel = install.of_wheel(torch.__version__)
        install.record()
        assert self.chosen(install, monkeypatch) == install.folder / BINARY
        install.record(torch="2.10.0")
        assert self.chosen(install, monkeypatch) == of_wheel

    def test_a_rebuilt_one_goes_before_the_wheels(self, install, monkeypatch):
        install.of_wheel(torch.__version__)
        install.record("_binaries/torch-rebuilt")
        assert self.chosen(install, monkeypatch) == install.folder / "_binaries/torch-rebuilt" / BINARY

    @pytest.mark.parametrize(
        ("running", "has", "kind"),
        [
            (None, ("none", "12", "13"), "none"),
            ("13.0", ("none", "12", "13"), "13"),
            ("13.2", ("none", "12", "13"), "13"),
            ("12.8", ("none", "12", "13"), "12"),
            ("14.0", ("none", "12", "13"), "none"),
            ("13.0", ("none",), "none"),
            ("13.0", ("13",), "13"),
        ],
    )
    def test_one_with_cuda_serves_a_torch_of_the_same_major_version(self, install, monkeypatch, running, has, kind):
        monkeypatch.setattr(torch.version, "cuda", running)
        paths = {}
        for cuda in has:
            folder = f"_binaries/torch-{SERIES}-{cuda}"
            toolkit = {"toolkit": None if cuda == "none" else f"{cuda}.1", "archs": "9.0", "reason": None}
            install.record(folder, torch=torch.__version__, wheel=True, cuda=toolkit)
            paths[cuda] = install.folder / folder / BINARY
        assert self.chosen(install, monkeypatch) == paths[kind]

    def test_one_with_cuda_alone_is_refused_by_a_torch_without(self, install, monkeypatch):
        monkeypatch.setattr(torch.version, "cuda", None)
        install.of_wheel(torch.__version__, cuda={"toolkit": "13.0", "archs": "9.0", "reason": None})
        assert "was built for CUDA 13, but CUDA none is running" in self.chosen(install, monkeypatch)


class TestEnvironment:
    def test_native_without_a_binary_is_an_import_error_with_the_reason(self, install):
        install.record(torch="2.10.0")
        done = install.python("import genkern", GENKERN_BACKEND="native")
        assert done.returncode == 1
        assert "ImportError: GENKERN_BACKEND=native, but genkern's binary was built for torch 2.10.0" in done.stderr
        assert f"run 'GENKERN_BACKEND=auto {REBUILD}'" in done.stderr

    def test_reference_is_a_choice_and_gives_no_warning(self, install):
        install.record(torch="2.10.0")
        done = install.python("import genkern; print(genkern.info()['mode'])", GENKERN_BACKEND="reference")
        assert done.stdout == "reference\n"
        assert "genkern runs on the reference" not in done.stderr

    def test_other_values_are_refused_by_name(self, install):
        install.record()
        done = install.python("import genkern", GENKERN_BACKEND="fast")
        assert done.returncode == 1
        expected = "ValueError: GENKERN_BACKEND: expected 'auto', 'native' or 'reference', got 'fast'"
        assert expected in done.stderr


class TestUseBackend:
    @pytest.fixture(autouse=True)
    def _restored(self):
        before = _backend.mode
        yield
        _backend.mode = before

    def test_as_a_function_lasts(self):
        gk.use_backend("reference")
        assert _backend.backend() == "reference"
        gk.use_backend("auto")
        assert _backend.backend() == "auto"

    def test_as_a_context_manager_restores_what_was_before(self):
        gk.use_backend("auto")
        with gk.use_backend("reference"):
            with gk.use_backend("auto"):
                assert _backend.backend() == "auto"
            assert _backend.backend() == "reference"
        assert _backend.backend() == "auto"

    def test_restores_after_an_error(self):
        gk.use_backend("auto")
        with pytest.raises(KeyError), gk.use_backend("reference"):
            raise KeyError
        assert _backend.backend() == "auto"

    def test_reaches_other_threads(self):
        seen = []
        with gk.use_backend("reference"):
            thread = threading.Thread(target=lambda: seen.append(_backend.backend()))
            thread.start()
            thread.join()
        assert seen == ["reference"]

    @pytest.mark.parametrize("name", ["", "cuda", "Native", None, 1])
    def test_refuses_other_names_and_changes_nothing(self, name):
        gk.use_backend("reference")
        error = ValueError if isinstance(name, str) else TypeError
        with pytest.raises(error, match=r"name: expected ('auto', 'native' or 'reference'|a str), got"):
            gk.use_backend(name)
        assert _backend.backend() == "reference"

    def test_native_without_a_binary_says_why_and_changes_nothing(self, monkeypatch):
        monkeypatch.setattr(_backend, "native", None)
        monkeypatch.setattr(_backend, "reason", "the stated reason")
        gk.use_backend("auto")
        with pytest.raises(RuntimeError, match="backend 'native' is not available: the stated reason"):
            gk.use_backend("native")
        assert _backend.backend() == "auto"

    def test_holds_inside_compiled_code_and_when_it_changes_later(self):
        @torch.compile(backend="eager", fullgraph=True)
        def which(x):
            return x + (1 if _backend.mode == "reference" else 2)

        zero = torch.zeros(())
        for name, expected in (("auto", 2), ("reference", 1), ("auto", 2)):
            with gk.use_backend(name):
                assert which(zero) == expected

    def test_can_be_entered_inside_compiled_code(self):
        @torch.compile(backend="eager", fullgraph=True)
        def which(x):
            with gk.use_backend("reference"):
                x = x + (1 if _backend.mode == "reference" else 2)
            return x + (10 if _backend.mode == "reference" else 20)

        gk.use_backend("auto")
        assert which(torch.zeros(())) == 21
        assert _backend.backend() == "auto"


class TestInfo:
    def test_names_what_runs(self):
        info = gk.info()
        assert info["genkern"] == gk.__version__
        assert info["torch"]["running"] == torch.__version__
        assert info["backend"] == ("native" if _backend.native and _backend.mode != "reference" else "reference")
        assert (info["reason"] is None) == (_backend.native is not None)
        assert info["threads"] >= 1
        json.dumps(info)

    def test_gives_a_reason_for_whatever_is_missing(self):
        cuda = gk.info()["cuda"]
        assert cuda["built"] == gk.has_native("cuda") == (cuda["reason"] is None)
        assert (cuda["device"] is None) == bool(cuda["device_reason"])

    def test_of_a_native_build_lists_the_isa_in_use(self):
        if _backend.native is None:
            pytest.skip(f"native kernels: {_backend.reason}")
        isa = gk.info()["isa"]
        assert isa["chosen"] in isa["available"]

    def test_has_native_is_false_for_devices_without_kernels_and_says_why(self):
        assert not gk.has_native("xpu")
        assert _backend.why_not("xpu")

    def test_cpu_kernels_are_there_exactly_if_a_binary_is(self):
        assert gk.has_native("cpu") == (_backend.native is not None)
