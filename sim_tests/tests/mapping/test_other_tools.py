# SPDX-License-Identifier: Apache-2.0
"""Networks as other tools and earlier releases write them equal the same ones in operators of today."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from emu.spec import preset
from mapping.codes.graded.convert import convert_graded
from mapping.errors import UnsupportedModelError
from mapping.model.evaluate import infer
from mapping.model.importers.onnx import network_from_onnx
from mapping.model.network import Network
from sim_tests.generators.model_builder import ModelBuilder

SHAPE = (3, 6, 6)
X = np.random.default_rng(5).normal(size=(24, *SHAPE))
ORT = "com.microsoft"

Build = Callable[[ModelBuilder], str]


def read(build: Build, *, opset: int = 13, head: bool = True) -> Network:
    b = ModelBuilder(SHAPE, seed=7, opset=opset)
    output = build(b)
    if head:
        flat = b.op("Reshape", output, b.constant([0, -1], np.int64)) if opset >= 5 else output
        output = b.op("Flatten", flat)
    model = b.model(output)
    model.opset_import.append(helper.make_opsetid(ORT, 1))
    return network_from_onnx(model, name="n")


def kernel(b: ModelBuilder) -> str:
    return b.constant(np.random.default_rng(1).normal(size=(4, 3, 3, 3)))


def channel(b: ModelBuilder, seed: int = 2, *shape: int) -> str:
    return b.constant(np.random.default_rng(seed).uniform(0.2, 1.0, shape or (4,)))


def norm(b: ModelBuilder, x: str, shape: tuple[int, ...], **attributes: Any) -> str:
    return b.op("BatchNormalization", x, *(channel(b, s, *shape) for s in range(4)), **attributes)


def fused(kind: str, function: str, *parameters: float) -> Build:
    def build(b: ModelBuilder) -> str:
        given: dict[str, Any] = {"domain": ORT, "activation": function}
        if kind == "FusedConv":
            if parameters:
                given["activation_params"] = list(parameters)
            return b.op(kind, "x", kernel(b), channel(b), pads=[1, 1, 1, 1], **given)
        given |= dict(zip(("activation_alpha", "activation_beta"), parameters, strict=False))
        flat = b.op("Flatten", "x")
        return b.op(kind, flat, channel(b, 1, 108, 5), channel(b, 3, 5), alpha=0.5, **given)

    return build


def apart(kind: str, function: str, **attributes: Any) -> Build:
    def build(b: ModelBuilder) -> str:
        if kind == "FusedConv":
            y = b.op("Conv", "x", kernel(b), channel(b), pads=[1, 1, 1, 1])
        else:
            y = b.op("Gemm", b.op("Flatten", "x"), channel(b, 1, 108, 5), channel(b, 3, 5), alpha=0.5)
        return b.op(function, y, **attributes)

    return build


def clipped(b: ModelBuilder) -> str:
    return b.clip(b.op("Conv", "x", kernel(b), channel(b), pads=[1, 1, 1, 1]), 0.0, 6.0)


def residual(b: ModelBuilder) -> str:
    y = b.op("Relu", "x")
    weight = b.constant(np.random.default_rng(1).normal(size=(3, 3, 1, 1)))
    return b.op("FusedConv", y, weight, channel(b, 2, 3), y, domain=ORT, activation="Relu")


def residual_apart(b: ModelBuilder) -> str:
    y = b.op("Relu", "x")
    weight = b.constant(np.random.default_rng(1).normal(size=(3, 3, 1, 1)))
    return b.op("Relu", b.op("Add", b.op("Conv", y, weight, channel(b, 2, 3)), y))


def product(b: ModelBuilder) -> str:
    return b.op("FusedMatMul", "x", channel(b, 1, 5, 6), domain=ORT, transB=1, alpha=0.5)


def product_apart(b: ModelBuilder) -> str:
    weight = b.constant(np.random.default_rng(1).uniform(0.2, 1.0, (5, 6)).T)
    return b.op("Mul", b.op("MatMul", "x", weight), b.constant(0.5))


def bent(kind: str, *, bias: bool = False, **attributes: Any) -> Build:
    def build(b: ModelBuilder) -> str:
        return b.op(kind, "x", *([channel(b, 4, 6)] if bias else []), domain=ORT, **attributes)

    return build


def bent_apart(kind: str, *, bias: bool = False, **attributes: Any) -> Build:
    def build(b: ModelBuilder) -> str:
        return b.op(kind, b.op("Add", "x", channel(b, 4, 6)) if bias else "x", **attributes)

    return build


def norms_apart(b: ModelBuilder) -> str:
    y = b.op("Conv", "x", kernel(b))
    return b.op("Relu", norm(b, b.op("Add", y, channel(b, 9, 4, 1, 1)), (4,)))


def norms_of_set_one(b: ModelBuilder) -> str:
    y = b.op("Conv", "x", kernel(b))
    y = b.op("Add", y, channel(b, 9), axis=1, broadcast=1)
    y = norm(b, y, (4,), consumed_inputs=[0, 0, 0, 1, 1], is_test=1, spatial=1, epsilon=1e-5)
    return b.op("Reshape", b.op("Dropout", b.op("Relu", y), is_test=1, ratio=0.5), shape=[0, -1])


def joined_of_set_one(b: ModelBuilder) -> str:
    y = b.op("Pad", "x", paddings=[0, 0, 1, 0, 0, 0, 0, 1], mode="constant", value=0.0)
    y = b.op("Concat", b.op("Cast", y, to="FLOAT"), y)
    return b.op(
        "Upsample", b.op("Mul", y, channel(b, 3, 7), axis=3, broadcast=1), height_scale=2.0, width_scale=1.0
    )


def joined_apart(b: ModelBuilder) -> str:
    y = b.op("Pad", "x", b.constant([0, 0, 1, 0, 0, 0, 0, 1], np.int64))
    y = b.op("Mul", b.op("Concat", y, y, axis=1), channel(b, 3, 7))
    return b.op("Resize", y, "", b.constant([1.0, 1.0, 2.0, 1.0]), mode="nearest")


def spread(b: ModelBuilder) -> str:
    return norm(b, "x", SHAPE, spatial=0)


def spread_apart(b: ModelBuilder) -> str:
    scale, bias, mean, variance = (np.random.default_rng(s).uniform(0.2, 1.0, SHAPE) for s in range(4))
    factor = scale / np.sqrt(np.float32(variance) + 1e-5)
    return b.op("Add", b.op("Mul", "x", b.constant(factor)), b.constant(bias - mean * factor))


def unit(p: int) -> Build:
    return lambda b: b.op("LpNormalization", "x", axis=1, p=p)


def unit_apart(kind: str) -> Build:
    return lambda b: b.op("Div", "x", b.op(kind, "x", axes=[1], keepdims=1))


def scaled(b: ModelBuilder) -> str:
    return b.op("ImageScaler", "x", scale=2.0, bias=[0.5, -0.25, 1.0])


def scaled_apart(b: ModelBuilder) -> str:
    return b.op(
        "Add", b.op("Mul", "x", b.constant(2.0)), b.constant(np.array([0.5, -0.25, 1.0])[:, None, None])
    )


def bounds(kind: str) -> Build:
    return lambda b: b.op(kind, "x", b.constant(np.array([0.5, -0.25, 0.0])[:, None, None]))


def bounds_apart(kind: str) -> Build:
    """Compare a channel with its number, and join the channels again."""

    def build(b: ModelBuilder) -> str:
        parts = [b.op("Slice", "x", *(b.constant([n], np.int64) for n in (c, c + 1, 1))) for c in range(3)]
        numbers = (0.5, -0.25, 0.0)
        ends = [b.op(kind, part, b.constant(n)) for part, n in zip(parts, numbers, strict=True)]
        return b.op("Concat", *ends, axis=1)

    return build


def several(kind: str) -> Build:
    return lambda b: b.op(kind, "x", b.op("Neg", "x"), b.op("Abs", b.op("Add", "x", b.constant(0.5))))


def several_apart(kind: str) -> Build:
    def build(b: ModelBuilder) -> str:
        first, third = b.op("Neg", "x"), b.op("Abs", b.op("Add", "x", b.constant(0.5)))
        if kind == "Mean":
            return b.op("Mul", b.op("Add", b.op("Add", "x", first), third), b.constant(1 / 3))
        return b.op(kind, b.op(kind, "x", first), third)

    return build


PAIRS: dict[str, tuple[Build, Build, int]] = {
    "FusedConv Relu": (fused("FusedConv", "Relu"), apart("FusedConv", "Relu"), 13),
    "FusedConv LeakyRelu": (
        fused("FusedConv", "LeakyRelu", 0.25),
        apart("FusedConv", "LeakyRelu", alpha=0.25),
        13,
    ),
    "FusedConv Clip": (fused("FusedConv", "Clip", 0.0, 6.0), clipped, 13),
    "FusedConv Clip of set 10": (fused("FusedConv", "Clip", 0.0, 6.0), clipped, 10),
    "FusedConv of a sum": (residual, residual_apart, 13),
    "FusedGemm Tanh": (fused("FusedGemm", "Tanh"), apart("FusedGemm", "Tanh"), 13),
    "FusedGemm Elu": (fused("FusedGemm", "Elu", 0.5), apart("FusedGemm", "Elu", alpha=0.5), 13),
    "FusedMatMul": (product, product_apart, 13),
    "Gelu": (bent("Gelu"), bent_apart("Gelu"), 20),
    "BiasGelu": (bent("BiasGelu", bias=True), bent_apart("Gelu", bias=True), 20),
    "FastGelu": (bent("FastGelu"), bent_apart("Gelu", approximate="tanh"), 20),
    "FastGelu with a bias": (
        bent("FastGelu", bias=True),
        bent_apart("Gelu", bias=True, approximate="tanh"),
        20,
    ),
    "QuickGelu": (bent("QuickGelu"), bent_apart("Swish", alpha=1.702), 24),
    "set 1, normalised": (norms_of_set_one, norms_apart, 1),
    "set 1, joined": (joined_of_set_one, joined_apart, 1),
    "BatchNormalization by element": (spread, spread_apart, 7),
    "LpNormalization 1": (unit(1), unit_apart("ReduceL1"), 13),
    "LpNormalization 2": (unit(2), unit_apart("ReduceL2"), 13),
    "ImageScaler": (scaled, scaled_apart, 7),
    **{f"{kind} by channel": (bounds(kind), bounds_apart(kind), 13) for kind in ("Max", "Min")},
    **{f"{kind} of three": (several(kind), several_apart(kind), 13) for kind in ("Max", "Mean", "Min")},
}
"""What a tool writes, the same in operators of today, and the operator set of the first."""


@pytest.mark.parametrize("name", PAIRS)
def test_network_of_another_tool_is_the_same_in_standard_operators(name: str) -> None:
    build, plain, opset = PAIRS[name]
    found, wanted = read(build, opset=opset), read(plain, opset=max(opset, 13))
    np.testing.assert_allclose(infer(found, X), infer(wanted, X), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in PAIRS if not name.startswith("LpNormalization")])
def test_network_of_another_tool_lies_whole_on_the_chip(name: str) -> None:
    build, _, opset = PAIRS[name]
    spiking = convert_graded(read(headed(build), opset=opset, head=False), X, preset("reference"))
    assert spiking.host_share == 0


def headed(build: Build) -> Build:
    """Return a model with a convolution before what is built, and a dense layer behind it."""

    def whole(b: ModelBuilder) -> str:
        before = helper.make_node(
            "Conv",
            ["image", b.constant(np.random.default_rng(8).normal(size=(3, 3, 1, 1)))],
            ["x"],
            name="in",
        )
        y = b.op("Flatten", build(b))
        size = read(build, opset=b.opset).shapes
        b.nodes.insert(0, before)
        b.input.name = "image"
        weight = np.random.default_rng(6).normal(size=(int(np.prod(list(size.values())[-1])), 4))
        return b.op("MatMul", y, b.constant(weight))

    return whole


def test_activation_that_is_not_known_is_refused() -> None:
    with pytest.raises(UnsupportedModelError) as error:
        read(fused("FusedConv", "Wave"))
    assert str(error.value) == (
        "Node 'fusedconv0' (FusedConv) has the activation 'Wave' with 0 parameters, which is not known; "
        "optimise the model without this fusion, or export it without optimising it."
    )


def test_type_of_set_one_that_is_none_is_refused() -> None:
    with pytest.raises(UnsupportedModelError) as error:
        read(lambda b: b.op("Cast", "x", to="NUMBER"), opset=1)
    assert str(error.value) == ("Node 'cast0.0' (Cast) casts to 'NUMBER', which is no type; export it again.")


def test_given_model_of_an_older_set_is_not_changed() -> None:
    b = ModelBuilder(SHAPE, opset=1)
    model: onnx.ModelProto = b.model(norms_of_set_one(b))
    before = model.SerializeToString(deterministic=True)
    network_from_onnx(model, name="n")
    assert model.SerializeToString(deterministic=True) == before
