"""`name` in a docstring links to what has that public name, and is code where nothing has."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains.python import PyXRefRole
from sphinx.environment import BuildEnvironment


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_role("plain_name", _Role())
    app.connect("missing-reference", _as_code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class _Role(PyXRefRole):
    def __init__(self) -> None:
        super().__init__(warn_dangling=True)

    def create_xref_node(self) -> Any:
        self.refdomain, self.reftype = "py", "obj"
        self.classes = ["xref", "py", "py-obj"]
        made, messages = super().create_xref_node()
        made[0]["plain_name"] = True
        return made, messages


def _as_code(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.reference | nodes.Element | None:
    return content if node.get("plain_name") else None
