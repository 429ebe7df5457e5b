# SPDX-License-Identifier: Apache-2.0
"""`spikeloom compile`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mapping.errors import MappingError
from spikeloom.commands.options import (
    Bits,
    Calibrate,
    Chips,
    CodeName,
    Core,
    Debug,
    Digits,
    Inlets,
    Input,
    Model,
    Objective,
    Outlets,
    Placer,
    Seed,
    SharedLinks,
    Strict,
    Tolerance,
    Wires,
    chips_of,
    examples,
    gates_of,
    graded_options,
    mesh_size,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mapping.chip import Chip
    from mapping.model.network import Network
    from mapping.passes import Passes

__all__ = ["app", "compile_", "show_compiled"]

app = typer.Typer()

Output = Annotated[Path, typer.Option("-o", "--output", help="Image file to write.")]
Target = Annotated[
    str, typer.Option("--target", help="Target: a name or a TOML file; kuang2021 has unary packets.")
]
Mesh = Annotated[str | None, typer.Option("--mesh", help="Chip size WxH; by default the smallest that fits.")]
Pipelined = Annotated[
    bool,
    typer.Option("--pipelined", help="Take a sample in every step, where no layer skips another."),
]
InPasses = Annotated[
    bool,
    typer.Option("--passes", help="Load the mesh several times, a part of the network at a time."),
]
Exclude = Annotated[
    Path | None,
    typer.Option("--exclude", help='TOML file of dead cores = [[x, y], ...], ports = [[x, y, "E"], ...].'),
]
DataOfScale = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="Data to choose the scale of pixels on, kept in the image, and of activations.",
    ),
]
Explain = Annotated[
    bool,
    typer.Option(
        "--explain",
        help="Also tell what limits every layer: how full its cores are, what they hold twice, what a larger "
        "core would save, and at worst which part of the chip its time goes by.",
    ),
]


@app.command(
    "compile",
    epilog=examples(
        "spikeloom compile digits -o digits.spikeloom --core small",
        "spikeloom compile net.onnx -o net.spikeloom --data test.npz",
        "spikeloom compile digits -o seed.spikeloom --target kuang2021",
        "spikeloom compile net.onnx -o net.spikeloom --data test.npz --digits auto --tolerance 0.5 --debug",
        "spikeloom compile net.onnx -o net.spikeloom --data test.npz --chips 2x2 --placer anneal",
        "spikeloom compile net.onnx -o net.spikeloom --data test.npz --chips 2x2 --shared-links",
        "spikeloom compile net.onnx -o net.spikeloom --data test.npz --mesh 8x8 --exclude faults.toml",
        "spikeloom compile net.onnx -o net.spikeloom --data test.npz --inlets 4 --outlets 2",
        "spikeloom compile net.onnx -o net.spikeloom --data test.npz --pipelined",
        "spikeloom compile net.onnx -o net.spikeloom --data test.npz --mesh 4x4 --passes",
        "spikeloom compile net.onnx -o net.spikeloom --data test.npz --objective latency",
        "spikeloom compile net.onnx -o net.spikeloom --data test.npz --explain",
    ),
)
def compile_(
    model: Model,
    output: Output,
    *,
    target: Target = "loom",
    core: Core = None,
    mesh: Mesh = None,
    chips: Chips = None,
    shared_links: SharedLinks = False,
    wires: Wires = None,
    inlets: Inlets = None,
    outlets: Outlets = None,
    pipelined: Pipelined = False,
    passes: InPasses = False,
    placer: Placer = "greedy",
    objective: Objective = "cores",
    exclude: Exclude = None,
    seed: Seed = 0,
    strict: Strict = False,
    data: DataOfScale = None,
    scale: Input = None,
    code: CodeName = "auto",
    bits: Bits = 8,
    digits: Digits = "5",
    tolerance: Tolerance = 1.0,
    calibrate: Calibrate = 256,
    explain: Explain = False,
    debug: Debug = False,
) -> None:
    """Compile a model into a checked chip image: convert, partition, place, route, emit, check."""
    from spikeloom.stages import working

    _check_file(output)
    sizes = dict[str, Any](mesh=mesh_size(mesh), chips=chips_of(chips), shared_links=shared_links)
    sizes.update(wires=wires, gates=gates_of(inlets, outlets), placer=placer, objective=objective)
    sizes.update(_timing(passes=passes, pipelined=pipelined) | _dead(exclude), target=target, core=core)
    sizes.update(seed=seed, strict=strict, code=code, options=graded_options(bits, digits, tolerance, seed))
    with working("compiling", asked=debug) as say:
        chip, told, lost = _compiled(model, data, scale, calibrate, progress=say, **sizes)
        chip.save(output)
    show_compiled(output, chip, told, lost, explained=explain)


def _dead(exclude: Path | None) -> dict[str, Any]:
    """Return what does not work, nothing if no file says so."""
    from mapping.layout.site import dead_parts

    return {} if exclude is None else {"dead": dead_parts(exclude)}


def _timing(*, passes: bool, pipelined: bool) -> dict[str, bool]:
    """Return how samples follow each other: in passes, or each for itself, pipelined or not."""
    if passes and pipelined:
        raise MappingError("A network in passes takes a batch at a time: leave out --pipelined or --passes.")
    return {"passes": True} if passes else {"passes": False, "pipelined": pipelined}


def _compiled(
    model: str,
    data: str | None,
    scale: str | None,
    calibrate: int,
    *,
    passes: bool,
    seed: int,
    **asked: Any,
) -> tuple[Chip | Passes, str | None, str | None]:
    """Return the chip, or its passes, and what is to be told of the scale of pixels and of what was lost."""
    from mapping.diagnosis.losses import loss_doubt
    from mapping.flow import compile_network, compile_passes
    from mapping.model.load import load_network
    from mapping.stages import stage

    with stage("import"):
        network = load_network(model)
    scale, told = _scale(network, data, scale)
    given = _samples(network, data, scale, calibrate, seed)
    compiler = compile_passes if passes else compile_network
    chip = compiler(network, given, scaling=scale, seed=seed, **asked)
    return chip, told, None if given is None else loss_doubt(chip.spiking, given)


def _check_file(output: Path) -> None:
    """Refuse an image file that other commands would take for a model, or that cannot be written."""
    from spikeloom.files import check_places

    if output.suffix != ".spikeloom":
        raise MappingError(
            f"Image file must end in .spikeloom, so that other commands know it, not {str(output)!r}."
        )
    check_places(output)


def show_compiled(
    output: Path, chip: Chip | Passes, told: str | None, lost: str | None = None, *, explained: bool = False
) -> None:
    """Print what was written, the host's layers and why, the scale of pixels, doubts, and what limits."""
    from mapping.codes.doubts import doubt_about
    from mapping.passes import Passes
    from spikeloom.passes import pass_table, passes_line
    from spikeloom.terminal import console, host_line

    if isinstance(chip, Passes):
        console.print(f"{output}: {passes_line(chip)}")
        console.print(pass_table(chip))
    else:
        console.print(f"{output}: {_summary(chip)}")
    spiking = chip.spiking
    console.print(host_line(spiking.host_layers, spiking.host_share, spiking.uncounted))
    for layer in spiking.left:
        console.print(layer.sentence)
    if told is not None:
        console.print(f"Input: {told}")
    doubt = doubt_about(spiking.network, spiking.code, spiking.near)
    for text in filter(None, (doubt, lost)):
        console.print(text)
    if explained:
        _explain(chip)


def _explain(chip: Chip | Passes) -> None:
    """Print what limits the layers, at worst: nothing was emulated."""
    from mapping.passes import Passes, passes_meta
    from mapping.report.limits import in_pass
    from mapping.report.worst import limits_at_worst
    from spikeloom.explanation import limit_tables
    from spikeloom.terminal import console

    if isinstance(chip, Passes):
        tables = []
        for at, (one, part) in enumerate(zip(chip.loaded, chip.passes, strict=True)):
            rows = in_pass(limits_at_worst(one), passes_meta(at, part.rows)["rows"])
            tables += limit_tables(rows, f"pass {at}", worst=True)
    else:
        tables = limit_tables(limits_at_worst(chip), chip.spiking.name, worst=True)
    for table in tables:
        console.print(table)


def _scale(network: Network, data: str | None, how: str | None) -> tuple[str | None, str | None]:
    """Return the scale of pixels that the image keeps, chosen on the data if there are any, and its text."""
    from mapping.datasets.load import scale_text
    from mapping.given import scale_on

    if data is None:
        return how, how
    sample, chosen = scale_on(network, data, how)
    return chosen, scale_text(sample, chosen, how)


def _samples(
    network: Network, data: str | None, how: str | None, number: int, seed: int
) -> NDArray[np.float64] | None:
    """Return the samples on which the scales of activations are chosen, if there are data."""
    from mapping.given import calibration_samples

    if data is None:
        return None
    return calibration_samples(network, data, how, number, seed)


def _cut(chip: Chip) -> str:
    """Return how many chips the mesh is cut into, nothing if it is one."""
    across, down = chip.chips
    return "" if across * down == 1 else f" on {across} x {down} chips"


def _pace(chip: Chip) -> str:
    """Return that samples are pipelined, nothing if they are not."""
    from mapping.layout.host_tables import interval_of

    return "" if interval_of(chip.image) == chip.period else ", a new one every step"


def _summary(chip: Chip) -> str:
    spec = chip.image.spec
    used = sum(part is not None for part in chip.image.cores)
    return (
        f"{used} of {spec.width} x {spec.height} cores{_cut(chip)}, {chip.period} timesteps an inference"
        f"{_pace(chip)}, digest {chip.image.digest}"
    )
