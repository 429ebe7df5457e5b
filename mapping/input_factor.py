# SPDX-License-Identifier: Apache-2.0
"""Whether data have the scale that a network was trained for: try other factors and compare."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from mapping.evaluate import run
from mapping.spiking import SpikingNetwork

__all__ = ["CHOICES", "FACTORS", "InputScale", "ScaleCandidate", "check_input_scale", "factor_text"]

FACTORS = (1.0, 1 / 255, 1 / 16, 16.0, 255.0)
"""Factors tried on the data: as they are, bytes and 4-bit pixels to 0..1, and back."""

CHOICES = {1 / 255: "unit", 255.0: "raw"}
"""The value of ``--input`` that amounts to a factor."""

SAMPLES = 256
"""Samples that are tried."""

_GAIN, _GAIN_SAMPLES = 0.1, 5  # a better accuracy counts from these differences on
_ENDS, _INSIDE = 0.99, 0.9  # encoder activations at 0 or at the top: almost all, and few enough to be usable
_CHANCE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleCandidate:
    """What one factor gives.

    ``accuracy`` is that of the float64 network, None without labels. ``zero_share`` and ``top_share`` are the
    shares of the encoder's activations that are 0 and at the top level.
    """

    factor: float
    accuracy: float | None
    zero_share: float
    top_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InputScale:
    """All candidates, the data as they are first.

    ``better`` is the candidate that the data should be multiplied by, if one is clearly better. ``stuck``
    tells that almost all encoder activations are at 0 or at the top, and that the accuracy, if it is known,
    does not show that this is right.
    """

    samples: int
    candidates: tuple[ScaleCandidate, ...]
    better: ScaleCandidate | None
    stuck: bool

    @property
    def own(self) -> ScaleCandidate:
        """The data as they are."""
        return self.candidates[0]


def factor_text(factor: float) -> str:
    """Return a factor as a fraction.

    >>> factor_text(1 / 255), factor_text(16.0)
    ('1/255', '16')
    """
    return str(Fraction(factor).limit_denominator(4096))


def check_input_scale(
    spiking: SpikingNetwork, x: NDArray[np.float64], y: NDArray[np.int64] | None
) -> InputScale:
    """Evaluate the float network on the first `SAMPLES` samples times each of `FACTORS`.

    With labels a factor is better if it is right on at least 10 % and five more of the samples. If none is,
    and almost all of the encoder's activations are at an end, it is better if it keeps most of them inside.

    Parameters
    ----------
    spiking : SpikingNetwork
        The network; its encoder and its float network are used.
    x : float64 (samples, input shape)
    y : int64 (samples,) or None
    """
    x, y = x[:SAMPLES], None if y is None else y[:SAMPLES]
    with np.errstate(over="ignore"):
        scaled = [(factor, x * factor) for factor in FACTORS]
    candidates = [
        _candidate(spiking, factor, values, y) for factor, values in scaled if np.isfinite(values).all()
    ]
    own = candidates[0]
    better = _more_accurate(candidates, len(x))
    stuck = better is None and _at_an_end(own, spiking.input_levels) and not _right_anyway(own, y)
    if stuck:
        freest = min(candidates, key=lambda candidate: candidate.zero_share + candidate.top_share)
        better = freest if freest.zero_share + freest.top_share < _INSIDE else None
    return InputScale(samples=len(x), candidates=tuple(candidates), better=better, stuck=stuck)


def _candidate(
    spiking: SpikingNetwork, factor: float, x: NDArray[np.float64], y: NDArray[np.int64] | None
) -> ScaleCandidate:
    network, encoder = spiking.network, spiking.encoder_output
    tensors = run(network, {network.input: x}, [encoder, network.output])
    counts = np.rint(tensors[encoder] / spiking.input_scale)
    classes = np.argmax(tensors[network.output].reshape(len(x), -1), axis=1)
    return ScaleCandidate(
        factor=factor,
        accuracy=None if y is None else float(np.mean(classes == y)),
        zero_share=float(np.mean(counts == 0)),
        top_share=float(np.mean(counts == spiking.input_levels)),
    )


def _more_accurate(candidates: list[ScaleCandidate], samples: int) -> ScaleCandidate | None:
    best = max(candidates, key=lambda candidate: candidate.accuracy or 0.0)
    gain = (best.accuracy or 0.0) - (candidates[0].accuracy or 0.0)
    return best if gain >= max(_GAIN, _GAIN_SAMPLES / samples) else None


def _at_an_end(candidate: ScaleCandidate, levels: int) -> bool:
    if levels == 1:  # every activation is at an end by design
        return max(candidate.zero_share, candidate.top_share) >= _ENDS
    return candidate.zero_share + candidate.top_share >= _ENDS


def _right_anyway(candidate: ScaleCandidate, y: NDArray[np.int64] | None) -> bool:
    """Tell whether the network does better than always naming the commonest label."""
    if y is None or candidate.accuracy is None:
        return False
    commonest = float(np.unique(y, return_counts=True)[1].max()) / len(y)
    return candidate.accuracy > commonest + _CHANCE
