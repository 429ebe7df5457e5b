# SPDX-License-Identifier: Apache-2.0
"""The file of an image (`docs/reference/image.md`): written whole or not at all, read as untrusted input."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from emu.archive import packed, replaced, write_array, write_member
from emu.bits import CELLS_A_BYTE, unpacked_cells
from emu.errors import clause, printable
from emu.image import FIELDS, CoreImage, ImageError, SystemImage
from emu.members import CELLS, CORE_FIELDS, LISTS, OPTIONAL, members_of, packed_sizes, tables_of
from emu.spec import SystemSpec

__all__ = [
    "FORMAT",
    "LIMIT_BYTES",
    "PASSES_FORMAT",
    "Reader",
    "load_image",
    "meta_of",
    "opened",
    "read_image",
    "require_room",
    "save_image",
    "write_image",
]

FORMAT = "spikeloom.image/5"
"""Name and version of the file format."""

PASSES_FORMAT = "spikeloom.passes/1"
"""Name and version of a file of several images, see `emu.passes`."""

LIMIT_BYTES = 4 << 30
"""Most bytes that a file may hold, see `unpacked`."""

_META = "meta.json"
_META_LIMIT = 16 << 20
_WAY_OUT = "; write the image again with 'spikeloom compile'"

_HEADER_ERRORS = (
    ValueError,
    TypeError,
    SyntaxError,
    TokenError,
    RecursionError,
    MemoryError,
    OverflowError,
    Warning,
)
"""What numpy's reader of array headers raises on damaged ones."""

_ZIP_ERRORS = (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, RuntimeError, OSError)
"""What the reader of zip files raises on damaged ones; a seek to nowhere is an ``OSError``, a method
that it does not know a ``RuntimeError``."""

Array = NDArray[Any]
_MOST_ROWS = 1 << 31


def _meta(image: SystemImage, digest: str, members: Mapping[str, str]) -> bytes:
    meta = {
        "format": FORMAT,
        "spec": image.spec.to_dict(),
        "meta": dict(image.meta),
        "image_digest": digest,
        "members": dict(members),
    }
    try:
        return json.dumps(meta, sort_keys=True, indent=1, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ImageError(f"The meta of an image must be JSON data: {clause(error)}.") from error


def _unpacked(sizes: Mapping[str, int]) -> int:
    """Return the bytes that members of some sizes hold; each cell of a crossbar is one where it is used."""
    return sum(sizes.values()) + (CELLS_A_BYTE - 1) * sizes.get(f"{CELLS}.npy", 0)


_SMALLER = "use fewer digits, or a smaller mesh, which leaves layers to the host"


def require_room(found: int, most: int, noun: str = "bytes", way_out: str = _SMALLER) -> None:
    """Refuse to write what the reader of a file would refuse for its size."""
    if found > most:
        raise ImageError(f"An image file must not hold more than {most} {noun}, not {found}; {way_out}.")


def save_image(image: SystemImage, path: str | os.PathLike[str]) -> None:
    """Write an image to a file; the same image gives the same bytes. Equal crossbars are stored once.

    Parameters
    ----------
    image : SystemImage
        What to write.
    path : str or os.PathLike[str]
        The file, usually ``*.spikeloom``. It is replaced only when everything has been written; its folder is
        made if it is missing.

    Raises
    ------
    ImageError
        If metadata or an attachment cannot be stored, or `load_image` would refuse the file for its size.
    OSError
        If the folder cannot be written.
    """
    with replaced(Path(path)) as stream:
        write_image(image, stream)


def write_image(image: SystemImage, stream: IO[bytes], limit: int | None = None) -> int:
    """Write the file of an image to a stream, and return the bytes that it holds.

    ``limit`` is the most that they may be, by default `LIMIT_BYTES`; nothing is written of a larger one.
    """
    members, digest = list(members_of(image)), hashlib.sha256().hexdigest()
    sizes = {member.file: member.bytes for member in members}
    sizes[_META] = len(_meta(image, digest, dict.fromkeys(sizes, digest)))  # all digests have one length
    require_room(sizes[_META], _META_LIMIT, "bytes of metadata", "give it less meta")
    require_room(total := _unpacked(sizes), LIMIT_BYTES if limit is None else limit)
    with ThreadPoolExecutor(1) as other, packed(stream) as archive:
        whole = other.submit(lambda: image.digest)  # takes as long as the members do
        digests = {member.file: write_array(archive, member) for member in members}
        write_member(archive, _META, _meta(image, whole.result(), digests), zipfile.ZIP_DEFLATED)
    return total


class Reader:
    """The members of one file, each read at most once, checked against its digest."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, limit: int | None = None) -> None:
        self.path = path
        self.archive = archive
        self.sizes: dict[str, int] = {}
        for info in archive.infolist():
            if info.filename in self.sizes:
                raise self.error(f"member {info.filename} is there twice{_WAY_OUT}")
            self.sizes[info.filename] = info.file_size
        self.total = _unpacked(self.sizes)
        limit = LIMIT_BYTES if limit is None else limit
        if self.total > limit:
            raise self.error(
                f"members must not hold more than {limit} bytes, not {self.total}; it is no image"
            )
        self.digests: dict[str, str] = {}

    def error(self, what: str) -> ImageError:
        """Return an error that names the file; ``what`` is a clause, without its full stop."""
        return ImageError(f"{self.path}: {what}.")

    def read(self, name: str) -> bytes:
        """Return a member's bytes."""
        if name not in self.sizes:
            raise self.error(f"member {name} is missing{_WAY_OUT}")
        with self.archive.open(name) as member:
            data = member.read(self.sizes[name] + 1)
        if len(data) != self.sizes[name]:
            raise self.error(f"member {name} must have {self.sizes[name]} bytes, not {len(data)}{_WAY_OUT}")
        return data

    def array(self, name: str, dtype: str | None = None, dimensions: int | None = None) -> Array:
        """Return an array member after its digest, header, dtype, dimensions and length have been checked."""
        data = self.read(name)
        digest = hashlib.sha256(data).hexdigest()
        if digest != self.digests.get(name):
            raise self.error(
                f"member {name} must have the digest {self.digests.get(name)}, not {digest}{_WAY_OUT}"
            )
        buffer = io.BytesIO(data)
        try:
            version = npy.read_magic(buffer)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                shape, fortran, found = npy.read_array_header_1_0(buffer)
        except _HEADER_ERRORS as error:
            raise self.error(f"member {name} must be an npy array ({_short(error)}){_WAY_OUT}") from error
        if version != (1, 0):
            raise self.error(f"member {name} must be npy version (1, 0), not {version}{_WAY_OUT}")
        if found.hasobject or found.kind not in "biufSU":
            raise self.error(f"member {name} must hold plain numbers or text, not {found}{_WAY_OUT}")
        if dtype is not None and found != np.dtype(dtype):
            raise self.error(f"member {name} must be {dtype}, not {found}{_WAY_OUT}")
        if dimensions is not None and len(shape) != dimensions:
            raise self.error(f"member {name} must have {dimensions} dimensions, not {len(shape)}{_WAY_OUT}")
        left = len(data) - buffer.tell()
        if (
            found.itemsize == 0
            or min(shape, default=1) < 0
            or np.prod(shape, dtype=object) * found.itemsize != left
        ):
            raise self.error(f"member {name} must hold {shape} values of {found}, not {left} bytes{_WAY_OUT}")
        return np.frombuffer(data, found, offset=buffer.tell()).reshape(shape, order="F" if fortran else "C")


def meta_of(reader: Reader, wanted: str, kinds: Mapping[str, type]) -> dict[str, Any]:
    """Return the metadata of a file of a format, whose values are of these kinds."""
    if reader.sizes.get(_META, 0) > _META_LIMIT:
        raise reader.error(
            f"{_META} must have at most {_META_LIMIT} bytes, not {reader.sizes[_META]}; it is no image"
        )
    if _META not in reader.sizes:
        raise reader.error(
            f"member {_META} is missing, so it is no spikeloom image; choose a .spikeloom file"
        )
    try:
        meta = json.loads(reader.read(_META))
    except (ValueError, RecursionError) as error:
        raise reader.error(f"{_META} must be JSON ({clause(error)}){_WAY_OUT}") from error
    found = meta.get("format") if isinstance(meta, dict) else None
    if found == PASSES_FORMAT != wanted:
        raise reader.error("it holds the passes of a network and not one image; use run, verify or verilog")
    if found != wanted:
        raise reader.error(
            f"format must be {wanted!r}, not {found!r}; use the version of spikeloom that wrote it"
        )
    for name, kind in kinds.items():
        if not isinstance(meta.get(name), kind):
            raise reader.error(
                f"{name} in {_META} must be a {kind.__name__}, not {meta.get(name)!r}{_WAY_OUT}"
            )
    return dict(meta)


def _indices(reader: Reader, name: str, sizes: tuple[int | None, ...], most: int) -> Array:
    """Return a member of int32 0 .. most - 1, of a shape or, where it is None, of any size."""
    array = reader.array(name, "int32", len(sizes))
    shape = tuple(found if size is None else size for size, found in zip(sizes, array.shape, strict=True))
    if array.shape != shape:
        raise reader.error(f"member {name} must have the shape {shape}, not {array.shape}{_WAY_OUT}")
    wrong = array[(array < 0) | (array >= most)]
    if wrong.size:
        raise reader.error(f"member {name} must hold 0..{most - 1}, not {wrong[0]}{_WAY_OUT}")
    return array.astype(np.int64)


def _parts(reader: Reader, name: str, dtype: str, dimensions: int, sizes: Array) -> list[Array]:
    """Return what a member holds one after the other, each with so many rows."""
    array, ends = reader.array(name, dtype, dimensions), np.cumsum(sizes).tolist()
    if len(array) != sum(sizes.tolist()):
        raise reader.error(f"member {name} must have {sum(sizes.tolist())} rows, not {len(array)}{_WAY_OUT}")
    return [array[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


def _cores(reader: Reader, count: int) -> tuple[CoreImage | None, ...]:
    """Return the programs of so many cores; those that have the same crossbar share its array."""
    at = _indices(reader, "core/at.npy", (None,), count)
    if (np.diff(at) < 1).any():
        raise reader.error(f"member core/at.npy must name cores in ascending order{_WAY_OUT}")
    rows = _indices(reader, "core/rows.npy", (len(at), len(LISTS)), _MOST_ROWS)
    sizes = dict(zip(LISTS, rows.T, strict=True))
    fields: dict[str, list[Array]] = {}
    for name in CORE_FIELDS:
        member, (dtype, dimensions) = f"core/{name}.npy", FIELDS[name]
        if name in OPTIONAL and member not in reader.sizes and not sizes[name].any():
            continue  # zero throughout
        one = np.ones(len(at), np.int64)
        parts = _parts(reader, member, dtype, max(dimensions, 1), sizes.get(name, one))
        fields[name] = parts if dimensions else [part.reshape(()) for part in parts]
    crossbars = _crossbars(reader)
    chosen = _indices(reader, "core/crossbar.npy", (len(at),), len(crossbars)).tolist()
    cores: list[CoreImage | None] = [None] * count
    for index, number, values in zip(at.tolist(), chosen, zip(*fields.values(), strict=True), strict=True):
        named = dict(zip(fields, values, strict=True))
        cores[index] = CoreImage(crossbar=crossbars[number], **named)
    return tuple(cores)


def _crossbars(reader: Reader) -> list[Array]:
    """Return all crossbars."""
    shapes = _indices(reader, "crossbar/shape.npy", (None, 2), _MOST_ROWS)
    each = _parts(reader, f"{CELLS}.npy", "uint8", 1, packed_sizes(shapes))
    cells = zip(each, shapes.tolist(), strict=True)
    return [unpacked_cells(part)[: math.prod(shape)].reshape(shape) for part, shape in cells]


def read_image(reader: Reader) -> SystemImage:
    """Return the image that the members of a file are."""
    kinds = {"spec": dict, "meta": dict, "image_digest": str, "members": dict}
    meta = meta_of(reader, FORMAT, kinds)
    reader.digests = meta["members"]
    foreign = sorted(set(reader.sizes) - set(reader.digests) - {_META})
    if foreign:
        raise reader.error(f"member {foreign[0]} does not belong to an image{_WAY_OUT}")
    try:
        spec = SystemSpec.from_dict(meta["spec"])
    except (TypeError, ValueError, KeyError) as error:
        raise reader.error(f"spec in {_META} is wrong: {clause(error)}{_WAY_OUT}") from error
    tables = {
        attribute: reader.array(f"{member}.npy", "int32", 2 if member == "inputs/packet" else 1)
        for member, attribute in tables_of(spec).items()
    }
    prefix, suffix = "attachment/", ".npy"
    attached = [name for name in reader.sizes if name.startswith(prefix)]
    try:
        image = SystemImage(
            spec=spec,
            cores=_cores(reader, spec.cores),
            meta=meta["meta"],
            attachments={
                name.removeprefix(prefix).removesuffix(suffix): reader.array(name) for name in attached
            },
            **tables,
        )
    except ImageError as error:
        if str(error).startswith(printable(str(reader.path))):
            raise
        raise reader.error(clause(error)) from error
    if image.digest != meta["image_digest"]:
        raise reader.error(f"image_digest must be {meta['image_digest']}, not {image.digest}{_WAY_OUT}")
    return image


def load_image(path: str | os.PathLike[str]) -> SystemImage:
    """Read an image from a file that may come from anywhere: nothing in it is executed.

    Parameters
    ----------
    path : str or os.PathLike[str]
        A file written by `save_image`.

    Raises
    ------
    ImageError
        If the file is truncated, foreign, of another version, too large, incomplete or altered, or the image
        in it breaks a limit of the machine. One sentence: file, what, value, way out.
    FileNotFoundError
        If there is no such file.
    """
    source = Path(path)
    with source.open("rb") as stream, opened(stream, source) as archive:
        return read_image(Reader(source, archive))


@contextlib.contextmanager
def opened(stream: IO[bytes], source: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip file that may be damaged; errors name ``source``.

    A file that is cut within may end as a zip of its own that was a member: that does not begin with it.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            if min((info.header_offset for info in archive.infolist()), default=0):
                raise zipfile.BadZipFile("it does not begin with its first member")
            yield archive
    except zlib.error as error:
        raise ImageError(f"{source}: damaged data ({error}){_WAY_OUT}.") from error
    except _ZIP_ERRORS as error:
        raise ImageError(
            f"{source}: not a whole zip file ({_short(error)}), so no image can be read{_WAY_OUT}."
        ) from error


def _short(error: Exception) -> str:
    """Return the beginning of a message that may quote the file."""
    text = str(error).partition("\n")[0]
    return text if len(text) <= 100 else f"{text[:97]}..."
