# SPDX-License-Identifier: Apache-2.0
"""Whether data are normalised as a network was trained: try the common ways and compare."""

from dataclasses import dataclass

from mapping.datasets.load import Dataset, scaled
from mapping.datasets.named import named_rightly
from mapping.datasets.normalisation import candidates, clearly_better, most_right
from mapping.diagnosis.input_trial import InputTrial, baseline
from mapping.model.network import Network

__all__ = ["InputNormalisation", "TriedNormalisation", "check_normalisation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedNormalisation:
    """A normalisation: its name, the value of ``--input`` that gives it, and the float network's accuracy."""

    name: str
    input: str
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InputNormalisation(InputTrial[TriedNormalisation]):
    """Other normalisations of the input."""


def check_normalisation(
    network: Network, data: Dataset, how: str, known: str | None = None
) -> InputNormalisation | None:
    """Evaluate a float network on some samples, normalised in other ways.

    Parameters
    ----------
    network : Network
        The float network; it is evaluated in float32.
    data : Dataset
        Samples as they were loaded.
    how : str
        How they are scaled, as `mapping.datasets.load.scaled` chose it.
    known : str, optional
        A scale that is proposed already: only what is clearly better than that as well is proposed.

    Returns
    -------
    InputNormalisation or None
        None without labels or classes, for events, and where so many samples are right that nothing could
        be clearly better.
    """
    given = baseline(network, data, how)
    if given is None:
        return None
    own, sample = given.right, given.loaded
    shape = network.shapes[network.input]
    tried = [
        (candidate, named_rightly(network, scaled(sample, candidate.how, network)[0].x, given.y))
        for candidate in candidates(sample.shaped(shape).x, shape, pixels=sample.pixels)
    ]
    found = most_right(own, tried, given.y)
    rights = {candidate.how: right for candidate, right in tried}
    if found is not None and known is not None:
        before = named_rightly(network, scaled(sample, known, network)[0].x, given.y)
        found = found if clearly_better(before, rights[found.how]) else None
    told = {
        candidate.how: TriedNormalisation(
            name=candidate.name, input=candidate.how, accuracy=float(right.mean())
        )
        for candidate, right in tried
    }
    return InputNormalisation(
        samples=len(sample.x),
        accuracy=float(own.mean()),
        candidates=tuple(told.values()),
        better=None if found is None else told[found.how],
    )
