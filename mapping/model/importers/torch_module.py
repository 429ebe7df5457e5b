# SPDX-License-Identifier: Apache-2.0
"""Read a module of PyTorch: its own exporter writes it as ONNX, which is read as any file.

PyTorch is never imported here. Whoever has a module has imported it, and it is found where Python keeps it.
"""

import inspect
import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.errors import clause
from mapping.errors import UnsupportedModelError
from mapping.model.evaluate import infer
from mapping.model.importers.onnx import load_onnx
from mapping.model.network import Network

__all__ = ["is_module", "load_module"]

BATCHES = (2, 1)
"""Numbers of samples that a module is exported with, until its file can be read.

With one, a ``squeeze`` would take the batch away. With two, what recurrent layers and attention reshape,
batch and all, is no sample any more.
"""

COMPARED = 16
"""Samples, at most, on which the network read is compared with the module: it may have followed a branch."""

TOLERANCE = 1e-3
"""Largest difference of the network read from the module itself, as a share of its largest output."""

HALF = 3e-2
"""The same for modules in half precision."""

_AS_TAKEN = "give samples as it takes them, with the batch as first axis"
_SPLIT = "wrap it in a module that takes one and splits it, as docs/guides/pytorch.md shows"
"""What helps with samples that a module does not take: of one tensor, and of several."""

_WRAPPERS = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}
"""Modules of PyTorch that compute what one of their parts does, and the name of that part."""


def is_module(model: object) -> bool:
    """Return whether an object is a module of PyTorch, without importing it."""
    return any(
        kind.__name__ == "Module" and kind.__module__.split(".")[0] == "torch" for kind in type(model).__mro__
    )


def load_module(module: Any, example: NDArray[Any]) -> Network:
    """Read a module as it is in evaluation mode; its mode and its device stay what they are.

    Parameters
    ----------
    module : torch.nn.Module
        Takes one tensor (n, input shape) and gives one; of several that it gives the first is read, as of
        a file.
    example : array (n, input shape)
        Samples of its input; the first of them say its shape, and on them the network read is compared with
        the module.

    Raises
    ------
    UnsupportedModelError
        If the module does not take the samples, cannot be exported, uses something that is not supported, or
        the network read gives other outputs.
    """
    module = _unwrapped(module)
    torch, name = sys.modules["torch"], type(module).__name__
    samples = np.resize(example, (max(*BATCHES, min(len(example), COMPARED)), *example.shape[1:]))
    newer = find_spec("onnxscript") is not None
    failed, unread = list[Exception](), list[UnsupportedModelError]()
    with _evaluated(module), torch.no_grad(), tempfile.TemporaryDirectory(prefix="spikeloom-") as folder:
        given, output = _run(torch, module, samples)
        for dynamo, batch in product((True, False) if newer else (False,), BATCHES):
            file = Path(folder) / f"{dynamo:d}{batch}" / f"{name}.onnx"
            file.parent.mkdir()
            try:
                _export(torch, module, given[:batch], file, dynamo=dynamo)
            except Exception as error:  # noqa: BLE001  # the exporter runs the user's own code
                failed.append(error)
                continue
            try:
                return _read(file, given, output)
            except UnsupportedModelError as error:
                unread.append(error)
    raise unread[-1] if unread else _not_exported(name, failed[0], newer=newer)


def _unwrapped(module: Any) -> Any:
    """Return the module itself: of a compiled one, and of one spread over devices."""
    while type(module).__module__.split(".")[0] == "torch" and type(module).__name__ in _WRAPPERS:
        module = getattr(module, _WRAPPERS[type(module).__name__])
    return module


@contextmanager
def _evaluated(module: Any) -> Iterator[None]:
    """Put a module into evaluation mode, and every part of it back into its own at the end."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def _tensor(torch: Any, module: Any, samples: NDArray[Any]) -> Any:
    """Return samples on the device of a module and in its precision."""
    reals = [p for p in (*module.parameters(), *module.buffers()) if p.is_floating_point()]
    kind, device = (reals[0].dtype, reals[0].device) if reals else (torch.float32, "cpu")
    return torch.as_tensor(np.ascontiguousarray(samples)).to(device=device, dtype=kind)


def _run(torch: Any, module: Any, samples: NDArray[Any]) -> tuple[Any, Any]:
    """Return samples in a shape that a module takes, and what it gives for them.

    Maps without channels, as pictures in grey are stored, may get an axis for one.
    """
    name, failed = type(module).__name__, list[Exception]()
    for shaped in (samples, samples[:, None]) if samples.ndim == 3 else (samples,):
        given = _tensor(torch, module, shaped)
        try:
            output = _first(module(given))
        except Exception as error:  # noqa: BLE001  # the module is the user's own code
            failed.append(error)
            continue
        if not hasattr(output, "detach") or output.ndim < 2 or len(output) != len(given):
            raise UnsupportedModelError(
                f"Module {name} gives {_kind(output)} for {len(given)} samples instead of one tensor with "
                "the batch as first axis and outputs behind it; wrap it in a module that gives its logits."
            )
        return given, output
    raise UnsupportedModelError(
        f"Module {name} {_asked(module) or f'does not take samples of shape {samples.shape[1:]}'} "
        f"({_told(failed[0])}); {_SPLIT if _asked(module) else _AS_TAKEN}."
    ) from failed[0]


def _asked(module: Any) -> str:
    """Return what several tensors a module takes, in words, or nothing if it takes one.

    >>> _asked(lambda image, table, scale=1: image)
    'takes 2 tensors, image and table'
    """
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(getattr(module, "forward", module)).parameters.values()
    names = [p.name for p in parameters if p.kind in positional and p.default is p.empty]
    return f"takes {len(names)} tensors, {', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else ""


def _first(output: Any) -> Any:
    """Return the first of what a module gives, which is all that a file of it is read for.

    >>> _first(([1.5], 2)), _first({"logits": 3, "features": 4}), _first(())
    (1.5, 3, ())
    """
    while isinstance(output, tuple | list | Mapping) and output:
        output = next(iter(output.values() if isinstance(output, Mapping) else output))
    return output


def _kind(output: Any) -> str:
    """Return what a module gave, in words.

    >>> _kind((1, 2)), _kind(np.zeros(3))
    ('tuple', 'ndarray of shape (3,)')
    """
    shape = f" of shape {tuple(output.shape)}" if hasattr(output, "shape") else ""
    return f"{type(output).__name__}{shape}"


def _export(torch: Any, module: Any, given: Any, file: Path, *, dynamo: bool) -> None:
    """Write a module as ONNX by one of PyTorch's exporters; the newer one needs onnxscript.

    The older one follows one branch where a module asks its input which to take; it only warns of that. A
    question that PyTorch's own layers ask is about shapes.
    """
    with _quiet():
        warnings.filterwarnings("error", ".*to a Python boolean.*")
        warnings.filterwarnings("ignore", ".*to a Python boolean.*", module=r"torch\.")
        torch.onnx.export(module, (given,), str(file), dynamo=dynamo)


def _not_exported(name: str, error: Exception, *, newer: bool) -> UnsupportedModelError:
    """Return the error of a module that no exporter can write."""
    way = "" if newer else "; pip install onnxscript gives PyTorch a better exporter"
    told = UnsupportedModelError(
        f"Module {name} cannot be exported to ONNX ({_told(error)}); change what that says, or export it "
        f"with torch.onnx.export and give the file{way}."
    )
    told.__cause__ = error
    return told


def _read(file: Path, given: Any, output: Any) -> Network:
    """Read what an exporter wrote of a module, which must give the module's output for some samples."""
    try:
        network = load_onnx(file)
    except UnsupportedModelError as error:
        raise UnsupportedModelError(f"Module {file.stem} as ONNX: {clause(error)}.") from error
    _require_equal(network, given, output, file.stem)
    return network


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporters say about themselves from the user, who did not call them."""
    level, said = logging.root.manager.disable, io.StringIO()
    logging.disable(logging.CRITICAL)
    try:
        with _silent(1), _silent(2), warnings.catch_warnings(), redirect_stdout(said), redirect_stderr(said):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


@contextmanager
def _silent(descriptor: int) -> Iterator[None]:
    """Lead an output of the process to nowhere: PyTorch's own library prints whole graphs there."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    try:
        kept = os.dup(descriptor)
    except OSError:  # it is closed
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, descriptor)
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
        os.close(nowhere)


def _told(error: BaseException) -> str:
    """Return what caused an exception of others, as one short clause.

    >>> _told(ValueError("It does not fit."))
    'ValueError: It does not fit'
    """
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {clause(lines[0])[:200]}" if lines else type(error).__name__


def _require_equal(network: Network, given: Any, output: Any, name: str) -> None:
    """Refuse a network that is not the module: one that the exporter or the reader changed."""
    x, expected = (part.detach().cpu().double().numpy() for part in (given, output))
    share = HALF if given.element_size() < 4 else TOLERANCE
    got = infer(network, x).reshape(len(x), -1)
    if not _agree(got, expected.reshape(len(x), -1), share):
        raise UnsupportedModelError(
            f"Module {name} and the network read from its ONNX file differ in their outputs; export it with "
            "torch.onnx.export and compare the file with the module."
        )


def _agree(got: NDArray[np.float64], expected: NDArray[np.float64], share: float) -> bool:
    """Return whether outputs are equal, or of the same order where the last operator was left out.

    An operator at the output that changes no class is (`docs/reference/truth.md`).

    >>> logits = np.array([[1.0, 3.0, 2.0]])
    >>> _agree(logits, logits + 1e-6, 1e-3), _agree(logits, np.array([[0.1, 0.7, 0.2]]), 1e-3)
    (True, True)
    >>> _agree(logits, np.array([[1]]), 1e-3), _agree(logits, -logits, 1e-3)
    (True, False)
    """
    if got.shape[1] > 1 and expected.shape[1] == 1:
        return bool((got.argmax(axis=1) == expected[:, 0]).all())
    if got.shape != expected.shape:
        return False
    most = share * max(1e-6, float(np.abs(expected).max()))
    if (np.abs(got - expected) <= most).all():
        return True
    rising = np.take_along_axis(expected, got.argsort(axis=1), axis=1)
    return got.shape[1] > 1 and bool((np.diff(rising, axis=1) >= -most).all())
