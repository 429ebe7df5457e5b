# SPDX-License-Identifier: Apache-2.0
"""Dead cores, wires and links: what is absent then, what is refused, and emulator == oracle around them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from emu.balance import Balance
from emu.dead import DeadSpec
from emu.gates import GateSpec
from emu.image import ImageError
from emu.links import LinkSpec
from emu.loading import all_cores, load_bursts
from emu.machine import Machine
from emu.rectangles import cells_of
from emu.spec import SpecError, SystemSpec
from emu.topology import CORE, NOTHING, PLACES, Port, alive, meets_dead, reached, topology_of
from emu.trace import Stimulus, diff
from emu.words import ErrorCause, Kind
from sim_tests.bench.status import expected_status
from sim_tests.generators.pool import PLAIN, SEVERAL
from sim_tests.generators.systems import make_core, make_stimulus, make_system, random_system
from sim_tests.oracle.machine import run_oracle
from sim_tests.oracle.rules import OPPOSITE, L, Mesh, W, wanted

WAY_OUT = "map the network around it with 'spikeloom compile --exclude FILE'"


def system(
    width: int,
    height: int,
    cores: Any = (),
    ports: Any = (),
    links: LinkSpec | None = None,
) -> SystemSpec:
    return SystemSpec(
        core=PLAIN, width=width, height=height, links=links, dead=DeadSpec(cores=cores, ports=ports)
    )


def drawn(rng: np.random.Generator) -> SystemSpec:
    """Return a random system with dead parts that the host can use."""
    while True:
        width, height = int(rng.integers(1, 5)), int(rng.integers(1, 5))
        places = [(int(rng.integers(width)), int(rng.integers(height))) for _ in range(5)]
        ports = [(*place, str(rng.choice(list("NESW")))) for place in places[: int(rng.integers(4))]]
        shared = width % 2 == 0
        links = LinkSpec(width=1, height=height, wires=9, shared=shared) if rng.random() < 0.4 else None
        try:
            return system(width, height, places[int(rng.integers(3, 6)) :], ports, links)
        except SpecError:
            continue


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"cores": [[1]]}, r"dead core must be \[x, y\], not \[1\]"),
        ({"cores": [[1, True]]}, r"dead core must be \[x, y\], not \[1, True\]"),
        ({"cores": [[3, 0]]}, r"dead core must be one of 3 x 2 cores, not \[3, 0\]"),
        ({"cores": [[0, -1]]}, r"dead core must be one of 3 x 2 cores, not \[0, -1\]"),
        ({"ports": [[0, 0, "L"]]}, r"dead port must be \[x, y, side\] with a side N, E, S or W, not"),
        ({"ports": [[0, 0]]}, r"dead port must be \[x, y, side\] with a side N, E, S or W, not \[0, 0\]"),
        ({"ports": [[1, 0, "NE"]]}, r"dead port must be \[x, y, side\] with a side N, E, S or W, not"),
        ({"ports": [[0, 0, "N"]]}, r"dead port must be between two of 3 x 2 cores, not \[0, -1, 'S'\]"),
        ({"ports": [[2, 1, "E"]]}, r"dead port must be between two of 3 x 2 cores, not \[2, 1, 'E'\]"),
        ({"ports": [[0, 1, "N"]]}, r"dead port must be none between cores of column 0, which leads out, not"),
        (
            {"cores": [[0, 0], [0, 1]], "ports": [[1, 0, "W"]]},
            "reaches none past 2 dead cores and 1 dead ports on a mesh of 3x2",
        ),
    ],
)
def test_dead_parts_have_limits(parts: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        system(3, 2, **parts)


@pytest.mark.parametrize("inlets", [(), ((0, "E"),), ((1, "W"),), ((1, "E"),)])
def test_outlet_waits_for_tokens_of_the_host(inlets: tuple[tuple[int, str], ...]) -> None:
    """An outlet must hear more than the core beside it, which sends a token after reset."""
    whole = system(3, 2, ports=[(2, 0, "S"), (0, 1, "E")])
    gates = GateSpec(inlets=inlets, outlets=(2,))
    if inlets != ((1, "E"),):
        with pytest.raises(SpecError) as error:
            replace(whole, gates=gates)
        assert str(error.value) == (
            "dead ports must be such that tokens of the host reach the outlet of column 2, "
            "not [[0, 1, 'E'], [2, 0, 'S']]."
        )
    else:
        image, stimulus = random_system(1, spec=replace(whole, gates=gates), steps=3)
        expected = run_oracle(image, stimulus, cycles=True)
        assert diff(expected, Machine(image).run(stimulus, cycles=True, potentials=True)) is None


def test_way_is_the_same_from_both_ends() -> None:
    ends = [(1, 1, "W"), (0, 1, "E"), (2, 1, "N"), (2, 0, "S")]
    assert DeadSpec(ports=tuple(ends)).ports == ((0, 1, "E"), (2, 0, "S"))
    assert DeadSpec(cores=((1, 0), (1, 0))) == DeadSpec(cores=((1, 0),))
    spec = SEVERAL[-1]
    assert spec.dead is not None
    assert SystemSpec.from_dict(spec.to_dict()) == spec
    assert "dead" not in SystemSpec(core=PLAIN, width=2, height=1).to_dict()


def test_cores_behind_a_dead_way_are_cut_off() -> None:
    spec = system(4, 4, cores=[(0, 1)], ports=[(2, 0, "E"), (1, 2, "N"), (0, 3, "E")])
    assert alive(spec).astype(int).tolist() == [[1, 1, 1, 0], [0, 1, 1, 0], [1, 0, 1, 0], [1, 0, 0, 0]]


def test_last_row_and_column_of_a_mesh_have_ways_to_the_others() -> None:
    for width, height, port in ((2, 4, (1, 2, "S")), (4, 2, (2, 1, "E"))):
        dead = system(width, height, ports=[port]).dead
        assert dead is not None
        assert dead.ports == (port,)
    with pytest.raises(SpecError, match=r"^dead port must be between two of 3 x 2 cores, not \[1, 1, 'S'\]"):
        system(3, 2, ports=[(1, 1, "S")])


def test_what_nobody_feeds_is_absent_at_both_ends(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(20):
        spec = drawn(rng)
        topology, mesh = topology_of(spec), Mesh(width=spec.width, height=spec.height, dead=spec.dead)
        for router in range(spec.cores):
            for port in Port:
                present = topology.behind[PLACES * router + port] != NOTHING
                assert present == mesh.has_output(router, port), (spec, router, port)
                assert (topology.before[PLACES * router + port] != NOTHING) == mesh.has_input(router, port)
        assert ((topology.behind[Port.L :: PLACES] == CORE) == alive(spec).reshape(-1)).all()


def walked(mesh: Mesh, at: int, i: int, place: tuple[int, int, int, int]) -> bool:
    """Return whether a packet at input ``i`` of a router meets a dead way or core, hop by hop."""
    for o in wanted(i, *mesh.place(at), place):
        if o == L:
            met = not mesh.is_alive(at)
        else:
            beyond = mesh.neighbour(at, o)
            met = beyond is not None and (not mesh.works(at, o) or walked(mesh, beyond, OPPOSITE[o], place))
        if met:
            return True
    return False


def test_packets_that_meet_dead_parts_are_those_that_a_walk_finds(seed: int) -> None:
    rng, met = np.random.default_rng(seed), 0
    cut = system(4, 4, cores=[(3, 3)], ports=[(2, 1, "S"), (1, 2, "E")])
    for spec in [cut, *(drawn(rng) for _ in range(11))]:
        mesh = Mesh(width=spec.width, height=spec.height, dead=spec.dead)
        x = rng.integers(0, spec.width + 1, (60, 2))
        y = rng.integers(0, spec.height + 1, (60, 2))
        rectangles = np.column_stack((x, y))  # some are empty, some lie beyond the mesh
        for at, start in [(0, W), *((core, L) for core in range(spec.cores))]:
            found = meets_dead(spec, np.array(mesh.place(at)), rectangles)
            assert found.tolist() == [walked(mesh, at, start, tuple(row)) for row in rectangles.tolist()]
            met += int(found.sum())
    assert met > 100


def test_emulator_equals_oracle_around_dead_parts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for number in range(6):
        spec = SEVERAL[-1] if number == 0 else drawn(rng)
        image, stimulus = random_system(seed + number, spec=spec, steps=6)
        for cycles in (False, True):
            expected = run_oracle(image, stimulus, cycles=cycles)
            result = Machine(image).run(stimulus, cycles=cycles, potentials=True)
            assert diff(expected, result) is None
            assert result.total("router_errors") == expected.total("router_errors")


def test_image_with_a_packet_to_a_dead_part_is_refused() -> None:
    spec = system(3, 2, cores=[(1, 0)], ports=[(2, 1, "N")])
    row, far = (
        make_core([[1]], fanout=[[0, 2, 1, 1, 0, True]]),
        make_core([[1]], fanout=[[2, 2, 1, 1, 0, True]]),
    )
    with pytest.raises(ImageError) as error:
        make_system(spec, row, None, None, None, None, None)
    place = "x 0..2, y 1..1 lies on or beyond a dead part of the system"
    assert str(error.value) == f"core 0 (0, 0): {place}; {WAY_OUT}."
    with pytest.raises(ImageError, match=r"^core 4 \(1, 1\): x 2\.\.2, y 1\.\.1 lies on or beyond"):
        make_system(spec, None, None, None, None, far, None)
    with pytest.raises(ImageError) as error:
        make_system(spec, None, make_core([[1]]), None, None, None, None)
    no_program = "core 1 (1, 0): a core that is dead, or cut off from the host, holds no program"
    assert str(error.value) == f"{no_program}; {WAY_OUT}."
    image = make_system(spec, None, None, make_core([[1]]), None, None, None)
    with pytest.raises(ImageError, match=r"^inputs: x 2\.\.2, y 0\.\.1 lies on or beyond a dead part"):
        image.replace(input_element=[0], input_packet=[[2, 2, 0, 1, 0]])


@pytest.mark.parametrize(
    ("rectangle", "deliveries", "errors", "hops"),
    [
        ((1, 1, 0, 0), [0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]),  # to the dead core
        ((2, 2, 1, 1), [0, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0]),  # behind the dead way
        ((0, 2, 0, 1), [1, 0, 1, 1, 1, 0], [0, 1, 1, 0, 0, 0], [2, 2, 0, 0, 0, 0]),  # to all
        ((0, 2, 2, 2), [0, 0, 0, 0, 0, 0], [0, 0, 1, 0, 1, 0], [2, 2, 0, 1, 0, 0]),  # out in each column
        ((1, 3, 1, 0), [0, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0]),  # an empty one
    ],
)
def test_stimulus_to_a_dead_part_is_sunk_there(
    rectangle: tuple[int, ...], deliveries: list[int], errors: list[int], hops: list[int]
) -> None:
    """By hand: core (1, 0) is dead, and the way between (2, 0) and (2, 1), the last outlet's too."""
    spec = replace(
        system(3, 2, cores=[(1, 0)], ports=[(2, 1, "N")]), gates=GateSpec(inlets=((1, "E"),), outlets=(2,))
    )
    core = make_core([[1]])
    image = make_system(spec, core, None, core, core, core, None)
    stimulus = make_stimulus(2, [(0, *rectangle, 0, 1), (1, *rectangle, 0, 1)])
    for cycles in (False, True):
        result = Machine(image).run(stimulus, cycles=cycles)
        found = [result.counters[name].tolist() for name in ("deliveries", "router_errors", "hops")]
        assert found == [[2 * count for count in counts] for counts in (deliveries, errors, hops)]
        assert len(result.outputs) == 2 * (rectangle == (0, 2, 2, 2))


def test_lanes_of_a_long_run_hear_what_comes_around_dead_parts(seed: int) -> None:
    spec, rng = system(3, 3, cores=[(1, 0)], ports=[(2, 1, "N"), (0, 2, "E")]), np.random.default_rng(seed)
    core = make_core([[1], [-1]], reset=0)
    image = make_system(spec, *[core if here else None for here in alive(spec).reshape(-1)])
    corners = np.sort(rng.integers(0, 3, (96, 2, 2)), axis=2).reshape(-1, 4)
    rows = [(at // 3, *place, at % 2, 1) for at, place in enumerate(corners.tolist())]
    rows += [(step, 0, 0, 0, 0, 0, 1) for step in range(32)]
    stimulus = make_stimulus(32, sorted(rows))
    expected = run_oracle(image, stimulus, cycles=False)
    assert expected.total("router_errors") > 10
    machine = Machine(image, balance=Balance(cells_per_group=0))
    assert machine._source.abreast
    for threads in (1, 2):
        assert diff(expected, machine.run(stimulus, potentials=True, threads=threads)) is None


def test_core_tells_no_cause_for_a_control_packet_that_is_sunk_before_it() -> None:
    spec = system(3, 1, ports=[(1, 0, "E")])
    image = make_system(spec, make_core([[1]]), make_core([[1]]), None)
    packet, kind = np.array([[1, 2, 0, 0, 0, 1], [2, 2, 0, 0, 0, 1]]), np.array([Kind.WRITE, Kind.WRITE])
    stimulus = Stimulus(steps=2, step=np.array([1, 1]), packet=packet, kind=kind)
    result = Machine(image).run(stimulus)
    assert (result.counters["errors"].tolist(), result.total("router_errors")) == ([0, 1, 0], 2)
    causes = expected_status(image, stimulus, result)[:, :2].tolist()
    assert causes[2][0] == 1 << ErrorCause.NONE
    assert causes[1] == [1 << ErrorCause.RUNNING, 1 << ErrorCause.DESTINATION]


@pytest.mark.parametrize("inlet", [0, 1])
def test_what_a_packet_comes_to_is_what_a_walk_finds(inlet: int, seed: int) -> None:
    rng, lost = np.random.default_rng(seed), 0
    gates = GateSpec(inlets=((1, "E"),), outlets=(1, 3))
    spec = replace(system(4, 3, cores=[(3, 2)], ports=[(2, 0, "S"), (1, 1, "E")]), gates=gates)
    mesh = Mesh(width=4, height=3, dead=spec.dead, gates=gates)
    at, port = mesh.inlets()[inlet]
    for rectangle in np.column_stack((rng.integers(0, 5, (80, 2)), rng.integers(0, 4, (80, 2)))):
        x0, x1, y0, y1 = rectangle.tolist()
        out = [(x, y1) for x in (0, 1, 3) if y1 >= 3]
        cells = [(x, y) for y in range(y0, min(y1, 2) + 1) for x in range(4)] + out
        to = [(x, x, y, y) for x, y in cells if x0 <= x <= x1]
        there = [place for place in to if not walked(mesh, at, port, place)]
        assert reached(spec, np.array(mesh.place(at)), rectangle).tolist() == [list(place) for place in there]
        lost += len(to) - len(there)
    assert lost > 20


def test_load_comes_to_no_dead_part(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for number in range(8):
        spec = drawn(rng)
        image, _ = random_system(seed + number, spec=spec, steps=1)
        places = np.array([burst.place for burst in load_bursts(image)])
        assert not meets_dead(spec, np.zeros(2, np.int64), places).any()
        cells = [cell for place in all_cores(spec) for cell in cells_of(place)]
        y, x = np.nonzero(alive(spec))
        assert sorted(cells) == sorted(zip(x.tolist(), y.tolist(), strict=True))
