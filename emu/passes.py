# SPDX-License-Identifier: Apache-2.0
"""The file of several images of one chip, loaded one after the other (`docs/reference/passes.md`).

It is read as untrusted input, as that of one image is (`emu.container`).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

from emu.archive import replaced, write_member
from emu.container import (
    LIMIT_BYTES,
    PASSES_FORMAT,
    Reader,
    meta_of,
    opened,
    read_image,
    require_room,
    write_image,
)
from emu.image import ImageError, SystemImage

__all__ = ["MOST_PASSES", "holds_passes", "load_images", "save_images"]

MOST_PASSES = 4096
"""Most passes of a file."""

_META = "meta.json"
_WAY_OUT = "; write the passes again with 'spikeloom compile --passes'"


def save_images(images: Sequence[SystemImage], path: str | os.PathLike[str]) -> None:
    """Write the passes of a network to a file, whole or not at all; the same images give the same bytes.

    Raises
    ------
    ImageError
        If an image cannot be stored, there is none or there are too many, or they are not of one chip.
    OSError
        If the folder cannot be written.
    """
    _require_one_chip(images)
    members, left = {}, LIMIT_BYTES
    for number, image in enumerate(images):
        stream = io.BytesIO()
        left -= write_image(image, stream, left)
        members[_name(number)] = stream.getvalue()
    require_room(sum(map(len, members.values())), LIMIT_BYTES)
    digests = [hashlib.sha256(data).hexdigest() for data in members.values()]
    meta = json.dumps({"format": PASSES_FORMAT, "passes": digests}, indent=1).encode()
    with replaced(Path(path)) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {_META: meta, **members}.items():
            write_member(archive, name, data, zipfile.ZIP_STORED)


def load_images(path: str | os.PathLike[str]) -> tuple[SystemImage, ...]:
    """Read the passes of a network from a file that may come from anywhere: nothing in it is executed.

    Raises
    ------
    ImageError
        If the file or an image in it is damaged or breaks a limit, or the images are not of one chip.
    FileNotFoundError
        If there is no such file.
    """
    source = Path(path)
    with source.open("rb") as stream, opened(stream, source) as archive:
        reader = Reader(source, archive)
        digests = meta_of(reader, PASSES_FORMAT, {"passes": list})["passes"]
        if not 1 <= len(digests) <= MOST_PASSES:
            raise reader.error(f"passes must be 1..{MOST_PASSES}, not {len(digests)}{_WAY_OUT}")
        foreign = sorted(set(reader.sizes) - {_META, *map(_name, range(len(digests)))})
        if foreign:
            raise reader.error(f"member {foreign[0]} does not belong to passes{_WAY_OUT}")
        images, left = [], LIMIT_BYTES
        for number, digest in enumerate(digests):
            data = reader.read(_name(number))
            found = hashlib.sha256(data).hexdigest()
            if found != digest:
                raise reader.error(f"pass {number} must have the digest {digest!r}, not {found}{_WAY_OUT}")
            inner = source / _name(number)
            with opened(io.BytesIO(data), inner) as members:
                one = Reader(inner, members, left)
                images.append(read_image(one))
            left -= one.total
    _require_one_chip(images)
    return tuple(images)


def holds_passes(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file says that it holds passes; whether they are sound is for `load_images`."""
    source = Path(path)
    with source.open("rb") as stream, opened(stream, source) as archive:
        return _name(0) in archive.namelist()


def _name(number: int) -> str:
    return f"pass/{number}.spikeloom"


def _require_one_chip(images: Sequence[SystemImage]) -> None:
    """Demand images that can be loaded into one chip after each other."""
    if not 1 <= len(images) <= MOST_PASSES:
        raise ImageError(f"Passes must be 1..{MOST_PASSES}, not {len(images)}{_WAY_OUT}.")
    other = next((at for at, image in enumerate(images) if image.spec != images[0].spec), None)
    if other is not None:
        raise ImageError(f"Pass {other} must be of the same chip as pass 0{_WAY_OUT}.")
