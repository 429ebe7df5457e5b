# SPDX-License-Identifier: Apache-2.0
"""What one bench run needs, computed before the simulator starts: flits to send, values to expect."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.gates import inlets_of
from emu.host import load_flits, read_request, run_flits
from emu.image import SystemImage
from emu.spec import SystemSpec
from emu.topology import alive
from emu.trace import VISIT, RunResult, Stimulus
from emu.words import Section, counters_of
from sim_tests.bench.memories import Held, expected_memories
from sim_tests.bench.prelude import Phase, draw_resets
from sim_tests.bench.status import expected_status

__all__ = ["BenchJob", "load_result", "prepare", "save_result"]


@dataclass(frozen=True, kw_only=True, eq=False)
class BenchJob:
    """One image and one stimulus as flits, with the expected neuron beats.

    Parameters
    ----------
    spec : sizes of the chip.
    neurons : int64 (cores,), neurons of each enabled core, -1 where disabled.
    load, run : uint64, flits of loading and of the run, the streams of several inlets one after the other.
    steps : timesteps.
    elapsed : cycles that the run is expected to take; a bench gives up well after them.
    beats : int64 (b, fields), sorted: `emu.trace.VISIT` and the crossed thresholds that are expected.
    status : int64 (cores, 4), see `sim_tests.bench.status.expected_status`.
    host : int64 (2,), of every so many cycles the host takes flits in so many, see `emu.trace.HostPace`.
    seed : of everything that the chip goes through before it is loaded.
    resets : int64 (r, 2): `sim_tests.bench.prelude.Phase` and how far into it, of each reset in mid-run.
    held : int64 (h, 3): core, section and number of chunks of every memory that the run must leave alone.
    chunks : uint16, what these memories hold, one after the other.
    """

    spec: SystemSpec
    neurons: NDArray[np.int64]
    load: NDArray[np.uint64]
    run: NDArray[np.uint64]
    steps: int
    elapsed: int
    beats: NDArray[np.int64]
    status: NDArray[np.int64]
    host: NDArray[np.int64]
    seed: int
    resets: NDArray[np.int64]
    held: NDArray[np.int64]
    chunks: NDArray[np.uint16]

    def save(self, path: Path) -> None:
        """Write the job for the simulator process (npz, no pickle)."""
        arrays = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "spec"}
        np.savez(path, spec=np.frombuffer(json.dumps(self.spec.to_dict()).encode(), np.uint8), **arrays)

    @classmethod
    def load_file(cls, path: Path) -> BenchJob:
        """Read a job back."""
        with np.load(path, allow_pickle=False) as data:
            fields = {name: data[name] for name in data.files}
        spec = SystemSpec.from_dict(json.loads(fields.pop("spec").tobytes()))
        scalars: dict[str, Any] = {n: int(fields.pop(n)) for n in ("steps", "elapsed", "seed")}
        return cls(spec=spec, **scalars, **fields)

    @property
    def alive(self) -> list[int]:
        """The cores that are neither dead nor cut off: the others send, tell and hear nothing."""
        found: list[int] = np.flatnonzero(alive(self.spec)).tolist()
        return found

    def read_requests(self) -> list[tuple[int, Section, NDArray[np.uint64], int]]:
        """Return (core, section, request flits, chunks): all counters, and the state of enabled cores."""
        out, counters = [], len(counters_of(self.spec))
        for core in self.alive:
            neurons = self.neurons[core]
            out.append((core, Section.COUNTER, *read_request(self.spec, core, Section.COUNTER, counters)))
            if neurons > 0:
                out.append((core, Section.STATE, *read_request(self.spec, core, Section.STATE, int(neurons))))
        return out

    def memories(self) -> Iterator[Held]:
        """Yield what every memory must hold after the run."""
        at = 0
        for core, section, count in self.held.tolist():
            yield core, Section(section), self.chunks[at : at + count]
            at += count


def prepare(
    image: SystemImage, stimulus: Stimulus, expected: RunResult, *, seed: int = 0, phases: int = len(Phase)
) -> BenchJob:
    """Return the job of a run whose expected result (with potentials) is known.

    Parameters
    ----------
    image, stimulus, expected : the run.
    seed : of what the chip goes through before.
    phases : how many of `sim_tests.bench.prelude.Phase` it is reset in, drawn by the seed.

    Raises
    ------
    ValueError : the expected result has no potentials or no cycles, so a bench would compare too little.
    """
    if expected.visits is None:
        raise ValueError("Expected result must carry potentials; run the machine with potentials=True.")
    if expected.elapsed is None:
        raise ValueError("Expected result must carry cycles; run the machine with cycles=True.")
    counts = {tuple(row[:3]): int(row[3]) for row in expected.spikes.tolist()}
    beats = [(*row, counts.get(tuple(row[:3]), 0)) for row in expected.visits.tolist()]
    inlets = range(len(inlets_of(image.spec.gates)))
    run = np.concatenate([run_flits(image.spec, stimulus, inlet)[0] for inlet in inlets])
    held = expected_memories(image)
    return BenchJob(
        spec=image.spec,
        neurons=np.array([-1 if core is None else core.neurons for core in image.cores]),
        load=load_flits(image),
        run=run,
        steps=stimulus.steps,
        elapsed=expected.elapsed,
        beats=np.array(beats, np.int64).reshape(-1, len(VISIT) + 1),
        status=expected_status(image, stimulus, expected),
        host=np.array([stimulus.host.period, stimulus.host.taken]),
        seed=seed,
        resets=np.array(draw_resets(seed, phases), np.int64).reshape(-1, 2),
        held=np.array([(core, section, len(chunks)) for core, section, chunks in held], np.int64),
        chunks=np.concatenate([chunks for _, _, chunks in held]),
    )


_OPTIONAL = ("visits", "finish", "gateway", "outlets")
_GROUPS = ("counters", "state")


def save_result(result: RunResult, path: Path) -> None:
    """Write a result, whole or not at all, for the process that started the simulator."""
    arrays = {name: getattr(result, name) for name in ("spikes", "outputs", *_OPTIONAL)}
    for group in _GROUPS:
        arrays |= {f"{group}_{name}": values for name, values in getattr(result, group).items()}
    head = {"mode": result.mode, "steps": result.steps, "elapsed": result.elapsed, "engine": result.engine}
    present = {name: values for name, values in arrays.items() if values is not None}
    partial = path.with_name(f".{path.name}.part")
    try:
        with partial.open("wb") as file:
            np.savez(file, head=np.frombuffer(json.dumps(head).encode(), np.uint8), **present)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load_result(path: Path) -> RunResult:
    """Read a result back."""
    with np.load(path, allow_pickle=False) as data:
        fields = {name: data[name] for name in data.files}
    head = json.loads(fields.pop("head").tobytes())
    groups: dict[str, Any] = {
        group: {
            name.removeprefix(f"{group}_"): fields.pop(name)
            for name in list(fields)
            if name.startswith(f"{group}_")
        }
        for group in _GROUPS
    }
    return RunResult(**head, **fields, **groups)
