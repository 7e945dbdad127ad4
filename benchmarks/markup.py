"""Markdown, tables and pictures as HTML that stands alone: no address of anything outside the page."""

from __future__ import annotations

import base64
import html
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from benchmarks.tables import NAMES, UNCLEAR, Table

_OPEN = '<div class="scroll" tabindex="0">'
# In the dark, as page.css has them.
_INK, _CARD = b"\xe4\xe8\xec", b"\x16\x1a\x20"
# Full colour from sixteen times as fast on.
_OCTAVES = 4


def of_markdown(text: str, pictures: Mapping[str, str]) -> str:
    """`pictures` has what is shown for the address of each image; links are their text."""
    return str(_PARSER.render(text, {"pictures": pictures}))


def of_table(table: Table) -> str:
    """Lines carry their family, ratios how far from 1 they are."""
    head = "".join(f"<th{_class(name)}>{_inline(name)}</th>" for name in table.header)
    lines = []
    for index, line in enumerate(table.lines):
        of = f' data-family="{html.escape(table.families[index])}"' if table.families else ""
        cells = (f"<td{_class(n, cell)}>{_inline(cell)}</td>" for n, cell in zip(table.header, line, strict=True))
        lines.append(f"<tr{of}>{''.join(cells)}</tr>\n")
    body = f"<thead>\n<tr>{head}</tr>\n</thead>\n<tbody>\n{''.join(lines)}</tbody>"
    return f'{_OPEN}<table class="figures">\n{body}\n</table></div>\n'


def picture(path: Path, shown: str) -> str:
    """The file itself, in the page."""
    data = base64.b64encode(_with_dark_greys(path.read_text(encoding="utf-8")).encode()).decode()
    return f'<img class="plot" alt="{html.escape(shown)}" src="data:image/svg+xml;base64,{data}">'


def _with_dark_greys(svg: str) -> str:
    """For readers who prefer dark: black becomes ink, white the card, colours stay. Without the address of a DTD."""
    rules = f"svg {{ fill: #{_INK.hex()} }}"
    for grey in sorted(set(re.findall(r"#([0-9a-f]{2})\1\1\b", svg))):
        share = int(grey, 16) / 255
        mixed = "".join(f"{round(share * card + (1 - share) * ink):02x}" for card, ink in zip(_CARD, _INK, strict=True))
        for name in ("fill", "stroke"):
            rules += f' [style*="{name}: #{grey * 3}"] {{ {name}: #{mixed} !important }}'
    start = svg.index(">", svg.index("<svg")) + 1
    style = f"<style>@media (prefers-color-scheme: dark) {{ {rules} }}</style>"
    return svg[svg.index("<svg") : start] + style + svg[start:]


def _inline(text: str) -> str:
    return str(_PARSER.renderInline(text, {"pictures": {}}))


def _class(name: str, cell: str = "") -> str:
    """Words, or how much colour a ratio gets: by its logarithm, to either side of 1."""
    if name in NAMES:
        return ' class="words"'
    if not name.startswith("× "):
        return ""
    if stated := re.match(r"([\d.]+)( \(|$)", cell):
        octaves = math.log2(float(stated[1])) if float(stated[1]) else -_OCTAVES
        share = min(100.0, 100 * abs(octaves) / _OCTAVES)
        return f' class="{"faster" if octaves >= 0 else "slower"}" style="--share: {share:.0f}%"'
    return ' class="unclear"' if UNCLEAR in cell else ""


def _image(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
    token = tokens[index]
    shown = renderer.renderInlineAsText(token.children or [], options, env)
    return str(env["pictures"].get(token.attrs["src"], html.escape(shown)))


def _code(renderer: RendererHTML, tokens: Sequence[Token], index: int, *_: object) -> str:
    """Names of operations are long; a narrow table breaks them between words."""
    return f"<code>{html.escape(tokens[index].content).replace('_', '_<wbr>')}</code>"


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("image", _image)
    parser.add_render_rule("code_inline", _code)
    for rule, text in (
        ("link_open", ""),
        ("link_close", ""),
        ("table_open", f"{_OPEN}<table>\n"),
        ("table_close", "</table></div>\n"),
    ):
        parser.add_render_rule(rule, lambda *_, text=text: text)
    return parser


_PARSER = _parser()
