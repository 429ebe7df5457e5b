# SPDX-License-Identifier: Apache-2.0
"""What stands behind every target: a model that says what a network costs on its chip."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from emu.spec import CoreSpec
from mapping.targets.energy import EnergyBreakdown
from mapping.targets.patches import LayerShape, Patches
from mapping.targets.target import Target

__all__ = [
    "Cost",
    "Counted",
    "Emulation",
    "KnownWork",
    "LayerCost",
    "LayerWork",
    "Limits",
    "Pipelined",
    "TargetModel",
    "Work",
]

Limits = Callable[[LayerShape, tuple[LayerShape, ...]], None]
"""A core, as a layer and the max-pools before it meet it.

It raises `mapping.errors.InfeasibleError` if no core of the target can hold them, however they are cut.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWork:
    """A layer on the chip, and sums of what it did on all samples.

    Parameters
    ----------
    shape : LayerShape
        The layer without its pools; its name is that of the layer.
    pools : tuple of LayerShape
        The max-pools between it and its source, in order.
    source : str
        Name of the layer that it reads, or `mapping.spiking.network.INPUT`.
    output : bool
        Whether the host reads it.
    entered, read, fired : int
        Spikes that its source fired, that it read, after the pools, and that it fired; a count of c is c
        spikes.
    logical, dense : int
        Synaptic operations as `mapping.spiking.matrices.LayerOperations` counts them.
    """

    shape: LayerShape
    pools: tuple[LayerShape, ...] = ()
    source: str
    output: bool = False
    entered: int = 0
    read: int = 0
    fired: int = 0
    logical: int = 0
    dense: int = 0

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.shape.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The layers that a chip takes, in order, and on how many samples their sums are."""

    layers: tuple[LayerWork, ...]
    samples: int

    def mean(self, what: str) -> float:
        """Return the mean per sample of a sum over all layers, divided once so that it is rounded once."""
        return sum(int(getattr(layer, what)) for layer in self.layers) / self.samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulation:
    """What the emulator says of an image, means per inference.

    Parameters
    ----------
    core : CoreSpec
        Its cores.
    mesh, used, chips : int
        Cores that are there, cores with a program, and chips.
    steps : int
        Timesteps of one inference.
    cycles : float
        From one inference to the next, not pipelined.
    latency_s : float
        Of one input alone.
    counters : Mapping[str, float]
        Every hardware counter.
    events : Mapping[str, float]
        What an energy table charges.
    layers : Mapping[str, Mapping[str, float]]
        The events that belong to a layer, by layer.
    """

    core: CoreSpec
    mesh: int
    used: int
    chips: int
    steps: int
    cycles: float
    latency_s: float
    counters: Mapping[str, float]
    events: Mapping[str, float]
    layers: Mapping[str, Mapping[str, float]]


class Work(Protocol):
    """A network and samples, which a model asks for what its chip needs to know.

    Attributes
    ----------
    patches : {"best", "article"}
        Who chooses the patches on the seed chip, see `mapping.targets.patches.map_layer`.
    """

    @property
    def patches(self) -> Patches:
        """Who chooses the patches on the seed chip."""
        ...

    def counted(self, limits: Limits) -> Counted:
        """Return the layers that fit, each of ternary weights and one source, and what they did."""
        ...

    def emulated(self) -> Emulation:
        """Compile an image for the target, and return what it does on the samples."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownWork:
    """Work that is done already: `Work` without a network.

    Parameters
    ----------
    layers : Counted, optional
        What `counted` returns, once all of it met the limits.
    emulation : Emulation, optional
        What `emulated` returns.
    patches : {"best", "article"}
        See `Work`.
    """

    layers: Counted | None = None
    emulation: Emulation | None = None
    patches: Patches = "best"

    def counted(self, limits: Limits) -> Counted:
        """Return the layers.

        Raises
        ------
        InfeasibleError
            If one of them breaks a limit.
        """
        if self.layers is None:
            raise ValueError("layers must be given for a closed form, not left out")
        for layer in self.layers.layers:
            limits(layer.shape, layer.pools)
        return self.layers

    def emulated(self) -> Emulation:
        """Return the emulation."""
        if self.emulation is None:
            raise ValueError("emulation must be given for a cycle-exact target, not left out")
        return self.emulation


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """What one layer takes on its chip: cores, its first step, its steps, and when they begin and end."""

    name: str
    cores: int
    step: int
    steps: int
    begin_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipelined:
    """One inference where a new sample enters in every step: samples a second, latency, energy."""

    throughput_per_s: float
    latency_s: float
    energy: EnergyBreakdown


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one inference costs on a target.

    Parameters
    ----------
    cores, chips, steps : int
        Cores in use, of all layers together, chips that they are on, and steps of one inference.
    step_s : float or None
        Duration of a step, None if it depends on what happens in it.
    latency_s, throughput_per_s : float
        Of one input alone, and of samples one after the other.
    operations : float
        Synaptic operations that this chip does.
    energy : EnergyBreakdown
        Events by the target's table, and static power where it is known.
    area_mm2 : float or None
        Silicon of the chips, None where it is not known.
    least : str, optional
        Of a closed form that does not know every limit of its chip, why more cores than these may be needed.
    layers : tuple of LayerCost
        Of a closed form.
    pipelined : Pipelined, optional
        Of a closed form whose chip can take a sample in every step.
    loading : mapping, optional
        Of a closed form, what loading takes, which no figure includes.
    patches : {"best", "article"}, optional
        Who chose the patches, where there was a choice.
    """

    cores: int
    chips: int
    steps: int
    step_s: float | None
    latency_s: float
    throughput_per_s: float
    operations: float
    energy: EnergyBreakdown
    area_mm2: float | None = None
    least: str | None = None
    layers: tuple[LayerCost, ...] = ()
    pipelined: Pipelined | None = None
    loading: Mapping[str, Any] | None = None
    patches: Patches | None = None


class TargetModel(Protocol):
    """How a network becomes cores, time and events on a kind of chip.

    Attributes
    ----------
    unary : bool
        Whether a packet has no payload, so that a count of k levels is k neurons.
    patched : bool
        Whether `Work.patches` makes a difference.
    """

    unary: bool
    patched: bool

    def array(self, target: Target) -> tuple[int, int] | None:
        """Return the cores across and down that layers share in passes, None if there is no such array."""
        ...

    def cost(self, target: Target, work: Work) -> Cost:
        """Return what one inference costs on a target of this model.

        Raises
        ------
        InfeasibleError
            If the target cannot hold the layers together.
        """
        ...
