"""A site with a fault in it is not built: each of these turns `make docs` red."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[1]
SOUND = "# A page\n\n[itself](index.md#a-page), `no name`, $x^2$ and a [notebook](notebook.md).\n"
NOTEBOOK = """---
orphan: true
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  name: python3
  display_name: Python 3
---

# A notebook

```{code-cell} ipython3
%s
```
"""
FAULTS = {
    "gone.md": "[a page](gone.md)",
    "no-such-heading": "[an anchor](index.md#no-such-heading)",
    "gone.png": "![a picture](gone.png)",
    "no_such_function": "```{eval-rst}\n.. autofunction:: genkern.no_such_function\n```",
    "genkern.no_such_name": "```{eval-rst}\nSee `genkern.no_such_name`.\n```",
    r"\no_such_macro": r"$\no_such_macro x$",
    "y^{2": "$y^{2$",
}


def test_a_sound_site_is_built(tmp_path: Path) -> None:
    done = _built(tmp_path, SOUND, NOTEBOOK % "print(1 + 1)")
    assert done.returncode == 0, done.stderr


def test_broken_links_missing_names_and_wrong_mathematics_are_errors(tmp_path: Path) -> None:
    done = _built(tmp_path, "\n\n".join([SOUND, *FAULTS.values()]), NOTEBOOK % "print(1 + 1)")
    assert done.returncode != 0
    assert [fault for fault in FAULTS if fault not in done.stderr] == []


def test_a_failing_notebook_is_an_error(tmp_path: Path) -> None:
    done = _built(tmp_path, SOUND, NOTEBOOK % "raise ValueError('the cell fails')")
    assert done.returncode != 0 and "the cell fails" in done.stderr


def _built(folder: Path, page: str, notebook: str) -> subprocess.CompletedProcess[str]:
    (folder / "index.md").write_text(page)
    (folder / "notebook.md").write_text(notebook)
    options = ["-D", "html_static_path=", "-D", f"nb_execution_cache_path={folder / 'cache'}", "-c", str(DOCS)]
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", *options]
    return subprocess.run([*command, folder, folder / "built"], capture_output=True, text=True, timeout=300)
