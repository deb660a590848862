"""Removal of identities from results before they are shared: no participant ids, and no paths."""

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
"""Shortest id, with or without its `sub-`, that is searched for; shorter ones occur in any text."""

LEAST_PEOPLE = 5
"""Smallest number of participants in an aggregate; the mean over a single one would be that person's score."""

PERSONAL = ["age", "sex"]
"""Columns that are left out of the shared rows of a private cohort, since they narrow down who a person is."""

EXACT = ("severity", "prevalence", "effective_reduction")
"""Columns that follow from the protocol and from names in the table, so that rounding them would hide nothing."""


def shareable(folder: Path) -> tuple[Result, pd.DataFrame]:
    """The result and the scores of a run folder in a form that may be shared.

    For a private cohort, participants, sessions and sites in a run folder are already hashes. This function checks that
    no id remains, leaves out age and sex and what follows from them, and reduces paths in options to file names.

    Raises:
        InputError: If an id remains, or the protocol in the run folder is not that of the result.
    """
    result = read_result(folder)
    table = read_scores_of(result, folder / SCORES)
    if result.cohort.public:
        return result, table
    _protocol_of(folder, result)
    refuse_private(folder, result, table)
    options = {name: _without_folder(value) for name, value in result.model.options.items()}
    model = result.model.model_copy(update={"options": options})
    # without the rows' ages and sexes, nobody could check the bias audit
    return result.model_copy(update={"model": model, "bias": None}), table.drop(columns=PERSONAL, errors="ignore")


def share(folder: Path, output: Path, digits: int | None = None) -> Result:
    """Write the shareable `result.json` and `scores.parquet` of a run folder.

    Args:
        folder: The run folder.
        output: Where to write; it must not overlap with the run folder.
        digits: Number of significant digits to round to; None for no rounding.

    Returns:
        The result as written.

    Raises:
        InputError: If `shareable` raises it, or the folders overlap; nothing is written.
    """
    require_apart(folder, output)
    result, table = shareable(folder)
    if digits is not None:
        protocol = _protocol_of(folder, result)
        numbers = [str(name) for name in table.select_dtypes("number").columns.difference([*KEYS, *TRAITS, *EXACT])]
        table = table.assign(**{name: _rounded(table[name].to_numpy(dtype=np.float64), digits) for name in numbers})
        # round thresholds and curves first: aggregates are then computed from rounded scores and thresholds
        result = _again(Result.model_validate(_coarse(result.model_dump(mode="json"), digits)), table, protocol)
    require_writable(output)
    write_scored(result, table, output)
    return result


def share_aggregates(folder: Path, output: Path, digits: int | None = None) -> dict[str, Any]:
    """Write `aggregates.json`: the result without rows or numbers of single cases.

    Test sets and strata of fewer than LEAST_PEOPLE participants are left out, as are aggregates with such groups, and
    the hash of the scores.

    Args:
        folder: The run folder.
        output: Where to write; it must not overlap with the run folder.
        digits: Number of significant digits to round to; None for no rounding.

    Returns:
        The content of the file.

    Raises:
        InputError: If `shareable` raises it, there are too few test participants, or the folders overlap; nothing is
            written.
    """
    require_apart(folder, output)
    result, table = shareable(folder)
    if result.cohort.test < LEAST_PEOPLE:
        raise InputError(f"{folder}: {result.cohort.test} test participants; aggregates need at least {LEAST_PEOPLE}")
    audited = result.model_copy(update={"bias": read_result(folder).bias})
    content = audited.model_dump(mode="json", exclude={"score_hash"})
    content["strata"] = _large(content["strata"], result.cohort.test)
    few = {name for name, rows in table.groupby("anomaly")["participant_id"] if rows.nunique() < LEAST_PEOPLE}
    content["scores"] = [each for each in content["scores"] if each["anomaly"] not in few]
    if content["robustness"] is not None and content["robustness"]["participants"] < LEAST_PEOPLE:
        content["robustness"] = None
    if content["bias"] is not None and any(each["participants"] < LEAST_PEOPLE for each in content["bias"]["groups"]):
        content["bias"] = None  # a small group would follow from the others
    detection = content["detection"]
    detection["testsets"] = [each for each in detection["testsets"] if each["anomaly"] not in few]
    detection["threshold"] = None  # the score of a single validation scan
    for part in (detection, *detection["patients"]):
        if part["clinical_patients"] < LEAST_PEOPLE:
            part["clinical"] = dict.fromkeys(part["clinical"])
    if any(each["patients"] < LEAST_PEOPLE for each in detection["patients"]):
        detection["patients"] = []  # the numbers of a small group would follow from those of all and of the others
    if digits is not None:
        content = _coarse(content, digits)
    require_writable(output)
    write_json(output / AGGREGATES, content)
    return content


def _large(strata: list[dict[str, Any]], people: int) -> list[dict[str, Any]]:
    """The strata with enough participants, unless the rest could be computed as the difference from the total."""
    large = [each for each in strata if each["participants"] >= LEAST_PEOPLE]
    left = {by: people - sum(each["participants"] for each in large if each["by"] == by) for by in STRATA}
    return [each for each in large if not 0 < left[each["by"]] < LEAST_PEOPLE]


def refuse_private(folder: Path, result: Result, table: pd.DataFrame) -> None:
    """Raise InputError if a result or its cases name a participant of a private cohort.

    Args:
        folder: The run folder that the result is from; it lists the ids.
        result: The result.
        table: One row per case.
    """
    if result.cohort.public:
        return
    ids = _participants(folder)
    content = result.model_dump(mode="json", exclude={"provenance"})  # which only holds versions and dates
    refuse_ids(f"{folder}: the result", _strings(content), ids)
    words = table.select_dtypes(exclude="number")
    for name in words:
        refuse_ids(f"{folder}: the scores' column {name}", map(str, words[name].unique()), ids)


def _participants(folder: Path) -> set[str]:
    """The ids of the participants of a run folder that results do not contain."""
    try:
        parts = read_json(folder / PEOPLE, LARGEST_SEALED)
        rows = [row for part, rows in parts.items() if part != "sites" for row in rows]
        return {str(row[0]) for row in rows if len(row) > 2}
    except (OSError, ValueError, AttributeError, TypeError, IndexError, KeyError, RecursionError):
        return set()


def refuse_ids(where: str, texts: Iterable[str], ids: Iterable[str]) -> None:
    """Raise InputError if a text contains a participant's id, with or without its `sub-`, as a separate word.

    Ids shorter than SHORTEST characters, such as 7, occur in any text and are not searched for.
    """
    content = "\n".join(texts).lower()
    for name in ids:
        bare = name.removeprefix("sub-")
        for form in {form for form in (name, bare) if len(form) >= SHORTEST}:
            # the plain search first, which is fast
            if form.lower() in content and re.search(rf"(?<![a-z0-9]){re.escape(form.lower())}(?![a-z0-9])", content):
                advice = "remove it (is it in a path among the model's options?) and run again"
                raise InputError(f"{where} contains '{form}', which names a participant; {advice}")


def _protocol_of(folder: Path, result: Result) -> Protocol:
    protocol = stored_protocol(folder, result.protocol.name)
    if protocol.hash != result.protocol.hash:
        raise InputError(f"{folder}: its protocol.json is not the protocol of its result; run again")
    return protocol


def _again(result: Result, table: pd.DataFrame, protocol: Protocol) -> Result:
    """The result with everything that follows from its cases recomputed."""
    limits = result.detection.voxel_thresholds
    thresholds = {each.false_positive_rate: Threshold(each.value, each.low, each.high) for each in limits}
    scored = aggregate.aggregates(table, protocol, result.headline.validation_mse, thresholds)
    return result.model_copy(update=vars(scored))


def _without_folder(value: JsonValue) -> JsonValue:
    """An option's value; an absolute path is reduced to the file name."""
    if isinstance(value, str) and _ABSOLUTE.match(value):
        return PurePath(value.replace("\\", "/")).name
    if isinstance(value, list):
        return [_without_folder(each) for each in value]
    if isinstance(value, Mapping):
        return {name: _without_folder(each) for name, each in value.items()}
    return value


_ABSOLUTE = re.compile(r"[/~\\]|[A-Za-z]:[/\\]|file:")

_MEASURED = ("headline", "detection", "strata", "robustness", "bias", "scores", "training")
"""The parts of a result that are measured on scans."""


def _coarse(content: dict[str, Any], digits: int) -> dict[str, Any]:
    """A result's JSON with measured values rounded to `digits` significant digits."""
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
    """Yield every string in a JSON value, including keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
