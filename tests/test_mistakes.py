"""Mistakes found in earlier work on this task, each shown to be impossible here.

Others have their tests where they belong: an altered scan scaled by its own range (test_testset), scores that depend
on the batch (test_evaluation), folds picked or taken for people (cli/test_verdicts), test sets pooled as independent
(test_statistics), names on disk that collide or are not read (cohorts/test_caps, test_simulation).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from uadbench.evaluation.evaluator import Evaluator, score_scans
from uadbench.metrics import localisation, restoration
from uadbench.models.identity import Identity
from uadbench.models.maxcheck import MaxCheck
from uadbench.models.vae3d import VAE3D
from uadbench.protocols.schema import load_protocol
from uadbench.results import aggregate
from uadbench.simulation.hypometabolism import mask, smoothed_mask, smoothed_support
from uadbench.simulation.regions import DEMENTIAS
from uadbench.simulation.testset import SimulatedCases
from uadbench.stats.paired import contrasts
from uadbench.stats.trainings import Scored

CPU = torch.device("cpu")


def test_every_dementia_is_altered_and_scored_in_its_own_mask(fold_data) -> None:
    """The mask of Alzheimer's disease was used for all dementias."""
    cases = fold_data.cases
    grid = cases.protocol.lattice
    for case in cases.cases(cases.scans[0]):
        if case.anomaly in DEMENTIAS:
            own = smoothed_mask(case.anomaly, grid.affine, grid.shape)
            support = smoothed_support(case.anomaly, grid.affine, grid.shape)
            assert np.array_equal(case.truth == 1, (support > 0.5) & cases.brain)
            np.testing.assert_allclose(case.reduction, case.severity * own, atol=1e-6)
    assert len({mask(name)[0].tobytes() for name in DEMENTIAS}) == len(DEMENTIAS)


NAMES = ("healthy", "altered", "from healthy", "from altered")


def test_what_lies_outside_the_brain_is_neither_inside_nor_outside_of_an_anomaly(fold_data) -> None:
    """Mask voxels outside the brain were counted as healthy brain."""
    cases = fold_data.cases
    evaluator = Evaluator.calibrated(
        Identity(cases.protocol.lattice), cases, fold_data.batches("validation", 0, CPU), CPU
    )
    case = next(cases.cases(cases.scans[0]))
    regions = {name: region[0].numpy() for name, region in evaluator.restoration.regions(case).items()}
    assert not (regions["outside"] & ~cases.brain).any() and not (regions["truth"] & ~cases.brain).any()
    assert not (regions["outside"] & (cases.smoothed_masks[case.anomaly] > 0.05)).any()
    spoilt = torch.from_numpy(np.where(cases.brain, case.scan.data, 100.0)[None].astype(np.float32))
    healthy = torch.from_numpy(case.scan.data[None].copy())
    found = [evaluator.restoration.restored(dict.fromkeys(NAMES, volume), case) for volume in (spoilt, healthy)]
    for name in found[0]:
        assert torch.equal(*(scores[name].nan_to_num() for scores in found)), name


def test_paired_scans_get_a_paired_test() -> None:
    """Mann-Whitney's test on the two scans of each participant does not see what happens to every one of them."""
    person = np.random.default_rng(0).normal(0.6, 0.1, 30)
    better = person + 0.01 + 0.002 * np.random.default_rng(1).normal(size=30)
    assert stats.mannwhitneyu(better, person).pvalue > 0.3
    p = contrasts([Scored(better[None]), Scored(person[None])]).p_of(0, 1)
    assert p is not None and p < 1e-6


def test_the_best_dice_is_called_an_oracle_and_thresholds_never_see_the_test_set(fold_data) -> None:
    """Thresholds were chosen on the scans on which they were then judged."""
    cases, validation = fold_data.cases, fold_data.batches("validation", 0, CPU)
    few = SimulatedCases(cases.protocol, cases.scans[:1])
    model = MaxCheck(cases.protocol.lattice)
    one, other = (Evaluator.calibrated(model, tested, validation, CPU).calibration for tested in (few, cases))
    assert one.thresholds == other.thresholds
    scores, truth = torch.rand(1, 400), (torch.arange(400) < 40).to(torch.int8)
    ranking = localisation.rank(scores, truth, [0.5, 0.9])
    assert (ranking.oracle_dice[:, None] >= ranking.dice).all()


def test_a_vae_answers_with_its_mean(fold_data) -> None:
    """Reconstructions were sampled at inference, so that the same scan had another score each time."""
    model = VAE3D(fold_data.protocol.lattice, width=4, latent=8).eval()
    batch = next(iter(fold_data.batches("test", 0, CPU)))
    with torch.no_grad():
        first, second = model.reconstruct(batch), model.reconstruct(batch)
    assert torch.equal(first, second)


def test_the_range_of_intensities_betrays_altered_scans_and_maxcheck_shows_it(fold_data) -> None:
    """Where each healthy scan is scaled to its own maximum, a scan below 1 was altered: no detector is needed."""
    sizes = {"detection.least_validation": "3", "intensity.kind": "'minmax'"}
    found = {}
    for name, overrides in (("suvr", {}), ("minmax", sizes)):
        protocol = load_protocol("smoke", overrides)
        there = replace(fold_data, protocol=protocol)
        validation = there.batches("validation", 0, CPU)
        cases = SimulatedCases(protocol, fold_data.cases.scans)
        evaluator = Evaluator.calibrated(MaxCheck(protocol.lattice), cases, validation, CPU)
        rows = [*score_scans(evaluator, []), evaluator.validation_rows()]
        detection = aggregate.detection(pd.concat(rows, ignore_index=True), protocol, evaluator.calibration.thresholds)
        found[name] = max(d.auroc.value for d in detection.testsets if d.anomaly == "pca")
    assert found["minmax"] > found["suvr"] + 0.1, found


def test_a_ratio_of_nearly_nothing_is_not_reported() -> None:
    """A recovered fraction of a reduction that is hardly there is noise over noise."""
    healthy = torch.ones(1, 64)
    truth = torch.ones(64, dtype=torch.bool)
    for reduction, known in ((0.01, False), (0.05, True)):
        altered = healthy * (1 - reduction)
        recovered = restoration.recovered_fraction(healthy, altered, healthy, truth)
        assert bool(recovered.isfinite()) == known
        if known:
            assert float(recovered) == pytest.approx(1)
