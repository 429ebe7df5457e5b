# SPDX-License-Identifier: Apache-2.0
"""`spikeloom run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spikeloom.commands.options import Data, Image, Input, Json, Samples, examples

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from mapping.chip import Chip
    from mapping.datasets.load import Dataset
    from mapping.report.activity import RunTotals

__all__ = ["app", "run"]

app = typer.Typer()

Cycles = Annotated[bool, typer.Option("--cycles", help="Cycle-exact instead of functional.")]
Trace = Annotated[
    Path | None,
    typer.Option("--trace", help="Write spikes, outputs, cycles and counters to this npz file."),
]
Predictions = Annotated[
    Path | None,
    typer.Option(
        "--predictions", help="Write outputs, class and label of every sample to this .npz or .csv file."
    ),
]


@app.command(
    epilog=examples(
        "spikeloom run digits.spikeloom --data digits",
        "spikeloom run digits.spikeloom --data digits --predictions digits.csv",
        "spikeloom run digits.spikeloom --data digits --cycles --trace run.npz --json run.json",
    )
)
def run(
    image: Image,
    data: Data,
    *,
    cycles: Cycles = False,
    scale: Input = None,
    samples: Samples = None,
    trace: Trace = None,
    predictions: Predictions = None,
    json: Json = None,
) -> None:
    """Emulate an image on data."""
    from mapping.chip import open_chip
    from mapping.datasets.load import load_data, scale_text
    from spikeloom.files import check_places, write_text
    from spikeloom.predictions import check_suffix, write_predictions
    from spikeloom.results import run_json, run_table
    from spikeloom.terminal import console, status

    check_suffix(predictions)
    check_places(trace, predictions, json)
    with status("reading the image") as say:
        chip = open_chip(image)
        given = load_data(data).first(samples)
        asked = scale or chip.image.meta.get("scaling")
        chosen, scale = chip.prepare(given, scale)
        totals, outputs = _emulate(chip, chosen, cycles=cycles, trace=trace, say=say)
    if predictions is not None:
        write_predictions(predictions, outputs, given.y)
    if json is not None:
        write_text(json, run_json(image, chip, chosen.name, scale, totals))
    console.print(f"Input: {scale_text(given, scale, asked)}")
    console.print(run_table(chosen.name, chip, totals))


def _emulate(
    chip: Chip, data: Dataset, *, cycles: bool, trace: Path | None, say: Callable[[str], None]
) -> tuple[RunTotals, NDArray[np.float64]]:
    """Return sums and outputs of all samples, run batch by batch, or at once if a trace is written."""
    import numpy as np

    from mapping.report.activity import RunTotals
    from spikeloom.files import write_trace

    say(f"emulating {len(data.x)} samples")

    def tell(done: int, steps: int) -> None:
        say(f"step {done} of {steps}")

    totals, outputs = RunTotals(), []
    batch = None if trace is None else len(data.x)
    for part, inference in chip.runs(data, batch=batch, cycles=cycles, progress=tell):
        totals.add(chip, part, inference)
        outputs.append(inference.logits)
        if trace is not None:
            write_trace(trace, inference.result)
    return totals, np.concatenate(outputs)
