"""Docstrings are written for a terminal; here they get their links.

`name` links to what has that public name, and is code where nothing has; genkern's own full names must be found. Types
in signatures and in lists of parameters link likewise, since most are torch's. docs/numerics.md links to that page.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains.python import PyXRefRole
from sphinx.environment import BuildEnvironment

_PAGE = re.compile(r"\bdocs/([\w/-]+)\.md\b")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_role("name", _Name())
    app.connect("missing-reference", _as_code)
    app.connect("autodoc-process-docstring", _link_pages)
    app.connect("doctree-read", _color_sessions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class _Name(PyXRefRole):
    def __init__(self) -> None:
        super().__init__(warn_dangling=True)

    def create_xref_node(self) -> Any:
        self.refdomain, self.reftype = "py", "obj"
        self.classes = ["xref", "py", "py-obj"]
        made, messages = super().create_xref_node()
        made[0]["name_alone"] = True
        return made, messages


def _as_code(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element) -> nodes.Element | None:
    of_type = not isinstance(content, nodes.literal)
    lenient = of_type or (node.get("name_alone") and not node["reftarget"].startswith("genkern."))
    return content if node["refdomain"] == "py" and lenient else None


def _link_pages(app: Sphinx, what: str, name: str, found: object, options: object, lines: list[str]) -> None:
    lines[:] = [_PAGE.sub(r":doc:`/\1`", line) for line in lines]


def _color_sessions(app: Sphinx, doctree: nodes.document) -> None:
    """An indented block of Markdown names no language; one that begins with a prompt is a session of Python."""
    for block in doctree.findall(nodes.literal_block):
        if block.astext().startswith(">>> "):
            block["language"] = "pycon"
