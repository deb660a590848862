"""Few open files: as many commands as ever work, whatever the number of scans and results."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.faults.given import AFFINE

FEW = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))"
SCANS = 100


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """More scans than files may be open, which nobody has read before."""
    rng = np.random.default_rng(0)
    lines = ["participant_id\tsession_id\tpath\tdiagnosis\tage\tsex"]
    for number in range(SCANS):
        voxels = rng.uniform(0.9, 1.1, (46, 55, 46)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(voxels, AFFINE), tmp_path / f"{number}.nii")
        lines.append(f"p{number}\tM0\t{number}.nii\t{'AD' if number < 12 else 'CN'}\t70\tF")
    (tmp_path / "scans.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path / "scans.tsv"


@pytest.mark.parametrize(
    "command",
    [
        "run --protocol smoke --model mean --cohort {table} --output {folder}/runs --tracking-uri none",
        "simulate {table} --anomaly ad --severity 0.3 --output {folder}/simulated",
        "leaderboard build --root {folder}/leaderboard",
    ],
)
@pytest.mark.fault("ulimit -n 40: {command}")
def test_few_open_files(command: str, nursery, table: Path, tmp_path: Path, outcome) -> None:
    if "leaderboard" in command:
        shutil.copytree(REPOSITORY / "leaderboard", tmp_path / "leaderboard")
    words = [word.format(table=table, folder=tmp_path) for word in command.split()]
    code, out, err = nursery.start(*words, before=FEW, UADBENCH_CACHE=tmp_path / "cache").ended()
    assert code == 0, err
    if "simulate" in command:
        assert f"{SCANS} altered scans" in out
    outcome("works as ever")
