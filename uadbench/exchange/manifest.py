"""The manifest of an export: its protocol, cohort and fold, and a hash of every image file."""

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
"""Largest manifest that is read, in bytes; each image takes 110 bytes."""

Suffix = Literal[".nii.gz", ".nii"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CohortSource(_Section):
    """The cohort of an export.

    Attributes:
        reference: The cohort argument that opens the cohort; "" for a private cohort, so that an export that is shared
            contains no local path.
        name: Name of the cohort.
        version: Version of the cohort.
        healthy: Diagnoses used as healthy.
        patients: Diagnoses used as patients.
    """

    reference: str
    name: str
    version: str
    healthy: tuple[str, ...]
    patients: tuple[str, ...]


class Manifest(_Section):
    """Description of a complete export.

    Attributes:
        format: Version of the manifest format.
        uadbench: Version of uadbench that made the export.
        protocol: The protocol.
        protocol_hash: Its hash, which reveals later changes.
        cohort: The cohort.
        fold: Index of the fold.
        testset: The exact part of the test sets' fingerprint.
        suffix: Suffix of the image files.
        files: Hash of the voxels of each file (`inputs.voxel_digest`); empty until the export is complete.
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
        """Protocol, cohort and fold, as text."""
        return (
            f"protocol {self.protocol.name} ({self.protocol_hash[:8]}), cohort {self.cohort.name} "
            f"(version {self.cohort.version}), fold {self.fold}"
        )


def manifest_of(fold_data: FoldData, reference: str, suffix: Suffix) -> Manifest:
    """Create the manifest of a new export.

    Args:
        fold_data: The scans to export.
        reference: The cohort argument that opened their cohort.
        suffix: Suffix of the image files.

    Returns:
        The manifest, without files.
    """
    cohort, roles = fold_data.cohort, fold_data.roles
    return Manifest(
        uadbench=version("uadbench"),
        protocol=fold_data.protocol,
        protocol_hash=fold_data.protocol.hash,
        cohort=CohortSource(
            reference=_absolute(reference) if cohort.public else "",
            name=cohort.name,
            version=cohort.version,
            healthy=tuple(roles.healthy),
            patients=tuple(roles.patients),
        ),
        fold=fold_data.fold,
        testset=fold_data.testset_recipe,
        suffix=suffix,
    )


def _absolute(reference: str) -> str:
    path = Path(reference).expanduser()
    return str(path.resolve()) if path.exists() else reference


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write a manifest into the folder of its export."""
    write_text(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of an export.

    Args:
        folder: The folder of the export.

    Returns:
        The manifest.

    Raises:
        InputError: If it is missing, corrupted, or from another version of uadbench.
    """
    file = folder / MANIFEST
    try:
        manifest = Manifest.model_validate_json(read_document(file, LARGEST, links=True))
    except FileNotFoundError:
        makes = command("uadbench", "testset", "export", folder)
        raise InputError(f"{folder}: not an export: no {MANIFEST}; create one with: {makes}") from None
    except ValidationError as error:
        field, reason = first_fault(error)
        where = ".".join(map(str, field)) or "JSON"
        raise InputError(
            f"{file}: corrupted, or from another version of uadbench: {where}: {reason}; export again"
        ) from None
    if manifest.protocol.hash != manifest.protocol_hash:
        raise InputError(f"{file}: protocol was changed after the export, or is from another version; export again")
    return manifest


def fold_data_of(folder: Path, manifest: Manifest, reference: str | None, progress: Progress) -> FoldData:
    """Open the scans that an export was made from.

    Args:
        folder: The folder of the export.
        manifest: Its manifest.
        reference: The cohort argument, if it differs from the one in the manifest.
        progress: Receives progress reports.

    Returns:
        The scans of the fold.

    Raises:
        InputError: If the cohort cannot be opened, or cohort or test sets are not those of the export.
    """
    source = manifest.cohort
    if reference is None and not source.reference:
        raise InputError(
            f"{folder}: made from the private cohort {source.name}, whose location is not stored; add --cohort"
        )
    if reference is None and names_code(source.reference):
        raise InputError(
            f"{folder / MANIFEST}: its cohort '{source.reference}' is a code file; if you trust it, give --cohort"
        )
    cohort = open_cohort(reference or source.reference)
    if (cohort.name, cohort.version) != (source.name, source.version):
        raise InputError(
            f"{folder}: made from cohort {source.name}, version {source.version}, but {reference or source.reference} "
            f"is {cohort.name}, version {cohort.version}; export again, or give --cohort"
        )
    selection = Selection(source.healthy, source.patients)
    fold_data = plan_fold(cohort, manifest.protocol, manifest.fold, progress, selection)
    if fold_data.testset_recipe != manifest.testset:
        raise InputError(
            f"{folder}: made by uadbench {manifest.uadbench} with test sets or participants that differ from those of "
            f"this version ({version('uadbench')}); export again"
        )
    return fold_data
