"""Few open files: as many commands as ever work, whatever the number of scans and results."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.faults.given import AFFINE
from tests.leaderboard.builder import committed_folder, copy_of, made_up, the

pytestmark = pytest.mark.slow

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


def few(nursery, *command: str | Path, before: str = "", **environment: Path) -> str:
    """What a command prints that may open few files."""
    code, out, err = nursery.start(*command, before=f"{FEW}; {before}", **environment).ended()
    assert code == 0, err
    return out


GATHER = """
from uadbench.cohorts.intake import gather
from uadbench.cohorts.opening import open_cohort
from uadbench.protocols.schema import load_protocol
from uadbench.runtime.progress import Silent
cohort = open_cohort({table!r})
print(len(gather(cohort, load_protocol("smoke").lattice, cohort.participants, Silent())), "gathered")
"""


@pytest.mark.fault("ulimit -n 40: a cohort of a hundred scans that nobody has read, and simulate on them")
def test_more_scans_than_open_files(nursery, table: Path, tmp_path: Path, outcome) -> None:
    places = {name: tmp_path / name for name in ("UADBENCH_CACHE", "UADBENCH_SALTS")}
    printed = few(nursery, "--version", before=GATHER.format(table=str(table)), **places)
    assert f"{SCANS} gathered" in printed
    arguments = ("--anomaly", "ad", "--severity", "0.3", "--output", tmp_path / "out")
    assert f"{SCANS} altered scans" in few(nursery, "simulate", table, *arguments, **places)
    outcome("works as ever")


@pytest.mark.fault("ulimit -n 40: leaderboard build over 41 results")
def test_more_results_than_open_files(nursery, fold_data, tmp_path_factory, tmp_path: Path, outcome) -> None:
    root = copy_of(committed_folder(fold_data, tmp_path_factory), tmp_path / "leaderboard")
    mean = the(root, "mean")
    for seed in range(1, 40):
        made_up(root, mean, "mean", seed=seed, sound=False)
    assert len(list(root.rglob("*.parquet"))) > 40
    few(nursery, "leaderboard", "build", "--root", root)
    outcome("works as ever")
