"""The volumes that a run keeps for pictures."""

from __future__ import annotations

import io
import json
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.format import read_array_header_1_0, read_magic

from uadbench.errors import InputError
from uadbench.store import atomic_path
from uadbench.types import Affine, Mask, Volume

EXAMPLES = "examples.npz"
LARGEST = 1 << 30
"""Bytes that the volumes of a file have at most, unpacked: enough for a grid of ten million voxels."""


@dataclass(frozen=True)
class Examples:
    """Volumes of a few cases and scans, in the models' unit.

    Attributes
    ----------
    volumes : label ("case", "patient", "worst0" ...) -> name ("altered", "standard_map" ...) -> (X, Y, Z)
    titles : label -> what it is, without an id
    affine, brain : of the grid
    """

    volumes: dict[str, dict[str, Volume]]
    titles: dict[str, str]
    affine: Affine
    brain: Mask


def write_examples(examples: Examples, file: Path) -> None:
    """Store them compressed, to 11 bits of precision: they are looked at, never scored."""
    arrays: dict[str, npt.NDArray[Any]] = {
        f"{label}/{name}": volume.astype(np.float16)
        for label, shown in examples.volumes.items()
        for name, volume in shown.items()
    }
    arrays |= {"affine": examples.affine, "brain": examples.brain, "titles": np.array(json.dumps(examples.titles))}
    with atomic_path(file) as partial:
        np.savez_compressed(partial, **arrays)  # type: ignore[arg-type]


def read_examples(file: Path) -> Examples:
    """Read what `write_examples` wrote.

    Raises InputError for a file that is not there, damaged, or too large.
    """
    try:
        return _read(file)
    except MemoryError:
        raise
    except Exception as error:  # numpy, zipfile and what they use have one for each way in which a file can be broken
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{file}: cannot be read ({reason}); run again with --fresh") from None


def _read(file: Path) -> Examples:
    with zipfile.ZipFile(file) as archive:
        if (size := sum(_claimed(archive, member) for member in archive.infolist())) > LARGEST:
            raise ValueError(f"it claims {size} bytes of pictures")
        # numpy, which reads as much as it needs, would not come to the checksum at the end
        content = {member.filename.removesuffix(".npy"): archive.read(member) for member in archive.infolist()}
    arrays = {key: np.load(io.BytesIO(raw), allow_pickle=False) for key, raw in content.items()}
    volumes: dict[str, dict[str, Volume]] = {}
    for key, array in arrays.items():
        label, slash, name = key.partition("/")
        if slash:
            volumes.setdefault(label, {})[name] = array.astype(np.float32)
    return Examples(volumes, json.loads(str(arrays["titles"])), arrays["affine"].astype(np.float64), arrays["brain"])


def _claimed(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """The bytes of an array, packed out, or those that its header tells and numpy would allocate."""
    with archive.open(member) as stored:
        read_magic(stored)
        shape, _, dtype = read_array_header_1_0(stored)
    return max(member.file_size, abs(math.prod(shape)) * dtype.itemsize)
