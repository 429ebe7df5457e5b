# SPDX-License-Identifier: Apache-2.0
"""What the training recipes share: quantisers, reproducible PyTorch, the learning rate, and the result.

The networks are quantised while they are trained: ternary weights {-a, 0, a} (Li and Liu, "Ternary weight
networks", 2016), activations on the grid 0, 2**-k, ..., B (the "median quantisation" of Zou et al., Frontiers
in Neuroscience, 2021, eq. 6), gradients passed straight through both.

PyTorch is imported only by the functions that need it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mapping.errors import MappingError
from mapping.training.graph import Array

if TYPE_CHECKING:
    import onnx
    from torch import Tensor

__all__ = [
    "Progress",
    "Tensors",
    "TrainingResult",
    "accuracy",
    "check_arguments",
    "check_output",
    "cosine",
    "deterministic",
    "import_torch",
    "quantise",
    "random_layer",
    "ternarise",
    "write_model",
]

Tensors = dict[str, "Tensor"]
Progress = Callable[[str], None]

THRESHOLD = 0.7
"""Weights below this share of the mean magnitude become zero (Li and Liu, 2016, eq. 6)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """What a training run produced: the file, its SHA-256, and fractions of images classified correctly.

    `test_accuracy` is that of the written file on images no choice was made with, evaluated in float64. What
    `validation_accuracy` belongs to, the recipe's function says.
    """

    path: Path
    digest: str
    validation_accuracy: float
    test_accuracy: float


def import_torch() -> Any:
    """Return the module torch.

    Raises
    ------
    ImportError
        If it is not installed; the sentence says how to install it.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "Training needs PyTorch, which is not installed; run 'pip install torch'."
        ) from error
    return torch


def check_arguments(seed: int, epochs: int | None) -> None:
    """Refuse a negative seed and a number of epochs below one with a ValueError."""
    if seed < 0:
        raise ValueError(f"The training seed is {seed}; give an integer of 0 or more.")
    if epochs is not None and epochs < 1:
        raise ValueError(f"The number of training epochs is {epochs}; give an integer of 1 or more.")


def check_output(path: Path) -> None:
    """Refuse, before the work, a file that could not be written for want of its folder (MappingError)."""
    if not path.parent.is_dir():
        raise MappingError(f"The folder of the output {path} does not exist: create it or name another.")


@cache
def _quantiser_of(level: int, bound: int) -> Callable[[Tensor], Tensor]:
    torch = import_torch()

    class Quantiser(torch.autograd.Function):  # type: ignore[misc, name-defined]
        # one pass over memory each way; the sum of smooth and hard values that needs no class takes four
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x.clamp(0, bound) == x)
            steps = x.mul(2**level).add_(0.5).floor_().clamp_(0, bound * 2**level)
            return steps.mul_(2.0**-level)

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            (inside,) = ctx.saved_tensors
            result: Tensor = gradient * inside  # several times as fast as where or masked_fill
            return result

    function: Callable[[Tensor], Tensor] = Quantiser.apply
    return function


def quantise(x: Tensor, *, level: int = 1, bound: int = 2) -> Tensor:
    """Return clip(floor(x 2**k + 1/2) / 2**k, 0, B) (Zou et al., 2021, eq. 6) for k = level, B = bound.

    Half rounds up, as spiking thresholds do. Shape and dtype stay; the gradient is that of clip(x, 0, B):
    straight through.
    """
    return _quantiser_of(level, bound)(x)


def ternarise(weight: Tensor) -> Tensor:
    """Return weight with every value replaced by -a, 0 or a (Li and Liu, 2016, eqs. 5 and 6).

    Zero where |w| <= 0.7 mean|w|; a is the mean magnitude of the others. Same shape and dtype; the gradient
    passes unchanged: straight through.
    """
    magnitude = weight.abs()
    kept = magnitude > THRESHOLD * magnitude.mean()
    a = (magnitude * kept).sum() / kept.sum().clamp(min=1)
    hard = weight.sign() * kept * a
    result: Tensor = hard.detach() + (weight - weight.detach())  # hard to the last bit, gradient of weight
    return result


@contextmanager
def deterministic(torch: Any, seed: int) -> Iterator[None]:
    """One thread, deterministic algorithms and a seeded generator, all put back afterwards."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    memory = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        memory.fill_uninitialized_memory = False  # nothing here reads such memory, and filling it costs time
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(strict)
            memory.fill_uninitialized_memory = fill


def random_layer(torch: Any, shape: tuple[int, ...], *, norm: bool) -> Tensors:
    """Return random weights (rows, ...) and, with norm, a batch normalisation of as many channels, by name.

    Half the gammas start negative, which mirrors a channel and costs nothing.
    """
    p: Tensors = {"weight": torch.randn(shape) * float(np.sqrt(2 / np.prod(shape[1:])))}
    if norm:
        p["gamma"] = torch.where(torch.rand(shape[0]) < 0.5, -1.0, 1.0)
        p["beta"] = torch.full((shape[0],), 0.5)
        p["mean"], p["variance"] = torch.zeros(shape[0]), torch.ones(shape[0])
    return p


def cosine(time: float, *, peak: float, warmup: float, epochs: int) -> float:
    """Return the learning rate: linear warm-up, then half a cosine to zero; times in epochs."""
    if time < warmup:
        return peak * time / warmup
    return float(peak * (1 + np.cos(np.pi * time / epochs)) / 2)


def write_model(path: Path, model: onnx.ModelProto) -> str:
    """Write a model under a temporary name in its folder, rename it, and return its SHA-256."""
    data = model.SerializeToString(deterministic=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return hashlib.sha256(data).hexdigest()


def accuracy(classes: Array, labels: Array) -> float:
    """Return the fraction of classes (N,) that equal the labels (N,)."""
    return float(np.mean(classes == labels))
