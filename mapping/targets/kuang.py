# SPDX-License-Identifier: Apache-2.0
"""The seed chip in closed form: cores, latency and energy from the shapes of the layers alone.

Zou et al. 2021, Front. Neurosci. 15:694170, cut every layer into patches of one core each (Eqs. 11-22) and
run the layers one after the other on 64 cores, a fixed time step per pass. Feature maps are (H, W, D) here.

Pooling: the article replaces it by a stride-2 convolution. A real max-pool of a model costs the same on this
chip: it is a layer of its own, mapped like a convolution with its kernel and stride, each output fed by all
input channels of the patch. It is never merged into another layer, because the chip cannot merge axons.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from mapping.targets.energy import EnergyBreakdown, estimate_energy
from mapping.targets.files import Target, load_target

__all__ = [
    "ClosedForm",
    "InfeasibleLayerError",
    "LayerShape",
    "Objective",
    "PatchMapping",
    "estimate_kuang",
    "map_layer",
]

Objective = Literal["cores", "article"]

_KINDS = ("conv", "pool", "fc")
# The sides of the article's output patches never differ by more than two points. This stands for the growth
# order of its Algorithm 2, which depends on a figure, and is the least limit that admits all published rows.
_ARTICLE_SIDE_DIFFERENCE = 2


class InfeasibleLayerError(ValueError):
    """A layer fits no core of the target, however it is cut.

    Parameters
    ----------
    layer : str
        Name of the layer.
    demand, limit : int
        Axons that one output point needs, and axons that a core can offer with its columns.
    """

    def __init__(self, *, layer: str, demand: int, limit: int) -> None:
        super().__init__(
            f"Layer {layer!r} must need at most {limit} axons for one output point, not {demand};"
            " use a smaller kernel, fewer input channels or fewer spikes per activation."
        )
        self.layer = layer
        self.demand = demand
        self.limit = limit


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShape:
    """Shape of one on-chip layer.

    Parameters
    ----------
    name : str
        Name used in reports and messages.
    kind : str
        ``conv``, ``pool`` or ``fc``. The window of ``fc`` is the whole input map, whatever ``kernel`` says.
    input, output : tuple of 3 int
        Feature maps as (H, W, D).
    kernel, stride : int or tuple of 2 int
        One number, or (vertical, horizontal).

    Raises
    ------
    TypeError
        If a size is not an integer.
    ValueError
        If a size is not positive or the output does not follow from the input.
    """

    name: str
    kind: str
    input: tuple[int, int, int]
    output: tuple[int, int, int]
    kernel: int | tuple[int, int] = 1
    stride: int | tuple[int, int] = 1

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ValueError(f"Kind of layer {self.name!r} must be conv, pool or fc, not {self.kind!r}.")
        for field, length in (("input", 3), ("output", 3), ("kernel", 2), ("stride", 2)):
            self._check_sizes(field, length)
        sizes = zip(self.input[:2], self.output[:2], self.window, self.steps, strict=True)
        for axis, (size_in, size_out, window, step) in zip(("height", "width"), sizes, strict=True):
            # The padding is not part of the shape: none at all up to window - 1 points on each side.
            least = max(size_in - window, 0) // step + 1
            most = (size_in + window - 2) // step + 1
            if not least <= size_out <= most:
                raise ValueError(
                    f"Output {axis} of layer {self.name!r} must be {least} to {most} for input {axis}"
                    f" {size_in}, kernel {window} and stride {step}, not {size_out}."
                )

    def _check_sizes(self, field: str, length: int) -> None:
        value = getattr(self, field)
        sizes = (value,) * length if field in ("kernel", "stride") and isinstance(value, int) else value
        if not isinstance(sizes, tuple) or any(type(size) is not int for size in sizes):
            raise TypeError(f"Field {field} of layer {self.name!r} must hold integers, not {value!r}.")
        if len(sizes) != length or min(sizes) < 1:
            raise ValueError(
                f"Field {field} of layer {self.name!r} must be {length} sizes above zero, not {value!r}."
            )

    @property
    def window(self) -> tuple[int, int]:
        """Window of one output point as (vertical, horizontal)."""
        if self.kind == "fc":
            return self.input[:2]
        return (self.kernel, self.kernel) if isinstance(self.kernel, int) else self.kernel

    @property
    def steps(self) -> tuple[int, int]:
        """Stride as (vertical, horizontal)."""
        if self.kind == "fc":
            return (1, 1)
        return (self.stride, self.stride) if isinstance(self.stride, int) else self.stride


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchMapping:
    """How one layer is cut into patches of one core each (Zou et al. 2021, Eqs. 11-22).

    Parameters
    ----------
    name : str
        Name of the layer.
    patch_in, patch_out : tuple of 3 int
        Input and output patch of a core as (w, h, d), the order of the article.
    extension : int
        Axon extension f.
    axon_density, neuron_density, synapse_density : float
        Shares of a core in use, Eqs. 15, 14 and 16. Of a full core, not of one at the edge of the map.
    patches : tuple of 3 int
        Patches along width, height and depth: m, n, p.
    """

    name: str
    patch_in: tuple[int, int, int]
    patch_out: tuple[int, int, int]
    extension: int
    axon_density: float
    neuron_density: float
    synapse_density: float
    patches: tuple[int, int, int]

    @property
    def cores(self) -> int:
        """Cores of the layer, m n p."""
        return math.prod(self.patches)


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


def map_layer(
    shape: LayerShape, *, k_rep: int, target: Target | None = None, objective: Objective = "cores"
) -> PatchMapping:
    """Cut a layer into patches by exhaustive search over patch sides and axon extensions.

    The input patch holds all input channels (Eq. 12) and the output patch as many channels as fit. Candidates
    satisfy Eq. 11; the best needs the fewest cores (m n p, Eqs. 20-22), then has the highest synapse density,
    the highest axon density (least extension), the smallest and the most nearly square input patch.

    Parameters
    ----------
    shape : LayerShape
        Shape of the layer.
    k_rep : int
        Spiking neurons per activation (Eq. 19).
    target : Target, optional
        Closed-form target; the shipped ``kuang2021`` by default.
    objective : {"cores", "article"}
        ``cores`` considers every patch, and does not count axons outside the map. ``article`` follows the
        published plan: Eq. 13 to the letter, channels before points (Algorithm 1) and output patches whose
        sides differ by at most two points; it gives every patch of Tables 7 and 8.

    Raises
    ------
    ValueError
        If ``k_rep`` or ``objective`` is not allowed.
    InfeasibleLayerError
        If a single output point needs more axons than a core can offer.
    """
    if objective not in ("cores", "article"):
        raise ValueError(f"Objective must be cores or article, not {objective!r}.")
    core = _core(load_target("kuang2021") if target is None else target, k_rep)
    best = min(_candidates(shape, core, objective), key=_preference, default=None)
    if best is None:
        demand = math.prod(_inside(shape, (1, 1), objective)) * shape.input[2] * k_rep
        raise InfeasibleLayerError(layer=shape.name, demand=demand, limit=core.axons * core.extensions[-1])
    return best


def estimate_kuang(
    layers: Sequence[LayerShape],
    *,
    k_rep: int,
    sop_dense: float,
    target: Target | None = None,
    objective: Objective = "cores",
) -> ClosedForm:
    """Return cores, latency and energy of one inference on the seed chip.

    A pass of at most 64 cores takes a fixed time step, the layers follow each other, and all chips draw their
    static power throughout: E = chips x P x T + e x SOP. Loading the passes is hidden by the double memory,
    and traffic between chips is free, both as in the article.

    Parameters
    ----------
    layers : sequence of LayerShape
        The on-chip layers, in order.
    k_rep : int
        Spiking neurons per activation.
    sop_dense : float
        Synaptic operations of one inference by the article's count: input spikes of every receptive field x
        output channels x k_wei x k_rep.
    target : Target, optional
        Closed-form target; the shipped ``kuang2021`` by default.
    objective : {"cores", "article"}
        See ``map_layer``.

    Raises
    ------
    ValueError
        If there is no layer, the target is not closed-form, or a number is out of range.
    InfeasibleLayerError
        If a layer fits no core.

    Examples
    --------
    >>> layer = LayerShape(name="fc", kind="fc", input=(4, 4, 32), output=(1, 1, 256))
    >>> estimate_kuang([layer], k_rep=4, sop_dense=0).cores
    4
    """
    if not layers:
        raise ValueError("Layers must hold at least one layer, not none; give the on-chip layers.")
    target = load_target("kuang2021") if target is None else target
    mappings = tuple(map_layer(shape, k_rep=k_rep, target=target, objective=objective) for shape in layers)
    array = math.prod(target.count(key) for key in ("chips_x", "chips_y", "cores_per_chip"))
    steps = tuple(math.ceil(mapping.cores / array) for mapping in mappings)
    step_s = target.timing["cycles_per_step"].value / target.clock_hz
    counts = {"synaptic_operations_dense": sop_dense}
    energy = estimate_energy(counts, sum(steps) * step_s, array, target.energy)
    return ClosedForm(layers=mappings, steps_per_layer=steps, step_s=step_s, energy=energy)


@dataclass(frozen=True, slots=True)
class _Core:
    """Limits of a core for a given number of spiking neurons per activation."""

    axons: int
    columns: int
    extensions: tuple[int, ...]
    k_wei: int
    k_rep: int


def _core(target: Target, k_rep: int) -> _Core:
    """Read the limits of a core from a target."""
    if target.kind != "closed-form":
        raise ValueError(f"Target {target.name!r} must be closed-form, not {target.kind}; use kuang2021.")
    columns, k_wei = target.count("columns"), target.count("weight_columns")
    if type(k_rep) is not int or not 1 <= k_rep <= columns // k_wei:
        raise ValueError(f"Spiking neurons per activation must be 1 to {columns // k_wei}, not {k_rep!r}.")
    largest = min(target.count("max_extension"), columns // (k_wei * k_rep))
    extensions = tuple(2**exponent for exponent in range(largest.bit_length()))
    return _Core(target.count("axons"), columns, extensions, k_wei, k_rep)


def _inside(shape: LayerShape, outside: tuple[int, int], objective: Objective) -> tuple[int, int]:
    """Return the (h, w) input patch of an (h, w) output patch, Eq. 13."""
    height, width = ((n - 1) * s + w for n, s, w in zip(outside, shape.steps, shape.window, strict=True))
    if objective == "article":
        return height, width
    return min(height, shape.input[0]), min(width, shape.input[1])


def _candidates(shape: LayerShape, core: _Core, objective: Objective) -> Iterator[PatchMapping]:
    """Yield every mapping that satisfies Eq. 11 and, for the article's plan, its order of growth."""
    for extension in core.extensions:
        most_points = core.columns // (extension * core.k_wei * core.k_rep)
        for height in range(1, min(shape.output[0], most_points) + 1):
            for width in range(1, min(shape.output[1], most_points // height) + 1):
                inside = _inside(shape, (height, width), objective)
                if math.prod(inside) * shape.input[2] * core.k_rep > core.axons * extension:
                    break
                channels = min(shape.output[2], most_points // (height * width))
                if objective == "article" and not _grown_in_order(height, width, channels, shape):
                    continue
                yield _mapping(shape, core, inside, (height, width, channels), extension)


def _grown_in_order(height: int, width: int, channels: int, shape: LayerShape) -> bool:
    """Tell whether an output patch has all channels before it grows, and grows nearly square."""
    all_channels = channels == shape.output[2] or height == width == 1
    return all_channels and abs(height - width) <= _ARTICLE_SIDE_DIFFERENCE


def _mapping(
    shape: LayerShape, core: _Core, inside: tuple[int, int], outside: tuple[int, int, int], extension: int
) -> PatchMapping:
    """Return the mapping of a layer for an input patch (h, w), an output patch (h, w, d) and an extension."""
    points_in = math.prod(inside) * shape.input[2]
    points_out = math.prod(outside)
    seen = math.prod(map(min, shape.window, inside)) * shape.input[2]
    down, across, deep = (math.ceil(whole / part) for whole, part in zip(shape.output, outside, strict=True))
    synapses = core.k_rep * points_out * seen * core.k_rep * core.k_wei
    return PatchMapping(
        name=shape.name,
        patch_in=(inside[1], inside[0], shape.input[2]),
        patch_out=(outside[1], outside[0], outside[2]),
        extension=extension,
        axon_density=core.k_rep * points_in / (core.axons * extension),
        neuron_density=core.k_rep * points_out * extension * core.k_wei / core.columns,
        synapse_density=synapses / (core.axons * core.columns),
        patches=(across, down, deep),
    )


def _preference(mapping: PatchMapping) -> tuple[int, ...]:
    """Order of mappings, best first; integers only, so that ties are ties on every machine."""
    width, height, _ = mapping.patch_in
    return (
        mapping.cores,
        -math.prod(mapping.patch_out),
        mapping.extension,
        width * height,
        width + height,
        -width,
    )
