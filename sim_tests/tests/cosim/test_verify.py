# SPDX-License-Identifier: Apache-2.0
"""``python -m sim_tests.verify``: exit codes, last lines, sentences, reports, edited designs."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from emu.container import save_image
from emu.image import CoreImage
from emu.spec import SystemSpec, preset
from emu.trace import Stimulus
from rtl.export import write_verilog
from sim_tests import verify
from sim_tests.bench import images as images_module
from sim_tests.bench import program
from sim_tests.bench import systems as systems_module
from sim_tests.bench.images import image_systems, read_stimulus
from sim_tests.bench.reports import geometry
from sim_tests.bench.systems import random_batch
from sim_tests.conftest import require_engine
from sim_tests.generators.systems import POOL, make_core, make_system, random_system

pytestmark = pytest.mark.cosim

SPEC = POOL[1]

Run = subprocess.CompletedProcess[str]


def run(*arguments: object) -> Run:
    """Run the program as the command line does."""
    command = [sys.executable, "-m", "sim_tests.verify", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def last(result: Run) -> str:
    return result.stdout.rstrip("\n").rsplit("\n", 1)[-1]


def suite_of(junit: Path) -> ET.Element:
    return ET.fromstring(junit.read_text())[0]


def save_stimulus(path: Path, stimulus: Stimulus) -> Path:
    np.savez(path, steps=stimulus.steps, step=stimulus.step, packet=stimulus.packet)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return design_folder(tmp_path_factory.mktemp("verify"))


def design_folder(root: Path) -> Path:
    """Return a folder with an image, a stimulus for it, and the exported design with its bench."""
    image, stimulus = random_system(5, spec=SPEC)
    save_image(image, root / "a.spikeloom")
    save_stimulus(root / "a.npz", stimulus)
    write_verilog(SPEC, root / "design")
    assert verify.main(["--export-bench", str(root / "design")]) == 0
    return root


def edited(folder: Path, target: Path, file: str, pattern: str, replacement: str) -> Path:
    """Return a copy of the exported design with one place of one file changed."""
    shutil.copytree(folder / "design", target)
    path = target / file
    text, count = re.subn(pattern, replacement, path.read_text(), count=1)
    assert count == 1
    path.write_text(text)
    return target


# Exit code 0


def test_random_systems_are_verified_by_the_command(tmp_path: Path) -> None:
    require_engine("icarus")
    junit, report = tmp_path / "junit.xml", tmp_path / "report.json"
    result = run("--random", 3, "--seed", 6, "--sim", "icarus", "--junit", junit, "--json", report)
    assert result.returncode == 0, result.stderr
    line = r"verified 3 systems, (\d+) steps, (\d+) values compared on icarus: all equal"
    found = re.fullmatch(line, last(result))
    assert found is not None
    told = json.loads(report.read_text())
    assert (told["schema"], told["equal"], told["engine"]) == ("spikeloom.verify/1", True, "icarus")
    assert [str(told["steps"]), str(told["compared"])] == [found[1], found[2]]
    assert [system["name"] for system in told["systems"]] == [f"system seed {n}" for n in (6, 7, 8)]
    assert 0 < told["coverage"]["spikes"] <= 1
    suite = suite_of(junit)
    assert (suite.get("tests"), suite.get("failures"), len(suite)) == ("3", "0", 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["junit.xml", "report.json"]


@pytest.mark.parametrize("engine", ["verilator", "icarus"])
def test_image_and_exported_design_are_equal(folder: Path, engine: str) -> None:
    require_engine(engine)
    design = folder / "design"
    result = run(folder / "a.spikeloom", "--stimulus", folder / "a.npz", "--verilog", design, "--sim", engine)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.fullmatch(
        rf"verified 1 system, \d+ steps, \d+ values compared on {engine}: all equal", last(result)
    )


def test_image_without_stimulus_gets_random_events(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify.main([str(folder / "a.spikeloom"), "--sim", "pysim"]) == 0
    assert "verified 1 system, 8 steps," in capsys.readouterr().out


@pytest.mark.parametrize("engine", ["icarus", "pysim"])
def test_waves_of_an_image_are_written(folder: Path, tmp_path: Path, engine: str) -> None:
    require_engine(engine)
    waves = tmp_path / "new" / "w.vcd"
    assert verify.main([str(folder / "a.spikeloom"), "--sim", engine, "--waves", str(waves)]) == 0
    text = waves.read_text()
    assert "$enddefinitions" in text
    assert "core_0_0" in text


def test_waves_of_a_batch_are_of_its_first_difference(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require_engine("icarus")
    design = edited(folder, tmp_path / "design", *FAULTS["a counter of the wrong activity"])
    waves = tmp_path / "w.vcd"
    arguments = ["--random", 2, "--sim", "icarus", "--verilog", design, "--waves", waves]
    assert verify.main([str(argument) for argument in arguments]) == 1
    assert f"{waves} has the waves of system seed 0\n" in capsys.readouterr().out
    assert "$enddefinitions" in waves.read_text()


@pytest.mark.parametrize("engine", ["icarus", pytest.param("verilator", marks=pytest.mark.long)])
def test_exported_bench_runs_with_make(folder: Path, engine: str) -> None:
    require_engine(engine)
    bench = folder / "design" / "tb"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        ["make", "-C", bench, f"SIM={engine}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        env={**os.environ, "PATH": path},
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(re.findall(r"expected\d+\.npz: [1-9]\d* values compared, all equal", result.stdout)) == 2


# Exit code 1

FAULTS = {
    "a block too few": ("neurocore.v", r"(assign none = block)( == blocks;)", r"\g<1> + 1\2"),
    "a counter of the wrong activity": (
        "neurocore.v",
        r"(meter__update = observe__activity == 1'h)1",
        r"\g<1>0",
    ),
    "a route too far east": ("router.v", r"(\[4\] )>( x;)", r"\1>=\2"),
    "a core in the wrong place": ("chip.v", r"\.x\(1'h1\)", ".x(1'h0)"),
    "a silent gateway": ("chip.v", r"(\.present_out\()5'h16", r"\g<1>5'h12"),
}


CAUSES = {
    "a block too few": r"the foreign run until token_wait did not end within \d+ cycles",
    "a counter of the wrong activity": r"counter update differ first at core 0: expected \d+, got \d+",
    "a route too far east": r"router 1 tells the first cause 5, expected none",
    "a core in the wrong place": r"chunk 15 of identity of core 1 reads 0x0000, not 0x0001",
    "a silent gateway": r"the knock after reset did not end within \d+ cycles",
}
"""What the first of the systems says of each."""


@pytest.mark.parametrize("fault", FAULTS)
def test_edited_design_differs_at_a_named_place(folder: Path, tmp_path: Path, fault: str) -> None:
    require_engine("icarus")
    design = edited(folder, tmp_path / "design", *FAULTS[fault])
    junit = tmp_path / "junit.xml"
    arguments = ["--random", 2, "--seed", 5, "--sim", "icarus", "--verilog", design, "--junit", junit]
    result = run(*arguments)
    assert result.returncode == 1, result.stdout + result.stderr
    assert re.fullmatch(rf"FAILED: system seed 5: {CAUSES[fault]}", last(result))
    suite = suite_of(junit)
    assert int(suite.get("failures", "0")) == len(suite.findall("testcase/failure")) > 0


def test_edited_design_that_ends_the_simulator_fails(folder: Path, tmp_path: Path) -> None:
    require_engine("icarus")
    stop = "initial begin #5000 $finish; end\nendmodule"
    design = edited(folder, tmp_path / "design", "router.v", "endmodule", stop)
    result = run("--random", 2, "--sim", "icarus", "--verilog", design)
    assert result.returncode == 1, result.stdout + result.stderr
    assert last(result).startswith("FAILED: system seed 0: the simulator died while it ran the chip: ")


def test_batch_that_misses_a_corner_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "COVERED_FROM", 1)
    assert verify.main(["--random", "1", "--seed", "7", "--sim", "icarus"]) == 1
    line = capsys.readouterr().out.rstrip().rsplit("\n", 1)[-1]
    assert re.fullmatch(r"FAILED: the systems must reach every corner, they missed: .*disabled cores.*", line)


def test_large_batch_replaces_systems_until_it_reaches_every_corner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systems_module, "COVERED_FROM", 3)
    monkeypatch.setattr(systems_module, "_SPARE_SEEDS", 20)
    batch = random_batch(3, 7)
    assert len(batch) == 3
    assert len(systems_module.missed(batch)) < len(systems_module.missed(random_batch(2, 7)))


# Exit code 2


def sentence(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return the one line that the program prints before it gives up."""
    assert verify.main([str(argument) for argument in arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert told.err.startswith("spikeloom: ")
    return told.err.removeprefix("spikeloom: ").rstrip()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Give either an image or --random N, not both and not neither."),
        (("a.spikeloom", "--random", 1), "Give either an image or --random N, not both and not neither."),
        (("--random", 0), "--random must be at least 1, not 0."),
        (("--random", "x"), "Argument --random: invalid int value: 'x'."),
        (("--random", 1, "--seed", -1), "--seed must be at least 0, not -1."),
        (("--random", 1, "--stimulus", "s"), "--stimulus needs an image that it feeds."),
        (("--random", 1, "--waves", "w.fst"), "--waves must name a .vcd file, not w.fst."),
        (
            ("--random", 1, "--sim", "nosuch"),
            "Simulator must be auto, verilator, icarus or pysim, not 'nosuch'.",
        ),
        (("nosuch.spikeloom",), "There is no image file nosuch.spikeloom."),
    ],
)
def test_bad_arguments_get_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: tuple[object, ...], message: str
) -> None:
    assert sentence(capsys, *arguments) == message


def test_missing_and_damaged_files_get_one_sentence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = folder / "a.spikeloom"
    cut = tmp_path / "cut.spikeloom"
    cut.write_bytes(image.read_bytes()[:300])
    assert sentence(capsys, cut).startswith(f"{cut}: not a whole zip file (")
    missing = sentence(capsys, image, "--stimulus", tmp_path / "no.npz")
    assert missing == f"There is no stimulus file {tmp_path / 'no.npz'}."
    foreign = sentence(capsys, image, "--stimulus", image)
    assert foreign.startswith(f"{image} is no stimulus (an npz of steps, step, packet): ")
    absent = sentence(capsys, "--random", 1, "--sim", "icarus", "--verilog", tmp_path)
    assert absent.startswith(f"{tmp_path / 'chip.json'} cannot be read (")
    (tmp_path / "chip.json").write_text("[]")
    broken = sentence(capsys, "--random", 1, "--sim", "icarus", "--verilog", tmp_path)
    assert broken.startswith(f"{tmp_path / 'chip.json'} must hold the sizes of a chip (")
    assert broken.endswith("); write the folder with 'spikeloom verilog'.")


def test_stimulus_that_does_not_fit_gets_one_sentence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packet = np.array([[9, 9, 0, 0, 0, 1]])
    path = save_stimulus(tmp_path / "s.npz", Stimulus(steps=1, step=np.zeros(1, np.int64), packet=packet))
    told = sentence(capsys, folder / "a.spikeloom", "--stimulus", path)
    assert re.fullmatch(
        r".*s\.npz does not fit .*a\.spikeloom: Stimulus packet 0: x0 must be .*, not 9\.", told
    )


def test_stimulus_of_a_file_names_inlets_and_without_one_all_are_used(tmp_path: Path) -> None:
    spec = next(spec for spec in POOL if spec.gates is not None)
    image, stimulus = random_system(3, spec=spec)
    save_image(image, tmp_path / "a.spikeloom")
    packets = stimulus.spikes()
    path = tmp_path / "s.npz"
    np.savez(path, steps=packets.steps, step=packets.step, packet=packets.packet, inlet=packets.inlet)
    assert read_stimulus(path).inlet.tolist() == packets.inlet.tolist()
    assert set(image_systems(tmp_path / "a.spikeloom", path, 0)[0][0].stimulus.inlet.tolist()) == {0, 1, 2, 3}
    assert set(image_systems(tmp_path / "a.spikeloom", None, 0)[0][0].stimulus.inlet.tolist()) == {0, 1, 2, 3}
    assert geometry(spec) == "3 x 3 cores of 32 x 32 with 4 inlets and 3 outlets"


def test_design_of_other_sizes_gets_one_sentence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, _ = random_system(5, spec=POOL[0])
    save_image(image, tmp_path / "b.spikeloom")
    arguments = (tmp_path / "b.spikeloom", "--sim", "icarus", "--verilog", folder / "design")
    told = sentence(capsys, *arguments)
    assert (
        f"needs 1 x 1 cores of 32 x 32, but {folder / 'design'} holds 2 x 2 cores of 32 x 32; export" in told
    )
    told = sentence(capsys, "--random", 1, "--sim", "pysim", "--verilog", folder / "design")
    assert told == "Simulator pysim reads no Verilog; use --sim verilator or --sim icarus with --verilog."


def test_design_that_does_not_compile_gets_one_sentence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require_engine("icarus")
    design = edited(folder, tmp_path / "design", "neurocore.v", "endmodule", "endmodul")
    told = sentence(capsys, "--random", 1, "--sim", "icarus", "--verilog", design)
    assert re.fullmatch(r"icarus could not compile the design: neurocore\.v:\d+: .*", told)


def idle_image(spec: SystemSpec, core: CoreImage, path: Path) -> Path:
    save_image(make_system(spec, core, *[None] * (spec.cores - 1)), path)
    return path


def test_run_beyond_the_limit_gets_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    core = make_core(np.ones((2, 2), np.int8))
    long = idle_image(SystemSpec(core=preset("tiny"), width=1, height=1), core, tmp_path / "long.spikeloom")
    monkeypatch.setattr(images_module, "LIMIT_CYCLES", 10)
    told = sentence(capsys, long)
    assert re.fullmatch(
        r".* takes \d+ cycles with this stimulus, more than the 10 that are simulated; "
        r"use fewer samples or steps\.",
        told,
    )


def test_traceback_appears_with_debug_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPIKELOOM_DEBUG", "")
    assert verify.main(["nosuch.spikeloom", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_files_of_the_folder_are_no_modules_of_the_program(tmp_path: Path) -> None:
    for name in ("emu", "rtl", "mapping", "numpy", "sim_tests", "spikeloom"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(9)")
    command = [sys.executable, "-P", "-m", "spikeloom", "verify", "--random", "1", "--sim", "modelsim"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "'modelsim'" in done.stderr


def test_bad_input_ends_the_process_with_2() -> None:
    result = run("nosuch.spikeloom")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "spikeloom: There is no image file nosuch.spikeloom.\n"


def test_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "random_batch", interrupt)
    assert verify.main(["--random", "1"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
