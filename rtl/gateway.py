# SPDX-License-Identifier: Apache-2.0
"""The gateway: where the host's stream meets the mesh."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from emu.spec import COUNTER_BITS, SystemSpec
from emu.words import Kind
from rtl.component import Component
from rtl.layouts import flit_stream

__all__ = ["INLET", "OUTLET", "Gateway", "of_gate"]

INLET, OUTLET = ("host_i", "mesh_o", "stimulus"), ("mesh_i", "host_o", "outputs")
"""What belongs to an inlet and to an outlet: a stream in, a stream out, and the counter of its spikes."""


def of_gate(name: str, number: int) -> str:
    """Return the name of a member of an inlet or outlet: the first one's has no number.

    >>> [of_gate("host_i", number) for number in range(3)]
    ['host_i', 'host_i_1', 'host_i_2']
    """
    return f"{name}_{number}" if number else name


class Gateway(Component):
    """Forward flits from host to mesh and from mesh to host in the same cycle; count spikes both ways.

    Parameters
    ----------
    spec : SystemSpec
        Sizes of the system.
    inlets, outlets : int
        How many there are.

    Members
    -------
    host_i, host_o
        Streams from and to the host; of further inlets and outlets host_i_1, host_o_1 and so on.
    mesh_i, mesh_o
        Streams from and to the mesh.
    stimulus, outputs : Out(48)
        Spike packets that entered and left the chip there.
    """

    def __init__(self, spec: SystemSpec, inlets: int = 1, outlets: int = 1) -> None:
        self._gates = inlets, outlets
        count, stream = Out(COUNTER_BITS), flit_stream(spec)
        kinds = {"host_i": In(stream), "host_o": Out(stream), "mesh_i": In(stream), "mesh_o": Out(stream)}
        kinds |= {"stimulus": count, "outputs": count}
        super().__init__(
            {
                of_gate(name, number): kind
                for name, kind in kinds.items()
                for number in range(inlets if name in INLET else outlets)
            }
        )

    def _paths(self) -> list[tuple[str, ...]]:
        """Return the names of what belongs to each gate, inlets first."""
        return [
            tuple(of_gate(name, number) for name in names)
            for names, count in zip((INLET, OUTLET), self._gates, strict=True)
            for number in range(count)
        ]

    def elaborate(self, platform: object) -> Module:
        """Forward all streams, and count the spikes of each."""
        m = Module()
        for names in self._paths():
            source, sink, counter = (getattr(self, name) for name in names)
            wiring.connect(m, wiring.flipped(source), wiring.flipped(sink))
            spike = Signal()
            m.d.comb += spike.eq(source.valid & source.ready & (source.payload.kind == Kind.SPIKE))
            count = Signal.like(counter, name=f"{counter.name}_register")
            m.d.sync += count.eq(count + spike)
            m.d.comb += counter.eq(count)
        return m
