# SPDX-License-Identifier: Apache-2.0
"""Published tables computed again; what was published lies in `spikeloom.published`, out of reach here."""

__all__: list[str] = []
