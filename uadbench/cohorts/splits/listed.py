"""Splits that others have made: ClinicaDL's folders, and manifests that two labs share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from uadbench.cohorts.findings import Finding, tell
from uadbench.cohorts.io.sessions import canonical
from uadbench.cohorts.io.text_tables import column, read_table
from uadbench.errors import InputError
from uadbench.runtime.reading import read_json

FORMAT = "uadbench_split"
VERSION = 1

LARGEST = 64 << 20
"""Bytes of a manifest: a scan takes 30."""

Key = tuple[str, str]


@dataclass(frozen=True)
class Fold:
    """Scans of one fold: `first` are the training participants' scans at baseline."""

    train: tuple[Key, ...]
    first: tuple[Key, ...]
    validation: tuple[Key, ...]


@dataclass(frozen=True)
class GivenSplit:
    """Which scans train, validate and test, as (participant, session), whatever their diagnosis.

    Raises:
        InputError: If one is in two parts of a fold; the message names the participant.
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
                        tell(Finding("two parts", self.source, value, "every person belongs to one part"))
                    seen[person] = part

    @property
    def everyone(self) -> set[str]:
        """All participants of all parts and folds."""
        keys = [key for fold in self.folds for key in (*fold.train, *fold.first, *fold.validation)]
        return {participant for participant, _ in (*keys, *self.test)}


def read_split(path: Path) -> GivenSplit:
    """Read ClinicaDL's split folder, or a manifest (.json) that `write_split` wrote.

    ClinicaDL leaves `train.tsv`, `train_baseline.tsv`, `test_baseline.tsv`, and in `<k>_fold/split-<i>/` the same of
    each fold with `validation_baseline.tsv`. The folder of the folds may be given, too.

    Raises:
        InputError: For anything else, and for a participant in two parts.
    """
    try:
        path = path.expanduser()
        is_file, is_dir = path.is_file(), path.is_dir()
    except (OSError, RuntimeError) as error:  # a name that is too long, a user that is none
        raise InputError(f"{path}: cannot be looked at ({error}); give ClinicaDL's folder or a split's .json") from None
    if is_file:
        return _read_manifest(path)
    if not is_dir:
        raise InputError(f"{path}: no such file or folder; give ClinicaDL's split folder or a split's .json")
    return _read_clinicadl(path)


def write_split(split: GivenSplit) -> dict[str, Any]:
    """A split as JSON: ids only, for whoever has the same scans."""
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
        raise InputError(f"{file}: no split ({what}); make one with 'uadbench cohort split'") from None


def _keys(pairs: Iterable[Sequence[str]]) -> tuple[Key, ...]:
    keys = []
    for pair in pairs:
        if isinstance(pair, str) or len(pair) != 2:
            raise ValueError(f"{pair!r} is no participant and session")
        participant, session = pair
        if not isinstance(participant, str) or not isinstance(session, str):
            raise TypeError(f"{participant!r}, {session!r} are not ids")
        f"{participant}{session}".encode()  # half of a surrogate pair is no text
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
    top = next((place for place in (folds_folder, folds_folder.parent) if _table(place, "test")), None)
    if top is None:
        parts = [_table(place, "validation") for place in (folds_folder, folds_folder.parent)]
        also = next((f", but {part.name}, as ClinicaDL names it by default" for part in parts if part), "")
        advice = "split with 'clinicadl tsvtools split --subset_name test'"
        raise InputError(f"{folder}: has no test_baseline.tsv{also}; {advice}")
    return GivenSplit(str(folder), _scans(top, "test"), tuple(_fold(path) for path in folds))


def _fold(folder: Path) -> Fold:
    whole = folder / "train.tsv"
    listed = _scans(folder, "train")
    first = tuple({participant: (participant, visit) for participant, visit in reversed(listed)}.values())
    return Fold(_read_keys(whole) if whole.is_file() else listed, tuple(sorted(first)), _scans(folder, "validation"))


def _table(folder: Path, part: str) -> Path | None:
    """The part's scans at baseline where they are listed, else all of them."""
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
    """The rows of a cohort's table that are among the keys, and the keys that the cohort lacks."""
    wanted = set(keys)
    there = list(zip(rows["participant_id"], rows["session_id"], strict=True))
    found = rows[[key in wanted for key in there]]
    return found, sorted(wanted - set(there))
