# SPDX-License-Identifier: Apache-2.0
"""Verilog without start values: a chip has none, so nothing may depend on them."""

import re

__all__ = ["PATTERN", "without_start_values"]

PATTERN = r"^( *(output )?reg [^=;]*[^=; ]) *= *[0-9]+'[bdh][0-9a-fA-F]+;"
"""A register with a declared value of a stated width, as an extended regular expression of ``sed`` too."""

_REGISTER = re.compile(PATTERN, re.MULTILINE)


def without_start_values(text: str) -> str:
    r"""Return Verilog whose registers begin with whatever silicon or a simulator puts there.

    Values without a width stay: in designs of others the generator wakes combinational blocks with them.

    >>> without_start_values("  reg [3:0] level  = 4'h0;\n  reg wake = 0;\n  wire a = 1'h0;\n")
    "  reg [3:0] level ;\n  reg wake = 0;\n  wire a = 1'h0;\n"
    """
    return _REGISTER.sub(r"\1 ;", text)
