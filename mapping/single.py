# SPDX-License-Identifier: Apache-2.0
"""A network in float32 throughout, as most runtimes compute it: not the truth, but what users compare."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mapping.elementwise import apply_elementwise
from mapping.evaluate import needed_nodes, run, windows
from mapping.network import ELEMENTWISE, Network, Node

__all__ = ["run_single"]

Singles = NDArray[np.float32]

_BLOCK = 2**23  # elements of a window matrix built at once, 32 MiB


def run_single(network: Network, x: ArrayLike, wanted: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Compute the wanted tensors, each float32 (N, shape), from the graph input (N, input shape).

    Parameters, inputs and every result are rounded to float32; sums are taken in the order of the linear
    algebra library. Values too large for float32 become infinite and are not reported.
    """
    tensors: dict[str, Singles] = {}
    with np.errstate(all="ignore"):
        tensors[network.input] = np.asarray(x).astype(np.float32)
        for node in needed_nodes(network, [network.input], wanted):
            inputs = [tensors[tensor] for tensor in node.inputs]
            tensors[node.output] = _apply(network, node, inputs).astype(np.float32)
    return {tensor: tensors[tensor] for tensor in wanted}


def _apply(network: Network, node: Node, inputs: Sequence[Singles]) -> NDArray[Any]:
    if node.op in ELEMENTWISE:
        if len(inputs) == 2:
            return np.asarray(inputs[0] + inputs[1])
        constants = {key: value.astype(np.float32) for key, value in node.constants.items()}
        # in float32 although annotated as float64: numpy keeps the narrower type of array and array
        return apply_elementwise(replace(node, constants=constants), inputs[0], axis=1)  # type: ignore[arg-type]
    if node.op == "Conv":
        return _conv(node, inputs[0])
    if node.op == "Dense":
        return np.asarray(inputs[0] @ node.constants["weight"].astype(np.float32).T)
    # pools and reshapes only move values, which is exact in any precision, but `run` takes finite ones only
    finite = np.nan_to_num(inputs[0])
    return run(network, {node.inputs[0]: finite}, [node.output])[node.output]


def _conv(node: Node, values: Singles) -> Singles:
    weight, groups = node.constants["weight"].astype(np.float32), int(node.number("groups"))
    rows, fan_in, kh, kw = weight.shape
    matrix = weight.reshape(groups, rows // groups, -1)
    stride, pads, dilation = node.pair("stride"), node.pads(), node.pair("dilation")
    view = windows(values, (kh, kw), stride=stride, pads=pads, dilation=dilation)
    height, width = view.shape[2:4]
    result = np.empty((len(values), rows, height, width), np.float32)
    images = max(1, _BLOCK // max(1, fan_in * kh * kw * height * width))
    for start in range(0, len(values), images):
        for g in range(groups):
            block = view[start : start + images, g * fan_in : (g + 1) * fan_in].transpose(0, 2, 3, 1, 4, 5)
            columns = np.ascontiguousarray(block).reshape(*block.shape[:3], -1).astype(np.float32)
            sums = (columns @ matrix[g].T).transpose(0, 3, 1, 2)
            own = slice(g * matrix.shape[1], (g + 1) * matrix.shape[1])
            result[start : start + images, own] = sums
    return result
