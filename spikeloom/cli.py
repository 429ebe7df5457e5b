# SPDX-License-Identifier: Apache-2.0
"""The command line. Thin: every command is a few calls; errors become one sentence and an exit code."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from emu.errors import SpikeloomError
from mapping.errors import MappingError
from spikeloom.ending import EXIT_BAD_INPUT, EXIT_INTERRUPTED, complain
from spikeloom.ending import run as end
from spikeloom.options import (
    Core,
    Data,
    Image,
    Input,
    Json,
    Junit,
    MaybeImage,
    Model,
    Patches,
    Samples,
    Seed,
    Sim,
    Waves,
    examples,
    mesh_size,
)
from spikeloom.train import train

__all__ = ["app", "command", "main"]

app = typer.Typer(
    name="spikeloom",
    help="Give it a trained network: it tells what chip it needs, what that chip does on every clock cycle, "
    "how long and how many joules an inference takes, and hands you the chip's Verilog, proven equal to the "
    "simulator.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback(invoke_without_command=True)
def _root(
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    if show_version:
        typer.echo(f"spikeloom {version('spikeloom')}")
        raise typer.Exit
    if debug:
        os.environ["SPIKELOOM_DEBUG"] = "1"


@app.command(epilog=examples("spikeloom demo", "spikeloom demo --out build/demo --images 20"))
def demo(
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the image, the Verilog and the report.")
    ] = Path("spikeloom-demo"),
    images: Annotated[
        int, typer.Option("--images", min=1, help="Images to run in RTL in lock step with the emulator.")
    ] = 10,
    sim: Sim = "auto",
) -> None:
    """Run the whole chain on real handwritten digits: model, chip, emulation, RTL, Verilog, report."""
    from spikeloom.demo import run_demo

    raise typer.Exit(run_demo(out=out, images=images, sim=sim))


@app.command(
    epilog=examples(
        "spikeloom estimate digits --data digits",
        "spikeloom estimate net.onnx --data test.npz --target loom --target kuang2021 --json report.json",
        "spikeloom estimate lenet4.onnx --data mnist:DIR --target kuang2021 --patches article",
    )
)
def estimate(
    model: Model,
    data: Data,
    *,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", help="Target name or TOML file; may be given several times. Default: loom."),
    ] = None,
    core: Core = None,
    patches: Patches = None,
    scale: Input = None,
    samples: Samples = None,
    seed: Seed = 0,
    json: Json = None,
) -> None:
    """Estimate accuracy, latency, energy and power of a model on one or more targets."""
    from mapping.datasets.load import load_data, scale_text
    from mapping.model.load import load_network
    from mapping.report.machine import estimate as run_estimate
    from spikeloom.files import check_places, write_text
    from spikeloom.terminal import console, layer_table, report_notes, report_table, status

    check_places(json)
    with status("reading the model") as say:
        chosen = load_data(data).first(samples)
        report = run_estimate(
            load_network(model),
            chosen,
            target or ["loom"],
            core=core,
            seed=seed,
            how=scale or "auto",
            patches=patches,
            progress=say,
        )
    if json is not None:
        write_text(json, report.to_json())
    console.print(f"Input: {scale_text(chosen, report.input)}")
    console.print(report_table(report))
    for note in report_notes(report):
        console.print(note)
    for part in report.accepted:
        console.print(layer_table(part))
    console.print(f"On the host, outside every figure: {', '.join(report.accepted[0]['host_layers'])}")
    if json is not None:
        console.print(f"Report: {json}")


@app.command("compile", epilog=examples("spikeloom compile digits -o digits.spikeloom --core small"))
def compile_(
    model: Model,
    output: Annotated[Path, typer.Option("-o", "--output", help="Image file to write.")],
    *,
    target: Annotated[
        str, typer.Option("--target", help="Cycle-exact target: a name or a TOML file.")
    ] = "loom",
    core: Core = None,
    mesh: Annotated[
        str | None, typer.Option("--mesh", help="Chip size WxH; by default the smallest that fits.")
    ] = None,
    seed: Seed = 0,
    data: Annotated[
        str | None, typer.Option("--data", help="Data to choose the scale of pixels on, kept in the image.")
    ] = None,
    scale: Input = None,
) -> None:
    """Compile a model into a checked chip image: convert, partition, place, route, emit, check."""
    from mapping.datasets.load import AUTO_SAMPLES, load_data, scale_text, scaled
    from mapping.flow import compile_network
    from mapping.model.load import load_network
    from spikeloom.files import check_places
    from spikeloom.terminal import console, status

    if output.suffix != ".spikeloom":
        raise MappingError(
            f"Image file must end in .spikeloom, so that other commands know it, not {str(output)!r}."
        )
    check_places(output)
    told = scale
    with status("compiling"):
        network = load_network(model)
        if data is not None:
            sample = load_data(data).first(AUTO_SAMPLES)
            _, scale = scaled(sample, scale or "auto", network)
            told = scale_text(sample, scale)
        chip = compile_network(
            network, target=target, core=core, mesh=mesh_size(mesh), seed=seed, scaling=scale
        )
        chip.save(output)
    spec = chip.image.spec
    used = sum(part is not None for part in chip.image.cores)
    console.print(
        f"{output}: {used} of {spec.width} x {spec.height} cores, {chip.period} timesteps an inference, "
        f"digest {chip.image.digest}"
    )
    if told is not None:
        console.print(f"Input: {told}")


@app.command(
    epilog=examples(
        "spikeloom run digits.spikeloom --data digits",
        "spikeloom run digits.spikeloom --data digits --cycles --trace run.npz --json run.json",
    )
)
def run(
    image: Image,
    data: Data,
    *,
    cycles: Annotated[bool, typer.Option("--cycles", help="Cycle-exact instead of functional.")] = False,
    scale: Input = None,
    samples: Samples = None,
    trace: Annotated[
        Path | None,
        typer.Option("--trace", help="Write spikes, outputs, cycles and counters to this npz file."),
    ] = None,
    json: Json = None,
) -> None:
    """Emulate an image on data."""
    from mapping.chip import open_chip
    from mapping.datasets.load import load_data, scale_text
    from mapping.report.activity import RunTotals
    from spikeloom.files import check_places, write_text, write_trace
    from spikeloom.results import run_json, run_table
    from spikeloom.terminal import console, status

    check_places(trace, json)
    with status("reading the image") as say:
        chip = open_chip(image)
        given = load_data(data).first(samples)
        chosen, scale = chip.prepare(given, scale)
        say(f"emulating {len(chosen.x)} samples")

        def tell(done: int, steps: int) -> None:
            say(f"step {done} of {steps}")

        if trace is None:
            totals = chip.totals(chosen, cycles=cycles, progress=tell)
        else:
            inference, totals = chip.run(chosen.x, cycles=cycles, progress=tell), RunTotals()
            totals.add(chosen, inference.result, inference.logits)
            write_trace(trace, inference.result)
    if json is not None:
        write_text(json, run_json(image, chip, chosen.name, scale, totals))
    console.print(f"Input: {scale_text(given, scale)}")
    console.print(run_table(chosen.name, chip.period, totals))


@app.command(
    epilog=examples(
        "spikeloom verify digits.spikeloom --data digits --samples 10",
        "spikeloom verify --random 20 --seed 7",
        "spikeloom verify digits.spikeloom --verilog my_edited_design/",
    )
)
def verify(
    image: MaybeImage = None,
    *,
    data: Annotated[
        str | None, typer.Option("--data", help="Data to feed the image; without it, random events.")
    ] = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Samples of the data to run.")] = 2,
    random: Annotated[
        int | None, typer.Option("--random", min=1, help="Verify N random systems instead of an image.")
    ] = None,
    seed: Seed = 0,
    sim: Sim = "auto",
    verilog: Annotated[
        Path | None,
        typer.Option(
            "--verilog", help="Verify the (edited) Verilog in this folder instead of freshly generated text."
        ),
    ] = None,
    waves: Waves = None,
    junit: Junit = None,
    json: Json = None,
) -> None:
    """Run RTL and emulator in lock step and compare every spike, potential, counter and cycle."""
    from spikeloom.bench import verify_image, verify_random
    from spikeloom.files import check_places

    check_places(waves, junit, json)
    options = {"--sim": sim, "--verilog": verilog, "--waves": waves, "--junit": junit, "--json": json}
    if (image is None) == (random is None):
        raise MappingError("Give either an image or --random N to verify, not both and not neither.")
    if image is None:
        raise typer.Exit(verify_random(random or 0, seed, options))
    raise typer.Exit(verify_image(image, data, samples, options))


@app.command(
    epilog=examples(
        "spikeloom verilog digits.spikeloom -o design/",
        "spikeloom verilog --preset small --mesh 4x3 -o design/",
    )
)
def verilog(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder to write to: design in DIR/*.v, bench in DIR/tb/.")
    ],
    image: MaybeImage = None,
    *,
    preset: Annotated[str | None, typer.Option("--preset", help="Core size: tiny, small, reference.")] = None,
    mesh: Annotated[str | None, typer.Option("--mesh", help="Chip size WxH; 2x2 by default.")] = None,
    axons: Annotated[
        int | None, typer.Option("--axons", help="Crossbar rows instead of the preset's.")
    ] = None,
    columns: Annotated[
        int | None, typer.Option("--columns", help="Crossbar columns instead of the preset's.")
    ] = None,
    lanes: Annotated[
        int | None, typer.Option("--lanes", help="Columns read in a cycle instead of the preset's.")
    ] = None,
) -> None:
    """Write the Verilog of a chip, the same text for the same sizes, and the bench that verifies it."""
    from spikeloom.bench import export_verilog
    from spikeloom.terminal import console

    changes = {
        name: value
        for name, value in (("axons", axons), ("columns", columns), ("lanes", lanes))
        if value is not None
    }
    if image is not None and (preset or mesh or changes):
        raise MappingError("Give either an image or sizes for the Verilog, not both.")
    size = mesh_size(mesh) or (2, 2)
    for path in export_verilog(
        output, image=image, preset_name=preset or "small", mesh=size, changes=changes
    ):
        console.print(str(path))


@app.command(
    epilog=examples(
        "spikeloom inspect digits",
        "spikeloom inspect digits --data digits --samples 100",
        "spikeloom inspect digits.spikeloom --data digits --json inspect.json",
    )
)
def inspect(
    model: Annotated[str, typer.Argument(help="A model or an image file.")],
    *,
    core: Core = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help="Data to run layer by layer: as for [bold]estimate[/]."),
    ] = None,
    samples: Samples = None,
    scale: Input = None,
    json: Json = None,
) -> None:
    """Show what is in a model or an image and what runs where; with data also what each layer does."""
    from spikeloom.inspection import inspect as run_inspect

    raise typer.Exit(run_inspect(model, core=core, data=data, samples=samples, how=scale, json_file=json))


targets = typer.Typer(
    help="List the targets, or show one: [bold]spikeloom targets show loom > mine.toml[/] starts your own.",
    invoke_without_command=True,
)
app.add_typer(targets, name="targets")


@targets.callback(invoke_without_command=True)
def _targets(context: typer.Context) -> None:
    from mapping.targets.files import list_targets, load_target
    from spikeloom.terminal import console, target_table

    if context.invoked_subcommand is None:
        console.print(target_table([load_target(name) for name in list_targets()]))


@targets.command("show")
def targets_show(target: Annotated[str, typer.Argument(help="Target name or TOML file.")]) -> None:
    """Print a target's TOML file: every number with unit, range and source."""
    from mapping.targets.files import target_text

    sys.stdout.write(target_text(target))


app.add_typer(train, name="train")


@app.command()
def doctor() -> None:
    """Show versions, simulators, name clashes, what is missing and how to get it."""
    from spikeloom.doctor import Level, diagnose, render
    from spikeloom.terminal import console

    findings = diagnose()
    console.print(render(findings))
    raise typer.Exit(EXIT_BAD_INPUT if any(finding.level is Level.PROBLEM for finding in findings) else 0)


def command(arguments: list[str] | None) -> int:
    """Run a command and return its exit code; what nobody foresaw is raised."""
    os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")
    try:
        code = app(args=arguments, standalone_mode=False)
    except SpikeloomError as error:
        return complain(str(error))
    except typer.Abort:
        return EXIT_INTERRUPTED
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # a usage error of the option parser
            error.show()
            return int(error.exit_code)
        raise
    return int(code or 0)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code (`docs/reference/cli.md`)."""
    return end(lambda: command(arguments))


if __name__ == "__main__":
    sys.exit(end(lambda: command(None), owner=True))
