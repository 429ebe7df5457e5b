# SPDX-License-Identifier: Apache-2.0
"""What the cores of a layer must hold, from the layer's own index arithmetic.

A convolution joins input (c, i, j) to output (o, y, x) by the kernel tap (k, l) for which

    i + pad top = y stride + k dilation,    j + pad left = x stride + l dilation

if both channels lie in one group. Conversion asks which places a tap joins; here the question is which tap
joins two places, so the two have no formula in common. A dense layer is a convolution of maps of one pixel.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.spiking.network import Pool, Source, SpikingLayer

__all__ = ["Block", "LayerRule", "Outline", "Weights", "narrowest", "pooled_sources"]

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Weights = NDArray[np.signedinteger[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outline:
    """What is known of the weights of some outputs before they are looked up.

    Parameters
    ----------
    outputs : int64 (outputs,)
        The output elements.
    inputs : int64 (m,)
        Every input of the layer that may have a weight for them, ascending; one array where it is the same.
    bias : int64 (outputs,)
        The bias of each output.
    channels : int
        Equal for outputs of the same channels.
    kind : tuple of int
        Equal for outputs of the same channels whose inputs have the same weights, in the order of ``inputs``.
    """

    outputs: Integers
    inputs: Integers
    bias: Integers
    channels: int
    kind: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """The weights of some outputs.

    Parameters
    ----------
    inputs : int64 (m,)
        Every input of the layer that may have a weight for them, ascending.
    weights : integers (m, outputs)
        The weights, shifted as their source's counts are.
    low, high : int64 (outputs,)
        The smallest and the largest potential that a neuron can reach.
    rows, bias : int64 (outputs,)
        The row of the quantiser of each output, and its bias.
    """

    inputs: Integers
    weights: Weights
    low: Integers
    high: Integers
    rows: Integers
    bias: Integers

    def of(self, at: Integers) -> Weights:
        """Return the weights of the inputs at some places of ``inputs``, (n, outputs); zeros for -1."""
        if np.array_equal(at, np.arange(len(self.weights))):
            return self.weights
        weights = self.weights[at]
        weights[at < 0] = 0
        return weights

    def needed(self, at: Integers) -> Flags:
        """Tell which inputs at some places have a weight that is not zero, bool (n,); -1 has none."""
        return np.asarray(self.of(at).any(axis=1))


class LayerRule:
    """The index arithmetic of one layer: that of its sources, their inputs one after the other.

    Parameters
    ----------
    layer : SpikingLayer
        The layer.
    """

    def __init__(self, layer: SpikingLayer) -> None:
        self._layer = layer
        self._bias = layer.biases()
        self._rules = [_SourceRule(source, layer.output_shape) for source in layer.sources]
        self._first = np.cumsum([0, *(math.prod(source.input_shape) for source in layer.sources)]).tolist()
        self._inputs: dict[tuple[int, ...], Integers] = {}

    def outline(self, outputs: Integers) -> Outline:
        """Return what some output elements read, and what tells their weights from those of others."""
        parts = [rule.outline(outputs) for rule in self._rules]
        key = tuple(id(inputs) for inputs, *_ in parts)
        if key not in self._inputs:
            shifted = [part[0] + first for part, first in zip(parts, self._first, strict=False)]
            self._inputs[key] = np.concatenate(shifted)
        return Outline(
            outputs=outputs,
            inputs=self._inputs[key],
            bias=self._bias[outputs],
            channels=parts[0][1],
            kind=tuple(number for _, *own in parts for number in own),
        )

    def block(self, outline: Outline) -> Block:
        """Return the weights of an outline."""
        low = high = outline.bias
        weights = []
        for rule, source in zip(self._rules, self._layer.sources, strict=True):
            own, positive, negative = rule.weights(outline.outputs)
            weights.append(own << source.shift if source.shift else own)
            up, down = positive << source.shift, negative << source.shift
            low = low + up * source.low + down * source.high
            high = high + up * source.high + down * source.low
        every = weights[0] if len(weights) == 1 else np.concatenate(weights)
        return Block(
            inputs=outline.inputs,
            weights=every,
            low=low,
            high=high,
            rows=outline.outputs // math.prod(self._layer.output_shape[1:]),
            bias=outline.bias,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Taps:
    """What some output pixels read.

    Parameters
    ----------
    seen : int64 (m,)
        The input pixels.
    at : int64 (outputs,)
        Which of the different pixels of the outputs each one is.
    tap : int32 (m, pixels)
        The tap between two pixels, -1 for none.
    number : int
        Equal for equal ``at`` and ``tap``.
    """

    seen: Integers
    at: Integers
    tap: NDArray[np.int32]
    number: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Channels:
    """The kernels of some output channels.

    Parameters
    ----------
    rows : int64 (outputs,)
        The channel of each output.
    sources : int64 (m,)
        The input channels of all groups that they belong to.
    number : int
        Equal for equal ``rows``.
    """

    rows: Integers
    sources: Integers
    number: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Planes:
    """The taps of kernels, with one more that joins nothing: tap -1, the last one.

    Parameters
    ----------
    row : int64 (outputs,)
        Which of the different channels of the outputs each one has.
    taps : int
        Taps of a kernel, and that one.
    weights : integers (input channels, different channels x taps)
        The weights.
    positive, negative : int64 (different channels x taps,)
        The sums over the input channels of the weights of either sign.
    """

    row: Integers
    taps: int
    weights: Weights
    positive: Integers
    negative: Integers


class _SourceRule:
    """The index arithmetic of one source of a layer."""

    def __init__(self, source: Source, output_shape: tuple[int, ...]) -> None:
        rows, fan_in = source.weight.shape[:2]
        height, width = source.weight.shape[2:] or (1, 1)
        inputs, outputs = (shape[1:] or (1, 1) for shape in (source.input_shape, output_shape))
        self._fan_in, self._per_group = fan_in, rows // source.groups
        self._kernel, self._width = _narrow(source).reshape(rows, fan_in, -1), int(width)
        self._pixels_in, self._pixels_out, self._columns = math.prod(inputs), math.prod(outputs), outputs[1]
        self._down = _taps(source, 0, inputs[0], outputs[0], height)
        self._across = _taps(source, 1, inputs[1], outputs[1], width)
        self._inputs: dict[tuple[int, int], Integers] = {}
        self._sources: dict[bytes, Integers] = {}
        self._channels: dict[bytes, _Channels] = {}
        self._seen: dict[bytes, _Taps] = {}
        self._numbers: dict[bytes, int] = {}
        self._last: tuple[_Channels, _Planes] | None = None

    def _read(self, outputs: Integers) -> tuple[_Channels, _Taps]:
        """Return the channels of some output elements, and what their pixels read."""
        channel, pixel = np.divmod(outputs, self._pixels_out)
        return self._channels_of(channel), self._pixel_taps(pixel)

    def outline(self, outputs: Integers) -> tuple[Integers, int, int]:
        """Return the inputs of some output elements, and what tells weights apart: channels and taps."""
        channels, taps = self._read(outputs)
        key = id(channels.sources), id(taps)
        if key not in self._inputs:
            self._inputs[key] = (channels.sources[:, None] * self._pixels_in + taps.seen).reshape(-1)
        return self._inputs[key], channels.number, taps.number

    def weights(self, outputs: Integers) -> tuple[Weights, Integers, Integers]:
        """Return the weights of some output elements, and for each its sums of those of either sign."""
        channels, taps = self._read(outputs)
        if self._last is None or self._last[0] is not channels:
            self._last = channels, self._planes(channels)
        planes = self._last[1]
        place = planes.row * planes.taps + taps.tap[:, taps.at] % planes.taps
        weights = planes.weights.take(place.reshape(-1), axis=1).reshape(-1, len(outputs))
        return weights, planes.positive[place].sum(axis=0), planes.negative[place].sum(axis=0)

    def _pixel_taps(self, outputs: Integers) -> _Taps:
        """Return what the pixels of some outputs read; what equal ones read is found once."""
        key = outputs.tobytes()
        if key not in self._seen:
            pixel, at = np.unique(outputs, return_inverse=True)
            y, x = np.divmod(pixel, self._columns)
            rows = np.flatnonzero((self._down[:, np.unique(y)] >= 0).any(axis=1))
            columns = np.flatnonzero((self._across[:, np.unique(x)] >= 0).any(axis=1))
            down, across = self._down[np.ix_(rows, y)][:, None], self._across[np.ix_(columns, x)]
            tap = np.where((down >= 0) & (across >= 0), down * self._width + across, -1)
            tap = tap.reshape(-1, len(pixel))
            read = (tap >= 0).any(axis=1)
            seen = (rows[:, None] * len(self._across) + columns).reshape(-1)[read]
            tap = tap[read].astype(np.int32)
            alike = b"|".join((at.tobytes(), str(tap.shape).encode(), tap.tobytes()))
            number = self._numbers.setdefault(alike, len(self._numbers))
            self._seen[key] = _Taps(seen=seen, at=at, tap=tap, number=number)
        return self._seen[key]

    def _channels_of(self, rows: Integers) -> _Channels:
        """Return what is known of the channels of some outputs; that of equal ones is one object."""
        key = rows.tobytes()
        if key not in self._channels:
            groups = np.unique(rows // self._per_group)
            own = (groups[:, None] * self._fan_in + np.arange(self._fan_in)).reshape(-1)
            sources = self._sources.setdefault(groups.tobytes(), own)
            self._channels[key] = _Channels(rows=rows, sources=sources, number=len(self._channels))
        return self._channels[key]

    def _planes(self, channels: _Channels) -> _Planes:
        """Return the taps of the kernels of some channels."""
        sources = channels.sources
        rows, row = np.unique(channels.rows, return_inverse=True)
        joined = sources[:, None] // self._fan_in == rows // self._per_group
        cells = self._kernel[rows, (sources % self._fan_in)[:, None]] * joined[..., None]
        planes = np.zeros((*joined.shape, cells.shape[2] + 1), cells.dtype)
        planes[:, :, :-1] = cells
        weights = planes.reshape(len(sources), -1)
        positive, negative = (
            half(weights, 0).sum(axis=0, dtype=np.int64) for half in (np.maximum, np.minimum)
        )
        return _Planes(row=row, taps=planes.shape[2], weights=weights, positive=positive, negative=negative)


def _narrow(source: Source) -> Weights:
    """Return the weights of a source in the narrowest integers that hold them after its shift."""
    most = max(int(source.weight.max(initial=0)), -int(source.weight.min(initial=0)))
    return source.weight.astype(narrowest(most << source.shift))


def narrowest(most: int) -> type[np.signedinteger[Any]]:
    """Return the narrowest integers that hold -most .. most.

    >>> narrowest(127), narrowest(128)
    (<class 'numpy.int8'>, <class 'numpy.int16'>)
    """
    return next(kind for kind in (np.int8, np.int16, np.int32, np.int64) if most <= np.iinfo(kind).max)


def _taps(source: Source, axis: int, inputs: int, outputs: int, kernel: int) -> Integers:
    """Return along one axis the tap that joins every input to every output, -1 where none does."""
    reach = np.arange(inputs)[:, None] + source.pads[axis] - np.arange(outputs) * source.stride[axis]
    tap, between = np.divmod(reach, source.dilation[axis])
    return np.where((between == 0) & (tap >= 0) & (tap < kernel), tap, -1)


def _windows(size: int, pool: Pool, axis: int) -> Flags:
    """Return along one axis which inputs every output of a pool is the maximum over."""
    before, after, kernel = pool.pads[axis], pool.pads[axis + 2], pool.kernel[axis]
    outputs = (size + before + after - kernel) // pool.stride[axis] + 1
    offset = np.arange(size) + before - np.arange(outputs)[:, None] * pool.stride[axis]
    return (offset >= 0) & (offset < kernel)


def pooled_sources(source: Source) -> tuple[Integers, Integers]:
    """Return what the inputs from a source are the maximum over, after all its pools.

    Returns
    -------
    begin : int64 (inputs + 1,)
        Where the source elements of each input begin.
    source : int64 (n,)
        The source elements, ascending for each input.
    """
    if not source.pools:
        every = np.arange(math.prod(source.shape))
        return np.arange(len(every) + 1), every
    channels, *sizes = source.shape
    down, across = (np.eye(size, dtype=np.bool_) for size in sizes)
    for pool in source.pools:
        down = _windows(len(down), pool, 0) @ down
        across = _windows(len(across), pool, 1) @ across
    members = np.einsum("yi,xj->yxij", down, across).reshape(len(down) * len(across), -1)
    pixel, element = np.nonzero(members)
    size = np.tile(np.bincount(pixel, minlength=len(members)), channels)
    elements = (np.arange(channels)[:, None] * members.shape[1] + element).reshape(-1)
    return np.concatenate(([0], np.cumsum(size))), elements
