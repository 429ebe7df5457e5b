# SPDX-License-Identifier: Apache-2.0
"""Every message of the ONNX importer, by its text."""

from collections.abc import Callable

import numpy as np
import pytest
from onnx import TensorProto

from mapping.errors import UnsupportedModelError
from sim_tests.generators.model_builder import ModelBuilder

Build = Callable[[ModelBuilder], str]


MESSAGES: list[tuple[Build, str]] = [
    (
        lambda b: b.op("Wavelet", "x", name="w"),
        (
            "Node 'w' has the operator Wavelet, which is not supported; export the model with operators of "
            "the ONNX standard, or give its weights as arrays (docs/guides/bring_a_model.md)."
        ),
    ),
    (
        lambda b: b.op("QLinearWhere", "x", name="q", domain="com.microsoft"),
        (
            "Node 'q' has the operator com.microsoft.QLinearWhere, which is not supported; let the "
            "quantiser write the QDQ format instead of operators of its own."
        ),
    ),
    (
        lambda b: b.op("Softmax", "x", axis=0, name="soft"),
        "Node 'soft' (Softmax) has an axis that is not supported over an input of shape (2, 6, 6).",
    ),
    (
        lambda b: b.op("Celu", "x", alpha=0.0, name="c"),
        "Node 'c' (Celu) has alpha = 0, by which it divides.",
    ),
    (
        lambda b: b.op("Gelu", "x", approximate="fine", name="g"),
        "Node 'g' (Gelu) has approximate = 'fine', supported are 'none' and 'tanh'.",
    ),
    (
        lambda b: b.op("Pow", "x", b.constant([1.0, 2.0]), name="p"),
        "Node 'p' (Pow) is supported only with one exponent.",
    ),
    (
        lambda b: b.op("PRelu", "x", b.constant(["a"], np.object_), name="p"),
        "Node 'p' (PRelu) needs a numeric constant as its slope.",
    ),
    (
        lambda b: b.op("Split", "x", axis=0, name="s"),
        "Node 's' (Split) splits the batch; supported are axes behind it.",
    ),
    (
        lambda b: b.op("Split", "x", axis=1, split=[1], name="s"),
        "Node 's' (Split) splits 2 elements into parts of [1].",
    ),
    (
        lambda b: b.op("Gather", "x", b.constant([2], np.int64), axis=1, name="g"),
        "Node 'g' (Gather) reads an element beyond the 2 of its input.",
    ),
    (
        lambda b: b.op("Upsample", "x", b.constant([1.0, 1.0, 1.5, 2.0]), name="u", mode="linear"),
        "Node 'u' (Upsample) is supported only as a repetition of elements.",
    ),
    (
        lambda b: b.op("Slice", "x", *(b.constant([n], np.int64) for n in (3, 3, 2)), name="s"),
        "Node 's' (Slice) leaves nothing of its input.",
    ),
    (
        lambda b: b.op("Pad", "x", b.constant([0, 0, 1], np.int64), name="p"),
        "Node 'p' (Pad) has pads (0, 0, 1), not 8 integers.",
    ),
    (
        lambda b: b.op("Pad", "x", b.constant([0, 0, -9, 1] * 2, np.int64), name="p"),
        "Node 'p' (Pad) pads an axis of 6 elements by -9 and -9 in mode 'constant'.",
    ),
    (
        lambda b: b.op("ReduceMean", "x", axes=[0, 1], name="m"),
        "Node 'm' (ReduceMean) reduces the batch; export the model without it.",
    ),
    (
        lambda b: b.op("ReduceMean", "x", axes=[9], name="m"),
        "Node 'm' (ReduceMean) has the axes (9,), which are not integers from -4 to 3.",
    ),
    (
        lambda b: b.op("Unsqueeze", "x", axes=[0], name="s"),
        "Node 's' (Unsqueeze) adds the axes (0,); supported are axes behind the batch.",
    ),
    (
        lambda b: b.op("Concat", "x", "x", axis=0, name="c"),
        "Node 'c' (Concat) joins samples of the batch.",
    ),
    (
        lambda b: b.op("Concat", "x", b.op("Flatten", "x"), axis=1, name="c"),
        (
            "Node 'c' (Concat) joins tensors of shapes (2, 6, 6), (72,) along axis 0; give it tensors whose "
            "other axes agree."
        ),
    ),
    (
        lambda b: b.op("Max", "x", b.constant([1.0, 2.0]), name="m"),
        (
            "Node 'm' (Max) has a constant of shape (2,) on an input of shape (2, 6, 6), over which it "
            "cannot be spread; give it one value for each channel."
        ),
    ),
    (
        lambda b: b.op("Reshape", "x", b.op("ConstantOfShape", b.constant([2**40], np.int64), name="k")),
        (
            "Node 'k' (ConstantOfShape) writes a constant of shape [1099511627776], above the limit of "
            "134217728 elements."
        ),
    ),
    (
        lambda b: b.op(
            "Reshape", "x", b.op("Concat", b.op("Shape", "x"), b.constant([1], np.int64), axis=3, name="k")
        ),
        "Node 'k' (Concat) does not fit the shape of its constant.",
    ),
    (
        lambda b: b.conv("x", np.full((2, 2, 3, 3), np.nan)),
        "Tensor 'c0' has NaN or infinite values; train the model again.",
    ),
    (
        lambda b: b.op("Add", "x", b.constant(np.inf, name="bias")),
        "Tensor 'bias' has NaN or infinite values; train the model again.",
    ),
    (
        lambda b: b.op("Add", "x", b.constant(np.arange(5.0))),
        (
            "Node 'add0' (Add) has a constant of shape (5,) on an input of shape (2, 6, 6), over which it "
            "cannot be spread; give it one value for each channel."
        ),
    ),
    *(
        (
            lambda b, op=op: b.op(op, "x", "q"),
            (
                f"Node '{op.lower()}0' ({op}) reads tensor 'q', which the file does not hold; export the "
                "model again, with its weights."
            ),
        )
        for op in ("Add", "Conv", "Gemm", "MatMul", "Reshape")
    ),
    (
        lambda b: b.op("Concat", "x", "x", axis=9),
        "Node 'concat0' (Concat) has axis = 9 for a tensor of 4 axes; export it again.",
    ),
    (
        lambda b: b.op("Div", "x", b.constant(0.0)),
        "Node 'div0' (Div) divides by zero.",
    ),
    (lambda b: b.op("Add", "x"), "Node 'add0' (Add) must have two inputs, not 1."),
    (
        lambda b: b.op("Reshape", "x", b.constant([0, 5, -1], np.int64)),
        "Node 'reshape0' (Reshape) reshapes (N, 2, 6, 6) to [0, 5, -1] and does not keep the batch.",
    ),
    (
        lambda b: b.op("Reshape", "x", b.constant([0.0, 72.0])),
        "Node 'reshape0' (Reshape) needs a constant list of integers as its shape.",
    ),
    (
        lambda b: b.op("MaxPool", "x", kernel_shape=[2]),
        "Node 'maxpool0' (MaxPool) has the attribute kernel_shape = (2,), not 2 integers.",
    ),
    (
        lambda b: b.op("MaxPool", "x", kernel_shape=[2, 2], pads=[2, 0, 0, 0]),
        "Node 'maxpool0' (MaxPool) has pads that are not smaller than its kernel.",
    ),
    (
        lambda b: b.op("MaxPool", "x", kernel_shape=[7, 2]),
        "Node 'maxpool0' (MaxPool) has a kernel larger than its padded input of shape (2, 6, 6).",
    ),
    (
        lambda b: b.op("MaxPool", "x", kernel_shape=[2, 2], dilations=[6, 1], name="m"),
        "Node 'm' (MaxPool) has a window outside its input of 6 elements along one axis.",
    ),
    (
        lambda b: b.op("MaxPool", "x", kernel_shape=[2, 2], dilations=[0, 1], name="m"),
        "Node 'm' (MaxPool) has a kernel, stride or dilation below 1 or a negative pad.",
    ),
    (
        lambda b: b.op("MaxPool", "x", kernel_shape=[2, 2], strides=[0, 1], dilations=[2, 1], name="m"),
        "Node 'm' (MaxPool) has a kernel, stride or dilation below 1 or a negative pad.",
    ),
    (
        lambda b: b.conv("x", np.ones((2, 2, 3, 3)), strides=[0, 1]),
        "Node 'conv0' (Conv) has a kernel, stride or dilation below 1 or a negative pad.",
    ),
    (
        lambda b: b.conv("x", np.ones((2, 3, 3, 3))),
        (
            "Node 'conv0' (Conv) has weights of shape (2, 3, 3, 3) in 1 groups for an input of shape "
            "(2, 6, 6); give it weights of shape (2, 2, 3, 3)."
        ),
    ),
    (
        lambda b: b.conv("x", np.ones((3, 2, 3, 3)), group=2),
        (
            "Node 'conv0' (Conv) has weights of shape (3, 2, 3, 3) in 2 groups for an input of shape "
            "(2, 6, 6); give it groups that divide its 2 inputs and 3 outputs."
        ),
    ),
    (
        lambda b: b.conv("x", np.ones((2, 2, 3, 3)), pads=[2**19] * 4, name="c"),
        (
            "Node 'c' (Conv) has an output of shape (2, 1048580, 1048580), "
            "above the limit of 134217728 elements."
        ),
    ),
    (
        lambda b: b.conv("x", np.ones((2, 2, 3, 3)), auto_pad="ODD"),
        "Node 'conv0' (Conv) has auto_pad = 'ODD', which is not supported.",
    ),
    (
        lambda b: b.conv("x", np.ones((2, 2, 3, 3)), kernel_shape=[2, 2]),
        "Node 'conv0' (Conv) has kernel_shape (2, 2) but weights of shape (2, 2, 3, 3).",
    ),
    (
        lambda b: b.conv("x", np.ones((2, 2))),
        (
            "Node 'conv0' (Conv) needs numbers with 4 dimensions as input 1, not float32 of shape (2, 2); "
            "export it again."
        ),
    ),
    (
        lambda b: b.op("Conv", "x", "x"),
        (
            "Node 'conv0' (Conv) reads tensor 'x' where a constant is needed; export the model with its "
            "weights."
        ),
    ),
    (
        lambda b: b.op("Conv", b.constant(1.0), b.constant(np.ones((1, 1, 1, 1)))),
        (
            "Node 'conv0' (Conv) reads the constant 'c0' where an activation is needed; let what is computed "
            "from the input stand there."
        ),
    ),
    (
        lambda b: b.conv("x", np.ones((5, 2, 3, 3)), np.ones(6), name="c"),
        "Node 'c' (Conv) has a bias of shape (6,) and weights for 5 outputs; give each output one.",
    ),
    (
        lambda b: b.dense(b.op("Flatten", "x"), np.ones((3, 72)), np.ones(4), name="g"),
        "Node 'g' (Gemm) has a bias of shape (4,) and weights for 3 outputs; give each output one.",
    ),
    (
        lambda b: b.dense(b.op("Flatten", "x"), np.ones((3, 71))),
        (
            "Node 'gemm1' (Dense) has weights for 71 features and an input of shape (72,); give each output "
            "72 weights."
        ),
    ),
    (
        lambda b: b.op("Relu", "x", alpha=1.0),
        "Node 'relu0' (Relu) has the attribute 'alpha', which is not supported.",
    ),
    (
        lambda b: b.op("Cast", b.constant(1.0), to=TensorProto.STRING),
        "Node 'cast0' (Cast) casts to the ONNX type 8, which is not supported.",
    ),
    (
        lambda b: b.op("Reshape", b.constant(1.0), b.constant([7], np.int64)),
        "Node 'reshape0' (Reshape) does not fit the shape of its constant.",
    ),
    (
        lambda b: b.op(
            "BatchNormalization", "x", *(b.constant(np.ones(2)) for _ in range(4)), training_mode=1
        ),
        (
            "Node 'batchnormalization0' (BatchNormalization) is in training mode; export the model in "
            "evaluation mode."
        ),
    ),
    (
        lambda b: b.op(
            "BatchNormalization", "x", *(b.constant(np.ones(2)) for _ in range(4)), outputs=3, name="bn"
        ),
        "Node 'bn' (BatchNormalization) has training outputs; export the model in evaluation mode.",
    ),
    (
        lambda b: b.op("BatchNormalization", "x", *(b.constant(-np.ones(2)) for _ in range(4))),
        "Node 'batchnormalization0' (BatchNormalization) has a variance plus epsilon that is not above zero.",
    ),
    (
        lambda b: b.op("BatchNormalization", "x", *(b.constant(np.ones(3)) for _ in range(4)), name="bn"),
        (
            "Node 'bn' (BatchNormalization) has scale of shape (3,) for an input of shape (2, 6, 6); give it "
            "one value for each channel."
        ),
    ),
    (
        lambda b: b.op("Dropout", "x", b.constant(0.5), b.constant(True, np.bool_)),
        "Node 'dropout0' (Dropout) is in training mode; export the model in evaluation mode.",
    ),
    (lambda b: b.op("Clip", "x", b.constant([0.0, 1.0])), "Node 'clip0' (Clip) needs one number as min."),
    (
        lambda b: b.op("Clip", "x", b.constant(np.nan)),
        "Node 'clip0' (Clip) has nan as min, which is not a number.",
    ),
]


@pytest.mark.parametrize(("build", "message"), MESSAGES, ids=[text[:50] for _, text in MESSAGES])
def test_unsupported_node_is_named(build: Build, message: str) -> None:
    b = ModelBuilder((2, 6, 6))
    with pytest.raises(UnsupportedModelError) as error:
        b.network(build(b))
    assert str(error.value) == message
