"""Checks of submitted results: aggregates are recomputed from the cases, and cases compared with the protocol's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from uadbench.errors import InputError
from uadbench.leaderboard.boards import version_key
from uadbench.leaderboard.entries import Entry, check_cases, read_cases, slim_means
from uadbench.leaderboard.expected import EXPECTED
from uadbench.leaderboard.tolerance import SKETCH
from uadbench.protocols.schema import LARGEST, Protocol, has_shipped
from uadbench.results.schema import Result
from uadbench.results.scores import KEYS, TRAITS
from uadbench.runtime.files import write_json
from uadbench.runtime.reading import first_fault, read_document
from uadbench.types import AUDIT, HEALTHY, HYPER, PATIENTS, SHIFTED, UNSEEN, VALIDATION, VARIED

if TYPE_CHECKING:
    from uadbench.cohorts.base import Cohort

PROTOCOLS = "protocols"
PUBLIC = "phantom"

PSEUDONYM = re.compile(r"anon-[0-9a-f]{16}")
"""Form of the participant names of a private cohort."""

EXACT = 2e-5
"""Relative tolerance of aggregates: they are the same sums on every machine, rounded to six digits."""

DERIVED = ("headline", "detection", "strata", "robustness", "bias", "scores")
"""Sections of a result that are computed from its cases."""


def protocol_file(root: Path, result: Result) -> Path:
    """The path at which the leaderboard stores the complete protocol of a result."""
    return root / PROTOCOLS / f"{result.protocol.name}-{result.protocol.hash[:8]}.json"


def keep_protocol(root: Path, result: Result, protocol: Protocol) -> None:
    """Store the protocol of a result in the leaderboard folder, unless it is there already."""
    file = protocol_file(root, result)
    if not file.is_file():
        write_json(file, protocol.model_dump(mode="json"))


def protocol_of(root: Path, result: Result) -> Protocol:
    """Read the protocol of a committed result.

    Args:
        root: The leaderboard folder.
        result: The committed result.

    Returns:
        The protocol.

    Raises:
        InputError: If the file is missing or unreadable, or holds a different protocol.
    """
    from pydantic import ValidationError

    file = protocol_file(root, result)
    try:
        protocol = Protocol.model_validate_json(read_document(file, LARGEST))
    except (OSError, ValidationError) as error:
        reason = str(error) if isinstance(error, OSError) else first_fault(error)[1]
        raise InputError(f"{file}: cannot read the protocol of {result.model.name} ({reason})") from None
    if protocol.hash != result.protocol.hash:
        raise InputError(f"{file}: not the protocol of {result.model.name} (hash {result.protocol.hash[:12]})")
    return protocol


def recomputed(result: Result, table: pd.DataFrame, protocol: Protocol) -> Result:
    """Recompute everything in a result that is derived from its cases.

    Args:
        result: The result.
        table: Its cases, one row each.
        protocol: Its protocol.

    Returns:
        A copy of the result with recomputed aggregates.
    """
    from uadbench.metrics.scan_score import Threshold
    from uadbench.results import aggregate

    limits = result.detection.voxel_thresholds
    thresholds = {limit.false_positive_rate: Threshold(limit.value, limit.low, limit.high) for limit in limits}
    parts = aggregate.aggregates(table, protocol, result.headline.validation_mse, thresholds)
    return result.model_copy(update=vars(parts))


def require_honest(label: str, result: Result, table: pd.DataFrame, protocol: Protocol) -> None:
    """Compare every aggregate of a result with the value recomputed from its cases.

    Args:
        label: The result's name in messages.
        result: The result, with the means over all test sets or with the committed ones only.
        table: Its cases, one row each.
        protocol: Its protocol.

    Raises:
        InputError: If an aggregate or the score hash differs; the message names the first one.
    """
    again = recomputed(result, table, protocol)
    if result.scores == slim_means(result).scores:
        again = slim_means(again)
    stated, actual = (each.model_dump(mode="json", include=set(DERIVED)) for each in (result, again))
    for where, one, other in _differences(stated, actual, ""):
        raise InputError(f"{label}: {where} is {one}, but its cases give {other} (edited, or from another version)")
    if again.score_hash != result.score_hash:
        raise InputError(f"{label}: its score hash does not match its cases")


def require_complete(label: str, result: Result, table: pd.DataFrame, protocol: Protocol) -> None:
    """Require every case of the protocol exactly once for each test participant, and no other cases.

    Args:
        label: The result's name in messages.
        result: The result.
        table: Its cases, one row each.
        protocol: Its protocol.

    Raises:
        InputError: If cases are missing, repeated, unscored, or not part of the protocol.
    """
    section = protocol.testsets
    people = sorted(table.loc[table["anomaly"] == HEALTHY, "participant_id"])
    if len(people) != result.cohort.test or len(set(people)) != len(people):
        raise InputError(f"{label}: {len(people)} healthy test scans, but the result states {result.cohort.test}")
    graded = [(name, severity) for name in (*section.anomalies, UNSEEN) for severity in section.severities]
    expected = [*graded, (HYPER, section.hyper.severity)]
    shifted = table["anomaly"].str.startswith(SHIFTED)
    counted = table[~table["anomaly"].isin([HEALTHY, PATIENTS, VALIDATION, AUDIT, VARIED]) & ~shifted]
    for name, severity in expected:
        cases = counted[(counted["anomaly"] == name) & np.isclose(counted["severity"], severity)]
        if sorted(cases["participant_id"]) != people:
            raise InputError(f"{label}: {name} at {severity:.0%} has {len(cases)} cases of {len(people)} participants")
    if len(counted) != len(people) * len(expected):
        raise InputError(f"{label}: has cases that are not part of protocol {protocol.name}")
    ranking = counted["severity"].isin(protocol.ranking.severities) & (counted["anomaly"] != HYPER)
    if unscored := int(counted.loc[ranking, "ap.standard"].isna().sum()):
        raise InputError(f"{label}: {unscored} ranking cases have no average precision")
    varied = table[table["anomaly"] == VARIED].groupby("participant_id").size()
    if list(varied.index) != people or set(varied) != {section.varied.draws}:
        raise InputError(f"{label}: {VARIED} does not have {section.varied.draws} cases for every participant")
    _require_shifted(label, table[shifted], protocol, people)
    unaltered = {VALIDATION: result.cohort.validation, PATIENTS: result.cohort.patients, AUDIT: result.cohort.audit}
    for name, count in unaltered.items():
        if (rows := int((table["anomaly"] == name).sum())) != count:
            raise InputError(f"{label}: the result states {count} {name} scans, but the table has {rows}")


def _require_shifted(label: str, rows: pd.DataFrame, protocol: Protocol, people: list[str]) -> None:
    """Require the shifted healthy scans of all test participants, and the shifted altered scans of enough of them."""
    section, counts = protocol.testsets.shifted, rows.groupby("anomaly").size().to_dict()
    expected = {f"{SHIFTED}{shift}": len(people) for shift in section.shifts}
    few = min(section.scans, len(people))
    expected |= {f"{name}:{anomaly}": few for name in list(expected) for anomaly in protocol.testsets.shifted_anomalies}
    twice = rows.duplicated(["anomaly", "participant_id"])
    if counts != expected or twice.any() or not set(rows["participant_id"]) <= set(people):
        raise InputError(f"{label}: its shifted scans are not those of protocol {protocol.name}")


def require_known_protocol(label: str, result: Result, protocol: Protocol) -> None:
    """Require a current or earlier built-in protocol, described correctly by the result.

    Args:
        label: The result's name in messages.
        result: The result.
        protocol: Its stored protocol.

    Raises:
        InputError: If the protocol was never part of uadbench, the result is unranked, or it describes the protocol
            incorrectly.
    """
    if not has_shipped(protocol):
        raise InputError(f"{label}: protocol {protocol.name} was changed for this run; only unchanged ones are ranked")
    if result.model.weights is not None:
        raise InputError(f"{label}: {result.unranked}; only models trained under the protocol are ranked")
    if result.model.unranked is not None:
        raise InputError(f"{label}: {result.unranked}; such results are not ranked")
    stated = result.protocol
    expected = (protocol.name, protocol.version, protocol.hash, protocol.intensity.kind, True)
    if (stated.name, stated.version, stated.hash, stated.intensity, stated.ranked) != expected:
        raise InputError(f"{label}: describes its protocol incorrectly: {stated.name}, version {stated.version}")


def require_public_cohort(label: str, result: Result, table: pd.DataFrame, protocol: Protocol) -> None:
    """Require the participants, split and cases of a public cohort to be those that the cohort really has.

    Skips private cohorts, whose participants are not available, and earlier versions of a public cohort, which have
    boards of their own.

    Args:
        label: The result's name in messages.
        result: The result.
        table: Its cases, one row each.
        protocol: Its protocol.

    Raises:
        InputError: If the cohort is wrongly called public or private, or anything stated about it is wrong.
    """
    private = [name for name in (result.cohort.name, result.cohort.tested_on) if name and not _is_public(name)]
    if result.cohort.public and private:
        raise InputError(f"{label}: cohort {private[0]} is not public")
    if not result.cohort.public and not private:
        raise InputError(f"{label}: cohort {result.cohort.name} is public")
    if not result.cohort.public:
        return
    from uadbench.cohorts.base import keys_of
    from uadbench.leaderboard.expected import expected_values
    from uadbench.runs.fold_data import PARTS, Selection, plan_fold

    cohort = _public(result.cohort.name)
    other = None if result.cohort.tested_on is None else _public(result.cohort.tested_on)
    versions = (result.cohort.version, result.cohort.tested_version)
    now = (cohort.version, None if other is None else other.version)
    if versions != now:
        if any(version_key(one or "") > version_key(latest or "") for one, latest in zip(versions, now, strict=True)):
            raise InputError(f"{label}: cohort {cohort.name} has no version {versions[0]}")
        return
    roles = Selection(tuple(result.cohort.healthy), tuple(result.cohort.ill), test_cohort=other)
    fold_data = plan_fold(cohort, protocol, result.fold, selection=roles)
    if fold_data.testset_recipe != result.testset.recipe:
        raise InputError(f"{label}: the fingerprint of its test sets differs from that of {cohort.name}")
    for part, name in (("test", HEALTHY), ("validation", VALIDATION), ("patients", PATIENTS), ("audit", AUDIT)):
        expected = sorted(fold_data.rows[part]["participant_id"])
        if sorted(table.loc[table["anomaly"] == name, "participant_id"]) != expected:
            raise InputError(f"{label}: its {name} participants are not those of {cohort.name}")
        if name != VALIDATION:
            _require_traits(label, table[table["anomaly"] == name], fold_data.rows[part])
    own_split = result.cohort.origin == "given"
    stated = result.cohort.model_dump(include={*PARTS, "split", "origin", "shared_images"})
    actual: dict[str, Any] = {part: len(rows) for part, rows in fold_data.rows.items()}
    actual |= {"split": fold_data.split.digest, "origin": fold_data.origin, "shared_images": 0}
    if stated != actual and not (own_split and stated["split"] != actual["split"]):
        raise InputError(f"{label}: describes its cohort incorrectly: {_mismatches(stated, actual)}")
    _require_expected(label, table, expected_values(protocol, tuple(keys_of(fold_data.rows["test"]))))


def _require_traits(label: str, scans: pd.DataFrame, rows: pd.DataFrame) -> None:
    """Require diagnosis, age, sex, MMSE and strata of a public cohort's scans to be those in the cohort's table."""
    from uadbench.evaluation.scan_scores import stored_age

    if missing := [trait for trait in TRAITS if trait not in scans]:
        raise InputError(f"{label}: no column {missing[0]}")
    known = rows.assign(age=stored_age(rows["age"]))
    stated, actual = (each.sort_values("participant_id").astype(object).fillna("") for each in (scans, known))
    for trait in TRAITS:
        for person, one, other in zip(actual["participant_id"], stated[trait], actual[trait], strict=True):
            if one != other:
                raise InputError(f"{label}: {trait} of {person} is {one!r}; it must be {other!r}")


def require_private_cohort(label: str, result: Result, table: pd.DataFrame, protocol: Protocol) -> None:
    """Require the test sets of a private cohort to follow from the pseudonyms in the table.

    The pseudonyms are hashes with a secret, so that the test sets reveal no participant id. Earlier versions drew the
    test sets from the ids.

    Args:
        label: The result's name in messages.
        result: The result; public cohorts are skipped.
        table: Its cases, one row each.
        protocol: Its protocol.

    Raises:
        InputError: If a participant is not a pseudonym, or the cases do not follow from the pseudonyms.
    """
    if result.cohort.public:
        return
    from uadbench.leaderboard.expected import expected_values

    validating = table["anomaly"] == VALIDATION
    for rows, cohort in ((table[validating], result.cohort.name), (table[~validating], _tested_on(result))):
        names = [name for name in rows["participant_id"].unique() if not PSEUDONYM.fullmatch(name)]
        if names and not _is_public(cohort):
            raise InputError(f"{label}: participant {names[0]} is not a pseudonym, although cohort {cohort} is private")
    healthy = table[table["anomaly"] == HEALTHY].sort_values(["participant_id", "session_id"])
    keys = zip(healthy["participant_id"], healthy["session_id"], strict=True)
    _require_expected(
        label, table, expected_values(protocol, tuple((str(person), str(visit)) for person, visit in keys))
    )


def _tested_on(result: Result) -> str:
    return result.cohort.tested_on or result.cohort.name


def _is_public(name: str) -> bool:
    return name.partition(":")[0] == PUBLIC


def _require_expected(label: str, table: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Require the numbers that do not depend on the model to have their expected values, case by case."""
    unaltered = table["anomaly"].isin([HEALTHY, PATIENTS, VALIDATION, AUDIT])
    simulated = table[~unaltered & ~table["anomaly"].str.startswith(SHIFTED)]
    order = list(KEYS)
    rows, exact = (each.sort_values(order, kind="stable").reset_index(drop=True) for each in (simulated, expected))
    if len(rows) != len(exact) or rows[order[:3]].to_numpy().tolist() != exact[order[:3]].to_numpy().tolist():
        raise InputError(f"{label}: its cases are not those that protocol and participants determine")
    for name in ("severity", *EXPECTED):
        off = np.abs(rows[name].to_numpy(dtype=np.float64) - exact[name].to_numpy(dtype=np.float64))
        wrong = np.flatnonzero(~(off <= SKETCH * np.abs(exact[name].to_numpy(dtype=np.float64)) + 1e-6))
        wrong = wrong[~(rows[name].isna() & exact[name].isna()).to_numpy()[wrong]]
        if len(wrong):
            case, value = exact.iloc[wrong[0]], rows[name].iloc[wrong[0]]
            where = f"{case['participant_id']}, {case['anomaly']} at {case['severity']:.0%}"
            raise InputError(f"{label}: {name} of {where} is {value:.4g}; it must be {case[name]:.4g}")


def _mismatches(stated: dict[str, Any], actual: dict[str, Any]) -> str:
    return ", ".join(f"{key} is {stated[key]}, not {actual[key]}" for key in actual if stated[key] != actual[key])


@cache
def _public(name: str) -> Cohort:
    """Open a public cohort. Raises InputError for a private one without opening it."""
    from uadbench.cohorts.opening import open_cohort

    if not _is_public(name):
        raise InputError(f"cohort {name} is not public")
    return open_cohort(name)


def require_same_testset(label: str, result: Result, table: pd.DataFrame) -> None:
    """Require the reductions in the table to agree with the summary in the test sets' fingerprint.

    Args:
        label: The result's name in messages.
        result: The result, which holds the fingerprint.
        table: Its cases, one row each.

    Raises:
        InputError: If the fingerprint has other numbers than a test set has, or its numbers contradict the cases.
    """
    sketch, dementias = result.testset.sketch, result.dementias
    sizes = {
        f"{name}.{what}" for name in (*dementias, UNSEEN, VARIED) for what in ("truth_voxels", "effective_reduction")
    }
    if set(sketch) != {"brain_voxels", "mean_uptake", *sizes} or not 0.2 < sketch["mean_uptake"] < 5:
        raise InputError(f"{label}: the sketch in its fingerprint is not that of a test set")
    for (name, severity), rows in table[table["anomaly"].isin(dementias)].groupby(["anomaly", "severity"]):
        expected = sketch[f"{name}.effective_reduction"]
        actual = float((rows["effective_reduction"] / rows["severity"]).mean())
        if not abs(actual - expected) <= SKETCH * expected:
            reduction = f"{name} at {severity:.0%} was reduced by {actual:.4g} of the severity"
            raise InputError(f"{label}: {reduction}; the fingerprint says {expected}")


def require_sound(entry: Entry, root: Path) -> None:
    """Run every check of a committed result that needs no training.

    Args:
        entry: The committed result.
        root: The leaderboard folder.

    Raises:
        InputError: If a check fails; the message names the file and the fault.
    """
    label = str(entry.file)
    protocol = protocol_of(root, entry.result)
    table = read_cases(entry.scores_file)  # `require_honest` compares the score hash, last
    check_cases(entry, table)
    require_real(label, entry.result, table, protocol)
    require_honest(label, entry.result, table, protocol)


def require_real(label: str, result: Result, table: pd.DataFrame, protocol: Protocol) -> None:
    """Require protocol, cohort and cases to be what the result states.

    Args:
        label: The result's name in messages.
        result: The result.
        table: Its cases, one row each.
        protocol: Its protocol.

    Raises:
        InputError: If a check fails; the message names the file and the fault.
    """
    require_known_protocol(label, result, protocol)
    require_complete(label, result, table, protocol)
    require_same_testset(label, result, table)
    require_public_cohort(label, result, table, protocol)
    require_private_cohort(label, result, table, protocol)


def _differences(one: Any, other: Any, where: str) -> Iterator[tuple[str, Any, Any]]:
    """Paths at which two JSON values differ by more than rounding, with both values."""
    if isinstance(one, dict) and isinstance(other, dict):
        if set(one) != set(other):
            yield where, f"about {_some(set(one) - set(other))}", f"about {_some(set(other) - set(one))}"
        for key in one.keys() & other.keys():
            yield from _differences(one[key], other[key], f"{where}.{key}".lstrip("."))
    elif isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            yield where, f"{len(one)} long", f"{len(other)}"
        for index, (first, second) in enumerate(zip(one, other, strict=False)):
            yield from _differences(first, second, f"{where}{_label(first, index)}")
    elif isinstance(one, float | int) and isinstance(other, float | int) and not isinstance(one, bool):
        if not abs(one - other) <= EXACT * max(abs(one), abs(other), 1e-9):  # NaN differs from everything
            yield where, one, other
    elif one != other:
        yield where, one, other


def _label(value: Any, index: int) -> str:
    """How to name a list item: by its test set if it has one, otherwise by its index."""
    if isinstance(value, dict) and "anomaly" in value:
        return f"[{value['anomaly']} {value.get('severity', '')}]"
    return f"[{index}]"


def _some(names: set[str]) -> str:
    return ", ".join(sorted(names)[:3]) or "nothing more"
