# SPDX-License-Identifier: Apache-2.0
"""Find the scores of a classifier whose output is the class itself, and what it calls its classes.

Estimators give the class, by its own name, and perhaps the scores as a map of names to numbers. A chip gives
the scores, and the host finds the largest.
"""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from mapping.errors import UnsupportedModelError
from mapping.model.importers.onnx_ml import DOMAIN, class_names
from mapping.model.importers.onnx_spelt import Parts, shared

__all__ = ["Names", "headed"]

Names = tuple[int | str, ...]
"""What a model calls its classes, in the order of its scores; empty where it numbers them from 0."""

_PASSING = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze"})
_TABLES = frozenset({"ArrayFeatureExtractor", "Gather"})
_KEEPING = frozenset({"Cast", "Identity", "Dropout"})
_NORMS = (b"L1", b"L2")


@dataclass(frozen=True, slots=True)
class _Head:
    """The tensor of the scores, and the names of the classes."""

    scores: str
    names: Names


def headed(model: onnx.ModelProto) -> tuple[onnx.ModelProto, Names]:
    """Return a model whose output are the scores of the classes, and the names of the classes.

    A model whose output is no class is given back as it is. The given one is not changed; what the scores do
    not need is left out.

    Raises
    ------
    UnsupportedModelError
        If the names of the classes are not as many different ones as there are scores, where both are told.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    for node in graph.node:
        if node.op_type == "LinearClassifier" and len(node.output) == 1:
            node.output.append(f"{node.output[0]}.scores")
    parts = Parts(graph)
    if graph.output and _several(parts, graph.output[0].name):
        return model, ()
    heads = [_head(parts, value.name) for value in graph.output]
    named = [head for head in heads if head is not None and (head.names or head is heads[0])]
    if not named:
        return model, ()
    scores = named[0].scores
    names = _distinct(next((head.names for head in named if head.names), ()))
    types = {value.name: value.type.tensor_type.elem_type for value in graph.output}
    kept = _two_scores(graph, parts, scores) or _kept(parts, scores)
    del graph.output[:]
    element = types.get(scores) or TensorProto.FLOAT
    graph.output.append(helper.make_tensor_value_info(kept, element, None))
    _prune(graph)
    return copy, names


def _several(parts: Parts, name: str) -> bool:
    """Tell whether an output holds a truth for every class, so that none of them is the class."""
    _, node = parts.back(name, _PASSING)
    return node is not None and node.op_type == "Binarizer"


def _distinct(names: Names) -> Names:
    for name in names:
        if names.count(name) > 1:
            raise UnsupportedModelError(
                f"The model calls two of its {len(names)} classes {name!r}; export it again."
            )
    return names


def _head(parts: Parts, name: str) -> _Head | None:
    """Return the scores from which an output is chosen, if it is a class or a map of scores."""
    tensor, node = parts.back(name, _PASSING)
    if node is None:
        return None
    if node.op_type == "ZipMap":
        return _Head(node.input[0], class_names(node))
    if node.op_type != "LabelEncoder":
        return _chosen(parts, tensor, node)
    tensor, before = parts.back(node.input[0], _PASSING)
    found = None if before is None else _chosen(parts, tensor, before)
    return None if found is None else _Head(found.scores, _translated(found.names, node))


def _chosen(parts: Parts, tensor: str, node: NodeProto) -> _Head | None:
    """Return the scores from which a node chooses a class, by its number or out of a table of names."""
    if node.op_type == "LinearClassifier":
        return _Head(node.output[1], class_names(node)) if node.output[0] == tensor else None
    if node.op_type == "ArgMax":
        return _Head(
            tensor, ()
        )  # whether its scores are those of classes tells their shape, once it is known
    values = parts.constant(node.input[0]) if node.op_type in _TABLES and len(node.input) == 2 else None
    if values is None or values.size != max(values.shape, default=0):
        return None
    best = parts.back(node.input[1], _PASSING)[1]
    return None if best is None or best.op_type != "ArgMax" else _Head(best.input[0], _texts(values))


def _texts(values: np.ndarray) -> Names:
    """Return the names in a constant; numbers that are whole are integers."""
    flat = values.reshape(-1).tolist()
    if values.dtype.kind in "iub" or (values.dtype.kind == "f" and all(float(v).is_integer() for v in flat)):
        return tuple(int(value) for value in flat)
    return tuple(v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in flat)


def _translated(names: Names, encoder: NodeProto) -> Names:
    """Return names as a ``LabelEncoder`` behind the classifier writes them."""
    given = {attribute.name: _listed(attribute) for attribute in encoder.attribute}
    keys = next((values for key, values in given.items() if key.startswith("keys_")), ())
    found = next((values for key, values in given.items() if key.startswith("values_")), ())
    table = dict(zip(keys, found, strict=False))
    return tuple(table.get(name, name) for name in names)


def _listed(attribute: onnx.AttributeProto) -> Names:
    return (*map(int, attribute.ints), *(text.decode("utf-8", "replace") for text in attribute.strings))


def _kept(parts: Parts, name: str) -> str:
    """Return the first tensor whose classes have the order of those of a tensor, for every sample.

    The division by a norm or a sum, which is positive, changes it as little as a type does.
    """
    while True:
        name, node = parts.back(name, _KEEPING)
        scores = None if node is None else shared(parts, node)
        if scores is not None:
            name = scores
            continue
        if node is None or node.domain != DOMAIN or node.op_type != "Normalizer":
            return name
        norm = next((a.s for a in node.attribute if a.name == "norm"), b"MAX")
        if norm not in _NORMS or not node.input:
            return name
        name = node.input[0]


def _two_scores(graph: onnx.GraphProto, parts: Parts, name: str) -> str | None:
    """Return scores (-z, z) in the place of the two probabilities (1 - s, s), where s is that of z.

    They have the same order, and their difference is not lost where s is almost 0 or 1.
    """
    _, both = parts.back(name, _KEEPING)
    if both is None or both.op_type != "Concat" or len(both.input) != 2:
        return None
    (_, less), (tensor, share) = (parts.back(part, _KEEPING) for part in both.input)
    if less is None or share is None or less.op_type != "Sub" or share.op_type != "Sigmoid":
        return None
    one = parts.constant(less.input[0])
    if one is None or one.size != 1 or float(one.reshape(-1)[0]) != 1.0:
        return None
    if parts.back(less.input[1], _KEEPING)[0] != tensor:
        return None
    signs, scores = f"{name}.signs", f"{name}.scores"
    graph.initializer.append(numpy_helper.from_array(np.array([[-1.0, 1.0]], np.float32), signs))
    graph.node.append(helper.make_node("MatMul", [share.input[0], signs], [scores], name=scores))
    return scores


def _prune(graph: onnx.GraphProto) -> None:
    """Leave out nodes and constants that the output does not need."""
    needed = {value.name for value in graph.output}
    writers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    waiting, seen = list(needed), set[int]()
    while waiting:
        index = writers.get(waiting.pop(), -1)
        if index >= 0 and index not in seen:
            seen.add(index)
            needed.update(graph.node[index].input)
            waiting.extend(graph.node[index].input)
    for index in reversed(range(len(graph.node))):
        if index not in seen:
            del graph.node[index]
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in needed:
            del graph.initializer[index]
