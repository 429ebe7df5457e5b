# SPDX-License-Identifier: Apache-2.0
"""Memory macros: modules named by their ports and sizes, and Verilog that behaves like them.

A chip that is exported with macros has an instance of such a module for every memory. The text written here
stands for a macro in a simulation; who builds the chip puts the macro of a memory compiler into its place.
"""

import re
from dataclasses import dataclass

from emu.sizes import bits_for

__all__ = ["MACRO_FILE", "Macro", "macro_verilog", "macros_of"]

MACRO_FILE = "memories.v"
"""Name of the file that holds the macros of a design."""

_NAME = re.compile(r"\bspikeloom_(1r1?w)_(\d+)x(\d+)(?:_by(\d+))?\b")

_SHARED = """\
// {words} words of {bits} bits, one port. While enable is high, the parts of store whose bit in write is
// set are stored; if none is, shown is the word one cycle later, until the next access, and garbage else.
module {name}(clk, enable, write, address, store, shown);
  input clk, enable;
  input [{granules}:0] write;
  input [{address}:0] address;
  input [{top}:0] store;
  output reg [{top}:0] shown;
  reg [{top}:0] memory [0:{last}];
  always @(posedge clk) begin
{stores}
    if (enable) shown <= write == 0 ? memory[address] : {{{bits}{{1'bx}}}};
  end
endmodule
"""

_DUAL = """\
// {words} words of {bits} bits, a read port and a write port. While read is high, shown is the word one
// cycle later, until the next read: garbage if it is written in the same cycle. A bit of write for each part.
module {name}(clk, read, read_address, write, write_address, store, shown);
  input clk, read;
  input [{granules}:0] write;
  input [{address}:0] read_address, write_address;
  input [{top}:0] store;
  output reg [{top}:0] shown;
  reg [{top}:0] memory [0:{last}];
  wire clash = write != 0 && write_address == read_address;
  always @(posedge clk) begin
{stores}
    if (read) shown <= clash ? {{{bits}{{1'bx}}}} : memory[read_address];
  end
endmodule
"""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Macro:
    """A memory macro.

    Parameters
    ----------
    kind : str
        ``1rw``, one port, or ``1r1w``, a read and a write port.
    words, bits : int
        Its size.
    granule : int
        Bits that are written apart, from the lowest bit on.
    """

    kind: str
    words: int
    bits: int
    granule: int

    @property
    def name(self) -> str:
        """The name of its module.

        >>> Macro(kind="1rw", words=256, bits=32, granule=16).name
        'spikeloom_1rw_256x32_by16'
        >>> Macro(kind="1r1w", words=64, bits=8, granule=8).name
        'spikeloom_1r1w_64x8'
        """
        parts = f"_by{self.granule}" if self.granule < self.bits else ""
        return f"spikeloom_{self.kind}_{self.words}x{self.bits}{parts}"

    def verilog(self) -> str:
        """Return a module that behaves like it."""
        starts = range(0, self.bits, self.granule)
        gate, at = ("enable && ", "address") if self.kind == "1rw" else ("", "write_address")
        places = [f"[{min(start + self.granule, self.bits) - 1}:{start}]" for start in starts]
        stores = [
            f"    if ({gate}write[{part}]) memory[{at}]{place} <= store{place};"
            for part, place in enumerate(places)
        ]
        return (_SHARED if self.kind == "1rw" else _DUAL).format(
            name=self.name,
            words=self.words,
            bits=self.bits,
            granules=len(stores) - 1,
            address=bits_for(self.words) - 1,
            top=self.bits - 1,
            last=self.words - 1,
            stores="\n".join(stores),
        )


def macros_of(text: str) -> list[Macro]:
    """Return the macros that a Verilog text instantiates, sorted.

    >>> macros_of("spikeloom_1rw_4x8 m0 (); spikeloom_1rw_4x8 m1 (); spikeloom_1r1w_2x32_by16 m2 ();")
    [Macro(kind='1r1w', words=2, bits=32, granule=16), Macro(kind='1rw', words=4, bits=8, granule=8)]
    """
    found = {
        Macro(kind=kind, words=int(words), bits=int(bits), granule=int(granule or bits))
        for kind, words, bits, granule in _NAME.findall(text)
    }
    return sorted(found)


def macro_verilog(macros: list[Macro]) -> str:
    """Return the text of the file of macros."""
    return "\n".join(macro.verilog() for macro in macros)
