# SPDX-License-Identifier: Apache-2.0
"""The result of emulating an image, as a table and as JSON."""

from __future__ import annotations

import json
import math
from importlib.metadata import version
from pathlib import Path

from mapping.chip import Chip
from mapping.report.activity import RunTotals
from spikeloom.table import Table
from spikeloom.terminal import number, share

__all__ = ["run_json", "run_table"]

SCHEMA = "spikeloom.run/1"


def run_json(image: Path, chip: Chip, data: str, scale: str, totals: RunTotals) -> str:
    """Return what a chip did as JSON text: totals over all samples, not means."""
    return (
        json.dumps(
            {
                "schema": SCHEMA,
                "version": version("spikeloom"),
                "image": image.name,
                "image_digest": chip.image.digest,
                "data": data,
                "input": scale,
                "samples": totals.samples,
                "runs": totals.runs,
                "mode": totals.mode,
                "chips": math.prod(chip.chips),
                "timesteps": totals.steps,
                "elapsed_cycles": totals.elapsed,
                "accuracy": totals.accuracy,
                "host_share": chip.spiking.host_share,
                "counters": {name: totals.total(name) for name in totals.counters},
            },
            indent=2,
        )
        + "\n"
    )


def run_table(data: str, chip: Chip, totals: RunTotals) -> Table:
    """Return what a chip did as a table: totals over all samples, each of the chip's period."""
    rows = [
        ("accuracy", share(totals.accuracy)),
        ("multiply-adds on the host", share(chip.spiking.host_share)),
        (f"timesteps ({number(chip.period)} an inference)", number(totals.steps)),
        ("cycles", number(totals.elapsed)),
        *((name.replace("_", " "), number(totals.total(name))) for name in totals.counters),
    ]
    title = f"{data}, {totals.samples} samples, {totals.mode}"
    return Table(title=title, columns=["total", ""], rows=rows)
