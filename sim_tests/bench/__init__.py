# SPDX-License-Identifier: Apache-2.0
"""The parts of a bench: job, session, engines."""

__all__: list[str] = []
