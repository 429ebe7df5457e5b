# SPDX-License-Identifier: Apache-2.0
"""The machine that a target alone describes, without a network to size it by."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from emu.dead import DeadSpec
from emu.errors import clause
from emu.spec import CoreSpec, SpecError, SystemSpec
from mapping.errors import MappingError
from mapping.layout.assembly import assembled
from mapping.layout.gates import ONE_OF_EACH, Gates
from mapping.targets.target import Target

__all__ = ["machine_of"]

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def machine_of(
    target: Target,
    core: CoreSpec,
    *,
    sizes: Mapping[str, int] = _NOTHING,
    mesh: tuple[int, int] | None = None,
    chips: tuple[int, int] | None = None,
    links: Mapping[str, Any] = _NOTHING,
    dead: DeadSpec | None = None,
    gates: Gates = ONE_OF_EACH,
) -> SystemSpec:
    """Return the system of a target, with other sizes where they are given.

    Parameters
    ----------
    target : Target
        Says what is not given.
    core : CoreSpec
        The core, as `mapping.flow.core_of` returns it.
    sizes : mapping
        Sizes of the core that are to be others.
    mesh : (width, height), optional
        Cores of a chip.
    chips, links, dead, gates
        Chips across and down, sizes of their links, what does not work, and where the host is.

    Raises
    ------
    MappingError
        If there is no mesh, links have sizes but join no chips, or it cannot be built.
    """
    mesh, chips = mesh or target.size, chips or target.chips
    if mesh is None:
        raise MappingError(
            f'Target {target.name} has no mesh of its own: write for example mesh = "2x2" into a file of it.'
        )
    if links and chips == (1, 1):
        option = {"shared": "shared-links"}.get(name := next(iter(links)), name)
        raise MappingError(f"Option --{option} needs several chips: add --chips, for example 2x1.")
    try:
        core, joins = core.resized(**sizes), replace(target.links, **links)
    except SpecError as error:
        raise MappingError(f"The chip cannot be built: {clause(error)}.") from error
    whole = mesh[0] * chips[0], mesh[1] * chips[1]
    where: dict[str, Any] = {"links": joins, "dead": dead, "gates": gates.or_else(target.gates)}
    return assembled(core, whole, chips=chips, **where)
