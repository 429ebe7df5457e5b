# SPDX-License-Identifier: Apache-2.0
"""What the hardware costs on an ECP5: logic, registers, memories and clock (`docs/cost.md`)."""

__all__: list[str] = []
