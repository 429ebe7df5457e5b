# SPDX-License-Identifier: Apache-2.0
"""Every operator and many combinations lie on the chip, near the float network, and equal to the image."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from emu.machine import Machine
from emu.spec import preset
from mapping.codes.graded.convert import convert_graded
from mapping.codes.graded.spelling import spelled
from mapping.codes.graded.structure import structure_of
from mapping.layout.emit import emit
from mapping.layout.host_tables import counts_of, outputs_of, stimulus_for
from mapping.layout.route import fit
from mapping.model.evaluate import evaluate, infer
from mapping.model.importers.onnx import network_from_onnx
from mapping.model.network import Network
from mapping.model.rewrite import sunk
from mapping.spiking.network import SpikingNetwork
from mapping.spiking.simulate import decode, encode, simulate
from mapping.spiking.spread import spread
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.operator_example import Example
from sim_tests.generators.operator_examples import EXAMPLES
from sim_tests.generators.operator_networks import COMBINATIONS, combination
from sim_tests.generators.ordinary_networks import calibration

MEDIUM = preset("medium")


def converted(network: Network) -> SpikingNetwork:
    return convert_graded(network, calibration(network, n=96), MEDIUM)


def error(spiking: SpikingNetwork, network: Network) -> float:
    """Return the error of the output on the samples that the scales are chosen on, in deviations of it."""
    x = calibration(network, n=96)
    truth, got = infer(network, x), decode(spiking, simulate(spiking, encode(spiking, x)), x)
    return float(np.sqrt(np.square(got - truth).mean()) / truth.std())


def assert_image_equals(spiking: SpikingNetwork) -> None:
    """Compare every count of the image on the functional emulator with the integer network's."""
    on_chip = spread(spiking)
    image = emit(on_chip, *fit(on_chip, MEDIUM), name="n")
    counts = encode(spiking, calibration(spiking.network, n=2, seed=4))
    want, result = simulate(spiking, counts), Machine(image).run(stimulus_for(image, counts), cycles=False)
    got = {**counts_of(image, result, 2), **outputs_of(image, result, 2)}
    assert {layer.name for layer in spiking.layers} <= set(got)
    for name, value in got.items():
        assert np.array_equal(value, want[name]), name


@pytest.mark.parametrize("name", COMBINATIONS)
def test_combination_is_whole_on_the_chip_and_near(name: str) -> None:
    network = combination(name)
    spiking = converted(network)
    assert (spiking.host, spiking.host_share) == ((), 0.0)
    assert_image_equals(spiking)
    assert error(spiking, network) < 0.1


@pytest.mark.parametrize("name", COMBINATIONS)
def test_forms_have_the_values_of_the_network(name: str) -> None:
    """What is written about every activation gives the values of the float network."""
    from sim_tests.tests.mapping.test_graded import _value

    given = combination(name, seed=3)
    network = sunk(spelled(given))
    x = calibration(network, n=2)
    tensors = evaluate(network, x)
    np.testing.assert_allclose(tensors[network.output], infer(given, x), atol=1e-5)
    structure = structure_of(network, network.input, axons=64)
    assert structure.points
    for point in structure.points.values():
        before = point.functions[0].inputs[0] if point.functions else point.tensor
        values = _value(point.form, tensors)
        np.testing.assert_allclose(values.reshape(tensors[before].shape), tensors[before], atol=1e-9)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.operator} {e.form}".strip())
def test_image_of_every_operator_computes_the_integer_network(example: Example) -> None:
    network = example.placed()
    spiking = converted(network)
    assert_image_equals(spiking)
    # shares of a softmax move by a whole step of the model where its rounded input does
    assert error(spiking, network) < (0.15 if example.operator == "QLinearSoftmax" else 0.1)


@pytest.mark.parametrize(
    ("below", "wanted"),
    [
        (lambda b: b.op("Add", b.op("Abs", "x"), b.constant(1.0)), {"Softsign"}),
        (lambda b: b.op("Add", b.op("Exp", b.op("Neg", "x")), b.constant(1.0)), {"Relu", "Swish"}),
        (lambda b: b.op("Add", b.op("Abs", "x"), b.constant(2.0)), {"Div"}),
    ],
)
def test_quotient_is_recognised_as_the_function_that_it_is(
    below: Callable[[ModelBuilder], str], wanted: set[str]
) -> None:
    b = ModelBuilder((6,))
    network = b.network(b.op("Div", "x", below(b)))
    found = spelled(network)
    assert {node.op for node in found.nodes} & {"Div", "Relu", "Softsign", "Swish"} >= wanted
    assert ("Div" in {node.op for node in found.nodes}) == ("Div" in wanted)
    x = b.rng.normal(0, 3, (20, 6))
    np.testing.assert_allclose(infer(found, x), infer(network, x), atol=1e-6)


def gelu(b: ModelBuilder, cube: Callable[[ModelBuilder], str]) -> str:
    """As PyTorch's older exporter and Keras write it: the sides are functions with branches of their own."""
    inner = b.op("Add", "x", b.op("Mul", cube(b), b.constant(0.044715)))
    tanh = b.op("Tanh", b.op("Mul", inner, b.constant(np.sqrt(2 / np.pi))))
    half = b.op("Mul", "x", b.constant(0.5))
    return b.op("Mul", half, b.op("Add", tanh, b.constant(1.0)))


def above(b: ModelBuilder, limit: float) -> str:
    number = b.op("Cast", b.op("Greater", "x", b.constant(limit)), to=1)
    return b.op("Mul", "x", number)


@pytest.mark.parametrize(
    ("product", "function"),
    [
        (lambda b: gelu(b, lambda b: b.op("Pow", "x", b.constant(3.0))), "Gelu"),
        (lambda b: gelu(b, lambda b: b.op("Mul", "x", b.op("Mul", "x", "x"))), "Gelu"),
        (lambda b: above(b, 0.0), "Relu"),
        (lambda b: above(b, 1.0), ""),
        (lambda b: b.op("Mul", "x", b.op("Sigmoid", b.op("Add", "x", b.op("Tanh", "x")))), ""),
    ],
)
def test_product_of_branches_is_recognised(product: Callable[[ModelBuilder], str], function: str) -> None:
    b = ModelBuilder((6,))
    network = b.network(product(b))
    found = spelled(network)
    (last,) = (node for node in found.nodes if node.output == network.output)
    assert (len(last.inputs) == 1) == bool(function)
    assert function in {node.op for node in found.nodes} | {""}
    x = b.rng.normal(0, 3, (20, 6))
    np.testing.assert_allclose(infer(found, x), infer(network, x), atol=2e-6)


def layers_of(name: str) -> dict[str, list[str]]:
    """Return what each layer of a combination reads."""
    return {
        layer.name: [source.name for source in layer.sources] for layer in converted(combination(name)).layers
    }


def test_joined_branches_are_pooled_where_they_are_read() -> None:
    """No layer repeats them: the next convolution reads both."""
    layers = layers_of("branches pooled as one")
    assert len(layers) == 5
    assert sorted(len(reads) for reads in layers.values()) == [1, 1, 1, 1, 2]


def test_sum_is_pooled_as_a_layer_of_its_own() -> None:
    """The largest sum is not the sum of the largest."""
    layers = layers_of("sum pooled")
    assert sorted(len(reads) for reads in layers.values()) == [1, 1, 1, 1, 2]


def test_input_and_its_branch_are_pooled_together() -> None:
    """What enters the chip is not pooled on it: a layer repeats it beside the branch."""
    assert [len(reads) for reads in layers_of("input and branch pooled").values()] == [1, 2, 1]


@pytest.mark.parametrize("name", ["swish", "hard swish"])
def test_functions_of_one_sum_compute_it_each_for_itself(name: str) -> None:
    """The two parts of the function read what the sum is of; no layer has the sum itself."""
    layers = layers_of(name)
    parts = [reads for reads in layers.values() if reads == [next(iter(layers))]]
    assert (len(parts), len(layers)) == (2, 5)


@pytest.mark.parametrize("name", ["swish", "hard swish"])
def test_parts_of_a_function_begin_at_zero(name: str) -> None:
    """So channels have steps of their own, and a part that is not reached sends nothing."""
    network = combination(name)
    x = calibration(network, n=5)
    np.testing.assert_allclose(infer(spelled(network), x), infer(network, x), rtol=1e-9, atol=1e-7)
    parts = converted(network).layers[1:3]
    assert all((layer.low, layer.zero) == (0, 0) and layer.gains is not None for layer in parts)


def test_average_without_padding_has_a_source_for_each_border() -> None:
    """All windows, the first and the last line of either axis, and their corners."""
    layers = layers_of("average without padding")
    assert sorted(len(reads) for reads in layers.values()) == [1, 1, 1, 9]


@pytest.mark.parametrize("size", [5, 6, 7])
@pytest.mark.parametrize(("kernel", "stride", "pad"), [(2, 2, 0), (3, 2, 1), (3, 2, 0), (3, 3, 1), (2, 1, 1)])
@pytest.mark.parametrize("include", [0, 1])
def test_average_by_its_definition(size: int, kernel: int, stride: int, pad: int, include: int) -> None:
    """Windows that begin in the map or the padding before it; what lies beyond the padding never counts."""
    b = ModelBuilder((2, size, size + 1))
    attributes: dict[str, Any] = {"strides": [stride] * 2, "pads": [pad] * 4, "ceil_mode": 1}
    y = b.op(
        "AveragePool", b.op("Relu", "x"), kernel_shape=[kernel] * 2, count_include_pad=include, **attributes
    )
    network = sunk(spelled(b.network(y)))
    structure = structure_of(network, "x", axons=64)
    assert not structure.refused
    x = b.rng.uniform(0, 1, (2, size, size + 1))
    tensors = evaluate(network, x[None])
    (point,) = [point for point in structure.points.values() if point.tensor == network.output]
    from sim_tests.tests.mapping.test_graded import _value

    got = _value(point.form, tensors).reshape(network.shapes[network.output])
    for (channel, row, column), value in np.ndenumerate(got):
        window = [(at * stride - pad, at * stride - pad + kernel) for at in (row, column)]
        inside = [(max(0, a), min(n, e)) for (a, e), n in zip(window, x.shape[1:], strict=True)]
        counted = [
            (max(-pad, a), min(n + pad, e)) if include else own
            for (a, e), n, own in zip(window, x.shape[1:], inside, strict=True)
        ]
        (top, bottom), (left, right) = inside
        total = x[channel, top:bottom, left:right].sum()
        assert value == pytest.approx(total / np.prod([e - a for a, e in counted]))


def test_a_line_of_a_map_is_folded_into_nothing() -> None:
    """An average over averages without padding: the kernel of both would be larger than the map."""
    b = ModelBuilder((2, 12, 12))
    y = b.op("AveragePool", b.op("Relu", "x"), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    network = sunk(spelled(b.network(b.op("GlobalAveragePool", y))))
    points = structure_of(network, "x", axons=100_000).points.values()
    assert [len(point.form.terms) for point in points] == [1, 4, 1]


def test_two_dense_layers_without_a_function_are_one() -> None:
    b = ModelBuilder((6,))
    y = b.dense(b.dense("x", b.rng.normal(size=(9, 6)), b.rng.normal(size=9)), b.rng.normal(size=(7, 9)))
    network = b.network(b.dense(b.op("Relu", y), b.rng.normal(size=(3, 7)), b.rng.normal(size=3)))
    spiking = converted(network)
    assert [layer.output_shape for layer in spiking.layers] == [(7,), (3,)]
    assert error(spiking, network) < 0.05


def mlp(opset: int = 13) -> tuple[ModelBuilder, onnx.ModelProto]:
    b = ModelBuilder((6,), opset=opset)
    y = b.op("Relu", b.dense("x", b.rng.normal(size=(9, 6)), b.rng.normal(size=9)))
    return b, b.model(b.dense(y, b.rng.normal(size=(3, 9))))


def logits(model: onnx.ModelProto, x: NDArray[np.float64]) -> NDArray[np.float64]:
    return infer(network_from_onnx(model, name="n"), x)


X = np.random.default_rng(2).normal(size=(4, 6))


def out_of_order(model: onnx.ModelProto) -> None:
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def batch_of_ten(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 10


def no_batch(model: onnx.ModelProto) -> None:
    del model.graph.input[0].type.tensor_type.shape.dim[0]


def second_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info(model.graph.node[0].output[0], 1, None))


def input_nobody_reads(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["N", 5]))


def function(model: onnx.ModelProto) -> None:
    body = [helper.make_node("Relu", ["a"], ["r"])]
    made = helper.make_function("own", "Cut", ["a"], ["r"], body, [helper.make_opsetid("", 13)])
    model.functions.append(made)
    model.opset_import.append(helper.make_opsetid("own", 1))
    node = next(node for node in model.graph.node if node.op_type == "Relu")
    node.op_type, node.domain = "Cut", "own"


@pytest.mark.parametrize(
    "change", [out_of_order, batch_of_ten, no_batch, second_output, input_nobody_reads, function]
)
def test_model_written_in_another_way_is_the_same(change: object) -> None:
    _, model = mlp()
    wanted = logits(model, X)
    assert callable(change)
    change(model)
    assert np.array_equal(logits(model, X), wanted)


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_weights_of_other_floats_have_their_own_values(kind: type[np.floating]) -> None:
    _, model = mlp()
    wanted = logits(model, X)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).astype(kind)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    got = logits(model, X)
    assert np.allclose(got, wanted, atol=0.05)
    assert np.array_equal(got, wanted) == (kind is np.float64)


def test_input_without_a_batch_gets_one_where_the_graph_adds_it() -> None:
    for axes, shape in (([0, 1], (8, 8)), ([0], (1, 8, 8))):
        b = ModelBuilder(shape)
        y = b.op("Unsqueeze", "x", b.constant(axes, np.int64))
        model = b.model(b.op("Flatten", b.conv(y, np.ones((2, 1, 3, 3)))))
        del model.graph.input[0].type.tensor_type.shape.dim[0]
        network = network_from_onnx(model, name="n")
        assert network.shapes[network.input] == shape
        assert infer(network, np.ones((3, *shape))).shape == (3, 72)


def test_several_inputs_are_one() -> None:
    x, z = np.random.default_rng(1).normal(size=(2, 4, 2, 5, 5))
    b = ModelBuilder((2, 5, 5))
    model = b.model(b.op("Sub", "x", "z"))
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 2, 5, 5]))
    assert np.array_equal(logits(model, np.concatenate([x, z], axis=1)), x - z)
    b = ModelBuilder((2, 5, 5))
    model = b.model(b.op("Concat", b.op("Flatten", "x"), "z", axis=1))
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 3]))
    whole = np.concatenate([x.reshape(4, -1), z.reshape(4, -1)[:, :3]], axis=1)
    assert np.array_equal(logits(model, whole), whole)


def test_channel_that_a_layer_only_hands_on_keeps_its_values() -> None:
    """Beside channels that another source is convolved to, those of a skip have a step of their own."""
    b = ModelBuilder((2, 8, 8))
    y = b.op("Relu", b.conv("x", b.rng.normal(0, 0.01, (4, 2, 3, 3)), pads=[1, 1, 1, 1]))
    network = b.network(b.op("Concat", y, b.conv(y, b.rng.normal(0, 1, (4, 4, 1, 1))), axis=1))
    spiking, x = converted(network), calibration(network, n=96)
    truth, got = infer(network, x), decode(spiking, simulate(spiking, encode(spiking, x)), x)
    apart = np.sqrt(np.square(got - truth).mean(axis=(0, 2, 3))) / truth.std(axis=(0, 2, 3))
    assert apart.max() < 0.05
