"""The export: what a model is shown, whole, and nothing that tells what it is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch

from tests.dying import dies_after
from uadbench.cli.main import main
from uadbench.errors import InputError
from uadbench.evaluation.evaluator import Evaluator
from uadbench.exchange import export as exporting
from uadbench.exchange.export import export_testset
from uadbench.exchange.inputs import EXPORTED, shown_scans, voxel_digest
from uadbench.exchange.manifest import manifest_of, read_manifest
from uadbench.models.base import Model
from uadbench.runtime.progress import Silent


def voxels(file: Path) -> np.ndarray:
    return np.asarray(nibabel.load(file).dataobj, dtype=np.float32)


class Witness(Model):
    """Remembers what it was shown."""

    def __init__(self, grid) -> None:
        super().__init__(grid)
        self.seen: list[tuple[str, float, float]] = []

    def anomaly_map(self, batch):
        people = zip(batch.images[:, 0].numpy(), batch.age.tolist(), batch.sex.tolist(), strict=True)
        self.seen += [(voxel_digest(image), age, sex) for image, age, sex in people]
        return torch.rand_like(batch.images)


def test_a_tool_is_shown_what_a_model_is_shown(fold_data, exported: Path) -> None:
    """Image by image, with age and sex, in validation and test: the very voxels that the evaluator gives a model."""
    witness = Witness(fold_data.protocol.lattice)
    cpu = torch.device("cpu")
    evaluator = Evaluator.calibrated(witness, fold_data.cases, fold_data.batches("validation", 0, cpu), cpu)
    validation, witness.seen = witness.seen[: len(evaluator.validation.scans)], []
    for scan in fold_data.cases.scans:
        evaluator.score_scan(scan)
    for scan in fold_data.scans("patients"):
        evaluator.score_patient(scan)
    for scan in fold_data.scans("audit"):
        evaluator.score_audited(scan)
    for part, seen in (("validation", validation), ("test", witness.seen)):
        table = pd.read_csv(exported / f"{part}.tsv", sep="\t")
        sexes = table["sex"].map({"F": 0.0, "M": 1.0})
        files = [voxel_digest(voxels(exported / name)) for name in table["file"]]
        told = zip(files, table["age"].astype(np.float32).astype(float), sexes, strict=True)
        assert sorted(told) == sorted(seen)
        assert sorted(table["file"]) == sorted(f"{part}/{file.name}" for file in (exported / part).iterdir())


def test_every_image_has_the_affine_of_the_grid(fold_data, exported: Path) -> None:
    for file in [exported / "brain_mask.nii.gz", *(next((exported / part).iterdir()) for part in EXPORTED)]:
        image = nibabel.load(file)
        np.testing.assert_allclose(image.affine, fold_data.protocol.lattice.affine)
        assert image.shape == fold_data.protocol.lattice.shape and image.header["sform_code"] == 4
    assert np.array_equal(voxels(exported / "brain_mask.nii.gz") > 0, fold_data.cases.brain)


def test_nothing_tells_which_image_is_what(fold_data, exported: Path) -> None:
    """No id, no anomaly beside the protocol, no order, no time of change."""
    everybody = [name for part in fold_data.people().values() for key in part for name in key]
    manifest = json.loads((exported / "manifest.json").read_text())
    told = {key: value for key, value in manifest.items() if key != "protocol"}
    texts = [json.dumps(told), *((exported / f"{part}.tsv").read_text() for part in EXPORTED)]
    names = [file.name for file in exported.rglob("*")]
    for secret in {*everybody, "bvftd", "unseen", "patients/"}:
        assert not any(secret in text for text in [*texts, *names]), secret
    assert list(manifest["files"]) == sorted(manifest["files"])
    assert len({file.stat().st_mtime for part in EXPORTED for file in (exported / part).iterdir()}) == 1
    place = {
        f"test/{name}.nii.gz": i
        for i, name in enumerate(sorted(file.name[:16] for file in (exported / "test").iterdir()))
    }
    for shown in shown_scans(fold_data, "test"):
        if shown.cases is not None:  # the versions of a scan lie scattered over all names
            positions = np.sort([place[f"test/{name}.nii.gz"] for name in shown.names])
            assert positions[-1] - positions[0] > len(place) / 2


@pytest.mark.slow
def test_a_killed_export_is_completed(exported: Path, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "killed"
    command = ["testset", "export", str(folder), "--protocol", "smoke"]
    code = f"{dies_after('*/test/*.nii.gz', 25)}\nfrom uadbench.cli.main import main; main({command!r})"
    killed = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert read_manifest(folder).files == {}
    first = next((folder / "test").glob("*.nii.gz"))
    kept = {file: file.stat().st_ino for file in (folder / "train").iterdir()}
    first.write_bytes(first.read_bytes()[:-100])  # one that a crash of the machine has cut short
    with pytest.raises(SystemExit) as stopped:
        main(command)
    assert stopped.value.code in (0, None), capsys.readouterr().err
    assert read_manifest(folder) == read_manifest(exported)
    assert {file: file.stat().st_ino for file in (folder / "train").iterdir()} == kept
    for name in ("README.md", "test.tsv"):
        assert (folder / name).read_bytes() == (exported / name).read_bytes()
    assert np.array_equal(voxels(first), voxels(exported / "test" / first.name))


def test_the_dry_run_counts_and_writes_nothing(exported: Path, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["testset", "export", str(tmp_path / "new"), "--protocol", "smoke", "--dry-run"])
    said = capsys.readouterr().out
    counts = [len(list((exported / part).iterdir())) for part in EXPORTED]
    assert "{} training, {} validation and {} test images".format(*counts) in said and "GB" in said
    assert not (tmp_path / "new").exists()


def test_a_full_disk_and_other_peoples_folders_are_refused_before_anything_is_written(
    fold_data, exported: Path, tmp_path: Path, monkeypatch
) -> None:
    manifest = manifest_of(fold_data, "phantom", ".nii.gz")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="neither empty nor an export"):
        export_testset(fold_data, manifest, tmp_path, Silent())
    with pytest.raises(InputError, match=r"contains another export \(protocol smoke .*, fold 0, .nii.gz\)"):
        export_testset(fold_data, manifest.model_copy(update={"fold": 1}), exported, Silent())
    full = os.statvfs_result((4096, 4096, 100, 10, 10, 0, 0, 0, 0, 255))
    monkeypatch.setattr(exporting.shutil.os, "statvfs", lambda path: full)
    with pytest.raises(InputError, match=r"needs up to 0.0 GB, but only 0.0 GB are free"):
        export_testset(fold_data, manifest, tmp_path / "new", Silent())
    assert not (tmp_path / "new").exists()
    with pytest.raises(InputError, match=r"notes\.txt: not a folder"):
        export_testset(fold_data, manifest, tmp_path / "notes.txt", Silent())


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--severities", "0.3,0.4"], "protocol smoke has 0.3, 0.5"),
        (["--severities", "0.5"], "give at least one ranking severity (0.3)"),
        (["--severities", "much"], "give numbers, such as 0.1,0.3"),
        (["--anomalies", "alzheimer"], "no 'alzheimer' in protocol smoke"),
        (["--anomalies", "unseen"], "give at least one dementia of ad, bvftd"),
        (["--fold", "9"], "fold 9"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_a_line(options, complaint, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["testset", "export", str(tmp_path / "new"), "--protocol", "smoke", *options])
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and said.startswith("error: ") and complaint in said and said.count("\n") == 1
