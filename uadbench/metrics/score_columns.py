"""Catalogue entries for the scores of single cases: the columns of `scores.parquet`."""

from __future__ import annotations

from math import inf

from uadbench.metrics.metric import MELBA, PAPER, Better, Metric

SKLEARN = "scikit-learn"

_LOCALISATION = "uadbench.metrics.localisation"
_RESTORATION = "uadbench.metrics.restoration"
_SUBJECT = "uadbench.metrics.scan_score"

LOCALISATION = (
    Metric(
        "ap.<map>",
        "AP <map>",
        "voxelwise average precision of <map> in each case",
        f"{_LOCALISATION}:rank",
        better="higher",
        high=1,
        source=f"{SKLEARN}, average_precision_score: sum of (R_n - R_(n-1)) P_n, without interpolation",
        interval="own",
    ),
    Metric(
        "prevalence",
        "chance",
        "share of the truth among all voxels that are not ignored: the average precision of an uninformative map",
        f"{_LOCALISATION}:rank",
        high=1,
    ),
    Metric(
        "normalised_ap",
        "normalised AP",
        "average precision of the standard map above chance, as a share of the largest possible: (AP - chance) / (1 - "
        "chance); 0 is chance, and anomalies of different sizes can be compared",
        f"{_LOCALISATION}:above_chance",
        better="higher",
        low=-inf,
        high=1,
        interval="own",
    ),
    Metric(
        "auroc.<map>",
        "voxel AUROC <map>",
        "area under the ROC curve of the voxels of <map> in each case",
        f"{_LOCALISATION}:rank",
        better="higher",
        high=1,
        source=f"{SKLEARN}, roc_auc_score: the Mann-Whitney statistic, in which a tie counts half",
        heading="AUROC <map>",
    ),
    Metric(
        "correlation.<map>",
        "correlation <map>",
        "Pearson correlation of <map> with the true reduction, over the voxels of the brain",
        f"{_LOCALISATION}:correlation",
        better="higher",
        low=-1,
        high=1,
    ),
    Metric(
        "dice.oracle",
        "oracle Dice",
        "Dice of the standard map at the best threshold of each case, which can be chosen only if the truth is known",
        f"{_LOCALISATION}:rank",
        better="higher",
        high=1,
    ),
    Metric(
        "dice.fpr<rate>",
        "Dice at FPR <rate>",
        "Dice of the voxels in which the standard map is above the value that a share <rate> of healthy validation "
        "voxels exceed",
        f"{_LOCALISATION}:rank",
        better="higher",
        high=1,
    ),
    Metric(
        "recall.fpr<rate>",
        "recall at FPR <rate>",
        "share of the truth in which the standard map is above the value that a share <rate> of healthy validation "
        "voxels exceed",
        f"{_LOCALISATION}:rank",
        better="higher",
        high=1,
    ),
    Metric(
        "exceeding.fpr<rate>",
        "voxels above FPR <rate>",
        "share of an unaltered scan in which the standard map is above the value that a share <rate> of healthy "
        "validation voxels exceed; in healthy scans <rate> is expected",
        f"{_SUBJECT}:voxel_threshold",
        high=1,
    ),
    Metric(
        "effective_reduction",
        "effective reduction",
        "share of the uptake inside the truth that the anomaly removes; smoothing and the weights of regions make it "
        "smaller than the severity",
        f"{_LOCALISATION}:mean_inside",
        low=-inf,
        high=1,
    ),
    Metric(
        "subject.score",
        "scan score",
        "mean of the highest values of a scan's standard map, in SDs of healthy scans",
        f"{_SUBJECT}:top_mean",
        unit="SD",
        low=-inf,
    ),
)
"""Columns that score anomaly maps."""

RESTORATION = (
    Metric(
        "recovered",
        "recovered",
        "share of the uptake removed inside the truth that the reconstruction x̂' recovers; 1 is all of it, more is too "
        "much",
        f"{_RESTORATION}:recovered_fraction",
        better="higher",
        low=-inf,
        source="sum(x̂' - x') / sum(x - x')",
        interval="own",
    ),
    Metric(
        "damage",
        "damage",
        "squared error of the reconstruction x̂' outside the truth, relative to the variance between healthy scans",
        f"{_RESTORATION}:damage",
        better="lower",
        source="sum (x̂' - x)² / sum of the variance",
        interval="own",
    ),
    Metric(
        "identified",
        "identified",
        "how often the reconstruction x̂' is closer to its own healthy scan x than to those of other test participants",
        f"{_RESTORATION}:ReferenceScans.identified",
        better="higher",
        high=1,
        interval="own",
    ),
    Metric(
        "healthiness.<image>",
        "healthiness <image>",
        "mean uptake of <image> inside the mask, divided by that in the rest of the brain; the value of x is ideal",
        f"{_RESTORATION}:healthiness",
        low=-inf,
        source=MELBA,
    ),
)
"""Columns that score reconstructions: recovered uptake, damage, identity of the subject, and healthiness."""

_SIMILARITIES: tuple[tuple[str, str, str, str, float, float, Better], ...] = (
    ("mse", "MSE", "mean squared error", "intensity²", 0, inf, "lower"),
    ("mae", "MAE", "mean absolute error", "intensity", 0, inf, "lower"),
    ("psnr", "PSNR", "peak signal-to-noise ratio", "dB", -inf, inf, "higher"),
    ("ssim", "SSIM", "structural similarity", "", -1, 1, "higher"),
)
_PAIRS = {
    "restoration": ("(x̂', x)", "between the reconstruction x̂' of the altered scan and the healthy scan x"),
    "residual": ("(x̂', x')", "between a scan and its own reconstruction"),
    "consistency": ("(x̂', x̂)", "between the reconstructions of the altered and of the healthy scan"),
}
_WANG = "Wang et al. 2004, IEEE Trans. Image Process. 13:600, equation 13, in three dimensions"


def _similarity(
    pair: str, metric: str, short: str, what: str, unit: str, low: float, high: float, better: Better
) -> Metric:
    images, between = _PAIRS[pair]
    unclear = pair == "residual"  # on altered scans, a large residual may be due to a detected anomaly
    return Metric(
        f"{pair}.<region>.{metric}",
        f"{short}{images} <region>",
        f"{what} {between}, over <region>"
        + ("; for altered scans, a small error is not necessarily better" if unclear else ""),
        "uadbench.metrics.reconstruction:compare",
        better="neither" if unclear else better,
        unit=unit,
        low=low,
        high=high,
        source=f"{PAPER}; {_WANG}" if metric == "ssim" else PAPER,
        heading=f"{short} <region>",
        interval="" if unclear else "own",
    )


SIMILARITY = tuple(_similarity(pair, *metric) for pair in _PAIRS for metric in _SIMILARITIES)
"""Columns that measure the similarity of two images; for scans without an anomaly, `residual` is (x̂, x)."""

SCORES = LOCALISATION + RESTORATION + SIMILARITY
"""All score columns: one row per case in `scores.parquet`, and means over a test set in the field `scores` of a
result."""
