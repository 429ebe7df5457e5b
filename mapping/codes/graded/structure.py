# SPDX-License-Identifier: Apache-2.0
"""Cut a float network into layers of neurons: a linear form of activations, and monotone functions of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mapping.codes.graded.rules import RULES
from mapping.codes.graded.walk import Point, Rule, Walk
from mapping.model.network import Network

__all__ = ["Structure", "structure_of"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Structure:
    """The activations behind a root, in topological order, and why other operations are the host's."""

    root: str
    points: Mapping[str, Point]
    refused: Mapping[str, str]


def structure_of(
    network: Network,
    root: str,
    *,
    axons: int,
    refused: Mapping[str, str] = MappingProxyType({}),
    rules: Mapping[str, Rule] = RULES,
) -> Structure:
    """Return the activations that the chip can compute from ``root``, the tensor that enters it.

    Parameters
    ----------
    network : Network
        The network, its moves and pools behind the functions that commute with them.
    root : str
        A tensor of the network.
    axons : int
        Inputs up to which a pool is folded into the layer that reads it.
    refused : mapping
        Tensor -> why it must not be computed on the chip.
    rules : mapping
        What becomes of an operation, by name.
    """
    walk = Walk(network, root, axons, refused)
    for node in network.nodes:
        walk.take(node, rules.get(node.op))
    return Structure(root=root, points=walk.points, refused=walk.refused)
