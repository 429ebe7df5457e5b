# SPDX-License-Identifier: Apache-2.0
"""`spikeloom estimate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from spikeloom.commands.options import (
    Bits,
    Calibrate,
    CodeName,
    Core,
    Data,
    Digits,
    Input,
    Json,
    Model,
    Samples,
    Seed,
    Strict,
    examples,
    graded_options,
)

if TYPE_CHECKING:
    from pathlib import Path

    from mapping.datasets.load import Dataset
    from mapping.report.machine import Report

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


@app.command(
    epilog=examples(
        "spikeloom estimate digits --data digits",
        "spikeloom estimate net.onnx --data test.npz --target loom --target kuang2021 --json report.json",
        "spikeloom estimate net.onnx --data mnist:DIR --bits 4 --digits 3",
        "spikeloom estimate lenet4.onnx --data mnist:DIR --target kuang2021 --patches article",
    )
)
def estimate(
    model: Model,
    data: Data,
    *,
    target: Targets = None,
    core: Core = None,
    patches: Patches = None,
    code: CodeName = "auto",
    bits: Bits = 8,
    digits: Digits = 5,
    calibrate: Calibrate = 256,
    scale: Input = None,
    samples: Samples = None,
    seed: Seed = 0,
    strict: Strict = False,
    json: Json = None,
) -> None:
    """Estimate accuracy, latency, energy and power of a model on one or more targets."""
    from mapping.model.load import load_network
    from mapping.report.machine import estimate as run_estimate
    from spikeloom.files import check_places
    from spikeloom.terminal import status

    check_places(json)
    with status("reading the model") as say:
        chosen, calibration = _data(data, samples, calibrate, seed)
        report = run_estimate(
            load_network(model),
            chosen,
            target or ["loom"],
            core=core,
            seed=seed,
            how=scale or "auto",
            strict=strict,
            patches=patches,
            code=code,
            calibration=calibration,
            options=graded_options(bits, digits, seed),
            progress=say,
        )
    _show(report, chosen, scale, json)


def _data(data: str, samples: int | None, calibrate: int, seed: int) -> tuple[Dataset, Dataset]:
    """Return the data, and the samples on which the scales of activations are chosen."""
    from mapping.datasets.calibration import calibration_data
    from mapping.datasets.load import load_data

    return load_data(data).first(samples), calibration_data(data, calibrate, seed)


def _show(report: Report, data: Dataset, asked: str | None, json: Path | None) -> None:
    """Write the report if it is asked for, then print it."""
    from mapping.datasets.load import scale_text
    from mapping.spiking.network import HostLayer
    from spikeloom.files import write_text
    from spikeloom.terminal import console, host_line, layer_table, report_notes, report_table

    if json is not None:
        write_text(json, report.to_json())
    console.print(f"Input: {scale_text(data, report.input, asked)}")
    console.print(report_table(report))
    for note in report_notes(report):
        console.print(note)
    for part in report.accepted:
        console.print(layer_table(part))
    keys = ("host_layers", "host_share", "host_uncounted")
    lines = {part["target"]: host_line(*(part[key] for key in keys)) for part in report.accepted}
    same = len(set(lines.values())) == 1
    for target, line in list(lines.items())[: 1 if same else None]:
        console.print(line if same else f"{target}: {line}")
    for part in report.accepted:
        for layer in part["host_left"]:
            console.print(f"{part['target']}: {HostLayer(**layer).sentence}")
    if json is not None:
        console.print(f"Report: {json}")
