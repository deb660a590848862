"""A result: one cell's scores with full provenance, as checked JSON; the scores of every case beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from uadbench.errors import InputError
from uadbench.store import atomic_path, content_hash, write_json

SCHEMA_VERSION: Literal[1] = 1
RESULT = "result.json"
SCORES = "scores.parquet"
KEYS = ("participant_id", "session_id", "anomaly", "severity")
DIGITS = 6


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelCard(_Section):
    """Which model, with which options."""

    name: str
    options: dict[str, JsonValue]
    reconstructs: bool
    reference: str


class CohortCard(_Section):
    """Where the scans came from; `split` is the hash of who trained, validated and tested."""

    name: str
    version: str
    split: str
    train: int
    validation: int
    test: int


class ProtocolCard(_Section):
    """Under which protocol; `ranked` is false where it was changed from what ships with uadbench."""

    name: str
    version: int
    hash: str
    ranked: bool


class Fingerprint(_Section):
    """Of the test sets: `recipe` must be equal, the numbers of `sketch` equal to a tolerance."""

    recipe: str
    sketch: dict[str, float]


class Estimate(_Section):
    """Mean and standard deviation of a metric over the cases of a test set; None is n/a."""

    mean: float | None
    sd: float | None
    n: int


class TestSetScores(_Section):
    """All metrics of one test set; the healthy test scans are the set "healthy" at severity 0.

    Names are `<pair>.<region>.<metric>` (pairs: `healthy` is (x̂, x), `restoration` (x̂', x),
    `residual` (x̂', x'), `consistency` (x̂', x̂)), `ap.<map>`, `auroc.<map>` and `correlation.<map>` for the
    native and the standard map, `ap.ceiling` for the smoothed true reduction, `recovered`, `damage`, `identified`,
    and `healthiness.<image>`.
    """

    anomaly: str
    severity: float
    metrics: dict[str, Estimate]


class Headline(_Section):
    """The few numbers a table shows first. None is n/a.

    `ap_standard`: average precision of the standard map, mean over the ranking `severities` and
    dementias; `ap_native` the same of the native map; `prevalence` what chance would give.
    """

    severities: tuple[float, ...]
    ap_standard: float | None
    ap_native: float | None
    prevalence: float | None
    healthy_mse: float | None
    validation_mse: float | None


class Training(_Section):
    """The training curve: mean of every loss, and the healthy validation MSE, by epoch."""

    epochs: int
    best_epoch: int | None
    losses: list[dict[str, float]]
    validation_mse: list[float | None]


class Cost(_Section):
    """What the result cost on the machine that made it: no part of the scores or their hash."""

    train_seconds: float
    inference_seconds_per_scan: float | None
    evaluation_seconds: float
    peak_memory_mib: float
    parameters: int


class Provenance(_Section):
    """What made the result, and when."""

    uadbench: str
    python: str
    packages: dict[str, str]
    platform: str
    device: str
    threads: int
    commit: str | None
    revisions: dict[str, int]
    model_source: str
    finished: str


class Result(_Section):
    """One cell, whole. `score_hash` is a hash of every case's scores to six significant digits."""

    schema_version: Literal[1] = 1
    model: ModelCard
    cohort: CohortCard
    protocol: ProtocolCard
    fold: int
    seed: int
    fit_key: str
    eval_key: str
    testset: Fingerprint
    headline: Headline
    scores: list[TestSetScores]
    score_hash: str
    training: Training | None
    cost: Cost
    provenance: Provenance

    def metric(self, anomaly: str, severity: float, name: str) -> float | None:
        """The mean of a metric on one test set; None where it is n/a."""
        for scores in self.scores:
            if scores.anomaly == anomaly and math.isclose(scores.severity, severity) and name in scores.metrics:
                return scores.metrics[name].mean
        return None


def summarise(table: pd.DataFrame) -> list[TestSetScores]:
    """Mean, SD and count of every metric on every test set, from one row a case."""
    names = [column for column in table.columns if column not in KEYS]
    summary = []
    for (anomaly, severity), rows in table.groupby(["anomaly", "severity"], sort=False):
        metrics = {name: _estimate(rows[name].to_numpy(dtype=np.float64)) for name in names}
        known = {name: estimate for name, estimate in metrics.items() if estimate.n}
        summary.append(TestSetScores(anomaly=str(anomaly), severity=float(str(severity)), metrics=known))
    return summary


def mean_over(scores: list[TestSetScores], name: str, severities: tuple[float, ...]) -> float | None:
    """The mean of a metric over dementias at the given severities; None if any of them is n/a."""
    values = [
        scored.metrics[name].mean if name in scored.metrics else None
        for scored in scores
        if scored.anomaly != "healthy" and scored.severity in severities
    ]
    known = [value for value in values if value is not None]
    return _rounded(float(np.mean(known))) if known and len(known) == len(values) else None


def ranking_scores(table: pd.DataFrame, severities: tuple[float, ...]) -> pd.Series[float]:
    """What ranks, by participant: mean standard AP over dementias and ranking severities, from one row a case."""
    ranked = table[(table["anomaly"] != "healthy") & table["severity"].isin(severities)]
    return ranked.groupby("participant_id")["ap.standard"].mean()


def score_hash(table: pd.DataFrame) -> str:
    """A hash of all scores of all cases, rounded to six significant digits; row order does not matter."""
    ordered = table.sort_values(list(KEYS), kind="stable")
    digest = [content_hash([str(value) for value in ordered[key]]) for key in KEYS]
    for name in sorted(set(table.columns) - set(KEYS)):
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


def write_result(result: Result, table: pd.DataFrame, folder: Path) -> None:
    """Write the scores of every case, then the result that vouches for them."""
    write_table(table, folder / SCORES)
    write_json(folder / RESULT, result.model_dump(mode="json"))


def write_table(table: pd.DataFrame, file: Path) -> None:
    """Write a table as Parquet, atomically."""
    with atomic_path(file) as partial:
        table.to_parquet(partial, index=False, compression="zstd")


def read_result(reference: Path) -> Result:
    """Read a result from a run folder or a result file.

    Raises InputError where there is none or it does not fit the schema.
    """
    file = reference / RESULT if reference.is_dir() else reference
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{reference}: no result here; give a run folder or its {RESULT}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: not a readable JSON file ({error})") from None
    return check_result(content, str(file))


def check_result(content: Mapping[str, Any], label: str) -> Result:
    """Check the content of a result against the schema."""
    try:
        return Result.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{label}: not a result of schema version {SCHEMA_VERSION}: {where}: {first['msg']}") from None


def read_scores(folder: Path) -> pd.DataFrame:
    """The scores of every case beside a result."""
    try:
        return pd.read_parquet(folder / SCORES)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / SCORES}: cannot be read ({' '.join(str(error).split())})") from None


def _estimate(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Estimate:
    """NaN is n/a for that case; an infinite value (PSNR of a perfect copy) leaves no mean."""
    known = values[~np.isnan(values)]
    if not len(known) or not np.isfinite(known).all():
        return Estimate(mean=None, sd=None, n=len(known))
    sd = float(known.std(ddof=1)) if len(known) > 1 else None
    return Estimate(mean=_rounded(float(known.mean())), sd=None if sd is None else _rounded(sd), n=len(known))


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


if __name__ == "__main__":  # python -m uadbench.results > uadbench/result.schema.json
    print(json.dumps(Result.model_json_schema(), indent=2))
