"""Example volumes of a run, which the report shows as pictures: reading and writing of `examples.npz`."""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.format import read_array_header_1_0, read_magic

from uadbench.errors import InputError
from uadbench.runtime.files import atomic_path
from uadbench.runtime.reading import Unreadable, parse_json, read_bytes
from uadbench.types import Affine, Mask, Volume

EXAMPLES = "examples.npz"
LARGEST = 1 << 30
"""Largest total size of the volumes of a file as float32, in bytes: enough for a grid of seven million voxels."""
LONGEST_TITLES, MOST_ARRAYS = 1 << 20, 1000


@dataclass(frozen=True)
class Examples:
    """Volumes of a few cases and scans, in normalised units.

    Attributes:
        volumes: Label ("case", "patient", "worst0" ...) -> name ("altered", "standard_map" ...) -> (X, Y, Z).
        titles: Label -> title of the picture, without an id.
        affine: (4, 4), voxels of the grid to MNI mm.
        brain: The brain mask on the grid, (X, Y, Z) bool.
    """

    volumes: dict[str, dict[str, Volume]]
    titles: dict[str, str]
    affine: Affine
    brain: Mask


def write_examples(examples: Examples, file: Path) -> None:
    """Write example volumes, compressed, to 11 bits of precision: enough for pictures, not for scores.

    If the grid is so fine that `read_examples` would reject the file, the last volumes are left out.
    """
    room = LARGEST // (4 * examples.brain.size)
    arrays: dict[str, npt.NDArray[Any]] = {
        f"{label}/{name}": volume.astype(np.float16)
        for label, shown in examples.volumes.items()
        for name, volume in shown.items()
    }
    arrays = dict(list(arrays.items())[:room])
    arrays |= {"affine": examples.affine, "brain": examples.brain, "titles": np.array(json.dumps(examples.titles))}
    with atomic_path(file) as partial:
        np.savez_compressed(partial, **arrays)  # type: ignore[arg-type]


def read_examples(file: Path) -> Examples:
    """Read example volumes that `write_examples` wrote.

    Raises:
        InputError: If the file is missing, damaged or too large.
    """
    try:
        return _read(read_bytes(file, LARGEST))
    except (MemoryError, Unreadable):
        raise
    except Exception as error:  # numpy, zipfile and others raise many kinds of exceptions for damaged files
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{file}: cannot be read ({reason}); run again with --fresh") from None


def has_examples(folder: Path) -> bool:
    """Whether a run folder has a file of pictures, damaged or not."""
    return os.path.lexists(folder / EXAMPLES)


def _read(raw: bytes) -> Examples:
    if raw.count(b"PK\1\2") > MOST_ARRAYS:
        raise ValueError(f"it claims more than {MOST_ARRAYS} arrays")
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        claimed = _claimed(archive)
        _require_small(claimed)
        arrays = {name: _array(archive, name) for name in claimed}
    volumes: dict[str, dict[str, Volume]] = {}
    for key in [key for key in arrays if "/" in key]:
        label, _, name = key.partition("/")
        volumes.setdefault(label, {})[name] = arrays.pop(key).astype(np.float32)
    parsed = parse_json(str(arrays["titles"]))
    titles = {str(label): str(title) for label, title in parsed.items()}
    return Examples(volumes, titles, arrays["affine"].astype(np.float64), arrays["brain"])


def _claimed(archive: zipfile.ZipFile) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Shape and type of every array, from the headers. Raises ValueError if an array occurs twice."""
    headers = {}
    for member in archive.infolist():
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"unexpected compression ({member.compress_type})")
        with archive.open(member) as stored:
            version = read_magic(stored)
            if version != (1, 0):
                raise ValueError(f"unexpected array format {version}")
            shape, _, kind = read_array_header_1_0(stored)
            size = stored.tell() + math.prod(shape) * kind.itemsize
        name = member.filename.removesuffix(".npy")
        if name in headers:
            raise ValueError(f"{name[:80]!r} occurs twice")
        if min(shape, default=0) < 0 or max(member.file_size, size) > LARGEST:
            raise ValueError(f"it claims {max(member.file_size, abs(size))} bytes of pictures")
        if member.file_size != size:
            raise ValueError(f"{name[:80]!r} has {member.file_size} bytes instead of {size}")
        headers[name] = shape, kind
    return headers


def _require_small(claimed: dict[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> None:
    """Raise ValueError unless there are a grid, texts, and volumes on this grid that fit in memory as float32."""
    grid, _ = claimed["brain"]
    kinds = {"affine": ((4, 4), "f"), "brain": (grid, "b"), "titles": ((), "U")}
    for name, (shape, kind) in claimed.items():
        expected = kinds.get(name, (grid, "f"))
        if (shape, kind.kind) != expected or len(grid) != 3 or ("/" not in name and name not in kinds):
            raise ValueError(f"{name[:80]!r} is of shape {shape} and type {kind}")
    volumes = sum("/" in name for name in claimed)
    if (size := volumes * 4 * math.prod(grid)) > LARGEST:
        raise ValueError(f"it claims {size} bytes of pictures")
    if claimed["titles"][1].itemsize > LONGEST_TITLES:
        raise ValueError(f"it claims {claimed['titles'][1].itemsize} bytes of titles")


def _array(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    """Read one array from all its bytes: numpy alone would stop before the checksum at the end."""
    array: npt.NDArray[Any] = np.load(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)
    return array
