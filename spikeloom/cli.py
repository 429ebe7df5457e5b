# SPDX-License-Identifier: Apache-2.0
"""The command line: gathers the commands; errors become one sentence and an exit code."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer

from emu.errors import SpikeloomError
from spikeloom.commands import compile as compile_
from spikeloom.commands import (
    demo,
    doctor,
    estimate,
    export,
    inspect,
    reproduce,
    run,
    targets,
    train,
    verify,
    verilog,
)
from spikeloom.ending import EXIT_INTERRUPTED, complain
from spikeloom.ending import run as end

__all__ = ["app", "command", "main"]

COMMANDS = (
    demo,
    estimate,
    compile_,
    run,
    verify,
    verilog,
    export,
    inspect,
    targets,
    reproduce,
    train,
    doctor,
)
"""One module a command, in the order of ``--help``."""

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
for module in COMMANDS:
    app.add_typer(module.app)


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
            return _misused(error)
        raise
    return int(code or 0)


def _misused(error: Any) -> int:
    """Say in one sentence what the option parser refuses; without any command, show the help."""
    text = error.format_message().rstrip(".")
    if not text:
        error.show()
        return int(error.exit_code)
    found: list[dict[str, Any]] = getattr(error.__context__, "errors", list)()  # of pydantic
    value = f", not {str(found[0]['input'])[:100]!r}" if found else ""
    words, context = ["--help"], error.ctx
    while context is not None and context.parent is not None:
        words, context = [context.info_name, *words], context.parent
    return complain(f"{text}{value}; 'spikeloom {' '.join(words)}' lists what can be given.")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code (`docs/reference/cli.md`)."""
    return end(lambda: command(arguments))


if __name__ == "__main__":
    sys.exit(end(lambda: command(None), owner=True))
