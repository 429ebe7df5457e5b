# SPDX-License-Identifier: Apache-2.0
"""Where a network lies on its mesh: the cores, how full and how busy they are, and the load of every link."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.image import CoreImage, SystemImage
from emu.tables import columns_of
from emu.words import RECTANGLE, Section
from mapping.chip import Chip
from mapping.errors import MappingError
from mapping.layout.emit import PLACED
from mapping.layout.packet_path import GATEWAY, PORTS, crossings
from mapping.report.activity import RunTotals

__all__ = ["BUSY", "busy_cycles", "link_loads", "mesh_of"]

Integers = NDArray[np.int64]

BUSY = ("integrate", "update", "send_stall")
"""Activities of a core at work; in all other cycles it waits."""


def mesh_of(chip: Chip, totals: RunTotals, timed: RunTotals, clock_hz: float) -> dict[str, Any]:
    """Return the mesh of a chip as plain data: sizes, cores in use and links in use, means per inference.

    Parameters
    ----------
    totals : RunTotals
        Of ``chip``: what its links carried.
    timed : RunTotals
        Of ``chip`` in cycle mode: how long its cores worked.
    clock_hz : float
        Clock of the target in Hz.

    Raises
    ------
    MappingError
        If the loads of a router's links are not the hops that it counted.
    """
    spec, loads = chip.image.spec, link_loads(chip.image, totals)
    return {
        "width": spec.width,
        "height": spec.height,
        "rows": spec.core.axons,
        "columns": spec.core.columns,
        "cores": list(_cores(chip, busy_cycles(timed) / timed.samples / clock_hz)),
        "links": [
            {
                "x": router % spec.width,
                "y": router // spec.width,
                "port": PORTS[port],
                "packets": int(loads[router, port]) / totals.samples,
            }
            for router, port in np.argwhere(loads).tolist()
        ],
    }


def busy_cycles(totals: RunTotals) -> Integers:
    """Return the cycles in which each core worked, int64 (cores,), over all samples."""
    return np.asarray(np.sum([totals.counters[name] for name in BUSY], axis=0, dtype=np.int64))


def _cores(chip: Chip, busy_s: NDArray[np.float64]) -> Iterator[dict[str, Any]]:
    """Yield every core in use: its place, its layer, the rows and columns it uses, and its time at work."""
    image, names = chip.image, [layer["name"] for layer in chip.image.meta["layers"]]
    order = dict(image.attachments[PLACED][:, [2, 0]].tolist())
    for index, core in enumerate(image.cores):
        if core is not None:
            yield {
                "x": index % image.spec.width,
                "y": index // image.spec.width,
                "layer": names[order[index]],
                "neurons": core.neurons,
                "rows": -(-core.axons // int(core.extension)),
                "columns": core.crossbar.shape[1] * int(core.extension),
                "busy_s": float(busy_s[index]),
            }


def link_loads(image: SystemImage, totals: RunTotals) -> Integers:
    """Return the packets over each link, int64 (cores, 4): by router and output (`PORTS`), all samples.

    A neuron sends its fan-out once for each step in which it fires; each packet crosses the links between its
    core and the rectangle of its readers.

    Raises
    ------
    MappingError
        If the loads of a router's links are not the hops that it counted: one of the two is wrong.
    """
    start, rectangle, packets = _packets(image, totals)
    width, height = image.spec.width, image.spec.height
    packet, router, port = crossings(width, height, start, rectangle).T
    size = image.spec.cores * len(PORTS)
    loads = np.zeros(size, np.int64)
    np.add.at(loads, router * len(PORTS) + port, packets[packet])
    by_router = loads.reshape(-1, len(PORTS))
    sums, hops = by_router.sum(axis=1), totals.counters["hops"]
    if not np.array_equal(sums, hops):
        at = int(np.flatnonzero(sums != hops)[0])
        raise MappingError(
            f"The links of router ({at % width}, {at // width}) carry {sums[at]} packets and it counted "
            f"{hops[at]} hops: please report it."
        )
    return by_router


def _packets(image: SystemImage, totals: RunTotals) -> tuple[Integers, Integers, Integers]:
    """Return sender (a core or `GATEWAY`), rectangle and number of all packets, equal ones once."""
    tables = [np.column_stack((np.full(len(totals.fed), GATEWAY), image.input_packet[:, :4], totals.fed))]
    fired = totals.fired.reshape(image.spec.cores, -1)
    for index, core in enumerate(image.cores):
        if core is not None and len(core.fanout):
            sent, entries = _sent(core, fired[index]), columns_of(Section.FANOUT, core.fanout)
            rectangle = [entries[name] for name in RECTANGLE]
            tables.append(np.column_stack((np.full(len(sent), index), *rectangle, sent)))
    table = np.concatenate(tables).astype(np.int64)
    ways, which = np.unique(table[:, :-1], axis=0, return_inverse=True)
    packets = np.zeros(len(ways), np.int64)
    np.add.at(packets, which.reshape(-1), table[:, -1])
    return ways[:, 0], ways[:, 1:], packets


def _sent(core: CoreImage, fired: Integers) -> Integers:
    """Return how often each word of a core's fan-out memory was sent; the last one of a neuron is marked."""
    last = np.flatnonzero(columns_of(Section.FANOUT, core.fanout)["last"])
    base = core.fanout_base[core.connected]
    begin = np.bincount(base, fired[: core.neurons][core.connected], minlength=len(core.fanout) + 1)
    after = last[np.searchsorted(last, base)] + 1
    end = np.bincount(after, fired[: core.neurons][core.connected], minlength=len(core.fanout) + 1)
    return np.cumsum(begin - end).astype(np.int64)[:-1]
