# SPDX-License-Identifier: Apache-2.0
"""Which samples a network names rightly, and how probable it finds their labels."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.datasets.cross_entropy import cross_entropies
from mapping.errors import UnsupportedModelError
from mapping.model.evaluate import infer, run_single
from mapping.model.network import Network

__all__ = ["Named", "largest", "named", "named_rightly", "nothing"]

Reals = NDArray[np.float64]
Labels = NDArray[np.int64]


def largest(logits: Reals) -> Labels:
    """Return the index of the largest output of every sample, the lowest on ties."""
    return np.asarray(np.argmax(logits.reshape(len(logits), -1), axis=1), np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Named:
    """What a network says of labelled samples.

    Parameters
    ----------
    right : bool (samples,)
        Of which samples the largest output is the label.
    entropy : callable
        The mean cross-entropy of the labels, see `mapping.datasets.cross_entropy`.
    """

    right: NDArray[np.bool_]
    entropy: Callable[[], float]


def named(network: Network, x: Reals, y: Labels, *, double: bool = False) -> Named:
    """Return what a network says of samples, of which none is right if it has no value for one.

    Parameters
    ----------
    network : Network
        The float network.
    x : float64 (samples, ...)
        Samples as it takes them.
    y : int64 (samples,)
        Their labels.
    double : bool
        Evaluate it in float64, else in float32.
    """
    try:
        found = infer(network, x) if double else run_single(network, x, [network.output])[network.output]
    except UnsupportedModelError:  # as of an embedding that has no row of this number
        return nothing(len(y))
    outputs = np.asarray(found, np.float64)
    return Named(right=largest(outputs) == y, entropy=lambda: _entropy(outputs, y))


def _entropy(outputs: Reals, y: Labels) -> float:
    """Return the mean cross-entropy of labels; outputs beyond all floats make none of them probable."""
    return float(cross_entropies(outputs, y).mean()) if np.isfinite(outputs).all() else math.inf


def nothing(samples: int) -> Named:
    """Return what a network says that names no sample rightly."""
    return Named(right=np.zeros(samples, np.bool_), entropy=lambda: math.inf)


def named_rightly(network: Network, x: Reals, y: Labels) -> NDArray[np.bool_]:
    """Return of which samples the largest output, in float32, is the label, bool (samples,)."""
    return named(network, x, y).right
