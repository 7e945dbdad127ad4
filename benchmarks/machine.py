"""What ran: a public name for the machine, and the versions that a result belongs to."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

import genkern as gk

_ROOT = Path(__file__).parents[1]


def describe(device: str = "cpu") -> dict[str, Any]:
    """The processor, and a file name made of it: no host name, so equal machines share results."""
    cpu, cores, isa = cpu_model(), _cores(), _isa()
    if device == "cuda":
        gpu = torch.cuda.get_device_name()
        return {"name": gpu_name(gpu), "gpu": gpu, "cpu": cpu, "cores": cores, "isa": isa}
    return {"name": machine_name(cpu, cores, isa), "cpu": cpu, "cores": cores, "isa": isa}


def title(machine: dict[str, Any]) -> str:
    return machine.get("gpu") or f"{machine['cpu']}, {machine['cores']} cores, {machine['isa']}"


def gpu_name(gpu: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-")


def machine_name(cpu: str, cores: int, isa: str) -> str:
    words = re.sub(r"\((r|tm)\)|@.*|\bcpu\b|\bprocessor\b|\b\d+-core\b", " ", cpu.lower())
    return re.sub(r"[^a-z0-9]+", "-", f"{words} {cores} cores {isa}").strip("-")


def cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists() and (found := re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)):
        return found[1].strip()
    return platform.processor() or platform.machine()


def describe_run() -> dict[str, Any]:
    """When, of what commit and with what versions; the load before it tells a quiet run from a noisy one."""
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": _commit(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "genkern": gk.__version__},
        "isa": _isa(),
        "torch_isa": torch.backends.cpu.get_cpu_capability().lower(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _isa() -> str:
    isa = gk.info()["isa"]
    return str(isa["chosen"]) if isa else "reference"


def _commit() -> str | None:
    """Marked -dirty where the code that is measured differs from the commit."""
    try:
        head = _git("rev-parse", "--short=10", "HEAD")
        return head + ("-dirty" if _git("status", "--porcelain", "--", "genkern", "csrc", "benchmarks/*.py") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*args: str) -> str:
    return subprocess.run(["git", *args], cwd=_ROOT, capture_output=True, text=True, check=True).stdout.strip()
