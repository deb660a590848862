"""Scores of shifted scans: the rows, what they must not depend on, and the memory that they take."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import average_precision_score

from uadbench.evaluation import chunks
from uadbench.evaluation.evaluator import Evaluator
from uadbench.evaluation.inference import observe
from uadbench.models.zscore import ZScore
from uadbench.runtime.threads import SideBySide
from uadbench.simulation.shifts import SHIFTS
from uadbench.types import AUDIT

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def evaluator(fold_data) -> Evaluator:
    model = ZScore(fold_data.protocol.lattice)
    with torch.no_grad():
        model.fit(fold_data.batches("train", 0, CPU))
    return Evaluator.calibrated(model, fold_data.cases, fold_data.batches("validation", 0, CPU), CPU)


@pytest.fixture(scope="module")
def scan(evaluator: Evaluator):
    return next(scan for scan in evaluator.cases.scans if evaluator.shifted.sources(scan))


@pytest.fixture(scope="module")
def table(evaluator: Evaluator, scan) -> pd.DataFrame:
    return evaluator.score_shifted(scan)


def test_rows_are_scored_like_other_scans_and_cases(evaluator: Evaluator, scan, table: pd.DataFrame) -> None:
    images = list(evaluator.shifted.of(scan))
    assert list(table["anomaly"]) == [image.anomaly for image in images] and len(images) == 3 * len(SHIFTS)
    for index in (0, 1, 11, 14, 32):
        image, row = images[index], table.iloc[index]
        native = observe(evaluator.model, evaluator._shifted_batch([image])).anomaly_map
        standard = evaluator.calibration.standard_map(native)
        top = np.sort(standard[0].numpy())[::-1][: int(np.ceil(0.01 * standard.shape[1]))]
        assert row["subject.score"] == pytest.approx(top.mean(), rel=1e-5)
        if image.truth is None:
            assert row["exceeding.fpr0.01"] == pytest.approx(
                (standard > evaluator.calibration.thresholds[0.01].value).double().mean().item()
            )
            assert np.isnan(row["ap.standard"])
            continue
        counted = image.truth >= 0
        expected = average_precision_score(image.truth[counted], native[0].numpy()[counted])
        assert row["ap.native"] == pytest.approx(expected, abs=1e-9)
        assert row["prevalence"] == pytest.approx((image.truth == 1).sum() / counted.sum())


def test_scores_do_not_depend_on_batches_threads_or_order(evaluator, scan, table, monkeypatch) -> None:
    monkeypatch.setattr(chunks, "VOXELS_AT_ONCE", 5 * evaluator.protocol.lattice.size)
    pd.testing.assert_frame_equal(evaluator.score_shifted(scan), table, rtol=1e-6)
    monkeypatch.undo()
    evaluator.score_shifted(evaluator.cases.scans[-1])
    monkeypatch.setattr(evaluator.pool, "threads", 1, raising=False)
    assert isinstance(evaluator.pool, SideBySide)
    pd.testing.assert_frame_equal(evaluator.score_shifted(scan), table)


def test_a_scan_s_rows_end_with_its_shifted_ones(evaluator, scan, table) -> None:
    rows = evaluator.score_scan(scan).tail(len(table)).reset_index(drop=True)
    pd.testing.assert_frame_equal(rows[table.columns], table)


def test_audited_people_have_rows_with_age_and_sex(fold_data, evaluator) -> None:
    audited = fold_data.scans("audit")
    assert len(audited) == 24
    others = {
        scan.participant for part in ("train", "validation", "test", "patients") for scan in fold_data.scans(part)
    }
    assert not others & {scan.participant for scan in audited}
    row = evaluator.score_audited(audited[0]).iloc[0]
    assert row["anomaly"] == AUDIT and row["severity"] == 0
    assert (row["age"], row["sex"], row["site"]) == (np.floor(audited[0].age), audited[0].sex, audited[0].site)
    assert np.isfinite(row["subject.score"]) and 0 <= row["exceeding.fpr0.01"] <= 1


def test_shifting_needs_memory_for_the_images_of_one_scan(evaluator, scan) -> None:
    evaluator.score_shifted(scan)
    tracemalloc.start()
    evaluator.score_shifted(scan)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    volume = 4 * evaluator.protocol.lattice.size
    assert peak < 8 * 3 * len(SHIFTS) * volume
