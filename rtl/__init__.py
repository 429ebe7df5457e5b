# SPDX-License-Identifier: Apache-2.0
"""The same machine in Amaranth: neurocore, router, tokens, gateway, chip and Verilog export."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("spikeloom")
