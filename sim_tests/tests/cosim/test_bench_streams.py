# SPDX-License-Identifier: Apache-2.0
"""What the driver feeds at several inlets: one stream each, refused if their tokens disagree."""

from dataclasses import replace

import numpy as np
import pytest

from emu.gates import GateSpec
from emu.host import flits, run_flits
from emu.spec import SystemSpec, preset
from emu.words import Kind
from sim_tests.bench.scoreboard import BenchError
from sim_tests.bench.streams import Streams, is_token, spikes_of, split, streams_of
from sim_tests.bench.top import Sample, bench_control, bench_verilog, gates_of
from sim_tests.generators.systems import make_stimulus

OPEN = SystemSpec(core=preset("tiny"), width=2, height=2, gates=GateSpec(inlets=((1, "E"),), outlets=(1,)))


def token(pause: int) -> int:
    return int(flits(OPEN, Kind.TOKEN, (0, 0, 0, 0), np.array([pause]))[0])


STEP, PAUSE, WRITE = token(0), token(1), int(flits(OPEN, Kind.WRITE, (0, 0, 0, 0), np.array([1]))[0])


def taken(streams: Streams, *ready: int) -> list[tuple[int | None, ...] | None]:
    """Return what is offered while some inlets are ready, and after that."""
    found = [streams.offered]
    for mask in ready:
        streams.take(mask)
        found.append(streams.offered)
    return found


@pytest.mark.parametrize(
    ("second", "flags"), [([STEP, STEP], [0, 0]), ([STEP], [0]), ([PAUSE, STEP], [1, 0]), ([], [])]
)
def test_inlets_whose_tokens_disagree_are_refused(second: list[int], flags: list[int]) -> None:
    with pytest.raises(BenchError) as caught:
        Streams(OPEN, [[STEP, WRITE, PAUSE], second])
    assert str(caught.value) == (
        f"the tokens for inlet 1 carry the pause flags {flags}, those for inlet 0 [0, 1]; "
        "feed equal tokens at all inlets"
    )
    Streams(OPEN, [[STEP, WRITE, PAUSE], [STEP, PAUSE, WRITE]])


def test_each_inlet_goes_on_when_it_is_ready() -> None:
    streams = Streams(OPEN, [[WRITE, STEP], [STEP, WRITE]])
    assert taken(streams, 0b10, 0b00, 0b11, 0b10, 0b01) == [
        (WRITE, STEP),
        (WRITE, WRITE),
        (WRITE, WRITE),
        (STEP, None),
        (STEP, None),
        None,
    ]


def test_token_that_is_taken_is_told() -> None:
    streams = Streams(OPEN, [[WRITE, STEP], [STEP]])
    assert [streams.take(mask) for mask in (0b01, 0b10, 0b11, 0b11)] == [False, True, True, False]
    assert (is_token(STEP), is_token(WRITE)) == (True, False)


def test_tokens_of_the_first_inlet_enter_by_all() -> None:
    assert taken(streams_of(OPEN, [WRITE, STEP, PAUSE]), 3, 3, 3) == [
        (WRITE, STEP),
        (STEP, PAUSE),
        (PAUSE, None),
        None,
    ]
    one = replace(OPEN, gates=None)
    assert taken(streams_of(one, [STEP]), 1) == [(STEP,), None]


def test_run_is_split_by_its_pauses() -> None:
    rows = [(0, 0, 0, 0, 0, 0, 1), (0, 1, 1, 1, 1, 0, 1), (1, 1, 1, 1, 1, 0, 1)]
    stimulus = make_stimulus(2, rows, inlet=[0, 1, 1])
    first, second = (run_flits(OPEN, stimulus, inlet)[0].tolist() for inlet in (0, 1))
    offers = taken(split(OPEN, [*first, *second]), *[3] * 5)
    assert [offer[0] for offer in offers if offer] == [*first, None]
    assert [offer[1] for offer in offers if offer] == second
    assert spikes_of(OPEN, [*first, *second]) == [1, 2]


def test_bench_has_pins_for_every_gate() -> None:
    assert gates_of(OPEN) == (2, 2)
    sample, text = Sample(cores=4, gates=(2, 2)), bench_verilog(OPEN)
    assert (sample.ready, sample.valid, sample.stray) == (1, 4, 16)
    for pin in ("host_i__valid", "host_i_1__payload", "host_o_1__ready", "stimulus_1", "outputs_1"):
        assert f".{pin}(" in text
    assert f"output [{2 * OPEN.flit_bits - 1}:0] flit" in text
    assert "output [191:0] passed" in text
    assert "host_i_1" not in bench_verilog(replace(OPEN, gates=None))
    assert '-var "host_*"' in bench_control()
