# SPDX-License-Identifier: Apache-2.0
"""Counts beyond those of a payload leave as several neurons' counts (`docs/reference/graded.md`)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from emu.machine import Machine
from emu.spec import CoreSpec, preset
from mapping.chip import open_chip
from mapping.codes.graded.convert import GradedOptions, convert_graded
from mapping.datasets.load import Dataset
from mapping.errors import MappingError
from mapping.flow import compile_network
from mapping.layout.capacity import limits_of
from mapping.layout.check import check
from mapping.layout.cut import cut_layer
from mapping.layout.emit import emit
from mapping.layout.host_tables import counts_of, outputs_of, stimulus_for
from mapping.layout.route import fit
from mapping.model.network import Network
from mapping.report.activity import observe
from mapping.report.keys import common
from mapping.spiking.archive import spiking_from_arrays, spiking_to_arrays
from mapping.spiking.network import INPUT, Source, SpikingLayer, SpikingNetwork
from mapping.spiking.quantisers import Ladders, Lists
from mapping.spiking.simulate import decode, encode, simulate
from mapping.spiking.spread import spread, spread_layer
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.ordinary_networks import calibration, inverted, mlp, pooled, residual

MEDIUM = preset("medium")
KINDS = {"mlp": mlp, "residual": residual, "inverted": inverted, "pooled": pooled}


def layer_of(parts: int, low: int, high: int, seed: int, bits: int = 4) -> SpikingLayer:
    """Return a grouped convolution and a skip with random ladders, whose counts have so many parts."""
    random = np.random.default_rng(seed)
    words = np.stack(
        (
            random.integers(-40, 40, 4),
            random.integers(1, 5 << 2 * bits, 4),
            random.integers(0, 1 << 2 * bits, 4),
            np.zeros(4, np.int64),
        ),
        axis=1,
    )
    one = Source(
        name=INPUT,
        shape=(2, 4, 4),
        input_shape=(2, 4, 4),
        weight=random.integers(-13, 14, (4, 1, 2, 2)).astype(np.int16),
        groups=2,
        low=-6,
        high=7,
    )
    two = replace(one, weight=random.integers(-13, 14, (4, 2, 2, 2)).astype(np.int16), groups=1, shift=1)
    return SpikingLayer(
        name="last",
        sources=(one, two),
        output_shape=(4, 3, 3),
        quantiser=Ladders(words=words, payload_bits=bits),
        strengths=(1, 3, 9),
        bias=random.integers(-30, 30, 36),
        low=parts * low,
        levels=parts * high,
        parts=parts,
        activation="last",
        scale=1.0,
    )


def network_of(layer: SpikingLayer) -> SpikingNetwork:
    shapes = {"x": (2, 4, 4), layer.activation: layer.output_shape}
    network = Network(name="n", input="x", output=layer.activation, nodes=(), shapes=shapes)
    return SpikingNetwork(
        name="n",
        network=network,
        encoder_output="x",
        input_low=-6,
        input_levels=7,
        input_scale=1.0,
        layers=(layer,),
        outputs=(layer.name,),
        decoder_reads_input=False,
        host=(),
        code="graded",
    )


def naive_parts(layer: SpikingLayer, potentials: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count by the words of the contract: part k of m reaches T_(m j - k); Python's integers."""
    m, words = layer.parts, layer.quantiser.words.tolist()  # type: ignore[union-attr]
    bits = 2 * layer.quantiser.payload_bits  # type: ignore[union-attr]
    found = np.zeros((len(potentials), layer.rows * m), np.int64)
    for row, (first, step, offset, _) in enumerate(words):
        for k in range(m):
            for at, potential in enumerate(potentials.tolist()):
                count = layer.low // m
                for j in range(layer.low // m + 1, layer.levels // m + 1):
                    if potential >= first + (((m * j - k) * step + offset) >> bits):
                        count = j
                found[at, row * m + k] = count
    return found


@pytest.mark.parametrize("parts", [1, 2, 3, 4])
@pytest.mark.parametrize(("low", "high"), [(-7, 7), (0, 7), (-3, 1)])
@pytest.mark.parametrize("seed", range(3))
def test_parts_count_as_the_contract_says_and_add_up(parts: int, low: int, high: int, seed: int) -> None:
    layer = layer_of(parts, low, high, seed)
    parted = spread_layer(layer)
    edges = layer.edges
    potentials = np.arange(edges.min() - 3, edges.max() + 4)
    whole = layer.quantiser.counts(_each(potentials, layer.rows), layer.low, layer.levels)[..., 0]
    counts = parted.quantiser.counts(_each(potentials, parted.rows), parted.low, parted.levels)[..., 0]
    assert np.array_equal(counts, naive_parts(layer, potentials))
    assert np.array_equal(counts.reshape(len(counts), layer.rows, parts).sum(axis=2), whole)
    assert (whole.min(), whole.max()) == (layer.low, layer.levels)
    assert (parted.low, parted.levels, parted.parts, parted.group) == (low, high, 1, parts)


def _each(potentials: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    return np.repeat(potentials[:, None, None], rows, axis=1)


@pytest.mark.parametrize("parts", [1, 2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_image_sends_the_parts_and_the_host_adds_them(parts: int, seed: int) -> None:
    spec = preset("tiny").resized(max_extension=2)
    spiking = network_of(layer_of(parts, -8, 7, seed))
    on_chip = spread(spiking)
    image = emit(on_chip, *fit(on_chip, spec), name="n")
    assert check(image, on_chip) == []
    counts = np.random.default_rng(seed).integers(-6, 8, (20, 2, 4, 4))
    want = simulate(spiking, counts)
    for cycles in (False, True):
        result = Machine(image).run(stimulus_for(image, counts), cycles=cycles)
        assert np.array_equal(outputs_of(image, result, 20)["last"], want["last"])
        assert np.array_equal(counts_of(image, result, 20)["last"], want["last"])
        assert result.total("spikes") == np.abs(want["last"]).sum(), "no part counts against another"
    assert (want["last"].min(), want["last"].max()) == (-8 * parts, 7 * parts), "both ends are reached"


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_leaves_has_parts(kind: str) -> None:
    network = KINDS[kind](2)
    spiking = convert_graded(network, calibration(network), MEDIUM)
    *before, last = spiking.layers
    assert {layer.parts for layer in before} == {1}
    assert (last.parts, last.low, last.levels) == (4, -1020, 1020)
    assert [layer.output_shape[0] for layer in spread(spiking).layers] == [
        *(layer.rows for layer in before),
        4 * last.rows,
    ]


def wide(outputs: int, inputs: int = 6, end: str = "") -> Network:
    b = ModelBuilder((inputs,), seed=outputs)
    y = b.dense("x", b.rng.normal(size=(outputs, inputs)), b.rng.normal(size=outputs))
    return b.network(b.clip(y, -1.3, 2.0) if end == "Clip" else b.op(end, y) if end else y)


@pytest.mark.parametrize(
    ("outputs", "inputs", "digits", "parts"),
    [
        (24, 6, 5, 4),  # 16 words of 32 lanes, 6 neurons of 5 digits each: a core has 96
        (25, 6, 5, 2),
        (48, 6, 5, 2),
        (49, 6, 5, 1),
        (40, 6, 3, 4),  # 10 neurons of 3 digits in 32 lanes
        (41, 6, 3, 2),
        (24, 64, 5, 4),
        (24, 65, 5, 2),  # rows as long as two leave half of the words
        (12, 129, 5, 2),  # as long as four
        (12, 257, 5, 1),  # longer than any
    ],
)
def test_a_count_has_as_many_neurons_as_the_core_has_room_for(
    outputs: int, inputs: int, digits: int, parts: int
) -> None:
    network, options, core = wide(outputs, inputs), GradedOptions(digits=digits), MEDIUM.resized(axons=64)
    (layer,) = convert_graded(network, calibration(network), core, options).layers
    assert layer.parts == parts
    assert layer.levels == parts * 255
    if parts > 1:
        (part,), _ = cut_layer(spread_layer(layer), limits_of(spread_layer(layer), core, entries=1))
        assert len(part.outputs) == parts * outputs


@pytest.mark.parametrize(
    ("end", "outputs", "parts", "low"),
    [("Relu", 4, 4, 0), ("LeakyRelu", 1, 1, 0), ("LeakyRelu", 4, 4, -1020), ("", 4, 4, -1020)],
)
def test_functions_that_only_cut_off_leave_in_parts(end: str, outputs: int, parts: int, low: int) -> None:
    """Of a single output any function is the chip's; of classes only these are."""
    network = wide(outputs, end=end)
    (layer,) = convert_graded(network, calibration(network), MEDIUM).layers
    assert (layer.parts, layer.low, layer.levels) == (parts, low, 255 * parts)
    assert isinstance(layer.quantiser, Ladders if parts > 1 else Lists)


def test_ends_of_a_clip_are_multiples_of_the_parts_or_there_are_none() -> None:
    network = wide(4, end="Clip")
    (layer,) = convert_graded(network, calibration(network), MEDIUM).layers
    assert layer.low % layer.parts == layer.levels % layer.parts == 0
    ends = layer.values(np.array([[layer.low] * 4, [layer.levels] * 4]))
    assert np.allclose(ends, [[-1.3], [2.0]], atol=layer.scale / 2 + 1e-12)


@pytest.mark.parametrize("core", [MEDIUM, MEDIUM.resized(ladder=False, signed_ladder=False)])
def test_a_core_without_ladders_has_no_parts(core: CoreSpec) -> None:
    network = wide(4)
    (layer,) = convert_graded(network, calibration(network), core).layers
    assert layer.parts == (4 if core.ladder else 1)


def refused() -> dict[str, dict[str, Any]]:
    layer = layer_of(2, -4, 4, 0)
    assert isinstance(layer.quantiser, Ladders)
    tied = layer.quantiser.words.copy()
    tied[0, 3] = 1
    return {
        "low": {"low": -7},
        "levels": {"levels": 7},
        "more": {"parts": 8},
        "none": {"parts": 0},
        "ties": {"quantiser": Ladders(words=tied, payload_bits=4)},
        "lists": {"quantiser": Lists(thresholds=np.zeros((4, 16), np.int64))},
    }


@pytest.mark.parametrize("what", refused())
def test_parts_that_would_not_add_up_are_refused(what: str) -> None:
    with pytest.raises(ValueError, match=r"^parts must be 1\.\.4 that divide -?\d+ and \d+, of ladders"):
        replace(layer_of(2, -4, 4, 0), **refused()[what])


def test_an_image_keeps_the_parts_and_one_of_before_has_none() -> None:
    network = mlp(1)
    spiking = convert_graded(network, calibration(network), MEDIUM)
    arrays = spiking_to_arrays(spiking)
    again = spiking_from_arrays(arrays, spiking.network)
    assert again.layers[-1].parts == spiking.layers[-1].parts == 4
    text = bytes(arrays["spiking"]).replace(b'"parts": 4', b'"partz": 4')
    before = spiking_from_arrays({**arrays, "spiking": np.frombuffer(text, np.uint8)}, spiking.network)
    assert before.layers[-1].parts == 1
    text = bytes(arrays["spiking"]).replace(b'"parts": 4', b'"parts": 7')
    with pytest.raises(MappingError, match=r"no readable integer network \(ValueError: parts must be"):
        spiking_from_arrays({**arrays, "spiking": np.frombuffer(text, np.uint8)}, spiking.network)


def test_what_a_layer_reads_too_has_no_parts() -> None:
    """The host multiplies two activations, of which a layer reads the first."""
    b = ModelBuilder((6,), seed=3)
    one = b.op("Relu", b.dense("x", b.rng.normal(size=(5, 6)), b.rng.normal(size=5)))
    two = b.op("Relu", b.dense(one, b.rng.normal(size=(5, 5)), b.rng.normal(size=5)))
    network = b.network(b.op("Mul", one, two))
    spiking = convert_graded(network, calibration(network), MEDIUM)
    assert spiking.outputs == tuple(layer.name for layer in spiking.layers)
    assert [(layer.parts, layer.levels) for layer in spiking.layers] == [(1, 255), (4, 1020)]


def test_chip_of_parts_opens_runs_and_is_told_with_all_its_neurons(tmp_path: Path) -> None:
    network = mlp(4)
    x = calibration(network, n=5, seed=3)
    chip = compile_network(network, core="medium", samples=calibration(network))
    assert check(chip.image, chip.on_chip) == []
    chip.save(tmp_path / "n.spikeloom")
    opened = open_chip(tmp_path / "n.spikeloom")
    spiking = opened.spiking
    assert spiking.layers[-1].parts == 4
    want = decode(spiking, simulate(spiking, encode(spiking, x)), x)
    assert np.array_equal(opened.run(x).logits, want)
    found = common(spiking, observe(spiking, Dataset(name="x", x=x, y=None)))
    placed = sum(core.neurons for core in opened.image.cores if core is not None)
    weights = sum(int(np.count_nonzero(s.weight)) for layer in opened.on_chip.layers for s in layer.sources)
    assert (found["neurons"], found["synapses"]) == (placed, weights)
