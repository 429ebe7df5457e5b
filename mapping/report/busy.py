# SPDX-License-Identifier: Apache-2.0
"""How long an inference occupies cores, wires, links, inlets and outlets, of all layers and of each."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from emu.gates import inlets_of
from emu.image import SystemImage
from emu.spec import SystemSpec
from mapping.layout.mesh import Mesh
from mapping.layout.packet_path import PORTS
from mapping.report.carried import Carried, carried_of
from mapping.report.mesh import core_layers, occupied

__all__ = ["cycles_by_layer", "fed_by_inlet", "kinds_of"]

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def kinds_of(spec: SystemSpec) -> Mapping[str, Flags]:
    """Return which outputs of routers are wires, links between chips and outlets, bool (cores, 4) each."""
    between = Mesh.of(spec).between_chips().reshape(len(PORTS), -1).T
    outlet = np.zeros((spec.cores, len(PORTS)), np.bool_)
    outlet[-spec.width :, PORTS.index("south")] = True
    return MappingProxyType({"wire": ~between & ~outlet, "link": between, "outlet": outlet})


def fed_by_inlet(image: SystemImage, fed: Integers) -> Integers:
    """Return the packets that the host feeds by each inlet, int64 (inlets,)."""
    inlets = len(inlets_of(image.spec.gates))
    return np.bincount(image.input_inlet, fed, minlength=inlets).astype(np.int64)


def cycles_by_layer(
    image: SystemImage, carried: Carried, fed: Integers, work: Floats
) -> list[dict[str, float | None]]:
    """Return by layer the cycles that it occupies the busiest part of every kind, means per inference.

    ``core``: its busiest core computes. ``wire``, ``link``: the packets that it sends, or those that the host
    feeds it, occupy the busiest wire and link between chips (of all routers that share it); the two are of
    different steps, so the larger one counts. ``inlet``, ``outlet``: the packets that the host feeds it, and
    those that it sends to the host, by the busiest of each. None where it has no such part: no link between
    chips, nothing that the host feeds or takes.

    Parameters
    ----------
    carried : Carried
        What the links carried.
    fed : int64 (packets,)
        How often the host fed each packet of its table in the same runs.
    work : float64 (cores,)
        Cycles of an inference in which each core computes.
    """
    layers, of = len(image.meta["layers"]), core_layers(image)
    group = np.zeros(image.spec.cores, np.int64)
    group[list(of)] = np.array(list(of.values())) + 1
    sent = occupied(image, carried.by(group, layers + 1))[1:]
    found = []
    for at in range(layers):
        own = group == at + 1
        read = np.where(_read(image, own), fed, 0)
        moved = _moved(image, sent[at], read, samples=carried.samples)
        found.append({"core": float(work[own].max()), **moved})
    return found


def _moved(image: SystemImage, sent: Floats, read: Integers, *, samples: int) -> dict[str, float | None]:
    """Return the cycles of a layer that sends what occupies outputs so long, and is fed these packets."""
    silent = [np.zeros(0 if core is None else core.neurons, np.int64) for core in image.cores]
    arriving = occupied(image, carried_of(image, silent, read, samples=samples).loads())
    kinds, busy = kinds_of(image.spec), np.maximum(sent, arriving)
    most = {kind: int(busy[outputs].max(initial=0)) / samples for kind, outputs in kinds.items()}
    return {
        "wire": most["wire"],
        "link": most["link"] if kinds["link"].any() else None,
        "inlet": int(fed_by_inlet(image, read).max()) / samples or None,
        "outlet": most["outlet"] or None,
    }


def _read(image: SystemImage, own: Flags) -> Flags:
    """Return which packets of the host's table reach one of some cores, bool (packets,)."""
    spec = image.spec
    before = np.zeros((spec.height + 1, spec.width + 1), np.int64)
    before[1:, 1:] = own.reshape(spec.height, spec.width).cumsum(axis=0).cumsum(axis=1)
    x0, x1, y0, y1 = image.input_packet[:, :4].T.astype(np.int64)
    cores = before[y1 + 1, x1 + 1] - before[y0, x1 + 1] - before[y1 + 1, x0] + before[y0, x0]
    return np.asarray(cores > 0)
