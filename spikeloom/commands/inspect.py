# SPDX-License-Identifier: Apache-2.0
"""`spikeloom inspect`."""

from __future__ import annotations

from typing import Annotated

import typer

from spikeloom.commands.options import (
    Bits,
    Calibrate,
    CodeName,
    Core,
    Digits,
    Input,
    Json,
    Samples,
    Seed,
    Tolerance,
    examples,
    graded_options,
)

__all__ = ["app", "inspect"]

app = typer.Typer()

Source = Annotated[str, typer.Argument(metavar="MODEL|IMAGE", help="A model or an image file.")]
DataOfLayers = Annotated[
    str | None, typer.Option("--data", help="Data to run layer by layer: as for [bold]estimate[/].")
]


@app.command(
    epilog=examples(
        "spikeloom inspect digits",
        "spikeloom inspect digits --core small",
        "spikeloom inspect digits --data digits --samples 100",
        "spikeloom inspect net.onnx --data mnist:DIR --samples 500 --digits 3",
        "spikeloom inspect digits.spikeloom --data digits --json inspect.json",
    )
)
def inspect(
    source: Source,
    *,
    core: Core = None,
    data: DataOfLayers = None,
    samples: Samples = None,
    scale: Input = None,
    code: CodeName = "auto",
    bits: Bits = 8,
    digits: Digits = "5",
    tolerance: Tolerance = 1.0,
    calibrate: Calibrate = 256,
    seed: Seed = 0,
    json: Json = None,
) -> None:
    """Show what is in a model or an image and what runs where; on data what each layer does and loses."""
    from spikeloom.conversion import Asked
    from spikeloom.inspection import inspect as run_inspect

    options = graded_options(bits, digits, tolerance, seed)
    asked = Asked(core=core, code=code, options=options, calibrate=calibrate, seed=seed)
    raise typer.Exit(run_inspect(source, asked=asked, data=data, samples=samples, how=scale, json_file=json))
