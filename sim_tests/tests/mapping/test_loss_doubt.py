# SPDX-License-Identifier: Apache-2.0
"""Reports say where a converted network answers otherwise than its float network, and by what."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from emu.spec import preset
from mapping.codes.graded.convert import GradedOptions, convert_graded
from mapping.datasets.load import Dataset
from mapping.diagnosis import attribution, losses
from mapping.diagnosis.attribution import attribute
from mapping.diagnosis.losses import loss_doubt
from mapping.model.evaluate import infer, run_single
from mapping.model.network import Network
from mapping.model.operations.operation import Reals
from mapping.report.machine import estimate
from mapping.spiking.network import SpikingNetwork
from mapping.spiking.simulate import decode, encode, simulate
from sim_tests.generators.ordinary_networks import calibration, mlp

COARSE = GradedOptions(bits=2, digits=1)


def converted(options: GradedOptions) -> tuple[SpikingNetwork, NDArray[np.float64]]:
    network = mlp(1)
    samples = calibration(network)
    return convert_graded(network, samples, preset("medium"), options), samples


def agreement(spiking: SpikingNetwork, x: NDArray[np.float64]) -> float:
    """Share of equal answers, by the definition."""
    got = decode(spiking, simulate(spiking, encode(spiking, x)), x)
    return float(np.mean(got.argmax(axis=1) == infer(spiking.network, x).argmax(axis=1)))


def test_doubt_names_the_part_that_loses_most() -> None:
    spiking, samples = converted(COARSE)
    share = agreement(spiking, samples)
    assert share < 0.95
    worst = attribute(spiking, samples).worst
    told = loss_doubt(spiking, samples)
    assert told is not None
    assert f"on only {100 * share:.2f} % of the samples, and {100 * worst.share:.2f} % of the" in told
    assert f"layer {worst.layer!r}" in told


def test_agreement_of_more_samples_is_told_if_it_is_known() -> None:
    spiking, samples = converted(COARSE)
    assert "on only 12.50 % of the samples" in str(loss_doubt(spiking, samples, 0.125))
    assert loss_doubt(spiking, samples, 0.96) is None


@pytest.mark.parametrize("why", ["near", "exact", "few"])
def test_nothing_is_told_without_a_loss_of_answers(why: str) -> None:
    spiking, samples = converted(GradedOptions() if why == "near" else COARSE)
    if why == "exact":
        spiking = replace(spiking, code="int8")
    assert loss_doubt(spiking, samples[: 19 if why == "few" else None]) is None


def test_large_networks_are_asked_for_fewer_samples_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    spiking, samples = converted(COARSE)
    told, each = loss_doubt(spiking, samples[:20], 0.5), attribution.values_of(spiking.network)
    asked: list[int] = []

    def counted(network: Network, x: NDArray[np.float64], wanted: Sequence[str]) -> dict[str, Reals]:
        asked.append(len(x))
        return run_single(network, x, wanted)

    monkeypatch.setattr(attribution, "run_single", counted)
    monkeypatch.setattr(attribution, "_MOST_VALUES", 8 * each)
    monkeypatch.setattr(losses, "_MOST_VALUES", each)
    assert loss_doubt(spiking, samples[:20], 0.5) == told
    assert asked == [8, 8, 4]
    asked.clear()
    loss_doubt(spiking, samples)
    assert asked[:3] == [8, 8, 4]
    assert sum(asked) in {20, 40}  # who loses most is asked only if answers are lost


def test_report_tells_it() -> None:
    network = mlp(1)
    x = calibration(network, n=90)
    data = Dataset(x=x, y=infer(network, x).argmax(axis=1), name="noise")
    report = estimate(network, data, ["loom"], core="medium", options=COARSE).to_dict()
    told = f"on only {100 * report['targets'][0]['agreement']:.2f} % of the samples"
    assert told in str(report["doubt"])
    assert estimate(network, data, ["loom"], core="medium").to_dict()["doubt"] is None
