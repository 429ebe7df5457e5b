# SPDX-License-Identifier: Apache-2.0
"""What the reader of modules touches of PyTorch, without PyTorch: tensors, a module, and an exporter."""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import ArrayLike, NDArray
from onnx.reference import ReferenceEvaluator

__all__ = ["FakeTensor", "fake_torch"]


class FakeTensor:
    """An array that has to be taken from its device."""

    def __init__(self, values: ArrayLike, device: str = "gpu") -> None:
        self.values, self.device = np.asarray(values), device

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    @property
    def ndim(self) -> int:
        return self.values.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.values.dtype

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> FakeTensor:
        return FakeTensor(self.values[index], self.device)

    def is_floating_point(self) -> bool:
        return self.values.dtype.kind == "f"

    def element_size(self) -> int:
        return self.values.itemsize

    def detach(self) -> FakeTensor:
        return self

    def cpu(self) -> FakeTensor:
        return FakeTensor(self.values, "cpu")

    def to(self, *, device: str, dtype: Any) -> FakeTensor:
        return FakeTensor(self.values.astype(dtype), device)

    def double(self) -> FakeTensor:
        return FakeTensor(self.values.astype(np.float64), self.device)

    def numpy(self) -> NDArray[Any]:
        assert self.device == "cpu", "numpy reads no memory of another device"
        return self.values


def _module_class(monkeypatch: pytest.MonkeyPatch) -> type[Any]:
    class Module:
        """As `torch.nn.Module`: parts, a mode for each, and parameters."""

        def __init__(self, model: onnx.ModelProto, *parts: Any, dtype: str = "float32") -> None:
            self.model, self.parts, self.training = model, parts, True
            self.parameter = FakeTensor(np.zeros(1, dtype))
            self.seen: list[tuple[bool, str, str]] = []
            self.batches: list[int] = []

        def modules(self) -> Iterator[Any]:
            yield self
            for part in self.parts:
                yield from part.modules()

        def parameters(self) -> list[FakeTensor]:
            return [self.parameter]

        def buffers(self) -> list[FakeTensor]:
            return [FakeTensor(np.zeros(1, np.int64))]

        def eval(self) -> None:
            for part in self.modules():
                part.training = False

        def __call__(self, given: FakeTensor) -> Any:
            self.seen.append((self.training, given.device, given.dtype.name))
            session: Any = ReferenceEvaluator(self.model)
            (output,) = session.run(None, {"x": given.values.astype(np.float32)})
            return FakeTensor(output.astype(given.dtype), given.device)

    Module.__module__ = "torch.nn.modules.module"
    return Module


@contextmanager
def fake_torch(
    monkeypatch: pytest.MonkeyPatch, export: Callable[[Any, Path], None] | None = None
) -> Iterator[type[Any]]:
    """Let ``torch`` be imported, and give the class of its modules.

    Parameters
    ----------
    export : callable
        What the exporter does with a module and a file; by default it writes the module's ``model``.
    """

    def exporter(module: Any, arguments: tuple[FakeTensor], file: str, *, dynamo: bool) -> None:
        print("[torch.onnx] a line for those who called it", dynamo)
        warnings.warn("and a warning", stacklevel=1)
        module.batches.append(len(arguments[0]))
        assert not any(part.training for part in module.modules())
        (export or (lambda module, path: onnx.save(module.model, path)))(module, Path(file))

    torch = types.ModuleType("torch")
    names: dict[str, Any] = {
        "float32": np.float32,
        "no_grad": nullcontext,
        "as_tensor": FakeTensor,
        "onnx": types.SimpleNamespace(export=exporter),
    }
    for name, value in names.items():
        setattr(torch, name, value)
    monkeypatch.setitem(sys.modules, "torch", torch)
    yield _module_class(monkeypatch)
