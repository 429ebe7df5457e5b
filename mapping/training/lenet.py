# SPDX-License-Identifier: Apache-2.0
"""Train the LeNet of Zou et al. (Frontiers in Neuroscience, 2021) on MNIST and write it as ONNX.

28x28-16C5-16C5-2P2-32C5-2P2-256FC-10FC: the first convolution is padded by 2, the others are not; a pooling
is a convolution of 2x2 with stride 2. The first convolution and the last dense layer stay float and run on
the host, the weights of the others are ternary. Activations have one, two or four spikes.

The input is grey levels in 0..1, that is uint8 / 255. PyTorch is imported only by the functions that need it,
and everything random comes from one seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mapping.datasets.idx import load_idx_pair
from mapping.errors import MappingError
from mapping.model.evaluate import infer
from mapping.model.importers.onnx import network_from_onnx
from mapping.training.graph import EPSILON, Array, GraphWriter
from mapping.training.quantisation import (
    Progress,
    Tensors,
    TrainingResult,
    accuracy,
    check_arguments,
    check_output,
    cosine,
    deterministic,
    import_torch,
    quantise,
    random_layer,
    ternarise,
    write_model,
)

if TYPE_CHECKING:
    import onnx
    from torch import Tensor

__all__ = [
    "LENET_RECIPE",
    "LENET_TERNARY",
    "SPIKES",
    "VALIDATION_IMAGES",
    "LenetRecipe",
    "build_lenet",
    "move",
    "train_lenet",
]

SPIKES: Mapping[int, tuple[int, int]] = {1: (0, 1), 2: (0, 2), 4: (1, 2)}
"""k and B of the activation, by its largest number of spikes B * 2**k."""
LENET_TERNARY = ("conv1", "pool1", "conv2", "pool2", "dense")
"""The layers with weights -a, 0, a, in order; before them comes the float layer host, after them out."""
VALIDATION_IMAGES = 5000
"""How many images at the end of the training part are never trained on."""

_SHAPES = {
    "host": (16, 1, 5, 5),
    "conv1": (16, 16, 5, 5),
    "pool1": (16, 16, 2, 2),
    "conv2": (32, 16, 5, 5),
    "pool2": (32, 32, 2, 2),
    "dense": (256, 512),
    "out": (10, 256),
}
_CONVOLUTIONS = {
    "host": (1, 2),
    "conv1": (1, 0),
    "pool1": (2, 0),
    "conv2": (1, 0),
    "pool2": (2, 0),
}  # stride, pad
_SIZE = 28
_CHUNK = 1000  # images evaluated at once


@dataclass(frozen=True, slots=True, kw_only=True)
class LenetRecipe:
    """Hyper-parameters; chosen on the last 5000 training images only.

    The ranges of the augmentation are half-widths: rotation in degrees, scale and shear relative, shift in
    pixels.
    """

    version: int = 1
    epochs: int = 14
    batch: int = 64
    learning_rate: float = 0.005
    warmup_epochs: float = 0.5
    smoothing: float = 0.03
    rotation: float = 10.0
    scale: float = 0.1
    shear: float = 0.1
    shift: float = 2.0


LENET_RECIPE = LenetRecipe()
"""The recipe of the published figures."""


def build_lenet(parameters: Mapping[str, Array], *, spikes: int, notes: Mapping[str, str]) -> onnx.ModelProto:
    """Return the checked ONNX model (opset 17) of trained parameters; equal parameters give equal bytes.

    Parameters are float32 arrays by name, "LAYER.weight" and so on, the weights of `LENET_TERNARY` -a, 0 and
    a already; notes become metadata beside B and k. Input (N, 1, 28, 28) in 0..1, output logits (N, 10).
    """
    level, bound = SPIKES[spikes]
    graph = GraphWriter(parameters=parameters, level=level, bound=bound)
    y = "input"
    for name, (stride, pad) in _CONVOLUTIONS.items():
        kernel = list(_SHAPES[name][2:])
        y = graph.layer("Conv", name, y, kernel_shape=kernel, pads=[pad] * 4, strides=[stride] * 2)
    y = graph.layer("Gemm", "dense", graph.add("Flatten", "flat", y, axis=1), transB=1)
    graph.readout("out", y)
    return graph.model("lenet", size=(_SIZE, _SIZE), notes=notes)


def move(images: Tensor, *, recipe: LenetRecipe = LENET_RECIPE) -> Tensor:
    """Return images (N, 1, 28, 28), each turned, scaled, sheared and shifted by random amounts of the recipe.

    The map is bilinear with zeros outside; the amounts come from PyTorch's generator.
    """
    torch = import_torch()
    f: Any = torch.nn.functional
    n = len(images)

    def spread(half_width: float) -> Any:
        return (2 * torch.rand(n) - 1) * half_width

    turn, shear = spread(float(np.deg2rad(recipe.rotation))), spread(recipe.shear)
    wide, high = spread(recipe.scale).exp(), spread(recipe.scale).exp()
    cos, sin = turn.cos(), turn.sin()
    half = images.shape[-1] / 2  # the grid runs from -1 to 1
    rows = [cos * wide, (shear * cos - sin) * high, spread(recipe.shift) / half]
    rows += [sin * wide, (shear * sin + cos) * high, spread(recipe.shift) / half]
    grid = f.affine_grid(torch.stack(rows, 1).view(n, 2, 3), images.shape, align_corners=False)
    moved: Tensor = f.grid_sample(images, grid, align_corners=False)
    return moved


def _forward(torch: Any, p: Tensors, x: Tensor, *, spikes: int, training: bool) -> Tensor:
    """Logits (N, 10) of pixels (N, 1, 28, 28) in 0..1; training updates the running statistics in p."""
    f: Any = torch.nn.functional
    level, bound = SPIKES[spikes]

    def activate(s: Tensor, layer: str) -> Tensor:
        mean, variance = p[f"{layer}.mean"], p[f"{layer}.variance"]
        gamma, beta = p[f"{layer}.gamma"], p[f"{layer}.beta"]
        normal = f.batch_norm(s, mean, variance, gamma, beta, training, 0.1, EPSILON)
        return quantise(normal, level=level, bound=bound)

    for layer, (stride, pad) in _CONVOLUTIONS.items():
        weight = p[f"{layer}.weight"] if layer == "host" else ternarise(p[f"{layer}.weight"])
        x = activate(f.conv2d(x, weight, stride=stride, padding=pad), layer)
    x = activate(f.linear(x.flatten(1), ternarise(p["dense.weight"])), "dense")
    logits: Tensor = f.linear(x, p["out.weight"], p["out.bias"])
    return logits


def _initial(torch: Any) -> Tensors:
    """Random parameters of every layer."""
    p: Tensors = {}
    for layer, shape in _SHAPES.items():
        parts = random_layer(torch, shape, norm=layer != "out")
        p.update({f"{layer}.{part}": value for part, value in parts.items()})
    p["out.bias"] = torch.zeros(10)
    return p


def _fit(
    x: Array, y: Array, *, spikes: int, recipe: LenetRecipe, seed: int, say: Progress
) -> dict[str, Array]:
    """Train on images x uint8 (N, 28, 28) with labels y (N,); return the parameters as float32 arrays."""
    torch = import_torch()
    pixels, labels = torch.tensor(x)[:, None], torch.tensor(y)
    batch = min(recipe.batch, len(x))
    steps = len(x) // batch
    with deterministic(torch, seed):
        p = _initial(torch)
        trained = [v.requires_grad_() for k, v in p.items() if not k.endswith((".mean", ".variance"))]
        optimiser = torch.optim.Adam(trained, lr=recipe.learning_rate)
        for epoch in range(recipe.epochs):
            order = torch.randperm(len(x))
            for step in range(steps):
                part = order[step * batch : (step + 1) * batch]
                optimiser.param_groups[0]["lr"] = cosine(
                    epoch + step / steps,
                    peak=recipe.learning_rate,
                    warmup=recipe.warmup_epochs,
                    epochs=recipe.epochs,
                )
                images = move(pixels[part].float() / 255, recipe=recipe)
                loss = torch.nn.functional.cross_entropy(
                    _forward(torch, p, images, spikes=spikes, training=True),
                    labels[part],
                    label_smoothing=recipe.smoothing,
                )
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            say(f"epoch {epoch + 1} of {recipe.epochs}, loss {loss.item():.4f}")
        for layer in LENET_TERNARY:
            p[f"{layer}.weight"] = ternarise(p[f"{layer}.weight"])
    return {k: v.detach().numpy().copy() for k, v in p.items()}


def train_lenet(
    *,
    data: Path,
    spikes: int = 4,
    seed: int = 0,
    epochs: int | None = None,
    progress: Progress | None = None,
    output: Path,
) -> TrainingResult:
    """Train on MNIST, write the ONNX model to output and return what it reached.

    One run on training images 0..54999 for the recipe's number of epochs (or the given one) keeps the last
    weights, so nothing is chosen by looking at a result. The validation accuracy is that of the file on
    training images 55000..59999, the test accuracy that on the test part, which is loaded after the file is
    written; both are evaluated in float64. The same seed on the same machine writes the same bytes.

    Parameters
    ----------
    data : Path
        Folder with the four idx files of MNIST, or of another set of the same form.
    spikes : {1, 2, 4}
        Most spikes of an activation: (k, B) = (0, 1), (0, 2) or (1, 2).
    seed, epochs : int
        Seed of everything random; epochs instead of the recipe's.
    progress : callable, optional
        Is given a line of text after every epoch.
    output : Path
        File to write.

    Raises
    ------
    ValueError
        If spikes, seed or epochs are out of range.
    MappingError
        If the data cannot be read or are too few or of another size, or the folder of the output is missing.
    ImportError
        Without PyTorch.
    """
    if spikes not in SPIKES:
        raise ValueError(f"The number of spikes is {spikes}; give 1, 2 or 4.")
    check_arguments(seed, epochs)
    check_output(output)
    recipe = LENET_RECIPE if epochs is None else replace(LENET_RECIPE, epochs=epochs)
    say = progress or (lambda _: None)
    import_torch()
    x, y = _load(data, "train")
    known, held = slice(0, -VALIDATION_IMAGES), slice(-VALIDATION_IMAGES, None)
    parameters = _fit(x[known], y[known], spikes=spikes, recipe=recipe, seed=seed, say=say)
    model = build_lenet(parameters, spikes=spikes, notes=_notes(spikes, seed, recipe))
    validation = accuracy(_classes(model, x[held]), y[held])
    say(f"validation accuracy {validation:.4f} on the last {VALIDATION_IMAGES} training images")
    digest = write_model(Path(output), model)
    x, y = _load(data, "test")
    test = accuracy(_classes(model, x), y)
    say(f"test accuracy {test:.4f} on {len(y)} images")
    return TrainingResult(
        path=Path(output), digest=digest, validation_accuracy=validation, test_accuracy=test
    )


def _load(data: Path, part: Literal["train", "test"]) -> tuple[Array, Array]:
    """Images uint8 (N, 28, 28) and labels int64 (N,)."""
    x, y = load_idx_pair(Path(data), part)
    least = VALIDATION_IMAGES + 1 if part == "train" else 1
    if x.shape[1:] != (_SIZE, _SIZE) or len(x) < least:
        raise MappingError(
            f"The {part} images in {data} must be at least {least} of {_SIZE} x {_SIZE} pixels, "
            f"not {len(x)} of {x.shape[1]} x {x.shape[2]}: name the folder of MNIST."
        )
    return x, y


def _classes(model: onnx.ModelProto, x: Array) -> Array:
    """Classes, int64 (N,), of images uint8 (N, 28, 28), in float64; ties to the lowest index."""
    network = network_from_onnx(model, name="lenet")
    parts = [x[i : i + _CHUNK, None] / 255 for i in range(0, len(x), _CHUNK)]
    return np.concatenate([infer(network, part).argmax(axis=1) for part in parts])


def _notes(spikes: int, seed: int, recipe: LenetRecipe) -> dict[str, str]:
    """The metadata of a model file."""
    command = f"spikeloom train lenet --spikes {spikes} --seed {seed}"
    if recipe.epochs != LENET_RECIPE.epochs:
        command += f" --epochs {recipe.epochs}"
    return {
        "task": "mnist",
        "input": "grey levels / 255",
        "seed": str(seed),
        "recipe": str(recipe.version),
        "command": command,
    }
