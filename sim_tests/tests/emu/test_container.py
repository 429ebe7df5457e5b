# SPDX-License-Identifier: Apache-2.0
"""The image file: the same image gives the same bytes, and no damaged or hostile file becomes an image."""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emu import container
from emu.container import FORMAT, load_image, save_image
from emu.image import FIELDS, ImageError, SystemImage
from emu.spec import PRESETS, SystemSpec
from sim_tests.generators.systems import make_core, make_system, random_system

SPEC = SystemSpec(core=PRESETS["tiny"], width=3, height=1)
Members = dict[str, bytes]


def small_image() -> SystemImage:
    """Two cores with equal crossbars, one disabled, tables, metadata, and an attachment."""
    cells = np.eye(4, 3, dtype=np.int8)
    image = make_system(SPEC, make_core(cells), None, make_core(cells.copy(), bias=2))
    return image.replace(
        input_element=[0, 0, 1],
        input_packet=[[0, 0, 0, 0, 1], [2, 2, 0, 0, 1], [0, 2, 0, 0, 3]],
        output_element=[1, -1, 0],
        meta={"name": "small", "timesteps": 4},
        attachments={"head/weight": np.arange(6.0, dtype=np.float32).reshape(2, 3)},
    )


def members(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, content: Members) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def assert_equal_images(left: SystemImage, right: SystemImage) -> None:
    assert left.digest == right.digest
    assert left.spec == right.spec
    assert left.meta == right.meta
    for a, b in zip(left.cores, right.cores, strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            assert all(np.array_equal(getattr(a, name), getattr(b, name)) for name in FIELDS)
    for name in ("input_element", "input_packet", "output_element"):
        assert np.array_equal(getattr(left, name), getattr(right, name))
    assert set(left.attachments) == set(right.attachments)
    assert all(np.array_equal(left.attachments[name], right.attachments[name]) for name in left.attachments)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "small.spikeloom"
    save_image(small_image(), file)
    return file


def test_image_round_trip(path: Path) -> None:
    assert_equal_images(small_image(), load_image(path))


def test_random_image_round_trip(tmp_path: Path, seed: int) -> None:
    image, _ = random_system(seed)
    save_image(image, tmp_path / "a")
    assert_equal_images(image, load_image(tmp_path / "a"))


def test_same_image_gives_same_bytes(path: Path, tmp_path: Path) -> None:
    save_image(load_image(path), tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_loaded_arrays_are_read_only(path: Path) -> None:
    image = load_image(path)
    assert not image.attachments["head/weight"].flags.writeable
    assert image.cores[0] is not None
    assert not image.cores[0].crossbar.flags.writeable


def test_save_that_fails_keeps_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def broken(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", broken)
    with pytest.raises(OSError, match="disk full"):
        save_image(small_image(), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def drop(name: str) -> Callable[[Members], None]:
    def change(content: Members) -> None:
        del content[name]

    return change


def add(name: str, data: bytes) -> Callable[[Members], None]:
    def change(content: Members) -> None:
        content[name] = data

    return change


def edit_meta(**fields: Any) -> Callable[[Members], None]:
    def change(content: Members) -> None:
        content["meta.json"] = json.dumps(json.loads(content["meta.json"]) | fields).encode()

    return change


def npy_bytes(array: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def plant(name: str, data: bytes) -> Callable[[Members], None]:
    """Replace a member and its digest, as somebody who knows the format would."""

    def change(content: Members) -> None:
        content[name] = data
        meta = json.loads(content["meta.json"])
        meta["members"][name] = hashlib.sha256(data).hexdigest()
        content["meta.json"] = json.dumps(meta).encode()

    return change


def swap(name: str, array: Any, **options: Any) -> Callable[[Members], None]:
    """Replace an array and its digest."""
    return plant(name, npy_bytes(array, **options))


def npy_of(header: str, data: bytes, version: bytes = b"\1\0") -> bytes:
    """Return an npy file with any header, whatever the data are."""
    padded = header.ljust(117) + "\n"
    return b"\x93NUMPY" + version + len(padded).to_bytes(2, "little") + padded.encode() + data


ANOTHER = "; use the version of spikeloom that wrote it."
AGAIN = "; write the image again with 'spikeloom compile'."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            drop("meta.json"),
            "member meta.json is missing, so it is no spikeloom image; choose a .spikeloom file.",
        ),
        (drop("core/bias.npy"), f"member core/bias.npy is missing{AGAIN}"),
        (drop("inputs/packet.npy"), f"member inputs/packet.npy is missing{AGAIN}"),
        (add("extra.npy", b""), f"member extra.npy does not belong to an image{AGAIN}"),
        (add("meta.json", b"{"), "meta.json must be JSON (.*)"),
        (add("meta.json", b"[" * 100000), "meta.json must be JSON (.*)"),
        (
            edit_meta(format="spikeloom.image/1"),
            f"format must be {FORMAT!r}, not 'spikeloom.image/1'{ANOTHER}",
        ),
        (
            edit_meta(format="spikeloom.image/4"),
            f"format must be 'spikeloom.image/5', not 'spikeloom.image/4'{ANOTHER}",
        ),
        (edit_meta(meta=None), f"meta in meta.json must be a dict, not None{AGAIN}"),
        (edit_meta(spec={}), f"spec in meta.json is wrong: 'core'{AGAIN}"),
        (edit_meta(image_digest="0"), f"image_digest must be 0, not {small_image().digest}{AGAIN}"),
        (
            swap("core/bias.npy", np.zeros(6, np.int32)),
            f"member core/bias.npy must be int64, not int32{AGAIN}",
        ),
        (
            swap("core/bias.npy", np.zeros((6, 1), np.int64)),
            f"member core/bias.npy must have 1 dimensions, not 2{AGAIN}",
        ),
        (
            swap("core/bias.npy", np.zeros(5, np.int64)),
            f"member core/bias.npy must have 6 rows, not 5{AGAIN}",
        ),
        (
            swap("attachment/head/weight.npy", np.array([{}], object), allow_pickle=True),
            f"member attachment/head/weight.npy must hold plain numbers or text, not object{AGAIN}",
        ),
        (
            swap("attachment/head/weight.npy", np.zeros(1, np.complex64)),
            f"member attachment/head/weight.npy must hold plain numbers or text, not complex64{AGAIN}",
        ),
        (swap("core/bias.npy", np.array([0, 0, 0, 1, 2, 2])), "image_digest must be .*"),
        (
            swap("core/bias.npy", np.array([0, 0, 0, 1, 2, 4096])),
            r"core 2 \(2, 0\): bias must be -2048..2047, not 4096.",
        ),
    ],
)
def test_altered_file(path: Path, change: Callable[[Members], None], message: str) -> None:
    content = members(path)
    change(content)
    write(path, content)
    with pytest.raises(ImageError) as caught:
        load_image(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    text = text.removeprefix(f"{path}: ")
    assert text == message or re.fullmatch(message, text, re.DOTALL)


def test_altered_member_is_found_by_its_digest(path: Path) -> None:
    content = members(path)
    content["core/bias.npy"] = npy_bytes(np.ones(3, np.int64))
    write(path, content)
    with pytest.raises(
        ImageError, match=r"member core/bias.npy must have the digest [0-9a-f]{64}, not [0-9a-f]{64}; "
    ):
        load_image(path)


WEIGHT = "attachment/head/weight.npy"
ROW = "{'descr': '<i8', 'fortran_order': False, 'shape': (1,)}"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no array", "must be an npy array "),
        (npy_bytes(np.zeros(3)).replace(b"(3,)", b"(9,)"), "must hold (9,) values of float64, not 24 bytes"),
        (npy_of(ROW.replace("(1,)", "(-2, -2)"), bytes(32)), "must hold (-2, -2) values of int64, not 32 "),
        (npy_of(ROW.replace("<i8", "|S0"), b""), "must hold (1,) values of |S0, not 0 bytes"),
        (npy_of(ROW.replace("(1,)", "(1L,)"), bytes(8)), "must be an npy array (Reading `.npy`"),
        (npy_of(ROW, bytes(8), b"\1\1"), "must be npy version (1, 0), not (1, 1)"),
    ],
)
def test_member_that_is_no_plain_array(path: Path, data: bytes, message: str) -> None:
    content = members(path)
    plant(WEIGHT, data)(content)
    write(path, content)
    with pytest.raises(ImageError, match=re.escape(f"{path}: member {WEIGHT} {message}")):
        load_image(path)


def test_array_in_the_order_of_its_columns_is_the_same_image(path: Path) -> None:
    content = members(path)
    for name in (WEIGHT, "inputs/packet.npy"):
        swap(name, np.asfortranarray(np.load(io.BytesIO(content[name]))))(content)
        assert b"'fortran_order': True" in content[name]
    write(path, content)
    assert_equal_images(load_image(path), small_image())


def test_metadata_larger_than_the_limit(path: Path) -> None:
    content = members(path)
    content["meta.json"] += b" " * (16 << 20)
    write(path, content)
    size = len(content["meta.json"])
    with pytest.raises(ImageError, match=f"meta.json must have at most 16777216 bytes, not {size}; it is no"):
        load_image(path)
    content["meta.json"] = content["meta.json"][: 16 << 20]
    write(path, content)
    assert_equal_images(load_image(path), small_image())


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        (8, b"\1\0", "File .* is encrypted"),
        (10, b"\x63\0", "That compression method"),
        (20, (1 << 20).to_bytes(4, "little") * 2, ""),
    ],
    ids=["flags", "method", "sizes beyond the end"],
)
def test_archive_that_cannot_be_unpacked(path: Path, field: int, value: bytes, why: str) -> None:
    """The field is of the central directory, at the entry of the last member, which is not compressed."""
    write(path, members(path))
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\1\2") + field
    data[at : at + len(value)] = value
    path.write_bytes(bytes(data))
    with pytest.raises(ImageError, match=rf"not a whole zip file \({why}.*\), so no image can be read"):
        load_image(path)


def test_file_larger_than_the_limit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "LIMIT_BYTES", 1000)
    with pytest.raises(
        ImageError, match=r"members must not hold more than 1000 bytes, not [0-9]+; it is no image"
    ):
        load_image(path)


def test_cell_that_is_none_is_refused(path: Path) -> None:
    content = members(path)
    swap("crossbar/cells.npy", np.array([2, 0, 0], np.uint8))(content)
    write(path, content)
    with pytest.raises(ImageError, match=r"core 0 \(0, 0\): crossbar must be -1..1, not -2."):
        load_image(path)


def test_member_twice(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("core/bias.npy", b"")
    with pytest.raises(ImageError, match=r"member core/bias.npy is there twice"):
        load_image(path)


def test_truncated_file(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(
        ImageError, match=r"not a whole zip file \(.*\), so no image can be read; write the image"
    ):
        load_image(path)


def test_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_image(tmp_path / "none")


def test_any_damage_is_an_image_error(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = path.read_bytes()
    refused = kept = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), rng.integers(1, 4)):
            damaged[at] = rng.integers(256)
        path.write_bytes(bytes(damaged))
        try:
            image = load_image(path)
        except ImageError as error:
            refused += str(error).startswith(f"{path}: ")
        else:
            assert_equal_images(image, small_image())
            kept += 1
    assert refused + kept == 300
    assert refused > 100


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"meta": {"a": {1}}},
            "The meta of an image must be JSON data: Object of type set is not JSON serializable.",
        ),
        (
            {"meta": {"a": float("nan")}},
            "The meta of an image must be JSON data: Out of range float values .*",
        ),
        (
            {"attachments": {"../x": np.zeros(1)}},
            "An attachment name must be letters, .*, not '../x'; rename it.",
        ),
        (
            {"attachments": {"x/../y": np.zeros(1)}},
            "An attachment name must be letters, .*, not 'x/../y'; rename it.",
        ),
        (
            {"attachments": {"x": np.array([None])}},
            "An array of an image must hold plain numbers or text, not object; .*",
        ),
        (
            {"attachments": {"x": np.zeros(1, np.complex64)}},
            "An array of an image must hold plain numbers or text, not complex64; .*",
        ),
    ],
)
def test_image_that_cannot_be_stored(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ImageError, match=f"^{message}$"):
        save_image(small_image().replace(**change), tmp_path / "x")
    assert not list(tmp_path.iterdir())
