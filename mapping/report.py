# SPDX-License-Identifier: Apache-2.0
"""The report: what a model costs on a target, as data and JSON.

Counts and cycles are verified (the emulator equals the hardware); joules are modelled (counts times a table).
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np

from emu.image import core_chunks
from emu.spec import preset
from emu.words import COUNTERS
from mapping.convert import convert
from mapping.datasets import Dataset, scaled
from mapping.energy import EnergyBreakdown, estimate_energy, scale_leakage
from mapping.flow import Chip, Inference, accuracy, compile_network, float_accuracy
from mapping.kuang import estimate_kuang
from mapping.layer_shapes import layer_shapes
from mapping.network import Network
from mapping.operations import LayerOperations, layer_matrix, operation_counts
from mapping.simulate import decode, encode, simulate
from mapping.spiking import INPUT, SpikingLayer, SpikingNetwork
from mapping.targets import Quantity, Target, load_target

__all__ = [
    "SCHEMA",
    "TARGET_KEYS",
    "Report",
    "estimate",
    "report_closed_form",
    "report_machine",
]

SCHEMA = "spikeloom.report/1"

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
    "image_digest",
    "neurobench",
)
"""Keys of every target in the JSON report; one that does not apply is null."""

LATENCY_SAMPLES = 32
"""Samples that are run alone, each from the first flit in to the pause token out, for the latency."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """One model on one or more targets, in command order.

    Parameters
    ----------
    model, data : str
        As given.
    input : str
        How pixels of the data were scaled: ``raw``, ``unit`` or ``MEAN,STD``.
    seed : int
        Seed of the placer.
    targets : sequence of mapping
        One mapping with `TARGET_KEYS` per target; means per inference.
    verification : mapping, optional
        What was compared with the hardware, and on which simulator.
    """

    model: str
    data: str
    input: str
    seed: int
    targets: Sequence[Mapping[str, Any]]
    verification: Mapping[str, Any] | None = None
    version: str = field(default_factory=lambda: version("spikeloom"))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        head = {
            "schema": SCHEMA,
            "model": self.model,
            "data": self.data,
            "input": self.input,
            "seed": self.seed,
            "version": self.version,
        }
        verification = None if self.verification is None else dict(self.verification)
        return {**head, "verification": verification, "targets": [dict(target) for target in self.targets]}

    def to_json(self) -> str:
        """Return the report as JSON text; the same report gives the same text."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"


def _mean(values: Any) -> float:
    return float(np.mean(values))


def _layers(
    spiking: SpikingNetwork, operations: Mapping[str, LayerOperations], physical: Mapping[str, float] | None
) -> list[dict[str, Any]]:
    """Return name, kind, spikes and the operation counts of every layer on the chip, means per inference."""
    return [
        {
            "name": layer.name,
            "kind": layer.kind,
            "spikes": _mean(operations[layer.name].spikes),
            "synaptic_operations": None if physical is None else physical[layer.name],
            "synaptic_operations_logical": _mean(operations[layer.name].logical),
            "synaptic_operations_dense": _mean(operations[layer.name].dense),
        }
        for layer in spiking.layers
    ]


def _neurobench(
    spiking: SpikingNetwork,
    counts: Mapping[str, Any],
    operations: Mapping[str, LayerOperations],
    footprint: int | None,
) -> dict[str, Any]:
    """Return the NeuroBench metrics (Yik et al. 2025) of the part on the chip."""
    weights = sum(math.prod(layer.output_shape) * _fan_in(layer) for layer in spiking.layers)
    zeros = sum(
        math.prod(layer.output_shape) * _fan_in(layer) - layer_matrix(layer).nnz for layer in spiking.layers
    )
    silent = sum(int(np.sum(counts[layer.name] == 0)) for layer in spiking.layers)
    neurons = sum(int(np.size(counts[layer.name])) for layer in spiking.layers)
    return {
        "footprint": footprint,
        "connection_sparsity": zeros / weights,
        "activation_sparsity": silent / neurons,
        "synaptic_operations": {
            "dense": weights,
            "effective_macs": 0.0,
            "effective_acs": sum(_mean(part.logical) for part in operations.values()),
        },
    }


def _fan_in(layer: SpikingLayer) -> int:
    return math.prod(layer.weight.shape[1:])


def _common(
    spiking: SpikingNetwork, data: Dataset, operations: Mapping[str, LayerOperations], input_counts: Any
) -> dict[str, Any]:
    """Return what does not depend on the target."""
    return {
        "ann_accuracy": float_accuracy(spiking.network, data),
        "samples": len(data.x),
        "neurons": sum(math.prod(layer.output_shape) for layer in spiking.layers),
        "synapses": sum(int(layer_matrix(layer).nnz) for layer in spiking.layers),
        "spikes": sum(_mean(part.spikes) for part in operations.values()),
        "spikes_input": float(np.sum(input_counts)) / len(data.x),
        "synaptic_operations_logical": sum(_mean(part.logical) for part in operations.values()),
        "synaptic_operations_dense": sum(_mean(part.dense) for part in operations.values()),
        "host_layers": list(spiking.host_layers),
    }


def _energy_keys(energy: EnergyBreakdown, latency_s: float, throughput: float) -> dict[str, float]:
    return {
        "latency_s": latency_s,
        "throughput_per_s": throughput,
        "energy_j": energy.total_j,
        "energy_j_low": energy.low_j,
        "energy_j_high": energy.high_j,
        "power_w": energy.total_j * throughput,
        "edp_js": energy.total_j * latency_s,
    }


def _ordered(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: values.get(key) for key in TARGET_KEYS}


def report_machine(
    chip: Chip, data: Dataset, target: Target, *, inference: Inference | None = None
) -> dict[str, Any]:
    """Return a cycle-exact target's part of the report, from emulating the placed image on all samples.

    Throughput is that of samples one after the other, a new one entering when the one before has left (not
    pipelined); latency is that of one input alone, mean of the first `LATENCY_SAMPLES`.

    Parameters
    ----------
    inference : Inference, optional
        The run of ``chip`` on all of ``data`` in cycle mode, if it was made already.
    """
    run = inference or chip.run(data.x, cycles=True)
    result, samples = run.result, len(data.x)
    if result.elapsed is None:
        raise ValueError("inference must be a run in cycle mode, not a functional one")
    counts = simulate(chip.spiking, run.input_counts)
    operations = operation_counts(chip.spiking, counts)
    seconds = result.elapsed / samples / target.clock_hz
    table = _table(chip, target)
    totals = {name: result.total(name) / samples for name in COUNTERS}
    events = {name: totals[name] for name in table if name in totals}
    energy = estimate_energy(
        events, seconds, chip.image.spec.cores, table, layers=_layer_events(chip, run, table)
    )
    physical = _by_layer(chip, run, "synaptic_operations")
    return _ordered(
        {
            **_common(chip.spiking, data, operations, run.input_counts),
            "target": target.name,
            "simulated": "image",
            "accuracy": run.accuracy(data.y),
            "timesteps": chip.period,
            "cores": sum(core is not None for core in chip.image.cores),
            "chips": 1,
            "spikes": totals["spikes"],
            "synaptic_operations": totals["synaptic_operations"],
            "pipelined": False,
            **_energy_keys(energy, _latency(chip, data, target), 1 / seconds),
            "breakdown": {
                "units": dict(energy.per_unit_j),
                "events": dict(energy.per_event_j),
                "layer_energy_j": dict(energy.per_layer_j),
                "loading": _loading(chip, target, table),
                "layers": _layers(chip.spiking, operations, physical),
            },
            "counters": totals,
            "image_digest": chip.image.digest,
            "neurobench": _neurobench(chip.spiking, counts, operations, _footprint(chip)),
        }
    )


def _table(chip: Chip, target: Target) -> Mapping[str, Quantity]:
    """Return the energy table with the leakage of this chip's core size."""
    described, own = preset(target.preset), chip.image.spec.core
    return scale_leakage(target.energy, own.axons * own.columns / (described.axons * described.columns))


def _by_layer(chip: Chip, run: Inference, counter: str) -> dict[str, float]:
    """Return a counter's mean per inference, summed over the cores of each layer."""
    placed = chip.image.attachments["placed"]
    values = run.result.counters[counter]
    return {
        layer.name: float(values[np.unique(placed[placed[:, 0] == order, 2])].sum()) / len(run.input_counts)
        for order, layer in enumerate(chip.spiking.layers)
    }


def _layer_events(chip: Chip, run: Inference, table: Mapping[str, Quantity]) -> dict[str, dict[str, float]]:
    """Return the events that a layer's own cores count; hops belong to routers, not to a layer."""
    names = [
        n for n in ("synaptic_operations", "deliveries", "neuron_updates", "spikes", "packets") if n in table
    ]
    parts = {name: _by_layer(chip, run, name) for name in names}
    return {layer.name: {name: parts[name][layer.name] for name in names} for layer in chip.spiking.layers}


def _latency(chip: Chip, data: Dataset, target: Target) -> float:
    """Return the mean time of one input alone: feeding its packets, then until the pause token leaves."""
    times = []
    for sample in data.x[:LATENCY_SAMPLES]:
        stimulus = chip.stimulus(sample[None])
        gateway = chip.machine.run(stimulus, cycles=True).gateway
        if gateway is not None:
            times.append(int(gateway[-1]) + len(stimulus.step))
    return _mean(times) / target.clock_hz


def _loading(chip: Chip, target: Target, table: Mapping[str, Quantity]) -> dict[str, float]:
    """Return packets, time and energy of loading the image once, which no figure of an inference includes."""
    flits = chip.program_flits
    seconds = flits / target.clock_hz
    energy = estimate_energy({"program_flits": flits}, seconds, chip.image.spec.cores, table)
    return {"flits": flits, "seconds": seconds, "energy_j": energy.total_j}


def _footprint(chip: Chip) -> int:
    """Return the bytes that are loaded into the chip."""
    cores = [core for core in chip.image.cores if core is not None]
    return sum(2 * len(part) for core in cores for part in core_chunks(core, chip.image.spec).values())


def report_closed_form(spiking: SpikingNetwork, data: Dataset, target: Target) -> dict[str, Any]:
    """Return a closed-form target's part of the report; its spikes come from the spiking network."""
    input_counts = encode(spiking, data.x)
    counts = simulate(spiking, input_counts)
    operations = operation_counts(spiking, counts)
    common = _common(spiking, data, operations, input_counts)
    k_rep = max(spiking.input_levels, *(layer.levels for layer in spiking.layers))
    form = estimate_kuang(
        layer_shapes(spiking), k_rep=k_rep, sop_dense=common["synaptic_operations_dense"], target=target
    )
    logits = decode(spiking, {**counts, INPUT: input_counts})
    return _ordered(
        {
            **common,
            "target": target.name,
            "simulated": "network",
            "accuracy": accuracy(logits, data.y),
            "timesteps": form.steps,
            "cores": form.cores,
            "chips": math.prod(target.count(key) for key in ("chips_x", "chips_y")),
            "synaptic_operations": common["synaptic_operations_dense"],
            "pipelined": False,
            **_energy_keys(form.energy, form.latency_s, form.throughput_per_s),
            "breakdown": {
                "units": dict(form.energy.per_unit_j),
                "events": dict(form.energy.per_event_j),
                "layer_energy_j": None,
                "loading": None,
                "layers": _layers(spiking, operations, None),
                "cores": dict(zip((part.name for part in form.layers), form.cores_per_layer, strict=True)),
            },
            "neurobench": _neurobench(spiking, counts, operations, None),
        }
    )


def estimate(
    network: Network,
    data: Dataset,
    targets: Sequence[Target | str] = ("loom",),
    *,
    core: str | None = None,
    seed: int = 0,
    how: str = "auto",
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Return what a network costs on some targets, in their order.

    Parameters
    ----------
    network : Network
        The trained network.
    data : Dataset
        Samples in any shape that `Dataset.shaped` accepts.
    targets : sequence of Target or str
        Names of shipped targets, or targets loaded from files.
    core : str, optional
        Core preset for the cycle-exact targets.
    seed : int
        Seed of the placer.
    how : str
        How pixels are scaled, see `mapping.datasets.scaled`.
    progress : callable, optional
        Told what is being done.

    Raises
    ------
    MappingError
        If the model, the data or a target cannot be used; says which and why.
    """
    loaded = [load_target(target) if isinstance(target, str) else target for target in targets]
    data, chosen = scaled(data, how, network)
    say = progress or (lambda _: None)
    parts = []
    for target in loaded:
        if target.kind == "cycle-exact":
            say(f"{target.name}: compiling")
            chip = compile_network(network, target=target, core=core, seed=seed, scaling=chosen)
            say(f"{target.name}: emulating {len(data.x)} samples, cycle-exact")
            parts.append(report_machine(chip, data, target))
        else:
            say(f"{target.name}: closed form")
            parts.append(report_closed_form(convert(network), data, target))
    return Report(model=network.name, data=data.name, input=chosen, seed=seed, targets=parts)
