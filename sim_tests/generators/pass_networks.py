# SPDX-License-Identifier: Apache-2.0
"""Networks in passes, without a float network: random ones, and random ways to cut them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from emu.spec import CoreSpec
from mapping.layout.emit import emit
from mapping.layout.passes import banded, rows_a_unit, whole
from mapping.layout.plan import Plan, Rows, height_of
from mapping.layout.schedule import schedule
from mapping.layout.site import Site
from mapping.passes import Passes, passes_meta
from mapping.spiking.network import SpikingNetwork

__all__ = ["in_passes", "random_plan", "told"]


def in_passes(spiking: SpikingNetwork, spec: CoreSpec, mesh: tuple[int, int], seed: int = 0) -> Passes:
    """Return a network, as a chip runs it, in passes over a mesh."""
    found = schedule(spiking, spec, Site(mesh=mesh, seed=seed))
    images = tuple(
        emit(one.network, *layout, name=spiking.name, facts=passes_meta(number, one.rows))
        for number, (one, layout) in enumerate(zip(found.passes, found.layouts, strict=True))
    )
    return Passes(images=images, passes=found.passes, spiking=spiking, on_chip=spiking)


def told(rows: Sequence[Rows]) -> list[list[Any]]:
    """Return rows as the metadata of an image tell them."""
    return [list(part) for part in passes_meta(0, rows)["rows"]]


def random_plan(spiking: SpikingNetwork, seed: int) -> Plan:
    """Return a way to cut a network, whatever fits: groups of layers, and layers in two slices."""
    random, plan, group = np.random.default_rng(seed), [], list[Rows]()
    for layer in spiking.layers:
        units = layer.rows // rows_a_unit(layer)
        if random.random() < 0.3 and banded(layer) and height_of(layer) > 1:
            plan += [tuple(group)] if group else []
            cut, height = int(random.integers(1, height_of(layer))), height_of(layer)
            plan += [(replace(whole(layer), top=0, bottom=cut),)]
            plan += [(replace(whole(layer), top=cut, bottom=height),)]
            group = []
            continue
        if random.random() < 0.4 and units > 1:
            plan += [tuple(group)] if group else []
            cut = rows_a_unit(layer) * int(random.integers(1, units))
            plan += [(Rows(layer=layer.name, begin=0, end=cut),)]
            plan += [(Rows(layer=layer.name, begin=cut, end=layer.rows),)]
            group = []
            continue
        group.append(whole(layer))
        if random.random() < 0.5:
            plan.append(tuple(group))
            group = []
    return (*plan, tuple(group)) if group else tuple(plan)
