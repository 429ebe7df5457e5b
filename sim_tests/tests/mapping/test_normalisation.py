# SPDX-License-Identifier: Apache-2.0
"""Common normalisations of the input: found where they were planted, and not found where nothing is wrong."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mapping.datasets.load import Dataset, scale_text, scaled
from mapping.datasets.named import Named, named, named_rightly
from mapping.datasets.normalisation import (
    PUBLISHED,
    Candidate,
    best_way,
    candidates,
    clearly_better,
    most_right,
    name_of,
)
from mapping.datasets.rows import spread_rows
from mapping.datasets.scale import mean_and_deviation, normalised
from mapping.diagnosis.input_normalisation import check_normalisation
from mapping.diagnosis.input_tried import chance_text, doubt_of, input_findings, try_inputs
from mapping.errors import MappingError
from mapping.model.evaluate import infer
from mapping.model.network import Network
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.trained_networks import bars, trained

IMAGENET = "0.485,0.456,0.406,0.229,0.224,0.225"
PLANTED = ("0.1307,0.3081", "0.5,0.5", IMAGENET)


def network(how: str) -> Network:
    """Train on bars that are normalised in a way, with functions that saturate: the scale matters."""
    x, y = bars(1500)
    b, output = trained(normalised(x / 255, how), y, function="Tanh")
    return b.network(output)


@pytest.fixture(scope="module", params=PLANTED)
def planted(request: pytest.FixtureRequest) -> tuple[str, Network]:
    """A way to normalise, and a network trained so."""
    return request.param, network(request.param)


@pytest.fixture(scope="module")
def imagenet() -> Network:
    return network(IMAGENET)


def unseen(n: int = 256) -> Dataset:
    """Bars that no training saw."""
    x, y = bars(n, seed=1)
    return Dataset(name="bars", x=x.astype(np.float64), y=y, pixels=True)


def accuracy(net: Network, data: Dataset, how: str) -> float:
    given, _ = scaled(data, how, net)
    assert given.y is not None
    return float(named_rightly(net, given.x, given.y).mean())


def test_auto_is_as_accurate_as_the_constants_of_the_training(planted: tuple[str, Network]) -> None:
    how, net = planted
    data = unseen()
    _, chosen = scaled(data, "auto", net)
    own, others = accuracy(net, data, how), [accuracy(net, data, name) for name in ("raw", "unit")]
    assert own > max(others) + 0.05
    assert accuracy(net, data, chosen) > own - 0.04
    assert scale_text(data, chosen) == (
        f"{chosen} (chosen: clearly more accurate than raw and unit on 256 samples; {name_of(chosen)})"
    )
    assert scale_text(data, chosen, chosen) == chosen


def test_bytes_taken_as_they_are_have_their_normalisation_named(planted: tuple[str, Network]) -> None:
    how, net = planted
    data = unseen()
    tried = check_normalisation(net, data, "raw")
    assert tried is not None
    assert tried.better is not None
    assert {part.input: part.accuracy for part in tried.candidates}[how] == accuracy(
        net, data.at(spread_rows(256)(len(data.x))), how
    )
    assert accuracy(net, data, tried.better.input) > accuracy(net, data, how) - 0.04


ROWS = np.arange(0, 1000, 4), np.arange(1000)
NORMAL = tuple(Candidate(name=how, how=how, distance=distance) for how, distance in (("a", 0.1), ("b", 0.2)))


@pytest.mark.parametrize(
    ("wrong", "chosen", "looked"),
    [
        ({"raw": (500, 0), "unit": (4, 4)}, "unit", "raw unit"),  # nothing could be clearly better
        ({"raw": (5, 10), "unit": (5, 14)}, "raw", "raw unit raw unit"),  # equal on the first samples
        ({"raw": (4, 14), "unit": (5, 10)}, "unit", "raw unit raw unit"),
        ({"raw": (5, 14), "unit": (5, 14)}, "unit", "raw unit raw unit"),
        ({"raw": (18, 0), "unit": (20, 0)}, "raw", "raw unit a b raw unit"),
        ({"raw": (18, 80), "unit": (20, 0)}, "unit", "raw unit a b raw unit"),  # chance on the first samples
        ({"raw": (44, 150), "unit": (99, 400), "a": (36, 100), "b": (99, 400)}, "a", "raw unit a b a raw"),
        ({"raw": (99, 400), "unit": (98, 400), "a": (12, 90), "b": (14, 0)}, "b", "raw unit a b a b"),
        ({"raw": (99, 400), "unit": (98, 400), "a": (5, 90), "b": (50, 0)}, "a", "raw unit a b"),
    ],
)
def test_ways_that_few_samples_do_not_tell_apart_are_compared_on_more(
    wrong: dict[str, tuple[int, int]], chosen: str, looked: str
) -> None:
    """``wrong`` says how many of the first samples a way names wrongly, and how many of the others."""
    asked = list[str]()

    def told(how: str, rows: NDArray[np.int64]) -> Named:
        asked.append(how)
        named = np.ones(1000, np.bool_)
        few, others = wrong.get(how, (200, 600))
        named[ROWS[0][:few]] = False
        named[np.setdiff1d(ROWS[1], ROWS[0])[:others]] = False
        return Named(right=named[rows], entropy=lambda: few + others)

    y = np.arange(1000) // 4 % 10
    assert best_way(NORMAL, y, told, ROWS) == chosen
    assert " ".join(asked) == looked


@pytest.mark.parametrize(("wrong", "chosen"), [((10, 12), "unit"), ((12, 10), "unit"), ((10, 40), "raw")])
def test_raw_and_unit_that_are_right_as_often_are_told_apart_by_the_cross_entropy(
    wrong: tuple[int, int], chosen: str
) -> None:
    def told(how: str, rows: NDArray[np.int64]) -> Named:
        right = np.arange(1000) >= wrong[how == "unit"]
        return Named(right=right[rows], entropy=lambda: 0.3 if how == "unit" else 0.4)

    y = np.arange(1000) % 10
    assert best_way((), y, told, (np.arange(1000), np.arange(1000))) == chosen


def test_network_of_sigmoids_reads_pixels_as_it_was_trained() -> None:
    """Large inputs saturate its neurons: as many answers are right by chance, and none of them is sure."""
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 256, (600, 12))
    b = ModelBuilder((12,))
    first, second = rng.normal(size=(24, 12)), rng.normal(size=(4, 24))
    y = b.op("Sigmoid", b.dense("x", first, rng.normal(size=24)))
    network = b.network(b.dense(y, second))
    sure = np.argsort(infer(network, pixels / 255.0), axis=1)
    labels = np.where(rng.random(600) < 0.45, sure[:, -1], sure[:, -2])
    data = Dataset(name="d", x=pixels.astype(np.float64), y=labels, pixels=True)
    assert scaled(data, "auto", network)[1] == "unit"


def test_outputs_beyond_all_floats_are_no_reason_to_read_raw_pixels() -> None:
    b, rng = ModelBuilder((12,)), np.random.default_rng(1)
    y = b.op("Exp", b.dense("x", 10 * rng.normal(size=(8, 12))))
    network = b.network(b.dense(y, rng.normal(size=(3, 8))))
    pixels = rng.integers(0, 256, (300, 12)).astype(np.float64)
    data = Dataset(name="d", x=pixels, y=rng.integers(0, 3, 300), pixels=True)
    assert data.y is not None
    assert named(network, pixels, data.y).entropy() == math.inf
    assert scaled(data, "auto", network)[1] != "raw"


FLOATS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "between 0 and 1": lambda x: x / 255,
    "between 0 and 255": lambda x: x,
    "between -1 and 1": lambda x: x / 127.5 - 1,
}


@pytest.mark.parametrize("form", FLOATS)
def test_floats_have_a_normalisation_proposed_that_mends_them(imagenet: Network, form: str) -> None:
    data = dataclasses.replace(unseen(), x=FLOATS[form](unseen().x), pixels=False)
    given, chosen = scaled(data, "auto", imagenet)
    assert (given.x == data.x).all()  # values are taken as they are, and only a proposal is made
    tried = try_inputs(imagenet, data, chosen)
    (finding,) = input_findings(tried)
    assert finding.kind == "input-normalisation"
    assert tried.normalisation is not None
    better = tried.normalisation.better
    assert better is not None
    assert finding.text == (
        "The data seem to be normalised in another way than those of the training: on 256 samples "
        f"the float network's accuracy is {100 * tried.normalisation.accuracy:.2f} % as they are, and "
        f"{100 * better.accuracy:.2f} % as {better.name}; try --input {better.input}, or the constants of "
        "the training."
    )
    assert accuracy(imagenet, data, better.input) > accuracy(imagenet, unseen(), IMAGENET) - 0.04
    assert doubt_of(imagenet, data, chosen, "auto", 0.5) == finding.text
    assert (
        check_normalisation(imagenet, data, better.input, better.input) is None
        or list(input_findings(try_inputs(imagenet, data, better.input))) == []
    )


@pytest.mark.parametrize("pixels", [True, False])
def test_black_on_white_is_named_and_its_expression_mends(pixels: bool) -> None:
    net = network("0,1")
    data = unseen()
    inverted = dataclasses.replace(data, x=255 - data.x if pixels else 1 - data.x / 255, pixels=pixels)
    _, chosen = scaled(inverted, "auto", net)
    tried = try_inputs(net, inverted, chosen, "auto")
    (finding,) = input_findings(tried)
    assert finding.kind == "input-order"
    expression = "255 - x" if pixels else "1 - x"
    assert finding.text.endswith(f" % with black and white exchanged; store {expression} as x.")
    mended = dataclasses.replace(inverted, x=eval(expression, {"x": inverted.x}))  # noqa: S307
    assert accuracy(net, mended, "unit") == accuracy(net, data, "unit") > 0.8


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("sort", [False, True])
def test_no_cause_is_invented_for_an_untrained_network(seed: int, sort: bool) -> None:
    rng = np.random.default_rng(1000 + seed)
    x, y = bars(300, seed=seed)
    b, output = trained(x / 255, rng.integers(0, 12, len(y)), hidden=(8,), function="Tanh", seed=seed)
    net = b.network(output)
    x, y = bars(256, seed=100 + seed)
    order = np.argsort(y) if sort else np.arange(len(y))
    data = Dataset(name="d", x=x[order].astype(np.float64), y=y[order], pixels=bool(seed % 2))
    _, chosen = scaled(data, "auto", net)
    assert chosen in {"raw", "unit"}
    assert list(input_findings(try_inputs(net, data, chosen, "auto"))) == []
    doubt = doubt_of(net, data, chosen, "auto", accuracy(net, data, chosen))
    assert doubt is not None
    assert doubt.endswith("compare data, labels and weights with those of the training.")


def test_a_network_that_names_a_rare_label_is_not_said_to_know_nothing(imagenet: Network) -> None:
    rare = dataclasses.replace(unseen(100), y=np.where(np.arange(100) < 96, 0, 1))
    assert doubt_of(imagenet, rare, "raw", "raw", 1.0) is None
    told = doubt_of(imagenet, rare, "raw", "raw", 0.96)
    assert told is not None
    assert "has an accuracy of 96.00 %, and always naming the commonest label has 96.00 %" in told


@pytest.mark.parametrize("accuracy", [0.0, 0.95, 1.0])
def test_samples_of_one_label_tell_little(imagenet: Network, accuracy: float) -> None:
    data = dataclasses.replace(unseen(100), y=np.full(100, 3))
    assert doubt_of(imagenet, data, "raw", "raw", accuracy) == (
        "All samples have the same label, so their accuracy tells little of the network; give samples of all "
        "classes."
    )
    assert chance_text(accuracy, 0.5) is None or accuracy == 0.0


def test_labels_of_one_kind_decide_nothing() -> None:
    right, wrong = np.ones(200, np.bool_), np.zeros(200, np.bool_)
    found = candidates(unseen(200).x, (3, 8, 8), pixels=True)
    assert most_right(wrong, [(found[2], right)], np.zeros(200, np.int64)) is None
    assert most_right(wrong, [(found[2], right)], np.arange(200) % 10) is found[2]


def test_constants_that_samples_cannot_tell_apart_are_those_nearest_to_the_data() -> None:
    x = np.random.default_rng(0).normal(0.286, 0.1, (256, 8, 8)).clip(0, 1) * 255
    far, near = (
        next(c for c in candidates(x, (8, 8), pixels=True) if c.name == n) for n in ("-1..1", "MNIST")
    )
    before, y = np.zeros(256, np.bool_), np.arange(256) % 10
    right = np.arange(256) < 200
    few, many = right | (np.arange(256) < 203), right | (np.arange(256) < 230)
    assert near.distance < far.distance
    assert most_right(before, [(far, few), (near, right)], y) is near
    assert most_right(before, [(far, many), (near, right)], y) is far


@pytest.mark.parametrize(
    ("gained", "lost", "clear"), [(9, 0, True), (8, 0, False), (20, 4, True), (20, 8, False)]
)
def test_better_means_three_deviations(gained: int, lost: int, clear: bool) -> None:
    before, after = np.zeros(100, np.bool_), np.zeros(100, np.bool_)
    after[:gained], before[50 : 50 + lost] = True, True
    assert clearly_better(before, after) is clear


def test_several_means_belong_to_the_channels() -> None:
    x = np.random.default_rng(0).uniform(0, 1, (2, 3, 4, 5))
    means, deviations = mean_and_deviation(IMAGENET)
    expected = np.stack([(x[:, c] - means[c]) / deviations[c] for c in range(3)], axis=1)
    assert (normalised(x, IMAGENET) == expected).all()
    last = normalised(np.moveaxis(x, 1, 3), IMAGENET)
    assert (np.moveaxis(last, 3, 1) == expected).all()


def test_means_without_so_many_channels_are_refused() -> None:
    with pytest.raises(MappingError) as error:
        normalised(np.zeros((1, 2, 4, 5)), IMAGENET)
    assert str(error.value) == (
        f"Input '{IMAGENET}' has 3 means, and samples of shape (2, 4, 5) have not so many channels; give one "
        "MEAN,STD for all of them, or one of each a channel, the means first."
    )


def test_published_constants_are_candidates_by_channels() -> None:
    names = {c.name for c in candidates(unseen().x, (3, 8, 8), pixels=True)}
    assert {name for name, _, _ in PUBLISHED} < names
    flat = candidates(unseen().x.reshape(-1, 192), (192,), pixels=True)
    assert {"ImageNet", "CIFAR-10"}.isdisjoint(c.name for c in flat)


def test_input_that_the_network_has_no_value_for_is_no_better() -> None:
    """An embedding has a row for each of its numbers, and none for what another scale makes of them."""
    b = ModelBuilder((5,))
    rows = b.op("Gather", b.constant(b.rng.normal(size=(17, 6))), b.op("Cast", "x", to=7))
    y = b.dense(b.op("Flatten", rows), b.rng.normal(size=(3, 30)))
    network, rng = b.network(y), np.random.default_rng(3)
    x = rng.integers(0, 17, (60, 5)).astype(np.float64)
    data = Dataset(name="words", x=x, y=rng.integers(0, 3, 60))
    assert named_rightly(network, x, infer(network, x).argmax(axis=1)).all()
    assert not named_rightly(network, 64 * x + 17, np.zeros(60, np.int64)).any()
    found = check_normalisation(network, data, "unit")
    assert found is None or found.better is None
    pixels = Dataset(name="words", x=x.astype(np.uint8), y=data.y)
    assert scaled(pixels, "auto", network)[1] in {"raw", "unit"}


@pytest.mark.parametrize("count", [1, 20, 999])
def test_first_samples_are_scaled_as_all_of_them_would_be(planted: tuple[str, Network], count: int) -> None:
    """Few samples tell little, and the first of sorted ones have one label."""
    _, net = planted
    data = unseen(1000)
    data = data.at(np.argsort(np.asarray(data.y), kind="stable"))
    all_of_them, chosen = scaled(data, "auto", net)
    assert chosen not in {"raw", "unit"}
    for first in (data.first(count), data.first(999).first(count)):
        given, same = scaled(first, "auto", net)
        assert same == chosen
        assert np.array_equal(given.x, all_of_them.x[:count])
        assert scaled(given, "auto", net)[1] == "unit"  # no pixels any more: taken as they are
        assert scaled(first, "raw", net)[1] == "raw"
