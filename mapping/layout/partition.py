# SPDX-License-Identifier: Apache-2.0
"""Cut the layers of a spiking network into parts that fit a core (`docs/reference/mapping.md`).

The patch form (a window of the map times a block of channels) and the objective, fewest cores after tiling,
follow Zou et al. 2021 (Front. Neurosci. 15:694170); the axon numbering is ours.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from emu.spec import CoreSpec
from mapping.errors import InfeasibleError
from mapping.spiking.matrices import layer_matrix, pool_matrix
from mapping.spiking.network import INPUT, SpikingLayer, SpikingNetwork

__all__ = [
    "FANOUT_LIMIT",
    "CorePart",
    "LayerPart",
    "Partition",
    "clamped_thresholds",
    "deliveries",
    "depths",
    "partition",
]

FANOUT_LIMIT = "fan-out entries on one core"
"""Name of the limit that depends on the placement too; `mapping.layout.route.fit` reacts to it."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPart:
    """The cores ``first`` .. ``first + cores - 1`` of one layer.

    ``depth`` counts the layers between the input and this one; ``grid`` is (patch rows, patch columns,
    channel blocks), and core ``first + (row * columns + column) * blocks + block`` holds that patch.
    """

    name: str
    source: str
    depth: int
    first: int
    grid: tuple[int, int, int]

    @property
    def cores(self) -> int:
        """Number of cores."""
        return math.prod(self.grid)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Partition:
    """Every layer of a network as parts of one core each, in the order of the layers.

    ``period`` is the number of timesteps of one sample.
    """

    spiking: SpikingNetwork
    spec: CoreSpec
    period: int
    layers: tuple[LayerPart, ...]
    cores: tuple[CorePart, ...]

    def of(self, layer: LayerPart) -> tuple[CorePart, ...]:
        """Return the parts of one layer."""
        return self.cores[layer.first : layer.first + layer.cores]

    def home(self, name: str) -> tuple[Integers, Integers]:
        """Return core and neuron index, each int64 (elements,), of every output element of a layer."""
        part = next(layer for layer in self.layers if layer.name == name)
        size = math.prod(self.spiking.layer(name).output_shape)
        core, neuron = np.full(size, -1, np.int64), np.full(size, -1, np.int64)
        for index, block in enumerate(self.of(part), part.first):
            core[block.outputs], neuron[block.outputs] = index, np.arange(len(block.outputs))
        return core, neuron


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Limits:
    """What one core may hold of one layer."""

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


def depths(spiking: SpikingNetwork) -> dict[str, int]:
    """Return the step of a sample in which each layer fires: 0 for those that read the input."""
    depth = {INPUT: -1}
    for layer in spiking.layers:
        depth[layer.name] = depth[layer.source] + 1
    del depth[INPUT]
    return depth


def clamped_thresholds(layer: SpikingLayer, spec: CoreSpec) -> Integers:
    """Return the thresholds, int64 (rows, levels), within the words of the core.

    A threshold above potential_max becomes "never", one below potential_min "always". Potentials saturate, so
    this is exact as long as no reachable sum lies beyond such a threshold.

    Raises
    ------
    InfeasibleError
        If a reachable sum lies beyond it: the potential is too narrow for the layer.
    """
    flat = layer.weight.reshape(len(layer.weight), -1).astype(np.int64)
    high = np.where(flat > 0, flat, 0).sum(axis=1) * layer.source_levels
    low = np.where(flat < 0, flat, 0).sum(axis=1) * layer.source_levels
    theta = layer.thresholds
    wrong = (theta > spec.potential_max) & (theta <= high[:, None])
    wrong |= (theta <= spec.potential_min) & (theta > low[:, None])
    if wrong.any():
        widest = int(np.abs(theta[wrong]).max())
        raise InfeasibleError(
            layer=layer.name,
            limit="potential bits",
            demand=widest.bit_length() + 1,
            allowed=spec.potential_bits,
            remedy="use a core with a wider potential",
        )
    return np.clip(theta, spec.always, spec.never)


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


def partition(spiking: SpikingNetwork, spec: CoreSpec, *, caps: Mapping[str, int] | None = None) -> Partition:
    """Cut every layer into parts that fit a core, as few as possible; a core holds neurons of one layer.

    Parameters
    ----------
    spiking : SpikingNetwork
        The network.
    spec : CoreSpec
        Sizes of a core.
    caps : mapping, optional
        Most neurons of a core by layer, below what the core could hold.

    Raises
    ------
    InfeasibleError
        If a layer breaks a limit however it is cut; names layer, limit, demand and remedy.
    """
    depth = depths(spiking)
    period = max(depth.values()) + 1
    blocks: dict[str, tuple[list[CorePart], tuple[int, int, int]]] = {}
    for layer in reversed(spiking.layers):
        _check_codes(layer, spec, depth[layer.name], period)
        readers = [
            (reader, blocks[reader.name][0]) for reader in spiking.layers if reader.source == layer.name
        ]
        limits = _limits(layer, spec, readers, layer.name in spiking.outputs, (caps or {}).get(layer.name))
        blocks[layer.name] = _cut(layer, limits)
    layers: list[LayerPart] = []
    cores: list[CorePart] = []
    for layer in spiking.layers:
        parts, grid = blocks[layer.name]
        name, source = layer.name, layer.source
        layers.append(LayerPart(name=name, source=source, depth=depth[name], first=len(cores), grid=grid))
        cores += parts
    return Partition(spiking=spiking, spec=spec, period=period, layers=tuple(layers), cores=tuple(cores))


def _check_codes(layer: SpikingLayer, spec: CoreSpec, depth: int, period: int) -> None:
    """Refuse counts that no packet carries and schedules that no core holds."""
    entries = 1 + (depth > 0) + (depth < period - 1)
    wider = "use a core with a wider payload or fewer levels"
    if layer.source == INPUT and layer.source_levels > spec.payload_max:
        demand, allowed = layer.source_levels, spec.payload_max
        raise InfeasibleError(
            layer=INPUT, limit="spikes per value", demand=demand, allowed=allowed, remedy=wider
        )
    for limit, demand, allowed, remedy in (
        ("spikes per neuron", layer.levels, spec.payload_max, wider),
        ("schedule entries", entries, spec.schedule, "use a core with a longer schedule"),
        ("timesteps between its steps", period - 1, 4095, "use a network of fewer layers"),
        (
            "thresholds on one core",
            layer.levels,
            spec.thresholds,
            "use a core with more thresholds or fewer levels",
        ),
    ):
        if demand > allowed:
            raise InfeasibleError(
                layer=layer.name, limit=limit, demand=demand, allowed=allowed, remedy=remedy
            )


def _limits(
    layer: SpikingLayer,
    spec: CoreSpec,
    readers: Sequence[tuple[SpikingLayer, Sequence[CorePart]]],
    output: bool,
    cap: int | None,
) -> _Limits:
    """Return the limits of a layer; a neuron needs one fan-out entry for each axon its readers give it."""
    entries = np.full(math.prod(layer.output_shape), int(output))
    for reader, parts in readers:
        source, _, axon = deliveries(reader, parts)
        pairs = np.unique(np.stack((source, axon)), axis=1)
        entries += np.bincount(pairs[0], minlength=len(entries))
    most = int(entries.max())
    if most > spec.fanouts:
        raise InfeasibleError(
            layer=layer.name,
            limit=FANOUT_LIMIT,
            demand=most,
            allowed=spec.fanouts,
            remedy="use a core with a larger fan-out memory",
        )
    neurons = min(spec.columns, spec.fanouts // max(most, 1), cap or spec.columns)
    rows = spec.thresholds // layer.levels
    distinct = len(np.unique(clamped_thresholds(layer, spec), axis=0))
    return _Limits(axons=spec.axons, neurons=neurons, threshold_rows=rows if distinct > rows else 2**30)


def _cut(layer: SpikingLayer, limits: _Limits) -> tuple[list[CorePart], tuple[int, int, int]]:
    """Cut one layer: patches of a convolution, blocks of a dense layer, else whatever shares its inputs."""
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


def _best_patch(layer: SpikingLayer, limits: _Limits) -> _Patch | None:
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


def _deepest(layer: SpikingLayer, limits: _Limits, rows: int, columns: int) -> tuple[_Patch | None, int]:
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


def _greedy_blocks(layer: SpikingLayer, matrix: sparse.csr_array, limits: _Limits) -> Iterator[Integers]:
    """Yield runs of neurons whose inputs with a non-zero weight fit the axons together."""
    per_row = matrix.shape[0] // len(layer.thresholds)
    block: list[int] = []
    seen: set[int] = set()
    for neuron in range(matrix.shape[0]):
        support = set(matrix.indices[matrix.indptr[neuron] : matrix.indptr[neuron + 1]].tolist())
        if len(support) > limits.axons:
            raise InfeasibleError(
                layer=layer.name,
                limit="axons for the inputs of one neuron",
                demand=len(support),
                allowed=limits.axons,
                remedy="use a core with more axons or a layer with fewer non-zero weights",
            )
        rows = neuron // per_row - block[0] // per_row + 1 if block else 1
        if len(seen | support) > limits.axons or len(block) == limits.neurons or rows > limits.threshold_rows:
            yield np.array(block)
            block, seen = [], set()
        block.append(neuron)
        seen |= support
    yield np.array(block)
