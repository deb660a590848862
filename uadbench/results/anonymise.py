"""What may leave the machine: a result, with its scores or without, in which no one is named and no path is told."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd
from pydantic import JsonValue

from uadbench.cohorts.base import STRATA
from uadbench.errors import InputError
from uadbench.metrics.scan_score import Threshold
from uadbench.protocols.schema import Protocol, stored_protocol
from uadbench.results import aggregate
from uadbench.results.schema import PEOPLE, Result, read_result
from uadbench.results.scores import KEYS, SCORES, TRAITS, read_scores_of, write_scored
from uadbench.runtime.files import LARGEST_SEALED, require_apart, require_writable, write_json
from uadbench.runtime.reading import read_json

AGGREGATES = "aggregates.json"

SHORTEST = 4
"""An id, with or without its `sub-`, is looked for if it has so many characters; a shorter one is in every text."""

LEAST_PEOPLE = 5
"""Aggregates over fewer people are left out: a mean over one of them is that person's score."""

EXACT = ("severity", "prevalence", "effective_reduction", "ap.ceiling")
"""Columns that follow from the protocol and the names in the table; rounding them would hide nothing."""


def shareable(folder: Path) -> tuple[Result, pd.DataFrame]:
    """Result and scores of a run folder, as they may be shared.

    Of a private cohort people, sessions and sites are hashes in the run folder already; it is checked that no id is
    left, and options that hold a path keep the file's name alone.

    Raises:
        InputError: If an id is in them, if the run folder does not hold what the result was made with, or if an earlier
            version of uadbench made it, whose draws tell who is who.
    """
    result = read_result(folder)
    table = read_scores_of(result, folder / SCORES)
    if result.cohort.public:
        return result, table
    require_irreversible(str(folder), result)
    _protocol_of(folder, result)
    refuse_private(folder, result, table)
    options = {name: _without_folder(value) for name, value in result.model.options.items()}
    return result.model_copy(update={"model": result.model.model_copy(update={"options": options})}), table


def require_irreversible(label: str, result: Result) -> None:
    """Raises InputError for a result of a private cohort whose hashes can be matched to a list of ids."""
    if result.reversible:
        raise InputError(
            f"{label}: is a result of schema version {result.schema_version}, whose draws tell anyone with a list of "
            "ids who is who; repeat the run, and see docs/privacy.md about what was shared before"
        )


def share(folder: Path, output: Path, digits: int | None = None) -> Result:
    """Write what may be shared of a run folder, `result.json` and `scores.parquet`; returns the result as written.

    `digits`: to so many significant digits.

    Raises:
        InputError: And writes nothing, as `shareable` does, and for an output that is the run folder or lies in it.
    """
    require_apart(folder, output)
    result, table = shareable(folder)
    if digits is not None:
        protocol = _protocol_of(folder, result)
        numbers = [str(name) for name in table.select_dtypes("number").columns.difference([*KEYS, *TRAITS, *EXACT])]
        table = table.assign(**{name: _rounded(table[name].to_numpy(dtype=np.float64), digits) for name in numbers})
        # thresholds and curves first: aggregates follow from the former, and are then those of the rounded scores
        result = _again(Result.model_validate(_coarse(result.model_dump(mode="json"), digits)), table, protocol)
    require_writable(output)
    write_scored(result, table, output)
    return result


def share_aggregates(folder: Path, output: Path, digits: int | None = None) -> dict[str, Any]:
    """Write `aggregates.json`: the result without a row, or a number, of a single case; returns its content.

    Test sets and strata of fewer than LEAST_PEOPLE people are left out, and the hash of the scores.

    Raises:
        InputError: And writes nothing, as `share` does.
    """
    require_apart(folder, output)
    result, table = shareable(folder)
    if result.cohort.test < LEAST_PEOPLE:
        raise InputError(f"{folder}: {result.cohort.test} participants test; aggregates are of {LEAST_PEOPLE} at least")
    content = result.model_dump(mode="json", exclude={"score_hash"})
    content["strata"] = _large(content["strata"], result.cohort.test)
    few = {name for name, rows in table.groupby("anomaly")["participant_id"] if rows.nunique() < LEAST_PEOPLE}
    content["scores"] = [each for each in content["scores"] if each["anomaly"] not in few]
    detection = content["detection"]
    detection["testsets"] = [each for each in detection["testsets"] if each["anomaly"] not in few]
    detection["threshold"] = None  # one validation scan's own score
    if detection["clinical_patients"] < LEAST_PEOPLE:
        detection["clinical"] = dict.fromkeys(detection["clinical"])
    if digits is not None:
        content = _coarse(content, digits)
    require_writable(output)
    write_json(output / AGGREGATES, content)
    return content


def _large(strata: list[dict[str, Any]], people: int) -> list[dict[str, Any]]:
    """The strata of enough people, unless the others could be had as the difference from all."""
    large = [each for each in strata if each["participants"] >= LEAST_PEOPLE]
    left = {by: people - sum(each["participants"] for each in large if each["by"] == by) for by in STRATA}
    return [each for each in large if not 0 < left[each["by"]] < LEAST_PEOPLE]


def refuse_private(folder: Path, result: Result, table: pd.DataFrame) -> None:
    """Raise InputError if a result or its cases, made of those of a run folder, name a private cohort's participant."""
    if result.cohort.public:
        return
    ids = _participants(folder)
    told = result.model_dump(mode="json", exclude={"provenance"})  # which holds versions and dates alone
    refuse_ids(f"{folder}: the result", _strings(told), ids)
    words = table.select_dtypes(exclude="number")
    for name in words:
        refuse_ids(f"{folder}: the scores' column {name}", map(str, words[name].unique()), ids)


def _participants(folder: Path) -> set[str]:
    """Everybody whom a run folder knows by an id that results do not have."""
    try:
        parts = read_json(folder / PEOPLE, LARGEST_SEALED)
        rows = [row for part, rows in parts.items() if part != "sites" for row in rows]
        return {str(row[0]) for row in rows if len(row) > 2}
    except (OSError, ValueError, AttributeError, TypeError, IndexError, KeyError, RecursionError):
        return set()


def refuse_ids(where: str, texts: Iterable[str], ids: Iterable[str]) -> None:
    """Raise InputError if a text holds a participant's id, with or without its `sub-`, as a word of its own.

    Ids of fewer than SHORTEST characters, such as 7, are in any text and not looked for.
    """
    content = "\n".join(texts).lower()
    for name in ids:
        bare = name.removeprefix("sub-")
        for form in {form for form in (name, bare) if len(form) >= SHORTEST}:
            # looked for as it is first, which is fast
            if form.lower() in content and re.search(rf"(?<![a-z0-9]){re.escape(form.lower())}(?![a-z0-9])", content):
                advice = "take it out (a path among the model's options?) and run again"
                raise InputError(f"{where} contains '{form}', which names a participant; {advice}")


def _protocol_of(folder: Path, result: Result) -> Protocol:
    protocol = stored_protocol(folder, result.protocol.name)
    if protocol.hash != result.protocol.hash:
        raise InputError(f"{folder}: its protocol.json is not the protocol of its result; run again")
    return protocol


def _again(result: Result, table: pd.DataFrame, protocol: Protocol) -> Result:
    """The result with everything that follows from its cases computed again."""
    limits = result.detection.voxel_thresholds
    thresholds = {each.false_positive_rate: Threshold(each.value, each.low, each.high) for each in limits}
    scored = aggregate.aggregates(table, protocol, result.headline.validation_mse, thresholds)
    return result.model_copy(update=vars(scored))


def _without_folder(value: JsonValue) -> JsonValue:
    """An option's value; of the path of a file on this machine its name."""
    if isinstance(value, str) and _ABSOLUTE.match(value):
        return PurePath(value.replace("\\", "/")).name
    if isinstance(value, list):
        return [_without_folder(each) for each in value]
    if isinstance(value, Mapping):
        return {name: _without_folder(each) for name, each in value.items()}
    return value


_ABSOLUTE = re.compile(r"[/~\\]|[A-Za-z]:[/\\]|file:")

_MEASURED = ("headline", "detection", "strata", "scores", "training")
"""The parts of a result that were measured on scans."""


def _coarse(content: dict[str, Any], digits: int) -> dict[str, Any]:
    """A result's JSON with what was measured to so many significant digits."""
    return {key: _each_rounded(value, digits, key) if key in _MEASURED else value for key, value in content.items()}


def _each_rounded(value: Any, digits: int, key: str) -> Any:
    if isinstance(value, dict):
        return {name: _each_rounded(inner, digits, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_each_rounded(inner, digits, key) for inner in value]
    exact = key in {"severity", "severities", "false_positive_rate", "minimum_detectable"}
    return float(f"{value:.{digits}g}") if isinstance(value, float) and math.isfinite(value) and not exact else value


def _rounded(values: np.ndarray[Any, np.dtype[np.float64]], digits: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([float(f"{value:.{digits}g}") for value in values])


def _strings(value: JsonValue) -> Iterator[str]:
    """Every text in a JSON value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
