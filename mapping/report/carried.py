# SPDX-License-Identifier: Apache-2.0
"""What every link of a chip carried in some runs, and for whom."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emu.image import CoreImage, SystemImage
from emu.tables import columns_of
from emu.words import RECTANGLE, Section
from mapping.errors import MappingError
from mapping.layout.packet_path import GATEWAY, PORTS, crossings
from mapping.report.activity import RunTotals

__all__ = ["Carried", "carried_by", "carried_of"]

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Carried:
    """The packets that crossed links.

    Parameters
    ----------
    cores, samples : int
        Cores of the mesh; samples of the runs.
    sender, link, packets : int64 (n,)
        The sending core or, of an inlet, `GATEWAY` - its number; router x 4 + output (`PORTS`), and how many
        packets crossed it.
    """

    cores: int
    samples: int
    sender: Integers
    link: Integers
    packets: Integers

    def loads(self) -> Integers:
        """Return the packets over each link by router and output, int64 (cores, 4)."""
        loads: Integers = self.by(np.zeros(self.cores, np.int64), 1)[0]
        return loads

    def by(self, group: Integers, groups: int) -> Integers:
        """Return the same by the group of the sending core, int64 (groups, cores, 4).

        ``group`` has that of every core; what the host feeds is of group 0.
        """
        size = self.cores * len(PORTS)
        own = np.where(self.sender <= GATEWAY, 0, group[np.maximum(self.sender, 0)])
        loads = np.zeros(groups * size, np.int64)
        np.add.at(loads, own * size + self.link, self.packets)
        return loads.reshape(groups, self.cores, len(PORTS))


def carried_by(image: SystemImage, totals: RunTotals) -> Carried:
    """Return what the links of an image carried in its runs.

    A neuron sends its fan-out once for each step in which it fires; each packet crosses the links between its
    core and the rectangle of its readers.

    Raises
    ------
    MappingError
        If the loads of a router's links are not the hops that it counted: one of the two is wrong.
    """
    fired = totals.fired.reshape(image.spec.cores, -1)
    carried = carried_of(image, fired, totals.fed, samples=totals.samples)
    sums, hops = carried.loads().sum(axis=1), totals.counters["hops"]
    if not np.array_equal(sums, hops):
        at = int(np.flatnonzero(sums != hops)[0])
        y, x = divmod(at, image.spec.width)
        raise MappingError(
            f"The links of router ({x}, {y}) carry {sums[at]} packets and it counted {hops[at]} hops: please "
            "report it."
        )
    return carried


def carried_of(
    image: SystemImage, fired: Sequence[Integers] | Integers, fed: Integers, *, samples: int
) -> Carried:
    """Return what links carry if neurons fire and the host feeds packets so often.

    Parameters
    ----------
    fired : sequence of int64 (neurons or more,)
        By core, the steps in which each of its neurons fires.
    fed : int64 (p,)
        How often the host feeds each packet of its table.
    samples : int
        In how many samples.
    """
    start, rectangle, packets = _packets(image, fired, fed)
    width, height = image.spec.width, image.spec.height
    packet, router, port = crossings(width, height, start, rectangle, image.spec.gates).T
    return Carried(
        cores=image.spec.cores,
        samples=samples,
        sender=start[packet],
        link=router * len(PORTS) + port,
        packets=packets[packet],
    )


def _packets(
    image: SystemImage, fired: Sequence[Integers] | Integers, fed: Integers
) -> tuple[Integers, Integers, Integers]:
    """Return sender (a core or inlet), rectangle and number of all packets, equal ones once."""
    tables = [np.column_stack((GATEWAY - image.input_inlet, image.input_packet[:, :4], fed))]
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
