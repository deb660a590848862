"""Export of the training, validation and test images of a fold as NIfTI files with anonymised names."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from uadbench.cohorts.findings import ScanError
from uadbench.cohorts.io.forms import Forms, mni
from uadbench.cohorts.io.nifti import HEADER_BYTES, read_volume, write_volume
from uadbench.errors import InputError
from uadbench.exchange.inputs import EXPORTED, Shown, image_counts, shown_scans, voxel_digest
from uadbench.exchange.manifest import MANIFEST, Manifest, read_manifest, write_manifest
from uadbench.exchange.readme import readme
from uadbench.runs.fold_data import FoldData
from uadbench.runtime.files import require_inside, require_writable, write_text
from uadbench.runtime.parts import is_bare, sweep
from uadbench.runtime.progress import Progress
from uadbench.types import Volume

README = "README.md"
BRAIN = "brain_mask"

TIME_OF_CHANGE = 946_684_800
"""Modification time of every image, in seconds (1 January 2000); real times would reveal images of the same scan."""


def export_size(fold_data: FoldData) -> int:
    """Size of the uncompressed images of an export, in bytes; the export takes at most that."""
    return (sum(image_counts(fold_data).values()) + 1) * (HEADER_BYTES + 4 * fold_data.protocol.lattice.size)


def export_testset(fold_data: FoldData, manifest: Manifest, folder: Path, progress: Progress) -> Manifest:
    """Write images, tables, brain mask and README, and then the manifest that marks the export as complete.

    Args:
        fold_data: The scans to export.
        manifest: Their manifest, from `manifest_of`.
        folder: A new or empty folder, or an interrupted export of the same data, which is completed.
        progress: Receives progress reports.

    Returns:
        The manifest with the hash of every file.

    Raises:
        InputError: If the folder contains anything else, or the disk has too little space; nothing is written then.
        Unwritable: If the disk becomes full while writing.
    """
    _require_ours(folder, manifest)
    require_inside(folder, *(folder / part / BRAIN for part in EXPORTED))
    _require_room(folder, fold_data, manifest)
    if not (folder / MANIFEST).is_file():
        require_writable(folder)
        write_manifest(manifest, folder)
    for part in EXPORTED:
        sweep(folder / part)
    forms, files = mni(fold_data.protocol.lattice.affine), dict[str, str]()
    write_volume(folder / f"{BRAIN}{manifest.suffix}", fold_data.cases.brain.astype(np.float32), forms)
    for part, count in image_counts(fold_data).items():
        shown = shown_scans(fold_data, part)
        write_text(folder / f"{part}.tsv", _table(shown, part, manifest.suffix))
        with progress.task(f"export {part}", count) as task, ThreadPoolExecutor(2) as pool:
            for each in shown:
                names = [f"{part}/{name}{manifest.suffix}" for name in each.names]
                digests = _write(each, [folder / name for name in names], forms, pool)
                files |= dict(zip(names, digests, strict=True))
                task.advance(len(names))
    for name in files:
        os.utime(folder / name, (TIME_OF_CHANGE, TIME_OF_CHANGE), follow_symlinks=False)
    write_text(folder / README, readme(manifest, image_counts(fold_data)))
    complete = manifest.model_copy(update={"files": dict(sorted(files.items()))})
    write_manifest(complete, folder)
    return complete


def _write(shown: Shown, files: Sequence[Path], forms: Forms, pool: ThreadPoolExecutor) -> list[str]:
    """Write the images of a scan unless they exist already; returns the hashes of their voxels."""

    def write(file: Path, image: Volume) -> str:
        write_volume(file, image, forms)
        return voxel_digest(image)

    try:
        if all(file.is_file() for file in files):
            return list(pool.map(lambda file: voxel_digest(read_volume(file).data), files))
    except ScanError:  # a file is corrupted; write all images of this scan again
        pass
    return list(pool.map(write, files, shown.images()))


def _table(shown: Sequence[Shown], part: str, suffix: str) -> str:
    """Table with file, age and sex of every image of a part."""
    rows = [(f"{part}/{name}{suffix}", each.scan.age, each.scan.sex or "n/a") for each in shown for name in each.names]
    table = pd.DataFrame(rows, columns=["file", "age", "sex"]).sort_values("file")
    return table.to_csv(sep="\t", index=False, na_rep="n/a")


def _require_ours(folder: Path, manifest: Manifest) -> None:
    """Raises InputError unless the folder is new, empty, or contains the same export."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: not a folder but a file; give a new or empty folder")
    if not folder.is_dir() or is_bare(folder):
        return
    if not (folder / MANIFEST).is_file():
        raise InputError(f"{folder}: neither empty nor an export; give a new or empty folder")
    other = read_manifest(folder)
    if other.model_copy(update={"files": {}, "uadbench": manifest.uadbench}) != manifest:
        raise InputError(
            f"{folder}: contains another export ({other.label}, {other.suffix}); give a new or empty folder"
        )


def _require_room(folder: Path, fold_data: FoldData, manifest: Manifest) -> None:
    """Raises InputError if the remaining files do not fit on the disk."""
    written = sum(1 for part in EXPORTED for _ in (folder / part).glob(f"*{manifest.suffix}"))
    left = 1 - written / sum(image_counts(fold_data).values())
    disk = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    needed, free = math.ceil(export_size(fold_data) * left), shutil.disk_usage(disk).free
    if needed > free:
        raise InputError(
            f"{folder}: the export needs up to {needed / 1e9:.1f} GB, but only {free / 1e9:.1f} GB are free; choose a "
            "folder on another disk or fewer --severities"
        )
