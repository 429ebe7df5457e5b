# SPDX-License-Identifier: Apache-2.0
"""Samples in memory: arrays, tensors, pairs, and loaders of batches."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mapping.chip import Progress, in_batches
from mapping.datasets import batches
from mapping.datasets.batches import as_data, gather
from mapping.datasets.load import Dataset, load_data
from mapping.errors import MappingError
from sim_tests.generators.fake_torch import FakeTensor

ALIKE = "unlike those before; give labels with all batches or with none"
X, Y = np.arange(24.0).reshape(6, 4), np.array([0, 1, 2, 0, 1, 2])
LOADER = [(X[:4], Y[:4]), (X[4:], Y[4:])]


class _Samples:
    """Samples by number, as a `Dataset` of PyTorch has them; nothing iterates over it."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> object:
        return X[index], Y[index]


@pytest.mark.parametrize(
    "source",
    [
        (X, Y),
        LOADER,
        [[X, Y]],
        iter(LOADER),
        [{"image": X[:4], "label": Y[:4]}, {"label": Y[4:], "image": X[4:]}],
        [{"pixel_values": X, "id": ["a"] * 6, "weight": np.ones(6), "labels": Y}],
        {"x": X, "y": Y},
        [(X, Y.tolist())],
        [(X, Y.astype(np.float64))],
        [(FakeTensor(X[:4]), FakeTensor(Y[:4])), (FakeTensor(X[4:]), FakeTensor(Y[4:]))],
    ],
    ids=[
        "pair",
        "batches",
        "lists",
        "iterator",
        "names",
        "names and more",
        "names of all",
        "list",
        "whole",
        "tensors",
    ],
)
def test_samples_and_labels_are_those_given(source: object) -> None:
    data = as_data(source)
    assert data.y is not None
    assert (data.x.tolist(), data.y.tolist(), data.pixels) == (X.tolist(), Y.tolist(), False)


@pytest.mark.parametrize(
    "source", [X, [X], [X[:2], X[2:]], [(X,)], [{"x": X, "id": Y}], {"x": X}, [(X, None)], FakeTensor(X)]
)
def test_samples_may_have_no_labels(source: object) -> None:
    x, y = gather(source)
    assert np.array_equal(x, X)
    assert y is None


def test_loaded_data_stay_what_they_are() -> None:
    data = load_data("digits")
    assert as_data(data).x is not None
    assert np.array_equal(as_data("digits", 3).x, data.x[:3])
    assert as_data(data).name == as_data("digits").name == "digits"


def test_labels_may_be_texts(tmp_path: Path) -> None:
    texts = ["no", "maybe", "yes", "no", "maybe", "yes"]
    for labels in (texts, tuple(texts), np.array(texts)):
        data = as_data([(X, labels)])
        assert data.y is not None
        assert [data.texts[label] for label in data.y] == texts
    np.savez(tmp_path / "d.npz", x=X, y=np.array(texts))
    assert (
        as_data(tmp_path / "d.npz").texts == as_data(str(tmp_path / "d.npz")).texts == ("maybe", "no", "yes")
    )


def test_bytes_are_pixels() -> None:
    assert as_data(X.astype(np.uint8)).pixels
    assert as_data([(FakeTensor(X.astype(np.uint8)), Y)]).pixels


def test_a_loader_is_read_as_far_as_it_is_wanted() -> None:
    read: list[int] = []

    def endless() -> Iterator[tuple[object, object]]:
        while True:
            read.append(len(read))
            yield X, Y

    x, y = gather(endless(), 8)
    assert y is not None
    assert (len(x), len(y), read) == (8, 8, [0, 1])


def test_an_endless_loader_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MAX_BYTES", 1000)
    sentence = r"^Data list have more than 1000 bytes; give fewer batches, for example a part of them by "
    with pytest.raises(MappingError, match=sentence + r"itertools\.islice\.$"):
        gather([X] * 20)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ([], "Data list hold no samples; give at least one, an array of shape (1, input shape)."),
        (
            iter([]),
            "Data list_iterator hold no samples; it gives its batches once, so make a new one each time.",
        ),
        (
            3,
            (
                "Data must be an array of samples, a pair (x, y), or give batches of them as a DataLoader "
                "does, not int."
            ),
        ),
        (
            [{"left": X, "right": X}],
            (
                "Batch 0 of list is unusable: which of 'left', 'right' are the samples, and which the "
                "labels, is not clear; hand over pairs, for example ((b['image'], b['label']) for b in "
                "loader)."
            ),
        ),
        (
            [{"x": X, "label": Y, "class": Y}],
            (
                "Batch 0 of list is unusable: which of 'x', 'label', 'class' are the samples, and which "
                "the labels, is not clear; hand over pairs, for example ((b['image'], b['label']) for b in "
                "loader)."
            ),
        ),
        (
            _Samples(),
            (
                "Data must be an array of samples, a pair (x, y), or give batches of them as a DataLoader "
                "does, not _Samples; hand over torch.utils.data.DataLoader(dataset, batch_size=100)."
            ),
        ),
        (
            [(X, Y, Y)],
            (
                "Batch 0 of list is unusable: it must be an array of samples or a pair (x, y), not tuple of "
                "3; hand over pairs, for example ((b[0], b[1]) for b in loader)."
            ),
        ),
        (
            [((X, X), Y)],
            (
                "Batch 0 of list is unusable: it has 2 arrays of samples, and a module takes one; put them "
                "into one array, which a module around yours splits."
            ),
        ),
        ([X, (X, Y)], f"Batch 1 of list is unusable: it has labels, {ALIKE}."),
        ([(X, Y), X], f"Batch 1 of list is unusable: it has no labels, {ALIKE}."),
        (
            [X, X[:, :3]],
            (
                "Batch 1 of list is unusable: its samples have the shape (3,), those before (4,); bring all "
                "to one."
            ),
        ),
        (
            [(X, Y[:2])],
            (
                "Batch 0 of list is unusable: it has 6 samples but labels of shape (2,); give one label a "
                "sample."
            ),
        ),
        (
            [(sample, label) for sample, label in zip(X, Y.tolist(), strict=True)],
            (
                "Batch 0 of list is unusable: it is one sample with its label; hand over "
                "torch.utils.data.DataLoader(dataset, batch_size=100), which gives batches."
            ),
        ),
        (
            [(Y, X)],
            (
                "Batch 0 of list is unusable: its samples must be one a row, not of shape (6,); hand over "
                "pairs with the samples first."
            ),
        ),
        (
            [(X, np.eye(4)[Y])],
            (
                "Batch 0 of list is unusable: it has 6 samples but labels of shape (6, 4); give one class a "
                "sample, as y.argmax(1) does."
            ),
        ),
        (
            (X, Y[:, None]),
            (
                "Batch 0 of tuple is unusable: it has 6 samples but labels of shape (6, 1); give one class a "
                "sample, as y[:, 0] does."
            ),
        ),
        ([Y], "Batch 0 of list is unusable: its samples must be one a row, not of shape (6,)."),
        *(
            (
                [(X, wrong)],
                (
                    "Batch 0 of list is unusable: its labels must be numbers or texts, one a sample, not "
                    "list; correct them, or leave them out."
                ),
            )
            for wrong in ([None] * 6, [[1], [2, 3]], [1j] * 6)
        ),
        (
            [(X, Y * 0.5)],
            (
                "Array y of list must hold 6 integer labels, not float64 (6,); leave them out where "
                "there are no classes."
            ),
        ),
        ([X * np.nan], "Array x of list must be finite; sample 0 is not; leave such samples out."),
    ],
)
def test_unusable_data_are_one_sentence(source: object, sentence: str) -> None:
    with pytest.raises(MappingError) as caught:
        as_data(source)
    assert str(caught.value) == sentence


def test_a_batch_as_a_loader_gives_it_is_a_pair() -> None:
    data = as_data([X, Y])
    assert data.y is not None
    assert (data.x.tolist(), data.y.tolist()) == (X.tolist(), Y.tolist())
    assert as_data([X, X]).y is None


def test_progress_of_batches_goes_on_where_the_one_before_ended() -> None:
    told: list[tuple[int, int]] = []

    def run(x: NDArray[np.float64], *, progress: Progress | None) -> int:
        assert progress is not None
        for step in (1, 3 * len(x)):
            progress(step, 3 * len(x))
        return len(x)

    found = in_batches(run, Dataset(name="x", x=X, y=Y), 4, steps=3, progress=lambda *at: told.append(at))
    assert [(part.x.tolist(), count) for part, count in found] == [(X[:4].tolist(), 4), (X[4:].tolist(), 2)]
    assert told == [(1, 18), (12, 18), (13, 18), (18, 18)]


def test_what_the_sentences_name_is_taken() -> None:
    samples, none = list(zip(X, Y.tolist(), strict=True)), [(X, None)]
    wanted = (X.tolist(), Y.tolist())
    triples, swapped = [(X, Y, np.arange(6))], [(Y, X)]
    for source in (
        ((b[0], b[1]) for b in triples),
        ((x, y) for y, x in swapped),
        [(np.stack([x for x, _ in samples]), [y for _, y in samples])],  # as a loader collates them
        [(X[:4], Y[:4]), (X[4:, :], Y[4:])],
    ):
        data = as_data(source)
        assert data.y is not None
        assert (data.x.tolist(), data.y.tolist()) == wanted
    for unlabelled in (none, none * 2, [X], np.ones((1, 4))):
        assert as_data(unlabelled).y is None
