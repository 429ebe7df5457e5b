# SPDX-License-Identifier: Apache-2.0
"""How many threads the linear algebra library may use."""

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

__all__ = ["one_thread"]


@contextmanager
def one_thread() -> Iterator[None]:
    """Let products of matrices run on one thread within.

    Those of a network's layers are small: a second thread waits most of the time, and burns it. And sums of
    floats are taken in one order, so that results do not depend on the processors of a machine.

    >>> with one_thread():
    ...     pass
    """
    with threadpool_limits(1, user_api="blas"):
        yield
