# SPDX-License-Identifier: Apache-2.0
"""Dead cores, wires and links in hardware: straps, the barrier around them, and garbage that they send."""

from collections.abc import Iterator

import numpy as np
import pytest

from emu.dead import DeadSpec
from emu.gates import GateSpec
from emu.links import LinkSpec
from emu.machine import Machine
from emu.spec import SystemSpec
from emu.topology import HOST, PLACES, Port, alive, on_chip, topology_of
from emu.trace import RunResult, diff
from emu.words import Kind
from rtl.chip import Chip
from rtl.export import chip_verilog
from rtl.router import Router
from rtl.system import System, core_paths, top_of
from sim_tests.bench.amaranth_engine import run_pysim
from sim_tests.bench.block_player import Bench, Row, flit
from sim_tests.bench.job import prepare
from sim_tests.bench.systems import readable
from sim_tests.generators.pool import LEAST
from sim_tests.generators.systems import make_core, make_stimulus, make_system

DEAD = DeadSpec(cores=((1, 0),), ports=((2, 1, "N"),))
ONE = SystemSpec(core=LEAST, width=3, height=2, dead=DEAD)
"""A chip without core (1, 0), and whose third column is cut, so that (2, 1) is cut off."""

TWO = SystemSpec(
    core=LEAST,
    width=4,
    height=2,
    links=LinkSpec(width=2, height=2, wires=9, depth=1),
    dead=DeadSpec(cores=((0, 0),), ports=((1, 1, "E"),)),
)
"""Two chips of four cores; the link of the second row is dead."""
GATES = SystemSpec(
    core=LEAST,
    width=6,
    height=2,
    links=LinkSpec(width=3, height=1, wires=9),
    gates=GateSpec(inlets=((0, "E"), (1, "W")), outlets=(2, 4)),
)
"""Four chips of three cores, each of which meets the host by other ports; no part is dead."""
TALL = SystemSpec(core=LEAST, width=1, height=6, links=LinkSpec(width=1, height=3, wires=9))
"""Two chips, one south of the other, of a number of rows that is no power of two."""


@pytest.mark.parametrize("spec", [ONE, TWO], ids=["wire", "link"])
def test_cores_that_are_alive_hear_the_host_and_are_heard(spec: SystemSpec) -> None:
    out = [0, 0, spec.height, spec.height]
    present = np.flatnonzero(alive(spec)).tolist()
    cores = [make_core([[1]], fanout=[[*out, i, True]]) if i in present else None for i in range(spec.cores)]
    rows = [(at % 2, i % spec.width, i % spec.width, i // spec.width, i // spec.width, 0, 1)
            for at, i in enumerate(present)]  # fmt: skip
    rows += [(2, 0, spec.width - 1, 0, spec.height - 1, 0, 1), (2, 2, 2, 1, 1, 0, 1), (2, 1, 1, 0, 0, 0, 1)]
    image, stimulus = make_system(spec, *cores), make_stimulus(3, sorted(rows))
    emulated = Machine(image).run(stimulus, cycles=True, potentials=True)
    assert emulated.total("router_errors") > 3
    expected = readable(image, emulated)
    result = run_pysim(prepare(image, stimulus, expected, phases=2))
    assert isinstance(result, RunResult), result
    assert diff(expected, result) is None
    assert sorted(result.outputs[:, 1].tolist()) == sorted(2 * present)
    assert result.finish is not None
    assert np.flatnonzero(result.finish[0] >= 0).tolist() == present


@pytest.mark.parametrize("spec", [ONE, TWO, GATES, TALL], ids=["wire", "link", "gates", "tall"])
def test_straps_take_out_what_the_topology_has_not(spec: SystemSpec) -> None:
    """Every router is told what the topology tells of it, and where in the system it is."""
    system, topology = System(spec, instances=False), topology_of(spec)
    chips, there = on_chip(spec, PLACES * np.arange(spec.cores))
    places = zip(chips.tolist(), (there // PLACES).tolist(), strict=True)
    routers = [f"_chips.{chip}._routers.{router}" for chip, router in places]
    y, x = np.divmod(np.arange(spec.cores), spec.width)
    hosts = topology.behind[Port.S :: PLACES] == HOST
    told = {"x": x, "y": y, "present_in": topology.inputs, "present_out": topology.outputs, "outlet": hosts}
    seen = Bench(system, [f"{router}.{strap}" for router in routers for strap in told]).run([{}])[0]
    for strap, values in told.items():
        assert [seen[f"{router}.{strap}"] for router in routers] == values.tolist(), strap


def test_absent_input_is_not_heard() -> None:
    """What a dead neighbour sends, a flit in every cycle, is not taken, and nothing leaves."""
    word = flit(ONE, kind=Kind.SPIKE, x0=1, x1=1, y0=1, y1=1)
    straps = {"x": 1, "y": 0, "present_in": 0b01000, "present_out": 0b00100, "o.2.ready": 1}
    watch = ["i.1.ready", "o.2.valid", "o.4.valid", "errors"]
    bench = Bench(Router(ONE), watch, hold=straps)

    def rows() -> Iterator[Row]:
        yield from [{"i.1.valid": 1, "i.1.payload": word, "i.4.valid": 1, "i.4.payload": word}] * 8
        yield {"i.3.valid": 1, "i.3.payload": word}
        yield from [{}] * 4

    seen = bench.run(rows())
    assert not any(cycle["i.1.ready"] or cycle["o.4.valid"] or cycle["errors"] for cycle in seen)
    assert [number for number, cycle in enumerate(seen) if cycle["o.2.valid"]] == [9]


def test_chip_has_straps_for_dead_parts_only_if_there_may_be_some() -> None:
    straps = {"x", "y", "joined", "inlet", "outlet", "absent_i", "absent_o"}
    host = {"host_i", "host_o", "stimulus", "outputs"}
    none = SystemSpec(core=LEAST, width=3, height=2, dead=DeadSpec())
    assert set(Chip(none).signature.members) == straps | host
    assert set(Chip(SystemSpec(core=LEAST, width=3, height=2)).signature.members) == host
    assert isinstance(top_of(none), System)
    assert core_paths(none)[5] == "chip_0_0.core_2_1"


def test_module_of_a_chip_is_the_same_whatever_is_dead() -> None:
    none = SystemSpec(core=LEAST, width=3, height=2, dead=DeadSpec())
    whole, broken = chip_verilog(none), chip_verilog(ONE)
    assert [name for name in whole if whole[name] != broken[name]] == ["system.v"]
