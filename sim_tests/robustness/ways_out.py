# SPDX-License-Identifier: Apache-2.0
"""Find in the sources every clause of a sentence that tells somebody what to do."""

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from emu.errors import SpikeloomError

__all__ = ["VERBS", "assert_goes", "clauses"]

VERBS = (
    "add|check|choose|cite|compile|convert|correct|create|describe|download|export|give|install|keep|leave|"
    "let|make|move|name|number|put|quantise|remove|rename|run|save|say|scale|set|shorten|sort|split|store|"
    "take|train|update|use|verify|write"
)
"""What a way out begins with."""

_CLAUSE = re.compile(rf"(?:^|[;:,(] )(?:or )?((?:{VERBS}) [^;]*)")


def clauses(files: Iterable[Path]) -> set[tuple[str, str]]:
    """Return (module, clause) of every way out that the texts of some files name.

    A clause begins with a verb of `VERBS` and ends with the sentence, a semicolon or a value. Docstrings,
    and texts that are no sentences, such as the help of options, do not count.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "a.py"
    ...     _ = file.write_text("raise E(f'There is no {x}; name another.')")
    ...     sorted(clauses([file]))
    [('a', 'name another.')]
    """
    return {(file.stem, clause) for file in files for text in _texts(file) for clause in _told(text)}


def assert_goes(way: str, broken: Callable[[], object], mended: Callable[[], object]) -> None:
    """Require that what is broken names a way out, on one line, and that what takes it is done."""
    with pytest.raises((SpikeloomError, ValueError)) as error:
        broken()
    assert way in str(error.value)
    assert "\n" not in str(error.value)
    mended()


def _told(text: str) -> Iterator[str]:
    return (found[1].strip() for found in _CLAUSE.finditer(text))


def _texts(file: Path) -> Iterator[str]:
    """Yield every text in what a module raises, returns or names, without its docstrings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    documentation = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in documentation:
            yield node.value
