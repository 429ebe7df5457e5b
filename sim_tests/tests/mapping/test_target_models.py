# SPDX-License-Identifier: Apache-2.0
"""Closed forms of published chips, against figures by hand and against every synapse one by one."""

import ast
import math
import re
from pathlib import Path

import numpy as np
import pytest

import mapping
from mapping.codes.convert import convert
from mapping.datasets.load import Dataset
from mapping.model.network import Network
from mapping.report.keys import AT_LEAST
from mapping.report.machine import estimate
from mapping.report.side_by_side import what
from mapping.report.text import notes
from mapping.spiking.network import INPUT
from mapping.spiking.simulate import encode, simulate
from mapping.targets.files import list_targets, load_target
from mapping.targets.model import Cost, Counted, Emulation, KnownWork, LayerWork
from mapping.targets.models import MODELS, model_of
from mapping.targets.patches import LayerShape
from mapping.targets.schema import SCHEMAS
from sim_tests.generators.model_builder import ModelBuilder

CONV = LayerWork(
    shape=LayerShape(name="a", kind="conv", input=(6, 6, 1), output=(4, 4, 2), kernel=3, pads=(0, 0, 0, 0)),
    source=INPUT,
    entered=20,
    read=20,
    fired=7,
    logical=100,
)
DENSE = LayerWork(
    shape=LayerShape(name="b", kind="fc", input=(1, 1, 32), output=(1, 1, 300)),
    source="a",
    output=True,
    entered=7,
    read=7,
    fired=40,
    logical=50,
)
"""A convolution of 32 outputs that a dense layer of 300 reads, and what the two did on one sample."""


def cost(name: str, *layers: LayerWork, samples: int = 1) -> Cost:
    """Return what layers cost on a shipped target."""
    target = load_target(name)
    return model_of(target).cost(target, KnownWork(layers=Counted(layers=layers, samples=samples)))


def test_truenorth_by_hand() -> None:
    found = cost("truenorth", CONV, DENSE)
    # 300 neurons take two cores of 256; both read all 32 outputs by two axons each: four copies of a spike,
    # 32 x 4 = 128 neurons on one core. A tick each for the convolution, the copies and the dense layer.
    assert [(part.name, part.cores, part.step) for part in found.layers] == [
        ("a", 1, 0),
        ("a.copies", 1, 1),
        ("b", 2, 2),
    ]
    assert (found.cores, found.chips, found.steps, found.step_s) == (4, 1, 3, 1e-3)
    assert (found.latency_s, found.throughput_per_s) == (3e-3, 1 / 3e-3)
    assert found.operations == 100 + 50 + 4 * 7
    assert found.energy.total_j == pytest.approx(178 * 2.5e-12 + 4 * 15.5e-6 * 3e-3, rel=1e-12)
    assert found.energy.low_j == pytest.approx(178 * 2.5e-12 + 4 * 13.7e-6 * 3e-3, rel=1e-12)
    assert found.energy.high_j == pytest.approx(178 * 26e-12 + 4 * 17.1e-6 * 3e-3, rel=1e-12)
    assert found.area_mm2 == 430
    flowing = found.pipelined
    assert flowing is not None
    assert (flowing.throughput_per_s, flowing.latency_s) == (1000, 3e-3)
    assert flowing.energy.total_j == pytest.approx(178 * 2.5e-12 + 4 * 15.5e-6 * 1e-3, rel=1e-12)


def test_truenorth_costs_26_picojoules_an_event_where_that_was_measured() -> None:
    target = load_target("truenorth")
    events = 256 * 20 * 128  # of a core in a second
    total = events * target.energy["synaptic_events"].si + target.energy["leakage"].si
    headline = target.energy["headline_synaptic_event"].si
    assert total / events == pytest.approx(headline, rel=0.01)
    assert 4096 * total == pytest.approx(70e-3, rel=0.01)


def test_loihi_by_hand() -> None:
    found = cost("loihi", CONV, DENSE)
    assert [(part.name, part.cores, part.step) for part in found.layers] == [("a", 1, 0), ("b", 1, 1)]
    assert (found.cores, found.chips, found.steps, found.step_s) == (2, 1, 2, None)
    # Step 0: 300 idle neurons take longer than 32 busy ones with their 100 operations; step 1: 300 busy ones.
    first = max(32 * 8.4 + 100 * 3.5, 300 * 5.3) + 465
    second = max(300 * 8.4 + 50 * 3.5, 32 * 5.3) + 465
    assert found.layers[0].end_s == pytest.approx(first * 1e-9, rel=1e-12)
    assert found.latency_s == pytest.approx((first + second) * 1e-9, rel=1e-12)
    dynamic = 150 * 23.6 + 332 * 81 + 332 * 52 + (7 + 40) * 14.6
    static = 2 * 1.22e-3 * (first + second) * 1e-9
    assert found.operations == 150
    assert found.energy.total_j == pytest.approx(dynamic * 1e-12 + static, rel=1e-12)
    assert found.area_mm2 == 60
    flowing = found.pipelined
    assert flowing is not None
    assert flowing.throughput_per_s == pytest.approx(1e9 / second, rel=1e-12)
    dynamic = 150 * 23.6 + 332 * 81 + (7 + 40) * 14.6
    static = 2 * 1.22e-3 * second * 1e-9
    assert flowing.energy.total_j == pytest.approx(dynamic * 1e-12 + static, rel=1e-12)


def dense(name: str, inputs: int, outputs: int, source: str, *, output: bool = False) -> LayerWork:
    shape = LayerShape(name=name, kind="fc", input=(1, 1, inputs), output=(1, 1, outputs))
    return LayerWork(shape=shape, source=source, output=output)


def test_loihi_takes_the_cores_that_its_listed_limits_allow() -> None:
    # Rueckauer 2020, section 3.3: 18 + 1 cores, of a limit that its Table 3.1 does not list.
    found = cost("loihi", dense("h", 1156, 512, INPUT), dense("o", 512, 10, "h", output=True))
    assert [part.cores for part in found.layers] == [math.ceil(512 / (131072 // 1156)), 1]


def test_output_axons_of_loihi_limit_neurons_that_many_cores_read() -> None:
    # 8 cores of 1024 neurons read every output: 4096 // 8 = 512 neurons a core.
    found = cost("loihi", dense("h", 16, 1024, INPUT), dense("o", 1024, 1024, "h", output=True))
    assert [part.cores for part in found.layers] == [2, 8]


def test_max_pool_is_free_on_truenorth_and_a_layer_on_loihi() -> None:
    pool = LayerShape(name="b.pool0", kind="pool", input=(4, 4, 2), output=(2, 2, 2), kernel=2, stride=2)
    shape = LayerShape(name="b", kind="fc", input=(1, 1, 8), output=(1, 1, 3), levels=2)
    reader = LayerWork(
        shape=shape,
        pools=(pool,),
        source="a",
        output=True,
        entered=7 * 2,
        read=5 * 2,
        fired=4 * 2,
        logical=9 * 2,
    )
    conv = LayerWork(shape=CONV.shape, source=INPUT, entered=40, read=40, fired=7 * 2, logical=100 * 2)
    found = cost("truenorth", conv, reader, samples=2)
    assert [part.name for part in found.layers] == ["a", "a.copies", "b"]
    assert found.operations == 100 + 2 * 9 + 2 * 7
    found = cost("loihi", conv, reader, samples=2)
    assert [(part.name, part.cores, part.step) for part in found.layers] == [
        ("a", 1, 0),
        ("b.pool0", 1, 1),
        ("b", 1, 2),
    ]
    assert found.operations == 100 + 7 + 2 * 9
    assert found.energy.per_event_j["messages"] == pytest.approx((7 + 5 + 4) * 14.6e-12, rel=1e-12)
    assert found.energy.per_event_j["neurons_active"] == pytest.approx((32 + 8 + 6) * 81e-12, rel=1e-12)


def test_every_model_of_a_file_stands_behind_one_interface() -> None:
    assert list(MODELS) == list(SCHEMAS)
    assert {load_target(name).model for name in list_targets()} == set(MODELS)
    for model in MODELS.values():
        assert isinstance(model.unary, bool)
        assert isinstance(model.patched, bool)
    arrays = {name: model_of(load_target(name)).array(load_target(name)) for name in list_targets()}
    assert arrays == {"kuang2021": (8, 8), "loihi": None, "loom": None, "truenorth": None}


def test_work_that_was_not_done_is_no_work() -> None:
    with pytest.raises(ValueError, match=r"^layers must be given for a closed form, not left out$"):
        cost_of_nothing("truenorth")
    with pytest.raises(ValueError, match=r"^emulation must be given for a cycle-exact target, not left out$"):
        cost_of_nothing("loom")


def cost_of_nothing(name: str) -> Cost:
    return model_of(load_target(name)).cost(load_target(name), KnownWork())


def test_loom_charges_every_core_of_the_mesh_for_the_time_of_an_inference() -> None:
    target = load_target("loom")
    assert target.core is not None
    counters = {"synaptic_operations": 30.0, "spikes": 4.0}
    run = Emulation(
        core=target.core,
        mesh=6,
        used=5,
        chips=1,
        steps=3,
        cycles=252.0,
        latency_s=2e-6,
        counters=counters,
        events={"synaptic_operations": 30.0, "spikes": 4.0, "core_cycles": 6 * 252.0},
        layers={"a": {"synaptic_operations": 30.0}},
    )
    found = model_of(target).cost(target, KnownWork(emulation=run))
    assert (found.cores, found.steps, found.latency_s, found.throughput_per_s) == (5, 3, 2e-6, 1e6)
    assert found.operations == 30
    joules = 30 * 0.23e-12 + 6 * 252 * 19e-12 + 6 * 6.9e-3 * 1e-6
    assert found.energy.total_j == pytest.approx(joules, rel=1e-12)
    assert found.area_mm2 is None


NAMES = re.compile("|".join([*SCHEMAS, "closed-form"]))


def compared_names(source: str) -> list[str]:
    """Return the names of models that code compares something with."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
            texts = [part.value for part in parts if isinstance(part, ast.Constant)]
            found += [text for text in texts if isinstance(text, str) and NAMES.fullmatch(text)]
    return found


def test_no_code_asks_which_target_it_has() -> None:
    assert compared_names('if target.model == "loihi":\n    pass') == ["loihi"]
    assert compared_names('if "closed-form" != kind:\n    pass') == ["closed-form"]
    sources = sorted(Path(mapping.__file__).parent.rglob("*.py"))
    assert len(sources) > 100
    assert {path.name: compared_names(path.read_text(encoding="utf-8")) for path in sources} == {
        path.name: [] for path in sources
    }


def small_network() -> Network:
    """Return a ternary network whose neurons have few inputs, of 1, 2 and 3 levels."""
    b = ModelBuilder((12,), seed=3)
    y = b.quantise(b.dense(b.quantise("x", 0, 1.0), b.ternary(8, 12), name="fc1"), 0, 2.0)
    return b.network(b.quantise(b.dense(y, b.ternary(3, 8), name="fc2"), 0, 3.0))


def test_report_has_every_target_side_by_side() -> None:
    network, x = small_network(), np.random.default_rng(1).normal(0.5, 0.5, (9, 12))
    names = ("loom", "kuang2021", "truenorth", "loihi")
    report = estimate(network, Dataset(name="random", x=x, y=None), names, core="tiny")
    parts = {part["target"]: part for part in report.targets}
    spiking = convert(network)
    counts = simulate(spiking, encode(spiking, x))
    first, last = (np.count_nonzero(layer.only.weight, axis=0) for layer in spiking.layers)
    fired = {name: np.abs(value).reshape(9, -1).astype(np.int64) for name, value in counts.items()}
    hidden = fired[spiking.layers[0].name]
    own = int((fired[INPUT] @ first).sum()) * 2 + int((hidden @ last).sum()) * 3
    # fc2 is on one core, which reads every spike of fc1 on two axons of TrueNorth: two copies.
    assert parts["truenorth"]["synaptic_operations"] == (own + 2 * int(hidden.sum())) / 9
    assert parts["loihi"]["synaptic_operations"] == pytest.approx(own / 9, rel=1e-15)
    assert [parts[name]["kind"] for name in names] == ["cycle-exact", *["closed-form"] * 3]
    assert [parts[name]["latency_s"] for name in names[2:3]] == [3e-3]
    rows = report.side_by_side
    assert rows is not None
    assert [row["system"] for row in rows] == list(names)
    for row in rows:
        part = parts[row["system"]]
        assert row["energy_kind"] == "modelled"
        assert all(row[key] == part[key] for key in row if key in part)
        assert row["energy_j_low"] <= row["energy_j"] <= row["energy_j_high"]
    assert report.to_dict()["side_by_side"] == rows


def test_cores_of_loihi_are_told_to_be_a_lower_bound() -> None:
    network, x = small_network(), np.random.default_rng(1).normal(0.5, 0.5, (3, 12))
    report = estimate(network, Dataset(name="random", x=x, y=None), ("kuang2021", "loihi"), core="tiny")
    kuang, loihi = report.targets
    assert kuang["cores_least"] is None
    told = [line for line in notes(report.to_dict()) if AT_LEAST in line]
    assert told == [f"On loihi {AT_LEAST}: {loihi['cores_least']}."]
    assert [what(row) for row in report.side_by_side or ()] == [
        "closed-form, joules modelled",
        f"closed-form, joules modelled; {AT_LEAST}",
    ]
