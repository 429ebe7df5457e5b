# SPDX-License-Identifier: Apache-2.0
"""Quantised networks whose input or output is a tensor of integers, and those that clip their integers."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from emu.spec import preset
from mapping.codes.choice import Request, code_of
from mapping.model.evaluate import infer
from mapping.model.importers.onnx import load_onnx
from mapping.spiking.simulate import compare
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.referees.int8_runtime import Runtime
from sim_tests.referees.int8_table import compared

pytest.importorskip("onnxruntime")

SHAPE = (2, 6, 6)
KINDS: dict[str, tuple[int, type[np.int8 | np.uint8], int]] = {
    "int8": (TensorProto.INT8, np.int8, -128),
    "uint8": (TensorProto.UINT8, np.uint8, 0),
}


def bytes_of(kind: str) -> NDArray[np.integer]:
    _, dtype, low = KINDS[kind]
    return np.random.default_rng(3).integers(low, low + 256, (32, *SHAPE)).astype(dtype)


def layered(b: ModelBuilder, x: str, out: list[str], scale: float, *, whole: bool) -> str:
    """Return the integers of a convolution, an activation and a vote."""
    middle = [b.constant(0.031), b.constant(0, np.uint8)]
    for name, shape, step, ends in (("conv", (4, 2, 3, 3), 0.007, middle), ("vote", (5, 64), 0.011, out)):
        weight = b.constant(b.rng.integers(-127, 128, shape), np.int8)
        unit = b.constant(step)
        w = b.op("DequantizeLinear", weight, unit, b.constant(0, np.int8))
        if name == "conv":
            units = b.constant(np.float32(scale) * np.float32(step))
            stored = b.constant(b.rng.integers(-900, 900, 4), np.int32)
            bias = b.op("DequantizeLinear", stored, units) if whole else b.constant(b.rng.normal(size=4))
            x = b.op("Relu", b.op("Conv", x, w, bias))
            x = b.op("Flatten", b.op("DequantizeLinear", b.op("QuantizeLinear", x, *ends), *ends))
        else:
            x = b.op("QuantizeLinear", b.op("Gemm", x, w, transB=1), *ends)
    return x


def written(path: Path, given: str, got: str, *, zero: bool = True, whole: bool = True) -> Path:
    b = ModelBuilder(SHAPE, seed=4)
    into = [b.constant(0.023), b.constant(9 if zero else 0, KINDS[given][1])]
    out = [b.constant(0.37), b.constant(5, KINDS[got][1])]
    x = b.op("DequantizeLinear", "x", *(into if zero else into[:1]))
    model = b.model(layered(b, x, out, 0.023, whole=whole))
    model.graph.input[0].type.tensor_type.elem_type = KINDS[given][0]
    name = model.graph.output[0].name
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(name, KINDS[got][0], None))
    onnx.save(model, path)
    return path


def of_runtime(path: Path, x: NDArray[np.integer]) -> NDArray[Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


CASES = [
    ("int8", "int8", True, True),
    ("int8", "uint8", False, False),
    ("uint8", "int8", False, True),
    ("uint8", "uint8", True, False),
]


@pytest.mark.parametrize(("given", "got", "zero", "whole"), CASES)
def test_integers_come_in_and_go_out_as_in_onnxruntime(
    given: str, got: str, zero: bool, whole: bool, tmp_path: Path
) -> None:
    path, x = written(tmp_path / "m.onnx", given, got, zero=zero, whole=whole), bytes_of(given)
    network, values = load_onnx(path), x.astype(np.float64)
    assert len(np.unique(infer(network, values))) > 50
    assert int((infer(network, values) != of_runtime(path, x)).sum()) == 0
    spiking = code_of(network).convert(network, Request(spec=preset("medium"), samples=values))
    assert (spiking.code, spiking.host_share) == ("int8", 0.0)
    assert compare(spiking, values).differences == 0


def clipped(path: Path) -> Path:
    """A network of PyTorch: integers of 7 bits, clipped between the two ends of each quantiser."""
    b = ModelBuilder(SHAPE, seed=6)

    def act(x: str, scale: float, zero: int) -> str:
        ends = [b.constant(scale), b.constant(zero, np.uint8)]
        bounds = b.constant(0, np.uint8), b.constant(127, np.uint8)
        return b.op("DequantizeLinear", b.op("Clip", b.op("QuantizeLinear", x, *ends), *bounds), *ends)

    weight = b.constant(b.rng.integers(-127, 128, (4, 2, 3, 3)), np.int8)
    w = b.op("DequantizeLinear", weight, b.constant(b.rng.uniform(0.003, 0.007, 4)), axis=0)
    units = b.constant(0.041 * 0.004)
    bias = b.op("DequantizeLinear", b.constant(b.rng.integers(-900, 900, 4), np.int32), units)
    y = act(b.op("Conv", act("x", 0.041, 64), w, bias), 0.029, 60)
    weight = b.op(
        "DequantizeLinear", b.constant(b.rng.integers(-127, 128, (5, 64)), np.int8), b.constant(0.01)
    )
    onnx.save(b.model(act(b.op("Gemm", b.op("Flatten", y), weight, transB=1), 0.11, 62)), path)
    return path


def test_integers_that_are_clipped_enter_the_chip(tmp_path: Path) -> None:
    x = 2.5 * np.random.default_rng(1).normal(size=(32, *SHAPE))
    path = clipped(tmp_path / "m.onnx")
    found = compared(path, x, core="medium", runtime=Runtime(path, optimised=False))
    assert found.activations == 32 * (64 + 5)
    assert (found.network, found.image, found.host_share) == (0, 0, 0.0)
