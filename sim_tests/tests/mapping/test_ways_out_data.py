# SPDX-License-Identifier: Apache-2.0
"""Every way out that a sentence about data, targets, reports or training names is taken, and it works."""

import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mapping
from mapping.datasets import events
from mapping.datasets.batches import as_data
from mapping.datasets.load import Dataset, load_data, scaled
from mapping.datasets.scale import normalised
from mapping.flow import compile_network
from mapping.model.load import load_network
from mapping.report.exploration import check_exploration
from mapping.report.machine import estimate
from mapping.targets.energy import estimate_energy
from mapping.targets.files import load_target, target_text
from mapping.targets.kuang import estimate_kuang
from mapping.targets.patches import LayerShape, map_layer
from mapping.training.quantisation import check_arguments, check_output
from sim_tests.generators.event_files import events_npz
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.sound_files import idx_files
from sim_tests.robustness.mutations import npz_of
from sim_tests.robustness.ways_out import assert_goes, clauses
from sim_tests.tests.mapping.test_int8_wide import WAY
from sim_tests.tests.mapping.test_ways_out_inputs import INPUTS

Way = tuple[Callable[[Path], object], Callable[[Path], object]]
"""What is refused in a folder, and what does what the sentence says."""

EVENTS = [(0, 0, 0, 1), (1, 3, 2, 0), (2, 1, 1, 1)]
IMAGES, LABELS = idx_files()


def of_events(options: str, *, backwards: bool = False) -> Callable[[Path], object]:
    found = EVENTS[::-1] if backwards else EVENTS
    return lambda folder: load_data(events_npz(folder, found) + options)


def samples(x: object, y: object = None) -> Callable[[Path], Dataset]:
    """Return a reader of some samples, with labels or without."""

    def read(folder: Path) -> Dataset:
        file = folder / "d.npz"
        file.write_bytes(npz_of({"x": np.array(x)} | ({} if y is None else {"y": np.asarray(y)})))
        return load_data(str(file))

    return read


def labelled(y: object) -> Callable[[Path], object]:
    """Return a reader of two samples with some labels."""
    return samples(np.zeros((2, 3)), y)


def fed(y: object, classes: tuple[str, ...] = (), *, width: int = 2) -> Callable[[Path], object]:
    """Return what brings two samples with some labels to a network of two features and two classes."""
    b = ModelBuilder((2,))
    network = replace(b.network(b.head("x", 2, 2)), classes=classes)
    return lambda folder: scaled(samples(np.zeros((2, width)), y)(folder), "raw", network)


def values(*, labels: bool) -> Callable[[Path], object]:
    """Return a reader of two samples, with values of a regression as labels or without."""

    def read(folder: Path) -> object:
        file = folder / "values.npz"
        file.write_bytes(npz_of({"x": np.zeros((2, 3))} | ({"y": np.array([0.5, 1.5])} if labels else {})))
        return load_data(str(file))

    return read


def named(samples: str) -> Callable[[Path], object]:
    """Return a reader of a file with the samples under some name."""

    def read(folder: Path) -> object:
        file = folder / "data.npz"
        file.write_bytes(npz_of({samples: np.zeros((2, 3)), "y": np.zeros(2, np.int64)}))
        return load_data(str(file))

    return read


def normalise(how: str) -> Callable[[Path], object]:
    """Return what scales maps of three channels."""
    return lambda _: normalised(np.zeros((2, 3, 4, 5)), how)


DATA: dict[str, Way] = {
    "give sensor=WxH too.": (of_events(":size=2x2,events=3"), of_events(":size=2x2,events=3,sensor=4x3")),
    "sort the events of each recording by time.": (
        of_events(":events=3", backwards=True),
        of_events(":events=3"),
    ),
    "take fewer with events=N, or": (of_events(":events=9"), of_events(":events=3")),
    "or the whole recording with events=all.": (of_events(":events=9"), of_events(":events=all")),
    "number the classes from 0.": (labelled(np.array([0, 1 << 63], np.uint64)), labelled([0, 1])),
    "number the classes from 0 in the order of the outputs": (fed([2, 3]), fed([0, 1])),
    "or leave y out.": (fed([2, 3]), fed(None)),
    "give the numbers of the outputs as y": (fed(["no", "yes"]), fed([0, 1])),
    "correct it": (fed(["no", "jes"], ("no", "yes")), fed(["no", "yes"], ("no", "yes"))),
    "give one integer a sample": (labelled([0, 1, 1]), labelled([0, 1])),
    "or leave y out": (labelled([0, 1, 1]), labelled(None)),
    "leave such samples out.": (samples([[1.0, 2.0], [np.nan, 2.0]]), samples([[1.0, 2.0]])),
    "store samples of shape (2,) as x": (fed(None, width=3), fed(None)),
    "leave them out where there are no classes": (values(labels=True), values(labels=False)),
    "store the samples under that name, and labels as y": (named("images"), named("x")),
    "give one MEAN,STD for all of them": (normalise("1,2,3,4"), normalise("1,3")),
    "or one of each a channel, the means first.": (normalise("1,2,3,4"), normalise("1,2,3,4,5,6")),
}


@pytest.mark.parametrize("way", DATA)
def test_data_that_do_what_the_sentence_says_are_read(way: str, tmp_path: Path) -> None:
    broken, mended = DATA[way]
    assert_goes(way, lambda: broken(tmp_path), lambda: mended(tmp_path))


@pytest.mark.parametrize(
    ("way", "options"), [("take more events a frame", ":events=3"), ("smaller frames", ":events=1,size=2x1")]
)
def test_frames_that_are_too_many_bytes_become_few(
    way: str, options: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MAX_BYTES", 200)
    many, few = (":events=1,sensor=4x3", f"{options},sensor=4x3")
    assert_goes(way, lambda: of_events(many)(tmp_path), lambda: of_events(few)(tmp_path))


def digits_of(folder: Path, **changed: bytes) -> Callable[[], object]:
    """Return a reader of a folder as it was downloaded, but for some files."""

    def read() -> object:
        for name, data in (dict(idx_files()) | changed).items():
            (folder / name).write_bytes(data)
        return load_data(f"mnist:{folder}")

    return read


DAMAGED = {
    "another file": {IMAGES: b"\x89PNG\r\n\x1a\n"},
    "its header": {IMAGES: idx_files()[IMAGES][:9]},
    "cut short": {IMAGES: idx_files()[IMAGES][:-1]},
    "huge": {IMAGES: idx_files()[IMAGES][:4] + b"\xff" * 12},
    "no gzip": {LABELS: b"no gzip"},
    "cut gzip": {LABELS: idx_files()[LABELS][:-9]},
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_files_that_are_downloaded_again_are_read(damage: str, tmp_path: Path) -> None:
    assert_goes(": download it again.", digits_of(tmp_path, **DAMAGED[damage]), digits_of(tmp_path))


def test_folder_and_pair_of_files_that_are_named_are_read(tmp_path: Path) -> None:
    read, shorter = digits_of(tmp_path), bytearray(idx_files()[IMAGES])
    shorter[7] -= 1
    pair = digits_of(tmp_path, **{IMAGES: bytes(shorter[:-20])})
    assert_goes("download both again.", pair, read)
    way = "name the folder with the four files of MNIST."
    assert_goes(way, lambda: load_data(f"mnist:{tmp_path / 'no'}"), read)


def target_with(folder: Path, old: str, new: str) -> object:
    """Load a copy of `loom` with one passage replaced."""
    text, file = target_text("loom"), folder / "mine.toml"
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")
    return load_target(file)


HOPS = 'value = 1.8\nunit = "pJ"\nlow = 1.0\n'
TITLE = 'title = "spikeloom\'s own mesh of neurocores, cycle-exact; energies modelled for 28 nm, 0.9 V"\n'
CLOCK = 'kind = "assumed"\nsource = "Clock of the seed chip'
CLOCK_OF_NOBODY = 'kind = "assumed"\nsource = " "  # "Clock of the seed chip'
TARGETS: dict[str, tuple[str, str, str]] = {
    "use a release that reads this version": ("version = 2\n", "version = 3\n", "version = 2\n"),
    "rename the target": ('name = "loom"', 'name = "My Loom"', 'name = "my-loom"'),
    "choose one of them": ('preset = "reference"', 'preset = "huge"', 'preset = "small"'),
    'write for example "4x4"': ('mesh = "auto"', 'mesh = "4"', 'mesh = "4x4"'),
    'write for example "2x1"': (
        'mesh = "auto"',
        'mesh = "auto"\nchips = "2"',
        'mesh = "auto"\nchips = "2x1"',
    ),
    'write for example "2" or "0,1"': (
        'mesh = "auto"',
        'mesh = "auto"\noutlets = "1W"',
        'mesh = "auto"\noutlets = "0,1"',
    ),
    "correct one of the three": (HOPS, HOPS.replace("1.8", "9.9"), HOPS.replace("1.8", "1.1")),
    "write it without quotes": (HOPS, HOPS.replace("1.8", '"1.8"'), HOPS),
    "convert the three numbers": (HOPS, HOPS.replace("pJ", "erg"), HOPS),
    "correct it": ("value = 252_000_000", "value = -1", "value = 252_000_000"),
    "add it to": (HOPS, HOPS.replace('unit = "pJ"\n', ""), HOPS),
    "remove it or use one of": (HOPS, f"speed = 1\n{HOPS}", HOPS),
    "correct that line.": ('mesh = "auto"', 'mesh = "auto', 'mesh = "auto"'),
    "describe the target in one line": (TITLE, 'title = ""\n', TITLE),
    "cite the origin or give": (CLOCK, CLOCK_OF_NOBODY, CLOCK),
    "use plain tables.": ("version = 2\n", f"version = 2\nx = {'[' * 9000}\n", "version = 2\n"),
}


@pytest.mark.parametrize("way", TARGETS)
def test_target_that_does_what_the_sentence_says_is_read(way: str, tmp_path: Path) -> None:
    old, broken, mended = TARGETS[way]
    assert_goes(way, lambda: target_with(tmp_path, old, broken), lambda: target_with(tmp_path, old, mended))


def test_target_file_becomes_text_and_a_key_a_table(tmp_path: Path) -> None:
    file, text = tmp_path / "mine.toml", target_text("loom")

    def write(data: bytes) -> object:
        file.write_bytes(data)
        return load_target(file)

    assert_goes("check the path.", lambda: load_target(tmp_path / "no.toml"), lambda: write(text.encode()))
    assert_goes("save it as UTF-8.", lambda: write(b'name = "\xff"'), lambda: write(text.encode()))
    geometry = '[geometry]\npreset = "reference"\nmesh = "auto"\n'
    number = f"geometry = 3\n{text.replace(geometry, '')}"
    way = "write it as [geometry] followed by its keys"
    assert_goes(way, lambda: write(number.encode()), lambda: write(text.encode()))


def shape(levels: int = 2, **changed: object) -> LayerShape:
    sizes = {"input": (1, 1, 9), "output": (1, 1, 9), "source_levels": 3, "levels": levels}
    return LayerShape(name="fc", kind="fc", **(sizes | changed))  # type: ignore[arg-type]


PYTHON: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
    "use fewer levels of its activation": (lambda: map_layer(shape(600)), lambda: map_layer(shape(500))),
    "use fewer inputs or fewer levels": (
        lambda: map_layer(shape(input=(1, 1, 90000))),
        lambda: map_layer(shape(input=(1, 1, 900))),
    ),
    "or fewer levels of its activations": (
        lambda: map_layer(shape(input=(1, 1, 900), source_levels=900)),
        lambda: map_layer(shape(input=(1, 1, 900), source_levels=9)),
    ),
    "put them into one array": (
        lambda: as_data([((np.zeros((3, 3)), np.ones((3, 1))), np.arange(3))]),
        lambda: as_data([(np.zeros((3, 4)), np.arange(3))]),
    ),
    "give one class a sample, as y": (
        lambda: as_data([(np.zeros((2, 3)), np.eye(2))]),
        lambda: as_data([(np.zeros((2, 3)), np.eye(2, dtype=int).argmax(1))]),
    ),
    "use kuang2021.": (
        lambda: map_layer(shape(), target=load_target("loom")),
        lambda: map_layer(shape(), target=load_target("kuang2021")),
    ),
    "give the on-chip layers.": (
        lambda: estimate_kuang([], sop_dense=0),
        lambda: estimate_kuang([shape()], sop_dense=0),
    ),
    "leave it out or add its energy to the table.": (
        lambda: estimate_energy({"sneezes": 1}, 1.0, 1, load_target("loom").energy),
        lambda: estimate_energy({"hops": 1}, 1.0, 1, load_target("loom").energy),
    ),
    "give an integer of 0 or more.": (lambda: check_arguments(-1, None), lambda: check_arguments(0, None)),
    "give an integer of 1 or more.": (lambda: check_arguments(0, 0), lambda: check_arguments(0, 1)),
}


@pytest.mark.parametrize("way", PYTHON)
def test_call_that_does_what_the_sentence_says_is_answered(way: str) -> None:
    assert_goes(way, *PYTHON[way])


def test_folder_of_an_output_is_created_or_another_named(tmp_path: Path) -> None:
    def created() -> None:
        (tmp_path / "no").mkdir()
        check_output(tmp_path / "no" / "m.onnx")

    way = "create it or name another."
    assert_goes(way, lambda: check_output(tmp_path / "no" / "m.onnx"), created)
    check_output(tmp_path / "m.onnx")


def test_either_target_is_estimated_and_compiled(tmp_path: Path) -> None:
    b = ModelBuilder((6,))
    network = b.network(b.quantise(b.dense(b.quantise("x"), b.ternary(5, 6), name="fc")))
    (tmp_path / "d.npz").write_bytes(npz_of({"x": np.ones((2, 6))}))
    data = load_data(str(tmp_path / "d.npz"))
    for target in ("loom", "kuang2021"):
        compile_network(network, target=target)
        estimate(network, data, [target])
    way = "add it or leave the option out."
    both = ["loom", "kuang2021"]
    assert_goes(
        way,
        lambda: estimate(network, data, ["loom"], patches="article", core="small"),
        lambda: estimate(network, data, both, patches="article", core="small"),
    )
    estimate(network, data, ["loom"], core="small")


EXPLORED = {
    "choose --target loom, or leave --explore out.": (["kuang2021"], "graded"),
    "choose --code graded, or leave --explore out.": (["loom"], "auto"),
}


@pytest.mark.parametrize("way", EXPLORED)
def test_what_is_not_explored_is_with_the_target_and_the_code_that_are_named(way: str) -> None:
    network = load_network("digits")
    targets, code = EXPLORED[way]
    assert_goes(
        way,
        lambda: check_exploration(network, targets, code),
        lambda: check_exploration(network, ["loom"], "graded"),
    )


def test_packages_that_a_sentence_names_are_an_extra() -> None:
    project = Path(mapping.__path__[0]).parent / "pyproject.toml"
    extras = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert any(package.startswith("lz4") for package in extras["events"])


FEWER = "give its neurons fewer inputs, by groups or smaller kernels, or quantise its input to fewer levels"
UNTRIED = {
    "run pip install 'spikeloom[events]'.": "installs; that the extra holds lz4 is tried",
    "run 'pip install torch'.": "installs",
    "train or all, not": "no way out: a list of parts",
    "say where the number comes from": "a free text: test_targets.py has the list that it takes",
    "name sizes of the core": "test_targets.py has the list that it takes",
    "correct answers": "no way out",
    "train it with ternary weights": "test_remedies.py takes it",
    "name the folder of MNIST.": "needs 5001 images: test_training_lenet.py takes it",
    "give batches of them as a DataLoader does, not": "test_batches.py gives them",
    **dict.fromkeys(
        (
            "correct them, or leave them out",
            "give labels with all batches or with none",
            "give at least one, an array of shape (1, input shape)",
            "give one label a sample",
        ),
        "test_batches.py takes them",
    ),
    "give fewer batches, for example a part of them by itertools.islice.": "test_batches.py gives them",
    "give 1, 2 or 4.": "needs PyTorch, in test_training_lenet.py",
    **dict.fromkeys(
        (
            "choose loom or kuang2021.",
            FEWER,
            "let its neurons have fewer inputs, or quantise its input to fewer levels",
            "let the layers that read it have fewer outputs or fewer levels",
            "quantise its output to fewer levels",
        ),
        "test_target_refused.py takes it",
    ),
    "add --mesh WxH, for example 4x4.": "test_passes.py takes it",
}


def test_every_way_out_of_these_modules_is_tried() -> None:
    root = Path(mapping.__path__[0])
    files = [
        file for part in ("datasets", "report", "targets", "training") for file in (root / part).glob("*.py")
    ]
    tried = {
        *DATA,
        *INPUTS,
        *PYTHON,
        *TARGETS,
        *EXPLORED,
        "create it or name another.",
        "add it or leave the option out.",
        WAY,  # in test_int8_wide.py
        'write for example "2" or "',  # in `TARGETS`, with an example that is a value
        'write for example mesh = "2x2" into a file of it.',  # in test_target_machines.py
        "add --chips, for example 2x1.",  # in test_cli_remedies.py
        "choose the target loom, or the objective cores or latency.",  # in test_thrift.py
        "download it again.",
        "download both again.",
        "name the folder with the four files of MNIST.",
        "take more events a frame",
        "check the path.",
        "save it as UTF-8.",
        "write it as [",
    }
    told = {clause for _, clause in clauses([*files, root / "flow.py"])}
    left = {clause for clause in told if not any(way in clause or clause in way for way in tried)}
    assert left == set(UNTRIED)
