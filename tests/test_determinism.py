"""Scores do not depend on how they were computed: by one thread or two, 24 images at once or one, in whose company.

Of equal weights they are bit-equal, or, where sums are taken in another order, equal to BOUNDS.
`python tests/test_determinism.py` prints how far they really are from each other.

That a scan's answer is its own stands in `models/test_contract.py`, for every model; what a kill, a resume and another
folder must not change in `test_cells.py`.
"""

from __future__ import annotations

import os
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

from uadbench import evaluation
from uadbench.cells import Cell, Outcome, run_cell
from uadbench.cohorts.opening import open_cohort
from uadbench.evaluation import Evaluator
from uadbench.material import Material, plan_material
from uadbench.models.base import Model
from uadbench.progress import Silent
from uadbench.protocol import load_protocol
from uadbench.scores import KEYS, TRAITS, read_scores, score_hash

CPU = torch.device("cpu")
FAMILIES = ("identity", "zscore", "pca_recon", "vae3d", "vqvae3d", "anoddpm3d", "padim")
ANY_BATCH = ("identity", "zscore")
"""What they compute of a voxel is an operation or two: they are bit-equal in batches of any size."""

ANY_THREADS = ("identity", "zscore", "pca_recon", "vae3d", "vqvae3d")
"""Bit-equal by one thread and two; the others have products of many small matrices, which are divided among threads."""

BOUNDS = {"ap": 1e-4, "other": 1e-4, "counted": 0.05}
"""Of an average precision; of any other score x, times |x| + 0.01; of a share of voxels above a threshold, which moves
by whole voxels.
"""

EQUAL_DB = 120.0
"""A PSNR above it is that of two equal images: what is left of their difference is the rounding of float32."""

COUNTED = ("recall.", "dice.fpr", "exceeding.")
TRAINED_APART = 0.002
"""Of the ranking AP, between trainings by one thread and by two: their gradients are rounded otherwise."""


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Torch on so many threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def three_severities(material: Material) -> Material:
    """The same people under test sets that make 24 cases of a scan."""
    return replace(material, protocol=load_protocol("smoke", {"testsets.severities": "[0.2, 0.3, 0.5]"}))


def fitted(name: str, material: Material) -> Model:
    with threads(1), tempfile.TemporaryDirectory() as folder:
        return Cell(name, material, 0).fitted(Path(folder), CPU, Silent())[0]


def scored(model: Model, material: Material, number: int, at_once: int) -> pd.DataFrame:
    """The rows of a scan, a patient and the validation scans, so many images in a batch."""
    validation = replace(material.batches("validation", 0, CPU), batch_size=at_once)
    scan = material.cases.scans[0]
    with threads(number), pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "VOXELS_AT_ONCE", at_once * material.protocol.lattice.size)
        evaluator = Evaluator(model, material.cases, validation, CPU)
        assert [len(chunk) for chunk in evaluator._chunks(scan)] == [at_once] * (24 // at_once)
        rows = [evaluator.score_scan(scan), evaluator.score_patient(material.scans("patients")[0])]
        rows.append(evaluator.validation_rows())
    return pd.concat(rows, ignore_index=True)


def largest(one: pd.DataFrame, other: pd.DataFrame) -> dict[str, float]:
    """The largest differences, as BOUNDS has them; what is n/a or infinite must be so in both."""
    pd.testing.assert_frame_equal(one[list(KEYS)], other[list(KEYS)])
    found = dict.fromkeys(BOUNDS, 0.0)
    for name in one.columns.difference([*KEYS, *TRAITS]):
        first, second = (table[name].to_numpy(dtype=np.float64) for table in (one, other))
        if name.endswith(".psnr"):
            first, second = np.minimum(first, EQUAL_DB), np.minimum(second, EQUAL_DB)
        known = np.isfinite(first)
        np.testing.assert_array_equal(first[~known], second[~known])
        kind = "ap" if name.startswith("ap.") else "counted" if name.startswith(COUNTED) else "other"
        first, second = first[known], second[known]
        off = np.abs(first - second) / (np.abs(first) + 0.01 if kind == "other" else 1)
        found[kind] = max(found[kind], float(off.max(initial=0.0)))
    return found


def require_equal(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """To the last bit, and so their hashes."""
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert score_hash(one) == score_hash(other)


@pytest.mark.parametrize("name", FAMILIES)
def test_threads_and_batches(name: str, material) -> None:
    material = three_severities(material)
    model = fitted(name, material)
    together = scored(model, material, 1, 24)
    for other, exact in ((scored(model, material, 2, 24), ANY_THREADS), (scored(model, material, 1, 1), ANY_BATCH)):
        if name in exact:
            require_equal(other, together)
        for kind, difference in largest(together, other).items():
            assert difference <= BOUNDS[kind], kind


def in_its_own_process(name: str, output: Path, number: int) -> pd.DataFrame:
    """The scores of a cell that a process computes in which nothing was before it."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(number)}
    command = [sys.executable, __file__, name, str(output)]
    subprocess.run(command, check=True, env=environment)
    (folder,) = output.glob(f"*/*/{name}/fold*")
    return read_scores(folder)


def test_one_process_or_many(material, tmp_path: Path) -> None:
    """A cell after others in one process, and alone in its own."""
    with threads(1):
        for name in ("pca_recon", "vqvae3d"):
            outcome = run_cell(Cell(name, material, 0), tmp_path / "one", CPU, Silent())
    require_equal(read_scores(outcome.folder), in_its_own_process("vqvae3d", tmp_path / "many", 1))


def test_training_by_another_number_of_threads(material, tmp_path: Path) -> None:
    """Other weights, as sums of gradients are rounded otherwise; nearly the same claims."""
    one, two = (trained_by(number, "vae3d", material, tmp_path) for number in (1, 2))
    assert abs(ranking(one) - ranking(two)) <= TRAINED_APART


def trained_by(number: int, name: str, material: Material, output: Path) -> Outcome:
    """A cell trained by so many threads, and evaluated by one."""
    with threads(number):
        Cell(name, material, 0).fitted(Cell(name, material, 0).folder(output / str(number)), CPU, Silent())
    with threads(1):
        return run_cell(Cell(name, material, 0), output / str(number), CPU, Silent())


def ranking(outcome: Outcome) -> float:
    found = outcome.result.headline.ap_standard
    assert found is not None
    return found


def smoke() -> Material:
    return plan_material(open_cohort("phantom"), load_protocol("smoke"), 0)


def main() -> None:
    """The table of differences; or, with a model and a folder, its cell alone."""
    if sys.argv[1:]:
        run_cell(Cell(sys.argv[1], smoke(), 0), Path(sys.argv[2]), CPU, Silent())
        return
    columns = ("1 or 2 threads", "24 images or 1: AP", "other scores", "own process", "trained by 1 or 2: ranking AP")
    print(f"{'':12}" + "".join(f"{column:>{len(column) + 3}}" for column in columns))
    wide = three_severities(smoke())
    for name in FAMILIES:
        model = fitted(name, wide)
        together = scored(model, wide, 1, 24)
        threaded, batched = (largest(together, scored(model, wide, *how)) for how in ((2, 24), (1, 1)))
        with tempfile.TemporaryDirectory() as folder:
            here = Path(folder)
            one, two = (trained_by(number, name, smoke(), here) for number in (1, 2))
            alone = largest(read_scores(one.folder), in_its_own_process(name, here / "alone", 1))
        told = [max(threaded.values()), batched["ap"], max(batched["other"], batched["counted"]), max(alone.values())]
        told.append(abs(ranking(one) - ranking(two)))
        cells = (f"{value:.1e}" if value else "bit-equal" for value in told)
        print(f"{name:12}" + "".join(f"{cell:>{len(column) + 3}}" for cell, column in zip(cells, columns, strict=True)))


if __name__ == "__main__":
    main()
