# SPDX-License-Identifier: Apache-2.0
"""Choose which layers run on the chip: one run behind one quantised activation, the rest is the host's."""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mapping.codes.candidates import Candidate
from mapping.model.activations import Activation
from mapping.model.analysis import Analysed
from mapping.model.evaluate import needed_nodes
from mapping.model.node import Node

__all__ = ["Split", "splits"]

_MANY = 512  # splits thought of, before runs are shortened at their ends only
_Waiting = tuple[int, int, int, int, "Split"]
"""Work of the host, minus the layers, order of the entry, a number of its own, and the split."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """What the host computes up to the entry of the chip, the candidates on the chip, and the host's rest."""

    entry: Activation
    encoder: tuple[Node, ...]
    run: tuple[Candidate, ...]
    decoder: tuple[Node, ...]

    @property
    def host(self) -> tuple[Node, ...]:
        """What the host computes, each node once."""
        return tuple(dict.fromkeys((*self.encoder, *self.decoder)))


def splits(
    analysed: Analysed, candidates: Sequence[Candidate], work: Mapping[str, int | None]
) -> Iterator[Split]:
    """Yield the splits with something on the chip, that which leaves the least work to the host first.

    Of equal ones it is the one with the most layers, then the one with the earliest entry. Behind every
    entry the whole run comes first; then it loses layers that no other layer on the chip reads.

    Parameters
    ----------
    analysed : Analysed
        The network.
    candidates : sequence of Candidate
        What the chip takes, in topological order.
    work : mapping
        Name of a node -> its multiply-adds, which count for nothing where they are not known.
    """
    waiting: list[_Waiting] = []
    known: set[tuple[int, frozenset[str]]] = set()

    def add(order: int, split: Split) -> None:
        state = order, frozenset(part.name for part in split.run)
        if split.run and state not in known:
            known.add(state)
            left = sum(work.get(node.name) or 0 for node in split.host)
            heapq.heappush(waiting, (left, -len(split.run), order, len(known), split))

    for order, entry in enumerate(analysed.activations.values()):
        add(order, _split(analysed, entry, candidates))
    while waiting:
        *_, order, _, split = heapq.heappop(waiting)
        yield split
        few = len(known) < _MANY
        if not few:
            waiting = _best_of_each(waiting)
        for end in _ends(split) if few else split.run[-1:]:
            add(order, _split(analysed, split.entry, [part for part in split.run if part is not end]))


def _ends(split: Split) -> list[Candidate]:
    """Return what no other layer on the chip reads, the last first."""
    read = {part.source.activation.output for part in split.run}
    return [part for part in reversed(split.run) if part.activation.output not in read]


def _best_of_each(waiting: Sequence[_Waiting]) -> list[_Waiting]:
    """Return of every entry the best split; a sorted list is a heap."""
    best: dict[int, _Waiting] = {}
    for item in sorted(waiting):
        best.setdefault(item[2], item)
    return list(best.values())


def _split(analysed: Analysed, entry: Activation, candidates: Sequence[Candidate]) -> Split:
    """Return the split with all candidates behind an entry that the output needs."""
    network = analysed.network
    reached, run = {entry.output}, []
    for candidate in candidates:
        if candidate.source.activation.output in reached and candidate.activation.output != entry.output:
            reached.add(candidate.activation.output)
            run.append(candidate)
    decoder = needed_nodes(network, [network.input, *reached], [network.output])
    read = {network.output, *(tensor for node in decoder for tensor in node.inputs)}
    used = []
    for candidate in reversed(run):
        if candidate.activation.output in read:
            read.add(candidate.source.activation.output)
            used.append(candidate)
    return Split(
        entry=entry,
        encoder=needed_nodes(network, [network.input], [entry.output]),
        run=tuple(reversed(used)),
        decoder=decoder,
    )
