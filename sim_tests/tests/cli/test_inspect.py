# SPDX-License-Identifier: Apache-2.0
"""Inspection with data: planted faults are named, and a clean model raises no warning."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from emu.container import save_image
from emu.image import CoreImage, SystemImage
from mapping.codes.convert import convert
from mapping.datasets.load import Dataset, load_data
from mapping.diagnosis.difference import First
from mapping.diagnosis.finding import WARNING, Finding
from mapping.diagnosis.findings import find
from mapping.diagnosis.layers import Diagnosis, diagnose
from mapping.flow import compile_network
from mapping.model.load import load_network
from mapping.spiking.matrices import operation_counts
from mapping.spiking.network import INPUT, SpikingNetwork
from mapping.spiking.quantisers import Lists
from mapping.spiking.simulate import compare, encode, simulate
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.spiking_models import CONVS, POOLS, images, naive_counts, one_conv, pooled_network
from spikeloom.cli import main

KEYS = {
    "schema",
    "version",
    "model",
    "image_digest",
    "data",
    "input",
    "samples",
    "ann_accuracy",
    "accuracy",
    "image_accuracy",
    "host_layers",
    "host_share",
    "network",
    "image",
    "output",
    "image_output",
    "layers",
    "input_scale",
    "input_order",
    "input_normalisation",
    "layer_scale",
    "attribution",
    "violations",
    "errors",
    "findings",
}


@pytest.fixture(scope="module")
def digits() -> SpikingNetwork:
    """The shipped network."""
    return convert(load_network("digits"))


@pytest.fixture(scope="module")
def data(digits: SpikingNetwork) -> Dataset:
    """Sixty handwritten digits."""
    return load_data("digits").first(60).shaped(digits.network.shapes[digits.network.input])


@pytest.fixture(scope="module")
def sound() -> SystemImage:
    """The shipped network on small cores."""
    return compile_network(load_network("digits"), core="small").image


def warnings(diagnosis: Diagnosis) -> list[Finding]:
    return [finding for finding in find(diagnosis) if finding.level == WARNING]


def inspect(tmp_path: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Run the command on twenty digits and return its JSON."""
    out = tmp_path / "inspect.json"
    flags = ["--data", "digits", "--samples", "20", "--json", str(out)]
    assert main(["inspect", *arguments, *flags]) == code
    result: dict[str, Any] = json.loads(out.read_text())
    assert result["schema"] == "spikeloom.inspect/1"
    assert set(result) == KEYS
    return result


def edited(image: SystemImage, layer: int, edit: Callable[[CoreImage], CoreImage]) -> SystemImage:
    """Return the image with the first core of a layer edited."""
    placed = image.attachments["placed"]
    index = int(placed[placed[:, 0] == layer, 2].min())
    core = image.cores[index]
    assert core is not None
    return image.replace(cores=(*image.cores[:index], edit(core), *image.cores[index + 1 :]))


def saved(image: SystemImage, tmp_path: Path) -> str:
    path = tmp_path / "planted.spikeloom"
    save_image(image, path)
    return str(path)


def with_wrong_threshold(core: CoreImage, *, neuron: int, by: int, levels: int = 4) -> CoreImage:
    """Give one neuron a list of thresholds of its own, the second of which is off."""
    base = int(core.threshold_base[neuron])
    own = core.thresholds[base : base + levels].copy()
    own[1] += by
    bases = core.threshold_base.copy()
    bases[neuron] = len(core.thresholds)
    thresholds = np.concatenate([core.thresholds, own])
    return dataclasses.replace(core, thresholds=thresholds, threshold_base=bases)


def test_clean_model_raises_no_warning(digits: SpikingNetwork, data: Dataset) -> None:
    diagnosis = diagnose(digits, data.x, data.y)
    assert diagnosis.network is not None
    assert [finding.kind for finding in find(diagnosis)] == ["network-equal"]
    assert find(diagnosis)[0].text == (
        f"The spiking network equals the quantised network on all {diagnosis.network.compared} activations: "
        "accuracy lost before conversion cannot be found here."
    )


@pytest.mark.parametrize("samples", [1, 2, 20])
def test_clean_model_raises_no_warning_on_few_samples(
    digits: SpikingNetwork, data: Dataset, samples: int
) -> None:
    assert data.y is not None
    assert warnings(diagnose(digits, data.x[:samples], data.y[:samples])) == []
    assert warnings(diagnose(digits, data.x[:samples])) == []


def test_clean_image_equals_its_network_and_counts_in_hardware(sound: SystemImage, tmp_path: Path) -> None:
    result = inspect(tmp_path, saved(sound, tmp_path))
    assert [finding["level"] for finding in result["findings"]] == ["note", "note"]
    assert result["violations"] == {"count": 0, "listed": []}
    assert result["image"]["different"] == result["errors"] == 0
    assert result["image"]["compared"] == result["network"]["compared"] == 20 * (768 + 256 + 64 + 10)
    assert result["accuracy"] == result["image_accuracy"] == result["ann_accuracy"]
    assert result["image_digest"] == sound.digest
    for layer in result["layers"][1:]:
        assert 0 < layer["synaptic_operations"] < layer["synaptic_operations_logical"]
        assert layer["saturations"] == 0


def test_diagnosis_agrees_with_simulation(digits: SpikingNetwork, data: Dataset) -> None:
    diagnosis, counts = diagnose(digits, data.x, data.y), simulate(digits, encode(digits, data.x))
    operations, together = operation_counts(digits, counts), compare(digits, data.x)
    assert diagnosis.network is not None
    assert (diagnosis.network.compared, diagnosis.network.different) == (together.neurons, 0)
    for layer in diagnosis.layers:
        own = counts[layer.name].reshape(60, -1)
        assert layer.spikes == own.sum() / 60
        assert layer.rate == pytest.approx(own.mean() / layer.levels)
        assert layer.silent == (own == 0).all(axis=0).sum()
        assert layer.full == (own == layer.levels).all(axis=0).sum()
        assert layer.zero_share == np.mean(own == 0)
        assert layer.clipped_share == np.mean(own == layer.levels)
        if layer.name != INPUT:
            assert layer.operations_logical == operations[layer.name].logical.mean()
            assert layer.operations_dense == operations[layer.name].dense.mean()


def test_blocks_give_what_one_block_gives(
    digits: SpikingNetwork, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = diagnose(digits, data.x, data.y)
    monkeypatch.setattr("mapping.diagnosis.layers.BLOCK", 7)
    assert diagnose(digits, data.x, data.y) == whole


@pytest.mark.parametrize("spiking", [*(one_conv(**c) for c in CONVS), *(pooled_network(p) for p in POOLS)])
def test_observed_sums_are_those_that_decide(spiking: SpikingNetwork) -> None:
    x = images()
    counts = simulate(spiking, encode(spiking, x))
    for layer, result in zip(spiking.layers, diagnose(spiking, x).layers[1:], strict=True):
        sums = result.sums
        assert sums is not None
        assert sums.reachable[0] <= sums.observed[0] <= sums.observed[1] <= sums.reachable[1]
        assert np.array_equal(
            naive_counts(layer, counts[layer.only.name]), counts[layer.name].reshape(12, -1)
        )
        rows = np.moveaxis(counts[layer.name], 1, 0).reshape(layer.rows, -1)
        assert sums.never_reached == int((layer.levels - rows.max(axis=1)).sum())
        assert sums.unreachable <= sums.never_reached <= sums.thresholds == layer.edges.size


@pytest.mark.parametrize("by", [-1, 1])
def test_planted_wrong_threshold_is_named(sound: SystemImage, by: int, tmp_path: Path) -> None:
    wrong = edited(sound, 1, lambda core: with_wrong_threshold(core, neuron=37, by=by))
    result = inspect(tmp_path, saved(wrong, tmp_path), code=1)
    placed = sound.attachments["placed"]
    core = int(placed[placed[:, 0] == 1, 2].min())
    element = int(placed[(placed[:, 2] == core) & (placed[:, 3] == 37), 1][0])
    finding = result["findings"][0]
    assert (finding["level"], finding["kind"]) == ("difference", "thresholds")
    assert (finding["layer"], finding["neuron"]) == ("conv2.sum", element)
    value = int(convert(load_network("digits")).layers[1].edges[element // 16, 1])
    assert finding["text"] == (
        f"The image's thresholds differ from the network's at layer 'conv2.sum', neuron {element}: threshold "
        f"2 of 4 is {value + by} in the image and {value} in the network (core {core}, neuron 37 there)."
    )
    assert result["violations"]["count"] == 1
    assert [layer["network"]["different"] for layer in result["layers"][1:]] == [0, 0, 0]


def test_wrong_threshold_shows_in_the_activations(sound: SystemImage, tmp_path: Path) -> None:
    def edit(core: CoreImage) -> CoreImage:
        return dataclasses.replace(core, thresholds=core.thresholds - 1)

    result = inspect(tmp_path, saved(edited(sound, 0, edit), tmp_path), code=1)
    first = result["image"]["first"]
    assert (first["layer"], first["got"]) == ("conv1.sum", first["expected"] + 1)
    assert result["layers"][1]["image"]["different"] > 0
    kinds = [finding["kind"] for finding in result["findings"]]
    assert kinds == ["thresholds", "image-differs", "network-equal"]
    assert "95 more violations of this kind there" in result["findings"][0]["text"]
    assert "The emulated image differs from the spiking network in" in result["findings"][1]["text"]


def test_all_violations_are_reported_also_without_data(
    sound: SystemImage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def edit(core: CoreImage) -> CoreImage:
        cells = core.crossbar.copy()
        cells[tuple(np.argwhere(cells)[0])] = 0
        return dataclasses.replace(with_wrong_threshold(core, neuron=3, by=1), crossbar=cells)

    path = saved(edited(sound, 2, edit), tmp_path)
    assert main(["inspect", path]) == 1
    out = capsys.readouterr().out
    assert "difference: The image differs from its network at layer 'dense.sum', neuron" in out
    assert "wrong-weight: core" in out
    assert "difference: The image's thresholds differ from the network's at layer 'dense.sum', neuron" in out


def test_image_with_a_wrong_table_is_not_emulated(sound: SystemImage, tmp_path: Path) -> None:
    table = sound.attachments["placed"].copy()
    table[0, 3] = table[1, 3]
    wrong = sound.replace(attachments={**sound.attachments, "placed": table})
    result = inspect(tmp_path, saved(wrong, tmp_path), code=1)
    assert result["image"] is None
    assert result["findings"][0]["kind"] == "placed-table"
    assert result["network"]["different"] == 0


def test_output_that_cannot_be_read_is_a_finding(sound: SystemImage, tmp_path: Path) -> None:
    def edit(core: CoreImage) -> CoreImage:
        fanout = core.fanout.copy()
        fanout[:, 4] = fanout[0, 4]  # every output under the axon of the first
        return dataclasses.replace(core, fanout=fanout)

    result = inspect(tmp_path, saved(edited(sound, 2, edit), tmp_path), code=1)
    text = next(f["text"] for f in result["findings"] if f["kind"] == "image-output")
    assert text.startswith("The output of the emulated image cannot be read: Gateway axon")
    assert result["image_output"] is result["image_accuracy"] is None


def constant_layer(bias: float) -> SpikingNetwork:
    """A network whose second ternary layer is pushed far beyond all its thresholds."""
    b = ModelBuilder((6,))
    y = b.quantise("x")
    y = b.quantise(b.dense(y, b.ternary(8, 6), name="first"))
    y = b.quantise(b.dense(y, b.ternary(5, 8), np.full(5, bias), name="second"))
    return convert(b.network(b.head(y, 5)))


def test_silent_layer_is_named() -> None:
    diagnosis = diagnose(constant_layer(-100.0), images((6,)))
    found = warnings(diagnosis)
    assert [(finding.kind, finding.layer) for finding in found] == [("dead-layer", "second")]
    assert found[0].text == (
        "Layer 'second' is dead: none of its 5 neurons fires on any of the 12 samples; "
        "its thresholds lie above every sum that it can reach."
    )
    sums = diagnosis.layers[2].sums
    assert sums is not None
    assert sums.thresholds == sums.unreachable == sums.never_reached == 20


def test_full_layer_is_named() -> None:
    found = warnings(diagnose(constant_layer(100.0), images((6,))))
    assert [(finding.kind, finding.layer) for finding in found] == [("full-layer", "second")]
    assert "all of its 5 neurons are at the top level 4 on every one of the 12 samples" in found[0].text


def test_layer_silent_on_these_data_only_says_what_it_saw() -> None:
    found = warnings(diagnose(constant_layer(0.0), np.full((3, 6), -1.0)))
    second = next(finding for finding in found if finding.layer == "second")
    assert "; it can reach the sums -" in second.text
    assert second.text.endswith(" and saw 0..0, all below its thresholds.")


def test_float32_that_rounds_to_another_count_is_counted() -> None:
    b = ModelBuilder((1,))
    weight = np.nextafter(np.float32(0.5), np.float32(0))  # half of it is just below a threshold
    y = b.quantise(b.dense(b.quantise("x"), [[weight]], name="fc"))
    spiking = convert(b.network(b.head(y, 1)))
    diagnosis = diagnose(spiking, np.array([[0.0], [0.5], [2.0]]))
    assert [layer.float32_differs for layer in diagnosis.layers] == [0, 1]
    assert diagnosis.network is not None
    assert diagnosis.network.different == 0
    note = next(finding for finding in find(diagnosis) if finding.kind == "float32-differs")
    assert note.text == (
        "A float32 runtime gives another count for 1 of 6 activations, first in layer 'fc'; "
        "the truth here is float64."
    )


def test_spiking_network_that_differs_is_a_bug_and_named(digits: SpikingNetwork, data: Dataset) -> None:
    layer = digits.layers[0]
    thresholds: NDArray[np.int64] = layer.edges.copy()
    thresholds[0, 0] += 1
    wrong = dataclasses.replace(layer, quantiser=Lists(thresholds=thresholds))
    spiking = dataclasses.replace(digits, layers=(wrong, *digits.layers[1:]))
    diagnosis = diagnose(spiking, data.x, data.y)
    assert diagnosis.network is not None
    assert isinstance(diagnosis.network.first, First)
    assert diagnosis.network.first.layer == layer.name
    assert diagnosis.network.first.got == diagnosis.network.first.expected - 1
    found = [finding for finding in warnings(diagnosis) if finding.kind == "network-differs"]
    assert "please report it with the model" in found[0].text


def test_same_inspection_gives_the_same_text(tmp_path: Path) -> None:
    first = inspect(tmp_path, "digits")
    assert first == inspect(tmp_path, "digits")
    assert first["image"] is first["violations"] is first["image_digest"] is None


def test_model_is_compiled_for_a_core_size_and_emulated(tmp_path: Path) -> None:
    result = inspect(tmp_path, "digits", "--core", "small")
    assert result["image"]["different"] == 0
    assert result["violations"]["count"] == 0


def test_input_option_is_used_and_told(tmp_path: Path) -> None:
    result = inspect(tmp_path, "digits", "--input", "0,255")
    assert (result["input"], result["input_scale"]["choice"]) == ("0,255", "0,1")
    assert [f["kind"] for f in result["findings"] if f["level"] == "warning"] == ["input-scale"]


@pytest.mark.parametrize(
    ("core", "parts"),
    [
        ("small", ("10 of 4 x 3 cores", "240 / 256", "fullest core: 100.00 % of its columns")),
        ("reference", ("3 of 2 x 2 cores", "640 / 1,152", "fullest core: 75.00 % of its columns")),
    ],
)
def test_core_size_decides_what_is_shown(
    core: str, parts: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", "digits", "--core", core]) == 0
    told = capsys.readouterr().out
    assert [part for part in parts if part not in told] == []


def test_core_too_small_for_every_layer_is_refused_with_one_that_works(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["inspect", "digits", "--core", "tiny"]) == 2
    told = capsys.readouterr().err
    assert (
        "needs 57 axons for the inputs of one neuron but 32 are allowed; choose the core size small." in told
    )


def test_json_without_data_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "digits", "--json", str(tmp_path / "x.json")]) == 2
    message = "Give --data too: --input, --samples and --json are about what layers do on data."
    assert message in capsys.readouterr().err


def test_diagnosis_of_nothing_is_refused(digits: SpikingNetwork, data: Dataset) -> None:
    with pytest.raises(ValueError, match=r"^x must have at least one sample, not 0$"):
        diagnose(digits, data.x[:0])
