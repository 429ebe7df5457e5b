# SPDX-License-Identifier: Apache-2.0
"""Intervals of shares hold the share that samples were drawn with as often as they say."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from mapping.report.intervals import wilson


@pytest.mark.parametrize(("samples", "share"), [(360, 0.99), (100, 0.9), (1000, 0.5), (40, 0.2)])
def test_interval_holds_the_true_share_in_some_95_of_100_draws(samples: int, share: float) -> None:
    ends = [wilson(count, samples) or (2.0, 2.0) for count in range(samples + 1)]
    held = [count for count, (low, high) in enumerate(ends) if low <= share <= high]
    assert 0.92 < float(np.sum(binom.pmf(held, samples, share))) < 0.98


def test_ends_solve_the_score_equation() -> None:
    count, samples = 354, 360
    for end in wilson(count, samples) or ():
        deviation = math.sqrt(end * (1 - end) / samples)
        assert abs(count / samples - end) / deviation == pytest.approx(1.959964, rel=1e-9)


def test_interval_stays_within_0_and_1_and_has_a_width() -> None:
    assert [round(end, 4) for end in wilson(0, 5) or ()] == [0.0, 0.4345]
    assert [round(end, 4) for end in wilson(5, 5) or ()] == [0.5655, 1.0]
    assert wilson(None, 5) is None
    assert wilson(0, 0) is None
