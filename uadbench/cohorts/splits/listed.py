"""Predefined splits: split folders of ClinicaDL, and split files (.json) that labs can share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from uadbench.cohorts.findings import Finding, report
from uadbench.cohorts.io.sessions import canonical
from uadbench.cohorts.io.text_tables import column, read_table
from uadbench.errors import InputError
from uadbench.runtime.reading import read_json

FORMAT = "uadbench_split"
VERSION = 1

LARGEST = 64 << 20
"""The largest size of a split file, in bytes; a scan takes 30 bytes."""

Key = tuple[str, str]


@dataclass(frozen=True)
class Fold:
    """The scans of one fold, as (participant, session).

    Attributes:
        train: The training scans.
        first: The baseline scans of the training participants.
        validation: The validation scans.
    """

    train: tuple[Key, ...]
    first: tuple[Key, ...]
    validation: tuple[Key, ...]


@dataclass(frozen=True)
class GivenSplit:
    """A predefined split of scans, as (participant, session), independent of diagnoses.

    Attributes:
        source: The folder or file that the split was read from.
        test: The test scans.
        folds: The folds.

    Raises:
        InputError: If a participant is in two parts of a fold; the message names the participant.
    """

    source: str
    test: tuple[Key, ...]
    folds: tuple[Fold, ...]

    def __post_init__(self) -> None:
        for number, fold in enumerate(self.folds):
            parts = {"train": fold.train + fold.first, "validation": fold.validation, "test": self.test}
            seen: dict[str, str] = {}
            for part, keys in parts.items():
                for person in sorted({participant for participant, _ in keys}):
                    if person in seen:
                        value = f"fold {number}: participant {person} is in {seen[person]} and {part}"
                        report(Finding("two parts", self.source, value, "each participant belongs to one part"))
                    seen[person] = part

    @property
    def everyone(self) -> set[str]:
        """The participants of all parts and folds."""
        keys = [key for fold in self.folds for key in (*fold.train, *fold.first, *fold.validation)]
        return {participant for participant, _ in (*keys, *self.test)}


def read_split(path: Path) -> GivenSplit:
    """Read a split folder of ClinicaDL, or a split file.

    ClinicaDL writes `train.tsv`, `train_baseline.tsv` and `test_baseline.tsv`, and for each fold, in
    `<k>_fold/split-<i>/`, `train.tsv`, `train_baseline.tsv` and `validation_baseline.tsv`.

    Args:
        path: The split folder, its subfolder `<k>_fold`, or a .json file with the output of `write_split`.

    Returns:
        The split.

    Raises:
        InputError: If the path is not a split, or a participant is in two parts.
    """
    try:
        path = path.expanduser()
        is_file, is_dir = path.is_file(), path.is_dir()
    except (OSError, RuntimeError) as error:  # the name is too long, or ~ refers to an unknown user
        raise InputError(
            f"{path}: cannot be accessed ({error}); give ClinicaDL's split folder or a split's .json"
        ) from None
    if is_file:
        return _read_manifest(path)
    if not is_dir:
        raise InputError(f"{path}: no such file or folder; give ClinicaDL's split folder or a split's .json")
    return _read_clinicadl(path)


def write_split(split: GivenSplit) -> dict[str, Any]:
    """Convert a split to JSON, with identifiers only, to be used with the same scans.

    Args:
        split: The split.

    Returns:
        The JSON object.
    """
    folds = [{"train": fold.train, "first": fold.first, "validation": fold.validation} for fold in split.folds]
    return {FORMAT: VERSION, "source": split.source, "test": split.test, "folds": folds}


def _read_manifest(file: Path) -> GivenSplit:
    try:
        content = read_json(file, LARGEST, links=True)
        if content[FORMAT] != VERSION:
            raise InputError(f"{file}: is a split of version {content[FORMAT]!r}, not {VERSION}; update uadbench")
        folds = [Fold(*(_keys(fold[part]) for part in ("train", "first", "validation"))) for fold in content["folds"]]
        split = GivenSplit(str(file), _keys(content["test"]), tuple(folds))
        if not folds:
            raise ValueError("it has no folds")
        return split
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise InputError(f"{file}: not a valid split ({what}); make one with 'uadbench cohort split'") from None


def _keys(pairs: Iterable[Sequence[str]]) -> tuple[Key, ...]:
    keys = []
    for pair in pairs:
        if isinstance(pair, str) or len(pair) != 2:
            raise ValueError(f"{pair!r} is not a participant and session")
        participant, session = pair
        if not isinstance(participant, str) or not isinstance(session, str):
            raise TypeError(f"{participant!r}, {session!r} are not ids")
        f"{participant}{session}".encode()  # raises UnicodeEncodeError for half of a surrogate pair
        keys.append((participant, canonical(session)))
    return tuple(sorted(keys))


def _read_clinicadl(folder: Path) -> GivenSplit:
    inside = sorted(folder.glob("*_fold"))
    if len(inside) > 1:
        raise InputError(f"{folder}: has {', '.join(path.name for path in inside)}; give one of them")
    folds_folder = inside[0] if inside else folder
    folds = sorted(folds_folder.glob("split-*"), key=lambda path: (len(path.name), path.name))
    if not folds:
        raise InputError(f"{folder}: has no <k>_fold/split-0; run 'clinicadl tsvtools kfold' on it")
    top = next((parent for parent in (folds_folder, folds_folder.parent) if _table(parent, "test")), None)
    if top is None:
        parts = [_table(parent, "validation") for parent in (folds_folder, folds_folder.parent)]
        also = next((f", but {part.name}, ClinicaDL's default name" for part in parts if part), "")
        advice = "split with 'clinicadl tsvtools split --subset_name test'"
        raise InputError(f"{folder}: has no test_baseline.tsv{also}; {advice}")
    return GivenSplit(str(folder), _scans(top, "test"), tuple(_fold(path) for path in folds))


def _fold(folder: Path) -> Fold:
    whole = folder / "train.tsv"
    listed = _scans(folder, "train")
    first = tuple({participant: (participant, visit) for participant, visit in reversed(listed)}.values())
    return Fold(_read_keys(whole) if whole.is_file() else listed, tuple(sorted(first)), _scans(folder, "validation"))


def _table(folder: Path, part: str) -> Path | None:
    """The table of the baseline scans of a part if it exists, otherwise the table of all its scans."""
    return next((file for name in (f"{part}_baseline", part) if (file := folder / f"{name}.tsv").is_file()), None)


def _scans(folder: Path, part: str) -> tuple[Key, ...]:
    file = _table(folder, part)
    if file is None:
        raise InputError(f"{folder}: has no {part}_baseline.tsv; run 'clinicadl tsvtools' again")
    return _read_keys(file)


def _read_keys(file: Path) -> tuple[Key, ...]:
    table = read_table(file)
    participant, session = (column(file, table, name) for name in ("participant_id", "session_id"))
    return _keys(zip(table[participant], table[session], strict=True))


def select(rows: pd.DataFrame, keys: Iterable[Key]) -> tuple[pd.DataFrame, list[Key]]:
    """Select scans of a cohort.

    Args:
        rows: Rows of the cohort's table.
        keys: The (participant, session) of the scans to select.

    Returns:
        The selected rows, and the keys that are not in the table.
    """
    requested = set(keys)
    present = list(zip(rows["participant_id"], rows["session_id"], strict=True))
    selected = rows[[key in requested for key in present]]
    return selected, sorted(requested - set(present))
