# SPDX-License-Identifier: Apache-2.0
"""`spikeloom train`: the commands that need PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mapping.errors import MappingError
from spikeloom.commands.options import Seed, examples

if TYPE_CHECKING:
    from mapping.training import TrainingResult

__all__ = ["app"]

app = typer.Typer(
    name="train",
    help="Train the networks of the project (needs the extra [bold]train[/]).",
    no_args_is_help=True,
    epilog=examples("spikeloom train digits -o digits.onnx", "spikeloom train lenet --data mnist"),
)


Output = Annotated[Path, typer.Option("-o", "--output", help="ONNX file to write.")]
Epochs = Annotated[int | None, typer.Option("--epochs", min=1, help="Epochs instead of the recipe's.")]


def _spikes(value: int) -> int:
    if value not in (1, 2, 4):
        raise typer.BadParameter(f"{value} is not 1, 2 or 4.")
    return value


def _train(recipe: Callable[..., TrainingResult], output: Path) -> None:
    """Follow a recipe, tell its progress on a terminal, and print what it reached."""
    from spikeloom.files import check_places
    from spikeloom.terminal import console, errors

    check_places(output)
    try:
        result = recipe(output=output, progress=errors.print if errors.is_terminal else None)
    except ImportError as error:
        raise MappingError(str(error)) from error
    console.print(
        f"{result.path}: validation {100 * result.validation_accuracy:.2f} %, "
        f"test {100 * result.test_accuracy:.2f} %"
    )
    console.print(f"sha256 {result.digest}")


@app.command(
    "digits",
    epilog=examples("spikeloom train digits -o digits.onnx", "spikeloom train digits --float -o f.onnx"),
)
def train_digits_command(
    output: Output = Path("digits.onnx"),
    seed: Seed = 0,
    epochs: Epochs = None,
    *,
    ordinary: Annotated[
        bool, typer.Option("--float", help="Train an ordinary network instead: float weights, Relu.")
    ] = False,
) -> None:
    """Train a network of the demo on digits 0..1436; the same machine and seed give the same file."""
    from mapping.training import train_digits, train_ordinary

    _train(partial(train_ordinary if ordinary else train_digits, seed=seed, epochs=epochs), output)


@app.command(
    "lenet",
    epilog=examples(
        "spikeloom train lenet --data mnist -o lenet4.onnx",
        "spikeloom train lenet --data mnist --spikes 1 -o lenet1.onnx",
    ),
)
def train_lenet_command(
    data: Annotated[
        Path,
        typer.Option("--data", help="Folder with the four idx files of MNIST, each packed (.gz) or not."),
    ],
    spikes: Annotated[
        int, typer.Option("--spikes", callback=_spikes, help="Most spikes of an activation: 1, 2 or 4.")
    ] = 4,
    output: Output = Path("lenet.onnx"),
    seed: Seed = 0,
    epochs: Epochs = None,
) -> None:
    """Train LeNet on MNIST, its last 5000 training images left for validation; same machine, same file."""
    from mapping.training import train_lenet

    _train(partial(train_lenet, data=data, spikes=spikes, seed=seed, epochs=epochs), output)
