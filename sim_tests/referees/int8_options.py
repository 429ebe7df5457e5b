# SPDX-License-Identifier: Apache-2.0
"""Options of onnxruntime's quantiser, one by one, on five networks: every activation, and the host's share.

python -m sim_tests.referees.int8_options
python -m sim_tests.referees.int8_options --only Entropy

A row sums up the five networks. Where onnxruntime rounds more than the model says, or sums real numbers in
float32, activations differ only half-way between two integers: the last column tells how far from half-way
the first of a sample was at most, in units of the activation.
"""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from emu.spec import preset
from mapping.codes.choice import Request, code_of
from mapping.codes.int8.layers import QUANTISERS
from mapping.model.evaluate import run
from mapping.model.importers.onnx import load_onnx
from mapping.model.network import Network
from mapping.model.node import Node
from mapping.model.operations.integers import before_rounding
from sim_tests.generators.quantiser_options import NETWORKS, Option, inputs, options, quantised_by
from sim_tests.referees.int8_runtime import Integers, Runtime
from sim_tests.referees.int8_table import compared

__all__ = ["NEAR", "Row", "farthest", "from_half", "main", "row_of"]

HEAD = """| option | networks | activations | differ | in the image | on the host | from half-way |
|---|---|---|---|---|---|---|"""

_SAMPLES = 256
_CALIBRATION = 64
_EMULATED = 8
_CORE = "reference"
NEAR = 2.0**-9
"""How far from half-way a value may be that float32 rounds to another integer."""


@dataclass(slots=True, kw_only=True)
class Row:
    """What an option gives on all networks that it quantises; host shares and reasons by network."""

    networks: int = 0
    activations: int = 0
    differ: int = 0
    image: int = 0
    farthest: float = 0.0
    host: dict[str, float] = field(default_factory=dict)
    why: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)

    def told(self, name: str) -> str:
        """Return the row of the table."""
        shares = [f"{network} {share:.1%}" for network, share in self.host.items()]
        shares += [f"{network}: not quantised" for network in self.other]
        cells = (name, self.networks, self.activations, self.differ, self.image, ", ".join(shares) or "0 %")
        return f"| {' | '.join(map(str, cells))} | {f'{self.farthest:.1g}' if self.differ else ''} |"


def row_of(
    option: Option, folder: Path, *, samples: int = _SAMPLES, only: Sequence[str] = tuple(NETWORKS)
) -> Row:
    """Quantise networks with an option, and compare all activations with onnxruntime.

    Parameters
    ----------
    option : Option
        How they are quantised.
    folder : Path
        Where models are written.
    samples : int
        Inputs of each network.
    only : sequence of str
        Networks, by name.
    """
    row = Row()
    for name in only:
        model, path = NETWORKS[name](), folder / f"{name}.onnx"
        x = inputs(model, samples)
        quantised_by(option, model, x[:_CALIBRATION], path)
        network, wide = load_onnx(path), x.astype(np.float64)
        code = code_of(network)
        if code.name != "int8":
            row.other.append(name)
            continue
        runtime = Runtime(path, optimised=not option.changed)
        found = compared(path, wide, core=_CORE, emulated=_EMULATED, runtime=runtime)
        row.networks += 1
        row.activations += found.activations
        row.differ += found.network
        row.image += found.image
        if found.network:
            row.farthest = max(row.farthest, farthest(runtime, network, wide))
        if found.host_share:
            row.host[name] = found.host_share
            host = code.convert(network, Request(spec=preset(_CORE), samples=wide)).host
            row.why += [layer.told for layer in host[:1] if layer.told not in row.why]
    return row


def farthest(runtime: Integers, network: Network, x: NDArray[np.float64]) -> float:
    """Return how far from half-way the values are at most whose integers differ first in their sample.

    Values are those that a quantiser rounds, before the ends of a `Relu` or `Clip` that is read as ends of
    its integers. What reads an activation that differs may differ by more, and is not looked at.
    """
    clean, most = np.ones(len(x), bool), 0.0
    for node in network.nodes:
        tensor, end = _held(node, runtime)
        if tensor not in runtime:
            continue
        right = runtime.counts(x, tensor).reshape(len(x), -1)
        values = run(network, {network.input: x}, [*node.inputs, node.output, end])
        steps = node.constants["scale"] if node.op == "Quantise" else 1.0
        differ = np.rint(values[end] / steps).reshape(len(x), -1) != right
        if (differ[clean]).any():
            most = max(most, float(from_half(node, values)[differ & clean[:, None]].max()))
        clean &= ~differ.any(axis=1)
    return most


def _held(node: Node, runtime: Integers) -> tuple[str, str]:
    """Return the integers of the model that a quantiser gives, and the tensor of their values; "" if none."""
    if node.op not in QUANTISERS:
        return "", ""
    if node.output in runtime:
        return node.output, node.output
    tensor = node.output.removesuffix(_REAL).removesuffix(_UNCUT)
    end = f"{tensor}{_REAL}"
    return (tensor, end) if node.output in (end, f"{tensor}{_UNCUT}{_REAL}") else ("", "")


_REAL = ".real"
"""What follows the name of a tensor of integers in that of the values that they stand for."""

_UNCUT = ".sums8"
"""What follows it in that of the integers before a `Relu` or `Clip` cuts them."""


def from_half(node: Node, values: Mapping[str, NDArray[np.floating]]) -> NDArray[np.float64]:
    """Return how far from half-way between two integers the values are that a quantiser rounds, (n, all)."""
    read = [np.asarray(values[tensor]) for tensor in node.inputs]
    real = read[0] / node.constants["scale"] if node.op == "Quantise" else before_rounding(node, read)
    flat = real.reshape(len(real), -1)
    return np.asarray(np.abs(flat - np.floor(flat) - 0.5), np.float64)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and why layers are the host's; return 1 if one differs that is not half-way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="only options whose name has this text")
    parser.add_argument("--samples", type=int, default=_SAMPLES, help="inputs of each network")
    chosen = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    far, why = 0.0, list[str]()
    print(HEAD)
    with TemporaryDirectory() as folder:
        for option in options():
            if chosen.only in option.name:
                row = row_of(option, Path(folder), samples=chosen.samples)
                print(row.told(option.name), flush=True)
                far = max(far, row.farthest)
                why += [sentence for sentence in row.why if sentence not in why]
    print(*(f"\n* {sentence}." for sentence in why), sep="", end="\n" if why else "")
    return int(far > NEAR)


if __name__ == "__main__":
    sys.exit(main())
