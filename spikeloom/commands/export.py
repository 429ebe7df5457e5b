# SPDX-License-Identifier: Apache-2.0
"""`spikeloom export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mapping.errors import MappingError
from spikeloom.commands.options import (
    Bits,
    Calibrate,
    CodeName,
    Core,
    Digits,
    Input,
    Seed,
    Strict,
    Tolerance,
    examples,
    graded_options,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mapping.model.network import Network
    from mapping.spiking.network import SpikingNetwork

__all__ = ["app", "export"]

app = typer.Typer()

Source = Annotated[
    str,
    typer.Argument(
        metavar="MODEL|IMAGE",
        help="A model, which is converted as [bold]compile[/] does, or an image: its network as it is.",
    ),
]
Integer = Annotated[
    Path, typer.Option("--integer", help="Write the integer network as standard ONNX to this .onnx file.")
]
DataOfScales = Annotated[
    str | None, typer.Option("--data", help="Data that the scales are chosen on, as for [bold]compile[/].")
]


@app.command(
    epilog=examples(
        "spikeloom export digits --integer digits_integer.onnx",
        "spikeloom export net.onnx --data mnist:DIR --bits 4 --digits 3 --integer net_integer.onnx",
        "spikeloom export net.spikeloom --integer net_integer.onnx",
    )
)
def export(
    source: Source,
    integer: Integer,
    *,
    core: Core = None,
    seed: Seed = 0,
    strict: Strict = False,
    data: DataOfScales = None,
    scale: Input = None,
    code: CodeName = "auto",
    bits: Bits = 8,
    digits: Digits = "5",
    tolerance: Tolerance = 1.0,
    calibrate: Calibrate = 256,
) -> None:
    """Write what the chip computes as standard ONNX, to be checked with any runtime."""
    from mapping.exporters.integer_onnx import integer_bytes
    from mapping.flow import compile_network
    from spikeloom.files import write_bytes
    from spikeloom.terminal import status

    _check_file(integer)
    with status("converting") as say:
        if Path(source).suffix == ".spikeloom":
            spiking = _carried(source, data)
        else:
            network, samples, scale = _model(source, data, scale, calibrate, seed)
            spiking = compile_network(
                network,
                samples,
                core=core,
                seed=seed,
                scaling=scale,
                strict=strict,
                code=code,
                options=graded_options(bits, digits, tolerance, seed),
                progress=say,
            ).spiking
        write_bytes(integer, integer_bytes(spiking))
    _show(integer, spiking)


def _check_file(integer: Path) -> None:
    """Refuse a file that other commands would not take for a model, or that cannot be written."""
    from spikeloom.files import check_places

    if integer.suffix != ".onnx":
        raise MappingError(
            f"File of the integer network must end in .onnx, as net_integer.onnx does, not {str(integer)!r}."
        )
    check_places(integer)


def _carried(source: str, data: str | None) -> SpikingNetwork:
    """Return the network of an image."""
    from mapping.chip import open_chip

    if data is not None:
        raise MappingError(
            f"{source} is an image, whose scales are chosen: leave --data out, or give the model instead."
        )
    return open_chip(source).spiking


def _model(
    source: str, data: str | None, scale: str | None, calibrate: int, seed: int
) -> tuple[Network, NDArray[np.float64] | None, str | None]:
    """Return a network, the samples that its scales are chosen on, and the scale of pixels."""
    from mapping.given import loaded_samples
    from mapping.model.load import load_network

    network = load_network(source)
    if data is None:
        return network, None, scale
    return network, *loaded_samples(network, data, scale, calibrate, seed)


def _show(file: Path, spiking: SpikingNetwork) -> None:
    """Print what was written, and what of the network is not in it."""
    from mapping.spiking.network import INPUT
    from spikeloom.terminal import console, host_line

    shape = "x".join(map(str, spiking.shape(INPUT)))
    console.print(
        f"{file}: input {INPUT!r} of {shape} counts {spiking.input_low}..{spiking.input_levels}, "
        f"{len(spiking.layers)} outputs, one a layer"
    )
    console.print(
        f"Input: a count is {spiking.encoder_output!r} divided by {spiking.input_scale!r}, rounded to even"
    )
    console.print(host_line(spiking.host_layers, spiking.host_share, spiking.uncounted))
