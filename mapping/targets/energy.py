# SPDX-License-Identifier: Apache-2.0
"""Energy from event counts and a table of energies per event.

The counts come from the emulator or the hardware, the table from a target file; neither knows the other
(the separation of Accelergy, Wu et al. 2019). Every result is a central value with the range that the
table's own bounds imply.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Real
from types import MappingProxyType

from emu.spec import CoreSpec
from mapping.targets.files import Quantity

__all__ = ["UNIT_OF_EVENT", "EnergyBreakdown", "estimate_energy", "resized"]

UNIT_OF_EVENT: Mapping[str, str] = MappingProxyType(
    {
        "crossbar_words": "crossbar",
        "synaptic_operations": "crossbar",
        "synaptic_operations_dense": "crossbar",
        "synaptic_events": "crossbar",
        "deliveries": "crossbar",
        "neuron_updates": "neurons",
        "neurons_active": "neurons",
        "neurons_inactive": "neurons",
        "thresholds": "neurons",
        "packets": "network",
        "messages": "network",
        "hops": "network",
        "token_hops": "network",
        "link_bits": "links",
        "program_flits": "loading",
        "program_bits": "loading",
        "core_cycles": "clock",
        "leakage": "static",
    }
)
"""Hardware unit that each event of an energy table belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyBreakdown:
    """Energy of one run, in joules.

    Parameters
    ----------
    total_j, low_j, high_j : float
        Central value, and the sums with every event at its lower or upper bound.
    per_event_j : Mapping[str, float]
        Central value by event, ``leakage`` included; sums to ``total_j``.
    per_unit_j : Mapping[str, float]
        Central value by hardware unit (``UNIT_OF_EVENT``); sums to ``total_j``.
    per_layer_j : Mapping[str, float]
        Central value of the events counted by layer. Leakage belongs to no layer, and neither do events that
        were counted only in total, so this sums to at most ``total_j``.
    per_unit_low_j, per_unit_high_j, per_layer_low_j, per_layer_high_j : Mapping[str, float]
        The same with every event at its lower or upper bound.
    """

    total_j: float
    low_j: float
    high_j: float
    per_event_j: Mapping[str, float]
    per_unit_j: Mapping[str, float]
    per_layer_j: Mapping[str, float]
    per_unit_low_j: Mapping[str, float]
    per_unit_high_j: Mapping[str, float]
    per_layer_low_j: Mapping[str, float]
    per_layer_high_j: Mapping[str, float]

    @property
    def static_share(self) -> float | None:
        """Share of ``total_j`` that is drawn whatever the activity; None if there is no energy at all."""
        return self.per_unit_j["static"] / self.total_j if self.total_j else None

    @property
    def idle_share(self) -> float | None:
        """Share of ``total_j`` that no spike causes: clock and leakage; None without a clock or an energy."""
        if "clock" not in self.per_unit_j or not self.total_j:
            return None
        return (self.per_unit_j["clock"] + self.per_unit_j["static"]) / self.total_j


def estimate_energy(
    counts: Mapping[str, int | float],
    seconds: float,
    cores: int,
    table: Mapping[str, Quantity],
    *,
    layers: Mapping[str, Mapping[str, int | float]] | None = None,
) -> EnergyBreakdown:
    """Return sum(count x energy per event) + cores x leakage x time.

    Parameters
    ----------
    counts : Mapping[str, int or float]
        Events by the names of the table; an event left out counts as zero. Means per inference are fine.
    seconds : float
        Time during which the cores leak, in s.
    cores : int
        Cores that leak, used or not.
    table : Mapping[str, Quantity]
        The ``energy`` section of a target.
    layers : Mapping[str, Mapping[str, int or float]], optional
        The same events by layer name; for no event may the layers sum to more than ``counts``.

    Returns
    -------
    EnergyBreakdown
        Energies in J.

    Raises
    ------
    TypeError
        If a count, ``seconds`` or ``cores`` is not a number.
    ValueError
        If one is negative or not finite, ``cores`` is a fraction, an event is not in the table, or the layers
        exceed the totals.
    """
    layers = {} if layers is None else layers
    if not _amount("Cores", cores).is_integer():
        raise ValueError(f"Cores must be a whole number, not {cores!r}.")
    leaking_s = _amount("Cores", cores) * _amount("Seconds", seconds)
    events = _checked(counts, table, "counts")
    by_layer = {name: _checked(part, table, f"layer {name!r}") for name, part in layers.items()}
    _check_layer_sums(events, by_layer)

    amounts = {**events, "leakage": leaking_s}
    joules, low, high = (
        {event: getattr(quantity, bound) for event, quantity in table.items()}
        for bound in ("si", "si_low", "si_high")
    )
    return EnergyBreakdown(
        total_j=math.fsum(_per_event(amounts, joules).values()),
        low_j=math.fsum(_per_event(amounts, low).values()),
        high_j=math.fsum(_per_event(amounts, high).values()),
        per_event_j=MappingProxyType(_per_event(amounts, joules)),
        per_unit_j=_per_unit(amounts, joules),
        per_unit_low_j=_per_unit(amounts, low),
        per_unit_high_j=_per_unit(amounts, high),
        per_layer_j=_per_layer(by_layer, joules),
        per_layer_low_j=_per_layer(by_layer, low),
        per_layer_high_j=_per_layer(by_layer, high),
    )


def _per_event(amounts: Mapping[str, float], joules: Mapping[str, float]) -> dict[str, float]:
    """Return the energy of each event."""
    return {event: amount * joules[event] for event, amount in amounts.items()}


def _per_unit(amounts: Mapping[str, float], joules: Mapping[str, float]) -> Mapping[str, float]:
    """Return the energy of each hardware unit."""
    units: dict[str, float] = {}
    for event, energy in _per_event(amounts, joules).items():
        units[UNIT_OF_EVENT[event]] = units.get(UNIT_OF_EVENT[event], 0.0) + energy
    return MappingProxyType(units)


def _per_layer(layers: Mapping[str, Mapping[str, float]], joules: Mapping[str, float]) -> Mapping[str, float]:
    """Return the energy of the events of each layer."""
    sums = {name: math.fsum(_per_event(part, joules).values()) for name, part in layers.items()}
    return MappingProxyType(sums)


def resized(table: Mapping[str, Quantity], described: CoreSpec, own: CoreSpec) -> Mapping[str, Quantity]:
    """Return an energy table for cores of another size.

    Parameters
    ----------
    table : Mapping[str, Quantity]
        The ``energy`` section of a target.
    described, own : CoreSpec
        The core that the table describes, and the core that is wanted.

    Returns
    -------
    Mapping[str, Quantity]
        Every number times the product of its ``scale`` sizes of ``own`` over that of ``described``.
    """
    return MappingProxyType({event: _resized(quantity, described, own) for event, quantity in table.items()})


def _resized(quantity: Quantity, described: CoreSpec, own: CoreSpec) -> Quantity:
    factor = math.prod(getattr(own, size) / getattr(described, size) for size in quantity.scale)
    value, low, high = (factor * number for number in (quantity.value, quantity.low, quantity.high))
    return replace(quantity, value=value, low=low, high=high)


def _amount(name: str, value: object) -> float:
    """Check one amount: a finite number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, not {value!r}.")
    amount = float(value)
    if not (math.isfinite(amount) and amount >= 0):
        raise ValueError(f"{name} must be finite and not negative, not {value!r}.")
    return amount


def _checked(
    counts: Mapping[str, int | float], table: Mapping[str, Quantity], where: str
) -> dict[str, float]:
    """Check the names and amounts of some counts; the result is in the order of the table."""
    known = [event for event in table if event in UNIT_OF_EVENT and event != "leakage"]
    for event in counts:
        if event not in known:
            raise ValueError(
                f"Event {event!r} in {where} must be one of {', '.join(known)};"
                " leave it out or add its energy to the table."
            )
    return {
        event: _amount(f"Event {event!r} in {where}", counts[event]) for event in known if event in counts
    }


def _check_layer_sums(totals: Mapping[str, float], layers: Mapping[str, Mapping[str, float]]) -> None:
    """Refuse layers that together count more of an event than the total does."""
    for event in dict.fromkeys(event for part in layers.values() for event in part):
        layer_sum = math.fsum(part.get(event, 0.0) for part in layers.values())
        total = totals.get(event, 0.0)
        # Means per inference are rounded, so layers may exceed their total by some units in the last place.
        if layer_sum > total and not math.isclose(layer_sum, total, rel_tol=1e-9):
            raise ValueError(
                f"Event {event!r} must not exceed its total {total:g} when summed over the layers,"
                f" not {layer_sum:g}; count every event in one layer only."
            )
