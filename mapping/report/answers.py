# SPDX-License-Identifier: Apache-2.0
"""What a network answers in float64 and in float32, at little more than the price of the second one.

An answer is the index of the largest output. Float32 values come with a bound on their distance from those
in float64 (`mapping.model.operations.strays`). Where the largest output is farther from the next than both
may stray, float64 has the same answer. Only the other samples are evaluated in float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.datasets.named import largest
from mapping.model.evaluate import infer, run_single
from mapping.model.network import Network
from mapping.model.node import Node
from mapping.model.operations import OPERATIONS
from mapping.model.operations.operation import Reals
from mapping.model.operations.strays import rounded

__all__ = ["Answers", "answers", "strayed"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """Index of the largest output of every sample, the lowest on ties.

    Parameters
    ----------
    double, single : int64 (samples,)
        In float64, and in float32.
    proven : int
        Of how many samples the margin in float32 gives the answer in float64.
    """

    double: NDArray[np.int64]
    single: NDArray[np.int64]
    proven: int


def answers(network: Network, x: NDArray[np.float64]) -> Answers:
    """Return the answers of a network to ``x`` (N, input shape); those in float64 are `infer`'s."""
    outputs, bound = strayed(network, x)
    single = largest(outputs)
    asked = np.flatnonzero(~(_margin(outputs) > 2 * bound))
    double = single.copy()
    if len(asked):
        double[asked] = largest(infer(network, x[asked]))
    return Answers(double=double, single=single, proven=len(x) - len(asked))


def strayed(network: Network, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return the outputs in float32, and how far each lies from that in float64 at most; infinite if unknown.

    Parameters
    ----------
    network, x
        As of `answers`.
    """
    bounds = {network.input: rounded(x)}

    def watch(node: Node, inputs: Sequence[Reals], output: Reals) -> None:
        own = [bounds[tensor] for tensor in node.inputs]
        bounds[node.output] = OPERATIONS[node.op].strays(node, own, inputs, output)

    outputs = run_single(network, x, [network.output], watch)[network.output]
    return np.asarray(outputs, np.float64), bounds[network.output]


def _margin(outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far the largest output of every sample lies above the next; infinite for a single one."""
    flat = outputs.reshape(len(outputs), -1)
    if flat.shape[1] < 2:
        return np.full(len(flat), np.inf)
    highest = np.partition(flat, -2, axis=1)[:, -2:]
    return np.asarray(highest[:, 1] - highest[:, 0])
