"""Markdown as GitHub reads it: the anchors of its headings, and the links that lead nowhere."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

_LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)#?([^)\s]*)\)")
_CODE = re.compile(r"^( *)(```+|~~~+).*?^\1\2 *$|`[^`\n]*`|^ {4}.*$", re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """Of the headings; the second of one name is called name-1."""
    found: Counter[str] = Counter()
    made = set()
    for heading in re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")
        made.add(f"{slug}-{found[slug]}" if found[slug] else slug)
        found[slug] += 1
    return made


def broken(path: Path) -> list[str]:
    """Relative links of a page to files or headings that are not there."""
    lost = []
    for target, anchor in _LINK.findall(_CODE.sub("", path.read_text(encoding="utf-8"))):
        file = (path.parent / target).resolve() if target else path
        in_page = anchor and file.suffix == ".md" and file.exists()
        if not file.exists() or (in_page and anchor not in anchors(file.read_text(encoding="utf-8"))):
            lost.append(f"{target}#{anchor}" if anchor else target)
    return lost
