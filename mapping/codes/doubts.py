# SPDX-License-Identifier: Apache-2.0
"""What a user of a quantised network must know of the code that it runs in."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from mapping.codes.int8.convert import why_inexact
from mapping.codes.int8.layers import QUANTISERS
from mapping.codes.int8.units import is_whole
from mapping.model.network import Network
from mapping.model.node import Node
from mapping.model.operations import OPERATIONS

__all__ = ["doubt_about"]

_SUMS = frozenset({"Conv", "Dense"})


def doubt_about(network: Network, code: str, near: Mapping[str, float] = MappingProxyType({})) -> str | None:
    """Return sentences if a quantised network has not its own integers on the chip, or those of float64.

    Parameters
    ----------
    network : Network
        The network.
    code : str
        The name of the code that it runs in.
    near : mapping
        Layers of which sums may be off, and by how many steps of their output.
    """
    if code == "graded":
        why = why_inexact(network)
        return None if why is None else _ANEW.format(why=why)
    real = list(dict.fromkeys(_with_real_biases(network))) if code == "int8" else []
    told = [_REAL.format(**_listed(real))] if real else []
    if near:
        told.append(_NEAR.format(**_listed(list(near)), most=max(near.values())))
    return " ".join(told) or None


def _listed(names: Sequence[str]) -> dict[str, str]:
    """Return the words of a list of layers: a plural, two names and how many more."""
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return {"s": "s" * (len(names) > 1), "names": ", ".join(map(repr, names[:2])), "more": more}


_ANEW = (
    "The model is quantised, but {why}: the graded code rounds it anew, and its activations are near those "
    "of the model but not equal; quantise activations and weights to 8 bits for equal ones."
)
_REAL = (
    "Biases are real numbers in layer{s} {names}{more}, so their truth is float64: a runtime that sums them "
    "in float32 has one count more or less where a value lies half-way between two, and one that rounds "
    "biases first has others; quantise biases to int32 for equal ones."
)
_NEAR = (
    "What is added in layer{s} {names}{more} has scales in a ratio of no whole numbers that neurons hold: a "
    "count is one more or less where a sum lies within {most:.1g} steps of half-way between two; "
    "quantise both inputs of the sum for equal ones."
)


def _with_real_biases(network: Network) -> Iterator[str]:
    """Yield the names of layers of integer weights whose sums have a real bias."""
    for node in network.nodes:
        if node.op in QUANTISERS and node.op not in ("AddIntegers", "Requantise"):
            yield from _before(network, node)


def _before(network: Network, node: Node) -> Iterator[str]:
    """Yield the name of the layer whose sums with a real bias a quantiser reads, if it does."""
    biased = False
    before = network.producer(node.inputs[0])
    while before is not None and before.op not in (*_SUMS, *QUANTISERS):
        if len(before.inputs) > 1 or not OPERATIONS[before.op].elementwise:
            return
        biased |= before.op in ("Add", "BatchNormalization")
        before = network.producer(before.inputs[0])
    if biased and before is not None and before.op in _SUMS and is_whole(before.constants["weight"]):
        yield before.name
