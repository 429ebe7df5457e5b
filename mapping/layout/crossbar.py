# SPDX-License-Identifier: Apache-2.0
"""The weights of a core from the kernels of its layer; equal crossbars are one object.

Patches of a convolution that lie alike have the same weights, whatever the axons of their inputs are:
they differ in the order of crossbar rows alone (`docs/decisions/0022-crossbar-classes.md`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mapping.spiking.network import Source, SpikingLayer

__all__ = ["Crossbar", "Kernels"]

Integers = NDArray[np.int64]
Weights = NDArray[np.int16]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crossbar:
    """The weights of all cores that hold the same ones, up to the order of their axons.

    Parameters
    ----------
    weights : callable
        Returns the weights, int16 (inputs, outputs), in the order of `mapping.layout.cut.CorePart`.
    """

    weights: Callable[[], Weights]


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

    def weights(self) -> Weights:
        """Return the weights of all places of the window, int16 (places, outputs)."""
        kernel, (_, at) = self.source.weight[self.block], self.groups
        (rows, taps_y), (columns, taps_x) = self.down.place.shape, self.across.place.shape
        shape = (len(self.channels), self.down.size, self.across.size, len(self.block), rows, columns)
        cells, fan_in = np.zeros(shape, np.int16), kernel.shape[1]
        inputs = (at[:, None] * fan_in + np.arange(fan_in))[:, :, None, None]
        outputs = np.arange(len(self.block))[:, None, None, None]
        for tap_y in range(taps_y):
            for tap_x in range(taps_x):
                y, x = self.down.place[:, tap_y], self.across.place[:, tap_x]
                row, column = np.flatnonzero(y >= 0)[:, None], np.flatnonzero(x >= 0)
                cells[inputs, y[row], x[column], outputs, row, column] = kernel[:, :, tap_y, tap_x][
                    :, :, None, None
                ]
        return cells.reshape(math.prod(shape[:3]), math.prod(shape[3:]))


def _stacked(views: tuple[_View, ...], used: tuple[Integers, ...]) -> Weights:
    return np.concatenate([view.weights()[own] for view, own in zip(views, used, strict=True)])


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
            self._known[key] = inputs, Crossbar(weights=partial(_stacked, views, used))
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
