# SPDX-License-Identifier: Apache-2.0
"""What is too large to be read is not written."""

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from emu import container
from emu.container import load_image, save_image
from emu.image import ImageError
from emu.spec import PRESETS, SystemSpec
from sim_tests.generators.systems import make_core, make_system

SPEC = SystemSpec(core=PRESETS["tiny"], width=3, height=1)


def sizes_of(file: Path) -> dict[str, int]:
    with zipfile.ZipFile(file) as archive:
        return {info.filename: info.file_size for info in archive.infolist()}


@pytest.mark.parametrize("columns", [3, 5])
def test_file_that_would_be_refused_for_its_size_is_not_written(
    columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a file holds are its members, and a byte for each cell where a member has four to a byte."""
    image, file = make_system(SPEC, make_core(np.ones((7, columns))), None, None), tmp_path / "a"
    save_image(image, file)
    sizes = sizes_of(file)
    assert sizes["crossbar/cells.npy"] == 128 + -(-7 * columns // 4)
    held = sum(sizes.values()) + 3 * sizes["crossbar/cells.npy"]
    file.unlink()
    monkeypatch.setattr(container, "LIMIT_BYTES", held - 1)
    message = (
        f"An image file must not hold more than {held - 1} bytes, not {held}; "
        "use fewer digits, or a smaller mesh, which leaves layers to the host."
    )
    with pytest.raises(ImageError, match=f"^{message}$"):
        save_image(image, file)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(container, "LIMIT_BYTES", held)
    save_image(image, file)
    assert load_image(file).digest == image.digest
    monkeypatch.setattr(container, "LIMIT_BYTES", held - 1)
    with pytest.raises(ImageError, match=f"members must not hold more than {held - 1} bytes, not {held}; "):
        load_image(file)


def test_metadata_that_would_be_refused_are_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = make_system(SPEC, None, None, None).replace(meta={"name": "small"})
    save_image(image, tmp_path / "a")
    size = sizes_of(tmp_path / "a")["meta.json"]
    monkeypatch.setattr(container, "_META_LIMIT", size)
    save_image(image, tmp_path / "a")
    monkeypatch.setattr(container, "_META_LIMIT", size - 1)
    message = f"more than {size - 1} bytes of metadata, not {size}; give it less meta."
    with pytest.raises(ImageError, match=re.escape(message)):
        save_image(image, tmp_path / "b")
    assert not (tmp_path / "b").exists()
