# SPDX-License-Identifier: Apache-2.0
"""What a bench expects of every memory, and that no wrong chunk passes."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from emu.bits import words_of
from emu.host import core_flits
from emu.image import SystemImage
from emu.spec import SystemSpec, preset
from emu.words import ErrorCause, Section, section_layout, section_words, sections_of
from rtl.control import identity
from sim_tests.bench import memories
from sim_tests.bench.memories import compare_memories, expected_memories, identity_chunks, memory_fault
from sim_tests.bench.prelude import _foreign_core, _Knock
from sim_tests.bench.scoreboard import BenchError
from sim_tests.generators.systems import POOL, make_core, make_system

TINY = preset("tiny")
TWO = SystemSpec(core=TINY, width=2, height=1)


def image() -> SystemImage:
    """Return one core with every section in use, and a disabled one."""
    core = make_core([[1, -1], [0, 1]], shifts=[0, 3], strengths=[-3, 2], fanout=[[0, 1, 0, 0, 9, True]])
    return make_system(TWO, core, None)


def held() -> dict[tuple[int, Section], list[int]]:
    return {(core, section): chunks.tolist() for core, section, chunks in expected_memories(image())}


def test_every_section_is_expected_but_what_a_run_changes() -> None:
    changing = {Section.STATE, Section.COUNTER, Section.STATUS}
    assert {section for core, section in held() if core == 0} == set(sections_of(TWO)) - changing
    assert {section for core, section in held() if core == 1} == {Section.CONTROL, Section.IDENTITY}


def test_enabled_core_holds_its_registers_and_words() -> None:
    registers = [1, 2, 0, 1, 2, 1, 1, 4, 0, 0]
    assert held()[0, Section.CONTROL] == [*registers, *[0] * 6, 0xFFFD, 2, 0, 0]
    assert held()[1, Section.CONTROL] == [0, 0, 0]
    assert held()[0, Section.SHIFT] == [0, 3]
    fanout = words_of(section_layout(TWO, Section.FANOUT), held()[0, Section.FANOUT])
    assert fanout == [{"x0": 0, "x1": 1, "y0": 0, "y1": 0, "axon": 9, "last": 1}]


def test_identity_of_a_core_in_numbers() -> None:
    spec = SystemSpec(core=TINY, width=3, height=2)
    told = identity_chunks(spec, 5).tolist()
    sizes = [32, 32, 8, 4, 12, 10, 4, 32, 63, 8, 8, 1]
    assert told == [0x5350, 3, *sizes, 0b11111 + 256 * 3, 2, 1]
    assert len(told) == section_words(spec, Section.IDENTITY)


@pytest.mark.parametrize("spec", POOL, ids=repr)
def test_identity_is_what_the_hardware_holds(spec: SystemSpec) -> None:
    assert identity_chunks(spec, 0).tolist() == [*identity(spec), 0, 0]


def test_wrong_chunk_is_told_with_its_place() -> None:
    words = (1, Section.FANOUT, np.arange(6, dtype=np.uint16))
    assert memory_fault(words, 2, [2, 3, 4]) is None
    assert memory_fault(words, 2, [2, 9, 4]) == "chunk 3 of fanout of core 1 reads 0x0009, not 0x0003"


class Replies:
    """A session whose chip answers every read with the chunks that it holds."""

    def __init__(self, wrong: tuple[Section, int] | None = None) -> None:
        self.asked: list[tuple[str, int]] = []
        self.job = SimpleNamespace(spec=TWO, memories=lambda: iter(expected_memories(image())))
        self.gateway, self.settle = SimpleNamespace(replies=[]), 1
        self._wrong, self._left = (
            wrong,
            [list(map(int, chunks)) for _, _, chunks in expected_memories(image())],
        )
        self._sections = [section for _, section, _ in expected_memories(image())]

    def enter(self, phase: str, cycles: int) -> None:
        self.asked.append((phase, cycles))

    def read(self, request: list[int], count: int) -> Any:
        assert len(request) == 3, "two halves of the pointer and a read"
        chunks = self._left[0]
        self.gateway.replies, self._left[0] = chunks[:count], chunks[count:]
        if self._wrong is not None and self._sections[0] == self._wrong[0] and count > self._wrong[1]:
            self.gateway.replies[self._wrong[1]] ^= 0x8000
        if not self._left[0]:
            self._left.pop(0)
            self._sections.pop(0)
        yield None

    @staticmethod
    def failure(sentence: str) -> BenchError:
        return BenchError(sentence)


def test_every_chunk_is_asked_for_and_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memories, "MOST_CHUNKS", 7)
    session: Any = Replies()
    list(compare_memories(session))
    chunks = sum((cycles - 4) // 16 for _, cycles in session.asked)
    assert chunks == sum(map(len, held().values()))
    assert session.asked[0] == ("read-back of control of core 0", 16 * 7 + 4)


@pytest.mark.parametrize("section", [s for c, s, _ in expected_memories(image()) if c == 0])
def test_one_wrong_bit_of_any_section_ends_the_session(section: Section) -> None:
    session: Any = Replies((section, 1))
    with pytest.raises(BenchError, match=rf"^chunk 1 of {section.name.lower()} of core 0 reads 0x"):
        list(compare_memories(session))


@pytest.mark.parametrize("spec", POOL, ids=repr)
def test_foreign_program_is_legal_and_uses_the_options(spec: SystemSpec) -> None:
    place = (0, spec.width - 1, 0, spec.height - 1)
    cores = [_foreign_core(np.random.default_rng(seed), spec) for seed in range(20)]
    for core in cores:
        make_system(spec, *[core] * spec.cores)
        assert len(np.concatenate(list(core_flits(spec, place, core)))) > 60
    names = ("current_kept", "potential_decay", "refractory_period")
    for name, option in zip(names, ("synaptic_current", "decay", "refractory_bits"), strict=True):
        assert any(core.of_profile(name).any() for core in cores) == bool(getattr(spec.core, option))
    assert any(core.is_ladder for core in cores) == spec.core.ladder
    assert not all(core.is_ladder for core in cores)


@pytest.mark.parametrize(
    ("replies", "message"),
    [
        ([0, 7], r"^section \d+ is absent but reads \[0, 7\]$"),
        ([0, 0], r"^after reset core \d tells errors and causes \[2, 0, 0, 4, 0\], not \[3, "),
    ],
)
def test_knock_refuses_a_wrong_answer_about_sections(replies: list[int], message: str) -> None:
    answers = [replies, [2, 0, 0], [int(ErrorCause.SECTION), 0]]
    sent: list[int] = []

    def read(*_: Any) -> Any:
        session.gateway.replies = answers.pop(0)
        yield from ()

    def send(words: list[int]) -> Any:
        sent.extend(words)
        yield from ()

    session: Any = SimpleNamespace(
        job=SimpleNamespace(spec=TWO, seed=0),
        gateway=SimpleNamespace(replies=[]),
        read=read,
        send=send,
        failure=BenchError,
    )
    with pytest.raises(BenchError, match=message):
        list(_Knock(session)._forbidden())
    assert len(sent) == 6, "two writes, each behind two halves of a pointer"
