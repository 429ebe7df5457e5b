# SPDX-License-Identifier: Apache-2.0
"""Training of the project's networks, quantisation-aware but for `ordinary`.

`recipe` and `ordinary` train the digits, `lenet` MNIST (PyTorch, imported only when they run); `quantisation`
is what they share, `graph` writes layers as ONNX, `model` is the digits' network as ONNX and evaluates it.
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
from mapping.training.ordinary import build_ordinary, train_ordinary
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
    "build_ordinary",
    "evaluate",
    "move",
    "predict",
    "quantise",
    "ternarise",
    "train_digits",
    "train_lenet",
    "train_ordinary",
]
