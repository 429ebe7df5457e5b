# SPDX-License-Identifier: Apache-2.0
"""The same chip with a new sample in every step: its rate, its latency and its energy."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.trace import RunResult
from mapping.chip import Chip
from mapping.datasets.load import Dataset
from mapping.errors import MappingError
from mapping.layout.host_tables import outputs_of
from mapping.layout.pipeline import UnpipelinedError, pipelined
from mapping.report.events import charged
from mapping.targets.energy import estimate_energy
from mapping.targets.files import Quantity, Target

__all__ = ["PIPELINED_SAMPLES", "pipelining"]

PIPELINED_SAMPLES = 33
"""Samples that are run one a step; the first of them fills the pipeline."""


def pipelining(chip: Chip, data: Dataset, target: Target, table: Mapping[str, Quantity]) -> dict[str, Any]:
    """Return what a report says of pipelined samples.

    A run of n samples less one of the first alone is n - 1 samples of a pipeline that is full: both fill and
    empty it alike. Latency is from the token before the packets of a sample to the one behind its output.

    Raises
    ------
    MappingError
        If other counts leave the chip than without a pipeline.
    """
    if len(data.x) < 2:
        return {"pipelining": "One sample fills no pipeline."}
    try:
        image = pipelined(chip.image, chip.spiking)
    except UnpipelinedError as error:
        return {"pipelining": str(error)}
    own, x = replace(chip, image=image), data.x[:PIPELINED_SAMPLES]
    many, one = (own.run(part, cycles=True).result for part in (x, x[:1]))
    _require_equal(own, many, chip, x)
    cycles = (_cycles(many) - _cycles(one)) / (len(x) - 1)
    seconds, cores = cycles / target.clock_hz, image.spec.cores
    counted = {name: (many.total(name) - one.total(name)) / (len(x) - 1) for name in many.counters}
    events = charged(image.spec, counted, cycles, table)
    energy = estimate_energy(events, seconds, cores, table)
    return {
        "throughput_pipelined_per_s": 1 / seconds,
        "latency_pipelined_s": _latency(many, chip.period) / target.clock_hz,
        "energy_pipelined_j": energy.total_j,
        "energy_pipelined_j_low": energy.low_j,
        "energy_pipelined_j_high": energy.high_j,
    }


def _cycles(result: RunResult) -> int:
    if result.elapsed is None:
        raise ValueError("result must be that of a run in cycle mode")
    return result.elapsed


def _latency(result: RunResult, period: int) -> float:
    """Return the mean cycles of all samples but the first, which no token goes before."""
    if result.gateway is None:
        raise ValueError("result must be that of a run in cycle mode")
    token: NDArray[np.int64] = result.gateway
    return float(np.mean(token[period + 1 :] - token[: -period - 1]))


def _require_equal(own: Chip, result: RunResult, chip: Chip, x: NDArray[np.float64]) -> None:
    """Refuse a report of a pipeline that gives other outputs."""
    alone = outputs_of(chip.image, chip.run(x).result, len(x))
    for name, counts in outputs_of(own.image, result, len(x)).items():
        if not np.array_equal(counts, alone[name]):
            raise MappingError(
                f"Pipelined samples give other counts of {name} than one after the other: please report it."
            )
