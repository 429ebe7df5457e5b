# SPDX-License-Identifier: Apache-2.0
"""Everything that is known of the operations of a network: one record each, in one table.

>>> OPERATIONS["MaxPool"].chip.split(",")[0]
'Pooled axons'
"""

from collections.abc import Mapping
from types import MappingProxyType

from mapping.model.node import Node
from mapping.model.operations.arithmetic import ARITHMETIC
from mapping.model.operations.elementwise import applied
from mapping.model.operations.functions import FUNCTIONS
from mapping.model.operations.integers import INTEGERS
from mapping.model.operations.linear import LINEAR
from mapping.model.operations.operation import Operation, Reals
from mapping.model.operations.others import OTHERS
from mapping.model.operations.places import PLACES
from mapping.model.operations.pools import POOLS

__all__ = ["MOVES", "OPERATIONS", "apply_elementwise", "rises"]

_RECORDS = (*ARITHMETIC, *FUNCTIONS, *INTEGERS, *LINEAR, *PLACES, *OTHERS, *POOLS)

OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {record.name: record for record in sorted(_RECORDS, key=lambda record: record.name)}
)
"""Every operation a `mapping.model.node.Node` can have, by name."""

MOVES = frozenset(name for name, record in OPERATIONS.items() if record.moves)
"""Operations that only put elements in other places."""


def rises(node: Node) -> bool:
    """Tell whether no output of a node falls, to the last bit, when its inputs rise."""
    return OPERATIONS[node.op].rises(node) is True


def apply_elementwise(node: Node, values: Reals, *, axis: int) -> Reals:
    """Apply an elementwise node of one input to an array whose channels lie along ``axis``.

    The result has the array's precision.

    Raises
    ------
    ValueError
        If the operation is not elementwise.
    """
    each = OPERATIONS[node.op].each
    if each is None:
        raise ValueError(f"node must be elementwise, not {node.op}")
    return applied(each, node, values, axis=axis)
