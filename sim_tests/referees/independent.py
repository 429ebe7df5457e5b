# SPDX-License-Identifier: Apache-2.0
"""Count what a model does by a float64 computation of its own, and compare a report with it.

    python -m sim_tests.referees.independent --data mnist:DIR MODEL.onnx
    python -m sim_tests.referees.independent --data digits MODEL.onnx --report REPORT.json

Written from `docs/reference/{truth,report,mapping}.md` and the operator specifications, without `mapping`.
From a report it takes the names of the layers on the chip and how pixels were scaled.
"""

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from sim_tests.referees.onnx_reference import Evaluation, Values, apply_node, convolve, evaluate_onnx

__all__ = ["Layer", "count", "differences", "find_layers", "layer_counts", "load", "main", "root"]

BLOCK = 50
"""Samples evaluated at once."""

_AVERAGES = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean"})
_LINEAR = _AVERAGES | {"Conv", "Gemm", "MatMul"}
_MOVING = frozenset({"Flatten", "MaxPool", "Pad", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_SAME = _MOVING | {"Cast", "Clip", "Dropout", "Identity", "Quant", "Relu"}
_TOTALS = ("synaptic_operations", "synaptic_operations_logical", "synaptic_operations_dense")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer on the chip: its linear node, and the nodes from there to its quantised activation."""

    name: str
    linear: onnx.NodeProto
    path: tuple[onnx.NodeProto, ...]

    @property
    def activation(self) -> str:
        """The tensor of counts times a scale."""
        return str(self.path[-1].output[0])


def find_layers(model: onnx.ModelProto, run: Evaluation, names: Sequence[str]) -> list[Layer]:
    """Return the layers of these names, ``NODE`` or ``NODE:ACTIVATION``.

    Raises
    ------
    ValueError
        If a name is not that of a linear node, or no quantised activation follows it.
    """
    nodes = {node.name: node for node in model.graph.node}
    found = []
    for name in names:
        linear, _, wanted = (name, "", "") if name in nodes else name.partition(":")
        if linear not in nodes or nodes[linear].op_type not in _LINEAR:
            raise ValueError(f"Layer {name!r} is no linear node of the model.")
        layers = (
            Layer(name=name, linear=nodes[linear], path=path) for path in _paths(model, nodes[linear], ())
        )
        fitting = (
            layer for layer in layers if wanted in ("", layer.activation) and _ends(run, layer)[0].min() >= 0
        )
        layer = next(fitting, None)
        if layer is None:
            raise ValueError(f"No quantised activation follows the layer {name!r}.")
        found.append(layer)
    return found


def _paths(
    model: onnx.ModelProto, node: onnx.NodeProto, before: tuple[onnx.NodeProto, ...]
) -> Iterator[tuple[onnx.NodeProto, ...]]:
    """Give the nodes behind a layer up to each quantiser that follows, the nearest first on every branch."""
    for after in model.graph.node:
        if node.output[0] not in after.input or after.op_type in _LINEAR | {"Concat"}:
            continue
        path = (*before, after)
        if after.op_type in {"Floor", "Round"}:
            yield (*path, *_after_floor(model, after))
            continue
        if after.op_type in {"DequantizeLinear", "Quant", "IntQuant"}:
            yield path
        yield from _paths(model, after, path)


def _after_floor(model: onnx.ModelProto, floor: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Return the clips and factors behind a Floor; they end the explicit chain."""
    nodes: list[onnx.NodeProto] = []
    at = floor
    while True:
        readers = [node for node in model.graph.node if at.output[0] in node.input]
        if len(readers) != 1 or readers[0].op_type not in {"Clip", "Div", "Identity", "Mul", "Relu"}:
            return nodes
        at = readers[0]
        nodes.append(at)


def root(model: onnx.ModelProto, run: Evaluation, tensor: str) -> str:
    """Walk back from what a layer reads, through all that leaves counts as they are, to their activation."""
    producer = {node.output[0]: node for node in model.graph.node}
    while tensor in producer:
        node = producer[tensor]
        before = node.input[0]
        if node.op_type == "DequantizeLinear":
            before = producer[before].input[0]
        same = before in run.scales and np.array_equal(run.values[before], run.values[tensor])
        if node.op_type not in _MOVING | {"Cast", "Dropout", "Identity"} and not same:
            return tensor
        tensor = before
    return tensor


def _scale(model: onnx.ModelProto, run: Evaluation, tensor: str) -> float:
    """Return the scale of a tensor of counts; in the chain the product of the factors after Floor."""
    producer, factor = {node.output[0]: node for node in model.graph.node}, 1.0
    while tensor not in run.scales:
        node = producer[tensor]
        if node.op_type in {"Floor", "Round"}:
            return factor
        if node.op_type in {"Div", "Mul"}:
            constant = next(run.values[t] for t in node.input if np.size(run.values[t]) == 1)
            value = float(constant.reshape(()))
            factor = factor * value if node.op_type == "Mul" else factor / value
            tensor = next(t for t in node.input if np.size(run.values[t]) != 1)
            continue
        if node.op_type not in _SAME:
            raise ValueError(f"Tensor {tensor!r} holds no counts.")
        tensor = node.input[0]
    return run.scales[tensor]


def _counts(model: onnx.ModelProto, run: Evaluation, tensor: str, values: Values | None = None) -> Values:
    """Return a tensor, or other values of it, as the whole numbers they are when divided by the scale."""
    real, scale = run.values[tensor] if values is None else values, _scale(model, run, tensor)
    counts = np.rint(real / scale)
    if not np.array_equal(counts * scale, real):
        raise ValueError(f"Tensor {tensor!r} is no multiple of {scale}.")
    return np.asarray(counts)


def _through(run: Evaluation, layer: Layer, values: Values) -> Values:
    """Apply the chain of a layer to values of its sums; a pool in it belongs to the layer's readers."""
    tensor = layer.linear.output[0]
    for node in layer.path:
        if node.op_type != "MaxPool":
            values = apply_node(run, node, tensor, values)
        tensor = node.output[0]
    return values


def layer_counts(model: onnx.ModelProto, run: Evaluation, layer: Layer) -> Values:
    """Return the spikes of every neuron of a layer, before any pool, in the order of its sums."""
    sums = run.values[layer.linear.output[0]]
    counts = _counts(model, run, layer.activation, _through(run, layer, sums))
    for node in reversed(layer.path):
        if node.op_type == "Transpose":
            counts = counts.transpose(np.argsort(node.attribute[0].ints))
    return counts.reshape(sums.shape)


def _ends(run: Evaluation, layer: Layer) -> tuple[Values, Values]:
    """Return the smallest and largest values of a layer, from sums beyond every threshold."""
    shape = run.values[layer.linear.output[0]][:1].shape
    least = 0.0 if layer.linear.op_type in _AVERAGES else -1e30  # counts have no average below zero
    ends = [_through(run, layer, np.full(shape, end)) for end in (least, 1e30)]
    return np.minimum(*ends), np.maximum(*ends)


def _levels(model: onnx.ModelProto, run: Evaluation, layer: Layer) -> int:
    """Return the most spikes of a neuron of this layer."""
    return int(_counts(model, run, layer.activation, _ends(run, layer)[1]).max())


def _operations(run: Evaluation, layer: Layer, read: Values, levels: int) -> dict[str, int]:
    """Return the three operation counts of one layer for the counts it reads."""
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in layer.linear.attribute}
    if layer.linear.op_type in _AVERAGES:
        kernel = attributes.get("kernel_shape", read.shape[2:])
        weight, attributes = np.ones((read.shape[1], 1, *kernel)), {**attributes, "group": read.shape[1]}
    else:
        weight = run.values[layer.linear.input[1]]
    if layer.linear.op_type in {"Gemm", "MatMul"}:
        weight = weight if attributes.get("transB", 0) else weight.T
        read, weight, attributes = read[:, :, None, None], weight[:, :, None, None], {}
    groups = attributes.get("group", 1)

    def hits(values: Values, present: Values) -> int:
        # all outputs of a group are summed, so that their weights may be summed first
        together = present.reshape(groups, -1, *present.shape[1:]).sum(axis=1)
        return int(convolve(values, together, attributes).sum())

    present = (weight != 0).astype(np.float64)
    everywhere = hits(read, np.ones_like(present))
    totals = (hits((read > 0).astype(np.float64), present), hits(read, present), everywhere * 2 * levels)
    return dict(zip(_TOTALS, totals, strict=True))


def count(model: onnx.ModelProto, x: Values, y: Values | None, names: Sequence[str]) -> dict[str, Any]:
    """Return the figures of a report that depend on the network and the data alone.

    Totals are divided by the number of samples once, at the end.
    """
    totals: Counter[tuple[str, str]] = Counter()
    right = 0
    for start in range(0, len(x), BLOCK):
        run = evaluate_onnx(model, x[start : start + BLOCK])
        layers = find_layers(model, run, names)
        entry = {root(model, run, layer.linear.input[0]) for layer in layers}
        entry -= {root(model, run, layer.activation) for layer in layers}
        output = run.values[model.graph.output[0].name].reshape(len(x[start : start + BLOCK]), -1)
        right += 0 if y is None else int((output.argmax(axis=1) == y[start : start + BLOCK]).sum())
        totals["", "spikes_input"] += sum(int(_counts(model, run, tensor).sum()) for tensor in entry)
        for layer in layers:
            totals[layer.name, "spikes"] += int(layer_counts(model, run, layer).sum())
            read = _counts(model, run, layer.linear.input[0])
            for key, number in _operations(run, layer, read, _levels(model, run, layer)).items():
                totals[layer.name, key] += number
    return _summary(totals, names, len(x), None if y is None else right)


def _summary(
    totals: Mapping[tuple[str, str], int], names: Sequence[str], samples: int, right: int | None
) -> dict[str, Any]:
    keys = ("spikes", *_TOTALS)
    rate = None if right is None else right / samples
    result: dict[str, Any] = {"samples": samples, "accuracy": rate, "ann_accuracy": rate}
    result["spikes_input"] = totals["", "spikes_input"] / samples
    result |= {key: sum(totals[name, key] for name in names) / samples for key in keys}
    layers = [{"name": name} | {key: totals[name, key] / samples for key in keys} for name in names]
    return result | {"layers": layers}


def differences(report: Mapping[str, Any], counted: Mapping[str, Any]) -> list[str]:
    """Return a sentence for every figure of a report that is not exactly the one counted.

    The physical operations are compared on targets whose crossbar is event driven with ternary cells: `loom`.
    """
    found = []
    for target in report["targets"]:
        name, skipped = target["target"], set() if target["simulated"] == "image" else set(_TOTALS[:1])
        rows = [("", target, {k: v for k, v in counted.items() if k != "layers"})]
        rows += [
            (f" of layer {own['name']}", row, own)
            for row, own in zip(target["breakdown"]["layers"], counted["layers"], strict=True)
        ]
        for where, row, own in rows:
            found += [
                f"{name}: {key}{where} is {row[key]!r} in the report and {value!r} by this computation"
                for key, value in own.items()
                if key not in skipped and row[key] != value
            ]
    return found


def load(source: str, how: str) -> tuple[NDArray[np.float64], NDArray[np.int64] | None]:
    """Return samples, with pixels scaled as a report says, and labels."""
    kind, _, rest = source.partition(":")
    if kind in {"mnist", "fashion"}:
        folder, _, part = rest.partition(":")
        prefix = "train" if part == "train" else "t10k"
        x = _idx(Path(folder), f"{prefix}-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28)
        y = _idx(Path(folder), f"{prefix}-labels-idx1-ubyte", 8).astype(np.int64)
        return _scaled(x.astype(np.float64), how, pixels=True), y
    if kind == "digits":
        from sklearn.datasets import load_digits  # a slow import that few runs need

        digits = load_digits()
        chosen = {"train": slice(0, 1437), "all": slice(None)}.get(rest, slice(1437, None))
        return _scaled(digits.images[chosen][:, None], how, pixels=False), digits.target[chosen]
    with np.load(source) as arrays:
        x, y = arrays["x"], arrays.get("y")
    return _scaled(x.astype(np.float64), how, pixels=x.dtype == np.uint8), y


def _idx(folder: Path, name: str, header: int) -> NDArray[np.uint8]:
    path = folder / name
    data = path.read_bytes() if path.exists() else gzip.decompress((folder / f"{name}.gz").read_bytes())
    return np.frombuffer(data, np.uint8, offset=header)


def _scaled(x: NDArray[np.float64], how: str, *, pixels: bool) -> NDArray[np.float64]:
    if how == "raw":
        return x
    x = x / 255 if pixels else x
    if how == "unit":
        return x
    mean, deviation = map(float, how.split(","))
    return (x - mean) / deviation


def main(arguments: Sequence[str] | None = None) -> int:
    """Estimate a model unless a report is given, count, compare; return 1 if a figure differs."""
    parser = argparse.ArgumentParser(prog="python -m sim_tests.referees.independent")
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", required=True, help="as for spikeloom estimate")
    parser.add_argument("--report", type=Path, help="a report of all samples; made if not given")
    parser.add_argument("--input", default="auto", help="as for spikeloom estimate")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        path = given.report or Path(folder) / "report.json"
        if given.report is None:
            command = [sys.executable, "-m", "spikeloom", "estimate", str(given.model), "--data", given.data]
            subprocess.run(  # our own program
                [*command, "--input", given.input, "--json", str(path)], check=True, stdout=subprocess.DEVNULL
            )
        report = json.loads(path.read_text(encoding="utf-8"))
    names = [layer["name"] for layer in report["targets"][0]["breakdown"]["layers"]]
    x, y = load(given.data, report["input"])
    counted = count(onnx.load(given.model), x, y, names)
    found = differences(report, counted)
    print(json.dumps(counted, indent=1))
    print("\n".join(found) or f"equal: every figure of {len(x)} samples and {len(names)} layers")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
