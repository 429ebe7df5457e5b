# SPDX-License-Identifier: Apache-2.0
"""Ordinary networks in the graded code: near the float network, and exact from there to the chip."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from emu.machine import Machine
from emu.spec import CoreSpec, preset
from mapping.codes.choice import CODES, code_of
from mapping.codes.graded.convert import GradedOptions, convert_graded
from mapping.codes.graded.forms import Form, Matrix
from mapping.codes.graded.rounding import Elimination, elimination
from mapping.codes.graded.structure import structure_of
from mapping.errors import MappingError, UnsupportedModelError
from mapping.flow import compile_network
from mapping.layout.capacity import fits
from mapping.layout.emit import emit
from mapping.layout.host_tables import counts_of, outputs_of, stimulus_for
from mapping.layout.route import fit
from mapping.model.evaluate import evaluate, infer
from mapping.model.load import load_network
from mapping.model.network import Network
from mapping.model.rewrite import sunk
from mapping.spiking.network import SpikingNetwork
from mapping.spiking.simulate import decode, encode, simulate
from mapping.spiking.spread import spread
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.ordinary_networks import calibration, inverted, mlp, ordinary, pooled, residual

MEDIUM = preset("medium")
KINDS = {"mlp": mlp, "residual": residual, "inverted": inverted, "pooled": pooled}


def graded(network: Network, spec: CoreSpec = MEDIUM, **options: int) -> SpikingNetwork:
    return convert_graded(network, calibration(network), spec, GradedOptions(**options))


def error(spiking: SpikingNetwork, network: Network) -> float:
    """Return the error of the output on samples that the calibration has not seen, in deviations of it."""
    x = calibration(network, n=40, seed=9)
    truth = infer(network, x)
    got = decode(spiking, simulate(spiking, encode(spiking, x)), x)
    return float(np.sqrt(np.square(got - truth).mean()) / truth.std())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_whole_network_is_on_the_chip_and_near(kind: str, seed: int) -> None:
    network = KINDS[kind](seed)
    spiking = graded(network)
    assert (spiking.host, spiking.host_share) == ((), 0.0)
    assert error(spiking, network) < 0.05


@pytest.mark.parametrize(("core", "counts"), [("small", (-128, 124)), ("medium", (-1020, 1020))])
@pytest.mark.parametrize("bits", [2, 5])
def test_output_leaves_with_all_counts_of_four_neurons(core: str, counts: tuple[int, int], bits: int) -> None:
    """They hold what the samples give and 4 % around it, whatever the bits of other activations are."""
    network = mlp(3)
    layer = graded(network, preset(core), bits=bits, digits=3).layers[-1]
    truth = infer(network, calibration(network))
    assert (layer.low, layer.levels) == counts
    assert layer.scale == pytest.approx(1.08 * np.ptp(truth) / (counts[1] - counts[0]), rel=1e-6)
    ends = layer.values(np.array([[counts[0]], [counts[1]]]))
    beyond = truth.min() - ends[0], ends[1] - truth.max()
    assert np.allclose(beyond, 0.04 * np.ptp(truth), atol=4 * layer.scale)


def test_counts_below_those_of_a_core_do_not_fit() -> None:
    spiking = graded(mlp(3))
    assert fits(MEDIUM)(spiking.layers[-1]) is None
    obstacle = fits(MEDIUM)(replace(spiking.layers[-1], low=-1024))
    assert obstacle is not None
    assert obstacle.reason == "it needs 256 spikes per neuron below zero but 255 are allowed"


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_bits_and_digits_err_more(kind: str) -> None:
    network = KINDS[kind](5)
    errors = [error(graded(network, bits=b, digits=k), network) for b, k in ((8, 5), (5, 3), (3, 1))]
    assert errors[0] < errors[1] < errors[2]


def naive_counts(spiking: SpikingNetwork, given: NDArray[np.int32]) -> dict[str, NDArray[np.int64]]:
    """Count by the definition in `docs/reference/graded.md`, neuron by neuron, with Python's integers."""
    known: dict[str, Any] = {"input": given.astype(np.int64)}
    for layer in spiking.layers:
        counts = np.zeros((len(given), layer.neurons), np.int64)
        edges, pixels = layer.edges.tolist(), layer.neurons // layer.rows
        reads = [_reads(layer, index) for index in range(len(layer.sources))]
        for sample in range(len(given)):
            for neuron in range(layer.neurons):
                potential = int(layer.biases()[neuron])
                for source, read in zip(layer.sources, reads, strict=True):
                    flat = known[source.name][sample].reshape(-1)
                    for members, weight in read[neuron]:
                        potential += weight * (max(int(flat[member]) for member in members) << source.shift)
                reached = sum(potential >= edge for edge in edges[neuron // pixels])
                counts[sample, neuron] = layer.low + reached
        known[layer.name] = counts
    return known


def _reads(layer: Any, index: int) -> list[list[tuple[list[int], int]]]:
    """Return for every neuron the source elements of each input that it reads, and the weight."""
    source = layer.sources[index]
    pooled_of = _windows(source.shape, source.pools)
    rows, shape = len(source.weight), layer.output_shape
    reads: list[list[tuple[list[int], int]]] = []
    if source.weight.ndim == 2:
        return [
            [(pooled_of[i], int(w)) for i, w in enumerate(source.weight[row]) if w] for row in range(rows)
        ]
    channels, height, width = source.input_shape
    for row, y, x in np.ndindex(*shape):
        own = []
        group = row // (rows // source.groups)
        for c, i, j in np.ndindex(*source.weight.shape[1:]):
            at = y * source.stride[0] + i * source.dilation[0] - source.pads[0]
            to = x * source.stride[1] + j * source.dilation[1] - source.pads[1]
            if 0 <= at < height and 0 <= to < width and source.weight[row, c, i, j]:
                element = ((group * source.weight.shape[1] + c) * height + at) * width + to
                own.append((pooled_of[element], int(source.weight[row, c, i, j])))
        reads.append(own)
    assert channels == source.weight.shape[1] * source.groups
    return reads


def _windows(shape: tuple[int, ...], pools: Any) -> list[list[int]]:
    """Return the source elements that each input is the maximum over."""
    members = [[element] for element in range(int(np.prod(shape)))]
    for pool in pools:
        channels, height, width = shape
        rows = (height + pool.pads[0] + pool.pads[2] - pool.kernel[0]) // pool.stride[0] + 1
        columns = (width + pool.pads[1] + pool.pads[3] - pool.kernel[1]) // pool.stride[1] + 1
        found = []
        for c, y, x in np.ndindex(channels, rows, columns):
            own: list[int] = []
            for i, j in np.ndindex(*pool.kernel):
                at, to = y * pool.stride[0] + i - pool.pads[0], x * pool.stride[1] + j - pool.pads[1]
                if 0 <= at < height and 0 <= to < width:
                    own += members[(c * height + at) * width + to]
            found.append(own)
        members, shape = found, (channels, rows, columns)
    return members


@pytest.mark.parametrize("kind", KINDS)
def test_counts_are_those_of_the_definition(kind: str) -> None:
    spiking = graded(KINDS[kind](2), bits=6, digits=3)
    given = encode(spiking, calibration(spiking.network, n=2, seed=7))
    counts, naive = simulate(spiking, given), naive_counts(spiking, given)
    for layer in spiking.layers:
        assert np.array_equal(counts[layer.name].reshape(2, -1), naive[layer.name]), layer.name
        assert naive[layer.name].std() > 0


@pytest.mark.parametrize("seed", range(8))
def test_forms_have_the_values_of_the_network(seed: int) -> None:
    network = sunk(ordinary(seed))
    x = calibration(network, n=3)
    tensors = evaluate(network, x)
    structure = structure_of(network, network.input, axons=64)
    assert structure.points
    for point in structure.points.values():
        values = _value(point.form, tensors)
        for node in point.functions:
            assert np.allclose(values.reshape(tensors[node.inputs[0]].shape), tensors[node.inputs[0]])
            values = tensors[node.output]
        assert np.allclose(values.reshape(tensors[point.tensor].shape), tensors[point.tensor])


def _value(form: Form, tensors: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return a form's value from the activations that it reads, through dense matrices."""
    total = form.biases().reshape(1, -1)
    for term in form.terms:
        matrix = term.matrix()
        assert isinstance(matrix, Matrix)
        flat = tensors[term.read.tensor].reshape(len(tensors[term.read.tensor]), -1)
        windows = _windows(term.read.shape, term.read.pools)
        read = np.stack([flat[:, members].max(axis=1) for members in windows], axis=1)
        total = total + read @ matrix.dense().T
    return np.asarray(total)


CORES = {"medium": MEDIUM, "tiny rows": MEDIUM.resized(axons=64, columns=64, lanes=16, max_extension=4)}


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("kind", KINDS)
def test_image_computes_the_integer_network(kind: str, core: str) -> None:
    spiking = graded(KINDS[kind](1), CORES[core])
    on_chip = spread(spiking)
    image = emit(on_chip, *fit(on_chip, CORES[core]), name="n")
    counts = encode(spiking, calibration(spiking.network, n=3, seed=4))
    want = simulate(spiking, counts)
    for cycles in (False, True):
        result = Machine(image).run(stimulus_for(image, counts), cycles=cycles)
        for name, got in counts_of(image, result, 3).items():
            assert np.array_equal(got, want[name]), name
        for name, got in outputs_of(image, result, 3).items():
            assert np.array_equal(got, want[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_saved_chip_is_the_same_chip(kind: str, tmp_path: Any) -> None:
    from mapping.chip import open_chip

    network = KINDS[kind](3)
    x = calibration(network)
    chip = compile_network(network, core="medium", samples=x)
    chip.save(tmp_path / "n.spikeloom")
    opened = open_chip(tmp_path / "n.spikeloom")
    assert opened.image.digest == chip.image.digest
    assert np.array_equal(opened.run(x[:4]).logits, chip.run(x[:4]).logits)
    assert (opened.spiking.code, opened.spiking.exact) == ("graded", False)


def test_two_conversions_are_the_same() -> None:
    network = residual(4)
    first, second = (compile_network(network, core="medium", samples=calibration(network)) for _ in range(2))
    assert first.image.digest == second.image.digest


def test_skip_is_exact() -> None:
    """The row's unit divides the weight of a skip: what passes by a block is not rounded."""
    spiking = graded(residual(1), digits=3)
    (layer,) = [layer for layer in spiking.layers if len(layer.sources) == 2][:1]
    before = spiking.layer(layer.sources[1].name)
    skip = layer.sources[1].weight.reshape(-1).astype(np.int64) << layer.sources[1].shift
    assert isinstance(layer.edges, np.ndarray)
    step = np.diff(layer.edges[:, :2], axis=1).reshape(-1)
    assert layer.gains is not None
    assert before.gains is None
    assert np.allclose(step / skip, layer.scale * layer.gains / before.scale, atol=1 / skip.min())


def test_code_follows_the_weights() -> None:
    assert code_of(load_network("digits")).name == "scatter-and-gather"
    assert code_of(mlp()).name == "graded"
    assert code_of(mlp(), "graded") is CODES["graded"]
    with pytest.raises(
        MappingError, match=r"^Code must be auto, scatter-and-gather, graded or int8, not 'rate'\.$"
    ):
        code_of(mlp(), "rate")


def test_ordinary_network_without_samples_is_one_sentence() -> None:
    with pytest.raises(MappingError, match=r"runs in the graded code, .*: give --data with samples "):
        compile_network(mlp(), core="medium")


def test_part_that_is_always_zero_makes_no_other_one_coarse() -> None:
    """Of a square two neurons have one step; below zero there is nothing that would say how large it is."""
    b = ModelBuilder((5,))
    y = b.op("Sigmoid", b.dense("x", b.rng.normal(size=(6, 5))))
    y = b.op("Add", b.op("Mul", y, y), b.op("Relu", b.dense("x", b.rng.normal(size=(6, 5)) / 4)))
    network = b.network(b.op("Relu", y))
    spiking = graded(network)
    assert spiking.host_share == 0
    assert error(spiking, network) < 0.1


OPTIONS = {
    "bits": (GradedOptions(bits=9), r"^Bits of an activation must be 2\.\.8, not 9\.$"),
    "digits": (GradedOptions(digits=0), r"^Digits of a weight must be auto or 1\.\.7, not 0\.$"),
    "payload": (GradedOptions(bits=6, digits=4), r"choose at most 5 bits, or the core size medium\.$"),
    "strengths": (GradedOptions(bits=5, digits=7), r"choose at most 4 digits, or the core size reference\.$"),
    "both": (
        GradedOptions(),
        (
            r"^Activations of 8 bits need payloads of 9 bits \(the core has 6\) and weights of 5 digits need "
            r"as many strengths \(the core has 4\): choose at most 5 bits and 4 digits, or the core size "
            r"medium\.$"
        ),
    ),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_beyond_a_core_are_one_sentence(name: str) -> None:
    options, sentence = OPTIONS[name]
    with pytest.raises(MappingError, match=sentence):
        convert_graded(mlp(), calibration(mlp()), preset("small"), options)


@pytest.mark.parametrize(
    ("options", "core"),
    [
        (GradedOptions(bits=5, digits=4), "small"),
        (GradedOptions(bits=6, digits=4), "medium"),
        (GradedOptions(bits=5, digits=7), "reference"),
        (GradedOptions(), "medium"),
    ],
)
def test_options_that_the_sentences_name_work(options: GradedOptions, core: str) -> None:
    assert error(convert_graded(mlp(), calibration(mlp()), preset(core), options), mlp()) < 0.2


def host_last() -> Network:
    """A network with a product of two activations before its head."""
    b = ModelBuilder((5,))
    y = b.op("Relu", b.dense("x", b.rng.normal(size=(6, 5))))
    y = b.op(
        "Mul",
        b.op("Relu", b.dense(y, b.rng.normal(size=(4, 6)))),
        b.op("Tanh", b.dense(y, b.rng.normal(size=(4, 6)))),
    )
    return b.network(b.dense(y, b.rng.normal(size=(2, 4))))


def host_first() -> Network:
    """A network whose input is squared before everything else."""
    b = ModelBuilder((5,))
    y = b.op("Mul", "x", "x")
    y = b.op("Relu", b.dense(y, b.rng.normal(size=(6, 5)), b.rng.normal(size=6)))
    return b.network(b.dense(y, b.rng.normal(size=(2, 6))))


@pytest.mark.parametrize("build", [host_last, host_first])
def test_what_no_neuron_computes_is_the_hosts(build: Any) -> None:
    network = build()
    spiking = graded(network)
    assert error(spiking, network) < 0.1
    chip = compile_network(network, core="medium", samples=calibration(network))
    x = calibration(network, n=4, seed=3)
    want = decode(spiking, simulate(spiking, encode(spiking, x)), x)
    assert np.array_equal(chip.run(x).logits, want)
    share = spiking.host_share
    assert share is not None
    assert (share > 0) == (build is host_last)


def test_strict_refuses_what_the_host_would_do() -> None:
    network = host_last()
    with pytest.raises(UnsupportedModelError, match=r"^Layer .* would run on the host because "):
        compile_network(network, core="medium", samples=calibration(network), strict=True)


def test_layer_that_fits_no_core_is_the_hosts() -> None:
    b = ModelBuilder((40,))
    y = b.op("Relu", b.dense("x", b.rng.normal(size=(300, 40))))
    network = b.network(b.dense(y, b.rng.normal(size=(3, 300))))
    spec = MEDIUM.resized(axons=64, max_extension=1)
    spiking = convert_graded(network, calibration(network), spec, fits=fits(spec))
    assert len(spiking.layers) == 1
    assert "axons for the inputs of one neuron" in spiking.host[0].reason


def test_rows_of_too_many_inputs_are_rounded_each_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """What thousands of inputs have in common takes gigabytes, for a row that no core holds."""

    def of_few(inputs: NDArray[np.float64], *truth: NDArray[np.float64]) -> Elimination:
        assert inputs.shape[2] == 2
        return elimination(inputs, *truth)

    monkeypatch.setattr("mapping.codes.graded.layers.elimination", of_few)
    b = ModelBuilder((9217,))
    wide = b.op("Relu", b.dense("x", b.rng.normal(size=(2, 9217))))
    network = b.network(b.dense(wide, b.rng.normal(size=(3, 2))))
    spiking = convert_graded(network, calibration(network), MEDIUM, fits=fits(MEDIUM))
    assert [layer.rows for layer in spiking.layers] == [3]
    assert "axons for the inputs of one neuron but 2048 are allowed" in spiking.host[0].reason


def test_damaged_archive_is_one_sentence() -> None:
    from mapping.spiking.archive import spiking_from_arrays, spiking_to_arrays

    spiking = graded(mlp())
    arrays = spiking_to_arrays(spiking)
    assert (
        spiking_from_arrays(arrays, spiking.network).layers[0].edges.tolist()
        == spiking.layers[0].edges.tolist()
    )
    for name in [name for name in arrays if name != "spiking"]:
        wrong = {**arrays, name: arrays[name][:-1]}
        with pytest.raises(MappingError, match=r"no readable integer network .*; compile the model again\.$"):
            spiking_from_arrays(wrong, spiking.network)
    with pytest.raises(MappingError, match="no readable integer network"):
        spiking_from_arrays({}, spiking.network)


def test_saturation_of_what_is_kept_is_refused() -> None:
    """A skip that could overflow a potential before its layer fires is the host's, not a wrong count."""
    spiking = graded(residual(0))
    narrow = MEDIUM.resized(potential_bits=18, sum_bits=24)
    from mapping.errors import InfeasibleError

    layers = tuple(
        replace(layer, sources=tuple(replace(source, shift=3) for source in layer.sources))
        for layer in spread(spiking).layers
    )
    with pytest.raises(InfeasibleError, match="potential"):
        fit(replace(spiking, layers=layers), narrow)
