# SPDX-License-Identifier: Apache-2.0
"""Intervals of shares and of their differences hold the true one as often as they say."""

import math

import numpy as np
import pytest
from scipy.stats import binom, multinomial

from mapping.report.intervals import paired, wilson


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


def test_interval_of_pairs_is_the_published_one() -> None:
    """That of statpsych's ``ci.prop.ps(.05, 12, 4, 26, 6)``, whose authors are those of the method."""
    assert paired(26, 4, 48) == pytest.approx((0.2548067, 0.6251933), abs=5e-8)
    assert paired(4, 26, 48) == pytest.approx((-0.6251933, -0.2548067), abs=5e-8)


@pytest.mark.parametrize(("samples", "gained", "lost"), [(60, 0.02, 0.02), (100, 0.08, 0.05), (60, 0.2, 0.1)])
def test_interval_of_pairs_holds_the_true_difference_in_some_95_of_100_draws(
    samples: int, gained: float, lost: float
) -> None:
    held = [
        (more, less, samples - more - less)
        for more in range(samples + 1)
        for less in range(samples + 1 - more)
        if paired(more, less, samples)[0] <= gained - lost <= paired(more, less, samples)[1]
    ]
    drawn = multinomial.pmf(held, samples, [gained, lost, 1 - gained - lost])
    assert float(np.sum(drawn)) > 0.94
    assert float(np.sum(drawn)) < 0.98 or samples * (gained + lost) < 5


def test_interval_of_pairs_has_a_width_and_stays_within_1() -> None:
    assert [round(end, 4) for end in paired(0, 0, 100)] == [-0.0272, 0.0272]
    assert paired(2, 0, 2)[1] == 1.0
    assert paired(0, 2, 2)[0] == -1.0
