"""The volumes that a run keeps for pictures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from uadbench.store import atomic_path
from uadbench.types import Affine, Mask, Volume

EXAMPLES = "examples.npz"


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
    """Read what `write_examples` wrote."""
    volumes: dict[str, dict[str, Volume]] = {}
    with np.load(file, allow_pickle=False) as stored:
        for key in stored.files:
            label, slash, name = key.partition("/")
            if slash:
                volumes.setdefault(label, {})[name] = stored[key].astype(np.float32)
        titles = json.loads(str(stored["titles"]))
        return Examples(volumes, titles, stored["affine"].astype(np.float64), stored["brain"])
