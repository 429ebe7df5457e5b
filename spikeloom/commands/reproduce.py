# SPDX-License-Identifier: Apache-2.0
"""`spikeloom reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mapping.errors import MappingError
from spikeloom.commands.options import Json, Samples, Seed, examples
from spikeloom.ending import EXIT_DIFFERENCE

__all__ = ["app", "reproduce"]

app = typer.Typer()

System = Annotated[
    str, typer.Argument(help="What to reproduce: [bold]zou2021[/], the article of the seed chip.")
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="A trained network with the layers of the article's LeNet or VGG-Net; may be given several "
        "times. Its accuracy and operations are measured on --data.",
    ),
]
MaybeData = Annotated[
    str | None, typer.Option("--data", help="Samples for --model, for example mnist:DIR, as for estimate.")
]

Noise = Annotated[
    bool,
    typer.Option(
        "--noise",
        help="Measure each --model also with 10 and 20 % of its encoding neurons shut down by --seed.",
    ),
]

Better = Annotated[
    str | None,
    typer.Option(
        "--better",
        help="Print instead what this network of ternary weights takes on the seed chip and on better ones, "
        "emulated on --data.",
    ),
]


@app.command(
    epilog=examples(
        "spikeloom reproduce zou2021",
        "spikeloom reproduce zou2021 --json tables.json",
        "spikeloom reproduce zou2021 --model lenet1.onnx --model lenet4.onnx --data mnist:DIR",
        "spikeloom reproduce zou2021 --model lenet4.onnx --data mnist:DIR --noise --seed 1",
        "spikeloom reproduce zou2021 --better digits --data digits --samples 20",
    )
)
def reproduce(
    system: System,
    *,
    model: Models = None,
    data: MaybeData = None,
    samples: Samples = None,
    noise: Noise = False,
    better: Better = None,
    seed: Seed = 0,
    json: Json = None,
) -> None:
    """Print published tables beside what the formulas give, cell by cell; exit code 1 if a cell differs."""
    from json import dumps

    from mapping.reproduce.measure import measure_all
    from mapping.reproduce.noise import NOISE
    from mapping.reproduce.zou2021 import compute_tables
    from spikeloom.files import check_places, write_text
    from spikeloom.published import load_published
    from spikeloom.reproduction import compare_tables
    from spikeloom.terminal import console, status

    check_places(json)
    published = load_published(system)
    if better is not None:
        _show_better(better, data, samples, json, others=bool(model) or noise)
        return
    with status("measuring the networks"):
        measured = measure_all(model or [], data, samples, noise=NOISE if noise else (), seed=seed)
    found = compare_tables(published, compute_tables(measured=measured))
    if json is not None:
        write_text(json, dumps(found.to_dict(), indent=2) + "\n")
    for line in found.lines():
        console.print(line)
    raise typer.Exit(EXIT_DIFFERENCE if found.differing else 0)


def _show_better(
    model: str, data: str | None, samples: int | None, json: Path | None, *, others: bool
) -> None:
    """Print what a network takes on the seed chip and on better ones."""
    from mapping.reproduce.better import better_chips
    from spikeloom.better import better_json, better_table
    from spikeloom.files import write_text
    from spikeloom.terminal import console, status

    if others:
        raise MappingError("Option --better prints a table of its own: leave --model and --noise out.")
    if data is None:
        raise MappingError("Option --better emulates a network on samples: add --data, for example digits.")
    with status("emulating the chips"):
        chips = better_chips(model, data, samples)
    if json is not None:
        write_text(json, better_json(model, chips))
    console.print(better_table(model, data, chips))
