# SPDX-License-Identifier: Apache-2.0
"""What a run reached: the share of every corner of the contract, and the proof that a batch reached all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emu.image import SystemImage
from emu.spec import CoreSpec
from emu.tables import columns_of
from emu.trace import VISIT, RunResult, Stimulus
from emu.words import STATE_FIELDS, Emission, Kind, Reset, Section

__all__ = ["coverage", "require_coverage", "unreachable"]

Shares = Sequence[bool] | NDArray[np.bool_]

_VISIT = {name: VISIT.index(name) for name in STATE_FIELDS}

_COUNTED = {
    "contention": "send_stall",
    "merges": "merges",
    "saturation": "saturations",
    "errors": "errors",
    "router errors": "router_errors",
}
"""Corners that a counter of a core tells, when it is not zero."""


def coverage(image: SystemImage, stimulus: Stimulus, result: RunResult) -> dict[str, float]:
    """Return for each corner of the contract the share of the run that was in it.

    Parameters
    ----------
    image, stimulus : what was run.
    result : of a run with cycles and potentials.

    Returns
    -------
    Shares of steps (spikes, idle, output), of cores (contention: a core that had to wait for its router at
    least once, which needs a full FIFO and so a refused grant behind it; merges, saturation, errors, router
    errors, disabled, empty), of stored potentials (negative), of packets and fan-out entries (multicast), of
    rows of spikes (count, unary with c > 1, each reset, crossings), of steps of a schedule (windows), of
    systems (all others).
    """
    shares: dict[str, Shares] = {
        **_of_run(image, stimulus, result),
        **_of_stimulus(stimulus),
        **_of_windows(image),
        **_of_spikes(image, result),
        **_of_options(image, result),
        **{name: [holds] for name, holds in _sizes(image.spec.core).items()},
        **{name: result.counters[counter] > 0 for name, counter in _COUNTED.items()},
    }
    return {name: float(np.mean(share)) if len(share) else 0.0 for name, share in shares.items()}


def _of_run(image: SystemImage, stimulus: Stimulus, result: RunResult) -> dict[str, Shares]:
    """Return what steps, potentials, rectangles and programs were."""
    assert result.potentials is not None
    fired, steps = set(result.spikes[:, 0].tolist()), range(result.steps)
    active = fired | set(stimulus.step.tolist())
    programs = [core for core in image.cores if core is not None]
    rectangles = [row for core in programs for row in core.fanout.tolist()] + stimulus.packet.tolist()
    return {
        "spikes": [step in fired for step in steps],
        "idle steps": [step not in active for step in steps],
        "outputs": [step in result.outputs[:, 0] for step in steps],
        "negative potentials": result.potentials[:, 3] < 0,
        "multicast": [r[0] < r[1] or r[2] < r[3] for r in rectangles],
        "disabled cores": [core is None for core in image.cores],
        "cores without neurons": [core.neurons == 0 for core in programs],
        "schedules with several entries": [any(len(core.schedule) > 1 for core in programs)],
    }


def _of_stimulus(stimulus: Stimulus) -> dict[str, Shares]:
    """Return which control packets came at illegal times, and how the host took flits."""
    rows = zip(stimulus.step.tolist(), stimulus.strays.tolist(), strict=True)
    after_token = [stray and step not in stimulus.step[:at] for at, (step, stray) in enumerate(rows)]
    return {
        "control packets while running": stimulus.strays,
        "reads right behind a token": [
            after and kind == Kind.READ for after, kind in zip(after_token, stimulus.kind, strict=True)
        ],
        "a host that does not always take": [stimulus.host.taken < stimulus.host.period],
    }


def _of_windows(image: SystemImage) -> dict[str, Shares]:
    """Return how many thresholds the entries of the schedules compare."""
    entries = [columns_of(Section.SCHEDULE, core.schedule) for core in image.cores if core is not None]
    windows = [g for entry in entries for g in entry["threshold_count"][entry["fire"] > 0].tolist()]
    return {
        **{f"windows of {g} thresholds": [window == g for window in windows] for g in (0, 1, 4, 5, 255)},
    }


def _of_spikes(image: SystemImage, result: RunResult) -> dict[str, Shares]:
    """Return how neurons that fired emit and reset, and how many thresholds they crossed."""
    rows = [(image.cores[core], neuron, c) for _, core, neuron, c in result.spikes.tolist()]
    spikes = [(core, neuron, c) for core, neuron, c in rows if core is not None]
    kinds = [(core.of_profile("emission")[i], c) for core, i, c in spikes if core.connected[i]]
    resets = [core.of_profile("reset")[i] for core, i, _ in spikes]
    return {
        **{f"{e.name.lower()} emission": [kind == e for kind, _ in kinds] for e in Emission},
        "unary emission with c > 1": [kind == Emission.UNARY and c > 1 for kind, c in kinds],
        "constants below zero": [kind == Emission.CONSTANT and c < 0 for kind, c in kinds],
        "crossings above 7": [c > 7 for _, _, c in spikes],
        "crossings above 127": [c > 127 for _, _, c in spikes],
        "crossings below zero": [c < 0 for _, _, c in spikes],
        **{f"reset {r.name.lower()}": [reset == r for reset in resets] for r in Reset},
    }


def _of_options(image: SystemImage, result: RunResult) -> dict[str, Shares]:
    """Return which options programs use, and what their neurons hold."""
    programs = [core for core in image.cores if core is not None]
    neurons = [core for core in programs if core.neurons]
    state = result.visits
    assert state is not None
    ties = [bool(tie) for core in programs for tie in core.ladders[:, 3]]
    lanes = image.spec.core.lanes
    return {
        "several digits": [len(core.strengths) > 1 for core in programs],
        "digits that do not divide the lanes": [lanes % len(core.strengths) > 0 for core in programs],
        "several blocks": [core.blocks(image.spec) > 1 for core in neurons],
        "axons on a common line": [len(core.crossbar) < core.axons for core in programs],
        "extended axons": [int(core.extension) > 1 for core in programs],
        "shifted axons": [bool(core.shifts.any()) for core in programs],
        "ladders": [core.is_ladder for core in programs],
        "ladders with ties to even": ties,
        "currents": state[:, _VISIT["current"]] != 0,
        "refractory neurons": state[:, _VISIT["refractory"]] > 0,
        "neurons refractory for ever": state[:, _VISIT["refractory"]] == image.spec.core.refractory_max,
        "decays": [bool(core.of_profile("potential_decay").any()) for core in neurons],
        "several profiles": [len(core.profiles) > 1 for core in neurons],
    }


def _sizes(core: CoreSpec) -> dict[str, bool]:
    """Return the corners that a core is in, or is not, whatever it runs."""
    return {
        "cores of one block": core.words == 1,
        "sums whose width is given": core.sum_bits != core.resized(sum_bits=0).sum_bits,
        "axon ids that fill the flit": core.flit_axon_bits == core.axon_bits,
        "potentials wider than drives": core.potential_bits > core.drive_bits,
        "potentials narrower than drives": core.potential_bits < core.drive_bits,
    }


def unreachable(core: CoreSpec) -> set[str]:
    """Return the shares of `coverage` that are zero for every program of a core."""
    names = {name for name, holds in _sizes(core).items() if not holds}
    if min(core.thresholds, core.payload_max) < 255:
        names |= {"windows of 255 thresholds", "crossings above 127"}
    absent = {
        ("several digits",): core.strengths > 1,
        ("digits that do not divide the lanes",): core.strengths > 2,
        ("several blocks",): core.words > 1,
        ("extended axons",): core.max_extension > 1,
        ("shifted axons",): core.axon_shifts,
        ("ladders", "ladders with ties to even"): core.ladder,
        ("crossings below zero", "constants below zero"): core.signed_ladder,
        ("currents",): core.synaptic_current,
        ("refractory neurons", "neurons refractory for ever"): core.refractory_bits > 0,
        ("decays",): core.decay,
        ("crossings above 7",): core.payload_max > 7,
        ("windows of 4 thresholds",): core.payload_max >= 4 or core.thresholds >= 4,
    }
    return names | {name for group, reached in absent.items() if not reached for name in group}


def require_coverage(batch: Sequence[dict[str, float]]) -> None:
    """Check that a batch of runs was in every corner at least once.

    Parameters
    ----------
    batch : what `coverage` returned for each run.

    Raises
    ------
    AssertionError : naming every share that is zero in all runs; also for an empty batch.
    """
    assert batch, "coverage needs at least one run"
    missing = [name for name in batch[0] if not any(shares[name] for shares in batch)]
    assert not missing, f"the batch must reach every corner, it missed: {', '.join(missing)}"
