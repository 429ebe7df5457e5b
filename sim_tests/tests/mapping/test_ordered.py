# SPDX-License-Identifier: Apache-2.0
"""Sums in a fixed order: bit for bit those of one addition after the other, whatever the sizes."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mapping.model.operations import ordered
from mapping.model.operations.sums import product

Floats = NDArray[np.float64]

SIZES = [(1, 0, 1), (1, 1, 1), (2, 3, 5), (3, 4, 7), (2, 31, 3), (5, 32, 128), (2, 33, 129), (3, 71, 300)]
"""Rows, terms and columns around the lengths that are taken together."""


def one_by_one(weight: Floats, columns: Floats) -> Floats:
    """Return the sums that a loop over numbers takes."""
    result = np.zeros((len(weight), columns.shape[1]))
    for m, row in enumerate(weight.tolist()):
        for p, column in enumerate(columns.T.tolist()):
            total = 0.0
            for w, v in zip(row, column, strict=True):
                total = total + w * v
            result[m, p] = total
    return result


def drawn(m: int, k: int, p: int) -> tuple[Floats, Floats]:
    """Return weights and columns whose sums depend on their order and on every rounding."""
    rng = np.random.default_rng((m, k, p))
    weight, columns = rng.normal(size=(m, k)), rng.normal(size=(k, p))
    return weight * 2.0 ** rng.integers(-30, 30, (m, k)), columns * 2.0 ** rng.integers(-30, 30, (k, p))


@pytest.mark.parametrize(("m", "k", "p"), SIZES)
def test_sums_are_those_of_one_addition_after_the_other(m: int, k: int, p: int) -> None:
    weight, columns = drawn(m, k, p)
    assert product(weight, columns, exact=False).tobytes() == one_by_one(weight, columns).tobytes()


@pytest.mark.parametrize(("m", "k", "p"), SIZES)
def test_sums_of_the_interpreter_are_those_of_the_compiler(m: int, k: int, p: int) -> None:
    weight, columns = drawn(m, k, p)
    plain, compiled = np.zeros((2, m, p))
    ordered._plain(weight, columns, plain)
    ordered._compiled(weight, columns, compiled)
    assert plain.tobytes() == compiled.tobytes() == one_by_one(weight, columns).tobytes()


def test_sums_read_any_layout_and_change_no_argument() -> None:
    weight, columns = drawn(4, 9, 6)
    wanted = one_by_one(weight, columns)
    turned = np.asfortranarray(weight), np.asfortranarray(columns)
    for array in turned:
        array.flags.writeable = False
    assert product(*turned, exact=False).tobytes() == wanted.tobytes()


def test_values_beyond_all_numbers_pass() -> None:
    weight, columns = np.array([[1.0, 1e300, -1.0]]), np.array([[np.inf], [1e300], [np.inf]])
    with np.errstate(all="ignore"):
        assert np.isnan(product(weight, columns, exact=False)).all()
        assert product(weight[:, :2], columns[:2], exact=False).tolist() == [[np.inf]]
