# SPDX-License-Identifier: Apache-2.0
"""Tests of the verification suite and of the house rules."""

__all__: list[str] = []
