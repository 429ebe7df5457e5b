# SPDX-License-Identifier: Apache-2.0
"""What limits every layer, recomputed packet by packet from `docs/reference/report.md` alone.

It reads an image, what was fed and what a run did, and walks every packet through the routers of the oracle.
Nothing of `mapping` is imported, see the contracts of `pyproject.toml`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from emu.image import CoreImage, SystemImage
from emu.trace import RunResult, Stimulus
from sim_tests.oracle.rules import E, L, N, S, W, wanted

__all__ = ["Layer", "explained"]

_STEPS = {N: (0, -1, S), E: (1, 0, W), S: (0, 1, N), W: (-1, 0, E)}
_SIZES = {"axons": "axons", "columns": "columns", "thresholds": "thresholds", "entries": "fanouts"}

Output = tuple[int, int, int]
"""x and y of a router, and one of its outputs."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer as its network has it: its name, inputs after the pools, and digits that are not zero."""

    name: str
    inputs: int
    digits: int


@dataclass(kw_only=True)
class _Walks:
    """What packets occupied: of a layer what it sent, of a layer what the host fed it by inlet."""

    sent: dict[int, Counter[Output]] = field(default_factory=dict)
    arrived: dict[int, Counter[Output]] = field(default_factory=dict)
    fed: dict[int, Counter[int]] = field(default_factory=dict)


def explained(
    image: SystemImage, layers: Iterable[Layer], stimulus: Stimulus, result: RunResult, samples: int
) -> list[dict[str, Any]]:
    """Return ``name``, ``cores``, ``used``, ``copies``, ``cycles`` and ``bound`` of every layer.

    Parameters
    ----------
    layers : iterable of Layer
        In the order of the image.
    stimulus, result : Stimulus, RunResult
        Of one run in cycle mode on so many ``samples``.
    """
    of = {int(row[2]): int(row[0]) for row in image.attachments["placed"]}
    walks = _walked(image, of, stimulus, result)
    delivered = _delivered(image)
    found = []
    for at, layer in enumerate(layers):
        own = {core: image.cores[core] for core in of if of[core] == at}
        cores = [core for core in own.values() if core is not None]
        weights = sum(int(np.count_nonzero(core.cells)) for core in cores)
        cycles = _cycles(image, walks, at, samples)
        cycles["core"] = max(_worked(result, core) for core in own) / samples
        found.append(
            {
                "name": layer.name,
                "cores": len(cores),
                "used": _used(image, cores),
                "copies": {
                    "inputs": sum(len(delivered[core]) for core in own) / layer.inputs,
                    "weights": weights / layer.digits if layer.digits else None,
                },
                "cycles": cycles,
                "bound": min(cycles, key=lambda kind: -(cycles[kind] or 0)),
            }
        )
    return found


def _worked(result: RunResult, core: int) -> int:
    return int(result.counters["integrate"][core] + result.counters["update"][core])


def _used(image: SystemImage, cores: list[CoreImage]) -> dict[str, float]:
    """Return the mean share of each size."""
    total: Counter[str] = Counter()
    for core in cores:
        times = int(core.extension)
        total["axons"] += -(-len(core.lines) // times)
        total["columns"] += len(core.bias) * len(core.strengths) * times
        total["thresholds"] += len(core.thresholds) + 4 * len(core.ladders)
        total["entries"] += len(core.fanout)
    have = {size: getattr(image.spec.core, name) for size, name in _SIZES.items()}
    return {size: total[size] / len(cores) / have[size] for size in _SIZES}


def _delivered(image: SystemImage) -> dict[int, set[int]]:
    """Return the axons of every core to which anybody sends."""
    found: dict[int, set[int]] = {core: set() for core in range(image.spec.cores)}
    tables = [image.input_packet.tolist()]
    tables += [core.fanout[:, :5].tolist() for core in image.cores if core is not None]
    for x0, x1, y0, y1, axon in (row for table in tables for row in table):
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                if y < image.spec.height:
                    found[y * image.spec.width + x].add(axon)
    return found


def _walked(image: SystemImage, of: Mapping[int, int], stimulus: Stimulus, result: RunResult) -> _Walks:
    """Walk every packet of a run."""
    walks, spec = _Walks(), image.spec
    gates = [(0, "W"), *(() if spec.gates is None else spec.gates.inlets)]
    for (x0, x1, y0, y1, *_), inlet in zip(stimulus.packet.tolist(), stimulus.inlet.tolist(), strict=True):
        readers = {of.get(y * spec.width + x) for y in range(y0, y1 + 1) for x in range(x0, x1 + 1)}
        row, side = gates[inlet]
        start = (W, 0, row) if side == "W" else (E, spec.width - 1, row)
        for reader in readers - {None}:
            assert reader is not None
            walks.fed.setdefault(reader, Counter())[inlet] += 1
            walks.arrived.setdefault(reader, Counter()).update(_way(image, start, (x0, x1, y0, y1)))
    for _, at, neuron, _ in result.spikes.tolist():
        core = image.cores[at]
        assert core is not None
        for x0, x1, y0, y1, _ in core.fanout_of(neuron):
            start = (L, at % spec.width, at // spec.width)
            walks.sent.setdefault(of[at], Counter()).update(_way(image, start, (x0, x1, y0, y1)))
    return walks


def _way(
    image: SystemImage, start: tuple[int, int, int], rectangle: tuple[int, int, int, int]
) -> list[Output]:
    """Return the outputs that one packet takes, forks included."""
    height, pending, taken = image.spec.height, [start], []
    while pending:
        port, x, y = pending.pop()
        for output in wanted(port, x, y, rectangle) - {L}:
            taken.append((x, y, output))
            across, down, entry = _STEPS[output]
            if y + down < height:
                pending.append((entry, x + across, y + down))
    return taken


def _cycles(image: SystemImage, walks: _Walks, layer: int, samples: int) -> dict[str, float | None]:
    """Return the cycles that a layer occupies the busiest part of every kind."""
    most: dict[str, int] = {"wire": 0, "link": 0, "outlet": 0}
    for packets in (walks.sent, walks.arrived):
        for kind, cycles in _occupied(image, packets.get(layer, Counter())):
            most[kind] = max(most[kind], cycles)
    inlet = max(walks.fed.get(layer, Counter({0: 0})).values())
    several = image.spec.links is not None
    return {
        "core": None,
        "wire": most["wire"] / samples,
        "link": most["link"] / samples if several else None,
        "inlet": inlet / samples or None,
        "outlet": most["outlet"] / samples or None,
    }


def _occupied(image: SystemImage, packets: Counter[Output]) -> Iterable[tuple[str, int]]:
    """Yield kind and cycles of every output that packets take; a side's shared link is one."""
    links, sides = image.spec.links, Counter[tuple[int, int, int]]()
    for (x, y, port), number in packets.items():
        to_x, to_y = x + _STEPS[port][0], y + _STEPS[port][1]
        if to_y == image.spec.height:
            yield "outlet", number
        elif links is None or (x // links.width, y // links.height) == (
            to_x // links.width,
            to_y // links.height,
        ):
            yield "wire", number
        else:
            lanes = max(links.width, links.height) if links.shared else 1
            bits = image.spec.flit_bits + len(f"{lanes - 1:b}") * (lanes > 1)
            cycles = number * -(-bits // links.wires)
            if links.shared:
                sides[x // links.width, y // links.height, port] += cycles
            else:
                yield "link", cycles
    for cycles in sides.values():
        yield "link", cycles
