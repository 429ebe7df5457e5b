# SPDX-License-Identifier: Apache-2.0
"""Every test of the project, in a folder for each part that it tests."""

__all__: list[str] = []
