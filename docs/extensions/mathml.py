"""Mathematics as MathML, made when the site is built: browsers draw it without a script, a font or a network."""

from __future__ import annotations

import re
from html import escape

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

_FUNCTION = re.compile(r"(<mi>(?:arg|cos|exp|log|max|min|sin|tanh)</mi>)(?=<m[ins])")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(_mathml(node, node.astext(), "inline"))
    raise nodes.SkipNode


def _block(self: HTML5Translator, node: nodes.math_block) -> None:
    latex = node.astext().strip()
    if r"\\" in latex and r"\begin" not in latex:  # an environment of several lines need not be written around them
        latex = rf"\begin{{aligned}}{latex}\end{{aligned}}"
    label = f' id="{escape(node["ids"][0])}"' if node["ids"] else ""
    self.body.append(f'<div class="math"{label}>{_mathml(node, latex, "block")}</div>\n')
    raise nodes.SkipNode


def _mathml(node: nodes.Node, latex: str, display: str) -> str:
    made = convert(latex, display=display)
    if re.search(r">\\.", made) or latex.count("{") != latex.count("}"):
        logging.getLogger(__name__).warning("not understood as mathematics: %s", latex, location=node)
    return _FUNCTION.sub(r'\1<mspace width="0.167em"></mspace>', made)
