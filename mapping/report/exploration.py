# SPDX-License-Identifier: Apache-2.0
"""Bits and digits of the graded code against each other: what each setting gives, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mapping.chip import Chip
from mapping.codes.choice import AUTO, CODES, code_of
from mapping.codes.graded.convert import AUTO_DIGITS, GradedOptions
from mapping.datasets.load import CALIBRATION, Dataset, batches, scaled
from mapping.errors import InfeasibleError, MappingError, OptionError, UnsupportedModelError
from mapping.flow import compile_network
from mapping.model.network import Network
from mapping.report.activity import Activity, observe
from mapping.report.answers import answers
from mapping.report.emulated import report_machine
from mapping.report.keys import difference_keys
from mapping.spiking.simulate import decode, encode, simulate
from mapping.stages import stage
from mapping.targets.files import Target, load_target

__all__ = [
    "BITS",
    "DIGITS",
    "EMULATED",
    "EXPLORATION_KEYS",
    "Exploration",
    "check_exploration",
    "explore",
]

BITS = (4, 6, 8)
"""Bits of an activation that are tried."""

DIGITS: tuple[int | Literal["auto"], ...] = (2, 3, 4, 5, AUTO_DIGITS)
"""Digits of a weight that are tried with each."""

EMULATED = 64
"""Samples on which spikes, latency and energy are measured, at most; answers are those of all samples."""

EXPLORATION_KEYS = (
    "bits",
    "digits",
    "refusal",
    "accuracy",
    "accuracy_difference",
    "accuracy_difference_low",
    "accuracy_difference_high",
    "agreement",
    "columns",
    "cores",
    "spikes",
    "latency_s",
    "energy_j",
    "pareto",
    "digits_by_layer",
    "samples",
    "samples_emulated",
)
"""Keys of every setting; all but the first two are None where the chip cannot take it."""

_COSTS = ("columns", "cores", "spikes", "latency_s", "energy_j")


def explore(
    network: Network,
    data: Dataset,
    target: Target | str = "loom",
    *,
    core: str | None = None,
    seed: int = 0,
    how: str = "auto",
    strict: bool = False,
    objective: str = "cores",
    code: str = AUTO,
    calibration: Dataset | None = None,
    options: GradedOptions | None = None,
    progress: Callable[[str], None] | None = None,
    **where: Any,
) -> list[dict[str, Any]]:
    """Return a row with `EXPLORATION_KEYS` for each of `BITS` with each of `DIGITS`.

    Parameters
    ----------
    options : GradedOptions, optional
        Seed and tolerance of all settings.
    network, data, target, core, seed, how, strict, objective, code, calibration, progress
        As of `mapping.report.machine.estimate`, for one cycle-exact target.
    **where
        As there too: ``chips``, ``shared_links``, ``wires``, ``gates`` and ``placer``.

    Raises
    ------
    MappingError
        If the network does not run in the graded code, or the data cannot be used.
    """
    chip = check_exploration(network, [target], code)
    data, chosen = scaled(data, how, network)
    samples = data.first(CALIBRATION) if calibration is None else scaled(calibration, chosen, network)[0]
    say = progress or (lambda _: None)
    say("running the float network")
    with stage("run"):
        truth = [answers(network, part.x).double for part in batches(data)]
    exploration = Exploration(
        network=network,
        data=data,
        truth=truth,
        samples=samples.x,
        target=chip,
        where={"core": core, **where},
        asked={"seed": seed, "strict": strict, "objective": objective},
        say=say,
    )
    return _marked(list(exploration.rows(options or GradedOptions())))


def check_exploration(network: Network, targets: Sequence[Target | str], code: str = AUTO) -> Target:
    """Return the target on which bits and digits of a network can be explored.

    Raises
    ------
    MappingError
        If it is not a single cycle-exact one, or the network does not run in the graded code.
    """
    chosen = code_of(network, code)
    if chosen is not CODES["graded"]:
        raise MappingError(
            f"Bits and digits are explored in the graded code, and network {network.name} would run in "
            f"{chosen.name}: choose --code graded, or leave --explore out."
        )
    loaded = [load_target(target) if isinstance(target, str) else target for target in targets]
    if len(loaded) != 1 or loaded[0].kind != "cycle-exact":
        names = ", ".join(target.name for target in loaded)
        raise MappingError(
            f"Bits and digits are explored on one cycle-exact target, not on {names}: "
            "choose --target loom, or leave --explore out."
        )
    return loaded[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class Exploration:
    """What all settings have in common.

    Parameters
    ----------
    network, target
        As of `explore`.
    where, asked : mapping
        Other arguments of `explore` that `compile_network` has too: what they are compiled for, and how.
    data : Dataset
        As the network takes them.
    truth : sequence of int64 (n,)
        Answers of the float network in float64, batch by batch.
    samples : float64 (n, input shape)
        Calibration samples.
    say : callable
        Told what is being done.
    """

    network: Network
    data: Dataset
    truth: Sequence[NDArray[np.int64]]
    samples: NDArray[np.float64]
    target: Target
    where: Mapping[str, Any]
    asked: Mapping[str, Any]
    say: Callable[[str], None]

    def rows(self, options: GradedOptions) -> Iterator[dict[str, Any]]:
        """Yield the row of each setting; what does not fit the chip is told in its row."""
        settings = [(bits, digits) for bits in BITS for digits in DIGITS]
        for number, (bits, digits) in enumerate(settings, 1):
            head = f"setting {number} of {len(settings)}: {bits} bits, digits {digits}"
            self.say(head)
            row = dict.fromkeys(EXPLORATION_KEYS) | {"bits": bits, "digits": digits}
            try:
                row |= self.row(replace(options, bits=bits, digits=digits), head)
            except (InfeasibleError, OptionError, UnsupportedModelError) as error:
                row["refusal"] = str(error)
            yield row

    def row(self, options: GradedOptions, head: str) -> dict[str, Any]:
        """Return what one setting gives and costs.

        Raises
        ------
        OptionError
            If a core has no such bits or digits.
        InfeasibleError, UnsupportedModelError
            If the chip cannot take the network.
        """
        chip = compile_network(
            self.network,
            target=self.target,
            **self.where,
            **self.asked,
            code="graded",
            samples=self.samples,
            options=options,
            progress=lambda text: self.say(f"{head}: {text}"),
        )
        self.say(f"{head}: running")
        with stage("run"):
            answers, part = self._answers(chip), self.data.first(EMULATED)
            costs = report_machine(chip, part, self.target, observe(chip.spiking, part))
        return {
            "accuracy": answers.accuracy,
            **difference_keys(answers),
            "agreement": answers.agreement,
            **{key: costs[key] for key in _COSTS},
            "digits_by_layer": {layer.name: len(layer.strengths) for layer in chip.spiking.layers},
            "samples": answers.samples,
            "samples_emulated": len(part.x),
        }

    def _answers(self, chip: Chip) -> Activity:
        """Return what the network of a chip answers to all samples; the chip computes the same."""
        answers, spiking = Activity(), chip.spiking
        for part, truth in zip(batches(self.data), self.truth, strict=True):
            logits = decode(spiking, simulate(spiking, encode(spiking, part.x)), part.x)
            answers.answer(logits, truth, part.y)
        return answers


def _marked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Tell of each row whether no other one agrees as much with as few columns and joules."""
    points = {at: _point(row) for at, row in enumerate(rows) if row["agreement"] is not None}
    for at, own in points.items():
        rows[at]["pareto"] = not any(
            other != own and all(a <= b for a, b in zip(other, own, strict=True)) for other in points.values()
        )
    return rows


def _point(row: dict[str, Any]) -> tuple[float, float, float]:
    """Return what is better the smaller it is."""
    return -row["agreement"], row["columns"], row["energy_j"]
