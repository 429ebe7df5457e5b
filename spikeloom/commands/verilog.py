# SPDX-License-Identifier: Apache-2.0
"""`spikeloom verilog`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mapping.errors import MappingError
from spikeloom.commands.options import (
    Inlets,
    MaybeImage,
    Outlets,
    SharedLinks,
    chips_of,
    examples,
    gates_of,
    mesh_size,
)

if TYPE_CHECKING:
    from emu.spec import SystemSpec
    from rtl.memory import Body

__all__ = ["app", "verilog"]

app = typer.Typer()

Folder = Annotated[
    Path, typer.Option("-o", "--output", help="Folder to write to: design in DIR/*.v, bench in DIR/tb/.")
]
Machine = Annotated[
    str | None,
    typer.Option("--target", help="Target, such as a TOML file: its core, mesh, chips, links and gates."),
]
Preset = Annotated[
    str | None, typer.Option("--preset", help="Core size: tiny, small, medium, reference, article.")
]
Mesh = Annotated[str | None, typer.Option("--mesh", help="Chip size WxH; that of the image, or 2x2.")]
Axons = Annotated[int | None, typer.Option("--axons", help="Crossbar rows instead of the preset's.")]
Columns = Annotated[int | None, typer.Option("--columns", help="Crossbar columns instead of the preset's.")]
Lanes = Annotated[
    int | None, typer.Option("--lanes", help="Columns read in a cycle instead of the preset's.")
]
Chips = Annotated[
    str | None, typer.Option("--chips", help="Chips of the system, XxY, each of the size of --mesh.")
]
Wires = Annotated[
    int | None,
    typer.Option("--wires", help="Wires of a link between two chips; for a quarter of a flit."),
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
        "spikeloom verilog digits.spikeloom --mesh 1x1 -o core/",
        "spikeloom verilog --preset small --mesh 4x3 -o design/",
        "spikeloom verilog --target mine.toml -o design/",
        "spikeloom verilog --preset small --mesh 4x3 --inlets 0W,2E --outlets 0,3 -o design/",
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
    target: Machine = None,
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
    inlets: Inlets = None,
    outlets: Outlets = None,
    exclude: Exclude = None,
    no_initial: NoInitial = False,
    memories: Memories = "inferred",
) -> None:
    """Write the Verilog of a chip, or of several, the same text for the same sizes, and its bench."""
    from mapping.layout.site import dead_parts
    from spikeloom.bench import export_verilog, spec_of
    from spikeloom.terminal import console

    sizes = _given(axons=axons, columns=columns, lanes=lanes)
    links = _given(wires=wires, latency=latency, depth=depth, shared=shared_links or None)
    size = mesh_size(mesh)
    where = {"chips": chips_of(chips), "links": links, "sizes": sizes}
    if image is not None:
        if any((target, preset, inlets, outlets, exclude, *where.values())):
            raise MappingError("Give either an image or sizes for the Verilog, not both.")
        spec = spec_of(image, size)
    else:
        dead = None if exclude is None else dead_parts(exclude)
        spec = _machine(target, preset, dead=dead, gates=gates_of(inlets, outlets), mesh=size, **where)
    for path in export_verilog(output, spec, initial=not no_initial, memories=_body(memories)):
        console.print(str(path))


def _machine(target: str | None, preset: str | None, **asked: Any) -> SystemSpec:
    """Return the machine of a target, or a small one; other sizes are as of `machine_of`."""
    from mapping.flow import core_of
    from mapping.targets.files import load_target
    from mapping.targets.machines import machine_of

    if target is None:
        preset, asked["mesh"] = preset or "small", asked["mesh"] or (2, 2)
    loaded = load_target(target or "loom")
    return machine_of(loaded, core_of(loaded, preset)[1], **asked)
