# SPDX-License-Identifier: Apache-2.0
"""Convert a network that is quantised to integers already, so that every activation on the chip equals it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from emu.spec import CoreSpec
from mapping.codes.graded.forms import Form, Picked
from mapping.codes.graded.host import Surroundings, least_host
from mapping.codes.graded.ranges import Grid
from mapping.codes.graded.rules import RULES
from mapping.codes.graded.structure import Structure, structure_of
from mapping.codes.graded.walk import Point, Rule, Walk
from mapping.codes.int8.layers import QUANTISERS, Counted, grid_of, layer_of
from mapping.codes.int8.units import is_whole
from mapping.codes.obstacles import Fits, Holds, Obstacle, anything_fits, anything_holds
from mapping.errors import UnsupportedModelError
from mapping.model.network import Network
from mapping.model.node import Node
from mapping.model.rewrite import sunk
from mapping.spiking.network import INPUT, SpikingLayer, SpikingNetwork

__all__ = ["convert_int8", "is_integer"]

_ENTRIES = frozenset({"Quantise", "ToInteger"})


def is_integer(network: Network) -> bool:
    """Tell whether a network has operations on integers, or is quantised everywhere in steps of reals."""
    if any(node.op in ("AddIntegers", "Requantise", "ToInteger") for node in network.nodes):
        return True
    weights = [node.constants["weight"] for node in network.nodes if node.op in ("Conv", "Dense")]
    quantisers = sum(node.op == "Quantise" for node in network.nodes)
    return 0 < len(weights) <= quantisers and all(map(is_whole, weights))


def convert_int8(
    network: Network,
    spec: CoreSpec,
    *,
    fits: Fits = anything_fits,
    holds: Holds = anything_holds,
    strict: bool = False,
) -> SpikingNetwork:
    """Return the integer network of a quantised one, equal to it on every activation.

    Parameters
    ----------
    network : Network
        The quantised network.
    spec : CoreSpec
        The core that it is for.
    fits, holds, strict
        As of `mapping.codes.convert.convert`.

    Raises
    ------
    UnsupportedModelError
        If no layer can run on the chip, or with ``strict`` not all.
    """
    prepared = sunk(network)
    refused: dict[str, Obstacle] = {}
    while True:
        cuts = _cuts(prepared, spec, refused)
        structure = least_host(prepared, cuts, refused, otherwise="nothing behind a quantiser is quantised")
        layers, obstacles = _layers(prepared, structure, spec, fits)
        if not obstacles:
            spiking = _around(prepared, structure, layers, refused)
            obstacles = {spiking.layer(name).activation: why for name, why in holds(spiking).items()}
            if not obstacles:
                break
        refused |= {tensor: why for tensor, why in obstacles.items() if tensor not in refused}
    if strict and spiking.host_share != 0:
        first = spiking.host[0]
        raise UnsupportedModelError(
            f"Layer {first.name!r} would run on the host because {first.told}, or leave strict out."
        )
    return spiking


def _around(
    network: Network, structure: Structure, layers: list[SpikingLayer], refused: Mapping[str, Obstacle]
) -> SpikingNetwork:
    entry = network.producer(structure.root)
    grid = None if entry is None else grid_of(entry)
    return Surroundings(network, structure, refused).network(
        layers, grid or Grid(scale=1.0, low=0, high=1), "int8"
    )


def _layers(
    network: Network, structure: Structure, spec: CoreSpec, fits: Fits
) -> tuple[list[SpikingLayer], dict[str, Obstacle]]:
    """Return the layers of a structure, or what keeps the first that is none off the chip."""
    entry = network.producer(structure.root)
    grid = None if entry is None else grid_of(entry)
    if grid is None:
        raise ValueError(f"Root {structure.root!r} must be what a quantiser gives.")
    sent = {structure.root: Counted(name=INPUT, grid=grid)}
    found: list[SpikingLayer] = []
    for point in structure.points.values():
        layer = layer_of(point, sent, spec)
        obstacle = layer if isinstance(layer, Obstacle) else fits(layer)
        if obstacle is not None or isinstance(layer, Obstacle):
            owner = next((node.output for node in network.nodes if node.name == point.name), point.tensor)
            return found, {tensor: obstacle for tensor in (point.tensor, owner) if obstacle is not None}
        found.append(layer)
        own = Grid(scale=layer.scale, low=layer.low, high=layer.levels, zero=layer.zero)
        sent[point.tensor] = Counted(name=layer.name, grid=own)
    return found, {}


def _cuts(network: Network, spec: CoreSpec, refused: Mapping[str, Obstacle]) -> Iterator[Structure]:
    """Yield what may run on the chip behind each tensor of integers that may enter it."""
    reasons = {tensor: obstacle.reason for tensor, obstacle in refused.items()}
    for root in _roots(network, reasons):
        yield structure_of(network, root, axons=spec.axons, refused=reasons, rules=INTEGER_RULES)


def _roots(network: Network, reasons: Mapping[str, str]) -> Iterator[str]:
    """Yield tensors of integers that may enter the chip."""
    for node in network.nodes:
        entry = node.op in _ENTRIES or node.output in reasons
        if entry and node.op in QUANTISERS and grid_of(node) is not None:
            yield node.output


def _itself(form: Form) -> bool:
    """Tell whether a form is an activation and nothing else."""
    if len(form.terms) != 1 or not isinstance(form.terms[0], Picked) or form.bias.any():
        return False
    return form.terms[0].whole and bool((form.terms[0].gain == 1).all())


def _add(walk: Walk, node: Node) -> str | None:
    """Note a sum of two activations as one of its own."""
    forms = [walk.forms[tensor] for tensor in node.inputs]
    if not all(_itself(form) for form in forms):
        return "it adds what are no activations"
    if forms[0].view != forms[1].view or forms[0].shape != forms[1].shape:
        return "it adds tensors of different shapes"
    walk.names[node.output] = node.name
    joined = forms[0].plus(forms[1])
    walk.add(Point(name=walk.name(node.output), tensor=node.output, form=joined, functions=(node,)))
    return None


INTEGER_RULES: Mapping[str, Rule] = {
    **RULES,
    "AddIntegers": _add,
    **dict.fromkeys(("Quantise", "Requantise", "ToInteger"), RULES["Relu"]),
}
"""What becomes of an operation of a quantised network."""
