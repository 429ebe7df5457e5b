# SPDX-License-Identifier: Apache-2.0
"""The graded code: an activation is one packet of up to 8 bits a sample (`docs/reference/graded.md`)."""

__all__: list[str] = []
