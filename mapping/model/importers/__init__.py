# SPDX-License-Identifier: Apache-2.0
"""Readers of model files: each turns one format into a `Network`."""

__all__: list[str] = []
