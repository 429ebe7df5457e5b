# SPDX-License-Identifier: Apache-2.0
"""Hypothesis chooses what is damaged in a model or an image, and shrinks what a reader cannot bear."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim_tests.generators.sound_files import images, passes_files, small_models
from sim_tests.robustness import fuzz
from sim_tests.robustness.fuzz import READERS, Tally, offer

CASES = 250
FILES: dict[str, tuple[str, Callable[[], tuple[bytes, ...]]]] = {
    "onnx": ("a.onnx", small_models),
    "image": ("a.spikeloom", images),
    "passes": ("a.spikeloom", passes_files),
}
EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=8), st.integers(0, 8)),
    min_size=1,
    max_size=4,
)
"""Where as a share of the file, what is put there, and how many bytes it replaces."""


def edited(data: bytes, edits: list[tuple[float, bytes, int]]) -> bytes:
    """Return a file after edits, one after the other."""
    for share, new, gone in edits:
        at = int(share * len(data))
        data = data[:at] + new + data[at + gone :]
    return data


def tried(name: str, data: bytes, folder: Path) -> Tally:
    """Offer bytes to a reader."""
    path, tally = folder / FILES[name][0], Tally()
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        offer(name, path, tally, name)
    return tally


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(which=st.integers(0, 99), edits=EDITS)
def test_edited_file_is_refused_or_works(
    name: str, tmp_path: Path, which: int, edits: list[tuple[float, bytes, int]]
) -> None:
    sound = FILES[name][1]()
    tally = tried(name, edited(sound[which % len(sound)], edits), tmp_path)
    assert tally.failures == []
    assert tally.ends.total() == 1


@pytest.mark.parametrize("name", FILES)
def test_reader_that_breaks_is_found(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> str:
        raise KeyError(path.name)

    faulty = {**READERS, name: replace(READERS[name], read=broken)}
    monkeypatch.setattr(fuzz, "READERS", faulty)
    assert len(tried(name, FILES[name][1]()[0], tmp_path).failures) == 1
