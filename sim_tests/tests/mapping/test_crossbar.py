# SPDX-License-Identifier: Apache-2.0
"""Crossbars from kernels equal the matrix of the layer, and equal ones are one object."""

from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from emu.container import load_image, save_image
from emu.spec import preset
from mapping.layout.check import check
from mapping.layout.partition import Partition, partition
from mapping.spiking.matrices import layer_matrix
from mapping.spiking.network import SpikingNetwork
from sim_tests.generators.large_networks import LARGE, residual
from sim_tests.generators.mapping_networks import Draft, compile_network, core_spec, random_network


def assert_cells(spiking: SpikingNetwork, parts: Partition) -> None:
    for layer in parts.layers:
        matrix = layer_matrix(spiking.layer(layer.name))
        for part in parts.of(layer):
            own = matrix[part.outputs].toarray().T
            np.testing.assert_array_equal(part.inputs, np.flatnonzero(own.any(axis=1)))
            weights = part.crossbar.weights()
            assert weights.dtype == np.int16
            np.testing.assert_array_equal(weights, own[part.inputs])


@pytest.mark.parametrize("seed", range(12))
def test_patches_have_the_inputs_and_weights_of_the_matrix(seed: int) -> None:
    spiking = random_network(seed)
    assert_cells(spiking, partition(spiking, core_spec()))


def test_patches_of_two_sources_have_the_inputs_and_weights_of_the_matrix() -> None:
    spiking = residual((8, 16), size=10, blocks=2)
    assert_cells(spiking, partition(spiking, preset("medium")))


def test_blocks_of_channels_have_weights_of_their_own() -> None:
    draft = Draft(shape=(4, 3, 3), seed=4)
    draft.conv(64, (3, 3))
    parts = partition(draft.network(), core_spec())
    assert parts.layers[0].grid == (1, 1, 2)
    assert_cells(draft.network(), parts)


def test_equal_crossbars_are_one_object() -> None:
    draft = Draft(shape=(2, 12, 4), seed=2)
    draft.conv(4, (3, 3))
    parts = partition(draft.network(), core_spec())
    assert [len(part.outputs) for part in parts.cores] == [32, 32, 16]  # 4 x 2 outputs of 10 x 2, 4 channels
    crossbars = [part.crossbar for part in parts.cores]
    assert crossbars[0] is crossbars[1]
    assert crossbars[1] is not crossbars[2]


def test_rotated_cells_of_an_image_are_one_array_in_memory_and_file(tmp_path: Path) -> None:
    draft = Draft(shape=(2, 12, 4), seed=2)
    draft.conv(4, (3, 3))
    spiking = draft.network()
    image = compile_network(spiking, core_spec())
    cores = [core for core in image.cores if core is not None]
    classes = {id(core.crossbar): core.crossbar for core in cores}
    assert len(classes) < len({core.cells.tobytes() for core in cores})
    save_image(image, tmp_path / "a.spikeloom")
    stored = [n for n in ZipFile(tmp_path / "a.spikeloom").namelist() if n.startswith("crossbar/")]
    assert len(stored) == len({cells.tobytes() for cells in classes.values()})
    again = load_image(tmp_path / "a.spikeloom")
    for core, read in zip(image.cores, again.cores, strict=True):
        assert (core is None) == (read is None)
        assert core is None or read is None or np.array_equal(core.cells, read.cells)
    assert again.digest == image.digest


def test_wrong_cell_or_turn_of_one_core_of_a_class_is_found_there_alone() -> None:
    draft = Draft(shape=(2, 12, 4), seed=2)
    draft.conv(4, (3, 3))
    spiking = draft.network()
    image = compile_network(spiking, core_spec())
    used = {index: core for index, core in enumerate(image.cores) if core is not None}
    alike = {
        index: sum(other.crossbar is core.crossbar for other in used.values()) for index, core in used.items()
    }
    index = max(alike, key=lambda at: alike[at])
    assert alike[index] > 1
    core = used[index]
    cells = core.crossbar.copy()
    cells[tuple(np.argwhere(cells)[0])] *= -1
    for changed in (replace(core, crossbar=cells), replace(core, lines=np.roll(core.lines, 1))):
        own = (*image.cores[:index], changed, *image.cores[index + 1 :])
        found = check(image.replace(cores=own), spiking)
        assert "wrong-weight" in {violation.kind for violation in found}
        assert {violation.core for violation in found} == {index}


def test_equal_cells_of_an_image_are_one_array() -> None:
    draft = Draft(shape=(2, 12, 4), seed=2)
    draft.conv(4, (1, 3))  # windows are as high as patches, so that axons are the same in all of them
    image = compile_network(draft.network(), core_spec())
    cells = [core.crossbar for core in image.cores if core is not None]
    assert len(cells) == 3
    assert all(array is cells[0] for array in cells)


@pytest.mark.parametrize("name", LARGE)
def test_large_networks_have_the_published_shapes(name: str) -> None:
    spiking = LARGE[name]()
    layers, rows, last = {
        "resnet8": (9, 10, "classes"),
        "vgg": (11, 512, "512C3 b"),
        "vgg5": (11, 512, "512C3 b"),
        "resnet18": (19, 10, "classes"),
        "mobilenet": (29, 1000, "classes"),
    }[name]
    assert (len(spiking.layers), spiking.layers[-1].rows, spiking.outputs) == (layers, rows, (last,))
