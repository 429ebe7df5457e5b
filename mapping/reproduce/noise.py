# SPDX-License-Identifier: Apache-2.0
"""Noise on the encoding neurons (Zou et al. 2021, section 4.2): some of them never fire."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mapping.datasets.load import Dataset, batches, correct
from mapping.report.activity import OBSERVED
from mapping.spiking.network import INPUT, SpikingNetwork
from mapping.spiking.simulate import decode, encode, simulate
from mapping.threads import one_thread

__all__ = ["NOISE", "accuracies_with_noise", "alive_neurons", "heard"]

NOISE = (0.1, 0.2)
"""Shares of the encoding neurons that the article shuts down."""


def alive_neurons(shape: tuple[int, ...], levels: int, share: float, seed: int) -> NDArray[np.bool_]:
    """Return which encoding neurons may fire, bool (levels, shape).

    Of all neurons of all groups, the share rounded to a whole number is shut down, without replacement.

    Parameters
    ----------
    shape : tuple of int
        Activations that enter the chip.
    levels : int
        Neurons of a group, one a spike.
    share : float
        Share to shut down, 0..1.
    seed : int
        Decides which.
    """
    alive = np.ones(levels * int(np.prod(shape)), np.bool_)
    broken = np.random.default_rng(seed).permutation(alive.size)[: round(share * alive.size)]
    alive[broken] = False
    return alive.reshape(levels, *shape)


def heard(counts: NDArray[np.integer], alive: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return the counts (N, shape) of which the chip hears: neuron i of a group fires from count i on."""
    firing = (counts > level for level in range(len(alive)))
    parts = (fires & here for fires, here in zip(firing, alive, strict=True))
    return sum((part.astype(np.int32) for part in parts), np.zeros(counts.shape, np.int32))


def accuracies_with_noise(
    spiking: SpikingNetwork, data: Dataset, shares: Sequence[float], seed: int
) -> dict[float, float]:
    """Return the share of correct answers by the share of encoding neurons that are shut down.

    The same neurons are broken for all samples. Without labels nothing is returned.
    """
    shape, levels = spiking.shape(INPUT), spiking.input_levels
    alive = {share: alive_neurons(shape, levels, share, seed) for share in shares}
    right = dict.fromkeys(shares, 0)
    for part in batches(data, OBSERVED):
        with one_thread():
            counts = encode(spiking, part.x)
            for share, neurons in alive.items():
                logits = decode(spiking, simulate(spiking, heard(counts, neurons)), part.x)
                found = correct(logits, part.y)
                if found is None:
                    return {}
                right[share] += found
    return {share: number / len(data.x) for share, number in right.items()}
