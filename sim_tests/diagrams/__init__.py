# SPDX-License-Identifier: Apache-2.0
"""The timing diagrams of the documentation: simulated, never drawn by hand.

``python -m sim_tests.diagrams`` writes them; `sim_tests/tests/docs/test_diagrams.py` compares them.
"""

__all__: list[str] = []
