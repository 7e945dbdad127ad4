"""The directive `public`: everything that a module makes public, under the name by which users reach it."""

from __future__ import annotations

import importlib
import inspect
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("public", Public)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class Public(SphinxDirective):
    """`public:: genkern.functional.gaussian` with `:as: genkern`: a table of the names in `__all__`, then each in full.

    `:only:` names some of them, for a module that has a page for several groups.
    """

    required_arguments = 1
    option_spec: ClassVar = {"as": directives.unchanged, "only": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        module = self.arguments[0]
        home = self.options.get("as", module)
        public = importlib.import_module(home)
        names = self.options.get("only", "").split() or importlib.import_module(module).__all__
        lines = [f".. currentmodule:: {home}", "", ".. autosummary::", "   :nosignatures:", ""]
        lines += [f"   {name}" for name in names]
        for name in names:
            found = getattr(public, name)
            lines += ["", *(_class(name, found) if inspect.isclass(found) else [_directive(name, found)])]
        content = StringList()
        for number, line in enumerate(lines):
            content.append(line, f"<public {module}>", number)
        holder = nodes.section()
        holder.document = self.state.document
        self.state.nested_parse(content, 0, holder)
        return holder.children


def _directive(name: str, found: object) -> str:
    return f".. autofunction:: {name}" if inspect.isroutine(found) else f".. autodata:: {name}"


def _class(name: str, found: type) -> list[str]:
    """With the methods that genkern's own classes define, not those of torch."""
    return [f".. autoclass:: {name}", "   :members:"]
