# SPDX-License-Identifier: Apache-2.0
"""Steps of channels, and weights rounded to what is read: each against a naive calculation."""

import numpy as np
import pytest

from emu.spec import preset
from mapping.codes.graded import layers, reading
from mapping.codes.graded.convert import GradedOptions, convert_graded
from mapping.codes.graded.ranges import best_grid
from mapping.codes.graded.rounding import covariance, elimination, fitted, rounded, unshared
from mapping.model.evaluate import infer
from mapping.model.network import Network, build_network, make_node
from mapping.spiking.archive import spiking_from_arrays, spiking_to_arrays
from mapping.spiking.network import SpikingNetwork
from mapping.spiking.simulate import decode, encode, simulate
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.ordinary_networks import calibration, inverted

MEDIUM = preset("medium")


def unlike(high: float | None = None) -> Network:
    """A network whose second channel is a fiftieth of the first, cut off above ``high``."""
    first, second = np.array([[1.0, 0.5], [0.02, -0.01]]), np.array([[0.3, 9.0], [0.2, -7.0], [-0.1, 4.0]])
    cut = make_node("cut", "Relu", ["a"], "b")
    if high is not None:
        cut = make_node("cut", "Clip", ["a"], "b", attributes={"low": 0.0, "high": high})
    nodes = [
        make_node("one", "Dense", ["x"], "a", constants={"weight": first}),
        cut,
        make_node("two", "Dense", ["b"], "y", constants={"weight": second}),
    ]
    return build_network(nodes, name="n", input_name="x", input_shape=(2,), output_name="y")


def converted(network: Network, bits: int = 4) -> SpikingNetwork:
    samples = np.random.default_rng(1).uniform(0, 1, (400, 2))
    return convert_graded(network, samples, MEDIUM, GradedOptions(bits=bits, digits=3))


def test_channels_of_unlike_range_have_steps_of_their_own() -> None:
    layer, last = converted(unlike()).layers
    assert layer.gains is not None
    assert layer.gains[1] < 0.1 * layer.gains[0]
    assert last.gains is None
    counts = np.array([[3, 2]])
    assert np.allclose(layer.values(counts), counts * layer.scale * layer.gains)


@pytest.mark.parametrize(("least", "most"), [(-2.0, 1.0), (-0.5, 3.0), (0.0, 2.0)])
@pytest.mark.parametrize("bits", [4, 8])
def test_signed_values_use_a_sign_beside_all_bits(least: float, most: float, bits: int) -> None:
    grid = best_grid(np.linspace(least, most, 999), bits=bits, signed=True, offset=False, seed=0)
    assert (grid.low, grid.high, grid.zero) == (1 - 2**bits, 2**bits - 1, 0)
    end = max(most, -least)
    assert 0.9 * end < grid.scale * grid.high <= end


@pytest.mark.parametrize("high", [0.4, 0.9])
def test_no_count_stands_for_more_than_a_clip_lets_pass(high: float) -> None:
    """One largest count is for all rows: it stands for no more than the clip's end in any of them."""
    layer = converted(unlike(high), bits=8).layers[0]
    assert layer.gains is not None
    assert layer.levels == 255, "a larger step would end the counts of all rows"
    top = layer.values(np.full((1, 2), layer.levels))
    assert (top <= high * 1.02).all()
    assert top.max() > 0.6 * high


def joined(seed: int) -> Network:
    """Two branches of the same inputs, one of values fifty times those of the other, and what reads both."""
    b = ModelBuilder((6,), seed=seed)
    one = b.op("Relu", b.dense("x", b.rng.normal(size=(8, 6))))
    other = b.op("Relu", b.dense("x", b.rng.normal(0, 0.02, (8, 6))))
    weight = b.rng.normal(size=(5, 16)) * np.repeat([1.0, 50.0], 8)
    return b.network(b.dense(b.op("Concat", one, other, axis=1), weight))


def wrong(network: Network) -> float:
    samples = calibration(network, n=200)
    spiking = convert_graded(network, samples, MEDIUM, GradedOptions(bits=8, digits=2))
    truth = infer(network, samples)
    got = decode(spiking, simulate(spiking, encode(spiking, samples)), samples)
    return float(np.square(got - truth).mean() / truth.var())


def test_sources_make_up_for_each_others_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is rounded in one branch varies with the other, whose weights take it up."""
    together = [wrong(joined(seed)) for seed in range(4)]
    monkeypatch.setattr(reading, "_TOGETHER", 0)
    apart = [wrong(joined(seed)) for seed in range(4)]
    assert sum(together) < 0.7 * sum(apart)


def test_shift_is_no_larger_than_the_weights_need() -> None:
    """A unit that a threshold has raised leaves room: 300 units are 75 of weights shifted by 2."""
    unit = np.array([0.01, 0.02])
    weights = np.array([[3.0, -1.0], [1.0, 1.0]])
    assert [layers._fewest(weights, unit, shift, 121) for shift in (0, 1, 2, 5)] == [0, 1, 2, 2]


def test_shifts_leave_every_sum_within_a_column() -> None:
    """Of 10 x 255 and 4 x 255 at most, shifted: the larger shift is lowered first."""
    shifts = [5, 4]
    layers._bound(shifts, [2550, 1020], (1 << 16) - 1)
    assert shifts == [4, 4]
    assert (2550 << 4) + (1020 << 4) < 1 << 16 <= (2550 << 5) + (1020 << 4)
    layers._bound(shifts, [2550, 1020], 1000)
    assert shifts == [0, 0]


def test_saved_network_keeps_its_steps() -> None:
    spiking = converted(unlike())
    again = spiking_from_arrays(spiking_to_arrays(spiking), spiking.network)
    for layer, other in zip(spiking.layers, again.layers, strict=True):
        assert (layer.gains is None) == (other.gains is None)
        if layer.gains is not None and other.gains is not None:
            assert layer.gains.tolist() == other.gains.tolist()


def test_depthwise_and_dense_readers_both_give_steps() -> None:
    network = inverted(2)
    spiking = convert_graded(network, calibration(network), MEDIUM, GradedOptions(bits=4, digits=3))
    assert sum(layer.gains is not None for layer in spiking.layers) >= 2


def correlated(seed: int, size: int = 6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.uniform(0, 9, (1, 4000, size)) @ rng.uniform(-1, 1, (size, size)) + 5.0)


@pytest.mark.parametrize("seed", range(3))
def test_unshared_variance_is_that_of_a_regression_on_the_inputs_before(seed: int) -> None:
    """What is rounded later makes up for it: the input last in order keeps all of its variance."""
    power = covariance(correlated(seed))
    order, left = elimination(correlated(seed)).order[0], unshared(power)[0]
    for at, one in enumerate(order):
        later = order[at + 1 :]
        own = power[0, one, one]
        if len(later):
            shared = power[0][np.ix_(later, [one])]
            own -= (shared.T @ np.linalg.solve(power[0][np.ix_(later, later)], shared)).item()
        assert left[one] == pytest.approx(own, rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_fitted_weights_err_less_than_rounded_ones(seed: int) -> None:
    inputs = correlated(seed)
    known, weight = elimination(inputs), np.random.default_rng(seed).normal(size=(1, 5, 6))
    step = np.abs(weight).max(axis=2) / 4

    def error(integers: np.ndarray, steps: np.ndarray) -> np.ndarray:
        wrong = (integers * steps[..., None] - weight)[0] @ inputs[0].T
        return np.asarray(wrong.var(axis=1))

    found, steps = fitted(weight, step, known, 4, free=True)
    assert np.abs(found).max() <= 4
    assert (error(found, steps) <= error(rounded(weight, step, known, 4), step) * 1.01).all()
    kept, same = fitted(weight, step, known, 4, free=False)
    assert np.array_equal(same, step)
    assert error(kept, step).sum() <= error(rounded(weight, step, known, 4), step).sum() * 1.01


def test_weights_are_fitted_to_what_is_read() -> None:
    """Counts that are twice what they stand for are read with half the weight, but for the damping."""
    inputs = np.random.default_rng(4).uniform(0, 9, (1, 4000, 6))
    known = elimination(2 * inputs, inputs)
    weight = np.random.default_rng(0).normal(size=(1, 5, 6))
    found, steps = fitted(weight, np.full((1, 5), 1e-3), known, 10**6, free=False)
    got, wanted = (found * steps[..., None])[0] @ (2 * inputs[0].T), weight[0] @ inputs[0].T
    assert (got - wanted).std() < 0.05 * wanted.std()


def test_too_few_samples_fit_nothing() -> None:
    inputs = correlated(4)[:, :40]
    assert elimination(2 * inputs, inputs).fit is None


def stretched(factor: float, kind: str) -> Network:
    """A network whose values of one channel are multiplied by what its weights are divided by."""
    b = ModelBuilder((3, 6, 6), seed=2)
    first, second = b.rng.normal(size=(8, 3, 3, 3)), b.rng.normal(size=(6, 8, 3, 3))
    last = b.rng.normal(size=(5, 24 if kind == "conv" else 128))
    first[2] *= factor
    if kind == "conv":
        second[:, 2] /= factor
        y = b.op("Relu", b.conv(b.op("Relu", b.conv("x", first)), second))
    else:
        last[:, 32:48] /= factor
        y = b.op("Relu", b.conv("x", first))
    return b.network(b.dense(b.op("Flatten", y), last))


@pytest.mark.parametrize("kind", ["conv", "dense"])
@pytest.mark.parametrize("factor", [2.0**-24, 2.0**24])
def test_stretched_channel_does_not_hide_the_others(kind: str, factor: float) -> None:
    """The network is the same one; powers of 256 leave even its integers as they are."""
    plain, network = stretched(1.0, kind), stretched(factor, kind)
    samples = calibration(plain, n=64)
    want, got = (convert_graded(net, samples, MEDIUM) for net in (plain, network))
    x = calibration(plain, n=50, seed=3)
    counts = [simulate(net, encode(net, x)) for net in (want, got)]
    for ours, theirs in zip(want.layers, got.layers, strict=True):
        assert np.array_equal(counts[0][ours.name], counts[1][theirs.name])


def test_steps_of_a_stretched_channel_end_where_its_clip_does() -> None:
    """They are compared with the clip's end in units in which channels are of one size."""
    first, second = (
        np.array([[0.4], [0.3], [2.0**-12]]),
        np.array([[1.0, -1.0, 2.0**12], [1.0, 1.0, -(2.0**12)]]),
    )
    cut = make_node("cut", "Clip", ["a"], "b", attributes={"low": 0.0, "high": 0.5})
    nodes = [make_node("one", "Dense", ["x"], "a", constants={"weight": first}), cut]
    nodes.append(make_node("two", "Dense", ["b"], "y", constants={"weight": second}))
    network = build_network(nodes, name="n", input_name="x", input_shape=(1,), output_name="y")
    samples = np.linspace(0, 1, 100)[:, None]
    layer = convert_graded(network, samples, MEDIUM).layers[0]
    top = layer.values(np.full((1, 3), layer.levels))[0]
    assert (top <= 0.5 * 1.02).all()
    assert top[2] == pytest.approx(2.0**-12, rel=0.1)


@pytest.mark.parametrize("offset", [-(2.0**20), 2.0**20])
def test_offset_beyond_the_spread_of_outputs_costs_nothing(offset: float) -> None:
    b = ModelBuilder((6,), seed=7)
    weight, bias = b.rng.normal(size=(5, 6)), b.rng.normal(size=5)
    network = b.network(b.dense("x", weight, bias + offset))
    samples = calibration(network)
    spiking = convert_graded(network, samples, MEDIUM)
    values = decode(spiking, simulate(spiking, encode(spiking, samples)), samples)
    truth = infer(network, samples)
    assert np.abs(values - truth).max() < 0.02 * truth.std()


def test_tiny_outputs_have_their_counts() -> None:
    """Weights far below one give the same counts, and no warning of numpy."""
    b = ModelBuilder((6,), seed=8)
    weight = b.rng.normal(size=(5, 6))
    samples = calibration(b.network("x"))
    found = []
    for size in (1.0, 2.0**-80):
        b = ModelBuilder((6,), seed=8)
        spiking = convert_graded(b.network(b.dense("x", size * weight)), samples, MEDIUM)
        found.append(simulate(spiking, encode(spiking, samples))[spiking.layers[-1].name])
    assert np.array_equal(found[0], found[1])
