# SPDX-License-Identifier: Apache-2.0
"""Cut one layer into parts that fit a core (`docs/reference/mapping.md`).

The patch form (a window of the map times a block of channels) and the objective, fewest cores after tiling,
follow Zou et al. 2021 (Front. Neurosci. 15:694170); the axon numbering is ours.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mapping.layout.crossbar import Crossbar, Encoding, Kernels
from mapping.spiking.matrices import layer_matrix
from mapping.spiking.network import Source, SpikingLayer
from mapping.spiking.quantisers import Mixed

__all__ = ["CorePart", "Limits", "cores_of", "cut_layer", "fits_as_patch", "most_inputs", "spare_axons"]

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CorePart:
    """What one core computes.

    Parameters
    ----------
    layer : str
        The layer of all its neurons.
    outputs : int64 (n,)
        Output element of each neuron, ascending.
    inputs, axon : int64 (m,)
        Inputs of the layer with a non-zero weight here, ascending, and the axon of each. Parts that follow
        each other and read the same have the same arrays.
    axons : int
        Axons in use.
    crossbar : Crossbar
        The weights, shared by all cores that hold the same ones.
    extension : int
        Axons of a crossbar row.
    """

    layer: str
    outputs: Integers
    inputs: Integers
    axon: Integers
    axons: int
    crossbar: Crossbar
    extension: int = 1

    def __post_init__(self) -> None:
        for array in (self.outputs, self.inputs, self.axon):
            array.flags.writeable = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Limits:
    """What one core may hold of one layer: inputs, neurons, and different rows of its quantiser.

    ``axons`` and ``neurons`` are those with ``extension`` axons in a crossbar row.
    """

    axons: int
    neurons: int
    threshold_rows: int
    extension: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """What a patch reads of one source: height and width of its window, channels, and its first axon."""

    window: tuple[int, int]
    span: int
    first: int

    @property
    def axons(self) -> int:
        return self.span * math.prod(self.window)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Patch:
    """A cut of a convolution: patch height, width and channels, and what it reads of each source."""

    height: int
    width: int
    channels: int
    views: tuple[_View, ...]
    extension: int

    @property
    def axons(self) -> int:
        return self.views[-1].first + self.views[-1].axons


def cut_layer(layer: SpikingLayer, limits: Sequence[Limits]) -> tuple[list[CorePart], tuple[int, int, int]]:
    """Cut one layer: patches of convolutions, blocks of a dense layer, else whatever shares its inputs.

    Its neurons must have no more inputs than one of the ``limits`` has axons. Returns the parts and their
    grid, see `mapping.layout.partition.LayerPart`.
    """
    patch = _best_patch(layer, limits)
    if patch is not None:
        return _patches(layer, patch)
    matrix = layer_matrix(layer)
    block = _best_blocks(layer, limits)
    if block is not None:
        count, extension = block
        ids = _in_order(layer, np.arange(matrix.shape[1]), extension)
        blocks = _of_one_kind(layer, np.array_split(np.arange(matrix.shape[0]), count))
        parts = _parts_of(layer, matrix, blocks, ids, extension)
        return parts, (1, 1, len(parts))
    choices = [
        _parts_of(layer, matrix, _greedy_blocks(layer, matrix, limit), None, limit.extension)
        for limit in limits
        if limit.neurons and most_inputs(layer, matrix) <= limit.axons
    ]
    parts = min(choices, key=len)
    return parts, (1, 1, len(parts))


def cores_of(layer: SpikingLayer, limits: Sequence[Limits]) -> int:
    """Return into how many parts `cut_layer` cuts a layer."""
    if not isinstance(layer.quantiser, Mixed):
        patch = _best_patch(layer, limits)
        if patch is not None:
            _, height, width = layer.output_shape
            blocks = len(_channel_blocks(layer, patch.channels))
            return -(-height // patch.height) * -(-width // patch.width) * blocks
        block = _best_blocks(layer, limits)
        if block is not None:
            return block[0]
    return len(cut_layer(layer, limits)[0])


def _of_one_kind(layer: SpikingLayer, blocks: Sequence[Integers]) -> list[Integers]:
    """Return blocks of channels or neurons, each with ladders alone or lists alone.

    Where every block reads all inputs, those with lists come last, so that one block at most is cut in two.
    """
    if not isinstance(layer.quantiser, Mixed):
        return list(blocks)
    size = sum(len(block) for block in blocks)
    listed = np.repeat(layer.quantiser.listed, size // layer.rows)
    if all(source.groups == 1 for source in layer.sources):
        order = np.argsort(listed, kind="stable")
        blocks = [order[block] for block in blocks]
    pieces = [piece for block in blocks for piece in (block[~listed[block]], block[listed[block]])]
    return [piece for piece in pieces if len(piece)]


def _parts_of(
    layer: SpikingLayer,
    matrix: sparse.csr_array,
    blocks: Iterable[Integers],
    ids: Integers | None,
    extension: int,
) -> list[CorePart]:
    """Build parts from the matrix of their layer; ``ids`` numbers the axon of every input, see `_Parts`."""
    parts = _Parts(layer, ids, extension)
    for outputs in blocks:
        own = matrix[outputs]
        inputs = np.flatnonzero(np.bincount(own.indices[own.data != 0], minlength=matrix.shape[1]))
        parts.add(outputs, inputs, Crossbar(encoded=partial(_dense, own, inputs)))
    return parts.made


def _dense(own: sparse.csr_array, inputs: Integers, encoding: Encoding) -> NDArray[Any]:
    """Return what stands for the weights of some inputs, (inputs, outputs, ...)."""
    return encoding.of(own[:, inputs].toarray().T)


class _Parts:
    """The parts of a layer; ``ids`` numbers the axon of every input of it, None numbers those in use."""

    def __init__(self, layer: SpikingLayer, ids: Integers | None, extension: int) -> None:
        self._layer, self._ids, self._extension = layer, ids, extension
        self.made: list[CorePart] = []

    def add(self, outputs: Integers, inputs: Integers, crossbar: Crossbar) -> None:
        """Build one more; it shares what it reads with the one before if that is the same."""
        before = self.made[-1] if self.made else None
        if before is not None and np.array_equal(before.inputs, inputs):
            inputs, axon = before.inputs, before.axon
        elif self._ids is None:
            axon = _in_order(self._layer, inputs, self._extension)
        else:
            axon = self._ids[inputs]
        part = CorePart(
            layer=self._layer.name,
            outputs=outputs.astype(np.int64),
            inputs=inputs,
            axon=axon,
            axons=int(axon.max(initial=0)) + 1,
            crossbar=crossbar,
            extension=self._extension,
        )
        self.made.append(part)


def _in_order(layer: SpikingLayer, inputs: Integers, extension: int) -> Integers:
    """Number inputs in ascending order; inputs of another source begin a new crossbar row."""
    bounds = np.cumsum([0, *(source.inputs for source in layer.sources)])
    first, parts = 0, []
    for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        own = int(((inputs >= low) & (inputs < high)).sum())
        parts.append(first + np.arange(own))
        first += -(-own // extension) * extension
    return np.concatenate(parts)


def _whole_axons(layer: SpikingLayer, extension: int) -> int:
    """Return the axons that all inputs of a layer need."""
    return int(_in_order(layer, np.arange(layer.inputs), extension)[-1]) + 1


def _best_blocks(layer: SpikingLayer, limits: Sequence[Limits]) -> tuple[int, int] | None:
    """Return number and extension of the fewest blocks of a dense layer whose inputs fit a core."""
    if layer.kind != "dense":
        return None
    found = [
        (-(-layer.neurons // min(limit.neurons, limit.threshold_rows)), limit.extension)
        for limit in limits
        if limit.neurons and _whole_axons(layer, limit.extension) <= limit.axons
    ]
    return min(found, default=None)


def _best_patch(layer: SpikingLayer, limits: Sequence[Limits]) -> _Patch | None:
    """Return the patch with the fewest cores after tiling, then the fewest axons, then the squarest."""
    if any(source.kind != "conv" for source in layer.sources):
        return None
    _, height, width = layer.output_shape
    best: tuple[tuple[int, ...], _Patch] | None = None
    for limit in limits:
        for rows in range(1, min(height, limit.neurons) + 1):
            for columns in range(1, min(width, limit.neurons // rows) + 1):
                tiles = -(-height // rows) * -(-width // columns)
                most = _most_channels(layer, limit, rows, columns)
                if not most or (best and tiles * -(-layer.output_shape[0] // most) > best[0][0]):
                    continue  # more cores, whatever its axons
                patch, blocks = _deepest(layer, limit, rows, columns)
                if patch is None:
                    continue
                cores = tiles * blocks
                key = (cores, limit.extension, patch.axons, abs(rows - columns), rows)
                if best is None or key < best[0]:
                    best = (key, patch)
    return best[1] if best else None


def _most_channels(layer: SpikingLayer, limit: Limits, rows: int, columns: int) -> int:
    """Return the channels of a patch for which a core has columns and thresholds."""
    return min(limit.neurons // (rows * columns), limit.threshold_rows, layer.output_shape[0])


def _deepest(layer: SpikingLayer, limit: Limits, rows: int, columns: int) -> tuple[_Patch | None, int]:
    """Return the patch of this size with the most channels that fit, evened out, and its channel blocks."""
    windows = [_window(source, rows, columns) for source in layer.sources]
    channels = _most_channels(layer, limit, rows, columns)
    while channels:
        channels = _evened(layer, channels)
        views = _views(layer, windows, channels, limit.extension)
        patch = _Patch(height=rows, width=columns, channels=channels, views=views, extension=limit.extension)
        if patch.axons <= limit.axons:
            return patch, len(_channel_blocks(layer, channels))
        if min(_group_sizes(layer)) >= channels:
            break  # fewer channels read no less
        channels = min(channels - 1, channels * limit.axons // patch.axons)
    return None, 0


def _window(source: Source, rows: int, columns: int) -> tuple[int, int]:
    """Return height and width of what a patch of an output map reads of a source."""
    _, height, width = source.input_shape
    kh, kw = source.weight.shape[2:]
    return (
        min((rows - 1) * source.stride[0] + (kh - 1) * source.dilation[0] + 1, height),
        min((columns - 1) * source.stride[1] + (kw - 1) * source.dilation[1] + 1, width),
    )


def _unit(layer: SpikingLayer, channels: int) -> int:
    """Return the channels that a block of at most so many holds or lies in: the groups of its sources."""
    total = layer.output_shape[0]
    sizes = {total // source.groups for source in layer.sources}
    return math.lcm(*(size for size in sizes if size <= channels), 1)


def _evened(layer: SpikingLayer, channels: int) -> int:
    """Return the channels of a block, not more than given, so that blocks are of equal size where possible.

    A block holds whole groups, or lies in one.
    """
    total = layer.output_shape[0]
    unit = _unit(layer, channels)
    whole = min((size for size in _group_sizes(layer) if size > channels), default=total)
    pieces = -(-whole // max(unit, channels // unit * unit))
    return -(-whole // unit // pieces) * unit if unit <= whole else channels


def _group_sizes(layer: SpikingLayer) -> set[int]:
    return {layer.output_shape[0] // source.groups for source in layer.sources}


def _views(
    layer: SpikingLayer, windows: Sequence[tuple[int, int]], channels: int, extension: int
) -> tuple[_View, ...]:
    """Return what a block of channels reads of every source, and where its axons begin."""
    total, first, views = layer.output_shape[0], 0, []
    for source, window in zip(layer.sources, windows, strict=True):
        per_group, fan_in = total // source.groups, source.weight.shape[1]
        span = -(-channels // per_group) * fan_in
        views.append(_View(window=window, span=span, first=first))
        first += -(-views[-1].axons // extension) * extension
    return tuple(views)


def _channel_blocks(layer: SpikingLayer, channels: int) -> list[Integers]:
    """Return the output channels of each block; a block holds whole groups or lies in one."""
    total = layer.output_shape[0]
    unit = min((size for size in _group_sizes(layer) if size > channels), default=total)
    return [
        np.arange(start, min(start + channels, first + unit, total))
        for first in range(0, total, unit)
        for start in range(first, min(first + unit, total), channels)
    ]


def _patches(layer: SpikingLayer, patch: _Patch) -> tuple[list[CorePart], tuple[int, int, int]]:
    """Cut convolutions; the axon of an input is (channel, y, x) modulo span and window, in every patch."""
    _, height, width = layer.output_shape
    numbered = zip(layer.sources, patch.views, strict=True)
    ids = np.concatenate([_axon_ids(source, view) for source, view in numbered])
    blocks = _of_one_kind(layer, _channel_blocks(layer, patch.channels))
    kernels, parts = Kernels(layer), _Parts(layer, ids, patch.extension)
    for top in range(0, height, patch.height):
        for left in range(0, width, patch.width):
            rows = np.arange(top, min(top + patch.height, height))
            columns = np.arange(left, min(left + patch.width, width))
            for block in blocks:
                outputs = (block[:, None, None] * height + rows[:, None]) * width + columns
                parts.add(outputs.reshape(-1), *kernels.patch(block, rows, columns))
    return parts.made, (-(-height // patch.height), -(-width // patch.width), len(blocks))


def _axon_ids(source: Source, view: _View) -> Integers:
    """Return the axon of every input of a source."""
    channel, y, x = np.unravel_index(np.arange(source.inputs), source.input_shape)
    wy, wx = view.window
    return np.asarray(view.first + ((channel % view.span) * wy + y % wy) * wx + x % wx, np.int64)


def most_inputs(layer: SpikingLayer, matrix: sparse.csr_array) -> int:
    """Return the most axons that the inputs of one neuron need, however sources are aligned."""
    return int(np.diff(matrix.indptr).max(initial=0)) + spare_axons(layer)


def spare_axons(layer: SpikingLayer) -> int:
    """Return how many axons may be left without an input where each source begins a row of a crossbar."""
    return 8 * (len(layer.sources) - 1)


def _greedy_blocks(layer: SpikingLayer, matrix: sparse.csr_array, limits: Limits) -> Iterator[Integers]:
    """Yield runs of neurons whose inputs with a non-zero weight fit the axons together."""
    per_row = matrix.shape[0] // layer.quantiser.rows
    spare = limits.extension * (len(layer.sources) - 1)
    listed = layer.quantiser.listed if isinstance(layer.quantiser, Mixed) else np.zeros(layer.rows, np.bool_)
    block: list[int] = []
    seen: set[int] = set()
    for neuron in range(matrix.shape[0]):
        support = set(matrix.indices[matrix.indptr[neuron] : matrix.indptr[neuron + 1]].tolist())
        rows = neuron // per_row - block[0] // per_row + 1 if block else 1
        full = len(block) == limits.neurons or rows > limits.threshold_rows
        full = full or bool(block and listed[block[0] // per_row] != listed[neuron // per_row])
        if block and (full or len(seen | support) + spare > limits.axons):
            yield np.array(block)
            block, seen = [], set()
        block.append(neuron)
        seen |= support
    yield np.array(block)


def fits_as_patch(layer: SpikingLayer, limits: Sequence[Limits]) -> bool:
    """Tell whether inputs can be numbered alike on all cores, as patches of convolutions or blocks."""
    if layer.kind == "dense":
        return _best_blocks(layer, limits) is not None
    conv = all(source.kind == "conv" for source in layer.sources)
    return conv and any(limit.neurons and _deepest(layer, limit, 1, 1)[0] is not None for limit in limits)
