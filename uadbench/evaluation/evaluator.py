"""Scoring of a model: runs it on each scan and its simulated cases, and computes one row of scores per case."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import pandas as pd
import torch

from uadbench.cohorts.batches import Batches, make_batch
from uadbench.evaluation import localisation_scores, restoration_scores, scan_scores
from uadbench.evaluation.calibration import REVISIONS as CALIBRATION_REVISIONS
from uadbench.evaluation.calibration import ModelCalibration, calibrate_model
from uadbench.evaluation.chunks import Columns, chunks_of, images_at_once, pieces_of, table_of
from uadbench.evaluation.inference import Observation, Stopwatch, observe
from uadbench.evaluation.localisation_scores import LocalisationScorer
from uadbench.evaluation.restoration_scores import RestorationScorer
from uadbench.evaluation.shift_scores import ShiftScorer
from uadbench.models.base import Model
from uadbench.protocols.schema import Protocol
from uadbench.runtime.files import keyed_seed
from uadbench.runtime.memory import release_pages
from uadbench.runtime.profiling import phase
from uadbench.runtime.threads import SideBySide, numpy_on_one_thread
from uadbench.simulation.shifted_cases import ShiftedCases, ShiftedImage
from uadbench.simulation.testset import SimulatedCases
from uadbench.types import AUDIT, HEALTHY, PATIENTS, Batch, Case, Scan, Volume

REVISIONS = {
    **CALIBRATION_REVISIONS,
    **localisation_scores.REVISIONS,
    **restoration_scores.REVISIONS,
    **scan_scores.REVISIONS,
}
"""Revisions of the metrics; increasing one repeats evaluations, but not training."""


def score_scans(
    evaluator: Evaluator, patients: Sequence[Scan], audit: Sequence[Scan] = (), skip: int = 0
) -> Iterator[pd.DataFrame]:
    """Score every healthy test scan with its cases, then every patient's scan, then those of the bias audit.

    Args:
        evaluator: The calibrated model with the test sets.
        patients: Scans of patients, on the grid of the protocol.
        audit: Scans of further healthy participants, on the grid of the protocol.
        skip: Number of scans, counted over all, that were already scored.

    Yields:
        The rows of one scan.
    """
    healthy = evaluator.cases.scans
    with numpy_on_one_thread():
        for number, scan in enumerate(healthy[skip:], start=skip + 1):
            yield evaluator.score_scan(scan, healthy[number] if number < len(healthy) else None)
            release_pages(scan.data)
        for scan in patients[max(0, skip - len(healthy)) :]:
            yield evaluator.score_patient(scan)
            release_pages(scan.data)
        for scan in audit[max(0, skip - len(healthy) - len(patients)) :]:
            yield evaluator.score_audited(scan)
            release_pages(scan.data)


@dataclass(frozen=True)
class Evaluator:
    """A calibrated model with the test sets; create it with `Evaluator.calibrated`.

    Attributes:
        model: The model, in eval mode, on `device`.
        cases: The test sets.
        validation: The healthy validation scans that calibrated the model.
        device: Device on which the model and the metrics compute.
        calibration: The calibration on the validation scans.
        localisation: Scores the anomaly maps of cases.
        restoration: Scores the reconstructions of cases.
        shifted: The shifted test sets.
        watch: Time that the model has taken for test scans and cases.
        pool: Threads for simulation and, on a CPU, for metrics.
    """

    model: Model
    cases: SimulatedCases
    validation: Batches
    device: torch.device
    calibration: ModelCalibration
    localisation: LocalisationScorer
    restoration: RestorationScorer
    shifted: ShiftedCases
    watch: Stopwatch = field(default_factory=Stopwatch)
    pool: SideBySide = field(default_factory=SideBySide)

    @classmethod
    def calibrated(cls, model: Model, cases: SimulatedCases, validation: Batches, device: torch.device) -> Evaluator:
        """Calibrate a trained model on healthy validation scans.

        Args:
            model: The model, on `device`; it is put into eval mode.
            cases: The test sets; their scans are not used here.
            validation: Healthy validation scans, at least three.
            device: Device on which to compute.

        Raises:
            Unfinished: If an output of the model has a different shape from the images or is not finite.
        """
        model.eval()
        brain = torch.from_numpy(cases.brain).to(device)
        calibration = calibrate_model(model, validation, brain, cases.protocol)
        localisation = LocalisationScorer(calibration)
        restoration = RestorationScorer(cases, calibration)
        return cls(model, cases, validation, device, calibration, localisation, restoration, ShiftedCases(cases))

    @property
    def protocol(self) -> Protocol:
        """The protocol of the test sets."""
        return self.cases.protocol

    def score_scan(self, scan: Scan, following: Scan | None = None) -> pd.DataFrame:
        """Score one healthy test scan: its own row, those of its cases in the order of the test sets, and shifted ones.

        Args:
            scan: The healthy scan.
            following: The next scan, if there is one; its masks are drawn while this one is scored.
        """
        healthy = self._observe(self.batch([scan.data], scan))
        tables = [scan_scores.scan_row(HEALTHY, scan, healthy, self.calibration)]
        for chunk in chunks_of(self.cases.cases(scan), self.protocol.lattice.size):
            tables.append(self.score_cases(chunk, healthy, following))
        if self.shifted.shifts:
            tables.append(self.score_shifted(scan))
        return pd.concat(tables, ignore_index=True)

    def score_cases(self, cases: Sequence[Case], healthy: Observation, following: Scan | None = None) -> pd.DataFrame:
        """Score cases, one row per case: the model processes all of them at once, the metrics one anomaly at a time.

        Args:
            cases: Consecutive cases of one scan.
            healthy: The output of the model for that scan.
            following: As in `score_scan`.
        """
        with phase("simulation"):
            altered = self.pool.map(lambda case: case.altered, cases)
            batch = self.batch(altered, cases[0].scan)
        seen = self._observe(batch)
        pieces = pieces_of(cases, math.ceil(len(cases) / (3 * self.pool.threads)))
        work = [partial(self._score_piece, cases[piece], seen.part(piece), healthy) for piece in pieces]
        if following is not None:
            work.append(partial(self._look_ahead, following))
        columns = self.pool.map(_call, work) if self.device.type == "cpu" else [_call(each) for each in work]
        return table_of(columns[: len(pieces)])

    def _score_piece(self, cases: Sequence[Case], seen: Observation, healthy: Observation) -> Columns:
        """The columns of cases that share scan, anomaly and truth: identification, then scores."""
        names: Columns = {
            "participant_id": [case.scan.participant for case in cases],
            "session_id": [case.scan.session for case in cases],
            "anomaly": [case.anomaly for case in cases],
            "severity": [case.severity for case in cases],
        }
        scores = self.localisation.score(cases, seen.anomaly_map)
        return names | scores | self.restoration.score(cases, seen, healthy)

    def _look_ahead(self, following: Scan) -> Columns:
        """Compute the masks of the next scan, which `cases` caches; returns no columns."""
        self.cases.drawn_masks(following)
        return {}

    def score_shifted(self, scan: Scan) -> pd.DataFrame:
        """The rows of a healthy test scan under each shift, and of its altered versions if it has shifted ones."""
        with phase("simulation"):
            shifted, sources = self.shifted, self.shifted.sources(scan)
            groups = self.pool.map(lambda shift: shifted.images(scan, shift, sources), shifted.shifts)
            images = [image for group in groups for image in group]
        at_once = images_at_once(self.protocol.lattice.size)
        scorer, pieces = ShiftScorer(self.calibration), list[Columns]()
        for start in range(0, len(images), at_once):
            part = images[start : start + at_once]
            seen = self._observe(self._shifted_batch(part))
            maps = [seen.anomaly_map[index : index + 1] for index in range(len(part))]
            work = [partial(scorer.score, image, native) for image, native in zip(part, maps, strict=True)]
            pieces += self.pool.map(_call, work) if self.device.type == "cpu" else [_call(each) for each in work]
        return table_of(pieces)

    def _shifted_batch(self, images: Sequence[ShiftedImage]) -> Batch:
        scans = [image.scan for image in images]
        intensities = [self.cases.intensity(scan) for scan in scans]
        return make_batch([image.image for image in images], intensities, scans, list(map(self._seed, scans))).to(
            self.device
        )

    def score_patient(self, scan: Scan) -> pd.DataFrame:
        """The row of a patient's scan, without simulation: the location of the disease is unknown."""
        seen = self._observe(self.batch([scan.data], scan))
        return scan_scores.scan_row(PATIENTS, scan, seen, self.calibration)

    def score_audited(self, scan: Scan) -> pd.DataFrame:
        """The row of a healthy scan of the bias audit, without simulation."""
        seen = self._observe(self.batch([scan.data], scan))
        return scan_scores.scan_row(AUDIT, scan, seen, self.calibration)

    def validation_rows(self) -> pd.DataFrame:
        """One row per healthy validation scan: its score, calibrated on the other validation scans."""
        return scan_scores.validation_rows(self.validation.scans, self.calibration)

    def batch(self, volumes: Sequence[Volume], scan: Scan) -> Batch:
        """A batch of a scan, or of altered versions of it, all on the scan's intensity scale.

        Args:
            volumes: The volumes, (X, Y, Z) float32 each, SUVR.
            scan: The healthy scan, whose key also seeds a stochastic model.
        """
        intensity, count = self.cases.intensity(scan), len(volumes)
        return make_batch(volumes, [intensity] * count, [scan] * count, [self._seed(scan)] * count).to(self.device)

    def _seed(self, scan: Scan) -> int:
        return keyed_seed("inference", self.protocol.split.seed, *scan.key)

    def _observe(self, batch: Batch) -> Observation:
        with phase("test passes"):
            return observe(self.model, batch, self.watch)


def _call(work: Callable[[], Columns]) -> Columns:
    return work()
