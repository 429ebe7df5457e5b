# SPDX-License-Identifier: Apache-2.0
"""What is known of one operation, in one record."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from mapping.errors import UnsupportedModelError
from mapping.model.node import Node, Shape

__all__ = [
    "HOST",
    "UNBOUNDED",
    "Apply",
    "Each",
    "Interval",
    "Operation",
    "Range",
    "Reals",
    "Strays",
    "always",
    "misfit",
    "never",
    "no_work",
    "of_first",
    "of_shape",
    "same_range",
    "unbounded",
    "unknown",
]

Reals = NDArray[Any]
"""Values in float64 or float32."""

Range = tuple[float, float]
"""Smallest and largest value."""

Apply = Callable[[Node, Sequence[Reals], Shape, float | None], Reals]
Each = Callable[[Node, Reals, Mapping[str, Reals]], Reals]
Interval = Callable[[Node, Sequence[Range]], Range]
Strays = Callable[[Node, Sequence[float], Sequence[Reals], Reals], float]

UNBOUNDED: Range = (-math.inf, math.inf)

HOST = "The host's: "
"""How `Operation.chip` begins where the chip can do none of it."""


def unknown(_node: Node, _bounds: Sequence[float], _inputs: Sequence[Reals], _output: Reals) -> float:
    """Say of an operation that its float32 values may lie anywhere."""
    return math.inf


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Operation:
    """One operation: its parameters, its meaning, and what becomes of it on the chip.

    Parameters
    ----------
    name : str
        What `Node.op` is.
    attributes, constants : mapping of str to str
        What a node of it carries, and what each means. Constants are float64; of C channels or features
        where nothing else is said. A meaning that begins with "if" is one that a node may lack.
    shape : callable
        (node, shapes of the inputs) -> shape of the output, both without the batch. It raises
        `UnsupportedModelError` where inputs and parameters do not fit.
    apply : callable
        (node, inputs, shape of the output, scale) -> values (N, shape), in the precision of the inputs. The
        scale is that of the counts which the first input holds, or None.
    interval : callable
        (node, ranges of the inputs) -> range that no float64 value of the output leaves.
    rises : callable
        node -> True if no output falls, to the last bit, when inputs rise. None if none falls in exact
        arithmetic, where libraries round as they like or some inputs have no value. False if one may fall.
    work : callable
        (node, shapes of the inputs) -> multiply-adds of one sample; None if they are not known.
    chip : str
        One sentence: how it lies on the crossbar in an ordinary network, or, behind `HOST`, why it does not.
    each : callable, optional
        (node, values, constants) -> values, of an operation that treats every element alone. The constants
        are broadcast along the values; of two inputs the second one is the constant ``value``.
    moves : bool
        It has one input, whose elements it only puts in other places.
    selects : bool
        It has one input and writes none but its values, perhaps not all of them.
    strays : callable
        (node, bounds, inputs, output) -> how far an output in float32 lies from that in float64 at most, from
        such bounds of the inputs and the float32 values of all; infinite where nothing is known.
    """

    name: str
    shape: Callable[[Node, Sequence[Shape]], Shape]
    apply: Apply
    interval: Interval
    rises: Callable[[Node], bool | None]
    chip: str
    work: Callable[[Node, Sequence[Shape]], int | None]
    attributes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    constants: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    each: Each | None = None
    moves: bool = False
    selects: bool = False
    strays: Strays = unknown

    @property
    def elementwise(self) -> bool:
        """Whether it treats every element alone."""
        return self.each is not None


def misfit(node: Node, problem: str) -> UnsupportedModelError:
    """Return the error of a node that does not fit its inputs, or whose parameters mean nothing."""
    return UnsupportedModelError(f"Node {node.name!r} ({node.op}) {problem}.")


def no_work(_node: Node, _shapes: Sequence[Shape]) -> int:
    """Return the multiply-adds of an operation that weighs nothing."""
    return 0


def unbounded(_node: Node, _ranges: Sequence[Range]) -> Range:
    """Return the range of an operation of which nothing is known."""
    return UNBOUNDED


def same_range(_node: Node, ranges: Sequence[Range]) -> Range:
    """Return the range of an operation that writes none but the values of its first input."""
    return ranges[0]


def always(_node: Node) -> bool:
    """Say of an operation that it rises whatever its parameters are."""
    return True


def never(_node: Node) -> bool:
    """Say of an operation that it may fall whatever its parameters are."""
    return False


def of_first(rule: Callable[[Node, Reals], Reals]) -> Apply:
    """Return the application of an operation that needs nothing but its first input."""
    return lambda node, inputs, _shape, _scale: rule(node, inputs[0])


def of_shape(rule: Callable[[Node, Shape], Shape]) -> Callable[[Node, Sequence[Shape]], Shape]:
    """Return the shape of an operation that follows from that of its first input."""
    return lambda node, shapes: rule(node, shapes[0])
