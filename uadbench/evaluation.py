"""A model meets the test sets: calibration on healthy validation scans, then one row of scores a case or scan."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from uadbench.batches import Batches, make_batch
from uadbench.metrics import localisation, reconstruction, restoration, standard, subject
from uadbench.models.base import Model
from uadbench.observation import Observation, Stopwatch, observe
from uadbench.protocol import Protocol
from uadbench.sidebyside import SideBySide
from uadbench.store import keyed_seed
from uadbench.testset import SimulatedCases
from uadbench.types import HEALTHY, NO_DEMENTIA, PATIENTS, VALIDATION, Batch, Case, Scan, Truth, Volume

REVISIONS = {
    "reconstruction": reconstruction.REVISION,
    "localisation": localisation.REVISION,
    "standard": standard.REVISION,
    "restoration": restoration.REVISION,
    "subject": subject.REVISION,
}
"""What a score depends on besides model and test set: a raised revision re-evaluates, and never retrains."""

CASE_PAIRS = {
    "restoration": ("from altered", "healthy"),
    "residual": ("from altered", "altered"),
    "consistency": ("from altered", "from healthy"),
}
"""(x̂', x), (x̂', x') and (x̂', x̂)."""

SCAN_PAIRS = {"residual": ("reconstruction", "scan")}
"""(x̂, x), of a scan in which nothing is simulated."""

VOXELS_AT_ONCE = 5_600_000
"""Bounds memory: all 66 cases on the 4 mm grid, 9 on the 2 mm grid. Scores do not depend on it."""


@dataclass
class Evaluator:
    """One trained model, calibrated and ready to be scored.

    Attributes
    ----------
    model : in eval mode, on `device`
    cases : the test sets
    validation : healthy validation scans; only they calibrate the standard map
    """

    model: Model
    cases: SimulatedCases
    validation: Batches
    device: torch.device
    watch: Stopwatch = field(default_factory=Stopwatch)

    def __post_init__(self) -> None:
        self.model.eval()
        self.pool = SideBySide()
        self.brain = torch.from_numpy(self.cases.brain).to(self.device)
        section = self.protocol.detection
        smoothed = torch.cat([self.smooth(observe(self.model, batch).anomaly_map) for batch in self.validation])
        self.calibration = standard.calibrate([smoothed], self.brain, self.protocol.standard_map.sd_floor)
        held_out = standard.held_out(smoothed[:, self.brain], self.protocol.standard_map.sd_floor)
        self.thresholds = {rate: subject.voxel_threshold(held_out, rate) for rate in section.false_positive_rates}
        self.validation_scores = subject.top_mean(held_out, section.top)
        self.variance = standard.voxel_variance(batch.images[:, 0] for batch in self.validation)
        self.ceilings = {
            name: self.ceiling(mask, self.cases.truths[name]) for name, mask in self.cases.smoothed_masks.items()
        }

    @property
    def protocol(self) -> Protocol:
        """The protocol of the test sets."""
        return self.cases.protocol

    def smooth(self, maps: Tensor) -> Tensor:
        """The first step of the standard post-processing."""
        return standard.smooth_in_brain(
            maps, self.brain, self.protocol.standard_map.fwhm_mm, self.protocol.grid.voxel_mm
        )

    def ceiling(self, mask: Volume, truth: Truth) -> float:
        """Average precision of the oracle: the true reduction, which is G(m) times a factor, smoothed as maps are."""
        oracle = self.smooth(torch.from_numpy(np.array(mask))[None].to(self.device)).flatten(1)
        return float(localisation.rank(oracle, torch.from_numpy(truth).to(self.device).flatten()).average_precision[0])

    def standard_map(self, maps: Tensor) -> Tensor:
        """Native maps (N, X, Y, Z) to standard maps."""
        return standard.standardise(self.smooth(maps), self.calibration, self.brain)

    def score_scan(self, scan: Scan) -> pd.DataFrame:
        """All rows of one healthy test scan: itself first, then its cases in the order of the test sets."""
        healthy = self._batch([scan.data], scan)
        seen = observe(self.model, healthy, self.watch)
        rows = [self._scan_row(HEALTHY, scan, healthy, seen)]
        at_once = max(1, VOXELS_AT_ONCE // self.protocol.lattice.size)
        cases = self.cases.cases(scan)
        while chunk := list(islice(cases, at_once)):
            rows.append(self._case_rows(chunk, healthy, seen))
        return pd.concat(rows, ignore_index=True)

    def score_patient(self, scan: Scan) -> pd.DataFrame:
        """The row of a patient's scan: nothing is simulated on it, and nothing known of where it is ill."""
        batch = self._batch([scan.data], scan)
        return self._scan_row(PATIENTS, scan, batch, observe(self.model, batch, self.watch))

    def validation_rows(self) -> pd.DataFrame:
        """A row for each healthy validation scan: its score as a scan, with the others as calibration."""
        scans = self.validation.scans
        columns = {"participant_id": [scan.participant for scan in scans], "session_id": [s.session for s in scans]}
        scored = {"anomaly": VALIDATION, "severity": 0.0, "subject.score": self.validation_scores.cpu().numpy()}
        return pd.DataFrame({**columns, **scored})

    def look(self, case: Case) -> dict[str, Volume]:
        """Everything worth a picture about one case, normalised units, (X, Y, Z) float32 each."""
        healthy, altered = self._batch([case.scan.data], case.scan), self._batch([case.altered], case.scan)
        of_healthy, of_altered = observe(self.model, healthy), observe(self.model, altered)
        shown = {
            "healthy": healthy.images[0, 0],
            "altered": altered.images[0, 0],
            "reduction": torch.from_numpy(case.reduction),
            "native_map": of_altered.anomaly_map[0] * self.brain,
            "standard_map": self.standard_map(of_altered.anomaly_map)[0],
            "healthy_standard_map": self.standard_map(of_healthy.anomaly_map)[0],
        }
        if of_healthy.reconstruction is not None and of_altered.reconstruction is not None:
            shown["from_healthy"] = of_healthy.reconstruction[0]
            shown["from_altered"] = of_altered.reconstruction[0]
        return {name: value.cpu().numpy().astype(np.float32) for name, value in shown.items()}

    def look_at(self, scan: Scan) -> dict[str, Volume]:
        """The same of a scan in which nothing is simulated: a patient's."""
        batch = self._batch([scan.data], scan)
        seen = observe(self.model, batch)
        shown = {"scan": batch.images[0, 0], "standard_map": self.standard_map(seen.anomaly_map)[0]}
        if seen.reconstruction is not None:
            shown["reconstruction"] = seen.reconstruction[0]
        return {name: value.cpu().numpy().astype(np.float32) for name, value in shown.items()}

    def _batch(self, volumes: list[Volume], scan: Scan) -> Batch:
        intensity = self.cases.intensity(scan)
        seed = keyed_seed("inference", self.protocol.split.seed, *scan.key)
        normalised = [intensity.normalise(volume) for volume in volumes]
        return make_batch(normalised, [scan] * len(volumes), [seed] * len(volumes)).to(self.device)

    def _scan_row(self, name: str, scan: Scan, batch: Batch, seen: Observation) -> pd.DataFrame:
        """The row of a scan in which nothing is simulated."""
        row: dict[str, object] = {"participant_id": scan.participant, "session_id": scan.session}
        row |= {"anomaly": name, "severity": 0.0, "mmse": scan.mmse}
        found = self.standard_map(seen.anomaly_map)[:, self.brain]
        row["subject.score"] = float(subject.top_mean(found, self.protocol.detection.top)[0])
        for rate, threshold in self.thresholds.items():
            row[f"exceeding.fpr{rate:g}"] = float((found > threshold.value).double().mean())
        if seen.reconstruction is not None:
            images = {"scan": batch.images[:, 0], "reconstruction": seen.reconstruction}
            regions = {"whole": torch.ones_like(self.brain)[None], "brain": self.brain[None]}
            scores = reconstruction.compare(images, SCAN_PAIRS, regions)
            row |= {metric: float(values[0]) for metric, values in scores.items()}
        return pd.DataFrame([row])

    def _case_rows(self, cases: list[Case], healthy: Batch, seen: Observation) -> pd.DataFrame:
        """One row a case: the model sees all of them at once, the metrics one anomaly after the other."""
        batch = self._batch([case.altered for case in cases], cases[0].scan)
        answer = observe(self.model, batch, self.watch)
        images = {"altered": batch.images[:, 0], "from altered": answer.reconstruction}
        shared = {"healthy": healthy.images[:, 0], "from healthy": seen.reconstruction}

        def score(piece: slice) -> pd.DataFrame:
            columns = _localised(self, answer.anomaly_map[piece], cases[piece])
            if answer.reconstruction is not None:
                pieces = {name: stack[piece] for name, stack in images.items() if stack is not None}
                pieces |= {name: stack for name, stack in shared.items() if stack is not None}
                scores = self._restored(pieces, cases[piece.start])
                if cases[piece.start].anomaly not in NO_DEMENTIA:  # the paper's metrics, which take most of the time
                    scores |= reconstruction.compare(pieces, CASE_PAIRS, self._regions(cases[piece.start]))
                columns |= {name: values.cpu().numpy() for name, values in scores.items()}
            return pd.DataFrame(columns)  # made once: adding columns one by one takes longer than the metrics

        pieces = _pieces(cases, math.ceil(len(cases) / (3 * self.pool.threads)))
        rows = self.pool.map(score, pieces) if self.device.type == "cpu" else [score(piece) for piece in pieces]
        return pd.concat(rows, ignore_index=True)

    @cached_property
    def _everybody(self) -> Tensor:
        """Brain voxels of all test scans, (S, V) float64, in the models' unit."""
        volumes = [self.cases.intensity(scan).normalise(scan.data)[self.cases.brain] for scan in self.cases.scans]
        return torch.from_numpy(np.stack(volumes)).to(self.device, torch.float64)

    def _restored(self, images: dict[str, Tensor], case: Case) -> dict[str, Tensor]:
        """What is given back, what is spoilt, whose brain it is; healthiness of x, x', x̂ and x̂'."""
        regions = self._regions(case)
        truth, outside = regions["truth"][0], regions["outside"][0]
        suvr = {name: stack * case.intensity.scale + case.intensity.offset for name, stack in images.items()}
        own = [scan.key for scan in self.cases.scans].index(case.scan.key)
        count = len(images["altered"])
        scores = {
            "recovered": restoration.recovered_fraction(suvr["from altered"], suvr["altered"], suvr["healthy"], truth),
            "damage": restoration.damage(images["from altered"], images["healthy"], outside, self.variance),
            "identified": restoration.identified(images["from altered"][:, self.brain], self._everybody, own),
        }
        for name, stack in suvr.items():
            value = restoration.healthiness(stack, truth, outside)
            scores[f"healthiness.{name.replace(' ', '_')}"] = value.expand(count)
        return scores

    def _regions(self, case: Case) -> dict[str, Tensor]:
        truth = torch.from_numpy(case.truth).to(self.device)[None]
        whole = torch.ones_like(self.brain)[None]
        return {"whole": whole, "brain": self.brain[None], "truth": truth == 1, "outside": truth == 0}


def _localised(evaluator: Evaluator, native: Tensor, cases: list[Case]) -> dict[str, object]:
    """Who and what the cases of one anomaly are, and how well their maps find it."""
    truth = torch.from_numpy(cases[0].truth).to(native.device).flatten()
    reduction = torch.from_numpy(np.stack([case.reduction for case in cases])).to(native.device).flatten(1)
    brain = evaluator.brain.flatten()
    columns: dict[str, object] = {
        "participant_id": [case.scan.participant for case in cases],
        "session_id": [case.scan.session for case in cases],
        "anomaly": [case.anomaly for case in cases],
        "severity": [case.severity for case in cases],
        "effective_reduction": [case.effective_reduction for case in cases],
    }
    standard_maps = evaluator.standard_map(native)
    levels = [threshold.value for threshold in evaluator.thresholds.values()]
    for label, maps in (("native", native), ("standard", standard_maps)):
        ranking = localisation.rank(maps.flatten(1), truth, levels if label == "standard" else ())
        columns[f"ap.{label}"] = ranking.average_precision.cpu().numpy()
        columns[f"auroc.{label}"] = ranking.auroc.cpu().numpy()
        columns["prevalence"] = ranking.prevalence.cpu().numpy()
        columns[f"correlation.{label}"] = localisation.correlation(maps.flatten(1), reduction, brain).cpu().numpy()
    columns["dice.oracle"] = ranking.oracle_dice.cpu().numpy()
    for index, rate in enumerate(evaluator.thresholds):
        columns[f"recall.fpr{rate:g}"] = ranking.recall[:, index].cpu().numpy()
        columns[f"dice.fpr{rate:g}"] = ranking.dice[:, index].cpu().numpy()
    top = evaluator.protocol.detection.top
    columns["subject.score"] = subject.top_mean(standard_maps[:, evaluator.brain], top).cpu().numpy()
    first = cases[0]
    known = evaluator.ceilings.get(first.anomaly)
    columns["ap.ceiling"] = evaluator.ceiling(np.abs(first.reduction), first.truth) if known is None else known
    return columns


def _pieces(cases: list[Case], most: int) -> list[slice]:
    """Runs of consecutive cases of one anomaly and one mask, none longer than `most`."""
    starts = [0]
    for index in range(1, len(cases)):
        here, first = cases[index], cases[starts[-1]]
        if here.anomaly != first.anomaly or here.truth is not first.truth or index - starts[-1] == most:
            starts.append(index)
    return [slice(start, stop) for start, stop in zip(starts, [*starts[1:], len(cases)], strict=True)]


def score_scans(evaluator: Evaluator, patients: Sequence[Scan], skip: int = 0) -> Iterator[pd.DataFrame]:
    """The rows of every healthy test scan, then of every patient's, scan by scan, after the first `skip`."""
    healthy = evaluator.cases.scans
    for scan in healthy[skip:]:
        yield evaluator.score_scan(scan)
    for scan in patients[max(0, skip - len(healthy)) :]:
        yield evaluator.score_patient(scan)
