"""The cohort plugin `caps`: the pet-linear scans and the tables of a Clinica CAPS tree."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Literal

from uadbench.cohorts.base import is_id
from uadbench.cohorts.file_cohort import FileCohort, warn_about_label
from uadbench.cohorts.findings import Finding, report
from uadbench.cohorts.io.caps_tables import describe
from uadbench.cohorts.io.sessions import canonical
from uadbench.errors import InputError
from uadbench.registry import register_cohort

PATTERN = "subjects/sub-*/ses-*/pet[_-]linear/*_space-MNI152NLin2009cSym*_suvr-*_pet.nii*"
"""The paths of scans from Clinica's pet-linear; ClinicaDL names the folder pet-linear."""

_ALTERED = re.compile(r"_pat-.*_deg-|_anomaly-.*_severity-")
"""The part of a file name that marks a scan altered by ClinicaDL or `uadbench simulate`."""

FDG = "18FFDG"


@register_cohort("caps")
class Caps(FileCohort):
    """PET scans in a CAPS tree, as written by any version of Clinica's pet-linear pipeline.

    If a scan exists both cropped and uncropped, the cropped file is used. Altered scans are left out (see `simulated`).
    Session identifiers are converted to the form ses-M000. A scan without a diagnosis at its visit is neither a healthy
    scan nor a scan of a patient.

    Args:
        path: The folder of the tree, with `subjects/` and `participants.tsv` or `sessions.tsv`.
        tracer: The tracer, as in `trc-18FFDG`; files with `acq-fdg` in their names are 18FFDG.
        contains: A part of the file name that selects one of several scans of a session, such as "rec-coregiso".
        diagnosis: The column of diagnoses, if it is not called "diagnosis", "group" or "dx".
        age: The column of ages, if it has another name.
        sex: The column of sex, if it has another name.
        site: The column of sites, if it has another name.
        scanner: The column of scanners, if it has another name.
        amyloid: The column of amyloid status, if it has another name.
        mmse: The column of MMSE scores, if it has another name.
        name: The name of the cohort in results; see `FileCohort`.
        nan: What to do with NaN or infinite voxels; see `FileCohort`.
        suvr: How to convert values to SUVR; see `FileCohort`.
        space: Whether to check that scans are in MNI space; see `FileCohort`.

    Raises:
        InputError: If the folder is not a CAPS tree, contains no scan, or has several scans for a session, or if no
            scan has a diagnosis.
    """

    def __init__(
        self,
        path: Path,
        tracer: str = FDG,
        contains: str = "",
        diagnosis: str = "",
        age: str = "",
        sex: str = "",
        site: str = "",
        scanner: str = "",
        amyloid: str = "",
        mmse: str = "",
        name: str = "",
        nan: Literal["refuse", "zero"] = "refuse",
        suvr: Literal["as-is", "cerebellum-pons"] = "as-is",
        space: Literal["check", "trust"] = "check",
    ) -> None:
        tree = Path(path).expanduser()
        files = _find_scans(tree, tracer, contains)
        kind = "caps" if tracer.lower() == FDG.lower() else f"caps-{tracer}"
        chosen = {"group": diagnosis, "age": age, "sex": sex, "site": site}
        chosen |= {"scanner": scanner, "amyloid": amyloid, "mmse": mmse}
        people, visits = describe(tree, list(files), chosen)
        super().__init__(tree, kind, files, people, visits, name=name, nan=nan, suvr=suvr, space=space)


def _find_scans(tree: Path, tracer: str, contains: str) -> dict[tuple[str, str], Path]:
    """The file of each (participant, session), sorted; altered scans are left out."""
    require_tree(tree)
    candidates: dict[tuple[str, str], list[Path]] = {}
    others: set[str] = set()
    for file in sorted(tree.glob(PATTERN)):
        if not is_of(file.name, tracer):
            others.add(_tracer(file.name))
        elif contains in file.name and not _ALTERED.search(file.name):
            key = file.parts[-4], canonical(file.parts[-3])
            if not all(map(is_id, key)):
                value, advice = "its folder names are not valid ids", "rename them; use letters and digits"
                report(Finding("id", ascii(str(file)), value, advice))
                continue
            scans = candidates.setdefault(key, [])
            if file.name not in {scan.name for scan in scans}:  # the same file in pet_linear and in pet-linear
                scans.append(file)
    if not candidates:
        also = f" that has '{contains}' in its name" if contains else ""
        tracers = f"other tracers: {', '.join(sorted(others))} (choose with PATH:tracer=...)" if others else ""
        raise InputError(
            f"{tree}: no unaltered scan of tracer {tracer}{also} in {PATTERN}; {tracers or 'no matching file'}; run "
            "'clinica run pet-linear'"
        )
    for key, files in candidates.items():
        candidates[key] = kept = _cropped(files)
        if len(kept) > 1:
            listed = ", ".join(file.name for file in kept)
            advice = f"select one by a part of its name: PATH:contains={_distinctive(kept)}"
            report(Finding("several scans", f"{tree}: {' '.join(key)}", f"has {len(kept)} scans: {listed}", advice))
    chosen = {key: files[0] for key, files in sorted(candidates.items())}
    for key, file in chosen.items():
        warn_about_label(file, key)
    return chosen


def _cropped(files: list[Path]) -> list[Path]:
    """Remove uncropped files that also exist cropped, and uncompressed files that also exist compressed."""
    names = {file.name for file in files}
    packed = [file for file in files if file.suffix == ".gz" or f"{file.name}.gz" not in names]
    whole = {_bare(file).replace("_desc-Crop", "") for file in packed if "_desc-Crop" in file.name}
    return [file for file in packed if _bare(file) not in whole]


def _bare(file: Path) -> str:
    return file.name.removesuffix(".gz").removesuffix(".nii")


def _distinctive(files: list[Path]) -> str:
    """A part of a file name (one word, or two adjacent words) that the other names do not contain."""
    for file in files:
        words = file.name.split("_")
        parts = [*words, *(f"{first}_{second}" for first, second in pairwise(words))]
        others = [other.name for other in files if other is not file]
        for part in parts:
            if not any(part in other for other in others):
                return part
    return files[0].name


def _tracer(name: str) -> str:
    match = re.search(r"_trc-([A-Za-z0-9]+)", name) or re.search(r"_acq-([A-Za-z0-9]+)", name)
    return match.group(1) if match else "unknown"


def is_of(name: str, tracer: str) -> bool:
    """Whether a file name is that of a scan with a tracer; acq-fdg is 18FFDG.

    Args:
        name: The file name.
        tracer: The tracer.

    Returns:
        True if the tracer matches.
    """
    return _tracer(name).lower() in ({tracer.lower(), "fdg"} if tracer.lower() == FDG.lower() else {tracer.lower()})


def require_tree(tree: Path) -> None:
    """Ensure that a folder is a CAPS tree.

    Args:
        tree: The folder.

    Raises:
        InputError: If it is not; the message suggests a folder nearby that is.
    """
    if not tree.is_dir():
        raise InputError(
            f"{tree}: {'is a file' if tree.exists() else 'no such folder'}; give the folder of a CAPS tree"
        )
    if not (tree / "subjects").is_dir():
        raise InputError(f"{tree}: not a CAPS tree: no 'subjects' folder; {_hint(tree)}")


def _hint(tree: Path) -> str:
    """A suggestion where the CAPS tree may be."""
    if tree.name == "subjects":
        return f"give {tree.parent}"
    inner: Iterable[Path] = sorted(tree.glob("*/subjects"))
    for folder in inner:
        return f"did you mean {folder.parent}?"
    return "looked for subjects/sub-*/ses-*/pet_linear/ (the output folder of 'clinica run pet-linear')"
