# SPDX-License-Identifier: Apache-2.0
"""Images and labels from idx files: whole, packed, damaged, and not belonging together."""

from __future__ import annotations

import gzip
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from mapping.datasets.idx import MAX_BYTES, load_idx, load_idx_pair
from mapping.errors import MappingError

IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def idx_bytes(values: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    header = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.tobytes()


def write_set(folder: Path, *, images: int = 6, labels: int = 6, packed: bool = False) -> None:
    rng = np.random.default_rng(3)
    x = rng.integers(0, 256, (images, 4, 3), dtype=np.uint8)
    y = rng.integers(0, 10, labels, dtype=np.uint8)
    for name, values in ((IMAGES, x), (LABELS, y)):
        data = idx_bytes(values)
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(data, mtime=0))
        else:
            (folder / name).write_bytes(data)


@pytest.mark.parametrize("packed", [False, True])
def test_idx_pair_returns_what_was_written(packed: bool, tmp_path: Path) -> None:
    write_set(tmp_path, packed=packed)
    x, y = load_idx_pair(tmp_path, "test")
    rng = np.random.default_rng(3)
    assert (str(x.dtype), x.shape, str(y.dtype), y.shape) == ("uint8", (6, 4, 3), "int64", (6,))
    assert np.array_equal(x, rng.integers(0, 256, (6, 4, 3), dtype=np.uint8))
    assert np.array_equal(y, rng.integers(0, 10, 6, dtype=np.uint8))


def test_idx_pair_prefers_the_file_that_is_not_packed(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / f"{IMAGES}.gz").write_bytes(b"not gzip")
    assert len(load_idx_pair(tmp_path, "test")[0]) == 6


def refused(folder: Path, text: str) -> None:
    with pytest.raises(MappingError, match=f"^{re.escape(text)}$"):
        load_idx_pair(folder, "test")


def test_idx_pair_without_files_names_them(tmp_path: Path) -> None:
    refused(
        tmp_path,
        f"Folder {tmp_path} has neither {IMAGES} nor {IMAGES}.gz: "
        "name the folder with the four files of MNIST.",
    )


def test_idx_pair_of_another_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^part must be train or test, not 'all'$"):
        load_idx_pair(tmp_path, "all")  # type: ignore[arg-type]


def test_idx_pair_of_unequal_counts_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path, labels=5)
    refused(
        tmp_path,
        f"Data files {IMAGES} and {LABELS} must have as many images as labels, not 6 and 5: "
        "download both again.",
    )


def test_idx_pair_with_a_label_above_nine_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / LABELS).write_bytes(idx_bytes(np.array([0, 1, 10, 3, 4, 5], np.uint8)))
    refused(
        tmp_path,
        f"Data file {tmp_path / LABELS} has the label 10 at index 2, above 9: download it again.",
    )


GOOD = idx_bytes(np.zeros((2, 2, 2), np.uint8))
EMPTY = idx_bytes(np.zeros((0, 2, 2), np.uint8))
HUGE = bytes((0, 0, 8, 3)) + struct.pack(">3I", 2**31, 2**31, 2**31)
AGAIN = ": download it again."
BEGIN = "must begin with the bytes 00 00 08 03, an idx file of 3 axes, not"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", f"{BEGIN} end at once"),
        (b"\x89PNG\r\n", f"{BEGIN} 89 50 4e 47"),
        (idx_bytes(np.zeros(4, np.uint8)), f"{BEGIN} 00 00 08 01"),
        (GOOD[:9], "ends within its header"),
        (GOOD[:-1], "must hold 8 values as its header says, not 7"),
        (GOOD + b"\0", "must hold 8 values as its header says, not more"),
        (HUGE, f"announces {2**93} values {(2**31,) * 3}, supported are 1 to {MAX_BYTES}"),
        (EMPTY, f"announces 0 values (0, 2, 2), supported are 1 to {MAX_BYTES}"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_idx_that_is_damaged_is_refused(data: bytes, text: str, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / ("images.gz" if packed else "images")
    path.write_bytes(gzip.compress(data, mtime=0) if packed else data)
    with pytest.raises(MappingError, match=f"^{re.escape(f'Data file {path} {text}{AGAIN}')}$"):
        load_idx(path, axes=3)


@pytest.mark.parametrize(
    "data", [gzip.compress(GOOD, mtime=0)[:-12], b"not gzip", gzip.compress(GOOD, mtime=0)[:3]]
)
def test_idx_that_is_no_complete_gzip_file_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(data)
    text = f"Data file {path} is no complete gzip file or is damaged{AGAIN}"
    with pytest.raises(MappingError, match=f"^{re.escape(text)}$"):
        load_idx(path, axes=3)


def test_idx_with_any_flipped_gzip_byte_is_refused_or_equal(tmp_path: Path) -> None:
    path, whole = tmp_path / "images.gz", gzip.compress(GOOD, mtime=0)
    refusals = 0
    for index in range(len(whole)):
        path.write_bytes(whole[:index] + bytes((whole[index] ^ 0xFF,)) + whole[index + 1 :])
        try:
            values = load_idx(path, axes=3)
        except MappingError:
            refusals += 1
        else:
            assert np.array_equal(values, np.zeros((2, 2, 2)))
    assert refusals > len(whole) // 2


def test_idx_unpacks_no_more_than_its_header_announces(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(GOOD + bytes(2**26), compresslevel=1))
    with pytest.raises(MappingError, match=r"must hold 8 values as its header says, not more"):
        load_idx(path, axes=3)


def test_idx_that_cannot_be_read_names_the_reason(tmp_path: Path) -> None:
    text = f"Data file {tmp_path} cannot be read: Is a directory."
    with pytest.raises(MappingError, match=f"^{re.escape(text)}$"):
        load_idx(tmp_path, axes=3)


def test_idx_values_are_read_only(tmp_path: Path) -> None:
    write_set(tmp_path)
    assert not load_idx(tmp_path / IMAGES, axes=3).flags.writeable


def test_mnist_has_its_published_sizes(data_dir: Path) -> None:
    x, y = load_idx_pair(data_dir / "mnist", "train")
    assert (x.shape, np.bincount(y)[:2].tolist()) == ((60000, 28, 28), [5923, 6742])
    x, y = load_idx_pair(data_dir / "mnist", "test")
    assert (x.shape, np.bincount(y)[:2].tolist()) == ((10000, 28, 28), [980, 1135])
