"""The scores of a model, one row per case: ranking scores, summaries, a hash, and the sealed Parquet file."""

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
"""Largest size of a file of scores, in bytes."""
LEVEL = 15
"""Compression level of zstd; higher levels take twice as long and save a thousandth."""
KEYS = ("participant_id", "session_id", "anomaly", "severity")
TRAITS = ("mmse", "age", "sex", "site", "scanner", "amyloid", "group")
"""Columns that describe the person, and are not scores of the model."""
TEXTS = ("participant_id", "session_id", "anomaly", *TRAITS[2:])
"""The columns with text; all others hold numbers."""


def summarise(table: pd.DataFrame) -> list[TestSetScores]:
    """Mean with its interval, SD and count of every metric on every test set, from one row per case."""
    names = [column for column in table.columns if column not in (*KEYS, *TRAITS)]
    summary = []
    for (anomaly, severity), rows in by_testset(table):
        people = rows.groupby("participant_id")[names].mean().to_numpy(dtype=np.float64)  # sorted by participant
        intervals = mean_intervals(people)
        values = rows[names].to_numpy(dtype=np.float64).T
        metrics = {
            name: _estimate(column, interval) for name, column, interval in zip(names, values, intervals, strict=True)
        }
        defined = {name: estimate for name, estimate in metrics.items() if estimate.n}
        summary.append(TestSetScores(anomaly=anomaly, severity=severity, metrics=defined))
    return summary


def by_testset(table: pd.DataFrame) -> Iterator[tuple[tuple[str, float | None], pd.DataFrame]]:
    """Yield (anomaly, severity) and rows of each test set, in the order of the table; severity is None for `varied`."""
    label = table["severity"].where(table["anomaly"] != VARIED, -1.0)
    for key, rows in table.groupby([table["anomaly"], label], sort=False):
        anomaly, severity = str(key[0]), float(str(key[1]))
        yield (anomaly, None if severity < 0 else severity), rows


def ranking_scores(
    table: pd.DataFrame, severities: tuple[float, ...], column: str = "ap.standard", halves: str = "both"
) -> pd.Series[float]:
    """The ranking score of each participant, by default the average precision on the standard map.

    It is the mean of two halves: the mean over dementias and ranking severities, and the mean over `unseen` and ranking
    severities.

    Args:
        table: One row per case.
        severities: The severities that count for the ranking.
        column: The score.
        halves: "both", or one of them: "dementias" or "unseen".

    Returns:
        Score by participant; NaN if a case of the participant has no score.
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
    """The mean of each participant's rows, NaN if one is missing; vectorised if all have the same number of rows."""
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
    """Write a table as a sealed Parquet file, atomically."""
    with atomic_path(file) as partial:
        put_table(table, partial)


def write_scored(result: Result, table: pd.DataFrame, folder: Path) -> None:
    """Write the scores and their result into a folder: either both or neither (`files.write_together`)."""
    text = result_text(result)
    write_together(
        {
            folder / SCORES: lambda partial: put_table(table, partial),
            folder / RESULT: lambda partial: partial.write_text(text, encoding="utf-8"),
        }
    )


def put_table(table: pd.DataFrame, partial: Path) -> None:
    """Write a table as sealed Parquet to a temporary path from `runtime.files`.

    Columns whose numbers all have at most six significant digits are stored in single precision, from which
    `read_table` restores every number exactly; others are stored in double precision.
    """
    import pyarrow
    import pyarrow.parquet

    table = table.astype(dict.fromkeys(table.select_dtypes(np.float32), np.float64))
    plain = pyarrow.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
    sealed = plain.replace_schema_metadata({SEAL: _seal(plain.to_pandas())})
    floats = [field.name for field in plain.schema if pyarrow.types.is_floating(field.type)]
    for index, name in enumerate(plain.column_names):
        if plain.schema.field(name).type == pyarrow.float64():
            narrow = narrowed(table[name].to_numpy(dtype=np.float64))
            if narrow is not None:
                sealed = sealed.set_column(index, name, pyarrow.array(narrow, from_pandas=True))
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
    """Read a table of scores from an untrusted source; the seal is checked if there is one.

    Args:
        file: The file.
        most: Largest allowed size, in bytes.

    Returns:
        One row per case.

    Raises:
        InputError: If the file is missing, damaged, too large, or not a table of scores.
    """
    try:
        stored = read_flat(read_bytes(file, most), TEXTS)
        seal = (stored.schema.metadata or {}).get(SEAL.encode())
        table = _wide(stored.replace_schema_metadata(None).to_pandas())
    except FileNotFoundError:
        raise InputError(f"{file}: cannot be read (no such file)") from None
    except InputError:
        raise
    except Exception as error:  # pyarrow raises many kinds of exceptions for damaged files
        raise InputError(f"{file}: cannot be read ({' '.join(str(error).split())[:200]})") from None
    if seal is not None and seal != _seal(table).encode():
        raise InputError(f"{file}: is corrupted: it was changed after it was written")
    _require_kinds(file, table)
    return table


def _wide(table: pd.DataFrame) -> pd.DataFrame:
    """A table in which single-precision numbers are replaced by the six-digit decimals that they represent."""
    single = [name for name in table.columns if table[name].dtype == np.float32]
    return table.assign(**{name: widened(table[name].to_numpy(dtype=np.float32)) for name in single})


def _require_kinds(file: Path, table: pd.DataFrame) -> None:
    """Raise InputError for a column of the wrong type, and for names with invisible characters."""
    for name in table.columns:
        numeric = pd.api.types.is_numeric_dtype(table[name])
        if numeric == (name in TEXTS) and not (name in TRAITS and table[name].isna().all()):
            raise InputError(f"{file}: column {name} holds {table[name].dtype}")
    for key in KEYS[:3]:
        for name in table[key].unique() if key in table else ():
            if isinstance(name, str) and steers(name):
                raise InputError(f"{file}: {key} {name[:80]!r}; use letters, digits and visible characters")


def scores_beside(reference: Path) -> Path:
    """The path of a result's scores: in its run folder, or beside its file under the same name or their own."""
    beside = reference.with_suffix(".parquet")
    return (
        reference / SCORES if reference.is_dir() else beside if os.path.lexists(beside) else reference.parent / SCORES
    )


def read_scores_of(result: Result, file: Path, most: int = LARGEST) -> pd.DataFrame:
    """Read the scores of a result.

    Raises:
        InputError: If they are not the scores of this result, or `read_table` raises it.
    """
    table = read_table(file, most)
    try:
        same = score_hash(table) == result.score_hash
    except (KeyError, TypeError, ValueError):
        same = False
    if not same:
        raise InputError(f"{file}: these are not the scores of its result; repeat the run")
    return table


def _seal(table: pd.DataFrame) -> str:
    """A hash of the names, types and values of a table."""
    columns = [[str(name), str(kind)] for name, kind in table.dtypes.items()]
    return content_hash(columns, pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes())


def read_scores(folder: Path) -> pd.DataFrame:
    """Read the scores in a run folder.

    Raises:
        InputError: If `read_table` raises it.
    """
    return read_table(folder / SCORES)


def has_scores(folder: Path, expected: str) -> bool:
    """Whether a run folder has scores whose hash is `expected`."""
    try:
        return score_hash(read_scores(folder)) == expected
    except (InputError, KeyError, TypeError, ValueError):
        return False


def scans_put_aside(folder: Path) -> int:
    """Number of scans whose rows an unfinished evaluation has stored in a folder.

    Each table is named by the number of scans before it. A table that is damaged, or does not continue the one before
    it, is removed along with all later ones.
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
    """Summarise values; NaN is n/a, and an infinite value (PSNR of a perfect copy) makes the mean n/a."""
    defined = values[~np.isnan(values)]
    if not len(defined) or not np.isfinite(defined).all():
        return Estimate(mean=None, low=None, high=None, sd=None, n=len(defined))
    sd = float(defined.std(ddof=1)) if len(defined) > 1 else None
    low, high, spread = (None if value is None else rounded(value) for value in (interval.low, interval.high, sd))
    return Estimate(mean=rounded(float(defined.mean())), low=low, high=high, sd=spread, n=len(defined))
