# SPDX-License-Identifier: Apache-2.0
"""The one dialect of docstrings: a summary of one line, and numpydoc's sections."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sim_tests.tests.suite.test_house import PUBLIC_SOURCES, relative

__all__: list[str] = []

SECTIONS = ("Parameters", "Members", "Attributes", "Raises")
ENTRY = re.compile(r"(?P<names>[\w*]+(, [\w*]+)*)( : \S.*)?")
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
NUMPYDOC = [path for path in PUBLIC_SOURCES if relative(path).startswith(("emu/", "rtl/"))]


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def documented(tree: ast.Module) -> Iterator[tuple[DOCUMENTED, str]]:
    """Yield what has a docstring, with the docstring."""
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node)):
            yield node, text


def entries(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield section, entry and the line below of each entry of a docstring."""
    section, lines = "", [*text.splitlines(), ""]
    for at, line in enumerate(lines[:-1]):
        if re.fullmatch(r"-{3,}", lines[at + 1]):
            section = line
        elif section in SECTIONS and line and line[0] not in " -":
            yield section, line, lines[at + 1]


def known(node: DOCUMENTED) -> set[str]:
    """Return the names that a docstring's parameters may have: arguments and fields."""
    functions = [node] if isinstance(node, ast.FunctionDef) else []
    names: set[str] = set()
    for child in node.body if isinstance(node, ast.ClassDef) else []:
        if isinstance(child, ast.FunctionDef) and child.name == "__init__":
            functions.append(child)
        elif isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Name):
            names.add(child.target.id)
    for function in functions:
        arguments = function.args
        names |= {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    return names


def long_summaries(tree: ast.Module) -> list[str]:
    """Return the summaries that are no line with a full stop at its end."""
    summaries = [text.split("\n\n")[0] for _, text in documented(tree)]
    return [summary for summary in summaries if "\n" in summary or not summary.endswith((".", '."'))]


def unlike_numpydoc(tree: ast.Module) -> list[str]:
    """Return the entries that are not ``name : type`` with a sentence below, or that nothing is called."""
    found = []
    for node, text in documented(tree):
        for section, entry, below in entries(text):
            match = ENTRY.fullmatch(entry)
            names = set(match["names"].lstrip("*").split(", ")) if match else set()
            foreign = section == "Parameters" and not names <= known(node)
            if match is None or foreign or not re.match(r" {4}\S", below):
                found.append(entry)
    return found


@pytest.mark.parametrize("path", PUBLIC_SOURCES, ids=relative)
def test_summary_is_a_line(path: Path) -> None:
    assert long_summaries(parsed(path)) == []


@pytest.mark.parametrize("path", NUMPYDOC, ids=relative)
def test_sections_are_numpydoc(path: Path) -> None:
    assert unlike_numpydoc(parsed(path)) == []


def test_long_summaries_finds_planted_ones() -> None:
    good = '"""Good."""\ndef f():\n    """Return it.\n\n    More\n    """\n'
    assert long_summaries(ast.parse(good)) == []
    bad = '"""No stop"""\nclass A:\n    """Two\n    lines."""\n'
    assert long_summaries(ast.parse(bad)) == ["No stop", "Two\nlines."]


@pytest.mark.parametrize(
    ("entry", "sound"),
    [
        ("a : int\n        The value.", True),
        ("a, b : int64 (p,)\n        The values.", True),
        ("a\n        The value.", True),
        ("a : the value.", False),
        ("a : int", False),
        ("c : int\n        Of another name.", False),
        ("a value : int\n        The value.", False),
    ],
)
def test_unlike_numpydoc_finds_planted_ones(entry: str, sound: bool) -> None:
    source = f'def f(a, b):\n    """Do it.\n\n    Parameters\n    ----------\n    {entry}\n    """\n'
    assert unlike_numpydoc(ast.parse(source)) == ([] if sound else [entry.split("\n", maxsplit=1)[0]])
