# SPDX-License-Identifier: Apache-2.0
"""The systems of an image file: the whole, or its cores alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emu.container import load_image
from emu.errors import clause
from emu.image import SystemImage
from emu.loading import all_cores
from emu.machine import Machine
from emu.trace import Stimulus
from mapping.datasets.npz import read_arrays
from mapping.errors import MappingError
from sim_tests.bench.alone import Alone, chosen_cores, programs_of
from sim_tests.bench.systems import LIMIT_CORES, LIMIT_CYCLES, System, VerifyError, readable
from sim_tests.bench.top import gates_of
from sim_tests.generators.systems import make_stimulus

__all__ = ["Share", "image_systems", "read_stimulus"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Which share of an image is verified core by core.

    Parameters
    ----------
    cores, of_cores : cores that are verified, of all that have programs.
    programs, of_programs : how many different programs these have, of all that there are.
    """

    cores: int
    of_cores: int
    programs: int
    of_programs: int


def read_stimulus(path: Path) -> Stimulus:
    """Read a stimulus file (npz with steps, step, packet, and inlet where a packet enters by another).

    Raises
    ------
    VerifyError : it is no such file.
    """
    if not path.exists():
        raise VerifyError(f"There is no stimulus file {path}.")
    try:
        arrays = read_arrays(path, ("steps", "step", "packet"), optional=("inlet",))
        whole = all(array.dtype.kind in "iu" for array in arrays.values()) and not arrays["steps"].ndim
        if whole:
            return Stimulus(**arrays | {"steps": int(arrays["steps"])})
    except (MappingError, ValueError, OverflowError) as error:
        raise VerifyError(
            f"{path} is no stimulus (an npz of steps, step, packet): {clause(error)}."
        ) from error
    raise VerifyError(f"{path} is no stimulus: steps, step and packet must be whole numbers.")


def _default_stimulus(image: SystemImage, seed: int, steps: int = 8) -> Stimulus:
    """Return random events on the image's inputs, or on the first axons of all cores if it has none."""
    rng, spec = np.random.default_rng(seed), image.spec
    packets, inlets = image.input_packet, image.input_inlet
    if not len(packets):
        axons = range(min(spec.core.axons, 8))
        packets = np.array([[*place, axon] for axon in axons for place in all_cores(spec)])
        inlets = np.arange(len(packets), dtype=np.int32) % (1 if spec.dead is not None else gates_of(spec)[0])
    step, which = np.nonzero(rng.random((steps, len(packets))) < 0.3)
    rows = np.column_stack((step, packets[which], np.ones_like(step)))
    return make_stimulus(steps, rows.tolist(), inlet=inlets[which].tolist())


def image_systems(
    path: Path, stimulus: Path | None, seed: int, cores: int | None = None
) -> tuple[list[System], Share | None]:
    """Return what is verified of an image file: the whole system, or some of its cores alone.

    Parameters
    ----------
    path, stimulus : the image, and what the host feeds it; random events without.
    seed : of random events, of what chips go through before they run, and of the order of programs.
    cores : how many cores are verified alone. Without it a system of more than `LIMIT_CORES` is verified by
        one core of each program, and a smaller one whole.

    Returns
    -------
    The systems, and which share of the image they are if they are cores alone.

    Raises
    ------
    VerifyError : a file is missing or damaged, or the run is too long to be simulated.
    """
    image = _load(path)
    events = _default_stimulus(image, seed) if stimulus is None else read_stimulus(stimulus)
    alone = cores is not None or image.spec.cores > LIMIT_CORES
    try:
        if alone:
            systems, share = _alone(Alone(image, events), seed, cores)
        else:
            expected = readable(image, Machine(image).run(events, cycles=True, potentials=True))
            name = f"image {path.name}"
            whole = System(name=name, image=image, stimulus=events, expected=expected, seed=seed)
            systems, share = [whole], None
    except ValueError as error:
        raise VerifyError(f"{stimulus} does not fit {path}: {clause(error)}.") from error
    if not systems:
        raise VerifyError(
            f"{path} has no core with a program to verify; compare the hardware on random programs with "
            "'spikeloom verify --random 20'."
        )
    for system in systems:
        if system.expected.elapsed is not None and system.expected.elapsed > LIMIT_CYCLES:
            where = f"{system.name} of {path}" if alone else path
            raise VerifyError(
                f"{where} takes {system.expected.elapsed} cycles with this stimulus, more than the "
                f"{LIMIT_CYCLES} that are simulated; use fewer samples or steps."
            )
    return systems, share


def _load(path: Path) -> SystemImage:
    try:
        return load_image(path)
    except FileNotFoundError:
        raise VerifyError(f"There is no image file {path}.") from None
    except (OSError, ValueError) as error:
        raise VerifyError(f"{clause(error)}.") from error


def _alone(whole: Alone, seed: int, cores: int | None) -> tuple[list[System], Share]:
    """Return systems of cores alone, as different as can be, and which share of an image they are."""
    programs = programs_of(whole.image)
    chosen = chosen_cores(programs, whole.result.counters["deliveries"], cores, seed)
    of = {core: number for number, members in enumerate(programs) for core in members}
    width = whole.image.spec.width
    systems = [
        whole.system(at, f"core ({at % width}, {at // width})", seed + number)
        for number, at in enumerate(chosen)
    ]
    share = Share(
        cores=len(chosen),
        of_cores=len(of),
        programs=len({of[at] for at in chosen}),
        of_programs=len(programs),
    )
    return systems, share
