# SPDX-License-Identifier: Apache-2.0
"""What the cores of a layer must hold, from the layer's own index arithmetic.

A convolution joins input (c, i, j) to output (o, y, x) by the kernel tap (k, l) for which

    i + pad top = y stride + k dilation,    j + pad left = x stride + l dilation

if both channels lie in one group. Conversion asks which places a tap joins; here the question is which tap
joins two places, so the two have no formula in common. A dense layer is a convolution of maps of one pixel.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.spiking.network import Pool, Source, SpikingLayer

__all__ = ["Block", "LayerRule", "pooled_sources"]

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Weights = NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """The weights of some outputs.

    Parameters
    ----------
    inputs : int64 (m,)
        Every input of the layer that may have a weight for them, ascending.
    weights : int32 (m, outputs)
        The weights, shifted as their source's counts are.
    needed : bool (m,)
        Whether an input has a weight that is not zero.
    low, high : int64 (outputs,)
        The smallest and the largest potential that a neuron can reach.
    rows, bias : int64 (outputs,)
        The row of the quantiser of each output, and its bias.
    """

    inputs: Integers
    weights: Weights
    needed: Flags
    low: Integers
    high: Integers
    rows: Integers
    bias: Integers

    def of(self, at: Integers) -> Weights:
        """Return the weights of the inputs at some places of ``inputs``, int32 (n, outputs); zeros for -1."""
        weights = self.weights[at]
        weights[at < 0] = 0
        return weights


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Weights:
    """The part of a block that does not depend on where in the map its outputs lie; see `Block`.

    ``negative`` and ``positive`` are the sums of the weights of either sign.
    """

    weights: Weights
    needed: Flags
    negative: Integers
    positive: Integers


class LayerRule:
    """The index arithmetic of one layer: that of its sources, their inputs one after the other.

    Parameters
    ----------
    layer : SpikingLayer
        The layer.
    """

    def __init__(self, layer: SpikingLayer) -> None:
        self._layer = layer
        self._rules = [_SourceRule(source, layer.output_shape) for source in layer.sources]
        self._first = np.cumsum([0, *(math.prod(source.input_shape) for source in layer.sources)])
        self._last: tuple[list[_Weights], Weights, Flags] | None = None

    def block(self, outputs: Integers) -> Block:
        """Return the weights of some output elements.

        Blocks with equal weights that follow each other have one array of them.
        """
        layer = self._layer
        rows = outputs // math.prod(layer.output_shape[1:])
        bias = np.zeros(len(outputs), np.int64) if layer.bias is None else layer.bias[outputs]
        low, high, inputs, parts = bias, bias, [], []
        for first, rule, source in zip(self._first.tolist(), self._rules, layer.sources, strict=False):
            own, known = rule.block(outputs)
            inputs.append(own + first)
            parts.append(known)
            up, down = known.positive << source.shift, known.negative << source.shift
            low = low + up * source.low + down * source.high
            high = high + up * source.high + down * source.low
        weights, needed = self._joined(parts)
        return Block(
            inputs=np.concatenate(inputs),
            weights=weights,
            needed=needed,
            low=low,
            high=high,
            rows=rows,
            bias=bias,
        )

    def _joined(self, parts: list[_Weights]) -> tuple[Weights, Flags]:
        """Return the weights of all sources, shifted, and which are needed."""
        last = self._last
        if last is None or any(one is not other for one, other in zip(last[0], parts, strict=True)):
            shifted = [
                part.weights << source.shift if source.shift else part.weights
                for part, source in zip(parts, self._layer.sources, strict=True)
            ]
            weights = shifted[0] if len(shifted) == 1 else np.concatenate(shifted)
            self._last = last = parts, weights, np.concatenate([part.needed for part in parts])
        return last[1:]


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


class _SourceRule:
    """The index arithmetic of one source of a layer."""

    def __init__(self, source: Source, output_shape: tuple[int, ...]) -> None:
        rows, fan_in = source.weight.shape[:2]
        height, width = source.weight.shape[2:] or (1, 1)
        inputs, outputs = (shape[1:] or (1, 1) for shape in (source.input_shape, output_shape))
        self._fan_in, self._per_group = fan_in, rows // source.groups
        self._kernel, self._width = source.weight.reshape(rows, fan_in, -1), int(width)
        self._pixels_in, self._pixels_out, self._columns = math.prod(inputs), math.prod(outputs), outputs[1]
        self._down = _taps(source, 0, inputs[0], outputs[0], height)
        self._across = _taps(source, 1, inputs[1], outputs[1], width)
        self._last: tuple[tuple[object, ...], _Weights] | None = None
        self._seen: dict[bytes, _Taps] = {}
        self._numbers: dict[bytes, int] = {}

    def block(self, outputs: Integers) -> tuple[Integers, _Weights]:
        """Return the inputs and weights of some output elements; equal ones in a row are computed once."""
        channel, pixel = np.divmod(outputs, self._pixels_out)
        taps = self._pixel_taps(pixel)
        key = channel.tobytes(), taps.number
        if self._last is None or self._last[0] != key:
            self._last = key, self._weights(channel, taps.at, taps.tap)
        inputs = (self._channels(channel)[:, None] * self._pixels_in + taps.seen).reshape(-1)
        return inputs, self._last[1]

    def _pixel_taps(self, outputs: Integers) -> "_Taps":
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

    def _channels(self, channel: Integers) -> Integers:
        """Return the input channels of all groups that some output channels belong to."""
        groups = np.unique(channel // self._per_group)
        channels: Integers = groups[:, None] * self._fan_in + np.arange(self._fan_in)
        return channels.reshape(-1)

    def _weights(self, channel: Integers, at: Integers, taps: NDArray[np.int32]) -> _Weights:
        """Return weights (input channel and pixel, output); ``at`` picks each output's column of taps."""
        sources = self._channels(channel)
        rows, row = np.unique(channel, return_inverse=True)
        joined = sources[:, None] // self._fan_in == rows // self._per_group
        cells = self._kernel[rows, (sources % self._fan_in)[:, None]] * joined[..., None]
        # (input channel, output channel, tap), with one more tap: tap -1, the last one, joins nothing
        planes = np.zeros((*joined.shape, cells.shape[2] + 1), np.int32)
        planes[:, :, :-1] = cells
        place = row * planes.shape[2] + taps[:, at] % planes.shape[2]
        weights = planes.reshape(len(sources), -1).take(place.reshape(-1), axis=1)
        weights = weights.reshape(-1, len(channel))
        positive, negative = (
            half(planes, 0).sum(axis=0, dtype=np.int64).reshape(-1)[place].sum(axis=0)
            for half in (np.maximum, np.minimum)
        )
        return _Weights(weights=weights, needed=weights.any(axis=1), negative=negative, positive=positive)


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
