# SPDX-License-Identifier: Apache-2.0
"""Choose which layers run on the chip: one run behind one quantised activation, the rest is the host's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mapping.codes.candidates import Candidate
from mapping.model.activations import Activation
from mapping.model.analysis import Analysed
from mapping.model.evaluate import needed_nodes
from mapping.model.network import Node

__all__ = ["Split", "choose"]


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


def choose(analysed: Analysed, candidates: Sequence[Candidate], work: Mapping[str, int]) -> Split | None:
    """Return the split that leaves the least work to the host, or None if nothing can run on the chip.

    Of equal ones it is the one with the most layers, then the one with the earliest entry.

    Parameters
    ----------
    analysed : Analysed
        The network.
    candidates : sequence of Candidate
        What the chip takes, in topological order.
    work : mapping
        Name of a node -> its multiply-adds.
    """
    splits = [_split(analysed, entry, candidates) for entry in analysed.activations.values()]
    rated = [
        ((sum(work.get(node.name, 0) for node in split.host), -len(split.run)), split)
        for split in splits
        if split.run
    ]
    return min(rated, key=lambda pair: pair[0])[1] if rated else None


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
