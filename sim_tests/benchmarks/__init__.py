# SPDX-License-Identifier: Apache-2.0
"""Speed of the emulator, beside the roof of the machine and its peers: `python -m sim_tests.benchmarks`."""

__all__: list[str] = []
