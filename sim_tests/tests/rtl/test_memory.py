# SPDX-License-Identifier: Apache-2.0
"""The memory wrapper: when data shows, when it is garbage, what a granule is, and sections by chunk."""

from collections.abc import Mapping, Sequence

import pytest
from amaranth.back import verilog

from emu.words import Section
from rtl.memory import Body, ChunkMemory, DualPort, SinglePort
from sim_tests.bench.block_player import Row, play, widths


def write(address: int, data: int, enable: int = 1) -> dict[str, int]:
    return {"write.enable": enable, "write.address": address, "write.data": data}


def read(address: int) -> dict[str, int]:
    return {"read.enable": 1, "read.address": address}


def shared(address: int, data: int = 0, write: int = 0, enable: int = 1) -> dict[str, int]:
    return {"port.enable": enable, "port.write": write, "port.address": address, "port.store": data}


def seen(memory: DualPort, rows: Sequence[Row]) -> list[int]:
    return [cycle["read.data"] for cycle in play(memory, rows, ["read.data"])]


def seen_alone(memory: SinglePort, rows: Sequence[Row]) -> list[int]:
    return [cycle["port.data"] for cycle in play(memory, rows, ["port.data"])]


def test_dual_port_shows_a_word_one_cycle_after_the_read_and_keeps_it() -> None:
    rows = [write(2, 0xAB), write(3, 0xCD), read(2), read(3), {"read.address": 2}, write(3, 1), {}]
    assert seen(DualPort(depth=4, bits=8), rows)[3:] == [0xAB, 0xCD, 0xCD, 0xCD]


def test_dual_port_without_enable_writes_nothing() -> None:
    assert seen(DualPort(depth=4, bits=8), [write(1, 5), write(1, 9, enable=0), read(1), {}])[-1] == 5


@pytest.mark.parametrize(("enable", "word"), [(0b01, 0x11BB), (0b10, 0xAA22), (0b11, 0xAABB), (0, 0x1122)])
def test_granules_are_written_apart(enable: int, word: int) -> None:
    rows = [write(0, 0x1122, 0b11), write(0, 0xAABB, enable), read(0), {}]
    assert seen(DualPort(depth=2, bits=16, granule=8), rows)[-1] == word
    alone = [shared(0, 0x1122, 0b11), shared(0, 0xAABB, enable), shared(0), {}]
    assert seen_alone(SinglePort(depth=2, bits=16, granule=8), alone)[-1] == word


def test_last_granule_may_be_narrow() -> None:
    rows = [write(0, 0x7F, 0b01), write(0, 0x7FFF, 0b10), read(0), {}]
    assert seen(DualPort(depth=2, bits=12, granule=8), rows)[-1] == 0xF7F


def test_dual_port_shows_garbage_for_the_word_being_written() -> None:
    rows = [write(1, 7), write(2, 6), write(1, 8) | read(1), write(1, 9) | read(2), read(1), {}]
    assert seen(DualPort(depth=4, bits=8), rows)[3:] == [0xFF - 7, 6, 9]


def test_single_port_reads_or_writes_and_keeps_what_it_read() -> None:
    rows = [shared(1, 7, 1), shared(2, 8, 1), shared(1), shared(2), shared(1, enable=0)]
    rows += [shared(1, 3, 1, enable=0), {}]
    assert seen_alone(SinglePort(depth=4, bits=8), rows)[3:] == [7, 8, 8, 8]
    assert seen_alone(SinglePort(depth=4, bits=8), [*rows, shared(1), {}])[-1] == 7


def test_single_port_shows_garbage_after_a_write() -> None:
    rows = [shared(1, 7, 1), shared(1), shared(2, 8, 1), {}, shared(2), {}]
    assert seen_alone(SinglePort(depth=4, bits=8), rows)[2:] == [7, 0xF8, 0xF8, 8]


@pytest.mark.parametrize("kind", [SinglePort, DualPort])
def test_inferred_body_has_arrays_and_nothing_else(kind: type[SinglePort | DualPort]) -> None:
    texts = [
        verilog.convert(kind(depth=4, bits=24, granule=16), platform=body)
        for body in (Body.INFERRED, Body.SIMULATION)
    ]
    assert ["spoilt" in text for text in texts] == [False, True]
    arrays = ("  reg [15:0] array0 [3:0];", "  reg [7:0] array1 [3:0];")
    assert [text.count(array) for text in texts for array in arrays] == [1] * 4


def test_memory_sizes() -> None:
    assert widths(DualPort(depth=5, bits=12, granule=4), "write.address", "write.data", "write.enable") == [
        3, 12, 3,
    ]  # fmt: skip
    assert widths(SinglePort(depth=5, bits=12), "port.address", "port.data", "port.write") == [3, 12, 1]


def at(pin: str, address: int, section: int = Section.NEURON) -> dict[str, int]:
    return {f"{pin}.section": section, f"{pin}.address": address}


def chunk(address: int, value: int, strobe: int = 1, section: int = Section.NEURON) -> dict[str, int]:
    return at("program", address, section) | {"program.strobe": strobe, "program.chunk": value}


def ask(address: int, section: int = Section.NEURON) -> dict[str, int]:
    return at("inspect", address, section) | {"inspect.enable": 1}


def memory(bits: int, *, dual: bool = False) -> ChunkMemory:
    return ChunkMemory(Section.NEURON, depth=4, bits=bits, dual=dual)


def word(bits: int, rows: Sequence[Row], address: int, *, dual: bool = False) -> int:
    return play(memory(bits, dual=dual), [*rows, read(address), {}], ["read.data"])[-1]["read.data"]


def inspected(bits: int, rows: Sequence[Row], *, dual: bool = False) -> list[int]:
    cycles = play(memory(bits, dual=dual), [*rows, {}], ["inspect.chunk"])
    return [c["inspect.chunk"] for c, row in zip(cycles[1:], rows, strict=True) if "inspect.enable" in row]


@pytest.mark.parametrize("dual", [False, True])
@pytest.mark.parametrize(
    ("bits", "chunks", "whole"),
    [(10, [0x3FF], 0x3FF), (20, [0x1234, 0xF], 0xF1234), (40, [1, 2, 3, 4], 0x300020001)],
)
def test_chunk_memory_puts_the_low_chunk_first(bits: int, chunks: list[int], whole: int, dual: bool) -> None:
    first = 2 * len(chunks)
    rows = [chunk(first + place, value) for place, value in enumerate(chunks)]
    assert word(bits, rows, 2, dual=dual) == whole
    assert word(bits, rows, 1, dual=dual) == 0


@pytest.mark.parametrize("dual", [False, True])
def test_chunk_memory_writes_one_chunk_of_its_section_and_keeps_the_others(dual: bool) -> None:
    rows = [chunk(2, 0x1111), chunk(3, 0x2222), chunk(2, 0x3333), chunk(3, 0x4444, strobe=0)]
    assert word(32, [*rows, chunk(2, 0x5555, section=Section.STATE)], 1, dual=dual) == 0x22223333


@pytest.mark.parametrize("dual", [False, True])
@pytest.mark.parametrize("bits", [10, 20, 40])
def test_every_chunk_is_read_back(bits: int, dual: bool) -> None:
    chunks = {10: 1, 20: 2, 40: 4}[bits]
    values = [0xFFFF - 3 * place for place in range(4 * chunks)]
    rows = [chunk(place, value) for place, value in enumerate(values)]
    kept = [(1 << max(0, min(16, bits - 16 * (place % chunks)))) - 1 for place in range(4 * chunks)]
    got = inspected(bits, [*rows, *map(ask, range(4 * chunks))], dual=dual)
    assert got == [value & mask for value, mask in zip(values, kept, strict=True)]


def test_chunk_stays_until_the_next_and_is_zero_for_another_section() -> None:
    rows = [chunk(0, 0x55), chunk(1, 0x66), ask(1), {}, ask(0, Section.STATE), {}, ask(0), {}]
    cycles = play(memory(16), rows, ["inspect.chunk"])
    assert [c["inspect.chunk"] for c in cycles[3:]] == [0x66, 0x66, 0, 0, 0x55]


def test_chunk_memory_stores_a_whole_word() -> None:
    store = {"store.enable": 1, "store.address": 3, "store.data": 0x89ABCDEF}
    assert word(32, [chunk(6, 1), store], 3, dual=True) == 0x89ABCDEF
    assert word(32, [chunk(2, 1), store], 1, dual=True) == 1


@pytest.mark.parametrize("dual", [False, True])
def test_chunk_memory_tells_of_every_access(dual: bool) -> None:
    rows = [{}, chunk(0, 5), chunk(0, 5, section=Section.STATE), read(0), ask(0), ask(0, Section.STATE)]
    assert [c["accessed"] for c in play(memory(8, dual=dual), rows, ["accessed"])] == [0, 1, 0, 1, 1, 0]
    if dual:
        assert [c["accessed"] for c in play(memory(8, dual=True), [{"store.enable": 1}], ["accessed"])] == [1]


@pytest.mark.parametrize("dual", [False, True])
def test_chunk_memory_keeps_what_it_shows_until_the_next_read(dual: bool) -> None:
    rows: list[Mapping[str, int]] = [chunk(0, 5), chunk(1, 6), read(0), {"read.address": 1}]
    rows += [{"inspect.section": Section.NEURON, "inspect.address": 1}]
    assert [c["read.data"] for c in play(memory(8, dual=dual), rows, ["read.data"])[3:]] == [5, 5]


def test_chunk_memory_is_as_wide_as_its_word() -> None:
    wide = ChunkMemory(Section.NEURON, depth=64, bits=33, dual=True)
    assert widths(wide, "read.data", "store.data", "read.address", "program.address", "inspect.chunk") == [
        33, 33, 6, 28, 16,
    ]  # fmt: skip
