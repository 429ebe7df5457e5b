# SPDX-License-Identifier: Apache-2.0
"""The planted faults as data and as a table.

``python -m sim_tests.robustness.faults_table`` rewrites the table in docs/verification.md.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BEGIN", "END", "Fault", "load_faults", "render", "replaced"]

FOLDER = Path(__file__).parent
BEGIN = "<!-- planted faults: written by python -m sim_tests.robustness.faults_table -->"
END = "<!-- end of the planted faults -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One altered piece of text and the test that must notice it.

    Parameters
    ----------
    file : path from the root of the checkout.
    block : the part of the design that it belongs to.
    find, replace : the text, which occurs exactly once, and what is put in its place.
    why : what the fault does.
    caught_by : pytest's name of the test.
    """

    file: str
    block: str
    find: str
    replace: str
    why: str
    caught_by: str


def load_faults(path: Path = FOLDER / "faults.toml") -> list[Fault]:
    """Return the planted faults in the order of the file."""
    return [Fault(**entry) for entry in tomllib.loads(path.read_text(encoding="utf-8"))["fault"]]


def render(faults: list[Fault]) -> str:
    """Return the faults as a Markdown table."""
    rows = ["| block | planted fault | caught by |", "|---|---|---|"]
    for fault in faults:
        file, test = fault.caught_by.removeprefix("sim_tests/tests/").split("::")
        rows.append(f"| {fault.block} | {fault.why} | `{file}`: `{test.removeprefix('test_')}` |")
    return "\n".join(rows)


def replaced(page: str, table: str, *, begin: str = BEGIN, end: str = END) -> str:
    """Return a page with the table between two marks replaced, by default those of the faults.

    Raises
    ------
    ValueError : the page has not exactly one begin and one end mark.
    """
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ValueError(f"page must have one line {begin!r} and one line {end!r}")
    head, rest = page.split(begin)
    return f"{head}{begin}\n\n{table}\n\n{end}{rest.split(end)[1]}"


if __name__ == "__main__":
    document = FOLDER.parents[1] / "docs" / "verification.md"
    document.write_text(
        replaced(document.read_text(encoding="utf-8"), render(load_faults())), encoding="utf-8"
    )
