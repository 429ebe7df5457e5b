# SPDX-License-Identifier: Apache-2.0
"""Activations of quantised networks, one by one: onnxruntime, the network, and its image on the emulator.

python -m sim_tests.referees.int8_table --data mnist:DIR net.onnx other.onnx
python -m sim_tests.referees.int8_table --data mnist:DIR --quantise float.onnx

With --quantise models are float ones, which onnxruntime quantises first, in every form.
"""

import argparse
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnx.version_converter
from numpy.typing import NDArray

from mapping.chip import Chip
from mapping.datasets.calibration import calibration_data
from mapping.datasets.load import load_data, scaled
from mapping.errors import MappingError, UnsupportedModelError
from mapping.flow import compile_network
from mapping.layout.host_tables import outputs_of
from mapping.model.evaluate import needed_nodes, run
from mapping.model.importers.onnx import load_onnx
from mapping.model.network import Network
from mapping.model.node import Node
from mapping.model.operations import OPERATIONS
from mapping.model.operations.elementwise import scalar
from mapping.spiking.network import SpikingNetwork
from mapping.spiking.simulate import encode, simulate
from sim_tests.generators.integer_models import FORMS, FURTHER, quantised
from sim_tests.referees.int8_runtime import Counts, Integers, Runtime

__all__ = ["Differences", "compared", "main"]

HEAD = """| model | samples | activations | integer network | emulated image | host share |
|---|---|---|---|---|---|"""


@dataclass(slots=True, kw_only=True)
class Differences:
    """What was compared, and how many activations differ from those of the runtime."""

    samples: int = 0
    activations: int = 0
    network: int = 0
    image: int = 0
    host_share: float | None = None


def compared(
    path: Path,
    x: NDArray[np.float64],
    *,
    core: str = "reference",
    emulated: int = 0,
    runtime: Integers | None = None,
) -> Differences:
    """Compare every activation on the chip, in integers and in the emulated image, with onnxruntime.

    A real output that leaves the chip as rounded counts is no integer of the model, nor is what several
    layers have only together; and where the chip pools integers that the model pools before its quantiser,
    onnxruntime has the pooled ones alone. Of these neurons the image is compared with the integer network.

    Parameters
    ----------
    path : Path
        The model.
    x : float64 (n, input shape)
        Inputs.
    core : str
        Core preset.
    emulated : int
        Samples that are emulated too; all if it is 0.
    runtime : Integers, optional
        What computes the right integers, by default a `Runtime` that may change the graph first.
    """
    runtime = runtime or Runtime(path)
    chip = compile_network(load_onnx(path), core=core, samples=x[:_BATCH])
    found = Differences(host_share=chip.spiking.host_share)
    ends = _ends(chip.spiking, runtime)
    for start in range(0, len(x), _BATCH):
        part = x[start : start + _BATCH]
        right = {name: runtime.counts(part, end.tensor) for name, end in ends.items()}
        counts = _add(found, chip, part, right, ends)
        for layer in chip.spiking.layers:
            end = ends.get(layer.name)
            if end is None or not end.placed or _pooled(chip.spiking.network, layer.activation, end.values):
                right[layer.name] = counts[layer.name].astype(np.int64) - layer.zero
        if not emulated or start < emulated:
            few = part if not emulated else part[: emulated - start]
            found.image += _on_the_image(
                chip, few, {n: integers[: len(few)] for n, integers in right.items()}
            )
    return found


_BATCH = 500
_REAL = ".real"
"""What follows the name of a tensor of integers in that of the values that they stand for."""
_VIEW = ".held"
"""What follows it where these are read in another order."""


@dataclass(frozen=True, slots=True)
class _End:
    """A tensor of integers of the model, that of their values, and whether both have their order."""

    tensor: str
    values: str
    placed: bool


def _ends(spiking: SpikingNetwork, runtime: Integers) -> dict[str, _End]:
    """Return, by layer, the integers of the model that its activation becomes by pools and moves.

    A layer has none if it is rounded, or one of several that have the integers of the model only together.
    """
    if spiking.code != "int8":
        raise UnsupportedModelError(
            f"Network {spiking.name!r} runs in the {spiking.code} code, which has its own integers; "
            "quantise it with --quantise."
        )
    ends, others, whole = dict[str, _End](), set[str](), dict[str, str]()
    for layer in spiking.layers:
        if layer.name in spiking.rounded:
            continue
        end = _end(spiking.network, layer.activation, runtime)
        if end.tensor in runtime and _only_moved(spiking.network, layer.activation, end.values):
            if not end.placed and end.tensor in whole:  # that was a part of this one
                others.add(end.tensor)
                del ends[whole[end.tensor]]
            if not end.placed:
                whole[end.tensor] = layer.name
            ends[layer.name] = end
        else:
            others.add(end.tensor)
    missing = others - {end.tensor for end in ends.values()}
    if missing:
        raise ValueError(f"layers must have integers of the model, not {', '.join(sorted(missing))}")
    return ends


def _end(network: Network, activation: str, runtime: Integers) -> _End:
    """Return the tensor that may have the integers of an activation."""
    tensor, held = activation.partition(_REAL)[0], list(_moved(network, activation))
    for name in held:
        if name in runtime:  # a quantiser that writes values, not integers
            return _End(name, name, placed=True)
    named = tensor + _REAL
    if named in network.shapes:
        return _End(tensor, named, placed=True)
    view = named + _VIEW
    return _End(tensor, view if view in held else held[-1], placed=False)


def _moved(network: Network, tensor: str) -> Iterator[str]:
    """Yield the tensors that hold the values of a tensor: in other places, pooled, or times a scale."""
    yield tensor
    readers = network.consumers(tensor)
    while len(readers) == 1 and _moves(readers[0]):
        yield readers[0].output
        readers = network.consumers(readers[0].output)


def _only_moved(network: Network, activation: str, end: str) -> bool:
    between = needed_nodes(network, [activation, network.input], [end])
    return all(map(_moves, between))


def _moves(node: Node) -> bool:
    return OPERATIONS[node.op].selects or (node.op == "Mul" and scalar(node) is not None)


def _factor(network: Network, activation: str, end: str) -> float:
    """Return by what the values of an activation are multiplied on the way to a tensor."""
    between = needed_nodes(network, [activation, network.input], [end])
    return math.prod(scalar(node) or 1.0 for node in between)


def _pooled(network: Network, activation: str, end: str) -> bool:
    return any(node.op == "MaxPool" for node in needed_nodes(network, [activation], [end]))


def _add(
    found: Differences,
    chip: Chip,
    x: NDArray[np.float64],
    expected: Mapping[str, Counts],
    ends: Mapping[str, _End],
) -> Mapping[str, NDArray[np.int32]]:
    """Compare the integer network with what is expected; return its counts."""
    counts, network = simulate(chip.spiking, encode(chip.spiking, x)), chip.spiking.network
    truth = run(network, {network.input: x}, sorted({end.values for end in ends.values()}))
    found.samples += len(x)
    for name, end in ends.items():
        layer = chip.spiking.layer(name)
        held = (counts[name] - layer.zero).reshape(len(x), *network.shapes[layer.activation])
        moved = run(network, {layer.activation: held}, [end.values])[end.values]
        factor = _factor(network, layer.activation, end.values)
        true = np.asarray(truth[end.values] / layer.scale)
        if factor != 1.0:
            moved, true = np.rint(moved / factor), np.rint(true / factor)
        values = (np.reshape(part, (len(x), -1)) for part in (moved, true, expected[name]))
        # a tensor of another name may have another order: then the integers are compared as a collection
        got, exact, right = (part if end.placed else np.sort(part) for part in values)
        found.activations += right.size
        found.network += int(((got != right) | (exact != right)).sum())
    return counts


def _on_the_image(chip: Chip, x: NDArray[np.float64], expected: Mapping[str, Counts]) -> int:
    """Return how many outputs of the emulated image differ, and how many counts of all its neurons.

    Outputs are compared one by one. Of every sample the counts that all neurons fired are compared as a
    collection, whichever neuron lies where.
    """
    result = chip.machine.run(chip.stimulus(x), threads=os.cpu_count() or 1)
    outputs: Mapping[str, NDArray[Any]] = outputs_of(chip.image, result, len(x))
    wrong = 0
    for name, counts in outputs.items():
        got = counts - chip.spiking.layer(name).zero
        wrong += int((got != expected[name].reshape(got.shape)).sum())
    fired = _collected(len(x), result.spikes[:, 0] // chip.period, result.spikes[:, 3])
    wanted = np.zeros_like(fired)
    for name, integers in expected.items():
        counts = (integers + chip.spiking.layer(name).zero).reshape(len(x), -1)
        wanted += _collected(len(x), np.repeat(np.arange(len(x)), counts.shape[1]), counts.reshape(-1))
    wanted[:, _MOST] = 0  # what counts zero fires nothing
    return wrong + int(np.abs(fired - wanted).sum())


_MOST = 256
"""Largest magnitude of a payload."""


def _collected(samples: int, sample: Counts, counts: Counts) -> Counts:
    """Return how often each count from -256 to 256 occurs in each sample, int64 (samples, 513)."""
    width = 2 * _MOST + 1
    return np.bincount(sample * width + counts + _MOST, minlength=samples * width).reshape(samples, width)


def _models(chosen: argparse.Namespace, folder: Path) -> Iterator[tuple[Path, bool]]:
    """Yield the models, quantised in every form if that is asked for, and whether to run them as written.

    Real biases are compared as they are written, for onnxruntime rounds them otherwise.
    """
    for model in map(Path, chosen.models):
        if not chosen.quantise:
            yield model, chosen.as_written
            continue
        network = load_onnx(model)
        _, how = scaled(load_data(chosen.data).first(1), chosen.input, network)
        samples, _ = scaled(calibration_data(chosen.data).first(_CALIBRATION), how, network)
        real = _quantisable(model)
        few = samples.x.astype(np.float32)
        for form in FORMS:
            name = f"{model.stem}_{form[0].lower()}_{'us'[form[1]]}8_{('tensor', 'channel')[form[2]]}"
            yield quantised(real, few, folder / f"{name}.onnx", form), chosen.as_written
            for more, options in FURTHER.items() if form[0] == "QDQ" else ():
                path = quantised(real, few, folder / f"{name}_{more}.onnx", form, options)
                yield path, chosen.as_written or more == "bias"


def _quantisable(path: Path) -> onnx.ModelProto:
    """Return a model in an operator set that has scales for each channel: its own, or the first of these."""
    model = onnx.load(path)
    number = max((entry.version for entry in model.opset_import if not entry.domain), default=1)
    if number < _PER_CHANNEL:
        try:
            model = onnx.version_converter.convert_version(model, _PER_CHANNEL)
        except (onnx.version_converter.ConvertError, RuntimeError):
            raise UnsupportedModelError(
                f"Model {path.stem!r} has operator set {number}, and onnx cannot take it to {_PER_CHANNEL}; "
                f"export it with operator set {_PER_CHANNEL} or later."
            ) from None
    model.ir_version = min(model.ir_version, _KNOWN_TO_RUNTIMES)
    return model


_PER_CHANNEL = 13
"""First operator set whose quantisers may have a scale for each channel."""

_KNOWN_TO_RUNTIMES = 10
"""Version of the format of files that onnxruntime reads in all its releases that are tested."""

_CALIBRATION = 200
"""Samples on which onnxruntime chooses its ranges."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if an activation differs, 2 for bad input."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="quantised ONNX files")
    parser.add_argument("--data", required=True, help="data as the command line takes them")
    parser.add_argument("--input", default="auto", help="scale of pixels")
    parser.add_argument("--core", default="reference", help="core preset")
    parser.add_argument("--samples", type=int, help="only the first samples")
    parser.add_argument("--quantise", action="store_true", help="quantise the models first")
    parser.add_argument(
        "--as-written", action="store_true", help="let onnxruntime change nothing before it computes"
    )
    parser.add_argument("--emulated", type=int, default=0, help="emulate only the first samples")
    chosen = parser.parse_args(arguments)
    wrong = 0
    try:
        print(HEAD)
        with TemporaryDirectory() as folder:
            for model, as_written in _models(chosen, Path(folder)):
                wrong += _row(model, chosen, as_written)
    except MappingError as error:
        print(f"int8_table: {error}", file=sys.stderr)
        return 2
    return int(wrong > 0)


def _row(model: Path, chosen: argparse.Namespace, as_written: bool) -> int:
    """Print the line of a model; return how many activations differ."""
    data, _ = scaled(load_data(chosen.data).first(chosen.samples), chosen.input, load_onnx(model))
    found = compared(
        model,
        data.x,
        core=chosen.core,
        emulated=chosen.emulated,
        runtime=Runtime(model, optimised=not as_written),
    )
    cells = (model.stem, found.samples, found.activations, found.network, found.image)
    print(f"| {' | '.join(map(str, cells))} | {found.host_share:.2%} |", flush=True)
    return found.network + found.image


if __name__ == "__main__":
    sys.exit(main())
