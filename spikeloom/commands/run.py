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
    from mapping.passes import Passes
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
    from mapping.datasets.labels import named_labels
    from mapping.datasets.load import load_data, scale_text
    from spikeloom.files import check_places, write_text
    from spikeloom.passes import open_any
    from spikeloom.predictions import check_suffix, write_predictions
    from spikeloom.results import run_json, run_table
    from spikeloom.terminal import console, status

    check_suffix(predictions)
    check_places(trace, predictions, json)
    with status("reading the image") as say:
        chip = open_any(image)
        given = load_data(data).first(samples)
        asked = scale or chip.scaling
        chosen, scale = chip.prepare(given, scale)
        totals, outputs = _emulate(chip, chosen, cycles=cycles, trace=trace, say=say)
    if predictions is not None:
        labels = named_labels(given.y, given.texts)
        write_predictions(predictions, outputs, labels, chip.spiking.network.classes)
    if json is not None:
        write_text(json, run_json(image, chip, chosen.name, scale, totals))
    console.print(f"Input: {scale_text(given, scale, asked)}")
    console.print(run_table(chosen.name, chip, totals))


def _emulate(
    chip: Chip | Passes, data: Dataset, *, cycles: bool, trace: Path | None, say: Callable[[str], None]
) -> tuple[list[RunTotals], NDArray[np.float64]]:
    """Return sums, those of every pass, and outputs of all samples, run batch by batch.

    If a trace is written they are run at once.
    """
    import numpy as np

    from mapping.report.activity import RunTotals
    from spikeloom.files import numbered, write_trace
    from spikeloom.passes import inferences

    say(f"emulating {len(data.x)} samples")

    def tell(done: int, steps: int) -> None:
        say(f"step {done} of {steps}")

    totals: list[RunTotals] = []
    outputs = []
    batch = None if trace is None else len(data.x)
    for part, done in inferences(chip, data, batch=batch, cycles=cycles, progress=tell):
        totals = totals or [RunTotals() for _ in done]
        outputs.append(done[-1][1].logits)
        for number, ((one, inference), total) in enumerate(zip(done, totals, strict=True)):
            total.add(one, part, inference)
            if trace is not None:
                write_trace(trace if len(done) == 1 else numbered(trace, number), inference.result)
    return totals, np.concatenate(outputs)
