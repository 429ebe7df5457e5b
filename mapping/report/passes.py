# SPDX-License-Identifier: Apache-2.0
"""What a model costs on a target that runs it in passes: each pass, and all of them for batches.

Counts and cycles are verified (the emulator equals the hardware); joules are modelled (counts times a table).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mapping.chip import Chip
from mapping.datasets.load import Dataset
from mapping.datasets.rows import spread_rows
from mapping.layout.host_tables import stimulus_for
from mapping.passes import Passes, passes_meta
from mapping.report.activity import Activity, RunTotals, require_equal
from mapping.report.carried import carried_by
from mapping.report.chips import chips_of
from mapping.report.emulated import TIMED_SAMPLES
from mapping.report.events import charged, layer_events, means_of
from mapping.report.keys import common, energy_keys, energy_parts, layer_rows, neurobench, ordered
from mapping.report.limits import in_pass, limits_by_layer
from mapping.report.loading import footprint, loading
from mapping.report.rate import work_of
from mapping.report.timeline import LATENCY_SAMPLES
from mapping.targets.energy import estimate_energy
from mapping.targets.files import Quantity, Target
from mapping.targets.loom import energy_table
from mapping.targets.model import Cost, Emulation

__all__ = ["BATCHES", "InPasses", "in_passes"]

BATCHES = (1, 10, 100, 1000)
"""Samples of a batch that a report tells the costs of."""

_ENDS = ("", "_low", "_high")


@dataclass(frozen=True, kw_only=True, eq=False)
class InPasses:
    """A network in passes and what became of it: each pass, with all its runs and those in cycle mode."""

    passes: Passes
    data: Dataset
    target: Target
    activity: Activity
    runs: Sequence[tuple[Chip, RunTotals, RunTotals]]
    timeline: Sequence[Mapping[str, Any]]

    @property
    def emulation(self) -> Emulation:
        """What the model of the target is told: sums of all passes, without loading."""
        spec, table, rows = self.passes.images[0].spec, self.target.energy, self.rows
        cycles = sum(row["cycles"] for row in rows)
        return Emulation(
            core=spec.core,
            mesh=spec.cores,
            used=sum(row["cores"] for row in rows),
            chips=math.prod(self.passes.chips),
            steps=self.passes.period,
            cycles=cycles,
            latency_s=self.timeline[-1]["end_s"],
            counters=self.means,
            events=charged(spec, self.means, cycles, table),
            layers=_by_layer(self.runs, table),
        )

    @cached_property
    def means(self) -> dict[str, Any]:
        """Every counter, mean per inference of all passes together."""
        return _summed(means_of(total, timed) for _, total, timed in self.runs)

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The passes, one by one."""
        kept = self.passes.kept()
        return [_row(self, number, *run, kept=kept[number]) for number, run in enumerate(self.runs)]

    def part(self, cost: Cost) -> dict[str, Any]:
        """Return the part of the report; loading is in no figure but where it says."""
        passes, activity, totals, timed = self.passes, self.activity, self.runs[0][1], self.runs[0][2]
        by_layer = _by_layer(self.runs, self.target.energy)
        breakdown = {
            **energy_parts(cost.energy, layers=True),
            **_of_passes(self.rows),
            "layers": layer_rows(passes.spiking, activity, _physical(by_layer)),
            "timeline": self.timeline,
            "chips": chips_of(passes.images[0].spec, self.means, self.target.clock_hz),
        }
        return ordered(
            {
                **common(passes.spiking, activity),
                **_sizes(passes, self.rows),
                "target": self.target.name,
                "kind": self.target.kind,
                "accuracy": totals.accuracy,
                "samples_timed": timed.samples,
                "area_mm2": cost.area_mm2,
                "spikes": self.means["spikes"],
                "packets": self.means["packets"],
                "packets_input": sum(float(total.fed.sum() / total.samples) for _, total, _ in self.runs),
                "synaptic_operations": cost.operations,
                **energy_keys(cost.energy, cost.latency_s, cost.throughput_per_s),
                "breakdown": breakdown,
                "counters": self.means,
                "neurobench": neurobench(passes.spiking, activity, sum(map(footprint, passes.loaded))),
            }
        )


def in_passes(passes: Passes, data: Dataset, target: Target, activity: Activity) -> InPasses:
    """Emulate all passes, and refuse them if they did other things than their network.

    Parameters
    ----------
    activity : Activity
        Of the spiking network on the same data.

    Raises
    ------
    MappingError
        If the passes fired other spikes than the network, or were right on other samples.
    """
    timed = _totals(passes, data.at(spread_rows(TIMED_SAMPLES)(len(data.x))), cycles=True)
    totals = timed if timed[0].samples == len(data.x) else _totals(passes, data)
    require_equal(sum(one.total("spikes") for one in totals), totals[0], activity)
    return InPasses(
        passes=passes,
        data=data,
        target=target,
        activity=activity,
        runs=list(zip(passes.loaded, totals, timed, strict=True)),
        timeline=_timeline(passes, data, target.clock_hz),
    )


def _sizes(passes: Passes, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the passes are together."""
    return {
        "timesteps": passes.period,
        "columns": sum(chip.columns for chip in passes.loaded),
        "cores": sum(row["cores"] for row in rows),
        "chips": math.prod(passes.chips),
        "image_digest": passes.digest,
        "simulated": "image",
        "pipelined": False,
        "pipelining": "A network in passes takes a batch at a time.",
    }


def _of_passes(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the parts of the breakdown that only passes have, and that they have not."""
    return {
        "loading": _summed(row["loading"] for row in rows),
        "mesh": None,
        "passes": rows,
        "batches": [_batch(rows, samples) for samples in BATCHES],
    }


def _physical(by_layer: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the synaptic operations of every layer."""
    return {name: events["synaptic_operations"] for name, events in by_layer.items()}


def _totals(passes: Passes, data: Dataset, *, cycles: bool = False) -> list[RunTotals]:
    """Return what every pass did on all samples."""
    found = [RunTotals() for _ in passes.images]
    for part, done in passes.runs(data, cycles=cycles):
        for total, chip, inference in zip(found, passes.loaded, done, strict=True):
            total.add(chip, part, inference)
    return found


def _summed(parts: Any) -> dict[str, Any]:
    """Return the sums of mappings of numbers by key."""
    total: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            total[key] = total.get(key, 0) + value
    return total


def _by_layer(
    runs: Sequence[tuple[Chip, RunTotals, RunTotals]], table: Mapping[str, Quantity]
) -> dict[str, dict[str, float]]:
    """Return the events of the layers' own cores; the slices of a layer add up."""
    found: dict[str, dict[str, float]] = {}
    for chip, total, _ in runs:
        for name, events in layer_events(chip, total, table).items():
            found[name] = _summed((found.get(name, {}), events))
    return found


def _row(
    run: InPasses, number: int, chip: Chip, total: RunTotals, timed: RunTotals, *, kept: int
) -> dict[str, Any]:
    """Return one pass: means per inference, and what loading it once takes."""
    target, spec = run.target, chip.image.spec
    cycles, table = (timed.elapsed or 0) / timed.samples, energy_table(target, spec.core)
    seconds = cycles / target.clock_hz
    energy = estimate_energy(charged(spec, means_of(total, timed), cycles, table), seconds, spec.cores, table)
    load = loading(chip, target, table)
    parts = passes_meta(number, run.passes.passes[number].rows)["rows"]
    limits = limits_by_layer(chip, carried_by(chip.image, total), total.fed, work_of(timed))
    return {
        "layers": parts,
        "cores": sum(core is not None for core in chip.image.cores),
        "timesteps": chip.period,
        "cycles": cycles,
        "seconds": seconds,
        "energy_j": energy.total_j,
        "energy_j_low": energy.low_j,
        "energy_j_high": energy.high_j,
        "load_bits": load["flits"] * spec.flit_bits,
        "loading": load,
        "kept_bits": kept,
        "limits": in_pass(limits, parts),
    }


def _batch(rows: Sequence[Mapping[str, Any]], samples: int) -> dict[str, Any]:
    """Return what an inference costs in a batch, loading included: every load divided by the samples."""
    load = _summed(row["loading"] for row in rows)
    seconds = sum(row["seconds"] for row in rows) + load["seconds"] / samples
    own = {end: sum(row[f"energy_j{end}"] for row in rows) for end in _ENDS}
    energy = {f"energy_j{end}": own[end] + load[f"energy_j{end}"] / samples for end in _ENDS}
    return {
        "samples": samples,
        "seconds": seconds,
        "throughput_per_s": 1 / seconds,
        **energy,
        "loading_share": load["energy_j"] / samples / energy["energy_j"] if energy["energy_j"] else None,
        "kept_bytes": -(-samples * max(row["kept_bits"] for row in rows) // 8),
    }


def _timeline(passes: Passes, data: Dataset, clock_hz: float) -> list[dict[str, Any]]:
    """Return when each pass has one input alone, without loading; means of the first samples.

    A pass begins with feeding what it reads, a packet a cycle, and ends with its pause token.
    """
    ends = []
    for sample in data.x[:LATENCY_SAMPLES]:
        taken = []
        for chip, run in zip(passes.loaded, passes.run(sample[None], cycles=True), strict=True):
            gateway = run.result.gateway
            last = 0 if gateway is None else int(gateway[-1])
            taken.append(len(stimulus_for(chip.image, run.input_counts).step) + last)
        ends.append(np.cumsum(taken))
    seconds = [float(cycles) / clock_hz for cycles in np.mean(ends, axis=0)]
    return [
        {"step": at, "layers": [part.layer for part in one.rows], "begin_s": begin, "end_s": end}
        for at, (one, begin, end) in enumerate(zip(passes.passes, [0.0, *seconds], seconds, strict=False))
    ]
