# SPDX-License-Identifier: Apache-2.0
"""Transposed convolutions against onnxruntime, in all forms, and on the host without a visit per element."""

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from mapping.model.evaluate import infer
from mapping.model.importers.onnx_transposed import halves
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.tests.mapping.test_importer import assert_same

FORMS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "plain": ((4, 5, 6), (3, 3, 2), {}),
    "strides": ((4, 5, 6), (3, 2, 2), {"strides": [2, 3]}),
    "strides beyond the kernel": ((4, 3, 3), (3, 1, 2), {"strides": [3, 3]}),
    "pads": ((4, 5, 6), (3, 4, 4), {"strides": [2, 2], "pads": [1, 0, 2, 1]}),
    "pads beyond the kernel": ((4, 5, 6), (3, 2, 2), {"strides": [2, 2], "pads": [3, 2, 2, 3]}),
    "output padding": ((4, 5, 6), (3, 3, 3), {"strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1]}),
    "more than is there": ((4, 3, 3), (3, 2, 2), {"strides": [3, 3], "output_padding": [2, 1]}),
    "dilations": ((4, 5, 6), (3, 3, 2), {"dilations": [2, 3]}),
    "groups": ((4, 5, 6), (3, 3, 3), {"group": 2, "strides": [2, 2]}),
    "upper": ((4, 5, 6), (3, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "lower": ((4, 5, 6), (3, 3, 3), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    "valid": ((4, 5, 6), (3, 3, 3), {"auto_pad": "VALID", "strides": [2, 2]}),
    "shape": ((4, 5, 6), (3, 3, 3), {"output_shape": [10, 12], "strides": [2, 2]}),
    "one axis": ((4, 5), (3, 3), {"strides": [2]}),
    "three axes": ((4, 3, 2, 3), (3, 2, 2, 2), {"strides": [2, 1, 2]}),
}


def built(form: str, *, bias: bool = True) -> tuple[ModelBuilder, str]:
    shape, kernel, attributes = FORMS[form]
    b = ModelBuilder(shape, seed=3)
    weight = b.constant(b.rng.normal(size=(shape[0], *kernel)))
    rows = kernel[0] * attributes.get("group", 1)
    more = [b.constant(b.rng.normal(size=rows))] if bias else []
    return b, b.op("ConvTranspose", "x", weight, *more, name="up", **attributes)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bias", [False, True])
def test_transposed_convolution_equals_onnxruntime(form: str, bias: bool) -> None:
    b, y = built(form, bias=bias)
    assert_same(b.model(y), FORMS[form][0])


def test_no_element_is_visited_alone() -> None:
    """The evaluator's own rule visits each in Python: a third of a second for a map of 8 x 32 x 32."""
    b, y = built("three axes")
    network = b.network(y)
    with patch(
        "onnx.reference.ops.op_conv_transpose.col2im_naive_implementation", side_effect=AssertionError
    ):
        infer(network, np.ones((2, 4, 3, 2, 3)))


def test_a_sample_does_not_depend_on_the_others() -> None:
    b, y = built("groups")
    x = np.random.default_rng(0).normal(size=(3, 4, 5, 6))
    network = b.network(y)
    together = infer(network, x)
    assert all((infer(network, x[at : at + 1])[0] == together[at]).all() for at in range(3))


@pytest.mark.parametrize(("upper", "wanted"), [(True, ((1,), (2,))), (False, ((2,), (1,)))])
def test_odd_pads_go_to_the_end_that_is_named(upper: bool, wanted: object) -> None:
    assert halves([3], upper=upper) == wanted
