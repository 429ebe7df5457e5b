# SPDX-License-Identifier: Apache-2.0
"""What a model costs on a target: the parts of its report.

Counts and cycles are verified (the emulator equals the hardware); joules are modelled (counts times a table).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.errors import clause
from emu.spec import preset
from mapping.chip import Chip
from mapping.codes.choice import AUTO, Code, code_of
from mapping.codes.convert import convert
from mapping.codes.graded.convert import GradedOptions
from mapping.codes.int8.convert import why_inexact
from mapping.datasets.load import Dataset, scaled
from mapping.datasets.rows import spread_rows
from mapping.diagnosis.input_tried import doubt_of
from mapping.errors import InfeasibleError, MappingError, UnsupportedModelError
from mapping.flow import compile_network
from mapping.given import calibration_of, model_and_data
from mapping.layout.objective import check_objective
from mapping.model.network import Network
from mapping.report.activity import Activity, RunTotals, SingleDifferences, observe, total_of_runs
from mapping.report.carried import carried_by
from mapping.report.chips import chips_of
from mapping.report.closed_form import fits_closed_form, report_closed_form
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
from mapping.report.rate import rate_of
from mapping.report.result import Report
from mapping.report.timeline import timeline_of
from mapping.spiking.network import SpikingNetwork
from mapping.stages import stage
from mapping.targets.energy import estimate_energy, resized
from mapping.targets.files import Quantity, Target, load_target
from mapping.targets.patches import Patches, chosen_patches

__all__ = ["TIMED_SAMPLES", "estimate", "report_machine"]

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
    totals, timed, cycles = _runs(chip, data, totals)
    _require_equal(totals, activity)
    seconds, table, means = cycles / target.clock_hz, _table(chip, target), means_of(totals, timed)
    cores, physical = chip.image.spec.cores, by_layer(chip, totals, "synaptic_operations")
    events = charged(chip.image.spec, means, cycles, table)
    energy = estimate_energy(events, seconds, cores, table, layers=layer_events(chip, totals, table))
    timeline = timeline_of(chip, data, target.clock_hz)
    return ordered(
        {
            **common(chip.spiking, activity),
            "target": target.name,
            "simulated": "image",
            "accuracy": totals.accuracy,
            "samples_timed": timed.samples,
            **size_keys(chip),
            "spikes": means["spikes"],
            "synaptic_operations": means["synaptic_operations"],
            "pipelined": False,
            **energy_keys(energy, timeline[-1]["end_s"], 1 / seconds),
            **pipelining(chip, data, target, table),
            "breakdown": {
                **energy_parts(energy, layers=True),
                "loading": loading(chip, target, table),
                "layers": layer_rows(chip.spiking, activity, physical),
                "timeline": timeline,
                "chips": chips_of(chip.image.spec, means, target.clock_hz),
                **_carried(chip, totals, timed, target.clock_hz),
            },
            "counters": means,
            "image_digest": chip.image.digest,
            "neurobench": neurobench(chip.spiking, activity, footprint(chip)),
        }
    )


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
        "rate": rate_of(chip, carried, int(totals.fed.sum()), timed),
        "limits": limits_by_layer(chip, carried, timed),
    }


def _require_equal(totals: RunTotals, activity: Activity) -> None:
    """Refuse a report whose image and network disagree: its counts would be of two different things."""
    spikes = sum(layer.spikes for layer in activity.layers.values())
    for what, chip, network in (
        ("spikes", totals.total("spikes"), spikes),
        ("correct answers", totals.correct, activity.correct),
    ):
        if chip != network:
            raise MappingError(
                f"The emulated chip and its network differ in {what}, {chip} and {network}: please report it."
            )
    if totals.answers != activity.answers:
        raise MappingError("The emulated chip and its network differ in their answers: please report it.")


def _table(chip: Chip, target: Target) -> Mapping[str, Quantity]:
    """Return the energy table for this chip's core size."""
    return resized(target.energy, preset(target.preset), chip.image.spec.core)


def estimate(
    model: object,
    data: object,
    targets: Target | str | Sequence[Target | str] = ("loom",),
    *,
    core: str | None = None,
    seed: int = 0,
    how: str = "auto",
    strict: bool = False,
    chips: tuple[int, int] = (1, 1),
    objective: str = "cores",
    patches: str | None = None,
    code: str = AUTO,
    calibration: object = None,
    options: GradedOptions | None = None,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Return what a model costs on some targets, in their order.

    A target that cannot take the network has only its name and a ``refusal`` in the report.

    Parameters
    ----------
    model : str, Path, Network or torch.nn.Module
        The trained network, see `mapping.model.load.load_network`.
    data : str, Dataset, array, (x, y), or iterable of batches
        Samples in any shape that `Dataset.shaped` accepts and, if there are any, labels, see
        `mapping.datasets.batches.as_data`: a `DataLoader` gives them.
    targets : Target, str, or sequence of them
        Names of shipped targets, or targets loaded from files.
    core : str, optional
        Core preset for the cycle-exact targets.
    seed : int
        Seed of the placer.
    how : str
        How pixels are scaled, see `mapping.datasets.load.scaled`.
    strict : bool
        Refuse a network with convolutions or dense layers on the host.
    chips : (across, down)
        Equal chips, joined by links, on which cycle-exact targets have the network.
    objective : str
        What cores beyond the fewest are for on them, see `mapping.layout.objective.OBJECTIVES`.
    patches : {"best", "article"}, optional
        Who chooses the patches of closed-form targets, see `mapping.targets.patches.map_layer`.
    code : str
        Spike code, see `mapping.codes.choice`; by default the one that suits the network.
    calibration : as ``data``, optional
        Samples, without labels, on which the graded code is chosen, see `mapping.given.calibration_of`; by
        default those of the training part, or the first `mapping.datasets.load.CALIBRATION` of the data.
    options : GradedOptions, optional
        How fine activations and weights of the graded code are.
    progress : callable, optional
        Told what is being done.

    Raises
    ------
    MappingError
        If the model, the data or an option cannot be used, or every target refuses the network.
    """
    several = [targets] if isinstance(targets, Target | str) else targets
    loaded = [load_target(target) if isinstance(target, str) else target for target in several]
    chooser = chosen_patches(patches, [target.kind for target in loaded])
    network, source = model_and_data(model, data)
    samples = calibration_of(calibration, data if isinstance(data, str) else source, seed)
    given, chosen = scaled(source, how, network)
    run = _Estimation(
        network=network,
        data=given,
        scaling=chosen,
        core=core,
        seed=seed,
        strict=strict,
        chips=chips,
        objective=check_objective(objective),
        patches=chooser,
        code=code_of(network, code),
        samples=scaled(samples, chosen, network)[0].x,
        options=options or GradedOptions(),
        say=progress or (lambda _: None),
    )
    return _report(run, run.parts(loaded), source, how)


def _report(run: "_Estimation", parts: Sequence[Mapping[str, Any]], source: Dataset, how: str) -> Report:
    """Return the report of some parts, with a doubt about the ``source`` if there is one."""
    accuracy = next(part["ann_accuracy"] for part in parts if part["refusal"] is None)
    doubts = _coarser(run), doubt_of(run.network, source, run.scaling, how, accuracy)
    return Report(
        model=run.network.name,
        data=run.data.name,
        input=run.scaling,
        seed=run.seed,
        targets=parts,
        float32=run.single,
        doubt=" ".join(filter(None, doubts)) or None,
    )


def _coarser(run: "_Estimation") -> str | None:
    """Return a sentence if a quantised network runs in a code that does not have its integers."""
    why = None if run.code.exact else why_inexact(run.network)
    if why is None:
        return None
    return (
        f"The model is quantised, but {why}: the {run.code.name} code rounds it anew, and its "
        "activations are near those of the model but not equal; quantise activations and weights to 8 bits "
        "for equal ones."
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Estimation:
    """What the parts of a report have in common, and what was observed for them so far."""

    network: Network
    data: Dataset
    scaling: str
    core: str | None
    seed: int
    strict: bool
    chips: tuple[int, int]
    objective: str
    patches: Patches
    code: Code
    samples: NDArray[np.float64]
    options: GradedOptions
    say: Callable[[str], None]
    seen: dict[tuple[str, ...], Activity] = field(default_factory=dict)

    def parts(self, targets: Sequence[Target]) -> list[dict[str, Any]]:
        """Return the part of every target; a target's refusal is a part of its own.

        Raises
        ------
        MappingError
            If every target refuses the network.
        """
        parts: list[dict[str, Any]] = []
        refusals: list[MappingError] = []
        for target in targets:
            try:
                parts.append(self.part(target))
            except (InfeasibleError, UnsupportedModelError) as error:
                refusals.append(error)
                parts.append(ordered({"target": target.name, "refusal": str(error)}))
        if len(refusals) == len(parts):
            raise _refused(parts, refusals)
        return parts

    def part(self, target: Target) -> dict[str, Any]:
        """Return the report's part of one target.

        Raises
        ------
        InfeasibleError
            If the target cannot take the network.
        """
        if target.kind != "cycle-exact":
            self.say(f"{target.name}: closed form")
            spiking = convert(self.network, fits_closed_form(target, self.patches), strict=self.strict)
            return report_closed_form(spiking, self._observed(spiking), target, patches=self.patches)
        self.say(f"{target.name}: compiling")
        chip = compile_network(
            self.network,
            target=target,
            core=self.core,
            seed=self.seed,
            scaling=self.scaling,
            strict=self.strict,
            chips=self.chips,
            objective=self.objective,
            code=self.code.name,
            samples=self.samples,
            options=self.options,
            progress=self.say,
        )
        with stage("run"):
            activity = self._observed(chip.spiking)
            self.say(f"{target.name}: emulating {len(self.data.x)} samples")
            return report_machine(chip, self.data, target, activity)

    def _observed(self, spiking: SpikingNetwork) -> Activity:
        """Run the network once for all targets that take the same layers."""
        layers = (spiking.encoder_output, *(layer.name for layer in spiking.layers))
        if layers not in self.seen:
            self.say(f"running the network on {len(self.data.x)} samples")
            self.seen[layers] = observe(spiking, self.data)
        return self.seen[layers]

    @property
    def single(self) -> SingleDifferences:
        """Where float32 differs, on the layers of the first target that took the network."""
        return next(iter(self.seen.values())).single


def _refused(parts: Sequence[Mapping[str, Any]], refusals: Sequence[MappingError]) -> MappingError:
    """Return what to raise when no target is left: the one refusal, or all in one sentence."""
    if len({str(refusal) for refusal in refusals}) == 1:
        return refusals[0]
    told = "; ".join(f"{part['target']}: {clause(part['refusal'])}" for part in parts)
    return MappingError(f"Every target refuses the network: {told}.")
