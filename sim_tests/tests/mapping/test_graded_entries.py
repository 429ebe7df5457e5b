# SPDX-License-Identifier: Apache-2.0
"""Where an ordinary network enters the chip: behind what no neuron computes, wherever that leaves least."""

from collections.abc import Callable

import numpy as np
import pytest

from mapping.codes.choice import code_of
from mapping.codes.convert import convert
from mapping.errors import UnsupportedModelError
from mapping.model.evaluate import infer
from mapping.model.network import Network
from mapping.spiking.network import SpikingNetwork
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.robustness.ways_out import assert_goes
from sim_tests.tests.mapping.test_graded_operators import assert_image_equals, converted

STEPS, WIDTH, CELLS = 4, 6, 5


def recurrent(b: ModelBuilder) -> str:
    """Return what an LSTM, as PyTorch writes it, gives for the last of its steps."""
    weights = (b.constant(b.rng.normal(size=(1, 4 * CELLS, size))) for size in (WIDTH, CELLS))
    y = b.op("Transpose", "x", perm=[1, 0, 2])
    y = b.op("LSTM", y, *weights, hidden_size=CELLS, name="cells")
    y = b.op("Transpose", b.op("Squeeze", y, b.constant([1], np.int64)), perm=[1, 0, 2])
    return b.op("Gather", y, b.constant(-1, np.int64), axis=1)


def normed(b: ModelBuilder, x: str) -> str:
    return b.op("LayerNormalization", x, b.constant(np.ones(WIDTH)), axis=-1)


def layer(b: ModelBuilder, x: str, rows: int, columns: int, name: str) -> str:
    return b.op("MatMul", x, b.constant(b.rng.normal(size=(columns, rows))), name=name)


def block(b: ModelBuilder) -> str:
    """Return a block of a transformer: attention and two dense layers, each behind a norm and with a skip."""
    x = normed(b, "x")
    seen = b.op("Softmax", b.op("MatMul", x, b.op("Transpose", x, perm=[0, 2, 1]), name="qk"), axis=-1)
    x = b.op("Add", "x", b.op("MatMul", seen, x, name="av"))
    y = b.op("Relu", layer(b, normed(b, x), 20, WIDTH, "wide"))
    return b.op("Add", x, layer(b, y, WIDTH, 20, "narrow"))


def network(build: Callable[[ModelBuilder], str], *, head: int = 0) -> Network:
    b = ModelBuilder((STEPS, WIDTH), opset=17, seed=2)
    y = build(b)
    return b.network(b.dense(y, b.rng.normal(size=(3, head)), name="head") if head else y)


def host_of(spiking: SpikingNetwork) -> list[str]:
    return [layer.name for layer in spiking.host]


def test_dense_layer_behind_a_recurrent_one_is_on_the_chip() -> None:
    spiking = converted(network(recurrent, head=CELLS))
    steps = STEPS * 4 * CELLS * (WIDTH + CELLS)
    assert [layer.name for layer in spiking.layers] == ["head"]
    assert "cells" in host_of(spiking)
    assert spiking.host_share == steps / (steps + 3 * CELLS)
    assert_image_equals(spiking)


def test_layers_between_two_parts_of_a_block_are_on_the_chip() -> None:
    spiking = converted(network(block))
    pairs, dense = 2 * STEPS * STEPS * WIDTH, 2 * STEPS * WIDTH * 20
    assert [layer.name for layer in spiking.layers] == ["wide", "narrow"]
    assert {"qk", "av"} <= set(host_of(spiking))
    assert spiking.host_share == pairs / (pairs + dense)
    assert_image_equals(spiking)


def test_network_without_a_layer_for_the_chip_names_what_stands_in_its_place() -> None:
    with pytest.raises(UnsupportedModelError) as error:
        converted(network(recurrent))
    assert str(error.value) == (
        "No layer of 'test' can run on the chip: node 'cells' cannot because no neuron computes LSTM; put "
        "convolutions or dense layers in its place or behind it (docs/reference/operators.md lists what the "
        "chip has)."
    )


@pytest.mark.parametrize(
    "mended",
    [
        lambda: network(recurrent, head=CELLS),
        lambda: network(lambda b: b.op("Flatten", "x"), head=STEPS * WIDTH),
    ],
    ids=["behind it", "in its place"],
)
def test_network_that_is_as_the_sentence_says_is_converted(mended: Callable[[], Network]) -> None:
    way = "put convolutions or dense layers in its place or behind it"
    assert_goes(way, lambda: converted(network(recurrent)), lambda: converted(mended()))


def test_exact_code_names_what_stands_in_place_of_layers() -> None:
    with pytest.raises(UnsupportedModelError) as error:
        convert(network(recurrent))
    assert str(error.value) == (
        "The model has no convolution and no dense layer, so nothing can run on the chip: no neuron computes "
        "node 'cells' (LSTM); put convolutions or dense layers in its place or behind it."
    )
    assert code_of(network(recurrent, head=CELLS)).name == "graded"


@pytest.mark.parametrize(
    ("equation", "sizes", "matrix", "layer"),
    [
        ("bi,oi->bo", (5,), (3, 5), "Dense"),
        ("bi,io->bo", (5,), (5, 3), "Dense"),
        ("btd,de->bte", (4, 5), (5, 3), "Conv"),
        ("bct,oc->bot", (4, 5), (3, 4), "Conv"),
        ("bchw,wk->bchk", (4, 2, 3), (3, 6), "Conv"),
        ("bti,oi->bot", (4, 5), (3, 5), "Foreign"),
        ("bhqd,hkd->bhqk", (2, 3, 4), (2, 5, 4), "Foreign"),
        ("bii,oi->bo", (4, 4), (3, 4), "Foreign"),
    ],
)
def test_einsum_with_a_matrix_is_a_layer(
    equation: str, sizes: tuple[int, ...], matrix: tuple[int, ...], layer: str
) -> None:
    b = ModelBuilder(sizes)
    weight = b.rng.normal(size=matrix).astype(np.float32)
    x = b.rng.normal(size=(4, *sizes))
    network = b.network(b.op("Einsum", "x", b.constant(weight), equation=equation))
    assert layer in {node.op for node in network.nodes}
    wanted = np.einsum(equation, x, weight.astype(np.float64))
    assert np.allclose(infer(network, x).reshape(wanted.shape), wanted, rtol=1e-12, atol=1e-12)


def test_einsum_may_read_its_matrix_first() -> None:
    b = ModelBuilder((5,))
    weight, x = b.rng.normal(size=(3, 5)).astype(np.float32), b.rng.normal(size=(4, 5))
    network = b.network(b.op("Einsum", b.constant(weight), "x", equation="oi,bi->bo"))
    assert [node.op for node in network.nodes] == ["Dense"]
    assert np.allclose(infer(network, x), x @ weight.T.astype(np.float64), rtol=1e-12, atol=1e-12)


def test_einsum_with_more_axes_than_letters_is_refused() -> None:
    b = ModelBuilder((4, 5))
    y = b.op("Einsum", "x", b.constant(np.ones((3, 5))), equation="bi,oi->bo", name="n")
    with pytest.raises(UnsupportedModelError, match=r"^Node 'n' \(Einsum\) does not fit its inputs: "):
        b.network(y)
