# SPDX-License-Identifier: Apache-2.0
"""Turn a candidate into a layer of integer neurons whose thresholds are proven equal to the float chain."""

import numpy as np
from numpy.typing import NDArray

from mapping.codes.candidates import Candidate
from mapping.codes.obstacles import Obstacle
from mapping.codes.thresholds import Chain, fold, order_dependent, prove, slopes
from mapping.model.network import Network
from mapping.model.operations.sums import lowest_bit
from mapping.spiking.network import Source, SpikingLayer
from mapping.spiking.quantisers import Lists

__all__ = ["build_layer", "overflow"]


def overflow(part: Candidate) -> Obstacle | None:
    """Return an obstacle if the parameters behind a candidate leave the range of float64."""
    if _chain(part).finite():
        return None
    return Obstacle(
        reason="its parameters are so large that its output overflows", remedy="scale its parameters down"
    )


def build_layer(part: Candidate, network: Network, source: str) -> SpikingLayer:
    """Return the layer of a candidate that reads ``source``, the input or an earlier layer.

    Raises
    ------
    MappingError
        If the thresholds fail their proof.
    """
    linear, activation, chain = part.linear, part.activation, _chain(part)
    thresholds = fold(chain)
    exhaustive, checked = prove(chain, thresholds)
    conv = linear.op == "Conv"
    read = Source(
        name=source,
        pools=part.source.pools,
        shape=part.source.shape,
        input_shape=network.shapes[linear.inputs[0]],
        weight=_rising(part)[0].astype(np.int16),
        stride=linear.pair("stride") if conv else (1, 1),
        pads=linear.pads() if conv else (0, 0, 0, 0),
        dilation=linear.pair("dilation") if conv else (1, 1),
        groups=int(linear.number("groups")) if conv else 1,
        high=part.source.activation.levels,
    )
    return SpikingLayer(
        name=part.name,
        sources=(read,),
        output_shape=network.shapes[linear.output],
        quantiser=Lists(thresholds=thresholds),
        levels=activation.levels,
        activation=activation.output,
        scale=activation.scale,
        exhaustive=exhaustive,
        sums_checked=checked,
        order_dependent=order_dependent(chain, thresholds, _summation_error(part)),
    )


def _chain(part: Candidate) -> Chain:
    _, low, high = _rising(part)
    return Chain(
        layer=part.name,
        nodes=part.chain,
        unit=_unit(part),
        low=low,
        high=high,
        levels=part.activation.levels,
        scale=part.activation.scale,
    )


def _falling(part: Candidate) -> NDArray[np.bool_]:
    return np.asarray(slopes(part.chain, len(part.ternary)) < 0)


def _unit(part: Candidate) -> NDArray[np.float64]:
    """Return the real value of an integer sum of one, rounded to float64 as `evaluate` rounds it."""
    return np.where(_falling(part), -1.0, 1.0) * part.magnitude * part.source.activation.scale


def _summation_error(part: Candidate) -> NDArray[np.float64]:
    """Return for each row how far float64 summation in any order is from the exact sum, 0 where it is exact.

    n rounded products and n - 1 rounded sums miss it by at most n u / (1 - n u) times the sum of magnitudes,
    u = 2**-53 (Higham 2002, Accuracy and Stability of Numerical Algorithms, Eq. 3.5); the two roundings of
    `_unit` and of its product are less than three more u.
    """
    terms = np.abs(part.ternary).reshape(len(part.ternary), -1).sum(axis=1, dtype=np.int64)
    scale = np.array([part.source.activation.scale])
    largest = (terms * part.source.activation.levels).astype(np.float64)
    digits = [
        np.ldexp(x, -np.maximum(lowest_bit(x[:, None], axis=1), -1000)) for x in (part.magnitude, scale)
    ]
    exact = digits[0] * digits[1] * largest < 2.0**53
    bound = (terms + 4) * 2.0**-52 * largest * np.abs(_unit(part))
    return np.where(exact, 0.0, bound)


def _rising(part: Candidate) -> tuple[NDArray[np.int8], NDArray[np.int64], NDArray[np.int64]]:
    """Return the weights with falling rows negated, and the smallest and largest sum of every row."""
    sign = np.where(_falling(part), -1, 1).astype(np.int8)
    ternary = part.ternary * sign.reshape((-1,) + (1,) * (part.ternary.ndim - 1))
    flat, levels = ternary.reshape(len(ternary), -1), part.source.activation.levels
    low = -(flat < 0).sum(axis=1, dtype=np.int64) * levels
    return ternary, low, (flat > 0).sum(axis=1, dtype=np.int64) * levels
