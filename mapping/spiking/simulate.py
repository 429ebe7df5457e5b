# SPDX-License-Identifier: Apache-2.0
"""Run a `SpikingNetwork` in integers, without a chip, and compare it with its float network."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mapping.model.evaluate import run, run_single
from mapping.model.operations.sums import windows
from mapping.spiking.network import INPUT, Pool, Source, SpikingLayer, SpikingNetwork

__all__ = ["Comparison", "compare", "decode", "encode", "fire", "potentials", "simulate", "source_input"]

Counts = NDArray[np.int32]

_BLOCK = 2**18  # elements of a window matrix built at once, 2 MiB: it stays in the cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How many activations of how many images were compared, how many differ, and where the first one is.

    ``first`` is (layer, image, flat neuron index, expected count, count). ``single`` tells how many neurons
    have another count where the whole network is evaluated in float32, as most runtimes do.
    """

    images: int
    neurons: int
    differences: int
    first: tuple[str, int, int, float, int] | None
    single: int


def encode(spiking: SpikingNetwork, x: ArrayLike) -> Counts:
    """Return the counts (N, shape) that enter the chip for inputs (N, input shape).

    Raises
    ------
    TypeError, ValueError
        If ``x`` has the wrong type or shape or is not finite.
    """
    network, tensor = spiking.network, spiking.encoder_output
    values = run(network, {network.input: x}, [tensor])[tensor]
    counts = np.rint(values / spiking.input_scale)
    return np.clip(counts, spiking.input_low, spiking.input_levels).astype(np.int32)


def decode(
    spiking: SpikingNetwork, counts: Mapping[str, NDArray[np.integer]], x: ArrayLike
) -> NDArray[np.float64]:
    """Return the network's output (N, output shape) from counts by layer name and the inputs ``x``.

    ``counts`` needs the layers in ``spiking.outputs``, and `INPUT` if ``spiking.decoder_reads_input``; ``x``
    is read only if ``spiking.decoder_reads_data``.

    Raises
    ------
    ValueError
        If counts of a layer are missing or have the wrong shape.
    """
    given: dict[str, ArrayLike] = {spiking.network.input: x} if spiking.decoder_reads_data else {}
    for name in (*spiking.outputs, *((INPUT,) if spiking.decoder_reads_input else ())):
        if name not in counts:
            raise ValueError(f"counts must have the layer {name!r}, not only {', '.join(counts) or 'none'}")
        layer = None if name == INPUT else spiking.layer(name)
        if layer is None:
            given[spiking.encoder_output] = counts[name] * spiking.input_scale
        else:
            shape = (-1, *spiking.network.shapes[layer.activation])
            given[layer.activation] = layer.values(counts[name]).reshape(shape)
    return run(spiking.network, given, [spiking.network.output])[spiking.network.output]


def simulate(spiking: SpikingNetwork, counts: NDArray[np.integer]) -> dict[str, Counts]:
    """Return the output counts (N, output shape) of every layer, and under `INPUT` those given.

    Parameters
    ----------
    spiking : SpikingNetwork
        The network.
    counts : integer array (N, shape)
        What enters the chip, in input_low..input_levels; see `encode`.

    Raises
    ------
    ValueError
        If ``counts`` are not integers of that shape and range.
    """
    shape = spiking.shape(INPUT)
    if counts.dtype.kind not in "iu" or counts.shape[1:] != shape:
        raise ValueError(
            f"counts must be integers of shape (N, {', '.join(map(str, shape))}), not {counts.shape}"
        )
    low, high = spiking.input_low, spiking.input_levels
    if counts.size and not low <= counts.min() <= counts.max() <= high:
        raise ValueError(f"counts must be in {low}..{high}, not {counts.min()}..{counts.max()}")
    result: dict[str, Counts] = {INPUT: counts.astype(np.int32)}
    for layer in spiking.layers:
        result[layer.name] = fire(layer, potentials(layer, result))
    return result


def source_input(source: Source, counts: NDArray[Any]) -> NDArray[Any]:
    """Return the counts (N, input_shape), or values, that a layer reads from a source, after its pools."""
    own = slice(source.first, source.first + math.prod(source.shape))
    values = counts.reshape(len(counts), -1)[:, own].reshape((len(counts), *source.shape))
    for pool in source.pools:
        values = _pool(pool, values)
    return values.reshape((len(counts), *source.input_shape))


def _pool(pool: Pool, values: NDArray[Any]) -> NDArray[Any]:
    # counts that are pooled are never negative, so the zeros of the padding never win
    view = windows(values, pool.kernel, stride=pool.stride, pads=pool.pads)
    result = np.array(view[..., 0, 0])
    for tap in itertools.islice(np.ndindex(pool.kernel), 1, None):
        np.maximum(result, view[..., *tap], out=result)
    return result


def potentials(layer: SpikingLayer, counts: Mapping[str, Counts]) -> NDArray[np.int64]:
    """Return the potentials (N, output_shape) of a layer, from the counts of what it reads by name."""
    total = layer.biases().reshape(layer.output_shape)
    for source in layer.sources:
        sums = _sums(source, layer.output_shape, source_input(source, counts[source.name]))
        if source.shift:
            sums <<= source.shift
        sums += total
        total = sums
    return total


def _sums(source: Source, shape: tuple[int, ...], values: Counts) -> NDArray[np.int64]:
    """Return the integer sums; products in floats of integers this small are exact, and fast."""
    weight, real = source.weight, _floats(source)
    if source.kind == "dense":
        return (values.astype(real) @ weight.T.astype(real)).astype(np.int64)
    rows, _, kh, kw = weight.shape
    matrix = weight.reshape(source.groups, rows // source.groups, -1).astype(real)
    view = windows(
        values.astype(real), (kh, kw), stride=source.stride, pads=source.pads, dilation=source.dilation
    )
    # one product for each image and group: (channels, inputs of a window) times (inputs, positions)
    taps = view.transpose(0, 1, 4, 5, 2, 3)
    places = (source.groups, matrix.shape[2], view.shape[2] * view.shape[3])
    sums = np.empty((len(values), *shape), dtype=np.int64)
    images = max(1, _BLOCK // max(1, math.prod(places)))
    for start in range(0, len(values), images):
        columns = np.ascontiguousarray(taps[start : start + images]).reshape(-1, *places)
        sums[start : start + images] = (matrix @ columns).reshape(-1, *shape)
    return sums


def _floats(source: Source) -> type[np.floating[Any]]:
    """Return the narrowest floats in which every partial sum is exact."""
    largest = (
        np.abs(source.weight.reshape(len(source.weight), -1).astype(np.int64)).sum(axis=1).max(initial=0)
    )
    return np.float32 if largest * max(source.high, -source.low) < 2**24 else np.float64


def fire(layer: SpikingLayer, values: NDArray[np.int64]) -> Counts:
    """Return the counts of a layer's potentials (N, output_shape)."""
    rows = values.reshape(len(values), layer.rows, -1)
    counts = layer.quantiser.counts(rows, layer.low, layer.levels)
    return counts.reshape(values.shape).astype(np.int32)


def compare(spiking: SpikingNetwork, x: ArrayLike) -> Comparison:
    """Compare every activation of every image with the float network, and the decoded output too.

    The output counts as a layer named ``"output"``, and is compared as the floats it is made of.

    Raises
    ------
    TypeError, ValueError
        If ``x`` has the wrong type or shape or is not finite.
    """
    network = spiking.network
    wanted = [spiking.encoder_output, *(layer.activation for layer in spiking.layers), network.output]
    tensors = list(dict.fromkeys(wanted))
    truth = run(network, {network.input: x}, tensors)
    single = run_single(network, x, tensors)
    counts = simulate(spiking, encode(spiking, x))
    neurons = differences = in_single = 0
    first = None
    for layer in spiking.layers:
        tensor, scale = layer.activation, layer.scale
        got = (counts[layer.name] - layer.zero).reshape(truth[tensor].shape)
        wrong = (truth[tensor] != got * scale).reshape(len(got), -1)
        neurons, differences = neurons + wrong.size, differences + int(wrong.sum())
        in_single += int((np.rint(single[tensor] / scale) != np.rint(truth[tensor] / scale)).sum())
        first = first or _first(layer.name, wrong, truth[tensor] / scale, got)
    output = decode(spiking, counts, x)
    wrong = (truth[network.output] != output).reshape(len(output), -1)
    return Comparison(
        images=len(output),
        neurons=neurons + wrong.size,
        differences=differences + int(wrong.sum()),
        first=first or _first("output", wrong, truth[network.output], output),
        single=in_single,
    )


def _first(
    name: str, wrong: NDArray[np.bool_], expected: NDArray[np.float64], got: NDArray[Any]
) -> tuple[str, int, int, float, int] | None:
    if not wrong.any():
        return None
    image, index = map(int, np.argwhere(wrong)[0])
    flat, value = expected.reshape(len(got), -1), got.reshape(len(got), -1)[image, index]
    return name, image, index, float(flat[image, index]), int(value)
