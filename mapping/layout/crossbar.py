# SPDX-License-Identifier: Apache-2.0
"""The weights of a core from the kernels of its layer; equal crossbars are one object.

Patches of a convolution that lie alike have the same weights, whatever the axons of their inputs are:
they differ in the order of crossbar rows alone (`docs/decisions/0022-crossbar-classes.md`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.spiking.network import Source, SpikingLayer

__all__ = ["Crossbar", "Encoding", "Kernels"]

Integers = NDArray[np.int64]
Weights = NDArray[np.int16]


class Encoding:
    """What stands for weights, as the cells of a core hold them.

    What a block of kernels becomes is kept: the patches of a layer share it.

    Parameters
    ----------
    of : callable
        Returns what stands for each weight of an array, with any axes behind those of the array; 0 for 0.
    """

    def __init__(self, of: Callable[[Weights], NDArray[Any]]) -> None:
        self.of = of
        self._planes: dict[tuple[Source, bytes], NDArray[Any]] = {}

    def planes(self, view: "_View") -> NDArray[Any]:
        """Return what stands for the taps of a view, and for one more that joins nothing, the last one.

        (input channels, output channels, taps + 1, ...).
        """
        key = view.source, view.block.tobytes()
        if key not in self._planes:
            values, (_, at) = self.of(view.source.weight[view.block]), view.groups
            block, fan_in, height, width, *axes = values.shape
            planes = np.zeros((len(view.channels), block, height * width + 1, *axes), values.dtype)
            inputs = at[:, None] * fan_in + np.arange(fan_in)
            planes[inputs, np.arange(block)[:, None], :-1] = values.reshape(block, fan_in, -1, *axes)
            self._planes[key] = planes
        return self._planes[key]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crossbar:
    """The weights of all cores that hold the same ones, up to the order of their axons.

    Parameters
    ----------
    encoded : callable
        Returns what an `Encoding` makes of the weights, (inputs, outputs, ...), in the order of
        `mapping.layout.cut.CorePart`.
    """

    encoded: Callable[[Encoding], NDArray[Any]]

    def weights(self) -> Weights:
        """Return the weights, int16 (inputs, outputs)."""
        return self.encoded(Encoding(lambda weights: weights.astype(np.int16)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Axis:
    """Where taps of a kernel lead along one axis of the map.

    ``low`` is the first input place that some output reads, ``place`` int64 (outputs, taps) the place that
    each tap reads, counted from there, -1 for none.
    """

    low: int
    place: Integers

    @property
    def size(self) -> int:
        """Places from the first that is read to the last."""
        return int(self.place.max(initial=-1)) + 1

    def reached(self) -> NDArray[np.float32]:
        """Return 1 where some output reads a place by a tap, float32 (places, taps)."""
        result = np.zeros((self.size, self.place.shape[1]), np.float32)
        output, tap = np.nonzero(self.place >= 0)
        result[self.place[output, tap], tap] = 1
        return result

    def joined(self) -> Integers:
        """Return the tap by which an output reads a place, -1 if it does not, int64 (places, outputs)."""
        result = np.full((self.size, len(self.place)), -1)
        output, tap = np.nonzero(self.place >= 0)
        result[self.place[output, tap], output] = tap
        return result


def _axis(source: Source, axis: int, outputs: Integers) -> _Axis:
    """Return where the taps of some output rows (axis 0) or columns (axis 1) lead."""
    taps = np.arange(source.weight.shape[2 + axis]) * source.dilation[axis]
    place = outputs[:, None] * source.stride[axis] - source.pads[axis] + taps
    inside = (place >= 0) & (place < source.input_shape[1 + axis])
    low = int(place[inside].min(initial=source.input_shape[1 + axis]))
    return _Axis(low=low, place=np.where(inside, place - low, -1))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _View:
    """A window of one source: its axes, the channels of the block, the input channels that they read."""

    source: Source
    block: Integers
    down: _Axis
    across: _Axis

    @property
    def groups(self) -> tuple[Integers, Integers]:
        """The groups that the block lies in, and the index of each channel's among them."""
        per_group = len(self.source.weight) // self.source.groups
        found, at = np.unique(self.block // per_group, return_inverse=True)
        return found, at

    @property
    def channels(self) -> Integers:
        """The input channels of these groups."""
        fan_in = self.source.weight.shape[1]
        return np.asarray((self.groups[0][:, None] * fan_in + np.arange(fan_in)).reshape(-1), np.int64)

    def used(self) -> Integers:
        """Return which places of the window have a weight, as flat indices of (channel, y, x), ascending."""
        groups, at = self.groups
        kernel = self.source.weight[self.block] != 0
        own = np.zeros((len(groups), *kernel.shape[1:]), np.float32)
        for group in range(len(groups)):
            own[group] = kernel[at == group].any(axis=0)
        taps = own.reshape(-1, *kernel.shape[2:])
        places = self.down.reached() @ taps @ self.across.reached().T
        return np.flatnonzero(places.reshape(-1) > 0)

    def inputs(self, used: Integers) -> Integers:
        """Return the inputs of the source at these places, counted from `start`."""
        _, height, width = self.source.input_shape
        channel, y, x = np.unravel_index(used, (len(self.channels), self.down.size, self.across.size))
        return np.asarray((self.channels[channel] * height + y) * width + x, np.int64)

    @property
    def start(self) -> int:
        """The input of the source that the first place of the window would have in channel 0."""
        return self.down.low * self.source.input_shape[2] + self.across.low

    def encoded(self, used: Integers, encoding: Encoding) -> NDArray[Any]:
        """Return what stands for the weights of the places that are `used`, (places, outputs, ...)."""
        planes, kernel = encoding.planes(self), self.source.weight.shape[2:]
        channels, block, _, *axes = planes.shape
        place = _places(self.down, self.across, (kernel[0], kernel[1]), block)
        flat = planes.reshape(channels, -1, *axes).take(place.reshape(-1), axis=1)
        result: NDArray[Any] = flat.reshape(channels * len(place), block * place.shape[2], *axes)
        return result if len(used) == len(result) else result[used]


@lru_cache(maxsize=4)
def _places(down: _Axis, across: _Axis, kernel: tuple[int, int], block: int) -> Integers:
    """Return for the places of a window, channels of a block and places of a patch where the tap is.

    int64 (places of the window, channels, places of the patch): channel x (taps + 1) + tap. The blocks of a
    patch follow each other and have one array.
    """
    taps = math.prod(kernel)
    return np.arange(block)[:, None] * (taps + 1) + _taps(down, across, kernel)[:, None]


def _taps(down: _Axis, across: _Axis, kernel: tuple[int, int]) -> Integers:
    """Return the tap by which a place of the patch reads one of the window, the number of taps for none.

    int64 (places of the window, places of the patch).
    """
    (height, width), y, x = kernel, down.joined()[:, None, :, None], across.joined()[:, None]
    tap: Integers = np.where((y < 0) | (x < 0), height * width, y * width + x)
    return tap.reshape(down.size * across.size, len(down.place) * len(across.place))


def _stacked(views: tuple[_View, ...], used: tuple[Integers, ...], encoding: Encoding) -> NDArray[Any]:
    parts = [view.encoded(own, encoding) for view, own in zip(views, used, strict=True)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


class Kernels:
    """The weights of the patches of one layer, all of whose sources are convolutions.

    Parameters
    ----------
    layer : SpikingLayer
        The layer.
    """

    def __init__(self, layer: SpikingLayer) -> None:
        self._sources = layer.sources
        self._first = np.cumsum([0, *(source.inputs for source in layer.sources)]).tolist()
        self._axes: dict[tuple[int, bytes], tuple[tuple[_Axis, ...], bytes]] = {}
        self._known: dict[tuple[bytes, bytes, bytes], tuple[tuple[Integers, ...], Crossbar]] = {}

    def patch(self, block: Integers, rows: Integers, columns: Integers) -> tuple[Integers, Crossbar]:
        """Return the inputs with a weight of a patch, ascending, and its weights.

        ``block`` has its output channels, ``rows`` and ``columns`` its place in the map.
        """
        (down, high), (across, wide) = self._along(0, rows), self._along(1, columns)
        views = tuple(
            _View(source=source, block=block, down=y, across=x)
            for source, y, x in zip(self._sources, down, across, strict=True)
        )
        key = block.tobytes(), high, wide
        if key not in self._known:
            used = tuple(view.used() for view in views)
            inputs = tuple(view.inputs(own) for view, own in zip(views, used, strict=True))
            self._known[key] = inputs, Crossbar(encoded=partial(_stacked, views, used))
        near, crossbar = self._known[key]
        starts = [view.start + first for view, first in zip(views, self._first, strict=False)]
        return np.concatenate([own + start for own, start in zip(near, starts, strict=True)]), crossbar

    def _along(self, axis: int, outputs: Integers) -> tuple[tuple[_Axis, ...], bytes]:
        """Return where taps lead of every source, and what is equal for outputs that lie alike."""
        key = axis, outputs.tobytes()
        if key not in self._axes:
            found = tuple(_axis(source, axis, outputs) for source in self._sources)
            alike = b"".join(one.place.tobytes() + b"|" + str(one.place.shape).encode() for one in found)
            self._axes[key] = found, alike
        return self._axes[key]
