# SPDX-License-Identifier: Apache-2.0
"""An integer network as plain arrays, so that an image carries what it computes with it."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.errors import MappingError
from mapping.model.network import Network
from mapping.spiking.network import INPUT, HostLayer, Pool, Source, SpikingLayer, SpikingNetwork
from mapping.spiking.quantisers import LADDER_FIELDS, Ladders, Lists, Mixed, Quantiser

__all__ = ["CARRIED", "spiking_from_arrays", "spiking_to_arrays"]

CARRIED = frozenset({"graded", "int8"})
"""Codes of which an image carries the integer network itself, besides the float network."""

GRAPH = "spiking"
"""Attachment with everything but the arrays as JSON text; array i of it is the attachment ``spiking_<i>``."""

_PLAIN = ("name", "encoder_output", "input_levels", "input_low", "input_scale", "code")
_FLAGS = ("decoder_reads_input", "decoder_reads_data")
_OF_SOURCE = ("name", "shape", "input_shape", "stride", "pads", "dilation", "groups", "low", "high", "shift")
_OF_LAYER = ("name", "output_shape", "strengths", "low", "levels", "activation", "scale", "zero")
_LATER: Mapping[str, tuple[Callable[[Any], Any], Any]] = {"parts": (int, 1), "near": (float, 0.0)}
"""Fields of a layer that images of earlier versions have not, their types and what stands for them."""


def spiking_to_arrays(spiking: SpikingNetwork) -> dict[str, NDArray[Any]]:
    """Return an integer network, apart from its float network, as attachments of an image."""
    arrays: dict[str, NDArray[Any]] = {}

    def kept(array: NDArray[Any] | None) -> str | None:
        if array is None:
            return None
        name = f"{GRAPH}_{len(arrays)}"
        arrays[name] = array
        return name

    layers = [
        {
            **{key: getattr(layer, key) for key in (*_OF_LAYER, *_LATER)},
            "bias": kept(layer.bias),
            "gains": kept(layer.gains),
            **_kept_quantiser(layer.quantiser, kept),
            "sources": [
                {
                    **{key: getattr(source, key) for key in _OF_SOURCE},
                    "weight": kept(source.weight),
                    "pools": [[pool.kernel, pool.stride, pool.pads] for pool in source.pools],
                }
                for source in layer.sources
            ],
        }
        for layer in spiking.layers
    ]
    host = [[layer.name, layer.reason, layer.remedy, layer.share] for layer in spiking.host]
    graph = {
        **{key: getattr(spiking, key) for key in (*_PLAIN, *_FLAGS)},
        "outputs": spiking.outputs,
        "rounded": spiking.rounded,
        "layers": layers,
        "host": host,
    }
    return {GRAPH: np.frombuffer(json.dumps(graph).encode(), np.uint8), **arrays}


def _kept_quantiser(
    quantiser: Quantiser, kept: Callable[[NDArray[Any] | None], str | None]
) -> dict[str, str | int | None]:
    """Return the keys of a quantiser; ``listed`` is there if its rows are of two kinds."""
    lists = quantiser.lists if isinstance(quantiser, Mixed) else quantiser
    ladders = quantiser.ladders if isinstance(quantiser, Mixed) else quantiser
    return {
        "listed": kept(quantiser.listed) if isinstance(quantiser, Mixed) else None,
        "lists": kept(lists.thresholds) if isinstance(lists, Lists) else None,
        "ladders": kept(ladders.words) if isinstance(ladders, Ladders) else None,
        "payload_bits": ladders.payload_bits if isinstance(ladders, Ladders) else None,
    }


def spiking_from_arrays(arrays: Mapping[str, NDArray[Any]], network: Network) -> SpikingNetwork:
    """Return the integer network that `spiking_to_arrays` wrote, for its float network.

    Raises
    ------
    MappingError
        If the attachments hold none, or a damaged one.
    """
    try:
        graph = json.loads(np.asarray(arrays[GRAPH], np.uint8).tobytes())
        layers = tuple(_layer(data, arrays) for data in graph["layers"])
        _check(layers, graph, network)
        return SpikingNetwork(
            network=network,
            layers=layers,
            outputs=tuple(graph["outputs"]),
            rounded=tuple(graph.get("rounded", ())),
            host=tuple(HostLayer(name=a, reason=b, remedy=c, share=d) for a, b, c, d in graph["host"]),
            **{key: graph[key] for key in (*_PLAIN, *_FLAGS)},
        )
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise MappingError(
            f"The image holds no readable integer network ({type(error).__name__}: {str(error)[:200]}); "
            "compile the model again."
        ) from None


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _layer(data: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> SpikingLayer:
    plain = {key: _tuples(data[key]) for key in _OF_LAYER} | {
        key: kind(data.get(key, default)) for key, (kind, default) in _LATER.items()
    }
    bias = None if data["bias"] is None else np.array(arrays[data["bias"]], np.int64)
    gains = None if data.get("gains") is None else np.array(arrays[data["gains"]], np.float64)
    sources = tuple(_source(source, arrays) for source in data["sources"])
    return SpikingLayer(sources=sources, quantiser=_quantiser(data, arrays), bias=bias, gains=gains, **plain)


def _source(data: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Source:
    plain = {key: _tuples(data[key]) for key in _OF_SOURCE}
    pools = tuple(Pool(kernel=k, stride=s, pads=p) for k, s, p in _tuples(data["pools"]))
    return Source(weight=np.array(arrays[data["weight"]], np.int16), pools=pools, **plain)


def _quantiser(data: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Quantiser:
    if data.get("listed") is not None:
        listed = np.array(arrays[data["listed"]], np.bool_)
        kinds = [_quantiser({**data, "listed": None, other: None}, arrays) for other in ("ladders", "lists")]
        lists, ladders = kinds
        if not isinstance(lists, Lists) or not isinstance(ladders, Ladders):
            raise ValueError(f"layer {data['name']} has rows of one kind, and not two")
        return Mixed(listed=listed, lists=lists, ladders=ladders)
    if data["lists"] is not None:
        thresholds = np.array(arrays[data["lists"]], np.int64)
        if thresholds.ndim != 2 or thresholds.shape[1] != data["levels"]:
            raise ValueError(f"lists of layer {data['name']} have the shape {thresholds.shape}")
        return Lists(thresholds=thresholds)
    words = np.array(arrays[data["ladders"]], np.int64)
    if words.ndim != 2 or words.shape[1] != len(LADDER_FIELDS) or (words[:, 1] < 1).any():
        raise ValueError(f"ladders of layer {data['name']} have no steps above 0")
    return Ladders(words=words, payload_bits=int(data["payload_bits"]))


def _check(layers: tuple[SpikingLayer, ...], graph: Mapping[str, Any], network: Network) -> None:
    """Refuse layers that read what no earlier layer gives, or in another shape."""
    sizes = {INPUT: int(np.prod(network.shapes[graph["encoder_output"]]))}
    for layer in layers:
        for source in layer.sources:
            if int(np.prod(source.shape)) != sizes[source.name]:
                raise ValueError(f"layer {layer.name} reads {source.name} in the shape {source.shape}")
            if len(source.weight) != layer.rows:
                raise ValueError(f"layer {layer.name} has {len(source.weight)} rows of weights")
        if layer.name in sizes or layer.quantiser.rows != layer.rows or not layer.sources:
            raise ValueError(f"layer {layer.name} has {layer.quantiser.rows} rows of thresholds")
        if layer.bias is not None and layer.bias.shape != (layer.neurons,):
            raise ValueError(f"layer {layer.name} has biases of the shape {layer.bias.shape}")
        if layer.gains is not None and layer.gains.shape != (layer.rows,):
            raise ValueError(f"layer {layer.name} has gains of the shape {layer.gains.shape}")
        if network.shapes[layer.activation] and layer.neurons != int(
            np.prod(network.shapes[layer.activation])
        ):
            raise ValueError(f"layer {layer.name} has {layer.neurons} neurons")
        sizes[layer.name] = layer.neurons
    for name in graph["outputs"]:
        if name not in sizes or name == INPUT:
            raise ValueError(f"no layer is the output {name}")
