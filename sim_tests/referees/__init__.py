# SPDX-License-Identifier: Apache-2.0
"""Independent computations that figures are compared with."""

__all__: list[str] = []
