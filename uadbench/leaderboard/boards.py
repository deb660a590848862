"""Boards: committed results grouped into comparable sets, with one ranked row for each model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from uadbench.errors import InputError
from uadbench.leaderboard.entries import Entry
from uadbench.leaderboard.stability import COLUMNS, Alternative, alternative_scores, over_trainings, stability
from uadbench.leaderboard.tolerance import incomparable
from uadbench.protocols.schema import load_protocol, protocol_names
from uadbench.results.failed import failures, share_failed
from uadbench.results.model_scores import ModelScores, by_model
from uadbench.results.schema import Result
from uadbench.results.scores import ranking_scores
from uadbench.results.verdicts import sound_contrasts
from uadbench.runtime.files import LARGEST_SEALED, file_name
from uadbench.runtime.reading import read_json
from uadbench.stats.bootstrap import Interval, mean_intervals, mean_over_seeds
from uadbench.stats.trainings import score_noise
from uadbench.types import PATIENTS

BASELINES = ("identity", "mean", "zscore", "maxcheck", "zscore_glm")
"""Trivial reference models; a deep model is useful only if it outperforms them."""

PARTS = ("both", "dementias", "unseen", "native")
"""The scores of a row: the ranking AP, its halves, and that of the native map."""

REPRODUCED = "reproduced.json"
"""File of the reproduced results, by score hash; written by `leaderboard verify --rerun`."""


@dataclass(frozen=True)
class Row:
    """One model, with given options, and all of its runs on a board.

    Attributes:
        name: Name of the model, with the options in which its rows differ.
        entries: Its committed results whose training did not fail; only these count.
        scores: The ranking AP of these results.
        parts: Mean and 95 % interval over participants and seeds of the ranking AP (`both`), of the dementias and the
            unseen anomalies alone (`dementias`, `unseen`), and of the native map (`native`).
        reproduced: Whether a rerun has reproduced every run.
        rank: Lowest and highest rank, of simultaneous 95 % confidence sets; None if all trainings failed.
        failed: Its committed results whose training failed, each with the reason.
        alternatives: Other scores of the same runs (see `stability`).
    """

    name: str
    entries: tuple[Entry, ...]
    scores: ModelScores
    parts: dict[str, Interval]
    reproduced: bool
    rank: tuple[int, int] | None = None
    failed: tuple[tuple[Entry, str], ...] = ()
    alternatives: Mapping[str, float] = field(default_factory=dict)

    @property
    def result(self) -> Result:
        """The first run's result, for everything that all runs have in common."""
        return self.runs[0][0].result

    @property
    def runs(self) -> list[tuple[Entry, str]]:
        """All results by seed and fold, each with the reason why its training failed, or ""."""
        runs = [*((entry, "") for entry in self.entries), *self.failed]
        return sorted(runs, key=lambda run: (run[0].result.seed, run[0].result.fold))

    @property
    def failures(self) -> str:
        """How many trainings failed, such as "1 of 3 failed"; "" if none did."""
        return share_failed(len(self.failed), len(self.runs))

    @property
    def baseline(self) -> bool:
        """Whether the model is one of the trivial baselines."""
        return self.result.model.name in BASELINES

    @property
    def over_budget(self) -> bool:
        """Whether a run used more processor time than its protocol allows."""
        return any(entry.result.cost.over_budget for entry, _ in self.runs)

    @property
    def slug(self) -> str:
        """The row's name in file names and URLs."""
        plain = file_name(self.name.replace(" ", "_"))[:80]
        return plain if plain == self.name else f"{plain}-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Board:
    """Results of one protocol on one cohort's test sets; only results of the same board are ranked together.

    Attributes:
        protocol: Name of the protocol.
        cohort: Name of the cohort, followed by the test cohort if there is one.
        rows: The models, best first.
        conditional: Whether the variance between trainings of a model is unknown, and not included in the ranks.
        apart: Why the results are not on the newest board of this protocol and cohort; "" for the newest board.
    """

    protocol: str
    cohort: str
    rows: tuple[Row, ...]
    conditional: bool = False
    apart: str = ""

    @property
    def result(self) -> Result:
        """The first row's result; all results of a board share protocol, cohort and test sets."""
        return self.rows[0].result

    @property
    def stability(self) -> list[Alternative]:
        """How much the order of the models depends on what is scored."""
        return stability({row.name: row.alternatives for row in self.rows if row.alternatives})

    @property
    def slug(self) -> str:
        """The board's name in file names and URLs."""
        result = self.result
        cohort = result.cohort.tested_version or result.cohort.version
        version = f"-{result.protocol.hash[:8]}-{cohort}-{result.testset.recipe[:8]}" if self.apart else ""
        plain = file_name(f"{self.protocol}-{self.cohort}{version}")
        return plain if len(plain) <= 150 else f"{plain[:120]}-{hashlib.sha256(plain.encode()).hexdigest()[:8]}"


@dataclass
class _ComparableResults:
    """Results that can be ranked together."""

    entries: list[Entry] = field(default_factory=list)

    @property
    def recency(self) -> tuple[bool, int, tuple[int, str], str]:
        """Sort key for choosing the newest board: current protocol, then latest cohort version, then latest result."""
        result = self.entries[0].result
        version = result.cohort.tested_version or result.cohort.version
        current = result.protocol.hash in _shipped(result.protocol.name)
        return (
            current,
            result.protocol.version,
            version_key(version),
            max(e.result.provenance.finished for e in self.entries),
        )


def version_key(version: str) -> tuple[int, str]:
    """Sort key for cohort versions: numbers are compared as numbers."""
    return (int(version) if version.isdecimal() and len(version) < 10 else -1), version


def _shipped(name: str) -> tuple[str, ...]:
    """The hash of the built-in protocol of this name; empty if there is none."""
    return (load_protocol(name).hash,) if name in protocol_names() else ()


def boards(entries: Sequence[Entry], root: Path) -> list[Board]:
    """Group committed results into boards and rank the models of each.

    Args:
        entries: The committed results.
        root: The leaderboard folder, which lists the reproduced results.

    Returns:
        The boards, from the fastest protocol to the slowest; for one protocol and cohort, the newest first.

    Raises:
        InputError: If a table of cases cannot be read, or two results belong to the same run.
    """
    reproduced = read_reproduced(root)
    by_name: dict[tuple[str, str], list[_ComparableResults]] = {}
    for entry in sorted(entries, key=lambda entry: entry.file):
        versions = by_name.setdefault((entry.result.protocol.name, entry.result.cohort.title), [])
        match = next((v for v in versions if not incomparable(entry.result, v.entries[0].result)), None)
        if match is None:
            versions.append(match := _ComparableResults())
        match.entries.append(entry)
    ranked = []
    for (protocol, cohort), versions in sorted(
        by_name.items(), key=lambda item: (_protocol_order(item[0][0]), item[0])
    ):
        versions.sort(key=lambda version: version.recency, reverse=True)
        newest = versions[0].entries[0].result
        for version in versions:
            apart = "" if version is versions[0] else incomparable(version.entries[0].result, newest)
            ranked.append(Board(protocol, cohort, *_ranked(_rows(version.entries, reproduced)), apart))
    return ranked


def read_reproduced(root: Path) -> dict[str, Any]:
    """Read which results were reproduced by a rerun.

    Args:
        root: The leaderboard folder.

    Returns:
        Details of each rerun, by the score hash of the committed result; empty if there is no such file.

    Raises:
        InputError: If the file is corrupted.
    """
    file = root / REPRODUCED
    try:
        content = read_json(file, LARGEST_SEALED)
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
        if not all(isinstance(each, dict) and isinstance(each.get("result"), str) for each in content.values()):
            raise ValueError("an item does not name the file of its result")
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InputError(f"{file}: cannot be read ({error})") from None
    return content


def _rows(entries: Sequence[Entry], reproduced: dict[str, Any]) -> list[Row]:
    """One row for each model with its options, without ranks."""
    entries = sorted(entries, key=lambda entry: (entry.result.seed, entry.result.fold, str(entry.file)))
    reasons = dict(zip(map(id, entries), failures([entry.result for entry in entries]), strict=True))
    models = by_model(entries, lambda entry: entry.result, lambda entry: entry.file.parent)
    scored = {name: _scored(name, own, [reasons[id(entry)] for entry in own]) for name, own in models.items()}
    parts = {name: own for name, (own, _) in scored.items()}
    intervals = {part: _intervals([scores[part] for scores in parts.values()]) for part in PARTS}
    return [
        Row(
            name,
            tuple(entry for entry in own if not reasons[id(entry)]),
            parts[name]["both"],
            {part: intervals[part][position] for part in PARTS},
            all(entry.result.score_hash in reproduced for entry in own),
            failed=tuple((entry, reasons[id(entry)]) for entry in own if reasons[id(entry)]),
            alternatives=scored[name][1],
        )
        for position, (name, own) in enumerate(models.items())
    ]


def _intervals(models: Sequence[ModelScores]) -> list[Interval]:
    """Mean and interval of each model over participants and seeds; n/a if all its trainings failed."""
    noises = iter(score_noise([model.scored for model in models if model.sound]))
    return [
        mean_intervals(mean_over_seeds(model.values[..., None]), noise=next(noises))[0]
        if model.sound
        else Interval(None, None, None)
        for model in models
    ]


def _scored(
    name: str, entries: Sequence[Entry], reasons: Sequence[str]
) -> tuple[dict[str, ModelScores], Mapping[str, float]]:
    """Ranking AP over all anomalies, dementias alone, and unseen anomalies alone, and of the native map; alternatives.

    The alternatives are other scores of the runs whose training did not fail.
    """
    columns = ("participant_id", "anomaly", "severity", *COLUMNS)
    scores: dict[str, list[pd.Series[float]]] = {part: [] for part in PARTS}
    alternatives = []
    for entry, reason in zip(entries, reasons, strict=True):
        whole = entry.scores(columns)
        severities = entry.result.headline.severities
        try:
            table = whole[whole["severity"].isin(severities)]
            for halves in ("both", "dementias", "unseen"):
                scores[halves].append(ranking_scores(table, severities, "ap.standard", halves))
            scores["native"].append(ranking_scores(table, severities, "ap.native"))
            if not reason:
                alternatives.append(alternative_scores(entry.result, whole))
            complete = len(scores["both"][-1]) > 0 and bool(np.isfinite(scores["both"][-1]).all())
        except (KeyError, ValueError, TypeError):
            complete = False
        if not complete:
            raise InputError(
                f"{entry.scores_file}: scores needed for the ranking are missing; run 'uadbench leaderboard verify'"
            )
    results = [entry.result for entry in entries]
    parts = {part: ModelScores.of(name, results, own, reasons) for part, own in scores.items()}
    return parts, over_trainings(alternatives)


def _ranked(rows: list[Row]) -> tuple[tuple[Row, ...], bool]:
    """The rows with their ranks, best first, and whether the variance between trainings of one of them is unknown."""
    for row in rows[1:]:
        if row.scores.participants != rows[0].scores.participants:
            files = f"{rows[0].runs[0][0].file} and {row.runs[0][0].file}"
            raise InputError(f"{files} have different test participants and cannot be ranked together")
    _, found = sound_contrasts([row.scores for row in rows])
    ranks = iter(found.rank_sets() if found else [])
    ranked = [replace(row, rank=next(ranks)) if row.scores.sound else row for row in rows]
    best_first = sorted(ranked, key=lambda row: (row.rank is None, -(row.parts["both"].mean or 0.0), row.name))
    return tuple(best_first), found is not None and found.conditional


def _protocol_order(name: str) -> tuple[bool, int]:
    order = ("quick", "paper", "paper-cv", "smoke")
    return name not in order, order.index(name) if name in order else 0


def over_runs(row: Row, value: Any) -> float | None:
    """The mean of a number over a row's runs.

    Args:
        row: The row.
        value: A function that returns the number of a result, or None.

    Returns:
        The mean over the runs that count; None if there are none, or the number is missing in any of them.
    """
    values = [value(entry.result) for entry in row.entries]
    return None if not values or any(each is None for each in values) else float(np.mean(values))


def auroc(result: Result, anomaly: str, severity: float) -> float | None:
    """The AUROC of the scans of a test set against healthy scans; None if the result has no such test set."""
    detection = result.detected(anomaly, severity)
    return None if detection is None else detection.auroc.value


def lowest_ranked(result: Result) -> float:
    """The lowest severity that counts for the ranking."""
    return min(result.headline.severities)


def patient_groups(row: Row) -> dict[str, float | None]:
    """The AUROC of the patients with each diagnosis against healthy test scans, averaged over runs."""
    by_run = [{each.group: each.auroc.value for each in entry.result.detection.patients} for entry, _ in row.runs]
    names = [name for name in by_run[0] if all(name in groups for groups in by_run)]
    return {name: over_runs(row, lambda result, name=name: _auroc_of(result, name)) for name in names}


def _auroc_of(result: Result, group: str) -> float | None:
    return next(each.auroc.value for each in result.detection.patients if each.group == group)


def patients(result: Result) -> float | None:
    """The AUROC of patients against healthy test scans; None without patients."""
    return auroc(result, PATIENTS, 0.0)
