# SPDX-License-Identifier: Apache-2.0
"""The operators that are understood, as tables.

``python -m sim_tests.operators_page`` rewrites the tables in docs/reference/operators.md.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from mapping.model.operations import OPERATIONS
from sim_tests.generators.operator_estimators import ESTIMATORS
from sim_tests.generators.operator_example import Example
from sim_tests.generators.operator_examples import EXAMPLES
from sim_tests.robustness.faults_table import replaced

__all__ = ["BEGIN", "END", "PAGE", "estimators_table", "operations_table", "operators_table", "page", "says"]

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "operators.md"
BEGIN = "<!-- {}: written by python -m sim_tests.operators_page -->"
END = "<!-- end of the {} -->"


def says(example: Example) -> str:
    """Return what becomes of an operator on the chip: its own note, or the sentence of its operation.

    Raises
    ------
    ValueError
        If it becomes several operations, or none, and has no note.
    """
    becomes = example.becomes()
    if not example.note and len(becomes) != 1:
        raise ValueError(f"{example.operator} becomes {len(becomes)} operations and needs a note")
    return example.note or OPERATIONS[becomes[0]].chip


def _table(examples: Iterable[Example]) -> list[str]:
    """Return the rows of a table: what each operator becomes, and how that lies on the crossbar."""
    rows = ["| operator | becomes | on the chip |", "|---|---|---|"]
    for example in examples:
        form = f", {example.form}" if example.form else ""
        becomes = ", ".join(f"`{op}`" for op in example.becomes()) or "nothing"
        rows.append(f"| `{example.operator}`{form} | {becomes} | {says(example)} |")
    return rows


def estimators_table() -> str:
    """Return the table of the operators of ai.onnx.ml."""
    return "\n".join(_table(ESTIMATORS))


def operators_table() -> str:
    """Return the table of the operators of the standard."""
    rows = _table(EXAMPLES)
    rows.append(f"| any other of the standard | `Foreign` | {OPERATIONS['Foreign'].chip} |")
    return "\n".join(rows)


def operations_table() -> str:
    """Return the table of the network's own operations that have parameters."""
    rows = ["| operation | attributes | constants |", "|---|---|---|"]
    for name, record in OPERATIONS.items():
        if record.attributes or record.constants:
            rows.append(f"| `{name}` | {_listed(record.attributes)} | {_listed(record.constants)} |")
    return "\n".join(rows)


def _listed(meanings: Mapping[str, str]) -> str:
    return "; ".join(f"`{key}`: {meaning}" for key, meaning in meanings.items())


def page(text: str) -> str:
    """Return the text of the page with its tables renewed."""
    tables = (
        ("operators", operators_table()),
        ("estimators", estimators_table()),
        ("operations", operations_table()),
    )
    for name, table in tables:
        text = replaced(text, table, begin=BEGIN.format(name), end=END.format(name))
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
