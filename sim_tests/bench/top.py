# SPDX-License-Identifier: Apache-2.0
"""The Verilog module around a chip under test: what a bench reads in every cycle.

It looks into the cores of the chips at their observe ports (``dut.core_<x>_<y>``, or
``dut.chip_<x>_<y>.core_<x>_<y>`` in a system of several), so the design itself is the exported one. What is
not valid reads as zero: an undefined bit that a bench sees is one of a valid field.
"""

from __future__ import annotations

from collections.abc import Sequence

from emu.bits import Field, Layout, layout_bits, places
from emu.gates import inlets_of, outlets_of
from emu.spec import COUNTER_BITS, SystemSpec
from emu.words import ACTIVITY_BITS, beat_layout, flit_layout
from rtl.gateway import of_gate
from rtl.system import core_paths, top_name

__all__ = ["BENCH_FILE", "Sample", "bench_control", "bench_verilog", "gates_of"]

BENCH_FILE = "bench.v"
"""Name of the file of the module ``bench``."""


def status_layout(cores: int, gates: tuple[int, int] = (1, 1)) -> Layout:
    """Return the fields of ``status``; a field of several cores, inlets or outlets has the first lowest.

    ``ready`` and ``valid`` are of inlets and outlets, ``stray`` says that in some earlier cycle a core
    accessed a memory that nobody asked for (what happens during a reset is not looked at), ``stored`` says
    which cores store a neuron, ``finished`` which send their token; ``activity`` is `emu.words.Activity` of
    each core.
    """
    return (
        Field("ready", gates[0]),
        Field("valid", gates[1]),
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
    gates : of inlets and outlets.
    """

    def __init__(self, *, cores: int, gates: tuple[int, int] = (1, 1)) -> None:
        layout = status_layout(cores, gates)
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


def gates_of(spec: SystemSpec) -> tuple[int, int]:
    """Return how many inlets and outlets a system has."""
    return len(inlets_of(spec.gates)), len(outlets_of(spec.gates))


_TEXT = """\
// What is observed of a chip in a cycle, in two vectors. Cores are found by their instance names.
module bench(clk, rst, {inputs}, status, flit, beats, passed);
  input clk, rst, {bits};
  input [{flit}:0] {payloads};
  output [{status}:0] status;
  output [{flits}:0] flit;
  output [{beats}:0] beats;
  output [{passed}:0] passed;
  wire [{ready}:0] ready;
  wire [{valid}:0] valid;
  wire [{flits}:0] payload;
  reg stray = 0;
  {top} dut(.clk(clk), .rst(rst),
    {ports});
  assign flit = {{{told}}};
  assign status = {{{activity},
    {finished},
    {stored}, stray, valid, ready}};
  assign beats = {{{fields}}};
  always @(posedge clk) if (!rst && ({stray})) stray <= 1;
endmodule
"""


def _inputs(gates: tuple[int, int]) -> list[str]:
    """Return what the bench drives beside clock and reset, in the order of the gates."""
    sent = [f"{of_gate('host_i', n)}__{what}" for n in range(gates[0]) for what in ("valid", "payload")]
    return [*sent, *(f"{of_gate('host_o', n)}__ready" for n in range(gates[1]))]


def _ports(gates: tuple[int, int], flit: int) -> str:
    """Return how the pins of a chip are joined to the bench."""
    lines, places = [f".{name}({name})" for name in _inputs(gates)], range(gates[0] + gates[1])
    lines += [f".{of_gate('host_i', n)}__ready(ready[{n}])" for n in range(gates[0])]
    lines += [f".{of_gate('host_o', n)}__valid(valid[{n}])" for n in range(gates[1])]
    parts = [f"payload[{(n + 1) * flit - 1}:{n * flit}]" for n in range(gates[1])]
    lines += [f".{of_gate('host_o', n)}__payload({part})" for n, part in enumerate(parts)]
    counters = [of_gate("stimulus", n) for n in range(gates[0])]
    counters += [of_gate("outputs", n) for n in range(gates[1])]
    words = [f"passed[{(n + 1) * COUNTER_BITS - 1}:{n * COUNTER_BITS}]" for n in places]
    lines += [f".{name}({word})" for name, word in zip(counters, words, strict=True)]
    return ",\n    ".join(lines)


def bench_verilog(spec: SystemSpec) -> str:
    """Return the text of the module ``bench`` for a chip of these sizes."""
    cores = [f"dut.{path}.observe__" for path in reversed(core_paths(spec))]
    names = [field.name for field in reversed(beat_layout(spec))]
    flit, beat, gates = layout_bits(flit_layout(spec)), layout_bits(beat_layout(spec)), gates_of(spec)
    groups = [f"{core}valid ? {{{', '.join(core + name for name in names)}}} : {beat}'d0" for core in cores]
    outlets = [f"valid[{n}] ? payload[{(n + 1) * flit - 1}:{n * flit}] : {flit}'d0" for n in range(gates[1])]
    driven = _inputs(gates)
    return _TEXT.format(
        top=top_name(spec),
        inputs=", ".join(driven),
        bits=", ".join(name for name in driven if not name.endswith("payload")),
        payloads=", ".join(name for name in driven if name.endswith("payload")),
        ports=_ports(gates, flit),
        told=",\n    ".join(f"({outlet})" for outlet in reversed(outlets)),
        flit=flit - 1,
        flits=flit * gates[1] - 1,
        ready=gates[0] - 1,
        valid=gates[1] - 1,
        status=Sample(cores=spec.cores, gates=gates).bits - 1,
        beats=beat * spec.cores - 1,
        passed=sum(gates) * COUNTER_BITS - 1,
        activity=", ".join(f"{core}activity" for core in cores),
        finished=", ".join(f"{core}finished" for core in cores),
        stray=" || ".join(f"{core}stray" for core in cores),
        stored=", ".join(f"{core}valid" for core in cores),
        fields=",\n    ".join(f"({group})" for group in groups),
    )


def bench_control() -> str:
    """Return Verilator's control file: only the pins of ``bench`` are visible, the rest is optimised."""
    writable = ("clk", "rst", "host_*")
    lines = [f'public_flat_rw -module "bench" -var "{name}"' for name in writable]
    lines += [
        f'public_flat_rd -module "bench" -var "{name}"' for name in ("status", "flit", "beats", "passed")
    ]
    return "\n".join(["`verilator_config", *lines, ""])
