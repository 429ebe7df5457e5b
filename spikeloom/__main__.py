# SPDX-License-Identifier: Apache-2.0
"""The program ``spikeloom``: hears interruptions before it imports anything heavy."""

import sys

from spikeloom.first import hear_interruptions

__all__ = ["main"]


def _program() -> int:
    from spikeloom.memory import keep_freed

    keep_freed()
    from spikeloom.cli import command

    return command(None)


def main() -> int:
    """Run the command line as a process of its own and return its exit code."""
    hear_interruptions()
    from spikeloom.ending import run

    return run(_program, owner=True)


if __name__ == "__main__":
    sys.exit(main())
