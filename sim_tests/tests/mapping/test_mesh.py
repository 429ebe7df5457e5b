# SPDX-License-Identifier: Apache-2.0
"""Where a network lies, and what its links carry: by the oracle's routers, packet by packet."""

from collections import Counter
from copy import copy
from typing import Any

import numpy as np
import pytest

from mapping.chip import Chip
from mapping.datasets.load import Dataset, load_data, scaled
from mapping.errors import MappingError
from mapping.flow import compile_network
from mapping.layout.packet_path import GATEWAY, PORTS
from mapping.model.load import load_network
from mapping.report.activity import RunTotals, observe, total_of_runs
from mapping.report.carried import carried_by
from mapping.report.emulated import report_machine
from mapping.report.mesh import mesh_of
from mapping.targets.files import load_target
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.oracle.rules import E, L, N, S, W, wanted

SAMPLES = 3
STEPS = {N: (0, -1, S), E: (1, 0, W), S: (0, 1, N), W: (-1, 0, E)}
NAMES = {N: "north", E: "east", S: "south", W: "west"}


@pytest.fixture(scope="module")
def chip() -> Chip:
    return compile_network(load_network("digits"), core="small")


@pytest.fixture(scope="module")
def data(chip: Chip) -> Dataset:
    return scaled(load_data("digits").first(SAMPLES), "auto", chip.spiking.network)[0]


@pytest.fixture(scope="module")
def totals(chip: Chip, data: Dataset) -> RunTotals:
    return total_of_runs(chip, data, cycles=True)


@pytest.fixture(scope="module")
def part(chip: Chip, data: Dataset, totals: RunTotals) -> dict[str, Any]:
    return report_machine(chip, data, load_target("loom"), observe(chip.spiking, data), totals=totals)


def walked(chip: Chip, start: int, rectangle: tuple[int, int, int, int], loads: Counter[Any]) -> None:
    """Take one packet through the routers of the oracle and count the links it crosses."""
    width, height = chip.image.spec.width, chip.image.spec.height
    pending = [(W, 0, 0)] if start == GATEWAY else [(L, start % width, start // width)]
    while pending:
        port, x, y = pending.pop()
        for output in wanted(port, x, y, rectangle):
            if output == L:
                continue
            loads[x, y, NAMES[output]] += 1
            across, down, entry = STEPS[output]
            if (x, y, output) != (0, height - 1, S):
                pending.append((entry, x + across, y + down))


def by_oracle(chip: Chip, data: Dataset) -> Counter[Any]:
    """Return the load of every link, each packet of the run walked alone."""
    run, loads = chip.run(data.x), Counter[Any]()
    for packet in chip.stimulus(data.x).packet.tolist():
        walked(chip, GATEWAY, tuple(packet[:4]), loads)
    for _, at, neuron, _ in run.result.spikes.tolist():
        core = chip.image.cores[at]
        assert core is not None
        for x0, x1, y0, y1, _ in core.fanout_of(neuron):
            walked(chip, at, (x0, x1, y0, y1), loads)
    return loads


def test_links_carry_what_the_routers_of_the_oracle_pass_on(
    chip: Chip, data: Dataset, part: dict[str, Any]
) -> None:
    mesh = part["breakdown"]["mesh"]
    assert {link["port"] for link in mesh["links"]} <= set(PORTS)
    got = {(link["x"], link["y"], link["port"]): link["packets"] for link in mesh["links"]}
    expected = by_oracle(chip, data)
    assert got == {link: count / SAMPLES for link, count in expected.items()}
    assert sum(expected.values()) / SAMPLES == part["counters"]["hops"]


def test_loads_that_are_not_the_hops_are_refused(chip: Chip, totals: RunTotals) -> None:
    wrong = copy(totals)
    wrong.fired = totals.fired.copy()
    wrong.fired[int(np.flatnonzero(totals.fired)[0])] += 1
    with pytest.raises(
        MappingError,
        match=r"The links of router \(\d, \d\) carry \d+ packets and it counted \d+ hops: please report it\.",
    ):
        carried_by(chip.image, wrong)


def test_cores_are_those_of_the_image_and_at_work_for_a_part_of_the_time(
    chip: Chip, totals: RunTotals, part: dict[str, Any]
) -> None:
    mesh, spec = part["breakdown"]["mesh"], chip.image.spec
    assert (mesh["width"], mesh["height"]) == (spec.width, spec.height)
    assert (mesh["rows"], mesh["columns"]) == (spec.core.axons, spec.core.columns)
    assert len(mesh["cores"]) == part["cores"]
    layers = Counter(core["layer"] for core in mesh["cores"])
    assert layers == {layer["name"]: layer["cores"] for layer in chip.image.meta["layers"]}
    assert sum(core["neurons"] for core in mesh["cores"]) == part["neurons"]
    assert totals.elapsed is not None
    run_s = totals.elapsed / load_target("loom").clock_hz / SAMPLES
    for core in mesh["cores"]:
        image = chip.image.cores[core["y"] * spec.width + core["x"]]
        assert image is not None
        held = np.count_nonzero(image.cells.any(axis=0))
        assert held <= core["columns"] <= mesh["columns"]
        assert np.count_nonzero(image.cells.any(axis=1)) <= core["rows"] <= mesh["rows"]
        assert 0 < core["busy_s"] < run_s


def test_extended_axons_take_the_cells_of_fewer_rows_and_more_columns() -> None:
    b = ModelBuilder((700,), seed=1)
    y = b.quantise(b.dense(b.quantise("x", 0, 3.0), b.ternary(20, 700), name="fc"), 0, 3.0)
    chip = compile_network(b.network(y), core="medium")
    data = Dataset(name="x", x=np.random.default_rng(1).uniform(0, 3, (2, 700)), y=None)
    runs = total_of_runs(chip, data, cycles=True)
    mesh = mesh_of(chip, carried_by(chip.image, runs), runs, 1.0)
    (image,), (core,) = chip.image.cores, mesh["cores"]
    assert image is not None
    assert (image.axons, int(image.extension)) == (700, 2)
    assert (core["rows"], core["columns"], core["neurons"]) == (350, 40, 20)


def test_timeline_is_without_gaps_and_ends_at_the_latency(
    chip: Chip, data: Dataset, part: dict[str, Any]
) -> None:
    timeline, clock = part["breakdown"]["timeline"], load_target("loom").clock_hz
    assert [row["step"] for row in timeline] == [None, *range(chip.period)]
    assert [row["layers"] for row in timeline] == [[], ["conv1.sum"], ["conv2.sum"], ["dense.sum"]]
    assert timeline[0]["begin_s"] == 0.0
    assert [row["begin_s"] for row in timeline[1:]] == [row["end_s"] for row in timeline[:-1]]
    assert all(row["begin_s"] < row["end_s"] for row in timeline)
    assert timeline[-1]["end_s"] == part["latency_s"]
    feeding = np.mean([len(chip.stimulus(sample[None]).step) for sample in data.x])
    assert timeline[0]["end_s"] == feeding / clock
    last = [chip.machine.run(chip.stimulus(sample[None]), cycles=True).gateway for sample in data.x]
    tokens = np.mean([gateway[1:] for gateway in last if gateway is not None], axis=0)
    assert [row["end_s"] for row in timeline[1:]] == pytest.approx((feeding + tokens) / clock, rel=1e-12)


def test_low_and_high_of_units_and_layers_sum_to_those_of_the_whole(part: dict[str, Any]) -> None:
    breakdown = part["breakdown"]
    for end in ("low", "high"):
        assert sum(breakdown[f"units_{end}"].values()) == pytest.approx(part[f"energy_j_{end}"], rel=1e-12)
    for name, middle in breakdown["units"].items():
        assert breakdown["units_low"][name] <= middle <= breakdown["units_high"][name]
    for name, middle in breakdown["layer_energy_j"].items():
        assert breakdown["layer_energy_j_low"][name] < middle < breakdown["layer_energy_j_high"][name]
