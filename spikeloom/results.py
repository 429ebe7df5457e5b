# SPDX-License-Identifier: Apache-2.0
"""The result of emulating an image, as a table and as JSON."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

from rich.table import Table

from mapping.datasets import Dataset
from mapping.flow import Chip, Inference
from spikeloom.terminal import number, share

__all__ = ["run_json", "run_table"]

SCHEMA = "spikeloom.run/1"


def run_json(image: Path, chip: Chip, data: Dataset, scale: str, inference: Inference) -> str:
    """Return a run as JSON text: totals over all samples, not means."""
    result = inference.result
    return (
        json.dumps(
            {
                "schema": SCHEMA,
                "version": version("spikeloom"),
                "image": image.name,
                "image_digest": chip.image.digest,
                "data": data.name,
                "input": scale,
                "samples": len(data.x),
                "mode": result.mode,
                "timesteps": result.steps,
                "elapsed_cycles": result.elapsed,
                "accuracy": inference.accuracy(data.y),
                "counters": {name: result.total(name) for name in result.counters},
            },
            indent=2,
        )
        + "\n"
    )


def run_table(data: Dataset, period: int, inference: Inference) -> Table:
    """Return a run as a table: totals over all samples, each of ``period`` timesteps."""
    result = inference.result
    table = Table(title=f"{data.name}, {len(data.x)} samples, {result.mode}", title_justify="left")
    table.add_column("total")
    table.add_column("", justify="right")
    table.add_row("accuracy", share(inference.accuracy(data.y)))
    table.add_row(f"timesteps ({number(period)} an inference)", number(result.steps))
    table.add_row("cycles", number(result.elapsed))
    for name in result.counters:
        table.add_row(name.replace("_", " "), number(result.total(name)))
    return table
