# SPDX-License-Identifier: Apache-2.0
"""Where a network lies on its mesh: the cores, how full and how busy they are, and the load of every link."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.image import SystemImage
from mapping.chip import Chip
from mapping.layout.emit import PLACED
from mapping.layout.mesh import Mesh
from mapping.layout.packet_path import PORTS
from mapping.report.activity import RunTotals
from mapping.report.carried import Carried

__all__ = ["BUSY", "busy_cycles", "core_layers", "mesh_of", "occupied"]

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

BUSY = ("integrate", "update", "send_stall")
"""Activities of a core at work; in all other cycles it waits."""


def mesh_of(chip: Chip, carried: Carried, timed: RunTotals, clock_hz: float) -> dict[str, Any]:
    """Return the mesh of a chip as plain data: sizes, cores in use and links in use, means per inference.

    Parameters
    ----------
    carried : Carried
        What the links of ``chip`` carried.
    timed : RunTotals
        Of ``chip`` in cycle mode: how long its cores worked.
    clock_hz : float
        Clock of the target in Hz.
    """
    spec, loads = chip.image.spec, carried.loads()
    cycles = occupied(chip.image, loads)
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
                "packets": int(loads[router, port]) / carried.samples,
                "cycles": float(cycles[router, port]) / carried.samples,
            }
            for router, port in np.argwhere(loads).tolist()
        ],
    }


def occupied(image: SystemImage, packets: Floats | Integers) -> Floats:
    """Return the cycles in which packets occupy each wire or link, float64 (..., cores, 4), shaped as given.

    By router and output (`mapping.layout.packet_path.PORTS`): one of each packet on a wire within a chip.
    Outputs that share a link all have the cycles of all.
    """
    spec, ports = image.spec, np.moveaxis(packets, -1, -2)
    meshes = ports.reshape(*ports.shape[:-1], spec.height, spec.width)
    return np.asarray(np.moveaxis(Mesh.of(spec).busy(meshes).reshape(ports.shape), -1, -2), np.float64)


def busy_cycles(totals: RunTotals) -> Integers:
    """Return the cycles in which each core worked, int64 (cores,), over all samples."""
    return np.asarray(np.sum([totals.counters[name] for name in BUSY], axis=0, dtype=np.int64))


def core_layers(image: SystemImage) -> dict[int, int]:
    """Return for each core in use its layer, an index into those of the image."""
    return dict(image.attachments[PLACED][:, [2, 0]].tolist())


def _cores(chip: Chip, busy_s: NDArray[np.float64]) -> Iterator[dict[str, Any]]:
    """Yield every core in use: its place, its layer, the rows and columns it uses, and its time at work."""
    image, names = chip.image, [layer["name"] for layer in chip.image.meta["layers"]]
    order = core_layers(image)
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
