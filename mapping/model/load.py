# SPDX-License-Identifier: Apache-2.0
"""Read a model file of any kind into a `Network`."""

from pathlib import Path

from mapping.errors import MappingError
from mapping.model.importers.onnx import load_onnx
from mapping.model.network import Network

__all__ = ["SHIPPED", "load_network"]

SHIPPED = {name: Path(__file__).parent / "data" / f"{name}.onnx" for name in ("digits", "digits-float")}
"""Models that install with the project: of ``spikeloom train digits``, without and with ``--float``."""


def load_network(path: str | Path) -> Network:
    """Read a model: an ``.onnx`` file, or ``digits`` or ``digits-float`` for one that ships with the project.

    Raises
    ------
    MappingError
        If the file is of no known kind or cannot be read.
    """
    if str(path) in SHIPPED:
        return load_onnx(SHIPPED[str(path)])
    if Path(path).suffix != ".onnx":
        raise MappingError(
            f"Model must be {', '.join(SHIPPED)} or a file ending in .onnx, not {str(path)!r}."
        )
    return load_onnx(path)
