# SPDX-License-Identifier: Apache-2.0
"""Systems of several chips: the links' sizes, and emulator == oracle in every cycle."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from emu.bits import layout_bits
from emu.kernels.links import _may_cross
from emu.kernels.mesh import LINK_CREDITS, LINK_DEPTH, LINK_RINGS, LINK_WAITS
from emu.links import LinkSpec
from emu.machine import Machine
from emu.spec import KIND_BITS, SpecError, SystemSpec, preset
from emu.topology import PLACES, Port, topology_of
from emu.trace import RunResult, compared, diff
from emu.words import Kind, counters_of, flit_layout
from sim_tests.generators.machines import MOST_CORES, random_machine
from sim_tests.generators.pool import SEVERAL
from sim_tests.generators.systems import make_core, make_stimulus, make_system, random_system
from sim_tests.oracle.machine import run_oracle

SIZES: dict[str, Any] = {"width": 1, "height": 1, "wires": 8}


def mesh(columns: int, rows: int, **link: Any) -> SystemSpec:
    spec = SystemSpec(core=preset("tiny"), width=columns, height=rows)
    return replace(spec, links=LinkSpec(**SIZES | link)) if link else spec


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ({"wires": 0}, "link wires must be at least 1, not 0"),
        ({"width": 0}, "link width must be at least 1, not 0"),
        ({"latency": 1}, "link latency must be 2..64, not 1"),
        ({"latency": 65}, "link latency must be 2..64, not 65"),
        ({"depth": 0}, "link depth must be 1..64, not 0"),
        ({"depth": 65}, "link depth must be 1..64, not 65"),
        ({"width": 3}, "link width must be a divisor of 4, not 3"),
        ({"height": 4}, "link height must be a divisor of 2, not 4"),
        ({"wires": 28}, "link wires must be 1..27, not 28"),
        ({"width": 4, "wires": 30, "shared": True}, "link wires must be 1..29, not 30"),
    ],
)
def test_sizes_have_limits(sizes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        mesh(4, 2, **sizes)


@pytest.mark.parametrize("spec", SEVERAL, ids=repr)
def test_spec_is_read_back(spec: SystemSpec) -> None:
    assert SystemSpec.from_dict(spec.to_dict()) == spec
    assert "links" not in replace(spec, links=None).to_dict()


def test_only_shared_links_are_told_to_be_shared() -> None:
    """Images of chips whose routers have links of their own keep their digests."""
    told = [spec.to_dict()["links"] for spec in SEVERAL]
    assert [links.get("shared") for links in told] == [None, None, None, True, True, None]
    with pytest.raises(TypeError, match=r"^shared must be true or false, not 1\.$"):
        mesh(2, 1, shared=1)


def test_flit_bits_are_those_of_its_fields() -> None:
    assert all(spec.flit_bits == layout_bits(flit_layout(spec)) for spec in SEVERAL)
    assert 1 << KIND_BITS - 1 < len(Kind) <= 1 << KIND_BITS


def test_wires_between_chips_are_links() -> None:
    topology = topology_of(mesh(4, 2, width=2, height=1))
    ways = [(place // PLACES, Port(place % PLACES).name) for place in topology.links.tolist()]
    south, north = [(router, "S") for router in range(4)], [(router, "N") for router in range(4, 8)]
    across = [(1, "E"), (2, "W"), (5, "E"), (6, "W")]
    assert sorted(ways) == sorted(south + north + across)
    assert not len(topology_of(mesh(4, 2)).links)


def unicast(spec: SystemSpec, *, cycles: bool = True) -> RunResult:
    """Run one packet from core 0 to core 1, which tells the host."""
    to_1, to_host = [1, 1, 0, 0, 0, True], [0, 0, 1, 1, 7, True]
    cores = [make_core([[1]], fanout=[to_1]), make_core([[1]], fanout=[to_host])]
    return Machine(make_system(spec, *cores)).run(make_stimulus(3, [(0, 0, 0, 0, 0, 0, 1)]), cycles=cycles)


@pytest.mark.parametrize(("wires", "latency"), [(23, 2), (9, 2), (1, 5)])
def test_hop_of_a_link_takes_its_beats_and_its_latency(wires: int, latency: int) -> None:
    """The step tokens pass core 1, and come back: each way is n + l - 1 cycles longer than a wire."""
    plain = unicast(mesh(2, 1))
    linked = unicast(mesh(2, 1, wires=wires, latency=latency))
    assert linked.finish is not None
    assert plain.finish is not None
    longer = -(-23 // wires) + latency - 1
    assert linked.finish[0, 1] - plain.finish[0, 1] == longer
    assert linked.outputs.tolist() == plain.outputs.tolist() == [[1, 7, 1]]


def test_spikes_and_tokens_cross_links() -> None:
    """One packet either way, three step tokens and a pause token; a chip alone has no such counter."""
    spec = mesh(2, 1, wires=5)
    assert unicast(spec).counters["crossings"].tolist() == [5, 5]
    assert unicast(spec, cycles=False).counters["crossings"].tolist() == [5, 5]
    alone = [mesh(2, 1), mesh(2, 1, width=2)]
    assert all("crossings" not in unicast(one).counters for one in alone)
    assert [len(counters_of(one)) for one in (spec, *alone)] == [19, 18, 18]


def test_packet_at_the_wrong_time_is_no_crossing() -> None:
    """A stray crosses like a packet and counts as an error of the core it comes to."""
    cut = mesh(2, 1, wires=5)
    stimulus = make_stimulus(2, [(1, 1, 1, 0, 0, 0, 1)])
    stray = replace(stimulus, kind=np.array([Kind.WRITE], stimulus.kind.dtype))
    image = make_system(cut, make_core([[1]]), make_core([[1]]))
    for cycles in (False, True):
        runs = [Machine(image).run(given, cycles=cycles) for given in (stimulus, stray)]
        assert [run.counters["crossings"].tolist() for run in runs] == [[4, 3], [3, 3]]
        assert [run.total("errors") for run in runs] == [0, 1]


@pytest.mark.parametrize("wires", [9, 1])
def test_lanes_take_turns_on_the_wires_of_a_side(wires: int) -> None:
    """Both copies of a packet cross, then both tokens; by a link of its own each token follows its copy."""
    chips: dict[str, Any] = {"width": 2, "height": 1, "wires": wires}
    specs = [mesh(2, 2, **chips, shared=shared) for shared in (False, True)]
    stimulus, cores = make_stimulus(1, [(0, 0, 1, 1, 1, 0, 1)]), [make_core([[1]])] * 4
    finish, beats = [], []
    for spec in specs:
        run = Machine(make_system(spec, *cores)).run(stimulus, cycles=True)
        assert run.finish is not None
        assert spec.links is not None
        finish.append(run.finish[0])
        beats.append(spec.links.beats(spec.flit_bits))
    (own, shared), later = beats, finish[1] - finish[0]
    # The copies leave in cycles 0 and 1, the tokens reach the southern cores in 2 own and 1 + 2 own.
    assert later.tolist() == [0, 0, 1 + 3 * shared - 2 * own, 4 * shared - 2 * own]


def test_lane_waits_for_its_credit_while_another_is_granted() -> None:
    spec = mesh(3, 2, width=3, height=1, wires=12, latency=3, depth=1, shared=True)
    image, stimulus = random_system(0, spec=spec, steps=5)
    result = Machine(image).run(stimulus, cycles=True, potentials=True)
    assert diff(run_oracle(image, stimulus, cycles=True), result) is None


@pytest.mark.parametrize(
    ("waits", "left", "back", "may"),
    [(1, 1, 5, True), (1, 1, 6, False), (1, 0, 5, False), (0, 1, 5, False)],
)
def test_lane_may_cross_with_a_flit_and_a_credit(waits: int, left: int, back: int, may: bool) -> None:
    """Where no credit is left, the ring tells when the last one came back: that is none."""
    row = np.zeros(LINK_RINGS + 3, np.int64)
    row[[LINK_DEPTH, LINK_WAITS, LINK_CREDITS, LINK_RINGS]] = 1, waits, left, back
    assert bool(_may_cross(row, 5)) == may


def drawn(seed: int) -> SystemSpec:
    """Return a mesh cut into chips at random; with few wires, least depth and full rate among them."""
    rng = np.random.default_rng(seed)
    width, height = [(2, 2), (4, 2), (2, 4), (3, 3), (2, 1), (1, 2), (4, 4)][seed % 7]
    cut: dict[str, Any] = {
        "width": int(rng.choice([d for d in range(1, width + 1) if width % d == 0])),
        "height": int(rng.choice([d for d in range(1, height + 1) if height % d == 0])),
        "shared": seed // 7 % 2 == 1,
    }
    links = mesh(width, height, **cut).links
    assert links is not None
    whole = links.word_bits(mesh(width, height).flit_bits)
    wires = int(rng.choice([1, 3, whole // 2, whole]))
    depth = int(rng.choice([1, 2, 4, 7]))
    return mesh(width, height, **cut, wires=wires, latency=int(rng.integers(2, 9)), depth=depth)


@pytest.mark.parametrize("number", range(14))
def test_system_of_several_chips_equals_the_oracle(number: int, seed: int) -> None:
    spec = drawn(seed % 1000 * 14 + number)
    image, stimulus = random_system(seed + number, spec=spec, steps=4)
    run = Machine(image).run(stimulus, cycles=True, potentials=True)
    oracle = run_oracle(image, stimulus, cycles=True)
    assert diff(oracle, run) is None
    assert compared(oracle, run) > 0
    assert diff(Machine(image).run(stimulus, potentials=True), run) is None


def test_chips_compute_what_one_chip_does(seed: int) -> None:
    cut = mesh(4, 2, width=2, height=2, wires=5)
    image, stimulus = random_system(seed, spec=cut, steps=6)
    whole = make_system(replace(cut, links=None), *image.cores)
    run, same = (Machine(system).run(stimulus, potentials=True) for system in (image, whole))
    assert diff(run, same) is None
    timed, whole_timed = (Machine(system).run(stimulus, cycles=True) for system in (image, whole))
    assert timed.elapsed is not None
    assert whole_timed.elapsed is not None
    assert timed.elapsed > whole_timed.elapsed


def test_shared_side_of_fewer_routers_than_the_longest_has_lanes_of_nothing() -> None:
    """Two chips side by side share one link each way, whose second lane no router has."""
    spec = mesh(4, 1, width=2, height=1, wires=5, shared=True)
    assert topology_of(spec).lanes.tolist() == [[0, -3], [1, -3]]
    image, stimulus = random_system(0, spec=spec, steps=3)
    result = Machine(image).run(stimulus, cycles=True, potentials=True)
    assert diff(run_oracle(image, stimulus, cycles=True), result) is None


@pytest.mark.parametrize("number", range(12))
def test_random_machine_equals_the_oracle(number: int, seed: int) -> None:
    """Sizes that nobody chose: emulator == oracle in all cycles, and a functional run counts the same."""
    spec = random_machine(seed + number)
    image, stimulus = random_system(seed + number, spec=spec, steps=4)
    result = Machine(image).run(stimulus, cycles=True, potentials=True)
    assert diff(run_oracle(image, stimulus, cycles=True), result) is None
    fast = Machine(image).run(stimulus)
    assert {name: values.tolist() for name, values in fast.counters.items()} == {
        name: result.counters[name].tolist() for name in fast.counters
    }


def test_random_machines_have_what_links_can_be() -> None:
    """Among 60: shared and own links, least depth, single wires, whole flits, gates, dead parts."""
    drawn = [random_machine(seed) for seed in range(60)]
    links = [spec.links for spec in drawn if spec.links is not None]
    assert len(links) == 60
    assert all(spec.cores <= MOST_CORES and spec.chips != (1, 1) for spec in drawn)
    for found in (
        {one.shared for one in links} == {False, True},
        {one.depth for one in links} >= {1, 9},
        {one.latency for one in links} >= {2, 20},
        any(one.wires == 1 for one in links),
        any(one.beats(spec.flit_bits) == 1 for one, spec in zip(links, drawn, strict=True)),
        any((topology_of(spec).lanes < 0).any() for spec in drawn),
        any(spec.gates is not None and len(spec.gates.inlets) > 2 for spec in drawn),
        any(spec.dead is not None and spec.dead.cores and spec.dead.ports for spec in drawn),
    ):
        assert found
