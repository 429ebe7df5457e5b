# SPDX-License-Identifier: Apache-2.0
"""What limits the rate of inferences: how long each inference occupies the busiest part of every kind."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.gates import inlets_of, outlets_of
from emu.image import SystemImage
from mapping.chip import Chip
from mapping.layout.packet_path import PORTS
from mapping.report.activity import RunTotals
from mapping.report.busy import fed_by_inlet, kinds_of
from mapping.report.carried import Carried
from mapping.report.mesh import core_layers, occupied

__all__ = ["WORK", "gates_of", "rate_of", "work_of"]

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

_SIDES = {"W": "west", "E": "east"}

WORK = ("integrate", "update")
"""Activities in which a core computes; a stall and a wait are caused by others."""


def rate_of(chip: Chip, carried: Carried, fed: Integers, timed: RunTotals) -> dict[str, Any]:
    """Return what limits the rate of inferences, as plain data.

    A part of the chip serves one flit, or one neuron, at a time. So no schedule gives an inference less time
    than it occupies the busiest core, wire, link between chips, inlet or outlet: each is a bound.

    Parameters
    ----------
    carried : Carried
        What the links of ``chip`` carried.
    fed : int64 (packets,)
        How often the host fed each packet of its table in the same runs.
    timed : RunTotals
        Of ``chip`` in cycle mode: its cycles.
    """
    bounds = [
        _busiest_core(chip, timed),
        *_busiest_links(chip.image, carried.loads() / carried.samples),
        _busiest_gate("outlet", gates_of(chip.image, carried, fed)["outlets"]),
        _busiest_gate("inlet", gates_of(chip.image, carried, fed)["inlets"]),
    ]
    bounds.sort(key=lambda bound: -bound["cycles"])
    cycles = _elapsed(timed) / timed.samples
    first, second = bounds[0]["cycles"], bounds[1]["cycles"]
    return {
        "cycles": cycles,
        "limit": bounds[0]["of"],
        "ahead": first / second if second else None,
        "speedup": cycles / first,
        "bounds": bounds,
    }


def work_of(timed: RunTotals) -> Floats:
    """Return the cycles that each core computes for an inference, float64 (cores,)."""
    work = np.sum([timed.counters[name] for name in WORK], axis=0, dtype=np.int64)
    return np.asarray(work / timed.samples, np.float64)


def gates_of(image: SystemImage, carried: Carried, fed: Integers) -> dict[str, list[dict[str, Any]]]:
    """Return the inlets and outlets of a chip as plain data, each with its packets, means per inference.

    A packet is one flit, which takes a cycle. Parameters are those of `rate_of`.
    """
    spec = image.spec
    inlets = inlets_of(spec.gates)
    packets = fed_by_inlet(image, fed) / carried.samples
    south = carried.loads()[:, PORTS.index("south")][spec.cores - spec.width :] / carried.samples
    return {
        "inlets": [
            {"x": 0 if side == "W" else spec.width - 1, "y": row, "port": _SIDES[side], "packets": float(own)}
            for (row, side), own in zip(inlets, packets, strict=True)
        ],
        "outlets": [
            {"x": column, "y": spec.height - 1, "port": "south", "packets": float(south[column])}
            for column in outlets_of(spec.gates)
        ],
    }


def _busiest_gate(of: str, gates: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the bound of the inlet or outlet that has the most packets, with its place if it has others."""
    most = max(gates, key=lambda gate: gate["packets"])
    if len(gates) == 1:
        return _bound(of, most["packets"])
    return _bound(of, most["packets"], x=most["x"], y=most["y"], port=most["port"])


def _elapsed(timed: RunTotals) -> int:
    if timed.elapsed is None:
        raise ValueError("timed must be the totals of runs in cycle mode")
    return timed.elapsed


def _busiest_core(chip: Chip, timed: RunTotals) -> dict[str, Any]:
    work = work_of(timed)
    core = int(work.argmax())
    names = [layer["name"] for layer in chip.image.meta["layers"]]
    y, x = divmod(core, chip.image.spec.width)
    return _bound("core", float(work[core]), x=x, y=y, layer=names[core_layers(chip.image)[core]])


def _busiest_links(image: SystemImage, packets: Floats) -> list[dict[str, Any]]:
    """Return the bounds of wires, and of links between chips if there are any."""
    kinds, load = kinds_of(image.spec), occupied(image, packets)
    found = []
    for of in ("wire", "link"):
        if kinds[of].any():
            router, port = divmod(int(np.where(kinds[of], load, -1).argmax()), len(PORTS))
            y, x = divmod(router, image.spec.width)
            found.append(_bound(of, float(load[router, port]), x=x, y=y, port=PORTS[port]))
    return found


def _bound(
    of: str,
    cycles: float,
    *,
    x: int | None = None,
    y: int | None = None,
    port: str | None = None,
    layer: str | None = None,
) -> dict[str, Any]:
    return {"of": of, "cycles": cycles, "x": x, "y": y, "port": port, "layer": layer}
