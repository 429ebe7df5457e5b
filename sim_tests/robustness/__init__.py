# SPDX-License-Identifier: Apache-2.0
"""Planted faults, damaged files, interrupted processes."""

__all__: list[str] = []
