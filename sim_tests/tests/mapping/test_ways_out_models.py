# SPDX-License-Identifier: Apache-2.0
"""Every way out that a sentence about a model file or its evaluation names is taken, and it works."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, helper, numpy_helper

import mapping
from emu.container import load_image, save_image
from mapping.chip import open_chip
from mapping.codes.convert import convert
from mapping.model.evaluate import infer
from mapping.model.importers.onnx import network_from_onnx
from mapping.model.load import load_network
from sim_tests.generators.estimator_models import CLASSIFIERS, FEATURES, ML, estimator, regressor
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.sound_files import small_chip
from sim_tests.robustness.ways_out import assert_goes, clauses
from sim_tests.tests.mapping.test_int8_wide import stored_as
from sim_tests.tests.mapping.test_other_tools import apart, fused
from sim_tests.tests.mapping.test_other_tools import read as of_other_tools

Build = Callable[[ModelBuilder], str]
Edit = Callable[[onnx.ModelProto], object]


def network(build: Build, *, opset: int = 13, edit: Edit = lambda _: None) -> Callable[[], object]:
    """Return what imports and converts a model whose quantised dense layer reads what is built."""

    def run() -> object:
        b = ModelBuilder((6,), opset=opset)
        y = b.dense(b.quantise(build(b)), b.ternary(5, 6), name="fc")
        model = b.model(b.quantise(y))
        edit(model)
        return convert(network_from_onnx(model, name="test"))

    return run


def plain(b: ModelBuilder) -> str:
    return b.op("Relu", "x")


def sparse(model: onnx.ModelProto) -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "s")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "i")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [3]))


def of_any_size(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "features"


def cut(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-1]


def unwritten(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "nowhere"


def outside(model: onnx.ModelProto) -> None:
    external_data_helper.set_external_data(model.graph.initializer[0], "weights.bin")


def no_number(model: onnx.ModelProto) -> None:
    (tensor,) = [t for t in model.graph.initializer if tuple(t.dims) == (5, 6)]
    tensor.CopyFrom(numpy_helper.from_array(np.full((5, 6), np.nan, np.float32), tensor.name))


def no_text(model: onnx.ModelProto) -> onnx.ModelProto:
    data = model.SerializeToString().replace(b"relu0", b"rel\xff0")
    model.ParseFromString(data)
    return model


def drop(training: bool) -> Build:
    return lambda b: b.op("Dropout", "x", b.constant(0.5), b.constant(training, np.bool_))


def norm(training: int) -> Build:
    def build(b: ModelBuilder) -> str:
        four = [b.constant(np.ones(6)) for _ in range(4)]
        return b.op("BatchNormalization", "x", *four, training_mode=training)

    return build


def integers(between: bool) -> Build:
    def build(b: ModelBuilder) -> str:
        limits = [b.constant(0.25), b.constant(0, np.uint8)]
        y = b.op("QuantizeLinear", b.op("Relu", "x"), *limits)
        if between:
            return b.op("Add", b.op("DequantizeLinear", y, *limits), b.constant(1.0))
        return b.op("DequantizeLinear", b.op("Add", y, b.constant(1.0)), *limits)

    return build


def quantised(domain_op: str, *, bits: float = 2.0, signed: int = 0, narrow: int = 0) -> Build:
    def build(b: ModelBuilder) -> str:
        domain, scale = "qonnx.custom_op.general", b.constant(0.25)
        if domain_op == "BipolarQuant":
            return b.op("BipolarQuant", "x", scale, domain=domain)
        inputs = [scale, b.constant(0.0), b.constant(bits)]
        return b.op("Quant", "x", *inputs, domain=domain, signed=signed, narrow=narrow)

    return build


def q_linear(b: ModelBuilder) -> str:
    return b.op("QLinearWhere", "x")


def ranged(b: ModelBuilder) -> str:
    """Integers whose scale follows from the smallest value of all samples."""
    scale = b.op("Div", b.op("ReduceMin", "x", keepdims=0), b.constant(-127.0))
    y = b.op("QuantizeLinear", "x", scale, b.constant(0, np.uint8))
    return b.op("Cast", b.op("MatMulInteger", y, b.constant(np.ones((6, 6)), np.int8)), to=1)


def qdq(b: ModelBuilder) -> str:
    return integers(True)(b)


def biased(size: int) -> Build:
    return lambda b: b.dense("x", np.eye(6), np.zeros(size))


def turned(batch: int) -> Callable[[], object]:
    """A model for a fixed batch that brings its second axis to the front, gives it a shape, and goes back."""

    def build(b: ModelBuilder) -> str:
        y = b.op("Reshape", b.op("Transpose", "x", perm=[1, 0]), b.constant([6, batch], np.int64))
        return b.op("Transpose", y, perm=[1, 0])

    def edit(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch

    return network(build, edit=edit)


def in_groups(groups: int) -> Callable[[], object]:
    """Return what reads a convolution of one row of 6 channels in groups."""

    def build(b: ModelBuilder) -> str:
        y = b.op("Reshape", "x", b.constant([-1, 6, 1, 1], np.int64))
        y = b.conv(y, np.ones((3, 6 // groups, 1, 1)), group=groups)
        return b.dense(b.op("Flatten", y), np.ones((6, 3)))

    return network(build)


def hidden(value: float) -> Callable[[], object]:
    """Return what imports a mask, with a value where it hides the input."""
    return network(lambda b: b.op("Where", b.constant(np.arange(6) < 2, np.bool_), b.constant(value), "x"))


WITHOUT = "export the model without it"


def stored(kind: int, **block: int) -> Callable[[], object]:
    """Return what imports a dense layer whose weights are of some type, or have a scale for every block."""
    return lambda: network_from_onnx(stored_as(kind, **block), name="test")


def sums(**attributes: object) -> Callable[[], object]:
    """Return what imports a linear regressor of two targets."""

    def run() -> object:
        b = ModelBuilder((FEATURES,))
        return network_from_onnx(estimator(b, regressor(b, "x", 2, **attributes)), name="sums")

    return run


def trees() -> onnx.ModelProto:
    b = ModelBuilder((FEATURES,))
    return estimator(b, b.op("TreeEnsembleClassifier", "x", outputs=2, domain=ML, name="trees"))


MODELS: dict[str, tuple[str, Callable[[], object], Callable[[], object]]] = {
    "a name": ("export it again.", network(plain, edit=no_text), network(plain)),
    "float8": (
        "quantise the float model to int8",
        stored(onnx.TensorProto.FLOAT8E4M3FN),
        stored(onnx.TensorProto.INT8),
    ),
    "blocks": (
        "quantise the float model with one scale for each tensor or output channel",
        stored(onnx.TensorProto.INT8, axis=1, block_size=4),
        stored(onnx.TensorProto.INT8),
    ),
    "missing": (
        "export the model again, with its weights.",
        network(lambda b: b.op("Mul", "x", "w")),
        network(lambda b: b.op("Mul", "x", b.constant(2.0, name="w"))),
    ),
    "no constant": (
        "export the model with its weights",
        network(lambda b: b.op("Gemm", "x", "x")),
        network(lambda b: b.dense("x", np.eye(6))),
    ),
    "no activation": (
        "let what is computed from the input stand there",
        network(lambda b: b.op("Gemm", b.constant(1.0), b.constant(np.eye(6)))),
        network(lambda b: b.op("Gemm", "x", b.constant(np.eye(6)))),
    ),
    "weights of another rank": (
        "export it again",
        network(lambda b: b.dense("x", np.ones((6, 6, 1)))),
        network(lambda b: b.dense("x", np.ones((6, 6)))),
    ),
    "axis": (
        "export it again",
        network(lambda b: b.op("Flatten", b.op("Softmax", "x", axis=9))),
        network(lambda b: b.op("Flatten", b.op("Softmax", "x", axis=1))),
    ),
    "weights": (
        "give each output 6 weights",
        network(lambda b: b.dense(b.dense("x", np.ones((4, 7))), np.ones((6, 4)))),
        network(lambda b: b.dense(b.dense("x", np.ones((4, 6))), np.ones((6, 4)))),
    ),
    "groups": ("give it groups that divide", in_groups(2), in_groups(1)),
    "spread": (
        "give it one value for each channel",
        network(lambda b: b.op("Mul", "x", b.constant(np.ones(5)))),
        network(lambda b: b.op("Mul", "x", b.constant(np.ones(6)))),
    ),
    "norm of other channels": (
        "give it one value for each channel",
        network(lambda b: b.norm("x", 5)),
        network(lambda b: b.norm("x", 6)),
    ),
    "unlike": (
        "give it tensors of one shape",
        network(lambda b: b.op("Add", "x", b.dense("x", np.ones((5, 6))))),
        network(lambda b: b.op("Add", "x", b.dense("x", np.ones((6, 6))))),
    ),
    "operator set": ("export it with opset 17.", network(plain, opset=99), network(plain, opset=17)),
    "bias": ("give each output one", network(biased(5)), network(biased(6))),
    "batch": ("export the model for a batch of 1", turned(10), turned(1)),
    "mask": ("put a large finite number there, such as -1e9", hidden(-np.inf), hidden(-1e9)),
    "sizes": ("export it with fixed sizes.", network(plain, edit=of_any_size), network(plain)),
    "cut tensor": ("export it again.", network(plain, edit=cut), network(plain)),
    "no writer": ("export it again.", network(plain, edit=unwritten), network(plain)),
    "sparse": ("export it with dense weights.", network(plain, edit=sparse), network(plain)),
    "outside": ("save the model with its data inside.", network(plain, edit=outside), network(plain)),
    "NaN": ("train the model again.", network(plain, edit=no_number), network(plain)),
    "dropout": ("export the model in evaluation mode", network(drop(True)), network(drop(False))),
    "norm": (
        "export the model in evaluation mode",
        network(norm(1), opset=15),
        network(norm(0), opset=15),
    ),
    "integers": ("put a DequantizeLinear between", network(integers(False)), network(integers(True))),
    "bipolar": (
        "use Quant with signed = 0 for activations",
        network(quantised("BipolarQuant")),
        network(quantised("Quant")),
    ),
    "one bit": (
        "use bitwidth 2 and narrow = 1",
        network(quantised("Quant", bits=1.0, signed=1)),
        network(quantised("Quant", bits=2.0, signed=1, narrow=1)),
    ),
    "coefficients": ("export it again", sums(coefficients=[1.0] * 7), sums()),
    "closing": ("set it to NONE", sums(post_transform="PROBIT"), sums(post_transform="NONE")),
    "trees": (
        "train an MLPClassifier, a LogisticRegression or a LinearSVC",
        lambda: network_from_onnx(trees(), name="trees"),
        lambda: [network_from_onnx(build(True), name="c") for build, _ in CLASSIFIERS.values()],
    ),
    "joined": (
        "export it without optimising it",
        lambda: of_other_tools(fused("FusedConv", "Wave")),
        lambda: of_other_tools(apart("FusedConv", "Relu")),
    ),
    "foreign operator": (
        "export the model with operators of the ONNX standard",
        network(lambda b: b.op("Wavelet", "x")),
        network(plain),
    ),
    "integer operators": (
        "let the quantiser write the QDQ format",
        network(q_linear),
        network(qdq),
    ),
    "dynamic scales": (
        "quantise the float model with onnxruntime's quantize_static",
        network(lambda b: b.op("DynamicQuantizeLinear", "x")),
        network(qdq),
    ),
    "dynamic scales, written out": (
        "quantise the float model with onnxruntime's quantize_static",
        network(ranged),
        network(qdq),
    ),
    "batch reduced": (WITHOUT, network(lambda b: b.op("ReduceMean", "x", axes=[0, 1])), network(plain)),
    "random numbers": (WITHOUT, network(lambda b: b.op("RandomNormalLike", "x")), network(plain)),
    "no size": (WITHOUT, network(lambda b: b.op("NonZero", "x")), network(plain)),
    "too large": (
        WITHOUT,
        network(lambda b: b.op("Tile", "x", b.constant([1, 1 << 28], np.int64))),
        network(plain),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_model_that_is_as_the_sentence_says_is_converted(name: str) -> None:
    assert_goes(*MODELS[name])


def test_checker_of_onnx_tells_what_does_not_fit() -> None:
    b = ModelBuilder((6,))
    model = b.model(b.op("Einsum", "x", "x", equation="abc,abd->ab"))
    declared = helper.make_tensor_value_info("t0", TensorProto.FLOAT, ["N", 6])
    model.graph.output[0].CopyFrom(declared)

    def checked() -> None:
        with pytest.raises(onnx.shape_inference.InferenceError, match="does not match the equation"):
            onnx.checker.check_model(model, full_check=True)

    way = "check the model with 'onnx.checker.check_model(model, full_check=True)'"
    assert_goes(way, lambda: network_from_onnx(model, name="test"), checked)


def test_file_that_is_exported_again_is_read(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    b = ModelBuilder((6,))
    good = b.model(b.quantise(b.dense(b.quantise("x"), b.ternary(5, 6), name="fc"))).SerializeToString()

    def read(data: bytes) -> object:
        file.write_bytes(data)
        return load_network(str(file))

    assert_goes("export it again.", lambda: read(good[: len(good) // 2]), lambda: read(good))


def test_data_and_weights_inside_the_range_are_evaluated() -> None:
    b = ModelBuilder((6,))
    found = b.network(b.head(b.op("Sqrt", "x"), 6))
    way, x = "keep data and weights inside.", np.ones((2, 6))
    assert_goes(way, lambda: infer(found, -x), lambda: infer(found, x))


@pytest.mark.parametrize("part", [0, -1])
def test_image_that_is_compiled_again_is_opened(part: int, tmp_path: Path) -> None:
    file, again = tmp_path / "a.spikeloom", tmp_path / "b.spikeloom"
    small_chip().save(file)
    image = load_image(file)
    kept = dict(image.attachments)
    kept.pop(sorted(kept)[part])
    save_image(replace(image, attachments=kept), file)

    def compiled() -> None:
        small_chip().save(again)
        open_chip(again)

    assert_goes("compile the model again.", lambda: open_chip(file), compiled)


UNTRIED = {
    "export the model without functions.": "told only of functions that call each other in a circle",
    "export the model again, and a recurrent one with LSTM, GRU or RNN.": "told of a circle in the graph",
    "export the module with torch.onnx.export, or hand it to spikeloom.estimate in Python": (
        "test_torch_module.py does both"
    ),
    "give its arrays as layers in Python (docs/guides/bring_a_model.md)": "test_plain_arrays.py gives them",
    "make a module of the class by calling it": "test_torch_module.py calls it",
    "give an example of it, an array (n, input shape).": "test_torch_module.py gives one",
}


def test_every_way_out_of_the_importers_is_tried() -> None:
    root = Path(mapping.__path__[0])
    files = [*(root / "model" / "importers").glob("*.py"), *(root / "model").glob("*.py"), root / "chip.py"]
    elsewhere = {
        "analysis.py",
        "onnx_external.py",
        "torch_module.py",
    }  # they have tests of their own
    files = [file for file in files if file.name not in elsewhere]
    tried = {way for way, _, _ in MODELS.values()} | {
        "check the model with 'onnx.checker.check_model(model, full_check=True)'",
        "keep data and weights inside.",
        "compile the model again.",
    }
    told = {clause for _, clause in clauses(files)}
    assert {clause for clause in told if not any(way in clause for way in tried)} == set(UNTRIED)
