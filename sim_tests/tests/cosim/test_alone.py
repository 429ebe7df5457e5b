# SPDX-License-Identifier: Apache-2.0
"""Cores of an image by themselves: equal to themselves in the whole, and to the hardware."""

import dataclasses
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from emu.container import save_image
from emu.image import SystemImage
from emu.spec import SystemSpec, preset
from emu.words import Emission
from sim_tests import verify
from sim_tests.bench.alone import Alone, chosen_cores, programs_of
from sim_tests.bench.images import Share, image_systems
from sim_tests.bench.systems import System
from sim_tests.conftest import require_engine
from sim_tests.generators.pool import POOL, SEVERAL
from sim_tests.generators.systems import make_core, make_stimulus, make_system, random_system
from spikeloom import cli

pytestmark = pytest.mark.cosim

TINY = SystemSpec(core=preset("tiny"), width=3, height=1)
HOME = (0, 0, 0, 0)
GATEWAY = (0, 0, 1, 1)


def alone(whole: Alone, at: int) -> System:
    return whole.system(at, f"core {at}", 0)


@pytest.mark.parametrize("spec", [*POOL, *SEVERAL], ids=range(len(POOL) + len(SEVERAL)))
def test_cores_of_random_systems_are_alone_what_they_are_in_the_whole(spec: SystemSpec, seed: int) -> None:
    for offset in range(3):
        image, stimulus = random_system(seed + offset, spec=spec)
        whole = Alone(image, stimulus)
        for at, core in enumerate(image.cores):
            if core is not None:
                assert alone(whole, at).doubt is None, f"seed {seed + offset}, core {at}"


def test_random_systems_send_in_every_way_and_to_the_last_step(seed: int) -> None:
    seen: Counter[str] = Counter()
    for offset in range(8):
        image, stimulus = random_system(seed + offset, spec=POOL[2])
        whole = Alone(image, stimulus)
        for at, core in enumerate(image.cores):
            if core is not None:
                seen.update(Emission(int(e)).name for e in core.of_profile("emission"))
                seen["late"] += int((whole.received(at)[:, 0] >= stimulus.steps).sum())
                seen["control"] += int((whole.received(at)[:, 1] != 1).sum())
    assert all(seen[name] for name in (*Emission.__members__, "late", "control")), seen


def chain(*, emission: int = Emission.COUNT) -> SystemImage:
    """Two cores: the first sends its counts of 0..3 to the second, axon 2 and on, and to the gateway."""
    first = make_core(
        [[1], [1]],
        thresholds=[2, 4, 6],
        fanout=[[1, 1, 0, 0, 2, False], [0, 0, 1, 1, 5, True]],
        emission=emission,
        schedule=[[1, 0, 1, 1, 1, 0, 3, 0, 3]],
    )
    second = make_core(np.ones((8, 2), np.int8), thresholds=[3])
    return make_system(TINY, first, second, None)


@pytest.mark.parametrize(
    ("emission", "received"),
    [
        (Emission.COUNT, [(1, 2, 2), (2, 2, 3)]),
        (Emission.UNARY, [(1, 2, 1), (1, 3, 1), (2, 2, 1), (2, 3, 1), (2, 4, 1)]),
        (Emission.CONSTANT, [(1, 2, 3), (2, 2, 3)]),
    ],
)
def test_core_receives_what_the_contract_says(
    emission: Emission, received: list[tuple[int, int, int]]
) -> None:
    stimulus = make_stimulus(3, [(0, *HOME, 0, 4), (1, *HOME, 0, 4), (1, *HOME, 1, 2), (2, 1, 1, 0, 0, 7, 1)])
    whole = Alone(chain(emission=emission), stimulus)
    assert sorted(whole.received(1)[:, [0, 2, 3]].tolist()) == [[*one] for one in [*received, (2, 7, 1)]]
    system = alone(whole, 0)
    assert system.image.cores[0] is not None
    assert system.image.cores[0].fanout[:, :4].tolist() == [[*GATEWAY], [*GATEWAY]]
    assert system.expected.counters["packets"].tolist() == [whole.result.counters["packets"][0]]


def test_core_that_was_another_in_the_whole_is_doubted() -> None:
    whole = Alone(chain(), make_stimulus(3, [(0, *HOME, 0, 4), (1, *HOME, 0, 4)]))
    assert alone(whole, 1).doubt is None
    counters = dict(whole.result.counters)
    counters["synaptic_operations"] = counters["synaptic_operations"] + 1
    whole.result = dataclasses.replace(whole.result, counters=counters)
    told = alone(whole, 1).doubt
    assert told is not None
    assert told.startswith(
        "in the whole system and alone, counter synaptic_operations differ first at core 0"
    )


def test_programs_are_told_apart_by_cells_strengths_and_schedule() -> None:
    core = make_core([[1, -1], [0, 1]], thresholds=[4])
    others = [
        dataclasses.replace(core, crossbar=-core.crossbar),
        dataclasses.replace(core, strengths=core.strengths + 1),
        dataclasses.replace(core, schedule=np.repeat(core.schedule, 2, axis=0)),
    ]
    turned = dataclasses.replace(core, lines=np.array([1, 0], np.int32))
    spec = dataclasses.replace(TINY, width=6)
    assert programs_of(make_system(spec, core, others[0], turned, None, *others[1:])) == [
        [0, 2],
        [1],
        [4],
        [5],
    ]


def test_chosen_cores_differ_before_they_repeat() -> None:
    programs, deliveries = [[0, 1, 2], [3, 4], [5]], np.array([1, 9, 9, 0, 2, 7])
    assert sorted(chosen_cores(programs, deliveries, None, 0)) == [1, 4, 5]
    order = chosen_cores(programs, deliveries, 99, 3)
    assert (sorted(order[:3]), sorted(order[3:5]), order[5]) == ([1, 4, 5], [2, 3], 0)
    assert {tuple(chosen_cores(programs, deliveries, 1, seed)) for seed in range(20)} == {(1,), (4,), (5,)}


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an image of more cores than are simulated whole."""
    folder = tmp_path_factory.mktemp("wide")
    spec = dataclasses.replace(TINY, width=37)
    last = make_core(np.ones((8, 2), np.int8), thresholds=[3], fanout=[[*GATEWAY, 0, True]])
    save_image(make_system(spec, *chain().cores[:2], *[None] * 34, last), folder / "wide.spikeloom")
    return folder / "wide.spikeloom"


def test_image_too_large_for_the_whole_is_verified_by_program(
    wide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require_engine("icarus")
    core = tmp_path / "core"
    assert cli.main(["verilog", str(wide), "--mesh", "1x1", "-o", str(core)]) == 0
    arguments = [str(wide), "--sim", "icarus", "--verilog", str(core), "--json", str(tmp_path / "v.json")]
    assert verify.main(arguments) == 0
    told = capsys.readouterr().out
    assert "2 of 3 cores, each alone with what it received in the whole: 2 of 2 programs; no router" in told
    assert "verified 2 systems, 16 steps, " in told
    report = json.loads((tmp_path / "v.json").read_text())
    assert report["alone"] == {"cores": 2, "of_cores": 3, "programs": 2, "of_programs": 2}
    assert [system["name"] for system in report["systems"]] == ["core (0, 0)", "core (1, 0)"]
    meter = r"(meter__update = observe__activity == 1'h)1"
    text, count = re.subn(meter, r"\g<1>0", (core / "neurocore.v").read_text(), count=1)
    assert count == 1
    (core / "neurocore.v").write_text(text)
    assert verify.main([*arguments, "--cores", "1"]) == 1
    told = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(
        r"FAILED: core \(0, 0\): counter update differ first at core 0: expected \d+, got \d+", told
    )


def test_cores_of_an_image_are_as_many_as_asked_or_as_there_are(wide: Path) -> None:
    for count, names in (
        (None, ["core (0, 0)", "core (1, 0)"]),
        (1, ["core (0, 0)"]),
        (99, ["core (0, 0)", "core (1, 0)", "core (36, 0)"]),
    ):
        systems, share = image_systems(wide, None, 0, count)
        assert [system.name for system in systems] == names
        assert share == Share(cores=len(names), of_cores=3, programs=min(len(names), 2), of_programs=2)
        assert len({system.seed for system in systems}) == len(names)


def test_what_cores_alone_cannot_be_is_one_sentence(
    wide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two, idle = tmp_path / "two", tmp_path / "idle.spikeloom"
    assert cli.main(["verilog", "--preset", "tiny", "--mesh", "2x1", "-o", str(two)]) == 0
    save_image(make_system(TINY, None, None, None), idle)
    capsys.readouterr()
    other = (
        f"{wide} needs 1 x 1 cores of 32 x 32, but {two} holds 2 x 1 cores of 32 x 32; "
        "export the Verilog with 'spikeloom verilog IMAGE --mesh 1x1'."
    )
    imageless = "--cores needs an image whose cores it verifies; give one, or leave it out."
    empty = (
        f"{idle} has no core with a program to verify; compare the hardware on random programs with "
        "'spikeloom verify --random 20'."
    )
    for arguments, told in (
        ([str(wide), "--cores", "0"], "--cores must be at least 1, not 0."),
        (["--random", "1", "--cores", "2"], imageless),
        ([str(idle), "--cores", "2"], empty),
        ([str(wide), "--sim", "icarus", "--verilog", str(two)], other),
    ):
        assert verify.main(arguments) == 2
        assert capsys.readouterr().err.strip() == f"spikeloom: {told}"
    assert image_systems(idle, None, 0)[1] is None


def test_compiled_network_of_many_cores_is_verified_on_its_data(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    require_engine("verilator")
    image = str(tmp_path / "big.spikeloom")
    assert cli.main(["compile", "digits", "--core", "small", "--mesh", "7x7", "-o", image]) == 0
    assert cli.main(["verify", image, "--data", "digits", "--samples", "1", "--seed", "2"]) == 0
    told = capfd.readouterr().out
    found = re.search(r"(\d+) of 10 cores, each alone .*: (\d+) of (\d+) programs", told)
    assert found is not None
    assert found[1] == found[2] == found[3]
    assert f"verified {found[1]} systems, {3 * int(found[1])} steps, " in told
