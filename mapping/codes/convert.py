# SPDX-License-Identifier: Apache-2.0
"""Convert a float network with ternary layers into a `SpikingNetwork` that equals it.

The method is the scatter-and-gather conversion of Zou et al. 2021 (Front. Neurosci. 15:694170): an
activation of k_rep levels becomes k_rep thresholds on one shared integer sum. Here every threshold is found
and proven with the network's own float64 arithmetic.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.codes.thresholds import Chain, fold, order_dependent, prove, slopes
from mapping.errors import UnsupportedModelError
from mapping.model.activations import Activation, explain, find_activations, magnitudes
from mapping.model.evaluate import lowest_bit, needed_nodes
from mapping.model.network import Network, Node
from mapping.model.rewrite import absorb_pads, drop_idle, sink_pools
from mapping.spiking.matrices import (
    LayerOperations,
    layer_matrix,
    operation_counts,
    pool_matrix,
    pool_members,
)
from mapping.spiking.network import ALWAYS, INPUT, NEVER, Pool, SpikingLayer, SpikingNetwork
from mapping.spiking.simulate import Comparison, compare, decode, encode, simulate

__all__ = [
    "ALWAYS",
    "INPUT",
    "NEVER",
    "Comparison",
    "LayerOperations",
    "Pool",
    "SpikingLayer",
    "SpikingNetwork",
    "compare",
    "convert",
    "decode",
    "encode",
    "layer_matrix",
    "operation_counts",
    "pool_matrix",
    "pool_members",
    "simulate",
]

_CHAIN = frozenset({"Add", "BatchNormalization", "Clip", "Div", "Mul", "Quantise", "Relu"})
_HOST = frozenset({"Conv", "Dense", "MaxPool"})
_QUANTISERS = frozenset({"Floor", "Quantise", "Round"})
_NEARLY = 1e-4  # share of the largest weight that rounding explains, not training
_OUTSIDE = "it lies outside the longest run of layers that can run on the chip"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Source:
    """Where a linear node's input comes from: an activation through pools."""

    activation: Activation
    shape: tuple[int, ...]
    pools: tuple[Pool, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Candidate:
    """A linear node and one quantised activation of its output, which can run on the chip."""

    name: str
    linear: Node
    chain: tuple[Node, ...]
    activation: Activation
    source: _Source
    ternary: NDArray[np.int8]
    magnitude: NDArray[np.float64]


def convert(network: Network) -> SpikingNetwork:
    """Split a network into encoder, spiking layers and decoder, and prove the layers equal to it.

    On the chip runs the longest run of ternary layers behind one quantised activation, the earliest on a
    tie; all other layers run on the host and are listed with the reason. The network of the result is the
    given one with max-pools moved behind activations, pads moved into the layers that read them, and without
    operations that do nothing, where that changes no value.

    Raises
    ------
    UnsupportedModelError
        If no layer can run on the chip; the sentence names the first obstacle and the way out.
    MappingError
        If the thresholds of a layer fail their proof.
    """
    network = sink_pools(absorb_pads(drop_idle(network)))
    activations = find_activations(network)
    candidates, reasons = _candidates(network, activations)
    entry, run = _longest_run(network, activations, candidates)
    if entry is None:
        raise UnsupportedModelError(_nothing_to_run(reasons, candidates))
    names = {entry.output: INPUT} | {part.activation.output: part.name for part in run}
    layers = tuple(_layer(part, names[part.source.activation.output], network) for part in run)
    decoder = needed_nodes(network, names, [network.output])
    read = {network.output, *(tensor for node in decoder for tensor in node.inputs)}
    encoder = needed_nodes(network, [network.input], [entry.output])
    host = _host_nodes(encoder, decoder)
    return SpikingNetwork(
        name=network.name,
        network=network,
        encoder_output=entry.output,
        input_levels=entry.levels,
        input_scale=entry.scale,
        layers=layers,
        outputs=tuple(layer.name for layer in layers if layer.activation in read),
        decoder_reads_input=entry.output in read,
        host_layers=tuple(node.name for node in host),
        host_reasons=tuple(reasons.get(node.name, _host_reason(node)) for node in host),
    )


def _candidates(
    network: Network, activations: dict[str, Activation]
) -> tuple[list[_Candidate], dict[str, str]]:
    """Return every layer that can run on the chip, and for every linear node why it would not."""
    producers = {node.output: node for node in network.nodes}
    chains = [(_chain(activation, producers), activation) for activation in activations.values()]
    found, reasons, used = [], {}, {INPUT}
    for linear in network.nodes:
        if linear.op not in {"Conv", "Dense"}:
            continue
        source = _source(linear, network, producers, activations)
        ends = [(chain[1:], end) for chain, end in chains if chain and chain[0] is linear]
        ternary, reason = _ternary(linear, source, network)
        if source is None or ternary is None or not ends:
            reasons[linear.name] = reason or _why_no_end(linear, network)
            continue
        reasons[linear.name] = _OUTSIDE
        for chain, end in ends:
            name = linear.name if linear.name not in used else f"{linear.name}:{end.output}"
            used.add(name)
            found.append(
                _Candidate(
                    name=name,
                    linear=linear,
                    chain=tuple(chain),
                    activation=end,
                    source=source,
                    ternary=ternary[0],
                    magnitude=ternary[1],
                )
            )
    return found, reasons


def _why_no_end(linear: Node, network: Network) -> str:
    """Say why no quantised activation follows a linear node, by the first quantiser or join behind it."""
    tensor = linear.output
    while len(readers := network.consumers(tensor)) == 1 and readers[0].op not in {"Conv", "Dense"}:
        tensor = readers[0].output
        if readers[0].op == "Quantise":
            return f"its output {explain(network, tensor)}"
        if len(readers[0].inputs) > 1:
            return f"its output goes into {readers[0].name!r} before it is quantised"
    return "its output does not end in a quantised activation"


def _chain(activation: Activation, producers: dict[str, Node]) -> list[Node]:
    """Return the nodes from a linear one to an activation; empty if another operation is between."""
    nodes: list[Node] = []
    node = producers.get(activation.output)
    while node is not None and len(node.inputs) == 1:
        nodes.append(node)
        if node.op in {"Conv", "Dense"}:
            return nodes[::-1]
        if node.op not in _CHAIN and node.output != activation.rounded:
            return []
        node = producers.get(node.inputs[0])
    return []


def _source(
    linear: Node, network: Network, producers: dict[str, Node], activations: dict[str, Activation]
) -> _Source | None:
    """Walk back through pools and reshapes to a quantised activation."""
    pools: list[Pool] = []
    tensor, shape = linear.inputs[0], network.shapes[linear.inputs[0]]
    while tensor not in activations:
        node = producers.get(tensor)
        if node is None or node.op not in {"Flatten", "MaxPool", "Reshape"}:
            return None
        tensor = node.inputs[0]
        if node.op == "MaxPool":
            if pools and network.shapes[node.output] != shape:
                return None  # a reshape between two pools
            pools.append(Pool(kernel=node.pair("kernel"), stride=node.pair("stride"), pads=node.pads()))
            shape = network.shapes[tensor]
    return _Source(activation=activations[tensor], shape=shape, pools=tuple(reversed(pools)))


def _ternary(
    linear: Node, source: _Source | None, network: Network
) -> tuple[tuple[NDArray[np.int8], NDArray[np.float64]] | None, str | None]:
    """Return digits and one magnitude for each row, or None and the reason."""
    weight = linear.constants["weight"]
    magnitude = magnitudes(weight)
    if magnitude is None:
        return None, _not_ternary(weight)
    if source is None:
        return None, f"its input {explain(network, linear.inputs[0])}"
    digits = np.sign(weight).astype(np.int8)
    largest = np.abs(digits).reshape(len(weight), -1).sum(axis=1, dtype=np.int64) * source.activation.levels
    bits = np.ldexp(magnitude, -np.minimum(lowest_bit(magnitude[:, None], axis=1), 1000))
    if (bits * largest >= 2.0**53).any():
        return None, "its weights have too many digits for exact sums in float64, store them as float32"
    return (digits, magnitude), None


def _not_ternary(weight: NDArray[np.float64]) -> str:
    """Say what is wrong with weights; training code often leaves w + (ternary - w), which rounding moves."""
    rows = np.abs(weight.reshape(len(weight), -1))
    largest = rows.max(axis=1, keepdims=True)
    miss = np.minimum(rows, largest - rows) / np.where(largest > 0, largest, 1.0)
    if miss.max() < _NEARLY:
        return (
            f"its weights miss -a, 0 and a by up to {miss.max():.1g} a; store the ternary values themselves"
        )
    return "its weights are not -a, 0 and a with one a per output channel"


def _longest_run(
    network: Network, activations: dict[str, Activation], candidates: Sequence[_Candidate]
) -> tuple[Activation | None, list[_Candidate]]:
    """Return the activation behind which most candidates follow one another, and those candidates."""
    best: tuple[Activation | None, list[_Candidate]] = (None, [])
    for entry in activations.values():
        reached, run = {entry.output}, []
        for candidate in candidates:
            if candidate.source.activation.output in reached and candidate.activation.output != entry.output:
                reached.add(candidate.activation.output)
                run.append(candidate)
        used = _used(network, entry, run)
        if len(used) > len(best[1]):
            best = (entry, used)
    return best


def _used(network: Network, entry: Activation, run: Sequence[_Candidate]) -> list[_Candidate]:
    """Return the candidates that decoder or others read; none if the decoder needs more than them."""
    try:
        given = [entry.output, *(part.activation.output for part in run)]
        decoder = needed_nodes(network, given, [network.output])
    except ValueError:
        return []
    read, used = {network.output, *(tensor for node in decoder for tensor in node.inputs)}, []
    for part in reversed(run):
        if part.activation.output in read:
            read.add(part.source.activation.output)
            used.append(part)
    return used[::-1]


def _layer(part: _Candidate, source: str, network: Network) -> SpikingLayer:
    linear, activation = part.linear, part.activation
    ternary, low, high = _rising(part)
    chain = Chain(
        layer=part.name,
        nodes=part.chain,
        unit=_unit(part),
        low=low,
        high=high,
        levels=activation.levels,
        scale=activation.scale,
    )
    thresholds = fold(chain)
    exhaustive, checked = prove(chain, thresholds)
    conv = linear.op == "Conv"
    return SpikingLayer(
        name=part.name,
        kind="conv" if conv else "dense",
        source=source,
        pools=part.source.pools,
        source_shape=part.source.shape,
        input_shape=network.shapes[linear.inputs[0]],
        output_shape=network.shapes[linear.output],
        weight=ternary,
        stride=linear.pair("stride") if conv else (1, 1),
        pads=linear.pads() if conv else (0, 0, 0, 0),
        dilation=linear.pair("dilation") if conv else (1, 1),
        groups=int(linear.number("groups")) if conv else 1,
        source_levels=part.source.activation.levels,
        levels=activation.levels,
        thresholds=thresholds,
        activation=activation.output,
        scale=activation.scale,
        exhaustive=exhaustive,
        sums_checked=checked,
        order_dependent=order_dependent(chain, thresholds, _summation_error(part)),
    )


def _falling(part: _Candidate) -> NDArray[np.bool_]:
    return np.asarray(slopes(part.chain, len(part.ternary)) < 0)


def _unit(part: _Candidate) -> NDArray[np.float64]:
    """Return the real value of an integer sum of one, rounded to float64 as `evaluate` rounds it."""
    return np.where(_falling(part), -1.0, 1.0) * part.magnitude * part.source.activation.scale


def _summation_error(part: _Candidate) -> NDArray[np.float64]:
    """Return for each row how far float64 summation in any order is from the exact sum, 0 where it is exact.

    n rounded products and n - 1 rounded sums miss it by at most n u / (1 - n u) times the sum of magnitudes,
    u = 2**-53 (Higham 2002, Accuracy and Stability of Numerical Algorithms, Eq. 3.5); the two roundings of
    `_unit` and of its product are less than three more u.
    """
    terms = np.abs(part.ternary).reshape(len(part.ternary), -1).sum(axis=1, dtype=np.int64)
    scale = np.array([part.source.activation.scale])
    largest = (terms * part.source.activation.levels).astype(np.float64)
    digits = [
        np.ldexp(x, -np.maximum(lowest_bit(x[:, None], axis=1), -1000)) for x in (part.magnitude, scale)
    ]
    exact = digits[0] * digits[1] * largest < 2.0**53
    bound = (terms + 4) * 2.0**-52 * largest * np.abs(_unit(part))
    return np.where(exact, 0.0, bound)


def _rising(part: _Candidate) -> tuple[NDArray[np.int8], NDArray[np.int64], NDArray[np.int64]]:
    """Return the weights with falling rows negated, and the smallest and largest sum of every row."""
    sign = np.where(_falling(part), -1, 1).astype(np.int8)
    ternary = part.ternary * sign.reshape((-1,) + (1,) * (part.ternary.ndim - 1))
    flat, levels = ternary.reshape(len(ternary), -1), part.source.activation.levels
    low = -(flat < 0).sum(axis=1, dtype=np.int64) * levels
    return ternary, low, (flat > 0).sum(axis=1, dtype=np.int64) * levels


def _host_nodes(encoder: Sequence[Node], decoder: Sequence[Node]) -> list[Node]:
    """Return the layers of encoder and decoder; an encoder without any is represented by its quantiser."""
    layers = [node for node in encoder if node.op in _HOST]
    first = layers or [node for node in encoder if node.op in _QUANTISERS]
    return first + [node for node in decoder if node.op in _HOST and node not in first]


def _host_reason(node: Node) -> str:
    return "it belongs to the encoder or the decoder" if node.op == "MaxPool" else "it quantises the input"


def _nothing_to_run(reasons: dict[str, str], candidates: Sequence[_Candidate]) -> str:
    if candidates:
        return (
            "No layer can run on the chip: the output also needs a tensor from before the quantised input of "
            f"layer {candidates[0].name!r}; let every later layer read quantised activations."
        )
    remedy = "train with ternary weights and quantised activations before and after them"
    if not reasons:
        return f"The model has no convolution and no dense layer, so nothing can run on the chip; {remedy}."
    named = [name for name, reason in reasons.items() if "quantised by" in reason]
    middle = (
        named[:1]
        or [name for name, reason in reasons.items() if reason.startswith("its weights")]
        or list(reasons)
    )
    first = middle[len(middle) > 2]
    return f"No layer can run on the chip: layer {first!r} cannot because {reasons[first]}; {remedy}."
