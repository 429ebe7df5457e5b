# SPDX-License-Identifier: Apache-2.0
"""`spikeloom verilog`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mapping.errors import MappingError
from spikeloom.commands.options import MaybeImage, SharedLinks, chips_of, examples, mesh_size

if TYPE_CHECKING:
    from rtl.memory import Body

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
Chips = Annotated[
    str | None, typer.Option("--chips", help="Chips of the system, XxY, each of the size of --mesh.")
]
Wires = Annotated[
    int | None, typer.Option("--wires", help="Wires of a link between two chips, for a beat of a flit; 8.")
]
Latency = Annotated[
    int | None, typer.Option("--latency", help="Cycles of a link beside the beats, 2 by default.")
]
Depth = Annotated[
    int | None, typer.Option("--depth", help="Flits that the far end of a link holds, 4 by default.")
]

Exclude = Annotated[
    Path | None,
    typer.Option("--exclude", help="TOML file of dead parts, as for compile: the chip gets straps."),
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


def _given(**sizes: int | None) -> dict[str, int]:
    """Return the sizes that were given."""
    return {name: value for name, value in sizes.items() if value is not None}


def _several(chips: str | None, links: dict[str, int]) -> tuple[int, int]:
    """Return how many chips there are; sizes of links are refused where there is one."""
    several = chips_of(chips or "1x1")
    if links and several == (1, 1):
        option = {"shared": "shared-links"}.get(name := next(iter(links)), name)
        raise MappingError(f"Option --{option} needs several chips: add --chips, for example 2x1.")
    return several


def _body(memories: str) -> Body:
    """Return what stands for a memory."""
    from rtl.memory import Body

    bodies = {"inferred": Body.INFERRED, "macro": Body.MACRO}
    if memories not in bodies:
        raise MappingError(f"Memories must be {' or '.join(bodies)}, not {memories!r}.")
    return bodies[memories]


@app.command(
    epilog=examples(
        "spikeloom verilog digits.spikeloom -o design/",
        "spikeloom verilog --preset small --mesh 4x3 -o design/",
        "spikeloom verilog --preset small --mesh 2x2 --chips 2x1 --wires 12 -o design/",
        "spikeloom verilog --preset small --mesh 2x2 --chips 2x1 --shared-links -o design/",
        "spikeloom verilog --preset small --mesh 4x3 --exclude faults.toml -o design/",
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
    chips: Chips = None,
    wires: Wires = None,
    latency: Latency = None,
    depth: Depth = None,
    shared_links: SharedLinks = False,
    exclude: Exclude = None,
    no_initial: NoInitial = False,
    memories: Memories = "inferred",
) -> None:
    """Write the Verilog of a chip, or of several, the same text for the same sizes, and its bench."""
    from mapping.layout.site import dead_parts
    from spikeloom.bench import export_verilog
    from spikeloom.terminal import console

    changes = _given(axons=axons, columns=columns, lanes=lanes)
    links = _given(wires=wires, latency=latency, depth=depth, shared=shared_links or None)
    if image is not None and (preset or mesh or changes or chips or links or exclude):
        raise MappingError("Give either an image or sizes for the Verilog, not both.")
    for path in export_verilog(
        output,
        image=image,
        preset_name=preset or "small",
        mesh=mesh_size(mesh) or (2, 2),
        chips=_several(chips, links),
        links=links,
        changes=changes,
        dead=dead_parts(exclude) if exclude else None,
        initial=not no_initial,
        memories=_body(memories),
    ):
        console.print(str(path))
