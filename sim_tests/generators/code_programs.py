# SPDX-License-Identifier: Apache-2.0
"""A small program for each spike code, with the answer that the code's own formula gives.

The answers are closed forms or recurrences written with plain integers here; no emulator knows them. Sources:
Rueckauer, *Event-based vision processing in deep neural networks* (2020), equations (2.4) to (2.31); Stoeckl
and Maass, *Optimized spiking neurons can classify images with high accuracy through temporal coding with two
spikes* (2021), equations (3) to (5); Kim and Panda, *Revisiting batch normalization for training low-latency
deep spiking neural networks from scratch* (2021), equation (15); Davies et al., *Loihi* (2018), section on
the neuron model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emu.image import SystemImage
from emu.spec import SystemSpec, preset
from emu.trace import Stimulus
from emu.words import Emission, Reset
from sim_tests.generators.systems import make_core, make_stimulus, make_system

__all__ = ["PROGRAMS", "CodeProgram"]

ONE = SystemSpec(core=preset("tiny"), width=1, height=1)
TWO = SystemSpec(core=preset("small"), width=2, height=1)
FOREVER = ONE.core.refractory_max


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CodeProgram:
    """What runs, and what must come out.

    Parameters
    ----------
    image, stimulus : the program.
    spikes : rows step, core, neuron, count, in order, or None where they are not the answer.
    potentials : of all neurons at the end, or None.
    """

    image: SystemImage
    stimulus: Stimulus
    spikes: list[list[int]] | None = None
    potentials: list[int] | None = None


def _alone(
    steps: int, *, inputs: Sequence[tuple[int, int, int]] = (), **fields: Any
) -> tuple[SystemImage, Stimulus]:
    """Return one core, and packets to it: step, axon, payload."""
    rows = [(step, 0, 0, 0, 0, axon, payload) for step, axon, payload in inputs]
    return make_system(ONE, make_core(**fields)), make_stimulus(steps, rows)


def _rows(times: Sequence[Sequence[int]], steps: int) -> list[list[int]]:
    """Return single spikes of neurons at the given steps, in order."""
    return sorted([t, 0, neuron, 1] for neuron, own in enumerate(times) for t in own if t < steps)


START = [1, 1, 0, 1, 1, 0, 1]
"""A first step: V0, update, fire with one threshold."""

GO_ON = [4095, 0, 0, 1, 1, 0, 1]
REST = [4095, 0, 0, 0, 0, 0, 0, 0, 0]


def rate_by_subtraction() -> CodeProgram:
    """N(t) = floor((V0 + t z) / theta) with V0 = theta / 2: (2.5b), rounded to nearest."""
    theta, steps, z = 16, 40, np.arange(17)
    image, stimulus = _alone(
        steps,
        crossbar=np.zeros((1, 17)),
        bias=z,
        v0=theta // 2,
        thresholds=[theta],
        schedule=[START, GO_ON],
    )
    counts = (theta // 2 + np.outer(np.arange(steps + 1), z)) // theta
    times = [np.flatnonzero(np.diff(counts[:, i])).tolist() for i in range(17)]
    return CodeProgram(image=image, stimulus=stimulus, spikes=_rows(times, steps))


def rate_by_zero() -> CodeProgram:
    """A neuron reset to zero fires every n = ceil(theta / z) steps: the surplus is lost (2.5a)."""
    theta, steps, z = 16, 40, [1, 3, 5, 7, 8, 15, 16]
    image, stimulus = _alone(
        steps,
        crossbar=np.zeros((1, len(z))),
        bias=z,
        reset=Reset.ZERO,
        thresholds=[theta],
        schedule=[START, GO_ON],
    )
    times = [list(range(-(-theta // own) - 1, steps, -(-theta // own))) for own in z]
    return CodeProgram(image=image, stimulus=stimulus, spikes=_rows(times, steps))


def refractory() -> CodeProgram:
    """With R refractory steps the period is ceil(theta / z) + R: charge that comes in them is lost."""
    theta, steps, z, period = 12, 40, [3, 5, 12, 12], [1, 2, 0, 4]
    image, stimulus = _alone(
        steps,
        crossbar=np.zeros((1, 4)),
        bias=z,
        reset=Reset.ZERO,
        refractory_period=period,
        thresholds=[theta],
        schedule=[START, GO_ON],
    )
    first = [-(-theta // own) for own in z]
    times = [list(range(n - 1, steps, n + r)) for n, r in zip(first, period, strict=True)]
    return CodeProgram(image=image, stimulus=stimulus, spikes=_rows(times, steps))


def scatter_and_gather() -> CodeProgram:
    """A stateless neuron counts the thresholds that its sum reaches, a list of any values."""
    thresholds, values = [-5, 1, 2, 6], [-8, -5, 0, 1, 5, 7]
    inputs = [(step, 0, value) for step, value in enumerate(values)]
    image, stimulus = _alone(
        len(values),
        inputs=inputs,
        crossbar=[[1]],
        reset=Reset.CLEAR,
        emission=Emission.COUNT,
        thresholds=thresholds,
        schedule=[[1, 0, 1, 1, 1, 0, 4]],
    )
    counts = [sum(value >= theta for theta in thresholds) for value in values]
    spikes = [[step, 0, 0, count] for step, count in enumerate(counts) if count]
    return CodeProgram(image=image, stimulus=stimulus, spikes=spikes)


def graded_by_ladder() -> CodeProgram:
    """A signed ladder of step 5 / 2 with ties to even: c = round(2 V / 5), clipped to -4 .. 7."""
    values = np.arange(-16, 16)
    fraction = 2 * ONE.core.payload_bits
    step = 5 << fraction - 1
    image, stimulus = _alone(
        1,
        crossbar=np.zeros((1, 32)),
        bias=values,
        reset=Reset.CLEAR,
        emission=Emission.COUNT,
        signed=1,
        # T_j = ceil(5 j / 2 - 5 / 4): no V meets a tie, so none is broken.
        ladders=[[-1, step, (2 << fraction) - 1 - (5 << fraction - 2), 0]],
        schedule=[[1, 0, 0, 1, 1, 4, 7]],
    )
    counts = [min(max(round(2 * int(v) / 5), -4), 7) for v in values]
    return CodeProgram(
        image=image, stimulus=stimulus, spikes=[[0, 0, i, c] for i, c in enumerate(counts) if c]
    )


def _two_cores(
    sender: dict[str, Any], bits: int, weights: Sequence[Sequence[int]]
) -> tuple[SystemImage, Stimulus]:
    """Return a core that sends bits, and one that sums them with ternary weights while they come."""
    neurons = len(weights)
    fanout = [[1, 1, 0, 0, axon, True] for axon in range(neurons)]
    first = make_core(
        crossbar=np.zeros((1, neurons)), fanout=fanout, fanout_base=np.arange(neurons), emission=2, **sender
    )
    reader = make_core(weights, thresholds=[TWO.core.never], schedule=[[4095, 0, 1, 1, 0, 0, 0]])
    return make_system(TWO, first, reader), make_stimulus(bits + 2)


WEIGHTS = [[1, -1, 1], [1, 1, 0], [-1, 0, 1], [1, 1, 1]]


def pattern_code() -> CodeProgram:
    """An integer goes out bit by bit, MSB first; its reader holds sum w a exactly (2.31)."""
    bits, values = 5, np.array([31, 9, 0, 22])
    entries = [[1, 0, 0, 0, 1, t, 1, 0, 1 << bits - 1 - t] for t in range(bits)]
    entries[0] = [1, 1, 0, 1, *entries[0][4:]]
    sender = {
        "bias": values,
        "reset": Reset.SUBTRACT,
        "thresholds": [1 << bits - 1 - t for t in range(bits)],
        "schedule": [*entries, REST],
    }
    image, stimulus = _two_cores(sender, bits, WEIGHTS)
    return CodeProgram(
        image=image, stimulus=stimulus, potentials=[0] * 4 + (values @ np.array(WEIGHTS)).tolist()
    )


def fs_neuron() -> CodeProgram:
    """T(t) = h(t) = d(t) = 2^(K - t): an FS neuron sends ReLU(x) exactly for x below 2^K."""
    bits, values = 5, np.array([31, -7, 1, 22])
    entries = [[1, 0, 0, 0, 1, t, 1, 1 << bits - 1 - t, 1 << bits - 1 - t] for t in range(bits)]
    entries[0] = [1, 1, 0, 1, *entries[0][4:]]
    sender = {
        "bias": values,
        "reset": Reset.SUBTRACT_VALUE,
        "thresholds": [1 << bits - 1 - t for t in range(bits)],
        "schedule": [*entries, REST],
    }
    image, stimulus = _two_cores(sender, bits, WEIGHTS)
    relu = np.maximum(values, 0)
    rest = np.minimum(values, 0)  # what is below zero stays in the neuron
    return CodeProgram(
        image=image, stimulus=stimulus, potentials=[*rest.tolist(), *(relu @ np.array(WEIGHTS)).tolist()]
    )


def first_spike() -> CodeProgram:
    """A slope of charge, a spike at t = ceil((theta + sum w t_j) / sum w), and none after it (2.27)."""
    steps, theta, arrivals, strength = 40, 60, [2, 5], [3, 1]
    inputs = [(t, axon, w) for axon, (t, w) in enumerate(zip(arrivals, strength, strict=True))]
    image, stimulus = _alone(
        steps,
        inputs=inputs,
        crossbar=[[1], [1]],
        reset=Reset.ZERO,
        refractory_period=FOREVER,
        current_kept=4096,
        thresholds=[theta],
        schedule=[[4095, 0, 1, 1, 1, 0, 1]],
    )
    # A packet of step t is in the slope from that step on: V(T) = sum w (T - t + 1).
    weighted = sum(w * (t - 1) for t, w in zip(arrivals, strength, strict=True))
    spike = -(-(theta + weighted) // sum(strength))
    return CodeProgram(image=image, stimulus=stimulus, spikes=[[spike, 0, 0, 1]])


def thresholds_in_time() -> CodeProgram:
    """A leaky neuron with a threshold of its own in every step (BNTT, equation 15), soft reset."""
    thetas, bias, share = [9, 20, 14, 30, 11, 8, 40, 12], 10, 2048
    image, stimulus = _alone(
        len(thetas),
        crossbar=[[0]],
        bias=bias,
        potential_decay=4096 - share,
        thresholds=thetas,
        schedule=[[1, 0, 0, 1, 1, t, 1] for t in range(len(thetas))],
    )
    v, spikes = 0, []
    for t, theta in enumerate(thetas):
        v = int(v * share / 4096) + bias
        if v >= theta:
            spikes.append([t, 0, 0, 1])
            v -= theta
    return CodeProgram(image=image, stimulus=stimulus, spikes=spikes, potentials=[v])


def current_based() -> CodeProgram:
    """A current-based leaky neuron as on Loihi, worked by hand: 12-bit decays, rounding towards zero.

    A weight of 64 comes in step 0. U = 64 48 36 27 20 15 11 8 (3/4 of it is kept, rounded down). V keeps
    7/8: 64, 56 + 48 = 104, 91 + 36 = 127, 111 + 27 = 138: it crosses 135 and is reset to 0; then 20,
    17 + 15 = 32, 28 + 11 = 39, 34 + 8 = 42.
    """
    image, stimulus = _alone(
        8,
        inputs=[(0, 0, 1)],
        crossbar=[[1]],
        strengths=[64],
        reset=Reset.ZERO,
        current_kept=3072,
        potential_decay=512,
        thresholds=[135],
        schedule=[[4095, 0, 1, 1, 1, 0, 1]],
    )
    return CodeProgram(image=image, stimulus=stimulus, spikes=[[3, 0, 0, 1]], potentials=[42])


def pooled() -> CodeProgram:
    """Several values that meet on an axon: the merge is their maximum."""
    inputs = [(0, 0, 3), (0, 0, 7), (0, 0, 5), (1, 0, 2)]
    image, stimulus = _alone(
        2,
        inputs=inputs,
        crossbar=[[1]],
        pooled=[True],
        thresholds=[ONE.core.never],
        schedule=[[4095, 0, 1, 1, 0, 0, 0]],
    )
    return CodeProgram(image=image, stimulus=stimulus, spikes=[], potentials=[7 + 2])


PROGRAMS: dict[str, Callable[[], CodeProgram]] = {
    "rate, reset by subtraction": rate_by_subtraction,
    "rate, reset to zero": rate_by_zero,
    "refractory": refractory,
    "scatter and gather": scatter_and_gather,
    "graded": graded_by_ladder,
    "temporal pattern": pattern_code,
    "few spikes": fs_neuron,
    "time to first spike": first_spike,
    "thresholds in time": thresholds_in_time,
    "current-based leaky": current_based,
    "max-pooling": pooled,
}
"""Spike code -> its program."""
