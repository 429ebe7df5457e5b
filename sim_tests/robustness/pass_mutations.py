# SPDX-License-Identifier: Apache-2.0
"""Damaged files of passes."""

import hashlib
import io
import json
import zipfile

from sim_tests.robustness.mutations import Rng, damage_archive, damage_json

__all__ = ["damage_passes"]


def damage_passes(data: bytes, rng: Rng) -> bytes:
    """Return passes of which one has a member changed, or that are another number or in another order.

    Their digests are made to fit again.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = sorted(set(archive.namelist()) - {"meta.json"})
        meta, parts = json.loads(archive.read("meta.json")), [archive.read(name) for name in names]
    kind, at = int(rng.integers(5)), int(rng.integers(len(parts)))
    if kind == 0:
        parts[at] = parts[int(rng.integers(len(parts)))]
    elif kind == 1:
        del parts[at]
    else:
        parts[at] = damage_archive(parts[at], rng)
    told = json.dumps({**meta, "passes": [hashlib.sha256(part).hexdigest() for part in parts]}).encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("meta.json", damage_json(told, rng) if rng.random() < 0.1 else told)
        for number, part in enumerate(parts):
            archive.writestr(f"pass/{number}.spikeloom", part)
    return stream.getvalue()
