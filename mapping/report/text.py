# SPDX-License-Identifier: Apache-2.0
"""The words and figures of a report as people read them, on a terminal and on a page."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from mapping.report.keys import AT_LEAST, MODELLED

__all__ = [
    "FORMATS",
    "ROWS",
    "Row",
    "changed",
    "host_line",
    "notes",
    "number",
    "quantity",
    "share",
    "signed",
]

_PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"), (1e-12, "p"))


def quantity(value: float | None, unit: str) -> str:
    """Return a number with an SI prefix, four digits.

    >>> quantity(0.00038, "s"), quantity(0.0, "s"), quantity(None, "J")
    ('380.0 us', '0 s', '-')
    """
    if value is None:
        return "-"
    if value == 0:
        return f"0 {unit}"
    scale, prefix = next(((s, p) for s, p in _PREFIXES if abs(value) >= s), _PREFIXES[-1])
    return (
        f"{value / scale:.4g} {prefix}{unit}"
        if value / scale < 100
        else f"{value / scale:.1f} {prefix}{unit}"
    )


def number(value: float | None) -> str:
    """Return a count: whole numbers whole, others with one digit, thousands apart."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def share(value: float | None) -> str:
    """Return a fraction as a percentage."""
    return "-" if value is None else f"{100 * value:.2f} %"


def points(value: float | None) -> str:
    """Return a difference of two fractions in percentage points.

    >>> points(-0.00125)
    '-0.12 points'
    """
    return "-" if value is None else f"{100 * value:+.2f} points"


def signed(value: float | None) -> str:
    """Return a difference of two fractions in percentage points, in a row whose name has the unit.

    >>> signed(0.0), signed(None)
    ('+0.00', '-')
    """
    return points(value).removesuffix(" points")


def per_second(value: float | None) -> str:
    """Return a rate."""
    return "-" if value is None else f"{number(round(value))} /s"


def _range(show: Callable[[float | None], str], low: float | None, high: float | None) -> str:
    return "-" if low is None else f"{show(low)} .. {show(high)}"


def setting(value: float | str | None) -> str:
    """Return a number that was asked for, or the word that stands for one.

    >>> setting(5), setting("auto")
    ('5', 'auto')
    """
    return value if isinstance(value, str) else number(value)


def _how(value: str | None) -> str:
    return value or "refused"


_OF_ONE: dict[str, Callable[..., str]] = {
    "count": number,
    "share": share,
    "points": points,
    "signed": signed,
    "rate": per_second,
    "how": _how,
    "setting": setting,
    **{name: partial(quantity, unit=unit) for name, unit in (("J", "J"), ("s", "s"), ("W", "W"))},
}

FORMATS: Mapping[str, Callable[..., str]] = MappingProxyType(
    {**_OF_ONE, **{f"{name} range": partial(_range, show) for name, show in _OF_ONE.items()}}
)
"""How a figure is written, by name: a function of its value, or of low and high of a range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table that compares targets: its name, a key of `FORMATS`, and keys of a target."""

    name: str
    format: str
    keys: tuple[str, ...]

    def text(self, target: Mapping[str, Any]) -> str:
        """Return what stands in the column of a target."""
        return FORMATS[self.format](*(target[key] for key in self.keys))


ROWS = tuple(
    Row(name=name, format=kind, keys=tuple(keys.split()))
    for name, kind, keys in (
        ("accuracy (spiking)", "share", "accuracy"),
        ("accuracy (network, float64)", "share", "ann_accuracy"),
        ("difference of the two, points", "signed", "accuracy_difference"),
        ("its 95 % interval, in pairs", "signed range", "accuracy_difference_low accuracy_difference_high"),
        ("agreement of the two", "share", "agreement"),
        ("simulated", "how", "simulated"),
        ("samples", "count", "samples"),
        ("cores", "count", "cores"),
        ("chips", "count", "chips"),
        ("neurons on chip", "count", "neurons"),
        ("synapses on chip", "count", "synapses"),
        ("timesteps", "count", "timesteps"),
        ("input spikes", "count", "spikes_input"),
        ("spikes on chip", "count", "spikes"),
        ("input packets", "count", "packets_input"),
        ("packets on chip", "count", "packets"),
        ("synaptic operations, physical", "count", "synaptic_operations"),
        ("synaptic operations, logical", "count", "synaptic_operations_logical"),
        ("synaptic operations, dense", "count", "synaptic_operations_dense"),
        ("latency, one input alone", "s", "latency_s"),
        ("throughput, not pipelined", "rate", "throughput_per_s"),
        ("latency, pipelined", "s", "latency_pipelined_s"),
        ("throughput, pipelined", "rate", "throughput_pipelined_per_s"),
        ("multiply-adds on the host", "share", "host_share"),
        ("energy", "J", "energy_j"),
        ("energy, low .. high", "J range", "energy_j_low energy_j_high"),
        ("energy, pipelined", "J", "energy_pipelined_j"),
        ("energy, static share", "share", "energy_static_share"),
        ("energy, idle share", "share", "energy_idle_share"),
        ("power", "W", "power_w"),
    )
)
"""What is compared between targets, per inference."""


_PARTS = {"core": "core", "wire": "the wire of router", "link": "the link of router"}


def notes(report: Mapping[str, Any]) -> list[str]:
    """Return what is said below the table of a report: doubt, refusals, rounding, energy."""
    single, targets = report["float32"], report["targets"]
    samples = next((target["samples"] for target in targets if target["refusal"] is None), None)
    float32 = (
        f"A float32 runtime gives another count for {number(single['activations'])} of "
        f"{number(single['compared'])} activations and another answer on {number(single['answers'])} of "
        f"{number(samples)} samples; the figures are those of float64."
    )
    refused = [target for target in targets if target["refusal"] is not None]
    return [
        *([report["doubt"]] if report.get("doubt") else []),
        *_least(targets),
        *_timed(targets),
        *_rates(targets),
        *(f"Not pipelined on {t['target']}: {t['pipelining']}" for t in targets if t["pipelining"]),
        *_gates(targets),
        *_links(targets),
        *_loaded(targets),
        *_in_batches(targets),
        *(f"Refused by {target['target']}: {target['refusal']}" for target in refused),
        *([float32] if single["activations"] or single["answers"] else []),
        *_rounded(targets),
        f"Joules are {MODELLED}, not measured: counts times the table of 'spikeloom targets show NAME'.",
    ]


def _rounded(targets: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the line that tells which outputs of an exact code leave the chip as the nearest counts."""
    rounded = next((t for t in targets if t["refusal"] is None and t["rounded"]), None)
    if rounded is None:
        return []
    line = (
        f"The model does not quantise the output of {', '.join(rounded['rounded'])}: it leaves the chip "
        "rounded to whole counts"
    )
    line += "" if rounded["near"] else ", every other activation is the model's own integer"
    if rounded["agreement"] is None:
        return [f"{line}."]
    same = round(rounded["agreement"] * rounded["samples"])
    return [f"{line}; the answer is the same on {number(same)} of {number(rounded['samples'])} samples."]


def _rates(targets: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what limits the rate of each target that is emulated cycle by cycle."""
    for target in targets:
        rate = (target["breakdown"] or {}).get("rate")
        if rate is not None:
            first, second = rate["bounds"][:2]
            yield (
                f"An inference on {target['target']} takes {number(rate['cycles'])} cycles. Busiest are "
                f"{_part(first)} with {number(first['cycles'])} of them, then {_part(second)} with "
                f"{number(second['cycles'])}: no schedule gives more than {rate['speedup']:.2f} times "
                "the rate."
            )
            yield from changed(first, target["breakdown"]["changes"])


def changed(first: Mapping[str, Any], changes: Sequence[Mapping[str, Any]] | None) -> Iterator[str]:
    """Yield which single change lowers most what limits a rate, or how to be told.

    Parameters
    ----------
    first : mapping
        The first of the ``breakdown.rate.bounds`` of a target.
    changes : sequence of mapping or None
        Its ``breakdown.changes``.
    """
    done = [row for row in changes or () if row["refusal"] is None]
    if done:
        best = min(done, key=lambda row: (row["bound"], row["cycles"]))
        told = ", ".join(row["option"] for row in done)
        if best["bound"] < first["cycles"]:
            fewer = number(first["cycles"] - best["bound"])
            yield (
                f"Of the changes {told} the best for that part is {best['option']}: the busiest is then the "
                f"{best['limit']} with {number(best['bound'])} cycles, {fewer} fewer, and an inference takes "
                f"{number(best['cycles'])}."
            )
        else:
            yield f"None of the changes {told} makes the busiest part less busy."
    elif changes is None and first["of"] != "core":
        yield "Estimate with --explain to see which single change makes that part less busy."


def _part(bound: Mapping[str, Any]) -> str:
    """Return the part of the chip that a bound of the rate is about."""
    if bound["x"] is None:
        return f"the {bound['of']}"
    if bound["of"] in ("inlet", "outlet"):
        return f"the {bound['of']} in the {bound['port']} of router ({bound['x']}, {bound['y']})"
    side = "" if bound["port"] is None else f" to the {bound['port']}"
    layer = "" if bound["layer"] is None else f" of {bound['layer']}"
    return f"{_PARTS[bound['of']]} ({bound['x']}, {bound['y']}){side}{layer}"


def _least(targets: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield of which targets the cores are a lower bound, and why."""
    for target in targets:
        if target["cores_least"] is not None:
            yield f"On {target['target']} {AT_LEAST}: {target['cores_least']}."


def _timed(targets: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield on which samples cycles were counted, where these are not all."""
    for target in targets:
        timed, samples = target["samples_timed"], target["samples"]
        if timed is not None and timed < samples:
            yield (
                f"Cycles on {target['target']} are those of {number(timed)} of the {number(samples)} "
                "samples, at equal distances; its events are those of all."
            )


def _loaded(targets: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what loading each image once takes."""
    for target in targets:
        load = target["refusal"] is None and target["breakdown"]["loading"]
        if load and "passes" in load:
            yield (
                f"Loading the crossbars of the {number(load['passes'])} passes of {target['target']} once, "
                f"outside every figure: {number(load['bits'])} bits, {quantity(load['energy_j'], 'J')} "
                f"({quantity(load['energy_j_low'], 'J')} .. {quantity(load['energy_j_high'], 'J')}). "
                f"To hide it behind a step takes {number(round(load['bits_per_s']))} bit/s."
            )
        elif load:
            yield (
                f"Loading {target['target']} once, outside every figure: {number(load['flits'])} flits "
                f"({number(load['flits_one_by_one'])} core by core), {quantity(load['seconds'], 's')}, "
                f"{quantity(load['energy_j'], 'J')} ({quantity(load['energy_j_low'], 'J')} .. "
                f"{quantity(load['energy_j_high'], 'J')})."
            )


def _in_batches(targets: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what an inference takes with the loads of its passes, which a batch shares."""
    for target in targets:
        for batch in (target["breakdown"] or {}).get("batches", ()):
            yield (
                f"With its {number(len(target['breakdown']['passes']))} loads an inference on "
                f"{target['target']} takes, in a batch of {number(batch['samples'])}, "
                f"{quantity(batch['seconds'], 's')} and {quantity(batch['energy_j'], 'J')} "
                f"({quantity(batch['energy_j_low'], 'J')} .. {quantity(batch['energy_j_high'], 'J')}), "
                f"{share(batch['loading_share'])} of it for loading; the host keeps "
                f"{number(batch['kept_bytes'])} bytes."
            )


def _gates(targets: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what passes each of several inlets and outlets, by target."""
    for target in targets:
        gates = (target["breakdown"] or {}).get("gates")
        if gates and max(len(gates["inlets"]), len(gates["outlets"])) > 1:
            told = (
                f"{number(gate['packets'])} in the {gate['port']} of router ({gate['x']}, {gate['y']})"
                for gate in (*gates["inlets"], *gates["outlets"])
            )
            yield f"Packets an inference at the inlets and outlets of {target['target']}: {'; '.join(told)}."


def _links(targets: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what lies between several chips, by target."""
    for target in targets:
        chips = target["breakdown"] and target["breakdown"]["chips"]
        if chips:
            units = ("units", "units_low", "units_high")
            value, *ends = (target["breakdown"][unit]["links"] for unit in units)
            yield (
                f"{target['target']}: {chips['across']} x {chips['down']} chips of {number(chips['pins'])} "
                f"pins, {number(chips['pins_links'])} of them for {number(chips['links'])} links either way, "
                f"{number(round(chips['chip_bits_per_s']))} bit/s out of a chip; flits cross a link "
                f"{number(chips['crossings'])} times an inference, {quantity(value, 'J')} "
                f"({quantity(ends[0], 'J')} .. {quantity(ends[1], 'J')})."
            )


def host_line(names: Sequence[str], work: float | None, uncounted: Sequence[str] = ()) -> str:
    """Return which layers no figure includes, and their share of the network's multiply-adds.

    >>> host_line(["conv1", "fc"], 0.25)
    "On the host, outside every figure: conv1, fc (25.00 % of the network's multiply-adds)"
    >>> host_line(["lstm"], None, ["lstm"])
    'On the host, outside every figure: lstm (no share: how many multiply-adds lstm takes is not known)'
    """
    layers = ", ".join(names) or "nothing"
    part = f"{share(work)} of the network's multiply-adds"
    if work is None:
        part = f"no share: how many multiply-adds {', '.join(uncounted)} takes is not known"
    return f"On the host, outside every figure: {layers} ({part})"
