# SPDX-License-Identifier: Apache-2.0
"""The ways of packets equal those worked out by hand, and the oracle's of every rectangle."""

import itertools

import pytest

from emu.machine import Machine
from emu.spec import SystemSpec, preset
from emu.trace import diff
from sim_tests.generators.systems import make_core, make_stimulus, make_system
from sim_tests.oracle.machine import run_oracle

TINY = preset("tiny")
TALL = SystemSpec(core=TINY, width=2, height=3)


@pytest.mark.parametrize(
    ("core", "rectangle", "hops", "errors"),
    [
        (0, (1, 1, 2, 1), [1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0]),
        (4, (1, 1, 1, 0), [0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 0, 0]),
        (1, (1, 1, 3, 3), [0, 1, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1]),
        (0, (0, 0, 3, 3), [1, 0, 1, 0, 1, 0], [0, 0, 0, 0, 0, 0]),
        (2, (0, 1, 0, 2), [0, 0, 2 + 1, 2, 0, 0], [0, 0, 0, 0, 0, 0]),
        (3, (1, 0, 1, 1), [0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0]),
    ],
)
def test_ways_worked_out_by_hand(
    core: int, rectangle: tuple[int, ...], hops: list[int], errors: list[int]
) -> None:
    sender = make_core([[0]], bias=1, fanout=[[*rectangle, 0, True]])
    image = make_system(TALL, *[sender if i == core else None for i in range(6)])
    machine, stimulus = Machine(image), make_stimulus(1)
    for cycles in (False, True):
        run = machine.run(stimulus, cycles=cycles)
        assert (run.counters["hops"].tolist(), run.counters["router_errors"].tolist()) == (hops, errors)


@pytest.mark.parametrize("core", range(6))
def test_way_of_every_rectangle_equals_the_oracle(core: int) -> None:
    """From each core of 2 x 3, also rectangles that are empty, leave the mesh, or meet the gateway."""
    places = itertools.product(range(2), range(2), range(4), range(4))
    fanout = [[*place, 0, place == (1, 1, 3, 3)] for place in places]
    sender, other = make_core([[0]], bias=1, fanout=fanout), make_core([[1]], thresholds=[TINY.never])
    image = make_system(TALL, *[sender if i == core else other for i in range(6)])
    machine, stimulus = Machine(image), make_stimulus(1)
    expected = run_oracle(image, stimulus, cycles=True)
    assert expected.counters["packets"][core] == 64
    for cycles in (False, True):
        assert diff(expected, machine.run(stimulus, cycles=cycles)) is None


@pytest.mark.parametrize("size", [(3, 2), (3, 1)], ids=str)
def test_host_names_places_beyond_the_mesh(size: tuple[int, int]) -> None:
    """Every rectangle that fits a flit, also where the mesh is no power of two and ends before it does."""
    spec = SystemSpec(core=TINY, width=size[0], height=size[1])
    places = itertools.product(*[range(1 << bits) for bits in (spec.x_bits,) * 2 + (spec.y_bits,) * 2])
    stimulus = make_stimulus(1, [(0, *place, 0, 1) for place in places])
    image = make_system(spec, *[make_core([[1]], thresholds=[TINY.never])] * spec.cores)
    machine, expected = Machine(image), run_oracle(image, stimulus, cycles=True)
    assert expected.counters["router_errors"].any()
    for cycles in (False, True):
        assert diff(expected, machine.run(stimulus, cycles=cycles)) is None
