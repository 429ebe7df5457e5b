# SPDX-License-Identifier: Apache-2.0
"""Verilog: the chip, with core and router elaborated once, and a sidecar that says what was generated."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from amaranth._toolchain.yosys import YosysError
from amaranth.back import verilog
from amaranth.lib import wiring

from emu.bits import layout_bits
from emu.errors import SpikeloomError
from emu.spec import SystemSpec
from emu.words import TABLES, Section, flit_layout, section_layout, section_words, sections_of
from rtl.chip import Chip
from rtl.core import Neurocore
from rtl.macros import MACRO_FILE, Macro, macro_verilog, macros_of
from rtl.memory import Body
from rtl.router import Router
from rtl.start_values import without_start_values
from rtl.system import System, top_name

__all__ = ["SIDECAR", "VERILOG_FILES", "VerilogError", "chip_verilog", "describe", "write_verilog"]


class VerilogError(SpikeloomError, RuntimeError):
    """The generator of Verilog is missing or broke down; one sentence with the way out."""


VERILOG_FILES = ("neurocore.v", "router.v", "chip.v")
"""Names of the files of a chip, leaves first; beside several of them there is ``system.v``, the last one."""

SIDECAR = "chip.json"
"""Name of the file that tells the sizes of a design; without it a folder holds none."""

_CONTENTS = re.compile(r"^  initial begin\n(?:    \S+\[\d+\] = [^\n]*\n)+  end\n", re.MULTILINE)


_WAKE = re.compile(r"  reg (\\\$auto\$verilog_backend\S+dump_module\S+)  = 0;\n")


_STYLE = "".join(
    f"/* verilator lint_off {rule} */\n" for rule in ("CASEINCOMPLETE", "WIDTHEXPAND", "WIDTHTRUNC")
)
"""Style rules that generated text breaks everywhere: its widths were settled before it was written."""


def _wake_with_reset(module: str) -> str:
    """Let reset evaluate every combinational block once.

    The generator wakes them by a register with an initial value, which is an event in Verilog 2005 but not in
    SystemVerilog: there they would keep unknown values until an input changes.
    """
    wake = _WAKE.search(module)
    if wake is None or "\n  input rst;\n" not in module:
        return module
    return _WAKE.sub("", module).replace(f"if ({wake.group(1)} )", "if (rst)")


def _convert(component: wiring.Component, name: str, memories: Body = Body.INFERRED) -> str:
    """Return a component's Verilog, without source paths and without memory contents: hardware has none."""
    try:
        text: str = verilog.convert(
            component, name=name, platform=memories, emit_src=False, strip_internal_attrs=True
        )
    except YosysError as error:
        reason = (str(error).strip().splitlines() or ["it said nothing"])[-1]
        raise VerilogError(
            f"Yosys could not write the Verilog of {name} ({reason}); "
            "'spikeloom doctor' shows what is installed."
        ) from error
    modules = re.split(r"(?<=\nendmodule\n)", _CONTENTS.sub("", text))
    return _STYLE + "".join(map(_wake_with_reset, modules))


def chip_verilog(spec: SystemSpec, memories: Body = Body.INFERRED) -> dict[str, str]:
    """Return file name -> Verilog text of a chip, the same text for the same sizes.

    Parameters
    ----------
    memories : Body
        What stands for a memory; with macros their modules are in a file of their own, the first one.

    Raises
    ------
    VerilogError
        If the generator is missing or broke down.
    """
    neurocore = _convert(Neurocore(spec), "neurocore", memories)
    macros = {MACRO_FILE: macro_verilog(macros_of(neurocore))} if memories is Body.MACRO else {}
    return macros | {
        "neurocore.v": neurocore,
        "router.v": _convert(Router(spec), "router"),
        "chip.v": _convert(Chip(spec), "chip"),
        **({"system.v": _convert(System(spec), "system")} if top_name(spec) == "system" else {}),
    }


def describe(
    spec: SystemSpec, files: Sequence[str] = VERILOG_FILES, macros: Sequence[Macro] = ()
) -> dict[str, object]:
    """Return the sizes, the flit, and every memory of a core, as the sidecar tells them; and its macros."""
    memories = [s for s in sections_of(spec) if s in TABLES or s == Section.CROSSBAR]
    return {
        "spec": spec.to_dict(),
        "top": top_name(spec),
        "files": list(files),
        "flit": {field.name: field.bits for field in flit_layout(spec)},
        "control_words": section_words(spec, Section.CONTROL),
        "memories": {
            s.name.lower(): {"words": section_words(spec, s), "bits": layout_bits(section_layout(spec, s))}
            for s in memories
        },
        "macros": {macro.name: asdict(macro) for macro in macros},
    }


def write_verilog(
    spec: SystemSpec, directory: Path, *, initial: bool = True, memories: Body = Body.INFERRED
) -> list[Path]:
    """Write the chip's files and, last, its sidecar into a directory; return them.

    Parameters
    ----------
    initial : bool
        Declare the registers' start values, which a simulator and most FPGAs honour; the design needs none,
        it needs a cycle of reset.
    memories : Body
        What stands for a memory.
    """
    design = chip_verilog(spec, memories)
    if not initial:
        design = {name: without_start_values(text) for name, text in design.items()}
    told = describe(spec, list(design), macros_of(design.get(MACRO_FILE, "")))
    texts = {**design, SIDECAR: json.dumps(told, indent=2) + "\n"}
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (directory / name).write_text(text)
    return [directory / name for name in texts]
