# SPDX-License-Identifier: Apache-2.0
"""Read the data that an ONNX file keeps in files beside it, as exporters write large weights.

The files are not trusted: only plain names in the folder of the model are opened, no link out of it is
followed, and no more is read than the tensor's type and shape ask for.
"""

import math
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from mapping.errors import UnsupportedModelError

__all__ = ["attach_external"]


def attach_external(model: onnx.ModelProto, folder: Path, most: int) -> None:
    """Put the data of every tensor that is stored beside the model file into the model.

    Parameters
    ----------
    model : ModelProto
        The model, changed in place.
    folder : Path
        Where its file is.
    most : int
        Bytes that all of them may have together.

    Raises
    ------
    UnsupportedModelError
        If a file is missing, lies elsewhere, or does not hold what the tensor asks for.
    """
    left = most
    for tensor in model.graph.initializer:
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        data = _read(tensor, folder, left)
        left -= len(data)
        tensor.raw_data = data
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def _read(tensor: TensorProto, folder: Path, left: int) -> bytes:
    """Return the data of one tensor."""
    where = {entry.key: entry.value for entry in tensor.external_data}
    file = _file(tensor, folder, where.get("location", ""))
    size = _size(tensor)
    offset = _number(tensor, where.get("offset", "0"))
    length = _number(tensor, where.get("length", str(size)))
    if length != size or size > left:
        raise UnsupportedModelError(
            f"Tensor {tensor.name!r} has {length} bytes in {file.name}, but its type and shape ask for "
            f"{size} of at most {left}; export the model again."
        )
    try:
        with file.open("rb") as opened:
            opened.seek(offset)
            data = opened.read(size)
    except OSError as error:
        raise UnsupportedModelError(
            f"Data file {file.name} of the model cannot be read: {error.strerror}; keep it beside the model."
        ) from None
    if len(data) != size:
        raise UnsupportedModelError(
            f"Data file {file.name} of the model ends before tensor {tensor.name!r}; export the model again."
        )
    return data


def _file(tensor: TensorProto, folder: Path, name: str) -> Path:
    """Return the file of a plain name in the folder."""
    file = folder / name
    plain = bool(name) and Path(name).name == name and name not in {".", ".."} and "\\" not in name
    if not plain or file.resolve().parent != folder.resolve():
        raise UnsupportedModelError(
            f"Tensor {tensor.name!r} is stored in {name!r}, which is no file beside the model; "
            "save the model with its data inside, or in a file in its own folder."
        )
    return file


def _number(tensor: TensorProto, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise UnsupportedModelError(
            f"Tensor {tensor.name!r} names the place {text[:40]!r} in its data file, which is no number; "
            "export the model again."
        )
    return int(text)


def _size(tensor: TensorProto) -> int:
    """Return the bytes of a tensor by its type and shape."""
    try:
        item = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize
    except (KeyError, TypeError, ValueError):
        raise UnsupportedModelError(
            f"Tensor {tensor.name!r} has a type that is not supported; export it with float32 weights."
        ) from None
    if min(tensor.dims, default=0) < 0:
        told = f"Tensor {tensor.name!r} has the unusable shape {tuple(tensor.dims)}"
        raise UnsupportedModelError(f"{told}; export it again.")
    return int(math.prod(tensor.dims) * item)
