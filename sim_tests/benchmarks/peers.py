# SPDX-License-Identifier: Apache-2.0
"""Peers as separate programs on the same network: 256 inputs, all active in every step, onto 256 neurons.

Half of the 65 536 connections are not zero. SANA-FE has the inputs as neurons that fire by their bias, one
core sends to another; PAIBox and this emulator are fed. What is compared is synaptic operations a second;
each program reports how many a step has, or the potentials they lead to, and a wrong count is no result.
Building the network and starting the program are outside the time.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emu.machine import Machine
from emu.spec import SystemSpec, preset
from sim_tests.benchmarks.measure import REPEATS, Options, Row, best
from sim_tests.generators.systems import make_core, make_stimulus, make_system

__all__ = ["PEERS", "rows", "time_of_peer"]

SIZE = 256
STEPS = 50

_SANAFE = """
arch, net = peer.load_loihi(), peer.Network()
first = net.create_neuron_group("a", size, {"threshold": 1.0, "bias": 2.0, "reset": 0.0, "leak_decay": 1.0})
second = net.create_neuron_group("b", size, {"threshold": 1e9, "leak_decay": 1.0})
source, target = np.nonzero(cells)
weights = {"weight": [float(v) for v in cells[source, target]]}
first.connect_neurons_sparse(second, weights, list(zip(source.tolist(), target.tolist())))
cores = arch.cores()
first.map_to_core(cores[0])
second.map_to_core(cores[1])
chip = peer.SpikingChip(arch)
chip.load(net)
def run():
    global found
    done = chip.sim(steps, timing_model="simple", processing_threads=1)
    found = done["spikes"] == steps * int(np.count_nonzero(cells))
"""

_PAIBOX = """
class Net(peer.Network):
    def __init__(self):
        super().__init__()
        self.feed = peer.InputProj(input=1, shape_out=(size,))
        self.neurons = peer.IF((size,), threshold=1 << 20)
        kind = peer.SynConnType.All2All
        self.full = peer.FullConn(self.feed, self.neurons, weights=cells.astype(np.int8), conn_type=kind)
        self.probe = peer.Probe(self.neurons, "voltage")
net = Net()
simulator = peer.Simulator(net)
def run():
    global found
    simulator.reset()
    simulator.run(steps)
    found = simulator.data[net.probe][-1].tolist() == (steps * cells.sum(axis=0)).tolist()
"""

PEERS = {"sanafe": _SANAFE, "paibox": _PAIBOX}
"""Module -> the program that defines ``run``, which sets ``found`` to whether its operations were right."""

_BEFORE = """
import importlib, json, os, sys, time
name, size, steps, repeats, rows, clock = json.load(sys.stdin)
clock = getattr(time, clock)
try:
    import numpy as np
    peer = importlib.import_module(name)
except ImportError:
    print(json.dumps(None))
    raise SystemExit
cells, found = np.array(rows), False
out = os.dup(1)
os.dup2(2, 1)
"""

_AFTER = """
times = []
for _ in range(repeats + 1):
    start = clock()
    run()
    times.append(clock() - start)
    assert found, "other synaptic operations than asked for"
os.dup2(out, 1)
print(json.dumps(min(times)))
"""


def time_of_peer(
    interpreter: Path, name: str, cells: NDArray[np.int8], clock: str = "perf_counter"
) -> float | None:
    """Return the shortest time of `STEPS` steps in seconds, None if the peer is not installed there.

    Raises
    ------
    RuntimeError : the peer's program failed, or made other synaptic operations.
    """
    what = json.dumps([name, SIZE, STEPS, REPEATS, cells.tolist(), clock])
    command = [str(interpreter), "-c", _BEFORE + PEERS[name] + _AFTER]
    done = subprocess.run(command, input=what, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"{name} in {interpreter} failed: {last}")
    taken: float | None = json.loads(done.stdout)
    return taken


def rows(options: Options) -> Iterator[Row]:
    """Yield synaptic operations/s of this emulator and of each peer, on one thread."""
    cells = np.random.default_rng(0).choice([-1, 0, 1], (SIZE, SIZE), p=[0.25, 0.5, 0.25]).astype(np.int8)
    spec = SystemSpec(core=preset("small"), width=1, height=1)
    machine = Machine(make_system(spec, make_core(cells, thresholds=[spec.core.never])))
    packets = [(step, 0, 0, 0, 0, axon, 1) for step in range(STEPS) for axon in range(SIZE)]
    stimulus = make_stimulus(STEPS, packets)
    operations = int(np.count_nonzero(cells)) * STEPS
    assert machine.run(stimulus).total("synaptic_operations") == operations
    ours = operations / best(partial(machine.run, stimulus), options.clock)
    name = "256 x 256, all rows active"
    yield Row(name, f"{ours / 1e9:.2f} G operations/s")
    for peer in PEERS:
        taken = (
            None
            if options.peers is None
            else time_of_peer(options.peers, peer, cells, options.clock.__name__)
        )
        if taken is None:
            yield Row(f"{name}, {peer}", "not installed: --peers PYTHON names an interpreter that has it")
        else:
            speed = operations / taken
            yield Row(f"{name}, {peer}", f"{speed / 1e6:.1f} M operations/s", f"{speed / ours:.5f}", name)
