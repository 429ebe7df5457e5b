# SPDX-License-Identifier: Apache-2.0
"""Whether data have the scale that a network was trained for: try other factors and compare."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from mapping.datasets.events import THREE_SIGMA
from mapping.datasets.normalisation import commonest_share
from mapping.datasets.rows import spread_rows
from mapping.datasets.scale import mean_and_deviation
from mapping.diagnosis.input_trial import SAMPLES
from mapping.model.evaluate import run, run_single
from mapping.spiking.network import SpikingNetwork

__all__ = ["FACTORS", "GAIN", "InputScale", "ScaleCandidate", "Scaling", "check_input_scale", "factor_text"]

FACTORS = (1.0, 1 / 255, 1 / 16, 16.0, 255.0)
"""Factors tried on the data: as they are, bytes and 4-bit pixels to 0..1, and back."""

GAIN = 0.1
"""Difference from which on a better accuracy counts."""

_GAIN_SAMPLES = 5  # and so many samples more
_EQUAL = 0.01  # difference of accuracies that does not choose between two factors
_ALMOST_ALL = 0.99
_CROWDED, _WIDER = 0.85, 3  # many activations at an end, and how many times more would have to be inside
_CHANCE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How data became the input of a network: the value of ``--input``, and whether they are bytes."""

    how: str = "raw"
    pixels: bool = False

    def times(self, factor: float) -> str:
        """Return the value of ``--input`` that gives the same data times a factor.

        >>> Scaling(how="raw", pixels=True).times(1 / 255), Scaling(how="unit", pixels=True).times(255.0)
        ('unit', 'raw')
        >>> Scaling().times(1 / 16), Scaling(how="0.5,2", pixels=True).times(16.0)
        ('0,16', '0.5,0.125')
        """
        if self.how not in {"raw", "unit"}:
            means, deviations = mean_and_deviation(self.how)
            return ",".join(f"{v:.12g}" for v in (*means, *(deviation / factor for deviation in deviations)))
        if self.pixels and self.how == "unit" and factor == 255.0:
            return "raw"
        factor = 255 * factor if self.pixels and self.how == "raw" else factor
        return "unit" if self.pixels and factor == 1.0 else f"0,{1 / factor:.12g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleCandidate:
    """What one factor gives.

    ``accuracy`` is that of the float64 network, None without labels. ``zero_share`` and ``top_share`` are the
    shares of the encoder's activations that are 0 and at the top level, ``constant_share`` that of its
    neurons with the same count on every sample.
    """

    factor: float
    accuracy: float | None
    zero_share: float
    top_share: float
    constant_share: float

    @property
    def ends(self) -> float:
        """Share of the encoder's activations that are at either end of their range."""
        return self.zero_share + self.top_share


@dataclass(frozen=True, slots=True, kw_only=True)
class InputScale:
    """All candidates, the data as they are first.

    ``better`` is the candidate whose factor the data should be multiplied by, if one is clearly better, and
    ``choice`` the value of ``--input`` that does so.
    ``stuck`` tells that almost nothing of the data passes the encoder, and that the accuracy, if it is known,
    does not show that this is right.
    """

    samples: int
    candidates: tuple[ScaleCandidate, ...]
    better: ScaleCandidate | None
    choice: str | None
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
    spiking: SpikingNetwork,
    x: NDArray[np.float64],
    y: NDArray[np.int64] | None,
    scaling: Scaling | None = None,
) -> InputScale:
    """Evaluate the float network on `SAMPLES` samples times each of `FACTORS`, if not ``3sigma``.

    A factor is better if it makes at least 10 % and five more of the samples right. If none does, and 85 % or
    more of the encoder's activations are at an end of their range, one is better that puts three times as
    many inside, and makes no fewer samples right or, without labels, lets half of the neurons change. Without
    labels, and where almost nothing passes the encoder, one with which it does is better: that with the most
    activations inside, the nearest on a tie. Of a code that is not exact only the accuracy
    counts, that of float32.

    Parameters
    ----------
    spiking : SpikingNetwork
        The network; its encoder and its float network are used.
    x : float64 (samples, input shape)
    y : int64 (samples,) or None
    scaling : Scaling, optional
        How ``x`` were made; by default they are the data.
    """
    rows = spread_rows(SAMPLES)(len(x))
    x, y = x[rows], None if y is None else y[rows]
    # frames between 0 and 1 by their own largest count have no other scale
    factors = FACTORS[:1] if scaling is not None and scaling.how == THREE_SIGMA else FACTORS
    with np.errstate(over="ignore"):
        scaled = [(factor, x * factor) for factor in factors]
    candidates = [
        _candidate(spiking, factor, values, y) for factor, values in scaled if np.isfinite(values).all()
    ]
    own = candidates[0]
    better = _more_accurate(candidates, len(x))
    if not spiking.exact:  # its grid was chosen on these data, which fill it at any scale
        choice = None if better is None else (scaling or Scaling()).times(better.factor)
        return InputScale(
            samples=len(x), candidates=tuple(candidates), better=better, choice=choice, stuck=False
        )
    better = better or _wider(candidates)
    stuck = _nothing_passes(own, spiking.input_levels, len(x)) and not _right_anyway(own, y)
    if stuck and y is None:
        better = better or _freest(candidates, spiking.input_levels, len(x))
    choice = None if better is None else (scaling or Scaling()).times(better.factor)
    return InputScale(samples=len(x), candidates=tuple(candidates), better=better, choice=choice, stuck=stuck)


def _candidate(
    spiking: SpikingNetwork, factor: float, x: NDArray[np.float64], y: NDArray[np.int64] | None
) -> ScaleCandidate:
    network, encoder = spiking.network, spiking.encoder_output
    wanted = [encoder, network.output]
    tensors: Mapping[str, NDArray[np.floating]]
    tensors = run(network, {network.input: x}, wanted) if spiking.exact else run_single(network, x, wanted)
    counts = np.rint(tensors[encoder] / spiking.input_scale).reshape(len(x), -1)
    counts = np.clip(counts, spiking.input_low, spiking.input_levels)
    classes = np.argmax(tensors[network.output].reshape(len(x), -1), axis=1)
    return ScaleCandidate(
        factor=factor,
        accuracy=None if y is None else float(np.mean(classes == y)),
        zero_share=float(np.mean(counts == 0)),
        top_share=float(np.mean(counts == spiking.input_levels)),
        constant_share=float(np.mean((counts == counts[0]).all(axis=0))),
    )


def _more_accurate(candidates: list[ScaleCandidate], samples: int) -> ScaleCandidate | None:
    most = max(candidate.accuracy or 0.0 for candidate in candidates)
    gain = most - (candidates[0].accuracy or 0.0)
    near = [candidate for candidate in candidates if (candidate.accuracy or 0.0) >= most - _EQUAL]
    best = min(near, key=lambda candidate: abs(math.log(candidate.factor)))
    return best if gain >= max(GAIN, _GAIN_SAMPLES / samples) else None


def _wider(candidates: list[ScaleCandidate]) -> ScaleCandidate | None:
    own = candidates[0]
    usable = [
        candidate
        for candidate in candidates
        if 1 - candidate.ends >= max(_WIDER * (1 - own.ends), 1 - _CROWDED)
        and (candidate.constant_share < 0.5 if candidate.accuracy is None else _no_worse(candidate, own))
    ]
    return max(usable, key=lambda candidate: 1 - candidate.ends) if own.ends >= _CROWDED and usable else None


def _freest(candidates: list[ScaleCandidate], levels: int, samples: int) -> ScaleCandidate | None:
    alive = [
        candidate
        for candidate in candidates
        if candidate.constant_share < 0.5 and not _nothing_passes(candidate, levels, samples)
    ]
    return max(alive, key=lambda c: (1 - c.ends, -abs(math.log(c.factor))), default=None)


def _no_worse(candidate: ScaleCandidate, own: ScaleCandidate) -> bool:
    return (candidate.accuracy or 0.0) >= (own.accuracy or 0.0)


def _nothing_passes(candidate: ScaleCandidate, levels: int, samples: int) -> bool:
    if max(candidate.zero_share, candidate.top_share) >= _ALMOST_ALL:
        return True
    # every activation of one level is at an end, and every neuron is constant on one sample, by design
    at_ends = levels > 1 and candidate.ends >= _ALMOST_ALL
    return at_ends or (samples > 1 and candidate.constant_share >= _ALMOST_ALL)


def _right_anyway(candidate: ScaleCandidate, y: NDArray[np.int64] | None) -> bool:
    """Tell whether the network does better than always naming the commonest label."""
    if y is None or candidate.accuracy is None:
        return False
    return candidate.accuracy > commonest_share(y) + _CHANCE
