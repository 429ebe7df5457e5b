# SPDX-License-Identifier: Apache-2.0
"""What the reports of all kinds of targets share: the keys, and what does not depend on the target."""

import math
from collections.abc import Mapping
from typing import Any

from mapping.report.activity import Activity
from mapping.spiking.matrices import layer_matrix
from mapping.spiking.network import SpikingLayer, SpikingNetwork
from mapping.targets.energy import EnergyBreakdown

__all__ = ["TARGET_KEYS", "common", "energy_keys", "layer_rows", "neurobench", "ordered"]

TARGET_KEYS = (
    "target",
    "simulated",
    "accuracy",
    "ann_accuracy",
    "samples",
    "timesteps",
    "cores",
    "chips",
    "neurons",
    "synapses",
    "spikes",
    "spikes_input",
    "synaptic_operations",
    "synaptic_operations_logical",
    "synaptic_operations_dense",
    "latency_s",
    "throughput_per_s",
    "pipelined",
    "energy_j",
    "energy_j_low",
    "energy_j_high",
    "power_w",
    "edp_js",
    "breakdown",
    "counters",
    "host_layers",
    "host_share",
    "image_digest",
    "neurobench",
)
"""Keys of every target in the JSON report; one that does not apply is null."""


def ordered(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return all keys of a target in their order; one without a value is None."""
    return {key: values.get(key) for key in TARGET_KEYS}


def layer_rows(
    spiking: SpikingNetwork, activity: Activity, physical: Mapping[str, float] | None
) -> list[dict[str, Any]]:
    """Return name, kind, spikes and the operation counts of every layer on the chip, means per inference."""
    return [
        {
            "name": layer.name,
            "kind": layer.kind,
            "spikes": activity.mean(layer.name, "spikes"),
            "synaptic_operations": None if physical is None else physical[layer.name],
            "synaptic_operations_logical": activity.mean(layer.name, "logical"),
            "synaptic_operations_dense": activity.mean(layer.name, "dense"),
        }
        for layer in spiking.layers
    ]


def neurobench(spiking: SpikingNetwork, activity: Activity, footprint: int | None) -> dict[str, Any]:
    """Return the NeuroBench metrics (Yik et al. 2025) of the part on the chip."""
    weights = sum(math.prod(layer.output_shape) * _fan_in(layer) for layer in spiking.layers)
    zeros = sum(
        math.prod(layer.output_shape) * _fan_in(layer) - layer_matrix(layer).nnz for layer in spiking.layers
    )
    parts = activity.layers.values()
    return {
        "footprint": footprint,
        "connection_sparsity": zeros / weights,
        "activation_sparsity": sum(part.silent for part in parts) / sum(part.neurons for part in parts),
        "synaptic_operations": {
            "dense": weights,
            "effective_macs": 0.0,
            "effective_acs": activity.total("logical"),
        },
    }


def _fan_in(layer: SpikingLayer) -> int:
    return math.prod(layer.weight.shape[1:])


def common(spiking: SpikingNetwork, activity: Activity) -> dict[str, Any]:
    """Return what does not depend on the target."""
    return {
        "ann_accuracy": activity.float_accuracy,
        "samples": activity.samples,
        "neurons": sum(math.prod(layer.output_shape) for layer in spiking.layers),
        "synapses": sum(int(layer_matrix(layer).nnz) for layer in spiking.layers),
        "spikes": activity.total("spikes"),
        "spikes_input": activity.input_spikes / activity.samples,
        "synaptic_operations_logical": activity.total("logical"),
        "synaptic_operations_dense": activity.total("dense"),
        "host_layers": list(spiking.host_layers),
        "host_share": spiking.host_share,
    }


def energy_keys(energy: EnergyBreakdown, latency_s: float, throughput: float) -> dict[str, float]:
    """Return time, energy and power of one inference."""
    return {
        "latency_s": latency_s,
        "throughput_per_s": throughput,
        "energy_j": energy.total_j,
        "energy_j_low": energy.low_j,
        "energy_j_high": energy.high_j,
        "power_w": energy.total_j * throughput,
        "edp_js": energy.total_j * latency_s,
    }
