# SPDX-License-Identifier: Apache-2.0
"""The check's index arithmetic equals loops over definitions, and it names faults planted in conversion."""

import dataclasses
import inspect
import math
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mapping import flow
from mapping.errors import MappingError
from mapping.layout import capacity, cover, crossbar, emit, route
from mapping.layout.check import check
from mapping.layout.check.layers import LayerRule, pooled_sources
from mapping.spiking import matrices
from mapping.spiking.network import Pool, SpikingLayer, SpikingNetwork
from sim_tests.generators.mapping_networks import Draft, compile_network, core_spec, random_network
from sim_tests.generators.model_builder import ModelBuilder


def naive_weights(layer: SpikingLayer) -> NDArray[np.int64]:
    """Return the weights (inputs, outputs), one multiplication of the definition after the other."""
    dense = np.zeros((math.prod(layer.only.input_shape), math.prod(layer.output_shape)), np.int64)
    if layer.kind == "dense":
        for output, row in enumerate(layer.only.weight):
            for element, weight in enumerate(row):
                dense[element, output] = weight
        return dense
    rows, fan_in, kh, kw = layer.only.weight.shape
    for o, y, x in np.ndindex(*layer.output_shape):
        output = int(np.ravel_multi_index((o, y, x), layer.output_shape))
        for c, i, j in np.ndindex(fan_in, kh, kw):
            at_y = y * layer.only.stride[0] + i * layer.only.dilation[0] - layer.only.pads[0]
            at_x = x * layer.only.stride[1] + j * layer.only.dilation[1] - layer.only.pads[1]
            if 0 <= at_y < layer.only.input_shape[1] and 0 <= at_x < layer.only.input_shape[2]:
                channel = o // (rows // layer.only.groups) * fan_in + c
                element = int(np.ravel_multi_index((channel, at_y, at_x), layer.only.input_shape))
                dense[element, output] = layer.only.weight[o, c, i, j]
    return dense


def naive_sources(layer: SpikingLayer) -> list[list[int]]:
    """Return the source elements of every input, one window of one pool after the other."""
    shape = layer.only.shape
    maps: dict[tuple[int, ...], set[int]] = {
        place: {int(np.ravel_multi_index(place, shape))} for place in np.ndindex(*shape)
    }
    for pool in layer.only.pools:
        inside, maps = maps, {}
        height, width = (max(place[axis] for place in inside) + 1 for axis in (1, 2))
        top, left, bottom, right = pool.pads
        rows = (height + top + bottom - pool.kernel[0]) // pool.stride[0] + 1
        columns = (width + left + right - pool.kernel[1]) // pool.stride[1] + 1
        for c, y, x in np.ndindex(shape[0], rows, columns):
            maps[c, y, x] = set()
            for i, j in np.ndindex(*pool.kernel):
                at = (c, y * pool.stride[0] + i - top, x * pool.stride[1] + j - left)
                maps[c, y, x] |= inside.get(at, set())
    return [sorted(members) for _, members in sorted(maps.items())]


def random_conv(seed: int) -> SpikingLayer:
    """Return a convolution with any stride, pads, dilation and groups."""
    random = np.random.default_rng(seed)
    groups = int(random.integers(1, 4))
    draft = Draft(shape=(2 * groups, int(random.integers(6, 10)), int(random.integers(6, 10))), seed=seed)
    draft.conv(
        groups * int(random.integers(1, 4)),
        (int(random.integers(1, 4)), int(random.integers(1, 4))),
        stride=(int(random.integers(1, 4)), int(random.integers(1, 4))),
        pads=(*random.integers(0, 4, 4).tolist(),),
        dilation=(int(random.integers(1, 4)), int(random.integers(1, 4))),
        groups=groups,
    )
    return draft.layers[0]


def assert_blocks(layer: SpikingLayer, random: np.random.Generator) -> None:
    """Compare blocks of any outputs, in any order, with the definition."""
    rule, dense = LayerRule(layer), naive_weights(layer)
    for size in (1, 3, dense.shape[1]):
        outputs = random.permutation(dense.shape[1])[:size]
        block = rule.block(rule.outline(outputs))
        assert np.array_equal(block.weights, dense[np.ix_(block.inputs, outputs)])
        needed = block.needed(np.arange(len(block.inputs)))
        assert set(np.flatnonzero(dense[:, outputs].any(axis=1))) == set(block.inputs[needed])
        assert (np.diff(block.inputs) > 0).all()
        assert np.array_equal(block.high, np.maximum(dense[:, outputs], 0).sum(axis=0) * layer.only.high)
        assert np.array_equal(block.low, np.minimum(dense[:, outputs], 0).sum(axis=0) * layer.only.high)
        assert np.array_equal(block.rows, outputs // math.prod(layer.output_shape[1:]))


@pytest.mark.parametrize("offset", range(20))
def test_blocks_of_a_convolution_equal_its_definition(seed: int, offset: int) -> None:
    assert_blocks(random_conv(seed + offset), np.random.default_rng(offset))


def test_blocks_of_a_dense_layer_equal_its_definition(seed: int) -> None:
    draft = Draft(shape=(9,), seed=seed)
    draft.dense(7)
    assert_blocks(draft.layers[0], np.random.default_rng(seed))


POOLS = {
    "none": (),
    "plain": (Pool(kernel=(2, 2), stride=(2, 2), pads=(0, 0, 0, 0)),),
    "gaps": (Pool(kernel=(1, 2), stride=(2, 3), pads=(0, 1, 0, 0)),),
    "padded": (Pool(kernel=(3, 2), stride=(1, 2), pads=(1, 0, 2, 1)),),
    "two": (
        Pool(kernel=(2, 3), stride=(1, 2), pads=(1, 2, 0, 1)),
        Pool(kernel=(3, 2), stride=(2, 1), pads=(0, 1, 1, 0)),
    ),
}


@pytest.mark.parametrize("pools", POOLS.values(), ids=POOLS)
def test_sources_of_pooled_inputs_equal_the_definition(pools: tuple[Pool, ...]) -> None:
    draft = Draft(shape=(2, 6, 7))
    draft.dense(3, pools=pools)
    begin, source = pooled_sources(draft.layers[0].only)
    assert [part.tolist() for part in np.split(source, begin[1:-1])] == naive_sources(draft.layers[0])


def test_outputs_that_read_only_padding_have_no_inputs() -> None:
    draft = Draft(shape=(1, 2, 2))
    draft.conv(1, (1, 1), pads=(1, 1, 1, 1))
    rule = LayerRule(draft.layers[0])
    block = rule.block(rule.outline(np.array([0, 3])))
    assert (block.inputs.tolist(), block.weights.shape, block.high.tolist()) == ([], (0, 2), [0, 0])
    image = compile_network(draft.network(), core_spec(columns=8, lanes=8))
    assert check(image, draft.network()) == []


def test_check_tells_inputs_of_equal_sources_apart_by_their_weights() -> None:
    draft = Draft(shape=(1, 2, 2))
    draft.dense(6, pools=(Pool(kernel=(3, 3), stride=(1, 1), pads=(1, 1, 1, 1)),), density=1.0)
    assert len({tuple(members) for members in naive_sources(draft.layers[0])}) == 1
    image = compile_network(draft.network(), core_spec())
    assert check(image, draft.network()) == []
    core = image.cores[0]
    assert core is not None
    turned = dataclasses.replace(core, crossbar=core.crossbar[::-1])
    assert check(image.replace(cores=(turned,)), draft.network()) == []
    other = core.crossbar.copy()
    other[2] *= -1
    wrong = dataclasses.replace(core, crossbar=other)
    assert {v.kind for v in check(image.replace(cores=(wrong,)), draft.network())} == {"wrong-weight"}


def plant(monkeypatch: pytest.MonkeyPatch, function: Callable[..., Any], find: str, replace: str) -> None:
    """Change one piece of a function's source, everywhere it is used."""
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(find) == 1, f"{find!r} must occur once in {function.__name__}"
    scope: dict[str, Any] = {}
    exec(source.replace(find, replace), vars(sys.modules[function.__module__]), scope)  # noqa: S102
    monkeypatch.setattr(function, "__code__", scope[function.__name__].__code__)


def conv(**attributes: Any) -> SpikingNetwork:
    """Return a convolution of 3 x 2 taps on a small map, with a dense layer behind it."""
    draft = Draft(shape=(2, 6, 7), seed=3)
    draft.conv(4, (3, 2), **attributes)
    return draft.network(draft.dense(5, density=0.3))


def square() -> SpikingNetwork:
    """Return a dense layer with as many outputs as inputs."""
    draft = Draft(shape=(8,), seed=1)
    return draft.network(draft.dense(8))


def pooled() -> SpikingNetwork:
    """Return a pool whose kernel, stride and pads differ along the axes."""
    pool = Pool(kernel=(3, 2), stride=(2, 1), pads=(1, 0, 1, 1))
    draft = Draft(shape=(2, 6, 6), seed=2)
    return draft.network(draft.conv(3, (2, 2), pools=(pool,)))


PLANTED: dict[str, tuple[Callable[[], SpikingNetwork], Callable[..., Any], str, str, str]] = {
    "mirrored kernel": (
        lambda: conv(pads=(1, 1, 1, 0)),
        crossbar._axis,
        "- source.pads[axis] + taps",
        "+ source.pads[axis] - taps",
        "wrong-weight",
    ),
    "kernel upside down": (
        conv,
        crossbar._taps,
        "y * width + x",
        "(2 - y) * width + x",
        "wrong-weight",
    ),
    "strides swapped": (
        lambda: conv(stride=(1, 2)),
        crossbar._axis,
        "source.stride[axis]",
        "source.stride[1 - axis]",
        "wrong-weight",
    ),
    "dilations swapped": (
        lambda: conv(dilation=(2, 1)),
        crossbar._axis,
        "source.dilation[axis]",
        "source.dilation[1 - axis]",
        "wrong-weight",
    ),
    "pads of the other side": (
        lambda: conv(pads=(1, 0, 0, 1)),
        crossbar._axis,
        "source.pads[axis]",
        "source.pads[axis + 2]",
        "wrong-weight",
    ),
    "pads swapped": (
        lambda: conv(pads=(0, 1, 1, 0)),
        crossbar._axis,
        "source.pads[axis]",
        "source.pads[1 - axis]",
        "wrong-weight",
    ),
    "groups forgotten": (
        lambda: conv(groups=2),
        crossbar._View.used,
        "range(len(groups))",
        "range(1)",
        "missing-connection",
    ),
    "groups interleaved": (
        lambda: conv(groups=2),
        crossbar.Encoding.planes,
        "at[:, None] * fan_in",
        "np.arange(len(at))[:, None] % 2 * fan_in",
        "wrong-weight",
    ),
    "dense weights transposed": (
        square,
        matrices.source_matrix,
        "sparse.csr_array(weight)",
        "sparse.csr_array(weight.T)",
        "wrong-weight",
    ),
    "pool window one short": (pooled, matrices._pool_step, "range(kw)", "range(kw - 1)", "extra-connection"),
    "pool strides swapped": (
        pooled,
        matrices._pool_step,
        "_positions(width, sx,",
        "_positions(width, sy,",
        "missing-connection",
    ),
    "pool pads forgotten": (pooled, matrices._pool_step, "sy, top, y", "sy, 0, y", "extra-connection"),
    "second pool forgotten": (
        lambda: random_network(7),
        matrices.pool_matrix,
        "in source.pools:",
        "in source.pools[:1]:",
        "extra-connection",
    ),
    "threshold rows off by one": (
        conv,
        emit._Quantiser._of,
        "self._lists()[rows[order]]",
        "self._lists()[rows[order] - 1]",
        "thresholds",
    ),
    "threshold rows by pixel": (
        conv,
        emit._Quantiser.of,
        "row = outputs // (self._layer.neurons // self._layer.rows)",
        "row = outputs % self._layer.rows",
        "thresholds",
    ),
    "thresholds one higher": (
        conv,
        capacity.clamped_thresholds,
        "np.clip(layer.edges,",
        "np.clip(layer.edges + 1,",
        "thresholds",
    ),
    "layers fire in the reverse order": (
        conv,
        emit._layer_cores,
        "_schedule(steps,",
        "_schedule([partition.period - 1 - step for step in steps],",
        "schedule",
    ),
    "a threshold too few": (
        conv,
        emit._schedule,
        "layer.levels * fire",
        "(layer.levels - 1) * fire",
        "schedule",
    ),
    "lines of a class one on": (
        conv,
        emit._Cells.of,
        "np.arange(len(part.inputs))",
        "np.roll(np.arange(len(part.inputs)), 1)",
        "wrong-weight",
    ),
    "entries in reverse": (
        conv,
        emit._layer_cores,
        "[part.outputs for part in parts]",
        "[part.outputs[::-1] for part in parts]",
        "missing-connection",
    ),
    "a rectangle one short": (
        lambda: random_network(1),
        cover.cover,
        "((min(x), max(x), min",
        "((min(x), min(x), min",
        "missing-connection",
    ),
    "outputs one axon on": (
        square,
        route.route,
        "(x, x, y, y, axon)",
        "(x, x, y, y, axon + 1)",
        "output-missing",
    ),
    "input elements one on": (
        square,
        emit.emit,
        "packets.sizes)",
        "packets.sizes) ^ 1",
        "wrong-weight",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_check_names_a_fault_planted_in_the_mapper(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, function, find, replace, kind = PLANTED[name]
    spiking = network()
    assert check(compile_network(spiking, core_spec()), spiking) == []
    plant(monkeypatch, function, find, replace)
    assert kind in {violation.kind for violation in check(compile_network(spiking, core_spec()), spiking)}


def test_compile_refuses_the_image_of_a_mirrored_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    b = ModelBuilder((2, 6, 6))
    y = b.quantise(b.norm(b.conv(b.quantise("x"), b.ternary(3, 2, 3, 3), name="conv", pads=[1] * 4), 3))
    network = b.network(b.head(b.op("Flatten", y), 108))
    flow.compile_network(network, core="small")
    plant(monkeypatch, crossbar._axis, "- source.pads[axis] + taps", "+ source.pads[axis] - taps")
    with pytest.raises(MappingError) as error:
        flow.compile_network(network, core="small")
    assert str(error.value).startswith("The image differs from its network in ")
    assert "the first is wrong-weight: core 0, neuron " in str(error.value)
