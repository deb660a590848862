"""A Clinica CAPS tree as a cohort: the pet-linear scans in it, and what its tables say of the people."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Literal

from uadbench.cohorts.base import is_id
from uadbench.cohorts.file_cohort import FileCohort, tell_another
from uadbench.cohorts.findings import Finding, tell
from uadbench.cohorts.io.caps_tables import describe
from uadbench.cohorts.io.sessions import canonical
from uadbench.errors import InputError
from uadbench.registry import register_cohort

PATTERN = "subjects/sub-*/ses-*/pet[_-]linear/*_space-MNI152NLin2009cSym*_suvr-*_pet.nii*"
"""Where Clinica's pet-linear leaves its results; ClinicaDL writes pet-linear for the folder."""

_ALTERED = re.compile(r"_pat-.*_deg-|_anomaly-.*_severity-")
"""What ClinicaDL, or `uadbench simulate`, puts into the names of scans that it has altered."""

FDG = "18FFDG"


@register_cohort("caps")
class Caps(FileCohort):
    """PET scans of a folder in Clinica's CAPS layout, as its pet-linear pipeline leaves them, at any version.

    Of a scan that is there both cropped and whole, the cropped one is taken. Altered scans are left out (see
    `simulated`). Sessions are spelled ses-M000, whatever the folder.

    A scan whose visit has no diagnosis is neither a healthy scan nor a patient's.

    Args:
        path: The tree's folder, which holds `subjects/` and `participants.tsv` or `sessions.tsv`.
        tracer: As in `trc-18FFDG`; files that are called `acq-fdg` are 18FFDG.
        contains: A part of the file name that picks one of several scans of a session, such as "rec-coregiso".
        diagnosis, age, sex, site, scanner, amyloid, mmse: The tables' columns of these, where they are not called so.
        name, nan, suvr, space: See `FileCohort`.

    Raises:
        InputError: If there is no tree, no scan in it, several scans for one session, or no diagnosis of any scan.
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
    """(participant, session) -> file, sorted by key; altered scans are left out."""
    require_tree(tree)
    candidates: dict[tuple[str, str], list[Path]] = {}
    others: set[str] = set()
    for file in sorted(tree.glob(PATTERN)):
        if not is_of(file.name, tracer):
            others.add(_tracer(file.name))
        elif contains in file.name and not _ALTERED.search(file.name):
            key = file.parts[-4], canonical(file.parts[-3])
            if not all(map(is_id, key)):
                tell(Finding("id", ascii(str(file)), "its folders are no ids", "rename them: letters and digits"))
                continue
            scans = candidates.setdefault(key, [])
            if file.name not in {scan.name for scan in scans}:  # in pet_linear and in pet-linear
                scans.append(file)
    if not candidates:
        also = f" that has '{contains}' in its name" if contains else ""
        found = f"tracers there: {', '.join(sorted(others))} (choose with PATH:tracer=...)" if others else "none fits"
        raise InputError(
            f"{tree}: no healthy scan of tracer {tracer}{also} in {PATTERN}; {found}; run 'clinica run pet-linear'"
        )
    for key, files in candidates.items():
        candidates[key] = kept = _cropped(files)
        if len(kept) > 1:
            listed = ", ".join(file.name for file in kept)
            advice = f"pick one by a part of its name: PATH:contains={_telling(kept)}"
            tell(Finding("several scans", f"{tree}: {' '.join(key)}", f"has {len(kept)} scans: {listed}", advice))
    chosen = {key: files[0] for key, files in sorted(candidates.items())}
    for key, file in chosen.items():
        tell_another(file, key)
    return chosen


def _cropped(files: list[Path]) -> list[Path]:
    """Without those that are there cropped, too; of a file that is there packed and unpacked, the packed one."""
    names = {file.name for file in files}
    packed = [file for file in files if file.suffix == ".gz" or f"{file.name}.gz" not in names]
    whole = {_bare(file).replace("_desc-Crop", "") for file in packed if "_desc-Crop" in file.name}
    return [file for file in packed if _bare(file) not in whole]


def _bare(file: Path) -> str:
    return file.name.removesuffix(".gz").removesuffix(".nii")


def _telling(files: list[Path]) -> str:
    """A part of one name that the others lack, word by word, then two words together."""
    for file in files:
        words = file.name.split("_")
        parts = [*words, *(f"{first}_{second}" for first, second in pairwise(words))]
        others = [other.name for other in files if other is not file]
        for part in parts:
            if not any(part in other for other in others):
                return part
    return files[0].name


def _tracer(name: str) -> str:
    found = re.search(r"_trc-([A-Za-z0-9]+)", name) or re.search(r"_acq-([A-Za-z0-9]+)", name)
    return found.group(1) if found else "unknown"


def is_of(name: str, tracer: str) -> bool:
    """Whether a file name is of a tracer; acq-fdg is 18FFDG."""
    return _tracer(name).lower() in ({tracer.lower(), "fdg"} if tracer.lower() == FDG.lower() else {tracer.lower()})


def require_tree(tree: Path) -> None:
    """Raises InputError, with a guess at what was meant, for what is no CAPS tree."""
    if not tree.is_dir():
        raise InputError(f"{tree}: {'is a file' if tree.exists() else 'no such folder'}; give a CAPS tree's folder")
    if not (tree / "subjects").is_dir():
        raise InputError(f"{tree}: has no folder 'subjects', so it is no CAPS tree; {_hint(tree)}")


def _hint(tree: Path) -> str:
    """Where the tree may be instead."""
    if tree.name == "subjects":
        return f"give {tree.parent}"
    inner: Iterable[Path] = sorted(tree.glob("*/subjects"))
    for folder in inner:
        return f"did you mean {folder.parent}?"
    return "looked for subjects/sub-*/ses-*/pet_linear/ (the output folder of 'clinica run pet-linear')"
