# SPDX-License-Identifier: Apache-2.0
"""Bad files, bad values, no room, no reader: one sentence, the documented exit code, nothing left."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from emu.container import load_image
from emu.image import ImageError
from mapping.datasets import load_data
from mapping.errors import MappingError
from sim_tests import fuzz as fuzzer
from sim_tests.fuzz import fuzz, same_image
from sim_tests.mutations import bytes_of, flip_byte, npz_of
from sim_tests.processes import half_written, leftovers, start
from sim_tests.sound_files import small_chip, small_models
from spikeloom.cli import main
from spikeloom.ending import EXIT_BUG, REPORT_BUG

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


def _refused(arguments: list[str], part: str, capsys: Out) -> str:
    """Demand exit code 2 and one sentence with some text; return the sentence."""
    capsys.readouterr()
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert part in captured.err
    assert captured.err.count("\n") == 1, captured.err
    assert "Traceback" not in captured.err
    return captured.err


# --- files that are no files of their kind ----------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("name", "case", "seed"),
    [
        ("image", 2449, 20210401),  # a member's name with a line break
        ("stimulus", 8500, 20210401),  # an array's name with a line break
        ("design", 66, 5),  # a chip with fewer thresholds than random programs have
        ("design", 745, 5),  # a width of 1.0
    ],
)
def test_file_that_once_failed_is_refused(name: str, case: int, seed: int) -> None:
    tally = fuzz(name, cases=1, first=case, seed=seed)
    assert (tally.failures, dict(tally.ends)) == ([], {"refused": 1})


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2Jb", "a\u2028b"])
def test_names_from_a_file_stay_on_one_line(name: str, tmp_path: Path, capsys: Out) -> None:
    """Neither a line break nor a terminal's escape sequence leaves the file that holds it."""
    path = tmp_path / "x.npz"
    path.write_bytes(npz_of({name: np.zeros(3)}))
    sentence = _refused(["estimate", "digits", "--data", str(path)], "has no array x, only a\\", capsys)
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
        sentence = _refused([word.format(path) for word in command], name, capsys)
        assert len(sentence) < 400
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kinds)


def test_image_of_another_version_is_refused(image: Path, tmp_path: Path, capsys: Out) -> None:
    import zipfile

    path = tmp_path / "newer.spikeloom"
    with zipfile.ZipFile(image) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"spikeloom.image/1", b"spikeloom.image/2"))
    _refused(
        ["run", str(path), "--data", "digits"],
        "format must be 'spikeloom.image/1', not 'spikeloom.image/2'; use the version",
        capsys,
    )


def test_target_of_another_version_is_refused(tmp_path: Path, capsys: Out) -> None:
    assert main(["targets", "show", "loom"]) == 0
    path = tmp_path / "newer.toml"
    path.write_text(capsys.readouterr().out.replace("version = 1", "version = 2"))
    _refused(["estimate", "digits", "--data", "digits", "--target", str(path)], "target.version in", capsys)


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
    "labels of floats": ({"x": GOOD, "y": np.zeros(4)}, "must hold 4 integer labels, not float64 (4,)"),
    "negative label": ({"x": GOOD, "y": np.array([0, 1, -1, 0])}, "or huge, and sample 2 has -1"),
    "huge label": ({"x": GOOD, "y": np.full(4, 2**63, np.uint64)}, f"sample 0 has {2**63}"),
    "label beyond": (
        {"x": GOOD, "y": np.array([0, 2, 3, 1])},
        "have the label 3 at sample 2, the network has outputs 0..2.",
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
    _refused(["run", str(image), "--data", str(path)], part, capsys)
    _refused(["estimate", str(model), "--data", str(path), "--target", "kuang2021"], part, capsys)


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
    import zipfile

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


# --- no room, no right, no reader -------------------------------------------------------------------------

OUTPUTS = {
    "compile": ["compile", "{model}", "-o", "{out}.spikeloom"],
    "run": ["run", "{image}", "--data", "{data}", "--json", "{out}.json"],
    "trace": ["run", "{image}", "--data", "{data}", "--trace", "{out}.npz"],
    "estimate": ["estimate", "{model}", "--data", "{data}", "--target", "kuang2021", "--json", "{out}.json"],
    "verilog": ["verilog", "--preset", "tiny", "--mesh", "1x1", "-o", "{out}"],
}
"""One command for every kind of output."""


@pytest.fixture
def fill(image: Path, model: Path, tmp_path: Path) -> dict[str, str]:
    """Return the inputs of `OUTPUTS`."""
    data = tmp_path / "good.npz"
    data.write_bytes(npz_of({"x": GOOD, "y": np.zeros(4, np.int64)}))
    return {"image": str(image), "model": str(model), "data": str(data)}


@pytest.mark.parametrize("name", OUTPUTS)
def test_path_below_a_file_is_refused(name: str, fill: dict[str, str], tmp_path: Path, capsys: Out) -> None:
    (tmp_path / "file").write_text("precious")
    out = str(tmp_path / "file" / "x")
    before = sorted(tmp_path.iterdir())
    _refused([word.format(**fill, out=out) for word in OUTPUTS[name]], "file", capsys)
    assert (tmp_path / "file").read_text() == "precious"
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", OUTPUTS)
def test_read_only_folder_is_refused(name: str, fill: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    arguments = [word.format(**fill, out=folder / "x") for word in OUTPUTS[name]]
    ended = start(arguments, folder=tmp_path / "run", humble=True)
    path = arguments[-1]
    wanted = (
        f"spikeloom: {path}: Permission denied; choose a place that you may use, or change its permissions.\n"
    )
    assert (ended.code, ended.err) == (2, wanted)
    assert list(folder.iterdir()) == []
    assert leftovers(tmp_path / "run") == []


def test_folder_that_nobody_can_write_is_refused(fill: dict[str, str], capsys: Out) -> None:
    """``/proc`` refuses even the superuser."""
    if not Path("/proc/self").exists():
        pytest.skip("this system has no /proc")
    for name, words in OUTPUTS.items():
        _refused([word.format(**fill, out="/proc/self/x") for word in words], "/proc/self", capsys)
        assert name


@pytest.mark.parametrize("name", OUTPUTS)
def test_limit_of_file_size_is_a_sentence(name: str, fill: dict[str, str], tmp_path: Path) -> None:
    """A file larger than allowed fails like a full disk, in the middle of a write."""
    arguments = [word.format(**fill, out="x") for word in OUTPUTS[name]]
    ended = start(arguments, folder=tmp_path / "run", limit=256)
    assert ended.code == 2, ended.err
    assert ended.err.count("\n") == 1
    assert "Traceback" not in ended.err
    assert leftovers(tmp_path / "run") == half_written(tmp_path / "run") == []


@contextlib.contextmanager
def _small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if (
        sys.platform != "linux"
        or os.geteuid()
        or subprocess.run(mount, check=False, capture_output=True).returncode
    ):
        pytest.skip("a small disk can be mounted by the superuser of Linux only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("name", OUTPUTS)
def test_full_disk_is_a_sentence(name: str, fill: dict[str, str], tmp_path: Path, capfd: Out) -> None:
    with _small_disk(tmp_path / "disk", "4k") as disk:
        (disk / "filler").write_bytes(bytes(4096))
        arguments = [word.format(**fill, out=disk / "x") for word in OUTPUTS[name]]
        _refused(arguments, "No space left on device; make room there or choose another place.", capfd)
        assert [path.name for path in disk.iterdir()] in (["filler"], ["x", "filler"], ["filler", "x"])
        assert not any(path.is_file() for path in disk.rglob("*") if path.name != "filler")


def _piped(arguments: list[str], reader: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    command = f'"$0" -m spikeloom "$@" {reader}; exit "${{PIPESTATUS[0]}}"'
    return subprocess.run(
        ["bash", "-c", command, sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )


@pytest.mark.parametrize("reader", ["| head -1", "| true", ">&-"])
def test_reader_that_leaves_does_not_stop_the_work(reader: str, fill: dict[str, str], tmp_path: Path) -> None:
    words = ["estimate", "{model}", "--data", "{data}", "--target", "kuang2021", "--json", "x.json"]
    for arguments in ([word.format(**fill) for word in words], ["targets", "show", "loom"], ["--help"]):
        done = _piped(arguments, reader, tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
    assert half_written(tmp_path) == []
    assert (tmp_path / "x.json").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_standard_output_is_a_sentence(tmp_path: Path) -> None:
    for arguments in (["targets"], ["targets", "show", "loom"]):
        done = _piped(arguments, "> /dev/full", tmp_path)
        assert done.returncode == 2
        wanted = (
            "spikeloom: standard output: No space left on device; make room there or choose another place.\n"
        )
        assert done.stderr == wanted


# --- what nobody foresaw ----------------------------------------------------------------------------------


def _raises(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise error

    monkeypatch.setattr("mapping.targets.list_targets", broken)


def test_unforeseen_error_is_a_bug_and_says_how_to_report_it(
    monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    _raises(ZeroDivisionError("by hand"), monkeypatch)
    assert main(["targets"]) == EXIT_BUG == 70
    err = capsys.readouterr().err
    assert "ZeroDivisionError: by hand" in err
    assert err.endswith(f"{REPORT_BUG}\n")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (MemoryError(), "There is not enough memory; use fewer samples or a smaller model."),
        (
            ImportError("training needs PyTorch, which is not installed"),
            "training needs PyTorch, which is not installed; 'spikeloom doctor' tells what is missing.",
        ),
        (
            OSError(28, "No space left on device", "a/b"),
            "a/b: No space left on device; make room there or choose another place.",
        ),
        (OSError("odd"), "odd."),
        (MappingError("The layer is too large."), "The layer is too large."),
    ],
)
def test_environment_errors_are_a_sentence(
    error: Exception, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    _raises(error, monkeypatch)
    assert main(["targets"]) == 2
    assert capsys.readouterr().err == f"spikeloom: {sentence}\n"


def test_debug_shows_the_traceback_and_keeps_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.setenv("SPIKELOOM_DEBUG", "")
    _raises(MappingError("The layer is too large."), monkeypatch)
    assert main(["--debug", "targets"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_interruption_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    _raises(KeyboardInterrupt(), monkeypatch)
    assert main(["targets"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_verification_program_that_is_killed_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    (tmp_path / "killed.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("spikeloom.bench.BENCH_MODULE", "killed")
    _refused(["verify", "--random", "1"], "ended by signal 9: the system may lack memory", capsys)
