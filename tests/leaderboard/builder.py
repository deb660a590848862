"""What the tests of the leaderboard are made of: real runs, and sound results that were made up from them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from uadbench.leaderboard import checks, committing
from uadbench.leaderboard.entries import RESULTS, Entry, read_entries, result_path, slim, write_lines
from uadbench.results.schema import Result
from uadbench.results.scores import score_hash
from uadbench.runs.fold_data import FoldData
from uadbench.runs.keys import Run
from uadbench.runs.run import complete
from uadbench.runtime.files import content_hash, keyed_seed
from uadbench.runtime.progress import Silent
from uadbench.types import UNSEEN, is_dementia

CPU = torch.device("cpu")
KEPT_OF_RUN = ("result.json", "scores.parquet", "protocol.json")
_runs: dict[tuple[str, int], Path] = {}
_committed: list[Path] = []


def run_folder(model: str, fold_data: FoldData, factory: pytest.TempPathFactory, seed: int = 0) -> Path:
    """The run folder of a model under smoke; the same whoever asks. Not to be written to."""
    if (model, seed) not in _runs:
        output = factory.mktemp("runs")
        _runs[model, seed] = complete(Run(model, fold_data, seed), output, CPU, Silent()).folder
    return _runs[model, seed]


def committed_folder(fold_data: FoldData, factory: pytest.TempPathFactory) -> Path:
    """A leaderboard folder with a real `mean` and a real `zscore`. Not to be written to."""
    if not _committed:
        root = factory.mktemp("committed") / "leaderboard"
        for model in ("mean", "zscore"):
            committing.add(run_folder(model, fold_data, factory), root)
        _committed.append(root)
    return _committed[0]


def copy_of(root: Path, target: Path) -> Path:
    """A leaderboard folder that a test may write to."""
    shutil.copytree(root, target)
    return target


def copied_run(run: Path, target: Path) -> Path:
    """What counts of a run folder, where a test may write."""
    target.mkdir(parents=True)
    for name in KEPT_OF_RUN:
        shutil.copy(run / name, target / name)
    return target


def the(root: Path, model: str) -> Entry:
    """The only entry of a model."""
    (found,) = [entry for entry in read_entries(root) if entry.result.model.name == model]
    return found


def edited(result: Result, **changes: Any) -> Result:
    """A result with other values, `a__b` for `a.b`."""
    content = result.model_dump(mode="json")
    for where, value in changes.items():
        *path, last = where.split("__")
        inner = content
        for key in path:
            inner = inner[int(key)] if key.isdigit() else inner[key]
        inner[last] = value
    return Result.model_validate(content)


def commit(root: Path, result: Result, table: pd.DataFrame) -> Entry:
    """Write a result and its cases to where they belong, without any check."""
    entry = Entry(root / RESULTS / result_path(result), result)
    entry.scores_file.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(entry.scores_file, index=False)  # also what `write_table` would not: a stranger's
    write_lines(entry.file, result)
    return entry


def commit_text(root: Path, entry: Entry, content: Any) -> Entry:
    """Overwrite the JSON of an entry: with a text, or with a value."""
    entry.file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return entry


def vouching(result: Result, table: pd.DataFrame) -> Result:
    """A result that vouches for these cases, whatever numbers it tells of."""
    return result.model_copy(update={"score_hash": score_hash(table)})


def consistent(root: Path, result: Result, table: pd.DataFrame) -> Entry:
    """Commit a result whose aggregates all follow from its cases, as a forger would."""
    return commit(root, checks.recomputed(result, table, checks.protocol_of(root, result)), table)


def shifted(table: pd.DataFrame, by: float, noise: float = 0.0, key: Any = 0) -> pd.DataFrame:
    """The cases with every average precision moved, and everybody's own by a draw that depends on `key`."""
    rng = np.random.default_rng(keyed_seed("shifted", key))
    people = sorted(set(table["participant_id"]))
    own = dict(zip(people, noise * rng.standard_normal(len(people)), strict=True))
    graded = table["anomaly"].map(lambda name: is_dementia(name) or name == UNSEEN)
    off = by + table["participant_id"].map(own).to_numpy(dtype=np.float64)
    columns = {
        name: np.where(graded, np.clip(table[name] + off, 0.0, 1.0), table[name])
        for name in ("ap.standard", "ap.native")
    }
    chance = table["prevalence"]
    columns["normalised_ap"] = np.where(
        graded, (columns["ap.standard"] - chance) / (1 - chance), table["normalised_ap"]
    )
    return slim(table.assign(**columns))


def made_up(
    root: Path,
    model: Entry,
    name: str,
    by: float = 0.0,
    *,
    seed: int = 0,
    fold: int = 0,
    noise: float = 0.02,
    options: dict[str, Any] | None = None,
    sound: bool = True,
    **changes: Any,
) -> Entry:
    """Commit a made-up model: the cases of a real one with its average precision moved.

    `sound` computes every aggregate again, which takes most of the time; else the JSON tells those of the real one, and
    the hash of the cases.
    """
    result = edited(model.result, model__name=name, seed=seed, fold=fold, **changes)
    result = edited(result, fit_key=content_hash(name, options, seed, fold))
    if options is not None:
        result = edited(result, model__options=options)
    table = shifted(model.scores(), by, noise, [name, options, seed, fold])
    return consistent(root, result, table) if sound else commit(root, vouching(result, table), table)
