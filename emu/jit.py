# SPDX-License-Identifier: Apache-2.0
"""The one policy by which kernels are compiled: no fast-math, cached, one switch.

The environment variable ``SPIKELOOM_CACHE`` names the folder of compiled kernels; ``0`` or ``off`` compiles
in every process. Without it they are kept in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["INTERPRETED", "OFF", "cache_folder", "first_bit", "inner", "njit", "popcount", "ticks"]

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

_POLICY = {"error_model": "numpy", "_nrt": False, "forceinline": True, "nogil": True}

INTERPRETED: bool = numba.config.DISABLE_JIT  # type: ignore[attr-defined]
"""Whether kernels run in the interpreter, ``NUMBA_DISABLE_JIT=1``."""

OFF = ("0", "off", "no", "false")
"""Values of ``SPIKELOOM_CACHE`` that name no folder."""


@cache
def _sources_digest(folder: Path) -> str:
    """Return a digest of the kernels of the machine and those in a folder, and of the compiler's version.

    Numba notices a change of the file that holds a kernel, but not of the files of the kernels it calls, nor
    of the constants that it takes from elsewhere.
    """
    sha = hashlib.sha256(f"numba {numba.__version__}".encode())
    here = Path(__file__).parent
    constants = [here / "spec.py", here / "words.py"]
    kernels = [*sorted((here / "kernels").glob("*.py")), *sorted(folder.glob("*.py"))]
    for source in [Path(__file__), *constants, *kernels]:
        sha.update(source.name.encode() + b"\0" + source.read_bytes())
    return sha.hexdigest()[:16]


def cache_folder(beside: Path = Path(__file__).parent / "kernels") -> Path | None:
    """Return where compiled kernels of a folder are kept for these sources, None if nothing is."""
    switch = os.environ.get("SPIKELOOM_CACHE", "")
    if switch.lower() in OFF and switch:
        return None
    if switch:
        base = Path(switch)
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spikeloom"
    folder = base / _sources_digest(beside)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def njit(function: Kernel) -> Kernel:
    """Compile a kernel that Python calls, when it is first called; bit-exact, so no fast-math.

    Kernels are compiled without reference counting (``_nrt``), so that none can allocate, and into their
    callers (``forceinline``), so that a tuple of forty arrays is not copied at each call: many times faster.
    They hold no lock of the interpreter (``nogil``): threads run them side by side.
    ``NUMBA_DISABLE_JIT=1`` runs the same source in the interpreter.
    """
    folder = cache_folder(Path(function.__code__.co_filename).parent)
    compiler: Any = numba
    before = compiler.config.CACHE_DIR
    if folder is not None:
        compiler.config.CACHE_DIR = str(folder)
    try:
        kernel: Kernel = compiler.njit(cache=folder is not None, **_POLICY)(function)
    finally:
        compiler.config.CACHE_DIR = before
    return kernel


def inner(function: Kernel) -> Kernel:
    """Compile a part of kernels, as `njit` does, that only kernels call.

    It needs no way in for Python and no place in the cache, which a tuple of forty arrays makes dear: those
    took most of the time of the compiler.
    """
    compiler: Any = numba
    kernel: Kernel = compiler.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_POLICY)(function)
    return kernel


@intrinsic
def _count_ones(typing_context: Any, word: Any) -> Any:  # noqa: ARG001 - the compiler passes it
    """Count the bits of an unsigned word that are set, by one instruction where there is one."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), build


def _popcount(word: int) -> int:
    return _count_ones(word)  # type: ignore[call-arg]


popcount: Callable[[int], int] = (lambda word: int(word).bit_count()) if INTERPRETED else njit(_popcount)
"""Number of bits that are set in an unsigned word of 64 bits, int64."""


@intrinsic
def _count_zeros(typing_context: Any, word: Any) -> Any:  # noqa: ARG001 - the compiler passes it
    """Count the bits below the lowest one that is set, by one instruction where there is one."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), build


def _first_bit(word: int) -> int:
    return _count_zeros(word)  # type: ignore[call-arg]


first_bit: Callable[[int], int] = (
    (lambda word: int(word & -word).bit_length() - 1) if INTERPRETED else njit(_first_bit)
)
"""Number of the lowest bit that is set in a word that is not zero, int64."""


@intrinsic
def _read_cycles(typing_context: Any) -> Any:  # noqa: ARG001 - the compiler passes it
    """Read the processor's own counter of cycles."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        kind = ir.FunctionType(ir.IntType(64), ())
        return builder.call(builder.module.declare_intrinsic("llvm.readcyclecounter", (), kind), ())

    return types.int64(), build


def _ticks() -> int:
    return _read_cycles()  # type: ignore[call-arg]


ticks: Callable[[], int] = time.perf_counter_ns if INTERPRETED else njit(_ticks)
"""A clock that kernels can read, for measurements: some constant rate, so only ratios mean anything."""
