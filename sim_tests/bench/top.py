# SPDX-License-Identifier: Apache-2.0
"""The Verilog module around a chip under test: what a bench reads in every cycle.

It looks into the chip at the observe ports of its cores (``dut.core_<x>_<y>``), so the chip itself is the
exported one. What is not valid reads as zero: an undefined bit that a bench sees is one of a valid field.
"""

from __future__ import annotations

from dataclasses import dataclass

from emu.spec import COUNTER_BITS, SystemSpec, bits_for
from emu.words import flit_layout, layout_bits

__all__ = ["BENCH_FILE", "Sample", "bench_control", "bench_verilog"]

BENCH_FILE = "bench.v"
"""Name of the file of the module ``bench``."""

BEAT = ("neuron", "potential", "count")
"""Fields of a neuron beat, lowest first."""


def beat_bits(spec: SystemSpec) -> dict[str, int]:
    """Return the width of every field of a neuron beat."""
    return dict(zip(BEAT, (bits_for(spec.core.columns), spec.core.potential_bits, 8), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Where the fields of ``status`` are: ready, valid of the output, then one group of bits per field.

    Parameters
    ----------
    cores : number of cores; core 0 has the lowest bits of a group.
    """

    cores: int

    @property
    def stored(self) -> int:
        """Lowest bit of the group *a neuron is stored*, one bit per core."""
        return 2

    @property
    def finished(self) -> int:
        """Lowest bit of the group *the core's token leaves*, one bit per core."""
        return 2 + self.cores

    @property
    def activity(self) -> int:
        """Lowest bit of the group *activity*, three bits per core."""
        return 2 + 2 * self.cores

    @property
    def bits(self) -> int:
        """Width of ``status``."""
        return 2 + 5 * self.cores


_TEXT = """\
// What is observed of a chip in a cycle, in two vectors. Cores are found by their instance names in chip.v.
module bench(clk, rst, host_i__valid, host_i__payload, host_o__ready, status, flit, beats, passed);
  input clk, rst, host_i__valid, host_o__ready;
  input [{flit}:0] host_i__payload;
  output [{status}:0] status;
  output [{flit}:0] flit;
  output [{beats}:0] beats;
  output [{passed}:0] passed;
  wire ready, valid;
  wire [{flit}:0] payload;
  chip dut(.clk(clk), .rst(rst), .host_i__valid(host_i__valid), .host_i__payload(host_i__payload),
    .host_i__ready(ready), .host_o__valid(valid), .host_o__payload(payload), .host_o__ready(host_o__ready),
    .stimulus(passed[{counter}:0]), .outputs(passed[{passed}:{counter} + 1]));
  assign flit = valid ? payload : {zero};
  assign status = {{{activity},
    {finished},
    {stored}, valid, ready}};
  assign beats = {{{fields}}};
endmodule
"""


def bench_verilog(spec: SystemSpec) -> str:
    """Return the text of the module ``bench`` for a chip of these sizes."""
    cores = [f"dut.core_{i % spec.width}_{i // spec.width}.observe__" for i in reversed(range(spec.cores))]
    widths = beat_bits(spec)
    flit, beat = layout_bits(flit_layout(spec)), sum(widths.values())
    groups = [
        f"{core}valid ? {{{', '.join(core + name for name in reversed(BEAT))}}} : {beat}'d0" for core in cores
    ]
    fields = ",\n    ".join(f"({group})" for group in groups)
    return _TEXT.format(
        flit=flit - 1,
        status=Sample(cores=spec.cores).bits - 1,
        beats=beat * spec.cores - 1,
        counter=COUNTER_BITS - 1,
        passed=2 * COUNTER_BITS - 1,
        zero=f"{flit}'d0",
        activity=", ".join(f"{core}activity" for core in cores),
        finished=", ".join(f"{core}finished" for core in cores),
        stored=", ".join(f"{core}valid" for core in cores),
        fields=fields,
    )


def bench_control() -> str:
    """Return Verilator's control file: only the pins of ``bench`` are visible, the rest is optimised."""
    writable = ("clk", "rst", "host_i__valid", "host_i__payload", "host_o__ready")
    lines = [f'public_flat_rw -module "bench" -var "{name}"' for name in writable]
    lines += [
        f'public_flat_rd -module "bench" -var "{name}"' for name in ("status", "flit", "beats", "passed")
    ]
    return "\n".join(["`verilator_config", *lines, ""])
