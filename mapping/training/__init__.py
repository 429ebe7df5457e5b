# SPDX-License-Identifier: Apache-2.0
"""Quantisation-aware training of the shipped networks.

`recipe` trains (PyTorch, imported only when it runs), `model` writes the result as ONNX and evaluates it.
"""

from mapping.training.model import BOUND, LEVEL, TERNARY, build_model, evaluate, predict
from mapping.training.recipe import (
    RECIPE,
    TEST_START,
    Recipe,
    TrainingResult,
    augment,
    quantise,
    ternarise,
    train_digits,
)

__all__ = [
    "BOUND",
    "LEVEL",
    "RECIPE",
    "TERNARY",
    "TEST_START",
    "Recipe",
    "TrainingResult",
    "augment",
    "build_model",
    "evaluate",
    "predict",
    "quantise",
    "ternarise",
    "train_digits",
]
