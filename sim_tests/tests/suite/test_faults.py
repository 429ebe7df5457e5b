# SPDX-License-Identifier: Apache-2.0
"""Every planted fault of faults.toml is noticed by an assertion of the test that it names."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sim_tests.robustness.faults_table import END, Fault, load_faults, render, replaced

ROOT = Path(__file__).parents[3]
FAULTS = load_faults()
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


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the packages, in which faults are planted one after the other."""
    folder = tmp_path_factory.mktemp("faults")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def run(folder: Path, *tests: str, seconds: int = 300) -> subprocess.CompletedProcess[str]:
    """Run the named tests on the packages in a folder, without compiled kernels.

    Where pytest sees a build server it prints differences whole, and long ones take it minutes. The plugin of
    hypothesis, which the tests do not need, takes longer to import than most of them run.
    """
    without = [f"-pno:{plugin}" for plugin in ("cacheprovider", "xdist", "hypothesispytest")]
    options = ["-x", "-q", *without, "--tb=short", "--rootdir=."]
    ours = {"PYTHONPATH": str(folder), "NUMBA_DISABLE_JIT": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    inherited = {name: value for name, value in os.environ.items() if name not in BUILD_SERVER}
    command = [sys.executable, "-m", "pytest", *options, *tests]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=inherited | ours,
        timeout=seconds,
    )


def fault_missed(folder: Path, fault: Fault) -> str | None:
    """Plant a fault, run its test, take the fault out again; return why it was not noticed, or None."""
    path = folder / fault.file
    text = path.read_text(encoding="utf-8")
    if text.count(fault.find) != 1:
        return f"{fault.find!r} must occur exactly once in {fault.file}, not {text.count(fault.find)} times"
    try:
        path.write_text(text.replace(fault.find, fault.replace), encoding="utf-8")
        done = run(folder, fault.caught_by)
    finally:
        path.write_text(text, encoding="utf-8")
    if done.returncode != 1 or not NOTICED.search(done.stdout) or BROKEN.search(done.stdout):
        what = f"did not fail by an assertion (exit code {done.returncode})"
        return f"{fault.caught_by} {what}:\n{done.stdout[-1500:]}"
    return None


@pytest.mark.timeout(1800)
def test_named_tests_pass_without_a_fault(copy: Path) -> None:
    done = run(copy, *sorted({fault.caught_by for fault in FAULTS}), seconds=1500)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f"{f.file}-{f.why}".replace(" ", "_"))
def test_planted_fault_is_noticed(copy: Path, fault: Fault) -> None:
    assert fault_missed(copy, fault) is None


def test_every_block_has_three_planted_faults() -> None:
    files = [fault.file for fault in FAULTS]
    assert {name: files.count(name) for name in BLOCKS if files.count(name) < 3} == {}


def test_no_fault_is_there_twice() -> None:
    assert len({(f.file, f.find, f.replace) for f in FAULTS}) == len(FAULTS)


def test_fault_that_changes_nothing_is_missed(copy: Path) -> None:
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


def test_fault_that_breaks_the_import_is_missed(copy: Path) -> None:
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


def test_fault_whose_text_is_gone_is_missed(copy: Path) -> None:
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
