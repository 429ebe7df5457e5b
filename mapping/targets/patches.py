# SPDX-License-Identifier: Apache-2.0
"""Layers cut into patches of one core each on the seed chip (Zou et al. 2021, Eqs. 11-22).

Feature maps are (H, W, D) here.

Pooling: the article replaces it by a stride-2 convolution. A real max-pool of a model costs the same on this
chip: it is a layer of its own, mapped like a convolution with its kernel and stride, each output fed by all
input channels of the patch. It is never merged into another layer, because the chip cannot merge axons.

Levels: the article gives all layers of a network the same number of spikes per activation, k_rep. Here every
layer has its own: an input takes as many axons as it has levels, an output as many copies of its columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from mapping.errors import InfeasibleError
from mapping.targets.files import Target, load_target

__all__ = [
    "CoreLimits",
    "LayerShape",
    "PatchMapping",
    "Patches",
    "best_patch",
    "map_layer",
    "possible_patches",
]

Patches = Literal["best", "article"]
"""Who chooses the patches: the search of this module, or the published plan."""

_KINDS = ("conv", "pool", "fc")
_PAIRS = ("kernel", "stride", "dilation")
# The sides of the article's output patches never differ by more than two points. This stands for the growth
# order of its Algorithm 2, which depends on a figure, and is the least limit that admits all published rows.
_ARTICLE_SIDE_DIFFERENCE = 2
_FEWER_INPUTS = {
    "conv": "a smaller kernel, fewer input channels",
    "pool": "a smaller kernel, fewer channels",
    "fc": "fewer inputs",
}


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
    kernel, stride, dilation : int or tuple of 2 int
        One number, or (vertical, horizontal).
    pads : tuple of 4 int, optional
        Padding (top, left, bottom, right), for an exact check of the output. Without it any padding below the
        window is allowed for: the article does not print its own.
    source_levels, levels : int
        Largest count of an input and of an output, in the article one number: k_rep (Eq. 19).
    groups : int
        Groups of channels that a convolution keeps apart: an output reads the inputs of its own group.

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
    dilation: int | tuple[int, int] = 1
    pads: tuple[int, int, int, int] | None = None
    source_levels: int = 1
    levels: int = 1
    groups: int = 1

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ValueError(f"Kind of layer {self.name!r} must be conv, pool or fc, not {self.kind!r}.")
        for field, length in (("input", 3), ("output", 3), *((name, 2) for name in _PAIRS)):
            self._check_sizes(field, length)
        for field in ("source_levels", "levels", "groups"):
            value = getattr(self, field)
            if type(value) is not int or value < 1:
                raise ValueError(f"Field {field} of layer {self.name!r} must be 1 or more, not {value!r}.")
        if self.input[2] % self.groups or self.output[2] % self.groups:
            raise ValueError(
                f"Groups of layer {self.name!r} must divide its channels {self.input[2]} and "
                f"{self.output[2]}, not {self.groups}."
            )
        for i, axis in enumerate(("height", "width")):
            self._check_axis(i, axis)

    def _check_axis(self, i: int, axis: str) -> None:
        """Demand an output size that follows from the input's."""
        size_in, size_out, window, step = self.input[i], self.output[i], self.window[i], self.steps[i]
        fewest, most = (0, 2 * window - 2) if self.pads is None else (self.pads[i] + self.pads[i + 2],) * 2
        least = max(size_in + fewest - window, 0) // step + 1
        largest = (size_in + most - window) // step + 1
        if not least <= size_out <= largest:
            raise ValueError(
                f"Output {axis} of layer {self.name!r} must be {least} to {largest} for input {axis}"
                f" {size_in}, kernel {window} and stride {step}, not {size_out}."
            )

    def _check_sizes(self, field: str, length: int) -> None:
        value = getattr(self, field)
        sizes = (value,) * length if field in _PAIRS and isinstance(value, int) else value
        if not isinstance(sizes, tuple) or any(type(size) is not int for size in sizes):
            raise TypeError(f"Field {field} of layer {self.name!r} must hold integers, not {value!r}.")
        if len(sizes) != length or min(sizes) < 1:
            raise ValueError(
                f"Field {field} of layer {self.name!r} must be {length} sizes above zero, not {value!r}."
            )

    @property
    def fan_in(self) -> int:
        """Input channels that an output channel reads."""
        return self.input[2] // self.groups

    @property
    def taps(self) -> tuple[int, int]:
        """Inputs of one output point and channel as (vertical, horizontal)."""
        return self.input[:2] if self.kind == "fc" else _pair(self.kernel)

    @property
    def gaps(self) -> tuple[int, int]:
        """Distance between neighbouring taps as (vertical, horizontal)."""
        return (1, 1) if self.kind == "fc" else _pair(self.dilation)

    @property
    def window(self) -> tuple[int, int]:
        """Window of one output point, gaps included, as (vertical, horizontal)."""
        (down, across), (gap_down, gap_across) = self.taps, self.gaps
        return (down - 1) * gap_down + 1, (across - 1) * gap_across + 1

    @property
    def steps(self) -> tuple[int, int]:
        """Stride as (vertical, horizontal)."""
        return (1, 1) if self.kind == "fc" else _pair(self.stride)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


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


def map_layer(shape: LayerShape, *, target: Target | None = None, patches: Patches = "best") -> PatchMapping:
    """Cut a layer into patches by exhaustive search over patch sides and axon extensions.

    The input patch holds all input channels (Eq. 12) and the output patch as many channels as fit. Of a
    layer in groups, which the article does not have, a patch holds a part of one group or, for ``best``,
    several whole groups, and the inputs of these. Candidates
    satisfy Eq. 11, with the layer's own levels on either side; the best needs the fewest cores (m n p, Eqs.
    20-22), then has the highest synapse density, the highest axon density (least extension), the smallest and
    the most nearly square input patch.

    Parameters
    ----------
    shape : LayerShape
        Shape of the layer.
    target : Target, optional
        Closed-form target; the shipped ``kuang2021`` by default.
    patches : {"best", "article"}
        ``best`` considers every patch, and counts only axons that are inside the map and are read.
        ``article`` follows the published plan: Eq. 13 to the letter, channels before points (Algorithm 1) and
        output patches whose sides differ by at most two points; it gives every patch of Tables 7 and 8.

    Raises
    ------
    ValueError
        If the target is not closed-form, or ``patches`` is not allowed.
    InfeasibleError
        If a single output point needs more axons or columns than a core can offer.
    """
    core = _core(shape, load_target("kuang2021") if target is None else target)
    best = best_patch(shape, core, _known(patches))
    if best is None:
        raise InfeasibleError(
            layer=shape.name,
            limit="axons for one output point",
            demand=math.prod(_inside(shape, (1, 1), patches)) * shape.fan_in * shape.source_levels,
            allowed=core.axons * core.extensions[-1],
            remedy=f"use {_FEWER_INPUTS[shape.kind]} or fewer levels of its activations",
        )
    return best


def possible_patches(
    shape: LayerShape, *, target: Target | None = None, patches: Patches = "best"
) -> Iterator[PatchMapping]:
    """Give every mapping among which `map_layer` chooses; it takes and raises the same, but may give none."""
    core = _core(shape, load_target("kuang2021") if target is None else target)
    yield from _candidates(shape, core, _known(patches))


def _known(patches: Patches) -> Patches:
    if patches not in get_args(Patches):
        raise ValueError(f"Patches must be best or article, not {patches!r}.")
    return patches


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreLimits:
    """Limits of a core for one layer.

    Parameters
    ----------
    axons, columns : int
        Inputs and columns of a core that is not extended.
    extensions : tuple of int
        Factors by which axons can be extended at the cost of columns.
    point_columns : int
        Columns of one output point and channel.
    points : int, optional
        Output points and channels that a core holds at most for another reason.
    """

    axons: int
    columns: int
    extensions: tuple[int, ...] = (1,)
    point_columns: int
    points: int | None = None

    def most_points(self, extension: int) -> int:
        """Return the most output points and channels of a core."""
        most = self.columns // (extension * self.point_columns)
        return most if self.points is None else min(most, self.points)


def best_patch(shape: LayerShape, core: CoreLimits, patches: Patches = "best") -> PatchMapping | None:
    """Return the best mapping of a layer on cores of some limits, None if there is no mapping.

    >>> layer = LayerShape(name="fc", kind="fc", input=(1, 1, 100), output=(1, 1, 600))
    >>> best_patch(layer, CoreLimits(axons=128, columns=256, point_columns=1)).cores
    3
    """
    return min(_candidates(shape, core, patches), key=_preference, default=None)


def _core(shape: LayerShape, target: Target) -> CoreLimits:
    """Read the limits of a core from a target: an output point takes a column per weight column and level."""
    if "weight_columns" not in target.geometry:
        raise ValueError(
            f"Target {target.name!r} must be of the model kuang2021, not {target.model}; use kuang2021."
        )
    columns, point_columns = target.count("columns"), target.count("weight_columns") * shape.levels
    if point_columns > columns:
        raise InfeasibleError(
            layer=shape.name,
            limit="columns for one output point",
            demand=point_columns,
            allowed=columns,
            remedy="use fewer levels of its activation",
        )
    largest = min(target.count("max_extension"), columns // point_columns)
    extensions = tuple(2**exponent for exponent in range(largest.bit_length()))
    return CoreLimits(
        axons=target.count("axons"), columns=columns, extensions=extensions, point_columns=point_columns
    )


def _inside(shape: LayerShape, outside: tuple[int, int], patches: Patches) -> tuple[int, int]:
    """Return the (h, w) input patch of an (h, w) output patch: Eq. 13, or only what is there and is read."""
    sides = zip(outside, shape.steps, shape.window, shape.taps, shape.gaps, shape.input, strict=False)
    if patches == "article":
        height, width = ((n - 1) * step + window for n, step, window, *_ in sides)
    else:
        height, width = (min(_reach(n, step, taps, gap), size) for n, step, _, taps, gap, size in sides)
    return height, width


@lru_cache(maxsize=4096)
def _reach(points: int, step: int, taps: int, gap: int) -> int:
    """Return how many inputs in a row some neighbouring output points read."""
    return len({point * step + tap * gap for point in range(points) for tap in range(taps)})


def _candidates(shape: LayerShape, core: CoreLimits, patches: Patches) -> Iterator[PatchMapping]:
    """Yield every mapping that satisfies Eq. 11 and, for the article's plan, its order of growth."""
    for extension in core.extensions:
        most_points = core.most_points(extension)
        for height in range(1, min(shape.output[0], most_points) + 1):
            for width in range(1, min(shape.output[1], most_points // height) + 1):
                inside = _inside(shape, (height, width), patches)
                axons = math.prod(inside) * shape.fan_in * shape.source_levels
                if axons > core.axons * extension:
                    break
                for groups, channels in _depths(shape, most_points // (height * width)):
                    if groups * axons > core.axons * extension:
                        break
                    if patches == "article" and not _grown_in_order(height, width, channels, shape):
                        break
                    yield _mapping(shape, core, inside, (height, width, channels), extension)


def _depths(shape: LayerShape, most: int) -> Iterator[tuple[int, int]]:
    """Yield how many groups and channels a patch of at most so many channels can hold, few first."""
    each = shape.output[2] // shape.groups
    yield 1, min(each, most)
    for groups in range(2, min(shape.groups, most // each) + 1):
        yield groups, groups * each


def _grown_in_order(height: int, width: int, channels: int, shape: LayerShape) -> bool:
    """Tell whether an output patch has all channels of one group before it grows, and grows nearly square."""
    all_channels = channels * shape.groups == shape.output[2] or (
        height == width == 1 and channels * shape.groups < shape.output[2]
    )
    return all_channels and abs(height - width) <= _ARTICLE_SIDE_DIFFERENCE


def _mapping(
    shape: LayerShape,
    core: CoreLimits,
    inside: tuple[int, int],
    outside: tuple[int, int, int],
    extension: int,
) -> PatchMapping:
    """Return the mapping of a layer for an input patch (h, w), an output patch (h, w, d) and an extension."""
    each = shape.output[2] // shape.groups
    whole_groups, parts = max(1, outside[2] // each), math.ceil(each / outside[2])
    depth = whole_groups * shape.fan_in
    points_in = math.prod(inside) * depth
    points_out = math.prod(outside)
    seen = math.prod(map(min, shape.taps, inside)) * shape.fan_in
    down, across = (math.ceil(whole / part) for whole, part in zip(shape.output[:2], outside, strict=False))
    deep = math.ceil(shape.groups / whole_groups) * parts
    synapses = points_out * core.point_columns * seen * shape.source_levels
    return PatchMapping(
        name=shape.name,
        patch_in=(inside[1], inside[0], depth),
        patch_out=(outside[1], outside[0], outside[2]),
        extension=extension,
        axon_density=shape.source_levels * points_in / (core.axons * extension),
        neuron_density=points_out * core.point_columns * extension / core.columns,
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
