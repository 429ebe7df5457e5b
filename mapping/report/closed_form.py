# SPDX-License-Identifier: Apache-2.0
"""A closed-form target's part of the report."""

import math
from typing import Any

from mapping.report.activity import Activity
from mapping.report.keys import common, energy_keys, layer_rows, neurobench, ordered
from mapping.spiking.network import SpikingNetwork
from mapping.targets.files import Target
from mapping.targets.kuang import LayerShape, estimate_kuang

__all__ = ["layer_shapes", "report_closed_form"]


def _shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    channels, height, width = shape if len(shape) == 3 else (shape[0], 1, 1)
    return height, width, channels


def layer_shapes(spiking: SpikingNetwork) -> list[LayerShape]:
    """Return the layers on the chip as the closed form wants them; a max-pool is a layer of its own there."""
    shapes = []
    for layer in spiking.layers:
        size = layer.source_shape
        for number, pool in enumerate(layer.pools):
            _, height, width = size
            top, left, bottom, right = pool.pads
            rows = (height + top + bottom - pool.kernel[0]) // pool.stride[0] + 1
            columns = (width + left + right - pool.kernel[1]) // pool.stride[1] + 1
            after = (size[0], rows, columns)
            name = f"{layer.name}.pool{number}"
            shapes.append(
                LayerShape(
                    name=name,
                    kind="pool",
                    input=_shape(size),
                    output=_shape(after),
                    kernel=pool.kernel,
                    stride=pool.stride,
                )
            )
            size = after
        if layer.kind == "dense":
            shapes.append(
                LayerShape(name=layer.name, kind="fc", input=_shape(size), output=_shape(layer.output_shape))
            )
        else:
            window = (layer.weight.shape[2], layer.weight.shape[3])
            shapes.append(
                LayerShape(
                    name=layer.name,
                    kind="conv",
                    input=_shape(size),
                    output=_shape(layer.output_shape),
                    kernel=window,
                    stride=layer.stride,
                )
            )
    return shapes


def report_closed_form(spiking: SpikingNetwork, activity: Activity, target: Target) -> dict[str, Any]:
    """Return a closed-form target's part of the report; its spikes come from the spiking network."""
    shared = common(spiking, activity)
    k_rep = max(spiking.input_levels, *(layer.levels for layer in spiking.layers))
    form = estimate_kuang(
        layer_shapes(spiking), k_rep=k_rep, sop_dense=shared["synaptic_operations_dense"], target=target
    )
    return ordered(
        {
            **shared,
            "target": target.name,
            "simulated": "network",
            "accuracy": activity.accuracy,
            "timesteps": form.steps,
            "cores": form.cores,
            "chips": math.prod(target.count(key) for key in ("chips_x", "chips_y")),
            "synaptic_operations": shared["synaptic_operations_dense"],
            "pipelined": False,
            **energy_keys(form.energy, form.latency_s, form.throughput_per_s),
            "breakdown": {
                "units": dict(form.energy.per_unit_j),
                "events": dict(form.energy.per_event_j),
                "layer_energy_j": None,
                "loading": None,
                "layers": layer_rows(spiking, activity, None),
                "cores": dict(zip((part.name for part in form.layers), form.cores_per_layer, strict=True)),
            },
            "neurobench": neurobench(spiking, activity, None),
        }
    )
