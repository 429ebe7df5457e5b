# SPDX-License-Identifier: Apache-2.0
"""A chip: equal cores and routers, joined as their topology says, a gateway, and links at its sides."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from amaranth.hdl import Cat, Const, Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from emu.spec import COUNTER_BITS, SystemSpec
from emu.topology import HOST, NOTHING, PLACES, Port, chip_of, lane_of, sides_with_links, topology_of
from emu.words import Kind
from rtl.component import Component, reference
from rtl.core import Neurocore
from rtl.gateway import Gateway, of_gate
from rtl.layouts import flit_stream, flit_struct, observed_bits
from rtl.link import LinkReceiver, LinkSender, LinkWires, SharedSender
from rtl.router import Router

__all__ = ["Chip", "pins", "side_length"]


def pins(spec: SystemSpec, observe: bool, cores: int, gates: tuple[int, int]) -> dict[str, wiring.Member]:
    """Return what a chip and a system of several have in common: the host's pins, and what is observed.

    ``gates`` is how many inlets and outlets there are.
    """
    observed = observed_bits(spec) if observe else {}
    inlets, outlets = (range(count) for count in gates)
    return {
        **{of_gate("host_i", number): In(flit_stream(spec)) for number in inlets},
        **{of_gate("host_o", number): Out(flit_stream(spec)) for number in outlets},
        **{of_gate("stimulus", number): Out(COUNTER_BITS) for number in inlets},
        **{of_gate("outputs", number): Out(COUNTER_BITS) for number in outlets},
        **{f"observe_{name}": Out(bits * cores) for name, bits in observed.items()},
    }


def side_length(mesh: SystemSpec, side: Port) -> int:
    """Return how many routers a side of a chip has, and so how many lanes if they share its link."""
    return mesh.width if side in (Port.N, Port.S) else mesh.height


class Chip(Component):
    """A mesh of equal cores, a router each. All are instances of one module, told their place by straps.

    A chip of a system of several has links at its sides, and straps of its own: all chips of a system are
    one module. A chip that is a system by itself has neither, but for the straps if parts of it may be dead.

    Parameters
    ----------
    spec : SystemSpec
        Sizes of the system.
    observe : bool
        Bring every core's observe port out, packed; off in exports.
    instances : bool
        Cores and routers are references to the modules ``neurocore`` and ``router``, which are elaborated
        once and exported beside the chip; if False they are elaborated in place, which a Python simulation
        needs.

    Members
    -------
    host_i, host_o
        Streams from and to the host; of further inlets and outlets host_i_1, host_o_1 and so on.
    stimulus, outputs : Out(48)
        Spike packets that entered and left there.
    observe_* : Out
        The observed field of this name of every core, core 0 lowest, if ``observe``.
    x, y : In
        Coordinates of the chip's first core in the system (straps), if the chip has straps.
    joined : In(4)
        The sides N, E, S, W behind which there is a chip (straps), if the chip has straps.
    inlet, outlet : In
        At which of these the host sends to this chip, and takes from it (straps), if the chip has straps.
    absent_i, absent_o : In
        Inputs and outputs of routers that are dead or cut off (straps), five of each router, the first core's
        lowest, if parts may be dead.
    link_*_o, link_*_i
        The pins of the links of a side N, E, S or W, the northern or western first, out and in; or of the one
        that its routers share.
    """

    def __init__(self, spec: SystemSpec, *, observe: bool = False, instances: bool = True) -> None:
        self._spec, self._observe, self._instances = spec, observe, instances
        self._mesh, self._sides = chip_of(spec), sides_with_links(spec)
        self._strapped = bool(self._sides) or spec.dead is not None
        self._topology = topology_of(self._mesh)
        self._gates = len(self._topology.inlets), len(self._topology.outlets)
        super().__init__(pins(spec, observe, self._mesh.cores, self._gates) | self._straps())
        self._routers = [Router(spec) for _ in range(self._mesh.cores)]
        self._cores = [Neurocore(spec) for _ in range(self._mesh.cores)]
        self._gateway = Gateway(spec, *self._gates)
        self._senders: list[LinkSender | SharedSender] = []
        self._receivers: list[LinkReceiver] = []
        if (links := spec.links) is not None:
            sizes = flit_struct(spec), links.wires, links.depth
            for side, _ in self._links():
                lanes = (side_length(self._mesh, side), links.lane_bits) if links.shared else ()
                self._senders.append(SharedSender(*sizes, *lanes) if lanes else LinkSender(*sizes))
                self._receivers.append(LinkReceiver(*sizes, *lanes))

    def _straps(self) -> dict[str, wiring.Member]:
        """Return the members of a chip among others, or whose parts may be dead."""
        if not self._strapped:
            return {}
        straps = {"x": self._spec.x_bits, "y": self._spec.y_bits, "joined": 4}
        straps |= dict(zip(("inlet", "outlet"), self._gates, strict=True))
        if self._spec.dead is not None:
            straps |= dict.fromkeys(("absent_i", "absent_o"), len(Port) * self._mesh.cores)
        members: dict[str, wiring.Member] = {name: In(bits) for name, bits in straps.items()}
        if self._spec.links is None:
            return members
        for side in self._sides:
            length, shared = side_length(self._mesh, side), self._spec.links.shared
            signature = LinkWires(self._spec.links.wires, length if shared else 1)
            for way, flow in (("o", Out), ("i", In)):
                members[f"link_{side.name}_{way}"] = flow(signature).array(1 if shared else length)
        return members

    def _links(self) -> Iterator[tuple[Port, int]]:
        """Yield the links of a chip: their side, and their number there."""
        shared = self._spec.links is not None and self._spec.links.shared
        for side in self._sides:
            yield from ((side, number) for number in range(1 if shared else side_length(self._mesh, side)))

    def _ends(self) -> Iterator[tuple[int, Any, Any]]:
        """Yield the ports that links lead to: their place, and the streams into a link and out of one."""
        shared = self._spec.links is not None and self._spec.links.shared
        links = list(self._links())
        for side in self._sides:
            open_ports = self._topology.behind[side::PLACES], self._topology.before[side::PLACES]
            at_border = (open_ports[0] < 0) & (open_ports[1] < 0)
            places = PLACES * at_border.nonzero()[0] + side
            for place, number in zip(places.tolist(), lane_of(self._mesh, places).tolist(), strict=True):
                link, lane = (0, number) if shared else (number, 0)
                at = links.index((side, link))
                sender, receiver = self._senders[at], self._receivers[at]
                yield place, sender.i[lane] if shared else sender.i, receiver.o[lane]

    def _place(self, part: wiring.Component, module: str) -> object:
        """Return what becomes a submodule: the part itself, or a reference to its module."""
        return reference(part, module) if self._instances else part

    def elaborate(self, platform: object) -> Module:
        """Place the tiles and join them with each other, with the gateway and with the links."""
        m = Module()
        for index, (router, core) in enumerate(zip(self._routers, self._cores, strict=True)):
            y, x = divmod(index, self._mesh.width)
            m.submodules[f"router_{x}_{y}"] = self._place(router, "router")
            m.submodules[f"core_{x}_{y}"] = self._place(core, "neurocore")
            place = (self.x + x, self.y + y) if self._strapped else (x, y)
            m.d.comb += [
                *(
                    strap.eq(v)
                    for part in (router, core)
                    for strap, v in zip((part.x, part.y), place, strict=True)
                ),
                core.hops.eq(router.hops),
                core.token_hops.eq(router.token_hops),
                core.router_errors.eq(router.errors),
            ]
            wiring.connect(m, router.o[Port.L], core.i)
            wiring.connect(m, core.o, router.i[Port.L])
        self._join_neighbours(m)
        self._join_borders(m)
        if self._sides:
            self._count_crossings(m)
        self._join_host(m)
        if self._observe:
            for name in observed_bits(self._spec):
                packed = Cat(Value.cast(getattr(core.observe, name)) for core in self._cores)
                m.d.comb += getattr(self, f"observe_{name}").eq(packed)
        return m

    def _port(self, way: str, place: int) -> wiring.PureInterface:
        """Return the stream of an input (``i``) or output (``o``) of a router."""
        stream: wiring.PureInterface = getattr(self._routers[place // PLACES], way)[place % PLACES]
        return stream

    def _told(self, place: int, gate: str) -> Value:
        """Return whether the host is at a place, which is an ``inlet`` or ``outlet``: by the strap."""
        places = (self._topology.inlets if gate == "inlet" else self._topology.outlets).tolist()
        if not self._strapped:
            return Const(1, 1)
        strap: Value = getattr(self, gate)
        return strap if len(places) == 1 else strap[places.index(place)]

    def _is_present(self, end: int, place: int, gate: str) -> Value:
        """Return whether a port meets something, by what is at its place and by the straps."""
        joined = self.joined[place % PLACES] if place % PLACES in self._sides else Const(0, 1)
        if end == HOST:
            return self._told(place, gate) | joined if self._strapped else Const(1, 1)
        return joined if end == NOTHING else Const(1, 1)

    def _presence(self, ends: list[int], index: int, gate: str, strap: str) -> Value:
        """Return which inputs or outputs of a router are present, by the topology and by the straps."""
        places = range(PLACES * index, PLACES * index + len(Port))
        present = Cat(self._is_present(ends[place], place, gate) for place in places)
        if self._spec.dead is None:
            return present
        absent: Value = getattr(self, strap)
        return present & ~absent.word_select(index, len(Port))

    def _join_neighbours(self, m: Module) -> None:
        """Tell every router what it meets, and join what meets on the chip."""
        before, behind = self._topology.before.tolist(), self._topology.behind.tolist()
        for index, router in enumerate(self._routers):
            south = PLACES * index + Port.S
            m.d.comb += [
                router.present_in.eq(self._presence(before, index, "inlet", "absent_i")),
                router.present_out.eq(self._presence(behind, index, "outlet", "absent_o")),
                router.outlet.eq(self._told(south, "outlet") if behind[south] == HOST else 0),
            ]
        for place, taken_by in enumerate(behind):
            if taken_by >= 0:
                wiring.connect(m, self._port("o", place), self._port("i", taken_by))

    def _join_borders(self, m: Module) -> None:
        """Join the border to the links, but where the straps tell that the host is."""
        inlets, outlets = self._topology.inlets.tolist(), self._topology.outlets.tolist()
        for (side, number), sender, receiver in zip(
            self._links(), self._senders, self._receivers, strict=True
        ):
            m.submodules[f"sender_{side.name}_{number}"] = sender
            m.submodules[f"receiver_{side.name}_{number}"] = receiver
            wiring.connect(m, sender.link, wiring.flipped(getattr(self, f"link_{side.name}_o")[number]))
            wiring.connect(m, wiring.flipped(getattr(self, f"link_{side.name}_i")[number]), receiver.link)
        for place, leaves, comes in self._ends():
            with self._if(m, place, "outlet", 0) if place in outlets else nullcontext():
                wiring.connect(m, self._port("o", place), leaves)
            with self._if(m, place, "inlet", 0) if place in inlets else nullcontext():
                wiring.connect(m, comes, self._port("i", place))

    def _count_crossings(self, m: Module) -> None:
        """Tell every core what leaves its router over links: spikes and tokens."""
        crossings: list[list[Value]] = [[] for _ in self._cores]
        for place, leaves, _ in self._ends():
            kind = leaves.payload.kind
            counts = (kind == Kind.SPIKE) | (kind == Kind.TOKEN)
            crossings[place // PLACES].append(leaves.valid & leaves.ready & counts)
        m.d.comb += [
            c.crossings.eq(sum(leave, Const(0))) for c, leave in zip(self._cores, crossings, strict=True)
        ]

    def _if(self, m: Module, place: int, gate: str, value: int) -> AbstractContextManager[None]:
        """Let what is joined be so if the strap of a place has a value."""
        condition: AbstractContextManager[None] = m.If(self._told(place, gate) == value)
        return condition

    def _join_host(self, m: Module) -> None:
        """Join the gateway to the host's pins and to the mesh, but where the straps tell that a link is."""
        m.submodules.gateway = gateway = self._gateway
        linked = {place for place, _, _ in self._ends()}
        inlets, outlets = self._topology.inlets.tolist(), self._topology.outlets.tolist()
        for number, place in enumerate(inlets):
            with self._if(m, place, "inlet", 1) if place in linked else nullcontext():
                wiring.connect(m, getattr(gateway, of_gate("mesh_o", number)), self._port("i", place))
        for number, place in enumerate(outlets):
            with self._if(m, place, "outlet", 1) if place in linked else nullcontext():
                wiring.connect(m, self._port("o", place), getattr(gateway, of_gate("mesh_i", number)))
        for number in range(len(inlets)):
            name = of_gate("host_i", number)
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(gateway, name))
        for number in range(len(outlets)):
            name = of_gate("host_o", number)
            wiring.connect(m, getattr(gateway, name), wiring.flipped(getattr(self, name)))
        for counter, count in zip(("stimulus", "outputs"), self._gates, strict=True):
            for number in range(count):
                name = of_gate(counter, number)
                m.d.comb += getattr(self, name).eq(getattr(gateway, name))
