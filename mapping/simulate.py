# SPDX-License-Identifier: Apache-2.0
"""Run a `SpikingNetwork` in integers, without a chip, and compare it with its float network."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mapping.evaluate import run, windows
from mapping.spiking import INPUT, Pool, SpikingLayer, SpikingNetwork

__all__ = ["Comparison", "compare", "decode", "encode", "layer_input", "simulate"]

Counts = NDArray[np.int32]

_BLOCK = 2**22  # elements of a window matrix built at once, 32 MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How many activations of how many images were compared, how many differ, and where the first one is.

    ``first`` is (layer, image, flat neuron index, expected count, count).
    """

    images: int
    neurons: int
    differences: int
    first: tuple[str, int, int, float, int] | None


def encode(spiking: SpikingNetwork, x: ArrayLike) -> Counts:
    """Return the counts (N, shape) that enter the chip for inputs (N, input shape).

    Raises
    ------
    TypeError, ValueError
        If ``x`` has the wrong type or shape or is not finite.
    """
    network, tensor = spiking.network, spiking.encoder_output
    values = run(network, {network.input: x}, [tensor])[tensor]
    return (values / spiking.input_scale).astype(np.int32)


def decode(spiking: SpikingNetwork, counts: Mapping[str, NDArray[np.integer]]) -> NDArray[np.float64]:
    """Return the network's output (N, output shape) from counts by layer name.

    ``counts`` needs the layers in ``spiking.outputs``, and `INPUT` if ``spiking.decoder_reads_input``.

    Raises
    ------
    ValueError
        If counts of a layer are missing or have the wrong shape.
    """
    given = {}
    for name in (*spiking.outputs, *((INPUT,) if spiking.decoder_reads_input else ())):
        if name not in counts:
            raise ValueError(f"counts must have the layer {name!r}, not only {', '.join(counts) or 'none'}")
        layer = None if name == INPUT else spiking.layer(name)
        tensor, scale = (
            (layer.activation, layer.scale) if layer else (spiking.encoder_output, spiking.input_scale)
        )
        given[tensor] = counts[name] * scale
    return run(spiking.network, given, [spiking.network.output])[spiking.network.output]


def simulate(spiking: SpikingNetwork, counts: NDArray[np.integer]) -> dict[str, Counts]:
    """Return the output counts (N, output shape) of every layer, and under `INPUT` those given.

    Parameters
    ----------
    spiking : SpikingNetwork
        The network.
    counts : integer array (N, shape)
        What enters the chip, in 0..input_levels; see `encode`.

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
    if counts.size and not 0 <= counts.min() <= counts.max() <= spiking.input_levels:
        raise ValueError(f"counts must be in 0..{spiking.input_levels}, not {counts.min()}..{counts.max()}")
    result: dict[str, Counts] = {INPUT: counts.astype(np.int32)}
    for layer in spiking.layers:
        result[layer.name] = _fire(layer, _sums(layer, layer_input(layer, result[layer.source])))
    return result


def layer_input(layer: SpikingLayer, source: Counts) -> Counts:
    """Return the counts (N, input_shape) a layer reads from those of its source, after its pools."""
    values = source.reshape((len(source), *layer.source_shape))
    for pool in layer.pools:
        values = _pool(pool, values)
    return values.reshape((len(source), *layer.input_shape))


def _pool(pool: Pool, values: Counts) -> Counts:
    # counts are never negative, so the zeros of the padding never win
    view = windows(values, pool.kernel, stride=pool.stride, pads=pool.pads)
    return np.asarray(view.max(axis=(4, 5)), dtype=np.int32)


def _sums(layer: SpikingLayer, values: Counts) -> NDArray[np.int64]:
    """Return the integer sums; float64 products of integers this small are exact, and fast."""
    if layer.kind == "dense":
        return (values.astype(np.float64) @ layer.weight.T.astype(np.float64)).astype(np.int64)
    rows, fan_in, kh, kw = layer.weight.shape
    groups, per_group = layer.groups, rows // layer.groups
    matrix = layer.weight.reshape(groups, per_group, -1).astype(np.float64)
    view = windows(values, (kh, kw), stride=layer.stride, pads=layer.pads, dilation=layer.dilation)
    sums = np.empty((len(values), *layer.output_shape), dtype=np.int64)
    images = max(1, _BLOCK // max(1, matrix.shape[2] * view.shape[2] * view.shape[3]))
    for start in range(0, len(values), images):
        for g in range(groups):
            block = view[start : start + images, g * fan_in : (g + 1) * fan_in].transpose(0, 2, 3, 1, 4, 5)
            columns = block.astype(np.float64).reshape(*block.shape[:3], -1)
            part = (columns @ matrix[g].T).transpose(0, 3, 1, 2)
            sums[start : start + images, g * per_group : (g + 1) * per_group] = part
    return sums


def _fire(layer: SpikingLayer, sums: NDArray[np.int64]) -> Counts:
    counts = np.zeros(sums.shape, dtype=np.int32)
    for steps in layer.thresholds.T:
        counts += sums >= steps.reshape((-1,) + (1,) * (sums.ndim - 2))
    return counts


def compare(spiking: SpikingNetwork, x: ArrayLike) -> Comparison:
    """Compare every activation of every image with the float network, and the decoded output too.

    The output counts as a layer named ``"output"``, and is compared as the floats it is made of.

    Raises
    ------
    TypeError, ValueError
        If ``x`` has the wrong type or shape or is not finite.
    """
    network = spiking.network
    scales = {layer.name: (layer.activation, layer.scale) for layer in spiking.layers}
    wanted = [spiking.encoder_output, *(layer.activation for layer in spiking.layers), network.output]
    truth = run(network, {network.input: x}, list(dict.fromkeys(wanted)))
    counts = simulate(spiking, encode(spiking, x))
    pairs: list[tuple[str, NDArray[np.float64], NDArray[np.generic]]] = [
        (name, truth[tensor] / scale, counts[name]) for name, (tensor, scale) in scales.items()
    ]
    pairs.append(("output", truth[network.output], decode(spiking, counts)))
    neurons, differences, first = 0, 0, None
    for name, expected, got in pairs:
        wrong = (expected != got).reshape(len(got), -1)
        neurons, differences = neurons + wrong.size, differences + int(wrong.sum())
        if first is None and wrong.any():
            image, index = map(int, np.argwhere(wrong)[0])
            value = got.reshape(len(got), -1)[image, index]
            first = (
                name,
                image,
                index,
                float(expected.reshape(len(got), -1)[image, index]),
                int(value.item()),
            )
    images = len(next(iter(counts.values())))
    return Comparison(images=images, neurons=neurons, differences=differences, first=first)
