"""What bfloat16 at inference would change: `python benchmarks/bf16.py RUN_FOLDER` scores some scans twice.

The run must be of the phantom, under a protocol that ships. uadbench itself always scores in float32.
"""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path

import pandas as pd
import torch

from uadbench.cohorts.opening import open_cohort
from uadbench.evaluation.evaluator import Evaluator, score_scans
from uadbench.models.checkpoint import load_model
from uadbench.models.precision import computing_in, lay_out
from uadbench.protocols.schema import load_protocol
from uadbench.results.schema import read_result
from uadbench.runs.fold_data import plan_fold
from uadbench.runtime.progress import Silent
from uadbench.types import Batch, Precision

CPU = torch.device("cpu")
SCANS = 20


def scores(folder: Path, precision: Precision) -> pd.DataFrame:
    """The rows of the first scans; the model computes in the given precision, everything else does not."""
    result = read_result(folder)
    fold_data = plan_fold(open_cohort("phantom"), load_protocol(result.protocol.name), result.fold, Silent())
    model = load_model(folder)
    lay_out(model)
    plain = model.reconstruct

    def reconstruct(batch: Batch) -> torch.Tensor:
        with computing_in(precision, CPU):
            return plain(batch).float()

    model.reconstruct = reconstruct  # type: ignore[method-assign]
    evaluator = Evaluator.calibrated(model, fold_data.cases, fold_data.batches("validation", result.seed, CPU), CPU)
    return pd.concat(islice(score_scans(evaluator, []), SCANS))


def main(folder: str) -> None:
    """Print, for each score, its mean in float32, how far the mean moves in bfloat16, and how far a case at most."""
    exact, rough = (scores(Path(folder), precision) for precision in ("float32", "bf16"))
    names = [
        "ap.standard",
        "ap.native",
        "restoration.whole.mse",
        "restoration.whole.ssim",
        "recovered",
        "subject.score",
    ]
    print(f"{'':24}{'float32':>12}{'bf16 moves it by':>20}{'a case at most by':>20}")
    for name in names:
        moved = rough[name] - exact[name]
        print(f"{name:24}{exact[name].mean():12.5g}{moved.mean():20.2g}{moved.abs().max():20.2g}")


if __name__ == "__main__":
    main(sys.argv[1])
