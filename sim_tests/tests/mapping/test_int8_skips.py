# SPDX-License-Identifier: Apache-2.0
"""Sums of a layer and a quantised skip: weights near the ratio of their scales, and how near."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest

from emu.spec import CoreSpec, preset
from mapping.chip import Chip, open_chip
from mapping.codes.choice import Request, code_of
from mapping.codes.doubts import doubt_about
from mapping.codes.graded.ranges import Grid
from mapping.codes.int8.near import near_units
from mapping.codes.int8.weighing import Counted
from mapping.errors import UnsupportedModelError
from mapping.flow import compile_network
from mapping.model.importers.onnx import load_onnx
from mapping.model.network import Network
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.quantised_skips import skip_quantised
from sim_tests.generators.quantiser_options import NETWORKS, inputs
from sim_tests.referees import int8_skips
from sim_tests.referees.int8_options import NEAR, farthest
from sim_tests.referees.int8_runtime import Runtime
from sim_tests.referees.int8_skips import Skips, main, skips_of
from sim_tests.referees.int8_table import compared

pytest.importorskip("onnxruntime")

X = np.random.default_rng(1).normal(size=(48, 2, 6, 6))


def chip_of(name: str, path: Path, n: int) -> tuple[Chip, np.ndarray]:
    model = NETWORKS[name]()
    x = inputs(model, n)
    skip_quantised(model, x[:32], path)
    return compile_network(load_onnx(path), core="medium", samples=x[:32]), x.astype(np.float64)


@pytest.mark.parametrize("name", ["residual", "mobile", "normed"])
def test_residual_network_is_whole_on_the_chip(name: str, tmp_path: Path) -> None:
    chip, x = chip_of(name, tmp_path / "m.onnx", 64)
    assert (chip.spiking.code, chip.spiking.host_share, chip.spiking.exact) == ("int8", 0.0, False)
    found = skips_of(chip, x)
    assert found.activations > 64 * 700
    assert 0 < found.near < 5e-4
    assert found.farthest <= found.near
    right = compared(
        tmp_path / "m.onnx",
        x,
        core="medium",
        emulated=4,
        runtime=Runtime(tmp_path / "m.onnx", optimised=False),
    )
    assert (right.activations > 64 * 700, right.image) == (True, 0)
    assert farthest(Runtime(tmp_path / "m.onnx", optimised=False), load_onnx(tmp_path / "m.onnx"), x) < NEAR


def added(
    path: Path, scale: float, *, both: bool = False, unit: float = 2.0**-7, each: bool = False
) -> Network:
    """Two layers of one input that are added; the second is quantised with a scale, each is, or neither."""
    b = ModelBuilder((2, 6, 6), seed=5)

    def act(x: str, size: float) -> str:
        ends = [b.constant(size), b.constant(0, np.int8)]
        return b.op("DequantizeLinear", b.op("QuantizeLinear", x, *ends), *ends)

    def layer(x: str, size: float, name: str) -> str:
        ends = [b.constant(size), b.constant(0, np.int8)]
        weight = b.constant(b.rng.integers(-127, 128, (3, 2, 3, 3)), np.int8)
        return b.op("Conv", x, b.op("DequantizeLinear", weight, *ends), pads=[1] * 4, name=name)

    x = act("x", 2.0**-5)
    first, second = layer(x, unit, "one"), layer(x, 1.5708 * unit, "two")
    first = act(first, 0.41) if each else first
    y = b.op("Add", first, second if both else act(second, scale), name="join")
    onnx.save(b.model(act(b.op("Relu", y), 0.13)), path)
    return load_onnx(path)


def test_scales_in_a_ratio_of_whole_numbers_are_exact(tmp_path: Path) -> None:
    """A power of two of some thousand, far beyond a byte."""
    chip = compile_network(added(tmp_path / "m.onnx", 0.25), core="medium", samples=X)
    assert (chip.spiking.host_share, chip.spiking.near, chip.spiking.exact) == (0.0, {}, True)
    assert chip.spiking.layers[-1].sources[-1].shift > 0
    assert (chip.spiking.layers[-1].low, chip.spiking.layers[-1].levels) == (0, 127)  # behind a Relu
    found = skips_of(chip, X)
    assert (found.differ, found.near) == (0, 0.0)
    right = compared(
        tmp_path / "m.onnx",
        X,
        core="medium",
        emulated=8,
        runtime=Runtime(tmp_path / "m.onnx", optimised=False),
    )
    assert (right.network, right.image) == (0, 0)


def test_two_layers_of_unlike_scales_are_on_the_chip_as_far_as_weights_hold(tmp_path: Path) -> None:
    network = added(tmp_path / "m.onnx", 0.25, both=True)
    chip = compile_network(network, core="reference", samples=X)
    found = skips_of(chip, X)
    assert (chip.spiking.host_share, found.differ) == (0.0, 0)
    assert 0 < found.near < 1e-3


def test_sums_that_could_be_further_off_are_the_hosts_and_told(tmp_path: Path) -> None:
    network = added(tmp_path / "m.onnx", 0.25, both=True, unit=8.0)
    with pytest.raises(UnsupportedModelError) as raised:
        code_of(network).convert(network, Request(spec=preset("medium"), samples=X))
    assert (
        "the scales of what it adds are in no ratio of small whole numbers; quantise what it adds with one "
        "scale"
    ) in str(raised.value)
    way_out = added(tmp_path / "m.onnx", 0.25, unit=8.0)
    assert code_of(way_out).convert(way_out, Request(spec=preset("medium"), samples=X)).host_share == 0.0


def test_what_may_be_off_is_told_and_kept(tmp_path: Path) -> None:
    network = added(tmp_path / "m.onnx", 0.3)
    chip = compile_network(network, core="medium", samples=X)
    ((name, near),) = chip.spiking.near.items()
    assert doubt_about(network, "int8", chip.spiking.near) == (
        f"What is added in layer {name!r} has scales in a ratio of no whole numbers that neurons hold: a "
        f"count is one more or less where a sum lies within {near:.1g} steps of half-way between two; "
        "quantise both inputs of the sum for equal ones."
    )
    chip.save(tmp_path / "chip.spikeloom")
    assert open_chip(tmp_path / "chip.spikeloom").spiking.near == chip.spiking.near
    way_out = compile_network(added(tmp_path / "m.onnx", 0.3, each=True), core="medium", samples=X)
    assert (way_out.spiking.near, way_out.spiking.exact, way_out.spiking.host_share) == ({}, True, 0.0)


@pytest.mark.parametrize("seed", range(4))
def test_sums_are_off_by_no_more_than_is_told(seed: int) -> None:
    """The oracle: sums of fractions against potentials, at random counts and at those that miss most."""
    rng, spec, rows = np.random.default_rng(seed), preset("reference"), 5
    units = [rng.uniform(0.0001, 0.0002, rows), rng.uniform(0.05, 0.1, rows)]
    whole = [rng.integers(-127, 128, (rows, 20)), np.ones((rows, 1), np.int64)]
    whole[0][:, 0] = 127
    read = [Counted(name="a", grid=Grid(scale=1.0, low=-128, high=127), depth=2)]
    read.append(Counted(name="b", grid=Grid(scale=1.0, low=0, high=255, zero=7), depth=1))
    bias, grid = rng.normal(size=(rows, 1)).repeat(4, axis=1), Grid(scale=0.11, low=0, high=127)
    effective = [w * u[:, None] for w, u in zip(whole, units, strict=True)]
    near = next(near_units(effective, bias, read, grid, spec))
    assert 0 < near.off < 1e-3
    worst = Fraction(0)
    for _ in range(200):
        counts = [rng.integers(-128, 128, 20), rng.choice([-7, 248, int(rng.integers(-7, 249))], 1)]
        for row in range(rows):
            parts = zip(near.units.weights, counts, strict=True)
            potential = sum(int(w[row] @ c) for w, c in parts) + int(near.units.extra[4 * row])
            got = Fraction(near.units.unit[row]) * potential + Fraction(near.units.bias[row])
            true = Fraction(bias[row, 0]) + sum(
                Fraction(units[g][row]) * int(whole[g][row] @ counts[g]) for g in (0, 1)
            )
            worst = max(worst, abs(got - true))
            assert abs(near.units.extra).max() <= spec.potential_max
    assert near.off / 4 < float(worst) / grid.scale <= near.off * (1 + 1e-6)


def test_finer_weights_come_first_and_fit_the_core() -> None:
    rng = np.random.default_rng(3)
    effective = [rng.integers(1, 128, (3, 9)) * 0.0003, np.full((3, 1), 0.0713579)]
    read = [Counted(name=name, grid=Grid(scale=1.0, low=0, high=255), depth=1) for name in "ab"]
    grid = Grid(scale=0.1, low=0, high=255)

    def found(spec: CoreSpec) -> list[float]:
        return [near.off for near in near_units(effective, np.zeros((3, 1)), read, grid, spec)]

    fine = found(preset("reference"))
    assert len(fine) > 2
    assert fine == sorted(fine)
    assert fine[0] < found(preset("reference").resized(potential_bits=20))[0]


def test_table_ends_with_one_if_a_count_is_further_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(int8_skips, "NAMES", ("mobile",))
    assert main(["--samples", "8", "--core", "medium"]) == 0
    (line,) = capsys.readouterr().out.splitlines()[2:]
    assert line.split(" | ")[3] == "0"
    far = Skips(activations=9, differ=1, farthest=0.2, near=0.1)
    monkeypatch.setattr(int8_skips, "skips_of", lambda *_: far)
    assert main(["--samples", "8", "--core", "medium"]) == 1
