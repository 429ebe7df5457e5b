# SPDX-License-Identifier: Apache-2.0
"""Feed damaged files to every reader: each must be refused by the documented error, or work.

    python -m sim_tests.robustness.fuzz [onnx|image|npz|idx|stimulus|target|design] --cases N --seed S

A case is a number: its seed and the reader's name give the file. Whatever is accepted is used: a model is
converted and compared with its float network, an image runs in the emulator and in the oracle, data are
encoded, a target is put in a report. Any other exception, a warning or a difference is a failure.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from emu.container import load_image
from emu.image import FIELDS, CoreImage, ImageError, SystemImage
from emu.machine import Machine
from emu.passes import holds_passes
from emu.spec import SystemSpec
from emu.trace import diff
from emu.words import Section
from mapping.chip import open_chip
from mapping.codes.convert import convert
from mapping.datasets.load import Dataset, load_data
from mapping.errors import MappingError
from mapping.model.evaluate import infer
from mapping.model.load import load_network
from mapping.model.network import Network
from mapping.passes import open_passes
from mapping.report.activity import Activity, RunTotals, observe, total_of_runs
from mapping.report.closed_form import report_closed_form
from mapping.report.emulated import report_machine
from mapping.report.result import Report
from mapping.spiking.simulate import compare
from mapping.targets.files import TargetError, load_target
from rtl.export import VERILOG_FILES
from sim_tests.bench.exported import read_design
from sim_tests.bench.images import read_stimulus
from sim_tests.bench.systems import VerifyError, seeded_system
from sim_tests.generators.sound_files import (
    data_files,
    design_file,
    idx_files,
    images,
    passes_files,
    small_chip,
    small_models,
    stimuli,
    targets,
)
from sim_tests.generators.systems import random_system
from sim_tests.oracle.machine import run_oracle
from sim_tests.robustness.mutations import (
    Rng,
    damage_archive,
    damage_arrays,
    damage_bytes,
    damage_json,
    damage_model,
    damage_toml,
    flip_byte,
)
from sim_tests.robustness.pass_mutations import damage_passes
from spikeloom.structure import open_image, show_structure

__all__ = ["READERS", "Tally", "fuzz", "main", "offer", "same_image", "small_chip", "small_models"]

Read = Callable[[Path], str]

_TABLES = ("input_element", "input_packet", "output_element")

MOST_ELEMENTS = 20_000
"""Larger accepted models are not evaluated: that would take longer than all other cases."""


@dataclass(kw_only=True)
class Tally:
    """What became of the cases of one reader."""

    cases: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        ends = ", ".join(f"{count} {end}" for end, count in sorted(self.ends.items()))
        return f"{self.cases} cases: {ends}; {len(self.failures)} failures"


def _damage(data: bytes, rng: Rng, edit: Callable[[bytes, Rng], bytes]) -> bytes:
    """Return damaged bytes: by structure, anywhere, or by a single byte."""
    chance = rng.random()
    return edit(data, rng) if chance < 0.7 else (flip_byte if chance < 0.85 else damage_bytes)(data, rng)


def _use_network(network: Network) -> str:
    if sum(int(np.prod(shape)) for shape in network.shapes.values()) > MOST_ELEMENTS:
        return "accepted, too large to run"
    shape = network.shapes[network.input]
    try:
        spiking = convert(network)
    except MappingError:
        return "imported, not convertible"
    x = np.random.default_rng(1).normal(0.8, 1.0, (3, *shape))
    comparison = compare(spiking, x)
    assert not comparison.differences, f"the spiking network differs: {comparison.first}"
    return "converted, equal"


def _read_onnx(path: Path) -> str:
    return _use_network(load_network(path))


def same_image(one: SystemImage, other: SystemImage) -> bool:
    """Tell whether two images are equal in every field."""
    return (
        one.spec == other.spec
        and one.meta == other.meta
        and sorted(one.attachments) == sorted(other.attachments)
        and all(_same(one.attachments[k], other.attachments[k]) for k in one.attachments)
        and all(_same(getattr(one, k), getattr(other, k)) for k in _TABLES)
        and all(map(_same_core, one.cores, other.cores))
    )


def _same(one: Any, other: Any) -> bool:
    return one.dtype == other.dtype and np.array_equal(one, other)


def _same_core(one: CoreImage | None, other: CoreImage | None) -> bool:
    if one is None or other is None:
        return one is other
    return all(_same(getattr(one, name), getattr(other, name)) for name in FIELDS)


def _read_image(path: Path) -> str:
    image = load_image(path)
    with contextlib.suppress(MappingError):
        show_structure(open_image(str(path)))  # also one that differs from its network
    try:
        chip = open_chip(path)
    except MappingError:
        return _run_image(image)
    x = np.random.default_rng(2).normal(0.8, 1.0, (2, *chip.input_shape))
    try:
        x = chip.prepare(Dataset(name="random", x=x, y=None))[0].x
        got = chip.run(x)
    except MappingError:
        return "loaded, refused when run"
    assert np.array_equal(got.logits, infer(chip.spiking.network, x)), "the chip differs from its network"
    return "accepted, equal to its network"


def _read_passes(path: Path) -> str:
    assert isinstance(holds_passes(path), bool)
    passes = open_passes(path)
    x = np.random.default_rng(2).normal(0.8, 1.0, (2, *passes.input_shape))
    try:
        x = passes.prepare(Dataset(name="random", x=x, y=None))[0].x
        got = passes.run(x)[-1]
    except MappingError:
        return "loaded, refused when run"
    assert np.array_equal(got.logits, infer(passes.spiking.network, x)), (
        "the passes differ from their network"
    )
    return "accepted, equal to its network"


def _steps(image: SystemImage) -> int:
    """Return how many steps the schedules of all cores have."""
    return sum(int(core.columns(Section.SCHEDULE)["repeat"].sum()) for core in image.cores if core)


def _run_image(image: SystemImage) -> str:
    """Run an image that computes no network, and compare with the oracle."""
    if image.spec.cores > 64 or _steps(image) > 10_000:
        return "accepted, too large to run"
    stimulus = random_system(1, spec=image.spec)[1]
    got = Machine(image).run(stimulus, potentials=True)
    divergence = diff(run_oracle(image, stimulus, cycles=False), got)
    assert divergence is None, f"emulator and oracle: {divergence}"
    return "accepted, emulator equals oracle"


def _read_npz(path: Path) -> str:
    chip = small_chip()
    data = load_data(str(path)).first(4).shaped(chip.input_shape)
    inference = chip.run(data.x)
    right = inference.accuracy(data.y)
    assert right is None or 0 <= right <= 1
    return "accepted"


def _read_idx(path: Path) -> str:
    for name in set(idx_files()) - {path.name}:
        path.with_name(name).write_bytes(idx_files()[name])
    data = load_data(f"mnist:{path.parent}")
    assert data.y is not None
    assert len(data.x) == len(data.y)
    assert 0 <= data.y.min() <= data.y.max() < 10
    return "accepted"


@cache
def _doubt(spec: SystemSpec) -> str | None:
    return seeded_system(1, spec).doubt


def _read_design(path: Path) -> str:
    for name in VERILOG_FILES:
        path.with_name(name).touch()
    spec, _ = read_design(path.parent)
    if spec.cores > 16 or spec.core.axons * spec.core.columns > 2**16:
        return "accepted, too large to run"
    doubt = _doubt(spec)
    assert doubt is None, doubt
    return "accepted, emulator equals oracle"


def _read_stimulus(path: Path) -> str:
    stimulus = read_stimulus(path)
    image = stimuli()[int(path.stem)][0]
    if stimulus.steps > 1000:
        return "accepted, too long to run"
    try:
        result = Machine(image).run(stimulus)
    except ValueError as error:
        if str(error).startswith("Stimulus packet"):
            return "refused by the machine"
        raise
    divergence = diff(run_oracle(image, stimulus, cycles=False), result)
    assert divergence is None, f"emulator and oracle: {divergence}"
    return "accepted, emulator equals oracle"


@cache
def _machine_run() -> tuple[Dataset, RunTotals, Activity]:
    x = np.random.default_rng(3).normal(0.8, 1.0, (2, *small_chip().input_shape))
    data = Dataset(name="random", x=x, y=np.array([0, 2]))
    return data, total_of_runs(small_chip(), data, cycles=True), observe(small_chip().spiking, data)


def _read_target(path: Path) -> str:
    target = load_target(path)
    data, totals, activity = _machine_run()
    part = (
        report_machine(small_chip(), data, target, activity, totals=totals)
        if target.kind == "cycle-exact"
        else report_closed_form(small_chip().spiking, activity, target)
    )
    Report(model="m", data="d", input="raw", seed=0, targets=[part], float32=activity.single).to_json()
    assert part["energy_j_low"] <= part["energy_j"] <= part["energy_j_high"], "low..high does not hold energy"
    return "accepted"


@dataclass(frozen=True, kw_only=True)
class _Reader:
    make: Callable[[Rng], tuple[str, bytes]]
    read: Read
    refusals: tuple[type[Exception], ...]


def _from(
    sources: Callable[[], Sequence[bytes]], edit: Callable[[bytes, Rng], bytes], suffix: str
) -> Callable[[Rng], tuple[str, bytes]]:
    def make(rng: Rng) -> tuple[str, bytes]:
        files = sources()
        return f"case{suffix}", _damage(files[int(rng.integers(len(files)))], rng, edit)

    return make


def _make_idx(rng: Rng) -> tuple[str, bytes]:
    name = sorted(idx_files())[int(rng.integers(2))]
    packed = name.endswith(".gz")

    def edit(data: bytes, rng: Rng) -> bytes:
        return (
            gzip.compress(damage_bytes(gzip.decompress(data), rng), mtime=0)
            if packed
            else damage_bytes(data, rng)
        )

    return name, _damage(idx_files()[name], rng, edit)


def _make_stimulus(rng: Rng) -> tuple[str, bytes]:
    at = int(rng.integers(len(stimuli())))
    return f"{at}.npz", _damage(stimuli()[at][1], rng, damage_arrays)


READERS: Mapping[str, _Reader] = {
    "onnx": _Reader(
        make=_from(small_models, damage_model, ".onnx"), read=_read_onnx, refusals=(MappingError,)
    ),
    "image": _Reader(
        make=_from(images, damage_archive, ".spikeloom"), read=_read_image, refusals=(ImageError,)
    ),
    "passes": _Reader(
        make=_from(passes_files, damage_passes, ".spikeloom"),
        read=_read_passes,
        refusals=(ImageError, MappingError),
    ),
    "npz": _Reader(make=_from(data_files, damage_arrays, ".npz"), read=_read_npz, refusals=(MappingError,)),
    "idx": _Reader(make=_make_idx, read=_read_idx, refusals=(MappingError,)),
    "stimulus": _Reader(make=_make_stimulus, read=_read_stimulus, refusals=(VerifyError,)),
    "target": _Reader(
        make=_from(targets, damage_toml, ".toml"), read=_read_target, refusals=(TargetError, MappingError)
    ),
    "design": _Reader(
        make=lambda rng: ("chip.json", _damage(design_file(), rng, damage_json)),
        read=_read_design,
        refusals=(VerifyError,),
    ),
}
"""What is fuzzed: how a case is made, how it is read and used, and the errors that refuse it."""


def _sound(error: Exception) -> bool:
    """Tell whether an error is one sentence that says something."""
    text = str(error)
    return 20 < len(text) < 1500 and text.isprintable()


def offer(name: str, path: Path, tally: Tally, label: str) -> None:
    """Let a reader read a file and add to ``tally`` how it ended; ``label`` names the case in a failure."""
    reader = READERS[name]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            tally.ends[reader.read(path)] += 1
    except reader.refusals as error:
        tally.ends["refused"] += 1
        if not _sound(error):
            tally.failures.append(f"{label}: no sentence: {error!r}")
    except Exception:  # noqa: BLE001 - every other exception is what is looked for
        text = traceback.format_exc(limit=-4).strip()
        tally.failures.append(f"{label}:\n{text}")


def fuzz(name: str, *, cases: int, seed: int, first: int = 0) -> Tally:
    """Run cases of one reader.

    Parameters
    ----------
    name : a key of `READERS`.
    cases, seed : how many, and the seed that with a case's number gives its file.
    first : number of the first case.
    """
    reader, tally = READERS[name], Tally()
    with tempfile.TemporaryDirectory(prefix="spikeloom-fuzz-") as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(first, first + cases):
            rng = np.random.default_rng([seed, number])
            file, data = reader.make(rng)
            path = Path(folder) / file
            path.write_bytes(data)
            tally.cases += 1
            offer(name, path, tally, f"{name} case {number} seed {seed}")
    return tally


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; the exit code is 1 if any case failed."""
    parser = argparse.ArgumentParser(
        prog="sim_tests.robustness.fuzz", description="Feed damaged files to every reader."
    )
    parser.add_argument("reader", nargs="*", choices=[*READERS, []], help="default: all")
    parser.add_argument("--cases", type=int, default=1000, help="cases of each reader")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    failed = 0
    for name in options.reader or READERS:
        tally = fuzz(name, cases=options.cases, seed=options.seed, first=options.first)
        for failure in tally.failures:
            print(failure)
        print(f"{name}: {tally}")
        failed += len(tally.failures)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
