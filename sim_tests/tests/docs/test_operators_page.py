# SPDX-License-Identifier: Apache-2.0
"""The page of the operators lists all that is understood, with what the importer makes of each."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emu.spec import preset
from mapping.codes.graded.convert import convert_graded
from mapping.codes.int8.convert import convert_int8, is_integer
from mapping.model.evaluate import needed_nodes
from mapping.model.importers.onnx_integer_sums import SUMS
from mapping.model.importers.onnx_ml import WRITTEN
from mapping.model.importers.onnx_nodes import SUPPORTED
from mapping.model.importers.onnx_qlinear import QLINEAR
from mapping.model.operations import OPERATIONS
from mapping.model.operations.integers import INTEGERS
from mapping.model.operations.operation import HOST
from mapping.spiking.network import SpikingNetwork
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.operator_estimators import ESTIMATORS
from sim_tests.generators.operator_example import SHAPE, Example
from sim_tests.generators.operator_examples import EXAMPLES
from sim_tests.operators_page import PAGE, operations_table, operators_table, page, says


def shown() -> str:
    """Return the text of the page; skip where the suite runs from an installed wheel."""
    if not Path(PAGE).is_file():
        pytest.skip("not a checkout")
    return PAGE.read_text(encoding="utf-8")


def test_page_shows_the_operators() -> None:
    text = shown()
    assert page(text) == text, "run: python -m sim_tests.operators_page"


@pytest.mark.parametrize("part", ["| `Gemm` | `Dense` |", OPERATIONS["MaxPool"].chip, "| `Conv` | `stride`:"])
def test_page_with_another_row_is_noticed(part: str) -> None:
    text = shown()
    assert part in text
    assert page(text.replace(part, "| other |")) == text


def test_every_operator_that_is_understood_has_an_example() -> None:
    assert tuple(dict.fromkeys(example.operator for example in EXAMPLES)) == SUPPORTED
    assert tuple(dict.fromkeys(example.operator for example in ESTIMATORS)) == tuple(sorted(WRITTEN))


def test_every_operation_stands_in_the_table() -> None:
    made = {op for example in EXAMPLES for op in example.becomes()}
    assert made | {"Foreign"} == set(OPERATIONS)
    assert all(f"`{op}`" in operators_table() for op in OPERATIONS)
    parameters = [op for op, record in OPERATIONS.items() if record.attributes or record.constants]
    assert operations_table().count("\n") == len(parameters) + 1


@pytest.mark.parametrize("example", [*EXAMPLES, *ESTIMATORS], ids=lambda e: f"{e.operator} {e.form}".strip())
def test_example_has_one_sentence(example: Example) -> None:
    text = says(example)
    assert text.endswith(".")
    assert ". " not in text
    if not example.becomes():
        assert text.startswith("Nothing: ")


def test_operator_of_several_operations_needs_a_note() -> None:
    example = next(example for example in EXAMPLES if example.operator == "AveragePool")
    with pytest.raises(ValueError, match=r"^AveragePool becomes 2 operations and needs a note$"):
        says(replace(example, note=""))


def test_hosts_operators_are_the_ones_expected() -> None:
    hosts = {f"{e.operator} {e.form}".strip() for e in EXAMPLES if says(e).startswith(HOST)}
    assert hosts == {
        *("Div of two activations", "Mul of two activations"),
        *("ReduceMax over other axes", "ReduceMin over other axes"),
        *("LogSoftmax elsewhere", "Softmax elsewhere"),
        *("Einsum of anything else", "QLinearMul of two activations", "QLinearSoftmax"),
    }


def on_the_host(example: Example) -> set[str]:
    """Return the operations that the host has of a network around an operator, once it is converted."""
    network = example.placed()
    if is_integer(network):
        return on_the_host_of_integers(example)
    samples = np.random.default_rng(1).normal(size=(16, *network.shapes[network.input]))
    spiking = convert_graded(network, samples, preset("medium"))
    return left_of(spiking)


def on_the_host_of_integers(example: Example) -> set[str]:
    """Return the same of a network of integers, without what brings them to the chip and back to reals."""
    b = ModelBuilder(SHAPE, opset=example.opset)
    spiking = convert_int8(b.network(example.build(b)), preset("medium"))
    return left_of(spiking) - {"ToInteger", "Mul"}


def left_of(spiking: SpikingNetwork) -> set[str]:
    prepared = spiking.network
    activations = [layer.activation for layer in spiking.layers]
    before = needed_nodes(prepared, [prepared.input], [spiking.encoder_output])
    behind = needed_nodes(prepared, [prepared.input, spiking.encoder_output, *activations], [prepared.output])
    return {node.op for node in (*before, *behind)}


NAMES = {record.name for record in INTEGERS}
FLOATS = [e for e in EXAMPLES if e.operator not in {**QLINEAR, **SUMS} and not NAMES & set(e.becomes())]
"""Operators on integers have a code of their own, with its own tests; these are the graded code's."""


@pytest.mark.parametrize("example", [*FLOATS, *ESTIMATORS], ids=lambda e: f"{e.operator} {e.form}".strip())
def test_operator_lies_where_its_row_says(example: Example) -> None:
    hosts = on_the_host(example)
    if says(example).startswith(HOST):
        assert hosts & set(example.becomes())
    else:
        assert not hosts


def test_operator_that_lies_elsewhere_is_noticed() -> None:
    """A product of two activations is the host's: a row that claimed otherwise would be found out."""
    product = next(e for e in EXAMPLES if (e.operator, e.form) == ("Mul", "of two activations"))
    assert on_the_host(product)
    assert not on_the_host(next(e for e in EXAMPLES if (e.operator, e.form) == ("Mul", "by a constant")))


def test_operator_that_only_onnx_knows_is_the_hosts() -> None:
    lrn = Example(operator="LRN", build=lambda b: b.op("LRN", "x", size=3))
    assert lrn.becomes() == ("Foreign",)
    assert "Foreign" in on_the_host(lrn)
