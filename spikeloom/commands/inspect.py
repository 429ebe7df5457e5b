# SPDX-License-Identifier: Apache-2.0
"""`spikeloom inspect`."""

from __future__ import annotations

from typing import Annotated

import typer

from spikeloom.commands.options import Core, Input, Json, Samples, examples

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
    json: Json = None,
) -> None:
    """Show what is in a model or an image and what runs where; with data also what each layer does."""
    from spikeloom.inspection import inspect as run_inspect

    raise typer.Exit(run_inspect(source, core=core, data=data, samples=samples, how=scale, json_file=json))
