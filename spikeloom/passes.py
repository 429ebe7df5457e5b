# SPDX-License-Identifier: Apache-2.0
"""Images of one pass or of several: how commands read them, run them and show them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from emu.passes import holds_passes
from mapping.chip import Chip, Inference, open_chip
from mapping.datasets.load import Dataset
from mapping.layout.plan import Rows
from mapping.passes import Passes, open_passes
from spikeloom.table import Table
from spikeloom.terminal import number, quantity

__all__ = ["inferences", "open_any", "pass_cost_table", "pass_table", "passes_line"]

Done = Sequence[tuple[Chip, Inference]]
"""What became of a batch, a pass after the other: the chip as it was loaded, and its run."""


def open_any(path: Path) -> Chip | Passes:
    """Read an image file, or a file of passes, and check it against the network that it carries."""
    return open_passes(path) if holds_passes(path) else open_chip(path)


def inferences(
    chip: Chip | Passes,
    data: Dataset,
    *,
    batch: int | None = None,
    cycles: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[Dataset, Done]]:
    """Emulate batch by batch, see `mapping.chip.Chip.runs` and `mapping.passes.Passes.runs`."""
    if isinstance(chip, Chip):
        for part, inference in chip.runs(data, batch=batch, cycles=cycles, progress=progress):
            yield part, [(chip, inference)]
    else:
        for part, done in chip.runs(data, batch=batch, cycles=cycles, progress=progress):
            yield part, list(zip(chip.loaded, done, strict=True))


def passes_line(passes: Passes) -> str:
    """Return how many passes there are and over how many cores, in a line."""
    spec = passes.images[0].spec
    across, down = passes.chips
    cut = "" if across * down == 1 else f" on {across} x {down} chips"
    return (
        f"{len(passes.images)} passes over {spec.width} x {spec.height} cores{cut}, "
        f"{passes.period} timesteps an inference, digest {passes.digest}"
    )


def pass_table(passes: Passes) -> Table:
    """Return what every pass computes, what loading it takes, and what the host keeps meanwhile."""
    rows = []
    for at, (chip, one, kept) in enumerate(zip(passes.loaded, passes.passes, passes.kept(), strict=True)):
        cores = sum(core is not None for core in chip.image.cores)
        layers = ", ".join(_part(passes, part) for part in one.rows)
        sizes = (cores, chip.period, chip.load.flits, chip.load.cycles, kept)
        rows.append([str(at), layers, *map(number, sizes)])
    columns = ["pass", "layers", "cores", "timesteps", "flits to load", "cycles to load", "bits kept"]
    return Table(columns=columns, rows=rows, text=["layers"])


def _part(passes: Passes, part: Rows) -> str:
    """Return a layer, with its rows or the band of its map if a pass has not all of them."""
    if part.bottom is not None:
        return f"{part.layer}[:, {part.top}:{part.bottom}]"
    rows = passes.on_chip.layer(part.layer).rows
    return part.layer if (part.begin, part.end) == (0, rows) else f"{part.layer}[{part.begin}:{part.end}]"


def pass_cost_table(target: Mapping[str, Any]) -> Table:
    """Return what every pass of a target of a report takes: of an inference, and to load it once."""
    rows = []
    for at, row in enumerate(target["breakdown"]["passes"]):
        load = row["loading"]
        rows.append(
            [
                str(at),
                ", ".join(dict.fromkeys(name for name, *_ in row["layers"])),
                number(row["cores"]),
                number(row["timesteps"]),
                number(row["cycles"]),
                quantity(row["energy_j"], "J"),
                number(row["load_bits"]),
                number(load["cycles"]),
                quantity(load["energy_j"], "J"),
                number(row["kept_bits"]),
            ]
        )
    columns = ["pass", "layers", "cores", "timesteps", "cycles", "energy"]
    columns += ["bits to load", "cycles to load", "energy to load", "bits kept"]
    title = f"Passes ({target['target']}), per inference, and to load once"
    return Table(title=title, columns=columns, rows=rows, text=["layers"])
