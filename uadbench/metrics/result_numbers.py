"""Metrics of results and leaderboards: aggregates of scores, detection, cost; data only."""

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
        "average precision of the standard map over the ranking severities, half dementias, half unseen blobs",
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
        "mean of the ranking AP over dementias, one half of it",
        f"{_ANALYSIS}:headline",
        better="higher",
        high=1,
        heading="dementias",
        interval="ranking",
    ),
    Metric(
        "headline.ap_unseen",
        "ranking AP, unseen",
        "the ranking AP on unseen blobs, the other half of it",
        f"{_ANALYSIS}:headline",
        better="higher",
        high=1,
        heading="unseen",
        interval="ranking",
    ),
    Metric(
        "headline.ap_native",
        "ranking AP, native",
        "the ranking AP of the map as the model gives it, without the common post-processing",
        f"{_ANALYSIS}:headline",
        better="higher",
        high=1,
        heading="native",
        interval="ranking",
    ),
    Metric(
        "headline.ceiling",
        "ceiling",
        "the ranking AP that the true reduction itself gets after the smoothing of the standard map",
        f"{_ANALYSIS}:headline",
        high=1,
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
"""The numbers that a table shows first: `headline` of a result."""

DETECTION = (
    Metric(
        "detection.voxel_thresholds.value",
        "voxel threshold",
        "value of the standard map that the given share of healthy validation voxels exceeds",
        f"{_SUBJECT}:voxel_threshold",
        unit="SD",
        low=-inf,
    ),
    Metric(
        "detection.threshold",
        "scan threshold",
        "scan score that a new healthy scan stays below with the protocol's specificity; n/a if there are too few "
        "validation scans",
        f"{_SUBJECT}:subject_threshold",
        unit="SD",
        low=-inf,
        source="split conformal prediction: Vovk et al. 2005, Algorithmic Learning in a Random World",
    ),
    Metric(
        "detection.specificity_bounds",
        "true specificity",
        "bounds of the true specificity of the scan threshold, with 95 % confidence",
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
        "area under the ROC curve of the scan scores of a test set against those of other people's healthy test scans",
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
        "detection.severities.minimum_detectable",
        "minimum detectable severity",
        "lowest severity from which on at least half of the altered scans (lower bound) are above the scan threshold",
        f"{_ANALYSIS}:detection",
        better="lower",
        high=1,
        heading="detectable from",
    ),
    Metric(
        "detection.severities.monotonicity",
        "monotonicity",
        "Spearman correlation of scan score and severity within a participant, mean over participants",
        f"{_ANALYSIS}:monotonicity",
        better="higher",
        low=-1,
        high=1,
    ),
    Metric(
        "detection.severities.paper.ratio",
        "MSE / healthy MSE",
        "MSE(x̂', x') of altered scans over the mean MSE(x̂, x) of healthy scans",
        f"{_ANALYSIS}:paper_tests",
        source=f"{PAPER}, Figure 1",
    ),
    Metric(
        "detection.severities.paper.p_unpaired",
        "p, unpaired",
        "p-value of an unpaired t-test between the two, not adjusted",
        f"{_ANALYSIS}:paper_tests",
        high=1,
        source=f"{PAPER}, Figure 1",
    ),
    Metric(
        "detection.severities.paper.p_paired",
        "p, paired",
        "p-value of a paired t-test between the two, not adjusted",
        f"{_ANALYSIS}:paper_tests",
        high=1,
        source=f"{PAPER}, Figure 1",
    ),
    Metric(
        "detection.clinical",
        "correlation with MMSE",
        "Spearman correlation of the patients' scan scores with their Mini-Mental State Examination",
        f"{_PROPORTIONS}:rank_correlation",
        better="lower",
        low=-1,
        high=1,
        heading="MMSE",
    ),
)
"""Numbers about whole scans and thresholds: `detection` of a result."""

COST = (
    Metric(
        "cost.train_seconds", "training time", "wall-clock time of the training", _RUN, "lower", "s", heading="train s"
    ),
    Metric(
        "cost.inference_seconds_per_scan",
        "inference time per scan",
        "inference time per scan; tables show milliseconds",
        _RUN,
        "lower",
        "s",
        heading="ms a scan",
    ),
    Metric("cost.evaluation_seconds", "evaluation time", "time that the evaluation took", _RUN, "lower", "s"),
    Metric("cost.peak_memory_mib", "peak memory", "most memory in use at a time", _RUN, "lower", "MiB"),
    Metric("cost.parameters", "parameters", "numbers that the model has learnt or holds", _RUN, "lower"),
    Metric(
        "cost.cpu_minutes",
        "processor time",
        "processor time of training and evaluation, all cores together",
        _RUN,
        "lower",
        "min",
        heading="CPU min",
    ),
    Metric(
        "cost.budget_minutes", "processor budget", "processor time that the protocol grants a run", _RUN, unit="min"
    ),
)
"""What a result cost on the machine that made it: `cost` of a result."""

BOARD = (
    Metric(
        "board.group",
        "group",
        "no model in a group can be told apart from the best of it (paired tests over participants, Holm-adjusted)",
        "uadbench.stats.paired:tie_groups",
        "lower",
        low=1,
    ),
    Metric(
        "board.rank",
        "rank",
        "interval (95 %) of the rank when participants, and seeds, are resampled",
        "uadbench.stats.paired:rank_intervals",
        "lower",
        low=1,
    ),
    Metric(
        "board.healthiness",
        "healthiness x̂' : x",
        "healthiness of the reconstruction x̂' over that of the same person's healthy scan; 1 is right",
        "uadbench.metrics.restoration:healthiness",
        low=-inf,
        source=MELBA,
    ),
    Metric(
        "board.trainings",
        "seeds x folds",
        "how many seeds and folds the model was trained with",
        "uadbench.leaderboard.boards:boards",
        low=1,
    ),
)
"""What only a leaderboard has."""
