# SPDX-License-Identifier: Apache-2.0
"""Frames of events against a count of one event at a time, their scale, and a network that reads them."""

import json
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from mapping.chip import open_chip
from mapping.codes.convert import convert
from mapping.datasets.events import Options, three_sigma
from mapping.datasets.load import Dataset, accuracy, load_data, scaled
from mapping.diagnosis.input_scale import Scaling, check_input_scale
from mapping.errors import MappingError
from mapping.model.evaluate import infer
from mapping.model.load import load_network
from mapping.spiking.simulate import compare
from sim_tests.generators.event_files import (
    LABELS,
    SENSOR,
    events_npz,
    naive_frames,
    random_events,
    three_npz,
    three_recordings,
)
from sim_tests.generators.model_builder import ModelBuilder
from spikeloom.cli import main


@pytest.mark.parametrize("size", [(6, 5), (4, 3), (1, 1), (3, 5)])
@pytest.mark.parametrize("events", [0, 1, 7, 23])
def test_frames_are_counts_of_single_events(tmp_path: Path, events: int, size: tuple[int, int]) -> None:
    for seed in range(5):
        source = three_npz(tmp_path, seed)
        options = f"events={events or 'all'},sensor=6x5,size={size[0]}x{size[1]}"
        data = load_data(f"{source}:{options}")
        expected, of = naive_frames(three_recordings(seed), SENSOR, size, events)
        assert data.name == f"{source}:{options}"
        assert (str(data.x.dtype), data.x.shape, data.events) == ("float64", (len(of), 2, *size[::-1]), True)
        assert (data.x == np.array(expected)).all()
        assert data.y is not None
        assert data.y.tolist() == [LABELS[number] for number in of]


def test_default_is_a_frame_a_recording_or_5000_events(tmp_path: Path) -> None:
    assert (load_data(three_npz(tmp_path, 1)).x == load_data(three_npz(tmp_path, 1) + ":events=all").x).all()
    events = random_events(np.random.default_rng(3), 12_345, *SENSOR)
    data = load_data(events_npz(tmp_path, events))
    assert (data.x.shape, data.y, data.pixels) == ((2, 2, 5, 6), None, False)
    assert (data.x == np.array(naive_frames([events], SENSOR, SENSOR, 5000)[0])).all()
    labelled = load_data(events_npz(tmp_path, events, labels=[4]))
    assert labelled.y is not None
    assert labelled.y.tolist() == [4, 4]


@pytest.mark.parametrize(
    ("dtype", "p"),
    [
        (np.uint8, [0, 1, 1, 0]),
        (np.int8, [-1, 1, 1, -1]),
        (np.bool_, [False, True, True, False]),
        (np.uint64, [0, 1, 1, 0]),
    ],
)
@pytest.mark.parametrize(
    "t", [[0.0, 0.5, 0.5, 2.0], np.array([2**63, 2**63, 2**64 - 1, 2**64 - 1], np.uint64)]
)
def test_types_of_arrays(tmp_path: Path, dtype: type[np.generic], p: list[int], t: Any) -> None:
    x = np.array([0, 1, 1, 2], np.uint8 if dtype == np.uint8 else np.int64)
    data = load_data(events_npz(tmp_path, [], t=t, x=x, y=x, p=np.array(p, dtype)) + ":events=all")
    assert data.x[0].tolist() == [[[1, 0, 0], [0, 0, 0], [0, 0, 1]], [[0, 0, 0], [0, 2, 0], [0, 0, 0]]]


def test_recordings_have_clocks_of_their_own(tmp_path: Path) -> None:
    columns = {"t": [5, 6, 0, 9], "x": [0] * 4, "y": [0] * 4, "p": [1] * 4}
    assert (
        load_data(events_npz(tmp_path, [], **columns, offsets=[0, 2, 4])).x.tolist() == [[[[0]], [[2]]]] * 2
    )
    with pytest.raises(MappingError, match=r"Event 2 of .* is at time 0, after one at 6"):
        load_data(events_npz(tmp_path, [], **columns))


@pytest.mark.parametrize("shape", [(2, 5, 6), (5, 6, 2), (60,)])
def test_polarities_are_two_channels(tmp_path: Path, shape: tuple[int, ...]) -> None:
    data = load_data(three_npz(tmp_path, 2))
    expected = np.moveaxis(data.x, 1, 3) if shape == (5, 6, 2) else data.x
    assert (data.shaped(shape).x == expected.reshape(3, *shape)).all()


@pytest.mark.parametrize("shape", [(1, 5, 6), (5, 6, 1), (5, 6), (30,)])
def test_one_channel_is_the_sum_of_polarities(tmp_path: Path, shape: tuple[int, ...]) -> None:
    data = load_data(three_npz(tmp_path, 2))
    shaped = data.shaped(shape)
    assert (shaped.x == (data.x[:, 0] + data.x[:, 1]).reshape(3, *shape)).all()
    assert (shaped.shaped(shape).x == shaped.x).all()


@pytest.mark.parametrize("shape", [(2, 6, 5), (3, 5, 6), (1, 4, 6), (2, 5, 3), (20,)])
def test_frames_of_another_size_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    source = three_npz(tmp_path, 2)
    with pytest.raises(MappingError) as error:
        load_data(source).shaped(shape)
    assert str(error.value) == (
        f"Data {source} have samples of shape (2, 5, 6), the network wants {shape}; sensor=WxH and size=WxH "
        "set the size of event frames."
    )


def naive_three_sigma(frame: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest integer not above mean + 3 deviations, found by trying, with fractions."""
    counts = [int(v) for v in frame.flat if v]
    mean = Fraction(sum(counts), len(counts))
    variance = sum((c - mean) ** 2 for c in counts) / len(counts)
    limit = int(mean)
    while limit + 1 <= mean or (limit + 1 - mean) ** 2 <= 9 * variance:
        limit += 1
    kept = [[min(int(v), limit) for v in row] for row in frame.reshape(len(frame), -1)]
    top = max(max(row) for row in kept)
    return np.array([[v / top for v in row] for row in kept]).reshape(frame.shape)


def test_three_sigma_equals_fractions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    clipped = 0
    for _ in range(200):
        frame = rng.poisson(rng.uniform(0.2, 3), (2, 5, 6)).astype(np.float64)
        frame[0, 0, 0] = rng.integers(1, 100)
        got = three_sigma(frame[None])[0]
        assert (got == naive_three_sigma(frame)).all()
        assert got.max() == 1.0
        clipped += bool((got != frame / frame.max()).any())
    assert 50 < clipped < 200


def test_three_sigma_is_computed_in_integers() -> None:
    # eight counts of 1 and one of 10: mean 2, deviation sqrt(8), limit floor(10.485); with 14: floor(14.7)
    for top, limit in ((10, 10), (14, 14)):
        frame = np.array([1.0] * 8 + [top, 0.0])
        assert (three_sigma(frame[None])[0] == np.minimum(frame, limit) / limit).all()
    frame = np.array([1.0] * 11 + [50.0])
    assert three_sigma(frame[None])[0, 0] == 1 / 45  # mean 61/12, deviation 13.54, limit floor(45.71)
    assert (three_sigma(np.array([[3.0, 0, 3]]))[0] == [1, 0, 1]).all()


def network() -> ModelBuilder:
    return ModelBuilder((2, *SENSOR[::-1]), seed=1)


def test_scales_of_counts(tmp_path: Path) -> None:
    b = network()
    y = b.head(b.op("Flatten", b.quantise("x", 0, 3.0)), 60)
    data, net = load_data(three_npz(tmp_path, 2)), b.network(y)
    for how, expected in (
        ("raw", data.x),
        ("unit", data.x),
        ("0.5,2", (data.x - 0.5) / 2),
        ("3sigma", np.array([naive_three_sigma(frame) for frame in data.x])),
    ):
        given, chosen = scaled(data, how, net)
        assert chosen == how
        assert (given.x == expected).all()
    assert scaled(data, "auto", net)[1] == "unit"


def test_three_sigma_of_one_channel_is_that_of_the_sum(tmp_path: Path) -> None:
    b = ModelBuilder((1, *SENSOR[::-1]), seed=1)
    net = b.network(b.head(b.op("Flatten", b.quantise("x", 2, 1.0)), 30))
    data = load_data(three_npz(tmp_path, 4))
    expected = [naive_three_sigma(frame.sum(axis=0, keepdims=True)) for frame in data.x]
    assert (scaled(data, "3sigma", net)[0].x == np.array(expected)).all()


def test_three_sigma_is_for_events() -> None:
    b = network()
    net = b.network(b.head(b.op("Flatten", b.quantise("x")), 60))
    with pytest.raises(MappingError) as error:
        scaled(Dataset(name="d", x=np.ones((1, 2, 5, 6)), y=None), "3sigma", net)
    assert str(error.value) == "Input 3sigma is for counts of events, which data d are not."


def test_three_sigma_has_no_other_factor(tmp_path: Path) -> None:
    b = network()
    y = b.quantise(b.conv(b.quantise("x", 2, 1.0), b.ternary(3, 2, 2, 2)))
    b.model(b.head(b.op("Flatten", y), 60))
    net = b.network(b.head(b.op("Flatten", y), 60))
    x = scaled(load_data(three_npz(tmp_path, 2)), "3sigma", net)[0].x
    assert [c.factor for c in check_input_scale(convert(net), x, None, Scaling(how="3sigma")).candidates] == [
        1
    ]
    assert len(check_input_scale(convert(net), x, None, Scaling(how="unit")).candidates) > 1


def test_options_are_read() -> None:
    assert Options.parse("") == Options()
    assert Options.parse("size=3x4,events=all,sensor=10x20") == Options(
        events=0, size=(3, 4), sensor=(10, 20)
    )


NMNIST = "events/nmnist_train200.npz"


@pytest.fixture
def recordings(data_dir: Path) -> str:
    """Return the published N-MNIST recordings."""
    if not (data_dir / NMNIST).is_file():
        pytest.skip(f"SPIKELOOM_DATA names no folder with {NMNIST}")
    return str(data_dir / NMNIST)


def test_published_recordings_are_counted_one_by_one(recordings: str) -> None:
    data = load_data(recordings)
    with np.load(recordings) as arrays:
        columns = {name: arrays[name].tolist() for name in (*"txyp", "offsets", "labels")}
    events = list(zip(*(columns[name] for name in "txyp"), strict=True))
    bounds = columns["offsets"]
    parts = [events[start:end] for start, end in pairwise(bounds)]
    assert data.x.shape == (200, 2, 34, 34)
    assert (data.x == np.array(naive_frames(parts, (34, 34), (34, 34), 0)[0])).all()
    assert data.y is not None
    assert data.y.tolist() == columns["labels"]
    short = load_data(f"{recordings}:events=1500,sensor=34x34,size=16x16")
    expected, of = naive_frames(parts, (34, 34), (16, 16), 1500)
    assert (short.x == np.array(expected)).all()
    assert short.y is not None
    assert short.y.tolist() == [columns["labels"][at] for at in of]


def event_network(path: Path) -> str:
    """A quantised convolution network for N-MNIST frames, with weights of no meaning."""
    b = ModelBuilder((2, 34, 34), seed=3)
    y = b.quantise(b.conv(b.quantise("x", 2, 0.75), b.ternary(4, 2, 5, 5), strides=[3, 3]), 1, 1.0)
    y = b.quantise(b.norm(b.conv(y, b.ternary(6, 4, 3, 3), strides=[2, 2]), 6), 1, 1.0)
    onnx.save(b.model(b.head(b.op("Flatten", y), 6 * 4 * 4, 10)), path)
    return str(path)


def test_network_on_published_recordings_equals_its_truth(
    recordings: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, image, out = event_network(tmp_path / "m.onnx"), str(tmp_path / "m.spikeloom"), tmp_path / "o.json"
    options = ["--data", recordings, "--input", "3sigma"]
    assert main(["estimate", model, *options, "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert main(["compile", model, *options, "-o", image]) == 0
    assert main(["run", image, "--data", recordings, "--json", str(out)]) == 0
    assert "Input: 3sigma" in capsys.readouterr().out
    result, chip, net = json.loads(out.read_text()), open_chip(image), load_network(model)
    data, how = chip.prepare(load_data(recordings))
    truth = infer(net, data.x)
    assert (chip.run(data.x).logits == truth).all()
    comparison = compare(chip.spiking, data.x)
    assert comparison.neurons > 200 * 400
    assert comparison.differences == 0
    expected = accuracy(truth, data.y)
    assert (report["input"], result["input"], how) == ("3sigma", "3sigma", "3sigma")
    assert report["targets"][0]["samples"] == result["samples"] == 200
    assert report["targets"][0]["accuracy"] == result["accuracy"] == expected
    assert report["targets"][0]["spikes"] > 100
