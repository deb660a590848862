"""The manifest of an export: of which protocol, cohort and fold it is, and what its files hold."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from uadbench.cohorts.opening import open_cohort
from uadbench.errors import InputError
from uadbench.protocols.schema import Protocol
from uadbench.registry import names_code
from uadbench.runs.fold_data import FoldData, Selection, plan_fold
from uadbench.runtime.commands import command
from uadbench.runtime.files import write_text
from uadbench.runtime.progress import Progress
from uadbench.runtime.reading import first_fault, read_document

MANIFEST = "manifest.json"
LARGEST = 64 << 20
"""Bytes of a manifest; an image takes 110."""

Suffix = Literal[".nii.gz", ".nii"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CohortSource(_Section):
    """Where the scans are from, and the diagnoses that were taken as healthy and as ill.

    `reference` opens the cohort; of a private one it is "": an export may go elsewhere, and tells of no folder here.
    """

    reference: str
    name: str
    version: str
    healthy: tuple[str, ...]
    patients: tuple[str, ...]


class Manifest(_Section):
    """An export, whole.

    `testset` is the exact part of the test sets' fingerprint. `files` maps a file to the hash of its voxels
    (`inputs.voxel_digest`); it is empty until the export is finished.
    """

    format: Literal[1] = 1
    uadbench: str
    protocol: Protocol
    protocol_hash: str
    cohort: CohortSource
    fold: int
    testset: str
    suffix: Suffix
    files: dict[str, str] = {}

    @property
    def label(self) -> str:
        """What it is of, in a few words."""
        return (
            f"protocol {self.protocol.name} ({self.protocol_hash[:8]}), cohort {self.cohort.name} "
            f"(version {self.cohort.version}), fold {self.fold}"
        )


def manifest_of(fold_data: FoldData, reference: str, suffix: Suffix) -> Manifest:
    """The manifest of an export of these fold data that is yet to be made; `reference` opened its cohort."""
    cohort, roles = fold_data.cohort, fold_data.roles
    return Manifest(
        uadbench=version("uadbench"),
        protocol=fold_data.protocol,
        protocol_hash=fold_data.protocol.hash,
        cohort=CohortSource(
            reference=_told(reference) if cohort.public else "",
            name=cohort.name,
            version=cohort.version,
            healthy=tuple(roles.healthy),
            patients=tuple(roles.patients),
        ),
        fold=fold_data.fold,
        testset=fold_data.testset_recipe,
        suffix=suffix,
    )


def _told(reference: str) -> str:
    place = Path(reference).expanduser()
    return str(place.resolve()) if place.exists() else reference


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write a manifest into the folder of its export."""
    write_text(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """The manifest in the folder of an export.

    Raises:
        InputError: Where there is none, or one that is damaged or of another version of uadbench.
    """
    file = folder / MANIFEST
    try:
        manifest = Manifest.model_validate_json(read_document(file, LARGEST, links=True))
    except FileNotFoundError:
        makes = command("uadbench", "testset", "export", folder)
        raise InputError(f"{folder}: no {MANIFEST} here; make an export with: {makes}") from None
    except ValidationError as error:
        place, reason = first_fault(error)
        where = ".".join(map(str, place)) or "its JSON"
        raise InputError(
            f"{file}: is damaged, or of another version of uadbench: {where}: {reason}; export again"
        ) from None
    if manifest.protocol.hash != manifest.protocol_hash:
        raise InputError(f"{file}: its protocol was changed since the export, or is of another version; export again")
    return manifest


def fold_data_of(folder: Path, manifest: Manifest, reference: str | None, progress: Progress) -> FoldData:
    """The scans that the export in `folder` was made of; `reference` is their cohort now, if it has moved.

    Raises:
        InputError: Unless cohort and test sets are those of the export.
    """
    told = manifest.cohort
    if reference is None and not told.reference:
        raise InputError(
            f"{folder}: is of a private cohort, {told.name}, which it does not say where to find: add --cohort"
        )
    if reference is None and names_code(told.reference):
        raise InputError(
            f"{folder / MANIFEST}: its cohort '{told.reference}' is code in a file; where you trust it, give --cohort"
        )
    cohort = open_cohort(reference or told.reference)
    if (cohort.name, cohort.version) != (told.name, told.version):
        raise InputError(
            f"{folder}: is of cohort {told.name}, version {told.version}; {reference or told.reference} is "
            f"{cohort.name}, version {cohort.version}: export again, or give --cohort"
        )
    selection = Selection(told.healthy, told.patients)
    fold_data = plan_fold(cohort, manifest.protocol, manifest.fold, progress, selection)
    if fold_data.testset_recipe != manifest.testset:
        raise InputError(
            f"{folder}: uadbench {manifest.uadbench} made it of test sets that this version ({version('uadbench')}) "
            "does not make, or of other participants: export again"
        )
    return fold_data
