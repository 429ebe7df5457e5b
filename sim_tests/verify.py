# SPDX-License-Identifier: Apache-2.0
"""The program behind ``spikeloom verify``: hardware and emulator in lock step (`docs/guides/verify.md`).

Exit codes: 0 all equal, 1 a difference, 2 bad input or environment, 130 interrupted. What it does is in
`sim_tests.bench.program`, imported once interruptions are heard.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from spikeloom.first import PARENT, hear_interruptions

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code.

    Parameters
    ----------
    arguments : of the command line; those of the process if None.
    """
    from spikeloom.ending import run

    return run(lambda: _verification(arguments))


def _verification(arguments: Sequence[str] | None) -> int:
    from sim_tests.bench.program import verification

    return verification(arguments)


def _program() -> int:
    """Run as a process of its own, which ends with the one that started it."""
    parent = int(os.environ.get(PARENT, "0"))
    hear_interruptions(silent=parent > 0)
    from spikeloom.ending import follow_parent, run

    if parent:
        follow_parent(parent)
    return run(lambda: _verification(None), owner=True, silent=parent > 0)


if __name__ == "__main__":
    sys.exit(_program())
