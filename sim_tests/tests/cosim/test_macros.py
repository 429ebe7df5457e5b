# SPDX-License-Identifier: Apache-2.0
"""A chip whose memories are macros: its own text for them, an edited one, and accesses without a reason."""

import json
import shutil
from pathlib import Path

import pytest

from emu.container import save_image
from emu.spec import SystemSpec
from rtl.export import chip_verilog, write_verilog
from rtl.memory import Body
from sim_tests.bench.engines import run_jobs
from sim_tests.bench.exported import read_design
from sim_tests.bench.systems import System, judge, seeded_system
from sim_tests.conftest import require_engine
from sim_tests.generators.pool import TINY
from sim_tests.tests.cosim.test_verify import run

pytestmark = pytest.mark.cosim

SPEC = SystemSpec(core=TINY, width=1, height=2)


@pytest.fixture(scope="module")
def system() -> System:
    return seeded_system(5, SPEC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, system: System) -> Path:
    """Return a folder with an image and a design whose memories are macros."""
    root = tmp_path_factory.mktemp("macros")
    save_image(system.image, root / "a.spikeloom")
    write_verilog(SPEC, root / "design", memories=Body.MACRO)
    return root


def failure(design: dict[str, str], system: System, engine: str) -> str | None:
    (result,) = run_jobs(design, [system.job()], engine=engine)
    return judge(system, result).failure


@pytest.mark.parametrize("engine", ["icarus", "verilator"])
def test_chip_with_macros_is_equal(folder: Path, system: System, engine: str) -> None:
    """Where a macro may show garbage, Icarus shows unknown bits and Verilator random ones."""
    require_engine(engine)
    spec, design = read_design(folder / "design")
    assert (spec, next(iter(design))) == (SPEC, "memories.v")
    assert failure(design, system, engine) is None


def test_sidecar_lists_every_macro_once(folder: Path) -> None:
    told = json.loads((folder / "design" / "chip.json").read_text())
    text = (folder / "design" / "memories.v").read_text()
    assert told["files"] == ["memories.v", "neurocore.v", "router.v", "chip.v"]
    assert sorted(told["macros"]) == sorted(
        line.split("(")[0].removeprefix("module ") for line in text.splitlines() if line.startswith("module ")
    )
    assert {"spikeloom_1r1w_32x4", "spikeloom_1rw_128x16"} < set(told["macros"])


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("memory[address][15:0] <= store[15:0]", "memory[address][15:0] <= store[14:0]"),
        ("if (read) shown", "if (!read) shown"),
        ("if (enable) shown <= write == 0", "if (enable) shown <= write != 0"),
    ],
)
def test_faulty_macro_fails(folder: Path, tmp_path: Path, right: str, wrong: str) -> None:
    """The file of the macros is the user's own: what stands there is what is verified."""
    require_engine("icarus")
    design = shutil.copytree(folder / "design", tmp_path / "design")
    text = (design / "memories.v").read_text()
    assert right in text
    (design / "memories.v").write_text(text.replace(right, wrong))
    result = run(folder / "a.spikeloom", "--sim", "icarus", "--verilog", design)
    assert result.returncode == 1, result.stdout + result.stderr


def move_cells(design: Path, right: str = "", wrong: str = "") -> None:
    """Move the memory of the cells into a file and a module of its own."""
    text = (design / "neurocore.v").read_text()
    name = "\\neurocore.crossbar.cells.memory "
    at = text.index(f"module {name}")
    end = text.index("endmodule", at) + len("endmodule")
    module = text[at:end]
    assert right in module
    sram = module.replace(name, "my_sram ").replace(right, wrong)
    lint = "/* verilator lint_off WIDTHEXPAND */\n/* verilator lint_off WIDTHTRUNC */\n"
    (design / "sram.v").write_text(f"{lint}{sram}\n")
    (design / "neurocore.v").write_text((text[:at] + text[end:]).replace(name, "my_sram "))
    told = json.loads((design / "chip.json").read_text())
    (design / "chip.json").write_text(json.dumps({**told, "files": ["sram.v", *told["files"]]}))


@pytest.mark.parametrize("fault", [(), ("<= port__store;", "<= port__store[14:0];")])
def test_memory_in_a_file_of_its_own_is_verified(
    folder: Path, tmp_path: Path, fault: tuple[str, ...]
) -> None:
    require_engine("verilator")
    design = tmp_path / "design"
    write_verilog(SPEC, design)
    move_cells(design, *fault)
    result = run(folder / "a.spikeloom", "--verilog", design)
    assert result.returncode == (1 if fault else 0), result.stdout + result.stderr


def test_memory_is_accessed_when_somebody_asks(system: System) -> None:
    assert failure({}, system, "pysim") is None


@pytest.mark.parametrize("engine", ["icarus", "verilator"])
@pytest.mark.parametrize("memory", ["crossbar.cells", "walk.neuron_memory"])
def test_access_that_nobody_asked_for_fails(system: System, engine: str, memory: str) -> None:
    """A read more costs energy and changes nothing else: only the bench's look at the enables tells."""
    require_engine(engine)
    design = chip_verilog(SPEC)
    text = design["neurocore.v"]
    at = text.index(f"module \\neurocore.{memory} ")
    end = text.index("endmodule", at)
    assert text.count("| read__enable;", at, end) == 1
    edited = text[:at] + text[at:end].replace("| read__enable;", "| 1'b1;") + text[end:]
    told = failure({**design, "neurocore.v": edited}, system, engine)
    assert told is not None
    assert "and nobody asked for it" in told
