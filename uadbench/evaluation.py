"""A model meets the test sets: calibration on healthy validation scans, then one row of scores a case or scan."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from uadbench.allocator import release_pages
from uadbench.batches import Batches, make_batch
from uadbench.cohorts.base import STRATA
from uadbench.metrics import localisation, reconstruction, restoration, standard, subject
from uadbench.models.base import Model
from uadbench.observation import Observation, Stopwatch, observe
from uadbench.protocol import Protocol
from uadbench.sidebyside import SideBySide, numpy_on_one_thread
from uadbench.store import keyed_seed
from uadbench.testset import SimulatedCases
from uadbench.timing import phase
from uadbench.types import HEALTHY, NO_DEMENTIA, PATIENTS, VALIDATION, Batch, Case, Scan, Truth, Volume

Column = list[str] | list[float] | npt.NDArray[np.float64]

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


CROWD = 100
"""Among so many test scans, at most, a reconstruction is looked for: memory does not grow with the cohort."""


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
        section = self.protocol.standard_map
        self.smooth = standard.BrainSmoothing(self.brain, section.fwhm_mm, self.protocol.grid.voxel_mm)
        self.in_brain = self.smooth.voxels
        smoothed = torch.cat([self.smooth(observe(self.model, batch).anomaly_map) for batch in self.validation])
        self.calibration = standard.calibrate([smoothed], section.sd_floor)
        held_out = standard.held_out(smoothed, section.sd_floor)
        detection = self.protocol.detection
        self.thresholds = {rate: subject.voxel_threshold(held_out, rate) for rate in detection.false_positive_rates}
        self.validation_scores = subject.top_mean(held_out, detection.top)
        self.variance = standard.voxel_variance(self.in_brain(batch.images) for batch in self.validation)
        self.ceilings = {
            name: self.ceiling(mask, self.cases.truths[name]) for name, mask in self.cases.smoothed_masks.items()
        }

    @property
    def protocol(self) -> Protocol:
        """The protocol of the test sets."""
        return self.cases.protocol

    def ceiling(self, mask: Volume, truth: Truth) -> float:
        """Average precision of the oracle: the true reduction, which is G(m) times a factor, smoothed as maps are."""
        oracle = self.smooth(torch.from_numpy(np.array(mask))[None].to(self.device))
        return float(localisation.rank(oracle, self._truth(truth)).average_precision[0])

    def standard_map(self, maps: Tensor) -> Tensor:
        """Native maps (N, X, Y, Z) to standard maps (N, V), in the voxels of the brain."""
        return standard.standardise(self.smooth(maps), self.calibration)

    def score_scan(self, scan: Scan, following: Scan | None = None) -> pd.DataFrame:
        """All rows of one healthy test scan: itself first, then its cases in the order of the test sets.

        What is drawn for the scan that follows, where one is named, is made beside the scoring of this one.
        """
        healthy = self._batch([scan.data], scan)
        with phase("test passes"):
            seen = observe(self.model, healthy, self.watch)
        rows = [self._scan_row(HEALTHY, scan, healthy, seen)]
        for chunk in self._chunks(scan):
            rows.append(self._case_rows(chunk, healthy, seen, following))
        return pd.concat(rows, ignore_index=True)

    def _chunks(self, scan: Scan) -> Iterator[list[Case]]:
        """The cases of a scan, as many at once as VOXELS_AT_ONCE allows."""
        cases = self.cases.cases(scan)
        at_once = max(1, VOXELS_AT_ONCE // self.protocol.lattice.size)
        while True:
            with phase("simulation"):
                chunk = list(islice(cases, at_once))
            if not chunk:
                return
            yield chunk

    def score_patient(self, scan: Scan) -> pd.DataFrame:
        """The row of a patient's scan: nothing is simulated on it, and nothing known of where it is ill."""
        batch = self._batch([scan.data], scan)
        with phase("test passes"):
            seen = observe(self.model, batch, self.watch)
        return self._scan_row(PATIENTS, scan, batch, seen)

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
            "standard_map": self.smooth.volumes(self.standard_map(of_altered.anomaly_map))[0],
            "healthy_standard_map": self.smooth.volumes(self.standard_map(of_healthy.anomaly_map))[0],
        }
        if of_healthy.reconstruction is not None and of_altered.reconstruction is not None:
            shown["from_healthy"] = of_healthy.reconstruction[0]
            shown["from_altered"] = of_altered.reconstruction[0]
        return {name: value.cpu().numpy().astype(np.float32) for name, value in shown.items()}

    def look_at(self, scan: Scan) -> dict[str, Volume]:
        """The same of a scan in which nothing is simulated: a patient's."""
        batch = self._batch([scan.data], scan)
        seen = observe(self.model, batch)
        shown = {
            "scan": batch.images[0, 0],
            "standard_map": self.smooth.volumes(self.standard_map(seen.anomaly_map))[0],
        }
        if seen.reconstruction is not None:
            shown["reconstruction"] = seen.reconstruction[0]
        return {name: value.cpu().numpy().astype(np.float32) for name, value in shown.items()}

    def _batch(self, volumes: list[Volume], scan: Scan) -> Batch:
        intensity = self.cases.intensity(scan)
        seed = keyed_seed("inference", self.protocol.split.seed, *scan.key)
        count = len(volumes)
        return make_batch(volumes, [intensity] * count, [scan] * count, [seed] * count).to(self.device)

    def _scan_row(self, name: str, scan: Scan, batch: Batch, seen: Observation) -> pd.DataFrame:
        """The row of a scan in which nothing is simulated."""
        row: dict[str, object] = {"participant_id": scan.participant, "session_id": scan.session}
        row |= {"anomaly": name, "severity": 0.0, "mmse": scan.mmse}
        row |= {name: getattr(scan, name) for name in STRATA}
        found = self.standard_map(seen.anomaly_map)
        row["subject.score"] = float(subject.top_mean(found, self.protocol.detection.top)[0])
        for rate, threshold in self.thresholds.items():
            row[f"exceeding.fpr{rate:g}"] = float((found > threshold.value).double().mean())
        if seen.reconstruction is not None:
            images = {"scan": batch.images[:, 0], "reconstruction": seen.reconstruction}
            regions = {"whole": torch.ones_like(self.brain)[None], "brain": self.brain[None]}
            scores = reconstruction.compare(images, SCAN_PAIRS, regions)
            row |= {metric: float(values[0]) for metric, values in scores.items()}
        return pd.DataFrame([row])

    def _case_rows(self, cases: list[Case], healthy: Batch, seen: Observation, following: Scan | None) -> pd.DataFrame:
        """One row a case: the model sees all of them at once, the metrics one anomaly after the other."""
        with phase("simulation"):
            altered = self.pool.map(lambda case: case.altered, cases)
            batch = self._batch(altered, cases[0].scan)
        with phase("test passes"):
            answer = observe(self.model, batch, self.watch)
        images = {"altered": batch.images[:, 0], "from altered": answer.reconstruction}
        shared = {"healthy": healthy.images[:, 0], "from healthy": seen.reconstruction}

        def score(piece: slice) -> dict[str, Column]:
            columns = self._localised(answer.anomaly_map[piece], cases[piece])
            if answer.reconstruction is not None:
                pieces = {name: stack[piece] for name, stack in images.items() if stack is not None}
                pieces |= {name: stack for name, stack in shared.items() if stack is not None}
                scores = self._restored(pieces, cases[piece.start])
                if cases[piece.start].anomaly not in NO_DEMENTIA:  # the paper's metrics, which take most of the time
                    scores |= reconstruction.compare(pieces, CASE_PAIRS, self._regions(cases[piece.start]))
                columns |= {name: values.cpu().numpy() for name, values in scores.items()}
            return columns

        pieces = _pieces(cases, math.ceil(len(cases) / (3 * self.pool.threads)))
        work = [partial(score, piece) for piece in pieces]
        if following is not None:
            work.append(partial(self._look_ahead, following))
        answers = self.pool.map(_call, work) if self.device.type == "cpu" else [_call(each) for each in work]
        return _joined(answers[: len(pieces)])

    def _look_ahead(self, following: Scan) -> dict[str, Column]:
        self.cases.drawn_masks(following)
        return {}

    @cached_property
    def _others(self) -> list[tuple[str, str]]:
        """Whose brains make the crowd: all test scans, or as many as it takes, chosen by a hash."""
        keys = [scan.key for scan in self.cases.scans]
        return sorted(keys, key=lambda key: keyed_seed("crowd", self.protocol.split.seed, *key))[:CROWD]

    @cached_property
    def _crowd(self) -> restoration.Crowd:
        """Their brains, in the models' unit."""
        scans = {scan.key: scan for scan in self.cases.scans}
        volumes = [self.cases.intensity(scans[key]).normalise(scans[key].data) for key in self._others]
        brains = np.stack([volume[self.cases.brain] for volume in volumes])
        return restoration.Crowd(torch.from_numpy(brains).to(self.device))

    def _localised(self, native: Tensor, cases: list[Case]) -> dict[str, Column]:
        """Who and what the cases of one anomaly are, and how well their maps find it."""
        first = cases[0]
        truth = self._truth(first.truth)
        reductions = [torch.from_numpy(case.reduction).to(native.device) for case in cases]
        reduction = torch.cat([self.in_brain(volume) for volume in reductions])
        maps = {"native": self.in_brain(native), "standard": self.standard_map(native)}
        known = self.ceilings.get(first.anomaly)
        columns: dict[str, Column] = {
            "participant_id": [case.scan.participant for case in cases],
            "session_id": [case.scan.session for case in cases],
            "anomaly": [case.anomaly for case in cases],
            "severity": [case.severity for case in cases],
            "effective_reduction": localisation.mean_inside(reduction, truth == 1).cpu().numpy(),
        }
        levels = [threshold.value for threshold in self.thresholds.values()]
        for label, found in maps.items():
            ranking = localisation.rank(found, truth, levels if label == "standard" else ())
            columns[f"ap.{label}"] = ranking.average_precision.cpu().numpy()
            columns[f"auroc.{label}"] = ranking.auroc.cpu().numpy()
            columns["prevalence"] = ranking.prevalence.cpu().numpy()
            columns[f"correlation.{label}"] = localisation.correlation(found, reduction).cpu().numpy()
        columns["dice.oracle"] = ranking.oracle_dice.cpu().numpy()
        for index, rate in enumerate(self.thresholds):
            columns[f"recall.fpr{rate:g}"] = ranking.recall[:, index].cpu().numpy()
            columns[f"dice.fpr{rate:g}"] = ranking.dice[:, index].cpu().numpy()
        columns["subject.score"] = subject.top_mean(maps["standard"], self.protocol.detection.top).cpu().numpy()
        ceiling = self.ceiling(np.abs(first.reduction), first.truth) if known is None else known
        columns["ap.ceiling"] = np.full(len(cases), ceiling)
        return columns

    def _restored(self, images: dict[str, Tensor], case: Case) -> dict[str, Tensor]:
        """What is given back, what is spoilt, whose brain it is; healthiness of x, x', x̂ and x̂'."""
        labels = self._truth(case.truth)
        truth, outside = labels == 1, labels == 0
        brains = {name: self.in_brain(stack) for name, stack in images.items()}
        suvr = {name: brain * case.intensity.scale + case.intensity.offset for name, brain in brains.items()}
        place = self._others.index(case.scan.key) if case.scan.key in self._others else None
        scores = {
            "recovered": restoration.recovered_fraction(suvr["from altered"], suvr["altered"], suvr["healthy"], truth),
            "damage": restoration.damage(brains["from altered"], brains["healthy"], outside, self.variance),
            "identified": self._crowd.identified(brains["from altered"], brains["healthy"][0], place),
        }
        for name, stack in suvr.items():
            value = restoration.healthiness(stack, truth, outside)
            scores[f"healthiness.{name.replace(' ', '_')}"] = value.expand(len(images["altered"]))
        return scores

    def _truth(self, truth: Truth) -> Tensor:
        """The truth in the voxels of the brain, (V,)."""
        return self.in_brain(torch.from_numpy(truth).to(self.device))[0]

    def _regions(self, case: Case) -> dict[str, Tensor]:
        truth = torch.from_numpy(case.truth).to(self.device)[None]
        whole = torch.ones_like(self.brain)[None]
        return {"whole": whole, "brain": self.brain[None], "truth": truth == 1, "outside": truth == 0}


def _call(work: Callable[[], dict[str, Column]]) -> dict[str, Column]:
    return work()


def _joined(pieces: Sequence[dict[str, Column]]) -> pd.DataFrame:
    """One table of many pieces' columns, of which some lack some; made at once, which takes a tenth of the time."""
    names = dict.fromkeys(name for piece in pieces for name in piece)
    sizes = [len(piece["severity"]) for piece in pieces]
    columns = {
        name: np.concatenate([piece.get(name, np.full(n, np.nan)) for piece, n in zip(pieces, sizes, strict=True)])
        for name in names
    }
    return pd.DataFrame(columns)


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
    with numpy_on_one_thread():
        for place, scan in enumerate(healthy[skip:], start=skip + 1):
            yield evaluator.score_scan(scan, healthy[place] if place < len(healthy) else None)
            release_pages(scan.data)
        for scan in patients[max(0, skip - len(healthy)) :]:
            yield evaluator.score_patient(scan)
            release_pages(scan.data)
