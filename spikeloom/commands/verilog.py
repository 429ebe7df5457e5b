# SPDX-License-Identifier: Apache-2.0
"""`spikeloom verilog`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mapping.errors import MappingError
from spikeloom.commands.options import MaybeImage, examples, mesh_size

__all__ = ["app", "verilog"]

app = typer.Typer()

Folder = Annotated[
    Path, typer.Option("-o", "--output", help="Folder to write to: design in DIR/*.v, bench in DIR/tb/.")
]
Preset = Annotated[
    str | None, typer.Option("--preset", help="Core size: tiny, small, medium, reference, article.")
]
Mesh = Annotated[str | None, typer.Option("--mesh", help="Chip size WxH; 2x2 by default.")]
Axons = Annotated[int | None, typer.Option("--axons", help="Crossbar rows instead of the preset's.")]
Columns = Annotated[int | None, typer.Option("--columns", help="Crossbar columns instead of the preset's.")]
Lanes = Annotated[
    int | None, typer.Option("--lanes", help="Columns read in a cycle instead of the preset's.")
]

NoInitial = Annotated[
    bool, typer.Option("--no-initial", help="Leave out the registers' start values: silicon has none.")
]

Memories = Annotated[
    str,
    typer.Option(
        "--memories",
        help="inferred: arrays, for FPGAs. macro: instances of modules in memories.v, to replace.",
    ),
]


@app.command(
    epilog=examples(
        "spikeloom verilog digits.spikeloom -o design/",
        "spikeloom verilog --preset small --mesh 4x3 -o design/",
        "spikeloom verilog --preset small --no-initial -o design/",
        "spikeloom verilog --preset small --memories macro -o design/",
    )
)
def verilog(
    output: Folder,
    image: MaybeImage = None,
    *,
    preset: Preset = None,
    mesh: Mesh = None,
    axons: Axons = None,
    columns: Columns = None,
    lanes: Lanes = None,
    no_initial: NoInitial = False,
    memories: Memories = "inferred",
) -> None:
    """Write the Verilog of a chip, the same text for the same sizes, and the bench that verifies it."""
    from rtl.memory import Body
    from spikeloom.bench import export_verilog
    from spikeloom.terminal import console

    sizes = {"axons": axons, "columns": columns, "lanes": lanes}
    changes = {name: value for name, value in sizes.items() if value is not None}
    if image is not None and (preset or mesh or changes):
        raise MappingError("Give either an image or sizes for the Verilog, not both.")
    bodies = {"inferred": Body.INFERRED, "macro": Body.MACRO}
    if memories not in bodies:
        raise MappingError(f"Memories must be {' or '.join(bodies)}, not {memories!r}.")
    size = mesh_size(mesh) or (2, 2)
    core = preset or "small"
    for path in export_verilog(
        output,
        image=image,
        preset_name=core,
        mesh=size,
        changes=changes,
        initial=not no_initial,
        memories=bodies[memories],
    ):
        console.print(str(path))
