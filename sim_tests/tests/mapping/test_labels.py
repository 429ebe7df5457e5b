# SPDX-License-Identifier: Apache-2.0
"""Labels of data become numbers of a network's outputs, by the names that it has for its classes."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mapping.datasets.labels import Names, named_labels, numbered, read_labels
from mapping.errors import MappingError

TEXTS = ("setosa", "versicolor", "virginica")


def told(y: object, names: Names, outputs: int = 3) -> list[int]:
    labels, texts = read_labels("d", "y", np.asarray(y), len(np.asarray(y)))
    found = numbered("d", labels, texts, names, outputs)
    assert found is not None
    assert found.dtype == np.int64
    return [int(place) for place in found]


@pytest.mark.parametrize(
    ("y", "names", "wanted"),
    [
        ([0, 2, 1], (), [0, 2, 1]),
        ([True, False], (), [1, 0]),
        (np.array([0, 2], np.uint8), (), [0, 2]),
        ([12, 2, 7], (2, 7, 12), [2, 0, 1]),
        ([-1, 1, 1], (-1, 1), [0, 1, 1]),
        ([1, 2, 1], (1, 2), [0, 1, 0]),
        (["virginica", "setosa"], TEXTS, [2, 0]),
        ([2, 0], TEXTS, [2, 0]),
        (["7", "2"], (2, 7, 12), [1, 0]),
        ([9, 5], ("5", "9"), [1, 0]),
    ],
)
def test_label_is_the_output_of_its_class(y: object, names: Names, wanted: list[int]) -> None:
    assert told(y, names) == wanted


def test_whole_numbers_may_be_floats() -> None:
    assert told(np.array([0.0, 2.0, 1.0], np.float32), ()) == [0, 2, 1]
    for wrong, why in ((0.5, "integer labels"), (np.nan, "integer labels"), (1e30, "must not be huge")):
        with pytest.raises(MappingError) as caught:
            told([0.0, wrong], ())
        assert why in str(caught.value)


@pytest.mark.parametrize(
    ("y", "names", "part"),
    [
        ([0, 3], (), "the label 3 at sample 1, the network has outputs 0..2; number the classes from 0"),
        ([-1, 0], (), "the label -1 at sample 0"),
        ([0, 1], (1, 2), "the label 0 at sample 0, and the network's classes are 1, 2; correct it"),
        ([7, 3], TEXTS, "the label 7 at sample 0, the network has outputs 0..2"),
        (["rose", "setosa"], TEXTS, "the label rose at sample 0, and the network's classes are setosa, "),
        (["b", "a"], (), "labels that are text, as 'a', and the network has outputs 0..2; give the numbers"),
        ([99], tuple(range(1, 13)), "classes are 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ...; correct it"),
    ],
)
def test_label_of_no_class_is_refused(y: object, names: Names, part: str) -> None:
    with pytest.raises(MappingError, match=re.escape(part)):
        told(y, names)


def test_data_without_labels_have_none() -> None:
    assert numbered("d", None, (), TEXTS, 3) is None
    assert named_labels(None, TEXTS) is None


def test_class_has_the_name_that_the_model_gives_it() -> None:
    found = named_labels(np.array([2, 0]), TEXTS)
    assert found is not None
    assert found.tolist() == ["virginica", "setosa"]
    plain = named_labels(np.array([2, 0]), ())
    assert plain is not None
    assert plain.tolist() == [2, 0]
