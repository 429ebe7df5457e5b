# SPDX-License-Identifier: Apache-2.0
"""What a command frees stays with its process: to get pages anew takes longer than to use them."""

from __future__ import annotations

import os
import sys

__all__ = ["KEPT", "keep_freed"]

KEPT = 128 << 20
"""Bytes at the end of the heap up to which nothing is given back to the system."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of ``mallopt`` of the GNU C library, and the most that the second one takes."""
_MOST_MAPPED = 32 << 20


def keep_freed() -> bool:
    """Tell the allocator of the C library to keep what is freed, and return whether it was told.

    By default an array of some megabytes is mapped when it is made and unmapped when it is freed, so that an
    evaluation, which makes and frees one after the other, touches new pages all the time. Peaks stay what
    they are. Another library than GNU's is left alone, and so is one that ``GLIBC_TUNABLES`` or a variable
    ``MALLOC_...`` tells something already.
    """
    told = any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in os.environ)
    if told or not sys.platform.startswith("linux"):
        return False
    import ctypes

    try:
        tell = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(tell(_TRIM_THRESHOLD, KEPT)) and bool(tell(_MMAP_THRESHOLD, _MOST_MAPPED))
