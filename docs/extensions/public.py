"""The directive `public`: everything that a module makes public, under the name by which users reach it."""

from __future__ import annotations

import importlib
import inspect
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("public", Public)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class Public(SphinxDirective):
    """`public:: genkern.functional.gaussian` with `:as: genkern`: a table of the names in `__all__`, then each in full.

    Without `:as:` the module is the users' own name for it, and its docstring comes first. `:only:` names some of the
    names, for a module whose others are on other pages.
    """

    required_arguments = 1
    option_spec: ClassVar = {"as": directives.unchanged, "only": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        (module,) = self.arguments
        home = self.options.get("as", module)
        public = importlib.import_module(home)
        names = self.options.get("only", "").split() or importlib.import_module(module).__all__
        opening = f".. currentmodule:: {home}" if "as" in self.options else f".. automodule:: {home}"
        functions = [f"   {name}" for name in names if callable(getattr(public, name))]
        lines = [opening, "", ".. autosummary::", "   :nosignatures:", "", *functions]
        for name in names:
            lines += ["", *_shown(name, getattr(public, name), module)]
        content = StringList(["```{eval-rst}", *lines, "```"], f"<public {module}>")
        holder = nodes.section()
        holder.document = self.state.document
        self.state.nested_parse(content, 0, holder)
        return holder.children


def _shown(name: str, found: object, module: str) -> list[str]:
    if inspect.isclass(found):
        of_fields = issubclass(found, tuple)  # whose class describes them
        return [f".. autoclass:: {name}", *([] if of_fields else ["   :members:"])]
    if inspect.ismethod(found):  # of an object that the module has, which is none of the caller's business
        return [f".. autofunction:: {name}{inspect.signature(found)}"]
    if inspect.isroutine(found):
        return [f".. autofunction:: {name}"]
    said = ModuleAnalyzer.for_module(module).find_attr_docs()["", name]
    return [f".. py:data:: {name}", "", *(f"   {line}" for line in said)]
