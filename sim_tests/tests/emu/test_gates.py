# SPDX-License-Identifier: Apache-2.0
"""Several inlets and outlets: their sizes, the topology, and emulator == oracle in every cycle."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from emu.balance import Balance
from emu.dead import DeadSpec
from emu.gates import GateSpec, inlets_of, outlets_of
from emu.host import run_flits
from emu.kernels.mesh import LINK_OUTPUT, SHARED_TURN
from emu.links import LinkSpec
from emu.loading import all_cores
from emu.machine import Machine
from emu.spec import SpecError, SystemSpec
from emu.topology import HOST, PLACES, chip_of, comes_out, topology_of
from emu.trace import RunResult, Stimulus, compared, diff
from sim_tests.generators.pool import PLAIN, RATE, TINY
from sim_tests.generators.systems import make_core, make_stimulus, make_system, random_system
from sim_tests.oracle.cycles import Chip
from sim_tests.oracle.machine import run_oracle
from sim_tests.oracle.rules import Core, Mesh

OPEN = SystemSpec(core=TINY, width=2, height=2, gates=GateSpec(inlets=((1, "E"),), outlets=(1,)))
SYSTEMS = {
    "one core": SystemSpec(core=TINY, width=1, height=1, gates=GateSpec(inlets=((0, "E"),))),
    "four cores": OPEN,
    "all gates": SystemSpec(
        core=RATE,
        width=3,
        height=2,
        gates=GateSpec(inlets=((0, "E"), (1, "W"), (1, "E")), outlets=(1, 2)),
    ),
    "four chips": SystemSpec(
        core=PLAIN,
        width=4,
        height=2,
        links=LinkSpec(width=2, height=1, wires=7, depth=2),
        gates=GateSpec(inlets=((0, "E"), (1, "W")), outlets=(2,)),
    ),
    "dead parts": SystemSpec(
        core=PLAIN,
        width=4,
        height=3,
        dead=DeadSpec(cores=((1, 0), (0, 1)), ports=((1, 1, "E"), (3, 1, "S"), (0, 2, "E"))),
        gates=GateSpec(inlets=((0, "E"), (2, "W")), outlets=(2,)),
    ),
    "shared sides": SystemSpec(
        core=PLAIN,
        width=4,
        height=6,
        links=LinkSpec(width=2, height=3, wires=9, depth=1, shared=True),
        dead=DeadSpec(cores=((1, 4), (1, 5), (2, 4)), ports=((1, 3, "S"),)),
        gates=GateSpec(inlets=((1, "W"), (4, "E")), outlets=(2,)),
    ),
}


def test_gates_are_kept_in_order() -> None:
    gates = GateSpec(inlets=[[1, "E"], [1, "W"], [0, "E"]], outlets=[3, 1])  # type: ignore[arg-type]
    assert gates.inlets == ((0, "E"), (1, "W"), (1, "E"))
    assert (inlets_of(gates)[0], outlets_of(gates)) == ((0, "W"), (0, 1, 3))
    assert (inlets_of(None), outlets_of(None)) == (((0, "W"),), (0,))


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({}, r"gates must be None where there is one inlet and one outlet, not GateSpec\(inlets=\(\), .*"),
        (
            {"inlets": [[0, "W"]]},
            r"inlet must be another than the first, which is there anyway, not \[0, 'W'\]",
        ),
        ({"inlets": [[0, "N"]]}, r"inlet must be \[row, side\] with a side W or E, not \[0, 'N'\]"),
        ({"inlets": [["E", 0]]}, r"inlet must be \[row, side\] with a side W or E, not \['E', 0\]"),
        ({"inlets": [[True, "E"]]}, r"inlet must be \[row, side\] with a side W or E, not \[True, 'E'\]"),
        ({"inlets": [[0, "E"]] * 2}, r"inlets must be all different, not \[.*\]"),
        ({"outlets": [0]}, "outlet must be another than the first, which is there anyway, not 0"),
        ({"outlets": ["1"]}, "outlet must be a column, not '1'"),
        ({"outlets": [True]}, "outlet must be a column, not True"),
        ({"outlets": [1, 1]}, r"outlets must be all different, not \[1, 1\]"),
        ({"inlets": [[2, "E"]]}, r"inlet row must be 0..1, not \[2, 'E'\]"),
        ({"inlets": [[-1, "E"]]}, r"inlet row must be 0..1, not \[-1, 'E'\]"),
        ({"outlets": [2]}, "outlet column must be 1..1, not 2"),
    ],
)
def test_gates_that_no_mesh_has_are_refused(parts: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError, match=f"^{sentence}.$"):
        replace(OPEN, gates=GateSpec(**parts))


@pytest.mark.parametrize("spec", SYSTEMS.values(), ids=SYSTEMS)
def test_spec_is_read_back(spec: SystemSpec) -> None:
    assert SystemSpec.from_dict(spec.to_dict()) == spec
    assert "gates" not in replace(spec, gates=None).to_dict()


@pytest.mark.parametrize("spec", SYSTEMS.values(), ids=SYSTEMS)
def test_host_is_where_the_oracle_has_it(spec: SystemSpec) -> None:
    topology, mesh = topology_of(spec), Mesh(width=spec.width, height=spec.height, gates=spec.gates)
    assert topology.inlets.tolist() == [PLACES * core + port for core, port in mesh.inlets()]
    assert sorted(topology.inlets.tolist()) == np.flatnonzero(topology.before == HOST).tolist()
    ways_out = [core for core in range(spec.cores) if mesh.is_exit(core, 2)]
    assert topology.outlets.tolist() == [PLACES * core + 2 for core in ways_out]
    assert topology.outlets.tolist() == np.flatnonzero(topology.behind == HOST).tolist()


def test_chip_has_the_gates_of_every_chip() -> None:
    own = GateSpec(inlets=((3, "E"), (2, "W")), outlets=(2, 3)).of_chip(2, 2)
    assert own == GateSpec(inlets=((1, "E"),), outlets=(1,))
    assert GateSpec(outlets=(1, 2)).of_chip(2, 2) == GateSpec(outlets=(1,))  # of the first chip alone
    assert chip_of(SYSTEMS["four chips"]).gates == GateSpec(inlets=((0, "E"),))
    assert chip_of(replace(SYSTEMS["four chips"], gates=GateSpec(inlets=((1, "W"),)))).gates is None
    assert chip_of(SYSTEMS["dead parts"]).gates == SYSTEMS["dead parts"].gates


def test_packet_comes_out_of_every_outlet_of_its_rectangle() -> None:
    spec = SYSTEMS["all gates"]
    x0, x1 = np.array(list(itertools.product(range(4), range(4)))).T
    expected = [sum(a <= x <= b for x in range(3)) for a, b in zip(x0.tolist(), x1.tolist(), strict=True)]
    assert comes_out(spec, x0, x1, np.full(16, 2)).tolist() == expected
    assert not comes_out(spec, x0, x1, np.full(16, 1)).any()
    image = make_system(spec, *[make_core([[1]], fanout=[[0, 2, 2, 2, 9, True]])] * 2, *[None] * 4)
    run = equal_to_oracle(image, make_stimulus(2, [(0, 0, 1, 0, 0, 0, 1)]))
    assert run.outputs.tolist() == [[0, 9, 1]] * 6  # two neurons, three outlets


def equal_to_oracle(image: Any, stimulus: Stimulus) -> RunResult:
    """Run in both modes, as the oracle does."""
    machine = Machine(image)
    for cycles in (False, True):
        expected = run_oracle(image, stimulus, cycles=cycles)
        found = machine.run(stimulus, cycles=cycles, potentials=True)
        assert compared(expected, found) > 0
        assert diff(expected, found) is None
    return found


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("spec", SYSTEMS.values(), ids=SYSTEMS)
def test_random_system_equals_the_oracle(spec: SystemSpec, number: int, seed: int) -> None:
    image, stimulus = random_system(seed + number, spec=spec)
    run = equal_to_oracle(image, stimulus)
    if len(outlets_of(spec.gates)) > 1:
        assert run.outlets is not None
        assert run.gateway is not None
        assert run.outlets.shape == (stimulus.steps + 1, len(outlets_of(spec.gates)))
        assert run.gateway.tolist() == run.outlets.max(axis=1).tolist()


def test_lanes_of_a_long_run_count_the_ways_of_each_inlet() -> None:
    core = make_core([[1]], fanout=[[1, 1, 2, 2, 3, True]], reset=0)
    image, rng = make_system(OPEN, core, core, None, core), np.random.default_rng(3)
    rows = [(step, x, 1, 0, y, 0, 1) for step in range(64) for x, y in rng.integers(0, (2, 3), (3, 2))]
    stimulus = make_stimulus(64, rows, inlet=rng.integers(0, 2, len(rows)).tolist())
    expected, machine = equal_to_oracle(image, stimulus), Machine(image, balance=Balance(cells_per_group=0))
    assert machine._source.abreast
    for threads in (1, 2):
        assert diff(machine.run(stimulus, threads=threads), expected) is None


def turns_left(spec: SystemSpec) -> list[tuple[list[int], list[int]]]:
    """Return pointers of each router and turns of all sides as a load leaves them, with the oracle's."""
    image = make_system(spec, *[None] * spec.cores)
    mesh = Mesh(width=spec.width, height=spec.height, links=spec.links, dead=spec.dead, gates=spec.gates)
    chip = Chip(mesh, [Core(i, None, spec.core) for i in range(spec.cores)], flit_bits=spec.flit_bits)
    chip.settle()
    chip.load(all_cores(spec))
    network = Machine(image)._reset[0]
    pointers = network.pointer.reshape(-1, PLACES).tolist()
    expected = [[router.pointer.get(port, 0) for port in range(PLACES)] for router in chip.routers]
    told, turns = [], []
    for turn, *lanes in network.shared[:, SHARED_TURN:].tolist():
        router, port = divmod(int(network.links[max(lanes), LINK_OUTPUT]), PLACES)
        y, x = divmod(router, spec.width)
        assert spec.links is not None
        side = chip.shared[x // spec.links.width, y // spec.links.height, port]
        told.append(turn % len(side.lanes))
        turns.append(side.turn)
    return [*zip(pointers, expected, strict=True), (told, turns)]


@pytest.mark.parametrize("spec", SYSTEMS.values(), ids=SYSTEMS)
def test_load_leaves_the_turns_that_the_first_packets_find(spec: SystemSpec) -> None:
    *pointers, (sides, expected) = turns_left(spec)
    assert [found for found, _ in pointers] == [known for _, known in pointers]
    assert np.any([found for found, _ in pointers])
    assert sides == expected
    assert len(set(sides)) > 1 or not sides


def test_load_turns_nothing_where_none_of_its_packets_goes() -> None:
    """Only two cores of the first of four chips are alive: what leads past them keeps its turn."""
    dead = DeadSpec(cores=tuple((x, y) for x, y in itertools.product(range(4), range(4)) if x > 0 or y > 1))
    links = LinkSpec(width=2, height=2, wires=9, shared=True)
    *pointers, (sides, expected) = turns_left(
        SystemSpec(core=PLAIN, width=4, height=4, links=links, dead=dead)
    )
    assert [found for found, _ in pointers] == [known for _, known in pointers]
    assert sides == expected
    assert len(sides) > 1


def test_tokens_of_all_inlets_begin_a_step() -> None:
    image = make_system(OPEN, *[make_core([[1]])] * 4)
    late = make_stimulus(2, [(0, 1, 1, 1, 1, 0, 1)] * 9, inlet=[1] * 9)
    early, found = make_stimulus(2), equal_to_oracle(image, late)
    assert found.finish is not None
    assert (found.finish[0] >= 9).all()  # cores that inlet 1 sends nothing wait for its token all the same
    assert Machine(image).run(early, cycles=True).elapsed < found.elapsed  # type: ignore[operator]


def test_streams_of_all_inlets_have_equal_tokens() -> None:
    stimulus = make_stimulus(2, [(0, 0, 0, 0, 0, 0, 1), (1, 1, 1, 1, 1, 0, 1)], inlet=[1, 0])
    (first, at), (second, there) = (run_flits(OPEN, stimulus, inlet) for inlet in (0, 1))
    assert (len(first), at, len(second), there) == (4, 0, 4, 1)
    assert [first[i] for i in (0, 2, 3)] == [second[i] for i in (1, 2, 3)]


@pytest.mark.parametrize(
    ("inlet", "sentence"),
    [
        ([2], "Stimulus packet 0: inlet must be 0..1, not 2."),
        ([-1], "inlet must be at least 0, not -1."),
        ([0, 0], "inlet must have 1 entries, one a packet, not 2."),
    ],
)
def test_packet_without_an_inlet_is_refused(inlet: list[int], sentence: str) -> None:
    machine = Machine(make_system(OPEN, *[None] * 4))
    with pytest.raises(ValueError, match=sentence):
        machine.run(make_stimulus(1, [(0, 0, 0, 0, 0, 0, 1)], inlet=inlet))


def test_packet_of_a_further_inlet_is_sunk_at_the_dead_way_that_it_meets() -> None:
    spec = replace(OPEN, gates=GateSpec(inlets=((1, "E"),)), dead=DeadSpec(ports=((0, 1, "E"),)))
    machine, row = Machine(make_system(spec, *[None] * 4)), [(0, 0, 0, 0, 0, 0, 1)]
    for inlet, errors in ((0, [0, 0, 0, 0]), (1, [0, 0, 0, 1])):
        run = machine.run(make_stimulus(1, row, inlet=[inlet]))
        assert run.counters["router_errors"].tolist() == errors
