# SPDX-License-Identifier: Apache-2.0
"""What several chips have beside their cores: pins, the bandwidth of links, and what crosses them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from emu.spec import COUNTER_BITS, SystemSpec
from mapping.chip import Chip
from mapping.layout.mesh import Mesh
from mapping.layout.packet_path import GATEWAY, crossings

__all__ = ["chips_of", "crossing_bits", "loading_crossings", "pins_of"]


def pins_of(spec: SystemSpec) -> dict[str, int]:
    """Return the pins of one chip by what they are for; all chips of a system are one module.

    The ends of a link out and a link in, each of its wires, a strobe and a credit for each lane, are at every
    core of a side by which some chip is joined to another, or one of each at the side.
    """
    gates = _gates_of_a_chip(spec)
    pins = {"clock": 2, "host": gates * (spec.flit_bits + 2), "spikes": gates * COUNTER_BITS}
    if spec.links is None or spec.chips == (1, 1):
        return pins
    pins["straps"] = spec.x_bits + spec.y_bits + 4 + gates  # four sides, inlets, outlets
    return pins | {"links": 2 * sum(spec.links.wires + 1 + lanes for lanes in _links_of_a_chip(spec))}


def _gates_of_a_chip(spec: SystemSpec) -> int:
    """Return how many inlets and outlets a chip has pins for: each port that is one of some chip."""
    across, down = spec.chips
    size = spec.width // across, spec.height // down
    further = None if spec.gates is None else spec.gates.of_chip(*size)
    return 2 if further is None else 2 + len(further.inlets) + len(further.outlets)


def crossing_bits(spec: SystemSpec) -> int:
    """Return the bits of a flit that crosses a link: its own, and those that tell its lane."""
    return spec.flit_bits if spec.links is None else spec.links.word_bits(spec.flit_bits)


def _links_of_a_chip(spec: SystemSpec) -> list[int]:
    """Return the lanes of each link out of a chip that is joined at all sides at which some chip is."""
    links, (across, down) = spec.links, spec.chips
    if links is None:
        return []
    sides = [links.height] * 2 * (across > 1) + [links.width] * 2 * (down > 1)
    return sides if links.shared else [1] * sum(sides)


def chips_of(spec: SystemSpec, means: Mapping[str, float], clock_hz: float) -> dict[str, Any] | None:
    """Return a system of several chips as plain data, None for a chip alone.

    Parameters
    ----------
    means : Mapping[str, float]
        Counters, means per inference.
    clock_hz : float
        Clock of the target in Hz.
    """
    if spec.links is None or spec.chips == (1, 1):
        return None
    (across, down), links, pins, flit = spec.chips, spec.links, pins_of(spec), spec.flit_bits
    rates = [flit * clock_hz / links.pace(flit, lanes) for lanes in _links_of_a_chip(spec)]
    return {
        "across": across,
        "down": down,
        "pins": sum(pins.values()),
        "pins_links": pins["links"],
        "links": len(rates),
        "wires": links.wires,
        "beats": links.beats(flit),
        "link_bits_per_s": min(rates),
        "chip_bits_per_s": sum(rates),
        "crossings": means["crossings"],
        "bits": means["crossings"] * crossing_bits(spec),
    }


def loading_crossings(chip: Chip) -> int:
    """Return how often packets that load an image cross links between chips."""
    spec = chip.image.spec
    if spec.links is None or spec.chips == (1, 1):
        return 0
    sent = chip.load.packets
    rectangles, count = np.array(list(sent)), np.array(list(sent.values()))
    start = np.full(len(rectangles), GATEWAY, np.int64)
    packet, router, port = crossings(spec.width, spec.height, start, rectangles).T
    over = Mesh.of(spec).between_chips().reshape(4, -1)[port, router]
    return int(count[packet[over]].sum())
