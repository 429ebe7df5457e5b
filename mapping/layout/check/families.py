# SPDX-License-Identifier: Apache-2.0
"""Lists of members, of which equal ones are a family, and whose family a list is.

Every list is a walk down a tree: from the root, member by member. The tree holds the lists that there may be;
others leave it. So many lists are told apart by few, and those of one member by looking them up in a table.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["NONE", "Families"]

Integers = NDArray[np.int64]

NONE = -1
"""Stands for no family."""


def _numbered(keys: Integers) -> tuple[Integers, Integers]:
    """Return the different keys, ascending, and which of them each one is; at once if they are ascending."""
    if (keys[1:] > keys[:-1]).all():
        return keys, np.arange(len(keys))
    different, number = np.unique(keys, return_inverse=True)
    return different, number


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Families:
    """The families of some lists, and the lists of each.

    Parameters
    ----------
    base : int
        A member is below it, or in no list.
    steps : tuple of int64 (nodes,)
        By step the edges of the tree, node x base + member, sorted; edge i leads to node i.
    ends : tuple of int64 (nodes,)
        By length of a list the family that ends at each node, `NONE` where none does.
    begin, member : int64 (families + 1,), (lists,)
        The lists of family f are ``member[begin[f] : begin[f + 1]]``, ascending.
    """

    base: int
    steps: tuple[Integers, ...]
    ends: tuple[Integers, ...]
    begin: Integers
    member: Integers

    @classmethod
    def of(cls, begin: Integers, member: Integers) -> "Families":
        """Return the families of the lists ``member[begin[i] : begin[i + 1]]``.

        >>> one = Families.of(np.array([0, 2, 4, 5]), np.array([5, 7, 5, 7, 5]))
        >>> one.begin.tolist(), one.member.tolist()
        ([0, 1, 3], [2, 0, 1])
        >>> one.find(np.array([0, 2, 3, 4]), np.array([5, 7, 5, 9])).tolist()
        [1, 0, -1]
        """
        sizes, base = np.diff(begin), int(member.max(initial=0)) + 1
        node, steps = np.zeros(len(sizes), np.int64), []
        for step in range(int(sizes.max(initial=0))):
            longer = np.flatnonzero(sizes > step)
            edge = node[longer] * base + member[begin[longer] + step]
            edges, node[longer] = _numbered(edge)
            steps.append(edges)
        family, ends, first = np.full(len(sizes), NONE), [], 0
        for length in range(len(steps) + 1):
            end = np.full(len(steps[length - 1]) if length else 1, NONE)
            own = np.flatnonzero(sizes == length)
            there = np.flatnonzero(np.bincount(node[own], minlength=len(end)))
            end[there] = np.arange(first, first + len(there))
            family[own], first = end[node[own]], first + len(there)
            ends.append(end)
        return cls(
            base=base,
            steps=tuple(steps),
            ends=tuple(ends),
            begin=np.append(0, np.cumsum(np.bincount(family, minlength=first))),
            member=np.argsort(family, kind="stable"),
        )

    def find(self, begin: Integers, member: Integers) -> Integers:
        """Return the family of each list ``member[begin[i] : begin[i + 1]]``, `NONE` for none of these."""
        sizes = np.diff(begin)
        node, family = np.zeros(len(sizes), np.int64), np.full(len(sizes), NONE)
        own = np.arange(len(sizes))
        for length, end in enumerate(self.ends):
            done = sizes[own] == length
            family[own[done]] = end[node[done]]
            own, node = own[~done], node[~done]
            if length < len(self.steps):
                edge, sound = self._edges(length, node, member[begin[own] + length])
                own, node = own[sound], edge[sound]
        return family

    def _edges(self, step: int, node: Integers, member: Integers) -> tuple[Integers, NDArray[np.bool_]]:
        """Return the edge from each node to a member, and whether there is one."""
        edges, known = self.steps[step], member < self.base
        wanted = node * self.base + member
        if step == 0:
            table = np.full(self.base, NONE)
            table[edges] = np.arange(len(edges))
            edge = table[np.where(known, member, 0)]
            return edge, known & (edge != NONE)
        edge = np.minimum(np.searchsorted(edges, wanted), len(edges) - 1)
        return edge, known & (edges[edge] == wanted)
