# SPDX-License-Identifier: Apache-2.0
"""What is recorded when a float network reads its input in other ways."""

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from mapping.datasets.load import Dataset, scaled
from mapping.datasets.named import named_rightly
from mapping.datasets.normalisation import room_to_improve
from mapping.datasets.rows import spread_rows
from mapping.model.network import Network

__all__ = ["SAMPLES", "Baseline", "InputTrial", "baseline"]

SAMPLES = 256
"""Samples that are tried, at equal distances: sorted data show all classes so."""

Way = TypeVar("Way")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputTrial(Generic[Way]):
    """The accuracy of the data as they are, all other ways, and the one that is clearly better if one is."""

    samples: int
    accuracy: float
    candidates: tuple[Way, ...]
    better: Way | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What other ways are compared with: some samples, and which of them a float network names rightly.

    ``loaded`` are the samples as they were loaded, ``x`` and ``y`` as the network takes them.
    """

    loaded: Dataset
    x: NDArray[np.float64]
    y: NDArray[np.int64]
    right: NDArray[np.bool_]


def baseline(network: Network, data: Dataset, how: str) -> Baseline | None:
    """Evaluate a float network, in float32, on `SAMPLES` of its data.

    Parameters
    ----------
    network : Network
        The float network.
    data : Dataset
        Samples as they were loaded.
    how : str
        How they are scaled, as `mapping.datasets.load.scaled` chose it.

    Returns
    -------
    Baseline or None
        None without labels, for events, and where so many samples are right that nothing could be clearly
        better.
    """
    sample = data.at(spread_rows(SAMPLES)(len(data.x)))
    given = scaled(sample, how, network)[0]
    if given.y is None or data.events:
        return None
    right = named_rightly(network, given.x, given.y)
    return Baseline(loaded=sample, x=given.x, y=given.y, right=right) if room_to_improve(right) else None
