# SPDX-License-Identifier: Apache-2.0
"""Every form of data, their layouts, and every refusal."""

import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mapping.datasets.idx import IDX
from mapping.datasets.load import Dataset, accuracy, load_data
from mapping.errors import MappingError

RNG = np.random.default_rng(4)
IMAGES = RNG.integers(0, 256, size=(7, 5, 4)).astype(np.uint8)
LABELS = np.array([3, 1, 4, 1, 5, 9, 2], np.uint8)


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def idx_folder(path: Path, *, packed: bool) -> Path:
    for prefix, images, labels in (("t10k", IMAGES, LABELS), ("train", IMAGES[:3], LABELS[:3])):
        for name, array in ((f"{prefix}-images-idx3-ubyte", images), (f"{prefix}-labels-idx1-ubyte", labels)):
            data = idx_bytes(array)
            (path / (name + ".gz" * packed)).write_bytes(gzip.compress(data) if packed else data)
    return path


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", ["mnist", "fashion", "kmnist"])
@pytest.mark.parametrize(("part", "samples"), [("", 7), (":test", 7), (":train", 3)])
def test_idx_folder_is_read(tmp_path: Path, name: str, part: str, samples: int, packed: bool) -> None:
    source = f"{name}:{idx_folder(tmp_path, packed=packed)}{part}"
    data = load_data(source)
    assert (data.name, data.pixels, str(data.x.dtype)) == (source, True, "float64")
    assert (data.x == IMAGES[:samples]).all()
    assert data.y is not None
    assert data.y.tolist() == LABELS[:samples].tolist()


@pytest.mark.parametrize("name", IDX)
def test_folder_of_torchvision_is_read(tmp_path: Path, name: str) -> None:
    """It goes before files beside it, which are of another data set."""
    below = tmp_path / IDX[name] / "raw"
    below.mkdir(parents=True)
    idx_folder(below, packed=True)
    idx_folder(tmp_path, packed=True)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(255 - IMAGES))
    assert (load_data(f"{name}:{tmp_path}").x == IMAGES).all()


@pytest.mark.parametrize(
    ("part", "first", "samples"), [("", 1437, 360), (":test", 1437, 360), (":train", 0, 1437)]
)
def test_digits_are_floats(part: str, first: int, samples: int) -> None:
    data = load_data(f"digits{part}")
    assert (data.x.shape, data.pixels) == ((samples, 8, 8), False)
    assert (data.x == load_data("digits:all").x[first : first + samples]).all()


def npz(path: Path, **arrays: Any) -> str:
    file = path / "d.npz"
    np.savez(file, **arrays)
    return str(file)


@pytest.mark.parametrize(
    ("dtype", "pixels"), [(np.uint8, True), (np.float32, False), (np.float64, False), (np.int64, False)]
)
def test_npz_of_bytes_holds_pixels(tmp_path: Path, dtype: type[np.generic], pixels: bool) -> None:
    data = load_data(npz(tmp_path, x=IMAGES.astype(dtype), y=LABELS))
    assert (data.pixels, str(data.x.dtype)) == (pixels, "float64")
    assert (data.x == IMAGES).all()
    assert data.first(2).pixels == pixels


def test_npz_without_labels_has_no_accuracy(tmp_path: Path) -> None:
    data = load_data(npz(tmp_path, x=IMAGES))
    assert data.y is None
    assert accuracy(np.zeros((7, 10)), data.y) is None


def test_accuracy_takes_the_lowest_index_on_ties() -> None:
    assert accuracy(np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([0, 0])) == 0.5


MAP = np.arange(2 * 3 * 4 * 5, dtype=np.float64).reshape(2, 3, 4, 5)


@pytest.mark.parametrize(
    ("x", "shape", "expected"),
    [
        (MAP, (3, 4, 5), MAP),
        (MAP.transpose(0, 2, 3, 1), (3, 4, 5), MAP),
        (MAP, (4, 5, 3), MAP.transpose(0, 2, 3, 1)),
        (MAP[:, 0], (1, 4, 5), MAP[:, :1]),
        (MAP[:, 0, :, :, None], (1, 4, 5), MAP[:, :1]),
        (MAP[:, 0], (4, 5, 1), MAP[:, 0, :, :, None]),
        (MAP[:, :1], (4, 5, 1), MAP[:, 0, :, :, None]),
        (MAP, (60,), MAP.reshape(2, 60)),
        (MAP.reshape(2, 60), (3, 4, 5), MAP),
    ],
)
def test_layout_is_that_of_the_network(
    x: NDArray[np.float64], shape: tuple[int, ...], expected: NDArray[np.float64]
) -> None:
    shaped = Dataset(name="d", x=x, y=None, pixels=True).shaped(shape)
    assert shaped.pixels
    assert shaped.x.shape == (2, *shape)
    assert (shaped.x == expected).all()


@pytest.mark.parametrize("shape", [(3, 5, 4), (3, 4, 6), (61,), (3, 20), (5, 4, 3)])
def test_wrong_size_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(MappingError) as error:
        Dataset(name="d", x=MAP, y=None).shaped(shape)
    assert str(error.value) == (
        f"Data d have samples of shape (3, 4, 5), the network wants {shape}; store samples of shape "
        f"{shape} as x."
    )


FORMS = (
    "Data must be digits, digits:train, digits:all, mnist:DIR, mnist:DIR:train, the same with "
    "fashion or kmnist, or a file ending in .npz or .aedat4, not "
)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("cifar", f"{FORMS}'cifar'."),
        ("mnist", f"{FORMS}'mnist'."),
        ("digits:odd", "Part of the digits must be test, train or all, not 'odd'."),
        ("mnist:", "Data of mnist must be mnist:DIR, mnist:DIR:test or mnist:DIR:train, not 'mnist:'."),
        (
            "fashion:a:valid",
            (
                "Data of fashion must be fashion:DIR, fashion:DIR:test or fashion:DIR:train, "
                "not 'fashion:a:valid'."
            ),
        ),
        ("none.npz", "Data file none.npz cannot be read: No such file or directory."),
    ],
)
def test_unknown_data_are_refused(source: str, message: str) -> None:
    with pytest.raises(MappingError) as error:
        load_data(source)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"z": [1.0]},
            (
                "Data file {} has no array x, only z; store the samples under that name, and labels as y, "
                "with numpy.savez('data.npz', x=samples, y=labels)."
            ),
        ),
        ({"x": np.zeros((0, 4))}, "Array x of {} must hold numbers, one row per sample, not float64 (0, 4)."),
        ({"x": [1.0, 2.0]}, "Array x of {} must hold numbers, one row per sample, not float64 (2,)."),
        ({"x": [["a"]]}, "Array x of {} must hold numbers, one row per sample, not <U1 (1, 1)."),
        ({"x": [[1.0], [np.nan]]}, "Array x of {} must be finite; sample 1 is not; leave such samples out."),
        (
            {"x": [[1.0], [2.0]], "y": [1]},
            (
                "Array y of {} must hold 2 integer labels, not int64 (1,); give one integer a sample, or "
                "leave y out."
            ),
        ),
        (
            {"x": [[1.0]], "y": [0.5]},
            (
                "Array y of {} must hold 1 integer labels, not float64 (1,); leave them out where there are "
                "no classes."
            ),
        ),
    ],
)
def test_unusable_npz_is_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    source = npz(tmp_path, **arrays)
    with pytest.raises(MappingError) as error:
        load_data(source)
    assert str(error.value) == message.format(source)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "foreign": lambda data: b"PK" + data[2:40],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_npz_is_one_sentence(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    file = Path(npz(tmp_path, x=IMAGES, y=LABELS))
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(MappingError, match=r"^Data file .* is no npz file of plain arrays: .*\.$"):
        load_data(str(file))


@pytest.mark.parametrize("name", ["mnist", "fashion"])
def test_published_files_are_read(name: str) -> None:
    folder = Path(os.environ.get("SPIKELOOM_DATA", "")) / name
    if "SPIKELOOM_DATA" not in os.environ or not folder.is_dir():
        pytest.skip(f"SPIKELOOM_DATA names no folder with {name}")
    data = load_data(f"{name}:{folder}")
    assert data.x.shape == (10000, 28, 28)
    assert data.y is not None
    assert np.bincount(data.y).min() > 800
