# SPDX-License-Identifier: Apache-2.0
"""The verification suite: benches, oracles, property tests and every test of the project."""

__all__: list[str] = []
