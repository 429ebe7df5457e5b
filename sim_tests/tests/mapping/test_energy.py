# SPDX-License-Identifier: Apache-2.0
"""Energy from counts and a table: arithmetic, range, breakdown and every message."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from emu.spec import preset
from emu.words import COUNTERS
from mapping.targets.energy import UNIT_OF_EVENT, estimate_energy, resized
from mapping.targets.files import Quantity, list_targets, load_target

# The absolute tolerance that pytest adds by default, 1e-12, is a picojoule: it would hide every fault.
near = partial(pytest.approx, rel=1e-12, abs=0.0)


def quantity(value: float, low: float, high: float, unit: str = "pJ") -> Quantity:
    return Quantity(value=value, unit=unit, low=low, high=high, kind="assumed", source="test")


TABLE = {
    "synaptic_operations": quantity(0.5, 0.25, 1.0),
    "thresholds": quantity(4.0, 2.0, 8.0),
    "hops": quantity(3.0, 1.0, 9.0, "nJ"),
    "leakage": quantity(10.0, 5.0, 20.0, "mW"),
}


def test_energy_of_a_hand_computed_run() -> None:
    counts = {"synaptic_operations": 1000, "thresholds": 10, "hops": 2}
    energy = estimate_energy(counts, 1e-6, 3, TABLE)
    # 500 + 40 + 6000 pJ, and 3 x 10 mW x 1 us = 30000 pJ.
    assert energy.total_j == near(36540e-12)
    assert energy.low_j == near((250 + 20 + 2000 + 15000) * 1e-12)
    assert energy.high_j == near((1000 + 80 + 18000 + 60000) * 1e-12)
    assert energy.per_unit_j == near(
        {"crossbar": 500e-12, "neurons": 40e-12, "network": 6000e-12, "static": 30000e-12}, rel=1e-12
    )
    assert dict(energy.per_layer_j) == {}


@pytest.mark.parametrize("name", list_targets())
def test_parts_sum_to_the_total_for_every_shipped_target(name: str) -> None:
    table = load_target(name).energy
    events = [event for event in table if event in UNIT_OF_EVENT and event != "leakage"]
    energy = estimate_energy({event: 1000 + i for i, event in enumerate(events)}, 2e-4, 5, table)
    assert math.fsum(energy.per_event_j.values()) == near(energy.total_j)
    assert math.fsum(energy.per_unit_j.values()) == near(energy.total_j)
    assert energy.low_j < energy.total_j < energy.high_j
    assert set(energy.per_event_j) == {*events, "leakage"}


@pytest.mark.parametrize("event", [event for event in load_target("loom").energy if event != "leakage"])
def test_each_loom_event_adds_its_own_energy(event: str) -> None:
    table = load_target("loom").energy
    energy = estimate_energy({event: 7}, 0.0, 0, table)
    assert energy.total_j == near(7 * table[event].value * 1e-12)
    assert energy.per_unit_j[UNIT_OF_EVENT[event]] == near(energy.total_j)


def test_units_of_a_full_run() -> None:
    table = load_target("loom").energy
    energy = estimate_energy({event: 1 for event in table if event != "leakage"}, 1e-9, 1, table)
    picojoules = {unit: round(joules * 1e12, 4) for unit, joules in energy.per_unit_j.items()}
    assert picojoules == {
        "crossbar": 509.73,
        "neurons": 73.7,
        "network": 13.6,
        "links": 10.0,
        "loading": 10.0,
        "clock": 19.0,
        "static": 6.9,
    }


def test_loom_events_are_counters_of_the_hardware() -> None:
    table = set(load_target("loom").energy)
    assert table - set(COUNTERS) == {"program_flits", "core_cycles", "leakage", "link_bits"}


def test_a_number_grows_with_the_sizes_that_it_names() -> None:
    small, reference = preset("small"), preset("reference")
    table = {**TABLE, "hops": replace(TABLE["hops"], scale=("lanes", "sum_bits"))}
    factor = small.lanes / reference.lanes * small.sum_bits / reference.sum_bits
    own = resized(table, reference, small)
    assert (own["hops"].low, own["hops"].value, own["hops"].high) == near((factor, 3 * factor, 9 * factor))
    assert {key for key in table if own[key] != table[key]} == {"hops"}
    assert resized(table, small, small) == table


@pytest.mark.parametrize(
    ("event", "low", "high"),
    [
        ("crossbar_words", 24, 72),
        ("neuron_updates", 18, 53),
        ("thresholds", 2.1, 6.2),
        ("deliveries", 3.2, 9.5),
    ],
)
def test_the_table_meets_the_small_core_of_the_trial(event: str, low: float, high: float) -> None:
    """The trial gave ranges for both cores; scaling from one must land in that of the other."""
    own = resized(load_target("loom").energy, preset("reference"), preset("small"))[event]
    assert low <= own.value <= high


def test_static_energy_needs_no_event() -> None:
    energy = estimate_energy({}, 2.0, 4, TABLE)
    assert energy.total_j == near(0.08)


def test_layers_hold_their_dynamic_energy_only() -> None:
    counts = {"synaptic_operations": 1000, "thresholds": 10, "hops": 2}
    layers = {"a": {"synaptic_operations": 600, "thresholds": 10}, "b": {"synaptic_operations": 400}}
    energy = estimate_energy(counts, 1e-6, 3, TABLE, layers=layers)
    assert energy.per_layer_j == near({"a": 340e-12, "b": 200e-12})
    assert math.fsum(energy.per_layer_j.values()) < energy.total_j


def test_layer_means_may_differ_from_the_total_by_rounding() -> None:
    third = 1 / 3
    layers = {"a": {"thresholds": third}, "b": {"thresholds": third}, "c": {"thresholds": third + 1e-15}}
    assert estimate_energy({"thresholds": 1.0}, 0.0, 0, TABLE, layers=layers).total_j == near(4e-12)


def test_numpy_counts_are_numbers() -> None:
    energy = estimate_energy({"thresholds": np.int64(3)}, np.float64(0.0), 1, TABLE)  # type: ignore[dict-item]
    assert energy.total_j == near(12e-12)


def test_static_share_is_the_leakage_of_the_central_value() -> None:
    counts = {"synaptic_operations": 1000, "thresholds": 10, "hops": 2}
    assert estimate_energy(counts, 1e-6, 3, TABLE).static_share == near(30000 / 36540)
    assert estimate_energy({"thresholds": 1}, 0.0, 3, TABLE).static_share == 0.0
    assert estimate_energy({}, 0.0, 3, TABLE).static_share is None


def test_idle_share_is_clock_and_leakage_of_the_central_value() -> None:
    table = {**TABLE, "core_cycles": TABLE["hops"]}
    counts = {"synaptic_operations": 1000, "core_cycles": 2000}
    energy = estimate_energy(counts, 1e-6, 3, table)
    clock = 2000 * TABLE["hops"].si
    assert clock > 0
    assert energy.idle_share == near((clock + 30000e-12) / energy.total_j)


def test_idle_share_needs_a_clock_and_an_energy() -> None:
    assert estimate_energy({"thresholds": 1}, 1e-6, 3, TABLE).idle_share is None
    table = {**TABLE, "core_cycles": TABLE["hops"]}
    assert estimate_energy({"core_cycles": 0}, 0.0, 3, table).idle_share is None


def test_result_is_read_only() -> None:
    energy = estimate_energy({"thresholds": 1}, 0.0, 0, TABLE)
    with pytest.raises(TypeError):
        energy.per_unit_j["neurons"] = 0.0  # type: ignore[index]


def test_comparison_detects_a_changed_table() -> None:
    planted = TABLE | {"thresholds": quantity(4.01, 2.0, 8.0)}
    counts = {"synaptic_operations": 1000, "thresholds": 10, "hops": 2}
    assert estimate_energy(counts, 1e-6, 3, planted).total_j != near(36540e-12)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"counts": {"threshold": 1}},
            ValueError,
            (
                "Event 'threshold' in counts must be one of synaptic_operations, thresholds, hops;"
                " leave it out or add its energy to the table."
            ),
        ),
        (
            {"counts": {"leakage": 1}},
            ValueError,
            (
                "Event 'leakage' in counts must be one of synaptic_operations, thresholds, hops;"
                " leave it out or add its energy to the table."
            ),
        ),
        (
            {"layers": {"fc": {"packets": 1}}},
            ValueError,
            (
                "Event 'packets' in layer 'fc' must be one of synaptic_operations, thresholds, hops;"
                " leave it out or add its energy to the table."
            ),
        ),
        (
            {"layers": {"a": {"thresholds": 1}, "b": {"thresholds": 2}}},
            ValueError,
            (
                "Event 'thresholds' must not exceed its total 2 when summed over the layers, not 3;"
                " count every event in one layer only."
            ),
        ),
        (
            {"counts": {"thresholds": -1}},
            ValueError,
            "Event 'thresholds' in counts must be finite and not negative, not -1.",
        ),
        (
            {"counts": {"thresholds": math.nan}},
            ValueError,
            "Event 'thresholds' in counts must be finite and not negative, not nan.",
        ),
        (
            {"counts": {"thresholds": "1"}},
            TypeError,
            "Event 'thresholds' in counts must be a number, not '1'.",
        ),
        (
            {"counts": {"thresholds": True}},
            TypeError,
            "Event 'thresholds' in counts must be a number, not True.",
        ),
        ({"seconds": math.inf}, ValueError, "Seconds must be finite and not negative, not inf."),
        ({"cores": 1.5}, ValueError, "Cores must be a whole number, not 1.5."),
        ({"cores": None}, TypeError, "Cores must be a number, not None."),
    ],
)
def test_estimate_refuses(arguments: dict[str, object], error: type[Exception], message: str) -> None:
    good: dict[str, object] = {"counts": {"thresholds": 2}, "seconds": 1.0, "cores": 1, "table": TABLE}
    with pytest.raises(error) as caught:
        estimate_energy(**(good | arguments))  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_headline_figure_of_the_seed_chip_is_no_event() -> None:
    with pytest.raises(ValueError, match=r"^Event 'headline_synaptic_operation' in counts must be one of"):
        estimate_energy({"headline_synaptic_operation": 1}, 1.0, 1, load_target("kuang2021").energy)
