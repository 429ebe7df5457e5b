# SPDX-License-Identifier: Apache-2.0
"""The fixtures themselves: a missing simulator skips, a demanded one fails, a failure names its seed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sim_tests.conftest import engine_missing, pytest_collection_modifyitems, require_engine


@pytest.fixture
def no_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.delenv("SPIKELOOM_REQUIRE", raising=False)


def test_missing_engine_skips_with_a_reason(no_tools: None) -> None:
    with pytest.raises(pytest.skip.Exception, match=r"^icarus: iverilog is not installed$"):
        require_engine("icarus")
    with pytest.raises(pytest.skip.Exception, match=r"^chromium: chromium is not installed$"):
        require_engine("chromium")


def test_missing_engine_fails_when_demanded(no_tools: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKELOOM_REQUIRE", "verilator, icarus")
    message = r"^SPIKELOOM_REQUIRE demands icarus, but iverilog is not installed$"
    with pytest.raises(pytest.fail.Exception, match=message):
        require_engine("icarus")


def test_present_engine_passes() -> None:
    require_engine("pysim")
    assert engine_missing("pysim") is None


def test_unknown_engine_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^engine must be verilator, icarus, pysim or chromium, not 'vcs'$"):
        engine_missing("vcs")


def test_failure_names_its_seed(tmp_path: Path) -> None:
    conftest = Path(__file__).parents[2] / "conftest.py"
    (tmp_path / "conftest.py").write_text(conftest.read_text(encoding="utf-8"))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_x.py").write_text("def test_x(seed):\n    assert seed == 0\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--seed", "77"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "repeat with: --seed 77" in result.stdout
    assert result.returncode == 1


def test_hang_ends_the_test_alone(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\ntimeout = 1\n")
    (tmp_path / "test_x.py").write_text(
        "def test_x():\n    while True:\n        pass\n\ndef test_y(): pass\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60)
    assert "Timeout" in result.stdout
    assert "1 failed, 1 passed" in result.stdout


@pytest.mark.parametrize(("mark", "seconds"), [("slow", 900), ("long", 7200), ("cosim", 900)])
def test_marked_test_has_more_time(mark: str, seconds: int) -> None:
    item = _Item(mark)
    pytest_collection_modifyitems([item])  # type: ignore[list-item]
    assert item.added == [pytest.mark.timeout(seconds)]
    item = _Item("timeout", mark)
    pytest_collection_modifyitems([item])  # type: ignore[list-item]
    assert item.added == []


class _Item:
    """A collected test with marks."""

    def __init__(self, *marks: str) -> None:
        self._marks, self.added = marks, list[pytest.MarkDecorator]()

    def get_closest_marker(self, name: str) -> str | None:
        return name if name in self._marks else None

    def add_marker(self, mark: pytest.MarkDecorator) -> None:
        self.added.append(mark)
