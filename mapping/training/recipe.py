# SPDX-License-Identifier: Apache-2.0
"""Train the small ternary network for handwritten digits and write it as ONNX.

The first convolution and the last dense layer stay float: they run on the host. PyTorch is imported only by
the functions that need it. Everything random comes from one seed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mapping.training.graph import EPSILON, Array
from mapping.training.model import BOUND, LEVEL, TERNARY, build_model, predict
from mapping.training.quantisation import (
    Progress,
    Tensors,
    TrainingResult,
    accuracy,
    check_arguments,
    cosine,
    deterministic,
    import_torch,
    quantise,
    random_layer,
    ternarise,
    write_model,
)

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "RECIPE",
    "TEST_START",
    "VALIDATION_START",
    "Recipe",
    "augment",
    "digits_part",
    "train_digits",
]

TEST_START = 1437
"""Digits from this index on are never looked at before the model file is written."""
VALIDATION_START = 1077
"""The last 360 digits before the test part: other writers than those of the digits before them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Architecture and hyper-parameters; chosen by cross-validation on digits 0..1436 only.

    Channels and hidden are layer widths, the ranges of the augmentation are half-widths: rotation in degrees,
    scale, gamma and gain relative, shift in pixels, noise as the standard deviation in grey levels (0..16).
    """

    version: int = 1
    host_channels: int = 10
    first_channels: int = 12
    second_channels: int = 16
    hidden: int = 64
    epochs: int = 300
    batch: int = 64
    learning_rate: float = 0.01
    warmup_epochs: int = 2
    smoothing: float = 0.03
    rotation: float = 8.0
    scale: float = 0.1
    shear: float = 0.1
    shift: float = 0.5
    gamma: float = 0.3
    gain: float = 0.15
    noise: float = 0.5


RECIPE = Recipe()
"""The recipe of the shipped model."""


def augment(images: Array, *, rng: np.random.Generator, recipe: Recipe = RECIPE) -> Array:
    """Return float32 (N, 8, 8): each image turned, scaled, sheared, shifted, its strokes changed, noisy.

    Images are (N, 8, 8) with values 0..16; so is the result. The map is bilinear with zeros outside.
    """
    n, size = len(images), images.shape[1]

    def spread(half_width: float) -> Array:
        return rng.uniform(-half_width, half_width, (n, 1, 1))

    turn, shear = np.deg2rad(spread(recipe.rotation)), spread(recipe.shear)
    wide, high = np.exp(spread(recipe.scale)), np.exp(spread(recipe.scale))
    cos, sin = np.cos(turn), np.sin(turn)
    y, x = np.meshgrid(*(np.arange(size) - (size - 1) / 2,) * 2, indexing="ij")
    centre = (size - 1) / 2 + 1
    column = cos * wide * x + (shear * cos - sin) * high * y + spread(recipe.shift) + centre
    row = sin * wide * x + (shear * sin + cos) * high * y + spread(recipe.shift) + centre
    moved = _bilinear(np.pad(images, ((0, 0), (1, 1), (1, 1))), row, column)
    stroke = np.clip(moved / 16, 0, 1) ** np.exp(spread(recipe.gamma))
    noisy = 16 * stroke * (1 + spread(recipe.gain)) + rng.normal(0, recipe.noise, moved.shape)
    result: Array = np.clip(noisy, 0, 16).astype(np.float32)
    return result


def _bilinear(padded: Array, row: Array, column: Array) -> Array:
    """Sample (N, H, W) images with a zero border at fractional positions (N, h, w)."""
    row = np.clip(row, 0, padded.shape[1] - 1.001)
    column = np.clip(column, 0, padded.shape[2] - 1.001)
    top, left = row.astype(np.int64), column.astype(np.int64)
    down, right = row - top, column - left
    image = np.arange(len(padded))[:, None, None]
    upper = padded[image, top, left] * (1 - right) + padded[image, top, left + 1] * right
    lower = padded[image, top + 1, left] * (1 - right) + padded[image, top + 1, left + 1] * right
    result: Array = upper * (1 - down) + lower * down
    return result


def _forward(torch: Any, p: Tensors, x: Tensor, *, training: bool) -> Tensor:
    """Logits (N, 10) of pixels (N, 1, 8, 8) in 0..16; training updates the running statistics in p."""
    f: Any = torch.nn.functional

    def activate(s: Tensor, layer: str) -> Tensor:
        mean, variance = p[f"{layer}.mean"], p[f"{layer}.variance"]
        gamma, beta = p[f"{layer}.gamma"], p[f"{layer}.beta"]
        normal: Tensor = f.batch_norm(s, mean, variance, gamma, beta, training, 0.1, EPSILON)
        return quantise(normal, level=LEVEL, bound=BOUND)

    y = activate(f.conv2d(x / 16, p["host.weight"], padding=1), "host")
    y = activate(f.conv2d(y, ternarise(p["conv1.weight"]), padding=1), "conv1")
    y = f.max_pool2d(y, 2)
    y = activate(f.conv2d(y, ternarise(p["conv2.weight"]), padding=1), "conv2")
    y = activate(f.linear(y.flatten(1), ternarise(p["dense.weight"])), "dense")
    logits: Tensor = f.linear(y, p["out.weight"], p["out.bias"])
    return logits


def _initial(torch: Any, recipe: Recipe) -> Tensors:
    """Random parameters of every layer."""
    first, second = recipe.first_channels, recipe.second_channels
    shapes: dict[str, tuple[int, ...]] = {
        "host": (recipe.host_channels, 1, 3, 3),
        "conv1": (first, recipe.host_channels, 3, 3),
        "conv2": (second, first, 3, 3),
        "dense": (recipe.hidden, 16 * second),
        "out": (10, recipe.hidden),
    }
    p: Tensors = {}
    for layer, shape in shapes.items():
        parts = random_layer(torch, shape, norm=layer != "out")
        p.update({f"{layer}.{part}": value for part, value in parts.items()})
    p["out.bias"] = torch.zeros(10)
    return p


def _fit(x: Array, y: Array, *, recipe: Recipe, seed: int, say: Progress) -> dict[str, Array]:
    """Train on images x (N, 8, 8) with labels y (N,); return the parameters as float32 arrays."""
    torch = import_torch()
    rng = np.random.default_rng(seed)
    with deterministic(torch, seed):
        p = _initial(torch, recipe)
        trained = [v.requires_grad_() for k, v in p.items() if not k.endswith((".mean", ".variance"))]
        optimiser = torch.optim.Adam(trained, lr=recipe.learning_rate)
        steps = len(x) // recipe.batch
        for epoch in range(recipe.epochs):
            order = rng.permutation(len(x))[: steps * recipe.batch]
            pixels = torch.from_numpy(augment(x[order], rng=rng, recipe=recipe)[:, None])
            labels = torch.from_numpy(y[order].astype(np.int64))
            for step in range(steps):
                part = slice(step * recipe.batch, (step + 1) * recipe.batch)
                optimiser.param_groups[0]["lr"] = cosine(
                    epoch + step / steps,
                    peak=recipe.learning_rate,
                    warmup=recipe.warmup_epochs,
                    epochs=recipe.epochs,
                )
                loss = torch.nn.functional.cross_entropy(
                    _forward(torch, p, pixels[part], training=True),
                    labels[part],
                    label_smoothing=recipe.smoothing,
                )
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            if (epoch + 1) % 20 == 0 or epoch + 1 == recipe.epochs:
                say(f"epoch {epoch + 1} of {recipe.epochs}, loss {loss.item():.4f}")
        for layer in TERNARY:
            p[f"{layer}.weight"] = ternarise(p[f"{layer}.weight"])
    return {k: v.detach().numpy().copy() for k, v in p.items()}


def train_digits(
    *, seed: int, epochs: int | None = None, progress: Progress | None = None, output: Path
) -> TrainingResult:
    """Train on scikit-learn's digits, write the ONNX model to output and return what it reached.

    Two runs: one on digits 0..1076 tells the validation accuracy on 1077..1436, one on 0..1436 makes the
    model. Both run for the recipe's number of epochs (or the given one) and keep the last weights, so nothing
    is chosen by looking at a result; digits 1437..1796 are loaded after the file is written. The same seed on
    the same machine writes the same bytes. ValueError for a seed or epochs out of range, ImportError without
    PyTorch.
    """
    check_arguments(seed, epochs)
    recipe = RECIPE if epochs is None else replace(RECIPE, epochs=epochs)
    say = progress or (lambda _: None)
    import_torch()
    x, y = digits_part(0, TEST_START)
    known = slice(0, VALIDATION_START)
    trial = _fit(x[known], y[known], recipe=recipe, seed=seed, say=lambda s: say(f"validation run: {s}"))
    trial_model = build_model(trial, notes=_notes(seed, recipe))
    held = slice(VALIDATION_START, TEST_START)
    validation = accuracy(predict(trial_model, x[held]), y[held])
    say(f"validation accuracy {validation:.4f} on digits {VALIDATION_START}..{TEST_START - 1}")
    final = _fit(x, y, recipe=recipe, seed=seed, say=lambda s: say(f"final run: {s}"))
    model = build_model(final, notes=_notes(seed, recipe))
    digest = write_model(Path(output), model)
    x, y = digits_part(TEST_START, None)
    test = accuracy(predict(model, x), y)
    say(f"test accuracy {test:.4f} on digits {TEST_START}..{TEST_START + len(y) - 1}")
    return TrainingResult(
        path=Path(output),
        digest=digest,
        validation_accuracy=validation,
        test_accuracy=test,
    )


def digits_part(start: int, stop: int | None) -> tuple[Array, Array]:
    """Return some of scikit-learn's digits: images float32 (N, 8, 8) of values 0..16, labels int64 (N,)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images[start:stop].astype(np.float32), bunch.target[start:stop].astype(np.int64)


def _notes(seed: int, recipe: Recipe) -> dict[str, str]:
    """The metadata of a model file."""
    command = f"spikeloom train digits --seed {seed}"
    if recipe.epochs != RECIPE.epochs:
        command += f" --epochs {recipe.epochs}"
    return {"task": "digits", "seed": str(seed), "recipe": str(recipe.version), "command": command}
