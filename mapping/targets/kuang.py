# SPDX-License-Identifier: Apache-2.0
"""The seed chip in closed form: cores, latency and energy from shapes and operations of the layers.

Zou et al. 2021, Front. Neurosci. 15:694170, cut every layer into patches of one core each
(`mapping.targets.patches`) and run the layers one after the other on 64 cores, a fixed time step per pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, cast, get_args

from mapping.errors import MappingError
from mapping.targets.energy import EnergyBreakdown, estimate_energy
from mapping.targets.files import Target, load_target
from mapping.targets.model import Cost, LayerCost, Work
from mapping.targets.patches import LayerShape, Patches, PatchMapping, map_layer

__all__ = ["ClosedForm", "Kuang", "chosen_patches", "estimate_kuang", "loading_closed_form"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedForm:
    """What one inference costs on the seed chip.

    Parameters
    ----------
    layers : tuple of PatchMapping
        One per layer, in order.
    steps_per_layer : tuple of int
        Passes over the array per layer, ceil(cores / cores of the array).
    step_s : float
        Duration of a pass in s.
    energy : EnergyBreakdown
        Energy in J.
    """

    layers: tuple[PatchMapping, ...]
    steps_per_layer: tuple[int, ...]
    step_s: float
    energy: EnergyBreakdown

    @property
    def cores_per_layer(self) -> tuple[int, ...]:
        """Cores that each layer needs."""
        return tuple(layer.cores for layer in self.layers)

    @property
    def cores(self) -> int:
        """Cores that all layers need together, more than exist if passes share them."""
        return sum(self.cores_per_layer)

    @property
    def steps(self) -> int:
        """Passes of one inference."""
        return sum(self.steps_per_layer)

    @property
    def latency_per_layer_s(self) -> tuple[float, ...]:
        """Latency of each layer in s."""
        return tuple(steps * self.step_s for steps in self.steps_per_layer)

    @property
    def latency_s(self) -> float:
        """Latency of one inference in s."""
        return self.steps * self.step_s

    @property
    def throughput_per_s(self) -> float:
        """Inferences per second: one at a time, as in the article."""
        return 1.0 / self.latency_s

    @property
    def power_w(self) -> float:
        """Mean power in W, energy times throughput."""
        return self.energy.total_j * self.throughput_per_s


def estimate_kuang(
    layers: Sequence[LayerShape],
    *,
    sop_dense: float,
    target: Target | None = None,
    patches: Patches = "best",
) -> ClosedForm:
    """Return cores, latency and energy of one inference on the seed chip.

    A pass of at most 64 cores takes a fixed time step, the layers follow each other, and all chips draw their
    static power throughout: E = chips x P x T + e x SOP. Loading the passes is hidden by the double memory,
    and traffic between chips is free, both as in the article.

    Parameters
    ----------
    layers : sequence of LayerShape
        The on-chip layers, in order.
    sop_dense : float
        Synaptic operations of one inference by the article's count: input spikes of every receptive field x
        output channels x k_wei x k_rep.
    target : Target, optional
        Closed-form target; the shipped ``kuang2021`` by default.
    patches : {"best", "article"}
        See ``map_layer``.

    Raises
    ------
    ValueError
        If there is no layer, the target is not closed-form, or a number is out of range.
    InfeasibleError
        If a layer fits no core.

    Examples
    --------
    >>> from mapping.targets.patches import LayerShape
    >>> layer = LayerShape(
    ...     name="fc", kind="fc", input=(4, 4, 32), output=(1, 1, 256), source_levels=4, levels=4
    ... )
    >>> estimate_kuang([layer], sop_dense=0).cores
    4
    """
    if not layers:
        raise ValueError("Layers must hold at least one layer, not none; give the on-chip layers.")
    target = load_target("kuang2021") if target is None else target
    mappings = tuple(map_layer(shape, target=target, patches=patches) for shape in layers)
    array = math.prod(target.count(key) for key in ("chips_x", "chips_y", "cores_per_chip"))
    steps = tuple(math.ceil(mapping.cores / array) for mapping in mappings)
    step_s = target.timing["cycles_per_step"].value / target.clock_hz
    counts = {"synaptic_operations_dense": sop_dense}
    energy = estimate_energy(counts, sum(steps) * step_s, array, target.energy)
    return ClosedForm(layers=mappings, steps_per_layer=steps, step_s=step_s, energy=energy)


class Kuang:
    """The model `kuang2021`: layers in passes over one array of cores, a fixed time a pass."""

    unary = True
    patched = True

    def array(self, target: Target) -> tuple[int, int]:
        """Return the cores of all chips, across and down."""
        return target.count("chips_x") * target.count("cores_per_chip"), target.count("chips_y")

    def cost(self, target: Target, work: Work) -> Cost:
        """Return what one inference costs; a max-pool is a layer of its own, and pools do no operations."""

        def limits(layer: LayerShape, pools: tuple[LayerShape, ...]) -> None:
            for shape in (*pools, layer):
                map_layer(shape, target=target, patches=work.patches)

        counted = work.counted(limits)
        shapes = [shape for layer in counted.layers for shape in (*layer.pools, layer.shape)]
        operations = counted.mean("dense")
        form = estimate_kuang(shapes, sop_dense=operations, target=target, patches=work.patches)
        return Cost(
            cores=form.cores,
            chips=math.prod(target.count(key) for key in ("chips_x", "chips_y")),
            steps=form.steps,
            step_s=form.step_s,
            latency_s=form.latency_s,
            throughput_per_s=form.throughput_per_s,
            operations=operations,
            energy=form.energy,
            layers=_layers(form),
            loading=loading_closed_form(form, target),
            patches=work.patches,
        )


def _layers(form: ClosedForm) -> tuple[LayerCost, ...]:
    """Return what each layer takes; ``step`` is the first of its passes."""
    ends = list(accumulate(form.steps_per_layer))
    begins = [0, *ends[:-1]]
    return tuple(
        LayerCost(
            name=layer.name,
            cores=layer.cores,
            step=begin,
            steps=end - begin,
            begin_s=begin * form.step_s,
            end_s=end * form.step_s,
        )
        for layer, begin, end in zip(form.layers, begins, ends, strict=True)
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


def chosen_patches(patches: str | None, *, used: bool) -> Patches:
    """Return who chooses the patches, where ``used`` says whether a target asks.

    Raises
    ------
    MappingError
        If there is no such choice, or no target that has any.
    """
    if patches is not None and not used:
        raise MappingError(
            f"Patches {patches} are a choice of the target kuang2021: add it or leave the option out."
        )
    for known in get_args(Patches):
        if patches in (None, known):
            return cast("Patches", known)
    raise MappingError(f"Patches must be {' or '.join(get_args(Patches))}, not {patches!r}.")
