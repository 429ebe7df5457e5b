# SPDX-License-Identifier: Apache-2.0
"""What a chip counted in its runs, as means per inference: of the whole chip, and of every layer."""

from collections.abc import Mapping

import numpy as np

from emu.spec import SystemSpec
from emu.trace import ACTIVITY_COUNTERS
from mapping.chip import Chip
from mapping.report.activity import RunTotals
from mapping.report.chips import crossing_bits
from mapping.targets.files import Quantity

__all__ = ["by_layer", "charged", "layer_events", "means_of"]

_OF_A_CORE = (
    "crossbar_words",
    "synaptic_operations",
    "deliveries",
    "neuron_updates",
    "thresholds",
    "packets",
)
"""Events that a core counts; hops belong to routers."""


def means_of(totals: RunTotals, timed: RunTotals) -> dict[str, float]:
    """Return every counter's mean per inference: events of all samples, activities of those in cycle mode."""
    runs = {name: timed if name in ACTIVITY_COUNTERS else totals for name in timed.counters}
    return {name: run.total(name) / run.samples for name, run in runs.items()}


def charged(
    spec: SystemSpec, counted: Mapping[str, float], cycles: float, table: Mapping[str, Quantity]
) -> dict[str, float]:
    """Return the events of an energy table: what was counted, bits over links, and clocks of cores."""
    events = {name: counted[name] for name in table if name in counted}
    links = {"link_bits": counted["crossings"] * crossing_bits(spec)} if "crossings" in counted else {}
    return events | links | {"core_cycles": spec.cores * cycles}


def by_layer(chip: Chip, totals: RunTotals, counter: str) -> dict[str, float]:
    """Return a counter's mean per inference, summed over the cores of each layer."""
    placed = chip.image.attachments["placed"]
    values = totals.counters[counter]
    return {
        layer.name: float(values[np.unique(placed[placed[:, 0] == order, 2])].sum()) / totals.samples
        for order, layer in enumerate(chip.spiking.layers)
    }


def layer_events(chip: Chip, totals: RunTotals, table: Mapping[str, Quantity]) -> dict[str, dict[str, float]]:
    """Return the events that a layer's own cores count; hops belong to routers, not to a layer."""
    names = [name for name in _OF_A_CORE if name in table]
    parts = {name: by_layer(chip, totals, name) for name in names}
    return {layer.name: {name: parts[name][layer.name] for name in names} for layer in chip.spiking.layers}
