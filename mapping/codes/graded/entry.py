# SPDX-License-Identifier: Apache-2.0
"""Let features of unlike ranges enter the chip each in a range of its own.

All that enters the chip is counted by one step. Of features that are measured in units of their own, the step
that suits the widest leaves nothing of the narrowest. The encoder on the host then subtracts a centre from
each and multiplies it by a power of two, and the layer that reads them does the reverse: the network is the
same one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mapping.codes.graded.ranges import input_grid, own_step
from mapping.model.analysis import rebuilt
from mapping.model.evaluate import resume, run_single
from mapping.model.network import Network, make_node

__all__ = ["entered"]

Reals = NDArray[np.floating]

_ROOM = 1.1
"""Reach of a feature, as a multiple of that on the samples, that is not cut off."""

_FINE = 0.01
"""Error of the outputs by rounding what enters, in deviations of them, that does not matter."""

_BETTER = 0.5
"""Share of that error that ranges of their own must leave at most."""


def entered(network: Network, samples: NDArray[np.float64], *, most: int) -> tuple[Network, str]:
    """Return an equal network, and the tensor of it that enters the chip.

    That is the input itself, unless it is a vector of features, rounding it by one step is felt in the
    outputs on the samples, and ranges of their own, chosen on every second sample, at least halve the error.

    Parameters
    ----------
    network : Network
        The network.
    samples : float64 (n, input shape)
        Calibration samples.
    most : int
        Largest count of what enters.
    """
    plain = network, network.input
    if len(network.shapes[network.input]) != 1 or len(samples) < 2 or own_step(samples, most) is not None:
        return plain
    before = _error(network, samples, most, network.input)
    if not before > _FINE:
        return plain
    tried, root = _ranged(network, samples[::2])
    if not _error(tried, samples, most, root) <= _BETTER * before:
        return plain
    return _ranged(network, samples)


def _error(network: Network, samples: NDArray[np.float64], most: int, root: str) -> float:
    """Return the error of the outputs if a tensor is rounded as it enters the chip, in their deviations."""
    found = run_single(network, samples, [root, network.output])
    values, truth = found[root], found[network.output]
    grid = input_grid(values, most=most)
    rounded = grid.values(grid.counts(values)).astype(np.float64)
    got = resume(network, {root: rounded}, [network.output])[network.output]
    with np.errstate(all="ignore"):  # an Exp at the output may leave the range of floats
        spread = float(np.square(truth - truth.mean(axis=0)).mean())
        return float(np.sqrt(np.square(got - truth).mean() / spread)) if spread > 0 else 0.0


def _ranged(network: Network, samples: NDArray[np.float64]) -> tuple[Network, str]:
    """Return the network with the centres and factors of its features around what enters the chip."""
    low, high = samples.min(axis=0), samples.max(axis=0)
    reach = (high - low) / 2
    widest = float(reach.max())
    with np.errstate(divide="ignore"):
        bits = np.where(reach > 0, np.floor(np.log2(widest / (_ROOM * reach))), 0.0)
    factor = np.exp2(np.maximum(bits, 0.0))
    unit = np.exp2(np.floor(np.log2(np.where(reach > 0, reach, widest or 1.0))) - 3)
    centre = np.rint((low + high) / 2 / unit) * unit
    name, tensor = f"{network.input}.entry", network.input
    steps = (("Add", -centre), ("Mul", factor), ("Mul", 1.0 / factor), ("Add", centre))
    nodes = []
    for index, (op, value) in enumerate(steps):
        output = f"{name}.{index}"
        nodes.append(make_node(output, op, [tensor], output, constants={"value": value}))
        tensor = output
    renamed = [
        replace(node, inputs=tuple(tensor if name == network.input else name for name in node.inputs))
        for node in network.nodes
    ]
    return rebuilt(network, [*nodes, *renamed]), nodes[1].output
