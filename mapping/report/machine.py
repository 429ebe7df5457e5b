# SPDX-License-Identifier: Apache-2.0
"""What a model costs on a target: the parts of its report.

Counts and cycles are verified (the emulator equals the hardware); joules are modelled (counts times a table).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.errors import clause
from mapping.chip import Chip
from mapping.codes.choice import AUTO, Code, code_of
from mapping.codes.convert import convert
from mapping.codes.doubts import doubt_about
from mapping.codes.graded.convert import GradedOptions
from mapping.datasets.load import Dataset, scale_text, scaled
from mapping.diagnosis.input_tried import doubt_of
from mapping.diagnosis.losses import loss_doubt
from mapping.errors import InfeasibleError, MappingError, UnsupportedModelError
from mapping.flow import compile_network, compile_passes, unary_code
from mapping.given import calibration_of, model_and_data
from mapping.layout.gates import ONE_OF_EACH, Gates
from mapping.layout.objective import check_objective
from mapping.model.network import Network
from mapping.report.activity import Activity, SingleDifferences, observe
from mapping.report.changes import rates_after
from mapping.report.closed_form import closed_form_part, counted_layers, fits_closed_form
from mapping.report.emulated import Emulated, emulated, rated
from mapping.report.keys import (
    ordered,
)
from mapping.report.passes import InPasses, in_passes
from mapping.report.result import Report
from mapping.spiking.network import SpikingNetwork
from mapping.stages import stage
from mapping.targets.files import Target, load_target
from mapping.targets.kuang import chosen_patches
from mapping.targets.model import Cost, Counted, Emulation, Limits
from mapping.targets.models import model_of
from mapping.targets.patches import Patches

__all__ = ["estimate"]


def estimate(
    model: object,
    data: object,
    targets: Target | str | Sequence[Target | str] = ("loom",),
    *,
    core: str | None = None,
    seed: int = 0,
    how: str = "auto",
    strict: bool = False,
    chips: tuple[int, int] | None = None,
    shared_links: bool = False,
    wires: int | None = None,
    placer: str = "greedy",
    passes: tuple[int, int] | None = None,
    gates: Gates = ONE_OF_EACH,
    objective: str = "cores",
    patches: str | None = None,
    code: str = AUTO,
    calibration: object = None,
    options: GradedOptions | None = None,
    explained: bool = False,
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
    chips : (across, down), optional
        Equal chips, joined by links, on which cycle-exact targets have the network; by default the target's.
    shared_links : bool
        One link for each side of these chips instead of one for each of its routers.
    wires : int, optional
        Wires of each of these links, by default a quarter of the bits of a flit.
    placer : str
        Who places the cores on them, a name in `mapping.layout.place.PLACERS`.
    gates : Gates
        Inlets and outlets of the mesh of all chips on them, by default the target's.
    passes : (width, height), optional
        Mesh of a chip over which cycle-exact targets run the network in passes.
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
    explained : bool
        Also emulate what single changes of these arguments do to the rate, see `mapping.report.changes`.
    progress : callable, optional
        Told what is being done.

    Raises
    ------
    MappingError
        If the model, the data or an option cannot be used, or every target refuses the network.
    """
    where: dict[str, Any] = {"core": core, "chips": chips, "shared_links": shared_links, "gates": gates}
    where |= {"wires": wires, "placer": placer, "objective": objective}
    loaded, chooser = _loaded(targets, patches)
    fixed: dict[str, Any] = {"where": where, "seed": seed, "strict": strict, "passes": passes, "asked": code}
    fixed |= {"patches": chooser, "options": options or GradedOptions(), "explained": explained}
    network, source, samples = _given(model, data, calibration, seed)
    given, chosen = scaled(source, how, network)
    run = _Estimation(
        network=network,
        data=given,
        scaling=chosen,
        code=code_of(network, code),
        samples=scaled(samples, chosen, network)[0].x,
        say=progress or (lambda _: None),
        **fixed,
    )
    return _report(run, run.parts(loaded), source, how)


def _loaded(
    targets: Target | str | Sequence[Target | str], patches: str | None
) -> tuple[list[Target], Patches]:
    """Return the targets, one or several, those that are names loaded, and who chooses patches on them."""
    several = [targets] if isinstance(targets, Target | str) else targets
    loaded = [load_target(target) if isinstance(target, str) else target for target in several]
    return loaded, chosen_patches(patches, used=any(model_of(target).patched for target in loaded))


def _given(model: object, data: object, calibration: object, seed: int) -> tuple[Network, Dataset, Dataset]:
    """Return a network, its data, and the samples on which the graded code is chosen."""
    network, source = model_and_data(model, data)
    return (
        network,
        source,
        calibration_of(calibration, data if isinstance(data, str | os.PathLike) else source, seed),
    )


def _report(run: "_Estimation", parts: Sequence[Mapping[str, Any]], source: Dataset, how: str) -> Report:
    """Return the report of some parts, with a doubt about the ``source`` if there is one."""
    taken = next(part for part in parts if part["refusal"] is None)
    doubts = (
        doubt_about(run.network, run.code.name, taken["near"]),
        next(iter(run.lost.values())),
        doubt_of(run.network, source, run.scaling, how, taken["ann_accuracy"]),
    )
    return Report(
        model=run.network.name,
        data=run.data.name,
        input=run.scaling,
        seed=run.seed,
        targets=parts,
        float32=run.single,
        doubt=" ".join(filter(None, doubts)) or None,
        input_told=scale_text(source, run.scaling, how),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Estimation:
    """What the parts of a report have in common, and what was observed for them so far.

    ``where`` is what images are compiled for beside their target: core, chips with their links, objective.
    """

    network: Network
    data: Dataset
    scaling: str
    where: Mapping[str, Any]
    seed: int
    strict: bool
    passes: tuple[int, int] | None
    patches: Patches
    code: Code
    asked: str
    samples: NDArray[np.float64]
    options: GradedOptions
    explained: bool
    say: Callable[[str], None]
    seen: dict[tuple[str, ...], Activity] = field(default_factory=dict)
    lost: dict[tuple[str, ...], str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_objective(self.where["objective"])

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
        work = _Work(run=self, target=target)
        cost = model_of(target).cost(target, work)
        return work.part(cost)

    def observed(self, spiking: SpikingNetwork) -> Activity:
        """Run the network once for all targets that take the same layers."""
        layers = (spiking.encoder_output, *(layer.name for layer in spiking.layers))
        if layers not in self.seen:
            self.say(f"running the network on {len(self.data.x)} samples")
            self.seen[layers] = observe(spiking, self.data)
            self.lost[layers] = loss_doubt(spiking, self.data.x, self.seen[layers].agreement)
        return self.seen[layers]

    @property
    def single(self) -> SingleDifferences:
        """Where float32 differs, on the layers of the first target that took the network."""
        return next(iter(self.seen.values())).single


@dataclass(kw_only=True, eq=False)
class _Work:
    """What a model asks for; ``part`` makes the report's part of its answer."""

    run: _Estimation
    target: Target
    part: Callable[[Cost], dict[str, Any]] = field(init=False)

    @property
    def patches(self) -> Patches:
        """Who chooses the patches on the seed chip."""
        return self.run.patches

    def counted(self, limits: Limits) -> Counted:
        """Convert the network for cores of some limits, and run it."""
        run, target = self.run, self.target
        run.say(f"{target.name}: closed form")
        unary_code(run.asked, target)
        spiking = convert(run.network, fits_closed_form(target, limits), strict=run.strict)
        activity = run.observed(spiking)
        self.part = partial(closed_form_part, spiking, activity, target)
        return counted_layers(spiking, activity)

    def emulated(self) -> Emulation:
        """Compile an image, and run it and its network."""
        run, target = self.run, self.target
        run.say(f"{target.name}: compiling")
        asked: dict[str, Any] = {"target": target, "seed": run.seed, **run.where}
        asked |= {"scaling": run.scaling, "strict": run.strict, "code": run.code.name}
        asked |= {"samples": run.samples, "options": run.options, "progress": run.say}
        told = f"{target.name}: emulating {len(run.data.x)} samples"
        image: Emulated | InPasses
        if run.passes is None:
            chip = compile_network(run.network, **asked)
            with stage("report"):
                activity = run.observed(chip.spiking)
                run.say(told)
                image = emulated(chip, run.data, target, activity)
            if run.explained:
                image = replace(image, changes=self._changes(chip, asked))
        else:
            passes = compile_passes(run.network, mesh=run.passes, **asked)
            with stage("report"):
                activity = run.observed(passes.spiking)
                run.say(told)
                image = in_passes(passes, run.data, target, activity)
        self.part = image.part
        return image.emulation

    def _changes(self, chip: Chip, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return what single changes of the arguments of a chip do to its rate."""
        run = self.run
        run.say(f"{self.target.name}: trying single changes")
        compiled = partial(compile_network, run.network)
        return rates_after(chip.image.spec, asked, compiled, partial(rated, data=run.data))


def _refused(parts: Sequence[Mapping[str, Any]], refusals: Sequence[MappingError]) -> MappingError:
    """Return what to raise when no target is left: the one refusal, or all in one sentence."""
    if len({str(refusal) for refusal in refusals}) == 1:
        return refusals[0]
    told = "; ".join(f"{part['target']}: {clause(part['refusal'])}" for part in parts)
    return MappingError(f"Every target refuses the network: {told}.")
