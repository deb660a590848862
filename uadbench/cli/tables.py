"""Tables of results for the terminal: localisation, restoration, detection, severities, comparison, profile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from uadbench.cli.fitting import Column, Fitted
from uadbench.metrics.catalogue import explained, heading_of, metric_of
from uadbench.report.people import about, given_rows, strata_rows
from uadbench.report.robustness import bias_rows, bias_tests, shift_rows, worst_shifts
from uadbench.report.words import effective_share, near, number, p_value, share, signed
from uadbench.results.near_ideal import near_ideal
from uadbench.runtime.plurals import counted
from uadbench.runtime.profiling import MODEL, share_in_model
from uadbench.stats.paired import ONE_TRAINING
from uadbench.types import HYPER, PATIENTS, UNSEEN

if TYPE_CHECKING:
    from rich.console import RenderableType

    from uadbench.results.compare import Pair
    from uadbench.results.schema import Result

RESTORED = ("recovered", "damage", "identified")
HEALTHINESS = ("healthiness.healthy", "healthiness.altered", "healthiness.from_altered")
MODEL_NAME = Column("model", "name")
RESPONSES = ("severities.monotonicity", "clinical")
MATCHED = "detection.testsets.matched"
"""Numbers in the `detection` section of a result that the detection table shows."""
NORMALISED, EFFECTIVE = "normalised_ap", "effective_reduction"


def models_table(results: Sequence[Result]) -> Group:
    """A table of localisation and cost, with one row for each result, in the given order."""
    first = results[0]
    severities = [s for s in (0.1, 0.2, 0.3, 0.5) if s in first.severities] or first.severities[:1]
    table = Fitted(
        MODEL_NAME,
        Column(heading_of("headline.ap_standard"), style="bold"),
        *(heading_of(f"headline.{name}") for name in ("ap_interval", "ap_dementias", "ap_unseen", "ap_native")),
        *(f"{heading_of('ap.standard')} {severity:.0%}" for severity in severities),
        heading_of("headline.healthy_mse"),
        *(heading_of(f"cost.{name}") for name in ("train_seconds", "inference_seconds_per_scan")),
    )
    for result in results:
        head, per_scan = result.headline, result.cost.inference_seconds_per_scan
        table.add_row(
            _name(result, results),
            number(head.ap_standard),
            "n/a" if head.ap_interval is None else "{:.3f}-{:.3f}".format(*head.ap_interval),
            *(number(value) for value in (head.ap_dementias, head.ap_unseen, head.ap_native)),
            *(number(over_dementias(result, severity, "ap.standard")) for severity in severities),
            number(head.healthy_mse),
            "n/a" if result.cost.train_seconds is None else f"{result.cost.train_seconds:.0f}",
            "n/a" if per_scan is None else f"{1000 * per_scan:.1f}",
        )
    cohort, protocol = first.cohort, first.protocol
    cases = (
        f"{counted(cohort.test, 'test scan')} x {counted(len(first.dementias), 'dementia')} x "
        f"{counted(len(first.severities), 'severity', 'severities')}"
    )
    train = counted(cohort.train, "training scan")
    heading = f"{cohort.name} (version {cohort.version}), protocol {protocol.name}: {train}, {cases}"
    ranked = ", ".join(f"{severity:.0%}" for severity in first.headline.severities)
    notes = [
        f"{explained('ap.standard', 'headline.ap_standard')} Ranking severities: {ranked}; "
        f"chance level {number(first.headline.prevalence)}. 95 %: bootstrap over participants. AP by severity: mean "
        f"over dementias, whose effective reduction is {share(effective_share(first, first.dementias))} of the "
        "severity.",
    ]
    if reference := near_ideal(first, results):
        notes.append(f"{reference.meaning} Ranking AP: {number(reference.ap)}.")
    notes += [f"Unranked: {why}." for why in dict.fromkeys(result.unranked for result in results) if why]
    over = [
        f"{_name(r, results)} ({r.cost.cpu_minutes:.3g} of {r.cost.budget_minutes:g})"
        for r in results
        if r.cost.over_budget
    ]
    if over:
        notes.append(f"Over the protocol's budget of processor minutes per run: {', '.join(over)}.")
    notes += about(cohort)
    return Group("", Text(heading), table, *(Text(note, style="dim") for note in notes))


def compact_table(results: Sequence[Result]) -> Group:
    """A table for 80 columns with one row for each result, in the given order."""
    groups, at = _groups(results), near(results[0], 0.3)
    table = Fitted(
        MODEL_NAME,
        Column(heading_of("headline.ap_standard"), style="bold"),
        *(heading_of(f"headline.{name}") for name in ("ap_interval", "ap_dementias", "ap_unseen")),
        *(f"{heading_of('detection.testsets.auroc')} {group}" for group in groups or [PATIENTS]),
        f"{heading_of(MATCHED)} {at:.0%}",
        heading_of("cost.train_seconds"),
    )
    for result in results:
        head = result.headline
        table.add_row(
            _name(result, results),
            number(head.ap_standard),
            "n/a" if head.ap_interval is None else "{:.3f}-{:.3f}".format(*head.ap_interval),
            *(number(value) for value in (head.ap_dementias, head.ap_unseen)),
            *([_auroc_of(result, group) for group in groups] or [auroc(result, PATIENTS)]),
            number(result.matched(at)),
            "n/a" if result.cost.train_seconds is None else f"{result.cost.train_seconds:.0f}",
        )
    return Group("", table)


def robustness_tables(results: Sequence[Result]) -> Group:
    """Tables of domain shift and of the bias audit for one result; for several results, the worst shifts of each."""
    shown: list[RenderableType] = []
    if len(results) > 1:
        lines = [f"{_name(result, results)}: {worst}" for result in results if (worst := worst_shifts(result))]
        return Group("", "domain shift", *map(Text, lines)) if lines else Group()
    (result,) = results
    if rows := shift_rows(result):
        note = f"{explained('robustness.shifts.false_alarms', 'robustness.shifts.ap_kept')} {worst_shifts(result)}"
        shown += ["", Text("domain shift"), _plain(rows), Text(note.strip(), style="dim")]
    if rows := bias_rows(result):
        note = f"{explained('bias.groups.false_alarms')} {bias_tests(result)}"
        shown += ["", Text("false alarms by age and sex"), _plain(rows), Text(note, style="dim")]
    return Group(*shown)


def people_tables(results: Sequence[Result]) -> Group:
    """Tables of additional test sets for every result, and of sites and scanners if there is only one result."""
    shown: list[RenderableType] = []
    for result in results:
        if result.given:
            shown += [
                "",
                Text(f"{_name(result, results)}: additional test sets (not ranked)"),
                _plain(given_rows(result)),
            ]
    if len(results) == 1 and results[0].strata:
        shown += ["", "test participants by site, scanner and amyloid status", _plain(strata_rows(results[0]))]
    return Group(*shown)


def _plain(rows: Sequence[dict[str, str]]) -> Fitted:
    table = Fitted(*(Column(heading, "number" if heading else "name") for heading in rows[0]))
    for row in rows:
        table.add_row(*row.values())
    return table


def restoration_table(results: Sequence[Result]) -> Group:
    """A table of restoration metrics at the severity nearest 30 %; empty if no model reconstructs."""
    if not any(result.model.reconstructs for result in results):
        return Group()
    first = results[0]
    at = near(first, 0.3)
    similar = ("restoration.whole.mse", "consistency.whole.ssim")
    table = Fitted(
        MODEL_NAME,
        *(metric_of(name).label for name in similar),
        *(heading_of(name) for name in (*RESTORED, *HEALTHINESS)),
    )
    for result in results:
        if result.model.reconstructs:
            table.add_row(
                _name(result, results),
                number(over_dementias(result, at, similar[0])),
                number(over_dementias(result, at, similar[1]), 4),
                *(number(over_dementias(result, at, name)) for name in (*RESTORED, *HEALTHINESS)),
            )
    note = (
        f"x: healthy scan, x': altered scan, x̂ and x̂': their reconstructions. {explained(*RESTORED, HEALTHINESS[-1])}"
    )
    heading = f"restoration at {at:.0%} (effective {share(over_dementias(first, at, EFFECTIVE))}), mean over dementias"
    return Group("", heading, table, Text(note, style="dim"))


def detection_table(results: Sequence[Result]) -> Group:
    """A table of voxel and scan detection, at thresholds set on healthy validation scans."""
    first = results[0]
    at, low, dementia = near(first, 0.3), near(first, 0.1), first.dementias[0]
    rates = [threshold.false_positive_rate for threshold in first.detection.voxel_thresholds]
    names = [*(f"recall.fpr{rate:g}" for rate in rates), f"dice.fpr{rates[-1]:g}", "dice.oracle"]
    names.append("correlation.standard")
    groups = _groups(results)
    testsets = (f"{dementia} {low:.0%}", f"{UNSEEN} {low:.0%}", HYPER, PATIENTS, *groups)
    table = Fitted(
        MODEL_NAME,
        *(heading_of(name) for name in names),
        *(f"{heading_of('detection.testsets.auroc')} {testset}" for testset in testsets),
        f"{heading_of(MATCHED)} {at:.0%}",
        *(heading_of(f"detection.{name}") for name in RESPONSES),
    )
    for result in results:
        detection = result.detection
        graded = [response for response in detection.severities if response.anomaly in result.dementias]
        table.add_row(
            _name(result, results),
            *(number(over_dementias(result, at, name)) for name in names),
            auroc(result, dementia, low),
            auroc(result, UNSEEN, low),
            auroc(result, HYPER),
            auroc(result, PATIENTS),
            *(_auroc_of(result, group) for group in groups),
            number(result.matched(at)),
            number(_mean([response.monotonicity.value for response in graded])),
            number(detection.clinical.value),
        )
    note = (
        f"Recall, Dice and correlation at {at:.0%}, mean over dementias. FPR: the given share of healthy validation "
        f"voxels exceeds the threshold. {explained('dice.oracle', 'subject.score', 'detection.testsets.auroc')} "
        "Hyper: increased uptake; the AUROC should not exceed .5. "
        f"{explained(MATCHED, *(f'detection.{name}' for name in RESPONSES))}"
    )
    return Group("", "detection", table, Text(note, style="dim"))


def severity_table(result: Result) -> Group:
    """Tables of one result by test set (rows) and nominal severity (columns).

    They show the average precision of the standard map, the normalised average precision, and the effective reduction.
    """
    severities = result.severities
    names, reference = [*result.dementias, UNSEEN], near_ideal(result)

    def table(column: str, chance: bool = False, shown: Callable[[float | None], str] = number) -> Fitted:
        headings = [Column(heading_of("prevalence"), style="dim")] if chance else []
        rows = Fitted(Column("test set", "name"), *(f"{severity:.0%}" for severity in severities), *headings)
        for name in names:
            scores = (shown(result.metric(name, severity, column)) for severity in severities)
            rows.add_row(name, *scores, *([number(result.metric(name, severities[0], "prevalence"))] if chance else []))
            if chance and reference:
                bounds = (number(reference.at(name, severity)) for severity in severities)
                rows.add_row(f"  {reference.label}", *bounds, "")
        return rows

    notes = [explained("prevalence", NORMALISED, EFFECTIVE), *([reference.meaning] if reference else [])]
    return Group(
        "",
        Text(f"{result.model.name}: average precision of the standard map by severity"),
        table("ap.standard", chance=True),
        Text("the same above chance, to compare test sets"),
        table(NORMALISED),
        Text("effective reduction by severity"),
        table(EFFECTIVE, shown=share),
        *(Text(note, style="dim") for note in notes),
    )


def auroc(result: Result, anomaly: str, severity: float | None = None) -> str:
    """Format the AUROC of the scans of a test set.

    Args:
        result: The result.
        anomaly: Name of the test set.
        severity: Its severity; None for a test set that has only one.

    Returns:
        The AUROC as text; "n/a" if there is none.
    """
    for testset in result.detection.testsets:
        if testset.anomaly == anomaly and severity in (None, testset.severity):
            return number(testset.auroc.value)
    return "n/a"


def _groups(results: Sequence[Result]) -> list[str]:
    """The diagnoses of patients, if there are several."""
    groups = list(dict.fromkeys(each.group for result in results for each in result.detection.patients))
    return groups if len(groups) > 1 else []


def _auroc_of(result: Result, group: str) -> str:
    """Format the AUROC of the patients with one diagnosis; "n/a" if there are none."""
    return number(next((each.auroc.value for each in result.detection.patients if each.group == group), None))


def over_dementias(result: Result, severity: float, metric: str) -> float | None:
    """The mean over dementias of a metric at one severity; None if it is n/a for any of them."""
    return _mean([result.metric(anomaly, severity, metric) for anomaly in result.dementias])


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present and len(present) == len(values) else None


def _name(result: Result, results: Sequence[Result]) -> str:
    """The model's name, with fold and seed if the results have several."""
    several = len({(r.fold, r.seed) for r in results}) > 1
    return result.model.name + (f" f{result.fold} s{result.seed}" if several else "")


def comparison_table(pairs: Sequence[Pair], notes: Sequence[str] = ()) -> Group:
    """A table with one row for each measure and pair of models.

    Args:
        pairs: The comparisons.
        notes: Lines about failed trainings.

    Returns:
        The table, with notes below it.
    """
    numbers = ("difference [95 %]", "p (Holm)", "effect", "prefer first", "prefer second")
    table = Fitted(Column("measure", "name"), Column("models", "prose"), *numbers, Column("verdict", "prose"))
    for pair in pairs:
        comparison, off = pair.comparison, pair.comparison.difference
        interval = "" if off.low is None or off.high is None else f" [{signed(off.low)}, {signed(off.high)}]"
        better = pair.first if (off.mean or 0) > 0 else pair.second
        table.add_row(
            pair.measure,
            f"{pair.first} - {pair.second}",
            "n/a" if off.mean is None else f"{signed(off.mean)}{interval}",
            "n/a" if pair.p is None else p_value(pair.p).removeprefix("= "),
            "n/a" if comparison.effect is None else f"{comparison.effect:+.2f}",
            f"{comparison.prefer_a} of {comparison.subjects}",
            f"{comparison.prefer_b} of {comparison.subjects}",
            f"{better} is better" if pair.decided else "not significant",
            style="bold" if pair.measure == pairs[0].measure else "",
        )
    lines = [
        "Average precision of the standard map over the ranking severities, paired over test participants. Each "
        "interval is for its pair alone. p is Holm-adjusted: for the ranking AP over its pairs, for the other measures "
        "over theirs together. Effect: matched-pairs rank-biserial correlation.",
        *notes,
    ]
    if any(pair.comparison.conditional for pair in pairs):
        lines.append(f"p holds for these trainings only: {ONE_TRAINING}.")
    return Group("", table, *(Text(line, style="dim") for line in lines))


def profile_table(seconds: dict[str, float]) -> Fitted:
    """A table of the time that each phase of a command took, longest first; phases of the model are in bold.

    Args:
        seconds: Seconds by phase.

    Returns:
        The table.
    """
    total = sum(seconds.values())
    title = f"{total:.1f} s, {share_in_model(seconds):.0%} of it in the model"
    table = Fitted(Column("phase", "name"), "s", "share", title=title)
    for name, spent in sorted(seconds.items(), key=lambda item: -item[1]):
        style = "bold" if name in MODEL else ""
        table.add_row(name, f"{spent:.1f}", f"{spent / total:.1%}" if total else "", style=style)
    return table
