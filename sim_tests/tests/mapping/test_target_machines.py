# SPDX-License-Identifier: Apache-2.0
"""A target file describes a whole machine: mesh, chips, links and gates, which every command builds."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import spikeloom
from emu.container import load_image
from emu.gates import GateSpec
from emu.links import LinkSpec
from emu.spec import PRESETS, SystemSpec
from mapping.errors import MappingError
from mapping.flow import compile_network, core_of
from mapping.layout.assembly import QUARTER, Links, assembled
from mapping.layout.gates import ONE_OF_EACH, Gates
from mapping.model.importers.onnx import network_from_onnx
from mapping.targets.files import TargetError, load_target, target_text
from mapping.targets.machines import machine_of
from sim_tests.generators.model_builder import ModelBuilder
from spikeloom.cli import main

BOARD = """[geometry]
preset = "tiny"
mesh = "2x1"
chips = "2x1"
inlets = "0W,0E"
outlets = "0,3"

[geometry.links]
wires = 5
latency = 4
depth = 1
shared = true
"""
"""Two chips of two cores."""

LINKS = LinkSpec(width=2, height=1, wires=5, latency=4, depth=1, shared=True)
SPEC = SystemSpec(
    core=PRESETS["tiny"],
    width=4,
    height=1,
    links=LINKS,
    gates=GateSpec(inlets=((0, "E"),), outlets=(3,)),
)


def dense() -> onnx.ModelProto:
    """Return a network of one dense layer."""
    b = ModelBuilder((8,))
    return b.model(b.quantise(b.dense(b.quantise("x"), b.ternary(20, 8), name="fc")))


def taken(written: list[SystemSpec], _: Path, spec: SystemSpec, **__: object) -> list[Path]:
    """Stand for what writes Verilog."""
    written.append(spec)
    return []


def board(tmp_path: Path, geometry: str = BOARD) -> Path:
    """Write a target with other lines between [geometry] and the clock."""
    text = target_text("loom")
    begin, end = text.index("[geometry]"), text.index("[timing.clock_hz]")
    path = tmp_path / "board.toml"
    path.write_text(text[:begin] + geometry + "\n" + text[end:], encoding="utf-8")
    return path


def machine(path: Path, **asked: Any) -> SystemSpec:
    target = load_target(path)
    return machine_of(target, core_of(target, None)[1], **asked)


def test_file_alone_is_the_machine_of_every_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile, estimate and verilog, given nothing but the file, have the same chips, links and gates."""
    path, model, image = board(tmp_path), tmp_path / "net.onnx", tmp_path / "net.spikeloom"
    assert machine(path) == SPEC
    onnx.save(dense(), model)
    assert main(["compile", str(model), "-o", str(image), "--target", str(path)]) == 0
    assert load_image(image).spec == SPEC
    written: list[SystemSpec] = []
    monkeypatch.setattr("spikeloom.bench.export_verilog", partial(taken, written))
    assert main(["verilog", "--target", str(path), "-o", str(tmp_path / "design")]) == 0
    assert written == [SPEC]
    x = np.random.default_rng(0).random((3, 8))
    (part,) = spikeloom.estimate(str(model), x, load_target(path), how="unit").to_dict()["targets"]
    links = part["breakdown"]["chips"]
    assert (links["across"], links["down"], links["wires"], links["beats"]) == (2, 1, 5, 6)
    assert [len(part["breakdown"]["gates"][name]) for name in ("inlets", "outlets")] == [2, 2]


def test_what_a_file_does_not_say_is_the_least(tmp_path: Path) -> None:
    loom = load_target("loom")
    assert (loom.size, loom.chips, loom.links, loom.gates) == (None, (1, 1), QUARTER, ONE_OF_EACH)
    path = board(tmp_path, '[geometry]\npreset = "tiny"\nmesh = "3x2"\n')
    assert machine(path) == SystemSpec(core=PRESETS["tiny"], width=3, height=2)
    few = '[geometry]\npreset = "tiny"\nmesh = "1x2"\nchips = "2x1"\noutlets = "2"\nlinks = {depth = 1}\n'
    links = LinkSpec(width=1, height=2, wires=7, depth=1)  # a quarter of 25 bits
    gates = GateSpec(outlets=(1,))
    assert machine(board(tmp_path, few)) == SystemSpec(
        core=PRESETS["tiny"], width=2, height=2, links=links, gates=gates
    )


def test_what_is_asked_for_replaces_what_the_file_says(tmp_path: Path) -> None:
    path, network = board(tmp_path), network_from_onnx(dense(), name="net")
    one = machine(path, chips=(1, 1), gates=Gates(inlets="1", outlets="2"))
    assert (one.links, one.gates) == (None, GateSpec(outlets=(1,)))
    other = machine(path, mesh=(3, 3), links={"wires": 9, "latency": 2}, gates=Gates(outlets="1"))
    assert other.links == LinkSpec(width=3, height=3, wires=9, depth=1, shared=True)
    assert other.gates == GateSpec(inlets=((0, "E"),))
    asked = {"mesh": (4, 2), "chips": (1, 1), "gates": Gates(inlets="1E")}
    spec = compile_network(network, target=load_target(path), **asked).image.spec  # type: ignore[arg-type]
    assert (spec.links, spec.gates) == (None, GateSpec(inlets=((1, "E"),), outlets=(3,)))


@pytest.mark.parametrize("chips", [(2, 1), (1, 2), (2, 2), (1, 1)])
def test_chips_in_a_row_or_a_column_are_joined(chips: tuple[int, int]) -> None:
    spec = assembled(PRESETS["tiny"], (4, 4), chips=chips)
    across, down = chips
    wanted = None if chips == (1, 1) else (4 // across, 4 // down)
    assert (None if spec.links is None else (spec.links.width, spec.links.height)) == wanted


def test_links_of_a_file_join_the_chips_that_are_asked_for(tmp_path: Path) -> None:
    path = board(tmp_path, '[geometry]\npreset = "tiny"\nmesh = "auto"\nlinks = {wires = 3, shared = true}\n')
    target, network = load_target(path), network_from_onnx(dense(), name="net")
    assert target.links == Links(wires=3, shared=True)
    assert compile_network(network, target=target).image.spec.links is None
    links = compile_network(network, target=target, chips=(2, 1)).image.spec.links
    assert links is not None
    assert (links.wires, links.shared) == (3, True)


def test_machine_is_told_in_the_list() -> None:
    machines = {name: load_target(name).machine for name in spikeloom.list_targets()}
    assert machines["loom"] == "reference cores, as many as needed"
    assert machines["loihi"] == "a formula"


def test_chips_and_cores_are_told(tmp_path: Path) -> None:
    assert load_target(board(tmp_path)).machine == "2 x 1 chips of 2 x 1 tiny cores"
    own = BOARD.replace('chips = "2x1"\n', "").replace("0W,0E", "2").replace("0,3", "2")
    own = own.replace("[geometry.links]", "[geometry.core]\naxons = 99\n\n[geometry.links]")
    assert load_target(board(tmp_path, own)).machine == "2 x 1 own cores"


CHIPS = "in {path} must be XxY, not"
IMPOSSIBLE = "Section [geometry] of {path} is impossible: "
CANNOT = IMPOSSIBLE + "The chip cannot be built: "
WHICH = "in {path} must be how many or which, not"
ONE_OF = "wires, latency, depth, shared"
BROKEN = [
    (
        'chips = "2x1"',
        'chips = "2"',
        "Key geometry.chips in {path} must be XxY, not '2'; write for example \"2x1\".",
    ),
    (
        'chips = "2x1"',
        "chips = [2, 1]",
        'Key geometry.chips in {path} must be XxY, not [2, 1]; write for example "2x1".',
    ),
    ("latency = 4", "latency = 1", "Key geometry.links.latency in {path} must be 2..64, not 1; correct it."),
    ("depth = 1", "depth = 0", "Key geometry.links.depth in {path} must be 1..64, not 0; correct it."),
    ("wires = 5", "wires = 0", "Key geometry.links.wires in {path} must be at least 1, not 0; correct it."),
    (
        "shared = true",
        "shared = 1",
        "Key geometry.links.shared in {path} must be true or false, not 1; correct it.",
    ),
    (
        "shared = true",
        "lanes = 2",
        f"Key geometry.links.lanes in {{path}} is unknown; remove it or use one of {ONE_OF}.",
    ),
    (
        '"0W,0E"',
        '"0N"',
        f'Key geometry.inlets {WHICH} \'0N\'; write for example "2" or "0W,0E".',
    ),
    (
        '"0,3"',
        "2",
        f'Key geometry.outlets {WHICH} 2; write for example "2" or "0,1".',
    ),
    (
        "wires = 5",
        "wires = 99",
        IMPOSSIBLE + "The chip cannot be built: link wires must be 1..26, not 99.",
    ),
    ('"0W,0E"', '"7"', IMPOSSIBLE + "Inlets must be at most 2 on a mesh of 1 rows, not 7."),
    (
        'chips = "2x1"',
        'chips = "512x1"',
        CANNOT + "width must be 1..512, not 1024.",
    ),
]


@pytest.mark.parametrize(("old", "new", "sentence"), BROKEN)
def test_broken_machine_names_key_rule_and_value(old: str, new: str, sentence: str, tmp_path: Path) -> None:
    assert BOARD.count(old) == 1
    path = board(tmp_path, BOARD.replace(old, new))
    with pytest.raises(TargetError) as caught:
        load_target(path)
    assert str(caught.value) == sentence.format(path=path)
    load_target(board(tmp_path))  # the way out


def test_machine_without_a_mesh_is_refused(tmp_path: Path) -> None:
    path = board(tmp_path, '[geometry]\npreset = "tiny"\nmesh = "auto"\n')
    with pytest.raises(MappingError) as caught:
        machine(path)
    told = 'Target loom has no mesh of its own: write for example mesh = "2x2" into a file of it.'
    assert str(caught.value) == told
    assert machine(board(tmp_path, '[geometry]\npreset = "tiny"\nmesh = "2x2"\n')).cores == 4
