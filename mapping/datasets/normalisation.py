# SPDX-License-Identifier: Apache-2.0
"""How inputs are commonly normalised, as values of ``--input``, and when one is clearly better."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.datasets.named import Named, nothing
from mapping.datasets.scale import channel_axis
from mapping.stages import stage

__all__ = [
    "PUBLISHED",
    "Candidate",
    "best_way",
    "bounds",
    "candidates",
    "clearly_better",
    "commonest_share",
    "most_right",
    "name_of",
    "room_to_improve",
    "with_chance",
]

PUBLISHED = (
    ("MNIST", (0.1307,), (0.3081,)),
    ("Fashion-MNIST", (0.286,), (0.353,)),
    ("-1..1", (0.5,), (0.5,)),
    ("CIFAR-10", (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)),
    ("ImageNet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
)
"""Name, means and deviations of values between 0 and 1, as training scripts everywhere have them."""

OWN = "mean and deviation of these data"

_FEWEST = 5
_FINALISTS = 3
_ABOVE_CHANCE = 0.1
_OWN_DISTANCE = 0.05  # published constants that are nearer to the data than this go before their own
_LARGEST = (1.0, 16.0, 255.0)  # what values from 0 on usually end at

Values = NDArray[np.float64]
Right = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A normalisation: its name, the value of ``--input`` that gives it, and its distance from the data's."""

    name: str
    how: str
    distance: float


def candidates(x: Values, shape: tuple[int, ...], *, pixels: bool) -> list[Candidate]:
    """Return the normalisations that are worth a trial.

    Parameters
    ----------
    x : float64 (samples, ...)
        Samples in the shape of the network, not scaled yet.
    shape : tuple of int
        That of one sample.
    pixels : bool
        Whether they are bytes, which ``MEAN,STD`` first divides by 255. Others are first brought to 0..1 by
        their largest and, if it is below 0, smallest value.
    """
    low, high = (0.0, 255.0) if pixels else bounds(x)
    if high <= low:
        return []
    unit = (x - low) / (high - low)
    found = [Candidate(name="0..255", how="raw" if pixels else _how(low, high, (0,), (1 / 255,)), distance=1)]
    found += [Candidate(name="0..1", how="unit" if pixels else _how(low, high, (0,), (1,)), distance=1)]
    low, high = (0.0, 1.0) if pixels else (low, high)
    for name, means, deviations in (*PUBLISHED, *_own(unit, shape)):
        axis = None if len(means) == 1 else channel_axis(shape, len(means))
        if len(means) > 1 and axis is None:
            continue
        distance = _OWN_DISTANCE if name == OWN else _distance(unit, axis, means, deviations)
        found.append(Candidate(name=name, how=_how(low, high, means, deviations), distance=distance))
    return found


def name_of(how: str) -> str:
    """Return whose normalisation of pixels a value of ``--input`` is.

    >>> name_of("0.1307,0.3081"), name_of("0.2,0.3")
    ('MNIST', 'mean and deviation of these data')
    """
    known = {_how(0.0, 1.0, means, deviations): name for name, means, deviations in PUBLISHED}
    return known.get(how, OWN)


def clearly_better(before: Right, after: Right, deviations: float = 3.0) -> bool:
    """Tell whether more samples are right than chance explains.

    Of g samples that only the second gets right, and l that only the first one does, g - l must be at least 5
    and at least ``deviations`` times sqrt(g + l), the deviation of a fair coin.
    """
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    return gained - lost >= max(_FEWEST, deviations * math.sqrt(gained + lost))


def room_to_improve(before: Right) -> bool:
    """Tell whether anything could be `clearly_better`: enough samples are wrong."""
    return clearly_better(before, np.ones_like(before))


def with_chance(y: NDArray[np.int64]) -> float:
    """Return the accuracy from which on a network knows something: the commonest label's, and 10 points."""
    return commonest_share(y) + _ABOVE_CHANCE


def commonest_share(y: NDArray[np.int64]) -> float:
    """Return the accuracy of always naming the commonest label.

    >>> commonest_share(np.array([2, 0, 2, 1]))
    0.5
    """
    return float(np.unique(y, return_counts=True)[1].max()) / len(y)


def most_right(
    before: Right, tried: Iterable[tuple[Candidate, Right]], y: NDArray[np.int64]
) -> Candidate | None:
    """Return the candidate that is clearly better than what there is, and better than chance, if one is.

    Of those that the most accurate one does not beat by five samples and one deviation, it is that whose
    constants are nearest to the data: a few hundred samples do not tell apart constants that are alike.
    """
    able = [
        (candidate, right)
        for candidate, right in tried
        if clearly_better(before, right) and right.mean() >= with_chance(y)
    ]
    most = max((right for _, right in able), key=np.count_nonzero, default=before)
    near = [candidate for candidate, right in able if not clearly_better(right, most, 1.0)]
    return min(near, key=lambda candidate: candidate.distance, default=None)


@stage("scale")
def best_way(
    normal: Sequence[Candidate],
    y: NDArray[np.int64],
    named: Callable[[str, NDArray[np.int64]], Named],
    rows: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> str:
    """Return how pixels are best scaled: ``raw``, ``unit``, or a normalisation that is clearly better still.

    Parameters
    ----------
    normal : sequence of Candidate
        The normalisations; they are tried where enough samples are named wrongly.
    y : int64 (samples,)
        Labels of all samples.
    named : callable
        Told a way and rows, returns what the network says of these samples.
    rows : tuple of int64 (samples,)
        Samples to begin with, and more for the three best ways on them, raw and unit, as far as these are not
        clearly worse than the best, if there is more than one. Raw and unit are compared on more if neither
        is clearly better.
    """
    few, more = rows
    plain = {how: named(how, few) for how in ("raw", "unit")}
    before, tried = _first(plain), list[Candidate]()
    if room_to_improve(plain[before].right):
        found = {candidate.how: named(candidate.how, few) for candidate in normal}
        both = {**plain, **found}
        ranked = sorted(both, key=lambda how: -int(both[how].right.sum()))
        most = both[ranked[0]].right
        able = [how for how in ranked if not clearly_better(both[how].right, most)]
        left = [how for rank, how in enumerate(able) if rank < _FINALISTS or how in plain]
        if len(left) > 1:
            both, few = {how: named(how, more) for how in left}, more
        plain = {how: both.get(how, nothing(len(few))) for how in plain}
        before = _first(plain) if plain.keys() & left else before
        tried = [candidate for candidate in normal if candidate.how in left]
    elif len(more) > len(few) and not _apart(plain):
        before = _first({how: named(how, more) for how in plain})
    better = most_right(plain[before].right, ((part, both[part.how].right) for part in tried), y[few])
    return better.how if better else before


def _apart(plain: Mapping[str, Named]) -> str | None:
    """Return which of raw and unit names clearly more samples rightly, if one does."""
    raw, unit = plain["raw"].right, plain["unit"].right
    return "raw" if clearly_better(unit, raw) else "unit" if clearly_better(raw, unit) else None


def _first(plain: Mapping[str, Named]) -> str:
    """Return which of raw and unit is better: what names clearly more samples rightly, else the likelier.

    A few answers more, where each way has some right that the other has not, are chance. The cross-entropy
    of the labels is not: a network is less sure of them if it reads numbers of another size than it was
    trained on. Where both are equal it is unit.
    """
    return _apart(plain) or min(("unit", "raw"), key=lambda how: plain[how].entropy())


def bounds(x: Values) -> tuple[float, float]:
    """Return what values lie between by their nature: 0 and 1, 16 or 255, else their own ends.

    >>> bounds(np.array([0.2, 13.0])), bounds(np.array([-1.0, 0.9]))
    ((0.0, 16.0), (-1.0, 0.9))
    """
    low, high = float(x.min()), float(x.max())
    if low < 0:
        return low, high
    return 0.0, next((largest for largest in _LARGEST if high <= largest), high)


def _own(unit: Values, shape: tuple[int, ...]) -> list[tuple[str, tuple[float, ...], tuple[float, ...]]]:
    """Return mean and deviation of values between 0 and 1, of each channel if there are two to four."""
    axis = next((a for a in (channel_axis(shape, c) for c in (2, 3, 4)) if a is not None), None)
    axes = tuple(a for a in range(unit.ndim) if axis is None or a != axis + 1)
    means, deviations = (np.ravel(value) for value in (unit.mean(axis=axes), unit.std(axis=axes)))
    if not (deviations > 0).all():
        return []
    return [(OWN, tuple(map(float, means)), tuple(map(float, deviations)))]


def _distance(unit: Values, axis: int | None, means: Sequence[float], deviations: Sequence[float]) -> float:
    axes = tuple(a for a in range(unit.ndim) if axis is None or a != axis + 1)
    found = np.abs(np.ravel(unit.mean(axis=axes)) - means), np.abs(np.ravel(unit.std(axis=axes)) - deviations)
    return float(max(part.max() for part in found))


def _how(low: float, high: float, means: Sequence[float], deviations: Sequence[float]) -> str:
    """Return the value of ``--input`` that normalises values between two ends, to four digits."""
    wide = high - low
    values = [*(low + mean * wide for mean in means), *(deviation * wide for deviation in deviations)]
    return ",".join(f"{value:.4g}" for value in values)
