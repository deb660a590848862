"""A tool's answers become a result: the export is made out again, checked, and scored like a model."""

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
"""Raise it whenever the same answers would be read otherwise."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")

SAME = 1e-4
"""By so much an image may differ between two machines, in the models' unit."""


@dataclass(frozen=True)
class AnsweredRun(Run):
    """The run of a tool that answered in files: nothing is trained, all else is as for a model.

    Attributes:
        book: Its answers by the images that it was shown.
        digest: The hash of all its answers.
        reference: The tool's publication.
    """

    book: AnswerBook = field(kw_only=True)
    digest: str = field(kw_only=True)
    reference: str = field(kw_only=True, default="")

    @cached_property
    def plugin(self) -> type[Tool]:
        """A model of the tool's name, which no registry knows."""
        told = {"reference": self.reference, "registered_name": self.model, "__module__": __name__}
        return cast(type[Tool], type(self.model, (model_class(self.book.answers),), told))

    @cached_property
    def all_options(self) -> dict[str, Any]:
        """None: what a tool was set to is not known here."""
        return {}

    @cached_property
    def fit_key(self) -> str:
        """What the answers are, and to which images."""
        fold_data = self.fold_data
        asked = [fold_data.protocol.hash, fold_data.fold, fold_data.testset_recipe, fold_data.content(TRAINING)]
        return content_hash("answers", REVISION, self.model, self.reference, self.digest, asked)

    @property
    def unranked(self) -> str | None:
        """None: a tool's answers are ranked, and marked as such."""
        return None

    def prepared(self, device: torch.device) -> tuple[Model, Curve]:
        """The tool as a model; how it was trained is not known."""
        return self.plugin(self.book).to(device), Curve()

    def amended(self, result: Result) -> Result:
        """The result says that it is of files, and does not tell what their reading cost as the tool's cost."""
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
    """The run of the answers in the folder of an export, after everything in it was checked.

    Args:
        name: What the tool is called in results.
        reference: Its publication.
        cohort: Where the export's cohort lies now, if it has moved.

    Raises:
        InputError: For whatever is missing, changed or no answer; the message names the first of them and how many
            there are.
    """
    _require_name(name)
    manifest = read_manifest(folder)
    if not manifest.files:
        raise InputError(f"{folder}: the export is not finished; give the same 'uadbench testset export' again")
    answered = [file for file in manifest.files if file.partition("/")[0] in ANSWERED]
    names = [file.partition("/")[2].removesuffix(manifest.suffix) for file in answered]
    answers = find_answers(folder, names, manifest.protocol.lattice, manifest.suffix)
    fold_data = fold_data_of(folder, manifest, cohort, progress)
    shown = {part: shown_scans(fold_data, part) for part in EXPORTED}
    files = {_file(part, name, manifest) for part, scans in shown.items() for scan in scans for name in scan.names}
    if files != manifest.files.keys():
        raise InputError(f"{folder}: its {len(manifest.files)} images are not those of {manifest.label}; export again")
    digest = answers.check(progress)
    known = _check_images(folder, manifest, shown, progress)
    return AnsweredRun(name, fold_data, seed=0, book=AnswerBook(answers, known), digest=digest, reference=reference)


def _require_name(name: str) -> None:
    """Raises InputError for a name that results cannot have, or that a model of code has."""
    if not NAME.fullmatch(name):
        raise InputError(f"--name {name}: use at most 40 letters, digits and . _ -")
    if name in registry.models.names():
        raise InputError(f"--name {name}: a model is called so already; give the tool's own name, as in {name}-matlab")


def _file(part: str, name: str, manifest: Manifest) -> str:
    return f"{part}/{name}{manifest.suffix}"


def _check_images(
    folder: Path, manifest: Manifest, shown: Mapping[str, Sequence[Shown]], progress: Progress
) -> dict[str, str]:
    """Make every image again: the names of those that are answered, by the hash of their voxels here.

    Raises:
        InputError: If one on the disk was changed, or is not what this version of uadbench makes.
    """
    known: dict[str, str] = {}
    faults: list[str] = []
    with progress.task("checking the images", len(manifest.files)) as task:
        for part, scan in ((part, scan) for part, scans in shown.items() for scan in scans):
            for name, image in zip(scan.names, scan.images(), strict=True):
                file, digest = _file(part, name, manifest), voxel_digest(image)
                if part in ANSWERED:
                    known.setdefault(digest, name)
                if fault := _fault(folder / file, manifest.files[file], digest, image):
                    faults.append(f"{file} {fault}")
                task.advance(1)
    if faults:
        count = f"{len(faults)} of {len(manifest.files)}"
        raise InputError(
            f"{folder}: {count} images are not as they were exported ({some(sorted(faults))}); export again into "
            "another folder, and let the tool answer those images"
        )
    return known


def _fault(file: Path, exported: str, digest: str, image: Volume) -> str:
    """What is wrong with an exported image; "" for nothing."""
    try:
        stored = read_volume(file).data
    except ScanError as error:
        return error.finding.value
    if voxel_digest(stored) != exported:
        return "was changed"
    if digest != exported and not np.allclose(stored, image, rtol=0, atol=SAME):
        return "is of another version"
    return ""
