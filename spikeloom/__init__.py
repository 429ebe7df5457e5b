# SPDX-License-Identifier: Apache-2.0
"""The front door: from a trained network to a chip, its figures and its Verilog."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("spikeloom")
