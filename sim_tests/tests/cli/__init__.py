# SPDX-License-Identifier: Apache-2.0
"""Tests of the command line as a user meets it."""

__all__: list[str] = []
