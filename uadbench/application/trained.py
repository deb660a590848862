"""Loads a trained model with its calibration, and computes its maps and score for one scan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uadbench.cohorts.batches import make_batch
from uadbench.errors import InputError
from uadbench.evaluation.calibration import ModelCalibration
from uadbench.evaluation.inference import observe
from uadbench.evaluation.stored_calibration import read_calibration
from uadbench.metrics.scan_score import top_mean
from uadbench.models.base import Model
from uadbench.models.checkpoint import WEIGHTS, build_model, load_weights
from uadbench.models.weights_file import find_weights
from uadbench.protocols.schema import Protocol, stored_protocol
from uadbench.registry import names_code
from uadbench.results.schema import Result, read_result
from uadbench.runtime.files import keyed_seed
from uadbench.stats.bootstrap import Interval, share_interval
from uadbench.types import Scan, Volume


@dataclass(frozen=True)
class ModelOutput:
    """The output of a model for one scan, on the grid of its protocol; maps are 0 outside the brain.

    Attributes:
        scan: The scan on the grid, (X, Y, Z) SUVR.
        reconstruction: (X, Y, Z) SUVR; None if the model does not reconstruct.
        native_map: (X, Y, Z) in the model's unit, higher = more suspicious of uptake that is too low.
        standard_map: (X, Y, Z) in SDs of healthy validation scans.
        score: The mean of the top 1 % of the standard map.
        percentile: Share of healthy validation scans whose score is lower, with its 95 % interval.
    """

    scan: Volume
    reconstruction: Volume | None
    native_map: Volume
    standard_map: Volume
    score: float
    percentile: Interval


@dataclass(frozen=True)
class TrainedModel:
    """The model of a finished run with its calibration.

    Attributes:
        result: The run's result.
        protocol: The run's protocol, which fixes grid, intensity and post-processing.
        model: In eval mode, on the CPU.
        calibration: The standard map, thresholds and scores, fitted on healthy validation scans.
    """

    result: Result
    protocol: Protocol
    model: Model
    calibration: ModelCalibration

    @classmethod
    def read(cls, folder: Path, name: str | None = None) -> TrainedModel:
        """Read the model of a run folder.

        Args:
            folder: A run folder.
            name: PATH.py:Class, needed if the model is defined in a file: files named in a result are never executed.

        Raises:
            InputError: If the folder holds no result, weights or calibration, the model's code is not known, or the run
                is of an external tool that answered in files.
        """
        result = read_result(folder)
        model, protocol = load_model(folder, result, name)
        return cls(result, protocol, model, read_calibration(folder, result, protocol))

    def answer(self, scan: Scan) -> ModelOutput:
        """Compute reconstruction, maps and score of a scan on the grid of the protocol.

        Raises:
            Unfinished: If an output of the model is not finite.
        """
        intensity = self.protocol.intensity_of(scan.extent)
        batch = make_batch([scan.data], [intensity], [scan], [keyed_seed("apply", *scan.key)])
        seen = observe(self.model, batch)
        standard = self.calibration.standard_map(seen.anomaly_map)
        score = float(top_mean(standard, self.calibration.top)[0])
        native = seen.anomaly_map[0] * self.calibration.brain
        restored = None
        if seen.reconstruction is not None:
            restored = seen.reconstruction[0].numpy() * np.float32(intensity.scale) + np.float32(intensity.offset)
        return ModelOutput(
            scan=scan.data,
            reconstruction=None if restored is None else np.asarray(restored, dtype=np.float32),
            native_map=native.numpy().astype(np.float32),
            standard_map=self.calibration.as_volumes(standard)[0].numpy().astype(np.float32),
            score=score,
            percentile=self.percentile(score),
        )

    def percentile(self, score: float) -> Interval:
        """Share of healthy validation scans that score lower, with its interval (Clopper and Pearson 1934)."""
        scores = self.calibration.validation_scores
        below = float((scores < score).double().mean()) if len(scores) else 0.0
        return share_interval(below, float(len(scores)))

    @property
    def threshold(self) -> float:
        """The value of the standard map above which voxels are counted, at the largest of the protocol's rates."""
        return self.calibration.thresholds[max(self.calibration.thresholds)].value


def load_model(folder: Path, result: Result, name: str | None = None) -> tuple[Model, Protocol]:
    """Load the trained model of a run folder, in eval mode on the CPU, with the protocol of the run.

    Args:
        folder: A run folder.
        result: Its result.
        name: The model, if not as in the result; see `TrainedModel.read`.

    Raises:
        InputError: If the folder holds no weights, the model's code is not known, or a tool answered in files.
    """
    if result.model.answers:
        raise InputError(
            f"{folder}: {result.model.name} is an external tool that answered in files, so there is no model to run; "
            "run the tool itself"
        )
    if name is None and names_code(result.model.name):
        raise InputError(f"{folder}: the model is defined in a file; name it as PATH.py:Class")
    if not (folder / WEIGHTS).is_file():
        raise InputError(f"{folder}: holds no {WEIGHTS}; give the run folder of a model that uadbench has trained")
    protocol, weights = stored_protocol(folder, result.protocol.name), find_weights(folder)
    model = build_model(name or result.model.name, protocol.lattice, weights.options, seed=0)
    load_weights(model, weights.file)
    return model.eval(), protocol
