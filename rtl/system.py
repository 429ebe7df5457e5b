# SPDX-License-Identifier: Apache-2.0
"""A system: equal chips, and the ways of the links between their pins."""

import numpy as np
from amaranth.hdl import Cat, Const, Module
from amaranth.lib import wiring
from numpy.typing import NDArray

from emu.spec import SystemSpec
from emu.topology import PLACES, Port, chip_of, lane_of, on_chip, sides_with_links, topology_of, whole
from rtl.chip import Chip, pins, side_length
from rtl.component import Component, reference
from rtl.gateway import of_gate
from rtl.layouts import observed_bits
from rtl.link import LinkWay

__all__ = ["System", "core_paths", "top_name", "top_of"]


class System(Component):
    """Chips, all instances of one module, told by straps where they are, what they meet and what is dead.

    Parameters
    ----------
    spec : SystemSpec
        Sizes of the system, with links or with dead parts.
    observe : bool
        Bring every core's observe port out, packed; off in exports.
    instances : bool
        Chips are references to the module ``chip``, which is elaborated once and exported beside the system;
        if False they are elaborated in place, all their parts too.

    Members
    -------
    host_i, host_o
        Streams from and to the host; of further inlets and outlets host_i_1, host_o_1 and so on.
    stimulus, outputs : Out(48)
        Spike packets that entered and left there.
    observe_* : Out
        The observed field of this name of every core of the system, core 0 lowest, if ``observe``.
    """

    def __init__(self, spec: SystemSpec, *, observe: bool = False, instances: bool = True) -> None:
        self._spec, self._observe, self._instances = spec, observe, instances
        self._mesh, self._topology = chip_of(spec), topology_of(whole(spec))
        gates = len(self._topology.inlets), len(self._topology.outlets)
        super().__init__(pins(spec, observe, spec.cores, gates))
        count = spec.cores // self._mesh.cores
        self._chips = [Chip(spec, observe=observe, instances=instances) for _ in range(count)]
        self._ways: list[LinkWay] = []
        if (links := spec.links) is not None:
            for place in self._starts().tolist():
                lanes = side_length(self._mesh, Port(place % PLACES)) if links.shared else 1
                self._ways.append(LinkWay(links.wires, links.latency, lanes))

    def _starts(self) -> NDArray[np.int64]:
        """Return the places of the outputs at which links begin; of a shared one that of its first lane."""
        links, lanes = self._topology.links, self._topology.lanes
        return links[lanes[:, 0]] if len(lanes) else links

    def elaborate(self, platform: object) -> Module:
        """Place the chips, join their pins, and join the host."""
        m = Module()
        across = self._spec.width // self._mesh.width
        for index, chip in enumerate(self._chips):
            y, x = divmod(index, across)
            m.submodules[f"chip_{x}_{y}"] = reference(chip, "chip") if self._instances else chip
            m.d.comb += [chip.x.eq(x * self._mesh.width), chip.y.eq(y * self._mesh.height)]
        self._join_links(m)
        self._join_host(m)
        if self._spec.dead is not None:
            self._tell_dead(m)
        if self._observe:
            self._show(m)
        return m

    def _chip_at(self, place: int) -> tuple[Chip, int]:
        """Return the chip of a place, and which place of it that is."""
        chip, there = on_chip(self._spec, np.array([place]))
        return self._chips[chip.item()], there.item()

    def _pins(self, way: str, place: int) -> wiring.PureInterface:
        """Return the pins of the link at a place, of the way out (``o``) or in (``i``)."""
        chip, there = self._chip_at(place)
        number, side = lane_of(self._mesh, np.array([there])).item(), Port(there % PLACES)
        found: wiring.PureInterface = getattr(chip, f"link_{side.name}_{way}")[number]
        return found

    def _join_links(self, m: Module) -> None:
        """Join the pins that meet, and tell every chip which of its sides are joined."""
        joined = dict.fromkeys(self._chips, 0)
        for place, way in zip(self._starts().tolist(), self._ways, strict=True):
            y, x = divmod(place // PLACES, self._spec.width)
            side = Port(place % PLACES)
            m.submodules[f"way_{x}_{y}_{side.name}"] = way
            wiring.connect(m, self._pins("o", place), way.i)
            wiring.connect(m, way.o, self._pins("i", int(self._topology.behind[place])))
            joined[self._chip_at(place)[0]] |= 1 << side
        m.d.comb += [chip.joined.eq(Const(sides, 4)) for chip, sides in joined.items()]

    def _join_host(self, m: Module) -> None:
        """Join the host to the chips that have inlets and outlets, and tell these so."""
        of_chip, straps, counters = topology_of(self._mesh), dict[tuple[Chip, str], int](), []
        for gate, pin, counter, places, there in (
            ("inlet", "host_i", "stimulus", self._topology.inlets, of_chip.inlets.tolist()),
            ("outlet", "host_o", "outputs", self._topology.outlets, of_chip.outlets.tolist()),
        ):
            for number, place in enumerate(places.tolist()):
                chip, at = self._chip_at(place)
                own = there.index(at)
                ends = wiring.flipped(getattr(self, of_gate(pin, number))), getattr(chip, of_gate(pin, own))
                wiring.connect(m, *(ends if gate == "inlet" else ends[::-1]))
                straps[chip, gate] = straps.get((chip, gate), 0) | 1 << own
                counted = getattr(chip, of_gate(counter, own))
                counters.append(getattr(self, of_gate(counter, number)).eq(counted))
        m.d.comb += [getattr(chip, gate).eq(value) for (chip, gate), value in straps.items()]
        m.d.comb += counters

    def _tell_dead(self, m: Module) -> None:
        """Tell every chip which ports of its routers are absent although the mesh has them."""
        alive = topology_of(self._spec)
        missing = {
            "absent_i": self._topology.inputs & ~alive.inputs,
            "absent_o": self._topology.outputs & ~alive.outputs,
        }
        for strap, ports in missing.items():
            straps = dict.fromkeys(self._chips, 0)
            for router, absent in enumerate(ports.tolist()):
                chip, there = self._chip_at(PLACES * router)
                straps[chip] |= absent << len(Port) * (there // PLACES)
            m.d.comb += [getattr(chip, strap).eq(value) for chip, value in straps.items()]

    def _show(self, m: Module) -> None:
        """Bring out what the cores of all chips show, in the order of the system's cores."""
        places = [self._chip_at(PLACES * core) for core in range(self._spec.cores)]
        for name, bits in observed_bits(self._spec).items():
            fields = [getattr(chip, f"observe_{name}").word_select(at // PLACES, bits) for chip, at in places]
            m.d.comb += getattr(self, f"observe_{name}").eq(Cat(fields))


def top_name(spec: SystemSpec) -> str:
    """Return the name of the top module: ``system``, or ``chip`` of a single one without dead parts."""
    return "system" if sides_with_links(spec) or spec.dead is not None else "chip"


def top_of(spec: SystemSpec, *, observe: bool = False, instances: bool = True) -> Chip | System:
    """Return the top of a system, by its name: `System` or `Chip`."""
    kind = System if top_name(spec) == "system" else Chip
    return kind(spec, observe=observe, instances=instances)


def core_paths(spec: SystemSpec) -> list[str]:
    """Return the instance names that lead from the top module to each core, with a dot between them."""
    mesh = chip_of(spec)
    across, paths = spec.width // mesh.width, []
    for chip, place in zip(*on_chip(spec, PLACES * np.arange(spec.cores)), strict=True):
        (row, column), (y, x) = divmod(int(chip), across), divmod(int(place) // PLACES, mesh.width)
        inside = f"chip_{column}_{row}." if top_name(spec) == "system" else ""
        paths.append(f"{inside}core_{x}_{y}")
    return paths
