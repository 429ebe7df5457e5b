# SPDX-License-Identifier: Apache-2.0
"""The emulator: equal in both modes and to the oracle, and the properties that hold for every image."""

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from emu import machine, tape
from emu.gates import GateSpec, outlets_of
from emu.image import CoreImage, SystemImage
from emu.kernels import inject, injectors
from emu.kernels import state as arrays
from emu.kernels.cycle import run_cycles
from emu.kernels.fabric import run_steps
from emu.machine import Machine
from emu.spec import PRESETS, SystemSpec
from emu.tape import Tape
from emu.trace import ACTIVITY_COUNTERS, RunResult, Stimulus, compared, diff
from emu.words import COUNTERS, Emission, Reset
from sim_tests.generators.systems import make_core, make_stimulus, make_system, random_system
from sim_tests.oracle.machine import run_oracle

TINY = PRESETS["tiny"]
SEEDS = range(12)


def system(width: int, height: int, *cores: CoreImage | None) -> SystemImage:
    return make_system(SystemSpec(core=TINY, width=width, height=height), *cores)


def both(image: SystemImage, stimulus: Stimulus) -> RunResult:
    """Run in both modes, demand equality, return the cycle-exact result."""
    chip = Machine(image)
    fast = chip.run(stimulus, potentials=True)
    exact = chip.run(stimulus, cycles=True, potentials=True)
    assert diff(fast, exact) is None
    assert compared(fast, exact) > 0
    return exact


def wild_system(seed: int) -> tuple[SystemImage, Stimulus]:
    """Return random programs with traffic that a mapper would not: backward rectangles, places outside."""
    rng = np.random.default_rng(seed)
    width, height = (int(v) for v in rng.integers(1, 5, 2))
    cores: list[CoreImage | None] = []
    for _ in range(width * height):
        axons, neurons, entries = (int(v) for v in rng.integers(1, 17, 3))
        place = np.c_[rng.integers(0, width, (entries, 2)), rng.integers(0, height + 1, (entries, 2))]
        last = rng.random(entries) < 0.5
        last[-1] = True
        reset = rng.integers(0, len(Reset), neurons)
        core = make_core(
            rng.choice([-1, 0, 1], (axons, 2 * neurons)),
            strengths=[1, 3],
            reset=reset,
            bias=rng.integers(-9, 9, neurons),
            emission=rng.integers(0, len(Emission), len(Reset))[reset],
            connected=rng.random(neurons) < 0.9,
            thresholds=[1, 5, 9],
            fanout=np.c_[place, rng.integers(0, 20, entries), last],
            fanout_base=rng.integers(0, entries, neurons),
            schedule=[
                [2, 0, 1, 1, 1, 0, 3, 2, -3],
                [1, 1, 1, 1, 1, 1, 2, -9, 2],
                [1, 0, 0, 0, 1, 0, 1, 4, 7],
                [1, 0, 0, 1, 0, 0, 0, 0, 0],
            ],
        )
        cores.append(core if rng.random() < 0.9 else None)
    rows = [
        [rng.integers(8), *rng.integers(0, [width, width, height + 1, height + 1, 20]), rng.integers(-8, 8)]
        for _ in range(60)
    ]
    rows.sort(key=lambda row: int(row[0]))
    return system(width, height, *cores), make_stimulus(8, rows)


@pytest.mark.parametrize("offset", range(8))
def test_emulator_equals_the_oracle(seed: int, offset: int) -> None:
    image, stimulus = (random_system, wild_system)[offset % 2](seed + offset)
    expected = run_oracle(image, stimulus, cycles=True)
    run = both(image, stimulus)
    assert diff(expected, run) is None
    assert compared(expected, run) > 0


@pytest.mark.parametrize("offset", SEEDS)
def test_modes_agree_on_random_systems(seed: int, offset: int) -> None:
    both(*random_system(seed + offset))


@pytest.mark.parametrize("offset", SEEDS)
def test_modes_agree_on_wild_traffic(seed: int, offset: int) -> None:
    both(*wild_system(seed + offset))


def test_wild_traffic_is_wild(seed: int) -> None:
    runs = [both(*wild_system(seed + offset)) for offset in SEEDS]
    for name in ("errors", "router_errors", "merges", "hops", "send_stall", "spikes"):
        assert sum(run.total(name) for run in runs) > 0, name


@pytest.mark.parametrize("offset", SEEDS)
def test_activity_sums_to_elapsed(seed: int, offset: int) -> None:
    image, stimulus = wild_system(seed + offset)
    run = both(image, stimulus)
    activity = sum(run.counters[name] for name in ACTIVITY_COUNTERS)
    assert np.array_equal(activity, np.full(image.spec.cores, run.elapsed))


def expected_arrivals(image: SystemImage, stimulus: Stimulus, run: RunResult) -> tuple[int, int]:
    """Return how many packets must reach cores and the gateway, from the recorded spikes and rectangles."""
    spec = image.spec
    packets = [(int(x0), int(x1), int(y0), int(y1)) for x0, x1, y0, y1, _, _ in stimulus.packet]
    for _, core, neuron, count in run.spikes.tolist():
        program = image.cores[core]
        assert program is not None
        copies = count if program.of_profile("emission")[neuron] == Emission.UNARY else 1
        packets += [(x0, x1, y0, y1) for x0, x1, y0, y1, _ in program.fanout_of(neuron)] * copies
    at_cores = sum(
        max(0, x1 - x0 + 1) * max(0, min(y1, spec.height - 1) - y0 + 1) for x0, x1, y0, y1 in packets
    )
    south = [(x0, x1) for x0, x1, _, y1 in packets if y1 == spec.height]
    at_gateway = sum(x0 <= x <= x1 for x0, x1 in south for x in outlets_of(spec.gates))
    return at_cores, at_gateway


@pytest.mark.parametrize("offset", SEEDS)
def test_no_spike_is_lost_or_doubled(seed: int, offset: int) -> None:
    image, stimulus = random_system(seed + offset)
    run = both(image, stimulus)
    arrived = run.total("deliveries") + run.total("errors"), len(run.outputs)
    assert arrived == expected_arrivals(image, stimulus, run)


@pytest.mark.parametrize("offset", SEEDS)
def test_order_within_a_step_has_no_influence(seed: int, offset: int) -> None:
    image, stimulus = wild_system(seed + offset)
    order = np.lexsort((np.random.default_rng(seed).random(len(stimulus.step)), stimulus.step))
    shuffled = Stimulus(steps=stimulus.steps, step=stimulus.step[order], packet=stimulus.packet[order])
    one, two = both(image, stimulus), both(image, shuffled)
    assert np.array_equal(one.spikes, two.spikes)
    assert np.array_equal(np.asarray(one.potentials), np.asarray(two.potentials))
    assert np.array_equal(one.state["potential"], two.state["potential"])
    assert np.array_equal(one.outputs, two.outputs)


def test_run_starts_afresh(seed: int) -> None:
    image, stimulus = random_system(seed)
    chip = Machine(image)
    first = chip.run(stimulus, cycles=True, potentials=True)
    chip.run(stimulus)
    assert diff(first, chip.run(stimulus, cycles=True, potentials=True)) is None


def test_long_run_outgrows_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    # 32 neurons x 700 steps are more spikes than the buffers hold at once.
    monkeypatch.setattr(machine, "_TOKENS_AT_ONCE", 1 << 20)
    core = make_core(np.zeros((1, 32)), bias=1, fanout=[[0, 0, 0, 1, 0, 1]])
    run = both(system(1, 1, core), make_stimulus(700))
    assert len(run.spikes) == len(run.outputs) == len(np.asarray(run.potentials)) == 32 * 700


@pytest.mark.parametrize("cycles", [False, True])
def test_progress_reaches_the_end(cycles: bool) -> None:
    seen: list[tuple[int, int]] = []
    run = Machine(system(1, 1, None)).run
    run(make_stimulus(700), cycles=cycles, progress=lambda done, steps: seen.append((done, steps)))
    assert len(seen) > 1
    assert seen[-1] == (700, 700)


def test_cycle_run_tells_its_progress_in_equal_parts() -> None:
    seen: list[int] = []
    image = system(1, 1, None)
    Machine(image).run(make_stimulus(100), cycles=True, progress=lambda done, _: seen.append(done))
    assert seen == [32, 64, 96, 100]


@pytest.mark.parametrize("rows", [1, 2])
def test_cycle_run_goes_on_after_every_full_record(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    core = make_core([[0]], bias=1, reset=0, fanout=[*[[0, 0, 1, 1, 0, 0]] * 3, [0, 0, 1, 1, 1, 1]])
    image, stimulus = system(1, 1, core), make_stimulus(9)
    wide = Machine(image).run(stimulus, cycles=True, potentials=True)
    monkeypatch.setattr(machine, "Tape", lambda visits, **_: Tape(rows=rows, outputs=rows, visits=visits))
    narrow = Machine(image).run(stimulus, cycles=True, potentials=True)
    assert len(narrow.outputs) == 36
    assert diff(wide, narrow) is None


def test_record_of_a_cycle_run_keeps_a_row_for_every_outlet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packets leave one a cycle, by one of three outlets: of four rows two may be written, not more."""
    spec = SystemSpec(core=TINY, width=3, height=1, gates=GateSpec(outlets=(1, 2)))
    core = make_core([[0]], bias=1, reset=0, fanout=[*[[0, 0, 1, 1, 0, 0]] * 3, [0, 0, 1, 1, 1, 1]])
    image, stimulus, written = make_system(spec, core, None, None), make_stimulus(5), set[int]()
    wide = Machine(image).run(stimulus, cycles=True, potentials=True)

    class Narrow(Tape):
        def __init__(self, *, rows: int, visits: bool, **_: Any) -> None:
            super().__init__(rows=rows, outputs=4, visits=visits)

        def take(self) -> None:
            written.add(int(self.record.used[arrays.USED_OUTPUTS]))
            super().take()

    monkeypatch.setattr(machine, "Tape", Narrow)
    narrow = Machine(image).run(stimulus, cycles=True, potentials=True)
    assert max(written) == 2
    assert len(narrow.outputs) == 20
    assert diff(wide, narrow) is None


def test_tokens_of_a_long_run() -> None:
    # Every router of 3 x 3 sends tokens by two to four sides (south of router 6 is the gateway).
    run = both(system(3, 3, *[None] * 9), make_stimulus(299))
    assert run.counters["token_hops"].tolist() == [600, 900, 600, 900, 1200, 900, 900, 900, 600]


def test_functional_result_has_no_cycles(seed: int) -> None:
    image, stimulus = random_system(seed)
    run = Machine(image).run(stimulus)
    assert (run.mode, run.finish, run.gateway, run.elapsed, run.potentials) == (
        "functional",
        None,
        None,
        None,
        None,
    )
    assert set(run.counters) == set(COUNTERS[:-1]) - set(ACTIVITY_COUNTERS)


def test_counter_rows_are_the_counters() -> None:
    rows = [getattr(arrays, name.upper()) for name in COUNTERS]
    assert rows == list(range(len(COUNTERS)))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([0, 2, 0, 0, 0, 0, 1], "Stimulus packet 0: x0 must be 0..1 to fit a flit, not 2."),
        ([0, 0, 0, 0, -1, 0, 1], "Stimulus packet 0: y1 must be 0..1 to fit a flit, not -1."),
        ([0, 0, 0, 0, 0, 4096, 1], "Stimulus packet 0: axon must be 0..4095 to fit a flit, not 4096."),
        ([0, 0, 0, 0, 0, 0, 8], "Stimulus packet 0: payload must be -8..7 to fit a flit, not 8."),
    ],
)
def test_stimulus_that_does_not_fit_a_flit(row: list[int], message: str) -> None:
    with pytest.raises(ValueError, match="to fit a flit") as caught:
        Machine(system(1, 1, None)).run(make_stimulus(1, [row]))
    assert str(caught.value) == message


@pytest.mark.parametrize(("wrong", "named"), [([0, 7], 0), ([5, 7], 5), ([7], 7)])
def test_first_packet_that_does_not_fit_is_named_whoever_looks(
    wrong: list[int], named: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tape, "_LEAST_ROWS", 2)  # four threads look at two packets each
    rows = [[0, 0, 0, 0, 0, 0, 8 if at in wrong else 1] for at in range(8)]
    with pytest.raises(ValueError, match=f"^Stimulus packet {named}: payload must be"):
        Machine(system(1, 1, None)).run(make_stimulus(1, rows), threads=4)


def test_stuck_network_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inject, "start_host", lambda *_: None)
    with pytest.raises(RuntimeError) as caught:
        Machine(system(1, 1, None)).run(make_stimulus(1), cycles=True)
    assert str(caught.value) == (
        "The emulated network is stuck in cycle 2: 1 of 1 cores wait for a token "
        "(first: core 0, step 0 of 1), "
        "0 tokens have left by the gateway; please report this image and stimulus."
    )


def test_run_whose_last_token_did_not_leave_is_stuck() -> None:
    timing = injectors.make_timing(np.zeros(0, np.int64), np.ones(1, np.bool_), 0)
    timing.pause_seen[0], timing.step[0] = 5, 1
    timing.left[0] = 2
    machine._check_end(timing, np.ones(1, np.bool_), 1, 9)
    timing.left[0] = 1
    with pytest.raises(RuntimeError, match=r"stuck in cycle 9: 0 of 1 cores wait .* 1 tokens have left"):
        machine._check_end(timing, np.ones(1, np.bool_), 1, 9)


def test_kernels_have_one_signature(seed: int) -> None:
    for offset in range(3):
        both(*wild_system(seed + offset))
    for kernel in (run_steps, run_cycles):
        signatures: Any = getattr(kernel, "signatures", None)
        if signatures is None:
            pytest.skip("kernels are not compiled")
        assert len(signatures) == 1


PARITY = """
import hashlib, numpy as np
from sim_tests.generators.systems import random_system
from emu.machine import Machine
sha = hashlib.sha256()
for seed in (1, 2, 3):
    image, stimulus = random_system(seed, steps=4)
    for cycles in (False, True):
        run = Machine(image).run(stimulus, cycles=cycles, potentials=True)
        arrays = [*run.state.values(), *run.counters.values()]
        for part in (run.spikes, run.outputs, run.potentials, *arrays):
            sha.update(np.ascontiguousarray(part).tobytes())
        sha.update(repr((run.elapsed, run.finish, run.gateway)).encode())
print(sha.hexdigest())
"""


def test_interpreter_gives_the_same_result() -> None:
    digests = []
    for switch in ("0", "1"):
        environment = {**os.environ, "NUMBA_DISABLE_JIT": switch}
        done = subprocess.run(
            [sys.executable, "-c", PARITY], env=environment, check=True, capture_output=True, text=True
        )
        digests.append(done.stdout)
    assert digests[0] == digests[1]
    assert len(digests[0]) == 65


@pytest.mark.parametrize(("switch", "kept"), [("0", False), ("off", False), ("folder", True)])
def test_cache_switch(switch: str, kept: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    from emu import jit

    monkeypatch.setenv("SPIKELOOM_CACHE", str(tmp_path / switch) if kept else switch)
    folder = jit.cache_folder()
    assert (folder is not None) == kept
    assert folder is None or folder.parent == tmp_path / switch


def test_sources_beside_a_kernel_have_a_cache_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """A kernel calls those in its folder, and numba sees a change of its own file alone."""
    from emu import jit

    monkeypatch.setenv("SPIKELOOM_CACHE", str(tmp_path / "cache"))
    folders = set()
    for text in ("", "a = 1", "a = 2"):
        (tmp_path / "beside.py").write_text(text)
        jit._sources_digest.cache_clear()
        folders.add(jit.cache_folder(tmp_path))
    assert len(folders) == 3
    assert jit.cache_folder() not in folders
