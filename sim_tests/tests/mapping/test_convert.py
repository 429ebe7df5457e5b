# SPDX-License-Identifier: Apache-2.0
"""The spiking network equals the float64 evaluation on every neuron; its checkers catch faults."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mapping.codes.convert import convert
from mapping.errors import UnsupportedModelError
from mapping.model.evaluate import infer
from mapping.spiking.network import Pool, SpikingLayer, SpikingNetwork
from mapping.spiking.quantisers import ALWAYS, NEVER, Lists
from mapping.spiking.simulate import compare, decode, encode, simulate
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.spiking_models import (
    CONVS,
    POOLS,
    SHAPE,
    assert_equal,
    images,
    mlp,
    naive_counts,
    one_conv,
    pooled_network,
)


@pytest.mark.parametrize("attributes", CONVS, ids=str)
def test_conv_equals_float64_on_every_neuron(attributes: dict[str, Any]) -> None:
    spiking = one_conv(**attributes)
    assert [layer.name for layer in spiking.layers] == ["conv"]
    assert spiking.layers[0].exhaustive
    assert_equal(spiking, images())


@pytest.mark.parametrize("attributes", POOLS, ids=str)
@pytest.mark.parametrize("times", [1, 2])
def test_max_pool_equals_float64_on_every_neuron(attributes: dict[str, Any], times: int) -> None:
    spiking = pooled_network(attributes, times)
    assert len(spiking.layer("fc").only.pools) == times
    assert_equal(spiking, images())


def test_two_different_pools_keep_their_order() -> None:
    b = ModelBuilder(SHAPE)
    y = b.op("MaxPool", b.quantise("x"), kernel_shape=[2, 1], strides=[2, 1])
    y = b.op("Flatten", b.op("MaxPool", y, kernel_shape=[3, 3], strides=[1, 2], pads=[1, 0, 0, 1]))
    spiking = convert(b.network(b.head(b.quantise(b.dense(y, b.ternary(5, 24), name="fc")), 5)))
    assert [pool.kernel for pool in spiking.layer("fc").only.pools] == [(2, 1), (3, 3)]
    assert_equal(spiking, images())


def test_reshape_between_two_pools_stays_on_the_host() -> None:
    b = ModelBuilder(SHAPE)
    y = b.op("MaxPool", b.quantise("x"), kernel_shape=[2, 2], strides=[2, 2])
    y = b.op("MaxPool", b.op("Reshape", y, b.constant([0, 4, 4, 2], np.int64)), kernel_shape=[2, 2])
    y = mlp(b, b.quantise(b.dense(b.op("Flatten", y), b.ternary(5, 12), name="fc")), [5, 4])
    spiking = convert(b.network(b.head(y, 4)))
    assert len(spiking.layers) == 1
    assert "fc" in spiking.host_layers
    assert_equal(spiking, images())


def test_structure_of_a_pooled_network() -> None:
    spiking = pooled_network(POOLS[1])
    layer = spiking.layer("fc")
    assert layer.only.pools == (Pool(kernel=(3, 3), stride=(2, 2), pads=(1, 1, 1, 1)),)
    assert (layer.kind, layer.only.name, layer.only.shape, layer.only.input_shape) == (
        "dense",
        "conv",
        (3, 8, 8),
        (48,),
    )
    assert (layer.only.high, layer.levels, layer.scale) == (4, 4, 0.5)
    assert (spiking.input_levels, spiking.input_scale, spiking.outputs) == (4, 0.5, ("fc",))
    assert spiking.host_layers == ("floor2", "gemm19")
    assert spiking.host[0].reason == "it quantises the input"
    assert not layer.only.weight.flags.writeable
    assert not layer.edges.flags.writeable


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize(("k", "bound"), [(0, 1), (0, 4), (1, 2), (2, 1), (3, 4), (-1, 8)])
def test_dense_equals_float64_for_every_quantisation(k: int, bound: float, per_channel: bool) -> None:
    b = ModelBuilder((10,), seed=k + 7)
    y = mlp(b, b.quantise("x", k, bound), [10, 12, 9, 5], per_channel=per_channel, k=k, bound=bound)
    spiking = convert(b.network(b.head(y, 5)))
    assert {layer.levels for layer in spiking.layers} == {int(bound * 2**k)}
    assert len(spiking.layers) == 3
    assert_equal(spiking, images((10,), 300))


def test_gemm_alpha_bias_and_chain_of_operations_are_folded() -> None:
    b = ModelBuilder((10,))
    weight, bias = b.constant(b.ternary(10, 6, per_channel=False)), b.constant(b.rng.normal(size=6))
    y = b.op("Gemm", b.quantise("x"), weight, bias,
             alpha=-0.7, beta=0.3)  # fmt: skip
    y = b.op("Add", b.op("Mul", y, b.constant(b.rng.normal(size=6))), b.constant(0.25))
    y = b.quantise(b.clip(b.op("Relu", b.norm(y, 6)), 0.1, 1.3))
    spiking = convert(b.network(b.head(y, 6)))
    assert len(spiking.layers) == 1
    assert_equal(spiking, images((10,), 300))


def test_negative_scale_negates_the_row_and_zero_scale_is_constant() -> None:
    layer = one_conv().layers[0]
    assert set(np.unique(layer.edges[1])) <= {ALWAYS, NEVER}
    assert (np.diff(layer.edges, axis=1) >= 0).all()


def test_dead_channel_has_no_finite_threshold() -> None:
    b = ModelBuilder((6,))
    weight = b.ternary(4, 6)
    weight[2] = 0
    spiking = convert(
        b.network(b.head(b.quantise(b.dense(b.quantise("x"), weight, [0.1, 0.2, 1.3, 0.4])), 4))
    )
    assert spiking.layers[0].edges[2].tolist() == [ALWAYS, ALWAYS, ALWAYS, NEVER]
    assert_equal(spiking, images((6,)))


def test_thresholds_round_halves_up() -> None:
    b = ModelBuilder((2,))
    spiking = convert(b.network(b.head(b.quantise(b.dense(b.quantise("x"), [[0.5, 0.5]])), 1)))
    assert spiking.layers[0].edges.tolist() == [[1, 3, 5, 7]]  # sums of quarters reach 0.25, 0.75, 1.25, 1.75


def branches() -> SpikingNetwork:
    """One activation with three readers, one sum with two activations, and a decoder that reads the input."""
    b = ModelBuilder(SHAPE)
    start = b.quantise("x")
    y = b.quantise(b.conv(start, b.ternary(4, 2, 3, 3), pads=[1, 1, 1, 1], name="a"))
    left = b.quantise(b.conv(y, b.ternary(3, 4, 3, 3), strides=[2, 2], name="left"))
    total = b.conv(
        b.op("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]), b.ternary(3, 4, 1, 1), name="both"
    )
    fine, coarse = b.quantise(b.norm(total, 3), 2, 2.0), b.quantise(total, 0, 3.0)
    parts = [b.op("Flatten", tensor) for tensor in (start, y, left, fine, coarse)]
    heads = [b.head(part, b.network(part).shapes[part][0]) for part in parts]
    result = heads[0]
    for head in heads[1:]:
        result = b.op("Add", result, head)
    return convert(b.network(result))


def test_several_consumers_equal_float64_on_every_neuron() -> None:
    spiking = branches()
    assert [layer.name.split(":")[0] for layer in spiking.layers] == ["a", "left", "both", "both"]
    assert len({layer.name for layer in spiking.layers}) == 4
    assert spiking.outputs == tuple(layer.name for layer in spiking.layers)
    assert spiking.decoder_reads_input
    assert_equal(spiking, images())


def test_output_that_is_an_activation_needs_no_decoder() -> None:
    b = ModelBuilder((6,))
    spiking = convert(b.network(mlp(b, b.quantise("x"), [6, 5])))
    assert spiking.outputs == (spiking.layers[0].name,)
    assert_equal(spiking, images((6,)))


def test_float_layer_in_the_middle_leaves_the_longest_run() -> None:
    b = ModelBuilder((6,))
    y = mlp(b, b.quantise("x"), [6, 5])
    y = b.quantise(b.dense(y, b.rng.normal(size=(5, 5)), name="float"))
    y = mlp(b, y, [5, 6, 7])
    spiking = convert(b.network(b.head(y, 7)))
    assert [layer.output_shape for layer in spiking.layers] == [(6,), (7,)]
    assert spiking.host_layers == ("gemm5", "float", spiking.network.nodes[-2].name)
    assert tuple(layer.reason for layer in spiking.host) == (
        "it lies outside the run of layers that leaves the least to the host",
        "its weights are not -a, 0 and a with one a per output channel",
        "its weights are not -a, 0 and a with one a per output channel",
    )
    assert_equal(spiking, images((6,)))


def test_first_of_two_equal_runs_is_taken() -> None:
    b = ModelBuilder((6,))
    y = mlp(b, b.quantise("x"), [6, 5])
    y = mlp(b, b.quantise(b.dense(y, b.rng.normal(size=(4, 5)))), [4, 3])
    spiking = convert(b.network(b.head(y, 3)))
    assert [layer.output_shape for layer in spiking.layers] == [(5,)]
    assert_equal(spiking, images((6,)))


def test_thresholds_of_a_wide_layer_are_proven_on_a_sample() -> None:
    b = ModelBuilder((3000,))
    weight = np.sign(b.rng.normal(size=(2, 3000))) * 0.001
    y = b.quantise(b.norm(b.dense(b.quantise("x", 6, 2.0), weight), 2))
    layer = convert(b.network(b.head(y, 2))).layers[0]
    assert not layer.exhaustive
    assert layer.sums_checked > 2 * 4000


def test_overflowing_parameters_are_refused() -> None:
    b = ModelBuilder((6,))
    y = b.dense(b.quantise("x"), b.ternary(5, 6), name="big")
    for value in [3e38] * 9 + [0.0]:
        y = b.op("Mul", y, b.constant(value))
    with pytest.raises(UnsupportedModelError) as error:
        convert(b.network(b.head(b.quantise(y), 5)))
    assert str(error.value) == (
        "No layer can run on the chip: layer 'big' cannot because its parameters are so large that its "
        "output overflows; scale its parameters down."
    )


def with_layer(spiking: SpikingNetwork, layer: SpikingLayer) -> SpikingNetwork:
    return replace(spiking, layers=tuple(layer if old.name == layer.name else old for old in spiking.layers))


@pytest.mark.parametrize("change", [-1, 1])
@pytest.mark.parametrize("seed", range(3))
def test_compare_catches_a_threshold_off_by_one(seed: int, change: int) -> None:
    spiking = one_conv(pads=[1, 1, 1, 1])
    layer, rng = spiking.layers[0], np.random.default_rng(seed)
    finite = np.argwhere(np.abs(layer.edges) < 10)
    thresholds = layer.edges.copy()
    thresholds[tuple(finite[rng.integers(len(finite))])] += change
    result = compare(
        with_layer(spiking, replace(layer, quantiser=Lists(thresholds=thresholds))), images(n=40)
    )
    assert result.differences > 0
    assert result.first is not None
    assert result.first[0] == "conv"


@pytest.mark.parametrize("seed", range(3))
def test_compare_catches_a_flipped_weight(seed: int) -> None:
    spiking = one_conv(pads=[1, 1, 1, 1])
    layer, rng = spiking.layers[0], np.random.default_rng(seed)
    candidates = np.argwhere(layer.only.weight[[0, 2, 3, 4, 5]] != 0)
    at = tuple(candidates[rng.integers(len(candidates))] + [0, 0, 0, 0])
    at = ((0, 2, 3, 4, 5)[at[0]], *at[1:])
    weight = layer.only.weight.copy()
    weight[at] = -weight[at]
    assert (
        compare(
            with_layer(spiking, replace(layer, sources=(replace(layer.only, weight=weight),))), images(n=40)
        ).differences
        > 0
    )


def test_compare_catches_a_wrong_pool() -> None:
    spiking = pooled_network(POOLS[1])
    layer = spiking.layer("fc")
    pool = replace(layer.only.pools[0], pads=(0, 0, 2, 2))
    assert (
        compare(
            with_layer(spiking, replace(layer, sources=(replace(layer.only, pools=(pool,)),))), images(n=40)
        ).differences
        > 0
    )


def test_decode_of_encoded_counts_is_the_network_output() -> None:
    spiking, x = branches(), images()
    counts = simulate(spiking, encode(spiking, x))
    assert (decode(spiking, counts, x) == infer(spiking.network, x)).all()


def test_convert_twice_gives_the_same() -> None:
    first, second = one_conv().layers[0], one_conv().layers[0]
    assert (first.edges == second.edges).all()
    assert (first.only.weight == second.only.weight).all()


REFUSED: list[tuple[Callable[[ModelBuilder], str], str, str]] = [
    (
        lambda b: b.head("x", 6),
        "gemm0",
        "its weights are not -a, 0 and a with one a per output channel; train it with ternary weights",
    ),
    (
        lambda b: b.quantise(
            b.dense(
                b.quantise("x"),
                [[0.3, np.nextafter(np.float32(0.3), np.float32(1)), 0, -0.3, 0, 0.3]],
                name="fc",
            )
        ),
        "fc",
        "its weights miss -a, 0 and a by up to 1e-07 a; store the ternary values themselves",
    ),
    (
        lambda b: b.quantise(b.dense("x", b.ternary(5, 6), name="fc")),
        "fc",
        "its input is not a quantised activation; put a quantiser before it",
    ),
    (
        lambda b: b.op("Relu", b.dense(b.quantise("x"), b.ternary(5, 6), name="fc")),
        "fc",
        "its output does not end in a quantised activation; put a quantiser directly behind it",
    ),
    (
        lambda b: b.quantise(b.op("MatMul", b.quantise("x"), b.constant(thirds(b), np.float64), name="fc")),
        "fc",
        "its weights have too many digits for exact sums in float64; store its weights as float32",
    ),
]


def thirds(b: ModelBuilder) -> NDArray[np.float64]:
    return np.asarray(b.rng.integers(-1, 2, (6, 5)) / 3)


@pytest.mark.parametrize(("build", "layer", "reason"), REFUSED)
def test_model_without_layer_for_the_chip_is_refused(
    build: Callable[[ModelBuilder], str], layer: str, reason: str
) -> None:
    b = ModelBuilder((6,))
    with pytest.raises(UnsupportedModelError) as error:
        convert(b.network(build(b)))
    assert str(error.value) == (f"No layer can run on the chip: layer {layer!r} cannot because {reason}.")


def test_model_without_any_layer_is_refused() -> None:
    b = ModelBuilder((6,))
    with pytest.raises(UnsupportedModelError) as error:
        convert(b.network(b.op("Relu", "x")))
    assert str(error.value) == (
        "The model has no convolution and no dense layer, so nothing can run on the chip; "
        "give a model with such layers."
    )


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (np.zeros((1, 3), np.int32), "counts must be integers of shape (N, 6), not (1, 3)"),
        (np.full((1, 6), 5), "counts must be in 0..4, not 5..5"),
    ],
)
def test_simulate_refuses_unusable_counts(counts: NDArray[np.int32], message: str) -> None:
    b = ModelBuilder((6,))
    spiking = convert(b.network(mlp(b, b.quantise("x"), [6, 5])))
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        simulate(spiking, counts)


def test_decode_refuses_missing_counts() -> None:
    with pytest.raises(ValueError, match=r"^counts must have the layer 'conv', not only none$"):
        decode(one_conv(), {}, np.zeros((1, *SHAPE)))


def test_unknown_layer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^layer must be one of conv, not 'q'$"):
        one_conv().layer("q")


@st.composite
def small_networks(draw: st.DrawFn) -> tuple[SpikingNetwork, NDArray[np.float64]]:
    """Random networks of one to three convolutions with pools and a dense layer, with random inputs."""
    seed = draw(st.integers(0, 2**32 - 1))
    b = ModelBuilder(SHAPE, seed=seed)
    shape: tuple[int, ...] = SHAPE
    y = b.quantise("x", draw(st.integers(0, 2)), 2.0)
    for _ in range(draw(st.integers(1, 3))):
        groups = draw(st.sampled_from([1, 2] if shape[0] % 2 == 0 else [1]))
        kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
        out = groups * draw(st.integers(1, 3))
        pads = draw(st.lists(st.integers(0, 2), min_size=4, max_size=4))
        strides = draw(st.lists(st.integers(1, 2), min_size=2, max_size=2))
        weight = b.ternary(out, shape[0] // groups, *kernel, per_channel=draw(st.booleans()))
        bias = b.rng.normal(size=out) if draw(st.booleans()) else None
        if min(shape[1:]) < 3:
            break
        y = b.conv(y, weight, bias, pads=pads, strides=strides, group=groups)
        if draw(st.booleans()) and b.network(y).shapes[y][1] > 2:
            y = b.op("MaxPool", y, kernel_shape=[2, 1])
        y = b.norm(y, out) if draw(st.booleans()) else y
        y = b.quantise(y, draw(st.integers(0, 2)), draw(st.sampled_from([1.0, 2.0, 3.0])))
        shape = b.network(y).shapes[y]
        if draw(st.booleans()) and min(shape[1:]) > 2:
            y = b.op("MaxPool", y, kernel_shape=[2, 2], strides=draw(st.sampled_from([[1, 1], [2, 2]])))
            shape = b.network(y).shapes[y]
    flat = b.op("Flatten", y)
    features = int(np.prod(shape))
    y = b.quantise(b.norm(b.dense(flat, b.ternary(4, features)), 4))
    return convert(b.network(b.head(y, 4))), b.rng.normal(0.5, 1.5, size=(3, *SHAPE))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(small_networks())
def test_random_network_equals_float64_on_every_neuron(case: Any) -> None:
    spiking, x = case
    assert_equal(spiking, x)
    counts = simulate(spiking, encode(spiking, x))
    for layer in spiking.layers:
        assert (naive_counts(layer, counts[layer.only.name]) == counts[layer.name].reshape(3, -1)).all()
