# SPDX-License-Identifier: Apache-2.0
"""The published tables of Zou et al. 2021, Front. Neurosci. 15:694170, as the tests of the mapping read them.

Everything printed comes from the file of published values, misprints included, with the notes on them.
"""

from collections.abc import Iterator

from mapping.reproduce.networks import NETWORKS, SPIKES
from mapping.reproduce.zou2021 import OPERATIONS
from spikeloom.published import PublishedTable, load_published

__all__ = [
    "BETTER",
    "CORES",
    "ENERGY",
    "MISPRINTED_CORES",
    "MISPRINTED_DENSITIES",
    "ROUNDED_UP_DENSITIES",
    "STEPS",
    "printed",
]

_Case = tuple[str, int]
_Layer = tuple[str, int, str]

_PATCHES = {"lenet": 7, "vgg": 8}
_CORES = {"lenet": 9, "vgg": 10}
_PUBLISHED = load_published("zou2021")


def _table(number: int) -> PublishedTable:
    return next(table for table in _PUBLISHED.tables if table.number == number)


def _cell(number: int, row: str, column: str) -> str:
    table = _table(number)
    line = next(line for line in table.rows if line[0] == row)
    return line[1 + table.columns.index(column)]


def printed(network: str, spikes: int) -> list[tuple[tuple[int, ...], tuple[int, ...], int, list[str]]]:
    """Return the printed rows of a model: patch in, patch out, extension, densities as text."""
    rows = [line[2:] for line in _table(_PATCHES[network]).rows if line[0].endswith(f", {spikes}")]
    return [
        (tuple(map(int, row[0].split("*"))), tuple(map(int, row[1].split("*"))), int(row[2]), list(row[3:]))
        for row in rows
    ]


def _core_counts(network: str, spikes: int) -> tuple[tuple[int, ...], int, float]:
    """Return the printed cores of the layers on chip, their printed sum, and the printed latency in ms."""
    number, column = _CORES[network], f"cores {spikes}"
    cores = tuple(int(_cell(number, shape.name, column)) for shape in NETWORKS[network][:-1])
    return cores, int(_cell(number, "Total", column)), float(_cell(number, "Total", f"ms {spikes}"))


def _noted(kind: str, tables: dict[str, int], column: str) -> Iterator[tuple[_Layer, tuple[str, str]]]:
    """Give the layers with a note of a kind in a column: what is printed, what the note says instead."""
    for network, number in tables.items():
        for spikes in SPIKES:
            for shape in NETWORKS[network]:
                name = column.format(spikes=spikes)
                row = shape.name if number in _CORES.values() else f"{shape.name}, {spikes}"
                note = _PUBLISHED.note(number, row, name)
                if note is not None and note.kind == kind:
                    yield (network, spikes, shape.name), (_cell(number, row, name), note.ours)


CORES: dict[_Case, tuple[tuple[int, ...], int, float]] = {
    (network, spikes): _core_counts(network, spikes) for network in NETWORKS for spikes in SPIKES
}
"""Tables 9 and 10: cores per layer on the chip, their sum, and the latency of the whole network in ms."""

STEPS = {("lenet", 1): 5, ("lenet", 2): 6, ("lenet", 4): 7, ("vgg", 1): 16, ("vgg", 2): 28, ("vgg", 4): 59}
"""Passes over 64 cores that the printed cores take."""

MISPRINTED_DENSITIES = dict(_noted("misprint", _PATCHES, "S"))
"""Synapse densities that contradict Eq. 16 and the rest of their own row: printed, computed."""

ROUNDED_UP_DENSITIES = dict(_noted("rounding", _PATCHES, "S"))
"""The article prints 0.01 for 0.0043, a hundredth as the least it shows."""

MISPRINTED_CORES = {
    layer: (int(theirs), int(ours)) for layer, (theirs, ours) in _noted("misprint", _CORES, "cores {spikes}")
}
"""Core counts that contradict the printed patch of the same layer: printed, by the printed patch."""

BETTER = {("lenet", 1, "2P2 a"): (9, 8)}
"""Layers that need fewer cores than the printed patch, 6 x 3 instead of 4 x 4 points: cores of it, ours."""

ENERGY = {
    spikes: (OPERATIONS[spikes], float(_cell(11, f"CIFAR-10, {model}-spike (This work)", "mJ")))
    for spikes, model in zip(SPIKES, ("Single", "Two", "Four"), strict=True)
}
"""Table 11: dense synaptic operations of VGG-Net per image, and its energy in mJ."""
