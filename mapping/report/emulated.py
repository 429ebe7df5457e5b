# SPDX-License-Identifier: Apache-2.0
"""A cycle-exact target's part of the report, from emulating its image.

Counts and cycles are verified (the emulator equals the hardware); joules are modelled (counts times a table).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mapping.chip import Chip
from mapping.datasets.load import Dataset
from mapping.datasets.rows import spread_rows
from mapping.report.activity import Activity, RunTotals, require_equal, total_of_runs
from mapping.report.carried import carried_by
from mapping.report.chips import chips_of
from mapping.report.events import by_layer, charged, layer_events, means_of
from mapping.report.keys import (
    common,
    energy_keys,
    energy_parts,
    layer_rows,
    neurobench,
    ordered,
    size_keys,
)
from mapping.report.limits import limits_by_layer
from mapping.report.loading import footprint, loading
from mapping.report.mesh import mesh_of
from mapping.report.pipelining import pipelining
from mapping.report.rate import gates_of, rate_of, work_of
from mapping.report.timeline import timeline_of
from mapping.targets.files import Target
from mapping.targets.loom import energy_table
from mapping.targets.model import Cost, Emulation, KnownWork
from mapping.targets.models import model_of

__all__ = ["TIMED_SAMPLES", "Emulated", "emulated", "rated", "report_machine"]

TIMED_SAMPLES = 500
"""Samples that are emulated cycle by cycle for throughput, activities and static energy."""


def report_machine(
    chip: Chip, data: Dataset, target: Target, activity: Activity, *, totals: RunTotals | None = None
) -> dict[str, Any]:
    """Return a cycle-exact target's part of the report, from emulating the placed image on all samples.

    Events are those of all samples. Cycles, which take several times as long to compute and vary little, are
    those of `TIMED_SAMPLES` of them.

    Throughput is that of samples one after the other, a new one entering when the one before has left (not
    pipelined); latency is that of one input alone (`mapping.report.timeline`).

    Parameters
    ----------
    activity : Activity
        Of the chip's spiking network on the same data.
    totals : RunTotals, optional
        Of ``chip`` on all of ``data`` in cycle mode, if it was run already.

    Raises
    ------
    MappingError
        If the chip fired other spikes than the network, or was right on other samples.
    """
    run = emulated(chip, data, target, activity, totals)
    return run.part(model_of(target).cost(target, KnownWork(emulation=run.emulation)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Emulated:
    """An image and what became of it: runs on all samples, runs in cycle mode, cycles of an inference.

    ``changes`` are what single changes do to its rate, see `mapping.report.changes`, None if none was tried.
    """

    chip: Chip
    data: Dataset
    target: Target
    activity: Activity
    totals: RunTotals
    timed: RunTotals
    cycles: float
    timeline: Sequence[Mapping[str, Any]]
    changes: Sequence[Mapping[str, Any]] | None = None

    @property
    def means(self) -> dict[str, float]:
        """Every counter, mean per inference."""
        return means_of(self.totals, self.timed)

    @property
    def emulation(self) -> Emulation:
        """What the model of the target is told."""
        chip, table, spec = self.chip, self.target.energy, self.chip.image.spec
        sizes = size_keys(chip)
        return Emulation(
            core=spec.core,
            mesh=spec.cores,
            used=sizes["cores"],
            chips=sizes["chips"],
            steps=chip.period,
            cycles=self.cycles,
            latency_s=self.timeline[-1]["end_s"],
            counters=self.means,
            events=charged(spec, self.means, self.cycles, table),
            layers=layer_events(chip, self.totals, table),
        )

    def part(self, cost: Cost) -> dict[str, Any]:
        """Return the part of the report, of what an inference costs."""
        chip, target, means, activity = self.chip, self.target, self.means, self.activity
        table, clock_hz = energy_table(target, chip.image.spec.core), target.clock_hz
        physical = by_layer(chip, self.totals, "synaptic_operations")
        breakdown = {
            **energy_parts(cost.energy, layers=True),
            "loading": loading(chip, target, table),
            "layers": layer_rows(chip.spiking, activity, physical),
            "timeline": self.timeline,
            "chips": chips_of(chip.image.spec, means, clock_hz),
            **_carried(chip, self.totals, self.timed, clock_hz),
            "changes": self.changes,
        }
        return ordered(
            {
                **common(chip.spiking, activity),
                "target": target.name,
                "kind": target.kind,
                "simulated": "image",
                "accuracy": self.totals.accuracy,
                "samples_timed": self.timed.samples,
                **size_keys(chip),
                "area_mm2": cost.area_mm2,
                "spikes": means["spikes"],
                "packets": means["packets"],
                "packets_input": float(self.totals.fed.sum() / self.totals.samples),
                "synaptic_operations": cost.operations,
                "pipelined": False,
                **energy_keys(cost.energy, cost.latency_s, cost.throughput_per_s),
                **pipelining(chip, self.data, target, table),
                "breakdown": breakdown,
                "counters": means,
                "image_digest": chip.image.digest,
                "neurobench": neurobench(chip.spiking, activity, footprint(chip)),
            }
        )


def emulated(
    chip: Chip, data: Dataset, target: Target, activity: Activity, totals: RunTotals | None = None
) -> Emulated:
    """Emulate an image, and refuse it if it did other things than its network."""
    totals, timed, cycles = _runs(chip, data, totals)
    require_equal(totals.total("spikes"), totals, activity)
    return Emulated(
        chip=chip,
        data=data,
        target=target,
        activity=activity,
        totals=totals,
        timed=timed,
        cycles=cycles,
        timeline=timeline_of(chip, data, target.clock_hz),
    )


def rated(chip: Chip, data: Dataset) -> dict[str, Any]:
    """Emulate a chip and return what limits its rate, see `mapping.report.rate.rate_of`."""
    totals, timed, _ = _runs(chip, data, None)
    return rate_of(chip, carried_by(chip.image, totals), totals.fed, timed)


def _runs(chip: Chip, data: Dataset, totals: RunTotals | None) -> tuple[RunTotals, RunTotals, float]:
    """Return the runs on all samples, those in cycle mode, and the cycles of an inference."""
    timed = totals or total_of_runs(chip, data.at(spread_rows(TIMED_SAMPLES)(len(data.x))), cycles=True)
    if timed.elapsed is None:
        raise ValueError("totals must be those of runs in cycle mode, not of functional ones")
    totals = timed if timed.samples == len(data.x) else total_of_runs(chip, data)
    return totals, timed, timed.elapsed / timed.samples


def _carried(chip: Chip, totals: RunTotals, timed: RunTotals, clock_hz: float) -> dict[str, Any]:
    """Return the parts of the breakdown that depend on what the links carried."""
    carried = carried_by(chip.image, totals)
    return {
        "mesh": mesh_of(chip, carried, timed, clock_hz),
        "gates": gates_of(chip.image, carried, totals.fed),
        "rate": rate_of(chip, carried, totals.fed, timed),
        "limits": limits_by_layer(chip, carried, totals.fed, work_of(timed)),
    }
