# SPDX-License-Identifier: Apache-2.0
"""The gateway: where the host's stream meets the mesh."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from emu.spec import COUNTER_BITS, SystemSpec
from emu.words import Kind
from rtl.component import Component
from rtl.layouts import flit_stream

__all__ = ["Gateway"]


class Gateway(Component):
    """Forward flits from host to mesh and from mesh to host in the same cycle; count spikes both ways.

    Members
    -------
    host_i, host_o
        Streams from and to the host.
    mesh_i, mesh_o
        Streams from and to the mesh.
    stimulus, outputs : Out(48)
        Spike packets that entered and left the chip.
    """

    def __init__(self, spec: SystemSpec) -> None:
        super().__init__(
            {
                "host_i": In(flit_stream(spec)),
                "host_o": Out(flit_stream(spec)),
                "mesh_i": In(flit_stream(spec)),
                "mesh_o": Out(flit_stream(spec)),
                "stimulus": Out(COUNTER_BITS),
                "outputs": Out(COUNTER_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Forward both streams, and count the spikes of each."""
        m = Module()
        paths = ((self.host_i, self.mesh_o, self.stimulus), (self.mesh_i, self.host_o, self.outputs))
        for source, sink, counter in paths:
            wiring.connect(m, wiring.flipped(source), wiring.flipped(sink))
            spike = Signal()
            m.d.comb += spike.eq(source.valid & source.ready & (source.payload.kind == Kind.SPIKE))
            count = Signal.like(counter, name=f"{counter.name}_register")
            m.d.sync += count.eq(count + spike)
            m.d.comb += counter.eq(count)
        return m
