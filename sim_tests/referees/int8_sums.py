# SPDX-License-Identifier: Apache-2.0
"""Sums of two integers in every form: all pairs of bytes in onnxruntime, and in the network.

python -m sim_tests.referees.int8_sums

Half of the scales are decimals such as 0.11, 0.07 and 0.2, whose exact sums often lie half-way between two
integers: there the roundings of float32 decide. The last column says how many pairs would differ if every
step were rounded by itself.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.model.evaluate import infer
from mapping.model.importers.onnx import network_from_onnx
from sim_tests.generators.model_builder import ModelBuilder

__all__ = ["FORMS", "Sums", "added", "main"]

HEAD = """| form | pairs | differ | rounded one by one |
|---|---|---|---|"""

_BYTES = np.arange(256)
_DECIMALS = (0.02, 0.03, 0.05, 0.06, 0.07, 0.1, 0.11, 0.15, 0.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Pairs that were compared, how many differ, and how many would if every step were rounded by itself."""

    pairs: int
    differ: int
    one_by_one: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grids:
    """Scales and zero points of both inputs and of the output, and the type of the integers."""

    scales: tuple[float, float, float]
    zeros: tuple[int, int, int]
    kind: type


Build = Callable[[ModelBuilder, "_Grids"], str]


def _ends(b: ModelBuilder, grids: _Grids, which: int) -> list[str]:
    return [b.constant(grids.scales[which]), b.constant(grids.zeros[which], grids.kind)]


def _act(b: ModelBuilder, grids: _Grids, which: int, x: str) -> str:
    ends = _ends(b, grids, which)
    return b.op("DequantizeLinear", b.op("QuantizeLinear", x, *ends), *ends)


def _part(b: ModelBuilder, which: int, last: int = 256) -> str:
    """Return one channel of the input, or its first columns."""
    ends = [b.constant(values, np.int64) for values in ([which, 0], [which + 1, last], [1, 3])]
    return b.op("Slice", "x", *ends)


def _layer(b: ModelBuilder, *, real: bool) -> str:
    """Return a layer beside the sum: only a network that has one is a network of integers."""
    ends = [b.constant(0.5), b.constant(0, np.int8)]
    weight = b.op("DequantizeLinear", b.constant([[[[3]], [[-2]]]], np.int8), *ends)
    ends = [b.constant(0.3), b.constant(7, np.uint8)]
    x = b.op("DequantizeLinear", b.op("QuantizeLinear", "x", *ends), *ends)
    bias = [b.constant([0.77])] if real else []
    y = b.op("QuantizeLinear", b.op("Conv", x, weight, *bias), *ends)
    return b.op("DequantizeLinear", y, *ends)


def _joined(
    kind: str, *, cut: bool = False, shared: bool = False, columns: tuple[int, int] = (256, 256)
) -> Build:
    def build(b: ModelBuilder, grids: _Grids) -> str:
        a, c = (_act(b, grids, n, _part(b, n, columns[n])) for n in (0, 1))
        y = b.op(kind, a, c)
        y = _act(b, grids, 2, b.op("Relu", y) if cut else y)
        return b.op("Concat", y, b.op("Abs", a), axis=1) if shared else y

    return build


def _operator(b: ModelBuilder, grids: _Grids) -> str:
    given = [
        (b.op("QuantizeLinear", _part(b, n), *ends), ends) for n in (0, 1) for ends in [_ends(b, grids, n)]
    ]
    inputs = [name for held, ends in given for name in (held, *ends)]
    to = _ends(b, grids, 2)
    return b.op("DequantizeLinear", b.op("QLinearAdd", *inputs, *to, domain="com.microsoft"), *to)


def _constant(kind: str, *, first: bool) -> Build:
    def build(b: ModelBuilder, grids: _Grids) -> str:
        at = 1 - int(first)
        whole = np.meshgrid(_BYTES, _BYTES, indexing="ij")[at] + int(np.iinfo(grids.kind).min)
        held = b.op("DequantizeLinear", b.constant(whole[None, None], grids.kind), *_ends(b, grids, at))
        pair = [_act(b, grids, 1 - at, _part(b, 1 - at))]
        pair.insert(at, held)
        return _act(b, grids, 2, b.op(kind, *pair))

    return build


FORMS: Mapping[str, tuple[type, Build]] = {
    "`QLinearAdd`, uint8": (np.uint8, _operator),
    "`QLinearAdd`, int8": (np.int8, _operator),
    "`Add` between quantisers, uint8": (np.uint8, _joined("Add")),
    "`Add` between quantisers, int8": (np.int8, _joined("Add")),
    "the same, one input with a second reader": (np.int8, _joined("Add", shared=True)),
    "`Add` of one value a row, uint8": (np.uint8, _joined("Add", columns=(256, 1))),
    "`Add` to one value a row, uint8": (np.uint8, _joined("Add", columns=(1, 256))),
    "`Add` of a constant, uint8": (np.uint8, _constant("Add", first=False)),
    "`Add` to a constant, uint8": (np.uint8, _constant("Add", first=True)),
    "`Add` of a constant, int8": (np.int8, _constant("Add", first=False)),
    "`Add` beside a layer with a real bias, as written, uint8": (np.uint8, _joined("Add")),
    "`Add` and a `Relu` that cuts, uint8": (np.uint8, _joined("Add", cut=True)),
    "`Sub`, uint8": (np.uint8, _joined("Sub")),
    "`Sub` of a constant, uint8": (np.uint8, _constant("Sub", first=False)),
    "`Sub` from a constant, uint8": (np.uint8, _constant("Sub", first=True)),
    "`Sum`, int8": (np.int8, _joined("Sum")),
}
"""Type and form of every sum."""


def added(form: str, choices: int = 12) -> Sums:
    """Compare all pairs of bytes under some choices of scales and zero points.

    Parameters
    ----------
    form : one of `FORMS`
        How the sum is written.
    choices : int
        Choices of three scales and three zero points.
    """
    kind, build = FORMS[form]
    rng, found = np.random.default_rng(3), np.zeros(3, np.int64)
    for choice in range(choices):
        spread = rng.choice(_DECIMALS, 3) if choice % 2 else rng.uniform(0.01, 0.2, 3)
        zeros = rng.integers(np.iinfo(kind).min, np.iinfo(kind).max + 1, 3)
        scales = [float(np.float32(scale)) for scale in spread]
        grids = _Grids(
            scales=(scales[0], scales[1], scales[2]),
            zeros=(int(zeros[0]), int(zeros[1]), int(zeros[2])),
            kind=kind,
        )
        found += _compared(build, grids, form)
    return Sums(pairs=int(found[0]), differ=int(found[1]), one_by_one=int(found[2]))


def _compared(build: Build, grids: _Grids, form: str) -> NDArray[np.int64]:
    """Return the pairs of one choice, how many differ, and how many would one by one."""
    import onnxruntime  # an extra of the tests

    b, real = ModelBuilder((2, 256, 256)), "real bias" in form
    model = b.model(b.op("Concat", build(b, grids), _layer(b, real=real), axis=1))
    integers = np.stack(np.meshgrid(_BYTES, _BYTES, indexing="ij")) + int(np.iinfo(grids.kind).min)
    shifted = integers - np.array(grids.zeros[:2])[:, None, None]
    if "of one value" in form:
        shifted = shifted.transpose(0, 2, 1)
    x = (shifted * np.array(grids.scales[:2], np.float32)[:, None, None]).astype(np.float32)[None]
    how = onnxruntime.SessionOptions()
    if real:  # which onnxruntime would round
        how.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), how, providers=["CPUExecutionProvider"])
    right = np.rint(session.run(None, {"x": x})[0][:, :1] / np.float32(grids.scales[2]))
    got = np.rint(infer(network_from_onnx(model, name="sums"), x)[:, :1] / grids.scales[2])
    return np.array([right.size, (got != right).sum(), (_one_by_one(form, grids, x) != right).sum()])


def _one_by_one(form: str, grids: _Grids, x: NDArray[np.float32]) -> NDArray[np.float64]:
    first, second = x[:, :1], x[:, 1:]
    first = first[..., :1] if "to one value" in form else first
    second = second[..., :1] if "of one value" in form else second
    total = first - second if "Sub" in form else first + second
    ends = np.iinfo(grids.kind)
    low = 0 if "Relu" in form else ends.min - grids.zeros[2]
    counts = np.rint(total / np.float32(grids.scales[2]))
    return np.asarray(np.clip(counts, low, ends.max - grids.zeros[2]))


def main() -> int:
    """Print the table; return 1 if a pair differs."""
    wrong = 0
    print(HEAD)
    for form in FORMS:
        found = added(form)
        print(f"| {form} | {found.pairs} | {found.differ} | {found.one_by_one} |", flush=True)
        wrong += found.differ
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
