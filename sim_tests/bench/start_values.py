# SPDX-License-Identifier: Apache-2.0
"""Verilog without start values: a chip has none, so nothing that a bench sees may depend on them."""

from __future__ import annotations

import re

__all__ = ["PATTERN", "RANDOM_START", "without_start_values"]

RANDOM_START = ("+verilator+rand+reset+2", "+verilator+seed+20210401")
"""Arguments of a simulator that Verilator built: without them what has no start value is zero."""

PATTERN = r"^( *(output )?reg [^=;]*[^=; ]) *= *[0-9]+'[bdh][0-9a-fA-F]+;"
"""A register with a declared value of a stated width, as an extended regular expression of ``sed`` too."""

_REGISTER = re.compile(PATTERN, re.MULTILINE)


def without_start_values(text: str) -> str:
    r"""Return Verilog whose registers begin with whatever the simulator puts there.

    Values without a width stay: the generator wakes combinational blocks with them.

    >>> without_start_values("  reg [3:0] \\level  = 4'h0;\n  reg wake = 0;\n  wire a = 1'h0;\n")
    '  reg [3:0] \\level ;\n  reg wake = 0;\n  wire a = 1\'h0;\n'
    """
    return _REGISTER.sub(r"\1 ;", text)
