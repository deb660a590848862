"""A committed result: what is kept of one, where it lies, and reading it back without believing it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from uadbench.errors import InputError
from uadbench.registry import names_code
from uadbench.results.schema import Result, names_of, read_result
from uadbench.results.scores import KEYS, TRAITS, read_scores_of, read_table
from uadbench.runtime.commands import command
from uadbench.runtime.files import file_name, write_text
from uadbench.runtime.parts import is_part
from uadbench.stats.decimals import DIGITS
from uadbench.types import GIVEN

RESULTS = "results"

KEPT = (
    *("ap.standard", "ap.native", "ap.ceiling", "prevalence", "auroc.standard", "correlation.standard"),
    *("effective_reduction", "dice.oracle", "subject.score", "recovered", "damage", "identified"),
    *(f"healthiness.{image}" for image in ("healthy", "altered", "from_healthy", "from_altered")),
    *(f"{pair}.whole.{metric}" for pair in ("residual", "restoration") for metric in ("mse", "mae", "psnr", "ssim")),
    "consistency.whole.ssim",
)
"""The metrics that the board and the paper's exhibits need; regions and other pairs stay with whoever ran it."""

KEPT_BEGINNINGS = ("recall.", "dice.fpr", "exceeding.")

MEANS = (
    *("ap.standard", "prevalence", "recovered", "damage", "identified", "healthiness.healthy"),
    *("healthiness.from_altered", "residual.whole.mse", "restoration.whole.mse"),
)
"""The metrics whose means over test sets the board and the gate (`tolerance.metrics_of`) read."""

LARGEST_JSON, LARGEST_TABLE = 4 << 20, 64 << 20
"""Bytes beyond which a file is no result."""

LARGEST_NUMBER = 1e15
LONGEST_MESSAGE = 400

NEEDED = ("ap.standard", "ap.native", "ap.ceiling", "prevalence", "effective_reduction", "subject.score", "mmse")
"""The columns that every table of cases has."""

SHARES = ("ap.", "auroc.", "dice.", "recall.", "exceeding.", "prevalence", "identified", "severity")
"""Columns that begin like this hold numbers from 0 to 1."""

HASH = re.compile(r"[0-9a-f]{64}")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:,=+-]{0,79}")
"""What a model, cohort, protocol or participant may be called."""


@dataclass(frozen=True)
class Entry:
    """A committed result with its file; the scores of every case lie beside it."""

    file: Path
    result: Result

    @property
    def scores_file(self) -> Path:
        """The table of the cases."""
        return self.file.with_suffix(".parquet")

    def scores(self, columns: tuple[str, ...] | None = None) -> pd.DataFrame:
        """One row a case; some columns, or all.

        Raises:
            InputError: For a table that cannot be read, or is not the one that the result vouches for.
        """
        table = read_scores_of(self.result, self.scores_file, LARGEST_TABLE)
        if columns is None:
            return table
        if missing := [name for name in columns if name not in table]:
            raise InputError(f"{self.scores_file}: has no column {missing[0]}")
        return table[list(columns)]


def slim(table: pd.DataFrame) -> pd.DataFrame:
    """What is committed of a table of cases: the metrics that count, to as many digits as results hold.

    Test sets that were given to this run alone are left out.
    """
    kept = [name for name in table.columns if name in (*KEYS, *TRAITS, *KEPT) or name.startswith(KEPT_BEGINNINGS)]
    rows = table.loc[~table["anomaly"].str.startswith(GIVEN), kept].reset_index(drop=True)
    numbers = rows.select_dtypes("number").columns.difference(["severity"])
    return rows.assign(**{name: _rounded(rows[name].to_numpy(dtype=np.float64)) for name in numbers})


def _rounded(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """To DIGITS significant digits, by way of their decimal spelling, so that a second rounding changes nothing."""
    return np.array([float(f"{value:.{DIGITS}g}") for value in values])


def place(result: Result) -> Path:
    """Where a result lies under `leaderboard/results`: protocol, cohort, model, one file a run."""
    cohort = file_name(result.cohort.name)
    if result.cohort.tested_on is not None:
        cohort += f"--{file_name(result.cohort.tested_on)}"
    stem = f"fold{result.fold}-seed{result.seed}-{result.fit_key[:8]}-{result.protocol.hash[:8]}"
    return Path(file_name(result.protocol.name), cohort, file_name(result.model.name), f"{stem}.json")


def slim_means(result: Result) -> Result:
    """What is committed of a result: of the means over test sets only MEANS.

    All of them follow from the cases beside it (`scores.summarise`).
    """
    scores = [
        each.model_copy(update={"metrics": {name: e for name, e in each.metrics.items() if name in MEANS}})
        for each in result.scores
    ]
    return result.model_copy(update={"scores": scores})


def write_lines(file: Path, result: Result) -> None:
    """Write a result as `in_lines` spells it."""
    write_text(file, in_lines(result))


def in_lines(result: Result) -> str:
    """A result's JSON in little room: one section or test set a line, so that a change shows as one."""
    content = result.model_dump(mode="json")
    scores = ",\n".join(map(_compact, content.pop("scores")))
    head = "".join(f"{_compact(key)}:{_compact(value)},\n" for key, value in content.items())
    return f'{{\n{head}"scores":[\n{scores}\n]}}\n'


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def read_entries(root: Path) -> Iterator[Entry]:
    """All results under a leaderboard folder, in the order of their names.

    Raises:
        InputError: For one that is no result, or lies where it does not belong; the message names the file and the
            reason.
    """
    for file in result_files(root):
        yield read_entry(file, root)


def result_files(root: Path) -> list[Path]:
    """Where results lie in a leaderboard folder, in the order of their names.

    Raises:
        InputError: Without one.
    """
    folder = root / RESULTS
    if not folder.is_dir():
        makes = command("uadbench", "leaderboard", "add", "RUN", root=root)
        raise InputError(f"{folder}: no such folder; adding a result makes it: {makes}")
    return sorted(file for file in folder.rglob("*.json") if not is_part(file.relative_to(folder)))


def read_entry(file: Path, root: Path) -> Entry:
    """One committed result.

    Raises:
        InputError: For one that is none, or lies where it does not belong.
    """
    result = read_untrusted(file)
    if file.relative_to(root / RESULTS) != place(result):
        raise InputError(f"{file}: this result belongs into {place(result)}")
    return Entry(file, result)


def read_untrusted(file: Path) -> Result:
    """Read a result that anybody may have written.

    Raises:
        InputError: With the reason, for one that is not sound.
    """
    try:
        result = read_result(file, most=LARGEST_JSON, finite=True)
        _require_sense(file, result)
    except InputError as error:
        raise InputError(_in_a_line(str(error))) from None
    return result


def _require_sense(file: Path, result: Result) -> None:
    """Raises InputError for names that are none, numbers that are no scores, and parts that contradict each other."""
    for what, name in names_of(result):
        if not NAME.fullmatch(name):
            raise InputError(f"{file}: {what} is called {name[:80]!r}; use letters, digits and . _ : , = + -")
    for what, name in _hashes(result):
        if not HASH.fullmatch(name):
            raise InputError(f"{file}: {what} is {name[:80]!r}; that is no SHA-256")
    for name, value in result.model.options.items():
        if names_code(value):
            raise InputError(f"{file}: option {name} of the model names code in a file, which nobody else has")
    for what, number in _numbers(result.model_dump(mode="python"), ""):
        if not abs(number) <= LARGEST_NUMBER:  # nor is NaN
            raise InputError(f"{file}: {what} is {number:g}; that is no score")
    if min([*result.cost.model_dump(exclude_none=True).values()]) < 0:
        raise InputError(f"{file}: it cost less than nothing")
    keys = [(scores.anomaly, scores.severity) for scores in result.scores]
    if len(set(keys)) != len(keys):
        raise InputError(f"{file}: a test set is there twice")
    if not result.dementias or not set(result.headline.severities) <= set(result.severities):
        raise InputError(f"{file}: has no dementias, or not the severities that rank")
    if not result.headline.severities:
        raise InputError(f"{file}: no severity ranks")


def _in_a_line(text: str) -> str:
    """A message in which a key or value of the file cannot break lines or go on for pages."""
    plain = "".join(c if c.isprintable() else "?" for c in text)
    return plain if len(plain) <= LONGEST_MESSAGE else f"{plain[: LONGEST_MESSAGE - 3]}..."


def read_cases(file: Path) -> pd.DataFrame:
    """Read a table of cases whose result is yet to be compared with it.

    Raises:
        InputError: As `read_table` does.
    """
    return read_table(file, LARGEST_TABLE)


def check_cases(entry: Entry, table: pd.DataFrame) -> None:
    """Raises InputError for rows that are there twice, ids that are none, and numbers that are no scores."""
    file = entry.scores_file
    missing = [name for name in (*KEYS, *NEEDED) if name not in table]
    if missing:
        raise InputError(f"{file}: has no column {missing[0]}")
    for name in ("participant_id", "session_id", "anomaly"):
        for value in table[name]:
            if not isinstance(value, str) or not NAME.fullmatch(value):
                raise InputError(
                    _in_a_line(f"{file}: {name} {str(value)[:80]!r}; use letters, digits and . _ : , = + -")
                )
    twice = table.duplicated(list(KEYS))
    if twice.any():
        first = table[twice].iloc[0]
        raise InputError(f"{file}: {first['participant_id']}, {first['anomaly']}, {first['severity']:g} is there twice")
    for column in table.select_dtypes("number"):
        values = table[column].to_numpy(dtype=np.float64)
        known = values[np.isfinite(values)]
        low, high = _range(str(column))
        if ((known < low) | (known > high)).any():
            raise InputError(f"{file}: column {column} has numbers outside {low:g} to {high:g}; those are no scores")


def _range(column: str) -> tuple[float, float]:
    """Between which the numbers of a column lie."""
    if column.startswith("correlation."):
        return -1.0, 1.0
    return (0.0, 1.0) if column.startswith(SHARES) else (-LARGEST_NUMBER, LARGEST_NUMBER)


def _hashes(result: Result) -> Iterator[tuple[str, str]]:
    yield "fit_key", result.fit_key
    yield "eval_key", result.eval_key
    yield "score_hash", result.score_hash
    yield "the protocol's hash", result.protocol.hash
    yield "the fingerprint of the test sets", result.testset.recipe
    yield "the split", result.cohort.split


def _numbers(value: Any, where: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _numbers(inner, f"{where}[{index}]")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        try:
            yield where, float(value)
        except OverflowError:
            yield where, math.inf
