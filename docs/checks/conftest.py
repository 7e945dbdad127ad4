"""Fixtures of the site's checks, which `make docs` runs on what it has built."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests"))  # for `from support import ...`


@pytest.fixture(scope="session")
def site() -> Path:
    built = ROOT / "build" / "docs"
    assert (built / "index.html").exists(), "`make docs` builds the site first"
    return built
