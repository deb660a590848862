"""Committed cases and claims that do not belong together, however well they were forged: refused, with the reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.leaderboard.builder import commit, consistent, edited, made_up
from uadbench.errors import InputError
from uadbench.leaderboard.checks import PROTOCOLS, protocol_file, protocol_of, require_sound
from uadbench.leaderboard.committing import generated
from uadbench.leaderboard.entries import LARGEST_TABLE, Entry, read_untrusted
from uadbench.protocols.schema import Protocol
from uadbench.runtime.files import write_json

Table = pd.DataFrame


def refused(entry: Entry, root: Path) -> str:
    """Why a committed result is not sound; fails for any other exception, and for more than a line."""
    with pytest.raises(InputError) as error:
        require_sound(Entry(entry.file, read_untrusted(entry.file)), root)
    message = str(error.value)
    assert message.isprintable(), message
    return message


@pytest.fixture
def table(mean) -> Table:
    return mean.scores()


def person(table: Table, place: int = 0) -> str:
    """A healthy test participant."""
    return str(sorted(table.loc[table["anomaly"] == "healthy", "participant_id"])[place])


def with_cases(root: Path, mean: Entry, table: Table) -> Entry:
    """The real result beside other cases."""
    return commit(root, mean.result, table)


def test_the_real_ones_are_sound(root, mean) -> None:
    for entry in (mean, made_up(root, mean, "invented", 0.1), made_up(root, mean, "invented", 0.1, seed=1)):
        require_sound(Entry(entry.file, read_untrusted(entry.file)), root)


def test_the_order_of_the_rows_is_that_of_the_test_sets_alone(root, mean, table) -> None:
    """Whoever sorts the rows and computes everything again has told nothing else."""
    require_sound(consistent(root, mean.result, table.sample(frac=1, random_state=0)), root)


# --- tables that cannot be read


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: b"participant_id,severity\nsub-1,0.3\n",
        lambda raw: b"",
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw[:-3],
        lambda raw: raw[:4] + bytes(len(raw) - 8) + raw[-4:],
        lambda raw: raw[:-8] + (2**31 - 1).to_bytes(4, "little") + raw[-4:],
    ],
    ids=["text", "empty", "half", "without its end", "zeros", "a footer of 2 GB"],
)
def test_files_that_are_no_tables(root, mean, table, damage: Callable[[bytes], bytes]) -> None:
    entry = with_cases(root, mean, table)
    entry.scores_file.write_bytes(damage(entry.scores_file.read_bytes()))
    assert "cannot be read" in refused(entry, root)
    with pytest.raises(InputError, match="cannot be read"):
        generated(root)


def test_a_table_that_is_missing_or_too_large(root, mean, table) -> None:
    entry = with_cases(root, mean, table)
    with entry.scores_file.open("rb+") as file:
        file.truncate(LARGEST_TABLE + 1)
    assert f"has {LARGEST_TABLE + 1} bytes; at most" in refused(entry, root)
    entry.scores_file.unlink()
    assert "no such file" in refused(entry, root)


@pytest.mark.parametrize("column", ["participant_id", "session_id", "anomaly", "severity"])
def test_a_column_that_tells_which_case(root, mean, table, column: str) -> None:
    assert f"no column {column}" in refused(with_cases(root, mean, table.drop(columns=column)), root)


@pytest.mark.parametrize(
    "column",
    [
        *("ap.standard", "ap.native", "prevalence"),
        *("effective_reduction", "subject.score", "mmse"),
        *("residual.whole.mse", "recovered", "site"),
    ],
)
def test_a_column_that_is_a_score(root, mean, table, column: str) -> None:
    refused(with_cases(root, mean, table.drop(columns=column)), root)


OTHER_TYPES: dict[str, tuple[str, Callable[[Table], Any]]] = {
    "text": ("ap.standard", lambda t: t["ap.standard"].astype(str)),
    "dates": ("ap.standard", lambda t: pd.Timestamp("2020-01-01")),
    "lists": ("ap.standard", lambda t: [[1.0]] * len(t)),
    "decimals": ("ap.standard", lambda t: [Decimal("0.5")] * len(t)),
    "bytes": ("ap.standard", lambda t: [b"\xff"] * len(t)),
    "dictionaries": ("damage", lambda t: [{"a": 1}] * len(t)),
    "text for a severity": ("severity", lambda t: t["severity"].astype(str)),
    "text for an age": ("mmse", lambda t: "30"),
    "numbers for people": ("participant_id", lambda t: np.arange(len(t))),
    "numbers for a site": ("site", lambda t: 1.0),
}


@pytest.mark.parametrize("what", OTHER_TYPES)
def test_columns_of_another_type(root, mean, table, what: str) -> None:
    column, values = OTHER_TYPES[what]
    entry = with_cases(root, mean, table.assign(**{column: values(table)}))
    assert f"column {column} has the type" in refused(entry, root)


@pytest.mark.parametrize("column", ["participant_id", "session_id", "anomaly"])
def test_lists_for_names(root, mean, table, column: str) -> None:
    refused(with_cases(root, mean, table.assign(**{column: [[name] for name in table[column]]})), root)


@pytest.mark.parametrize("column", ["participant_id", "session_id", "anomaly"])
@pytest.mark.parametrize(
    "name",
    [
        *("../sub-1", "a/b", "a\\b", "/etc/passwd", "..", "<script>alert(1)</script>", '"><img src=x>', "", "a b"),
        *("a\nb", "=1+1", "| x |", b"sub-1", None, "x" * 81),
    ],
    ids=ascii,
)
def test_ids_that_are_none(root, mean, table, column: str, name) -> None:
    values = table[column].astype(object)
    values[3] = name
    if isinstance(name, bytes):
        values = pd.Series([name] * len(table))
    reason = refused(with_cases(root, mean, table.assign(**{column: values})), root)
    wanted = "has the type" if isinstance(name, bytes) else "use letters, digits"
    assert f"{column} " in reason and wanted in reason


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.3, 0.3001])
def test_severities_that_are_none(root, mean, table, value: float) -> None:
    """Of a case that ranks."""
    row = table.index[(table["anomaly"] == "ad") & (table["severity"] == 0.3)][0]
    severities = table["severity"].where(table.index != row, value)
    reason = refused(with_cases(root, mean, table.assign(severity=severities)), root)
    assert "ad at 30% has 7 cases of 8" in reason or "column severity has values outside 0 to 1" in reason


@pytest.mark.parametrize("value", [1.1e15, -1e300])
def test_numbers_that_are_no_scores(root, mean, table, value: float) -> None:
    values = table["damage"].where(table.index != 5, value)
    assert "column damage has values outside -1e+15 to 1e+15" in refused(
        with_cases(root, mean, table.assign(damage=values)), root
    )


def test_a_column_more(root, mean, table) -> None:
    """A test set's metrics are then others than the result tells of; its name is one that a page could show."""
    assert "more" in refused(with_cases(root, mean, table.assign(**{"my.metric": 1.0})), root)
    assert "a metric has the invalid name '<b>'" in refused(
        consistent(root, mean.result, table.assign(**{"<b>": 1.0})), root
    )
    assert "column notes has the type" in refused(with_cases(root, mean, table.assign(notes="sub-ADNI4001")), root)


# --- cases that are not those of the protocol


def test_cases_that_are_there_twice(root, mean, table) -> None:
    twice = pd.concat([table, table.iloc[[7]]], ignore_index=True)
    one = table.iloc[7]
    found = refused(with_cases(root, mean, twice), root)
    assert f"{one['participant_id']}, {one['anomaly']}, {one['severity']:g} appears twice" in found
    almost = pd.concat([table, table.iloc[[7]].assign(session_id="ses-other")], ignore_index=True)
    assert "healthy test scans" in refused(with_cases(root, mean, almost), root) or one["anomaly"] != "healthy"


def ranked(table: Table, anomaly: str = "ad") -> Table:
    """The cases of a dementia that rank, the hardest first."""
    rows = table[(table["anomaly"] == anomaly) & (table["severity"] == 0.3)]
    return rows.sort_values("ap.standard", kind="stable")


def forged(root: Path, mean: Entry, table: Table, **changes: Any) -> Entry:
    """Cases and a result that follows from them as far as it can be computed, else the real one."""
    result = edited(mean.result, **changes)
    try:
        return consistent(root, result, table)
    except (ValueError, KeyError):  # what is forged here leaves no aggregates
        return commit(root, result, table)


def test_the_hardest_case_left_out(root, mean, table) -> None:
    for anomaly in ("ad", "unseen"):
        left = table.drop(ranked(table, anomaly).index[0])
        assert f"{anomaly} at 30% has 7 cases of 8" in refused(with_cases(root, mean, left), root)
    left = table.drop(table.index[table["anomaly"] == "varied"][0])
    assert "varied does not have 2 cases" in refused(with_cases(root, mean, left), root)
    left = table.drop(table.index[table["anomaly"] == "patients"][0])
    assert "states 24 patients scans" in refused(with_cases(root, mean, left), root)
    left = table.drop(table.index[table["anomaly"] == "audit"][0])
    assert "states 24 audit scans" in refused(with_cases(root, mean, left), root)


@pytest.mark.parametrize("name", ["shifted:motion", "shifted:motion:ad", "shifted:cut:unseen"])
def test_shifted_cases_left_out_or_of_others(root, mean, table, name: str) -> None:
    rows = table.index[table["anomaly"] == name]
    for other in (
        table.drop(rows[0]),
        table.drop(rows),
        table.assign(anomaly=table["anomaly"].where(table.index != rows[0], "shifted:none")),
        table.assign(participant_id=table["participant_id"].where(table.index != rows[0], "sub-P9999")),
        pd.concat([table, table.loc[[rows[0]]].assign(session_id="ses-other")], ignore_index=True),
    ):
        assert "its shifted scans are not those of protocol smoke" in refused(with_cases(root, mean, other), root)


def test_the_hardest_case_replaced_by_the_easiest(root, mean, table) -> None:
    cases = ranked(table)
    for session in ("ses-M000", "ses-other"):
        easy = cases.iloc[[-1]].assign(session_id=session)
        swapped = pd.concat([table.drop(cases.index[0]), easy], ignore_index=True)
        reason = refused(forged(root, mean, swapped), root)
        assert "appears twice" in reason or "ad at 30% has 8 cases of 8 participants" in reason


def test_a_hard_severity_called_an_easier_one(root, mean, table) -> None:
    """What ranks is replaced by the cases of 50 %."""
    easy = table[(table["anomaly"] == "ad") & (table["severity"] == 0.5)].assign(severity=0.3)
    forged_cases = pd.concat([table.drop(ranked(table).index), easy], ignore_index=True)
    reason = refused(consistent(root, mean.result, forged_cases), root)
    assert "ad at 30% was reduced by" in reason and "the fingerprint says" in reason


def test_somebody_left_out(root, mean, table) -> None:
    healthy, shifted = (
        set(table.loc[table["anomaly"] == name, "participant_id"]) for name in ("healthy", "shifted:cut:ad")
    )
    others = table[table["participant_id"] != min(healthy - shifted)]
    assert "7 healthy test scans, but the result states 8" in refused(forged(root, mean, others), root)
    assert "its healthy participants are not those of phantom" in refused(
        forged(root, mean, others, cohort__test=7), root
    )


def test_somebody_swapped_for_another(root, mean, table) -> None:
    for group, who in (("healthy", person(table)), ("validation", None), ("patients", None), ("audit", None)):
        name = who or table.loc[table["anomaly"] == group, "participant_id"].iloc[0]
        renamed = table.assign(participant_id=table["participant_id"].replace({name: "sub-P9999"}))
        reason = refused(consistent(root, mean.result, renamed), root)
        assert f"its {group} participants are not those of phantom" in reason


@pytest.mark.parametrize(
    ("column", "group", "value"),
    [
        *(("group", "patients", "MCI"), ("group", "patients", "easy"), ("age", "audit", 20.0), ("sex", "healthy", "X")),
        *(("age", "healthy", np.nan), ("site", "healthy", "site-99"), ("mmse", "patients", 1.0)),
    ],
)
def test_people_of_another_kind(root, mean, table, column: str, group: str, value: Any) -> None:
    """The AUROC by diagnosis, the bias audit and the strata depend on what is known of people."""
    rows = table[table["anomaly"] == group]
    row = rows.index[rows[column] != value][0]
    changed = table.assign(**{column: table[column].where(table.index != row, value)})
    reason = refused(consistent(root, mean.result, changed), root)
    assert f"{column} of {table['participant_id'][row]} is " in reason


@pytest.mark.parametrize("column", ["age", "sex", "group", "amyloid"])
def test_nothing_is_known_of_people(root, mean, table, column: str) -> None:
    reason = refused(consistent(root, mean.result, table.drop(columns=column)), root)
    assert f"no column {column}" in reason


def test_cases_of_a_test_set_that_is_not_the_protocols(root, mean, table) -> None:
    for name in ("lesions", "given-lesions", "AD"):
        more = pd.concat([table, table[table["anomaly"] == "hyper"].assign(anomaly=name)], ignore_index=True)
        assert "has cases that are not part of protocol smoke" in refused(with_cases(root, mean, more), root)


def test_everything_left_out(root, mean, table) -> None:
    assert "0 healthy test scans" in refused(with_cases(root, mean, table.iloc[:0]), root)


# --- claims that do not follow from the cases


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"headline__ap_standard": 0.99}, "headline.ap_standard is 0.99, but its cases give 0."),
        ({"headline__ap_interval": [0.9, 0.95]}, "headline.ap_interval[0] is 0.9"),
        ({"headline__ap_interval": None}, "headline.ap_interval is None"),
        ({"headline__ap_dementias": None}, "headline.ap_dementias is None"),
        ({"headline__severities": [0.5]}, "headline.severities[0] is 0.5"),
        ({"headline__prevalence": 0.5}, "headline.prevalence is 0.5"),
        ({"headline__healthy_mse": 1e-9}, "headline.healthy_mse is 1e-09"),
        ({"detection__testsets__0__auroc__value": 1.5}, "detection.testsets[ad 0.3].auroc.value is 1.5"),
        ({"detection__threshold": 0.1}, "detection.threshold is 0.1, but its cases give None"),
        ({"detection__validation_scans": 64}, "detection.validation_scans is 64"),
        ({"detection__severities__0__minimum_detectable": 0.3}, "detection.severities[ad ].minimum_detectable is 0.3"),
        ({"detection__severities__0__paper": []}, "detection.severities[ad ].paper is 0 long"),
        ({"detection__clinical_patients": 99}, "detection.clinical_patients is 99"),
        ({"strata__0__ap_standard__value": 0.99}, "strata[0].ap_standard.value is 0.99"),
        ({"strata": []}, "strata is 0 long"),
        ({"detection__patients": []}, "detection.patients is 0 long"),
        ({"detection__patients__0__auroc__value": 1.5}, "detection.patients[0].auroc.value is 1.5"),
        ({"robustness": None}, "robustness is None"),
        ({"robustness__shifts__0__ap_kept__value": 1.5}, "robustness.shifts[0].ap_kept.value is 1.5"),
        ({"robustness__least_ap_kept": 1.5}, "robustness.least_ap_kept is 1.5"),
        ({"scores__0__metrics__ap.standard__mean": 0.99}, "scores[ad 0.3].metrics.ap.standard.mean is 0.99"),
        ({"scores__0__metrics__recovered__n": 7}, "scores[ad 0.3].metrics.recovered.n is 7"),
        ({"scores__0__metrics": {}}, "scores[ad 0.3].metrics is about nothing more"),
        ({"score_hash": "0" * 64}, "its score hash"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_forged_claims(root, mean, table, computed_once, changes: dict[str, Any], named: str) -> None:
    result = mean.result
    first = next(place for place, scores in enumerate(result.scores) if scores.anomaly == "ad")
    renamed = {key.replace("scores__0", f"scores__{first}"): value for key, value in changes.items()}
    entry = commit(root, edited(result, **renamed), table)
    reason = refused(entry, root)
    assert named in reason, reason
    assert named.startswith("its score hash") or "but its cases give" in reason


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"headline__severities": []}, "no ranking severities"),
        ({"scores__0__anomaly": "lesions"}, "sketch in its fingerprint"),
        ({"scores": []}, "no dementias"),
    ],
    ids=str,
)
def test_results_without_sense(root, mean, table, changes: dict[str, Any], said: str) -> None:
    first = next(place for place, scores in enumerate(mean.result.scores) if scores.anomaly == "ad")
    renamed = {key.replace("scores__0", f"scores__{first}"): value for key, value in changes.items()}
    assert said in refused(commit(root, edited(mean.result, **renamed), table), root)


def test_forged_cases(root, mean, table) -> None:
    """Better scores beside the old aggregates, in one case and one metric."""
    for column, value in (("subject.score", 99.0), ("ap.native", np.nan)):
        row = ranked(table).index[0]
        better = table.assign(**{column: table[column].where(table.index != row, value)})
        assert "but its cases give" in refused(with_cases(root, mean, better), root)


def test_claims_within_rounding_are_taken(root, mean, table) -> None:
    almost = edited(mean.result, headline__ap_standard=mean.result.headline.ap_standard * (1 + 1e-6))
    require_sound(commit(root, almost, table), root)
    off = edited(mean.result, headline__ap_standard=mean.result.headline.ap_standard * (1 + 1e-4))
    assert "headline.ap_standard" in refused(commit(root, off, table), root)


# --- cohort and test sets


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cohort__public": False}, "cohort phantom is public"),
        ({"cohort__name": "caps-1"}, "cohort caps-1 is not public"),
        ({"cohort__name": "phantom-like"}, "cohort phantom-like is not public"),
        ({"cohort__name": "phantom:seed=7"}, "fingerprint of its test sets differs from that of phantom:seed=7"),
        ({"cohort__name": "phantom:seed=x"}, "seed='x' is not of type int"),
        ({"cohort__name": "phantom:mood=7"}, "cohort phantom has no option 'mood'"),
        ({"cohort__name": "phantom:participants=999999999"}, "choose 1 to 9999"),
        ({"cohort__name": "phantom:participants=9"}, "too few"),
        ({"cohort__tested_on": "phantom:seed=3", "cohort__tested_version": "3"}, "fingerprint"),
        ({"cohort__tested_on": "nowhere", "cohort__tested_version": "3"}, "cohort nowhere is not public"),
        ({"cohort__healthy": ["AD"]}, "diagnosis 'ad'"),
        ({"cohort__ill": ["MCI"]}, "fingerprint"),
        ({"cohort__test": 9}, "8 healthy test scans, but the result states 9"),
        ({"cohort__validation": 9}, "states 9 validation scans"),
        ({"cohort__patients": 9}, "states 9 patients scans"),
        ({"cohort__audit": 9}, "states 9 audit scans"),
        ({"fold": 1}, "its validation participants are not those of phantom"),
        ({"fold": 7}, "fold 7 does not exist"),
        ({"fold": -1}, "fold -1 does not exist"),
        ({"testset__recipe": "0" * 64}, "the fingerprint of its test sets differs from that of phantom"),
        ({"testset__sketch": {}}, "sketch in its fingerprint"),
        ({"testset__sketch__pca.effective_reduction": 0.5}, "pca at 30% was reduced by"),
        ({"testset__sketch__pca.effective_reduction": 0.0}, "pca at 30% was reduced by"),
    ],
    ids=str,
)
def test_another_cohort_or_other_test_sets(root, mean, table, changes: dict[str, Any], reason: str) -> None:
    content = mean.result.model_dump(mode="json")
    if "testset__sketch__pca.effective_reduction" in changes:
        content["testset"]["sketch"]["pca.effective_reduction"] = changes.popitem()[1]
    result = edited(type(mean.result).model_validate(content), **changes)
    assert reason in refused(commit(root, result, table), root)


def test_smaller_reductions_are_easier_to_hide_than_to_find(root, mean, table) -> None:
    """Cases of stronger reductions than the protocol's, and a fingerprint that says so."""
    stronger = table.assign(effective_reduction=1.1 * table["effective_reduction"])
    assert "the fingerprint says" in refused(consistent(root, mean.result, stronger), root)


@pytest.mark.parametrize(
    "content",
    [None, "", "{}", "[]", "[" * 100_000, "\ufeff", '{"name": NaN}'],
    ids=["missing", "empty", "{}", "[]", "deep", "bom", "NaN"],
)
def test_the_protocol_is_missing_or_none(root, mean, content: str | None) -> None:
    file = protocol_file(root, mean.result)
    file.unlink()
    if content is not None:
        file.write_text(content)
    assert "cannot read the protocol of mean" in refused(mean_in(root, mean), root)


def test_the_protocol_was_changed(root, mean) -> None:
    file = protocol_file(root, mean.result)
    content = json.loads(file.read_text())
    content["ranking"]["severities"] = [0.5]
    file.write_text(json.dumps(content))
    reason = refused(mean_in(root, mean), root)
    assert reason == f"{file}: not the protocol of mean (hash {mean.result.protocol.hash[:12]})"


def mean_in(root: Path, mean: Entry) -> Entry:
    """The entry in a folder of its own."""
    return commit(root, mean.result, mean.scores())


# --- what is taken, and should not be


@pytest.mark.parametrize(
    "changes",
    [
        {"protocol__version": 77},
        {"protocol__ranked": False},
        {"protocol__intensity": "minmax"},
        {"cohort__train": 9999},
        {"cohort__split": "0" * 64},
        {"cohort__origin": "given"},
        {"cohort__shared_images": 5},
        {"testset__sketch__mean_uptake": 9.0},
        {"testset__sketch__more": 9.0},
        {"cost__parameters": -5},
        {"cost__train_seconds": -1.0},
    ],
    ids=str,
)
def test_claims_that_anybody_can_check(root, mean, table, computed_once, changes: dict[str, Any]) -> None:
    refused(commit(root, edited(mean.result, **changes), table), root)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("ap.standard", lambda t: 5.0),
        ("ap.standard", lambda t: -1.0),
        ("ap.native", lambda t: 1.01),
        ("prevalence", lambda t: 0.9),
        ("effective_reduction", lambda t: t["effective_reduction"].where(t["anomaly"] != "unseen", 0.9)),
        ("severity", lambda t: t["severity"].where(t["anomaly"] != "varied", 0.4 + 1e-4 * np.arange(len(t)))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_impossible_cases(root, mean, table, column: str, values: Callable[[Table], Any]) -> None:
    refused(consistent(root, mean.result, table.assign(**{column: values(table)})), root)


def test_a_version_of_the_phantom_that_never_was(root, mean, table) -> None:
    invented = table.assign(participant_id=["sub-X" + name[4:] for name in table["participant_id"]])
    perfect = invented.assign(**{"ap.standard": np.where(table["ap.standard"].notna(), 0.999, np.nan)})
    refused(consistent(root, edited(mean.result, cohort__version="4"), perfect), root)


def test_the_quick_check_called_another_protocol(root, mean, table) -> None:
    shutil.copy(protocol_file(root, mean.result), root / PROTOCOLS / f"quick-{mean.result.protocol.hash[:8]}.json")
    refused(commit(root, edited(mean.result, protocol__name="quick"), table), root)


def easier(root: Path, mean: Entry, **changes: Any) -> Entry:
    """The real cases under a protocol of one's own, which ranks by the largest severity, called smoke and ranked."""
    content = protocol_of(root, mean.result).model_dump(mode="json")
    protocol = Protocol.model_validate(content | {"ranking": {"severities": [0.5]}})
    result = edited(mean.result, protocol__hash=protocol.hash, **changes)
    write_json(protocol_file(root, result), protocol.model_dump(mode="json"))
    return consistent(root, result, mean.scores())


def test_a_protocol_of_ones_own(root, mean) -> None:
    entry = easier(root, mean)
    assert entry.result.headline.ap_standard > mean.result.headline.ap_standard
    refused(entry, root)


def test_the_test_cohort_is_no_file_to_be_run(root, mean, table, tmp_path, monkeypatch) -> None:
    (tmp_path / "evil.py").write_text("from pathlib import Path\nPath('was-here').touch()\nclass Cohort: pass\n")
    monkeypatch.chdir(tmp_path)
    entry = commit(root, edited(mean.result, cohort__tested_on="evil.py:Cohort", cohort__tested_version="1"), table)
    try:
        refused(entry, root)
    finally:
        assert not (tmp_path / "was-here").exists()


@pytest.mark.parametrize("place", ["headline.ap_standard", "headline.prevalence"])
def test_no_number_is_equal_to_every_number(root, mean, table, place: str) -> None:
    entry = commit(root, mean.result, table)
    content = json.loads(entry.file.read_text())
    section, name = place.split(".")
    content[section][name] = "nan"
    entry.file.write_text(json.dumps(content))
    refused(entry, root)


def without_scores(root: Path, mean: Entry, table: Table) -> None:
    """Every average precision is n/a."""
    consistent(root, mean.result, table.assign(**dict.fromkeys(["ap.standard", "ap.native"], np.nan)))


DAMAGED: dict[str, Callable[[Path, Entry, Table], Any]] = {
    "no scores": without_scores,
    "no rows": lambda root, mean, table: commit(root, mean.result, table.iloc[:0]),
    "no dementias": lambda root, mean, table: commit(root, mean.result, table.assign(anomaly="healthy")),
    "no severities": lambda root, mean, table: commit(root, edited(mean.result, headline__severities=[]), table),
    "no test sets": lambda root, mean, table: commit(root, edited(mean.result, scores=[]), table),
    "lists for people": lambda root, mean, table: commit(
        root, mean.result, table.assign(participant_id=[[name] for name in table["participant_id"]])
    ),
}


@pytest.mark.parametrize("how", DAMAGED)
def test_what_cannot_be_built_says_why(root, mean, table, how: str) -> None:
    """`build` reads results that nobody has verified."""
    DAMAGED[how](root, mean, table)
    try:
        generated(root)
    except InputError as error:
        assert str(error).isprintable()


@pytest.mark.parametrize("people", [1, 8])
def test_what_is_sound_can_be_built(root, mean, table, people: int) -> None:
    """Else one result that nobody finds fault with stops the build of all."""
    some = {person(table, place) for place in range(people)}
    names = ["ap.standard", "ap.native"]
    entry = consistent(
        root, mean.result, table.assign(**{n: table[n].where(~table["participant_id"].isin(some)) for n in names})
    )
    try:
        require_sound(entry, root)
    except InputError:
        return
    generated(root)
