# SPDX-License-Identifier: Apache-2.0
"""Read a model of any kind into a `Network`: a file, or a module of PyTorch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mapping.errors import MappingError
from mapping.model.importers.onnx import load_onnx
from mapping.model.importers.torch_module import is_module, load_module
from mapping.model.network import Network

__all__ = ["SHIPPED", "load_network"]

SHIPPED = {name: Path(__file__).parent / "data" / f"{name}.onnx" for name in ("digits", "digits-float")}
"""Models that install with the project: of ``spikeloom train digits``, without and with ``--float``."""


def load_network(model: object, example: NDArray[Any] | None = None) -> Network:
    """Read a model of any kind.

    Parameters
    ----------
    model : str, Path, Network or torch.nn.Module
        An ``.onnx`` file, ``digits`` or ``digits-float`` for one that ships with the project, a network,
        which is given back, or a module of PyTorch.
    example : array (n, input shape), optional
        Samples of the input; a module needs them, because its shapes follow from them.

    Raises
    ------
    MappingError
        If the model is of no known kind, cannot be read, or is a module without an example.
    """
    if isinstance(model, Network):
        return model
    if is_module(model):
        if example is None:
            raise MappingError(
                f"Module {type(model).__name__} does not say what shape its input has: give an example of "
                "it, an array (n, input shape)."
            )
        return load_module(model, example)
    if not isinstance(model, str | Path):
        raise MappingError(
            f"Model must be a file, a network or a module of PyTorch, not {type(model).__name__}"
            f"{_way_out(model)}."
        )
    if str(model) in SHIPPED:
        return load_onnx(SHIPPED[str(model)])
    if Path(model).suffix != ".onnx":
        told = f"Model must be {', '.join(SHIPPED)} or a file ending in .onnx, not {str(model)!r}"
        raise MappingError(f"{told}{_WAYS.get(Path(model).suffix, '')}.")
    return load_onnx(model)


_TORCH = "; export the module with torch.onnx.export, or hand it to spikeloom.estimate in Python"
_ARRAYS = "; give its arrays as layers in Python (docs/guides/bring_a_model.md)"
_WAYS = {
    **dict.fromkeys((".ckpt", ".pt", ".pth"), _TORCH),
    **dict.fromkeys((".npz", ".safetensors"), _ARRAYS),
}
"""What to do with files that hold weights and no network, by their endings."""


def _way_out(model: object) -> str:
    """Return what to do with what a module of PyTorch is made of: its class, or its state."""
    if isinstance(model, Mapping):
        return "; build the module and hand it its state with load_state_dict"
    return "; make a module of the class by calling it" if isinstance(model, type) else ""
