"""What is measured of images and maps, against scikit-image, scikit-learn and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity
from sklearn.metrics import average_precision_score, roc_auc_score

from uadbench.cohorts.batches import Batches
from uadbench.evaluation.evaluator import Evaluator
from uadbench.evaluation.inference import observe
from uadbench.metrics import reconstruction
from uadbench.models.mean import Mean
from uadbench.protocols.schema import load_protocol
from uadbench.simulation.testset import SimulatedCases
from uadbench.stats.bootstrap import mean_intervals, subject_resamples
from uadbench.types import Scan

SHAPE = (80, 96, 80)


def ssim(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """scikit-image with the window of `reconstruction.ssim_map`; it has no zero padding."""
    found = structural_similarity(
        one, other, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0, full=True
    )
    return found[1]


def texture(seed: int, count: int = 1) -> np.ndarray:
    """Smooth images in 0..1, (count, X, Y, Z) float32, 0 near the border: there the two kinds of padding agree."""
    rng = np.random.default_rng(seed)
    images = np.zeros((count, *SHAPE), np.float32)
    for image in images:
        field = ndimage.gaussian_filter(rng.standard_normal(SHAPE, dtype=np.float32), 2)
        image[8:-8, 8:-8, 8:-8] = (0.5 + field / field.std() / 8).clip(0, 1)[8:-8, 8:-8, 8:-8]
    return images


def test_ssim_of_a_pair(versus) -> None:
    one, other = texture(0), texture(1)
    images = {"a": torch.from_numpy(one), "b": torch.from_numpy(other)}
    whole = {"whole": torch.ones(1, *SHAPE, dtype=torch.bool)}

    def ours() -> float:
        return float(reconstruction.compare(images, {"pair": ("a", "b")}, whole)["pair.whole.ssim"][0])

    assert ours() == pytest.approx(float(ssim(one[0], other[0]).mean()), abs=1e-6)
    versus("SSIM of a pair, 80 x 96 x 80 (with MSE, MAE, PSNR)", "scikit-image, Gaussian window", 10, ours,
           lambda: ssim(one[0], other[0]))  # fmt: skip


def test_all_metrics_of_one_case(versus) -> None:
    protocol = load_protocol("paper")
    affine = protocol.lattice.affine
    scans = [Scan(f"sub-{k}", "ses-M000", image, affine, (0.0, 1.0)) for k, image in enumerate(texture(0, 9))]
    validation = Batches(scans[:6], [protocol.intensity_of(scan.extent) for scan in scans[:6]], 6, 0)
    model = Mean(protocol.lattice)
    model.fit(validation)
    cases = SimulatedCases(protocol, scans[6:])
    evaluator = Evaluator.calibrated(model, cases, validation, torch.device("cpu"))
    scan, nine = scans[6], list(cases.cases(scans[6]))[:9]
    healthy = observe(model, evaluator.batch([scan.data], scan))

    def ours() -> None:
        evaluator.score_cases(nine, healthy)

    case, brain, sigma = nine[5], cases.brain, 12.0 / 2.0 / math.sqrt(8 * math.log(2))
    truth, counts = case.truth == 1, case.truth >= 0
    restored, altered = model.mean.numpy(), scan.data * (1 - case.reduction)

    def libraries() -> None:
        for other in (scan.data, altered, restored):
            ssim(restored, other)
            for region in (slice(None), brain):
                mean_squared_error(restored[region], other[region])
                abs(restored[region] - other[region]).mean()
                peak_signal_noise_ratio(other[region], restored[region], data_range=1.0)
        native = restored - altered
        smoothed = ndimage.gaussian_filter(native * brain, sigma, mode="constant")
        for found in (native, smoothed):
            average_precision_score(truth[counts], found[counts])
            roc_auc_score(truth[counts], found[counts])
            stats.pearsonr(found[brain], case.reduction[brain])

    work = "all metrics of one case, 80 x 96 x 80, whole volume, brain, truth and the rest of the brain"
    versus(work, "scikit-image, scikit-learn and SciPy, whole volume and brain", 15, ours, libraries, rounds=3, scale=9)


def test_bootstrap(versus) -> None:
    values = np.random.default_rng(0).normal(size=(30, 500))

    def ours() -> None:
        subject_resamples.cache_clear()
        mean_intervals(values)

    def five_columns() -> None:
        for column in values.T[:5]:
            stats.bootstrap((column,), np.mean, n_resamples=10_000, method="percentile", vectorized=True)

    work = "bootstrap, 10,000 x 30 subjects x 500 columns"
    versus(work, "scipy.stats.bootstrap a column", 10, ours, five_columns, rounds=3, scale=100)
