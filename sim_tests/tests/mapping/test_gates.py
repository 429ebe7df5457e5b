# SPDX-License-Identifier: Apache-2.0
"""Several inlets and outlets: which there are, which of them packets take, and that nothing else changes."""

import re
from collections import Counter
from itertools import product
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from emu.dead import DeadSpec
from emu.gates import GateSpec, inlets_of
from emu.image import ImageError
from emu.spec import SystemSpec, preset
from emu.topology import entries_of, meets_dead
from mapping.chip import Chip, open_chip
from mapping.datasets.load import load_data
from mapping.errors import MappingError
from mapping.flow import compile_network
from mapping.layout.check import check
from mapping.layout.gates import FAR, ONE_OF_EACH, Gates, dealt, hops_of, inlets_for, outlets_for
from mapping.layout.packet_path import GATEWAY, follow
from mapping.report.activity import total_of_runs
from mapping.report.carried import carried_by
from mapping.report.rate import gates_of, rate_of
from sim_tests.generators.systems import make_system
from sim_tests.oracle.rules import OPPOSITE, E, L, N, S, W, wanted

TINY = preset("tiny")
STEPS = {N: (0, -1), E: (1, 0), S: (0, 1), W: (-1, 0), L: (0, 0)}
THREE = Gates(inlets="0W,2W,1E", outlets="0,1,2")


def on(width: int, height: int, gates: Gates, dead: DeadSpec | None = None) -> SystemSpec:
    return SystemSpec(core=TINY, width=width, height=height, dead=dead, gates=gates.on(width, height))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 3), (4, 3), (5, 8)])
def test_a_number_of_gates_is_so_many(width: int, height: int) -> None:
    for inlets, outlets in product(range(1, 2 * height + 1), range(1, width + 1)):
        gates = Gates(inlets=str(inlets), outlets=str(outlets)).on(width, height)
        assert len(inlets_of(gates)) == inlets
        assert 1 + len(gates.outlets if gates else ()) == outlets
    assert Gates().on(width, height) is None


def test_named_gates_are_those_and_the_first_ones() -> None:
    assert THREE.on(4, 3) == GateSpec(inlets=((1, "E"), (2, "W")), outlets=(1, 2))
    assert Gates(inlets="1E,1E", outlets="2,2").on(4, 3) == GateSpec(inlets=((1, "E"),), outlets=(2,))
    assert Gates(inlets="0W").on(4, 3) is None
    assert Gates(inlets="4").on(4, 4) == GateSpec(inlets=((1, "E"), (2, "W"), (3, "E")))


@pytest.mark.parametrize(
    ("gates", "sentence", "way_out"),
    [
        ({"inlets": "0"}, "Inlets must be how many, 1 or more, or rows and sides, for example 0W,3W,2E", "1"),
        ({"inlets": "3N"}, "for example 0W,3W,2E, not '3N'.", "0W,3W,2E"),
        (
            {"outlets": "0,"},
            "Outlets must be how many, 1 or more, or several columns, for example 0,4",
            "0,4",
        ),
        ({"inlets": "9"}, "Inlets must be at most 8 on a mesh of 4 rows, not 9.", "8"),
        ({"outlets": "7"}, "Outlets must be at most 6 on a mesh of 6 columns, not 7.", "6"),
        (
            {"inlets": "0W,4E"},
            "A mesh of 6x4 cores has not these gates: inlet row must be 0..3, not [4, 'E']; name others, or",
            "0W,3E",
        ),
        ({"outlets": "0,6"}, "outlet column must be 1..5, not 6; name others, or how many.", "2"),
    ],
)
def test_gates_that_are_none_are_a_sentence(gates: dict[str, str], sentence: str, way_out: str) -> None:
    with pytest.raises(MappingError) as raised:
        Gates(**gates).on(6, 4)
    assert sentence in str(raised.value)
    Gates(**dict.fromkeys(gates, way_out)).on(6, 4)


def test_inlets_are_equally_busy_and_ways_are_short() -> None:
    spec = on(6, 4, Gates(inlets="4"))
    table = np.array([(x, x, y, y) for x in range(6) for y in range(4) for _ in range(5)])
    taken = inlets_for(spec, table)
    assert sorted(Counter(taken.tolist()).values()) == [30] * 4
    entries = entries_of(spec)
    ways = np.abs(table[:, None, [0, 2]] - entries[None]).sum(axis=2)
    assert ways[np.arange(120), taken].sum() < 0.5 * ways[:, 0].sum()
    nearest = ways.min(axis=1).sum()
    assert nearest <= ways[np.arange(120), taken].sum() <= 1.25 * nearest


def test_equal_rectangles_take_inlets_by_turns() -> None:
    taken = inlets_for(on(3, 2, Gates(inlets="2")), np.array([[0, 2, 0, 1]] * 10))
    assert Counter(taken.tolist()) == {0: 5, 1: 5}
    assert all(set(taken[at : at + 2].tolist()) == {0, 1} for at in range(0, 10, 2))


def test_outputs_take_the_nearest_outlet_within_its_share() -> None:
    spec, places = on(4, 2, Gates(outlets="0,3")), np.array([[3, 0], [2, 1], [0, 0], [3, 1]])
    assert outlets_for(spec, np.repeat([0, 2], 4), places).tolist() == [3] * 4 + [0] * 4
    three = outlets_for(spec, np.repeat([0, 1, 3], 4), places)  # 12 outputs, 6 for each
    assert three.tolist() == [3] * 4 + [0] * 4 + [3, 0, 3, 0]


def test_core_that_sends_more_than_a_share_has_one_outlet() -> None:
    spec = on(4, 2, Gates(outlets="0,3"))
    sender = np.repeat([0, 1], [8, 1])
    assert outlets_for(spec, sender, np.array([[3, 0], [0, 0]])).tolist() == [3] * 8 + [0]


def test_packets_leave_below_a_dead_core() -> None:
    """The router of such a core works: the way past it is the shortest as before."""
    spec = on(4, 2, Gates(outlets="0,3"), DeadSpec(cores=((3, 1),)))
    places = np.array([[3, 0], [0, 0]])
    assert outlets_for(spec, np.repeat([0, 1], 2), places).tolist() == [3, 3, 0, 0]


@pytest.mark.parametrize(
    ("packets", "lengths", "shares"),
    [
        ([3, 2], [[1, 2], [1, 2]], [[3, 0], [0, 2]]),  # three for each, the first group whole
        ([5, 1], [[1, FAR], [1, 2]], [[5, 0], [0, 1]]),  # a gate beyond its share takes no more
        ([5], [[2, 1, FAR]], [[2, 3, 0]]),  # what is left goes to the nearest of those that are equally full
        ([1, 5], [[FAR, 1, FAR], [2, 1, FAR]], [[0, 1, 0], [2, 3, 0]]),  # full as they are then
    ],
)
def test_gates_take_equal_shares_of_groups(
    packets: list[int], lengths: list[list[int]], shares: list[list[int]]
) -> None:
    assert dealt(np.array(packets), np.array(lengths), sum(packets)).tolist() == shares


def test_no_packet_takes_a_dead_way() -> None:
    dead = DeadSpec(ports=((2, 1, "E"), (1, 0, "S")))
    spec = on(4, 3, Gates(inlets="0W,1W,1E,2E", outlets="0,1,3"), dead)
    table = np.array([(x, x, y, y) for x in (0, 2, 3) for y in (0, 1, 2)] * 3)
    table = table[~meets_dead(spec, np.array([0, 0]), table)]
    taken = inlets_for(spec, table)
    assert not meets_dead(spec, entries_of(spec)[taken], table).any()
    assert len(set(taken.tolist())) == 4
    cores = np.array([[2, 0], [3, 2], [1, 2]])
    columns = outlets_for(spec, np.repeat([0, 1, 2], 3), cores).astype(np.int64)
    ends = np.stack((columns, columns, *[np.full(9, 3)] * 2), axis=1)
    assert not meets_dead(spec, cores[np.repeat([0, 1, 2], 3)], ends).any()


@pytest.fixture(scope="module")
def chips() -> tuple[Chip, Chip]:
    one, several = (compile_network("digits", core="small", gates=gates) for gates in (ONE_OF_EACH, THREE))
    return one, several


def test_answers_are_those_of_one_gate_and_the_check_finds_nothing(chips: tuple[Chip, Chip]) -> None:
    data = chips[0].prepare(load_data("digits").first(12))[0]
    alone, open_ = (chip.run(data.x) for chip in chips)
    assert np.array_equal(alone.logits, open_.logits)
    assert np.array_equal(alone.result.spikes, open_.result.spikes)
    assert check(chips[1].image, chips[1].on_chip) == []
    assert set(chips[1].image.input_inlet.tolist()) == {0, 1, 2}


def test_file_holds_the_inlets(chips: tuple[Chip, Chip], tmp_path: Path) -> None:
    for chip, members in zip(chips, (False, True), strict=True):
        chip.save(tmp_path / "digits.spikeloom")
        assert ("inputs/inlet.npy" in ZipFile(tmp_path / "digits.spikeloom").namelist()) == members
        again = open_chip(tmp_path / "digits.spikeloom").image
        assert np.array_equal(again.input_inlet, chip.image.input_inlet)
        assert again.digest == chip.image.digest


@pytest.mark.parametrize(
    ("inlet", "sentence"),
    [
        ([-1] * 640, "inputs: inlet must be 0..2, not -1."),
        ([0], "input_inlet must have the shape (640,), not (1,)."),
    ],
)
def test_inlets_that_there_are_not_are_refused(
    chips: tuple[Chip, Chip], inlet: list[int], sentence: str
) -> None:
    with pytest.raises(ImageError, match=re.escape(sentence)):
        chips[1].image.replace(input_inlet=inlet)


def test_image_sends_nothing_over_a_dead_way_from_its_inlet() -> None:
    spec = on(3, 2, Gates(inlets="0W,1E"), DeadSpec(ports=((1, 1, "E"),)))
    image = make_system(spec, *[None] * 6).replace(input_element=[0], input_packet=[[1, 1, 1, 1, 0]])
    assert image.input_inlet.tolist() == [0]
    with pytest.raises(ImageError, match=r"^inputs: x 1\.\.1, y 1\.\.1 lies on or beyond a dead part"):
        image.replace(input_inlet=[1])


def test_walk_from_an_inlet_is_that_of_the_oracle() -> None:
    gates = GateSpec(inlets=((1, "E"), (2, "W")), outlets=(2,))
    starts = enumerate(((W, 0, 0), (E, 2, 1), (W, 0, 2)))
    for (inlet, start), column, row in product(starts, range(3), range(4)):
        port, x, y = start
        rectangle, out = (column, column, row, row), -1
        while out != L and y < 3:
            (out,) = wanted(port, x, y, rectangle)
            port, (dx, dy) = OPPOSITE.get(out, L), STEPS[out]
            x, y = x + dx, y + dy
        ends = GATEWAY if y == 3 else 3 * y + x
        lost = int(y == 3 and x == 1)
        paths = follow(3, 3, np.array([GATEWAY - inlet]), np.array([rectangle]), gates)
        assert (paths.core.tolist(), paths.sunk.tolist()) == ([] if lost else [ends], [lost])


def hops(port: int, x: int, y: int, rectangle: tuple[int, int, int, int]) -> int:
    """Return the hops of a packet and its copies by the oracle's routing, on a mesh of three rows."""
    found = 0
    for out in wanted(port, x, y, rectangle) - {L}:
        dx, dy = STEPS[out]
        found += 1 + (hops(OPPOSITE[out], x + dx, y + dy, rectangle) if y + dy < 3 else 0)
    return found


def test_hops_are_those_of_a_walk_of_the_oracle() -> None:
    """From every core of four columns to every rectangle, and to the host."""
    ends = [(a, b) for a in range(4) for b in range(a, 4)]
    starts = np.array([(x, y) for x in range(4) for y in range(3)])
    for columns, rows in product(ends, ends):
        rectangle = (*columns, *rows)
        told = hops_of(starts, np.tile(rectangle, (len(starts), 1)))
        assert told.tolist() == [hops(L, x, y, rectangle) for x, y in starts.tolist()], rectangle


def test_stimulus_enters_as_the_image_says(chips: tuple[Chip, Chip]) -> None:
    chip = chips[1]
    data = chip.prepare(load_data("digits").first(2))[0]
    stimulus = chip.stimulus(data.x)
    rows = zip(chip.image.input_packet.tolist(), chip.image.input_inlet.tolist(), strict=True)
    by = {tuple(row): inlet for row, inlet in rows}
    assert [by[tuple(row[:5])] for row in stimulus.packet.tolist()] == stimulus.inlet.tolist()


def test_check_walks_from_the_inlet(chips: tuple[Chip, Chip]) -> None:
    image = chips[1].image
    gone = image.replace(spec=chips[0].image.spec, input_inlet=np.zeros(len(image.input_inlet), np.int32))
    kinds = {violation.kind for violation in check(gone, chips[1].on_chip)}
    assert kinds == {"outside-mesh", "output-missing"}  # without its outlet


def test_report_tells_packets_by_gate(chips: tuple[Chip, Chip]) -> None:
    chip = chips[1]
    data = chip.prepare(load_data("digits").first(6))[0]
    totals, stimulus = total_of_runs(chip, data, cycles=True), chip.stimulus(data.x)
    carried, spec = carried_by(chip.image, totals), chip.image.spec
    gates = gates_of(chip.image, carried, totals.fed)
    fed = np.bincount(stimulus.inlet, minlength=3) / 6
    assert [row["packets"] for row in gates["inlets"]] == fed.tolist()
    assert [(row["y"], row["port"], row["x"]) for row in gates["inlets"]] == [
        (0, "west", 0),
        (1, "east", spec.width - 1),
        (2, "west", 0),
    ]
    run = chip.run(data.x).result
    assert sum(row["packets"] for row in gates["outlets"]) == len(run.outputs) / 6
    bounds = {row["of"]: row for row in rate_of(chip, carried, totals.fed, totals)["bounds"]}
    assert bounds["inlet"]["cycles"] == fed.max()
    assert bounds["outlet"]["cycles"] == max(row["packets"] for row in gates["outlets"])
    assert (bounds["inlet"]["x"], bounds["inlet"]["y"]) in {(0, 0), (spec.width - 1, 1), (0, 2)}
