"""Simulated anomalies as NIfTI files (`uadbench simulate`), from a scan, a table of scans or a CAPS tree."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from uadbench.cohorts.findings import in_lines
from uadbench.cohorts.io import nifti
from uadbench.cohorts.io.forms import doubt
from uadbench.cohorts.io.header import Header, read_header
from uadbench.cohorts.io.text_tables import column, read_table, rows_of
from uadbench.cohorts.table import home
from uadbench.errors import InputError
from uadbench.runtime.files import require_apart, require_inside, require_writable, write_text
from uadbench.runtime.progress import Progress
from uadbench.simulation import hypometabolism, regions
from uadbench.space import atlas
from uadbench.types import Volume

_FDG = re.compile(r"_(trc-18FFDG|acq-fdg)_", re.IGNORECASE)
_ENDING = re.compile(r"(_pet)?\.nii(\.gz)?$")
_SIMULATED = re.compile(r"_anomaly-|_pat-.*_deg-")  # written by uadbench or by ClinicaDL


TABLE = "simulated.tsv"
"""File in the output folder that lists what was written, one row per altered scan."""


class _Input(NamedTuple):
    path: Path
    source: str  # its name in the table of results
    stem: str  # common beginning of the names of its output files, with their folder
    participant: str = ""
    session: str = ""


def simulate(
    source: Path,
    anomaly: Sequence[str],
    severities: Sequence[float],
    output: Path,
    progress: Progress,
    nan: Literal["refuse", "zero"] = "refuse",
) -> pd.DataFrame:
    """Write altered scans x', masks G(m) and reduction maps r, each on the lattice of its scan.

    Output files have the sform, qform and unit of their scan, and so claim the same space. All arguments and headers
    are checked before the first file is written, and every file is written completely or not at all. The table of this
    run, `simulated.tsv`, is written last; the table of an earlier run is removed before the first file is written.

    Args:
        source: A NIfTI file; a CAPS tree; or a .tsv or .csv table with a column `path` (relative to the table) and,
            optionally, participant_id and session_id. The output has the same folders as the source.
        anomaly: Dementias, such as ["ad", "lvppa"].
        severities: Nominal severities in (0, 1].
        output: Folder to write to; it must not overlap with the source.
        progress: Reports progress and warnings.
        nan: Whether scans with NaN or infinite voxels are refused, or these voxels are set to 0.

    Returns:
        One row per scan, anomaly and severity, with file names relative to `output`. The means of r, and of uptake
        before and after (in the scan's unit), are over the ground truth (G(m) > 0.5 in the brain).

    Raises:
        InputError: If an argument, file or header cannot be used; the message names the file or value.
    """
    names = list(dict.fromkeys(regions.dementia(name).key for name in anomaly))
    degrees = {spell(severity): float(severity) for severity in severities}
    if not names or not degrees:
        raise InputError("give at least one --anomaly and one --severity")
    inputs = _inputs(source, progress)
    doubts = []
    for item in inputs:
        header = read_header(item.path)
        for name in names:
            if not _inside(name, header.affine.tobytes(), _shape(header)).any():
                missed = f"{item.path}: no voxel of the '{name}' mask lies in its field of view"
                raise InputError(f"{missed}; its affine is probably not MNI, register the scan first")
        if found := doubt(item.path, header.forms, header.shape):
            doubts.append(found)
    _require_apart(source, inputs, names, degrees, output)
    require_writable(output)
    require_inside(output, *(output / item.stem for item in inputs))
    for line in in_lines(doubts):
        progress.warning(line)
    (output / TABLE).unlink(missing_ok=True)  # it lists files that are about to be overwritten
    rows: list[dict[str, Any]] = []
    with progress.task("simulating", total=len(inputs) * len(names)) as task:
        for item in inputs:
            image = nifti.read_volume(item.path, nan)
            scan = in_file_order(image)
            uptake = scan[atlas.brain_on(image.header.affine, _shape(image.header))]
            filled = float((uptake > 0.3 * np.percentile(uptake, 95)).mean())
            if filled < 0.8:  # 99.9 % for a mean FDG template in MNI, 68 % for one that is not
                progress.warning(f"{item.path}: tissue fills only {filled:.0%} of the MNI brain; is its affine MNI?")
            for name in names:
                rows += _write(item, name, degrees, scan, image.header, output)
                task.advance(note=name)
    table = pd.DataFrame(rows)
    write_text(output / TABLE, table.to_csv(sep="\t", index=False, float_format="%.6g"))
    return table


def _require_apart(
    source: Path, inputs: Sequence[_Input], names: Sequence[str], degrees: Iterable[str], output: Path
) -> None:
    """Raise InputError if an output would overwrite an input, or the output folder overlaps with the source tree."""
    if source.is_dir():
        require_apart(source, output)
    read = {os.path.realpath(path) for path in (source, *(item.path for item in inputs))}
    altered = [f"_severity-{degree}_{kind}" for degree in degrees for kind in ("pet", "reduction")]
    written = [output / TABLE]
    written += [
        output / f"{item.stem}_anomaly-{name}{suffix}.nii.gz"
        for item in inputs
        for name in names
        for suffix in ("_mask", *altered)
    ]
    for file in written:
        if os.path.realpath(file) in read:
            raise InputError(f"{file}: is an input and would be overwritten; give another --output")


def spell(severity: float) -> str:
    """A severity as part of a file name: percent, at least two digits, `p` for the point (0.02: 02, 0.025: 02p5).

    Raises:
        InputError: If it is outside (0, 1], or has more than three decimals of a percent.
    """
    if not 0.0 < severity <= 1.0:
        raise InputError(f"severity {severity:g} is not in (0, 1]; give 0.3 for 30 %")
    percent = f"{100 * severity:06.3f}"
    if abs(float(percent) - 100 * severity) > 1e-9:
        raise InputError(f"severity {severity!r} has more than three decimals of a percent; round it")
    return percent.rstrip("0").rstrip(".").replace(".", "p")


def _write(
    item: _Input, name: str, degrees: dict[str, float], scan: Volume, header: Header, output: Path
) -> Iterator[dict[str, Any]]:
    """Write the files of one scan and dementia at every severity, and yield the rows of the table."""
    affine, shape = header.affine, _shape(header)
    smoothed = hypometabolism.smoothed_mask(name, affine, shape)
    inside = _inside(name, affine.tobytes(), shape)
    about = {"source": item.source, "participant_id": item.participant, "session_id": item.session, "anomaly": name}
    stem = f"{item.stem}_anomaly-{name}"
    nifti.write_volume(output / f"{stem}_mask.nii.gz", smoothed, header.forms)
    for spelling, severity in degrees.items():
        row: dict[str, Any] = {**about, "severity": severity, "mask": f"{stem}_mask.nii.gz"}
        altered = hypometabolism.alter(scan, smoothed, severity)
        reduction = hypometabolism.reduction(smoothed, severity)
        for what, suffix, volume in (("altered", "pet", altered), ("reduction", "reduction", reduction)):
            row[what] = f"{stem}_severity-{spelling}_{suffix}.nii.gz"
            nifti.write_volume(output / row[what], volume, header.forms)
        for what, volume in (("effective_reduction", reduction), ("uptake_before", scan), ("uptake_after", altered)):
            row[what] = float(volume[inside].mean(dtype=np.float64))
        yield row


def _inputs(source: Path, progress: Progress) -> list[_Input]:
    """The scans at a path; raises InputError if two of them would have the same output names."""
    if source.is_dir():
        found = _from_caps(source, progress)
    elif source.suffix.lower() in {".tsv", ".csv"}:
        found = _from_table(source)
    else:
        found = [_Input(source, str(source), _ENDING.sub("", source.name))]
    taken: dict[str, str] = {}
    for item in found:
        if item.stem in taken:
            raise InputError(
                f"{taken[item.stem]} and {item.source} have the same output name {item.stem}_...; rename one"
            )
        taken[item.stem] = item.source
    return found


def _from_caps(source: Path, progress: Progress) -> list[_Input]:
    files = sorted(source.glob("subjects/*/*/pet[_-]linear/*_pet.nii*"))
    kept = [path for path in files if _FDG.search(path.name) and not _SIMULATED.search(path.name)]
    if not kept:
        raise InputError(f"{source}: no subjects/*/*/pet_linear/*_trc-18FFDG*_pet.nii.gz; give a CAPS tree or a file")
    if len(kept) < len(files):
        progress.notice(f"{source}: skipped {len(files) - len(kept)} PET files that are simulated or not FDG")
    found = []
    for path in kept:
        stem = f"subjects/{path.parts[-4]}/{path.parts[-3]}/pet_linear/{_ENDING.sub('', path.name)}"
        found.append(_Input(path, path.relative_to(source).as_posix(), stem, *path.parts[-4:-2]))
    return found


def _from_table(source: Path) -> list[_Input]:
    table = read_table(source)
    paths = column(source, table, "path")
    if table.empty:
        raise InputError(f"{source}: has no rows; write one row per scan")
    names = {name.lower(): name for name in table.columns}
    found = []
    for line, row in rows_of(table):
        if not row[paths]:
            raise InputError(f"{source}: line {line} has no path; fill it in or remove the line")
        path = home(row[paths])
        below = "" if path.is_absolute() or ".." in path.parts else f"{path.parent.as_posix()}/".removeprefix("./")
        who = (row.get(names.get(key, ""), "") for key in ("participant_id", "session_id"))
        found.append(_Input(source.parent / path, row[paths], below + _ENDING.sub("", path.name), *who))
    return found


def _shape(header: Header) -> tuple[int, int, int]:
    return header.shape[0], header.shape[1], header.shape[2]


def in_file_order(image: nifti.Image) -> Volume:
    """The RAS volume, reoriented to the voxel order of its file."""
    turn = np.rint(np.linalg.solve(image.affine, image.header.affine)[:3, :3])  # axes, file to RAS: signed permutation
    axes = abs(turn).argmax(axis=0)
    return np.ascontiguousarray(np.flip(image.data.transpose(axes), tuple(np.flatnonzero(turn.sum(axis=0) < 0))))


@lru_cache(maxsize=12)
def _inside(name: str, affine: bytes, shape: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    placed = np.frombuffer(affine).reshape(4, 4)
    smoothed = hypometabolism.smoothed_mask(name, placed, shape)
    support = hypometabolism.smoothed_support(name, placed, shape)
    return np.asarray(hypometabolism.truth(smoothed, atlas.brain_on(placed, shape), support=support) == 1)
