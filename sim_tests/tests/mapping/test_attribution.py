# SPDX-License-Identifier: Apache-2.0
"""What a converted network loses is found in the part that loses it, and a planted fault is named."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from emu.spec import CoreSpec, preset
from mapping.codes.graded.convert import GradedOptions, convert_graded
from mapping.diagnosis import attribution as module
from mapping.diagnosis.attribution import ACTIVATIONS, WEIGHTS, Attribution, Loss, attribute, loss_of
from mapping.diagnosis.finding import WARNING
from mapping.diagnosis.input_tried import InputTried
from mapping.diagnosis.layers import diagnose
from mapping.diagnosis.losses import find_losses
from mapping.diagnosis.options import Setting, Trial, settings, try_options
from mapping.model.evaluate import infer, resume, run_single
from mapping.model.network import Network
from mapping.spiking.network import INPUT, SpikingLayer, SpikingNetwork
from mapping.spiking.quantisers import ALWAYS, NEVER, Ladders
from mapping.spiking.simulate import encode, fire, potentials, simulate
from sim_tests.generators.ordinary_networks import calibration, inverted, mlp, pooled, residual

MEDIUM = preset("medium")
KINDS = {"mlp": mlp, "residual": residual, "inverted": inverted, "pooled": pooled}


def graded(network: Network, spec: CoreSpec = MEDIUM, **options: int) -> SpikingNetwork:
    return convert_graded(network, calibration(network), spec, GradedOptions(**options))


def found(spiking: SpikingNetwork, n: int = 100) -> Attribution:
    x = calibration(spiking.network, n=n, seed=9)
    return attribute(spiking, x, infer(spiking.network, x).argmax(axis=1))


def with_layer(
    spiking: SpikingNetwork, index: int, change: Callable[[SpikingLayer], SpikingLayer]
) -> SpikingNetwork:
    layers = list(spiking.layers)
    layers[index] = change(layers[index])
    return replace(spiking, layers=tuple(layers))


@pytest.mark.parametrize("kind", KINDS)
def test_parts_begin_at_the_input_and_end_at_the_whole(kind: str) -> None:
    spiking = graded(KINDS[kind](1), bits=4, digits=2)
    result = found(spiking)
    names = [(INPUT, INPUT)]
    names += [(layer.name, part) for layer in spiking.layers for part in (WEIGHTS, ACTIVATIONS)]
    assert [(part.layer, part.part) for part in result.parts] == names
    x = calibration(spiking.network, n=100, seed=9)
    whole = loss_of(spiking, x, infer(spiking.network, x).argmax(axis=1))
    assert result.whole.logit_error == pytest.approx(whole.logit_error, rel=1e-4)
    assert (result.whole.agreement, result.whole.accuracy) == (whole.agreement, whole.accuracy)
    assert result.whole.agreement == result.whole.accuracy
    assert result.float_accuracy == 1.0
    assert sum(part.share for part in result.parts if part.share > 0) == pytest.approx(1)


@pytest.mark.parametrize("kind", KINDS)
def test_shares_are_changes_of_the_squared_error(kind: str) -> None:
    spiking = graded(KINDS[kind](2), bits=4, digits=2)
    result = found(spiking)
    changes = np.diff([0.0, *(part.loss.logit_error**2 for part in result.parts)])
    assert np.allclose([part.share for part in result.parts], changes / changes[changes > 0].sum())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spec", [MEDIUM, preset("small")], ids=["medium", "small"])
def test_real_counts_round_to_the_counts(kind: str, spec: CoreSpec) -> None:
    """Ladders and lists alike: within the grid a real count is never further than half from the count."""
    network = KINDS[kind](3)
    spiking = graded(network, spec, bits=4, digits=3)
    x = calibration(network, n=20, seed=4)
    counts = simulate(spiking, encode(spiking, x))
    for layer in spiking.layers:
        reached = potentials(layer, counts)
        values = module._real_values(spiking.network, layer, reached)
        step = layer.values(np.ones(reached.shape)) - layer.values(np.zeros(reached.shape))
        real = values.reshape(reached.shape) / step + layer.zero
        clipped = np.clip(real, layer.low, layer.levels)
        assert np.abs(clipped - fire(layer, reached)).max() <= 0.5 + 1e-9
        assert np.abs(clipped - fire(layer, reached)).max() > 0.3


def test_list_ends_at_its_first_and_last_count() -> None:
    """A function that saturates has no half counts more where all potentials are beyond its thresholds."""
    thresholds = np.array([[ALWAYS, 10, 20, 40, NEVER]])
    potential = np.array([[[-99, 5, 10, 15, 20, 30, 40, 50, 99]]])
    counts = module._interpolated(thresholds, potential)
    assert counts.reshape(-1).tolist() == [1.0, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.0]


def test_weights_without_activations_are_those_of_floats_that_were_rounded() -> None:
    """Seven digits err little, so that the weights' step alone has almost the values of the float network."""
    spiking = graded(residual(4), bits=8, digits=5)
    x = calibration(spiking.network, n=50, seed=3)
    truth = run_single(spiking.network, x, [layer.activation for layer in spiking.layers])
    counts = simulate(spiking, encode(spiking, x))
    for layer in spiking.layers:
        values = module._real_values(spiking.network, layer, potentials(layer, counts))
        wanted = truth[layer.activation].reshape(values.shape)
        assert np.sqrt(np.square(values - wanted).mean()) < 0.05 * wanted.std()


def test_resumed_network_is_the_network() -> None:
    network = residual(0)
    x = calibration(network, n=5)
    tensors = run_single(network, x, [node.output for node in network.nodes])
    for node in network.nodes[:-1]:
        given = {network.input: x, node.output: tensors[node.output]}
        output = resume(network, given, [network.output])[network.output]
        assert np.array_equal(output, tensors[network.output])


@pytest.mark.parametrize(
    ("options", "part"),
    [({"bits": 8, "digits": 1}, WEIGHTS), ({"bits": 2, "digits": 5}, ACTIVATIONS)],
)
@pytest.mark.parametrize("kind", ["mlp", "residual", "inverted"])
def test_coarse_part_loses_most(kind: str, options: dict[str, int], part: str) -> None:
    result = found(graded(KINDS[kind](5), MEDIUM, **options))
    other = {WEIGHTS: ACTIVATIONS, ACTIVATIONS: WEIGHTS}[part]
    assert result.worst.part == part
    assert result.share_of(part) > 2 * result.share_of(other)


@pytest.mark.parametrize("kind", KINDS)
def test_sound_network_has_no_layer_of_a_wrong_scale(kind: str) -> None:
    for seed in range(3):
        for bits, digits in ((8, 5), (4, 2), (8, 1), (2, 5)):
            assert found(graded(KINDS[kind](seed), bits=bits, digits=digits), 40).misscaled is None


def steeper(layer: SpikingLayer) -> SpikingLayer:
    """Let thresholds lie twice as far apart, so that counts rise half as fast as they must."""
    assert isinstance(layer.quantiser, Ladders)
    words = layer.quantiser.words * np.array([1, 2, 1, 1])
    return replace(layer, quantiser=Ladders(words=words, payload_bits=layer.quantiser.payload_bits))


def larger(layer: SpikingLayer) -> SpikingLayer:
    """Let a count stand for three times the value."""
    return replace(layer, scale=3 * layer.scale)


@pytest.mark.parametrize(("fault", "factor"), [(steeper, 0.5), (larger, 3.0)])
@pytest.mark.parametrize("kind", ["mlp", "residual"])
def test_layer_of_a_wrong_scale_is_named(
    kind: str, fault: Callable[[SpikingLayer], SpikingLayer], factor: float
) -> None:
    network = KINDS[kind](6)
    spiking = graded(network)
    x = calibration(network, n=80, seed=9)
    y = infer(network, x).argmax(axis=1)
    for index, layer in enumerate(spiking.layers):
        wrong = with_layer(spiking, index, fault)
        diagnosis = diagnose(wrong, x, y)
        assert diagnosis.attribution is not None
        part = diagnosis.attribution.misscaled
        assert part is not None
        assert (part.layer, diagnosis.attribution.worst.layer) == (layer.name, layer.name)
        assert part.factor == pytest.approx(factor, rel=0.15)
        (named,) = [f for f in find_losses(wrong, diagnosis, InputTried(), ()) if f.kind == "layer-scale"]
        assert (named.level, named.layer) == (WARNING, layer.name)
        assert named.text == (
            f"Layer {layer.name!r} has the wrong scale: its values are {part.factor:.3g} times those of the "
            "float network, which rounding does not explain."
        )


@pytest.mark.parametrize("index", range(2))
def test_layer_that_is_cut_off_too_early_is_named(index: int) -> None:
    """A range that ends at an eighth of the largest value is a fault of the activations."""
    spiking = graded(mlp(6))

    def cut(layer: SpikingLayer) -> SpikingLayer:
        return replace(layer, levels=layer.zero + (layer.levels - layer.zero) // 8, parts=1)

    wrong = with_layer(spiking, index, cut)
    assert (found(wrong).worst.layer, found(wrong).worst.part) == (spiking.layers[index].name, ACTIVATIONS)


def test_options_are_tried_where_they_may_help() -> None:
    network = mlp(7)
    samples = calibration(network)

    def convert(setting: Setting) -> SpikingNetwork:
        return convert_graded(network, samples[: setting.samples], MEDIUM, setting.options)

    x = calibration(network, n=100, seed=9)
    own = Setting(options=GradedOptions(bits=8, digits=1), samples=16)
    spiking = convert(own)
    result = attribute(spiking, x)
    trials = try_options(spiking, settings(own, result, MEDIUM, 64), convert, x, None)
    assert [trial.option for trial in trials][:2] == [None, f"--digits {MEDIUM.strengths}"]
    assert {trial.option for trial in trials[2:]} <= {"--calibrate 64"}
    assert trials[0].columns * MEDIUM.strengths == trials[1].columns
    assert trials[1].helps(trials[0].loss)
    best = convert(replace(own, options=replace(own.options, digits=MEDIUM.strengths)))
    assert trials[1].loss == loss_of(best, x)
    coarse = Setting(options=GradedOptions(bits=2, digits=5), samples=16)
    ways = list(settings(coarse, attribute(convert(coarse), x), MEDIUM, 64))
    assert [way.text for way in ways] == ["--bits 8", "--calibrate 64"]
    assert [way.text for way in settings(coarse, attribute(convert(coarse), x), MEDIUM, 63)] == ["--bits 8"]


def test_bits_are_tried_for_a_curve_that_its_layer_draws_through_few_points() -> None:
    network = mlp(7)
    own = Setting(options=GradedOptions(bits=3, digits=MEDIUM.strengths), samples=16)
    result = attribute(graded(network, bits=3, digits=MEDIUM.strengths), calibration(network, n=20, seed=9))
    for name, tried in ((WEIGHTS, ["--bits 8"]), (ACTIVATIONS, ["--bits 8"]), (INPUT, [])):
        lost = replace(result.whole, agreement=0.9)
        parts = tuple(replace(part, share=float(part.part == name), loss=lost) for part in result.parts)
        ways = settings(own, replace(result, parts=parts, misscaled=None), MEDIUM, 63)
        assert [way.text for way in ways] == tried


@pytest.mark.parametrize(
    ("error", "agreement", "helps"),
    [(0.94, 0.95, True), (0.96, 0.99, False), (0.94, 0.94, False), (0.72, 0.94, False), (0.7, 0.94, True)],
)
def test_option_that_costs_answers_must_win_more(error: float, agreement: float, helps: bool) -> None:
    before = Loss(logit_error=1.0, agreement=0.95, accuracy=None)
    after = Trial(option="--bits 8", loss=replace(before, logit_error=error, agreement=agreement), columns=1)
    assert after.helps(before) is helps
    assert Trial(option="a", loss=replace(before, agreement=None, logit_error=0.94), columns=1).helps(
        replace(before, agreement=None)
    )


def test_nothing_is_tried_where_nothing_is_lost_or_a_layer_is_wrong() -> None:
    network = mlp(7)
    own = Setting(options=GradedOptions(bits=4, digits=2), samples=16)
    spiking = graded(network, bits=4, digits=2)
    wrong = found(with_layer(spiking, 0, larger))
    assert list(settings(own, wrong, MEDIUM, 1000)) == []
    x = calibration(network, n=4, seed=1)
    fine = attribute(graded(network), x, infer(network, x).argmax(axis=1))
    assert fine.whole.agreement == 1.0
    assert list(settings(own, fine, MEDIUM, 1000)) == []
