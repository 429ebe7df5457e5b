# SPDX-License-Identifier: Apache-2.0
"""`spikeloom estimate`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mapping.errors import MappingError
from spikeloom.commands.options import (
    Bits,
    Calibrate,
    Chips,
    CodeName,
    Core,
    Data,
    Debug,
    Digits,
    Html,
    Inlets,
    Input,
    Json,
    Model,
    Objective,
    Outlets,
    Placer,
    Samples,
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
from spikeloom.stages import working

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mapping.datasets.load import Dataset
    from mapping.report.result import Report

__all__ = ["app", "estimate"]

app = typer.Typer()

Targets = Annotated[
    list[str] | None,
    typer.Option("--target", help="Target name or TOML file; may be given several times. Default: loom."),
]
Patches = Annotated[
    str | None,
    typer.Option(
        "--patches",
        help="Who cuts the layers for kuang2021: best, the fewest cores (default), or article, the plan that "
        "Zou et al. 2021 published.",
    ),
]
Explore = Annotated[
    bool,
    typer.Option(
        "--explore",
        help="Graded code: also compare 4, 6 and 8 bits with 2, 3, 4, 5 and auto digits, in one table; "
        "settings that no other one beats are marked.",
    ),
]
Beside = Annotated[
    str | None,
    typer.Option(
        "--beside",
        help="Also show, side by side, what others published of systems on the same data: mnist, cifar10 or "
        "nmnist.",
    ),
]
InPasses = Annotated[
    str | None,
    typer.Option(
        "--passes",
        help="Run in passes over a mesh WxH that need not hold the network, loading it for a batch.",
    ),
]
Explain = Annotated[
    bool,
    typer.Option(
        "--explain",
        help="Also tell what limits every layer: how full its cores are, what they hold twice, what a larger "
        "core would save, and which part of the chip its time goes by.",
    ),
]


@app.command(
    epilog=examples(
        "spikeloom estimate digits --data digits",
        "spikeloom estimate net.onnx --data test.npz --target loom --target kuang2021 --json report.json",
        "spikeloom estimate net.onnx --data test.npz --target loom --target kuang2021 --html report.html",
        "spikeloom estimate net.onnx --data mnist:DIR --bits 4 --digits 3",
        "spikeloom estimate net.onnx --data mnist:DIR --digits auto --tolerance 0.5",
        "spikeloom estimate net.onnx --data mnist:DIR --explore --json report.json",
        "spikeloom estimate net.onnx --data mnist:DIR --explain",
        "spikeloom estimate net.onnx --data mnist:DIR --beside mnist",
        "spikeloom estimate net.onnx --data mnist:DIR --target loom --target truenorth --target loihi",
        "spikeloom estimate net.onnx --data mnist:DIR --passes 4x4",
        "spikeloom estimate lenet4.onnx --data mnist:DIR --target kuang2021 --patches article",
    )
)
def estimate(
    model: Model,
    data: Data,
    *,
    target: Targets = None,
    core: Core = None,
    chips: Chips = None,
    shared_links: SharedLinks = False,
    wires: Wires = None,
    inlets: Inlets = None,
    outlets: Outlets = None,
    passes: InPasses = None,
    placer: Placer = "greedy",
    objective: Objective = "cores",
    patches: Patches = None,
    code: CodeName = "auto",
    bits: Bits = 8,
    digits: Digits = "5",
    tolerance: Tolerance = 1.0,
    calibrate: Calibrate = 256,
    scale: Input = None,
    samples: Samples = None,
    seed: Seed = 0,
    strict: Strict = False,
    explore: Explore = False,
    explain: Explain = False,
    beside: Beside = None,
    json: Json = None,
    html: Html = None,
    debug: Debug = False,
) -> None:
    """Estimate accuracy, latency, energy and power of a model on one or more targets."""
    rows = _checked(json, html, beside)
    common = dict[str, Any](core=core, seed=seed, strict=strict, objective=objective, placer=placer)
    common.update(chips=chips_of(chips), shared_links=shared_links, wires=wires, explained=explain)
    common.update(gates=gates_of(inlets, outlets), passes=mesh_size(passes), code=code, how=scale or "auto")
    with working("reading the model", asked=debug) as say:
        chosen, common["calibration"] = _data(data, samples, calibrate, seed)
        common.update(progress=say, options=graded_options(bits, digits, tolerance, seed))
        report = _report(model, chosen, target or ["loom"], patches=patches, explored=explore, common=common)
    _tell(replace(report, published=rows), json, html, explained=explain)


def _checked(json: Path | None, html: Path | None, beside: str | None) -> list[dict[str, Any]] | None:
    """Look where the report is to be written; return what others published beside it, if it is asked for."""
    from mapping.report.published import published
    from spikeloom.files import check_places

    check_places(json, html)
    return None if beside is None else published(beside)


def _report(
    model: str,
    data: Dataset,
    targets: list[str],
    *,
    patches: str | None,
    explored: bool,
    common: Mapping[str, Any],
) -> Report:
    """Return the report on some targets, with an exploration by the same arguments if it is asked for."""
    from mapping.model.load import load_network
    from mapping.report.exploration import check_exploration, explore
    from mapping.report.machine import estimate
    from mapping.stages import stage

    with stage("import"):
        network = load_network(model)
    if explored:
        check_exploration(network, targets, common["code"])
        if common["passes"] is not None:
            raise MappingError(
                "Bits and digits are explored without passes: leave out --passes or --explore."
            )
    report = estimate(network, data, targets, patches=patches, **common)
    if not explored:
        return report
    alone = {key: value for key, value in common.items() if key not in ("passes", "explained")}
    return replace(report, exploration=explore(network, data, targets[0], **alone))


def _data(data: str, samples: int | None, calibrate: int, seed: int) -> tuple[Dataset, Dataset]:
    """Return the data, and the samples on which the scales of activations are chosen."""
    from mapping.datasets.calibration import calibration_data
    from mapping.datasets.load import load_data

    return load_data(data).first(samples), calibration_data(data, calibrate, seed)


def _tell(report: Report, json: Path | None, html: Path | None, *, explained: bool) -> None:
    """Write the report where it is asked for, print it, and say where it was written."""
    from spikeloom.files import write_text
    from spikeloom.terminal import console

    if json is not None:
        write_text(json, report.to_json())
    if html is not None:
        write_text(html, report.to_html())
    _show(report, explained=explained)
    for path in filter(None, (json, html)):
        console.print(f"Report: {path}")


def _show(report: Report, *, explained: bool) -> None:
    """Print the report."""
    from mapping.spiking.network import HostLayer
    from spikeloom.beside import beside_table
    from spikeloom.explanation import explanations
    from spikeloom.exploration import exploration_notes, exploration_table
    from spikeloom.passes import pass_cost_table
    from spikeloom.terminal import console, host_line, layer_table, report_notes, report_table

    console.print(f"Input: {report.input_told}")
    console.print(report_table(report))
    for note in report_notes(report):
        console.print(note)
    for part in report.accepted:
        console.print(layer_table(part))
        if part["breakdown"].get("passes"):
            console.print(pass_cost_table(part))
        for table in explanations(part) if explained else ():
            console.print(table)
    if report.side_by_side is not None:
        console.print(beside_table(report.side_by_side))
    if report.exploration is not None:
        console.print(exploration_table(report))
        for note in exploration_notes(report.exploration):
            console.print(note)
    keys = ("host_layers", "host_share", "host_uncounted")
    lines = {part["target"]: host_line(*(part[key] for key in keys)) for part in report.accepted}
    same = len(set(lines.values())) == 1
    for target, line in list(lines.items())[: 1 if same else None]:
        console.print(line if same else f"{target}: {line}")
    for part in report.accepted:
        for layer in part["host_left"]:
            console.print(f"{part['target']}: {HostLayer(**layer).sentence}")
