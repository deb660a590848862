"""The volumes that a run keeps for pictures."""

from __future__ import annotations

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
    if (size := _claimed(file)) > LARGEST:
        raise ValueError(f"it claims {size} bytes of pictures")
    volumes: dict[str, dict[str, Volume]] = {}
    with np.load(file, allow_pickle=False) as stored:
        for key in stored.files:
            label, slash, name = key.partition("/")
            if slash:
                volumes.setdefault(label, {})[name] = stored[key].astype(np.float32)
        titles = json.loads(str(stored["titles"]))
        return Examples(volumes, titles, stored["affine"].astype(np.float64), stored["brain"])


def _claimed(file: Path) -> int:
    """The bytes that numpy would allocate for what the headers of all arrays tell."""
    size = 0
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            with archive.open(member) as stored:
                read_magic(stored)
                shape, _, dtype = read_array_header_1_0(stored)
            size += abs(math.prod(shape)) * dtype.itemsize
    return size
