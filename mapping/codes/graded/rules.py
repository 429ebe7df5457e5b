# SPDX-License-Identifier: Apache-2.0
"""What becomes of every operation: a change of linear forms, or an activation of the chip."""

from __future__ import annotations

from collections.abc import Mapping

from mapping.codes.graded.rules_places import concat, max_pool, move, take
from mapping.codes.graded.rules_sums import conv, dense, reduce
from mapping.codes.graded.rules_values import function, norm, scale, shift
from mapping.codes.graded.walk import Rule

__all__ = ["MONOTONE", "RULES"]

MONOTONE = frozenset(
    {"Celu", "Clip", "Elu", "Erf", "Exp", "PRelu", "Relu", "Selu", "Sigmoid", "Sign", "Softplus"}
    | {"Softsign", "Tanh", "Ceil", "Floor", "Round", "Sqrt", "ThresholdedRelu", "Pow"}
    | {"Gelu", "HardSwish", "Mish", "Quantise", "Swish"}
)
"""Functions of one number that never fall, some of them only where their input or parameters say so."""

RULES: Mapping[str, Rule] = {
    **dict.fromkeys(MONOTONE, function),
    "Add": shift,
    "BatchNormalization": norm,
    "Concat": concat,
    "Conv": conv,
    "Dense": dense,
    "Div": scale,
    "Flatten": move,
    "MaxPool": max_pool,
    "Mul": scale,
    "Permute": take,
    "Reduce": reduce,
    "Reshape": move,
    "Take": take,
}
"""What becomes of an operation, by name; the host has those that have no rule."""
