# SPDX-License-Identifier: Apache-2.0
"""`spikeloom targets`, and `spikeloom targets show`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from spikeloom.commands.options import examples

__all__ = ["app", "show", "targets"]

app = typer.Typer(name="targets")


@app.callback(
    invoke_without_command=True,
    epilog=examples("spikeloom targets", "spikeloom targets show loom > mine.toml"),
)
def targets(context: typer.Context) -> None:
    """List the targets, or show one as the file that starts your own."""
    from mapping.targets.files import list_targets, load_target
    from spikeloom.terminal import console, target_table

    if context.invoked_subcommand is None:
        console.print(target_table([load_target(name) for name in list_targets()]))


@app.command(epilog=examples("spikeloom targets show loom", "spikeloom targets show mine.toml"))
def show(target: Annotated[str, typer.Argument(help="Target name or TOML file.")]) -> None:
    """Check a target's TOML file and print it: every number with unit, range and source."""
    from mapping.targets.files import load_target, target_text

    load_target(target)
    sys.stdout.write(target_text(target))
