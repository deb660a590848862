"""One row a case: what a model scored, by test set and by participant; its summary, its hash, its file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from uadbench.errors import InputError
from uadbench.resampling import Interval, Values, mean_intervals
from uadbench.results import DIGITS, Estimate, TestSetScores, rounded
from uadbench.store import atomic_path, content_hash
from uadbench.types import UNSEEN, VARIED, is_dementia

SCORES = "scores.parquet"
KEYS = ("participant_id", "session_id", "anomaly", "severity")
TRAITS = ("mmse", "site", "scanner", "amyloid")
"""What a row tells of the person: no score of the model."""


def summarise(table: pd.DataFrame) -> list[TestSetScores]:
    """Mean with its interval, SD and count of every metric on every test set, from one row a case."""
    names = [column for column in table.columns if column not in (*KEYS, *TRAITS)]
    summary = []
    for (anomaly, severity), rows in by_testset(table):
        people = rows.groupby("participant_id")[names].mean().to_numpy(dtype=np.float64)  # sorted by participant
        intervals = mean_intervals(people)
        metrics = {
            name: _estimate(rows[name].to_numpy(dtype=np.float64), interval)
            for name, interval in zip(names, intervals, strict=True)
        }
        known = {name: estimate for name, estimate in metrics.items() if estimate.n}
        summary.append(TestSetScores(anomaly=anomaly, severity=severity, metrics=known))
    return summary


def by_testset(table: pd.DataFrame) -> Iterator[tuple[tuple[str, float | None], pd.DataFrame]]:
    """The rows of each test set, under its anomaly and severity, in the order of the table."""
    label = table["severity"].where(table["anomaly"] != VARIED, -1.0)
    for key, rows in table.groupby([table["anomaly"], label], sort=False):
        anomaly, severity = str(key[0]), float(str(key[1]))
        yield (anomaly, None if severity < 0 else severity), rows


def ranking_scores(
    table: pd.DataFrame, severities: tuple[float, ...], column: str = "ap.standard", halves: str = "both"
) -> pd.Series[float]:
    """What ranks, by participant, from one row a case.

    Half the mean over dementias and ranking severities, half that over `unseen` and ranking severities; `halves` may
    ask for one of them ("dementias", "unseen"). NaN where a participant lacks a score.
    """
    ranked = table[table["severity"].isin(severities)]
    parts = {
        "dementias": ranked[ranked["anomaly"].map(is_dementia)],
        "unseen": ranked[ranked["anomaly"] == UNSEEN],
    }
    means = [
        rows.groupby("participant_id")[column].agg(lambda values: values.mean(skipna=False))
        for name, rows in parts.items()
        if halves in ("both", name)
    ]
    return sum(means[1:], means[0]) / len(means)


def score_hash(table: pd.DataFrame) -> str:
    """A hash of all scores of all cases, rounded to six significant digits; row order does not matter."""
    ordered = table.sort_values(list(KEYS), kind="stable")
    digest = [content_hash([str(value) for value in ordered[key]]) for key in KEYS]
    for name in sorted(set(table.columns) - {*KEYS, *TRAITS}):
        values = ordered[name].to_numpy(dtype=np.float64)
        finite = np.isfinite(values) & (values != 0)
        exponent = np.zeros(len(values), dtype=np.int64)
        exponent[finite] = np.floor(np.log10(np.abs(values[finite]))).astype(np.int64)
        mantissa = np.zeros(len(values), dtype=np.int64)
        mantissa[finite] = np.rint(values[finite] / 10.0 ** (exponent[finite] - DIGITS + 1)).astype(np.int64)
        carried = np.abs(mantissa) == 10**DIGITS  # 0.9999999 rounds to 1.00000, which is spelled with the next exponent
        mantissa[carried] //= 10
        exponent[carried] += 1
        kind = np.where(np.isnan(values), 1, np.where(np.isposinf(values), 2, np.where(np.isneginf(values), 3, 0)))
        digest.append(content_hash(name, mantissa.tobytes(), exponent.tobytes(), kind.astype(np.int64).tobytes()))
    return content_hash(digest)


def write_table(table: pd.DataFrame, file: Path) -> None:
    """Write a table as Parquet, atomically."""
    with atomic_path(file) as partial:
        table.to_parquet(partial, index=False, compression="zstd")


def read_scores(folder: Path) -> pd.DataFrame:
    """The scores of every case beside a result."""
    try:
        return pd.read_parquet(folder / SCORES)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / SCORES}: cannot be read ({' '.join(str(error).split())})") from None


def _estimate(values: Values, interval: Interval) -> Estimate:
    """NaN is n/a for that case; an infinite value (PSNR of a perfect copy) leaves no mean."""
    known = values[~np.isnan(values)]
    if not len(known) or not np.isfinite(known).all():
        return Estimate(mean=None, low=None, high=None, sd=None, n=len(known))
    sd = float(known.std(ddof=1)) if len(known) > 1 else None
    low, high, spread = (None if value is None else rounded(value) for value in (interval.low, interval.high, sd))
    return Estimate(mean=rounded(float(known.mean())), low=low, high=high, sd=spread, n=len(known))
