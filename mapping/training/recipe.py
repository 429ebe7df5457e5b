# SPDX-License-Identifier: Apache-2.0
"""Train the small ternary network for handwritten digits and write it as ONNX.

The network is quantised while it is trained: ternary weights {-a, 0, a} (Li and Liu, "Ternary weight
networks", 2016), activations on the grid 0, 2**-k, ..., B (the "median quantisation" of Zou et al., Frontiers
in Neuroscience, 2021, eq. 6), gradients passed straight through both. The first convolution and the last
dense layer stay float: they run on the host.

PyTorch is imported only by the functions that need it. Everything random comes from one
seed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mapping.training.model import BOUND, EPSILON, LEVEL, TERNARY, Array, build_model, predict

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "RECIPE",
    "TEST_START",
    "Recipe",
    "TrainingResult",
    "augment",
    "quantise",
    "ternarise",
    "train_digits",
]

Tensors = dict[str, "Tensor"]
Progress = Callable[[str], None]

TEST_START = 1437
"""Digits from this index on are never looked at before the model file is written."""
VALIDATION_START = 1077
"""The last 360 digits before the test part: other writers than those of the digits before them."""
THRESHOLD = 0.7
"""Weights below this share of the mean magnitude become zero (Li and Liu, 2016, eq. 6)."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """What a training run produced.

    `validation_accuracy` belongs to the same recipe and seed trained on digits 0..1076 and tried on
    1077..1436; `test_accuracy` to the written file, trained on 0..1436, evaluated in float64 on 1437..1796.
    """

    path: Path
    digest: str
    validation_accuracy: float
    test_accuracy: float


def quantise(x: Tensor) -> Tensor:
    """Return clip(floor(x 2**k + 1/2) / 2**k, 0, B) (Zou et al., 2021, eq. 6), same shape and dtype.

    Half rounds up, as spiking thresholds do. The gradient is that of clip(x, 0, B): straight through.
    """
    steps = (x * 2**LEVEL + 0.5).floor().clamp(0, BOUND * 2**LEVEL)
    return _straight_through(x.clamp(0, BOUND), steps / 2**LEVEL)


def ternarise(weight: Tensor) -> Tensor:
    """Return weight with every value replaced by -a, 0 or a (Li and Liu, 2016, eqs. 5 and 6).

    Zero where |w| <= 0.7 mean|w|; a is the mean magnitude of the others. Same shape and dtype; the gradient
    passes unchanged: straight through.
    """
    magnitude = weight.abs()
    kept = magnitude > THRESHOLD * magnitude.mean()
    a = (magnitude * kept).sum() / kept.sum().clamp(min=1)
    return _straight_through(weight, weight.sign() * kept * a)


def _straight_through(smooth: Tensor, hard: Tensor) -> Tensor:
    """The value of hard, to the last bit, with the gradient of smooth."""
    result: Tensor = hard.detach() + (smooth - smooth.detach())
    return result


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


def _import_torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "training needs PyTorch, which is not installed: run pip install 'spikeloom[train]'"
        ) from error
    return torch


@contextmanager
def _deterministic(torch: Any, seed: int) -> Iterator[None]:
    """One thread, deterministic algorithms and a seeded generator, all put back afterwards."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(strict)


def _forward(torch: Any, p: Tensors, x: Tensor, *, training: bool) -> Tensor:
    """Logits (N, 10) of pixels (N, 1, 8, 8) in 0..16; training updates the running statistics in p."""
    f: Any = torch.nn.functional

    def activate(s: Tensor, layer: str) -> Tensor:
        mean, variance = p[f"{layer}.mean"], p[f"{layer}.variance"]
        gamma, beta = p[f"{layer}.gamma"], p[f"{layer}.beta"]
        normal: Tensor = f.batch_norm(s, mean, variance, gamma, beta, training, 0.1, EPSILON)
        return quantise(normal)

    y = activate(f.conv2d(x / 16, p["host.weight"], padding=1), "host")
    y = activate(f.conv2d(y, ternarise(p["conv1.weight"]), padding=1), "conv1")
    y = f.max_pool2d(y, 2)
    y = activate(f.conv2d(y, ternarise(p["conv2.weight"]), padding=1), "conv2")
    y = activate(f.linear(y.flatten(1), ternarise(p["dense.weight"])), "dense")
    logits: Tensor = f.linear(y, p["out.weight"], p["out.bias"])
    return logits


def _initial(torch: Any, recipe: Recipe) -> Tensors:
    """Random parameters. Half the gammas start negative, which mirrors a channel and costs nothing."""
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
        p[f"{layer}.weight"] = torch.randn(shape) * float(np.sqrt(2 / np.prod(shape[1:])))
        if layer != "out":
            p[f"{layer}.gamma"] = torch.where(torch.rand(shape[0]) < 0.5, -1.0, 1.0)
            p[f"{layer}.beta"] = torch.full((shape[0],), 0.5)
            p[f"{layer}.mean"], p[f"{layer}.variance"] = torch.zeros(shape[0]), torch.ones(shape[0])
    p["out.bias"] = torch.zeros(10)
    return p


def _fit(x: Array, y: Array, *, recipe: Recipe, seed: int, say: Progress) -> dict[str, Array]:
    """Train on images x (N, 8, 8) with labels y (N,); return the parameters as float32 arrays."""
    torch = _import_torch()
    rng = np.random.default_rng(seed)
    with _deterministic(torch, seed):
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
                optimiser.param_groups[0]["lr"] = _learning_rate(recipe, epoch + step / steps)
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


def _learning_rate(recipe: Recipe, time: float) -> float:
    """Linear warm-up, then half a cosine to zero; time in epochs."""
    if time < recipe.warmup_epochs:
        return recipe.learning_rate * time / recipe.warmup_epochs
    return float(recipe.learning_rate * (1 + np.cos(np.pi * time / recipe.epochs)) / 2)


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
    if seed < 0:
        raise ValueError(f"the training seed is {seed}: give an integer of 0 or more")
    if epochs is not None and epochs < 1:
        raise ValueError(f"the number of training epochs is {epochs}: give an integer of 1 or more")
    recipe = RECIPE if epochs is None else replace(RECIPE, epochs=epochs)
    say = progress or (lambda _: None)
    _import_torch()
    x, y = _digits(0, TEST_START)
    known = slice(0, VALIDATION_START)
    trial = _fit(x[known], y[known], recipe=recipe, seed=seed, say=lambda s: say(f"validation run: {s}"))
    trial_model = build_model(trial, notes=_notes(seed, recipe))
    held = slice(VALIDATION_START, TEST_START)
    validation = float(np.mean(predict(trial_model, x[held]) == y[held]))
    say(f"validation accuracy {validation:.4f} on digits {VALIDATION_START}..{TEST_START - 1}")
    final = _fit(x, y, recipe=recipe, seed=seed, say=lambda s: say(f"final run: {s}"))
    model = build_model(final, notes=_notes(seed, recipe))
    data = model.SerializeToString(deterministic=True)
    _write(Path(output), data)
    x, y = _digits(TEST_START, None)
    test = float(np.mean(predict(model, x) == y))
    say(f"test accuracy {test:.4f} on digits {TEST_START}..{TEST_START + len(y) - 1}")
    return TrainingResult(
        path=Path(output),
        digest=hashlib.sha256(data).hexdigest(),
        validation_accuracy=validation,
        test_accuracy=test,
    )


def _digits(start: int, stop: int | None) -> tuple[Array, Array]:
    """Images float32 (N, 8, 8) of values 0..16 and labels int64 (N,) of a range of scikit-learn's digits."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images[start:stop].astype(np.float32), bunch.target[start:stop].astype(np.int64)


def _notes(seed: int, recipe: Recipe) -> dict[str, str]:
    """The metadata of a model file."""
    command = f"spikeloom train digits --seed {seed}"
    if recipe.epochs != RECIPE.epochs:
        command += f" --epochs {recipe.epochs}"
    return {"task": "digits", "seed": str(seed), "recipe": str(recipe.version), "command": command}


def _write(path: Path, data: bytes) -> None:
    """Write a file under a temporary name in its folder and rename it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
