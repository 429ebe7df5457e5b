# SPDX-License-Identifier: Apache-2.0
"""How far a share that was counted on some samples may lie from that of all samples."""

import math

__all__ = ["Z95", "paired", "wilson"]

Z95 = 1.959964
"""Half-width of the middle 95 % of a normal distribution, in standard deviations."""


def wilson(count: int | None, samples: int) -> tuple[float, float] | None:
    """Return the ends of the 95 % interval of a share; None if nothing was counted.

    The score interval of Wilson (1927), J. Am. Stat. Assoc. 22, 209: it stays within 0..1 and has a width
    even where all samples are right.

    Parameters
    ----------
    count : int or None
        Samples of the kind counted, at most ``samples``.
    samples : int
        All samples.

    Examples
    --------
    >>> [round(end, 4) for end in wilson(360, 360)]
    [0.9894, 1.0]
    """
    if count is None or not samples:
        return None
    share, square = count / samples, Z95**2
    middle = (share + square / (2 * samples)) / (1 + square / samples)
    spread = share * (1 - share) / samples + square / (4 * samples**2)
    half = Z95 * math.sqrt(spread) / (1 + square / samples)
    return max(0.0, middle - half), min(1.0, middle + half)


def paired(gained: int, lost: int, samples: int) -> tuple[float, float]:
    """Return the ends of the 95 % interval of a difference of two shares, both of the same samples.

    The adjusted interval of Bonett and Price (2012), J. Educ. Behav. Stat. 37, 479, which adds a pair to
    either side: so it has a width even where no pair differs.

    Parameters
    ----------
    gained, lost : int
        Samples of the first kind alone, and of the second alone.
    samples : int
        All samples, at least one.

    Examples
    --------
    >>> [round(end, 4) for end in paired(0, 0, 360)]
    [-0.0077, 0.0077]
    """
    mean = (gained - lost) / (samples + 2)
    variance = (gained + lost + 2) / (samples + 2) - mean**2
    half = Z95 * math.sqrt(variance / (samples + 2))
    return max(-1.0, mean - half), min(1.0, mean + half)
