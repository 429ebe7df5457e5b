# SPDX-License-Identifier: Apache-2.0
"""Run a `SpikingNetwork` in integers, without a chip, and compare it with its float network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mapping.model.evaluate import run, run_single
from mapping.model.operations.sums import windows
from mapping.spiking.network import INPUT, Pool, SpikingLayer, SpikingNetwork

__all__ = ["Comparison", "compare", "decode", "encode", "layer_input", "simulate"]

Counts = NDArray[np.int32]

_BLOCK = 2**22  # elements of a window matrix built at once, 32 MiB


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
    return np.rint(values / spiking.input_scale).astype(np.int32)


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
    tensors = list(dict.fromkeys(wanted))
    truth = run(network, {network.input: x}, tensors)
    single = run_single(network, x, tensors)
    counts = simulate(spiking, encode(spiking, x))
    neurons = differences = in_single = 0
    first = None
    for name, (tensor, scale) in scales.items():
        wrong = (truth[tensor] != counts[name] * scale).reshape(len(counts[name]), -1)
        neurons, differences = neurons + wrong.size, differences + int(wrong.sum())
        in_single += int((np.rint(single[tensor] / scale) != np.rint(truth[tensor] / scale)).sum())
        first = first or _first(name, wrong, truth[tensor] / scale, counts[name])
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
