"""From a table of cases to what is said of a model: against scipy, pandas and plain counting on made-up scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from uadbench.metrics.scan_score import Threshold
from uadbench.protocols.schema import load_protocol
from uadbench.results.aggregate import detection, headline, monotonicity, paper_tests, strata
from uadbench.results.schema import Bounded
from uadbench.stats.bootstrap import Interval

PEOPLE, VALIDATION, PATIENTS = 40, 40, 25
SEVERITIES = (0.1, 0.3, 0.5)
PROTOCOL = load_protocol("smoke", {"testsets.severities": "[0.1, 0.3, 0.5]", "ranking.severities": "[0.1, 0.3]"})
NOTHING = Bounded(value=None, low=None, high=None)
VOXELS = {0.01: Threshold(2.3456789, 2.1, 2.6)}
LIFT = {0.1: 0.5, 0.3: 2.0, 0.5: 4.0}


def made_up(
    seed: int = 0, people: int = PEOPLE, validation: int = VALIDATION, patients: int = PATIENTS, residual: bool = True
) -> pd.DataFrame:
    """One row a case, as an evaluation makes them; scores of a scan rise with the severity in it."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, object]] = []

    def add(person: str, anomaly: str, severity: float, score: float, **more: float) -> None:
        known = {"participant_id": person, "session_id": "ses-M000", "anomaly": anomaly, "severity": severity}
        rows.append({**known, "subject.score": score, **more})

    for person in range(people):
        name, own = f"sub-{person:03d}", rng.normal()
        add(name, "healthy", 0.0, own, mmse=29.0, **{"residual.whole.mse": rng.uniform(0.9, 1.1)})
        drawn = [("varied", round(float(rng.uniform(0.1, 0.5)), 4)) for _ in range(2)]
        for anomaly, severity in (
            [(a, s) for a in ("ad", "pca", "unseen") for s in SEVERITIES] + drawn + [("hyper", 0.3)]
        ):
            lift = LIFT.get(severity, 8 * severity)
            found = {f"ap.{label}": rng.uniform(0.2, 0.9) for label in ("standard", "native")}
            more = {**found, "prevalence": rng.uniform(0.01, 0.1)}
            if anomaly in ("ad", "pca"):
                more["residual.whole.mse"] = rng.uniform(0.9, 1.1) * (1 + severity)
            add(name, anomaly, severity, own + lift + 0.3 * rng.normal(), **more)
    for person in range(validation):
        add(f"val-{person:03d}", "validation", 0.0, rng.normal())
    for person in range(patients):
        mmse = rng.uniform(10, 29)
        add(f"pat-{person:03d}", "patients", 0.0, rng.normal() + 0.2 * (29 - mmse), mmse=mmse)
    table = pd.DataFrame(rows)
    return table if residual else table.drop(columns="residual.whole.mse")


def scores_of(table: pd.DataFrame, anomaly: str, severity: float | None = None) -> np.ndarray:
    rows = table[table["anomaly"] == anomaly]
    rows = rows if severity is None else rows[rows["severity"] == severity]
    return rows["subject.score"].to_numpy()


def give(table: pd.DataFrame, anomaly: str, severity: float, above: int, threshold: float) -> None:
    """Exactly `above` scans of a test set score above the threshold."""
    rows = table.index[(table["anomaly"] == anomaly) & (table["severity"] == severity)]
    table.loc[rows, "subject.score"] = threshold - 1
    table.loc[rows[:above], "subject.score"] = threshold + 1


# the paper's t-tests


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 40))
def test_the_papers_tests_are_scipys(seed: int, subjects: int) -> None:
    rng = np.random.default_rng(seed)
    healthy = rng.uniform(0.5, 1.5, subjects)
    altered = healthy[:, None] * rng.uniform(0.9, 1.5, (subjects, 3))
    for column, test, severity in zip(
        altered.T, paper_tests(altered, healthy, [0.1, 0.3, 0.5]), SEVERITIES, strict=True
    ):
        assert test.severity == severity
        assert test.ratio == pytest.approx(column.mean() / healthy.mean(), rel=1e-5)
        assert test.p_paired == pytest.approx(stats.ttest_rel(column, healthy).pvalue, rel=1e-5)
        assert test.p_unpaired == pytest.approx(stats.ttest_ind(column, healthy).pvalue, rel=1e-5)


def test_the_papers_tests_where_nothing_spreads() -> None:
    assert paper_tests(np.zeros((5, 2)), np.zeros(5), [0.1, 0.3]) == [], "the identity errs nowhere"
    (same,) = paper_tests(np.arange(1.0, 6)[:, None], np.arange(1.0, 6), [0.1])
    assert (same.ratio, same.p_paired) == (1, None) and same.p_unpaired == 1
    (flat,) = paper_tests(np.full((5, 1), 2.0), np.ones(5), [0.1])
    assert (flat.ratio, flat.p_paired, flat.p_unpaired) == (2, None, None)
    (steady,) = paper_tests(np.arange(1.0, 6)[:, None] + 1, np.arange(1.0, 6), [0.1])
    assert steady.p_paired is None and steady.p_unpaired == pytest.approx(
        stats.ttest_ind(np.arange(2.0, 7), np.arange(1.0, 6)).pvalue, rel=1e-5
    )


# monotonicity


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6))
def test_monotonicity_is_spearmans_within_subjects(seed: int, severities: int) -> None:
    scores = np.random.default_rng(seed).integers(0, 4, (12, severities)).astype(float)
    scores[0], scores[1] = 1.0, np.arange(severities)
    varying = [row for row in scores if np.ptp(row) > 0]
    each = [stats.spearmanr(row, range(severities)).statistic for row in varying]
    found = monotonicity(scores)
    assert found.mean == pytest.approx(np.mean(each))
    if len(each) > 1:
        assert found.low - 1e-9 <= found.mean <= found.high + 1e-9
    assert monotonicity(scores**3).mean == pytest.approx(found.mean)


def test_monotonicity_at_its_ends() -> None:
    rising = np.random.default_rng(0).normal(size=(8, 1)) + np.arange(4.0)
    assert monotonicity(rising).mean == pytest.approx(1) and monotonicity(-rising).mean == pytest.approx(-1)
    assert monotonicity(rising[:, :1]) == monotonicity(np.ones((8, 4))) == Interval(None, None, None)
    assert monotonicity(np.vstack([rising, np.ones((3, 4))])).mean == pytest.approx(1), "constant rows are left out"


# detection


def test_thresholds_specificity_and_sensitivity_are_counted() -> None:
    table = made_up()
    found = detection(table, PROTOCOL, VOXELS)
    assert found.validation_scans == VALIDATION
    limit = np.sort(scores_of(table, "validation"))[38]  # the 39th: ceil(41 x 0.95)
    assert found.threshold == pytest.approx(limit, rel=1e-5)
    assert found.specificity_bounds == pytest.approx(stats.beta(39, 2).ppf([0.025, 0.975]), rel=1e-5)
    below = int((scores_of(table, "healthy") <= limit).sum())
    exact = stats.binomtest(below, PEOPLE).proportion_ci(0.95, "exact")
    assert vars(found.specificity) == pytest.approx(
        {"value": below / PEOPLE, "low": exact.low, "high": exact.high}, rel=1e-5
    )
    names = [(d.anomaly, d.severity) for d in found.testsets]
    graded = [(a, s) for a in ("ad", "pca", "unseen") for s in SEVERITIES]
    assert names == [*graded, ("varied", None), ("hyper", 0.3), ("patients", 0.0)]
    for tested in found.testsets:
        scores = scores_of(table, tested.anomaly, tested.severity)
        above, people = int((scores > limit).sum()), PATIENTS if tested.anomaly == "patients" else PEOPLE
        assert tested.sensitivity.value == pytest.approx(above / len(scores), rel=1e-5)
        if len(scores) == people:
            exact = stats.binomtest(above, people).proportion_ci(0.95, "exact")
            assert tested.sensitivity.low <= exact.low + 1e-6 and tested.sensitivity.high >= exact.high - 1e-6
    (voxel,) = found.voxel_thresholds
    assert vars(voxel) == {"false_positive_rate": 0.01, "value": 2.34568, "low": 2.1, "high": 2.6}


def test_two_draws_of_a_person_are_one_observation() -> None:
    table = made_up()
    twice = {d.anomaly: d.sensitivity for d in detection(table, PROTOCOL, {}).testsets}["varied"]
    limit = np.sort(scores_of(table, "validation"))[38]
    share = (scores_of(table, "varied") > limit).mean()
    one, two = (stats.beta.ppf([0.025], share * n, n - share * n + 1)[0] for n in (PEOPLE, 2 * PEOPLE))
    assert twice.low == pytest.approx(one, rel=1e-5) and twice.low < two


def test_own_pairs_do_not_count_in_auroc() -> None:
    table = made_up()
    healthy = table[table["anomaly"] == "healthy"].set_index("participant_id")["subject.score"]
    found = {(d.anomaly, d.severity): d.auroc for d in detection(table, PROTOCOL, {}).testsets}
    for (anomaly, severity), auroc in found.items():
        rows = table[table["anomaly"] == anomaly]
        rows = rows if severity is None else rows[rows["severity"] == severity]
        each = []
        for person, score in zip(rows["participant_id"], rows["subject.score"], strict=True):
            others = healthy.drop(person, errors="ignore")  # a patient has no healthy scan
            each.append(roc_auc_score([0] * len(others) + [1], [*others, score]))
        assert auroc.value == pytest.approx(np.mean(each), rel=1e-5)
        assert auroc.low <= auroc.value <= auroc.high
    with_own = roc_auc_score([0] * PEOPLE + [1] * PEOPLE, [*healthy, *scores_of(table, "ad", 0.1)])
    assert found["ad", 0.1].value < with_own - 0.005


def test_the_order_of_rows_changes_nothing() -> None:
    table = made_up()
    shuffled = table.sample(frac=1, random_state=1)
    one, other = detection(table, PROTOCOL, VOXELS), detection(shuffled, PROTOCOL, VOXELS)
    by_name = [{(d.anomaly, d.severity): d.sensitivity for d in found.testsets} for found in (one, other)]
    assert by_name[0] == by_name[1]
    assert one.threshold == other.threshold and one.specificity == other.specificity and one.clinical == other.clinical
    values = [{(d.anomaly, d.severity): d.auroc.value for d in found.testsets} for found in (one, other)]
    assert values[0] == pytest.approx(values[1])


@pytest.mark.parametrize("validation", [3, 29])
def test_with_few_validation_scans_there_is_no_threshold(validation: int) -> None:
    found = detection(made_up(validation=validation), PROTOCOL, VOXELS)
    assert found.validation_scans == validation
    assert found.threshold is None and found.specificity_bounds is None and found.specificity == NOTHING
    assert all(tested.sensitivity == NOTHING for tested in found.testsets)
    assert all(response.minimum_detectable is None for response in found.severities)
    assert all(tested.auroc.value is not None for tested in found.testsets), "an AUROC needs no threshold"
    assert all(response.monotonicity.value is not None for response in found.severities)
    assert len(found.voxel_thresholds) == 1 and found.clinical.value is not None
    assert detection(made_up(validation=30), PROTOCOL, {}).threshold is not None
    fewer = load_protocol("smoke", {"detection.least_validation": "10"})
    assert detection(made_up(validation=18), fewer, {}).threshold is None, "18 scans know no 95 %"
    assert detection(made_up(validation=19), fewer, {}).threshold is not None


@pytest.mark.parametrize(
    ("above", "lowest"),
    [
        ((40, 40, 40), 0.1),
        ((0, 40, 40), 0.3),
        ((0, 27, 40), 0.3),  # the lower bound of 27 in 40 is 0.509
        ((0, 26, 40), 0.5),  # of 26 it is 0.483
        ((0, 0, 40), 0.5),
        ((0, 0, 26), None),
        ((40, 0, 40), 0.5),  # found by chance below what is not found
        ((40, 26, 40), 0.5),
        ((40, 40, 0), None),
    ],
)
def test_the_minimum_detectable_severity(above: tuple[int, int, int], lowest: float | None) -> None:
    table = made_up()
    limit = np.sort(scores_of(table, "validation"))[38]
    for severity, count in zip(SEVERITIES, above, strict=True):
        for anomaly in ("ad", "unseen"):
            give(table, anomaly, severity, count, limit)
    found = {response.anomaly: response for response in detection(table, PROTOCOL, {}).severities}
    assert list(found) == ["ad", "pca", "unseen"], "what has no severities of its own has no response"
    assert found["ad"].minimum_detectable == found["unseen"].minimum_detectable == lowest
    lows = [stats.binomtest(count, PEOPLE).proportion_ci(0.95, "exact").low for count in above]
    expected = [s for k, s in enumerate(SEVERITIES) if all(low >= 0.5 for low in lows[k:])]
    assert lowest == (min(expected) if expected else None)


def test_the_response_to_severity() -> None:
    table = made_up()
    for response in detection(table, PROTOCOL, {}).severities:
        scores = np.stack([scores_of(table, response.anomaly, severity) for severity in SEVERITIES], axis=1)
        each = [stats.spearmanr(row, SEVERITIES).statistic for row in scores]
        assert response.monotonicity.value == pytest.approx(np.mean(each), rel=1e-5)
        healthy = table.loc[table["anomaly"] == "healthy", "residual.whole.mse"].to_numpy()
        assert [test.severity for test in response.paper] == ([] if response.anomaly == "unseen" else list(SEVERITIES))
        for test in response.paper:
            rows = table[(table["anomaly"] == response.anomaly) & (table["severity"] == test.severity)]
            altered = rows["residual.whole.mse"].to_numpy()
            assert test.ratio == pytest.approx(altered.mean() / healthy.mean(), rel=1e-5)
            assert test.p_paired == pytest.approx(stats.ttest_rel(altered, healthy).pvalue, rel=1e-4)
            assert test.p_unpaired == pytest.approx(stats.ttest_ind(altered, healthy).pvalue, rel=1e-4)
    shuffled = table.sample(frac=1, random_state=2)
    (ad, *_) = (r for r in detection(shuffled, PROTOCOL, {}).severities if r.anomaly == "ad")
    (expected, *_) = (r for r in detection(table, PROTOCOL, {}).severities if r.anomaly == "ad")
    assert ad.paper == expected.paper, "pairs are of the same participant whatever the order of rows"


def test_one_severity_has_no_trend_and_a_model_without_reconstruction_no_paper() -> None:
    table = made_up(residual=False)
    single = table[table["severity"].isin([0.0, 0.3]) | (table["anomaly"] == "varied")]
    assert all(r.paper == [] and r.monotonicity.value > 0.5 for r in detection(table, PROTOCOL, {}).severities)
    assert all(r.monotonicity == NOTHING for r in detection(single, PROTOCOL, {}).severities)


@pytest.mark.parametrize("patients", [2, 7, 25, 60])
def test_patients_are_as_many_as_they_are(patients: int) -> None:
    table = made_up(patients=patients)
    mmse = table["anomaly"].eq("patients") & table["participant_id"].eq("pat-001")
    table.loc[mmse, "mmse"] = np.nan
    found = detection(table, PROTOCOL, {})
    tested = found.testsets[-1]
    assert (tested.anomaly, tested.severity) == ("patients", 0.0)
    ill, healthy = scores_of(table, "patients"), scores_of(table, "healthy")
    expected = roc_auc_score([0] * PEOPLE + [1] * patients, [*healthy, *ill])
    assert tested.auroc.value == pytest.approx(expected, rel=1e-5)
    assert found.clinical_patients == patients - 1
    rows = table[(table["anomaly"] == "patients") & table["mmse"].notna()]
    if patients < 11:
        assert found.clinical == NOTHING
    else:
        rho = stats.spearmanr(rows["subject.score"], rows["mmse"]).statistic
        assert found.clinical.value == pytest.approx(rho, rel=1e-5)
        assert found.clinical.low < found.clinical.value < found.clinical.high


def test_patients_are_reported_by_diagnosis() -> None:
    table = made_up(patients=40)
    ill = table["anomaly"].eq("patients")
    table.loc[ill, "group"] = ["AD", "MCI", "mci", "AD"] * 10
    table.loc[ill & table["group"].eq("AD"), "subject.score"] += 2.0
    found = detection(table, PROTOCOL, {})
    together = detection(table.drop(columns="group"), PROTOCOL, {})
    assert together.patients == [] and together.clinical == found.clinical and together.testsets == found.testsets
    assert [(each.group.lower(), each.patients) for each in found.patients] == [("ad", 20), ("mci", 20)]
    healthy = scores_of(table, "healthy")
    for each in found.patients:
        rows = table[ill & table["group"].str.lower().eq(each.group.lower())]
        own = detection(table[~ill | table.index.isin(rows.index)].drop(columns="group"), PROTOCOL, {})
        auroc = roc_auc_score([0] * PEOPLE + [1] * len(rows), [*healthy, *rows["subject.score"]])
        assert each.auroc.value == pytest.approx(auroc, rel=1e-5)
        assert (each.auroc, each.sensitivity) == (own.testsets[-1].auroc, own.testsets[-1].sensitivity)
        assert (each.clinical, each.clinical_patients) == (own.clinical, own.clinical_patients)
    assert found.patients[0].auroc.value > found.patients[1].auroc.value


def test_a_cohort_without_patients() -> None:
    found = detection(made_up(patients=0), PROTOCOL, {})
    assert found.clinical == NOTHING and found.clinical_patients == 0
    assert "patients" not in {tested.anomaly for tested in found.testsets}
    assert found.threshold is not None and found.testsets[-1].anomaly == "hyper"


def test_a_map_that_never_varies_detects_nobody() -> None:
    table = made_up()
    table["subject.score"] = 0.0
    found = detection(table, PROTOCOL, {0.01: Threshold(0.0, 0.0, 0.0)})
    assert found.threshold == 0 and found.specificity.value == 1
    for tested in found.testsets:
        assert (tested.auroc.value, tested.sensitivity.value) == (0.5, 0)
    assert all(r.minimum_detectable is None and r.monotonicity == NOTHING for r in found.severities)
    assert found.clinical == NOTHING and found.clinical_patients == PATIENTS


# headline


def by_hand(table: pd.DataFrame, column: str) -> dict[str, pd.Series]:
    """Means by participant over the ranking severities: of the dementias, and of the unseen."""
    ranked = table[table["severity"].isin([0.1, 0.3])]
    halves = {"dementias": ranked["anomaly"].isin(["ad", "pca"]), "unseen": ranked["anomaly"] == "unseen"}
    return {name: ranked[rows].groupby("participant_id")[column].mean() for name, rows in halves.items()}


def test_the_headline_is_half_dementias_half_unseen() -> None:
    table = made_up()
    shown = headline(table, PROTOCOL, 0.0123456789)
    found = by_hand(table, "ap.standard")
    both = 0.5 * found["dementias"] + 0.5 * found["unseen"]
    assert shown.severities == (0.1, 0.3)
    assert shown.ap_dementias == pytest.approx(found["dementias"].mean(), rel=1e-5)
    assert shown.ap_unseen == pytest.approx(found["unseen"].mean(), rel=1e-5)
    assert shown.ap_standard == pytest.approx(both.mean(), rel=1e-5)
    low, high = shown.ap_interval
    student = stats.t.interval(0.95, PEOPLE - 1, both.mean(), stats.sem(both))
    assert low < shown.ap_standard < high
    assert (low, high) == (pytest.approx(student[0], abs=0.003), pytest.approx(student[1], abs=0.003))
    for name, column in (("ap_native", "ap.native"), ("prevalence", "prevalence")):
        halves = by_hand(table, column)
        expected = 0.5 * halves["dementias"].mean() + 0.5 * halves["unseen"].mean()
        assert getattr(shown, name) == pytest.approx(expected, rel=1e-5)
    healthy = table.loc[table["anomaly"] == "healthy", "residual.whole.mse"]
    assert shown.healthy_mse == pytest.approx(healthy.mean(), rel=1e-5)
    assert shown.validation_mse == 0.0123457
    without = headline(table.drop(columns="residual.whole.mse"), PROTOCOL, None)
    assert without.healthy_mse is None and without.validation_mse is None
    assert without.ap_standard == shown.ap_standard


def test_what_is_not_ranked_does_not_move_the_headline() -> None:
    table = made_up()
    before = headline(table, PROTOCOL, None)
    aside = ~(table["anomaly"].isin(["ad", "pca", "unseen"]) & table["severity"].isin([0.1, 0.3]))
    table.loc[aside, ["ap.standard", "ap.native", "prevalence"]] = 0.0
    assert headline(table, PROTOCOL, None) == before
    assert headline(table.sample(frac=1, random_state=3), PROTOCOL, None).ap_standard == before.ap_standard


@pytest.mark.parametrize(("anomaly", "missing"), [("ad", "ap_dementias"), ("unseen", "ap_unseen")])
def test_a_case_without_a_score_leaves_its_own_numbers_unavailable(anomaly: str, missing: str) -> None:
    table = made_up()
    before = headline(table, PROTOCOL, None)
    place = table.index[(table["anomaly"] == anomaly) & (table["severity"] == 0.3)][0]
    table.loc[place, "ap.standard"] = np.nan
    shown = headline(table, PROTOCOL, None)
    assert getattr(shown, missing) is None and shown.ap_standard is None
    other = "ap_unseen" if missing == "ap_dementias" else "ap_dementias"
    for name in (other, "ap_native", "prevalence", "healthy_mse"):
        assert getattr(shown, name) == getattr(before, name) is not None
    table = made_up()
    table.loc[table.index[(table["anomaly"] == anomaly) & (table["severity"] == 0.5)], "ap.standard"] = np.nan
    assert headline(table, PROTOCOL, None) == before, "0.5 does not rank"


# strata


def with_sites(table: pd.DataFrame, **columns: list[str]) -> pd.DataFrame:
    """Columns that healthy rows have, one value a participant."""
    healthy = table["anomaly"] == "healthy"
    for name, values in columns.items():
        table.loc[healthy, name] = values
    return table


def test_strata_are_counted_by_hand() -> None:
    table = with_sites(made_up(), site=["a"] * 20 + ["b"] * 12 + [""] * 7 + ["c"], scanner=["mCT"] * 40)
    found = strata(table, PROTOCOL)
    assert [(s.by, s.value, s.participants) for s in found] == [("site", "a", 20), ("site", "b", 12), ("site", "c", 1)]
    ranked = table[table["severity"].isin(PROTOCOL.ranking.severities)]
    means = [ranked[which].groupby("participant_id")["ap.standard"].mean() for which in (
        ranked["anomaly"].isin(["ad", "pca"]), ranked["anomaly"] == "unseen",
    )]  # fmt: skip
    precision = 0.5 * means[0] + 0.5 * means[1]
    limit = detection(table, PROTOCOL, VOXELS).threshold
    for stratum, people in zip(found, (range(20), range(20, 32), [39]), strict=True):
        names = [f"sub-{k:03d}" for k in people]
        rows = table[table["participant_id"].isin(names) & (table["anomaly"] == "healthy")]
        assert stratum.ap_standard.value == pytest.approx(precision[names].mean(), rel=1e-5)
        assert stratum.healthy_mse.value == pytest.approx(rows["residual.whole.mse"].mean(), rel=1e-5)
        passed = int((rows["subject.score"] <= limit).sum())
        exact = stats.binomtest(passed, len(names)).proportion_ci(0.95, "exact")
        expected = {"value": passed / len(names), "low": exact.low, "high": exact.high}
        assert vars(stratum.specificity) == pytest.approx(expected, rel=1e-5, abs=1e-9)
        if len(names) > 1:
            assert stratum.ap_standard.low < stratum.ap_standard.value < stratum.ap_standard.high
    assert found[2].ap_standard.low is None, "one participant has no interval"


def test_strata_follow_one_another_by_column_and_value() -> None:
    halves = [["x"] * 20 + ["y"] * 20, ["n"] * 10 + ["m"] * 30, ["A-"] * 39 + ["A+"]]
    table = with_sites(made_up(), **dict(zip(("site", "scanner", "amyloid"), halves, strict=True)))
    found = [(s.by, s.value, s.participants) for s in strata(table, PROTOCOL)]
    assert found == [
        ("site", "x", 20), ("site", "y", 20), ("scanner", "m", 30), ("scanner", "n", 10),
        ("amyloid", "A+", 1), ("amyloid", "A-", 39),
    ]  # fmt: skip
    assert strata(table.sample(frac=1, random_state=1), PROTOCOL) == strata(table, PROTOCOL)


@pytest.mark.parametrize("values", [["a"] * 40, [""] * 40, ["a"] * 39 + [""]])
def test_there_are_no_strata_where_all_are_alike(values: list[str]) -> None:
    assert strata(with_sites(made_up(), site=values), PROTOCOL) == []


def test_a_table_without_these_columns_has_no_strata() -> None:
    assert strata(made_up(), PROTOCOL) == []


def test_strata_without_a_threshold_or_a_reconstruction() -> None:
    table = with_sites(made_up(validation=29, residual=False), site=["a"] * 20 + ["b"] * 20)
    for stratum in strata(table, PROTOCOL):
        assert stratum.specificity == NOTHING and stratum.healthy_mse == NOTHING
        assert stratum.ap_standard.value is not None


# test sets that others have made


def test_given_test_sets_are_detected_and_rank_nothing() -> None:
    """Altered scans of some of the participants: each is compared with the healthy scans of the other ones of these."""
    table = made_up()
    some = table[(table["anomaly"] == "ad") & (table["severity"] == 0.5)].head(9)
    given_ones = some.assign(anomaly="given-ad", severity=0.45, **{"ap.standard": 0.01, "subject.score": 0.2})
    whole = pd.concat([table, given_ones], ignore_index=True)
    assert headline(whole, PROTOCOL, None) == headline(table, PROTOCOL, None)
    found = detection(whole, PROTOCOL, VOXELS)
    assert [r.anomaly for r in found.severities] == ["ad", "pca", "unseen"]
    (tested,) = (d for d in found.testsets if d.anomaly == "given-ad")
    healthy = table[table["anomaly"] == "healthy"].set_index("participant_id")["subject.score"]
    people = list(some["participant_id"])
    each = [(healthy[[other for other in people if other != person]] < 0.2).mean() for person in people]
    assert tested.severity == 0.45 and tested.auroc.value == pytest.approx(np.mean(each), rel=1e-5)
    assert 0 < tested.auroc.value < 1 and tested.sensitivity.value == float(found.threshold < 0.2)
    others = [d for d in found.testsets if d.anomaly != "given-ad"]
    assert others == detection(table, PROTOCOL, VOXELS).testsets
