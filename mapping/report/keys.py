# SPDX-License-Identifier: Apache-2.0
"""What the reports of all kinds of targets share: the keys, and what does not depend on the target."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from mapping.chip import Chip
from mapping.report.activity import Activity
from mapping.report.intervals import wilson
from mapping.spiking.matrices import connections
from mapping.spiking.network import SpikingNetwork, sources_of
from mapping.targets.energy import EnergyBreakdown

__all__ = [
    "AT_LEAST",
    "MODELLED",
    "TARGET_KEYS",
    "common",
    "difference_keys",
    "energy_keys",
    "energy_parts",
    "layer_rows",
    "neurobench",
    "ordered",
    "size_keys",
]

TARGET_KEYS = (
    "target",
    "kind",
    "refusal",
    "code",
    "rounded",
    "near",
    "simulated",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "ann_accuracy",
    "ann_accuracy_low",
    "ann_accuracy_high",
    "agreement",
    "agreement_low",
    "agreement_high",
    "accuracy_difference",
    "accuracy_difference_low",
    "accuracy_difference_high",
    "samples",
    "samples_timed",
    "timesteps",
    "step_s",
    "columns",
    "cores",
    "chips",
    "area_mm2",
    "cores_least",
    "neurons",
    "synapses",
    "spikes",
    "spikes_input",
    "packets",
    "packets_input",
    "synaptic_operations",
    "synaptic_operations_logical",
    "synaptic_operations_dense",
    "latency_s",
    "throughput_per_s",
    "pipelined",
    "throughput_pipelined_per_s",
    "latency_pipelined_s",
    "pipelining",
    "energy_j",
    "energy_j_low",
    "energy_j_high",
    "energy_static_share",
    "energy_idle_share",
    "energy_pipelined_j",
    "energy_pipelined_j_low",
    "energy_pipelined_j_high",
    "energy_kind",
    "power_w",
    "edp_js",
    "breakdown",
    "counters",
    "host_layers",
    "host_share",
    "host_left",
    "host_uncounted",
    "image_digest",
    "neurobench",
)
"""Keys of every target in the JSON report; one that does not apply is null."""


AT_LEAST = "cores, chips, area and static energy are at least these"
"""What is said of a target whose ``cores_least`` tells why."""

MODELLED = "modelled"
"""Kind of every energy: counts times a table. A measured one would be called so."""


def ordered(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return all keys of a target in their order; one without a value is None."""
    return {key: values.get(key) for key in TARGET_KEYS}


def layer_rows(
    spiking: SpikingNetwork, activity: Activity, physical: Mapping[str, float] | None
) -> list[dict[str, Any]]:
    """Return what every layer on the chip is, its spikes and its operations, means per inference."""
    return [
        {
            "name": layer.name,
            "kind": layer.kind,
            "digits": len(layer.strengths),
            "spikes": activity.mean(layer.name, "spikes"),
            "synaptic_operations": None if physical is None else physical[layer.name],
            "synaptic_operations_logical": activity.mean(layer.name, "logical"),
            "synaptic_operations_dense": activity.mean(layer.name, "dense") if spiking.ternary else None,
        }
        for layer in spiking.layers
    ]


def neurobench(spiking: SpikingNetwork, activity: Activity, footprint: int | None) -> dict[str, Any]:
    """Return the NeuroBench metrics (Yik et al. 2025) of the part on the chip.

    An operation is effective if activation and weight are not zero. It accumulates in a layer that read
    counts of 0 and 1 alone on these samples, else it multiplies and accumulates.
    """
    parts = activity.layers.values()
    effective = {
        binary: sum(part.effective for part in parts if (part.largest <= 1) == binary)
        for binary in (False, True)
    }
    return {
        "footprint": footprint,
        "connection_sparsity": 1.0 - _stored(spiking, np.count_nonzero) / _stored(spiking, np.size),
        "activation_sparsity": sum(part.silent for part in parts) / sum(part.neurons for part in parts),
        "synaptic_operations": {
            "dense": sum(connections(layer, dense=True) for layer in spiking.layers),
            "effective_macs": effective[False] / activity.samples,
            "effective_acs": effective[True] / activity.samples,
        },
    }


def _stored(spiking: SpikingNetwork, count: Callable[[Any], int]) -> int:
    """Return a count over the stored weights, each once however often a convolution uses it."""
    return sum(int(count(source.weight)) for _, source in sources_of(spiking.layers))


def common(spiking: SpikingNetwork, activity: Activity) -> dict[str, Any]:
    """Return what depends on the network's layers on the chip alone."""
    return {
        **difference_keys(activity),
        **_interval("accuracy", activity.correct, activity.samples),
        **_interval("ann_accuracy", activity.float_correct, activity.samples),
        **_interval("agreement", activity.same, activity.samples),
        "code": spiking.code,
        "rounded": list(spiking.rounded),
        "near": spiking.near,
        "agreement": activity.agreement,
        "ann_accuracy": activity.float_accuracy,
        "samples": activity.samples,
        "neurons": sum(layer.neurons * layer.parts for layer in spiking.layers),
        "synapses": sum(connections(layer) * layer.parts for layer in spiking.layers),
        "spikes": activity.total("spikes"),
        "spikes_input": activity.input_spikes / activity.samples,
        "synaptic_operations_logical": activity.total("logical"),
        "synaptic_operations_dense": activity.total("dense") if spiking.ternary else None,
        "host_layers": list(spiking.host_layers),
        "host_share": spiking.host_share,
        "host_left": [asdict(layer) for layer in spiking.left],
        "host_uncounted": list(spiking.uncounted),
    }


def difference_keys(activity: Activity) -> dict[str, float | None]:
    """Return accuracy less that of the float network, and the ends of its interval; None without labels."""
    difference = activity.difference or (None, None, None)
    ends = ("", "_low", "_high")
    return {f"accuracy_difference{end}": value for end, value in zip(ends, difference, strict=True)}


def size_keys(chip: Chip) -> dict[str, int]:
    """Return how large a chip is."""
    cores = sum(core is not None for core in chip.image.cores)
    across, down = chip.chips
    return {"timesteps": chip.period, "columns": chip.columns, "cores": cores, "chips": across * down}


def _interval(name: str, count: int | None, samples: int) -> dict[str, float | None]:
    """Return the ends of the interval of a share under the name of its key."""
    low, high = wilson(count, samples) or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def energy_parts(energy: EnergyBreakdown, *, layers: bool) -> dict[str, Any]:
    """Return the energy by unit, by event and, if ``layers`` were counted, by layer, with low and high."""
    return {
        "units": dict(energy.per_unit_j),
        "units_low": dict(energy.per_unit_low_j),
        "units_high": dict(energy.per_unit_high_j),
        "events": dict(energy.per_event_j),
        "layer_energy_j": dict(energy.per_layer_j) if layers else None,
        "layer_energy_j_low": dict(energy.per_layer_low_j) if layers else None,
        "layer_energy_j_high": dict(energy.per_layer_high_j) if layers else None,
    }


def energy_keys(energy: EnergyBreakdown, latency_s: float, throughput: float) -> dict[str, Any]:
    """Return time, energy and power of one inference."""
    return {
        "latency_s": latency_s,
        "throughput_per_s": throughput,
        "energy_j": energy.total_j,
        "energy_j_low": energy.low_j,
        "energy_j_high": energy.high_j,
        "energy_static_share": energy.static_share,
        "energy_idle_share": energy.idle_share,
        "energy_kind": MODELLED,
        "power_w": energy.total_j * throughput,
        "edp_js": energy.total_j * latency_s,
    }
