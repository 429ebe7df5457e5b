# SPDX-License-Identifier: Apache-2.0
"""Tests of the documentation."""

__all__: list[str] = []
