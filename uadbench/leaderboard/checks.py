"""Is a result what its cases say, and are its cases those of its protocol? Nothing that is told is believed."""

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
from uadbench.leaderboard.facts import FACTS
from uadbench.leaderboard.tolerance import SKETCH
from uadbench.protocols.schema import LARGEST, Protocol, has_shipped
from uadbench.results.schema import Result
from uadbench.results.scores import KEYS
from uadbench.runtime.files import write_json
from uadbench.runtime.reading import first_fault, read_document
from uadbench.types import HEALTHY, HYPER, PATIENTS, UNSEEN, VALIDATION, VARIED

if TYPE_CHECKING:
    from uadbench.cohorts.base import Cohort

PROTOCOLS = "protocols"
PUBLIC = "phantom"

PSEUDONYM = re.compile(r"anon-[0-9a-f]{16}")
"""What a participant of a private cohort is called."""

EXACT = 2e-5
"""Relative: aggregates are sums that are the same on every machine, rounded to six digits."""

DERIVED = ("headline", "detection", "strata", "scores")


def protocol_file(root: Path, result: Result) -> Path:
    """Where the leaderboard keeps the protocol of a result, whole."""
    return root / PROTOCOLS / f"{result.protocol.name}-{result.protocol.hash[:8]}.json"


def keep_protocol(root: Path, result: Result, protocol: Protocol) -> None:
    """Write the protocol of a result beside the results, where it is not yet."""
    file = protocol_file(root, result)
    if not file.is_file():
        write_json(file, protocol.model_dump(mode="json"))


def protocol_of(root: Path, result: Result) -> Protocol:
    """The protocol that a committed result was made with.

    Raises:
        InputError: If it is missing or another one.
    """
    from pydantic import ValidationError

    file = protocol_file(root, result)
    try:
        protocol = Protocol.model_validate_json(read_document(file, LARGEST))
    except (OSError, ValidationError) as error:
        reason = str(error) if isinstance(error, OSError) else first_fault(error)[1]
        raise InputError(f"{file}: the protocol of {result.model.name} cannot be read ({reason})") from None
    if protocol.hash != result.protocol.hash:
        raise InputError(f"{file}: is not the protocol of {result.model.name}, of hash {result.protocol.hash[:12]}")
    return protocol


def recomputed(result: Result, table: pd.DataFrame, protocol: Protocol) -> Result:
    """The result with everything that follows from its cases computed again."""
    from uadbench.metrics.scan_score import Threshold
    from uadbench.results import aggregate

    limits = result.detection.voxel_thresholds
    thresholds = {limit.false_positive_rate: Threshold(limit.value, limit.low, limit.high) for limit in limits}
    parts = aggregate.aggregates(table, protocol, result.headline.validation_mse, thresholds)
    return result.model_copy(update=vars(parts))


def require_honest(label: str, result: Result, table: pd.DataFrame, protocol: Protocol) -> None:
    """Compare every aggregate of a result with what its cases give.

    A result holds all means over test sets, or those alone that are committed.

    Raises:
        InputError: Unless every aggregate of a result follows from its cases; the message names the first number.
    """
    again = recomputed(result, table, protocol)
    if result.scores == slim_means(result).scores:
        again = slim_means(again)
    told, found = (each.model_dump(mode="json", include=set(DERIVED)) for each in (result, again))
    for where, one, other in _differences(told, found, ""):
        raise InputError(f"{label}: {where} is {one}, but its cases give {other}: forged, or of another version")
    if again.score_hash != result.score_hash:
        raise InputError(f"{label}: its score hash is not that of its cases")


def require_complete(label: str, result: Result, table: pd.DataFrame, protocol: Protocol) -> None:
    """Raises InputError unless every test participant has every case of the protocol, once, and nobody else has any."""
    section = protocol.testsets
    people = sorted(table.loc[table["anomaly"] == HEALTHY, "participant_id"])
    if len(people) != result.cohort.test or len(set(people)) != len(people):
        raise InputError(f"{label}: {len(people)} healthy test scans, where the result tells of {result.cohort.test}")
    graded = [(name, severity) for name in (*section.anomalies, UNSEEN) for severity in section.severities]
    expected = [*graded, (HYPER, section.hyper.severity)]
    counted = table[~table["anomaly"].isin([HEALTHY, PATIENTS, VALIDATION, VARIED])]
    for name, severity in expected:
        there = counted[(counted["anomaly"] == name) & np.isclose(counted["severity"], severity)]
        if sorted(there["participant_id"]) != people:
            raise InputError(f"{label}: {name} at {severity:.0%} has {len(there)} cases of {len(people)} participants")
    if len(counted) != len(people) * len(expected):
        raise InputError(f"{label}: has cases that are not the protocol's")
    ranking = counted["severity"].isin(protocol.ranking.severities) & (counted["anomaly"] != HYPER)
    if unscored := int(counted.loc[ranking, "ap.standard"].isna().sum()):
        raise InputError(f"{label}: {unscored} cases that rank have no average precision")
    varied = table[table["anomaly"] == VARIED].groupby("participant_id").size()
    if list(varied.index) != people or set(varied) != {section.varied.draws}:
        raise InputError(f"{label}: {VARIED} has not {section.varied.draws} cases for everybody")
    for name, count in ((VALIDATION, result.cohort.validation), (PATIENTS, result.cohort.patients)):
        if (table["anomaly"] == name).sum() != count:
            raise InputError(f"{label}: the result tells of {count} {name} scans, but their rows are not there")


def require_known_protocol(label: str, result: Result, protocol: Protocol) -> None:
    """Raises InputError unless a protocol ships, or did once, and the result tells of it as it is."""
    if not has_shipped(protocol):
        raise InputError(f"{label}: protocol {protocol.name} was changed for this run; only others are ranked")
    if result.model.weights is not None:
        raise InputError(f"{label}: {result.unranked}; only models that were trained under it are ranked")
    if result.model.unranked is not None:
        raise InputError(f"{label}: {result.unranked}; such results are not ranked")
    told = result.protocol
    expected = (protocol.name, protocol.version, protocol.hash, protocol.intensity.kind, True)
    if (told.name, told.version, told.hash, told.intensity, told.ranked) != expected:
        raise InputError(f"{label}: what it tells of its protocol is not so: {told.name}, version {told.version}")


def require_public_cohort(label: str, result: Result, table: pd.DataFrame, protocol: Protocol) -> None:
    """Of a cohort that anybody can make: raises InputError unless people, split and cases are the real ones.

    Does nothing for private cohorts, whose people nobody else knows, and for earlier versions, which stand apart.
    """
    private = [name for name in (result.cohort.name, result.cohort.tested_on) if name and not _is_public(name)]
    if result.cohort.public and private:
        raise InputError(f"{label}: cohort {private[0]} is not public")
    if not result.cohort.public and not private:
        raise InputError(f"{label}: cohort {result.cohort.name} is public")
    if not result.cohort.public:
        return
    from uadbench.cohorts.base import keys_of
    from uadbench.leaderboard.facts import facts
    from uadbench.runs.fold_data import PARTS, Selection, plan_fold

    cohort = _public(result.cohort.name)
    other = None if result.cohort.tested_on is None else _public(result.cohort.tested_on)
    versions = (result.cohort.version, result.cohort.tested_version)
    now = (cohort.version, None if other is None else other.version)
    if versions != now:
        if any(version_key(told or "") > version_key(there or "") for told, there in zip(versions, now, strict=True)):
            raise InputError(f"{label}: cohort {cohort.name} has no version {versions[0]}")
        return
    roles = Selection(tuple(result.cohort.healthy), tuple(result.cohort.ill), test_cohort=other)
    fold_data = plan_fold(cohort, protocol, result.fold, selection=roles)
    if fold_data.testset_recipe != result.testset.recipe:
        raise InputError(f"{label}: the fingerprint of its test sets is not that of {cohort.name}")
    for part, name in (("test", HEALTHY), ("validation", VALIDATION), ("patients", PATIENTS)):
        expected = sorted(fold_data.rows[part]["participant_id"])
        if sorted(table.loc[table["anomaly"] == name, "participant_id"]) != expected:
            raise InputError(f"{label}: its {name} participants are not those of {cohort.name}")
    given = result.cohort.origin == "given"
    told = result.cohort.model_dump(include={*PARTS, "split", "origin", "shared_images"})
    real: dict[str, Any] = {part: len(rows) for part, rows in fold_data.rows.items()}
    real |= {"split": fold_data.split.digest, "origin": fold_data.origin, "shared_images": 0}
    if told != real and not (given and told["split"] != real["split"]):
        raise InputError(f"{label}: what it tells of its cohort is not so: {_unlike(told, real)}")
    _require_facts(label, table, facts(protocol, tuple(keys_of(fold_data.rows["test"]))))


def require_private_cohort(label: str, result: Result, table: pd.DataFrame, protocol: Protocol) -> None:
    """Of any other cohort: raises InputError unless all that was drawn follows from the names in the table.

    These are hashes with a secret; what follows from them follows from no id. Earlier versions drew from the ids.
    """
    if result.cohort.public:
        return
    from uadbench.leaderboard.facts import facts
    from uadbench.results.anonymise import require_irreversible

    require_irreversible(label, result)
    validating = table["anomaly"] == VALIDATION
    for rows, cohort in ((table[validating], result.cohort.name), (table[~validating], _tested_on(result))):
        names = [name for name in rows["participant_id"].unique() if not PSEUDONYM.fullmatch(name)]
        if names and not _is_public(cohort):
            raise InputError(f"{label}: participant {names[0]} is no hash, though cohort {cohort} is private")
    healthy = table[table["anomaly"] == HEALTHY].sort_values(["participant_id", "session_id"])
    keys = zip(healthy["participant_id"], healthy["session_id"], strict=True)
    _require_facts(label, table, facts(protocol, tuple((str(who), str(visit)) for who, visit in keys)))


def _tested_on(result: Result) -> str:
    return result.cohort.tested_on or result.cohort.name


def _is_public(name: str) -> bool:
    return name.partition(":")[0] == PUBLIC


def _require_facts(label: str, table: pd.DataFrame, known: pd.DataFrame) -> None:
    """Raises InputError unless what no model can move is as it must be, case by case."""
    simulated = table[~table["anomaly"].isin([HEALTHY, PATIENTS, VALIDATION])]
    order = list(KEYS)
    told, real = (rows.sort_values(order, kind="stable").reset_index(drop=True) for rows in (simulated, known))
    if len(told) != len(real) or told[order[:3]].to_numpy().tolist() != real[order[:3]].to_numpy().tolist():
        raise InputError(f"{label}: its cases are not those that the protocol draws")
    for name in ("severity", *FACTS):
        off = np.abs(told[name].to_numpy(dtype=np.float64) - real[name].to_numpy(dtype=np.float64))
        wrong = np.flatnonzero(~(off <= SKETCH * np.abs(real[name].to_numpy(dtype=np.float64)) + 1e-6))
        wrong = wrong[~(told[name].isna() & real[name].isna()).to_numpy()[wrong]]
        if len(wrong):
            case, value = real.iloc[wrong[0]], told[name].iloc[wrong[0]]
            where = f"{case['participant_id']}, {case['anomaly']} at {case['severity']:.0%}"
            raise InputError(f"{label}: {name} of {where} is {value:.4g}; it must be {case[name]:.4g}")


def _unlike(told: dict[str, Any], real: dict[str, Any]) -> str:
    return ", ".join(f"{key} is {told[key]}, not {real[key]}" for key in real if told[key] != real[key])


@cache
def _public(name: str) -> Cohort:
    """A cohort that anybody can make. Raises InputError for any other, which is never opened."""
    from uadbench.cohorts.opening import open_cohort

    if not _is_public(name):
        raise InputError(f"cohort {name} is not public")
    return open_cohort(name)


def require_same_testset(label: str, result: Result, table: pd.DataFrame) -> None:
    """Raises InputError unless what does not depend on the model agrees with the fingerprint's sketch."""
    sketch, dementias = result.testset.sketch, result.dementias
    sizes = {
        f"{name}.{what}" for name in (*dementias, UNSEEN, VARIED) for what in ("truth_voxels", "effective_reduction")
    }
    if set(sketch) != {"brain_voxels", "mean_uptake", *sizes} or not 0.2 < sketch["mean_uptake"] < 5:
        raise InputError(f"{label}: its fingerprint's sketch holds what no test set has")
    for (name, severity), rows in table[table["anomaly"].isin(dementias)].groupby(["anomaly", "severity"]):
        known = sketch[f"{name}.effective_reduction"]
        found = float((rows["effective_reduction"] / rows["severity"]).mean())
        if not abs(found - known) <= SKETCH * known:
            told = f"{name} at {severity:.0%} was reduced by {found:.4g} of the severity"
            raise InputError(f"{label}: {told}; the fingerprint says {known}")


def require_sound(entry: Entry, root: Path) -> None:
    """Everything that can be asked of a committed result without training it again.

    Raises:
        InputError: Naming the file and what is wrong.
    """
    label = str(entry.file)
    protocol = protocol_of(root, entry.result)
    table = read_cases(entry.scores_file)  # whether the result vouches for it is asked last, by `require_honest`
    check_cases(entry, table)
    require_real(label, entry.result, table, protocol)
    require_honest(label, entry.result, table, protocol)


def require_real(label: str, result: Result, table: pd.DataFrame, protocol: Protocol) -> None:
    """Protocol, cohort and cases are what they are called.

    Raises:
        InputError: Naming the file and what is wrong.
    """
    require_known_protocol(label, result, protocol)
    require_complete(label, result, table, protocol)
    require_same_testset(label, result, table)
    require_public_cohort(label, result, table, protocol)
    require_private_cohort(label, result, table, protocol)


def _differences(one: Any, other: Any, where: str) -> Iterator[tuple[str, Any, Any]]:
    """Places at which two JSON values differ by more than rounding."""
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
        if not abs(one - other) <= EXACT * max(abs(one), abs(other), 1e-9):  # nothing is near to NaN
            yield where, one, other
    elif one != other:
        yield where, one, other


def _label(value: Any, index: int) -> str:
    """Which of a list: by its test set where it has one."""
    if isinstance(value, dict) and "anomaly" in value:
        return f"[{value['anomaly']} {value.get('severity', '')}]"
    return f"[{index}]"


def _some(names: set[str]) -> str:
    return ", ".join(sorted(names)[:3]) or "nothing more"
