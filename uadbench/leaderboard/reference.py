"""Computes the near-ideal reference: the model `wiener`, fitted on thousands of scans of the phantom, on its test sets.

The scans are generated in chunks and kept only as coarse voxels (15 kB per scan). Chunks and evaluations are stored, so
that an interrupted computation continues.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from uadbench.cohorts.base import KEY
from uadbench.cohorts.phantom import Phantom
from uadbench.cohorts.splits.split import baseline
from uadbench.errors import InputError
from uadbench.evaluation.evaluator import REVISIONS, Evaluator, score_scans
from uadbench.models.checkpoint import read_tensors, write_tensors
from uadbench.models.source import source_digest
from uadbench.models.wiener import Wiener
from uadbench.results.near_ideal import MODEL, Precision, Reference
from uadbench.results.schema import Bounded, rounded
from uadbench.results.scores import ranking_scores, read_table, summarise, write_table
from uadbench.runs.fold_data import FoldData
from uadbench.runtime.files import content_hash
from uadbench.runtime.progress import Progress
from uadbench.stats.bootstrap import mean_intervals
from uadbench.types import VALIDATION, Scan

CHUNK = 100
"""Number of scans that are generated and stored together."""

LEAST = 8
MOST = 9000
HALVES = (0, 1)


@dataclass(frozen=True)
class ReferenceFit:
    """The computation for one protocol, cohort and number of scans.

    Attributes:
        fold_data: The participants of fold 0, whose validation scans calibrate and whose test scans are scored.
        scans: Number of healthy scans for the fit, one each of participants that are not in the cohort.
        work: Folder for chunks and evaluations.
        device: Device for fit and evaluation.
        progress: Reports progress.
    """

    fold_data: FoldData
    scans: int
    work: Path
    device: torch.device
    progress: Progress

    def __post_init__(self) -> None:
        cohort = self.fold_data.cohort
        if not isinstance(cohort, Phantom) or self.fold_data.test_cohort is not cohort:
            raise InputError(
                f"{cohort.name}: a near-ideal reference needs unlimited healthy scans, which only the phantom has; for "
                f"this cohort, run the model {MODEL}"
            )
        if not LEAST <= self.scans <= MOST:
            raise InputError(f"--scans {self.scans}: choose {LEAST} to {MOST}")

    def compute(self) -> Reference:
        """Fit the filter on all scans and on each half, and score each on the test sets."""
        whole = self._scores(None)
        halves = [self._ranking(self._scores(half)) for half in HALVES]
        protocol, cohort = self.fold_data.protocol, self.fold_data.cohort
        ranked = np.asarray(ranking_scores(whole, protocol.ranking.severities), dtype=np.float64)
        (interval,) = mean_intervals(ranked[:, None])
        return Reference(
            protocol=protocol.name,
            protocol_hash=protocol.hash,
            cohort=cohort.name,
            cohort_version=cohort.version,
            recipe=self.fold_data.testset_recipe,
            scans=self.scans,
            ap=_bounded(interval.mean, interval.low, interval.high),
            ap_dementias=self._ranking(whole, "dementias"),
            ap_unseen=self._ranking(whole, "unseen"),
            halves=(halves[0], halves[1]),
            testsets=tuple(
                Precision(
                    anomaly=each.anomaly,
                    severity=each.severity,
                    ap=_bounded(estimate.mean, estimate.low, estimate.high),
                )
                for each in summarise(whole)
                if (estimate := each.metrics.get("ap.standard")) is not None
            ),
        )

    def _ranking(self, table: pd.DataFrame, halves: str = "both") -> float:
        scores = ranking_scores(table, self.fold_data.protocol.ranking.severities, halves=halves)
        return rounded(float(scores.mean()))

    def _scores(self, half: int | None) -> pd.DataFrame:
        """The scores of every case by the filter that is fitted on all scans (None) or on every second one."""
        key = content_hash(self.fold_data.testset_recipe, source_digest(Wiener), REVISIONS, self.scans, CHUNK)
        file = self._folder / f"{key[:16]}-{'all' if half is None else half}.parquet"
        if not file.is_file():
            label = "all scans" if half is None else f"half {half + 1}"
            validation = self.fold_data.batches("validation", 0, self.device)
            evaluator = Evaluator.calibrated(self._fitted(half), self.fold_data.cases, validation, self.device)
            with self.progress.task(f"evaluating the fit on {label}", len(evaluator.cases.scans)) as task:
                tables = []
                for rows in score_scans(evaluator, []):
                    tables.append(rows)
                    task.advance(1)
            write_table(pd.concat(tables, ignore_index=True), file)
        table = read_table(file)
        return table[table["anomaly"] != VALIDATION]

    def _fitted(self, half: int | None) -> Wiener:
        chunks = list(self._chunks())
        parts = [half] if half is not None else list(HALVES)
        scans = torch.cat([torch.cat([chunk[f"scans{part}"] for part in parts]) for chunk in chunks])
        mean = sum(chunk[f"sum{part}"] for chunk in chunks for part in parts) / len(scans)
        model = Wiener(self.fold_data.protocol.lattice).to(self.device)
        model.learn(torch.as_tensor(mean).to(self.device), scans.to(self.device))
        return model

    def _chunks(self) -> Iterator[dict[str, Tensor]]:
        """Coarse scans and sums of images of each half of every chunk; missing chunks are generated."""
        grid = self.fold_data.protocol.lattice
        coarse = Wiener(grid).coarse
        with self.progress.task("generating scans", self.scans) as task:
            for start in range(0, self.scans, CHUNK):
                rows = self._people.iloc[start : start + min(CHUNK, self.scans - start)]
                file = self._folder / f"{start:05d}-{len(rows)}.safetensors"
                if not file.is_file():
                    scans = list(self._sample.scans(grid, rows))
                    halves = {half: torch.stack([self._image(scan) for scan in scans[half::2]]) for half in HALVES}
                    tensors = {f"scans{half}": coarse.down(images) for half, images in halves.items()}
                    sums = {f"sum{half}": images.sum(dim=0, dtype=torch.float64) for half, images in halves.items()}
                    write_tensors(file, tensors | sums)
                yield read_tensors(file, 8 * (CHUNK * coarse.voxels + 3 * grid.size))
                task.advance(len(rows))

    def _image(self, scan: Scan) -> Tensor:
        return torch.from_numpy(self.fold_data.protocol.intensity_of(scan.extent).normalise(scan.data))

    @cached_property
    def _sample(self) -> Phantom:
        """A larger phantom with the same seed; its first participants are those of the cohort."""
        cohort = self.fold_data.cohort
        assert isinstance(cohort, Phantom)
        people = cohort.participants["participant_id"].nunique() + self.scans
        return Phantom(cohort.seed, people, patients=0, recipe=cohort.recipe.version)

    @cached_property
    def _people(self) -> pd.DataFrame:
        """First sessions of participants that are not in the cohort, and so are no test participants."""
        rows = baseline(self._sample.participants)
        known = rows["participant_id"].isin(self.fold_data.cohort.participants["participant_id"])
        return rows[~known].sort_values(list(KEY)).head(self.scans)

    @cached_property
    def _folder(self) -> Path:
        """The folder of this protocol's grid and intensity, cohort and code."""
        protocol, cohort = self.fold_data.protocol, self.fold_data.cohort
        scale = protocol.model_dump(mode="json", include={"grid", "intensity"})
        key = content_hash(scale, cohort.name, cohort.version, source_digest(Wiener))
        folder = self.work / f"{protocol.name}-{key[:16]}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _bounded(value: float | None, low: float | None, high: float | None) -> Bounded:
    value, low, high = (None if each is None else rounded(each) for each in (value, low, high))
    return Bounded(value=value, low=low, high=high)
