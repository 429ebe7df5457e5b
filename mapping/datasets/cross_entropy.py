# SPDX-License-Identifier: Apache-2.0
"""How probable a network finds the labels of samples, whatever the unit of its outputs.

A factor of all outputs changes no answer. So outputs are divided by one number, which makes the labels the
most probable, before their cross-entropies are compared: what is left is what the network knows.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["clearly_less", "cross_entropies"]

Reals = NDArray[np.float64]

_COARSE, _FINE = 25, 20
_GOLDEN = 0.381966011250105
_DEVIATIONS = 4.0
_SHARE = 0.15


def cross_entropies(outputs: Reals, y: NDArray[np.int64]) -> Reals:
    """Return the cross-entropy of every sample, in nats, at the best unit of the outputs.

    Parameters
    ----------
    outputs : float64 (samples, ...)
        Outputs of a network, one for each class.
    y : int64 (samples,)
        Labels.

    >>> outputs = np.array([[2.0, 0.0], [0.0, 2.0], [2.0, 0.0], [2.0, 0.0]])
    >>> cross_entropies(outputs, np.array([0, 1, 0, 1])).round(3).tolist()  # the odds are 3 : 1
    [0.288, 0.288, 0.288, 1.386]
    """
    flat = outputs.reshape(len(outputs), -1)
    flat = flat - flat.max(axis=1, keepdims=True)

    def at(unit: float) -> Reals:
        scaled = flat * unit
        return np.asarray(np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(y)), y])

    units = np.geomspace(0.02, 100.0, _COARSE) / max(float(flat.std()), 1e-30)
    best = int(np.argmin([at(unit).mean() for unit in units]))
    low, high = units[max(0, best - 1)], units[min(_COARSE - 1, best + 1)]
    for _ in range(_FINE):
        first, second = (low * (high / low) ** part for part in (_GOLDEN, 1 - _GOLDEN))
        if at(first).mean() < at(second).mean():
            high = second
        else:
            low = first
    return at(float(np.sqrt(low * high)))


def clearly_less(before: Reals, after: Reals) -> bool:
    """Tell whether cross-entropies of the same samples are less by more than chance explains.

    Their mean must fall by 15 %, and by four deviations of the mean of the differences: a network that knows
    its training by heart gains up to 11 % by another scale of a layer.
    """
    gain = before - after
    noise = float(gain.std()) / len(gain) ** 0.5
    return bool(gain.mean() >= max(_SHARE * before.mean(), _DEVIATIONS * noise) and gain.mean() > 0)
