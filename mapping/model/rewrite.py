# SPDX-License-Identifier: Apache-2.0
"""Rewrite a network into an equal one that converts better."""

import math
from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from mapping.model.activations import changes_nothing
from mapping.model.analysis import Analysed, analyse, rebuilt
from mapping.model.network import Network, make_node
from mapping.model.node import Node, Shape
from mapping.model.operations import OPERATIONS, rises
from mapping.model.operations.elementwise import by_channel
from mapping.model.operations.linear import is_pad, magnitudes

__all__ = ["absorb_pads", "drop_idle", "prepare", "sink_moves", "sink_pools", "sunk"]

_ROUNDING = frozenset({"Floor", "Quantise", "Round"})


def prepare(network: Network) -> Analysed:
    """Return the equal network that converts best, analysed.

    Reshapes and max-pools stand behind quantised activations, pads are in the layers that read them, and
    operations that do nothing are left out, where that changes no value of a tensor that stays.
    """
    return absorb_pads(drop_idle(analyse(sink_pools(sink_moves(network)))))


def drop_idle(analysed: Analysed) -> Analysed:
    """Leave out operations that give back every value of the quantised activation they read.

    Exporters repeat a quantiser behind a reshape or a pool, and a Relu behind a quantiser without negative
    values. Each is evaluated on all values it can read, so that no remaining tensor changes.
    """
    network, names, nodes = analysed.network, dict[str, str](), []
    for node in network.nodes:
        source = analysed.counts.get(node.inputs[0])
        if source is not None and node.output != network.output and changes_nothing(node, source):
            names[node.output] = names.get(node.inputs[0], node.inputs[0])
            continue
        nodes.append(replace(node, inputs=tuple(names.get(tensor, tensor) for tensor in node.inputs)))
    return analysed.rewritten(nodes)


def absorb_pads(analysed: Analysed) -> Analysed:
    """Let convolutions do the padding before them, and max-pools too where the padded values are counts.

    A zero around counts never wins a maximum, as nothing around them never does.
    """
    network, counts = analysed.network, analysed.counts
    padded: dict[str, tuple[str, tuple[int, ...]]] = {}
    nodes = []
    for node in network.nodes:
        source, pads = padded.get(node.inputs[0], ("", ()))
        if source and (node.op == "Conv" or (node.op == "MaxPool" and node.inputs[0] in counts)):
            total = tuple(a + b for a, b in zip(pads, node.pads(), strict=True))
            if node.op == "Conv" or _less(total, node.pair("kernel")):
                node = replace(node, inputs=(source,), attributes={**node.attributes, "pads": total})  # noqa: PLW2901
        if is_pad(node) and node.output != network.output:
            padded[node.output] = node.inputs[0], node.pads()
        nodes.append(node)
    return analysed.rewritten(nodes)


def _less(pads: tuple[int, ...], kernel: tuple[int, int]) -> bool:
    top, left, bottom, right = pads
    return max(top, bottom) < kernel[0] and max(left, right) < kernel[1]


def sunk(network: Network) -> Network:
    """Return the equal network whose moves and max-pools stand behind the functions that follow.

    There is no need that sums are ternary: every tensor that stays keeps its value.
    """
    every = frozenset(network.shapes)
    return sink_pools(sink_moves(network, every), every)


def sink_moves(network: Network, behind: Collection[str] | None = None) -> Network:
    """Move reshapes and permutations behind the elementwise operations that follow.

    The operation gives every element the value it had, so that no remaining tensor changes. A network that
    flattens before its quantised activation becomes one that flattens after it. A constant that would differ
    within a channel keeps the operation where it is.
    """
    producers: dict[str, Node] = {}
    shapes = dict(network.shapes)
    behind = _behind_ternary(network) if behind is None else behind
    sinking = {
        node.output for node in network.nodes if OPERATIONS[node.op].moves and node.inputs[0] in behind
    }
    for node in network.nodes:
        moves: list[Node] = []
        first = node
        while first.inputs[0] in sinking:
            move = producers[first.inputs[0]]
            before = _before(first, move, shapes)
            if before is None:
                break
            moves.append(replace(move, inputs=(before.output,), output=first.output))
            sinking.add(first.output)
            first = before
            shapes[first.output] = shapes[first.inputs[0]]
        producers |= {new.output: new for new in (first, *reversed(moves))}
    return rebuilt(network, list(producers.values()))


def _behind_ternary(network: Network) -> set[str]:
    """Return the sums of ternary layers and what operations make of them up to the next rounding."""
    behind: set[str] = set()
    for node in network.nodes:
        if node.op in {"Conv", "Dense"}:
            ternary = magnitudes(node.constants["weight"]) is not None
        else:
            ternary = node.inputs[0] in behind and _passes(node)
        if ternary:
            behind.add(node.output)
    return behind


def _passes(node: Node) -> bool:
    """Tell whether a node makes sums of sums, not yet whole numbers."""
    record = OPERATIONS[node.op]
    return (record.elementwise or record.moves or node.op == "MaxPool") and node.op not in _ROUNDING


def _before(node: Node, move: Node, shapes: Mapping[str, Shape]) -> Node | None:
    """Return an elementwise node as it stands before a move, or None if it cannot stand there."""
    if not OPERATIONS[node.op].elementwise or not by_channel(node):
        return None
    shape, moved = shapes[move.inputs[0]], shapes[move.output]
    places = np.arange(math.prod(shape))
    if move.op == "Permute":
        places = move.constants["order"].astype(np.int64)
    constants = dict(node.constants)
    for key, value in node.constants.items():
        if value.ndim:
            full = np.empty(len(places))
            full[places] = np.repeat(value, math.prod(moved[1:]))
            rows = full.reshape(shape[0], -1)
            if (rows != rows[:, :1]).any():
                return None
            constants[key] = rows[:, 0]
    output = f"{node.output}.before.{move.name}"
    return make_node(node.name, node.op, move.inputs, output, attributes=node.attributes, constants=constants)


def sink_pools(network: Network, behind: Collection[str] | None = None) -> Network:
    """Move max-pools of ternary layers behind the elementwise operations that follow and fall in no channel.

    A rounded operation that never falls commutes with the maximum, so every remaining tensor keeps its
    value to the last bit. A network that pools before its quantised activation becomes one that pools after
    it. Pools of other layers stay, so that the encoder does not grow.
    """
    nodes = list(network.nodes)
    behind = _behind_ternary(network) if behind is None else {*behind} & set(network.shapes)
    movable = {node.name for node in nodes if node.op == "MaxPool" and node.inputs[0] in behind}
    at = 0
    while at < len(nodes):
        pool, after = nodes[at], _only_consumer(nodes, nodes[at], network)
        if pool.name not in movable or after is None or not _commutes(after):
            at += 1
            continue
        between = f"{after.output}.before.{pool.name}"
        first = replace(after, inputs=pool.inputs, output=between)
        second = replace(pool, inputs=(between,), output=after.output)
        where = next(i for i, node in enumerate(nodes) if node is after)
        nodes[where : where + 1] = [first, second]
        del nodes[at]
    return rebuilt(network, nodes)


def _only_consumer(nodes: list[Node], node: Node, network: Network) -> Node | None:
    consumers = [other for other in nodes if node.output in other.inputs]
    return consumers[0] if len(consumers) == 1 and node.output != network.output else None


def _commutes(after: Node) -> bool:
    return OPERATIONS[after.op].elementwise and by_channel(after) and rises(after)
