# SPDX-License-Identifier: Apache-2.0
"""Cut a network into the fewest passes over a chip (`docs/reference/passes.md`)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from emu.spec import CoreSpec
from mapping.codes.obstacles import Obstacle
from mapping.errors import InfeasibleError
from mapping.layout.capacity import limits_of, misfit, with_gateway
from mapping.layout.cut import cores_of
from mapping.layout.fitting import Layout
from mapping.layout.passes import banded, passes_of, rows_a_unit, whole
from mapping.layout.place import TooManyCoresError
from mapping.layout.plan import Pass, Plan, Rows, height_of
from mapping.layout.route import fit
from mapping.layout.site import Site
from mapping.spiking.network import SpikingLayer, SpikingNetwork

__all__ = ["Schedule", "Scheduling", "schedule"]

Group = tuple[int, int]
"""The layers from one index up to another."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Schedule:
    """The passes of a network and how each lies on the chip, whose cores are the same in all of them."""

    plan: Plan
    passes: tuple[Pass, ...]
    layouts: tuple[Layout, ...]


@dataclass(slots=True, kw_only=True)
class Scheduling:
    """A chip that runs networks in passes, as conversion sees it; see `mapping.layout.fitting.Fitting`.

    Parameters
    ----------
    spec : CoreSpec
        Sizes of a core.
    site : Site
        The cores of a pass; the mesh has a size.
    found : Schedule, optional
        That of the last network that `holds` accepted.
    """

    spec: CoreSpec
    site: Site
    found: Schedule | None = None

    def holds(self, spiking: SpikingNetwork) -> Mapping[str, Obstacle]:
        """Return why the chip cannot take these layers even in passes, by name; nothing if it can."""
        try:
            self.found = schedule(spiking, self.spec, self.site)
        except InfeasibleError as error:
            return {error.layer: Obstacle(reason=error.reason, remedy=error.remedy)}
        return {}


def schedule(spiking: SpikingNetwork, spec: CoreSpec, site: Site) -> Schedule:
    """Return the fewest passes whose cores fit a mesh, and of these those that move the fewest elements.

    A pass has consecutive layers, or a slice of one layer that does not fit as a whole.

    Parameters
    ----------
    spiking : SpikingNetwork
        The network, as the chip runs it.
    spec : CoreSpec
        Sizes of a core.
    site : Site
        Where; its mesh has a size.

    Raises
    ------
    InfeasibleError
        If a layer breaks a limit of the core, or not even its smallest slice fits the mesh.
    """
    search = _Search(spiking=spiking, spec=spec, site=site)
    plan = search.plan()
    layouts = [search.laid_out(rows) for rows in plan]
    widest = max((layout[0].spec for layout in layouts), key=lambda core: core.flit_axon_bits)
    return Schedule(
        plan=plan,
        passes=passes_of(spiking, plan),
        layouts=tuple(
            (replace(parts, spec=widest), placement, routes) for parts, placement, routes in layouts
        ),
    )


@dataclass(slots=True, kw_only=True)
class _Search:
    """A search for passes that lays out only what a best plan would have.

    ``failed`` are groups that were found not to fit, ``slices`` those of layers that do not fit alone.
    """

    spiking: SpikingNetwork
    spec: CoreSpec
    site: Site
    failed: set[Group] = field(default_factory=set)
    slices: dict[int, Plan] = field(default_factory=dict)
    known: dict[tuple[Rows, ...], Layout] = field(default_factory=dict)
    bounds: dict[tuple[Rows, ...], int] = field(default_factory=dict)
    least: list[int] = field(default_factory=list)

    def plan(self) -> Plan:
        """Return the best plan of which every pass was laid out."""
        self.least = [self._least(layer) for layer in self.spiking.layers]
        while True:
            groups = self._best()
            if all(self._fits(group) for group in groups):
                return tuple(rows for group in groups for rows in self._rows(group))

    def laid_out(self, rows: tuple[Rows, ...]) -> Layout:
        """Return how a pass lies on the chip.

        Raises
        ------
        InfeasibleError
            If it does not fit.
        """
        if rows not in self.known:
            (one,) = passes_of(self.spiking, (rows,))
            self.known[rows] = fit(one.network, self.spec, self.site)
        return self.known[rows]

    @property
    def _cores(self) -> int:
        return self.site.cores

    def _least(self, layer: SpikingLayer) -> int:
        """Return the fewest cores that a layer may take."""
        broken = misfit(layer, self.spec)
        if broken is not None:
            raise broken
        return cores_of(layer, limits_of(layer, self.spec, entries=1))

    def _best(self) -> list[Group]:
        """Return the groups with the fewest passes, then the least traffic, of those that may fit."""
        best: list[tuple[int, int, list[Group]]] = [(0, 0, [])]
        for end in range(1, len(self.spiking.layers) + 1):
            ways = []
            for begin in self._begins(end):
                passes, moved, groups = best[begin]
                group = begin, end
                more = len(self.slices.get(begin, (0,))) if end == begin + 1 else 1
                ways.append((passes + more, moved + self._moved(group), [*groups, group]))
            best.append(min(ways))
        return best[-1][2]

    def _begins(self, end: int) -> Iterator[int]:
        """Yield where groups may begin that end there: one layer always, more while they may fit."""
        yield end - 1
        cores = self.least[end - 1]
        for begin in range(end - 2, -1, -1):
            cores += self.least[begin]
            if cores > self._cores:
                return
            if (begin, end) not in self.failed and begin not in self.slices and end - 1 not in self.slices:
                yield begin

    def _moved(self, group: Group) -> int:
        """Return how many elements a group is fed and gives to the host."""
        layers = self.spiking.layers[slice(*group)]
        here = {layer.name for layer in layers}
        outside = [layer for layer in self.spiking.layers if layer.name not in here]
        wanted = {*self.spiking.outputs, *(source.name for layer in outside for source in layer.sources)}
        given = sum(layer.neurons for layer in layers if layer.name in wanted)
        passes = passes_of(self.spiking, self._rows(group))
        return given + sum(len(read.elements) for one in passes for read in one.reads)

    def _rows(self, group: Group) -> Plan:
        """Return the passes of a group: one, or as many as the layer has slices."""
        if group[1] == group[0] + 1 and group[0] in self.slices:
            return self.slices[group[0]]
        return (tuple(whole(layer) for layer in self.spiking.layers[slice(*group)]),)

    def _fits(self, group: Group) -> bool:
        """Lay a group out and tell whether it fits; cut a layer that does not fit alone into slices."""
        try:
            for rows in self._rows(group):
                self.laid_out(rows)
        except InfeasibleError as error:
            if group[1] > group[0] + 1:
                self.failed.add(group)
            elif isinstance(error, TooManyCoresError):
                self.slices[group[0]] = self._cut(self.spiking.layers[group[0]], error)
            else:
                raise
            return False
        return True

    def _cut(self, layer: SpikingLayer, error: TooManyCoresError) -> Plan:
        """Return the fewest slices of a layer of which each fits: bands of its map, or rows."""
        most = max(map(len, _smallest(layer)))
        for slices in range(max(2, -(-error.cores[layer.name] // self._cores)), most + 1):
            for plan in _slices(layer, slices):
                if self._holds(plan):
                    return plan
        demand = min(max(map(self._alone, plan)) for plan in _smallest(layer))
        raise InfeasibleError(
            layer=layer.name,
            limit="cores for its smallest slice",
            demand=demand,
            allowed=self._cores,
            remedy=f"choose a mesh of at least {demand} cores",
        )

    def _holds(self, plan: Plan) -> bool:
        """Tell whether each slice of a layer fits, the largest first."""
        try:
            for rows in sorted(plan, key=lambda rows: -self._bound(rows)):
                if self._bound(rows) > self._cores:
                    return False
                self.laid_out(rows)
        except TooManyCoresError:
            return False
        return True

    def _bound(self, rows: tuple[Rows, ...]) -> int:
        """Return the fewest cores that a slice may take."""
        if rows not in self.bounds:
            (one,) = passes_of(self.spiking, (rows,))
            self.bounds[rows] = self._least(one.network.layers[0])
        return self.bounds[rows]

    def _alone(self, rows: tuple[Rows, ...]) -> int:
        """Return the cores of a slice."""
        (one,) = passes_of(self.spiking, (rows,))
        parts, _, _ = fit(one.network, with_gateway(self.spec, one.network))
        return len(parts.cores)


def _slices(layer: SpikingLayer, slices: int) -> Iterator[Plan]:
    """Yield the ways to cut a layer into so many slices, as equal as can be: bands of its map, and rows."""
    every = whole(layer)
    height, unit = height_of(layer), rows_a_unit(layer)
    if banded(layer) and slices <= height:
        ends = [height * at // slices for at in range(slices + 1)]
        yield tuple((replace(every, top=top, bottom=bottom),) for top, bottom in pairwise(ends))
    if slices <= layer.rows // unit:
        ends = [layer.rows // unit * at // slices * unit for at in range(slices + 1)]
        yield tuple((replace(every, begin=begin, end=end),) for begin, end in pairwise(ends))


def _smallest(layer: SpikingLayer) -> list[Plan]:
    """Return the ways to cut a layer into as many slices as there can be."""
    most = {height_of(layer) if banded(layer) else 1, layer.rows // rows_a_unit(layer)}
    return [plan for slices in most for plan in _slices(layer, slices) if len(plan) == slices]
