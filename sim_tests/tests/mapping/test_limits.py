# SPDX-License-Identifier: Apache-2.0
"""What limits the rate and the layers: by the oracle's routers, and by cutting for the larger core itself."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from mapping.chip import Chip
from mapping.datasets.load import Dataset, load_data, scaled
from mapping.flow import compile_network
from mapping.layout.partition import partition
from mapping.model.load import load_network
from mapping.report.activity import RunTotals, total_of_runs
from mapping.report.carried import carried_by
from mapping.report.limits import limits_by_layer
from mapping.report.rate import rate_of
from mapping.spiking.matrices import layer_matrix
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.tests.mapping.test_mesh import by_oracle

SAMPLES = 3
ENDS = {"north": (0, -1), "east": (1, 0), "south": (0, 1), "west": (-1, 0)}


def compiled(chips: tuple[int, int], *, shared: bool = False) -> Chip:
    mesh = (4, 4) if chips != (1, 1) else None
    how: dict[str, Any] = {"mesh": mesh, "chips": chips, "shared_links": shared}
    return compile_network(load_network("digits"), core="small", **how)


@pytest.fixture(
    scope="module", params=[((1, 1), False), ((2, 2), False), ((2, 2), True)], ids=["one", "four", "shared"]
)
def chip(request: pytest.FixtureRequest) -> Chip:
    chips, shared = request.param
    return compiled(chips, shared=shared)


@pytest.fixture(scope="module")
def data(chip: Chip) -> Dataset:
    return scaled(load_data("digits").first(SAMPLES), "auto", chip.spiking.network)[0]


@pytest.fixture(scope="module")
def totals(chip: Chip, data: Dataset) -> RunTotals:
    return total_of_runs(chip, data, cycles=True)


@pytest.fixture(scope="module")
def rate(chip: Chip, totals: RunTotals) -> dict[str, Any]:
    return rate_of(chip, carried_by(chip.image, totals), totals.fed, totals)


def bound(rate: dict[str, Any], of: str) -> dict[str, Any] | None:
    return next((row for row in rate["bounds"] if row["of"] == of), None)


def occupied(chip: Chip, data: Dataset) -> dict[str, Counter[Any]]:
    """Return by kind the cycles that each link is occupied, every packet walked alone.

    All outputs of a side that share a link have those of all.
    """
    spec, found = chip.image.spec, {"wire": Counter[Any](), "link": Counter[Any](), "outlet": Counter[Any]()}
    for (x, y, port), packets in by_oracle(chip, data).items():
        dx, dy = ENDS[port]
        there = (x + dx, y + dy)
        kind, cycles = "wire", 1
        if there == (0, spec.height):
            kind = "outlet"
        elif spec.links is not None:
            size = np.array([spec.links.width, spec.links.height])
            if (np.array([x, y]) // size != np.array(there) // size).any():
                lane = (int(size.max()) - 1).bit_length() if spec.links.shared else 0
                kind, cycles = "link", -(-(spec.flit_bits + lane) // spec.links.wires)
        found[kind][x, y, port] += packets * cycles
    if spec.links is not None and spec.links.shared:
        sides = Counter[Any]()
        for (x, y, port), cycles in found["link"].items():
            sides[x // spec.links.width, y // spec.links.height, port] += cycles
        for x, y, port in found["link"]:
            found["link"][x, y, port] = sides[x // spec.links.width, y // spec.links.height, port]
    return found


def test_bounds_are_what_the_routers_of_the_oracle_are_occupied(
    chip: Chip, data: Dataset, rate: dict[str, Any]
) -> None:
    for of, loads in occupied(chip, data).items():
        row = bound(rate, of)
        if of == "link" and chip.image.spec.links is None:
            assert row is None
            continue
        assert row is not None
        assert row["cycles"] == max(loads.values()) / SAMPLES
        if of != "outlet":
            assert loads[row["x"], row["y"], row["port"]] / SAMPLES == row["cycles"]


def test_cores_and_inlet_are_those_of_the_run(
    chip: Chip, data: Dataset, totals: RunTotals, rate: dict[str, Any]
) -> None:
    core, inlet = bound(rate, "core"), bound(rate, "inlet")
    assert core is not None
    assert inlet is not None
    work = totals.counters["integrate"] + totals.counters["update"]
    assert core["cycles"] == work.max() / SAMPLES
    at = core["y"] * chip.image.spec.width + core["x"]
    assert work[at] == work.max()
    image = chip.image.cores[at]
    layer = chip.spiking.layer(core["layer"])
    assert image is not None
    assert image.neurons <= layer.neurons
    assert inlet["cycles"] == len(chip.stimulus(data.x).step) / SAMPLES


def test_first_bound_is_the_limit(rate: dict[str, Any], totals: RunTotals) -> None:
    cycles = [row["cycles"] for row in rate["bounds"]]
    assert cycles == sorted(cycles, reverse=True)
    assert rate["limit"] == rate["bounds"][0]["of"]
    assert rate["ahead"] == cycles[0] / cycles[1]
    assert totals.elapsed is not None
    assert rate["cycles"] == totals.elapsed / SAMPLES
    assert rate["speedup"] == rate["cycles"] / cycles[0] > 1


def test_layers_hold_what_the_matrices_say(chip: Chip, totals: RunTotals) -> None:
    rows = limits_by_layer(chip, carried_by(chip.image, totals), totals)
    assert [row["name"] for row in rows] == [layer.name for layer in chip.spiking.layers]
    work = totals.counters["integrate"] + totals.counters["update"]
    assert max(row["cycles"]["core"] for row in rows) == work.max() / SAMPLES
    for layer, row in zip(chip.spiking.layers, rows, strict=True):
        kernel = sum(int(np.count_nonzero(source.weight)) for source in layer.sources)
        assert row["copies"]["weights"] == layer_matrix(layer).nnz / kernel
        assert row["copies"]["inputs"] >= 1
        assert all(0 < used <= 1 for used in row["used"].values())
        assert row["cores"] == next(m["cores"] for m in chip.image.meta["layers"] if m["name"] == layer.name)


@pytest.mark.parametrize(("model", "core"), [("digits", "small"), ("digits-float", "medium")])
def test_saved_cores_are_those_of_a_partition_for_the_larger_core(model: str, core: str) -> None:
    chip = compile_network(
        load_network(model),
        core=core,
        samples=scaled(load_data("digits").first(64), "auto", load_network(model))[0].x,
    )
    data = scaled(load_data("digits").first(2), "auto", chip.spiking.network)[0]
    totals = total_of_runs(chip, data, cycles=True)
    spec = chip.image.spec.core
    rows = limits_by_layer(chip, carried_by(chip.image, totals), totals)
    fields = {"axons": "axons", "columns": "columns", "thresholds": "thresholds", "entries": "fanouts"}
    saved = 0
    for size, field in fields.items():
        parts = partition(chip.on_chip, spec.resized(**{field: 2 * getattr(spec, field)}))
        for row, part in zip(rows, parts.layers, strict=True):
            assert row["saves"][size] == row["cores"] - part.cores
            saved += row["saves"][size]
    assert saved > 0
    for row in rows:
        most = max(row["saves"].values())
        assert (row["limit"] is None) == (most == 0)
        assert row["limit"] is None or row["saves"][row["limit"]] == most


def test_a_size_that_no_core_has_saves_nothing_that_is_told() -> None:
    b = ModelBuilder((6,), seed=3)
    y = b.quantise(b.dense(b.quantise("x", 0, 3.0), b.ternary(4, 6), name="fc"), 0, 3.0)
    chip = compile_network(b.network(y), core="reference")
    data = Dataset(name="x", x=np.ones((1, 6)), y=None)
    totals = total_of_runs(chip, data, cycles=True)
    (row,) = limits_by_layer(chip, carried_by(chip.image, totals), totals)
    assert row["limit"] is None
    assert set(row["saves"].values()) <= {0, None}
