# SPDX-License-Identifier: Apache-2.0
"""`spikeloom verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mapping.errors import MappingError
from spikeloom.commands.options import Json, Junit, MaybeImage, Seed, Sim, Waves, examples

__all__ = ["app", "verify"]

app = typer.Typer()

Fed = Annotated[str | None, typer.Option("--data", help="Data to feed the image; without it, random events.")]
Samples = Annotated[int, typer.Option("--samples", min=1, help="Samples of the data to run.")]
Cores = Annotated[
    int | None,
    typer.Option(
        "--cores",
        min=1,
        help="Verify N cores of the image, each alone; one of each program for images of more than 36.",
    ),
]
Random = Annotated[
    int | None, typer.Option("--random", min=1, help="Verify N random systems instead of an image.")
]
Machine = Annotated[
    str | None,
    typer.Option("--target", help="Draw the random systems for the machine that this TOML file describes."),
]
Verilog = Annotated[
    Path | None,
    typer.Option(
        "--verilog", help="Verify the (edited) Verilog in this folder instead of freshly generated text."
    ),
]


@app.command(
    epilog=examples(
        "spikeloom verify digits.spikeloom --data digits --samples 10",
        "spikeloom verify lenet.spikeloom --data mnist:DIR --cores 6",
        "spikeloom verify --random 20 --seed 7",
        "spikeloom verify --random 20 --target mine.toml",
        "spikeloom verify digits.spikeloom --verilog my_edited_design/",
    )
)
def verify(
    image: MaybeImage = None,
    *,
    data: Fed = None,
    samples: Samples = 2,
    cores: Cores = None,
    random: Random = None,
    seed: Seed = 0,
    target: Machine = None,
    sim: Sim = "auto",
    verilog: Verilog = None,
    waves: Waves = None,
    junit: Junit = None,
    json: Json = None,
) -> None:
    """Run RTL and emulator in lock step and compare every spike, potential, counter and cycle."""
    from spikeloom.bench import verify_image, verify_random
    from spikeloom.files import check_places

    check_places(waves, junit, json)
    options = {
        "--seed": seed,
        "--cores": cores,
        "--target": target,
        "--sim": sim,
        "--verilog": verilog,
        "--waves": waves,
        "--junit": junit,
        "--json": json,
    }
    if (image is None) == (random is None):
        raise MappingError("Give either an image or --random N to verify, not both and not neither.")
    if image is None:
        raise typer.Exit(verify_random(random or 0, options))
    raise typer.Exit(verify_image(image, data, samples, options))
