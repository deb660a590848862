"""Scoring of a tool's answers: the exported images are recreated and checked, and the tool is evaluated as a model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from uadbench import registry
from uadbench.cohorts.findings import ScanError
from uadbench.cohorts.io.nifti import read_volume
from uadbench.errors import InputError
from uadbench.exchange.answers import find_answers, some
from uadbench.exchange.inputs import ANSWERED, EXPORTED, Shown, shown_scans, voxel_digest
from uadbench.exchange.manifest import Manifest, fold_data_of, read_manifest
from uadbench.exchange.model import AnswerBook, Tool, model_class
from uadbench.models.base import Model
from uadbench.results.schema import Result
from uadbench.runs.fold_data import TRAINING
from uadbench.runs.keys import Run
from uadbench.runtime.files import content_hash
from uadbench.runtime.progress import Progress
from uadbench.training.loop import Curve
from uadbench.types import Volume

REVISION = 1
"""Raise it whenever the same answers would be read differently."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")

SAME = 1e-4
"""Largest difference of an image between two machines, on the models' intensity scale."""


@dataclass(frozen=True)
class AnsweredRun(Run):
    """The run of a tool that answered in files: nothing is trained, everything else is as for a model.

    Attributes:
        book: The tool's answers.
        digest: Hash of all answers.
        reference: The tool's publication.
    """

    book: AnswerBook = field(kw_only=True)
    digest: str = field(kw_only=True)
    reference: str = field(kw_only=True, default="")

    @cached_property
    def plugin(self) -> type[Tool]:
        """A model class with the tool's name, which is not registered."""
        attributes = {"reference": self.reference, "registered_name": self.model, "__module__": __name__}
        return cast(type[Tool], type(self.model, (model_class(self.book.answers),), attributes))

    @cached_property
    def all_options(self) -> dict[str, Any]:
        """Empty: the settings of a tool are unknown."""
        return {}

    @cached_property
    def fit_key(self) -> str:
        """Hash of the answers and of the images that they answer."""
        fold_data = self.fold_data
        images = [fold_data.protocol.hash, fold_data.fold, fold_data.testset_recipe, fold_data.content(TRAINING)]
        return content_hash("answers", REVISION, self.model, self.reference, self.digest, images)

    @property
    def unranked(self) -> str | None:
        """None: answers of tools are ranked, and marked as such."""
        return None

    def prepared(self, device: torch.device) -> tuple[Model, Curve]:
        """The tool as a model, and an empty training curve."""
        return self.plugin(self.book).to(device), Curve()

    def amended(self, result: Result) -> Result:
        """Mark the result as made from files, and remove costs that would be those of reading the files."""
        unknown = dict.fromkeys(("train_seconds", "inference_seconds_per_scan", "parameters", "cpu_minutes"))
        update = {
            "model": result.model.model_copy(update={"answers": self.digest}),
            "cost": result.cost.model_copy(update=unknown),
            "provenance": result.provenance.model_copy(update={"model_source": "unknown: it answered in files"}),
        }
        return result.model_copy(update=update)


def answered_run(
    folder: Path, name: str, progress: Progress, reference: str = "", cohort: str | None = None
) -> AnsweredRun:
    """Check the images and answers in the folder of an export, and prepare their run.

    Args:
        folder: The folder of the export.
        name: Name of the tool in results.
        progress: Receives progress reports.
        reference: The tool's publication.
        cohort: The cohort argument, if it differs from the one stored in the export.

    Returns:
        The run, ready to be evaluated.

    Raises:
        InputError: If images or answers are missing, changed or invalid; the message counts them and names the first.
    """
    _require_name(name)
    manifest = read_manifest(folder)
    if not manifest.files:
        raise InputError(f"{folder}: the export is incomplete; run the same 'uadbench testset export' command again")
    answered = [file for file in manifest.files if file.partition("/")[0] in ANSWERED]
    names = [file.partition("/")[2].removesuffix(manifest.suffix) for file in answered]
    answers = find_answers(folder, names, manifest.protocol.lattice, manifest.suffix)
    fold_data = fold_data_of(folder, manifest, cohort, progress)
    shown = {part: shown_scans(fold_data, part) for part in EXPORTED}
    files = {_file(part, name, manifest) for part, scans in shown.items() for scan in scans for name in scan.names}
    if files != manifest.files.keys():
        raise InputError(f"{folder}: the {len(manifest.files)} images are not those of {manifest.label}; export again")
    digest = answers.check(progress)
    by_digest = _check_images(folder, manifest, shown, progress)
    book = AnswerBook(answers, by_digest)
    return AnsweredRun(name, fold_data, seed=0, book=book, digest=digest, reference=reference)


def _require_name(name: str) -> None:
    """Raises InputError for a name that is invalid, or that a registered model has."""
    if not NAME.fullmatch(name):
        raise InputError(f"--name {name}: use at most 40 letters, digits and . _ -")
    if name in registry.models.names():
        raise InputError(f"--name {name}: a model has this name; use another one, for example {name}-matlab")


def _file(part: str, name: str, manifest: Manifest) -> str:
    return f"{part}/{name}{manifest.suffix}"


def _check_images(
    folder: Path, manifest: Manifest, shown: Mapping[str, Sequence[Shown]], progress: Progress
) -> dict[str, str]:
    """Recreate every image and compare it with its file; returns the names of answered images by voxel hash.

    Raises:
        InputError: If a file was changed, or differs from the image that this version of uadbench makes.
    """
    names: dict[str, str] = {}
    faults: list[str] = []
    with progress.task("checking the images", len(manifest.files)) as task:
        for part, scan in ((part, scan) for part, scans in shown.items() for scan in scans):
            for name, image in zip(scan.names, scan.images(), strict=True):
                file, digest = _file(part, name, manifest), voxel_digest(image)
                if part in ANSWERED:
                    names.setdefault(digest, name)
                if fault := _fault(folder / file, manifest.files[file], digest, image):
                    faults.append(f"{file} {fault}")
                task.advance(1)
    if faults:
        count = f"{len(faults)} of {len(manifest.files)}"
        raise InputError(
            f"{folder}: {count} images differ from the export ({some(sorted(faults))}); export again into another "
            "folder, and run the tool on those images"
        )
    return names


def _fault(file: Path, exported: str, digest: str, image: Volume) -> str:
    """The fault of an exported image; "" if it is unchanged."""
    try:
        stored = read_volume(file).data
    except ScanError as error:
        return error.finding.value
    if voxel_digest(stored) != exported:
        return "was changed"
    if digest != exported and not np.allclose(stored, image, rtol=0, atol=SAME):
        return "is from another version"
    return ""
