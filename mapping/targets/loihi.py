# SPDX-License-Identifier: Apache-2.0
"""Loihi in closed form (`docs/reference/targets.md`): cores, steps of their own length, and events.

The chip is that of Davies et al. 2018, IEEE Micro 38(1):82, with the limits of Rueckauer 2020, Table 3.1: a
core has so many compartments, input axons, output axons and synapses. Layers are cut from the last to the
first, because a layer's output axons are the cores of its readers (Rueckauer 2020, section 3.2.6). All cores
update all their neurons in every step, which ends when the slowest of them has met the barrier.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from mapping.errors import InfeasibleError
from mapping.spiking.network import INPUT
from mapping.targets.energy import estimate_energy
from mapping.targets.fanout import most_readers
from mapping.targets.model import Cost, Counted, LayerCost, Pipelined, Work
from mapping.targets.patches import CoreLimits, LayerShape, PatchMapping, best_patch
from mapping.targets.target import Target

__all__ = ["Loihi"]

_FEWER = "quantise its output to fewer levels"
_SHORTER = "let its neurons have fewer inputs, or quantise its input to fewer levels"

_UNLISTED = (
    "how synapses are compressed sets limits that are not published, by which a layer of Rueckauer 2020 took "
    "18 cores where the published ones ask for 5, and cores of the input's neurons are not counted"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """A layer or a max-pool, which is a layer here, and its means per inference."""

    shape: LayerShape
    source: str
    output: bool = False
    operations: float
    fired: float

    @property
    def neurons(self) -> int:
        """Compartments of all its outputs."""
        return math.prod(self.shape.output) * self.shape.levels


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """A stage on its cores: when it fires, its patches, the cores that its spikes go to."""

    stage: _Stage
    step: int
    cut: PatchMapping
    readers: int

    @property
    def fullest(self) -> int:
        """Neurons of a full core."""
        return math.prod(self.cut.patch_out) * self.stage.shape.levels


class Loihi:
    """The model `loihi`: a count of k levels is k neurons of one step, a max-pool a layer."""

    unary = True
    patched = False

    def array(self, _: Target) -> None:
        """Return None: all layers are on cores of their own."""

    def cost(self, target: Target, work: Work) -> Cost:
        """Return what one inference costs; cores in use leak, and the x86 cores are not in it."""

        def limits(layer: LayerShape, pools: tuple[LayerShape, ...]) -> None:
            for shape in (*map(_as_layer, pools), layer):
                _cut(shape, 1, target)

        counted = work.counted(limits)
        placed = _place(_stages(counted), target)
        steps = 1 + max(part.step for part in placed)
        seconds = [_step_s(placed, step, target) for step in range(steps)]
        ends = [math.fsum(seconds[: step + 1]) for step in range(steps)]
        flowing = _step_s(placed, None, target)
        cores = sum(part.cut.cores for part in placed)
        chips = math.ceil(cores / target.count("cores_per_chip"))
        energy = estimate_energy(_events(placed, steps), ends[-1], cores, target.energy)
        return Cost(
            cores=cores,
            chips=chips,
            steps=steps,
            step_s=None,
            latency_s=ends[-1],
            throughput_per_s=1 / ends[-1],
            operations=math.fsum(part.stage.operations for part in placed),
            energy=energy,
            area_mm2=chips * target.geometry["chip_area"].si,
            least=_UNLISTED,
            layers=tuple(_layer_cost(part, ends) for part in placed),
            pipelined=Pipelined(
                throughput_per_s=1 / flowing,
                latency_s=steps * flowing,
                energy=estimate_energy(_events(placed, 1), flowing, cores, target.energy),
            ),
        )


def _as_layer(pool: LayerShape) -> LayerShape:
    """Return a max-pool as a layer whose outputs read their own channel alone."""
    return replace(pool, kind="conv", groups=pool.input[2])


def _stages(counted: Counted) -> list[_Stage]:
    """Return layers and pools in order; a pool before another one is told to fire as often as it is fed."""
    stages: list[_Stage] = []
    for layer in counted.layers:
        source, read = layer.source, layer.read / counted.samples
        for pool in map(_as_layer, layer.pools):
            fed = layer.entered / counted.samples
            sides = zip(pool.taps, pool.steps, strict=True)
            windows = math.prod(math.ceil(taps / step) for taps, step in sides)
            fired = read if pool.name == layer.pools[-1].name else fed
            stages.append(_Stage(shape=pool, source=source, operations=fed * windows, fired=fired))
            source = pool.name
        stages.append(
            _Stage(
                shape=layer.shape,
                source=source,
                output=layer.output,
                operations=layer.logical * layer.shape.levels / counted.samples,
                fired=layer.fired / counted.samples,
            )
        )
    return stages


def _place(stages: Sequence[_Stage], target: Target) -> list[_Placed]:
    """Cut every stage, the last first; return them in order."""
    step = {INPUT: -1}
    for stage in stages:
        step[stage.shape.name] = step[stage.source] + 1
    placed: list[_Placed] = []
    for stage in reversed(stages):
        own = (part for part in placed if part.stage.source == stage.shape.name)
        readers = int(stage.output) + sum(most_readers(part.stage.shape, part.cut) for part in own)
        cut = _cut(stage.shape, readers, target)
        placed.insert(0, _Placed(stage=stage, step=step[stage.shape.name], cut=cut, readers=readers))
    return placed


def _cut(shape: LayerShape, readers: int, target: Target) -> PatchMapping:
    """Return the patches of a layer whose spikes go to so many cores each."""
    inputs = math.prod(shape.taps) * shape.fan_in * shape.source_levels
    neurons = min(target.count("neurons"), target.count("axons_out") // max(1, readers))
    synapses = target.count("synapses")
    longer = _SHORTER if inputs > synapses else _FEWER
    for limit, demand, allowed, remedy in (
        ("input axons for one output", inputs, target.count("axons_in"), _SHORTER),
        ("synapses for one output", inputs * shape.levels, synapses, longer),
        ("compartments for one output", shape.levels, target.count("neurons"), _FEWER),
        ("output axons for one output", shape.levels * readers, target.count("axons_out"), _FEWER),
    ):
        if demand > allowed:
            raise InfeasibleError(
                layer=shape.name, limit=limit, demand=demand, allowed=allowed, remedy=remedy
            )
    limits = CoreLimits(
        axons=target.count("axons_in"),
        columns=neurons,
        point_columns=shape.levels,
        points=synapses // (inputs * shape.levels),
    )
    return cast("PatchMapping", best_patch(shape, limits))  # a core holds one output


def _step_s(placed: Sequence[_Placed], step: int | None, target: Target) -> float:
    """Return how long a step takes, or one of a full pipeline: the slowest core, then the barrier.

    A core updates its neurons and takes the mean share of its layer's operations.
    """
    time = {name: quantity.si for name, quantity in target.timing.items()}
    longest = 0.0
    for part in placed:
        active = step is None or part.step == step
        own = part.fullest * time["neuron_active" if active else "neuron_inactive"]
        if active:
            own += part.stage.operations / part.cut.cores * time["synaptic_operation"]
        longest = max(longest, own)
    return longest + time["barrier"]


def _events(placed: Sequence[_Placed], steps: int) -> dict[str, float]:
    """Return the events of an inference that takes so many steps."""
    neurons = sum(part.stage.neurons for part in placed)
    return {
        "synaptic_operations": math.fsum(part.stage.operations for part in placed),
        "neurons_active": neurons,
        "neurons_inactive": neurons * (steps - 1),
        "messages": math.fsum(part.stage.fired * part.readers for part in placed),
    }


def _layer_cost(part: _Placed, ends: Sequence[float]) -> LayerCost:
    return LayerCost(
        name=part.stage.shape.name,
        cores=part.cut.cores,
        step=part.step,
        steps=1,
        begin_s=0.0 if part.step == 0 else ends[part.step - 1],
        end_s=ends[part.step],
    )
