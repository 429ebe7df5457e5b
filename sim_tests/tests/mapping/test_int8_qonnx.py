# SPDX-License-Identifier: Apache-2.0
"""Networks in QONNX against another executor: every activation of the integers and of the image."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from mapping.model.importers.onnx import load_onnx
from sim_tests.generators.brevitas_models import forms
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.quantised_models import DOMAIN, qonnx_quant
from sim_tests.referees import int8_qonnx
from sim_tests.referees.int8_options import NEAR, farthest
from sim_tests.referees.int8_qonnx import main
from sim_tests.referees.int8_table import compared

SHAPE = (2, 6, 6)
X = np.random.default_rng(1).normal(size=(16, *SHAPE)).astype(np.float32).astype(np.float64)


class Quant(OpRun):
    """The formula of QONNX for what rounds halves to even."""

    op_domain = DOMAIN

    def _run(self, x: Any, *ends: Any, signed: int = 1, narrow: int = 0) -> tuple[NDArray[Any]]:
        scale, zero, bits = ends
        half = 2 ** (int(bits) - 1)
        low, high = (narrow - half, half - 1) if signed else (0, 2 * half - 1 - narrow)
        inside = np.clip(x / scale + zero, low, high)
        return (((np.rint(inside) - zero) * scale).astype(np.float32),)


class Evaluator:
    """A model in ONNX's reference with the formula above, in float32."""

    def __init__(self, path: Path) -> None:
        model = onnx.load(path)
        model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
        self._constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
        self._scales = {
            node.output[0]: self._constants[node.input[1]]
            for node in model.graph.node
            if node.op_type == "Quant" and node.input[0] not in self._constants
        }
        del model.graph.output[:]
        model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in self._scales)
        self._run = ReferenceEvaluator(model, new_ops=[Quant])

    def __contains__(self, tensor: str) -> bool:
        return tensor in self._scales

    def counts(self, x: NDArray[np.float64], tensor: str) -> NDArray[np.int64]:
        values = dict(zip(self._scales, self._run.run(None, {"x": x.astype(np.float32)}), strict=True))
        return np.asarray(np.rint(values[tensor] / self._scales[tensor].astype(np.float64)), np.int64)


def network(path: Path, *, scale: float = 0.05, pooled_first: bool = False) -> Path:
    """A residual sum and a max-pool, the latter before its quantiser or behind it, as Brevitas does."""
    b = ModelBuilder(SHAPE, seed=4)

    def layer(x: str, name: str, rows: int = 4) -> str:
        inputs = 2 if name == "stem" else 4
        kernel = b.rng.normal(size=(rows, inputs, 3, 3))
        step = np.abs(kernel).max(axis=(1, 2, 3), keepdims=True) / 127
        weight = qonnx_quant(b, b.constant(kernel), step, 8, signed=1, narrow=1)
        return b.op("Conv", x, weight, b.constant(b.rng.normal(size=rows)), pads=[1, 1, 1, 1], name=name)

    def act(x: str, step: float) -> str:
        return qonnx_quant(b, b.op("Relu", x), step, 8, signed=0)

    skip = act(layer(qonnx_quant(b, "x", 0.03, 8), "stem"), scale)
    y = qonnx_quant(b, layer(act(layer(skip, "one"), 0.1), "two"), 0.25, 8)
    y = act(b.op("Add", y, qonnx_quant(b, skip, 0.25, 8), name="join"), 0.19)
    pool: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
    y = layer(y, "last")
    y = act(b.op("MaxPool", y, **pool), 0.31) if pooled_first else b.op("MaxPool", act(y, 0.31), **pool)
    weight = qonnx_quant(b, b.constant(b.rng.normal(size=(5, 36))), 0.03, 8)
    y = b.op("Gemm", b.op("Flatten", y), weight, transB=1, name="vote")
    onnx.save(b.model(qonnx_quant(b, y, 0.7, 8)), path)
    return path


def problem(path: Path) -> str | None:
    """Return why the integers of a network cannot be compared, None if they can."""
    try:
        compared(path, X[:1], core="medium", runtime=Evaluator(path))
    except ValueError as error:
        return str(error)
    return None


def test_integers_before_a_pool_are_found_behind_that_of_the_chip(tmp_path: Path) -> None:
    assert problem(network(tmp_path / "m.onnx", pooled_first=True)) is None


@pytest.mark.parametrize("pooled_first", [False, True])
def test_every_activation_is_that_of_another_executor(pooled_first: bool, tmp_path: Path) -> None:
    path = network(tmp_path / "m.onnx", pooled_first=pooled_first)
    found = compared(path, X, core="medium", emulated=2, runtime=Evaluator(path))
    last = 36 if pooled_first else 144
    assert found.activations == len(X) * (5 * 144 + last + 5)
    assert (found.network, found.image, found.host_share) == (0, 0, 0.0)


def test_network_of_another_scale_is_far_from_half_way(tmp_path: Path) -> None:
    path, other = network(tmp_path / "m.onnx"), network(tmp_path / "other.onnx", scale=0.051)
    assert farthest(Evaluator(path), load_onnx(path), X) < NEAR
    assert farthest(Evaluator(other), load_onnx(path), X) > 0.1


def test_table_has_a_row_and_an_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, other = network(tmp_path / "m.onnx"), network(tmp_path / "other.onnx", scale=0.051)
    np.savez(tmp_path / "data.npz", x=X, y=np.zeros(len(X), np.int64))
    given = [str(path), "--data", str(tmp_path / "data.npz"), "--core", "medium", "--samples", "8"]
    given += ["--emulated", "1"]
    monkeypatch.setattr(int8_qonnx, "Executor", Evaluator)
    assert main(given) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "| m | 8 | 6952 | 0 | 0 | 0.00% |  |"
    monkeypatch.setattr(int8_qonnx, "Executor", lambda _: Evaluator(other))
    assert main(given) == 1
    assert main(["absent.onnx", *given[1:]]) == 2


def test_forms_of_brevitas_have_names_of_their_own() -> None:
    names = [form.name for form in forms()]
    assert len(names) == len(set(names)) == 16
