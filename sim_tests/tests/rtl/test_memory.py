# SPDX-License-Identifier: Apache-2.0
"""The memory wrapper: when data shows, what a granule is, which port forwards a write."""

from collections.abc import Sequence

import pytest

from rtl.memory import ChunkMemory, Memory
from sim_tests.bench.block_player import Row, play, widths

DATA = ["read.0.data"]


def write(address: int, data: int, enable: int = 1) -> dict[str, int]:
    return {"write.enable": enable, "write.address": address, "write.data": data}


def read(address: int, port: int = 0) -> dict[str, int]:
    return {f"read.{port}.enable": 1, f"read.{port}.address": address}


def seen(memory: Memory, rows: Sequence[Row], port: int = 0) -> list[int]:
    return [cycle[f"read.{port}.data"] for cycle in play(memory, rows, [f"read.{port}.data"])]


def test_memory_shows_a_word_one_cycle_after_the_read_and_keeps_it() -> None:
    rows = [write(2, 0xAB), write(3, 0xCD), read(2), read(3), {"read.0.address": 2}, {}]
    assert seen(Memory(depth=4, bits=8), rows)[3:] == [0xAB, 0xCD, 0xCD]


def test_memory_without_enable_writes_nothing() -> None:
    rows = [write(1, 5), write(1, 9, enable=0), read(1), {}]
    assert seen(Memory(depth=4, bits=8), rows)[-1] == 5


@pytest.mark.parametrize(("enable", "word"), [(0b01, 0x11BB), (0b10, 0xAA22), (0b11, 0xAABB), (0, 0x1122)])
def test_memory_granules_are_written_apart(enable: int, word: int) -> None:
    rows = [write(0, 0x1122, 0b11), write(0, 0xAABB, enable), read(0), {}]
    assert seen(Memory(depth=2, bits=16, granules=2), rows)[-1] == word


def test_memory_transparent_port_reads_the_word_being_written() -> None:
    memory = Memory(depth=4, bits=8, transparent=True)
    assert seen(memory, [write(1, 7), write(1, 8) | read(1), write(2, 9) | read(1), {}])[2:] == [8, 8]


def test_memory_forwards_on_port_zero_only() -> None:
    rows = [write(1, 7), write(1, 8) | read(1, 0) | read(1, 1), {}]
    memory = Memory(depth=4, bits=8, reads=2, transparent=True)
    cycles = play(memory, rows, ["read.0.data", "read.1.data"])
    assert cycles[-1]["read.0.data"] == 8
    assert seen(Memory(depth=4, bits=8), [write(1, 7), write(1, 8) | read(1), {}])[-1] == 7


def test_memory_ports_read_independently() -> None:
    rows = [write(1, 7), write(2, 8), read(1, 0) | read(2, 1), read(2, 0), {}]
    cycles = play(Memory(depth=4, bits=8, reads=2), rows, ["read.0.data", "read.1.data"])
    assert [tuple(cycle.values()) for cycle in cycles[3:]] == [(7, 8), (8, 8)]


def test_memory_sizes() -> None:
    memory = Memory(depth=5, bits=12, granules=3, reads=2)
    assert widths(memory, "write.address", "write.data", "write.enable") == [3, 12, 3]
    assert widths(memory, "read.1.address", "read.1.data", "read.1.enable") == [3, 12, 1]
    assert len(memory.read) == 2


def chunk(address: int, value: int, strobe: int = 1) -> dict[str, int]:
    return {"strobe": strobe, "address": address, "chunk": value}


def word(bits: int, rows: Sequence[Row], address: int) -> int:
    look: list[Row] = [{"read.enable": 1, "read.address": address}, {}]
    return play(ChunkMemory(depth=4, bits=bits), [*rows, *look], ["read.data"])[-1]["read.data"]


@pytest.mark.parametrize(
    ("bits", "chunks", "whole"),
    [(10, [0x3FF], 0x3FF), (20, [0x1234, 0xF], 0xF1234), (40, [1, 2, 3, 4], 0x4000300020001)],
)
def test_chunk_memory_puts_the_low_chunk_first(bits: int, chunks: list[int], whole: int) -> None:
    first = 2 * len(chunks)
    rows = [chunk(first + at, value) for at, value in enumerate(chunks)]
    assert word(bits, rows, 2) == whole
    assert word(bits, rows, 1) == 0


def test_chunk_memory_writes_one_chunk_and_keeps_the_others() -> None:
    rows = [chunk(2, 0x1111), chunk(3, 0x2222), chunk(2, 0x3333), chunk(3, 0x4444, strobe=0)]
    assert word(32, rows, 1) == 0x22223333


def test_chunk_memory_stores_a_whole_word() -> None:
    store = {"store.enable": 1, "store.address": 3, "store.data": 0x89ABCDEF, "address": 2}
    assert word(32, [chunk(6, 1), store], 3) == 0x89ABCDEF
    assert word(32, [chunk(2, 1), store], 1) == 1


def test_chunk_memory_keeps_what_it_shows_until_the_next_read() -> None:
    rows = [chunk(0, 5), chunk(1, 6), {"read.enable": 1}, {"read.address": 1}, {"read.address": 1}]
    assert [c["read.data"] for c in play(ChunkMemory(depth=4, bits=8), rows, ["read.data"])[3:]] == [5, 5]


def test_chunk_memory_is_as_wide_as_its_chunks() -> None:
    memory = ChunkMemory(depth=64, bits=33)
    assert widths(memory, "read.data", "store.data", "read.address", "address", "chunk") == [
        64,
        64,
        6,
        28,
        16,
    ]
