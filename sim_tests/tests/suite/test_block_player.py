# SPDX-License-Identifier: Apache-2.0
"""The player of blocks: a block that is never done ends its test."""

from collections.abc import Iterator

import pytest

from emu.spec import SystemSpec, preset
from rtl.gateway import Gateway
from sim_tests.bench import block_player
from sim_tests.bench.block_player import Row, play


def test_wait_that_never_ends_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_player, "LONGEST", 50)

    def forever() -> Iterator[Row]:
        while True:
            yield {}

    spec = SystemSpec(core=preset("tiny"), width=1, height=1)
    with pytest.raises(AssertionError, match=r"^the block is not done after 50 cycles$"):
        play(Gateway(spec), forever(), ["stimulus"])
