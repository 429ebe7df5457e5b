# SPDX-License-Identifier: Apache-2.0
"""A closed-form target's part of the report."""

import math
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from mapping.codes.obstacles import Fits, Obstacle
from mapping.errors import InfeasibleError
from mapping.report.activity import Activity
from mapping.report.keys import common, energy_keys, energy_parts, layer_rows, neurobench, ordered
from mapping.spiking.network import TERNARY, SpikingLayer, SpikingNetwork
from mapping.targets.energy import estimate_energy
from mapping.targets.files import Target
from mapping.targets.kuang import ClosedForm, estimate_kuang
from mapping.targets.patches import LayerShape, Patches, map_layer

__all__ = ["fits_closed_form", "layer_shapes", "loading_closed_form", "report_closed_form"]


def _shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    channels, height, width = shape if len(shape) == 3 else (shape[0], 1, 1)
    return height, width, channels


def layer_shapes(spiking: SpikingNetwork) -> list[LayerShape]:
    """Return the layers on the chip as the closed form takes them; there a max-pool is a layer of its own."""
    return [shape for layer in spiking.layers for shape in _shapes(layer)]


def fits_closed_form(target: Target, patches: Patches) -> Fits:
    """Return a closed-form target's chip as conversion sees it."""

    def obstacle(layer: SpikingLayer) -> Obstacle | None:
        if layer.strengths != TERNARY or len(layer.sources) > 1:
            reason = f"{target.name} runs layers of one source and of weights -1, 0 and 1 alone"
            return Obstacle(reason=reason, remedy="train it with ternary weights")
        try:
            for shape in _shapes(layer):
                map_layer(shape, target=target, patches=patches)
        except InfeasibleError as error:
            return Obstacle(reason=error.reason, remedy=error.remedy)
        return None

    return obstacle


def _shapes(layer: SpikingLayer) -> list[LayerShape]:
    return [*_pools(layer), _own_shape(layer)]


def _pools(layer: SpikingLayer) -> Iterator[LayerShape]:
    """Yield the max-pools before a layer; they pass levels on as they are."""
    source = layer.only
    size = source.shape
    for number, pool in enumerate(source.pools):
        channels, *sides = size
        ends = zip(sides, pool.pads[:2], pool.pads[2:], pool.kernel, pool.stride, strict=True)
        after = (channels, *((side + a + b - window) // step + 1 for side, a, b, window, step in ends))
        yield LayerShape(
            name=f"{layer.name}.pool{number}",
            kind="pool",
            input=_shape(size),
            output=_shape(after),
            kernel=pool.kernel,
            stride=pool.stride,
            pads=pool.pads,
            source_levels=source.high,
            levels=source.high,
        )
        size = after


def _own_shape(layer: SpikingLayer) -> LayerShape:
    """Return a layer without its pools."""
    source, dense = layer.only, layer.kind == "dense"
    height, width = (1, 1) if dense else source.weight.shape[2:]
    return LayerShape(
        name=layer.name,
        kind="fc" if dense else "conv",
        input=_shape(source.input_shape),
        output=_shape(layer.output_shape),
        kernel=(height, width),
        stride=source.stride,
        dilation=source.dilation,
        pads=source.pads,
        groups=source.groups,
        source_levels=source.high,
        levels=layer.levels,
    )


def report_closed_form(
    spiking: SpikingNetwork, activity: Activity, target: Target, *, patches: Patches = "best"
) -> dict[str, Any]:
    """Return a closed-form target's part of the report; its spikes come from the spiking network.

    Raises
    ------
    InfeasibleError
        If a layer fits no core of the target, however it is cut.
    """
    shared = common(spiking, activity)
    form = estimate_kuang(
        layer_shapes(spiking),
        sop_dense=shared["synaptic_operations_dense"],
        target=target,
        patches=patches,
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
                **energy_parts(form.energy, layers=False),
                "loading": loading_closed_form(form, target),
                "chips": None,
                "layers": layer_rows(spiking, activity, None),
                "timeline": _timeline(form),
                "mesh": None,
                "cores": dict(zip((part.name for part in form.layers), form.cores_per_layer, strict=True)),
                "patches": patches,
            },
            "neurobench": neurobench(spiking, activity, None),
        }
    )


def loading_closed_form(form: ClosedForm, target: Target) -> dict[str, Any]:
    """Return what loading the crossbars of every pass once takes, which no other figure includes.

    What else a core holds comes on top: Zou et al. 2021 do not tell how many bits that is.
    """
    a_core = target.count("axons") * target.count("columns")
    array = math.prod(target.count(key) for key in ("chips_x", "chips_y", "cores_per_chip"))
    bits = form.cores * a_core
    energy = estimate_energy({"program_bits": bits}, 0.0, array, target.energy)
    fullest = min(array, max(form.cores_per_layer)) * a_core
    return {
        "passes": form.steps,
        "bits_a_core": a_core,
        "bits": bits,
        "bits_pass": fullest,
        "bits_per_s": fullest / form.step_s,
        "energy_j": energy.total_j,
        "energy_j_low": energy.low_j,
        "energy_j_high": energy.high_j,
        "energy_share": energy.total_j / form.energy.total_j if form.energy.total_j else None,
    }


def _timeline(form: ClosedForm) -> list[dict[str, Any]]:
    """Return when each layer runs, as `mapping.report.timeline`; ``step`` is the first of its passes."""
    ends = list(accumulate(form.steps_per_layer))
    begins = [0, *ends[:-1]]
    return [
        {
            "step": begin,
            "layers": [layer.name],
            "begin_s": begin * form.step_s,
            "end_s": end * form.step_s,
        }
        for layer, begin, end in zip(form.layers, begins, ends, strict=True)
    ]
