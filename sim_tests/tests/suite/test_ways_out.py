# SPDX-License-Identifier: Apache-2.0
"""Every way out that a sentence of images or of the bench names is taken, and it works."""

import json
import shutil
import zipfile
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import emu
import sim_tests
from emu import container
from emu.container import load_image, save_image
from emu.image import SystemImage
from emu.machine import Machine
from emu.spec import PRESETS, SystemSpec
from mapping.targets.files import target_text
from rtl.export import write_verilog
from sim_tests.bench import engines, exported, images, program
from sim_tests.bench.exported import read_design
from sim_tests.bench.images import image_systems
from sim_tests.bench.job import prepare
from sim_tests.bench.systems import seeded_system
from sim_tests.conftest import require_engine
from sim_tests.generators.sound_files import design_file
from sim_tests.generators.systems import make_core, make_stimulus, make_system, random_system
from sim_tests.robustness.ways_out import assert_goes, clauses
from spikeloom.files import write_stimulus

HERE = [0, 0, 0, 0, 1, 1]
LADDER = [[0, 1 << 8, 0, 0]]


def system(preset: str = "tiny", rows: int = 4, **fields: Any) -> Callable[[], SystemImage]:
    """Return what makes a legal system of one core, but for what is asked."""
    spec = SystemSpec(core=PRESETS[preset], width=1, height=1)
    return lambda: make_system(spec, make_core(np.ones((rows, 3)), **{"fanout": [HERE]} | fields))


OF_CORES: dict[str, tuple[str, Callable[[], object], Callable[[], object]]] = {
    "a larger core": (
        "use a larger core or split the layer.",
        system(thresholds=np.zeros(129)),
        system("small", thresholds=np.zeros(129)),
    ),
    "a split layer": (
        "use a larger core or split the layer.",
        system(rows=33),
        system(rows=32),
    ),
    "wider sums": (
        "split the layer or use a core with wider sums.",
        system(shifts=[6, 0, 0, 0]),
        system("small", shifts=[6, 0, 0, 0]),
    ),
    "fewer sums": (
        "split the layer or use a core with wider sums.",
        system(shifts=[5, 5, 0, 0]),
        system(shifts=[5, 0, 0, 0]),
    ),
    "a core with ladders": (
        "use a core with the option, or lists.",
        system("article", emission=0, ladders=LADDER),
        system("small", emission=0, ladders=LADDER),
    ),
    "lists": (
        "use a core with the option, or lists.",
        system("article", emission=0, ladders=LADDER),
        system("article", emission=0),
    ),
    "count emission": (
        "use count emission.",
        system(signed=1, ladders=LADDER),
        system(signed=1, ladders=LADDER, emission=0),
    ),
}


@pytest.mark.parametrize("name", OF_CORES)
def test_core_that_is_as_the_sentence_says_is_legal(name: str) -> None:
    assert_goes(*OF_CORES[name])


def saved(folder: Path, **attachments: Any) -> Path:
    image = replace(system()(), attachments={"a": np.arange(3), **attachments})
    save_image(image, folder / "a.spikeloom")
    return folder / "a.spikeloom"


def other_format(folder: Path) -> Path:
    """Write an image as another version of the program would."""
    file, copy = saved(folder), folder / "b.spikeloom"
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(
                name, data.replace(b'"format": "', b'"format": "other ') if name.endswith("json") else data
            )
    return copy


def cut(folder: Path) -> Path:
    file = saved(folder)
    file.write_bytes(file.read_bytes()[:-40])
    return file


def foreign(folder: Path) -> Path:
    np.savez(folder / "x.npz", x=np.arange(3))
    return folder / "x.npz"


FILES: dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]] = {
    "choose a .spikeloom file": (lambda f: load_image(foreign(f)), lambda f: load_image(saved(f))),
    "write the image again with 'spikeloom compile'": (
        lambda f: load_image(cut(f)),
        lambda f: load_image(saved(f)),
    ),
    "use the version of spikeloom that wrote it": (
        lambda f: load_image(other_format(f)),
        lambda f: load_image(saved(f)),
    ),
    "convert it first.": (
        lambda f: saved(f, b=np.array([1, 2], np.object_)),
        lambda f: load_image(saved(f, b=np.array([1, 2], np.object_).astype(np.int64))),
    ),
    "rename it.": (
        lambda f: saved(f, **{"b c": np.arange(3)}),
        lambda f: load_image(saved(f, b_c=np.arange(3))),
    ),
}


def test_smaller_image_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image of fewer digits, one of fewer cores, and one of less metadata."""
    spec, file = SystemSpec(core=PRESETS["tiny"], width=1, height=1), tmp_path / "a"
    whole = make_system(spec, make_core(np.ones((8, 9)), strengths=[1, 2, 4]))
    less = make_system(spec, make_core(np.ones((8, 3)))), make_system(spec, None)
    save_image(whole, file)
    with zipfile.ZipFile(file) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    size, meta = sum(sizes.values()) + 3 * sizes["crossbar/cells.npy"], sizes["meta.json"]
    monkeypatch.setattr(container, "LIMIT_BYTES", size - 1)
    way = "use fewer digits, or a smaller mesh, which leaves layers to the host."
    for image in less:
        assert_goes(way, lambda: save_image(whole, file), partial(save_image, image, file))
    monkeypatch.setattr(container, "LIMIT_BYTES", 2 * size)
    monkeypatch.setattr(container, "_META_LIMIT", meta)
    large = replace(whole, meta={"name": "a" * meta})
    assert_goes("give it less meta.", lambda: save_image(large, file), lambda: save_image(whole, file))


@pytest.mark.parametrize("way", FILES)
def test_image_file_that_is_as_the_sentence_says_is_read(way: str, tmp_path: Path) -> None:
    broken, mended = FILES[way]
    assert_goes(way, lambda: broken(tmp_path), lambda: mended(tmp_path))


BOTH = ("chip.v", "own.v")


def design(
    folder: Path, *, files: tuple[str, ...] = ("chip.v",), there: tuple[str, ...] = ("chip.v",)
) -> Path:
    """Write a folder with a sidecar that lists some files, and the files that are there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    told = json.loads(design_file()) | {"files": list(files)}
    (folder / "chip.json").write_text(json.dumps(told))
    for name in there:
        (folder / name).write_text("// Verilog\n")
    return folder


def linked(folder: Path) -> Path:
    (folder.parent / "own.v").write_text("// Verilog\n")
    place = design(folder, files=("chip.v", "own.v"))
    (place / "own.v").symlink_to(folder.parent / "own.v")
    return place


def copied(folder: Path) -> Path:
    place = linked(folder)
    (place / "own.v").unlink()
    shutil.copy(folder.parent / "own.v", place / "own.v")
    return place


def moved(folder: Path) -> Path:
    place = design(folder, there=("chip.v", "own.v"))
    (place / "own.v").rename(folder.parent / "own.v")
    return place


def unreadable(folder: Path) -> Path:
    place = design(folder)
    (place / "chip.json").write_text("{}")
    return place


def exported_anew(folder: Path) -> Path:
    write_verilog(SystemSpec(core=PRESETS["tiny"], width=1, height=1), folder)
    return folder


DESIGNS: dict[str, tuple[str, Callable[[Path], Path], Callable[[Path], Path]]] = {
    "add": (
        "add its name there",
        lambda f: design(f, there=BOTH),
        lambda f: design(f, files=BOTH, there=BOTH),
    ),
    "move": ("or move the file away.", lambda f: design(f, there=BOTH), moved),
    "copy": ("put a copy of the file there.", linked, copied),
    "remove": ("remove the name.", lambda f: design(f, files=BOTH), design),
    "rename": (
        "rename the file.",
        lambda f: design(f, files=("chip.v", "bench.v"), there=("chip.v", "bench.v")),
        lambda f: design(f, files=BOTH, there=BOTH),
    ),
    "twice": ("rename the file.", lambda f: design(f, files=("chip.v", "chip.v")), design),
    "empty": ("write the folder with 'spikeloom verilog'.", lambda f: f, exported_anew),
    "damaged": ("write the folder with 'spikeloom verilog'.", unreadable, exported_anew),
}


@pytest.mark.parametrize("name", DESIGNS)
def test_design_that_is_as_the_sentence_says_is_read(name: str, tmp_path: Path) -> None:
    way, broken, mended = DESIGNS[name]
    folder = tmp_path / "design"
    assert_goes(way, lambda: read_design(broken(folder)), lambda: read_design(mended(folder)))


def test_design_that_is_written_anew_is_no_longer_huge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exported, "_LARGEST", 4000)
    folder = design(tmp_path / "design")
    (folder / "chip.v").write_text("/" * 4001)
    way = "write the design anew."
    assert_goes(way, lambda: read_design(folder), lambda: read_design(design(folder)))


def test_run_with_potentials_and_cycles_is_a_job() -> None:
    image, stimulus = random_system(0)

    def job(*, cycles: bool = True, potentials: bool = True) -> Callable[[], object]:
        run = Machine(image).run(stimulus, cycles=cycles, potentials=potentials)
        return lambda: prepare(image, stimulus, run)

    assert_goes("run the machine with potentials=True.", job(potentials=False), job())
    assert_goes("run the machine with cycles=True.", job(cycles=False), job())


def test_fewer_steps_make_a_run_that_is_simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = random_system(0)[0]
    save_image(image, tmp_path / "a.spikeloom")
    for steps in (1, 40):
        write_stimulus(tmp_path / f"{steps}.npz", make_stimulus(steps))
    monkeypatch.setattr(images, "LIMIT_CYCLES", Machine(image).run(make_stimulus(1), cycles=True).elapsed)

    def run(steps: int) -> Callable[[], object]:
        return lambda: image_systems(tmp_path / "a.spikeloom", tmp_path / f"{steps}.npz", 0)

    assert_goes("use fewer samples or steps.", run(40), run(1))


def test_image_is_verified_where_random_programs_find_no_room(tmp_path: Path) -> None:
    spec = SystemSpec(core=PRESETS["tiny"].resized(fanouts=2), width=1, height=1)
    save_image(make_system(spec, make_core(np.ones((4, 3)), fanout=[HERE])), tmp_path / "a.spikeloom")
    way = "verify an image instead."
    assert_goes(way, lambda: seeded_system(1, spec), lambda: image_systems(tmp_path / "a.spikeloom", None, 0))


def test_verilog_of_the_image_is_verified(tmp_path: Path) -> None:
    file = tmp_path / "a.spikeloom"
    image = system()()
    save_image(image, file)
    options = Namespace(image=file, stimulus=None, seed=0, verilog=tmp_path, cores=None)
    other = SystemSpec(core=PRESETS["tiny"], width=2, height=1)
    assert_goes(
        "export the Verilog with 'spikeloom verilog IMAGE'.",
        lambda: program._systems(options, other),
        lambda: program._systems(options, image.spec),
    )


def target_of(folder: Path, mesh: str) -> Path:
    """Write a target with tiny cores."""
    text, file = target_text("loom"), folder / "board.toml"
    sizes = 'preset = "reference"\nmesh = "auto"'
    assert text.count(sizes) == 1
    file.write_text(text.replace(sizes, f'preset = "tiny"\nmesh = "{mesh}"\nchips = "2x1"'), encoding="utf-8")
    return file


def test_machine_of_a_target_is_smaller_or_alone(tmp_path: Path) -> None:
    assert_goes(
        "give its file a smaller mesh, or fewer chips.",
        lambda: program._machine(str(target_of(tmp_path, "5x4"))),
        lambda: program._machine(str(target_of(tmp_path, "6x3"))),
    )
    options = program._parser().parse_args
    random = ["--random", "1", "--target", "board.toml"]
    for wrong in (["a.spikeloom", "--target", "board.toml"], [*random, "--verilog", "design"]):
        assert_goes(
            "give --random N, and leave --verilog out.",
            partial(program._check, options(wrong)),
            lambda: program._check(options(random)),
        )


def test_folder_that_is_named_keeps_simulators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_engine("icarus")
    (tmp_path / "file").write_text("")
    verilog = {"chip.v": "module chip; endmodule\n"}

    def build(cache: str) -> Callable[[], object]:
        def run() -> None:
            monkeypatch.setenv("SPIKELOOM_CACHE", str(tmp_path / cache))
            try:
                engines._build(verilog, "icarus", False)
            except engines.EngineError as error:
                if "could not compile" not in str(error):
                    raise

        return run

    assert_goes("set SPIKELOOM_CACHE to another folder.", build("file"), build("cache"))
    assert any((tmp_path / "cache").rglob("*icarus*"))


HELP = {
    "verify N cores of the image, each alone",
    "verify N random systems instead of an image",
    "verify the design in this folder",
    "write DIR/tb for the design in DIR",
    "write a JSON report here",
    "write a JUnit XML report here",
    "write the waves of one system here (.vcd)",
}
"""What options do."""

UNTRIED = {
    "use run, verify or verilog": "cli/test_passes.py runs all three on a file of passes",
    "write the passes again with 'spikeloom compile --passes'": "emu/test_passes.py reads what it writes",
    "choose another with --sim.": "a simulator that runs and writes no waves is not at hand",
    "use --sim verilator or --sim icarus with --verilog.": "test_verify.py runs both on exported designs",
}


def test_every_way_out_of_these_modules_is_tried() -> None:
    bench = Path(sim_tests.__path__[0]) / "bench"
    files = [*Path(emu.__path__[0]).glob("*.py"), *bench.glob("*.py")]
    tried = {way for way, _, _ in (*OF_CORES.values(), *DESIGNS.values())} | {
        *FILES,
        "write the design anew.",
        "use fewer digits, or a smaller mesh, which leaves layers to the host",
        "give it less meta",
        "run the machine with",
        "use fewer samples or steps.",
        "verify an image instead.",
        "give its file a smaller mesh, or fewer chips.",
        "give --random N, and leave --verilog out.",
        "export the Verilog with",
        "give one, or leave it out",
        "compare the hardware on random programs with 'spikeloom verify --random 20'",
        "set SPIKELOOM_CACHE to another folder.",
    }
    told = {clause for _, clause in clauses(files)}
    left = {clause for clause in told if not any(way in clause or clause in way for way in tried)}
    assert {clause for clause in left - HELP if "\n" not in clause} == set(UNTRIED)
