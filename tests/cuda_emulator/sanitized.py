"""The suite on the emulated kernels under AddressSanitizer and UndefinedBehaviorSanitizer: `make sanitize`.

Every test that takes the backend, once. That the end of a tensor is known is shown in test_planted_faults.py.
"""

from __future__ import annotations

import os
import subprocess
import sys

from cuda_emulator.build import ROOT, environment
from support import emulated

from genkern import _backend

SANITIZE = ("address", "undefined")
PARALLEL = ("-n", "auto", "--dist", "worksteal")


def main(*arguments: str) -> int:
    missing = emulated.missing() or (f"no compiled kernels: {_backend.reason}" if not _backend.native else None)
    if missing:
        print(f"make sanitize: {missing}")
        return 1
    emulated.library(SANITIZE)  # here, where no compiler runs with the preloaded runtime
    variables = {**os.environ, **environment(SANITIZE, preload=True), "GENKERN_EMULATOR_SANITIZE": ",".join(SANITIZE)}
    command = [sys.executable, "-m", "pytest", "--capture=sys", "tests", "-k", "cuda-emulated", *PARALLEL, *arguments]
    return subprocess.run(command, cwd=ROOT, env=variables).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
