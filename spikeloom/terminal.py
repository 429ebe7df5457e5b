# SPDX-License-Identifier: Apache-2.0
"""What people see: tables of a report, of a model, of targets, and progress on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from mapping.report.keys import MODELLED
from mapping.report.machine import Report
from mapping.targets.files import Target
from spikeloom.table import Table

__all__ = [
    "console",
    "errors",
    "host_line",
    "layer_table",
    "report_notes",
    "report_table",
    "status",
    "target_table",
]

console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
errors = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)

_PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"), (1e-12, "p"))


def quantity(value: float | None, unit: str) -> str:
    """Return a number with an SI prefix, four digits.

    >>> quantity(0.00038, "s"), quantity(None, "J")
    ('380.0 us', '-')
    """
    if value is None:
        return "-"
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


def per_second(value: float | None) -> str:
    """Return a rate."""
    return "-" if value is None else f"{number(round(value))} /s"


def span(low: float | None, high: float | None, unit: str) -> str:
    """Return a range of quantities."""
    return "-" if low is None else f"{quantity(low, unit)} .. {quantity(high, unit)}"


_ROWS: tuple[tuple[str, Callable[[Mapping[str, Any]], str]], ...] = (
    ("accuracy (spiking)", lambda t: share(t["accuracy"])),
    ("accuracy (network, float64)", lambda t: share(t["ann_accuracy"])),
    ("agreement of the two", lambda t: share(t["agreement"])),
    ("simulated", lambda t: t["simulated"] or "refused"),
    ("samples", lambda t: number(t["samples"])),
    ("cores", lambda t: number(t["cores"])),
    ("chips", lambda t: number(t["chips"])),
    ("neurons on chip", lambda t: number(t["neurons"])),
    ("synapses on chip", lambda t: number(t["synapses"])),
    ("timesteps", lambda t: number(t["timesteps"])),
    ("input spikes", lambda t: number(t["spikes_input"])),
    ("spikes on chip", lambda t: number(t["spikes"])),
    ("synaptic operations, physical", lambda t: number(t["synaptic_operations"])),
    ("synaptic operations, logical", lambda t: number(t["synaptic_operations_logical"])),
    ("synaptic operations, dense", lambda t: number(t["synaptic_operations_dense"])),
    ("latency, one input alone", lambda t: quantity(t["latency_s"], "s")),
    ("throughput, not pipelined", lambda t: per_second(t["throughput_per_s"])),
    ("multiply-adds on the host", lambda t: share(t["host_share"])),
    ("energy", lambda t: quantity(t["energy_j"], "J")),
    ("energy, low .. high", lambda t: span(t["energy_j_low"], t["energy_j_high"], "J")),
    ("energy, static share", lambda t: share(t["energy_static_share"])),
    ("power", lambda t: quantity(t["power_w"], "W")),
)


def report_table(report: Report) -> Table:
    """Return a report as a table, one column per target, per inference."""
    return Table(
        title=f"{report.model} on {report.data}, per inference",
        columns=["", *(str(target["target"]) for target in report.targets)],
        rows=[[name, *(show(target) for target in report.targets)] for name, show in _ROWS],
        by_column=True,
    )


def report_notes(report: Report) -> list[str]:
    """Return what is to be said below `report_table`, a line each: refusals, float32, energy."""
    single, samples = report.float32, report.accepted[0]["samples"]
    float32 = (
        f"A float32 runtime gives another count for {number(single.activations)} of "
        f"{number(single.compared)} activations and another answer on {number(single.answers)} of "
        f"{number(samples)} samples; the figures are those of float64."
    )
    refused = [target for target in report.targets if target["refusal"] is not None]
    return [
        *(f"Refused by {target['target']}: {target['refusal']}" for target in refused),
        *([float32] if single.activations or single.answers else []),
        f"Joules are {MODELLED}, not measured: counts times the table of 'spikeloom targets show NAME'.",
    ]


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


def layer_table(target: Mapping[str, Any]) -> Table:
    """Return the layers of one target of a report."""
    keys = ("spikes", "synaptic_operations", "synaptic_operations_logical", "synaptic_operations_dense")
    return Table(
        title=f"Layers on chip ({target['target']})",
        columns=["layer", "kind", "spikes", "operations, physical", "logical", "dense"],
        rows=[
            [row["name"], _kind(row), *(number(row[key]) for key in keys)]
            for row in target["breakdown"]["layers"]
        ],
        text=["kind"],
    )


def _kind(row: Mapping[str, Any]) -> str:
    return row["kind"] if row["digits"] == 1 else f"{row['kind']}, {row['digits']} digits"


def target_table(targets: Sequence[Target]) -> Table:
    """Return the targets as a table."""
    return Table(
        columns=["target", "kind", "title"],
        rows=[[target.name, target.kind, target.title] for target in targets],
        text=["kind", "title"],
    )


@contextmanager
def status(text: str) -> Iterator[Callable[[str], None]]:
    """Show what is being done on a terminal, and stay quiet elsewhere."""
    if not errors.is_terminal:
        yield lambda _: None
        return
    with errors.status(text) as line:
        yield line.update
