"""Scores do not depend on how they were computed: by one thread or two, 24 images at once or one, in whose company.

Of equal weights they are bit-equal, or, where sums are taken in another order, as close as the rounding of float32
allows: no score moves further than it does where every voxel of the model's answers is moved by ROUNDING.
`python tests/test_determinism.py` prints how far they really are from each other on this processor;
`python tests/test_determinism.py --protocol quick vae3d` prints what another number of threads changes in a training.

That a scan's answer is its own stands in `models/test_contract.py`, for every model; what a kill, a resume and another
folder must not change in `runs/test_run.py`.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from uadbench.cohorts.opening import open_cohort
from uadbench.evaluation import chunks
from uadbench.evaluation.evaluator import Evaluator
from uadbench.leaderboard.tolerance import changes
from uadbench.models.base import Model
from uadbench.protocols.schema import load_protocol
from uadbench.results.scores import KEYS, TRAITS, read_scores, score_hash
from uadbench.runs.fit import fitted_model
from uadbench.runs.fold_data import FoldData, plan_fold
from uadbench.runs.keys import Outcome, Run
from uadbench.runs.run import complete
from uadbench.runtime.progress import Silent
from uadbench.types import Batch

pytestmark = pytest.mark.nightly

CPU = torch.device("cpu")
FAMILIES = ("identity", "zscore", "pca_recon", "vae3d", "vqvae3d", "anoddpm3d", "padim")
EXACT = ("identity", "zscore")
"""What they compute of a voxel is an operation or two, and sums are the harness's own: bit-equal on any processor, by
any number of threads, in batches of any size. How the products of the others are divided is the processor's choice.
"""

ROUNDING = 4096 * 2.0**-24
"""A sum of 4096 terms in float32 is at most so far from the exact one, relative to its terms (Higham 2002, chapter 4);
the longest sums of these networks, over 27 neighbours in 128 channels, have fewer.
"""

ONE_VOXEL = 0.01
"""What a share of the voxels of a mask may move by because of one voxel: masks have more than a hundred."""

COUNTED = ("recall.", "dice.fpr", "exceeding.")


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Torch on so many threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def three_severities(fold_data: FoldData) -> FoldData:
    """The same people under test sets that make 24 cases of a scan."""
    return replace(fold_data, protocol=load_protocol("smoke", {"testsets.severities": "[0.2, 0.3, 0.5]"}))


def fitted(name: str, fold_data: FoldData) -> Model:
    with threads(1), tempfile.TemporaryDirectory() as folder:
        return fitted_model(Run(name, fold_data, 0), Path(folder), CPU, Silent())[0]


def scored(model: Model, fold_data: FoldData, number: int, at_once: int) -> pd.DataFrame:
    """The rows of a scan, a patient, an audited person and the validation scans, so many images in a batch."""
    validation = replace(fold_data.batches("validation", 0, CPU), batch_size=at_once)
    scan = fold_data.cases.scans[0]
    with threads(number), pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "VOXELS_AT_ONCE", at_once * fold_data.protocol.lattice.size)
        evaluator = Evaluator.calibrated(model, fold_data.cases, validation, CPU)
        made = chunks.chunks_of(fold_data.cases.cases(scan), fold_data.protocol.lattice.size)
        assert [len(chunk) for chunk in made] == [at_once] * (24 // at_once)
        rows = [evaluator.score_scan(scan), evaluator.score_patient(fold_data.scans("patients")[0])]
        rows += [evaluator.score_audited(fold_data.scans("audit")[0]), evaluator.validation_rows()]
    return pd.concat(rows, ignore_index=True)


def rounded(model: Model) -> Model:
    """The same model, every voxel of whose answers is off by up to ROUNDING, each by a draw of its own."""
    name = "reconstruct" if model.reconstructs else "anomaly_map"
    exact, draws = getattr(model, name), torch.Generator().manual_seed(0)

    def answer(batch: Batch) -> Tensor:
        values = exact(batch)
        return values * (1 + ROUNDING * (2 * torch.rand(values.shape, generator=draws) - 1))

    inexact = copy.copy(model)
    vars(inexact)[name] = answer
    return inexact


def largest(one: pd.DataFrame, other: pd.DataFrame) -> dict[str, float]:
    """The largest differences: of an average precision; of a share of voxels above a threshold; of any other score x,
    divided by |x| + 0.01. What is n/a or infinite must be so in both.
    """
    pd.testing.assert_frame_equal(one[list(KEYS)], other[list(KEYS)])
    found = {"ap": 0.0, "counted": 0.0, "other": 0.0}
    for name in one.columns.difference([*KEYS, *TRAITS]):
        first, second = (table[name].to_numpy(dtype=np.float64) for table in (one, other))
        if name.endswith(".psnr"):  # as the error that it is made of: its logarithm has no bound for equal images
            first, second = 10 ** (-first / 20), 10 ** (-second / 20)
        known = np.isfinite(first)
        np.testing.assert_array_equal(first[~known], second[~known])
        kind = "ap" if name.startswith(("ap.", "normalised_ap")) else "counted" if name.startswith(COUNTED) else "other"
        first, second = first[known], second[known]
        off = np.abs(first - second) / (np.abs(first) + 0.01 if kind == "other" else 1)
        found[kind] = max(found[kind], float(off.max(initial=0.0)))
    return found


def require_equal(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """To the last bit, and so their hashes."""
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert score_hash(one) == score_hash(other)


@pytest.mark.parametrize("name", FAMILIES)
def test_threads_and_batches(name: str, fold_data) -> None:
    fold_data = three_severities(fold_data)
    model = fitted(name, fold_data)
    together = scored(model, fold_data, 1, 24)
    others = [scored(model, fold_data, 2, 24), scored(model, fold_data, 1, 1)]
    if name in EXACT:
        for other in others:
            require_equal(other, together)
        return
    allowed = largest(together, scored(rounded(model), fold_data, 1, 24))
    allowed["counted"] += ONE_VOXEL
    for other in others:
        for kind, difference in largest(together, other).items():
            assert difference <= allowed[kind], kind


def in_its_own_process(name: str, output: Path, number: int) -> pd.DataFrame:
    """The scores of a run that a process computes in which nothing was before it."""
    code = "from uadbench.cli.main import main; main()"
    command = ["run", "--model", name, "--protocol", "smoke", "--output", str(output), "--tracking-uri", "none"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(number)}
    subprocess.run([sys.executable, "-c", code, *command], check=True, env=environment, capture_output=True)
    (folder,) = output.glob(f"*/*/{name}/fold*")
    return read_scores(folder)


def test_one_process_or_many(fold_data, tmp_path: Path) -> None:
    """A run after others in one process, and alone in its own."""
    with threads(1):
        for name in ("pca_recon", "vqvae3d"):
            outcome = complete(Run(name, fold_data, 0), tmp_path / "one", CPU, Silent())
    require_equal(read_scores(outcome.folder), in_its_own_process("vqvae3d", tmp_path / "many", 1))


def test_training_by_another_number_of_threads(fold_data, tmp_path: Path) -> None:
    """Other weights, as sums of gradients are rounded otherwise; the same ranking, as a reproduction judges it."""
    one, two = (trained_by(number, "vae3d", fold_data, tmp_path).result for number in (1, 2))
    (change,) = [change for change in changes(two, [one]) if change.metric == "ranking AP"]
    assert change.verdict == "same", change


def trained_by(number: int, name: str, fold_data: FoldData, output: Path) -> Outcome:
    """A run trained by so many threads, and evaluated by one."""
    with threads(number):
        fitted_model(Run(name, fold_data, 0), Run(name, fold_data, 0).folder(output / str(number)), CPU, Silent())
    with threads(1):
        return complete(Run(name, fold_data, 0), output / str(number), CPU, Silent())


def ranking(outcome: Outcome) -> float:
    found = outcome.result.headline.ap_standard
    assert found is not None
    return found


def planned(protocol: str) -> FoldData:
    return plan_fold(open_cohort("phantom"), load_protocol(protocol), 0)


def apart(name: str, fold_data: FoldData, folder: Path) -> tuple[float, Outcome]:
    """Of the ranking AP, between trainings by one thread and by two; and the former."""
    one, two = (trained_by(number, name, fold_data, folder) for number in (1, 2))
    return abs(ranking(one) - ranking(two)), one


def differences(name: str, folder: Path) -> dict[str, float]:
    """A row of the table."""
    wide = three_severities(planned("smoke"))
    model = fitted(name, wide)
    together = scored(model, wide, 1, 24)
    threaded, batched = (largest(together, scored(model, wide, *how)) for how in ((2, 24), (1, 1)))
    trained, one = apart(name, planned("smoke"), folder)
    alone = largest(read_scores(one.folder), in_its_own_process(name, folder / "alone", 1))
    return {
        "1 or 2 threads": max(threaded.values()),
        "24 images or 1: AP": batched["ap"],
        "other scores": max(batched["other"], batched["counted"]),
        "own process": max(alone.values()),
        "trained by 1 or 2: ranking AP": trained,
    }


def processor() -> str:
    """What the system calls it."""
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return f"{found[1] if found else platform.processor()}, {torch.backends.cpu.get_cpu_capability()}"


def main() -> None:
    """The table of differences; under another protocol than smoke, those between trainings alone."""
    parser = argparse.ArgumentParser(description="What threads, batches and processes change.")
    parser.add_argument(
        "--protocol", default="smoke", help="another one than smoke: only what threads change in training"
    )
    parser.add_argument("models", nargs="*", default=FAMILIES, metavar="MODEL")
    given = parser.parse_args()
    print(f"protocol {given.protocol}; torch {torch.__version__} on {processor()}")
    for place, name in enumerate(given.models):
        with tempfile.TemporaryDirectory() as folder:
            if given.protocol == "smoke":
                row = differences(name, Path(folder))
            else:
                row = {"trained by 1 or 2: ranking AP": apart(name, planned(given.protocol), Path(folder))[0]}
        if place == 0:
            print(f"{'':12}" + "".join(f"{column:>{len(column) + 3}}" for column in row))
        runs = {column: f"{value:.1e}" if value else "bit-equal" for column, value in row.items()}
        print(f"{name:12}" + "".join(f"{run:>{len(column) + 3}}" for column, run in runs.items()), flush=True)


if __name__ == "__main__":
    main()
