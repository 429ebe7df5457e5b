# SPDX-License-Identifier: Apache-2.0
"""Operators of the host that ONNX's evaluator has wrong or lacks have the values of another runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from mapping.codes.convert import convert
from mapping.model.evaluate import infer
from mapping.model.work import multiply_adds
from sim_tests.generators.model_builder import ModelBuilder

Build = Callable[[ModelBuilder, str], str]

MAP = (4, 3, 5)


def op(kind: str, **attributes: Any) -> Build:
    return lambda b, x: b.op(kind, x, name="n", **attributes)


def grouped(size: int, groups: int) -> Build:
    def build(b: ModelBuilder, x: str) -> str:
        factors = [b.constant(b.rng.normal(size=size)) for _ in range(2)]
        return b.op("GroupNormalization", x, *factors, num_groups=groups, epsilon=0.01, name="n")

    return build


def along(kind: str) -> Iterator[tuple[str, tuple[int, Build]]]:
    """Yield an operator over every axis, before the operator set 13 and from it on."""
    for opset in (7, 11, 12, 13):
        yield f"{kind}-{opset}", (opset, op(kind))
        for axis in (1, 2, 3, -1, -2):
            yield f"{kind}-{opset}, axis {axis}", (opset, op(kind, axis=axis))


CASES: dict[str, tuple[int, Build]] = {
    **dict(along("Hardmax")),
    **dict(along("Softmax")),
    **dict(along("LogSoftmax")),
    "LRN of 3": (13, op("LRN", size=3, alpha=0.5, beta=0.6, bias=1.5)),
    "LRN of 5": (7, op("LRN", size=5, alpha=0.7)),
    "LRN of 9": (13, op("LRN", size=9)),
    "GlobalLpPool of 1": (7, op("GlobalLpPool", p=1)),
    "GlobalLpPool": (13, op("GlobalLpPool")),
    "GlobalLpPool of 3": (13, op("GlobalLpPool", p=3)),
    "MeanVarianceNormalization": (13, op("MeanVarianceNormalization")),
    "MeanVarianceNormalization of maps": (9, op("MeanVarianceNormalization", axes=[2, 3])),
    "MeanVarianceNormalization of all": (13, op("MeanVarianceNormalization", axes=[1, 2, 3])),
    "GroupNormalization": (21, grouped(4, 2)),
    "GroupNormalization-18": (18, grouped(2, 2)),
}


def runtime(b: ModelBuilder, output: str, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what onnxruntime gives of every sample as a batch of one."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(b.model(output).SerializeToString(), options)
    return np.concatenate([session.run(None, {"x": sample[None]})[0] for sample in x])


def resized(scales: list[float], sizes: list[int] | None = None, **attributes: Any) -> Build:
    def build(b: ModelBuilder, x: str) -> str:
        if sizes is not None:
            return b.op("Resize", x, "", "", b.constant(sizes, np.int64), **attributes)
        return b.op("Resize", x, "", b.constant(scales), **attributes)

    return build


RESIZED: dict[str, tuple[int, Build]] = {
    f"{mode}, {nearest}, {scales}": (
        13,
        resized([1, 1, *scales], coordinate_transformation_mode=mode, nearest_mode=nearest),
    )
    for mode in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    for nearest in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    for scales in ((2.0, 3.0), (1.5, 0.6), (0.5, 2.4))
} | {
    "sizes": (
        13,
        resized([], [1, 4, 7, 3], coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
    ),
    "axes": (18, resized([1.5, 2.0], axes=[2, 3], nearest_mode="floor")),
    "set 10": (10, lambda b, x: b.op("Resize", x, b.constant([1.0, 1.0, 1.4, 2.0]))),
    "Upsample": (9, lambda b, x: b.op("Upsample", x, b.constant([1.0, 1.0, 1.4, 2.0]))),
}


@pytest.mark.parametrize("name", RESIZED)
def test_change_of_size_takes_the_elements_of_another_runtime(name: str) -> None:
    opset, build = RESIZED[name]
    b = ModelBuilder(MAP, seed=3, opset=opset)
    y = b.op("Relu", build(b, "x"))
    x = b.rng.normal(0.5, 1.5, (3, *MAP)).astype(np.float32)
    network = b.network(y)
    assert [node.op for node in network.nodes] == ["Take", "Relu"]
    np.testing.assert_array_equal(infer(network, x.astype(np.float64)), runtime(b, y, x))


@pytest.mark.parametrize("name", CASES)
def test_value_is_that_of_another_runtime(name: str) -> None:
    opset, build = CASES[name]
    b = ModelBuilder(MAP, seed=3, opset=opset)
    y = b.op("Relu", build(b, "x"))
    x = b.rng.normal(0.5, 1.5, (3, *MAP)).astype(np.float32)
    got = infer(b.network(y), x.astype(np.float64))
    np.testing.assert_allclose(got, runtime(b, y, x), rtol=3e-6, atol=3e-6)


def test_rows_that_are_equal_have_one_largest() -> None:
    b = ModelBuilder((2, 2), opset=11)
    network = b.network(b.op("Relu", b.op("Hardmax", "x")))
    np.testing.assert_array_equal(infer(network, np.ones((1, 2, 2))), [[[1, 0], [0, 0]]])


@pytest.mark.parametrize("kind", ["LRN", "GlobalLpPool", "MeanVarianceNormalization"])
def test_host_share_counts_no_products_of_a_normalisation(kind: str) -> None:
    b = ModelBuilder((4, 4, 4), seed=2)
    y = b.quantise(b.conv(b.quantise("x"), b.ternary(4, 4, 3, 3), name="c"))
    y = b.op(kind, y, name="n", **({"size": 3} if kind == "LRN" else {}))
    network = b.network(b.head(b.op("Flatten", y), 4 if kind == "GlobalLpPool" else 16))
    assert dict(multiply_adds(network)).get("n", 0) == 0
    spiking = convert(network)
    assert [layer.name for layer in spiking.layers] == ["c"]
    assert {layer.name: layer.told for layer in spiking.host}["n"] == f"the operator {kind} runs on no chip"
    assert spiking.host_share is not None
