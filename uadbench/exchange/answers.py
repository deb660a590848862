"""Answers: finding, reading and checking the reconstructions and anomaly maps that a tool wrote as NIfTI files."""

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
from uadbench.runtime.plurals import counted
from uadbench.runtime.progress import Progress
from uadbench.types import Grid, Volume

RECONSTRUCTIONS, MAPS = "reconstructions", "maps"
"""Folders of the two kinds of answers."""

SUFFIXES = (".nii.gz", ".nii")
NAMED = 3
"""Number of file names listed in an error message."""

COPY = "copy the header of its image"
ADVICE = {"NaN": "give every voxel a number", "no position": COPY, "affine": COPY, "unit": COPY}
"""Advice by kind of finding, where it differs from the advice for scans."""

SAME_MM = 1e-3
"""Tolerance of affines, in mm; headers store float32."""


@dataclass(frozen=True)
class Answers:
    """The files of a tool's answers.

    Attributes:
        grid: The grid of the exported images.
        reconstructions: Reconstruction of each image, by image name; empty if the tool gives none.
        maps: Anomaly map of each image, by image name; empty if the tool gives none.
    """

    grid: Grid
    reconstructions: Mapping[str, Path]
    maps: Mapping[str, Path]

    @property
    def kinds(self) -> dict[str, Mapping[str, Path]]:
        """The kinds of answers that the tool gives, with their files."""
        both = {RECONSTRUCTIONS: self.reconstructions, MAPS: self.maps}
        return {kind: files for kind, files in both.items() if files}

    def check(self, progress: Progress) -> str:
        """Read and check every answer.

        Args:
            progress: Receives progress reports.

        Returns:
            A hash of all answers.

        Raises:
            InputError: If an answer cannot be used; the message names the first one.
        """
        digests = []
        with progress.task("checking the answers", sum(map(len, self.kinds.values()))) as task:
            for kind, files in self.kinds.items():
                for name in sorted(files):
                    digests.append([kind, name, voxel_digest(read_answer(files[name], self.grid))])
                    task.advance(1)
        return content_hash(digests)


def find_answers(folder: Path, names: Sequence[str], grid: Grid, suffix: str) -> Answers:
    """Find the answers in the folder of an export.

    Args:
        folder: The folder of the export.
        names: Names of the images to answer, without suffix.
        grid: The grid of the images.
        suffix: Suffix of the images, used in messages; answers may be .nii or .nii.gz.

    Returns:
        The files of the answers.

    Raises:
        InputError: If there are no answers, or a kind of answer has a missing, repeated or unknown image name.
    """
    files = {kind: _answer_files(folder / kind, names, suffix) for kind in (RECONSTRUCTIONS, MAPS)}
    if not any(files.values()):
        raise InputError(
            f"{folder}: no answers; write {RECONSTRUCTIONS}/NAME{suffix} or {MAPS}/NAME{suffix} for each of "
            f"{len(names)} images (see README.md in this folder)"
        )
    return Answers(grid, files[RECONSTRUCTIONS], files[MAPS])


def read_answer(file: Path, grid: Grid) -> Volume:
    """Read one answer.

    Args:
        file: The NIfTI file.
        grid: The grid of the exported images.

    Returns:
        The volume, (X, Y, Z) float32.

    Raises:
        InputError: If the file cannot be read or is not on the grid.
    """
    try:
        image = read_volume(file, constant="keep")
    except ScanError as error:
        advice = ADVICE.get(error.finding.kind, error.finding.advice)
        raise InputError(f"{file}: {error.finding.value}; {advice}") from None
    if image.data.shape != grid.shape:
        actual, expected = (" x ".join(map(str, shape)) for shape in (image.data.shape, grid.shape))
        raise InputError(f"{file}: {actual} voxels, but its image has {expected}; use the grid of the image")
    if not np.allclose(image.affine, grid.affine, rtol=0, atol=SAME_MM):
        off = float(np.abs(image.affine - grid.affine).max())
        raise InputError(f"{file}: its affine differs from that of its image (by up to {off:.3g}); {COPY}")
    return image.data


def some(names: Sequence[str]) -> str:
    """The first few names, separated by commas."""
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def _answer_files(folder: Path, names: Sequence[str], suffix: str) -> dict[str, Path]:
    """The answers of one kind by image name; empty if the folder is missing or contains no NIfTI file."""
    files: dict[str, Path] = {}
    for file in sorted(folder.glob("[!.]*")):
        ending = next((each for each in SUFFIXES if file.name.endswith(each)), None)
        if ending is None:
            continue
        name = file.name.removesuffix(ending)
        if name in files:
            raise InputError(f"{folder}: both {files[name].name} and {file.name} exist; remove one")
        files[name] = file
    if not files:
        return {}
    expected = set(names)
    if stray := [files[name].name for name in files if name not in expected]:
        raise InputError(
            f"{folder}: remove {counted(len(stray), 'file')} that match no validation or test image ({some(stray)})"
        )
    if missing := [f"{name}{suffix}" for name in sorted(names) if name not in files]:
        raise InputError(f"{folder}: {len(missing)} of {len(names)} answers are missing ({some(missing)})")
    return files
