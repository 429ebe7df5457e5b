# SPDX-License-Identifier: Apache-2.0
"""The ONNX importer and the float64 evaluation, against onnxruntime, and every message of both."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from mapping.errors import InfeasibleError, UnsupportedModelError
from mapping.model.evaluate import evaluate, infer
from mapping.model.importers import onnx as importer
from mapping.model.importers.onnx import load_onnx, network_from_onnx
from mapping.model.network import build_network, make_node
from mapping.model.operations.sums import sums_are_exact
from sim_tests.generators.model_builder import ModelBuilder, relu


def reference(model: onnx.ModelProto, x: NDArray[np.float32]) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


def assert_same(model: onnx.ModelProto, shape: tuple[int, ...], seed: int = 1) -> None:
    x = np.random.default_rng(seed).normal(size=(5, *shape)).astype(np.float32)
    got, expected = infer(network_from_onnx(model, name="m"), x), reference(model, x)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


CONVS = [
    {},
    {"strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"strides": [1, 2], "pads": [0, 1, 2, 3]},
    {"dilations": [2, 1], "pads": [2, 0, 1, 1]},
    {"group": 2},
    {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    {"auto_pad": "SAME_LOWER"},
    {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
    {"auto_pad": "VALID"},
]


@pytest.mark.parametrize("attributes", CONVS, ids=str)
@pytest.mark.parametrize("bias", [False, True])
def test_conv_equals_onnxruntime(attributes: dict[str, object], bias: bool) -> None:
    b = ModelBuilder((4, 9, 8))
    weight = b.rng.normal(size=(6, 4 // int(str(attributes.get("group", 1))), 3, 3))
    y = b.conv("x", weight, b.rng.normal(size=6) if bias else None, **attributes)
    assert_same(b.model(y), (4, 9, 8))


POOLS: list[dict[str, Any]] = [
    {"kernel_shape": [2, 2], "strides": [2, 2]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [3, 2], "strides": [1, 2], "pads": [2, 0, 1, 1]},
    {"kernel_shape": [2, 2]},
    {"kernel_shape": [2, 2], "dilations": [2, 3], "strides": [2, 1]},
    {"kernel_shape": [3, 2], "dilations": [2, 1], "strides": [1, 2], "pads": [2, 1, 0, 1]},
    {"kernel_shape": [2, 2], "dilations": [2, 2], "strides": [2, 3], "ceil_mode": 1},
]


@pytest.mark.parametrize("attributes", POOLS, ids=str)
def test_max_pool_equals_onnxruntime(attributes: dict[str, Any]) -> None:
    b = ModelBuilder((3, 7, 8))
    assert_same(b.model(b.op("MaxPool", "x", **attributes)), (3, 7, 8))


@pytest.mark.parametrize("trans", [0, 1])
@pytest.mark.parametrize("bias_shape", [None, (4,), (1, 4), (1,), ()])
def test_gemm_equals_onnxruntime(trans: int, bias_shape: tuple[int, ...] | None) -> None:
    b = ModelBuilder((6,))
    inputs = ["x", b.constant(b.rng.normal(size=(4, 6) if trans else (6, 4)))]
    inputs += [] if bias_shape is None else [b.constant(b.rng.normal(size=bias_shape))]
    assert_same(b.model(b.op("Gemm", *inputs, alpha=0.3, beta=-2.0, transB=trans)), (6,))


@pytest.mark.parametrize("opset", [8, 10, 11, 13, 15, 17, 21])
def test_every_operator_equals_onnxruntime_in_every_opset(opset: int) -> None:
    b = ModelBuilder((3, 6, 6), opset=opset)
    y = b.norm(b.conv("x", b.rng.normal(size=(4, 3, 3, 3))), 4)
    y = b.op("Dropout", b.op("Relu", b.clip(y, -0.5, 3.0)))
    y = b.quantise(b.op("Cast", b.op("Identity", y), to=TensorProto.FLOAT))
    y = b.op("Sub", b.op("Div", y, b.constant(4.0)), b.constant(np.arange(4).reshape(4, 1, 1)))
    y = b.op("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])
    y = b.op("Reshape", y, b.constant([0, -1], np.int64))
    y = b.op(
        "Add",
        b.constant(b.rng.normal(size=(1, 5))),
        b.op("MatMul", y, b.constant(b.rng.normal(size=(16, 5)))),
    )
    y = b.op("Flatten", b.op("Mul", b.constant(b.rng.normal(size=5)), y))
    assert_same(b.model(y), (3, 6, 6))


def test_constant_nodes_are_read_like_initializers() -> None:
    b = ModelBuilder((4,))
    weight = numpy_helper.from_array(b.rng.normal(size=(3, 4)).astype(np.float32))
    w = b.op("Transpose", b.op("Identity", b.op("Constant", value=weight)), perm=[1, 0])
    y = b.op("Mul", b.op("MatMul", "x", w), b.op("Constant", value_float=0.25))
    y = b.op("Add", y, b.op("Constant", value_floats=[1.0, 2.0, 3.0]))
    y = b.op("Add", y, b.op("Cast", b.op("Constant", value_int=3), to=TensorProto.FLOAT))
    assert_same(b.model(y), (4,))


def test_constants_are_what_onnx_makes_of_them() -> None:
    """As PyTorch's older exporter writes shapes, with `Mod`, and as positions and masks are put together."""
    b = ModelBuilder((3, 4), opset=17)
    none, one, two, three, four = (b.constant(np.array(n), np.int64) for n in range(5))
    places = b.op("Range", none, four, one)
    waves = b.op("Sin", b.op("Cast", b.op("Less", places, two), to=TensorProto.FLOAT))
    factor = b.op("Where", b.op("Equal", places, three), b.constant(5.0), waves)
    most = b.op("ReduceMax", b.op("Mod", b.constant([-4, 5], np.int64), three), keepdims=0)
    y = b.op("Add", b.op("Mul", "x", factor), b.op("Cast", most, to=TensorProto.FLOAT))
    y = b.op("Add", y, b.op("Max", b.op("Floor", b.constant(2.5)), b.constant(1.0)))
    network = b.network(b.op("Flatten", y))
    assert "Foreign" not in {node.op for node in network.nodes}
    assert_same(b.model(b.op("Flatten", y)), (3, 4))


def test_constant_that_onnx_cannot_make_is_named() -> None:
    b = ModelBuilder((4,))
    y = b.op("Add", "x", b.op("Mod", b.constant([1.0, 2.0]), b.constant([1.0, 2.0, 3.0]), name="rest"))
    with pytest.raises(UnsupportedModelError, match=r"^Node 'rest' \(Mod\) does not fit its inputs: "):
        b.network(y)


def test_constants_take_the_type_of_an_activation() -> None:
    """As PyTorch's exporter writes them when it is told not to optimise."""
    b = ModelBuilder((4, 5, 5), opset=18)
    weight = b.constant(b.rng.normal(size=(3, 4, 3, 3)))
    zero = b.op("CastLike", b.op("Constant", value_float=0.0), "x")
    channels = b.op("Shape", weight, end=1)
    y = b.op("Conv", "x", weight, b.op("Expand", zero, channels))
    y = b.op("Clip", y, zero, b.op("CastLike", b.constant(3, np.int64), zero))
    y = b.op("CastLike", y, "x")
    network = b.network(b.op("CastLike", y, zero))
    assert [node.op for node in network.nodes] == ["Conv", "Add", "Clip"]
    assert_same(b.model(y), (4, 5, 5))


@pytest.mark.parametrize("like", [1, True])
def test_activation_cast_to_an_integer_is_the_hosts(like: int) -> None:
    b = ModelBuilder((4,), opset=18)
    kind = np.bool_ if like is True else np.int64
    y = b.op("Not" if like is True else "Neg", b.op("CastLike", "x", b.constant(like, kind)))
    network = b.network(b.op("Cast", y, to=TensorProto.FLOAT))
    assert network.nodes[0].op == "Foreign"


def test_two_branches_are_added() -> None:
    b = ModelBuilder((4,))
    y = b.op("Add", b.dense("x", b.rng.normal(size=(3, 4))), b.dense("x", b.rng.normal(size=(3, 4))))
    assert_same(b.model(y), (4,))


@pytest.mark.parametrize("shape", [[-1, 24], [0, 2, -1], [0, 0, 12], [-1, 4, 3, 2], [0, -1]])
def test_reshape_keeps_the_batch(shape: list[int]) -> None:
    b = ModelBuilder((2, 3, 4))
    assert_same(b.model(b.op("Reshape", "x", b.constant(shape, np.int64))), (2, 3, 4))


def test_nodes_without_use_are_dropped_and_duplicate_names_made_unique() -> None:
    b = ModelBuilder((4,))
    b.op("Floor", "x")
    y = b.op("Relu", b.op("Relu", "x", name="same"), name="same")
    assert [node.name for node in b.network(y).nodes] == ["same", "same_2"]


def test_evaluate_keeps_every_tensor_up_to_until() -> None:
    b = ModelBuilder((4,))
    y = b.op("Floor", b.op("Relu", "x"))
    tensors = evaluate(b.network(y), [[1.5, -1.0, 0.0, 2.0]], until="t0")
    assert set(tensors) == {"x", "t0"}
    assert tensors["t0"].tolist() == [[1.5, 0.0, 0.0, 2.0]]


def test_evaluate_does_not_depend_on_the_batch() -> None:
    b = ModelBuilder((3, 9, 9))
    network = b.network(b.conv("x", b.rng.normal(size=(16, 3, 5, 5))))
    x = b.rng.normal(size=(9, 3, 9, 9))
    assert (infer(network, x) == np.concatenate([infer(network, row[None]) for row in x])).all()


def test_ternary_sums_are_exact() -> None:
    b = ModelBuilder((500,))
    weight = b.ternary(20, 500)
    counts = b.rng.integers(0, 5, size=(30, 500))
    tensors = evaluate(b.network(b.dense("x", weight)), counts * 0.25)
    sums = counts @ np.sign(weight).astype(np.int64).T
    magnitudes = np.abs(weight).max(axis=1).astype(np.float64)
    assert (tensors["t0"] == magnitudes * 0.25 * sums).all()


@pytest.mark.parametrize(("count", "exact"), [(2**15 - 1, True), (2**15 + 1, False)])
def test_sums_are_exact_up_to_53_bits(count: int, exact: bool) -> None:
    weight = np.full((1, 2**15), 1.0 + 2.0**-23)
    assert sums_are_exact(weight, np.array([[float(count), 1.0]])) == exact


def test_constants_are_read_only() -> None:
    b = ModelBuilder((4,))
    node = b.network(b.dense("x", np.ones((2, 4)))).nodes[0]
    with pytest.raises(ValueError, match="read-only"):
        node.constants["weight"][0, 0] = 2


def saved(tmp_path: Path, model: onnx.ModelProto) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_load_reads_a_file(tmp_path: Path) -> None:
    network = load_onnx(saved(tmp_path, relu()))
    assert (network.name, network.input, network.output) == ("m", "x", "t0")
    assert dict(network.shapes) == {"x": (2,), "t0": (2,)}


def test_load_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match=r"cannot be read: No such file or directory\.$"):
        load_onnx(tmp_path / "none.onnx")


def test_load_large_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "MAX_BYTES", 10)
    path = saved(tmp_path, relu())
    text = f"Model file m.onnx has {path.stat().st_size} bytes, above the limit of 10."
    with pytest.raises(UnsupportedModelError, match=f"^{re.escape(text)}$"):
        load_onnx(path)


def refusal(path: Path) -> str | None:
    try:
        load_onnx(path)
    except UnsupportedModelError as error:
        text = str(error)
    else:
        return None
    assert "\n" not in text
    assert text.endswith(".")
    return text


def test_load_damaged_file_never_fails_otherwise(tmp_path: Path) -> None:
    b = ModelBuilder((2, 6, 6))
    data = b.model(b.quantise(b.norm(b.conv("x", b.ternary(4, 2, 3, 3)), 4))).SerializeToString()
    rng, path, refused = np.random.default_rng(3), tmp_path / "m.onnx", 0
    for _ in range(400):
        damaged = bytearray(data[: rng.integers(1, len(data))] if rng.random() < 0.5 else data)
        for at in rng.integers(0, len(damaged), size=rng.integers(1, 20)):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        refused += refusal(path) is not None
    assert refused > 200


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x00" * 100, b"PK\x03\x04"])
def test_load_garbage_says_so(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(data)
    text = r"^Model file m\.onnx is no ONNX model or is damaged; export it again\.$"
    with pytest.raises(UnsupportedModelError, match=text):
        load_onnx(tmp_path / "m.onnx")


def test_load_model_without_nodes_says_so(tmp_path: Path) -> None:
    b = ModelBuilder((2, 6, 6))
    (tmp_path / "m.onnx").write_bytes(b.model("x").SerializeToString())
    with pytest.raises(UnsupportedModelError, match=r"^Model file m\.onnx has no nodes; export it again\.$"):
        load_onnx(tmp_path / "m.onnx")


def test_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(relu().SerializeToString().replace(b"relu0", b"rel\xff0"))
    with pytest.raises(UnsupportedModelError) as error:
        load_onnx(path)
    assert str(error.value) == "The model has a name that is no UTF-8 text, b'rel\\xff0'; export it again."


def test_node_of_unknown_operation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^op must be one of Abs, .*, not 'Cosh'$"):
        make_node("n", "Cosh", ["x"], "y")


def test_branches_of_different_shape_are_refused() -> None:
    b = ModelBuilder((4,))
    y = b.op("Add", "x", b.dense("x", np.ones((3, 4))))
    text = (
        r"^Node 'add1' \(Add\) joins tensors of different shapes \(4,\) and \(3,\); give it tensors of one "
    )
    text += r"shape\.$"
    with pytest.raises(UnsupportedModelError, match=text):
        b.network(y)


def test_network_of_nodes_out_of_order_is_refused() -> None:
    nodes = [make_node("b", "Relu", ["u"], "y"), make_node("a", "Relu", ["x"], "u")]
    with pytest.raises(
        UnsupportedModelError, match=r"^Node 'b' \(Relu\) reads tensor 'u', which no earlier node"
    ):
        build_network(nodes, name="n", input_name="x", input_shape=(2,), output_name="y")


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((1, 3)), ValueError, "Tensor 'x' must have shape (N, 2), not (1, 3)"),
        (np.zeros(2), ValueError, "Tensor 'x' must have shape (N, 2), not (2,)"),
        (np.array([["a", "b"]]), TypeError, "Tensor 'x' must be real numbers, not <U1"),
        (np.array([[np.nan, 0]]), ValueError, "Tensor 'x' must be finite, not NaN or infinite"),
    ],
)
def test_evaluate_refuses_unusable_input(
    x: NDArray[np.generic], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        infer(network_from_onnx(relu(), name="m"), x)


def test_evaluate_until_unknown_tensor_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^until must be a tensor of the network, not 'q'$"):
        evaluate(network_from_onnx(relu(), name="m"), np.zeros((1, 2)), until="q")


def test_infeasible_error_names_all_five() -> None:
    error = InfeasibleError(layer="fc", limit="axons", demand=9, allowed=8, remedy="raise the extension")
    assert str(error) == "Layer 'fc' needs 9 axons but 8 are allowed: raise the extension."
    assert (error.layer, error.limit, error.demand, error.allowed) == ("fc", "axons", 9, 8)


def shared_model(name: str) -> Path:
    path = Path(os.environ.get("SPIKELOOM_DATA", "")) / "models" / name
    if "SPIKELOOM_DATA" not in os.environ or not path.exists():
        pytest.skip(f"SPIKELOOM_DATA names no folder with models/{name}")
    return path


@pytest.mark.parametrize("name", ["mnist_lenet_andreygermanov.onnx", "mnist_conv_zoo/model.onnx"])
def test_published_model_equals_onnxruntime(name: str) -> None:
    model = onnx.load(shared_model(name))
    network = load_onnx(shared_model(name))
    x = np.random.default_rng(0).uniform(size=(1, *network.shapes[network.input])).astype(np.float32)
    np.testing.assert_allclose(infer(network, x), reference(model, x), rtol=1e-3, atol=1e-4)


def test_operator_set_7_is_read_as_the_later_ones() -> None:
    """Published networks are as old as that."""
    b = ModelBuilder((1, 6, 6))
    model = b.model(b.op("Relu", b.conv("x", b.rng.normal(size=(2, 1, 3, 3)))))
    wanted = network_from_onnx(model, name="n")
    model.opset_import[0].version = 7
    network, x = network_from_onnx(model, name="n"), b.rng.normal(size=(3, 1, 6, 6))
    assert np.array_equal(infer(network, x), infer(wanted, x))
