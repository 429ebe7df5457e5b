# SPDX-License-Identifier: Apache-2.0
"""What is recorded when a float network reads its input in other ways."""

from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["SAMPLES", "InputTrial"]

SAMPLES = 256
"""Samples that are tried, at equal distances: sorted data show all classes so."""

Way = TypeVar("Way")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputTrial(Generic[Way]):
    """The accuracy of the data as they are, all other ways, and the one that is clearly better if one is."""

    samples: int
    accuracy: float
    candidates: tuple[Way, ...]
    better: Way | None
