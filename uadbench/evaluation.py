"""A model meets the test sets: calibration on healthy validation scans, then one row of scores a case."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from uadbench.batches import Batches, make_batch
from uadbench.errors import Unfinished
from uadbench.metrics import localisation, reconstruction, restoration, standard
from uadbench.models.base import Model, ReconstructionModel
from uadbench.protocol import Protocol
from uadbench.sidebyside import SideBySide
from uadbench.store import keyed_seed
from uadbench.testset import SimulatedCases
from uadbench.types import Batch, Case, Scan, Volume

REVISIONS = {
    "reconstruction": reconstruction.REVISION,
    "localisation": localisation.REVISION,
    "standard": standard.REVISION,
    "restoration": restoration.REVISION,
}
"""What a score depends on besides model and test set: a raised revision re-evaluates, and never retrains."""

CASE_PAIRS = {
    "restoration": ("from altered", "healthy"),
    "residual": ("from altered", "altered"),
    "consistency": ("from altered", "from healthy"),
}
"""(x̂', x), (x̂', x') and (x̂', x̂)."""

HEALTHY_PAIRS = {"healthy": ("from healthy", "healthy")}
"""(x̂, x)."""

VOXELS_AT_ONCE = 5_600_000
"""Bounds memory: all 54 cases on the 4 mm grid, 9 on the 2 mm grid. Scores do not depend on it."""


@dataclass(frozen=True)
class Observation:
    """What a model says of a batch: its reconstruction, if it has one, and its native map, (N, X, Y, Z)."""

    reconstruction: Tensor | None
    anomaly_map: Tensor


@dataclass
class Stopwatch:
    """How long the model itself took, over how many scans."""

    seconds: float = 0.0
    scans: int = 0

    @property
    def per_scan(self) -> float | None:
        """Seconds a scan; None before the first."""
        return self.seconds / self.scans if self.scans else None


@torch.no_grad()
def observe(model: Model, batch: Batch, watch: Stopwatch | None = None) -> Observation:
    """Ask a model for reconstruction and map, computing a reconstruction only once.

    Raises Unfinished if an answer has another shape than the images or is not finite.
    """
    started = time.perf_counter()
    restored = model.reconstruct(batch).float() if isinstance(model, ReconstructionModel) else None
    if restored is not None and type(model).anomaly_map is ReconstructionModel.anomaly_map:
        suspicion = restored - batch.images
    else:
        suspicion = model.anomaly_map(batch).float()
    if watch is not None:
        if batch.images.is_cuda:
            torch.cuda.synchronize()
        watch.seconds += time.perf_counter() - started
        watch.scans += len(batch)
    for label, answer in (("reconstruction", restored), ("anomaly map", suspicion)):
        if answer is None:
            continue
        if answer.shape != batch.images.shape:
            raise Unfinished(
                f"{model.registered_name}: its {label} has shape {tuple(answer.shape)}, the images have "
                f"{tuple(batch.images.shape)}; run 'uadbench.testing' on it"
            )
        if not torch.isfinite(answer).all():
            raise Unfinished(f"{model.registered_name}: its {label} has voxels that are not finite")
    return Observation(None if restored is None else restored[:, 0], suspicion[:, 0])


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
        self.calibration = standard.calibrate(
            (self.smooth(observe(self.model, batch).anomaly_map) for batch in self.validation),
            self.brain,
            self.protocol.standard_map.sd_floor,
        )
        self.variance = standard.voxel_variance(batch.images[:, 0] for batch in self.validation)
        self.ceilings = {anomaly: self._ceiling(anomaly) for anomaly in self.protocol.testsets.anomalies}

    @property
    def protocol(self) -> Protocol:
        """The protocol of the test sets."""
        return self.cases.protocol

    def smooth(self, maps: Tensor) -> Tensor:
        """The first step of the standard post-processing."""
        return standard.smooth_in_brain(
            maps, self.brain, self.protocol.standard_map.fwhm_mm, self.protocol.grid.voxel_mm
        )

    def _ceiling(self, anomaly: str) -> float:
        """Average precision of the oracle, after smoothing: G(m), which the reduction follows at every severity."""
        oracle = torch.from_numpy(self.cases.smoothed_masks[anomaly]).to(self.device)
        truth = torch.from_numpy(self.cases.truths[anomaly]).to(self.device).flatten()
        return float(localisation.rank(self.smooth(oracle[None]).flatten(1), truth).average_precision[0])

    def standard_map(self, maps: Tensor) -> Tensor:
        """Native maps (N, X, Y, Z) to standard maps."""
        return standard.standardise(self.smooth(maps), self.calibration, self.brain)

    def score_scan(self, scan: Scan) -> pd.DataFrame:
        """All rows of one healthy test scan: itself first, then its cases in the order of the test sets."""
        healthy = self._batch([scan.data], scan)
        seen = observe(self.model, healthy, self.watch)
        rows = [self._healthy_row(scan, healthy, seen)]
        at_once = max(1, VOXELS_AT_ONCE // self.protocol.lattice.size)
        cases = list(self.cases.cases(scan))
        for start in range(0, len(cases), at_once):
            rows.append(self._case_rows(cases[start : start + at_once], healthy, seen))
        return pd.concat(rows, ignore_index=True)

    def look(self, case: Case) -> dict[str, Volume]:
        """Everything worth a picture about one case, normalised units, (X, Y, Z) float32 each."""
        healthy, altered = self._batch([case.scan.data], case.scan), self._batch([case.altered], case.scan)
        of_healthy, of_altered = observe(self.model, healthy), observe(self.model, altered)
        shown = {
            "healthy": healthy.images[0, 0],
            "altered": altered.images[0, 0],
            "reduction": torch.from_numpy(case.reduction),
            "native map": of_altered.anomaly_map[0] * self.brain,
            "standard map": self.standard_map(of_altered.anomaly_map)[0],
        }
        if of_healthy.reconstruction is not None and of_altered.reconstruction is not None:
            shown["from healthy"] = of_healthy.reconstruction[0]
            shown["from altered"] = of_altered.reconstruction[0]
        return {name: value.cpu().numpy().astype(np.float32) for name, value in shown.items()}

    def _batch(self, volumes: list[Volume], scan: Scan) -> Batch:
        intensity = self.cases.intensity(scan)
        seed = keyed_seed("inference", self.protocol.split.seed, *scan.key)
        normalised = [intensity.normalise(volume) for volume in volumes]
        return make_batch(normalised, [scan] * len(volumes), [seed] * len(volumes)).to(self.device)

    def _healthy_row(self, scan: Scan, healthy: Batch, seen: Observation) -> pd.DataFrame:
        row: dict[str, object] = {"participant_id": scan.participant, "session_id": scan.session}
        row |= {"anomaly": "healthy", "severity": 0.0}
        if seen.reconstruction is not None:
            images = {"healthy": healthy.images[:, 0], "from healthy": seen.reconstruction}
            regions = {"whole": torch.ones_like(self.brain)[None], "brain": self.brain[None]}
            scores = reconstruction.compare(images, HEALTHY_PAIRS, regions)
            row |= {name: float(values[0]) for name, values in scores.items()}
        return pd.DataFrame([row])

    def _case_rows(self, cases: list[Case], healthy: Batch, seen: Observation) -> pd.DataFrame:
        """One row a case: the model sees all of them at once, the metrics one anomaly after the other."""
        batch = self._batch([case.altered for case in cases], cases[0].scan)
        answer = observe(self.model, batch, self.watch)
        images = {"altered": batch.images[:, 0], "from altered": answer.reconstruction}
        shared = {"healthy": healthy.images[:, 0], "from healthy": seen.reconstruction}

        def score(piece: slice) -> pd.DataFrame:
            table = pd.DataFrame(_localised(self, answer.anomaly_map[piece], cases[piece]))
            if answer.reconstruction is not None:
                pieces = {name: stack[piece] for name, stack in images.items() if stack is not None}
                pieces |= {name: stack for name, stack in shared.items() if stack is not None}
                scores = reconstruction.compare(pieces, CASE_PAIRS, self._regions(cases[piece.start]))
                scores |= self._restored(pieces, cases[piece.start])
                table = table.assign(**{name: values.cpu().numpy() for name, values in scores.items()})
            return table

        pieces = _pieces(cases, math.ceil(len(cases) / (3 * self.pool.threads)))
        rows = self.pool.map(score, pieces) if self.device.type == "cpu" else [score(piece) for piece in pieces]
        return pd.concat(rows, ignore_index=True)

    @cached_property
    def _everybody(self) -> Tensor:
        """Brain voxels of all test scans, (S, V), in the models' unit."""
        volumes = [self.cases.intensity(scan).normalise(scan.data)[self.cases.brain] for scan in self.cases.scans]
        return torch.from_numpy(np.stack(volumes)).to(self.device)

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
    for label, maps in (("native", native), ("standard", evaluator.standard_map(native))):
        ranking = localisation.rank(maps.flatten(1), truth)
        columns[f"ap.{label}"] = ranking.average_precision.cpu().numpy()
        columns[f"auroc.{label}"] = ranking.auroc.cpu().numpy()
        columns["prevalence"] = ranking.prevalence.cpu().numpy()
        columns[f"correlation.{label}"] = localisation.correlation(maps.flatten(1), reduction, brain).cpu().numpy()
    columns["ap.ceiling"] = evaluator.ceilings[cases[0].anomaly]
    return columns


def _pieces(cases: list[Case], most: int) -> list[slice]:
    """Runs of consecutive cases of one anomaly, none longer than `most`."""
    starts = [0]
    for index in range(1, len(cases)):
        if cases[index].anomaly != cases[starts[-1]].anomaly or index - starts[-1] == most:
            starts.append(index)
    return [slice(start, stop) for start, stop in zip(starts, [*starts[1:], len(cases)], strict=True)]


def score_scans(evaluator: Evaluator, skip: int = 0) -> Iterator[pd.DataFrame]:
    """The rows of every healthy test scan after the first `skip`, scan by scan."""
    for scan in evaluator.cases.scans[skip:]:
        yield evaluator.score_scan(scan)
