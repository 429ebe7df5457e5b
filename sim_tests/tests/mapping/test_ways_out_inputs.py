# SPDX-License-Identifier: Apache-2.0
"""Ways out of sentences about the samples of several inputs, and about folders, are taken, and work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mapping.datasets.load import Dataset, load_data, scaled
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.sound_files import idx_files
from sim_tests.generators.two_inputs import two_inputs
from sim_tests.robustness.mutations import npz_of
from sim_tests.robustness.ways_out import assert_goes

Way = tuple[Callable[[Path], object], Callable[[Path], object]]
"""What is refused in a folder, and what does what the sentence says."""


def written(folder: Path, *names: str, features: int = 2) -> Dataset:
    """Return the data of a file with an array for each of some names."""
    file = folder / "data.npz"
    file.write_bytes(npz_of({name: np.zeros((2, features)) for name in names}))
    return load_data(str(file))


def joined(*names: str) -> Callable[[Path], object]:
    """Return what brings arrays of some names to a network of the inputs a and b."""
    return lambda folder: scaled(written(folder, *names), "raw", two_inputs())


def fed_from(*names: str) -> Callable[[Path], object]:
    """Return what brings arrays of some names to a network of one input."""
    network = ModelBuilder((2,))
    reading = network.network(network.head("x", 2, 2))
    return lambda folder: scaled(written(folder, *names), "raw", reading)


def folder_of(source: str, kind: str = "") -> Callable[[Path], object]:
    """Return what names a folder of idx files, or one below it as torchvision keeps them."""

    def read(folder: Path) -> object:
        below = folder / kind / "raw" if kind else folder
        below.mkdir(parents=True, exist_ok=True)
        for name, data in idx_files().items():
            (below / name).write_bytes(data)
        return load_data(source.format(folder))

    return read


INPUTS: dict[str, Way] = {
    "store samples of a and b under these names": (joined("a", "c"), joined("b", "a")),
    "store samples of": (fed_from("a", "b"), fed_from("x")),
    "write mnist:": (folder_of("{}"), folder_of("mnist:{}")),
    "write fashion:": (folder_of("{}", "FashionMNIST"), folder_of("fashion:{}", "FashionMNIST")),
    "write mnist": (folder_of("{}/t10k-images-idx3-ubyte"), folder_of("mnist:{}")),
    "or name a file ending in .npz.": (folder_of("{}"), lambda folder: written(folder, "x")),
}


@pytest.mark.parametrize("way", INPUTS)
def test_data_that_are_named_as_the_sentence_says_are_read(way: str, tmp_path: Path) -> None:
    broken, mended = INPUTS[way]
    assert_goes(way, lambda: broken(tmp_path), lambda: mended(tmp_path))
