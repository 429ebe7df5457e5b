# SPDX-License-Identifier: Apache-2.0
"""Convert a network that is quantised to integers already, so that every activation on the chip equals it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from emu.spec import CoreSpec
from mapping.codes.graded.forms import Form, Picked
from mapping.codes.graded.host import Surroundings, least_host, settled
from mapping.codes.graded.ranges import Grid
from mapping.codes.graded.rules import RULES
from mapping.codes.graded.rules_sums import depthwise, windowed
from mapping.codes.graded.structure import Structure, structure_of
from mapping.codes.graded.walk import Point, Rule, Walk
from mapping.codes.int8.layers import QUANTISERS, grid_of, is_real, layer_of, output_counts
from mapping.codes.int8.units import is_whole, only_sums
from mapping.codes.int8.valleys import split_valleys
from mapping.codes.int8.weighing import Counted
from mapping.codes.obstacles import Fits, Holds, Obstacle, anything_fits, anything_holds
from mapping.model.evaluate import run_single
from mapping.model.network import Network
from mapping.model.node import Node
from mapping.model.operations import OPERATIONS
from mapping.model.operations.elementwise import scalar
from mapping.model.rewrite import sunk
from mapping.spiking.network import INPUT, SpikingLayer, SpikingNetwork

__all__ = ["convert_int8", "is_integer", "why_inexact"]

_ENTRIES = frozenset({"Quantise", "ToInteger"})

_REAL_INPUT = Obstacle(
    reason="its input is not quantised",
    remedy="quantise it too, or run the float network with --code graded",
)
"""What keeps the layers before the first quantiser off the chip."""

_FLOAT = "it has no quantised layer; run a float network with --code graded"
"""Why there is no activation at all in a network of which nothing was refused."""


def is_integer(network: Network) -> bool:
    """Tell whether a network has operations on integers, or is quantised everywhere in steps of reals."""
    if any(node.op in ("AddIntegers", "Requantise", "ToInteger") for node in network.nodes):
        return True
    weights = [node.constants["weight"] for node in network.nodes if node.op in ("Conv", "Dense")]
    weights = [weight for weight in weights if not only_sums(weight)]
    quantisers = sum(node.op == "Quantise" for node in network.nodes)
    return 0 < len(weights) <= quantisers and all(map(is_whole, weights))


def why_inexact(network: Network) -> str | None:
    """Return why a quantised network has integers that the chip has not, None if it has none of these.

    So it is if half or more of its quantisers give more than a byte, or if all activations are quantised,
    some weights are not, to 8 bits, and no layer is one of integers.
    """
    ends = [(node.number("low"), node.number("high")) for node in network.nodes if node.op in QUANTISERS]
    wide = [int(high - low) for low, high in ends if high - low >= _BYTE]
    linear = [node for node in network.nodes if node.op in ("Conv", "Dense")]
    if not linear or len(ends) < len(linear):
        return None
    if 2 * len(wide) >= len(ends):
        return f"it has activations of {max(wide).bit_length()} bits and the integers of the chip have 8"
    real = next((node.name for node in linear if not is_whole(node.constants["weight"])), None)
    if real is None or is_integer(network):
        return None  # what is quantised of a network with layers of integers is exact, the rest is the host's
    return f"the weights of {real!r} are no integers of 8 bits times one number in each channel"


def convert_int8(
    network: Network,
    spec: CoreSpec,
    *,
    fits: Fits = anything_fits,
    holds: Holds = anything_holds,
    samples: NDArray[np.float64] | None = None,
    strict: bool = False,
) -> SpikingNetwork:
    """Return the integer network of a quantised one, equal to it on every activation.

    Where the output itself is not quantised, its counts are the nearest of 256 that hold it on samples;
    without samples its layer is the host's.

    Parameters
    ----------
    network : Network
        The quantised network.
    spec : CoreSpec
        The core that it is for.
    fits, holds, strict
        As of `mapping.codes.convert.convert`.
    samples : float64 (n, input shape), optional
        Samples of the input.

    Raises
    ------
    UnsupportedModelError
        If no layer can run on the chip, or with ``strict`` not all.
    """
    prepared = split_valleys(sunk(network))
    output = _Output(prepared, samples, spec)

    def attempt(refused: Mapping[str, Obstacle]) -> SpikingNetwork | Mapping[str, Obstacle]:
        cuts = _cuts(prepared, spec, refused)
        structure = least_host(prepared, cuts, refused, otherwise=lambda _: _FLOAT)
        layers, obstacles = _layers(prepared, structure, output, fits)
        return obstacles or _around(prepared, structure, layers, refused)

    return settled(attempt, holds, strict=strict)


class _Output:
    """Finds the grid of an output that is not quantised, on samples, once."""

    def __init__(self, network: Network, samples: NDArray[np.float64] | None, spec: CoreSpec) -> None:
        self.spec = spec
        self._network, self._samples = network, samples
        self._grid: Grid | None = None

    def obstacle(self, point: Point) -> Obstacle | None:
        """Return what keeps a real output off the chip: that there are no samples."""
        if not self._leaves(point) or self._samples is not None:
            return None
        return Obstacle(
            reason="its output is not quantised, and no samples tell the range of its counts",
            remedy="give --data with samples of the input, or quantise its output",
        )

    def grid_of(self, point: Point) -> Grid | None:
        """Return the grid of an activation if it is the output, real, and there are samples."""
        if self._samples is None or not self._leaves(point):
            return None
        if self._grid is None:
            parts = np.array_split(self._samples, -(-len(self._samples) // _BLOCK))
            values = [run_single(self._network, part, [point.tensor])[point.tensor] for part in parts]
            self._grid = output_counts(np.concatenate(values), self.spec)
        return self._grid

    def _leaves(self, point: Point) -> bool:
        """Tell whether an activation is the output, real, and nothing on the chip reads it."""
        network = self._network
        return point.tensor == network.output and not network.consumers(point.tensor) and is_real(point)


_BLOCK = 100
"""Samples evaluated at once."""


def _around(
    network: Network, structure: Structure, layers: list[SpikingLayer], refused: Mapping[str, Obstacle]
) -> SpikingNetwork:
    grid = _entry_grid(network, structure.root)
    why = {**dict.fromkeys(_real(network), _REAL_INPUT), **refused}
    spiking = Surroundings(network, structure, why).network(
        layers, grid or Grid(scale=1.0, low=0, high=1), "int8"
    )
    real = {point.tensor for point in structure.points.values() if is_real(point)}
    rounded = tuple(layer.name for layer in spiking.layers if layer.activation in real)
    return replace(spiking, rounded=rounded)


def _real(network: Network) -> set[str]:
    """Return the tensors that no quantiser is before."""
    real = {network.input}
    for node in network.nodes:
        if node.op not in QUANTISERS and not real.isdisjoint(node.inputs):
            real.add(node.output)
    return real


def _layers(
    network: Network, structure: Structure, output: _Output, fits: Fits
) -> tuple[list[SpikingLayer], dict[str, Obstacle]]:
    """Return the layers of a structure, or what keeps the first that is none off the chip."""
    grid = _entry_grid(network, structure.root)
    if grid is None:
        raise ValueError(f"Root {structure.root!r} must be what a quantiser gives.")
    sent = {structure.root: Counted(name=INPUT, grid=grid)}
    found: list[SpikingLayer] = []
    for point in structure.points.values():
        wide = _wide(point, [sent[term.read.tensor].grid for term in point.form.terms])
        why = output.obstacle(point) or wide
        layer = why or layer_of(point, sent, output.spec, output.grid_of(point), fits)
        obstacle = layer if isinstance(layer, Obstacle) else fits(layer)
        if obstacle is not None or isinstance(layer, Obstacle):
            owner = next((node.output for node in network.nodes if node.name == point.name), point.tensor)
            return found, {tensor: obstacle for tensor in (point.tensor, owner) if obstacle is not None}
        found.append(layer)
        own = Grid(scale=layer.scale, low=layer.low, high=layer.levels, zero=layer.zero)
        depth = 1 + max(sent[term.read.tensor].depth for term in point.form.terms)
        sent[point.tensor] = Counted(name=layer.name, grid=own, depth=depth)
    return found, {}


def _wide(point: Point, read: Iterable[Grid]) -> Obstacle | None:
    """Return what keeps an activation off the chip that reads or gives integers of more than a byte."""
    own = [grid for node in point.functions[-1:] if node.op in QUANTISERS and (grid := grid_of(node))]
    most = max(grid.high - grid.low for grid in (*read, *own))
    if most < _BYTE:
        return None
    return Obstacle(
        reason=f"it has activations of {most.bit_length()} bits, and the integers of the chip have 8",
        remedy="quantise activations to uint8 or int8, or run the float network with --code graded",
    )


_BYTE = 256


def _cuts(network: Network, spec: CoreSpec, refused: Mapping[str, Obstacle]) -> Iterator[Structure]:
    """Yield what may run on the chip behind each tensor of integers that may enter it."""
    reasons = {tensor: obstacle.reason for tensor, obstacle in refused.items()}
    for root in _roots(network, reasons):
        yield structure_of(network, root, axons=spec.axons, refused=reasons, rules=INTEGER_RULES)


def _roots(network: Network, reasons: Mapping[str, str]) -> Iterator[str]:
    """Yield tensors of integers that may enter the chip."""
    for node in network.nodes:
        entry = node.op in _ENTRIES or node.output in reasons
        if not entry or node.op not in QUANTISERS or grid_of(node) is None:
            continue
        yield node.output
        behind, readers = node.output, network.consumers(node.output)
        while len(readers) == 1 and _keeps(readers[0]):
            behind = readers[0].output
            readers = network.consumers(behind)
        if behind != node.output:
            yield behind


def _entry_grid(network: Network, root: str) -> Grid | None:
    """Return the grid of a root: that of the quantiser whose integers it holds, moved and scaled."""
    node, factor = network.producer(root), 1.0
    while node is not None and _keeps(node):
        factor *= scalar(node) or 1.0
        node = network.producer(node.inputs[0])
    grid = None if node is None or node.op not in QUANTISERS else grid_of(node)
    return None if grid is None else replace(grid, scale=factor * grid.scale)


def _keeps(node: Node) -> bool:
    """Tell whether a node gives the integers that it reads, in other places or times a number above zero."""
    return OPERATIONS[node.op].selects or (node.op == "Mul" and (scalar(node) or 0.0) > 0)


def _itself(form: Form) -> bool:
    """Tell whether a form is an activation and nothing else."""
    if len(form.terms) != 1 or not isinstance(form.terms[0], Picked) or form.bias.any():
        return False
    return form.terms[0].whole and bool((form.terms[0].gain == 1).all())


def _spread(walk: Walk, tensor: str, form: Form, view: tuple[int, ...]) -> Form | None:
    """Return the form of a tensor as it is added: one value a channel is repeated over a map."""
    if form.view == view:
        return form
    if len(view) != 3 or form.view != (view[0], 1, 1) or walk.forms[tensor].shape[0] != view[0]:
        return None
    height, width = view[1:]
    pads = height - 1, width - 1, height - 1, width - 1
    return windowed(walk, tensor, depthwise(view[0], (height, width), pads))


def _add(walk: Walk, node: Node) -> str | None:
    """Note a sum of two activations as one of its own."""
    if len(node.inputs) == 1:
        return RULES["Relu"](walk, node)
    forms = [walk.forms[tensor] for tensor in node.inputs]
    if not all(_itself(form) for form in forms):
        return "it adds what are no activations"
    view = walk.network.shapes[node.output]
    spread = [_spread(walk, *given, view) for given in zip(node.inputs, forms, strict=True)]
    forms = [form for form in spread if form is not None]
    if len(forms) < len(spread) or forms[0].shape != forms[1].shape:
        return "it adds tensors of different shapes, other than a map and one value a channel"
    walk.names[node.output] = node.name
    joined = forms[0].plus(forms[1])
    walk.add(Point(name=walk.name(node.output), tensor=node.output, form=joined, functions=(node,)))
    return None


def _divide(walk: Walk, node: Node) -> str | None:
    """Divide sums last, as the network does: a mean that lies on a step would miss it by the last bit."""
    readers = walk.readers[node.output]
    last = len(node.inputs) == 1 and len(readers) == 1 and readers[0].op in (*QUANTISERS, "Clip", "Relu")
    return RULES["Relu" if last else "Div"](walk, node)


INTEGER_RULES: Mapping[str, Rule] = {
    **RULES,
    "AddIntegers": _add,
    "Div": _divide,
    **dict.fromkeys(("Quantise", "Requantise", "ToInteger"), RULES["Relu"]),
}
"""What becomes of an operation of a quantised network."""
