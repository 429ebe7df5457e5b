# SPDX-License-Identifier: Apache-2.0
"""What a command frees is kept: arrays made in turn touch no new pages, unless the user says otherwise."""

import ctypes
import os
import subprocess
import sys

import pytest

from spikeloom.memory import keep_freed

TELLS = sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "mallopt")

PROGRAM = """
import resource, sys
import numpy as np
from spikeloom.memory import keep_freed
told = keep_freed() if sys.argv[1] == "keep" else False
for turn in range(20):
    if turn == 4:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    made = [np.ones(3_000_000, np.uint8) for _ in range(4)]
    del made
print(told, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages_touched(how: str, **variables: str) -> tuple[str, int]:
    """Return whether the allocator was told, and the pages that arrays touch which are made and freed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", PROGRAM, how]
    text = subprocess.run(command, env=clean | variables, capture_output=True, text=True, check=True).stdout
    told, pages = text.split()
    return told, int(pages)


@pytest.mark.skipif(not TELLS, reason="the C library is not that of GNU")
def test_arrays_made_again_touch_no_new_pages() -> None:
    assert pages_touched("keep")[0] == "True"
    assert pages_touched("keep")[1] < 1000 < pages_touched("leave")[1]


@pytest.mark.parametrize("variable", ["MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"])
def test_an_allocator_that_is_told_something_is_left_alone(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1000000")
    assert not keep_freed()


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed()
