# SPDX-License-Identifier: Apache-2.0
"""What another runtime computes with an exported integer network, compared with the image's own network.

python -m sim_tests.referees.integer_network net.spikeloom net_integer.onnx --data mnist:DIR
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from emu.errors import SpikeloomError
from mapping.chip import open_chip
from mapping.datasets.load import load_data
from mapping.spiking.network import INPUT
from mapping.spiking.simulate import simulate

__all__ = ["main", "runtime"]

BATCH = 250

Run = Callable[[Sequence[str], dict[str, NDArray[np.int64]]], Sequence[NDArray[Any]]]


def runtime(file: Path) -> tuple[str, Run]:
    """Return the name of a runtime and how it runs a file: onnxruntime, or else the reference of ONNX."""
    if find_spec("onnxruntime") is None:
        from onnx.reference import ReferenceEvaluator

        evaluator: Any = ReferenceEvaluator(str(file))
        return f"onnx.reference {onnx.__version__}", evaluator.run
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return f"onnxruntime {onnxruntime.__version__}", session.run


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare and print one line; return 0 if every activation is equal, else 1."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image", help="image file")
    parser.add_argument("model", type=Path, help="what `spikeloom export --integer` wrote of it")
    parser.add_argument("--data", required=True, help="data as the command line takes them")
    parser.add_argument("--samples", type=int, help="only the first samples")
    chosen = parser.parse_args(arguments)
    try:
        chip = open_chip(chosen.image)
        data, _ = chip.prepare(load_data(chosen.data).first(chosen.samples))
    except SpikeloomError as error:
        print(f"integer_network: {error}", file=sys.stderr)
        return 2
    told, run = runtime(chosen.model)
    names = [layer.name for layer in chip.spiking.layers]
    compared = differ = 0
    for start in range(0, len(data.x), BATCH):
        counts = chip.counts(data.x[start : start + BATCH])
        expected = simulate(chip.spiking, counts)
        for name, got in zip(names, run(names, {INPUT: counts.astype(np.int64)}), strict=True):
            compared += got.size
            differ += int(np.count_nonzero(got != expected[name]))
    print(f"{told}: {len(data.x)} samples, {compared} activations, {differ} differ")
    return int(differ > 0 or compared == 0)


if __name__ == "__main__":
    sys.exit(main())
