# SPDX-License-Identifier: Apache-2.0
"""Relative links of the documentation lead somewhere, headings included."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
HEADING = re.compile(r"^#+ +(.+?)\s*#*$", re.MULTILINE)


def links(text: str) -> list[str]:
    """Return the targets of all links outside code."""
    prose = CODE.sub("", FENCE.sub("", text))
    return [inline or defined for inline, defined in LINK.findall(prose)]


def anchors(text: str) -> set[str]:
    """Return the anchors of all headings, spelled as the usual renderers do."""
    titles = (re.sub(r"[^\w\- ]", "", title.lower()) for title in HEADING.findall(FENCE.sub("", text)))
    return {title.replace(" ", "-") for title in titles}


def broken(page: Path) -> list[str]:
    """Return the relative links of a page that lead nowhere."""
    lost = []
    for link in links(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        is_page = target.is_file() and target.suffix == ".md"
        known = anchors(target.read_text(encoding="utf-8")) if is_page else {anchor}
        if not target.exists() or (anchor and anchor not in known):
            lost.append(link)
    return lost


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_page_links_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_broken_finds_planted_links(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# A `good` title, really\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md) [b](there.md#a-good-title-really) [c](gone.md) [d](there.md#gone) [e](#gone)\n"
        "[f](https://example.org/gone) `[g](gone-too.md)`\n```\n[h](gone-too.md)\n```\n[i]: lost.md\n"
    )
    assert broken(page) == ["gone.md", "there.md#gone", "#gone", "lost.md"]
