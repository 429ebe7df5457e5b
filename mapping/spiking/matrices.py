# SPDX-License-Identifier: Apache-2.0
"""Spiking layers as sparse matrices, and how many operations they take."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mapping.spiking.network import Pool, SpikingLayer, SpikingNetwork
from mapping.spiking.simulate import layer_input

__all__ = [
    "K_WEI",
    "LayerOperations",
    "connections",
    "layer_matrix",
    "operation_counts",
    "pool_matrix",
    "pool_members",
]

K_WEI = 2
"""Columns per ternary weight in the dense convention of Zou et al. 2021: strengths -1 and +1."""

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerOperations:
    """Counts of one layer, each (images,).

    ``input_spikes`` is the sum and ``largest`` the largest of the counts it reads, after its pools;
    ``spikes`` is the sum of those it fires. ``logical`` takes one operation per input spike and non-zero
    weight it meets, ``effective`` one per non-zero input and non-zero weight, whatever the count. ``dense``
    is the convention of Zou et al. 2021: input spikes in every receptive field x output channels x k_wei x
    k_rep, with k_wei = 2 and k_rep the layer's levels.
    """

    input_spikes: Integers
    largest: Integers
    spikes: Integers
    logical: Integers
    effective: Integers
    dense: Integers


def _positions(size: int, stride: int, pad: int, offset: int, count: int) -> tuple[Integers, Integers]:
    """Return output and input positions along one dimension that one kernel tap joins."""
    out = np.arange(count)
    inside = out * stride + offset - pad
    valid = (inside >= 0) & (inside < size)
    return out[valid], inside[valid]


def _taps(layer: SpikingLayer) -> list[tuple[int, int, Integers, Integers]]:
    """Return for every kernel tap (y, x) the flat output and input pixels it joins."""
    _, height, width = layer.input_shape
    _, rows, columns = layer.output_shape
    taps = []
    for y in range(layer.weight.shape[2]):
        out_y, in_y = _positions(height, layer.stride[0], layer.pads[0], y * layer.dilation[0], rows)
        for x in range(layer.weight.shape[3]):
            out_x, in_x = _positions(width, layer.stride[1], layer.pads[1], x * layer.dilation[1], columns)
            out = (out_y[:, None] * columns + out_x).reshape(-1)
            taps.append((y, x, out, (in_y[:, None] * width + in_x).reshape(-1)))
    return taps


def layer_matrix(layer: SpikingLayer) -> sparse.csr_array:
    """Return the weights as int8 CSR (outputs, inputs after the pools), flattened in C, H, W order."""
    if layer.kind == "dense":
        return sparse.csr_array(layer.weight)
    rows, fan_in = layer.weight.shape[:2]
    pixels_out, pixels_in = math.prod(layer.output_shape[1:]), math.prod(layer.input_shape[1:])
    at, to, values = [], [], []
    for y, x, out, inside in _taps(layer):
        row, column = np.nonzero(layer.weight[:, :, y, x])
        channel = column + row // (rows // layer.groups) * fan_in
        at.append((row[:, None] * pixels_out + out).reshape(-1))
        to.append((channel[:, None] * pixels_in + inside).reshape(-1))
        values.append(np.repeat(layer.weight[row, column, y, x], len(out)))
    shape = (rows * pixels_out, math.prod(layer.input_shape))
    where = (np.concatenate(at), np.concatenate(to))
    return sparse.csr_array((np.concatenate(values), where), shape=shape, dtype=np.int8)


def _pool_step(pool: Pool, shape: tuple[int, int, int]) -> tuple[sparse.csr_array, tuple[int, int, int]]:
    channels, height, width = shape
    (kh, kw), (sy, sx), (top, left, bottom, right) = pool.kernel, pool.stride, pool.pads
    rows, columns = (height + top + bottom - kh) // sy + 1, (width + left + right - kw) // sx + 1
    at, to = [], []
    for y in range(kh):
        out_y, in_y = _positions(height, sy, top, y, rows)
        for x in range(kw):
            out_x, in_x = _positions(width, sx, left, x, columns)
            at.append((out_y[:, None] * columns + out_x).reshape(-1))
            to.append((in_y[:, None] * width + in_x).reshape(-1))
    where = (np.concatenate(at), np.concatenate(to))
    plane = sparse.csr_array(
        (np.ones(len(where[0]), np.int32), where), shape=(rows * columns, height * width)
    )
    return sparse.csr_array(sparse.kron(sparse.eye_array(channels, dtype=np.int32), plane)), (
        channels,
        rows,
        columns,
    )


def pool_matrix(layer: SpikingLayer) -> sparse.csr_array:
    """Return int8 CSR (inputs, source elements), 1 where an input is the maximum over that element."""
    result = sparse.csr_array(sparse.eye_array(math.prod(layer.source_shape), dtype=np.int32))
    shape = layer.source_shape
    for pool in layer.pools:
        channels, height, width = shape
        step, shape = _pool_step(pool, (channels, height, width))
        result = sparse.csr_array(step @ result)
        result.data[:] = 1
    result.sort_indices()
    return result.astype(np.int8)


def pool_members(layer: SpikingLayer) -> tuple[Integers, ...]:
    """Return for every element of the input the source elements, ascending, it is the maximum of."""
    matrix = pool_matrix(layer)
    return tuple(np.split(matrix.indices.astype(np.int64), matrix.indptr[1:-1]))


def _fan_out(layer: SpikingLayer, *, dense: bool) -> Integers:
    """Return how many non-zero weights, or with ``dense`` how many weights, every input meets."""
    present = np.ones_like(layer.weight) if dense else layer.weight
    if layer.kind == "dense":
        return np.asarray(np.count_nonzero(present, axis=0), dtype=np.int64)
    rows, fan_in = layer.weight.shape[:2]
    by_group = present.reshape(layer.groups, rows // layer.groups, fan_in, *layer.weight.shape[2:])
    weights = np.count_nonzero(by_group, axis=1).reshape(layer.input_shape[0], *layer.weight.shape[2:])
    result = np.zeros((layer.input_shape[0], math.prod(layer.input_shape[1:])), dtype=np.int64)
    for y, x, _, inside in _taps(layer):
        result[:, inside] += weights[
            :, y, x, None
        ]  # one tap joins an input pixel with one output pixel at most
    return result.reshape(-1)


def connections(layer: SpikingLayer, *, dense: bool = False) -> int:
    """Return how many pairs of an input and an output a non-zero weight joins, or with ``dense`` any weight.

    Padding is no input.
    """
    return int(_fan_out(layer, dense=dense).sum())


def operation_counts(
    spiking: SpikingNetwork, counts: Mapping[str, NDArray[np.int32]]
) -> dict[str, LayerOperations]:
    """Return spikes and synaptic operations of every layer for the counts that `simulate` returned.

    A count of c on one input is c spikes. Encoder and decoder are not counted.
    """
    result = {}
    for layer in spiking.layers:
        read = (
            layer_input(layer, counts[layer.source]).reshape(len(counts[layer.source]), -1).astype(np.int64)
        )
        present = _fan_out(layer, dense=False)
        result[layer.name] = LayerOperations(
            input_spikes=read.sum(axis=1),
            largest=read.max(axis=1),
            spikes=counts[layer.name].reshape(len(read), -1).sum(axis=1, dtype=np.int64),
            logical=read @ present,
            effective=(read > 0).astype(np.int64) @ present,
            dense=read @ _fan_out(layer, dense=True) * K_WEI * layer.levels,
        )
    return result
