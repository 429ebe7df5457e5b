# SPDX-License-Identifier: Apache-2.0
"""`spikeloom demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spikeloom.commands.options import Sim, examples

__all__ = ["app", "demo"]

app = typer.Typer()

Out = Annotated[Path, typer.Option("--out", help="Folder for the image, the Verilog and the report.")]
Images = Annotated[
    int, typer.Option("--images", min=1, help="Images to run in RTL in lock step with the emulator.")
]


@app.command(epilog=examples("spikeloom demo", "spikeloom demo --out build/demo --images 20"))
def demo(out: Out = Path("spikeloom-demo"), images: Images = 10, sim: Sim = "auto") -> None:
    """Run the whole chain on real handwritten digits: model, chip, emulation, RTL, Verilog, report."""
    from spikeloom.demo import run_demo

    raise typer.Exit(run_demo(out=out, images=images, sim=sim))
