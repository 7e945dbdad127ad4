"""The directive `questions`: a list of pages, each with the question that its first paragraph asks."""

from __future__ import annotations

import re
from collections.abc import Iterator

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

_logger = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_node(_Pages)
    app.add_directive("questions", Questions)
    app.connect("doctree-resolved", _fill)
    app.connect("env-updated", lambda app, env: [name for name in env.found_docs if name == app.config.root_doc])
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class _Pages(nodes.General, nodes.Element):
    """Stands for the list until all pages are read."""


class Questions(SphinxDirective):
    """Its lines are names of pages. A page without a question is an error."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        return [_Pages("", pages=[line.strip() for line in self.content if line.strip()])]


def question(doctree: nodes.document) -> str | None:
    """The first question of the page's first paragraph."""
    for paragraph in doctree.findall(nodes.paragraph):
        asked, mark, _ = paragraph.astext().replace("\n", " ").partition("?")
        return re.split(r"[.!] ", asked)[-1] + mark if mark else None
    return None


def _fill(app: Sphinx, doctree: nodes.document, name: str) -> None:
    for node in doctree.findall(_Pages):
        node.replace_self(list(_listed(app, name, node)))


def _listed(app: Sphinx, name: str, node: _Pages) -> Iterator[nodes.Node]:
    listed = nodes.definition_list(classes=["questions"])
    for page in node["pages"]:
        asked = question(app.env.get_doctree(page))
        if asked is None:
            _logger.warning("the page does not begin with the question that it answers", location=page)
        title = app.env.titles[page].astext()
        link = nodes.reference("", title, refuri=app.builder.get_relative_uri(name, page), internal=True)
        term = nodes.term("", "", link)
        listed += nodes.definition_list_item("", term, nodes.definition("", nodes.paragraph("", asked or "")))
    yield listed
