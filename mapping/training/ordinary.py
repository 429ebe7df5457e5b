# SPDX-License-Identifier: Apache-2.0
"""Train an ordinary network for handwritten digits, one that knows nothing of spikes, and write it as ONNX.

Two convolutions and a dense layer, float weights, biases, a batch normalisation and Relu. PyTorch is imported
only by the functions that need it. Everything random comes from one seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from mapping.training.graph import Array, GraphWriter
from mapping.training.model import predict
from mapping.training.quantisation import (
    Progress,
    TrainingResult,
    accuracy,
    check_arguments,
    cosine,
    deterministic,
    import_torch,
    write_model,
)
from mapping.training.recipe import TEST_START, VALIDATION_START, augment, digits_part

__all__ = ["EPOCHS", "build_ordinary", "train_ordinary"]

EPOCHS = 80
CHANNELS = (6, 12)
"""Channels of the two convolutions."""
BATCH, LEARNING_RATE = 64, 0.01

_NAMES = {
    "0": "conv1",
    "1": "norm1",
    "4": "conv2",
    "7": "dense",
}
_PARTS = {"weight": "weight", "bias": "bias", "running_mean": "mean", "running_var": "variance"}
"""Names of layers and of their parameters in the file, by those of the module."""


def build_ordinary(parameters: Mapping[str, Array], *, notes: Mapping[str, str]) -> onnx.ModelProto:
    """Return the checked ONNX model (opset 17) of trained parameters; equal parameters give equal bytes.

    Parameters are float32 arrays by name, "LAYER.weight" and so on. The network was trained on pixels / 16:
    the scale goes into the weights of the first convolution (a power of two, so exact).
    """
    scaled = {**parameters, "conv1.weight": parameters["conv1.weight"] / np.float32(16)}
    graph = GraphWriter(parameters=scaled)
    same: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 1]}
    norm = [f"norm1.{part}" for part in ("weight", "bias", "mean", "variance")]
    graph.store("conv1.weight", *norm, "conv2.weight", "conv2.bias")
    y = graph.add("Conv", "conv1", "input", "conv1.weight", **same)
    y = graph.add("Relu", "relu1", graph.add("BatchNormalization", "norm1", y, *norm, epsilon=1e-5))
    y = graph.add("MaxPool", "pool1", y, kernel_shape=[2, 2], strides=[2, 2])
    y = graph.add("Relu", "relu2", graph.add("Conv", "conv2", y, "conv2.weight", "conv2.bias", **same))
    graph.readout("dense", graph.add("Flatten", "flat", y, axis=1))
    return graph.model("digits-float", size=(8, 8), notes=notes)


def _module(torch: Any) -> Any:
    """Return the network as PyTorch has it, with random parameters."""
    nn, (first, second) = torch.nn, CHANNELS
    return nn.Sequential(
        nn.Conv2d(1, first, 3, padding=1, bias=False),
        nn.BatchNorm2d(first),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * second, 10),
    )


def _fit(x: Array, y: Array, *, epochs: int, seed: int, say: Progress) -> dict[str, Array]:
    """Train on images x (N, 8, 8) with labels y (N,); return the parameters as float32 arrays."""
    torch = import_torch()
    rng, steps = np.random.default_rng(seed), len(x) // BATCH
    with deterministic(torch, seed):
        module = _module(torch)
        optimiser = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE)
        for epoch in range(epochs):
            order = rng.permutation(len(x))[: steps * BATCH]
            pixels = torch.from_numpy(augment(x[order], rng=rng)[:, None] / 16).split(BATCH)
            labels = torch.from_numpy(y[order]).split(BATCH)
            for step in range(steps):
                optimiser.param_groups[0]["lr"] = cosine(
                    epoch + step / steps, peak=LEARNING_RATE, warmup=1, epochs=epochs
                )
                loss = torch.nn.functional.cross_entropy(module(pixels[step]), labels[step])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            if (epoch + 1) % 20 == 0 or epoch + 1 == epochs:
                say(f"epoch {epoch + 1} of {epochs}, loss {loss.item():.4f}")
        named = [(*name.split("."), value) for name, value in module.state_dict().items()]
    return {
        f"{_NAMES[layer]}.{_PARTS[part]}": value.numpy().copy()
        for layer, part, value in named
        if part in _PARTS
    }


def train_ordinary(
    *, seed: int, epochs: int | None = None, progress: Progress | None = None, output: Path
) -> TrainingResult:
    """Train on scikit-learn's digits, write the ONNX model to output and return what it reached.

    Two runs, as of `mapping.training.recipe.train_digits`: one on digits 0..1076 tells the validation
    accuracy on 1077..1436, one on 0..1436 makes the model. Digits 1437..1796 are loaded after the file is
    written. The same seed on the same machine writes the same bytes. ValueError for a seed or epochs out of
    range, ImportError without PyTorch.
    """
    check_arguments(seed, epochs)
    epochs, say = epochs or EPOCHS, progress or (lambda _: None)
    import_torch()
    command = f"spikeloom train digits --float --seed {seed}" + f" --epochs {epochs}" * (epochs != EPOCHS)
    notes = {"task": "digits", "seed": str(seed), "recipe": "1", "command": command}
    x, y = digits_part(0, TEST_START)
    known, held = slice(0, VALIDATION_START), slice(VALIDATION_START, TEST_START)
    trial = _fit(x[known], y[known], epochs=epochs, seed=seed, say=lambda s: say(f"validation run: {s}"))
    validation = accuracy(predict(build_ordinary(trial, notes=notes), x[held]), y[held])
    say(f"validation accuracy {validation:.4f} on digits {VALIDATION_START}..{TEST_START - 1}")
    final = _fit(x, y, epochs=epochs, seed=seed, say=lambda s: say(f"final run: {s}"))
    model = build_ordinary(final, notes=notes)
    digest = write_model(Path(output), model)
    x, y = digits_part(TEST_START, None)
    test = accuracy(predict(model, x), y)
    say(f"test accuracy {test:.4f} on digits {TEST_START}..{TEST_START + len(y) - 1}")
    return TrainingResult(
        path=Path(output), digest=digest, validation_accuracy=validation, test_accuracy=test
    )
