# SPDX-License-Identifier: Apache-2.0
"""`spikeloom doctor`."""

from __future__ import annotations

import typer

from spikeloom.commands.options import examples
from spikeloom.ending import EXIT_BAD_INPUT

__all__ = ["app", "doctor"]

app = typer.Typer()


@app.command(epilog=examples("spikeloom doctor"))
def doctor() -> None:
    """Show versions, simulators, name clashes, what is missing and how to get it."""
    from spikeloom.doctor import Level, examine, render
    from spikeloom.terminal import console

    findings = examine()
    console.print(render(findings))
    raise typer.Exit(EXIT_BAD_INPUT if any(finding.level is Level.PROBLEM for finding in findings) else 0)
