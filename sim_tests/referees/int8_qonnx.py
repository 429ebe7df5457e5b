# SPDX-License-Identifier: Apache-2.0
"""Activations of QONNX networks, one by one: qonnx's executor, the network, and its image on the emulator.

python -m sim_tests.referees.int8_qonnx --data DATA net.onnx other.onnx
python -m sim_tests.referees.int8_qonnx

It needs qonnx and onnxruntime, whose sums are float32. Those of the model are float64, so that activations
may differ half-way between two integers: the last column tells how far from there the first of a sample is.
Without models Brevitas, if it is installed, exports networks with random weights, as QONNX and as QCDQ. The
latter are compared with onnxruntime; without its optimisations where these round real biases, or make one of
two quantisers in a row.
"""

import argparse
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from mapping.datasets.load import load_data, scaled
from mapping.errors import MappingError
from mapping.model.importers.onnx import load_onnx
from sim_tests.generators.brevitas_models import exported, forms
from sim_tests.referees.int8_options import NEAR, farthest
from sim_tests.referees.int8_runtime import Counts, Integers, Runtime
from sim_tests.referees.int8_table import HEAD, compared

__all__ = ["Executor", "main"]

_QUANTISERS = frozenset({"IntQuant", "Quant"})
_KNOWN_TO_RUNTIMES = 10
"""Version of the format of the single operators that the executor hands to onnxruntime."""


class Executor:
    """A QONNX model in qonnx's executor, and the integers that its quantisers of activations give.

    Parameters
    ----------
    path : Path
        The model.
    """

    def __init__(self, path: Path) -> None:
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.transformation.infer_shapes import InferShapes

        self._model = ModelWrapper(str(path)).transform(InferShapes())
        graph = self._model.graph
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self._scales = {
            node.output[0]: constants[node.input[1]].astype(np.float64)
            for node in graph.node
            if node.op_type in _QUANTISERS and node.input[0] not in constants
        }
        self._input = next(value.name for value in graph.input if value.name not in constants)
        self._seen: tuple[NDArray[np.float64], Mapping[str, NDArray[Any]]] | None = None

    def __contains__(self, tensor: str) -> bool:
        """Tell whether a tensor holds what a quantiser of an activation gives."""
        return tensor in self._scales

    def counts(self, x: NDArray[np.float64], tensor: str) -> Counts:
        """Return integers less their zero point, for inputs (n, shape)."""
        if self._seen is None or self._seen[0] is not x:
            self._seen = x, self._executed(x)
        return np.asarray(np.rint(self._seen[1][tensor] / self._scales[tensor]), np.int64)

    def _executed(self, x: NDArray[np.float64]) -> Mapping[str, NDArray[Any]]:
        """Return all tensors that quantisers give, sample by sample."""
        from qonnx.core.onnx_exec import execute_onnx

        found: dict[str, list[NDArray[Any]]] = {name: [] for name in self._scales}
        with mock.patch.object(onnx, "IR_VERSION", min(onnx.IR_VERSION, _KNOWN_TO_RUNTIMES)):
            for sample in x.astype(np.float32):
                values = execute_onnx(self._model, {self._input: sample[None]}, return_full_exec_context=True)
                for name, parts in found.items():
                    parts.append(values[name])
        return {name: np.concatenate(parts) for name, parts in found.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if an activation differs that is not half-way, 2 for bad input."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help="QONNX files")
    parser.add_argument("--data", help="data as the command line takes them")
    parser.add_argument("--input", default="auto", help="scale of pixels")
    parser.add_argument("--core", default="reference", help="core preset")
    parser.add_argument("--samples", type=int, default=64, help="inputs of each network")
    parser.add_argument("--emulated", type=int, default=4, help="emulate only the first samples; 0 for all")
    chosen = parser.parse_args(arguments)
    if chosen.models and not chosen.data:
        parser.error("models need --data")
    far = 0.0
    try:
        print(HEAD.replace(" |\n", " | from half-way |\n") + "---|")
        with TemporaryDirectory() as folder:
            for path, runtime, x in _given(chosen) if chosen.models else _made(chosen, Path(folder)):
                far = max(far, _row(path, runtime, x, chosen))
    except MappingError as error:
        print(f"int8_qonnx: {error}", file=sys.stderr)
        return 2
    return int(far > NEAR)


_Models = Iterator[tuple[Path, Integers, NDArray[np.float64]]]


def _given(chosen: argparse.Namespace) -> _Models:
    """Yield models, what executes them, and inputs."""
    for path in map(Path, chosen.models):
        data, _ = scaled(load_data(chosen.data).first(chosen.samples), chosen.input, load_onnx(path))
        yield path, Executor(path), data.x


def _made(chosen: argparse.Namespace, folder: Path) -> _Models:
    """Yield networks of Brevitas in both notations."""
    logging.disable(logging.WARNING)
    for form in forms():
        qcdq, qonnx, shape = exported(form, folder)
        x = np.random.default_rng(1).normal(size=(chosen.samples, *shape)).astype(np.float32)
        optimised = form.bias == "Int32Bias" and form.network == "mlp"
        yield qcdq, Runtime(qcdq, optimised=optimised), x.astype(np.float64)
        yield qonnx, Executor(qonnx), x.astype(np.float64)


def _row(path: Path, runtime: Integers, x: NDArray[np.float64], chosen: argparse.Namespace) -> float:
    """Print the line of a model; return how far from half-way an activation is that differs."""
    found = compared(path, x, core=chosen.core, emulated=chosen.emulated, runtime=runtime)
    far = farthest(runtime, load_onnx(path), x) if found.network else 0.0
    cells = (path.stem, found.samples, found.activations, found.network, found.image)
    shown = f"{far:.1g}" if found.network else ""
    print(f"| {' | '.join(map(str, cells))} | {found.host_share:.2%} | {shown} |", flush=True)
    return far


if __name__ == "__main__":
    sys.exit(main())
