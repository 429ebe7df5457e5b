# SPDX-License-Identifier: Apache-2.0
"""Seeded damage of valid files: bytes anywhere, and edits that keep a file's structure and its digests."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto, numpy_helper

__all__ = [
    "arrays_of",
    "bytes_of",
    "damage_archive",
    "damage_arrays",
    "damage_bytes",
    "damage_json",
    "damage_model",
    "damage_toml",
    "flip_byte",
    "npz_of",
    "reseal",
]

Rng = np.random.Generator
Arrays = dict[str, NDArray[Any]]

NUMBERS: tuple[float, ...] = (
    0, -1, 1, 2, 3, 7, 127, 128, 255, 256, 65535, 2**31 - 1, -(2**31), 2**31, 2**62, 0.5, -0.5, 1e-30, 1e30,
    1e300, float("nan"), float("inf"), float("-inf"), 1e-320,
)  # fmt: skip
"""Values at the edges of types and ranges."""


def _pick(rng: Rng, options: Any) -> Any:
    return options[int(rng.integers(len(options)))]


def _integer(rng: Rng) -> int:
    whole = [int(n) for n in NUMBERS if np.isfinite(n) and abs(n) < 2**63 and n == int(n)]
    return int(_pick(rng, whole)) if rng.random() < 0.7 else int(rng.integers(-4, 12))


def flip_byte(data: bytes, rng: Rng) -> bytes:
    """Return the bytes with one of them changed."""
    at = int(rng.integers(len(data)))
    changed = bytearray(data)
    changed[at] ^= int(rng.integers(1, 256))
    return bytes(changed)


def damage_bytes(data: bytes, rng: Rng) -> bytes:
    """Return bytes that are cut, flipped, repeated, moved, overwritten or foreign."""
    kind = int(rng.integers(6))
    if not data or kind == 0:
        return bytes(rng.integers(0, 256, int(rng.integers(64)), np.uint8)) + data[: int(rng.integers(3))]
    at, end = sorted(int(n) for n in rng.integers(len(data) + 1, size=2))
    if kind == 1:
        return data[:at]
    if kind == 2:
        return data[:at] + data[end:]
    if kind == 3:
        return data[:end] + data[at:]
    if kind == 4:
        return data[:at] + bytes(rng.integers(0, 256, min(end - at, 16), np.uint8)) + data[at + 16 :]
    for _ in range(int(rng.integers(1, 5))):
        data = flip_byte(data, rng)
    return data


def _damage_array(array: NDArray[Any], rng: Rng) -> NDArray[Any]:
    """Return an array with other values, another shape or another type."""
    kind, array = int(rng.integers(9)), np.array(array)
    if kind == 0:
        types = ("<f2", "<f4", "<f8", "<g", "<c8", "u1", "<u2", "<u8", "i1", "<i8", "?", "<U3", "S2", ">i4")
        with np.errstate(all="ignore"):
            return np.asarray(array).astype(_pick(rng, types), casting="unsafe")
    if kind == 1:
        return array.reshape(-1) if rng.random() < 0.5 else array[None]
    if kind in (2, 3) and array.ndim:
        return array[: int(rng.integers(len(array) + 1))] if kind == 2 else np.concatenate([array, array[:1]])
    if kind == 4:
        return np.zeros(tuple(rng.integers(0, 3, int(rng.integers(4)))), array.dtype)
    return _damage_values(array, rng)


def _damage_values(array: NDArray[Any], rng: Rng) -> NDArray[Any]:
    """Return an array with one to three other values, or, of integers, all of them moved."""
    if array.dtype.kind in "iu" and rng.random() < 0.25:
        return np.asarray(array + np.asarray(int(rng.integers(1, 4))).astype(array.dtype), array.dtype)
    for _ in range(int(rng.integers(1, 4)) if array.size else 0):
        flat = array.reshape(-1)
        at = int(rng.integers(len(flat)))
        with np.errstate(all="ignore"):
            if array.dtype.kind in "fc":
                flat[at] = _pick(rng, NUMBERS)
            elif array.dtype.kind in "iu":
                flat[at] = np.asarray(_integer(rng)).astype(array.dtype)
            elif array.dtype.kind == "b":
                flat[at] = not flat[at]
    return array


def bytes_of(array: NDArray[Any]) -> bytes:
    """Return an array as the bytes of an npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def npz_of(arrays: Mapping[str, Any]) -> bytes:
    """Return arrays as the bytes of an npz file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def arrays_of(data: bytes) -> Arrays:
    """Return the arrays of an npz file."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return dict(archive)


def _damage_header(npy: bytes, rng: Rng) -> bytes:
    """Return an npy file whose header says something else."""
    old = re.search(rb"'shape': \([^)]*\)", npy)
    swaps = (
        (old.group(0) if old else b"'shape'", b"'shape': (4611686018427387904,)"),
        (old.group(0) if old else b"'shape'", b"'shape': (-1,)"),
        (b"'descr': '", b"'descr': '|O"),
        (b"'descr': '<", b"'descr': '>"),
        (b"False", b"True"),
        (b"NUMPY\x01", b"NUMPY\x03"),
        (b"{", b"[" * 40),
    )
    old_text, new_text = _pick(rng, swaps)
    return npy.replace(old_text, new_text, 1)


def damage_arrays(data: bytes, rng: Rng) -> bytes:
    """Return an npz file with an array changed, renamed, missing, added, or with another header."""
    arrays = arrays_of(data)
    name, kind = _pick(rng, sorted(arrays)), int(rng.integers(8))
    if kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays[_pick(rng, ("X", "labels", "a/b", ""))] = arrays.pop(name)
    elif kind == 2:
        members = {f"{key}.npy": bytes_of(value) for key, value in arrays.items()}
        members[f"{name}.npy"] = _damage_header(members[f"{name}.npy"], rng)
        return _archive(members)
    else:
        arrays[name] = _damage_array(arrays[name], rng)
    return npz_of(arrays)


def _archive(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _damage_value(value: Any, rng: Rng) -> Any:
    """Return JSON data with one value somewhere in it replaced, removed or doubled."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = _pick(rng, sorted(value))
        rest = {k: v for k, v in value.items() if k != key}
        return rest if rng.random() < 0.1 else {**rest, key: _damage_value(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = int(rng.integers(len(value)))
        repeat = [[], [value[at], value[at]], [_damage_value(value[at], rng)]][int(rng.integers(3))]
        return [*value[:at], *repeat, *value[at + 1 :]]
    if isinstance(value, int) and not isinstance(value, bool) and rng.random() < 0.7:
        return _integer(rng)
    return _pick(rng, (None, True, -1, 0, 1.5, 2**70, "", "loom", [], {}, [[]], {"a": 1}, 1e300))


def damage_json(data: bytes, rng: Rng) -> bytes:
    """Return a JSON file with one value in it replaced, removed or doubled."""
    return json.dumps(_damage_value(json.loads(data), rng)).encode()


def reseal(members: dict[str, bytes]) -> bytes:
    """Return an image file whose digests of members fit its members: damage that no digest shows."""
    meta = json.loads(members["meta.json"])
    if isinstance(meta, dict) and isinstance(meta.get("members"), dict):
        meta["members"] = {n: hashlib.sha256(d).hexdigest() for n, d in members.items() if n != "meta.json"}
        members = {**members, "meta.json": json.dumps(meta).encode()}
    return _archive(members)


def damage_archive(data: bytes, rng: Rng) -> bytes:
    """Return an image with a member changed, its digests made to fit again.

    Only the digest of the chip's bytes, ``image_digest``, may then tell; a reader must not rely on it alone.
    """
    members = _members(data)
    kind = int(rng.integers(10))
    if kind < 3:
        meta = json.loads(members["meta.json"])
        part = _pick(rng, ("meta", "meta", "spec", "format", "image_digest", "members"))
        if part == "members":
            meta = _damage_value(meta, rng)
            return _archive({**members, "meta.json": json.dumps(meta).encode()})
        members["meta.json"] = json.dumps({**meta, part: _damage_value(meta[part], rng)}).encode()
    elif kind == 3:
        del members[_pick(rng, sorted(set(members) - {"meta.json"}))]
    elif kind == 4:
        first, second = _pick(rng, sorted(members)), _pick(rng, sorted(members))
        members[first], members[second] = members[second], members[first]
        if "meta.json" in (first, second):
            return _archive(members)
    elif kind == 5:
        name = _pick(rng, [n for n in sorted(members) if n.endswith(".npy")])
        members[name] = _damage_header(members[name], rng)
    else:
        name = _pick(rng, [n for n in sorted(members) if n.endswith(".npy")])
        array = np.load(io.BytesIO(members[name]), allow_pickle=False)
        if name == "attachment/network.npy" and rng.random() < 0.8:
            text = json.dumps(_damage_value(json.loads(array.tobytes()), rng))
            array = np.frombuffer(text.encode(), np.uint8)
        else:
            array = _damage_array(array, rng)
        members[name] = bytes_of(array)
    return reseal(members)


# --- ONNX -------------------------------------------------------------------------------------------------

_OPERATORS = (
    "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Constant", "Conv", "Div",
    "Dropout", "Flatten", "Floor", "Gemm", "Identity", "If", "LSTM", "Loop", "MatMul", "MaxPool", "Mul",
    "Quant", "QuantizeLinear", "DequantizeLinear", "Relu", "Reshape", "Round", "Softmax", "Sub", "Transpose",
)  # fmt: skip
_ATTRIBUTES = (
    "alpha", "auto_pad", "axis", "beta", "ceil_mode", "dilations", "epsilon", "group", "kernel_shape", "max",
    "min", "pads", "perm", "strides", "to", "transA", "transB", "training_mode", "value", "value_float",
)  # fmt: skip


def _tensor_names(graph: Any) -> list[str]:
    names = [t.name for t in graph.initializer] + [v.name for v in [*graph.input, *graph.output]]
    return [*names, *(n for node in graph.node for n in [*node.input, *node.output]), "", "nowhere"]


def _damage_attribute(node: Any, rng: Rng) -> None:
    if node.attribute and rng.random() < 0.7:
        attribute = _pick(rng, node.attribute)
    else:
        attribute = node.attribute.add()
        attribute.name = _pick(rng, _ATTRIBUTES)
        attribute.type = int(rng.integers(0, 15))
    kind = int(rng.integers(6))
    if kind == 0:
        attribute.type = int(rng.integers(0, 15))
    elif kind == 1:
        attribute.ints[:] = [_integer(rng) for _ in range(int(rng.integers(6)))]
        attribute.type = AttributeProto.INTS
    elif kind == 2 and attribute.ints:
        attribute.ints[int(rng.integers(len(attribute.ints)))] = _integer(rng)
    elif kind == 3:
        attribute.f, attribute.type = np.float32(_pick(rng, NUMBERS[:-5])), AttributeProto.FLOAT
    elif kind == 4:
        attribute.i, attribute.type = _integer(rng), AttributeProto.INT
    else:
        attribute.s = _pick(rng, (b"SAME_UPPER", b"SAME_LOWER", b"VALID", b"", b"\xff\x80"))
        attribute.type = AttributeProto.STRING


def _damage_node(model: onnx.ModelProto, rng: Rng) -> None:
    graph = model.graph
    at = int(rng.integers(len(graph.node)))
    node, names, kind = graph.node[at], _tensor_names(graph), int(rng.integers(9))
    if kind == 0:
        node.op_type = _pick(rng, _OPERATORS)
    elif kind == 1:
        del graph.node[at]
    elif kind == 2:
        graph.node.add().CopyFrom(node)
    elif kind == 3 and node.input:
        node.input[int(rng.integers(len(node.input)))] = _pick(rng, names)
    elif kind == 4:
        node.output[:] = [_pick(rng, names) for _ in range(int(rng.integers(3)))]
    elif kind == 5:
        node.input.append(_pick(rng, names))
    elif kind == 6 and node.input:
        del node.input[int(rng.integers(len(node.input)))]
    elif kind == 7:
        node.domain = _pick(rng, ("qonnx.custom_op.general", "com.microsoft", "ai.onnx", "x"))
    else:
        _damage_attribute(node, rng)


def _damage_tensor(model: onnx.ModelProto, rng: Rng) -> None:
    tensor, kind = _pick(rng, model.graph.initializer), int(rng.integers(8))
    if kind == 0:
        tensor.data_type = int(rng.integers(-1, 26))
    elif kind == 1 and tensor.dims:
        tensor.dims[int(rng.integers(len(tensor.dims)))] = _integer(rng)
    elif kind == 2:
        tensor.dims.append(_pick(rng, (0, 1, 2, -1, 2**40)))
    elif kind == 3:
        tensor.raw_data = damage_bytes(tensor.raw_data, rng)
    elif kind == 4:
        tensor.name = _pick(rng, _tensor_names(model.graph))
    elif kind == 5:
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "../../etc/passwd"
    else:
        name = tensor.name
        try:
            array = numpy_helper.to_array(tensor)
        except Exception:  # noqa: BLE001 - damaged by an earlier edit
            return
        damaged = _damage_array(array, rng)
        if damaged.dtype.kind in "biuf" and damaged.dtype != np.longdouble:
            tensor.CopyFrom(numpy_helper.from_array(damaged.astype(damaged.dtype.newbyteorder("<")), name))


def _damage_graph(model: onnx.ModelProto, rng: Rng) -> None:
    graph, kind = model.graph, int(rng.integers(6))
    if kind == 0:
        model.opset_import.add().version = int(rng.integers(-1, 40))
    elif kind == 1:
        _pick(rng, model.opset_import).version = _integer(rng)
    elif kind == 2:
        dims = graph.input[0].type.tensor_type.shape.dim
        if dims:
            dims[int(rng.integers(len(dims)))].dim_value = _integer(rng)
    elif kind == 3:
        graph.input[0].type.tensor_type.elem_type = int(rng.integers(0, 20))
    elif kind == 4:
        graph.output[0].name = _pick(rng, _tensor_names(graph))
    else:
        _pick(rng, (graph.input, graph.output)).add().name = _pick(rng, _tensor_names(graph))


def damage_model(data: bytes, rng: Rng) -> bytes:
    """Return an ONNX file with one to three edits of nodes, attributes, tensors or the graph."""
    model = onnx.ModelProto.FromString(data)
    for _ in range(int(rng.integers(1, 4))):
        if model.graph.node and model.graph.initializer and model.opset_import and model.graph.input:
            edits: tuple[Callable[[onnx.ModelProto, Rng], None], ...]
            edits = (_damage_node, _damage_node, _damage_tensor, _damage_tensor, _damage_graph)
            try:
                _pick(rng, edits)(model, rng)
            except (ValueError, IndexError):  # what protobuf itself refuses to write
                continue
    return bytes(model.SerializeToString())


# --- targets ----------------------------------------------------------------------------------------------

_VALUES = (
    "0", "-1", "1", "2", "4096", "1.5", "1e-300", "1e299", "1e300", "inf", "-inf", "nan", "true", '""',
    '"loom"', '"pJ"', '"J"', '"4x3"', '"0x0"', '"999x999"', "[]", "{}", "1979-05-27", "9223372036854775808",
    "[[1]]", '"tiny"',
)  # fmt: skip


def damage_toml(data: bytes, rng: Rng) -> bytes:
    """Return a TOML file with lines changed, doubled, removed or moved."""
    lines = data.decode().splitlines()
    for _ in range(int(rng.integers(1, 4))):
        at, kind = int(rng.integers(len(lines))), int(rng.integers(7))
        key, sign, _ = lines[at].partition(" = ")
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(int(rng.integers(len(lines))), lines[at])
        elif kind == 2 and sign:
            lines[at] = f"{key}x = 1"
        elif sign:
            lines[at] = f"{key} = {_pick(rng, _VALUES)}"
        if not lines:
            break
    return "\n".join(lines).encode()
