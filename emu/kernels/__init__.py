# SPDX-License-Identifier: Apache-2.0
"""Compiled inner loops: arrays in, arrays out, no allocation, no Python object."""

__all__: list[str] = []
