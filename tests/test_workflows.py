"""What the workflows run is there. (That they are workflows, `make lint` says.)"""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def commands(workflow):
    jobs = yaml.safe_load(workflow.read_text())["jobs"].values()
    return [step["run"] for job in jobs for step in job.get("steps", []) if "run" in step]


pytestmark = pytest.mark.skipif(not (ROOT / ".github").is_dir(), reason="a source archive has no workflows")


def test_there_are_workflows():
    assert {path.stem for path in WORKFLOWS} == {"test", "wheels", "release"}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_each_make_target_exists(workflow):
    called = re.findall(r"^make ([a-z-]+)", "\n".join(commands(workflow)), re.MULTILINE)
    assert set(called) <= TARGETS


def test_the_targets_of_ci_are_called():
    ci = re.findall(r"^ *section make ([a-z-]+)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    every = " ".join(command for workflow in WORKFLOWS for command in commands(workflow))
    assert {"test", "lint", "sanitize"} <= set(ci)
    assert [target for target in ci if f"make {target}" not in every] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_each_file_that_a_command_names_exists(workflow):
    named = [
        path for command in commands(workflow) for path in re.findall(r"\b(?:tests|scripts|genkern)/[\w/.]+", command)
    ]
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_torch_that_is_tested_is_one_that_wheels_are_built_for(workflow):
    releases = set(re.findall(r'"(\d+\.\d+\.\d+)"', (ROOT / "scripts" / "build_wheel.py").read_text()))
    tested = set(re.findall(r'"(2\.\d+\.\d+)"|torch==(2\.\d+\.\d+)', workflow.read_text()))
    assert {version for pair in tested for version in pair if version} <= releases
