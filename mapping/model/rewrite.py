# SPDX-License-Identifier: Apache-2.0
"""Rewrite a network into an equal one that converts better."""

from collections.abc import Sequence
from dataclasses import replace

from mapping.codes.thresholds import slopes
from mapping.model.activations import changes_nothing, find_counts, is_pad, magnitudes
from mapping.model.network import ELEMENTWISE, Network, Node, build_network

__all__ = ["absorb_pads", "drop_idle", "sink_pools"]


_PASSED = (ELEMENTWISE | {"MaxPool"}) - {"Floor", "Quantise", "Round"}


def drop_idle(network: Network) -> Network:
    """Leave out operations that give back every value of the quantised activation they read.

    Exporters repeat a quantiser behind a reshape or a pool, and a Relu behind a quantiser without negative
    values. Each is evaluated on all values it can read, so that no remaining tensor changes.
    """
    counts = find_counts(network)
    names: dict[str, str] = {}
    nodes = []
    for node in network.nodes:
        source = counts.get(node.inputs[0])
        if source is not None and node.output != network.output and changes_nothing(node, source):
            names[node.output] = names.get(node.inputs[0], node.inputs[0])
            continue
        nodes.append(replace(node, inputs=tuple(names.get(tensor, tensor) for tensor in node.inputs)))
    return _rebuilt(network, nodes)


def absorb_pads(network: Network) -> Network:
    """Let convolutions do the padding before them, and max-pools too where the padded values are counts.

    A zero around counts never wins a maximum, as nothing around them never does.
    """
    counts = find_counts(network)
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
    return _rebuilt(network, nodes)


def _less(pads: tuple[int, ...], kernel: tuple[int, int]) -> bool:
    top, left, bottom, right = pads
    return max(top, bottom) < kernel[0] and max(left, right) < kernel[1]


def _rebuilt(network: Network, nodes: Sequence[Node]) -> Network:
    return build_network(
        nodes,
        name=network.name,
        input_name=network.input,
        input_shape=network.shapes[network.input],
        output_name=network.output,
    )


def sink_pools(network: Network) -> Network:
    """Move max-pools of ternary layers behind the elementwise operations that follow and fall in no channel.

    A rounded operation that never falls commutes with the maximum, so every remaining tensor keeps its
    value to the last bit. A network that pools before its quantised activation becomes one that pools after
    it. Pools of other layers stay, so that the encoder does not grow.
    """
    nodes = list(network.nodes)
    movable = {node.name for node in nodes if node.op == "MaxPool" and _follows_ternary(node, nodes)}
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
    return _rebuilt(network, nodes)


def _only_consumer(nodes: list[Node], node: Node, network: Network) -> Node | None:
    consumers = [other for other in nodes if node.output in other.inputs]
    return consumers[0] if len(consumers) == 1 and node.output != network.output else None


def _follows_ternary(pool: Node, nodes: list[Node]) -> bool:
    producers = {node.output: node for node in nodes}
    node = producers.get(pool.inputs[0])
    while node is not None and node.op in _PASSED:
        node = producers.get(node.inputs[0])
    return (
        node is not None and node.op in {"Conv", "Dense"} and magnitudes(node.constants["weight"]) is not None
    )


def _commutes(after: Node) -> bool:
    return after.op in ELEMENTWISE and len(after.inputs) == 1 and bool((slopes([after], 1) >= 0).all())
