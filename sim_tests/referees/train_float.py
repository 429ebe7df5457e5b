# SPDX-License-Identifier: Apache-2.0
"""Train an ordinary float network for the table of the graded code, and write it as ONNX (needs PyTorch).

A CNN on Fashion-MNIST, a ResNet-8 and two MobileNets on 3000 images of CIFAR-10, whose next 1000 are held
back: both parts are written beside the model, as bytes. The pixels that a network takes are 0..1. The last
weights are kept, so none are chosen by looking at a result; the same seed on the same machine writes the same
file.

python -m sim_tests.referees.train_float mobilenet --data DIR -o mobilenet.onnx
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mapping.datasets.load import Dataset, load_data
from mapping.errors import MappingError
from mapping.training.quantisation import check_arguments, check_output, cosine, deterministic, import_torch

__all__ = ["CIFAR", "RECIPES", "TRAINED", "Recipe", "main", "parts", "train"]

Array = npt.NDArray[Any]
Parts = tuple[tuple[Array, Array], tuple[Array, Array]]

CIFAR = "cifar10_lossless_train4000.npz"
"""File of images x, uint8 (N, 32, 32, 3), and labels y (N,)."""
TRAINED = 3000
"""Images of CIFAR-10 that a network is trained on; the others are held back."""
SHIFT = 3
"""Pixels that an image of CIFAR-10 is moved by at most while a network is trained on it."""


def _fashion(nn: Any) -> list[Any]:
    def stage(inputs: int, outputs: int) -> list[Any]:
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
        return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]

    dense = [nn.Flatten(), nn.Linear(32 * 49, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 10)]
    return [*stage(1, 16), *stage(16, 32), *dense]


def _normal(nn: Any, channels: tuple[int, int], size: int, stride: int = 1, groups: int = 1) -> list[Any]:
    inputs, outputs = channels
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]


def _resnet8(nn: Any) -> list[Any]:
    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            first, second = _normal(nn, (inputs, outputs), 3, stride), _normal(nn, (outputs, outputs), 3)
            self.branch = nn.Sequential(*first, nn.ReLU(), *second)
            self.skip = nn.Sequential(*(_normal(nn, (inputs, outputs), 1, stride) if stride > 1 else ()))
            self.relu = nn.ReLU()

        def forward(self, x: Any) -> Any:
            return self.relu(self.branch(x) + self.skip(x))

    blocks = [Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2)]
    return [*_normal(nn, (3, 16), 3), nn.ReLU(), *blocks, *_closing(nn, 64)]


def _mobilenet(nn: Any, stride: int = 2) -> list[Any]:
    """Return the start of MobileNet (Howard et al. 2017, arXiv 1704.04861) at full width, with ReLU6.

    Its first convolution has the stride.
    """
    layers = [*_normal(nn, (3, 32), 3, stride), nn.ReLU6()]
    for inputs, outputs, apart in ((32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1)):
        layers += [*_normal(nn, (inputs, inputs), 3, apart, inputs), nn.ReLU6()]
        layers += [*_normal(nn, (inputs, outputs), 1), nn.ReLU6()]
    return [*layers, *_closing(nn, 256)]


def _mobilenet32(nn: Any) -> list[Any]:
    """Return the same for images of 32 x 32 pixels, none of which it leaves out."""
    return _mobilenet(nn, stride=1)


def _closing(nn: Any, channels: int) -> list[Any]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A network and the hyper-parameters that it is trained with (AdamW, half a cosine)."""

    layers: Callable[[Any], list[Any]]
    epochs: int
    batch: int = 64
    learning_rate: float = 0.006
    decay: float = 0.02
    smoothing: float = 0.0
    moved: bool = True


RECIPES = {
    "fashion": Recipe(layers=_fashion, epochs=4, moved=False),
    "resnet8": Recipe(layers=_resnet8, epochs=25),
    "mobilenet": Recipe(layers=_mobilenet, epochs=60, decay=0.05, smoothing=0.1),
    "mobilenet32": Recipe(layers=_mobilenet32, epochs=25),
}
"""By name of the network."""


def parts(name: str, data: Path) -> Parts:
    """Return images uint8 (N, channels, height, width) and labels int64 (N,) to train on, and held back.

    MappingError if the data cannot be read or have another form.
    """
    if name == "fashion":
        train, test = (load_data(f"fashion:{data}:{part}") for part in ("train", "test"))
        return (_grey(train), _labels(train)), (_grey(test), _labels(test))
    images = load_data(str(data / CIFAR))
    if images.x.shape[1:] != (32, 32, 3) or len(images.x) <= TRAINED:
        raise MappingError(
            f"{data / CIFAR} must have more than {TRAINED} images of shape (32, 32, 3), not "
            f"{len(images.x)} of {images.x.shape[1:]}: name the folder of another file."
        )
    x, y = images.x.transpose(0, 3, 1, 2).astype(np.uint8), _labels(images)
    return (x[:TRAINED], y[:TRAINED]), (x[TRAINED:], y[TRAINED:])


def _grey(data: Dataset) -> Array:
    return data.x.astype(np.uint8)[:, None]


def _labels(data: Dataset) -> Array:
    if data.y is None:
        raise MappingError("The images to train on have no labels: give a file with y.")
    return np.asarray(data.y, np.int64)


def _moved(x: Array, rng: np.random.Generator) -> Array:
    """Return images (N, channels, height, width), half of them mirrored, each moved by up to `SHIFT`."""
    n, _, height, width = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)), mode="reflect")
    rows = rng.integers(0, 2 * SHIFT + 1, (n, 1)) + np.arange(height)
    columns = rng.integers(0, 2 * SHIFT + 1, (n, 1)) + np.arange(width)
    mirrored = rng.random(n) < 0.5
    columns[mirrored] = columns[mirrored, ::-1]
    index = np.arange(n)[:, None, None]
    moved = padded.transpose(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]]
    return np.asarray(moved.transpose(0, 3, 1, 2))


def train(recipe: Recipe, x: Array, y: Array, *, seed: int, epochs: int, say: Callable[[str], None]) -> Any:
    """Return the PyTorch module trained on images x, uint8, with labels y; ImportError without PyTorch."""
    torch = import_torch()
    rng, steps = np.random.default_rng(seed), -(-len(x) // recipe.batch)
    with deterministic(torch, seed):
        module = torch.nn.Sequential(*recipe.layers(torch.nn))
        optimiser = torch.optim.AdamW(module.parameters(), recipe.learning_rate, weight_decay=recipe.decay)
        loss_of = torch.nn.CrossEntropyLoss(label_smoothing=recipe.smoothing)
        for epoch in range(epochs):
            for step, chosen in enumerate(np.array_split(rng.permutation(len(x)), steps)):
                optimiser.param_groups[0]["lr"] = cosine(
                    epoch + step / steps, peak=recipe.learning_rate, warmup=0.05 * epochs, epochs=epochs
                )
                pixels = _moved(x[chosen], rng) if recipe.moved else x[chosen]
                loss = loss_of(module(torch.tensor(pixels / np.float32(255))), torch.tensor(y[chosen]))
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            say(f"epoch {epoch + 1} of {epochs}, loss {loss.item():.4f}")
    return module.eval()


def _accuracy(module: Any, x: Array, y: Array) -> float:
    torch = import_torch()
    with torch.no_grad():
        found = [module(torch.tensor(part / np.float32(255))).argmax(1) for part in np.array_split(x, 20)]
    return float(np.mean(torch.cat(found).numpy() == y))


def _write(module: Any, x: Array, output: Path) -> None:
    torch = import_torch()
    names: dict[str, Any] = {"input_names": ["input"], "output_names": ["logits"]}
    free = {name: {0: "N"} for name in ("input", "logits")}
    example = torch.zeros(1, *x.shape[1:])
    with warnings.catch_warnings():  # the other exporter needs one more package, and writes two files
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            module, (example,), output, dynamic_axes=free, opset_version=17, dynamo=False, **names
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and write; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", choices=tuple(RECIPES))
    parser.add_argument("--data", required=True, type=Path, help=f"folder of the idx files, or of {CIFAR}")
    parser.add_argument("-o", "--output", required=True, type=Path, help="ONNX file to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    chosen = parser.parse_args(arguments)
    recipe = RECIPES[chosen.network]
    try:
        check_arguments(chosen.seed, chosen.epochs)
        check_output(chosen.output)
        import_torch()
        known, held = parts(chosen.network, chosen.data)
        epochs = chosen.epochs or recipe.epochs
        module = train(
            recipe, *known, seed=chosen.seed, epochs=epochs, say=lambda line: print(line, flush=True)
        )
        _write(module, known[0], chosen.output)
        if chosen.network != "fashion":
            for part, (x, y) in (("train", known), ("test", held)):
                np.savez(chosen.output.with_name(f"cifar_{part}.npz"), x=x, y=y)
    except (MappingError, ImportError, ValueError) as error:
        print(f"train_float: {error}", file=sys.stderr)
        return 2
    print(f"{chosen.output}: {100 * _accuracy(module, *held):.2f} % of {len(held[1])} images held back")
    return 0


if __name__ == "__main__":
    sys.exit(main())
