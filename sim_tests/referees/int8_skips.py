# SPDX-License-Identifier: Apache-2.0
"""Networks that are quantised as TensorRT reads them: sums of a layer and of a skip that is quantised alone.

python -m sim_tests.referees.int8_skips
python -m sim_tests.referees.int8_skips --data cifar.npz resnet.onnx

Without models three residual ones with random weights are quantised, else float models, on the data. Every
activation of the chip is compared with float64, and with onnxruntime, which evaluates the model as written.
"""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from numpy.typing import NDArray

from mapping.chip import Chip
from mapping.codes.int8.layers import QUANTISERS
from mapping.datasets.load import load_data, scaled
from mapping.flow import compile_network
from mapping.model.evaluate import run
from mapping.model.importers.onnx import load_onnx
from mapping.model.network import Network
from mapping.model.node import Node
from mapping.spiking.simulate import encode, simulate
from sim_tests.generators.quantised_skips import skip_quantised
from sim_tests.generators.quantiser_options import NETWORKS, inputs
from sim_tests.referees.int8_options import from_half
from sim_tests.referees.int8_runtime import Runtime
from sim_tests.referees.int8_table import compared

__all__ = ["NAMES", "Skips", "main", "skips_of"]

HEAD = """| network | samples | activations | chip and float64 differ | from half-way | may be off by | \
chip and onnxruntime differ | in the image | on the host |
|---|---|---|---|---|---|---|---|---|"""

NAMES = ("residual", "mobile", "normed")
"""Networks of `sim_tests.generators.quantiser_options` with sums."""

_CALIBRATION = 64
_EMULATED = 4
_BATCH = 50


@dataclass(slots=True, kw_only=True)
class Skips:
    """Activations of a chip, and how many differ from float64; how far from half-way the first of a sample.

    ``near`` is by how many steps of the output a sum may be off.
    """

    activations: int = 0
    differ: int = 0
    farthest: float = 0.0
    near: float = 0.0


def skips_of(chip: Chip, x: NDArray[np.float64]) -> Skips:
    """Compare every count of a chip with the activation that float64 gives, for inputs (n, shape)."""
    spiking, found = chip.spiking, Skips(near=max(chip.spiking.near.values(), default=0.0))
    network, layers = spiking.network, [la for la in spiking.layers if la.name not in spiking.rounded]
    for start in range(0, len(x), _BATCH):
        part = x[start : start + _BATCH]
        counts, clean = simulate(spiking, encode(spiking, part)), np.ones(len(part), bool)
        for layer in layers:
            node = _quantiser(network, layer.activation)
            values = run(network, {network.input: part}, [*node.inputs, layer.activation])
            right = np.rint(values[layer.activation] / layer.scale).reshape(len(part), -1) + layer.zero
            differ = counts[layer.name].reshape(len(part), -1) != right
            found.activations += right.size
            found.differ += int(differ.sum())
            if differ[clean].any():
                half = from_half(node, values)[differ & clean[:, None]]
                found.farthest = max(found.farthest, float(half.max()))
            clean &= ~differ.any(axis=1)
    return found


def _quantiser(network: Network, tensor: str) -> Node:
    """Return the quantiser whose integers a tensor holds."""
    node = network.producer(tensor)
    while node is not None and node.op not in QUANTISERS:
        node = network.producer(node.inputs[0])
    if node is None:
        raise ValueError(f"tensor must hold integers of a quantiser, not {tensor!r}")
    return node


def _models(chosen: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Path, NDArray[np.float64]]]:
    """Yield names of models, the quantised models, and inputs."""
    for name in () if chosen.models else NAMES:
        model = NETWORKS[name]()
        x = inputs(model, chosen.samples)
        yield name, skip_quantised(model, x[:_CALIBRATION], folder / f"{name}.onnx"), x.astype(np.float64)
    for path in map(Path, chosen.models):
        data, _ = scaled(load_data(chosen.data).first(chosen.samples), chosen.input, load_onnx(path))
        few = data.x[:_CALIBRATION].astype(np.float32)
        yield path.stem, skip_quantised(onnx.load(path), few, folder / f"{path.stem}.onnx"), data.x


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if a count differs further from half-way than its layer says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help="float ONNX files")
    parser.add_argument("--data", help="data as the command line takes them")
    parser.add_argument("--input", default="auto", help="scale of pixels")
    parser.add_argument("--core", default="reference", help="core preset")
    parser.add_argument("--samples", type=int, default=256, help="inputs of each network")
    chosen = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    far = False
    print(HEAD)
    with TemporaryDirectory() as folder:
        for name, path, x in _models(chosen, Path(folder)):
            chip = compile_network(load_onnx(path), core=chosen.core, samples=x[:_CALIBRATION])
            own, runtime = skips_of(chip, x), Runtime(path, optimised=False)
            found = compared(path, x, core=chosen.core, emulated=_EMULATED, runtime=runtime)
            cells = (name, len(x), own.activations, own.differ, f"{own.farthest:.1g}", f"{own.near:.1g}")
            print(
                f"| {' | '.join(map(str, cells))} | {found.network} | {found.image} | "
                f"{found.host_share:.1%} |",
                flush=True,
            )
            far |= own.farthest > own.near
    return int(far)


if __name__ == "__main__":
    sys.exit(main())
