# SPDX-License-Identifier: Apache-2.0
"""Proofs of the parts of a router: what holds for every input, whatever a register held before reset."""

__all__: list[str] = []
