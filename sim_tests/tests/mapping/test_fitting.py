# SPDX-License-Identifier: Apache-2.0
"""A mesh that is too small: the layers that find no room run on the host, as few as possible."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emu.links import LinkSpec
from emu.spec import PRESETS, preset
from mapping.chip import open_chip
from mapping.codes.convert import convert
from mapping.errors import InfeasibleError, MappingError, UnsupportedModelError
from mapping.flow import compile_network
from mapping.layout.capacity import fits
from mapping.layout.partition import partition
from mapping.layout.route import fit
from mapping.model.evaluate import infer
from mapping.model.network import Network
from mapping.model.work import multiply_adds
from mapping.report.keys import size_keys
from sim_tests.generators.model_builder import ModelBuilder

TINY = PRESETS["tiny"]


def chain(*widths: int, seed: int = 0) -> Network:
    """Return dense layers ``l0``, ``l1``, ... of these widths behind each other."""
    b = ModelBuilder((widths[0],), seed=seed)
    y = b.quantise("x")
    for index, (inputs, outputs) in enumerate(pairwise(widths)):
        weight = b.ternary(outputs, inputs)
        weight[:, 0] = np.abs(weight).max(axis=1)
        y = b.quantise(b.dense(y, weight, name=f"l{index}"))
    return b.network(y)


def best_by_hand(network: Network, cores: int) -> float:
    """Return the most multiply-adds of successive layers that need at most so many cores."""
    work, spiking = multiply_adds(network), convert(network, fits(TINY))
    need = {layer.name: len(part_of(network, layer.name)) for layer in spiking.layers}
    names, best = list(need), 0
    for first in range(len(names)):
        for last in range(first + 1, len(names) + 1):
            run = names[first:last]
            if sum(need[name] for name in run) <= cores:
                best = max(best, sum(work[name] or 0 for name in run))
    return best


def part_of(network: Network, name: str) -> list[object]:
    parts = partition(convert(network, fits(TINY)), TINY)
    return list(parts.of(next(layer for layer in parts.layers if layer.name == name)))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("mesh", [(1, 1), (2, 1), (3, 1), (2, 2), (4, 2)])
def test_run_on_a_small_mesh_leaves_the_least_to_the_host(seed: int, mesh: tuple[int, int]) -> None:
    random = np.random.default_rng(seed)
    network = chain(*(int(w) for w in random.integers(4, 33, 7)), seed=seed)
    chip = compile_network(network, core="tiny", mesh=mesh)
    work = multiply_adds(network)
    on_chip = sum(work[layer.name] or 0 for layer in chip.spiking.layers)
    assert on_chip == best_by_hand(network, mesh[0] * mesh[1])
    assert (chip.image.spec.width, chip.image.spec.height) == mesh
    host = sum(work.values()) - on_chip  # type: ignore[arg-type]
    assert chip.spiking.host_share == host / sum(work.values())  # type: ignore[arg-type]


def test_layer_that_finds_no_room_is_named_with_its_numbers_and_its_share() -> None:
    network = chain(8, 32, 96, 32)
    with pytest.raises(UnsupportedModelError) as refused:
        compile_network(network, core="tiny", mesh=(2, 1), strict=True)
    spiking = convert(network, fits(TINY))
    assert [layer.name for layer in spiking.layers] == ["l0", "l1"]  # l2 has 96 inputs
    chip = compile_network(network, core="tiny", mesh=(3, 1))
    assert [layer.name for layer in chip.spiking.layers] == ["l1"]
    assert chip.spiking.left[0].sentence == (
        "Layer 'l0', 4.00 % of the multiply-adds, runs on the host because it needs 1 of the 4 cores that "
        "its run of layers needs but 3 are allowed; choose the mesh 2x2, leave its size out, or add --passes."
    )
    assert str(refused.value) == (
        "Layer 'l1' would run on the host because it needs 3 of the 4 cores that its run of layers needs but "
        "2 are allowed; choose the mesh 2x2, leave its size out, or add --passes, or leave strict out."
    )
    larger = compile_network(network, core="tiny", mesh=(2, 2))
    assert ([layer.name for layer in larger.spiking.layers], larger.spiking.left) == (["l0", "l1"], ())


@pytest.mark.parametrize("widths", [(8, 32, 32, 20), (96, 32, 32, 96, 31)])
def test_image_of_a_part_is_opened_as_it_was_made(tmp_path: Path, widths: tuple[int, ...]) -> None:
    network = chain(*widths)
    chip = compile_network(network, core="tiny", mesh=(1, 1))
    chip.save(tmp_path / "part.spikeloom")
    again = open_chip(tmp_path / "part.spikeloom")
    assert again.spiking.host == chip.spiking.host
    assert again.image.digest == compile_network(network, core="tiny", mesh=(1, 1)).image.digest
    x = np.random.default_rng(1).normal(0.5, 1.0, (20, widths[0]))
    np.testing.assert_array_equal(again.run(x).logits, infer(network, x))


def branches() -> Network:
    """A wide branch of much work and a narrow one behind it, joined on the host."""
    b = ModelBuilder((16,))
    y = b.quantise("x")
    wide = b.quantise(b.dense(y, b.ternary(96, 16), name="wide"))
    narrow = b.quantise(b.dense(y, b.ternary(20, 16), name="narrow"))
    deep = b.quantise(b.dense(narrow, b.ternary(20, 20), name="deep"))
    parts = [b.dense(z, b.rng.normal(size=(4, n))) for z, n in ((wide, 96), (deep, 20))]
    return b.network(b.op("Add", *parts))


@pytest.mark.parametrize(
    ("mesh", "names"),
    [((1, 1), ["deep"]), ((2, 1), ["narrow", "deep"]), ((3, 1), ["wide"]), ((2, 2), ["wide", "narrow"])],
)
def test_branch_that_finds_room_stays_without_its_neighbour(mesh: tuple[int, int], names: list[str]) -> None:
    chip = compile_network(branches(), core="tiny", mesh=mesh)
    assert [layer.name for layer in chip.spiking.layers] == names
    assert compile_network(branches(), core="tiny", mesh=(3, 2)).spiking.left == ()


def test_mesh_for_no_layer_at_all_is_refused_with_a_mesh_that_holds_one() -> None:
    network = chain(8, 96)
    with pytest.raises(UnsupportedModelError) as error:
        compile_network(network, core="tiny", mesh=(1, 2))
    assert str(error.value) == (
        "No layer can run on the chip: layer 'l0' cannot because it needs 3 of the 3 cores that its run of "
        "layers needs but 2 are allowed; choose the mesh 2x2, leave its size out, or add --passes."
    )
    assert compile_network(network, core="tiny", mesh=(2, 2)).spiking.left == ()


def test_layer_whose_readers_ask_for_too_many_entries_leaves_one_of_them_to_the_host() -> None:
    """Many readers of one layer overflow its fan-out memory: a limit that no layer breaks by itself."""
    b = ModelBuilder((8,))
    first = b.quantise(b.dense(b.quantise("x"), b.ternary(30, 8), name="first"))
    ways = [b.quantise(b.dense(first, b.ternary(4, 30), name=f"way{i}")) for i in range(140)]
    y = ways[0]
    for other in ways[1:]:
        y = b.op("Add", y, other)
    network = b.network(y)
    with pytest.raises(InfeasibleError):
        fit(convert(network, fits(TINY)), preset("tiny"))
    chip = compile_network(network, core="tiny")
    assert chip.spiking.left
    with pytest.raises(UnsupportedModelError):
        compile_network(network, core="tiny", strict=True)


@pytest.mark.parametrize("chips", [(2, 1), (1, 2), (2, 2)])
def test_network_on_several_chips_computes_what_it_does_on_one(chips: tuple[int, int]) -> None:
    network = chain(96, 32, 32, 96, 31)
    whole = compile_network(network, core="tiny", mesh=(4, 4))
    mesh = 4 // chips[0], 4 // chips[1]
    cut = compile_network(network, core="tiny", mesh=mesh, chips=chips)
    assert (cut.chips, whole.chips, cut.image.spec.cores) == (chips, (1, 1), 16)
    assert size_keys(cut)["chips"] == chips[0] * chips[1]
    x = np.random.default_rng(1).normal(0.5, 1.0, (5, 96))
    there, here = cut.run(x, cycles=True), whole.run(x, cycles=True)
    np.testing.assert_array_equal(there.logits, here.logits)
    np.testing.assert_array_equal(there.result.spikes, here.result.spikes)
    assert there.result.elapsed != here.result.elapsed  # the links take their time


def test_chips_of_a_free_mesh_are_equal() -> None:
    chip = compile_network(chain(8, 32, 32, 20), core="tiny", chips=(1, 3))
    spec = chip.image.spec
    assert spec.links == LinkSpec(width=spec.width, height=spec.height // 3, wires=-(-spec.flit_bits // 4))
    assert compile_network(chain(8, 32, 32, 20), core="tiny").image.spec.links is None


def test_chips_share_links_if_they_are_told(tmp_path: Path) -> None:
    """The same network, saved and opened: one link a side, of four beats for a flit and its lane."""
    chips: dict[str, Any] = {"core": "tiny", "mesh": (2, 2), "chips": (2, 2)}
    own, shared = (compile_network(chain(8, 32, 32, 20), **chips, shared_links=way) for way in (False, True))
    spec = shared.image.spec
    assert spec.links is not None
    assert (spec.links.shared, spec.links.beats(spec.flit_bits), spec.links.lane_bits) == (True, 4, 1)
    shared.save(tmp_path / "four.spikeloom")
    again = open_chip(tmp_path / "four.spikeloom")
    assert again.image.digest == shared.image.digest != own.image.digest
    assert again.image.spec == spec
    x = np.random.default_rng(1).normal(0.5, 1.0, (5, 8))
    there, here = again.run(x, cycles=True), own.run(x, cycles=True)
    np.testing.assert_array_equal(there.result.spikes, here.result.spikes)
    assert there.result.elapsed != here.result.elapsed


def test_image_on_chips_is_opened_as_it_was_made(tmp_path: Path) -> None:
    chip = compile_network(chain(8, 32, 32, 20), core="tiny", chips=(2, 1))
    chip.save(tmp_path / "two.spikeloom")
    again = open_chip(tmp_path / "two.spikeloom")
    assert (again.chips, again.image.digest) == ((2, 1), chip.image.digest)


def test_chips_beyond_the_largest_mesh_are_refused() -> None:
    with pytest.raises(MappingError) as refused:
        compile_network(chain(8, 32), core="tiny", mesh=(8, 8), chips=(65, 1))
    assert str(refused.value) == ("A mesh of 520x8 cores cannot be built: width must be 1..512, not 520.")
