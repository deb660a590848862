"""Committed results as boards: one for all results that may stand side by side, a row for each model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from uadbench.errors import InputError
from uadbench.leaderboard.entries import Entry
from uadbench.leaderboard.tolerance import incomparable
from uadbench.protocols.schema import load_protocol, protocol_names
from uadbench.results.model_scores import ModelScores, by_model
from uadbench.results.schema import Result
from uadbench.results.scores import ranking_scores
from uadbench.runtime.files import LARGEST_SEALED, file_name
from uadbench.runtime.reading import read_json
from uadbench.stats.bootstrap import Interval, mean_intervals
from uadbench.stats.paired import rank_intervals, tie_groups
from uadbench.types import PATIENTS, Values

BASELINES = ("identity", "mean", "zscore", "maxcheck", "zscore_glm")
"""Models that learn nothing that deserves the name; a deep model that does not beat them has shown nothing."""

REPRODUCED = "reproduced.json"
"""Score hash -> how a rerun agreed; written by `leaderboard verify --rerun`."""


@dataclass(frozen=True)
class Row:
    """A model with all of its runs on a board.

    `scores` is (seeds, participants), the ranking AP, folds averaged within participant; `ranking`, `dementias`,
    `unseen` and `native` are its means with their intervals over participants and seeds.
    """

    name: str
    entries: tuple[Entry, ...]
    scores: Values
    parts: dict[str, Interval]
    reproduced: bool
    rank: tuple[int, int] = (0, 0)
    group: int = 0
    people: tuple[str, ...] = ()

    @property
    def result(self) -> Result:
        """Its first run, which tells what all have in common."""
        return self.entries[0].result

    @property
    def baseline(self) -> bool:
        """Whether it is one of the trivial baselines."""
        return self.result.model.name in BASELINES

    @property
    def over_budget(self) -> bool:
        """Whether one of its runs took more processor time than its protocol grants."""
        return any(entry.result.cost.over_budget for entry in self.entries)

    @property
    def slug(self) -> str:
        """Its name in files and addresses."""
        plain = file_name(self.name.replace(" ", "_"))[:80]
        return plain if plain == self.name else f"{plain}-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Board:
    """Results of one protocol on one cohort's test sets; only these are ranked against each other.

    `apart` says why they are not shown with others of the same protocol and cohort; "" for the newest.
    """

    protocol: str
    cohort: str
    rows: tuple[Row, ...]
    apart: str = ""

    @property
    def result(self) -> Result:
        """Any result: protocol, cohort and test sets are those of all."""
        return self.rows[0].result

    @property
    def slug(self) -> str:
        """Its name in files and addresses."""
        result = self.result
        cohort = result.cohort.tested_version or result.cohort.version
        version = f"-{result.protocol.hash[:8]}-{cohort}-{result.testset.recipe[:8]}" if self.apart else ""
        plain = file_name(f"{self.protocol}-{self.cohort}{version}")
        return plain if len(plain) <= 150 else f"{plain[:120]}-{hashlib.sha256(plain.encode()).hexdigest()[:8]}"


@dataclass
class _Pile:
    """Results that may stand side by side."""

    entries: list[Entry] = field(default_factory=list)

    @property
    def standing(self) -> tuple[bool, int, tuple[int, str], str]:
        """By which the pile that is shown first is chosen: today's protocol, the latest cohort, the latest result."""
        result = self.entries[0].result
        version = result.cohort.tested_version or result.cohort.version
        today = result.protocol.hash in _shipped(result.protocol.name)
        return (
            today,
            result.protocol.version,
            version_key(version),
            max(e.result.provenance.finished for e in self.entries),
        )


def version_key(version: str) -> tuple[int, str]:
    """By which versions of a cohort are put in order: numbers as numbers."""
    return (int(version) if version.isdecimal() and len(version) < 10 else -1), version


def _shipped(name: str) -> tuple[str, ...]:
    """The hash of the protocol that ships under a name, if one does."""
    return (load_protocol(name).hash,) if name in protocol_names() else ()


def boards(entries: Sequence[Entry], root: Path) -> list[Board]:
    """All boards, protocols from the quickest to the slowest, the newest of a protocol and cohort first.

    Raises:
        InputError: For a table of cases that cannot be read, or two results of one run.
    """
    reproduced = read_reproduced(root)
    by_name: dict[tuple[str, str], list[_Pile]] = {}
    for entry in sorted(entries, key=lambda entry: entry.file):
        people = entry.result.cohort
        name = people.name if people.tested_on is None else f"{people.name} -> {people.tested_on}"
        piles = by_name.setdefault((entry.result.protocol.name, name), [])
        home = next((p for p in piles if not incomparable(entry.result, p.entries[0].result)), None)
        if home is None:
            piles.append(home := _Pile())
        home.entries.append(entry)
    found = []
    for (protocol, cohort), piles in sorted(by_name.items(), key=lambda item: (_protocol_order(item[0][0]), item[0])):
        piles.sort(key=lambda pile: pile.standing, reverse=True)
        for pile in piles:
            first = piles[0].entries[0].result
            apart = "" if pile is piles[0] else incomparable(pile.entries[0].result, first)
            found.append(Board(protocol, cohort, _ranked(_rows(pile.entries, reproduced)), apart))
    return found


def read_reproduced(root: Path) -> dict[str, Any]:
    """What reruns have confirmed, by score hash.

    Raises:
        InputError: For a damaged file.
    """
    file = root / REPRODUCED
    try:
        content = read_json(file, LARGEST_SEALED)
        if not isinstance(content, dict):
            raise ValueError("it is no object")
        if not all(isinstance(each, dict) and isinstance(each.get("result"), str) for each in content.values()):
            raise ValueError("it tells of a result without its file")
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InputError(f"{file}: cannot be read ({error})") from None
    return content


def _rows(entries: Sequence[Entry], reproduced: dict[str, Any]) -> list[Row]:
    """A row for every model and its options."""
    rows = []
    for name, own in by_model(entries, lambda entry: entry.result, lambda entry: entry.file.parent).items():
        own.sort(key=lambda entry: (entry.result.seed, entry.result.fold, str(entry.file)))
        parts = _parts(name, own)
        confirmed = all(entry.result.score_hash in reproduced for entry in own)
        intervals = {part: mean_intervals(scores.values[..., None])[0] for part, scores in parts.items()}
        ranked = parts["both"]
        rows.append(Row(name, tuple(own), ranked.values, intervals, confirmed, people=ranked.participants))
    return rows


def _parts(name: str, entries: Sequence[Entry]) -> dict[str, ModelScores]:
    """What ranks, its halves, and the native map."""
    columns = ("participant_id", "anomaly", "severity", "ap.standard", "ap.native")
    found: dict[str, dict[tuple[int, int], pd.Series[float]]] = {}
    for entry in entries:
        table = entry.scores(columns)
        severities = entry.result.headline.severities
        run = entry.result.seed, entry.result.fold
        try:
            table = table[table["severity"].isin(severities)]
            for halves in ("both", "dementias", "unseen"):
                found.setdefault(halves, {})[run] = ranking_scores(table, severities, "ap.standard", halves)
            found.setdefault("native", {})[run] = ranking_scores(table, severities, "ap.native")
            sound = len(found["both"][run]) > 0 and bool(np.isfinite(found["both"][run]).all())
        except (KeyError, ValueError, TypeError):
            sound = False
        if not sound:
            raise InputError(f"{entry.scores_file}: lacks scores that rank; run 'uadbench leaderboard verify'")
    return {part: ModelScores.of(name, runs) for part, runs in found.items()}


def _ranked(rows: list[Row]) -> tuple[Row, ...]:
    """Best first, with groups that cannot be told apart from their best, and ranks (95 %)."""
    for row in rows[1:]:
        if row.people != rows[0].people:
            files = f"{rows[0].entries[0].file} and {row.entries[0].file}"
            raise InputError(f"{files} have other test participants, and cannot be ranked together")
    scores = [row.scores for row in rows]
    placed = [
        replace(row, rank=rank, group=group)
        for row, rank, group in zip(rows, rank_intervals(scores), tie_groups(scores), strict=True)
    ]
    return tuple(sorted(placed, key=lambda row: (row.group, -(np.nanmean(row.scores)), row.name)))


def _protocol_order(name: str) -> tuple[bool, int]:
    order = ("quick", "paper", "paper-cv", "smoke")
    return name not in order, order.index(name) if name in order else 0


def over_runs(row: Row, value: Any) -> float | None:
    """The mean over a row's runs of what `value` gives of a result; None if it is n/a in one."""
    known = [value(entry.result) for entry in row.entries]
    return None if any(each is None for each in known) else float(np.mean(known))


def detectable(result: Result) -> list[float | None]:
    """The minimum detectable severity of each dementia."""
    return [each.minimum_detectable for each in result.detection.severities if each.anomaly in result.dementias]


def auroc(result: Result, anomaly: str, severity: float) -> float | None:
    """The AUROC of the scans of a test set."""
    found = result.detected(anomaly, severity)
    return None if found is None else found.auroc.value


def lowest_ranked(result: Result) -> float:
    """The lowest severity that ranks."""
    return min(result.headline.severities)


def patients(result: Result) -> float | None:
    """The AUROC of patients against healthy test scans."""
    return auroc(result, PATIENTS, 0.0)
