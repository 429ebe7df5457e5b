# SPDX-License-Identifier: Apache-2.0
"""The one dialect of error sentences, read out of the sources (CONTRIBUTING, "House rules")."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from sim_tests.tests.suite.test_house import ROOT, SOURCES, relative

__all__: list[str] = []

CALLERS = {"TypeError", "ValueError", "RuntimeError"}
"""Errors of Python itself; the packages of `STRICT` hold them to the dialect as well."""

STRICT = ("emu/", "rtl/", "spikeloom/", "sim_tests/bench/")
BEGIN = re.compile(r"[A-Z]|\{|--[a-z]|[a-z_0-9]+ must ")
"""A capital, a value, an option, or a name as it is spelled in code, and what it must be."""

SHIPPED = [path for path in SOURCES if not relative(path).startswith("sim_tests/tests/")]


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def project_errors(trees: list[ast.Module]) -> set[str]:
    """Name the error classes that descend from `SpikeloomError`."""
    bases = {
        node.name: {ast.unparse(base) for base in node.bases}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found = {"SpikeloomError"}
    while new := {name for name, above in bases.items() if above & found} - found:
        found |= new
    return found


def constants(tree: ast.Module) -> dict[str, str]:
    """Return the strings that a module names."""
    return {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


def template(node: ast.expr, named: Mapping[str, str]) -> Iterator[str]:
    """Yield what a message may look like, ``{}`` for each value; nothing if it is not written here."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        text = ""
        for part in node.values:
            if isinstance(part, ast.Constant):
                text += str(part.value)
            elif isinstance(part, ast.FormattedValue):
                name = part.value.id if isinstance(part.value, ast.Name) else ""
                text += named.get(name, "{}")
        yield text
    elif isinstance(node, ast.IfExp):
        yield from template(node.body, named)
        yield from template(node.orelse, named)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        for left in [*template(node.left, named)] or ["{}"]:
            yield from (left + right for right in [*template(node.right, named)] or ["{}"])


def messages(tree: ast.Module, classes: set[str]) -> Iterator[str]:
    """Yield the message of each error that a module makes."""
    named = constants(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and ast.unparse(node.func).split(".")[-1] in classes:
            yield from template(node.args[0], named)


def unlike(texts: Iterator[str]) -> list[str]:
    """Return the messages that are no sentence of the dialect."""
    return [text for text in texts if not BEGIN.match(text) or not text.endswith(".")]


@pytest.mark.parametrize("path", SHIPPED, ids=relative)
def test_error_is_a_sentence(path: Path, project: set[str]) -> None:
    classes = project | CALLERS if relative(path).startswith(STRICT) else project
    assert unlike(messages(parsed(path), classes)) == []


@pytest.fixture(scope="module")
def project() -> set[str]:
    """Return the names of the project's error classes."""
    return project_errors([parsed(path) for path in SHIPPED])


def test_errors_of_every_package_are_found(project: set[str]) -> None:
    assert {"SpecError", "ImageError", "VerilogError", "InfeasibleError", "VerifyError"} <= project
    texts = [text for path in SHIPPED for text in messages(parsed(path), project)]
    assert len(texts) > 150
    for package in ("emu", "rtl", "mapping", "spikeloom", "sim_tests"):
        assert any(list(messages(parsed(p), project)) for p in (ROOT / package).rglob("*.py")), package


@pytest.mark.parametrize(
    "message",
    [
        '"the chip is too small."',
        '"The chip is too small"',
        'f"axons must be {rule}, not {value!r}"',
        'f"stimulus packet {at} must fit a flit."',
        'f"{path}: damaged data ({error}){_UNKNOWN}"',
        '"The chip is too small." if small else "it is too large."',
        '"The chip" + f" has {cores} cores"',
    ],
)
def test_error_that_is_no_sentence_is_found(message: str) -> None:
    source = (
        f"class AError(SpikeloomError): pass\nclass BError(AError): pass\nraise errors.BError({message})\n"
    )
    tree = ast.parse(source)
    assert project_errors([tree]) == {"SpikeloomError", "AError", "BError"}
    assert len(unlike(messages(tree, project_errors([tree])))) == 1


@pytest.mark.parametrize(
    "message",
    [
        '"The chip is too small."',
        'f"axons must be {rule}, not {value!r}."',
        'f"--seed must be at least 0, not {seed}."',
        'f"{path}: damaged data ({error}){_WAY_OUT}"',
        "str(error)",
    ],
)
def test_sentence_is_accepted(message: str) -> None:
    tree = ast.parse(f"_WAY_OUT = '; compile it again.'\nraise BError({message})\n")
    assert unlike(messages(tree, {"BError"})) == []
