# SPDX-License-Identifier: Apache-2.0
"""Every message of the ONNX importer about a file as a whole, by its text."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mapping.errors import UnsupportedModelError
from mapping.model.importers.onnx import network_from_onnx
from mapping.model.importers.onnx_stored import stored
from sim_tests.generators.model_builder import ModelBuilder, relu

Build = Callable[[ModelBuilder], str]


def no_change(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.ones(2, np.float32), "w"))


def external(model: onnx.ModelProto) -> None:
    no_change(model)
    entry = model.graph.initializer[0].external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL


def short(model: onnx.ModelProto) -> None:
    no_change(model)
    model.graph.initializer[0].dims[0] = 3


def huge(model: onnx.ModelProto) -> None:
    no_change(model)
    model.graph.initializer[0].dims[0] = 2**40


def sparse(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add()


def old(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 99


def custom(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "my.domain"


def two_inputs(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", None]))
    model.graph.node.append(helper.make_node("Relu", ["z"], ["other"]))


def no_output(model: onnx.ModelProto) -> None:
    del model.graph.output[:]


def cycle(model: onnx.ModelProto) -> None:
    model.graph.node[0].name = "first"
    model.graph.node.append(helper.make_node("Relu", [model.graph.node[0].output[0]], ["again"], name="last"))
    model.graph.node[0].input[0] = "again"


def no_size(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "F"


def no_writer(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "nothing"


def two_constants(model: onnx.ModelProto) -> None:
    for value in (1, 2):
        model.graph.initializer.append(numpy_helper.from_array(np.full(3, value, np.float32), "w"))


def twice(model: onnx.ModelProto) -> None:
    model.graph.node.append(model.graph.node[0])


CHANGES: list[tuple[Callable[[onnx.ModelProto], None], str]] = [
    (external, "Tensor 'w' is stored outside the model file; save the model with its data inside."),
    (short, "Tensor 'w' is damaged: its data does not fit its type and shape; export it again."),
    (huge, "Tensor 'w' has the unusable shape (1099511627776,); export it again."),
    (sparse, "The model has sparse initializers; export it with dense weights."),
    (old, "The model must use one ONNX operator set from 1 to 28, not 99; export it with opset 17."),
    (
        two_inputs,
        (
            "The model must have one input, or several with one type and batch and with fixed sizes, not 2 "
            "(x, z)."
        ),
    ),
    (no_output, "The model has no output; export it again."),
    (
        cycle,
        (
            "The nodes 'first', 'last' wait for one another in a cycle; export the model again, and a "
            "recurrent one with LSTM, GRU or RNN."
        ),
    ),
    (
        no_size,
        (
            "Input 'x' must have a batch dimension and fixed sizes after it, not (?, ?); export it with "
            "fixed sizes."
        ),
    ),
    (no_writer, "No node writes the graph output 'nothing'; export it again."),
    (twice, "Node 'relu0' (Relu) writes tensor 't0', which is there already; export it again."),
    (two_constants, "The model has 2 constants with the name 'w'; export it again."),
]


@pytest.mark.parametrize(("change", "message"), CHANGES, ids=[change.__name__ for change, _ in CHANGES])
def test_changed_model_is_refused(change: Callable[[onnx.ModelProto], None], message: str) -> None:
    model = relu()
    change(model)
    with pytest.raises(UnsupportedModelError) as error:
        network_from_onnx(model, name="m")
    assert str(error.value) == message


def test_custom_domain_is_named() -> None:
    model = relu()
    custom(model)
    with pytest.raises(
        UnsupportedModelError, match=r"^Node 'relu0' has the operator my\.domain\.Relu, which is not"
    ):
        network_from_onnx(model, name="m")


def test_unused_initializer_changes_nothing() -> None:
    model = relu()
    no_change(model)
    assert [node.op for node in network_from_onnx(model, name="m").nodes] == ["Relu"]


def cut_off(values: list[int]) -> TensorProto:
    """Return a tensor of numbers that has lost its last bytes."""
    tensor = numpy_helper.from_array(np.array(values, np.int64), "numbers")
    tensor.raw_data = tensor.raw_data[:-3]
    return tensor


@pytest.mark.parametrize(("op", "values"), [("Unsqueeze", [0]), ("Reshape", [1, 4])])
def test_numbers_that_give_a_vector_its_batch_may_be_damaged(op: str, values: list[int]) -> None:
    weight = numpy_helper.from_array(np.ones((3, 4), np.float32), "w")
    nodes = [
        helper.make_node(op, ["x", "numbers"], ["t"]),
        helper.make_node("Gemm", ["t", "w"], ["y"], transB=1),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])
    graph = helper.make_graph(nodes, "g", [x], [y], [weight, cut_off(values)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    with pytest.raises(UnsupportedModelError, match=r"^Tensor 'numbers' is damaged: "):
        network_from_onnx(model, name="n")


def test_values_are_looked_at_where_they_are_whole_and_in_the_file() -> None:
    sound = numpy_helper.from_array(np.array([1, 2], np.int64), "numbers")
    beside = helper.make_tensor("w", TensorProto.FLOAT, [0], [])
    beside.data_location = TensorProto.EXTERNAL
    found = [stored(tensor) for tensor in (sound, cut_off([1]), beside, None)]
    assert [None if values is None else values.tolist() for values in found] == [[1, 2], None, None, None]
