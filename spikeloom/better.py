# SPDX-License-Identifier: Apache-2.0
"""The way from the seed chip to a better one as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from json import dumps

from mapping.reproduce.better import BetterChip
from spikeloom.table import Table
from spikeloom.terminal import number

__all__ = ["better_json", "better_table"]

_COLUMNS = (
    "way",
    "cores",
    "columns",
    "passes",
    "operations",
    "packets",
    "latency us",
    "energy uJ",
    "low .. high",
    "energy saved",
)


def better_json(model: str, chips: Sequence[BetterChip]) -> str:
    """Return the ways as JSON text."""
    return dumps({"model": model, "ways": [asdict(chip) for chip in chips]}, indent=2) + "\n"


def better_table(model: str, data: str, chips: Sequence[BetterChip]) -> Table:
    """Return a row a way; what it saves is in % of the energy of the way before it."""
    saved = ["-", *(f"{1 - after.energy_j / before.energy_j:.1%}" for before, after in pairwise(chips))]
    rows = [[*_row(chip), share] for chip, share in zip(chips, saved, strict=True)]
    return Table(title=f"{model} on {data}, per inference, outputs equal", columns=_COLUMNS, rows=rows)


def _row(chip: BetterChip) -> list[str]:
    return [
        chip.way,
        *(number(value) for value in (chip.cores, chip.columns, chip.passes)),
        *(number(round(value)) for value in (chip.operations, chip.packets)),
        f"{chip.latency_s * 1e6:.1f}",
        f"{chip.energy_j * 1e6:.2f}",
        f"{chip.low_j * 1e6:.2f} .. {chip.high_j * 1e6:.2f}",
    ]
