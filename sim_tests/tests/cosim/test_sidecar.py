# SPDX-License-Identifier: Apache-2.0
"""The files that the sidecar of a design lists are compiled, and no others."""

import json
import re
import shutil
from pathlib import Path

import pytest

from sim_tests.conftest import require_engine
from sim_tests.tests.cosim.test_verify import design_folder, run, sentence

pytestmark = pytest.mark.cosim


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return design_folder(tmp_path_factory.mktemp("sidecar"))


def listed(folder: Path, target: Path, *files: object) -> Path:
    """Return a copy of the exported design whose sidecar lists other files."""
    shutil.copytree(folder / "design", target)
    told = json.loads((target / "chip.json").read_text())
    (target / "chip.json").write_text(json.dumps({**told, "files": list(files)}))
    return target


ALL = ("neurocore.v", "router.v", "chip.v")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "must list 1..1000 names of Verilog files under files."),
        (("neurocore.v", "router.v"), "chip.v is not among the files of .*chip.json; add its name there, or"),
        ((*ALL, "no.v"), "lists 'no.v' under files, but there is no such file; remove the name."),
        ((*ALL, "../a.v"), "lists '../a.v' under files; it must name a .v or .sv file of this folder."),
        (
            (*ALL, "/etc/passwd"),
            "lists '/etc/passwd' under files; it must name a .v or .sv file of this folder.",
        ),
        ((*ALL, 5), "lists 5 under files; it must name a .v or .sv file of this folder."),
        ((*ALL, "chip.json"), "lists 'chip.json' under files; it must name a .v or .sv file of this"),
        ((*ALL, "chip.v"), "lists 'chip.v' under files, which is there twice; rename the file."),
        ((*ALL, "bench.v"), "lists 'bench.v' under files, which is the bench's own name; rename the file."),
    ],
)
def test_sidecar_with_wrong_files_gets_one_sentence(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    files: tuple[object, ...],
    message: str,
) -> None:
    design = listed(folder, tmp_path / "design", *files)
    told = sentence(capsys, "--random", 1, "--sim", "icarus", "--verilog", design)
    assert re.search(message, told), told


def test_link_out_of_the_design_gets_one_sentence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret.v").write_text("")
    design = listed(folder, tmp_path / "design", *ALL, "own.v")
    (design / "own.v").symlink_to(tmp_path / "secret.v")
    told = sentence(capsys, "--random", 1, "--sim", "icarus", "--verilog", design)
    assert told == f"{design / 'own.v'} leads out of {design}; put a copy of the file there."


@pytest.mark.parametrize("place", ["own.v", "macros/own.v"])
def test_module_in_a_file_of_its_own_is_compiled(folder: Path, tmp_path: Path, place: str) -> None:
    require_engine("icarus")
    design = listed(folder, tmp_path / "design", place, *ALL)
    text = (design / "neurocore.v").read_text()
    at = text.index("module \\neurocore.sequence")
    end = text.index("endmodule", at) + len("endmodule\n")
    (design / place).parent.mkdir(exist_ok=True)
    (design / place).write_text(text[at:end])
    (design / "neurocore.v").write_text(text[:at] + text[end:])
    result = run(
        folder / "a.spikeloom", "--stimulus", folder / "a.npz", "--sim", "icarus", "--verilog", design
    )
    assert result.returncode == 0, result.stdout + result.stderr
    told = json.loads((design / "chip.json").read_text())
    (design / "chip.json").write_text(json.dumps({**told, "files": list(ALL)}))
    (design / place).rename(design / "away")
    result = run("--random", 1, "--sim", "icarus", "--verilog", design)
    assert (result.returncode, "could not compile the design" in result.stderr) == (2, True)
