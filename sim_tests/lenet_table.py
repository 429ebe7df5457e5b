# SPDX-License-Identifier: Apache-2.0
"""Measure trained LeNets on the MNIST test set: `python -m sim_tests.lenet_table --data DIR MODEL...`.

Prints, for every model, its digest, accuracy, the values in which the spiking network differs from the float
network, and means per image of spikes and synaptic operations. The network is simulated without a chip.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mapping.convert import (
    INPUT,
    SpikingNetwork,
    compare,
    convert,
    decode,
    encode,
    operation_counts,
    simulate,
)
from mapping.idx import load_idx_pair
from mapping.importers.onnx import load_onnx

__all__ = ["Totals", "main", "measure"]

CHUNK = 500
"""Images held in memory at once."""


@dataclass(slots=True, kw_only=True)
class Totals:
    """Sums over images; `spikes`, `logical` and `dense` leave out the encoder and the decoder."""

    images: int = 0
    correct: int = 0
    neurons: int = 0
    differences: int = 0
    spikes_input: int = 0
    spikes: int = 0
    logical: int = 0
    dense: int = 0

    def add(self, other: Totals) -> None:
        """Add the sums of other images."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


def measure(spiking: SpikingNetwork, x: NDArray[np.uint8], y: NDArray[np.int64]) -> Totals:
    """Return the sums over images uint8 (n, 28, 28), given to the network as grey levels in 0..1."""
    pixels = x[:, None] / 255
    compared = compare(spiking, pixels)
    counts = simulate(spiking, encode(spiking, pixels))
    operations = operation_counts(spiking, counts).values()
    return Totals(
        images=len(x),
        correct=int(np.count_nonzero(decode(spiking, counts).argmax(axis=1) == y)),
        neurons=compared.neurons,
        differences=compared.differences,
        spikes_input=int(counts[INPUT].sum(dtype=np.int64)),
        spikes=sum(int(layer.spikes.sum()) for layer in operations),
        logical=sum(int(layer.logical.sum()) for layer in operations),
        dense=sum(int(layer.dense.sum()) for layer in operations),
    )


def main(arguments: list[str] | None = None) -> int:
    """Print one paragraph per model; return 1 if a spiking network differs from its float network."""
    parser = argparse.ArgumentParser(prog="python -m sim_tests.lenet_table", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the idx files of MNIST")
    parser.add_argument("models", type=Path, nargs="+", help="files that spikeloom train lenet wrote")
    options = parser.parse_args(arguments)
    x, y = load_idx_pair(options.data, "test")
    differences = 0
    for path in options.models:
        spiking, totals = convert(load_onnx(path)), Totals()
        for start in range(0, len(x), CHUNK):
            totals.add(measure(spiking, x[start : start + CHUNK], y[start : start + CHUNK]))
        print(_paragraph(path, totals))
        differences += totals.differences
    return int(differences > 0)


def _paragraph(path: Path, totals: Totals) -> str:
    means = {
        name: getattr(totals, name) / totals.images for name in ("spikes_input", "spikes", "logical", "dense")
    }
    shown = ", ".join(f"{name} {value:.1f}" for name, value in means.items())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return (
        f"{path.name} sha256 {digest}\n"
        f"  {totals.correct} of {totals.images} correct, "
        f"{totals.differences} of {totals.neurons} values differ; per image: {shown}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
