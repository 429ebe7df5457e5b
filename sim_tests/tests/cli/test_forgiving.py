# SPDX-License-Identifier: Apache-2.0
"""Bad files and bad values: one sentence and the documented exit code."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from emu.container import load_image
from emu.image import ImageError
from mapping.datasets.load import load_data
from mapping.errors import MappingError
from sim_tests.generators.sound_files import small_chip, small_models
from sim_tests.robustness import fuzz as fuzzer
from sim_tests.robustness.fuzz import fuzz, same_image
from sim_tests.robustness.mutations import bytes_of, flip_byte, npz_of
from sim_tests.robustness.processes import refused
from spikeloom.cli import main

Out = pytest.CaptureFixture[str]

CASES = 300
"""Damaged files of each kind in an ordinary run."""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network as an image file."""
    path = tmp_path_factory.mktemp("image") / "small.spikeloom"
    small_chip().save(path)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network as an ONNX file."""
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    path.write_bytes(small_models()[0])
    return path


@pytest.mark.parametrize("name", fuzzer.READERS)
def test_damaged_files_are_refused_or_work(name: str, seed: int) -> None:
    """300 cases of each reader: bytes anywhere, and edits that keep a file's structure."""
    tally = fuzz(name, cases=CASES, seed=seed)
    assert tally.cases == CASES
    assert tally.failures == []
    assert tally.ends["refused"] >= CASES // 3
    assert tally.ends["refused"] < CASES


@pytest.mark.long
@pytest.mark.parametrize("name", fuzzer.READERS)
def test_many_damaged_files_are_refused_or_work(name: str, seed: int) -> None:
    tally = fuzz(name, cases=20_000, seed=seed)
    assert tally.failures == []


def test_name_of_a_member_with_a_line_break_is_refused(image: Path, tmp_path: Path, capsys: Out) -> None:
    path = tmp_path / "broken.spikeloom"
    path.write_bytes(image.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("core/0/li\nnes.npy", b"")
    refused(["run", str(path), "--data", "digits"], "does not belong to an image", capsys)


def test_width_that_is_no_whole_number_is_refused(tmp_path: Path) -> None:
    path, made = tmp_path / "chip.json", fuzzer.READERS["design"].make
    texts = (made(np.random.default_rng(number))[1] for number in range(100))
    designs = (json.loads(text) for text in texts if text.startswith(b"{") and text.rstrip().endswith(b"}"))
    design = next(
        d for d in designs if isinstance(d.get("spec"), dict) and type(d["spec"].get("width")) is int
    )
    for width, end in ((1.0, "refused"), (True, "refused")):
        design["spec"]["width"], tally = width, fuzzer.Tally()
        path.write_text(json.dumps(design))
        fuzzer.offer("design", path, tally, "design")
        assert (tally.failures, dict(tally.ends)) == ([], {end: 1})


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2Jb", "a\u2028b"])
def test_names_from_a_file_stay_on_one_line(name: str, tmp_path: Path, capsys: Out) -> None:
    """Neither a line break nor a terminal's escape sequence leaves the file that holds it."""
    path = tmp_path / "x.npz"
    path.write_bytes(npz_of({name: np.zeros(3)}))
    sentence = refused(["estimate", "digits", "--data", str(path)], "has no array x, only a\\", capsys)
    assert sentence.rstrip("\n").isprintable()


def test_fuzzer_finds_a_planted_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(path: Path) -> str:
        return str(np.load(path)["x"].sum())

    monkeypatch.setitem(
        fuzzer.READERS,
        "npz",
        fuzzer._Reader(make=fuzzer.READERS["npz"].make, read=careless, refusals=(MappingError,)),
    )
    tally = fuzz("npz", cases=60, seed=0)
    assert tally.failures
    assert tally.failures[0].startswith("npz case ")


def test_fuzzer_runs_as_a_program(capsys: Out) -> None:
    assert fuzzer.main(["target", "--cases", "5", "--seed", "3"]) == 0
    assert capsys.readouterr().out.startswith("target: 5 cases: ")


def test_flipped_bytes_of_an_image_are_detected_or_harmless(image: Path, tmp_path: Path, seed: int) -> None:
    """1000 flips of one byte, anywhere: `ImageError`, or an image that is equal in every field."""
    data, sound, rng = image.read_bytes(), load_image(image), np.random.default_rng(seed)
    path, detected = tmp_path / "flipped.spikeloom", 0
    for _ in range(1000):
        path.write_bytes(flip_byte(data, rng))
        try:
            loaded = load_image(path)
        except ImageError:
            detected += 1
        else:
            assert same_image(loaded, sound)
    assert 800 < detected < 1000  # the others hit what a zip file says twice or not at all


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cut=st.floats(0, 1, exclude_max=True))
def test_truncated_image_is_refused(image: Path, tmp_path: Path, cut: float) -> None:
    data = image.read_bytes()
    path = tmp_path / "cut.spikeloom"
    path.write_bytes(data[: int(cut * len(data))])
    with pytest.raises(ImageError, match=r"cut\.spikeloom"):
        load_image(path)


FOREIGN = {
    "empty": b"",
    "text": b"# a text\n",
    "zip magic": b"PK\x03\x04 no zip",
    "pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.",
    "picture": b"\x89PNG\r\n\x1a\n" + bytes(200),
    "other zip": npz_of({"a": np.zeros(3)}),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_foreign_files_of_every_kind_are_refused(
    content: bytes, model: Path, tmp_path: Path, capsys: Out
) -> None:
    kinds = {
        "a.spikeloom": ["run", "{}", "--data", "digits"],
        "b.spikeloom": ["verilog", "{}", "-o", str(tmp_path / "design")],
        "a.onnx": ["compile", "{}", "-o", str(tmp_path / "x.spikeloom")],
        "a.npz": ["estimate", str(model), "--data", "{}"],
        "a.toml": ["estimate", str(model), "--data", "digits", "--target", "{}"],
    }
    for name, command in kinds.items():
        path = tmp_path / name
        path.write_bytes(content)
        sentence = refused([word.format(path) for word in command], name, capsys)
        assert len(sentence) < 400
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kinds)


def test_image_of_another_version_is_refused(image: Path, tmp_path: Path, capsys: Out) -> None:
    path = tmp_path / "newer.spikeloom"
    with zipfile.ZipFile(image) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"spikeloom.image/5", b"spikeloom.image/9"))
    refused(
        ["run", str(path), "--data", "digits"],
        "format must be 'spikeloom.image/5', not 'spikeloom.image/9'; use the version",
        capsys,
    )


def test_target_of_another_version_is_refused(tmp_path: Path, capsys: Out) -> None:
    assert main(["targets", "show", "loom"]) == 0
    path = tmp_path / "newer.toml"
    path.write_text(capsys.readouterr().out.replace("version = 2", "version = 3"))
    refused(["estimate", "digits", "--data", "digits", "--target", str(path)], "target.version in", capsys)


# --- data -------------------------------------------------------------------------------------------------

GOOD = np.full((4, 2, 6, 6), 0.5)
DATA: dict[str, tuple[dict[str, NDArray[np.generic]], str]] = {
    "no x": ({"y": np.arange(4)}, "has no array x, only y"),
    "no sample": ({"x": GOOD[:0]}, "must hold numbers, one row per sample, not float64 (0, 2, 6, 6)"),
    "one dimension": ({"x": np.zeros(4)}, "not float64 (4,)"),
    "text": ({"x": np.array([["a"]])}, "not <U1 (1, 1)"),
    "complex": ({"x": GOOD.astype(complex)}, "not complex128"),
    "NaN": ({"x": np.where(np.arange(4)[:, None, None, None] == 2, np.nan, GOOD)}, "sample 2 is not"),
    "infinite": ({"x": GOOD * np.inf}, "must be finite; sample 0 is not"),
    "other shape": ({"x": np.zeros((4, 3, 6, 6))}, "shape (3, 6, 6), the network wants (2, 6, 6)"),
    "fewer labels": ({"x": GOOD, "y": np.arange(3)}, "must hold 4 integer labels, not int64 (3,)"),
    "labels of floats": ({"x": GOOD, "y": np.full(4, 0.5)}, "must hold 4 integer labels, not float64 (4,)"),
    "negative label": ({"x": GOOD, "y": np.array([0, 1, -1, 0])}, "have the label -1 at sample 2"),
    "huge label": ({"x": GOOD, "y": np.full(4, 2**63, np.uint64)}, f"sample 0 has {2**63}"),
    "label beyond": (
        {"x": GOOD, "y": np.array([0, 2, 3, 1])},
        "have the label 3 at sample 2, the network has outputs 0..2; number",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("arrays", "part"), DATA.values(), ids=DATA)
def test_bad_data_are_refused(
    *,
    arrays: dict[str, NDArray[np.generic]],
    part: str,
    image: Path,
    model: Path,
    tmp_path: Path,
    capsys: Out,
) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(npz_of(arrays))
    refused(["run", str(image), "--data", str(path)], part, capsys)
    refused(["estimate", str(model), "--data", str(path), "--target", "kuang2021"], part, capsys)


def test_labels_of_other_samples_do_not_matter(image: Path, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(npz_of({"x": GOOD, "y": np.array([0, 2, 3, 1])}))
    assert main(["run", str(image), "--data", str(path), "--samples", "2"]) == 0


def test_data_without_labels_run(image: Path, tmp_path: Path, capsys: Out) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(npz_of({"x": GOOD}))
    assert main(["run", str(image), "--data", str(path)]) == 0
    assert "accuracy" in capsys.readouterr().out


def test_array_that_claims_to_be_huge_is_refused_without_memory(tmp_path: Path) -> None:
    path = tmp_path / "huge.npz"
    small = bytes_of(np.zeros(8, np.uint8))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", small.replace(b"(8,), }                 ", b"(4611686018427387904,), }"))
    with pytest.raises(MappingError, match=r"claims the shape \(4611686018427387904,\)"):
        load_data(str(path))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(scale=st.floats(allow_nan=False, allow_infinity=False), shift=st.floats(-1e308, 1e308))
def test_any_finite_data_run_or_are_refused(tmp_path: Path, scale: float, shift: float) -> None:
    with np.errstate(over="ignore"):
        x = np.linspace(-1, 1, 72).reshape(1, 2, 6, 6) * scale + shift
    path = tmp_path / "data.npz"
    path.write_bytes(npz_of({"x": x}))
    chip = small_chip()
    try:
        inference = chip.run(load_data(str(path)).shaped(chip.input_shape).x)
    except MappingError:
        return
    assert not np.isnan(inference.logits).any()
