# SPDX-License-Identifier: Apache-2.0
"""Conversion of a float network into a spiking one."""

__all__: list[str] = []
