# SPDX-License-Identifier: Apache-2.0
"""The Verilog module around a chip under test: what a bench reads in every cycle.

It looks into the cores of the chips at their observe ports (``dut.core_<x>_<y>``, or
``dut.chip_<x>_<y>.core_<x>_<y>`` in a system of several), so the design itself is the exported one. What is
not valid reads as zero: an undefined bit that a bench sees is one of a valid field.
"""

from __future__ import annotations

from collections.abc import Sequence

from emu.bits import Field, Layout, layout_bits, places
from emu.spec import COUNTER_BITS, SystemSpec
from emu.words import ACTIVITY_BITS, beat_layout, flit_layout
from rtl.system import core_paths, top_name

__all__ = ["BENCH_FILE", "Sample", "bench_control", "bench_verilog"]

BENCH_FILE = "bench.v"
"""Name of the file of the module ``bench``."""


def status_layout(cores: int) -> Layout:
    """Return the fields of ``status``; a field of several cores has core 0 lowest.

    ``ready`` and ``valid`` are the host's input and output, ``stray`` says that in some earlier cycle a core
    accessed a memory that nobody asked for (what happens during a reset is not looked at), ``stored`` says
    which cores store a neuron, ``finished`` which send their token; ``activity`` is `emu.words.Activity` of
    each core.
    """
    return (
        Field("ready", 1),
        Field("valid", 1),
        Field("stray", 1),
        Field("stored", cores),
        Field("finished", cores),
        Field("activity", ACTIVITY_BITS * cores),
    )


class Sample:
    """Where the fields of ``status`` are, see `status_layout`.

    Parameters
    ----------
    cores : number of cores.
    """

    def __init__(self, *, cores: int) -> None:
        layout = status_layout(cores)
        at = places(layout)
        self.bits = layout_bits(layout)
        self.ready, self.valid, self.stray = (1 << at[name] for name in ("ready", "valid", "stray"))
        self.stored, self.finished, self.activity = at["stored"], at["finished"], at["activity"]

    @staticmethod
    def activities(values: Sequence[int]) -> int:
        """Return the field ``activity`` of cores with these activities."""
        return sum(value << ACTIVITY_BITS * core for core, value in enumerate(values))

    @staticmethod
    def activity_of(activities: int, core: int) -> int:
        """Return the activity of a core in the field ``activity``."""
        return activities >> ACTIVITY_BITS * core & (1 << ACTIVITY_BITS) - 1


_TEXT = """\
// What is observed of a chip in a cycle, in two vectors. Cores are found by their instance names.
module bench(clk, rst, host_i__valid, host_i__payload, host_o__ready, status, flit, beats, passed);
  input clk, rst, host_i__valid, host_o__ready;
  input [{flit}:0] host_i__payload;
  output [{status}:0] status;
  output [{flit}:0] flit;
  output [{beats}:0] beats;
  output [{passed}:0] passed;
  wire ready, valid;
  wire [{flit}:0] payload;
  reg stray = 0;
  {top} dut(.clk(clk), .rst(rst), .host_i__valid(host_i__valid), .host_i__payload(host_i__payload),
    .host_i__ready(ready), .host_o__valid(valid), .host_o__payload(payload), .host_o__ready(host_o__ready),
    .stimulus(passed[{counter}:0]), .outputs(passed[{passed}:{counter} + 1]));
  assign flit = valid ? payload : {zero};
  assign status = {{{activity},
    {finished},
    {stored}, stray, valid, ready}};
  assign beats = {{{fields}}};
  always @(posedge clk) if (!rst && ({stray})) stray <= 1;
endmodule
"""


def bench_verilog(spec: SystemSpec) -> str:
    """Return the text of the module ``bench`` for a chip of these sizes."""
    cores = [f"dut.{path}.observe__" for path in reversed(core_paths(spec))]
    names = [field.name for field in reversed(beat_layout(spec))]
    flit, beat = layout_bits(flit_layout(spec)), layout_bits(beat_layout(spec))
    groups = [f"{core}valid ? {{{', '.join(core + name for name in names)}}} : {beat}'d0" for core in cores]
    fields = ",\n    ".join(f"({group})" for group in groups)
    return _TEXT.format(
        top=top_name(spec),
        flit=flit - 1,
        status=Sample(cores=spec.cores).bits - 1,
        beats=beat * spec.cores - 1,
        counter=COUNTER_BITS - 1,
        passed=2 * COUNTER_BITS - 1,
        zero=f"{flit}'d0",
        activity=", ".join(f"{core}activity" for core in cores),
        finished=", ".join(f"{core}finished" for core in cores),
        stray=" || ".join(f"{core}stray" for core in cores),
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
