# SPDX-License-Identifier: Apache-2.0
"""Fold a chain of per-channel operations and a quantised activation into integer thresholds, and prove them.

The chain is a composition of correctly rounded, hence monotone float64 operations, so the count it yields is
a monotone function of the integer sum and a binary search finds where it steps. The proof then evaluates the
chain itself on every reachable sum and compares.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.errors import MappingError
from mapping.model.network import make_node
from mapping.model.node import Node
from mapping.model.operations import apply_elementwise
from mapping.spiking.quantisers import ALWAYS, NEVER

__all__ = ["EXHAUSTIVE", "Chain", "fold", "order_dependent", "prove", "slopes"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

EXHAUSTIVE = 2**18
"""Most sums of one row that are all checked; beyond it 64 sums around each threshold and a sample are."""

_AROUND = 32
_SAMPLE = 4096
_SEED = 20210694


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chain:
    """What the float network computes from the integer sums of one layer.

    ``unit`` (rows,) is the real value of a sum of one, as rounded in float64 and negative for rows stored
    negated; ``low`` and ``high`` (rows,) bound the reachable sums; ``nodes`` lead to an activation of
    ``levels`` steps of size ``scale``.
    """

    layer: str
    nodes: tuple[Node, ...]
    unit: Floats
    low: Integers
    high: Integers
    levels: int
    scale: float

    def _values(self, sums: Integers, error: Floats | float = 0.0) -> Floats:
        values = self.unit[:, None] * sums + error
        with np.errstate(over="ignore", invalid="ignore"):
            for node in self.nodes:
                values = apply_elementwise(node, values, axis=0)
            return np.asarray(values / self.scale)

    def finite(self) -> bool:
        """Tell whether float64 holds every reachable sum; a monotone chain is worst at its ends."""
        return bool(np.isfinite(self._values(np.stack((self.low, self.high), axis=1))).all())

    def counts(self, sums: Integers, *, error: Floats | float = 0.0) -> Integers:
        """Return the counts (rows, m) for integer sums (rows, m), evaluated as the float network does.

        ``error`` () or (rows, 1) is added to the real value of each sum.
        """
        # a count times a scale that is no power of two is rounded
        return np.rint(self._values(sums, error)).astype(np.int64)

    def row(self, index: int) -> "Chain":
        """Return the chain of one row."""
        part = slice(index, index + 1)
        return Chain(
            layer=self.layer,
            nodes=tuple(_row_of(node, index) for node in self.nodes),
            unit=self.unit[part],
            low=self.low[part],
            high=self.high[part],
            levels=self.levels,
            scale=self.scale,
        )


def _row_of(node: Node, index: int) -> Node:
    constants = {
        key: value if value.ndim == 0 else value[index : index + 1] for key, value in node.constants.items()
    }
    return make_node(
        node.name, node.op, node.inputs, node.output, attributes=node.attributes, constants=constants
    )


def slopes(nodes: Sequence[Node], rows: int) -> NDArray[np.int8]:
    """Return for each row whether the chain rises (1), falls (-1) or is constant (0)."""
    signs = np.ones(rows)
    for node in nodes:
        if node.op in {"Div", "Mul"}:
            signs = signs * np.sign(node.constants["value"])
        elif node.op == "BatchNormalization":
            signs = signs * np.sign(node.constants["scale"])
    return signs.astype(np.int8)


def fold(chain: Chain) -> Integers:
    """Return the thresholds (rows, levels) of a chain that rises or is constant in every row.

    Threshold j is the smallest reachable sum whose count exceeds j, `ALWAYS` if that is all of them and
    `NEVER` if it is none (Zou et al. 2021, Eqs. 8 and 10, with the batch normalisation's scale and epsilon
    and any operations between).
    """
    levels = np.arange(1, chain.levels + 1)
    below = np.repeat(chain.low[:, None], chain.levels, axis=1)
    above = np.repeat(chain.high[:, None] + 1, chain.levels, axis=1)
    while (below < above).any():
        middle = (below + above) // 2
        reached = chain.counts(middle) >= levels
        open_ = below < above
        above = np.where(open_ & reached, middle, above)
        below = np.where(open_ & ~reached, middle + 1, below)
    thresholds = np.where(below == chain.low[:, None], ALWAYS, below)
    never = chain.counts(chain.high[:, None]) < levels
    return np.where(never, NEVER, thresholds)


def _sums_to_check(low: int, high: int, thresholds: Integers) -> tuple[Integers, bool]:
    if high - low < EXHAUSTIVE:
        return np.arange(low, high + 1), True
    near = thresholds[:, None] + np.arange(-_AROUND, _AROUND)
    sample = np.random.default_rng(_SEED).integers(low, high, size=_SAMPLE, endpoint=True)
    sums = np.unique(np.concatenate([near.reshape(-1), sample, [low, high]]))
    return sums[(sums >= low) & (sums <= high)], False


def prove(chain: Chain, thresholds: Integers) -> tuple[bool, int]:
    """Compare thresholds with the chain itself; return whether on every reachable sum, and on how many.

    Raises
    ------
    MappingError
        If a count differs; the sentence names layer, row and sum.
    """
    exhaustive, checked = True, 0
    for index, steps in enumerate(thresholds):
        part = chain.row(index)
        sums, complete = _sums_to_check(int(part.low[0]), int(part.high[0]), steps)
        expected, got = part.counts(sums[None])[0], np.searchsorted(steps, sums, side="right")
        if (expected != got).any():
            at = int(np.flatnonzero(expected != got)[0])
            raise MappingError(
                f"Layer {chain.layer!r}, row {index}: the sum {sums[at]} gives {got[at]} spikes "
                f"where the network gives {expected[at]}."
            )
        exhaustive, checked = exhaustive and complete, checked + len(sums)
    return exhaustive, checked


def order_dependent(chain: Chain, thresholds: Integers, error: Floats) -> int:
    """Return how many of the sums that `prove` checks have no count of their own in plain float64 summation.

    Products and sums rounded one by one, in any order, miss the exact value by at most ``error`` (rows,). The
    chain is monotone, so that a sum with equal counts at both ends has this count in every order.
    """
    found = 0
    for index in np.flatnonzero(error):
        part = chain.row(int(index))
        sums, _ = _sums_to_check(int(part.low[0]), int(part.high[0]), thresholds[index])
        ends = [part.counts(sums[None], error=sign * error[index]) for sign in (-1.0, 1.0)]
        found += int((ends[0] != ends[1]).sum())
    return found
