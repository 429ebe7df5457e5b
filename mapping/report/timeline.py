# SPDX-License-Identifier: Apache-2.0
"""When one input alone is where: fed by the host, then step by step through the layers."""

from typing import Any

import numpy as np

from mapping.chip import Chip
from mapping.datasets.load import Dataset

__all__ = ["LATENCY_SAMPLES", "timeline_of"]

LATENCY_SAMPLES = 32
"""Samples that are run alone, each from the first flit in to the pause token out, for the latency."""


def timeline_of(chip: Chip, data: Dataset, clock_hz: float) -> list[dict[str, Any]]:
    """Return the stretches of one input alone, one after the other, as plain data; they end at the latency.

    In the first one the host feeds the packets of the input, one a cycle. Each of the others is a timestep:
    it ends when the token of the next one, or the pause token, leaves the mesh. Means of the first
    `LATENCY_SAMPLES` samples.

    Parameters
    ----------
    data : Dataset
        Samples in the shape and scale of the network.
    clock_hz : float
        Clock of the target in Hz.
    """
    ends = []
    for sample in data.x[:LATENCY_SAMPLES]:
        stimulus = chip.stimulus(sample[None])
        gateway = chip.machine.run(stimulus, cycles=True).gateway
        if gateway is not None:
            feeding = len(stimulus.step)
            ends.append([feeding, *(feeding + gateway[1:]).tolist()])
    seconds = [float(cycles) / clock_hz for cycles in np.mean(ends, axis=0)]
    layers = chip.image.meta["layers"]
    return [
        {
            "step": None if step < 0 else step,
            "layers": [layer["name"] for layer in layers if layer["depth"] == step],
            "begin_s": begin,
            "end_s": end,
        }
        for step, begin, end in zip(range(-1, chip.period), [0.0, *seconds], seconds, strict=False)
    ]
