# SPDX-License-Identifier: Apache-2.0
"""The first moment of a program: interruptions are heard before anything that takes time is imported."""

import _signal  # type: ignore[import-not-found]  # `signal` wraps it, and takes longer than all the rest
import os

__all__ = ["PARENT", "hear_interruptions"]

PARENT = "SPIKELOOM_PARENT"
"""Environment variable with the process that started the verification program and tells how it ended."""

INTERRUPTED = 130


def hear_interruptions(*, silent: bool = False) -> None:
    """End the process at once when it is interrupted: nothing has been begun that could be left half done.

    `spikeloom.ending.run` takes over. A parent may have kept Ctrl-C from us until now (`ending.deaf_child`).

    Parameters
    ----------
    silent : do not say that the program was interrupted, its parent does.
    """

    def leave(*_: object) -> None:
        if not silent:
            os.write(2, b"interrupted\n")
        os._exit(INTERRUPTED)

    for number in (_signal.SIGINT, _signal.SIGTERM):
        _signal.signal(number, leave)
    if hasattr(_signal, "pthread_sigmask"):
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (_signal.SIGINT,))
