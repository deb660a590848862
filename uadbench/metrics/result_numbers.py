"""Catalogue entries for the numbers of results and leaderboards: aggregated scores, detection, cost, ranking."""

from __future__ import annotations

from math import inf

from uadbench.metrics.metric import MELBA, PAPER, Metric

_ANALYSIS = "uadbench.results.aggregate"
_SUBJECT = "uadbench.metrics.scan_score"
_PROPORTIONS = "uadbench.stats.detection"
_RUN = "uadbench.runs.run:complete"

HEADLINE = (
    Metric(
        "headline.ap_standard",
        "ranking AP",
        "mean average precision of the standard map over the ranking severities, half from dementias and half from "
        "unseen blobs",
        f"{_ANALYSIS}:headline",
        better="higher",
        high=1,
        interval="own",
    ),
    Metric(
        "headline.ap_interval",
        "95 %",
        "95 % interval of the ranking AP over test participants",
        "uadbench.stats.bootstrap:mean_intervals",
        high=1,
    ),
    Metric(
        "headline.ap_dementias",
        "ranking AP, dementias",
        "the half of the ranking AP that comes from dementias",
        f"{_ANALYSIS}:headline",
        better="higher",
        high=1,
        heading="dementias",
        interval="ranking",
    ),
    Metric(
        "headline.ap_unseen",
        "ranking AP, unseen",
        "the half of the ranking AP that comes from unseen blobs",
        f"{_ANALYSIS}:headline",
        better="higher",
        high=1,
        heading="unseen",
        interval="ranking",
    ),
    Metric(
        "headline.ap_native",
        "ranking AP, native",
        "the ranking AP of the map as the model returns it, without the standard post-processing",
        f"{_ANALYSIS}:headline",
        better="higher",
        high=1,
        heading="native",
        interval="ranking",
    ),
    Metric(
        "headline.prevalence",
        "chance",
        "the ranking AP of an uninformative map: the prevalence",
        f"{_ANALYSIS}:headline",
        high=1,
    ),
    Metric(
        "headline.healthy_mse",
        "healthy MSE",
        "mean squared error between healthy test scans x and their reconstructions x̂, over the whole volume",
        f"{_ANALYSIS}:headline",
        better="lower",
        unit="intensity²",
        source=PAPER,
        interval="own",
    ),
    Metric(
        "headline.validation_mse",
        "validation MSE",
        "mean squared error between healthy validation scans and their reconstructions, over the whole volume",
        "uadbench.training.loop:validation_mse",
        better="lower",
        unit="intensity²",
    ),
)
"""The main numbers of a result: its field `headline`."""

DETECTION = (
    Metric(
        "detection.voxel_thresholds.value",
        "voxel threshold",
        "value of the standard map that a given share of healthy validation voxels exceeds",
        f"{_SUBJECT}:voxel_threshold",
        unit="SD",
        low=-inf,
    ),
    Metric(
        "detection.threshold",
        "scan threshold",
        "scan score that a new healthy scan does not exceed with the protocol's specificity as probability; n/a if "
        "there are too few validation scans",
        f"{_SUBJECT}:subject_threshold",
        unit="SD",
        low=-inf,
        source="split conformal prediction: Vovk et al. 2005, Algorithmic Learning in a Random World",
    ),
    Metric(
        "detection.specificity_bounds",
        "true specificity",
        "95 % interval of the true specificity of the scan threshold",
        f"{_SUBJECT}:subject_threshold",
        high=1,
    ),
    Metric(
        "detection.specificity",
        "specificity",
        "share of healthy test scans that are not above the scan threshold",
        f"{_ANALYSIS}:detection",
        better="higher",
        high=1,
    ),
    Metric(
        "detection.testsets.auroc",
        "AUROC",
        "area under the ROC curve of the scan scores of a test set versus those of healthy test scans of other "
        "participants",
        f"{_PROPORTIONS}:auroc_among",
        better="higher",
        high=1,
        interval="own",
    ),
    Metric(
        "detection.testsets.sensitivity",
        "sensitivity",
        "share of the scans of a test set that are above the scan threshold",
        f"{_PROPORTIONS}:share_above",
        better="higher",
        high=1,
    ),
    Metric(
        "detection.testsets.matched",
        "sensitivity at matched specificity",
        "share of the scans of a test set that are above the threshold at which, for every model alike, the protocol's "
        "specificity is reached in healthy test scans of other participants; n/a if there are too few",
        f"{_PROPORTIONS}:share_above_others",
        better="higher",
        high=1,
        heading="matched sensitivity",
    ),
    Metric(
        "detection.severities.minimum_detectable",
        "minimum detectable severity",
        "lowest severity at and above which at least half of the altered scans (lower bound of the interval) are above "
        "the scan threshold",
        f"{_ANALYSIS}:detection",
        better="lower",
        high=1,
        heading="detectable from",
    ),
    Metric(
        "detection.severities.monotonicity",
        "monotonicity",
        "Spearman correlation between scan score and severity within each participant, averaged over participants",
        f"{_ANALYSIS}:monotonicity",
        better="higher",
        low=-1,
        high=1,
    ),
    Metric(
        "detection.severities.paper.ratio",
        "MSE / healthy MSE",
        "MSE(x̂', x') of altered scans divided by the mean MSE(x̂, x) of healthy scans",
        f"{_ANALYSIS}:paper_tests",
        source=f"{PAPER}, Figure 1",
    ),
    Metric(
        "detection.severities.paper.p_unpaired",
        "p, unpaired",
        "unadjusted p-value of an unpaired t-test between MSE(x̂', x') of altered scans and MSE(x̂, x) of healthy scans",
        f"{_ANALYSIS}:paper_tests",
        high=1,
        source=f"{PAPER}, Figure 1",
    ),
    Metric(
        "detection.severities.paper.p_paired",
        "p, paired",
        "unadjusted p-value of a paired t-test between MSE(x̂', x') of altered scans and MSE(x̂, x) of healthy scans",
        f"{_ANALYSIS}:paper_tests",
        high=1,
        source=f"{PAPER}, Figure 1",
    ),
    Metric(
        "detection.clinical",
        "correlation with MMSE",
        "Spearman correlation of the patients' scan scores with their Mini-Mental State Examination scores",
        f"{_PROPORTIONS}:rank_correlation",
        better="lower",
        low=-1,
        high=1,
        heading="MMSE",
    ),
)
"""Numbers about the detection of scans, and thresholds: the field `detection` of a result."""

ROBUSTNESS = (
    Metric(
        "robustness.shifts.false_alarms",
        "false alarms",
        "share of shifted healthy test scans that are above the scan threshold, which unshifted scans have set",
        "uadbench.results.robustness:robustness",
        better="lower",
        high=1,
    ),
    Metric(
        "robustness.shifts.ap_kept",
        "AP kept",
        "average precision of the standard map on shifted altered scans, divided by that on the same altered scans "
        "without the shift",
        "uadbench.results.robustness:robustness",
        better="higher",
    ),
    Metric(
        "robustness.worst_false_alarms",
        "worst false-alarm rate under shift",
        "highest of the false-alarm rates under the shifts of the protocol, without `cut`, which removes tissue",
        "uadbench.results.robustness:robustness",
        better="lower",
        high=1,
        heading="worst false alarms",
    ),
    Metric(
        "robustness.least_ap_kept",
        "AP kept under shift",
        "lowest of the shares of average precision that are kept under the shifts of the protocol, without `cut`",
        "uadbench.results.robustness:robustness",
        better="higher",
        heading="least AP kept",
    ),
    Metric(
        "bias.groups.false_alarms",
        "false alarms",
        "share of the healthy test and audit participants of a group whose scans are above the scan threshold",
        "uadbench.results.bias:bias",
        better="lower",
        high=1,
    ),
    Metric(
        "bias.p_age",
        "p, age",
        "p-value of a trend of false alarms over age",
        "uadbench.stats.trend:trend_p",
        high=1,
        source="Cochran 1954, Biometrics 10:417; Armitage 1955, Biometrics 11:375; by permutation",
    ),
    Metric(
        "bias.p_sex",
        "p, sex",
        "p-value of a difference in false alarms between women and men",
        "uadbench.stats.trend:difference_p",
        high=1,
        source="Fisher's exact test",
    ),
)
"""Numbers about domain shift and bias: the fields `robustness` and `bias` of a result."""

COST = (
    Metric(
        "cost.train_seconds", "training time", "wall-clock time of the training", _RUN, "lower", "s", heading="train s"
    ),
    Metric(
        "cost.inference_seconds_per_scan",
        "inference time per scan",
        "inference time per scan; tables show it in milliseconds",
        _RUN,
        "lower",
        "s",
        heading="ms a scan",
    ),
    Metric("cost.evaluation_seconds", "evaluation time", "wall-clock time of the evaluation", _RUN, "lower", "s"),
    Metric("cost.peak_memory_mib", "peak memory", "largest amount of memory in use", _RUN, "lower", "MiB"),
    Metric("cost.parameters", "parameters", "number of learnt and stored values of the model", _RUN, "lower"),
    Metric(
        "cost.cpu_minutes",
        "processor time",
        "processor time of training and evaluation, summed over all cores",
        _RUN,
        "lower",
        "min",
        heading="CPU min",
    ),
    Metric(
        "cost.budget_minutes", "processor budget", "processor time that the protocol allows a run", _RUN, unit="min"
    ),
)
"""The computational cost of a run on its machine: the field `cost` of a result."""

BOARD = (
    Metric(
        "board.rank",
        "rank",
        "simultaneous 95 % confidence set of the rank, from paired tests of all models over participants and "
        "trainings, Holm-adjusted",
        "uadbench.stats.paired:contrasts",
        "lower",
        low=1,
    ),
    Metric(
        "board.healthiness",
        "healthiness x̂' : x",
        "healthiness of the reconstruction x̂' divided by that of the same participant's healthy scan; 1 is ideal",
        "uadbench.metrics.restoration:healthiness",
        low=-inf,
        source=MELBA,
    ),
    Metric(
        "board.near_ideal",
        "near-ideal",
        "the ranking AP of a linear filter with thousands of healthy scans: a lower bound on what can be found",
        "uadbench.results.near_ideal:near_ideal",
        high=1,
    ),
    Metric(
        "board.trainings",
        "seeds x folds",
        "number of seeds and folds that the model was trained with",
        "uadbench.leaderboard.boards:boards",
        low=1,
    ),
)
"""Numbers that appear only on a leaderboard."""
