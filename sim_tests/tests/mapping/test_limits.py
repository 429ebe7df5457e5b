# SPDX-License-Identifier: Apache-2.0
"""What limits the rate and the layers: by the oracle's routers, and by cutting for the larger core itself."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from emu.spec import CoreSpec, preset
from mapping.chip import Chip
from mapping.datasets.load import Dataset, load_data, scaled
from mapping.flow import compile_network
from mapping.layout.assembly import Links
from mapping.layout.emit import emit
from mapping.layout.gates import Gates
from mapping.layout.host_tables import payloads_of, stimulus_for
from mapping.layout.relief import SIZES
from mapping.layout.route import fit
from mapping.layout.site import Site
from mapping.model.load import load_network
from mapping.report.activity import RunTotals, total_of_runs
from mapping.report.carried import carried_by, carried_of
from mapping.report.limits import limits_by_layer
from mapping.report.rate import rate_of, work_of
from mapping.report.worst import limits_at_worst
from mapping.spiking.digits import digits_of
from mapping.spiking.matrices import layer_matrix
from mapping.spiking.network import INPUT, SpikingNetwork
from mapping.spiking.quantisers import Lists
from mapping.targets.files import Target, load_target
from sim_tests.generators.mapping_networks import Draft, core_spec, random_network
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.referees.explanation import Layer, explained
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


def rows_of(chip: Chip, totals: RunTotals) -> list[dict[str, Any]]:
    return limits_by_layer(chip, carried_by(chip.image, totals), totals.fed, work_of(totals))


def layers_of(spiking: SpikingNetwork) -> list[Layer]:
    """Return the layers as the recomputation takes them."""
    return [
        Layer(
            name=layer.name,
            inputs=layer.inputs,
            digits=sum(
                int(
                    np.count_nonzero(
                        digits_of(source.weight.reshape(len(source.weight), -1), layer.strengths)
                    )
                )
                for source in layer.sources
            ),
        )
        for layer in spiking.layers
    ]


def assert_recomputed(rows: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert [{key: row[key] for key in expected[0]} for row in rows] == expected


def test_explanation_is_that_of_a_recomputation(chip: Chip, data: Dataset, totals: RunTotals) -> None:
    result = chip.run(data.x, cycles=True).result
    expected = explained(chip.image, layers_of(chip.on_chip), chip.stimulus(data.x), result, SAMPLES)
    assert_recomputed(rows_of(chip, totals), expected)


def drawn(seed: int) -> Chip:
    """Return a random network, by turns on one chip, on two and on four, with shared links or more gates."""
    chips = ((1, 1), (2, 1), (2, 2))[seed % 3]
    shared = chips != (1, 1) and seed % 2 == 0
    site = Site(chips=chips, links=Links(shared=shared), gates=Gates(inlets=str(1 + seed % 2)))
    spiking = random_network(seed)
    image = emit(spiking, *fit(spiking, core_spec(axons=128, fanouts=512), site), name="drawn")
    return Chip(image=image, spiking=spiking, site=site)


@pytest.mark.parametrize("seed", range(9))
def test_explanation_of_random_networks_is_that_of_a_recomputation(seed: int) -> None:
    chip = drawn(seed)
    counts = np.random.default_rng(seed).integers(0, 4, (2, *chip.spiking.shape(INPUT)))
    result, stimulus = chip.emulated(counts, cycles=True), stimulus_for(chip.image, counts)
    fired = [np.zeros(0 if core is None else core.neurons, np.int64) for core in chip.image.cores]
    for _, core, neuron, _ in result.spikes.tolist():
        fired[core][neuron] += 1
    fed = np.count_nonzero(payloads_of(chip.image, counts), axis=0)
    work = (result.counters["integrate"] + result.counters["update"]) / 2
    rows = limits_by_layer(chip, carried_of(chip.image, fired, fed, samples=2), fed, work)
    assert_recomputed(rows, explained(chip.image, layers_of(chip.on_chip), stimulus, result, 2))
    for row, worst in zip(rows, limits_at_worst(chip), strict=True):
        assert {key: row[key] for key in ("used", "copies", "saves")} == {
            key: worst[key] for key in ("used", "copies", "saves")
        }
        for kind, cycles in row["cycles"].items():
            assert (cycles or 0) <= (worst["cycles"][kind] or 0)


def test_no_layer_occupies_a_part_for_longer_than_all_do(
    chip: Chip, rate: dict[str, Any], totals: RunTotals
) -> None:
    rows = rows_of(chip, totals)
    assert [row["name"] for row in rows] == [layer.name for layer in chip.spiking.layers]
    for whole in rate["bounds"]:
        assert max(row["cycles"][whole["of"]] or 0 for row in rows) <= whole["cycles"]
    for row in rows:
        assert row["cycles"][row["bound"]] == max(cycles or 0 for cycles in row["cycles"].values())
        kernel = sum(
            int(np.count_nonzero(source.weight)) for source in chip.spiking.layer(row["name"]).sources
        )
        assert row["copies"]["weights"] == layer_matrix(chip.spiking.layer(row["name"])).nnz / kernel


@pytest.mark.parametrize(
    ("chips", "objective"), [((1, 1), "cores"), ((2, 2), "cores"), ((1, 1), "latency"), ((1, 1), "energy")]
)
def test_saved_cores_are_those_of_a_network_compiled_for_the_larger_core(
    chips: tuple[int, int], objective: str
) -> None:
    changed = False
    for model, core in (("digits", "small"), ("digits-float", "medium")):
        samples = scaled(load_data("digits").first(64), "auto", load_network(model))[0].x
        how: dict[str, Any] = {"chips": chips, "objective": objective, "samples": samples}
        chip = compile_network(load_network(model), target=target_of(preset(core)), **how)
        for size, field in SIZES.items():
            larger = preset(core).resized(**{field: 2 * getattr(preset(core), field)})
            after = compile_network(load_network(model), target=target_of(larger), **how)
            cores = {layer["name"]: layer["cores"] for layer in after.image.meta["layers"]}
            for row in limits_at_worst(chip):
                assert row["saves"][size] == row["cores"] - cores[row["name"]]
                changed |= row["saves"][size] != 0
    assert changed


def target_of(core: CoreSpec) -> Target:
    """Return the target `loom` as a file with other sizes of a core describes it."""
    return replace(load_target("loom"), core=core)


def test_limit_is_the_size_that_saves_most(chip: Chip, totals: RunTotals) -> None:
    rows = rows_of(chip, totals)
    assert [row["limit"] for row in rows] == ["axons", None, None]
    for row in rows:
        most = max(row["saves"].values())
        assert row["saves"][row["limit"]] == most if row["limit"] else most <= 0


def test_a_size_that_no_core_has_saves_nothing_that_is_told() -> None:
    b = ModelBuilder((6,), seed=3)
    y = b.quantise(b.dense(b.quantise("x", 0, 3.0), b.ternary(4, 6), name="fc"), 0, 3.0)
    chip = compile_network(b.network(y), core="reference")
    (row,) = limits_at_worst(chip)
    assert row["limit"] is None
    assert set(row["saves"].values()) <= {0, None}
    (row,) = limits_at_worst(replace(chip, site=None))
    assert set(row["saves"].values()) == {None}


def test_pipelined_samples_are_at_worst_as_long_on_every_part() -> None:
    chips = [compile_network(load_network("digits"), core="small", pipelined=how) for how in (False, True)]
    alone, pipelined = map(limits_at_worst, chips)
    assert pipelined == alone


def test_worst_is_what_a_core_does_whose_axons_are_all_present_and_neurons_all_fire() -> None:
    """Dense layers of ones on counts of one, with thresholds of one: all fire, the first to two readers."""
    draft = Draft(shape=(20,), levels=1, seed=1)
    names = [draft.dense(outputs, levels=1) for outputs in (40, 12)]
    for at, layer in enumerate(draft.layers):
        (source,) = layer.sources
        ones = replace(source, weight=np.ones_like(source.weight))
        low = Lists(thresholds=np.ones_like(layer.edges))
        draft.layers[at] = replace(layer, sources=(ones,), quantiser=low)
    spiking = draft.network(*names)
    image = emit(spiking, *fit(spiking, core_spec(axons=64)), name="ones")
    chip, counts = Chip(image=image, spiking=spiking), np.ones((1, 20), np.int64)
    result = chip.emulated(counts, cycles=True)
    expected = explained(image, layers_of(chip.on_chip), stimulus_for(image, counts), result, 1)
    assert_recomputed(limits_at_worst(chip), expected)
    assert len(result.spikes) == 52
