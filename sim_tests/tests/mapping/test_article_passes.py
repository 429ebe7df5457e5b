# SPDX-License-Identifier: Apache-2.0
"""The article's networks as images in passes: the referee that compares them, on a narrow VGG."""

import numpy as np
import pytest

from mapping.spiking.simulate import simulate
from sim_tests.referees import article_passes
from sim_tests.referees.article_passes import InPasses, in_passes, main


@pytest.mark.parametrize(("target", "mesh"), [("kuang2021", (8, 8)), ("loom", (2, 2))])
def test_narrow_vgg_in_passes_equals_the_network(target: str, mesh: tuple[int, int]) -> None:
    """All layers and maps, a sixteenth of the channels: unary packets on one target, counts on the other."""
    found = in_passes("vgg", target, 2, mesh=mesh, narrow=16)
    assert found.passes > 1
    assert found.cores > mesh[0] * mesh[1]
    assert found.timesteps >= 11, "one for each layer"
    assert found.differ == 0
    assert found.compared > 2 * 512 // 16, "what later passes are fed, too"


def test_count_that_differs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*given: object) -> dict[str, np.ndarray]:
        found = simulate(*given)  # type: ignore[arg-type]
        return {
            name: values + (np.arange(values.size) == 3).reshape(values.shape)
            for name, values in found.items()
        }

    monkeypatch.setattr(article_passes, "simulate", wrong)
    found = in_passes("vgg", "loom", 1, mesh=(2, 2), narrow=16)
    assert found.differ == found.passes + 1, "one of what each pass is fed, and of the output"


def test_table_has_a_row_for_each_network_and_target(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def found(network: str, target: str, samples: int) -> InPasses:
        asked.append((network, target, samples))
        return InPasses(
            passes=2, cores=84, timesteps=11, flits=1234, compared=64, differ=int(target == "loom")
        )

    monkeypatch.setattr(article_passes, "in_passes", found)
    assert main(["--target", "kuang2021", "--samples", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| vgg | kuang2021 | 2 | 84 | 11 | 1,234 | 2 | 64 | 0 |"
    ]
    assert main(["lenet", "vgg"]) == 1
    assert asked[1:] == [
        (network, target, 4) for network in ("lenet", "vgg") for target in ("kuang2021", "loom")
    ]
