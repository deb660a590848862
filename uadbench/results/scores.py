"""One row a case: what a model scored, by test set and by participant; its summary, its hash, its file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from uadbench.errors import InputError
from uadbench.results.schema import RESULT, Estimate, Result, TestSetScores, result_text, rounded
from uadbench.runtime.files import SEAL, atomic_path, content_hash, write_together
from uadbench.runtime.parquet import read_flat
from uadbench.runtime.reading import read_bytes
from uadbench.runtime.text import steers
from uadbench.stats.bootstrap import Interval, mean_intervals
from uadbench.stats.decimals import digits_of, narrowed, widened
from uadbench.types import UNSEEN, VARIED, Values, is_dementia

SCORES = "scores.parquet"
LARGEST = 256 << 20
"""Bytes of a table of scores, at most."""
LEVEL = 15
"""Of zstd's compression; higher ones take twice as long for a thousandth."""
KEYS = ("participant_id", "session_id", "anomaly", "severity")
TRAITS = ("mmse", "site", "scanner", "amyloid")
"""What a row tells of the person: no score of the model."""
TEXTS = ("participant_id", "session_id", "anomaly", *TRAITS[1:])
"""The columns that hold text; all others hold numbers."""


def summarise(table: pd.DataFrame) -> list[TestSetScores]:
    """Mean with its interval, SD and count of every metric on every test set, from one row a case."""
    names = [column for column in table.columns if column not in (*KEYS, *TRAITS)]
    summary = []
    for (anomaly, severity), rows in by_testset(table):
        people = rows.groupby("participant_id")[names].mean().to_numpy(dtype=np.float64)  # sorted by participant
        intervals = mean_intervals(people)
        values = rows[names].to_numpy(dtype=np.float64).T
        metrics = {
            name: _estimate(column, interval) for name, column, interval in zip(names, values, intervals, strict=True)
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
    dementias = [name for name in ranked["anomaly"].unique() if is_dementia(name)]
    parts = {
        "dementias": ranked[ranked["anomaly"].isin(dementias)],
        "unseen": ranked[ranked["anomaly"] == UNSEEN],
    }
    means = [_by_participant(rows, column) for name, rows in parts.items() if halves in ("both", name)]
    return sum(means[1:], means[0]) / len(means)


def _by_participant(rows: pd.DataFrame, column: str) -> pd.Series[float]:
    """The mean of each participant's rows, NaN where one is missing; at once where everybody has as many."""
    codes, people = pd.factorize(rows["participant_id"], sort=True)
    each = np.bincount(codes)
    if len(each) == 0 or each.min() != each.max():
        return rows.groupby("participant_id")[column].agg(lambda values: values.mean(skipna=False))
    values = rows[column].to_numpy(dtype=np.float64)[np.argsort(codes, kind="stable")]
    means = values.reshape(len(people), -1).mean(axis=1)
    return pd.Series(means, index=pd.Index(people, name="participant_id"), name=column)


def score_hash(table: pd.DataFrame) -> str:
    """A hash of all scores of all cases, rounded to six significant digits; row order does not matter."""
    ordered = table.sort_values(list(KEYS), kind="stable")
    digest = [content_hash([str(value) for value in ordered[key]]) for key in KEYS]
    for name in sorted(set(table.columns) - {*KEYS, *TRAITS}):
        values = ordered[name].to_numpy(dtype=np.float64)
        mantissa, exponent = digits_of(values)
        kind = np.where(np.isnan(values), 1, np.where(np.isposinf(values), 2, np.where(np.isneginf(values), 3, 0)))
        digest.append(content_hash(name, mantissa.tobytes(), exponent.tobytes(), kind.astype(np.int64).tobytes()))
    return content_hash(digest)


def write_table(table: pd.DataFrame, file: Path) -> None:
    """Write a table as Parquet, atomically."""
    with atomic_path(file) as partial:
        put_table(table, partial)


def write_scored(result: Result, table: pd.DataFrame, folder: Path) -> None:
    """Write the scores and the result that vouches for them into a folder: both or none (`files.write_together`)."""
    text = result_text(result)
    write_together(
        {
            folder / SCORES: lambda partial: put_table(table, partial),
            folder / RESULT: lambda partial: partial.write_text(text, encoding="utf-8"),
        }
    )


def put_table(table: pd.DataFrame, partial: Path) -> None:
    """Write a table as Parquet, sealed, to a temporary path that module `runtime.files` gave.

    Columns whose numbers all have six significant digits are stored in single precision, from which `read_table` brings
    back every number exactly; others stay in double precision.
    """
    import pyarrow
    import pyarrow.parquet

    table = table.astype(dict.fromkeys(table.select_dtypes(np.float32), np.float64))
    plain = pyarrow.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
    sealed = plain.replace_schema_metadata({SEAL: _seal(plain.to_pandas())})
    floats = [field.name for field in plain.schema if pyarrow.types.is_floating(field.type)]
    for place, name in enumerate(plain.column_names):
        if plain.schema.field(name).type == pyarrow.float64():
            narrow = narrowed(table[name].to_numpy(dtype=np.float64))
            if narrow is not None:
                sealed = sealed.set_column(place, name, pyarrow.array(narrow, from_pandas=True))
    pyarrow.parquet.write_table(
        sealed,
        partial,
        compression="zstd",
        compression_level=LEVEL,
        use_dictionary=[name for name in plain.column_names if name not in floats],
        use_byte_stream_split=floats,
        write_statistics=False,
    )


def read_table(file: Path, most: int = LARGEST) -> pd.DataFrame:
    """Read a table of scores that anybody may have written; one that was never sealed is taken as it is.

    Args:
        file: The file.
        most: How many bytes it may have.

    Returns:
        One row a case.

    Raises:
        InputError: It is not there, damaged, too large, or no table of scores.
    """
    try:
        stored = read_flat(read_bytes(file, most), TEXTS)
        seal = (stored.schema.metadata or {}).get(SEAL.encode())
        table = _wide(stored.replace_schema_metadata(None).to_pandas())
    except FileNotFoundError:
        raise InputError(f"{file}: cannot be read (no such file)") from None
    except InputError:
        raise
    except Exception as error:  # pyarrow has its own exception for each way in which a file can be broken
        raise InputError(f"{file}: cannot be read ({' '.join(str(error).split())[:200]})") from None
    if seal is not None and seal != _seal(table).encode():
        raise InputError(f"{file}: is damaged: it is not what was written")
    _require_kinds(file, table)
    return table


def _wide(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose numbers in single precision are the decimals of six digits that they stand for."""
    single = [name for name in table.columns if table[name].dtype == np.float32]
    return table.assign(**{name: widened(table[name].to_numpy(dtype=np.float32)) for name in single})


def _require_kinds(file: Path, table: pd.DataFrame) -> None:
    """Raise InputError for a column of the wrong kind, and for names that nobody can read."""
    for name in table.columns:
        numeric = pd.api.types.is_numeric_dtype(table[name])
        if numeric == (name in TEXTS) and not (name in TRAITS and table[name].isna().all()):
            raise InputError(f"{file}: column {name} holds {table[name].dtype}")
    for key in KEYS[:3]:
        for name in table[key].unique() if key in table else ():
            if isinstance(name, str) and steers(name):
                raise InputError(f"{file}: {key} {name[:80]!r}; use letters, digits and visible signs")


def scores_beside(reference: Path) -> Path:
    """Where the scores of a result lie: in its run folder, or beside its file under its name or their own."""
    beside = reference.with_suffix(".parquet")
    return (
        reference / SCORES if reference.is_dir() else beside if os.path.lexists(beside) else reference.parent / SCORES
    )


def read_scores_of(result: Result, file: Path, most: int = LARGEST) -> pd.DataFrame:
    """The scores that a result vouches for.

    Raises:
        InputError: For others, and as `read_table` does.
    """
    table = read_table(file, most)
    try:
        same = score_hash(table) == result.score_hash
    except (KeyError, TypeError, ValueError):
        same = False
    if not same:
        raise InputError(f"{file}: these are not the scores that the result vouches for; repeat the run")
    return table


def _seal(table: pd.DataFrame) -> str:
    """A hash of names, types and values."""
    columns = [[str(name), str(kind)] for name, kind in table.dtypes.items()]
    return content_hash(columns, pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes())


def read_scores(folder: Path) -> pd.DataFrame:
    """The scores of every case beside a result.

    Raises:
        InputError: As `read_table` does.
    """
    return read_table(folder / SCORES)


def has_scores(folder: Path, expected: str) -> bool:
    """Whether the scores of a run folder are there, and those whose hash a result holds."""
    try:
        return score_hash(read_scores(folder)) == expected
    except (InputError, KeyError, TypeError, ValueError):
        return False


def scans_put_aside(folder: Path) -> int:
    """How many scans' rows lie in a folder, in tables named by the number of scans before them.

    A table that is damaged, or does not follow the one before it, is removed with all that come after it.
    """
    done = 0
    for file in sorted(folder.glob("*.parquet")):
        try:
            rows = read_table(file) if file.stem == f"{done:06d}" else None
        except InputError:
            rows = None
        if rows is None:
            file.unlink()
        else:
            done += rows["participant_id"].nunique()
    return done


def _estimate(values: Values, interval: Interval) -> Estimate:
    """NaN is n/a for that case; an infinite value (PSNR of a perfect copy) leaves no mean."""
    known = values[~np.isnan(values)]
    if not len(known) or not np.isfinite(known).all():
        return Estimate(mean=None, low=None, high=None, sd=None, n=len(known))
    sd = float(known.std(ddof=1)) if len(known) > 1 else None
    low, high, spread = (None if value is None else rounded(value) for value in (interval.low, interval.high, sd))
    return Estimate(mean=rounded(float(known.mean())), low=low, high=high, sd=spread, n=len(known))
