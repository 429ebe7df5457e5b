# SPDX-License-Identifier: Apache-2.0
"""A float network as plain arrays, so that an image carries its host layers with it."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.errors import MappingError
from mapping.model.network import Network, build_network, make_node
from mapping.model.node import Node

__all__ = ["network_from_arrays", "network_to_arrays"]

GRAPH = "network"
"""Attachment with the graph as JSON text; constant i of it is the attachment ``network_<i>``."""


def network_to_arrays(network: Network) -> dict[str, NDArray[Any]]:
    """Return a network as attachments of an image: JSON text as uint8, constants as float64."""
    arrays: dict[str, NDArray[Any]] = {}
    nodes = []
    for node in network.nodes:
        constants = {}
        for key, value in sorted(node.constants.items()):
            constants[key] = name = f"{GRAPH}_{len(arrays)}"
            arrays[name] = value
        attributes = {k: list(v) if isinstance(v, tuple) else v for k, v in sorted(node.attributes.items())}
        nodes.append([node.name, node.op, list(node.inputs), node.output, attributes, constants])
    graph = {
        "name": network.name,
        "input": network.input,
        "output": network.output,
        "input_shape": list(network.shapes[network.input]),
        "nodes": nodes,
        **({"classes": list(network.classes)} if network.classes else {}),
        **({"whole": True} if network.whole else {}),
    }
    return {GRAPH: np.frombuffer(json.dumps(graph).encode(), np.uint8), **arrays}


def network_from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Network:
    """Return the network that `network_to_arrays` wrote; shapes are inferred and checked anew.

    Raises
    ------
    MappingError
        If the attachments hold no network.
    """
    try:
        graph = json.loads(np.asarray(arrays[GRAPH], np.uint8).tobytes())
        nodes = [
            make_node(
                name,
                op,
                inputs,
                output,
                attributes={k: tuple(v) if isinstance(v, list) else v for k, v in attributes.items()},
                constants={key: arrays[member] for key, member in constants.items()},
            )
            for name, op, inputs, output, attributes, constants in graph["nodes"]
        ]
        _require_finite(nodes)
        return build_network(
            nodes,
            name=graph["name"],
            input_name=graph["input"],
            input_shape=tuple(graph["input_shape"]),
            output_name=graph["output"],
            classes=graph.get("classes", ()),
            whole=graph.get("whole", False) is True,
        )
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise MappingError(
            f"The image holds no readable network for the host ({type(error).__name__}: {str(error)[:200]}); "
            "compile the model again."
        ) from None


def _require_finite(nodes: Sequence[Node]) -> None:
    for node in nodes:
        numbers = [value for value in node.attributes.values() if isinstance(value, float)]
        wrong = [key for key, value in node.constants.items() if not np.isfinite(value).all()]
        if wrong or any(math.isnan(number) for number in numbers):
            raise ValueError(
                f"node {node.name} has {', '.join(wrong) or 'an attribute'} that is no finite number"
            )
