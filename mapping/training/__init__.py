# SPDX-License-Identifier: Apache-2.0
"""Quantisation-aware training of the project's networks.

`recipe` trains the digits, `lenet` MNIST (PyTorch, imported only when they run); `quantisation` is what they
share, `graph` writes layers as ONNX, `model` is the digits' network as ONNX and evaluates it.
"""

from mapping.training.lenet import (
    LENET_RECIPE,
    LENET_TERNARY,
    SPIKES,
    VALIDATION_IMAGES,
    LenetRecipe,
    build_lenet,
    move,
    train_lenet,
)
from mapping.training.model import BOUND, LEVEL, TERNARY, build_model, evaluate, predict
from mapping.training.quantisation import TrainingResult, quantise, ternarise
from mapping.training.recipe import RECIPE, TEST_START, Recipe, augment, train_digits

__all__ = [
    "BOUND",
    "LENET_RECIPE",
    "LENET_TERNARY",
    "LEVEL",
    "RECIPE",
    "SPIKES",
    "TERNARY",
    "TEST_START",
    "VALIDATION_IMAGES",
    "LenetRecipe",
    "Recipe",
    "TrainingResult",
    "augment",
    "build_lenet",
    "build_model",
    "evaluate",
    "move",
    "predict",
    "quantise",
    "ternarise",
    "train_digits",
    "train_lenet",
]
