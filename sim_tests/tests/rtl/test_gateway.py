# SPDX-License-Identifier: Apache-2.0
"""The gateway: both streams pass in the same cycle, spikes are counted when they pass."""

import pytest
from amaranth.hdl import Signal

from emu.spec import SystemSpec, preset
from emu.words import Kind
from rtl.gateway import Gateway
from sim_tests.bench.block_player import flit, play, widths

SPEC = SystemSpec(core=preset("tiny"), width=2, height=2)
WAYS = [("host_i", "mesh_o", "stimulus"), ("mesh_i", "host_o", "outputs")]


@pytest.mark.parametrize(("source", "sink", "counter"), WAYS)
@pytest.mark.parametrize("kind", range(8))
def test_flit_passes_and_spikes_count(source: str, sink: str, counter: str, kind: int) -> None:
    word = flit(SPEC, kind=kind, data=0x1234, x1=1, y0=2)
    row = {f"{source}.valid": 1, f"{source}.payload": word, f"{sink}.ready": 1}
    watch = [f"{sink}.valid", f"{sink}.payload", f"{source}.ready", "stimulus", "outputs"]
    first, second, last = (list(c.values()) for c in play(Gateway(SPEC), [row, row, {}], watch))
    assert first[:3] == second[:3] == [1, word, 1]
    counts = {"stimulus": 0, "outputs": 0} | {counter: 2 * (kind == Kind.SPIKE)}
    assert (last[0], last[3:]) == (0, list(counts.values()))


@pytest.mark.parametrize(("source", "sink", "counter"), WAYS)
@pytest.mark.parametrize(("valid", "ready"), [(1, 0), (0, 1)])
def test_flit_that_does_not_pass_is_not_counted(
    source: str, sink: str, counter: str, valid: int, ready: int
) -> None:
    row = {f"{source}.valid": valid, f"{sink}.ready": ready}
    cycles = play(Gateway(SPEC), [row, row, {}], [f"{sink}.valid", f"{source}.ready", counter])
    assert list(cycles[0].values()) == [valid, ready, 0]
    assert cycles[-1][counter] == 0


def test_gateway_counters_have_48_bits() -> None:
    assert widths(Gateway(SPEC), "stimulus", "outputs") == [48, 48]


@pytest.mark.parametrize("bits", [8, 16, 24, 32, 47, 48])
def test_gateway_counters_carry_into_every_bit(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers that begin near a power of two stand for a long run; beyond 2^48 they begin anew."""
    first, like = (1 << bits) - 1, Signal.like
    monkeypatch.setattr(Signal, "like", lambda *a, **names: like(*a, **names, init=first))
    counters = ["stimulus", "outputs", "stimulus_1", "outputs_1"]
    ways = [("host_i", "mesh_o"), ("mesh_i", "host_o"), ("host_i_1", "mesh_o_1"), ("mesh_i_1", "host_o_1")]
    row = {end: 1 for source, sink in ways for end in (f"{source}.valid", f"{sink}.ready")}
    cycles = play(Gateway(SPEC, 2, 2), [row, row, {}], counters)
    assert [list(cycle.values()) for cycle in cycles] == [[(first + n) % (1 << 48)] * 4 for n in range(3)]


def test_kind_of_a_spike_is_zero() -> None:
    assert int(Kind.SPIKE) == 0


def test_further_gates_have_numbers_and_pass_by_themselves() -> None:
    gateway = Gateway(SPEC, 2, 3)
    further = {"host_i_1", "mesh_o_1", "stimulus_1", "host_o_1", "mesh_i_1", "outputs_1"}
    further |= {"host_o_2", "mesh_i_2", "outputs_2"}
    assert set(gateway.signature.members) - set(Gateway(SPEC).signature.members) == further
    word = flit(SPEC, kind=Kind.SPIKE)
    rows = [
        {"host_i_1.valid": 1, "host_i_1.payload": word, "mesh_o_1.ready": 1},
        {"mesh_i_2.valid": 1, "mesh_i_2.payload": word, "host_o_2.ready": 1},
    ]
    counters = ["stimulus", "stimulus_1", "outputs", "outputs_1", "outputs_2"]
    cycles = play(gateway, [*rows, {}], ["mesh_o_1.valid", "mesh_o.valid", "host_o_2.payload", *counters])
    assert [list(cycle.values())[:3] for cycle in cycles] == [[1, 0, 0], [0, 0, word], [0, 0, 0]]
    assert [cycles[-1][name] for name in counters] == [0, 1, 0, 0, 1]
