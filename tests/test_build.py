"""What gets built, on which machine, and what is said about the rest."""

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import build_plan
import pytest
from build_plan import BuildError, Toolkit, Torch, decide

import genkern.rebuild
from genkern import _help

pytestmark = pytest.mark.late

ROOT = Path(__file__).resolve().parents[1]
CPU_TORCH = Torch(version="2.13.0+cpu", cuda=None, cxx11_abi=True, packages=Path("/nonexistent"))
NO_COMPILER = {"PATH": "/nonexistent"}


def cuda_torch(version="13.0", packages=Path("/nonexistent")):
    return Torch(version="2.14.1+cu", cuda=version, cxx11_abi=True, packages=packages)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """An environment with a compiler on PATH, and no CUDA toolkit anywhere."""
    monkeypatch.setattr(build_plan, "SYSTEM", tmp_path / "system")
    executable(tmp_path / "path" / "c++")
    return {"PATH": str(tmp_path / "path")}


def executable(path, script="exit 0"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def toolkit(root, version="13.0"):
    """A CUDA toolkit as far as its files tell; its nvcc answers --dryrun as the real one does."""
    major, minor = map(int, version.split("."))
    (root / "include").mkdir(parents=True)
    (root / "include" / "cuda_runtime.h").touch()
    (root / "include" / "cuda_runtime_api.h").write_text(f"#define CUDART_VERSION  {major * 1000 + minor * 10}\n")
    executable(root / "bin" / "nvcc", f"echo '#$ _HERE_={root}/bin' >&2")
    return root


class TestNativeCode:
    def test_is_built_where_there_is_a_compiler(self, machine):
        plan = decide(machine, CPU_TORCH)
        assert plan.native and plan.native_reason is None and plan.compiler == "c++"

    def test_is_left_out_without_a_compiler_and_the_reason_names_what_was_sought(self):
        plan = decide(NO_COMPILER, CPU_TORCH)
        assert not plan.native and not plan.cuda and not plan.on_request
        assert plan.native_reason == "there is no C++ compiler: none of c++, g++, clang++ is on PATH"
        assert plan.native_reason in plan.cuda_reason

    def test_is_left_out_where_cxx_names_no_compiler(self, machine):
        plan = decide({**machine, "CXX": "/nonexistent/g++ -m64"}, CPU_TORCH)
        assert plan.native_reason == "there is no C++ compiler: CXX=/nonexistent/g++ -m64 was not found"

    def test_takes_the_compiler_that_cxx_names(self, machine, tmp_path):
        chosen = str(executable(tmp_path / "own" / "clang"))
        assert decide({**machine, "CXX": chosen}, CPU_TORCH).compiler == chosen

    def test_is_left_out_on_request(self, machine):
        plan = decide({**machine, "GENKERN_NATIVE": "0"}, CPU_TORCH)
        assert not plan.native and plan.on_request
        assert "GENKERN_NATIVE=0" in plan.native_reason

    def test_is_an_error_where_it_is_demanded_without_a_compiler(self):
        with pytest.raises(BuildError, match=r"GENKERN_NATIVE=1, but there is no C\+\+ compiler"):
            decide({**NO_COMPILER, "GENKERN_NATIVE": "1"}, CPU_TORCH)

    def test_is_an_error_without_torch_and_the_message_gives_the_command(self, machine):
        with pytest.raises(BuildError, match="pip install --no-build-isolation"):
            decide(machine, None)

    def test_is_an_error_with_a_torch_that_is_too_old(self, machine):
        old = Torch(version="2.9.1+cu128", cuda="12.8", cxx11_abi=True, packages=Path("/nonexistent"))
        with pytest.raises(BuildError, match=r"torch 2\.9\.1\+cu128 is installed, and genkern needs 2\.11 or newer"):
            decide(machine, old)

    def test_needs_no_torch_where_none_is_built(self, machine):
        assert not decide({**machine, "GENKERN_NATIVE": "0"}, None).native

    def test_is_left_out_on_windows_whatever_compiler_is_there(self, machine):
        plan = decide(machine, CPU_TORCH, "win32")
        assert not plan.native and not plan.cuda and plan.on_request
        assert plan.native_reason == "genkern has no compiled kernels for Windows"
        assert not decide({}, None, "win32").native
        with pytest.raises(BuildError, match="GENKERN_NATIVE=1, but genkern has no compiled kernels for Windows"):
            decide({**machine, "GENKERN_NATIVE": "1"}, CPU_TORCH, "win32")

    @pytest.mark.parametrize("system", ["linux", "darwin"])
    def test_is_built_elsewhere_by_flags_that_gcc_and_clang_know(self, machine, system):
        assert decide(machine, CPU_TORCH, system).native
        assert not [flag for flag in build_plan.CXX_FLAGS if flag.startswith(("-Wl,", "-m", "-fopenmp"))]

    @pytest.mark.parametrize("name", ["GENKERN_NATIVE", "GENKERN_CUDA"])
    def test_switches_other_than_0_and_1_are_refused_by_name(self, machine, name):
        with pytest.raises(BuildError, match=f"{name}: expected 0, 1 or unset, got 'yes'"):
            decide({**machine, name: "yes"}, CPU_TORCH)


class TestCuda:
    def test_is_built_where_torch_and_toolkit_have_the_same_major_version(self, machine, tmp_path):
        root = toolkit(tmp_path / "kit", "13.2")
        plan = decide({**machine, "CUDA_HOME": str(root)}, cuda_torch("13.0"))
        assert plan.cuda and plan.cuda_reason is None
        assert plan.toolkit == Toolkit(root, "13.2")

    def test_does_not_ask_for_a_gpu(self, machine, tmp_path, monkeypatch):
        monkeypatch.setattr("torch.cuda.is_available", lambda: pytest.fail("the build asked for a GPU"))
        toolkit(tmp_path / "system" / "cuda")
        assert decide(machine, cuda_torch()).cuda

    def test_is_left_out_where_torch_has_none(self, machine, tmp_path):
        toolkit(tmp_path / "system" / "cuda")
        plan = decide(machine, CPU_TORCH)
        assert plan.native and not plan.cuda
        assert plan.cuda_reason == "torch 2.13.0+cpu was built without CUDA"

    def test_is_left_out_where_the_major_versions_differ_and_both_are_named(self, machine, tmp_path):
        root = toolkit(tmp_path / "kit", "12.4")
        plan = decide({**machine, "CUDA_HOME": str(root)}, cuda_torch("13.0"))
        assert plan.native and not plan.cuda
        assert "CUDA 13.0" in plan.cuda_reason and f"12.4 in {root}" in plan.cuda_reason

    def test_is_left_out_without_a_toolkit_and_the_reason_says_what_was_sought(self, machine):
        plan = decide(machine, cuda_torch())
        assert plan.native and not plan.cuda
        assert "include/cuda_runtime.h" in plan.cuda_reason and "CUDA_HOME" in plan.cuda_reason

    def test_is_left_out_on_request(self, machine, tmp_path):
        toolkit(tmp_path / "system" / "cuda")
        plan = decide({**machine, "GENKERN_CUDA": "0"}, cuda_torch())
        assert plan.native and not plan.cuda and "GENKERN_CUDA=0" in plan.cuda_reason

    @pytest.mark.parametrize("torch", [CPU_TORCH, cuda_torch()], ids=["torch without CUDA", "no toolkit"])
    def test_is_an_error_where_it_is_demanded_and_cannot_be_built(self, machine, torch):
        with pytest.raises(BuildError, match=r"GENKERN_CUDA=1, but torch 2\.1"):
            decide({**machine, "GENKERN_CUDA": "1"}, torch)

    def test_is_an_error_where_it_is_demanded_without_a_compiler(self):
        with pytest.raises(BuildError, match=r"GENKERN_CUDA=1, but .* no C\+\+ compiler"):
            decide({**NO_COMPILER, "GENKERN_CUDA": "1"}, cuda_torch())

    def test_architectures_are_the_users_or_the_default(self, machine):
        assert decide(machine, CPU_TORCH).cuda_archs == "8.0;9.0;10.0;12.0+PTX"
        assert decide({**machine, "TORCH_CUDA_ARCH_LIST": "9.0a"}, CPU_TORCH).cuda_archs == "9.0a"


class TestToolkitIsFound:
    def test_behind_a_wrapper_script_on_path(self, machine, tmp_path):
        root = toolkit(tmp_path / "elsewhere")
        executable(tmp_path / "path" / "nvcc", f'exec {root}/bin/nvcc "$@"')
        assert decide(machine, cuda_torch()).toolkit == Toolkit(root, "13.0")

    def test_behind_a_link_on_path(self, machine, tmp_path):
        root = toolkit(tmp_path / "elsewhere")
        (tmp_path / "path" / "nvcc").symlink_to(root / "bin" / "nvcc")
        assert decide(machine, cuda_torch()).toolkit == Toolkit(root, "13.0")

    def test_where_another_major_version_comes_first(self, machine, tmp_path):
        toolkit(tmp_path / "system" / "cuda", "12.8")
        fitting = toolkit(tmp_path / "system" / "cuda-13.0")
        assert decide(machine, cuda_torch()).toolkit == Toolkit(fitting, "13.0")

    def test_beside_torch_where_pypi_packages_put_it(self, machine, tmp_path):
        root = toolkit(tmp_path / "packages" / "nvidia" / "cu13")
        assert decide(machine, cuda_torch(packages=tmp_path / "packages")).toolkit == Toolkit(root, "13.0")

    def test_only_where_headers_and_compiler_are(self, machine, tmp_path):
        root = toolkit(tmp_path / "system" / "cuda")
        (root / "include" / "cuda_runtime.h").unlink()
        assert decide(machine, cuda_torch()).toolkit is None
        (root / "include" / "cuda_runtime.h").touch()
        (root / "bin" / "nvcc").unlink()
        assert decide(machine, cuda_torch()).toolkit is None


class TestJobs:
    def test_are_as_many_as_memory_holds(self, monkeypatch):
        monkeypatch.setattr(build_plan.os, "sched_getaffinity", lambda _: range(64), raising=False)
        monkeypatch.setattr(build_plan, "_available_gib", lambda: 9.0)
        assert build_plan.job_count({}) == 4

    def test_are_no_more_than_the_cores(self, monkeypatch):
        monkeypatch.setattr(build_plan.os, "sched_getaffinity", lambda _: range(2), raising=False)
        monkeypatch.setattr(build_plan, "_available_gib", lambda: 512.0)
        assert build_plan.job_count({}) == 2

    def test_are_at_least_one(self, monkeypatch):
        monkeypatch.setattr(build_plan, "_available_gib", lambda: 0.5)
        assert build_plan.job_count({}) == 1

    def test_are_the_users_choice(self):
        assert build_plan.job_count({"MAX_JOBS": "7"}) == 7


@pytest.fixture
def tree(tmp_path):
    return source_tree(tmp_path / "tree")


def source_tree(root):
    """The files of a source tree that a build reads, with next to nothing to compile."""
    ignore = shutil.ignore_patterns("__pycache__", "*.so", "_build.json", "*.tmp")
    shutil.copytree(ROOT / "genkern", root / "genkern", ignore=ignore)
    shutil.copytree(ROOT / "scripts", root / "scripts", ignore=ignore)
    for name in ("pyproject.toml", "setup.py", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "docs", root / "docs", ignore=shutil.ignore_patterns("*.png"))
    (root / "README.md").touch()
    (root / "csrc").mkdir()
    return root


def run(*command, cwd, check=True, **env):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GENKERN_")}
    result = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env={**inherited, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert not check or result.returncode == 0, result.stdout
    return result


def pip_install(tree, target, **env):
    flags = ["--no-build-isolation", "--no-deps", "--no-index", "--disable-pip-version-check"]
    return run("-m", "pip", "install", "-v", *flags, "--target", target, ".", cwd=tree, **env)


def ask(target, *flags):
    """What genkern says of itself, installed there; the last line printed is the answer."""
    code = "import json, genkern; print(json.dumps([genkern.__file__, genkern.info()]))"
    said = run(*flags, "-c", code, cwd=target, PYTHONPATH=str(target)).stdout
    file, info = json.loads(said.splitlines()[-1])
    assert Path(file).parent == target / "genkern"
    assert Path(info["help"].partition("#")[0]).parent == target / "genkern" / "_docs"
    assert sorted(path.name for path in (target / "genkern" / "_docs").iterdir()) == _help.PAGES
    return info, said


def test_install_without_a_compiler_is_pure_python_and_says_so(tree, tmp_path):
    target = tmp_path / "site"
    reason = "there is no C++ compiler: CXX=/nonexistent was not found"
    said = pip_install(tree, target, CXX="/nonexistent").stdout
    assert f"genkern: pure-Python install, {reason}" in said
    assert not list(target.glob("genkern/_C*"))

    info, said = ask(target)
    assert info["backend"] == "reference" and info["reason"] == reason
    assert f"RuntimeWarning: genkern runs on the reference: {reason}" in said


def test_install_on_request_without_native_code_imports_without_a_warning(tree, tmp_path):
    target = tmp_path / "site"
    assert "GENKERN_NATIVE=0" in pip_install(tree, target, GENKERN_NATIVE="0").stdout
    info, said = ask(target, "-W", "error:genkern")
    assert info["backend"] == "reference" and "GENKERN_NATIVE=0" in info["reason"]
    assert "Warning: genkern" not in said


def test_install_works_from_read_only_site_packages(tree, tmp_path):
    target = tmp_path / "site"
    pip_install(tree, target, GENKERN_NATIVE="0")
    entries = [target, *target.rglob("*")]
    for entry in entries:
        entry.chmod(entry.stat().st_mode & ~0o222)
    before = {entry: entry.stat().st_mtime_ns for entry in entries}
    try:
        assert ask(target, "-B")[0]["backend"] == "reference"
        assert {entry: entry.stat().st_mtime_ns for entry in [target, *target.rglob("*")]} == before
    finally:
        for entry in entries:
            entry.chmod(entry.stat().st_mode | 0o200)


needs_compiler = pytest.mark.skipif(
    build_plan.find_compiler(os.environ)[0] is None, reason="there is no C++ compiler on this machine"
)


# It compiles at once; an import that loads it says so.
MODULE = """#include <Python.h>
PyMODINIT_FUNC PyInit__C() {
  PyErr_SetString(PyExc_ImportError, "no kernels, but loaded");
  return nullptr;
}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A pure-Python install that carries its sources."""
    root = tmp_path_factory.mktemp("sources")
    tree = source_tree(root / "tree")
    (tree / "csrc" / "module.cpp").write_text(MODULE)
    pip_install(tree, root / "site", GENKERN_NATIVE="0")
    return root / "site"


@pytest.fixture
def installed(site, tmp_path):
    """One that a test may change."""
    return Path(shutil.copytree(site, tmp_path / "site"))


def rebuild(where, **env):
    said = run("-m", "genkern.rebuild", cwd=where, check=False, PYTHONPATH=str(where), GENKERN_CUDA="0", **env)
    return said.returncode, said.stdout


def built(folder):
    record = json.loads((folder / "_build.json").read_text())
    assert (folder / f"_C{record['extension_suffix']}").is_file()
    return record["torch"]


class TestRebuild:
    @needs_compiler
    def test_of_an_installed_package_is_loaded_next(self, installed):
        code, said = rebuild(installed)
        assert code == 0, said
        (folder,) = (installed / "genkern" / "_binaries").iterdir()
        assert built(folder) == Torch.running().version
        assert f"built for torch {Torch.running().version}: {folder}" in said
        assert "no kernels, but loaded" in ask(installed)[0]["reason"]

    @needs_compiler
    def test_leaves_a_binary_for_another_torch_beside_it(self, tree):
        (tree / "csrc" / "module.cpp").write_text(MODULE)
        other = {"torch": "2.11.0", "extension_suffix": ".so"}
        (tree / "genkern" / "_build.json").write_text(json.dumps(other))
        (tree / "genkern" / "_C.so").write_text("of another torch")
        assert rebuild(tree)[0] == 0
        assert built(tree / "genkern") == "2.11.0"
        assert (tree / "genkern" / "_C.so").read_text() == "of another torch"
        (own,) = (tree / "genkern" / "_binaries").iterdir()
        assert built(own) == Torch.running().version

    @needs_compiler
    def test_replaces_a_binary_for_the_same_torch(self, tree):
        (tree / "csrc" / "module.cpp").write_text(MODULE)
        run("setup.py", "build_ext", "--inplace", cwd=tree, GENKERN_CUDA="0")
        (binary,) = (tree / "genkern").glob("_C*.so")
        binary.write_bytes(binary.read_bytes()[:100])
        assert rebuild(tree)[0] == 0
        assert binary.stat().st_size > 1000 and not (tree / "genkern" / "_binaries").exists()

    @needs_compiler
    def test_that_fails_to_compile_leaves_what_was_there(self, installed):
        (installed / "genkern" / "_source" / "csrc" / "module.cpp").write_text("#error this source is broken\n")
        before = (installed / "genkern" / "_build.json").read_text()
        code, said = rebuild(installed)
        assert code == 2 and "this source is broken" in said and "genkern: the build failed" in said
        assert (installed / "genkern" / "_build.json").read_text() == before
        assert not (installed / "genkern" / "_binaries").exists()

    def test_is_not_kept_from_it_by_the_variables_of_another_build(self, installed):
        code, said = rebuild(installed, CXX="/nonexistent", GENKERN_NATIVE="0", GENKERN_KERNELS="nowhere.a")
        assert code == 2 and "GENKERN_NATIVE=1, but there is no C++ compiler" in said

    def test_without_a_compiler_says_so(self, installed):
        code, said = rebuild(installed, CXX="/nonexistent")
        assert code == 2 and "there is no C++ compiler: CXX=/nonexistent was not found" in said

    def test_without_sources_says_so(self, tmp_path, monkeypatch):
        monkeypatch.setattr(genkern.rebuild, "__file__", str(tmp_path / "genkern" / "rebuild.py"))
        with pytest.raises(genkern.rebuild.RebuildError, match=f"there are no sources in {tmp_path}/genkern/_source"):
            genkern.rebuild.rebuild()

    def test_without_its_tools_names_them(self, monkeypatch):
        monkeypatch.setattr(genkern.rebuild, "_NEEDED", ("setuptools", "not_installed"))
        with pytest.raises(genkern.rebuild.RebuildError, match=r"not_installed must be installed: pip install"):
            genkern.rebuild.rebuild()


@needs_compiler
def test_compile_error_fails_the_install(tree):
    (tree / "csrc" / "module.cpp").write_text("#error this source is broken\n")
    result = run("setup.py", "build_ext", "--inplace", cwd=tree, check=False, GENKERN_CUDA="0")
    assert result.returncode != 0
    assert "this source is broken" in result.stdout
    assert not (tree / "genkern" / "_build.json").exists()


@needs_compiler
def test_second_build_compiles_nothing(tree):
    (tree / "csrc" / "module.cpp").write_text(MODULE)
    build = ("setup.py", "build_ext", "--inplace")
    assert "[1/1]" in run(*build, cwd=tree, GENKERN_CUDA="0").stdout
    assert "ninja: no work to do" in run(*build, cwd=tree, GENKERN_CUDA="0").stdout

    record = json.loads((tree / "genkern" / "_build.json").read_text())
    assert record["native"] and record["reason"] is None and record["compiler"]
    assert (tree / "genkern" / f"_C{record['extension_suffix']}").is_file()
    assert record["torch"] == Torch.running().version
    assert not list(tree.rglob("*.tmp"))


def test_instruction_sets_share_no_code():
    """Of a function in several translation units the linker keeps one, which every machine must be able to run."""
    folder = ROOT / "build" / f"native-{sys.implementation.cache_tag}-torch{Torch.running().version}"
    objects = sorted(folder.rglob("avx*.o"))
    if not objects or platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("genkern was not built here, or not for x86-64")
    said = subprocess.run(["nm", "-C", *objects], capture_output=True, text=True, check=True).stdout
    shared = {line[19:] for line in said.splitlines() if line[17:18] in ("W", "V", "u")}
    assert [name for name in shared if "genkern::avx2::" in name]  # there are such functions
    assert not [name for name in shared if "avx2::" not in name and "avx512::" not in name and "DW.ref" not in name]
