# SPDX-License-Identifier: Apache-2.0
"""Prose of the documentation is wrapped, so that a page reads well in an editor and in a diff."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
COLUMNS = 100
TARGET = re.compile(r"\]\([^)]*\)")

PAGES = {
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")]
}


def wide(text: str) -> list[int]:
    """Return the numbers of lines of prose that are too wide; targets of links do not count."""
    found, fence = [], False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fence = not fence
        exempt = fence or line.startswith(("    ", "<!--")) or line.lstrip().startswith("|")
        if not exempt and len(TARGET.sub("]", line)) > COLUMNS:
            found.append(number)
    return found


@pytest.mark.skipif(not DOCS.is_dir(), reason="not a checkout")
@pytest.mark.parametrize("page", sorted(PAGES))
def test_prose_is_wrapped(page: str) -> None:
    assert wide((ROOT / page).read_text(encoding="utf-8")) == []


def test_wide_finds_long_prose_only() -> None:
    long = "word " * 21
    lines = [
        long,
        f"| {long} |",
        f"* {long}",
        f"   | {long} |",
        f"[a]({'x' * 99}) b",
        "```",
        long,
        "```",
        "x" * 100,
        f"    {long}",
    ]
    assert wide("\n".join(lines)) == [1, 3]
