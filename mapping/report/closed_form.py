# SPDX-License-Identifier: Apache-2.0
"""A closed-form target's part of the report."""

from collections.abc import Iterator
from typing import Any

from mapping.codes.obstacles import Fits, Obstacle
from mapping.errors import InfeasibleError
from mapping.report.activity import Activity
from mapping.report.keys import common, energy_keys, energy_parts, layer_rows, neurobench, ordered
from mapping.spiking.network import INPUT, TERNARY, SpikingLayer, SpikingNetwork
from mapping.targets.model import Cost, Counted, KnownWork, LayerWork, Limits
from mapping.targets.models import model_of
from mapping.targets.patches import LayerShape, Patches
from mapping.targets.target import Target

__all__ = ["closed_form_part", "counted_layers", "fits_closed_form", "layer_shapes", "report_closed_form"]


def _shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    channels, height, width = shape if len(shape) == 3 else (shape[0], 1, 1)
    return height, width, channels


def layer_shapes(spiking: SpikingNetwork) -> list[LayerShape]:
    """Return the layers on the chip as the closed form takes them; there a max-pool is a layer of its own."""
    return [shape for layer in spiking.layers for shape in (*_pools(layer), _own_shape(layer))]


def counted_layers(spiking: SpikingNetwork, activity: Activity) -> Counted:
    """Return the layers on the chip and what they did."""
    seen = activity.layers
    entered = {INPUT: activity.input_spikes, **{name: layer.spikes for name, layer in seen.items()}}
    return Counted(
        samples=activity.samples,
        layers=tuple(
            LayerWork(
                shape=_own_shape(layer),
                pools=tuple(_pools(layer)),
                source=layer.only.name,
                output=layer.name in spiking.outputs,
                entered=entered[layer.only.name],
                read=seen[layer.name].read,
                fired=seen[layer.name].spikes,
                logical=seen[layer.name].logical,
                dense=seen[layer.name].dense,
            )
            for layer in spiking.layers
        ),
    )


def fits_closed_form(target: Target, limits: Limits) -> Fits:
    """Return a closed-form target's chip as conversion sees it."""

    def obstacle(layer: SpikingLayer) -> Obstacle | None:
        if layer.strengths != TERNARY or len(layer.sources) > 1:
            reason = f"{target.name} runs layers of one source and of weights -1, 0 and 1 alone"
            return Obstacle(reason=reason, remedy="train it with ternary weights")
        try:
            limits(_own_shape(layer), tuple(_pools(layer)))
        except InfeasibleError as error:
            return Obstacle(reason=error.reason, remedy=error.remedy)
        return None

    return obstacle


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
    work = KnownWork(layers=counted_layers(spiking, activity), patches=patches)
    return closed_form_part(spiking, activity, target, model_of(target).cost(target, work))


def closed_form_part(
    spiking: SpikingNetwork, activity: Activity, target: Target, cost: Cost
) -> dict[str, Any]:
    """Return a closed-form target's part of the report, of what a network costs on it."""
    return ordered(
        {
            **common(spiking, activity),
            "target": target.name,
            "kind": target.kind,
            "simulated": "network",
            "accuracy": activity.accuracy,
            "timesteps": cost.steps,
            "step_s": cost.step_s,
            "cores": cost.cores,
            "chips": cost.chips,
            "area_mm2": cost.area_mm2,
            "cores_least": cost.least,
            "synaptic_operations": cost.operations,
            "pipelined": False,
            **energy_keys(cost.energy, cost.latency_s, cost.throughput_per_s),
            **_pipelined(cost),
            "breakdown": {
                **energy_parts(cost.energy, layers=False),
                "loading": cost.loading,
                "chips": None,
                "layers": layer_rows(spiking, activity, None),
                "timeline": _timeline(cost),
                "mesh": None,
                "cores": {part.name: part.cores for part in cost.layers},
                "patches": cost.patches,
            },
            "neurobench": neurobench(spiking, activity, None),
        }
    )


def _pipelined(cost: Cost) -> dict[str, float]:
    """Return time and energy of samples that enter in every step, if they can."""
    if cost.pipelined is None:
        return {}
    energy = cost.pipelined.energy
    return {
        "throughput_pipelined_per_s": cost.pipelined.throughput_per_s,
        "latency_pipelined_s": cost.pipelined.latency_s,
        "energy_pipelined_j": energy.total_j,
        "energy_pipelined_j_low": energy.low_j,
        "energy_pipelined_j_high": energy.high_j,
    }


def _timeline(cost: Cost) -> list[dict[str, Any]]:
    """Return when each layer runs, as `mapping.report.timeline`."""
    return [
        {"step": part.step, "layers": [part.name], "begin_s": part.begin_s, "end_s": part.end_s}
        for part in cost.layers
    ]
