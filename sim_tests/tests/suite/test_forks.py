# SPDX-License-Identifier: Apache-2.0
"""Forked runs of pytest: each sees the modules that are on disk, and leaves nothing behind."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sim_tests.robustness.forks import Forks

SUITE = """
import os, subprocess, sys, time
import part

def test_it(): assert part.VALUE == 1
def test_in_a_process():
    printed = subprocess.run([sys.executable, "-c", "import part; print(part.VALUE)"], capture_output=True)
    assert printed.stdout == b"1\\n"
def test_alone(): assert "mark" not in os.environ and not os.environ.update(mark="set")
def test_sleep():
    process = subprocess.Popen(["sleep", "60"])
    open("sleeper", "w").write(str(process.pid))
    time.sleep(60)
def test_child():
    open("sleeper", "w").write(str(subprocess.Popen(["sleep", "60"]).pid))
"""


@pytest.fixture
def forks(tmp_path: Path) -> Iterator[Forks]:
    (tmp_path / "test_a.py").write_text(SUITE)
    (tmp_path / "part.py").write_text("VALUE = 1\n")
    with Forks(tmp_path, os.environ) as server:
        yield server


def ask(forks: Forks, test: str, seconds: float = 60) -> tuple[int, str]:
    options = ["-q", "--disable-plugin-autoload", "-pno:cacheprovider", "--rootdir=."]
    done = forks.run([*options, f"test_a.py::{test}"], seconds=seconds)
    return done.code, done.out


def ends(process: int) -> bool:
    """Return whether a process ends within some seconds; one that nobody waits for is a zombie."""
    for _ in range(100):
        stat = Path(f"/proc/{process}/stat")
        if not stat.exists() or stat.read_text().rpartition(") ")[2].startswith("Z"):
            return True
        time.sleep(0.05)
    return False


def test_each_run_imports_what_is_on_disk(forks: Forks, tmp_path: Path) -> None:
    part = tmp_path / "part.py"
    for value, code, told in ((1, 0, "1 passed"), (2, 1, "assert 2 == 1"), (1, 0, "1 passed")):
        part.write_text(f"VALUE = {value} # {'x' * value}\n")  # a time of change is too coarse
        assert ask(forks, "test_it")[0] == code
        assert told in ask(forks, "test_it")[1]
        assert ask(forks, "test_in_a_process")[0] == code


def test_runs_do_not_see_each_other(forks: Forks) -> None:
    assert [ask(forks, "test_alone")[0] for _ in range(2)] == [0, 0]


@pytest.mark.parametrize(("test", "seconds", "code"), [("test_sleep", 3, -9), ("test_child", 60, 0)])
def test_nothing_of_a_run_is_left(forks: Forks, tmp_path: Path, test: str, seconds: float, code: int) -> None:
    if not Path("/proc/self/stat").exists():
        pytest.skip("processes are looked up in /proc")
    assert ask(forks, test, seconds)[0] == code
    assert ends(int((tmp_path / "sleeper").read_text()))
    assert ask(forks, "test_it")[0] == 0


def test_answer_to_a_run_that_was_given_up_is_not_taken_for_another(forks: Forks) -> None:
    forks._ask(["-q", "--rootdir=.", "no_such_file.py"], 60)
    assert ask(forks, "test_it")[0] == 0


def test_server_that_is_gone_is_told(forks: Forks) -> None:
    forks._server.kill()
    with pytest.raises(RuntimeError, match=r"^The server of forks ended with code -9\.$"):
        ask(forks, "test_it")
