"""What commands that write are given: the smallest of each kind."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.leaderboard.builder import committed_folder, consistent, run_folder, shifted, the
from uadbench.cli.main import main
from uadbench.leaderboard.checks import keep_protocol
from uadbench.protocols.schema import FOLDER, stored_protocol
from uadbench.runs.fold_data import FoldData

AFFINE = np.array([[4.0, 0, 0, -90], [0, 4, 0, -126], [0, 0, 4, -72], [0, 0, 0, 1]])
SMALLEST = {
    'name = "smoke"': 'name = "smallest"',
    "most_patients = 12": "most_patients = 4",
    "train = 24": "train = 4",
    "validation = 12": "validation = 4",
    "test = 8": "test = 4",
    "audit = 24": "audit = 4",
    'anomalies = ["ad", "bvftd", "lvppa", "svppa", "nfvppa", "pca"]': 'anomalies = ["ad"]',
    "severities = [0.3, 0.5]": "severities = [0.3]",
    "draws = 2": "draws = 1",
    "scans = 4 ": "scans = 1 ",
}
"""What makes the smallest protocol of smoke."""


@dataclass(frozen=True)
class Given:
    """What commands read; not to be written to.

    Attributes:
        run, other: Run folders of two models.
        older: A leaderboard with an entry of other scores in the place of `run`.
        committed: A leaderboard with both.
        scan: A NIfTI file.
        answered: An export with answers, of the smallest protocol.
        protocol: The smallest protocol.
        database: One of MLflow.
    """

    run: Path
    other: Path
    older: Path
    committed: Path
    scan: Path
    answered: Path
    protocol: Path
    database: Path


def make_given(folder: Path, fold_data: FoldData, factory: pytest.TempPathFactory) -> Given:
    """Make all of it in a folder. The scans are in the cache then."""
    run, committed = run_folder("mean", fold_data, factory), committed_folder(fold_data, factory)
    protocol = _smallest(folder / "smallest.toml")
    return Given(
        run=run,
        other=run_folder("zscore", fold_data, factory),
        older=_older(run, committed, folder / "older"),
        committed=committed,
        scan=_scan(folder / "scan.nii.gz"),
        answered=_answered(folder / "answered", protocol),
        protocol=protocol,
        database=_database(folder / "mlflow.db"),
    )


def _smallest(file: Path) -> Path:
    text = (FOLDER / "smoke.toml").read_text(encoding="utf-8")
    for old, new in SMALLEST.items():
        assert old in text, old
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")
    return file


def _older(run: Path, committed: Path, root: Path) -> Path:
    entry = the(committed, "mean")
    keep_protocol(root, entry.result, stored_protocol(run, "smoke"))
    consistent(root, entry.result, shifted(entry.scores(), -0.05))
    return root


def _scan(file: Path) -> Path:
    voxels = np.random.default_rng(0).uniform(0.9, 1.1, (46, 55, 46)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(voxels, AFFINE), file)
    return file


def _answered(folder: Path, protocol: Path) -> Path:
    """Every image answers itself."""
    with pytest.raises(SystemExit) as stopped:
        main(["testset", "export", str(folder), "--protocol", str(protocol)])
    assert not stopped.value.code
    (folder / "reconstructions").mkdir()
    for file in (*(folder / "validation").iterdir(), *(folder / "test").iterdir()):
        shutil.copy(file, folder / "reconstructions")
    return folder


def _database(file: Path) -> Path:
    from mlflow.tracking import MlflowClient

    MlflowClient(f"sqlite:///{file}").create_experiment("uadbench", artifact_location=(file.parent / "art").as_uri())
    return file
