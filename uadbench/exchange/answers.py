"""What a tool wrote back: found, and checked whole before anything is scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uadbench.cohorts.findings import ScanError
from uadbench.cohorts.io.nifti import read_volume
from uadbench.errors import InputError
from uadbench.exchange.inputs import voxel_digest
from uadbench.runtime.files import content_hash
from uadbench.runtime.progress import Progress
from uadbench.types import Grid, Volume

RECONSTRUCTIONS, MAPS = "reconstructions", "maps"
"""Folders of answers, and what they hold."""

SUFFIXES = (".nii.gz", ".nii")
NAMED = 3
"""So many names stand in an error line."""

COPY = "copy the header of its image"
ADVICE = {"NaN": "give every voxel a number", "no position": COPY, "affine": COPY, "unit": COPY}
"""What helps an answer, by the kind of finding, where it is not what helps a scan."""

SAME_MM = 1e-3
"""By so much two affines may differ; headers hold float32."""


@dataclass(frozen=True)
class Answers:
    """The files of a tool's answers: name of the image that is answered -> file, for each kind; empty without any."""

    grid: Grid
    reconstructions: Mapping[str, Path]
    maps: Mapping[str, Path]

    @property
    def kinds(self) -> dict[str, Mapping[str, Path]]:
        """The kinds of answers that there are."""
        both = {RECONSTRUCTIONS: self.reconstructions, MAPS: self.maps}
        return {kind: files for kind, files in both.items() if files}

    def check(self, progress: Progress) -> str:
        """Read every answer, and return a hash of all.

        Raises:
            InputError: For the first that cannot be used.
        """
        digests = []
        with progress.task("checking the answers", sum(map(len, self.kinds.values()))) as task:
            for kind, files in self.kinds.items():
                for name in sorted(files):
                    digests.append([kind, name, voxel_digest(read_answer(files[name], self.grid))])
                    task.advance(1)
        return content_hash(digests)


def find_answers(folder: Path, names: Sequence[str], grid: Grid, suffix: str) -> Answers:
    """The answers in the folder of an export to the images `names`; .nii answers .nii.gz, and the other way round.

    `suffix` is that of the images: what is asked for where there is no answer.

    Raises:
        InputError: Unless every kind that is there answers every image once, and nothing else.
    """
    found = {kind: _found(folder / kind, names, suffix) for kind in (RECONSTRUCTIONS, MAPS)}
    if not any(found.values()):
        raise InputError(
            f"{folder}: no answers; write {RECONSTRUCTIONS}/NAME{suffix} or {MAPS}/NAME{suffix} for each of "
            f"{len(names)} images (its README.md tells how)"
        )
    return Answers(grid, found[RECONSTRUCTIONS], found[MAPS])


def read_answer(file: Path, grid: Grid) -> Volume:
    """One answer, (X, Y, Z) float32.

    Raises:
        InputError: For one that cannot be read, or is not on the grid.
    """
    try:
        image = read_volume(file, constant="keep")
    except ScanError as error:
        advice = ADVICE.get(error.finding.kind, error.finding.advice)
        raise InputError(f"{file}: {error.finding.value}; {advice}") from None
    if image.data.shape != grid.shape:
        told, wanted = (" x ".join(map(str, shape)) for shape in (image.data.shape, grid.shape))
        raise InputError(f"{file}: has {told} voxels, its image {wanted}; answer on the grid of the image")
    if not np.allclose(image.affine, grid.affine, rtol=0, atol=SAME_MM):
        off = float(np.abs(image.affine - grid.affine).max())
        raise InputError(f"{file}: its affine is not that of its image (off by up to {off:.3g}); {COPY}")
    return image.data


def some(names: Sequence[str]) -> str:
    """The first few of many names."""
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def _found(folder: Path, names: Sequence[str], suffix: str) -> dict[str, Path]:
    """The answers of one kind, by name; none if the folder is missing or has no image."""
    files: dict[str, Path] = {}
    for file in sorted(folder.glob("[!.]*")):
        ending = next((each for each in SUFFIXES if file.name.endswith(each)), None)
        if ending is None:
            continue
        name = file.name.removesuffix(ending)
        if name in files:
            raise InputError(f"{folder}: has {files[name].name} and {file.name}; remove one")
        files[name] = file
    if not files:
        return {}
    known = set(names)
    if stray := [files[name].name for name in files if name not in known]:
        raise InputError(
            f"{folder}: {len(stray)} files belong to no validation or test image ({some(stray)}); remove them"
        )
    if missing := [f"{name}{suffix}" for name in sorted(names) if name not in files]:
        raise InputError(f"{folder}: {len(missing)} of {len(names)} answers are missing ({some(missing)})")
    return files
