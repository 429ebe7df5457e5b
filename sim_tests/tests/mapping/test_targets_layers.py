# SPDX-License-Identifier: Apache-2.0
"""Every target of one report has the layers that it can take, and figures of these alone."""

import numpy as np

from mapping.datasets.load import Dataset
from mapping.report.machine import estimate
from sim_tests.generators.model_builder import ModelBuilder


def test_layer_too_wide_for_one_target_is_its_hosts_and_stays_on_the_other() -> None:
    b = ModelBuilder((700,), seed=2)
    y = b.quantise(b.dense(b.quantise("x", 0, 31.0), b.ternary(20, 700), name="fc1"), 0, 31.0)
    network = b.network(b.quantise(b.dense(y, b.ternary(3, 20), name="fc2")))
    data = Dataset(name="random", x=np.random.default_rng(0).normal(9, 9, (3, 700)), y=None)
    loom, kuang = estimate(network, data, ("loom", "kuang2021"), core="reference").targets
    work = {"fc1": 20 * 700, "fc2": 60}
    for target in (loom, kuang):
        names = [row["name"] for row in target["breakdown"]["layers"]]
        host = [name for name in work if name not in names]
        assert target["host_share"] == sum(work[name] for name in host) / sum(work.values())
        assert set(target["host_layers"]) & set(work) == set(host)
        assert target["spikes"] == sum(row["spikes"] for row in target["breakdown"]["layers"])
    assert (loom["host_share"], kuang["host_share"]) == (0.0, 14000 / 14060)


def test_one_target_needs_no_list() -> None:
    data = Dataset(name="random", x=np.zeros((1, 64)), y=None)
    one, listed = (estimate("digits", data, targets, core="small") for targets in ("loom", ["loom"]))
    assert one.to_json() == listed.to_json()
