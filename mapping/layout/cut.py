# SPDX-License-Identifier: Apache-2.0
"""Cut one layer into parts that fit a core (`docs/reference/mapping.md`).

The patch form (a window of the map times a block of channels) and the objective, fewest cores after tiling,
follow Zou et al. 2021 (Front. Neurosci. 15:694170); the axon numbering is ours.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mapping.spiking.matrices import layer_matrix, pool_matrix
from mapping.spiking.network import SpikingLayer

__all__ = ["CorePart", "Limits", "cut_layer", "deliveries", "fits_as_patch"]

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
        Input elements (after the pools) with a non-zero weight here, ascending, and the axon of each.
    axons : int
        Crossbar rows in use.
    """

    layer: str
    outputs: Integers
    inputs: Integers
    axon: Integers
    axons: int

    def __post_init__(self) -> None:
        for array in (self.outputs, self.inputs, self.axon):
            array.flags.writeable = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Limits:
    """What one core may hold of one layer: inputs, neurons, and different rows of thresholds."""

    axons: int
    neurons: int
    threshold_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Patch:
    """A cut of a convolution: patch height, width, channels; window height and width; input channels."""

    height: int
    width: int
    channels: int
    window: tuple[int, int]
    span: int


def cut_layer(layer: SpikingLayer, limits: Limits) -> tuple[list[CorePart], tuple[int, int, int]]:
    """Cut one layer: patches of a convolution, blocks of a dense layer, else whatever shares its inputs.

    Its neurons must have no more inputs than ``limits`` has axons. Returns the parts and their grid, see
    `mapping.layout.partition.LayerPart`.
    """
    matrix = layer_matrix(layer)
    matrix.sort_indices()
    if layer.kind == "conv":
        patch = _best_patch(layer, limits)
        if patch is not None:
            return _patches(layer, matrix, patch)
    elif matrix.shape[1] <= limits.axons:
        size = min(limits.neurons, limits.threshold_rows)
        count = -(-matrix.shape[0] // size)
        blocks = np.array_split(np.arange(matrix.shape[0]), count)
        ids = np.arange(matrix.shape[1])
        return [_part(layer, matrix, block, ids) for block in blocks], (1, 1, count)
    parts = [_part(layer, matrix, block, None) for block in _greedy_blocks(layer, matrix, limits)]
    return parts, (1, 1, len(parts))


def _part(layer: SpikingLayer, matrix: sparse.csr_array, outputs: Integers, ids: Integers | None) -> CorePart:
    """Build a part; ``ids`` numbers the axon of every input element, None numbers those in use."""
    inputs = np.unique(matrix[outputs].indices).astype(np.int64)
    axon = np.arange(len(inputs)) if ids is None else ids[inputs]
    axons = int(axon.max(initial=0)) + 1
    return CorePart(layer=layer.name, outputs=outputs.astype(np.int64), inputs=inputs, axon=axon, axons=axons)


def _best_patch(layer: SpikingLayer, limits: Limits) -> _Patch | None:
    """Return the patch with the fewest cores after tiling, then the fewest axons, then the squarest."""
    _, height, width = layer.output_shape
    best: tuple[tuple[int, ...], _Patch] | None = None
    for rows in range(1, height + 1):
        for columns in range(1, width + 1):
            patch, blocks = _deepest(layer, limits, rows, columns)
            if patch is None:
                continue
            cores = -(-height // rows) * -(-width // columns) * blocks
            key = (cores, patch.span * math.prod(patch.window), abs(rows - columns), rows)
            if best is None or key < best[0]:
                best = (key, patch)
    return best[1] if best else None


def _deepest(layer: SpikingLayer, limits: Limits, rows: int, columns: int) -> tuple[_Patch | None, int]:
    """Return the patch of this size with the most channels that fit, evened out, and its channel blocks."""
    total, fan_in, kh, kw = layer.weight.shape
    per_group = total // layer.groups
    _, height, width = layer.input_shape
    window = (
        min((rows - 1) * layer.stride[0] + (kh - 1) * layer.dilation[0] + 1, height),
        min((columns - 1) * layer.stride[1] + (kw - 1) * layer.dilation[1] + 1, width),
    )
    channels = min(limits.neurons // (rows * columns), limits.threshold_rows)
    spans = limits.axons // math.prod(window)
    if not channels or spans < fan_in:
        return None, 0
    groups = min(layer.groups, spans // fan_in, channels // per_group)
    if groups:
        blocks = -(-layer.groups // groups)
        groups = -(-layer.groups // blocks)
        channels, span = groups * per_group, groups * fan_in
    else:
        per_block = -(-per_group // channels)
        blocks, channels, span = layer.groups * per_block, -(-per_group // per_block), fan_in
    return _Patch(height=rows, width=columns, channels=channels, window=window, span=span), blocks


def _channel_blocks(layer: SpikingLayer, patch: _Patch) -> list[Integers]:
    """Return the output channels of each block; a block holds whole groups or lies in one."""
    total = layer.output_shape[0]
    unit = max(total // layer.groups, patch.channels)
    return [
        np.arange(start, min(start + patch.channels, first + unit, total))
        for first in range(0, total, unit)
        for start in range(first, min(first + unit, total), patch.channels)
    ]


def _patches(
    layer: SpikingLayer, matrix: sparse.csr_array, patch: _Patch
) -> tuple[list[CorePart], tuple[int, int, int]]:
    """Cut a convolution; the axon of an input is (channel, y, x) modulo span and window, in every patch."""
    _, height, width = layer.output_shape
    channel, y, x = np.unravel_index(np.arange(matrix.shape[1]), layer.input_shape)
    wy, wx = patch.window
    ids = ((channel % patch.span) * wy + y % wy) * wx + x % wx
    blocks = _channel_blocks(layer, patch)
    parts = []
    for top in range(0, height, patch.height):
        for left in range(0, width, patch.width):
            rows = np.arange(top, min(top + patch.height, height))
            columns = np.arange(left, min(left + patch.width, width))
            for block in blocks:
                outputs = (block[:, None, None] * height + rows[:, None]) * width + columns
                parts.append(_part(layer, matrix, outputs.reshape(-1), ids))
    return parts, (-(-height // patch.height), -(-width // patch.width), len(blocks))


def _greedy_blocks(layer: SpikingLayer, matrix: sparse.csr_array, limits: Limits) -> Iterator[Integers]:
    """Yield runs of neurons whose inputs with a non-zero weight fit the axons together."""
    per_row = matrix.shape[0] // len(layer.thresholds)
    block: list[int] = []
    seen: set[int] = set()
    for neuron in range(matrix.shape[0]):
        support = set(matrix.indices[matrix.indptr[neuron] : matrix.indptr[neuron + 1]].tolist())
        rows = neuron // per_row - block[0] // per_row + 1 if block else 1
        if len(seen | support) > limits.axons or len(block) == limits.neurons or rows > limits.threshold_rows:
            yield np.array(block)
            block, seen = [], set()
        block.append(neuron)
        seen |= support
    yield np.array(block)


def deliveries(layer: SpikingLayer, parts: Sequence[CorePart]) -> tuple[Integers, Integers, Integers]:
    """Return source element, index into ``parts`` and axon of every delivery to a layer, sorted."""
    pools = pool_matrix(layer)
    rows = []
    for index, part in enumerate(parts):
        members = pools[part.inputs]
        axon = np.repeat(part.axon, np.diff(members.indptr))
        rows.append(np.stack((members.indices.astype(np.int64), np.full(len(axon), index), axon)))
    table = np.concatenate(rows, axis=1)
    source, core, axon = table[:, np.lexsort(table[::-1])]
    return source, core, axon


def fits_as_patch(layer: SpikingLayer, limits: Limits) -> bool:
    """Tell whether inputs can be numbered alike on all cores, as patches of a convolution or blocks."""
    if layer.kind == "dense":
        return bool(layer.weight.shape[1] <= limits.axons)
    return _deepest(layer, limits, 1, 1)[0] is not None
