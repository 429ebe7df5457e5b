# SPDX-License-Identifier: Apache-2.0
"""Numbers of the contract as literals, and small runs worked out by hand: what a round trip cannot see."""

import re
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest

from emu.bits import layout_bits, pack, packed_cells, unpack, unpacked_cells, used_cells
from emu.chunks import Packer, core_chunks
from emu.host import load_flits, read_request, run_flits, spike_data, write_flits
from emu.kernels import state as arrays
from emu.machine import Machine
from emu.spec import MOST_ACROSS, MOST_STEPS, SystemSpec, preset
from emu.trace import RunResult, diff
from emu.words import (
    STATE_FIELDS,
    WRITABLE,
    Activity,
    Control,
    Emission,
    ErrorCause,
    Kind,
    Reset,
    Section,
    Status,
    flit_layout,
    ladder_layout,
    section_layout,
)
from sim_tests.bench.block_player import flit
from sim_tests.generators.systems import make_core, make_stimulus, make_system, random_system
from sim_tests.oracle.machine import run_oracle

TINY = preset("tiny")
ONE, TWO = (SystemSpec(core=TINY, width=width, height=1) for width in (1, 2))
HERE = [0, 0, 0, 0, 0, True]


def test_numbers_of_the_contract() -> None:
    assert [int(k) for k in (Kind.SPIKE, Kind.TOKEN, Kind.POINTER_HIGH, Kind.POINTER_LOW)] == [0, 1, 2, 3]
    assert [int(k) for k in (Kind.WRITE, Kind.READ, Kind.REPLY)] == [4, 5, 6]
    assert [s.name for s in sorted(Section)] == [
        *("CONTROL", "SCHEDULE", "CROSSBAR", "NEURON", "THRESHOLD", "FANOUT", "STATE", "COUNTER", "STATUS"),
        *("PROFILE", "SHIFT", "IDENTITY"),
    ]
    assert [s.name for s in Section if s not in WRITABLE] == ["IDENTITY"]
    assert [c.name for c in sorted(Control)] == [
        *("ENABLE", "AXONS_LOW", "AXONS_HIGH", "NEURONS", "STRENGTHS", "SCHEDULE"),
        *("BLOCKS", "PER_BLOCK", "EXTENSION", "LADDER"),
    ]
    assert [c.name for c in sorted(ErrorCause)] == [
        "NONE",
        "AXON",
        "KIND",
        "RUNNING",
        "SECTION",
        "DESTINATION",
    ]
    assert [s.name for s in sorted(Status)] == ["CORE_CAUSE", "ROUTER_CAUSE", "ENTRY", "REPETITION"]
    assert [r.name for r in sorted(Reset)] == ["CLEAR", "ZERO", "SUBTRACT", "VALUE", "SUBTRACT_VALUE"]
    assert [e.name for e in sorted(Emission)] == ["COUNT", "UNARY", "CONSTANT"]
    assert [a.name for a in sorted(Activity)] == ["INTEGRATE", "UPDATE", "SEND_STALL", "TOKEN_WAIT", "PAUSED"]


@pytest.mark.parametrize("kind", Kind)
def test_flit_of_each_kind(kind: Kind) -> None:
    fields = {"kind": int(kind), "x0": 0, "x1": 1, "y0": 1, "y1": 0, "data": 0xF00D}
    word = pack(flit_layout(TWO), fields)
    assert word == kind | 0b0110 << 3 | 0xF00D << 7
    assert unpack(flit_layout(TWO), word) == fields


def test_neuron_word_bit_by_bit() -> None:
    names = ("bias", "v0", "profile", "connected", "threshold_base", "fanout_base")
    values = dict(zip(names, (5, -1, 6, 1, 0x55, 0x2A), strict=True))
    word = pack(section_layout(TWO, Section.NEURON), values)
    assert word == 5 | 0xFFF << 12 | 6 << 24 | 1 << 27 | 0x55 << 28 | 0x2A << 35


def test_profile_and_state_words_bit_by_bit() -> None:
    names = [f.name for f in section_layout(TWO, Section.PROFILE)]
    profile = dict(zip(names, (4, 2, 1, 5, 4096, 3), strict=True))
    assert pack(section_layout(TWO, Section.PROFILE), profile) == (
        4 | 2 << 3 | 1 << 5 | 5 << 6 | 4096 << 9 | 3 << 22
    )
    state = {"potential": -1, "current": 2, "refractory": 7}
    assert pack(section_layout(TWO, Section.STATE), state) == 0xFFF | 2 << 12 | 7 << 24


def test_threshold_word_holds_four_thresholds_or_a_ladder() -> None:
    four = {f"threshold{i}": value for i, value in enumerate((1, -1, 2, 0))}
    assert pack(section_layout(TWO, Section.THRESHOLD), four) == 1 | 0x1FFF << 13 | 2 << 26
    ladder = {"first": -1, "step": 3, "offset": 5, "ties": 1}
    assert pack(ladder_layout(TWO), ladder) == 0x1FFF | 3 << 13 | 5 << 34 | 1 << 42
    for spec in (TWO, SystemSpec(core=preset("reference"), width=1, height=1)):
        assert layout_bits(ladder_layout(spec)) <= layout_bits(section_layout(spec, Section.THRESHOLD))


def test_schedule_and_fanout_words_bit_by_bit() -> None:
    names = (f.name for f in section_layout(TWO, Section.SCHEDULE))
    entry = dict(zip(names, (0xABC, 1, 0, 1, 0, 3, 7, -2, -1), strict=True))
    word = 0xABC | 0b0101 << 12 | 3 << 16 | 7 << 24 | 0xFFE << 32 | 0xF << 44
    assert pack(section_layout(TWO, Section.SCHEDULE), entry) == word
    target = dict(
        zip((f.name for f in section_layout(TWO, Section.FANOUT)), (0, 1, 1, 0, 0x123, 1), strict=True)
    )
    assert pack(section_layout(TWO, Section.FANOUT), target) == 0b0110 | 0x123 << 4 | 1 << 16
    uneven = SystemSpec(core=TINY, width=9, height=2)  # x takes 4 bits and y 2
    target |= {"x0": 8, "x1": 7, "y0": 1, "y1": 2}
    word = pack(section_layout(uneven, Section.FANOUT), target)
    assert word == 8 | 7 << 4 | 1 << 8 | 2 << 10 | 0x123 << 12 | 1 << 24


def test_crossbar_chunks_bit_by_bit() -> None:
    chunks = core_chunks(make_core([[1, -1, 0, 1, 0, 0, 0, -1, 1]]), ONE)[Section.CROSSBAR]
    assert chunks.tolist() == [0b11_00_00_00_01_00_11_01, 0b01, 0, 0]


def test_cells_are_unpacked_as_they_were_packed(seed: int) -> None:
    cells = np.random.default_rng(seed).integers(-1, 2, 400, np.int8)
    unpacked = unpacked_cells(packed_cells((cells & 3).astype(np.uint8)))
    assert unpacked.tolist() == cells.tolist()
    assert not unpacked.flags.writeable


def test_used_cells_of_a_column_are_counted_beyond_a_byte(seed: int) -> None:
    cells = np.random.default_rng(seed).integers(-1, 2, (1000, 3), np.int8)
    assert used_cells(cells).tolist() == [sum(cell != 0 for cell in column) for column in cells.T]


def test_cores_that_are_packed_together_are_those_packed_alone(seed: int) -> None:
    image, _ = random_system(seed)
    cores = [core for core in image.cores if core is not None]
    cores += [replace(core, bias=core.bias[::-1]) for core in cores]
    for core, sections in zip(cores, Packer(image.spec).several(cores), strict=True):
        alone = core_chunks(core, image.spec)
        assert {section: chunks.tolist() for section, chunks in sections.items()} == {
            section: chunks.tolist() for section, chunks in alone.items()
        }
    assert Packer(image.spec).several([]) == []


def test_control_chunks() -> None:
    core = make_core(
        [[1, -1, 0, 1, 0, 0, 0, -1, 1, 1]] * 3, strengths=[-1, 2], schedule=[[1] * 4 + [0] * 3] * 2
    )
    control = core_chunks(core, ONE)[Section.CONTROL].tolist()
    # enable, axons low and high, neurons, k, schedule, blocks, neurons of a block, extension, ladders
    assert control == [0, 3, 0, 5, 2, 2, 2, 4, 0, 0, *[0] * 6, 0xFFFF, 2, 0, 0]


def test_columns_that_a_block_leaves_over_are_zero() -> None:
    chunks = core_chunks(make_core([[1, -1, 1] * 3], strengths=[1, 3, 9]), ONE)[Section.CROSSBAR]
    # Two neurons of three digits fill six of eight lanes; the third begins the next block.
    assert chunks.tolist() == [0b01_11_01_01_11_01, 0b01_11_01, 0, 0]


def test_a_row_holds_as_many_axons_as_the_extension_says() -> None:
    spec = SystemSpec(core=replace(TINY, max_extension=4), width=1, height=1)
    chunks = core_chunks(make_core([[1], [-1], [1], [0], [-1]], extension=2), spec)
    rows = chunks[Section.CROSSBAR].reshape(3, 4)
    assert rows.tolist() == [[0b01, 0, 0b11, 0], [0b01, 0, 0, 0], [0b11, 0, 0, 0]]
    assert chunks[Section.SHIFT].tolist() == [0, 0, 0]


@pytest.mark.parametrize("extension", [1, 2, 4])
def test_a_shared_crossbar_is_packed_once_and_right_for_every_core(
    extension: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    spec = SystemSpec(core=replace(TINY, max_extension=4), width=4, height=1)
    first = make_core(rng.integers(-1, 2, (9, 32 // extension)), extension=extension)
    lines = [np.arange(9), rng.permutation(9), rng.integers(-1, 9, 9), np.full(9, -1)]
    cores = [replace(first, lines=np.array(line, np.int32)) for line in lines]
    own = np.arange(9, dtype=np.int32)
    naive = [core_chunks(replace(core, crossbar=core.cells, lines=own), spec) for core in cores]
    pack_cells = Mock(wraps=packed_cells)
    monkeypatch.setattr("emu.chunks.packed_cells", pack_cells)
    packer = Packer(spec)
    for core, expected in zip(cores, naive, strict=True):
        found = packer.several([core])[0]
        assert found.keys() == expected.keys()
        assert all(np.array_equal(found[section], expected[section]) for section in expected)
    assert pack_cells.call_count == 1


def test_pointer_flits() -> None:
    flits, chunks = read_request(TWO, 1, Section.COUNTER, 16)
    place = {"x0": 1, "x1": 1}
    expected = [
        flit(TWO, kind=2, data=0x7000, **place),
        flit(TWO, kind=3, **place),
        flit(TWO, kind=5, data=64, **place),
    ]
    assert (flits.tolist(), chunks) == (expected, 64)
    assert read_request(TWO, 0, Section.STATE, 3)[1] == 6


def test_nothing_is_sent_where_nothing_is_written() -> None:
    assert write_flits(TWO, (0, 0, 0, 0), Section.NEURON, np.zeros(0, np.uint16)) == []


def test_widths_of_the_words_of_the_reference() -> None:
    spec = SystemSpec(core=preset("reference"), width=40, height=20)
    widths = {s: [f.bits for f in section_layout(spec, s)] for s in sorted(Section) if s != Section.CROSSBAR}
    assert widths == {
        Section.CONTROL: [16],
        Section.SCHEDULE: [12, 1, 1, 1, 1, 8, 8, 24, 9],
        Section.NEURON: [24, 24, 4, 1, 12, 13],
        Section.THRESHOLD: [25] * 4,
        Section.FANOUT: [6, 6, 5, 5, 14, 1],
        Section.STATE: [24, 24, 8],
        Section.COUNTER: [48],
        Section.STATUS: [16],
        Section.PROFILE: [3, 2, 1, 8, 13, 13],
        Section.SHIFT: [3],
        Section.IDENTITY: [16],
    }


def test_load_enables_each_core_last() -> None:
    words = load_flits(make_system(TWO, None, make_core([[1]])))
    parsed = [tuple(unpack(flit_layout(TWO), int(word)).values()) for word in words]
    tail = [(2, 0x0000), (3, 0), (4, 1), (2, 0x8000), (3, 0), (4, 0), (2, 0x7000), (3, 0), (4, 0)]
    assert [(p[0], p[5]) for p in parsed[-9:]] == tail
    assert {p[1:5] for p in parsed[:-6]} == {(1, 1, 0, 0)}
    assert {p[1:5] for p in parsed[-6:]} == {(0, 1, 0, 0)}


def test_run_is_stimulus_token_stimulus_token_pause() -> None:
    stimulus = make_stimulus(3, [(0, 1, 1, 0, 0, 5, -1), (2, 0, 1, 0, 0, 6, 7), (2, 0, 0, 0, 0, 7, 1)])
    words, first = run_flits(TWO, stimulus)
    token = flit(TWO, kind=1)
    expected = [flit(TWO, x0=1, x1=1, data=5 | 15 << 12), token, token, flit(TWO, x1=1, data=6 | 7 << 12)]
    expected += [flit(TWO, data=7 | 1 << 12), token, flit(TWO, kind=1, data=1)]
    assert (words.tolist(), first) == (expected, 1)


@pytest.mark.parametrize(
    ("axon", "payload", "message"),
    [
        (0, -8, None),
        (4095, 7, None),
        (-1, 0, "Stimulus axon must be 0..4095, not -1."),
        (4096, 0, "Stimulus axon must be 0..4095, not 4096."),
        (0, -9, "Stimulus payload must be -8..7, not -9."),
        (0, 8, "Stimulus payload must be -8..7, not 8."),
    ],
)
def test_data_of_a_spike_must_fit(axon: int, payload: int, message: str | None) -> None:
    rows = np.array([0, axon]), np.array([0, payload])
    if message is None:
        assert spike_data(TWO, *rows).tolist() == [0, axon | (payload & 15) << 12]
    else:
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            spike_data(TWO, *rows)


def both(image: object, stimulus: object) -> RunResult:
    """Run in both modes, demand the same of them, return the cycle run."""
    machine = Machine(image)  # type: ignore[arg-type]
    fast, exact = (machine.run(stimulus, cycles=c, potentials=True) for c in (False, True))  # type: ignore[arg-type]
    assert fast.spikes.tolist() == exact.spikes.tolist()
    assert fast.state["potential"].tolist() == exact.state["potential"].tolist()
    assert {n: v.tolist() for n, v in fast.counters.items()} == {
        n: exact.counters[n].tolist() for n in fast.counters
    }
    return exact


def test_operations_are_cells_that_are_not_zero() -> None:
    core = make_core([[1, -1, 0, 0], [0, -1, -1, 0], [1, 1, 1, 1]])
    run = both(make_system(ONE, core), make_stimulus(2, [(0, 0, 0, 0, 0, 0, 0), (1, 0, 0, 0, 0, 1, 5)]))
    assert run.counters["synaptic_operations"].tolist() == [4]


def test_init_takes_v0() -> None:
    core = make_core([[0]], potential=50, v0=7, schedule=[[1, 1, 0, 0, 0, 0, 0]])
    assert both(make_system(ONE, core), make_stimulus(1)).state["potential"].tolist() == [7]


def test_cores_have_their_own_lists() -> None:
    left = make_core(
        [[1]], thresholds=[99, 98], fanout=[HERE, HERE], connected=False, strengths=[-3], reset=0
    )
    right = make_core([[1]], thresholds=[2, 9], fanout=[[0, 0, 1, 1, 5, True]], strengths=[2], reset=0)
    rows = [(0, 0, 1, 0, 0, 0, 1)]
    run = both(make_system(TWO, left, right), make_stimulus(1, rows))
    assert (run.spikes.tolist(), run.outputs.tolist()) == ([[0, 1, 0, 1]], [[0, 5, 1]])
    assert run.state["potential"].tolist() == [-3, 2]


def test_axon_at_the_limit_is_an_error() -> None:
    image = make_system(TWO, make_core([[1]]), make_core([[1], [0]]))
    run = both(image, make_stimulus(1, [(0, 0, 1, 0, 0, 1, 1)]))
    assert (run.counters["errors"].tolist(), run.counters["deliveries"].tolist()) == ([1, 0], [0, 1])


def test_threshold_that_is_just_reached_is_crossed() -> None:
    run = both(make_system(ONE, make_core([[0, 0]], bias=[5, 4], thresholds=[5])), make_stimulus(1))
    assert run.spikes.tolist() == [[0, 0, 0, 1]]
    assert run.potentials is not None
    assert run.potentials.tolist() == [[0, 0, 0, 0], [0, 0, 1, 4]]


def test_discard_empties_every_place_of_the_bank() -> None:
    """Events of a step that does not integrate; the same axons later are no merges."""
    core = make_core(
        [[1], [1], [1]], reset=0, thresholds=[99], schedule=[[1, 0, 0, 1, 0, 0, 0], [3, 0, 1, 1, 0, 0, 0]]
    )
    rows = [(0, 0, 0, 0, 0, 2, 7), (0, 0, 0, 0, 0, 0, 5), (2, 0, 0, 0, 0, 0, 1), (2, 0, 0, 0, 0, 2, 2)]
    run = both(make_system(ONE, core), make_stimulus(3, rows))
    assert (run.state["potential"].tolist(), run.counters["merges"].tolist()) == ([3], [0])


def test_events_are_integrated_in_any_order_of_axons() -> None:
    core = make_core([[1, 0], [0, 1], [-1, 1]], reset=0, thresholds=[99])
    rows = [(0, 0, 0, 0, 0, axon, value) for axon, value in ((2, 4), (0, 1), (1, 2))]
    assert both(make_system(ONE, core), make_stimulus(1, rows)).state["potential"].tolist() == [1 - 4, 2 + 4]


def test_hops_of_tokens_are_apart() -> None:
    run = both(make_system(TWO, None, None), make_stimulus(1, [(0, 1, 1, 0, 0, 0, 1)]))
    assert (run.counters["hops"].tolist(), run.counters["token_hops"].tolist()) == ([1, 0], [4, 2])


def test_round_robin_shares_an_output() -> None:
    """Cores 0, 1 and 3 all send to core 2; each grant gives the turn to the next."""
    spec = SystemSpec(core=TINY, width=4, height=1)
    core = make_core([[0]], bias=1, fanout=[[2, 2, 0, 0, 0, False]] * 7 + [[2, 2, 0, 0, 0, True]])
    image, stimulus = make_system(spec, core, core, None, core), make_stimulus(2)
    run = both(image, stimulus)
    assert run.total("send_stall") > 0
    assert diff(run_oracle(image, stimulus, cycles=True), run) is None


def test_state_is_a_copy() -> None:
    start = {name: np.array([5], np.int64) for name in STATE_FIELDS}
    program = Machine(make_system(ONE, make_core([[1]], potential=5)))._program
    state = arrays.make_state(program, start)
    for name in STATE_FIELDS:
        getattr(state, name)[0] = 9
        assert start[name].tolist() == [5]


def test_spike_of_the_largest_chip_fits_one_number() -> None:
    largest = (MOST_STEPS - 1, MOST_ACROSS**2 - 1, 4095, 255)
    rows = np.array([[high if i == j else 0 for j, high in enumerate(largest)] for i in range(4)] + [largest])
    places = (arrays.SPIKE_STEP, arrays.SPIKE_CORE, arrays.SPIKE_NEURON, 0)
    spikes = sum(rows[:, i] << place for i, place in enumerate(places))
    got = np.empty_like(rows)
    arrays.unpack_spikes(np.asarray(spikes), got)
    assert got.tolist() == rows.tolist()


def test_record_is_empty_after_it_was_taken() -> None:
    record = arrays.make_record(rows=5, outputs=4, visits=True, lanes=2)
    record.used[:] = (1, 2, 3, 5 + 4, 5, 4 + 1)
    sizes = [[1, 2, 3], [4, 0, 1]]
    assert [[len(rows) for rows in lane] for lane in arrays.clear_record(record)] == sizes
    assert arrays.clear_record(record) == []
