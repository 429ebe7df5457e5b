# SPDX-License-Identifier: Apache-2.0
"""How cores are put together: chips of a mesh each, the links between them, and gates to the host."""

from dataclasses import asdict, dataclass, replace

from emu.dead import DeadSpec
from emu.errors import clause
from emu.links import LinkSpec
from emu.spec import CoreSpec, SpecError, SystemSpec
from mapping.errors import MappingError
from mapping.layout.gates import ONE_OF_EACH, Gates

__all__ = ["QUARTER", "Links", "assembled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """The links that are asked for, wherever a mesh is cut into chips.

    Parameters
    ----------
    wires : int, optional
        Bits of a beat; by default a quarter of what crosses with a flit, rounded up.
    latency, depth, shared
        As of `emu.links.LinkSpec`.

    Raises
    ------
    SpecError
        If a size is none of a link.

    Examples
    --------
    >>> Links(depth=1).between((2, 1), (4, 3), 38)
    LinkSpec(width=2, height=3, wires=10, latency=2, depth=1, shared=False)
    """

    wires: int | None = None
    latency: int = 2
    depth: int = 4
    shared: bool = False

    def __post_init__(self) -> None:
        sizes = asdict(self) | {"wires": 1 if self.wires is None else self.wires}
        LinkSpec(width=1, height=1, **sizes)

    def between(self, chips: tuple[int, int], mesh: tuple[int, int], flit_bits: int) -> LinkSpec:
        """Return the links of a mesh that is cut into ``chips``, across and down.

        Raises
        ------
        SpecError
            If there are no such equal chips.
        """
        quarter = LinkSpec.between(chips, mesh, flit_bits, shared=self.shared)
        wires = quarter.wires if self.wires is None else self.wires
        return replace(quarter, wires=wires, latency=self.latency, depth=self.depth)


QUARTER = Links()
"""Links of which nothing is said: a link for each router at a border, with a quarter of a flit's wires."""


def assembled(
    core: CoreSpec,
    mesh: tuple[int, int],
    *,
    chips: tuple[int, int] = (1, 1),
    links: Links = QUARTER,
    dead: DeadSpec | None = None,
    gates: Gates = ONE_OF_EACH,
) -> SystemSpec:
    """Return the system of a mesh of cores.

    Parameters
    ----------
    core : CoreSpec
        The core.
    mesh : (width, height)
        Cores of all chips.
    chips : (across, down)
        Equal chips that the mesh is cut into; a chip alone has no links.
    links, dead, gates
        Links between the chips, what does not work, and where the host is.

    Raises
    ------
    MappingError
        If it cannot be built.
    """
    try:
        spec = SystemSpec(core=core, width=mesh[0], height=mesh[1])
        if chips != (1, 1):
            spec = replace(spec, links=links.between(chips, mesh, spec.flit_bits))
        return replace(spec, dead=dead, gates=gates.on(*mesh))
    except SpecError as error:
        raise MappingError(f"The chip cannot be built: {clause(error)}.") from error
