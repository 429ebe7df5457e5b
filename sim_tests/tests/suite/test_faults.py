# SPDX-License-Identifier: Apache-2.0
"""Every planted fault of faults.toml is noticed by an assertion of the test that it names."""

import os
import re
import shutil
from collections.abc import Iterator
from compileall import compile_dir
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from py_compile import PycInvalidationMode

import pytest

from sim_tests.robustness.faults_table import END, Fault, load_faults, render, replaced
from sim_tests.robustness.forks import Done, Forks

ROOT = Path(__file__).parents[3]
FAULTS = load_faults()
NAMED = {
    file: {fault.caught_by for fault in FAULTS if fault.caught_by.startswith(f"{file}::")}
    for file in {fault.caught_by.partition("::")[0] for fault in FAULTS}
}
PACKAGES = ("emu", "rtl", "sim_tests", "mapping", "spikeloom")
BLOCKS = {
    *(
        f"rtl/{name}.py"
        for name in (
            "issue",
            "fetch",
            "drive",
            "membrane",
            "quantiser",
            "lists",
            "ladder",
            "firing",
            "emission",
        )
    ),
    *(
        f"rtl/{name}.py"
        for name in ("memory", "crossbar", "events", "scan", "neuron", "schedule", "program", "counters")
    ),
    *(
        f"rtl/{name}.py"
        for name in (
            "core",
            "control",
            "blocks",
            "router",
            "arbiter",
            "fifo",
            "link",
            "gateway",
            "chip",
            "system",
            "export",
            "layouts",
            "macros",
        )
    ),
    *(
        f"emu/{name}.py"
        for name in (
            "bits",
            "words",
            "topology",
            "dead",
            "image",
            "container",
            "trace",
            "host",
            "loading",
            "passes",
            "rectangles",
            "machine",
        )
    ),
    *(f"emu/{name}.py" for name in ("functional", "program", "tape")),
    *(
        f"emu/kernels/{name}.py"
        for name in (
            "crossbar",
            "membrane",
            "quantise",
            "neuron",
            "fabric",
            "routes",
            "mesh",
            "cycle",
            "inject",
            "injectors",
            "links",
            "state",
        )
    ),
    *(f"sim_tests/bench/{name}.py" for name in ("scoreboard", "session", "job")),
}
NOTICED = re.compile(r"^E +(assert |AssertionError|Failed|\S*BenchError)", re.MULTILINE)
BUILD_SERVER = ("CI", "BUILD_NUMBER")
BROKEN = re.compile(r"\d+ errors? in ")


@dataclass(frozen=True, kw_only=True)
class Copy:
    """The packages in a folder of their own, in which faults are planted one after the other."""

    folder: Path
    forks: Forks

    def run(self, *tests: str, seconds: float = 800) -> Done:
        """Run the named tests on the packages as they are now, without compiled kernels."""
        options = ["-x", "-q", "--tb=short", "--rootdir=.", "-pno:cacheprovider"]
        plugins = ["--disable-plugin-autoload", "-ppytest_timeout"]
        return self.forks.run([*options, *plugins, *tests], seconds=seconds)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """Yield a copy of the packages.

    Its bytecode is valid for the digest of a source: a time of change, in seconds, would not tell a fault
    from what was there a moment ago. Where pytest sees a build server it prints differences whole, and long
    ones take it minutes.
    """
    folder = tmp_path_factory.mktemp("faults")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    compile_dir(folder, quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
    inherited = {name: value for name, value in os.environ.items() if name not in BUILD_SERVER}
    with Forks(folder, inherited | {"NUMBA_DISABLE_JIT": "1"}) as forks:
        yield Copy(folder=folder, forks=forks)


def fault_missed(copy: Copy, fault: Fault) -> str | None:
    """Plant a fault, run its test, take the fault out again; return why it was not noticed, or None."""
    path = copy.folder / fault.file
    text = path.read_text(encoding="utf-8")
    if text.count(fault.find) != 1:
        return f"{fault.find!r} must occur exactly once in {fault.file}, not {text.count(fault.find)} times"
    try:
        path.write_text(text.replace(fault.find, fault.replace), encoding="utf-8")
        done = copy.run(fault.caught_by)
    finally:
        path.write_text(text, encoding="utf-8")
    if done.code != 1 or not NOTICED.search(done.out) or BROKEN.search(done.out):
        what = f"did not fail by an assertion (exit code {done.code})"
        return f"{fault.caught_by} {what}:\n{done.out[-1500:]}"
    return None


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("file", sorted(NAMED))
def test_named_tests_pass_without_a_fault(copy: Copy, file: str) -> None:
    done = copy.run(*sorted(NAMED[file]), seconds=1500)
    assert done.code == 0, done.out[-3000:]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f"{f.file}-{f.why}".replace(" ", "_"))
def test_planted_fault_is_noticed(copy: Copy, fault: Fault) -> None:
    assert fault_missed(copy, fault) is None


def test_no_fault_is_in_a_file_of_tests() -> None:
    """What pytest keeps of these is valid for a time of change: a fault there might not be seen."""
    names = [Path(fault.file).name for fault in FAULTS]
    assert [name for name in names if name == "conftest.py" or fnmatch(name, "test_*.py")] == []


def test_every_block_has_three_planted_faults() -> None:
    files = [fault.file for fault in FAULTS]
    assert {name: files.count(name) for name in BLOCKS if files.count(name) < 3} == {}


def test_no_fault_is_there_twice() -> None:
    assert len({(f.file, f.find, f.replace) for f in FAULTS}) == len(FAULTS)


def test_fault_that_changes_nothing_is_missed(copy: Copy) -> None:
    name = "sim_tests/tests/rtl/test_gateway.py::test_kind_of_a_spike_is_zero"
    fault = Fault(
        file="rtl/gateway.py",
        block="",
        find="where the host's stream",
        replace="where the stream of the host",
        why="",
        caught_by=name,
    )
    assert "did not fail by an assertion (exit code 0)" in str(fault_missed(copy, fault))


def test_fault_that_breaks_the_import_is_missed(copy: Copy) -> None:
    name = "sim_tests/tests/rtl/test_gateway.py::test_kind_of_a_spike_is_zero"
    fault = Fault(
        file="rtl/gateway.py",
        block="",
        find="class Gateway(",
        replace="class Getaway(",
        why="",
        caught_by=name,
    )
    assert "did not fail by an assertion" in str(fault_missed(copy, fault))


def test_fault_whose_text_is_gone_is_missed(copy: Copy) -> None:
    fault = Fault(file="rtl/gateway.py", block="", find="no such text", replace="", why="", caught_by="")
    assert (
        fault_missed(copy, fault) == "'no such text' must occur exactly once in rtl/gateway.py, not 0 times"
    )


def test_page_shows_the_faults() -> None:
    page = ROOT / "docs" / "verification.md"
    if not page.is_file():
        pytest.skip("not a checkout")
    text = page.read_text(encoding="utf-8")
    assert replaced(text, render(FAULTS)) == text, "run: python -m sim_tests.robustness.faults_table"
    with pytest.raises(ValueError, match="page must have one line"):
        replaced(text.replace(END, ""), "")
