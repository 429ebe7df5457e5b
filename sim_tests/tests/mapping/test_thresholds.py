# SPDX-License-Identifier: Apache-2.0
"""Folding into thresholds and its proof, with planted faults."""

from dataclasses import replace

import numpy as np
import pytest

from mapping.codes.thresholds import Chain, fold, prove
from mapping.errors import MappingError
from mapping.model.network import make_node


def chain() -> Chain:
    """Two rows: count = clip(floor(2 (0.3 S) + 1/2), 0, 4) and the same of -S stored negated."""
    add = {"value": np.array(0.5)}
    nodes = (
        make_node("m", "Mul", ["s"], "a", constants={"value": np.array([0.6, -0.6])}),
        make_node("h", "Add", ["a"], "b", constants=add),
        make_node("f", "Floor", ["b"], "c"),
        make_node("k", "Clip", ["c"], "d", attributes={"low": 0.0, "high": 4.0}),
    )
    low, high = np.array([-9, -9]), np.array([9, 9])
    return Chain(layer="L", nodes=nodes, unit=np.array([1.0, -1.0]), low=low, high=high, levels=4, scale=1.0)


def test_fold_finds_the_steps() -> None:
    assert fold(chain()).tolist() == [[1, 3, 5, 6], [1, 3, 5, 6]]
    assert prove(chain(), fold(chain())) == (True, 38)


@pytest.mark.parametrize("change", [-1, 1])
@pytest.mark.parametrize("row", [0, 1])
def test_prove_catches_a_threshold_off_by_one(row: int, change: int) -> None:
    thresholds = fold(chain())
    thresholds[row, 2] += change
    with pytest.raises(
        MappingError, match=rf"^Layer 'L', row {row}: the sum \d gives \d spikes where the network"
    ):
        prove(chain(), thresholds)


def test_prove_catches_one_sum_of_a_chain_that_does_not_rise() -> None:
    odd = replace(chain(), unit=np.array([1.0, 1.0]))
    with pytest.raises(
        MappingError, match=r"^Layer 'L', row 1: the sum -9 gives 0 spikes where the network gives 4\.$"
    ):
        prove(odd, fold(chain()))
