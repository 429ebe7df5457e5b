# SPDX-License-Identifier: Apache-2.0
"""A published network whose weights are arrays alone, as `docs/guides/bring_a_model.md` reads such ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import spikeloom
from mapping.datasets.npz import read_arrays
from mapping.errors import MappingError
from mapping.model.network import Network
from mapping.model.node import Node

__all__ = ["sinabs_network"]

_CONVOLUTIONS = ("0.weight", "3.weight", "6.weight")
_DENSE = ("10.weight", "12.weight")


class _Chain:
    """Nodes one after the other."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def add(self, op: str, **given: Any) -> None:
        """Append an operation on what the last one writes."""
        at, last = len(self.nodes), self.nodes[-1].output if self.nodes else "x"
        self.nodes.append(spikeloom.make_node(f"{op.lower()}{at}", op, [last], f"t{at}", **given))

    def conv(self, weight: np.ndarray, *, stride: int = 1, groups: int = 1) -> None:
        """Append a convolution without padding."""
        window = {"stride": (stride, stride), "pads": (0, 0, 0, 0), "dilation": (1, 1), "groups": groups}
        self.add("Conv", constants={"weight": weight}, attributes=window)


def sinabs_network(path: Path) -> Network:
    """Return the CNN of sinabs for MNIST: 20c5-avg2-32c5-avg2-128c3-avg2-500-10, `Relu`, no biases.

    Parameters
    ----------
    path : Path
        An ``.npz`` file of its weights, ``0.weight`` to ``12.weight``.

    Raises
    ------
    MappingError
        If the file has not these arrays.
    """
    arrays = read_arrays(path, (*_CONVOLUTIONS, *_DENSE))
    chain = _Chain()
    for name in _CONVOLUTIONS:
        weight = arrays[name]
        if weight.ndim != 4:
            raise MappingError(f"Array {name} of {path} must have 4 axes, not {weight.ndim}.")
        chain.conv(weight)
        chain.add("Relu")
        chain.conv(np.full((len(weight), 1, 2, 2), 0.25), stride=2, groups=len(weight))
    chain.add("Flatten")
    for index, name in enumerate(_DENSE):
        if index:
            chain.add("Relu")
        chain.add("Dense", constants={"weight": arrays[name]})
    names: dict[str, Any] = {"input_name": "x", "input_shape": (1, 28, 28)}
    return spikeloom.build_network(chain.nodes, name=path.stem, output_name=chain.nodes[-1].output, **names)
