# SPDX-License-Identifier: Apache-2.0
"""The chip: equal cores and routers, joined as their topology says, and the gateway."""

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, ResetSignal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from emu.spec import COUNTER_BITS, SystemSpec
from emu.topology import HOST, PLACES, Port, topology_of
from rtl.component import Component
from rtl.core import Neurocore
from rtl.gateway import Gateway
from rtl.layouts import flit_stream, flit_struct, observed_bits
from rtl.link import Link
from rtl.router import Router

__all__ = ["Chip"]


def _links(spec: SystemSpec) -> dict[int, Link]:
    """Return the links of a system by the places of their outputs."""
    if spec.links is None:
        return {}
    wires, depth, latency = spec.links.wires, spec.links.depth, spec.links.latency
    places = topology_of(spec).links.tolist()
    return {place: Link(flit_struct(spec), wires, depth, latency) for place in places}


class Chip(Component):
    """A mesh of ``width`` x ``height`` cores. All are instances of one module, told their place by straps.

    Parameters
    ----------
    spec : SystemSpec
        Sizes of the chip.
    observe : bool
        Bring every core's observe port out, packed; off in exports.
    instances : bool
        Cores and routers are references to the modules ``neurocore`` and ``router``, which are elaborated
        once and exported beside the chip; if False they are elaborated in place, which a Python simulation
        needs.

    Members
    -------
    host_i, host_o
        Streams from and to the host.
    stimulus, outputs : Out(48)
        Spike packets that entered and left.
    observe_* : Out
        The observed field of this name of every core, core 0 lowest, if ``observe``.
    """

    def __init__(self, spec: SystemSpec, *, observe: bool = False, instances: bool = True) -> None:
        self._spec, self._observe, self._instances = spec, observe, instances
        members = {
            "host_i": In(flit_stream(spec)),
            "host_o": Out(flit_stream(spec)),
            "stimulus": Out(COUNTER_BITS),
            "outputs": Out(COUNTER_BITS),
        }
        if observe:
            members |= {
                f"observe_{name}": Out(bits * spec.cores) for name, bits in observed_bits(spec).items()
            }
        super().__init__(members)
        self._routers = [Router(spec) for _ in range(spec.cores)]
        self._cores = [Neurocore(spec) for _ in range(spec.cores)]
        self._gateway = Gateway(spec)
        self._topology = topology_of(spec)
        self._links = _links(spec)

    def _place(self, part: wiring.Component, module: str) -> wiring.Component | Instance:
        """Return what becomes a submodule.

        It is the part itself, or a reference to its module with the part's signals as ports.
        """
        if not self._instances:
            return part
        ports: dict[str, Value] = {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
        for path, member, value in part.signature.flatten(part):
            direction = "i" if member.flow == In else "o"
            ports[f"{direction}_{'__'.join(map(str, path))}"] = Value.cast(value)
        return Instance(module, **ports)

    def elaborate(self, platform: object) -> Module:
        """Place the tiles and join them with each other and with the gateway."""
        m = Module()
        for index, (router, core) in enumerate(zip(self._routers, self._cores, strict=True)):
            x, y = index % self._spec.width, index // self._spec.width
            m.submodules[f"router_{x}_{y}"] = self._place(router, "router")
            m.submodules[f"core_{x}_{y}"] = self._place(core, "neurocore")
            m.d.comb += [
                *(strap.eq(value) for part in (router, core) for strap, value in ((part.x, x), (part.y, y))),
                core.hops.eq(router.hops),
                core.token_hops.eq(router.token_hops),
                core.router_errors.eq(router.errors),
            ]
            wiring.connect(m, router.o[Port.L], core.i)
            wiring.connect(m, core.o, router.i[Port.L])
        self._join_neighbours(m)
        self._join_gateway(m)
        if self._observe:
            for name in observed_bits(self._spec):
                packed = Cat(Value.cast(getattr(core.observe, name)) for core in self._cores)
                m.d.comb += getattr(self, f"observe_{name}").eq(packed)
        return m

    def _port(self, way: str, place: int) -> wiring.PureInterface:
        """Return the stream of an input (``i``) or output (``o``) of a router."""
        stream: wiring.PureInterface = getattr(self._routers[place // PLACES], way)[place % PLACES]
        return stream

    def _join_neighbours(self, m: Module) -> None:
        """Tell every router what it meets, and join what meets."""
        south = self._topology.behind[Port.S :: PLACES]
        for index, router in enumerate(self._routers):
            m.d.comb += [
                router.present_in.eq(Const(int(self._topology.inputs[index]), len(Port))),
                router.present_out.eq(Const(int(self._topology.outputs[index]), len(Port))),
                router.outlet.eq(Const(int(south[index] == HOST), 1)),
            ]
        for place, taken_by in enumerate(self._topology.behind.tolist()):
            if place in self._links:
                link, port = self._links[place], Port(place % PLACES)
                m.submodules[f"link_{place // PLACES}_{port.name}"] = link
                wiring.connect(m, self._port("o", place), link.i)
                wiring.connect(m, link.o, self._port("i", taken_by))
            elif taken_by >= 0:
                wiring.connect(m, self._port("o", place), self._port("i", taken_by))

    def _join_gateway(self, m: Module) -> None:
        """Join the gateway to the input and the output that meet the host."""
        m.submodules.gateway = gateway = self._gateway
        inlet, outlet = (ends.tolist().index(HOST) for ends in (self._topology.before, self._topology.behind))
        wiring.connect(m, gateway.mesh_o, self._port("i", inlet))
        wiring.connect(m, self._port("o", outlet), gateway.mesh_i)
        wiring.connect(m, wiring.flipped(self.host_i), gateway.host_i)
        wiring.connect(m, gateway.host_o, wiring.flipped(self.host_o))
        m.d.comb += [self.stimulus.eq(gateway.stimulus), self.outputs.eq(gateway.outputs)]
