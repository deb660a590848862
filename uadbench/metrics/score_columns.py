"""Metrics of single cases, the columns of `scores.parquet`; data only."""

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
        "voxelwise average precision of <map>, case by case",
        f"{_LOCALISATION}:rank",
        better="higher",
        high=1,
        source=f"{SKLEARN}, average_precision_score: sum of (R_n - R_(n-1)) P_n, without interpolation",
        interval="own",
    ),
    Metric(
        "ap.ceiling",
        "ceiling",
        "average precision that the true reduction itself gets after the smoothing of the standard map",
        f"{_LOCALISATION}:rank",
        high=1,
    ),
    Metric(
        "prevalence",
        "chance",
        "share of the truth among the voxels that count: the average precision of an uninformative map",
        f"{_LOCALISATION}:rank",
        high=1,
    ),
    Metric(
        "auroc.<map>",
        "voxel AUROC <map>",
        "area under the ROC curve of the voxels of <map>, case by case",
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
        "voxels exceeds",
        f"{_LOCALISATION}:rank",
        better="higher",
        high=1,
    ),
    Metric(
        "recall.fpr<rate>",
        "recall at FPR <rate>",
        "share of the truth in which the standard map is above the value that a share <rate> of healthy validation "
        "voxels exceeds",
        f"{_LOCALISATION}:rank",
        better="higher",
        high=1,
    ),
    Metric(
        "exceeding.fpr<rate>",
        "voxels above FPR <rate>",
        "share of an unaltered scan in which the standard map is above the value that a share <rate> of healthy "
        "validation voxels exceeds; <rate> is expected of a healthy scan",
        f"{_SUBJECT}:voxel_threshold",
        high=1,
    ),
    Metric(
        "effective_reduction",
        "effective reduction",
        "share of the uptake that the anomaly takes inside the truth, which smoothing makes less than the severity",
        f"{_LOCALISATION}:mean_inside",
        low=-inf,
        high=1,
    ),
    Metric(
        "subject.score",
        "scan score",
        "mean of the highest voxels of a scan's standard map, in SDs of healthy scans",
        f"{_SUBJECT}:top_mean",
        unit="SD",
        low=-inf,
    ),
)
"""Columns about anomaly maps."""

RESTORATION = (
    Metric(
        "recovered",
        "recovered",
        "share of the uptake taken inside the truth that the reconstruction x̂' gives back; 1 is all of it, more is too "
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
        "squared error of the reconstruction x̂' outside the truth, in variances between healthy people",
        f"{_RESTORATION}:damage",
        better="lower",
        source="sum (x̂' - x)² / sum of the variance",
        interval="own",
    ),
    Metric(
        "identified",
        "identified",
        "how often the reconstruction x̂' is nearer to its own healthy scan x than to any other test participant's",
        f"{_RESTORATION}:ReferenceScans.identified",
        better="higher",
        high=1,
        interval="own",
    ),
    Metric(
        "healthiness.<image>",
        "healthiness <image>",
        "mean uptake inside the mask over that in the rest of the brain, of <image>; that of x is right",
        f"{_RESTORATION}:healthiness",
        low=-inf,
        source=MELBA,
    ),
)
"""Columns about what a reconstruction gives back, what it spoils, and whose brain it shows."""

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
    unclear = pair == "residual"  # a model that sees the anomaly has a large one on altered scans
    return Metric(
        f"{pair}.<region>.{metric}",
        f"{short}{images} <region>",
        f"{what} {between}, over <region>" + ("; of an altered scan a small error is no merit" if unclear else ""),
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
"""Columns about how alike two images are; `residual` is (x̂, x) in a scan in which nothing is simulated."""

SCORES = LOCALISATION + RESTORATION + SIMILARITY
"""Every column of scores: one row a case in `scores.parquet`, means over a test set in `scores` of a result."""
