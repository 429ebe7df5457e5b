# SPDX-License-Identifier: Apache-2.0
"""Tests of single hardware blocks."""

__all__: list[str] = []
