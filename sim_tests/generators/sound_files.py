# SPDX-License-Identifier: Apache-2.0
"""Sound files of every kind that is read, small enough to be damaged and used thousands of times."""

from __future__ import annotations

import gzip
import json
import struct
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from emu.container import save_image
from emu.image import SystemImage
from mapping.chip import Chip
from mapping.flow import compile_network, compile_passes
from mapping.model.importers.onnx import network_from_onnx
from mapping.targets.files import list_targets, target_text
from rtl.export import describe
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.quantised_models import Notation, qdq, qonnx
from sim_tests.generators.systems import random_system
from sim_tests.robustness.mutations import npz_of

__all__ = [
    "data_files",
    "design_file",
    "idx_files",
    "images",
    "passes_files",
    "small_chip",
    "small_models",
    "stimuli",
    "targets",
    "write_mnist",
]


def _model(seed: int) -> bytes:
    """Return a small model with every operator of a quantised network."""
    b = ModelBuilder((2, 6, 6), seed=seed)
    y = b.quantise(b.conv("x", b.rng.normal(0, 0.5, size=(3, 2, 3, 3)), pads=[1, 1, 1, 1]))
    first = b.quantise(b.norm(b.conv(y, b.ternary(4, 3, 3, 3), pads=[0, 1, 1, 0]), 4))
    y = b.op("MaxPool", first, kernel_shape=[2, 2], strides=[2, 2])
    size = int(np.prod(b.network(y).shapes[y]))
    y = b.op("Flatten", y) if seed % 2 else b.op("Reshape", y, b.constant([0, -1], np.int64))
    y = b.quantise(b.op("BatchNormalization", b.dense(y, b.ternary(5, size)), *_norm(b, 5)))
    return bytes(b.model(b.head(b.op("Dropout", b.op("Identity", y)), 5)).SerializeToString())


def _norm(b: ModelBuilder, channels: int) -> list[str]:
    values = (np.ones(channels), np.full(channels, 0.5), np.zeros(channels), np.ones(channels))
    return [b.constant(v) for v in values]


def _notated(notation: Notation) -> bytes:
    """Return a small model in one of the notations that tools export."""
    b = ModelBuilder((2, 6, 6))
    digits = {"Conv": b.rng.integers(-1, 2, (3, 2, 3, 3)), "Gemm": b.rng.integers(-1, 2, (5, 48))}
    y = notation.activation(b, "x", 0.5)
    for kind, of in digits.items():
        weight = notation.weight(b, of.astype(np.int8), np.full(len(of), 0.25, np.float32))
        y = b.op(kind, y if kind == "Conv" else b.op("Flatten", y), weight)
        y = notation.activation(b, y, 0.5)
    return bytes(b.model(b.head(y, 5)).SerializeToString())


@cache
def small_models() -> tuple[bytes, ...]:
    """Return valid ONNX files, small enough to be damaged and used thousands of times."""
    return (*map(_model, range(4)), _notated(qdq), _notated(qonnx))


@cache
def small_chip() -> Chip:
    """Return a compiled small network."""
    return compile_network(
        network_from_onnx(onnx.ModelProto.FromString(small_models()[0]), name="small"), core="small"
    )


@cache
def images() -> tuple[bytes, ...]:
    """Return image files: a network, and random programs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        systems = [small_chip().image, *(random_system(seed)[0] for seed in range(3))]
        files = []
        for image in systems:
            save_image(image, path)
            files.append(path.read_bytes())
        return tuple(files)


@cache
def passes_files() -> tuple[bytes, ...]:
    """Return files of passes: of a small network, a layer of it in slices."""
    network = network_from_onnx(onnx.ModelProto.FromString(small_models()[0]), name="small")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        compile_passes(network, core="small", mesh=(1, 1)).save(path)
        return (path.read_bytes(),)


@cache
def data_files() -> tuple[bytes, ...]:
    """Return npz files of data: floats with labels, floats without, and pixels."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(0.8, 1, (6, 2, 6, 6)), np.arange(6) % 3
    byte = rng.integers(0, 256, (6, 6, 6, 2)).astype(np.uint8)
    return npz_of({"x": x, "y": y}), npz_of({"x": x.astype(np.float32)}), npz_of({"x": byte, "y": y})


def _idx(values: NDArray[np.integer]) -> bytes:
    head = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.astype(np.uint8).tobytes()


@cache
def idx_files() -> Mapping[str, bytes]:
    """Return name -> bytes of images, and of their labels, packed."""
    images = np.random.default_rng(0).integers(0, 256, (6, 5, 4))
    return {
        "t10k-images-idx3-ubyte": _idx(images),
        "t10k-labels-idx1-ubyte.gz": gzip.compress(_idx(np.arange(6)), mtime=0),
    }


def write_mnist(folder: Path, *, train: int = 5064, test: int = 20) -> Path:
    """Write random images in the form of MNIST, a batch beside the 5000 of validation; return the folder."""
    folder.mkdir()
    rng = np.random.default_rng(9)
    for prefix, count in (("train", train), ("t10k", test)):
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(_idx(rng.integers(0, 256, (count, 28, 28))))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(_idx(rng.integers(0, 10, count)))
    return folder


@cache
def design_file() -> bytes:
    """Return the sidecar of an exported design."""
    return json.dumps(describe(random_system(0)[0].spec)).encode()


@cache
def stimuli() -> tuple[tuple[SystemImage, bytes], ...]:
    """Return images, each with a stimulus file for it."""
    systems = [random_system(seed) for seed in range(3)]
    return tuple(
        (image, npz_of({"steps": s.steps, "step": s.step, "packet": s.packet})) for image, s in systems
    )


@cache
def targets() -> tuple[bytes, ...]:
    """Return the shipped target files, and one whose core has sizes of its own."""
    shipped = tuple(target_text(name) for name in list_targets())
    core = "\n[geometry.core]\naxons = 300\nladder = false\nsigned_ladder = false\n"
    own = target_text("loom").replace('mesh = "auto"\n', f'mesh = "2x2"\n{core}')
    return tuple(text.encode() for text in (*shipped, own))
