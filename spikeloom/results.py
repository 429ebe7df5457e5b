# SPDX-License-Identifier: Apache-2.0
"""The result of emulating an image, as a table and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mapping.chip import Chip
from mapping.passes import Passes
from mapping.report.activity import RunTotals
from spikeloom.table import Table
from spikeloom.terminal import number, share

__all__ = ["run_json", "run_table"]

SCHEMA = "spikeloom.run/1"


def run_json(image: Path, chip: Chip | Passes, data: str, scale: str, totals: Sequence[RunTotals]) -> str:
    """Return what a chip did as JSON text: totals over all samples, not means.

    ``totals`` are those of every pass, one for a chip that holds its network.
    """
    several = isinstance(chip, Passes)
    return (
        json.dumps(
            {
                "schema": SCHEMA,
                "version": version("spikeloom"),
                "image": image.name,
                "image_digest": chip.digest if isinstance(chip, Passes) else chip.image.digest,
                "data": data,
                "input": scale,
                "samples": totals[0].samples,
                "runs": totals[0].runs,
                "mode": totals[0].mode,
                "chips": math.prod(chip.chips),
                "timesteps": sum(one.steps for one in totals),
                "elapsed_cycles": _elapsed(totals),
                "accuracy": totals[0].accuracy,
                "host_share": chip.spiking.host_share,
                "counters": {name: _total(totals, name) for name in totals[0].counters},
                "passes": [_of_pass(one) for one in totals] if several else None,
            },
            indent=2,
        )
        + "\n"
    )


def _of_pass(totals: RunTotals) -> dict[str, Any]:
    """Return what the chip did in one pass."""
    return {
        "timesteps": totals.steps,
        "elapsed_cycles": totals.elapsed,
        "counters": {name: totals.total(name) for name in totals.counters},
    }


def _elapsed(totals: Sequence[RunTotals]) -> int | None:
    """Return the cycles of all passes; None in functional mode."""
    known = [one.elapsed for one in totals if one.elapsed is not None]
    return sum(known) if len(known) == len(totals) else None


def _total(totals: Sequence[RunTotals], counter: str) -> int:
    return sum(one.total(counter) for one in totals)


def run_table(data: str, chip: Chip | Passes, totals: Sequence[RunTotals]) -> Table:
    """Return what a chip did as a table: totals over all samples, each of the chip's period.

    Of several passes every one has a column of its own.
    """
    several = totals if isinstance(chip, Passes) else []
    rows = [
        ("accuracy", share(totals[0].accuracy), *("-" for _ in several)),
        ("multiply-adds on the host", share(chip.spiking.host_share), *("-" for _ in several)),
        (
            f"timesteps ({number(chip.period)} an inference)",
            number(sum(one.steps for one in totals)),
            *(number(one.steps) for one in several),
        ),
        ("cycles", number(_elapsed(totals)), *(number(one.elapsed) for one in several)),
        *(
            (
                name.replace("_", " "),
                number(_total(totals, name)),
                *(number(one.total(name)) for one in several),
            )
            for name in totals[0].counters
        ),
    ]
    title = f"{data}, {totals[0].samples} samples, {totals[0].mode}"
    columns = ["total", "", *(f"pass {at}" for at in range(len(several)))]
    return Table(title=title, columns=columns, rows=rows, by_column=bool(several))
