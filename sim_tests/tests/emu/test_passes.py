# SPDX-License-Identifier: Apache-2.0
"""The file of several images: equal images give equal bytes, and nothing damaged becomes passes."""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from emu import container, passes
from emu.container import PASSES_FORMAT, load_image, save_image
from emu.image import ImageError, SystemImage
from emu.passes import holds_passes, load_images, save_images
from emu.spec import PRESETS, SystemSpec
from sim_tests.generators.systems import make_core, make_system

AGAIN = "; write the passes again with 'spikeloom compile --passes'."
Members = dict[str, bytes]


def image(bias: int, width: int = 2) -> SystemImage:
    chip = SystemSpec(core=PRESETS["tiny"], width=width, height=1)
    return make_system(chip, make_core(np.eye(3, dtype=np.int8), bias=bias), *[None] * (width - 1))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_images([image(1), image(2)], tmp_path / "two.spikeloom")
    return tmp_path / "two.spikeloom"


def members(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, content: Members, **more: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**content, **more}.items():
            archive.writestr(name, data)
    return path


def told(*images: bytes, form: str = PASSES_FORMAT) -> bytes:
    return json.dumps(
        {"format": form, "passes": [hashlib.sha256(data).hexdigest() for data in images]}
    ).encode()


def test_images_come_back_in_order(path: Path) -> None:
    assert [one.digest for one in load_images(path)] == [image(1).digest, image(2).digest]
    assert holds_passes(path)


def test_same_images_give_the_same_bytes(path: Path, tmp_path: Path) -> None:
    save_images(load_images(path), tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_a_pass_is_the_file_of_an_image(path: Path, tmp_path: Path) -> None:
    save_image(image(2), tmp_path / "one")
    assert members(path)["pass/1.spikeloom"] == (tmp_path / "one").read_bytes()
    assert not holds_passes(tmp_path / "one")


def test_passes_are_no_image(path: Path) -> None:
    message = "it holds the passes of a network and not one image; use run, verify or verilog."
    with pytest.raises(ImageError, match=re.escape(message)):
        load_image(path)


def swap(content: Members) -> Members:
    return {**content, "pass/0.spikeloom": content["pass/1.spikeloom"]}


def without(name: str) -> Callable[[Members], Members]:
    return lambda content: {key: data for key, data in content.items() if key != name}


def with_meta(data: bytes) -> Callable[[Members], Members]:
    return lambda content: {**content, "meta.json": data}


def broken(content: Members) -> Members:
    return {
        **content,
        "pass/1.spikeloom": b"no zip",
        "meta.json": told(content["pass/0.spikeloom"], b"no zip"),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (swap, r"pass 0 must have the digest '[0-9a-f]{64}', not [0-9a-f]{64}" + re.escape(AGAIN)),
        (without("pass/1.spikeloom"), "member pass/1.spikeloom is missing"),
        (without("meta.json"), "member meta.json is missing, so it is no spikeloom image"),
        (with_meta(b"{"), r"meta\.json must be JSON"),
        (with_meta(told()), r"passes must be 1\.\.4096, not 0" + re.escape(AGAIN)),
        (with_meta(told(b"a")), "member pass/1.spikeloom does not belong to passes" + re.escape(AGAIN)),
        (with_meta(told(form="spikeloom.passes/9")), "use the version of spikeloom that wrote it"),
        (with_meta(b'{"format": "spikeloom.passes/1", "passes": 3}'), "passes in meta.json must be a list"),
        (broken, r"two\.spikeloom/pass/1\.spikeloom: not a whole zip file"),
        (lambda content: {**content, "x": b""}, "member x does not belong to passes"),
    ],
)
def test_damaged_file_is_refused_in_one_sentence(
    change: Callable[[Members], Members], message: str, path: Path
) -> None:
    write(path, change(members(path)))
    with pytest.raises(ImageError, match=message) as error:
        load_images(path)
    assert str(error.value).endswith(".")


def test_cut_file_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])
    for read in (load_images, holds_passes):
        with pytest.raises(ImageError, match="not a whole zip file"):
            read(path)


def test_passes_of_unlike_chips_are_refused(tmp_path: Path) -> None:
    message = re.escape(f"Pass 1 must be of the same chip as pass 0{AGAIN}")
    with pytest.raises(ImageError, match=message):
        save_images([image(1), image(2, width=3)], tmp_path / "x")
    data = []
    for one in (image(1), image(2, width=3)):
        stream = io.BytesIO()
        container.write_image(one, stream)
        data.append(stream.getvalue())
    names = {f"pass/{at}.spikeloom": part for at, part in enumerate(data)}
    with pytest.raises(ImageError, match=message):
        load_images(write(tmp_path / "y", {"meta.json": told(*data), **names}))


def test_no_pass_and_too_many_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImageError, match=re.escape(f"Passes must be 1..4096, not 0{AGAIN}")):
        save_images([], tmp_path / "x")
    monkeypatch.setattr(passes, "MOST_PASSES", 1)
    with pytest.raises(ImageError, match=re.escape(f"Passes must be 1..1, not 2{AGAIN}")):
        save_images([image(1), image(2)], tmp_path / "x")


def test_all_passes_share_the_limit_of_one_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    for data in (members(path)["pass/0.spikeloom"], members(path)["pass/1.spikeloom"]):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            own = {info.filename: info.file_size for info in archive.infolist()}
            sizes.append(sum(own.values()) + 3 * own["crossbar/cells.npy"])
    monkeypatch.setattr(passes, "LIMIT_BYTES", sum(sizes))
    assert len(load_images(path)) == 2
    monkeypatch.setattr(passes, "LIMIT_BYTES", sum(sizes) - 1)
    with pytest.raises(ImageError, match=f"members must not hold more than {sizes[1] - 1} bytes"):
        load_images(path)
    monkeypatch.setattr(passes, "LIMIT_BYTES", sum(sizes))
    images = load_images(path)
    save_images(images, path)
    monkeypatch.setattr(passes, "LIMIT_BYTES", sum(sizes) - 1)
    with pytest.raises(ImageError, match=f"more than {sizes[1] - 1} bytes, not {sizes[1]}; use fewer digits"):
        save_images(images, path.with_name("other"))
    assert list(path.parent.iterdir()) == [path]
