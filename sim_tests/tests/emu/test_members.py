# SPDX-License-Identifier: Apache-2.0
"""A file has of each field what all cores have, one after the other, and no wrong count becomes an image."""

import hashlib
import io
import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emu.container import load_image, save_image
from emu.image import FIELDS, ImageError, SystemImage
from emu.spec import PRESETS, SystemSpec
from sim_tests.generators.systems import make_core, make_system, random_system

SPEC = SystemSpec(core=PRESETS["tiny"], width=3, height=1)
CELLS = np.eye(4, 3, dtype=np.int8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "small.spikeloom"
    image = make_system(SPEC, make_core(CELLS), None, make_core(CELLS.copy(), bias=2))
    save_image(image, file)
    return file


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def fields_of(image: SystemImage) -> list[Any]:
    """Return all that the programs of an image are."""
    return [core and {name: getattr(core, name).tolist() for name in FIELDS} for core in image.cores]


def test_file_holds_what_its_page_says(tmp_path: Path, seed: int) -> None:
    """The members are put together as `docs/reference/image.md` says, one core after the other."""
    image, _ = random_system(seed)
    save_image(image, tmp_path / "a")
    found = {name: io.BytesIO(data) for name, data in members(tmp_path / "a").items() if name != "meta.json"}
    arrays = {name.removesuffix(".npy"): np.load(data) for name, data in found.items()}
    lists = sorted(set(FIELDS) - {"crossbar", "extension"})
    packed = arrays["crossbar/cells"].tolist()
    crossbars = []
    for lines, columns in arrays["crossbar/shape"].tolist():
        taken = [packed.pop(0) for _ in range(-(-lines * columns // 4))]
        cells = [(0, 1, None, -1)[byte >> 2 * place & 3] for byte in taken for place in range(4)]
        crossbars.append([[cells.pop(0) for _ in range(columns)] for _ in range(lines)])
        assert not any(cells)
    assert packed == []
    for number, at in enumerate(arrays["core/at"].tolist()):
        core = image.cores[at]
        assert core is not None
        assert core.extension == arrays["core/extension"][number]
        assert core.crossbar.tolist() == crossbars[arrays["core/crossbar"][number]]
        for name, rows in zip(lists, arrays["core/rows"][number], strict=True):
            if f"core/{name}" not in arrays:
                assert rows == 0
                assert not getattr(core, name).any()
                continue
            assert getattr(core, name).tolist() == arrays[f"core/{name}"][:rows].tolist()
            arrays[f"core/{name}"] = arrays[f"core/{name}"][rows:]
    assert not any(len(arrays[f"core/{name}"]) for name in lists if f"core/{name}" in arrays)


@pytest.mark.parametrize("name", ["v0", "potential", "current", "refractory", "profile", "shifts"])
def test_field_that_is_zero_throughout_has_no_member(name: str, path: Path, tmp_path: Path) -> None:
    member = f"core/{name}.npy"
    assert member not in members(path)
    image = load_image(path)
    values = np.ones(4 if name == "shifts" else 3, np.int64)
    one = make_core(CELLS, **{name: values}) if name != "profile" else make_core(CELLS)
    if name == "profile":
        one = replace(one, profile=values.astype(np.int32), profiles=np.repeat(one.profiles, 2, axis=0))
    save_image(make_system(SPEC, image.cores[0], one, None), tmp_path / "one")
    assert member in members(tmp_path / "one")
    read = load_image(tmp_path / "one").cores
    assert [getattr(core, name).any() for core in read if core is not None] == [False, True]


def test_member_that_is_there_for_some_rows_is_missed(tmp_path: Path) -> None:
    """A member may be absent only if the table of rows says that it has none."""
    file = tmp_path / "one"
    save_image(make_system(SPEC, make_core(CELLS, v0=[1, 0, 0]), None, None), file)
    content = members(file)
    del content["core/v0.npy"]
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    with pytest.raises(ImageError, match=r"member core/v0\.npy is missing"):
        load_image(file)


def test_image_without_a_program_round_trip(tmp_path: Path) -> None:
    image = make_system(SPEC, None, None, None)
    save_image(image, tmp_path / "a")
    assert fields_of(load_image(tmp_path / "a")) == fields_of(image)


def test_members_are_as_many_whatever_the_number_of_cores(path: Path, tmp_path: Path) -> None:
    wide = make_system(replace(SPEC, width=40), *[make_core(CELLS)] * 40)
    save_image(wide, tmp_path / "wide")
    assert list(members(tmp_path / "wide")) == list(members(path))
    assert len(members(tmp_path / "wide")["core/bias.npy"]) == 128 + 40 * 3 * 8
    assert fields_of(load_image(tmp_path / "wide")) == fields_of(wide)


def test_members_look_the_same_on_every_system(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        facts = {
            (i.date_time, i.external_attr >> 16, i.create_system, i.compress_type) for i in archive.infolist()
        }
    assert facts == {((1980, 1, 1, 0, 0, 0), 0o644, 3, zipfile.ZIP_DEFLATED)}


def test_equal_crossbars_are_stored_once(path: Path) -> None:
    assert np.load(io.BytesIO(members(path)["crossbar/shape.npy"])).tolist() == [[4, 3]]
    image = load_image(path)
    assert image.cores[0] is not None
    assert image.cores[2] is not None
    assert image.cores[0].crossbar is image.cores[2].crossbar


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("core/at", [0, 3], "member core/at.npy must hold 0..2, not 3"),
        ("core/at", [2, 0], "member core/at.npy must name cores in ascending order"),
        ("core/at", [1, 1], "member core/at.npy must name cores in ascending order"),
        ("core/crossbar", [0, -1], "member core/crossbar.npy must hold 0..0, not -1"),
        ("core/crossbar", [0, 1], "member core/crossbar.npy must hold 0..0, not 1"),
        ("core/crossbar", [0], "member core/crossbar.npy must have the shape (2,), not (1,)"),
        ("crossbar/shape", [[4, 2]], "member crossbar/cells.npy must have 2 rows, not 3"),
        ("crossbar/shape", [[6, 2]], "crossbar must have at most a line for each of the 4 axons, not 6."),
        ("crossbar/shape", [4, 3, 4], "member crossbar/shape.npy must have 2 dimensions, not 1"),
        ("core/rows", [[1] * 18], "member core/rows.npy must have the shape (2, 18), not (1, 18)"),
        ("core/rows", [[-1] * 18] * 2, "member core/rows.npy must hold 0..2147483647, not -1"),
    ],
)
def test_wrong_counts_are_refused(path: Path, name: str, array: Any, message: str) -> None:
    """The digest is that of the altered member, as somebody who knows the format would write it."""
    content, buffer = members(path), io.BytesIO()
    np.save(buffer, np.array(array, np.int32))
    content[f"{name}.npy"] = buffer.getvalue()
    meta = json.loads(content["meta.json"])
    meta["members"][f"{name}.npy"] = hashlib.sha256(buffer.getvalue()).hexdigest()
    content["meta.json"] = json.dumps(meta).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in content.items():
            archive.writestr(member, data)
    with pytest.raises(ImageError, match=f"^{re.escape(f'{path}: {message}')}"):
        load_image(path)
