# SPDX-License-Identifier: Apache-2.0
"""The report: one model on some targets, as text, data, JSON and a page.

Counts and cycles are verified (the emulator equals the hardware); joules are modelled (counts times a table).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

from mapping.report.activity import SingleDifferences
from mapping.report.side_by_side import side_by_side
from mapping.report.text import ROWS, notes

__all__ = ["SCHEMA", "Report"]

SCHEMA = "spikeloom.report/1"


@dataclass(frozen=True, kw_only=True, repr=False)
class Report:
    """One model on one or more targets, in command order.

    Parameters
    ----------
    model, data : str
        As given.
    input : str
        How pixels of the data were scaled: ``raw``, ``unit`` or ``MEAN,STD``.
    seed : int
        Seed of the placer.
    targets : sequence of mapping
        One mapping with `TARGET_KEYS` per target; means per inference.
    float32 : SingleDifferences
        How the float network differs from these figures where it is evaluated in float32.
    verification : mapping, optional
        What was compared with the hardware, and on which simulator.
    exploration : sequence of mapping, optional
        Bits and digits against each other, see `mapping.report.exploration.explore`.
    published : sequence of mapping, optional
        What others published of systems on the same data, see `mapping.report.published.published`.
    doubt : str, optional
        Why the input may not be that of the training, see `mapping.diagnosis.input_tried.doubt_of`.
    input_told : str
        How pixels were scaled and why, for a text, see `mapping.datasets.load.scale_text`.
    """

    model: str
    data: str
    input: str
    seed: int
    targets: Sequence[Mapping[str, Any]]
    float32: SingleDifferences
    verification: Mapping[str, Any] | None = None
    exploration: Sequence[Mapping[str, Any]] | None = None
    published: Sequence[Mapping[str, Any]] | None = None
    doubt: str | None = None
    input_told: str = ""
    version: str = field(default_factory=lambda: version("spikeloom"))

    @property
    def accepted(self) -> list[Mapping[str, Any]]:
        """The targets that take the model."""
        return [target for target in self.targets if target["refusal"] is None]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        head = {
            "schema": SCHEMA,
            "model": self.model,
            "data": self.data,
            "input": self.input,
            "input_told": self.input_told or self.input,
            "seed": self.seed,
            "version": self.version,
            "float32": asdict(self.float32),
        }
        verification = None if self.verification is None else dict(self.verification)
        explored, beside = (
            None if rows is None else [dict(row) for row in rows]
            for rows in (self.exploration, self.published)
        )
        targets = [dict(target) for target in self.targets]
        rest = {"targets": targets, "exploration": explored, "published": beside}
        lines = {"side_by_side": self.side_by_side, "doubt": self.doubt}
        return {**head, "verification": verification, **rest, **lines}

    @property
    def side_by_side(self) -> list[dict[str, Any]] | None:
        """Targets and published systems in one list, see `mapping.report.side_by_side`."""
        return side_by_side(self.targets, self.published)

    def __repr__(self) -> str:
        """Return what the report is of, in a line."""
        names = ", ".join(target["target"] for target in self.targets)
        return f"<Report of {self.model} on {self.data}: {names}; print it to see the figures>"

    def __str__(self) -> str:
        """Return the figures per inference as a table, a column a target, and what is to be said to them."""
        columns = [["", *(row.name for row in ROWS)]]
        columns += [[part["target"], *(row.text(part) for row in ROWS)] for part in self.accepted]
        widths = [max(map(len, column)) for column in columns]
        lines = [f"{self.model} on {self.data}, per inference, input {self.input_told or self.input}"]
        for name, *cells in zip(*columns, strict=True):
            right = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
            lines.append("  ".join([name.ljust(widths[0]), *right]).rstrip())
        return "\n".join([*lines, *notes(self.to_dict())])

    def to_json(self) -> str:
        """Return the report as JSON text; the same report gives the same text."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"

    def to_html(self) -> str:
        """Return the report as one HTML page that needs nothing else; see `mapping.report.page`."""
        from mapping.report.page import render

        return render(self.to_dict())

    def _repr_html_(self) -> str:
        """Return the page in a frame, as notebooks show it."""
        from mapping.report.page import framed

        return framed(self.to_html())
