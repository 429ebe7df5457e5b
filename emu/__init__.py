# SPDX-License-Identifier: Apache-2.0
"""The reference machine: sizes, words, image, trace, and the emulator that the hardware must equal."""
