# SPDX-License-Identifier: Apache-2.0
"""The chip: a mesh of equal cores and routers, and the gateway in its corner."""

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, ResetSignal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from emu.spec import COUNTER_BITS, SystemSpec
from rtl.component import Component
from rtl.core import Neurocore
from rtl.gateway import Gateway
from rtl.layouts import flit_stream, observed_bits
from rtl.router import Router

__all__ = ["Chip", "presence"]

N, E, S, W, L = range(5)

_NEIGHBOURS = {N: (0, -1, S), E: (1, 0, W), S: (0, 1, N), W: (-1, 0, E)}


def presence(spec: SystemSpec, x: int, y: int) -> tuple[int, int]:
    """Return the masks of present inputs and outputs of router (x, y), bit = port."""
    inside = sum(
        1 << port
        for port, (dx, dy, _) in _NEIGHBOURS.items()
        if 0 <= x + dx < spec.width and 0 <= y + dy < spec.height
    )
    inputs = inside | 1 << L | (1 << W if (x, y) == (0, 0) else 0)
    outputs = inside | 1 << L | (1 << S if (x, y) == (0, spec.height - 1) else 0)
    return inputs, outputs


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
        """Place the tiles, join neighbours, connect the gateway."""
        m = Module()
        spec = self._spec
        for index, (router, core) in enumerate(zip(self._routers, self._cores, strict=True)):
            x, y = index % spec.width, index // spec.width
            inputs, outputs = presence(spec, x, y)
            m.submodules[f"router_{x}_{y}"] = self._place(router, "router")
            m.submodules[f"core_{x}_{y}"] = self._place(core, "neurocore")
            m.d.comb += [
                router.x.eq(x),
                router.y.eq(y),
                core.x.eq(x),
                core.y.eq(y),
                router.present_in.eq(Const(inputs, 5)),
                router.present_out.eq(Const(outputs, 5)),
                core.hops.eq(router.hops),
                core.token_hops.eq(router.token_hops),
                core.router_errors.eq(router.errors),
            ]
            wiring.connect(m, router.o[L], core.i)
            wiring.connect(m, core.o, router.i[L])
            for port, (dx, dy, opposite) in _NEIGHBOURS.items():
                if 0 <= x + dx < spec.width and 0 <= y + dy < spec.height:
                    neighbour = self._routers[index + dx + dy * spec.width]
                    wiring.connect(m, router.o[port], neighbour.i[opposite])
        self._join_gateway(m)
        if self._observe:
            for name in observed_bits(spec):
                packed = Cat(Value.cast(getattr(core.observe, name)) for core in self._cores)
                m.d.comb += getattr(self, f"observe_{name}").eq(packed)
        return m

    def _join_gateway(self, m: Module) -> None:
        """Join the gateway: it feeds the first router's west and listens to column 0's last south port."""
        m.submodules.gateway = gateway = self._gateway
        routers = self._routers
        wiring.connect(m, gateway.mesh_o, routers[0].i[W])
        wiring.connect(m, routers[(self._spec.height - 1) * self._spec.width].o[S], gateway.mesh_i)
        wiring.connect(m, wiring.flipped(self.host_i), gateway.host_i)
        wiring.connect(m, gateway.host_o, wiring.flipped(self.host_o))
        m.d.comb += [self.stimulus.eq(gateway.stimulus), self.outputs.eq(gateway.outputs)]
