# SPDX-License-Identifier: Apache-2.0
"""The integer network as ONNX: other runtimes give every activation that our simulation gives."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from emu.spec import preset
from mapping.codes.convert import convert
from mapping.codes.graded.convert import GradedOptions, convert_graded
from mapping.errors import MappingError
from mapping.exporters.integer_onnx import EXACT, integer_bytes, integer_onnx, parts_of
from mapping.model.load import load_network
from mapping.spiking.network import INPUT, Source, SpikingLayer, SpikingNetwork
from mapping.spiking.quantisers import ALWAYS, NEVER, Ladders, Lists
from mapping.spiking.simulate import encode, simulate
from sim_tests.generators.mapping_networks import Draft, random_network
from sim_tests.generators.ordinary_networks import calibration, inverted, mlp, pooled, residual

KINDS = {"mlp": mlp, "residual": residual, "inverted": inverted, "pooled": pooled}


def runtimes(model: onnx.ModelProto) -> dict[str, Any]:
    """Return every runtime there is, with a model."""
    onnxruntime = pytest.importorskip("onnxruntime")
    return {
        "onnx.reference": ReferenceEvaluator(model),
        "onnxruntime": onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        ),
    }


def differences(spiking: SpikingNetwork, counts: NDArray[np.integer], model: onnx.ModelProto) -> list[str]:
    """Return the layers, by runtime, of which an activation differs from the simulation."""
    expected, names = simulate(spiking, counts), [layer.name for layer in spiking.layers]
    assert names
    found = []
    for runtime, session in runtimes(model).items():
        outputs = session.run(names, {INPUT: counts.astype(np.int64)})
        for name, got in zip(names, outputs, strict=True):
            assert (got.dtype, got.shape) == (np.int64, expected[name].shape)
            found += [] if np.array_equal(got, expected[name]) else [f"{runtime} {name}"]
    return found


def counts_for(spiking: SpikingNetwork, seed: int, n: int = 6) -> NDArray[np.int64]:
    random = np.random.default_rng(seed)
    return random.integers(spiking.input_low, spiking.input_levels, (n, *spiking.shape(INPUT)), endpoint=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("bits", "digits"), [(8, 5), (4, 3), (6, 6)])
def test_ordinary_networks_are_equal(kind: str, bits: int, digits: int, seed: int) -> None:
    network = KINDS[kind](seed)
    options = GradedOptions(bits=bits, digits=digits)
    spiking = convert_graded(network, calibration(network), replace(preset("medium"), strengths=8), options)
    counts = encode(spiking, calibration(network, n=5, seed=3))
    assert differences(spiking, counts, integer_onnx(spiking)) == []


@pytest.mark.parametrize("index", range(8))
def test_ternary_networks_are_equal(index: int, seed: int) -> None:
    spiking = random_network(seed + index)
    assert differences(spiking, counts_for(spiking, seed), integer_onnx(spiking)) == []


def test_shipped_network_is_equal() -> None:
    spiking = convert(load_network("digits"))
    assert differences(spiking, counts_for(spiking, 0, n=20), integer_onnx(spiking)) == []


def crossed(quantiser: Lists | Ladders, *, low: int, levels: int, seed: int) -> SpikingNetwork:
    """Return a layer of two sources of unlike shift and both signs, with that quantiser."""
    random, draft = np.random.default_rng(seed), Draft(shape=(2, 5, 5), levels=7, seed=seed)
    first = draft.conv(3, (2, 2), levels=5)
    one = Source(
        name=INPUT,
        shape=(2, 5, 5),
        input_shape=(2, 5, 5),
        weight=random.integers(-40, 41, (4, 2, 2, 2)).astype(np.int16),
        low=-6,
        high=7,
    )
    two = Source(
        name=first,
        shape=(3, 4, 4),
        input_shape=(3, 4, 4),
        weight=random.integers(-121, 122, (4, 3, 1, 1)).astype(np.int16),
        high=5,
        shift=3,
    )
    layer = SpikingLayer(
        name="crossed",
        sources=(one, two),
        output_shape=(4, 4, 4),
        quantiser=quantiser,
        strengths=(1, 3, 9, 27, 81),
        bias=random.integers(-300, 301, 64),
        low=low,
        levels=levels,
        activation=INPUT,
        scale=0.5,
        zero=2,
    )
    return replace(draft.network(), input_low=-6, layers=(*draft.layers, layer), outputs=("crossed",))


def ladders(bits: int, seed: int, *, ties: bool) -> Ladders:
    random = np.random.default_rng(seed)
    columns = (
        random.integers(-500, 500, 4),
        random.integers(1 << bits, 600 << 2 * bits, 4),
        random.integers(0, 1 << 2 * bits, 4),
        np.full(4, int(ties)) if ties else np.zeros(4, np.int64),
    )
    return Ladders(words=np.stack(columns, axis=1), payload_bits=bits)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("low", "levels"), [(0, 7), (-8, 7), (-128, 127), (-1, 1), (0, 255)])
def test_ladders_are_equal(low: int, levels: int, ties: bool, seed: int) -> None:
    for bits in (4, 9):
        spiking = crossed(ladders(bits, seed + levels, ties=ties), low=low, levels=levels, seed=seed)
        assert differences(spiking, counts_for(spiking, seed), integer_onnx(spiking)) == []


def test_ladder_with_ties_at_halves_is_equal() -> None:
    """Odd counts begin at a half later than even ones, where potentials do lie."""
    words = np.array([[0, 2 << 8, 255, 1], [-3, 1 << 8, 250, 1], [5, 3 << 8, 1, 0], [0, 1 << 7, 255, 1]])

    def network(words: NDArray[np.int64]) -> SpikingNetwork:
        spiking = crossed(Ladders(words=words, payload_bits=4), low=-8, levels=7, seed=2)
        first, last = spiking.layers
        sources = tuple(replace(s, weight=np.sign(s.weight), shift=0) for s in last.sources)
        last = replace(last, sources=sources, bias=np.arange(64) % 5 - 2)
        return replace(spiking, layers=(first, last))

    with_ties, without = network(words), network(words * np.array([1, 1, 1, 0]))
    counts = counts_for(with_ties, 1, n=40)
    found = [simulate(spiking, counts)["crossed"] for spiking in (with_ties, without)]
    assert np.count_nonzero(found[0] != found[1]) > 20
    assert len(np.unique(found[0])) == 16
    assert differences(with_ties, counts, integer_onnx(with_ties)) == []


@pytest.mark.parametrize("levels", [1, 2, 3, 16, 255])
def test_lists_are_equal(levels: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    thresholds = np.sort(random.integers(-900, 900, (4, levels)), axis=1)
    thresholds[0, 0], thresholds[1, -1], thresholds[2] = ALWAYS, NEVER, thresholds[2, 0]
    spiking = crossed(Lists(thresholds=thresholds), low=0, levels=levels, seed=seed)
    assert differences(spiking, counts_for(spiking, seed), integer_onnx(spiking)) == []


def dense(weight: NDArray[np.integer], high: int) -> SpikingNetwork:
    draft = Draft(shape=(weight.shape[1],), levels=high)
    draft.dense(len(weight))
    (layer,) = draft.layers
    source = replace(layer.only, weight=weight.astype(np.int16), high=high)
    spread = np.linspace(-3e6, 3e6, 3).astype(np.int64)
    lists = Lists(thresholds=np.tile(spread, (len(weight), 1)))
    return replace(draft.network(), layers=(replace(layer, sources=(source,), quantiser=lists),))


def test_sums_beyond_float32_are_split_and_equal(seed: int) -> None:
    """The plain sum passes 2^24 by far; a threshold at every sum would show a lost bit."""
    random = np.random.default_rng(seed)
    weight = random.integers(-1093, 1094, (5, 3000))
    spiking = dense(weight, 255)
    (layer,) = spiking.layers
    parts = parts_of(layer.only)
    assert len(parts) > 1
    assert np.array_equal(sum(part * factor for part, factor in parts), weight)
    assert all(np.abs(part).sum(axis=1).max() * 255 < EXACT for part, _ in parts)
    counts = random.integers(0, 256, (4, 3000))
    sums = np.sort(counts @ weight.T, axis=0)
    exact = replace(layer, quantiser=Lists(thresholds=np.stack((sums[0], sums[1], sums[1] + 1), axis=1)))
    spiking = replace(spiking, layers=(exact,))
    assert differences(spiking, counts, integer_onnx(spiking)) == []


def test_more_inputs_than_float32_can_add_are_refused() -> None:
    weight = np.ones((1, 70000), np.int16)
    with pytest.raises(MappingError, match=r"^Source 'input' has 70000 inputs, too many for sums .* host\.$"):
        integer_onnx(dense(weight, 255))


def planted(model: onnx.ModelProto, op: str) -> onnx.ModelProto:
    """Return a model in which the weights of one operator are larger by one."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    read = {node.input[1] for node in other.graph.node if node.op_type == op}
    tensor = next(tensor for tensor in other.graph.initializer if tensor.name in read)
    values = onnx.numpy_helper.to_array(tensor) + np.float32(1)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    return other


@pytest.mark.parametrize("op", ["Conv", "MatMul"])
def test_another_weight_is_noticed(op: str) -> None:
    network = residual(3)
    spiking = convert_graded(network, calibration(network), preset("medium"))
    counts = encode(spiking, calibration(network, n=40, seed=3))
    assert differences(spiking, counts, planted(integer_onnx(spiking), op)) != []


def test_metadata_say_what_counts_stand_for() -> None:
    network = mlp(0)
    spiking = convert_graded(network, calibration(network), preset("medium"))
    model = integer_onnx(spiking)
    (entry,) = model.metadata_props
    meaning = json.loads(entry.value)
    assert (entry.key, meaning["schema"], meaning["code"]) == ("spikeloom", "spikeloom.integer/1", "graded")
    assert meaning["outputs"] == list(spiking.outputs)
    last = spiking.layers[-1]
    assert meaning["counts"][last.name] == {
        "tensor": last.activation,
        "scale": last.scale,
        "zero": last.zero,
        "low": last.low,
        "high": last.levels,
    }
    assert meaning["counts"][INPUT]["scale"] == spiking.input_scale
    x = calibration(network, n=9, seed=4)
    counts = np.clip(np.rint(x / spiking.input_scale), spiking.input_low, spiking.input_levels)
    assert np.array_equal(counts, encode(spiking, x))


def test_same_network_gives_the_same_bytes() -> None:
    spiking = random_network(4)
    assert integer_bytes(spiking) == integer_bytes(spiking)
    assert onnx.ModelProto.FromString(integer_bytes(spiking)) == integer_onnx(spiking)
