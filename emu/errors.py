# SPDX-License-Identifier: Apache-2.0
"""The root of every error that a user's input can cause, in any package: one sentence on one line."""

__all__ = ["SpikeloomError", "clause", "printable"]


def printable(text: str) -> str:
    r"""Return a text on one line, as names from a file may hold anything.

    >>> print(printable("member a\nb\x1b[2J is foreign"))
    member a\nb\x1b[2J is foreign
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def clause(error: Exception | str) -> str:
    """Return an error's sentence without its full stop, to stand inside another sentence.

    >>> clause(ValueError("axons must be 2..4096, not 1."))
    'axons must be 2..4096, not 1'
    """
    return str(error).removesuffix(".")


class SpikeloomError(Exception):
    """A file, a value or the environment does not allow what was asked; the text is one sentence.

    The command line prints it and ends with exit code 2. Every other exception is a bug.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(printable(sentence))
