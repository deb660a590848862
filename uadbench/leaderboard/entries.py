"""Committed results: which parts are kept, where they are stored, and how untrusted files are read and validated."""

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
from uadbench.runtime.text import escaped
from uadbench.stats.decimals import DIGITS
from uadbench.types import GIVEN

RESULTS = "results"

KEPT = (
    *("ap.standard", "ap.native", "prevalence", "auroc.standard", "correlation.standard"),
    *("normalised_ap", "effective_reduction", "dice.oracle", "subject.score", "recovered", "damage", "identified"),
    *(f"healthiness.{image}" for image in ("healthy", "altered", "from_healthy", "from_altered")),
    *(f"{pair}.whole.{metric}" for pair in ("residual", "restoration") for metric in ("mse", "mae", "psnr", "ssim")),
    "consistency.whole.ssim",
)
"""Metrics needed by the boards and the paper's exhibits; all others stay in the original run folder."""

KEPT_BEGINNINGS = ("recall.", "dice.fpr", "exceeding.")
"""Metrics whose names begin like this are kept as well."""

MEANS = (
    *("ap.standard", "normalised_ap", "prevalence", "effective_reduction", "recovered", "damage", "identified"),
    *("healthiness.healthy", "healthiness.from_altered", "residual.whole.mse", "restoration.whole.mse"),
)
"""Metrics whose means over test sets are read by the boards and by the metric gate (`tolerance.metrics_of`)."""

LARGEST_JSON, LARGEST_TABLE = 4 << 20, 64 << 20
"""Largest accepted files, in bytes."""

LARGEST_NUMBER = 1e15
LONGEST_MESSAGE = 400

NEEDED = ("ap.standard", "ap.native", "prevalence", "effective_reduction", "subject.score", "mmse")
"""Columns that every table of cases has."""

SHARES = ("ap.", "auroc.", "dice.", "recall.", "exceeding.", "prevalence", "identified", "severity")
"""Columns whose names begin like this hold numbers from 0 to 1."""

HASH = re.compile(r"[0-9a-f]{64}")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:,=+-]{0,79}")
"""Form of the names of models, cohorts, protocols and participants."""


@dataclass(frozen=True)
class Entry:
    """A committed result with its JSON file; the scores of every case are in a Parquet file beside it."""

    file: Path
    result: Result

    @property
    def scores_file(self) -> Path:
        """The file with the table of cases."""
        return self.file.with_suffix(".parquet")

    def scores(self, columns: tuple[str, ...] | None = None) -> pd.DataFrame:
        """Read the table of cases.

        Args:
            columns: The columns to return; all by default.

        Returns:
            The table, one row per case.

        Raises:
            InputError: If the table cannot be read, lacks a column, or does not match the result's score hash.
        """
        table = read_scores_of(self.result, self.scores_file, LARGEST_TABLE)
        if columns is None:
            return table
        if missing := [name for name in columns if name not in table]:
            raise InputError(f"{self.scores_file}: no column {missing[0]}")
        return table[list(columns)]


def slim(table: pd.DataFrame) -> pd.DataFrame:
    """Reduce a table of cases to what is committed.

    Args:
        table: The table of a run, one row per case.

    Returns:
        The metrics that the leaderboard needs, rounded to the digits of a result; custom test sets are left out.
    """
    kept = [name for name in table.columns if name in (*KEYS, *TRAITS, *KEPT) or name.startswith(KEPT_BEGINNINGS)]
    rows = table.loc[~table["anomaly"].str.startswith(GIVEN), kept].reset_index(drop=True)
    numbers = rows.select_dtypes("number").columns.difference(["severity"])
    return rows.assign(**{name: _rounded(rows[name].to_numpy(dtype=np.float64)) for name in numbers})


def _rounded(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Values rounded to DIGITS significant digits via their decimal text, so that rounding again changes nothing."""
    return np.array([float(f"{value:.{DIGITS}g}") for value in values])


def result_path(result: Result) -> Path:
    """The path of a result below `leaderboard/results`: protocol, cohort, model, and one file per run."""
    cohort = file_name(result.cohort.name)
    if result.cohort.tested_on is not None:
        cohort += f"--{file_name(result.cohort.tested_on)}"
    stem = f"fold{result.fold}-seed{result.seed}-{result.fit_key[:8]}-{result.protocol.hash[:8]}"
    return Path(file_name(result.protocol.name), cohort, file_name(result.model.name), f"{stem}.json")


def slim_means(result: Result) -> Result:
    """Reduce a result to what is committed.

    Args:
        result: The complete result.

    Returns:
        A copy with the means in MEANS only; the others can be computed from the cases (`scores.summarise`).
    """
    scores = [
        each.model_copy(update={"metrics": {name: e for name, e in each.metrics.items() if name in MEANS}})
        for each in result.scores
    ]
    return result.model_copy(update={"scores": scores})


def write_lines(file: Path, result: Result) -> None:
    """Write a result in the format of `in_lines`."""
    write_text(file, in_lines(result))


def in_lines(result: Result) -> str:
    """A result as compact JSON, one section or test set per line, so that diffs are readable."""
    content = result.model_dump(mode="json")
    scores = ",\n".join(map(_compact, content.pop("scores")))
    head = "".join(f"{_compact(key)}:{_compact(value)},\n" for key, value in content.items())
    return f'{{\n{head}"scores":[\n{scores}\n]}}\n'


def _compact(value: Any) -> str:
    return escaped(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def read_entries(root: Path) -> Iterator[Entry]:
    """Read all results of a leaderboard folder.

    Args:
        root: The leaderboard folder.

    Yields:
        The results, in the order of their file names.

    Raises:
        InputError: If a file is not a valid result or is stored under the wrong path; the message names file and
            reason.
    """
    for file in result_files(root):
        yield read_entry(file, root)


def result_files(root: Path) -> list[Path]:
    """List the result files of a leaderboard folder.

    Args:
        root: The leaderboard folder.

    Returns:
        The files, in the order of their names.

    Raises:
        InputError: If the folder has no results.
    """
    folder = root / RESULTS
    if not folder.is_dir():
        makes = command("uadbench", "leaderboard", "add", "RUN", root=root)
        raise InputError(f"{folder}: no such folder; add a result to create it: {makes}")
    return sorted(file for file in folder.rglob("*.json") if not is_part(file.relative_to(folder)))


def read_entry(file: Path, root: Path) -> Entry:
    """Read one committed result.

    Args:
        file: Its JSON file.
        root: The leaderboard folder.

    Returns:
        The result with its file.

    Raises:
        InputError: If the file is not a valid result, or is stored under the wrong path.
    """
    result = read_untrusted(file)
    if file.relative_to(root / RESULTS) != result_path(result):
        raise InputError(f"{file}: this result belongs in {result_path(result)}")
    return Entry(file, result)


def read_untrusted(file: Path) -> Result:
    """Read and validate a result from an untrusted source.

    Args:
        file: The JSON file.

    Returns:
        The result.

    Raises:
        InputError: If the file is not a valid result; the message is one line and gives the reason.
    """
    try:
        result = read_result(file, most=LARGEST_JSON, finite=True)
        _require_sense(file, result)
    except InputError as error:
        raise InputError(_in_a_line(str(error))) from None
    return result


def _require_sense(file: Path, result: Result) -> None:
    """Raises InputError for invalid names, numbers that cannot be scores, and sections that contradict each other."""
    for what, name in names_of(result):
        if not NAME.fullmatch(name):
            raise InputError(
                f"{file}: {what} has the invalid name {name[:80]!r}; use letters, digits and . _ : , = + -"
            )
    for what, name in _hashes(result):
        if not HASH.fullmatch(name):
            raise InputError(f"{file}: {what} is {name[:80]!r}, which is not a SHA-256 hash")
    for name, value in result.model.options.items():
        if names_code(value):
            raise InputError(
                f"{file}: option {name} of the model refers to a local code file, which others do not have"
            )
    for what, number in _numbers(result.model_dump(mode="python"), ""):
        if not abs(number) <= LARGEST_NUMBER:  # NaN is refused as well
            raise InputError(f"{file}: {what} is {number:g}, which is not a valid value")
    if min([*result.cost.model_dump(exclude_none=True).values()]) < 0:
        raise InputError(f"{file}: its cost has a negative value")
    keys = [(scores.anomaly, scores.severity) for scores in result.scores]
    if len(set(keys)) != len(keys):
        raise InputError(f"{file}: a test set appears twice")
    if not result.dementias or not set(result.headline.severities) <= set(result.severities):
        raise InputError(f"{file}: no dementias, or ranking severities are missing")
    if not result.headline.severities:
        raise InputError(f"{file}: no ranking severities")


def _in_a_line(text: str) -> str:
    """The message as one line of limited length, whatever text it quotes from the file."""
    plain = "".join(c if c.isprintable() else "?" for c in text)
    return plain if len(plain) <= LONGEST_MESSAGE else f"{plain[: LONGEST_MESSAGE - 3]}..."


def read_cases(file: Path) -> pd.DataFrame:
    """Read a table of cases without comparing it with its result.

    Args:
        file: The Parquet file.

    Returns:
        The table, one row per case.

    Raises:
        InputError: If the table cannot be read (see `read_table`).
    """
    return read_table(file, LARGEST_TABLE)


def check_cases(entry: Entry, table: pd.DataFrame) -> None:
    """Validate a table of cases.

    Args:
        entry: The result that the table belongs to.
        table: The table, one row per case.

    Raises:
        InputError: If columns are missing, a case appears twice, an id is invalid, or a number is out of range.
    """
    file = entry.scores_file
    missing = [name for name in (*KEYS, *NEEDED) if name not in table]
    if missing:
        raise InputError(f"{file}: no column {missing[0]}")
    for name in ("participant_id", "session_id", "anomaly"):
        for value in table[name]:
            if not isinstance(value, str) or not NAME.fullmatch(value):
                raise InputError(
                    _in_a_line(f"{file}: invalid {name} {str(value)[:80]!r}; use letters, digits and . _ : , = + -")
                )
    twice = table.duplicated(list(KEYS))
    if twice.any():
        first = table[twice].iloc[0]
        raise InputError(f"{file}: {first['participant_id']}, {first['anomaly']}, {first['severity']:g} appears twice")
    for column in table.select_dtypes("number"):
        values = table[column].to_numpy(dtype=np.float64)
        finite = values[np.isfinite(values)]
        low, high = _range(str(column))
        if ((finite < low) | (finite > high)).any():
            raise InputError(f"{file}: column {column} has values outside {low:g} to {high:g}")


def _range(column: str) -> tuple[float, float]:
    """Smallest and largest valid value of a column."""
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
