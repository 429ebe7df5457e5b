# SPDX-License-Identifier: Apache-2.0
"""The reference machine: sizes, words, image, trace, and the emulator that the hardware must equal."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("spikeloom")
