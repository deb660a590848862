"""A trained model looks at scans: where its maps lie, what its score means, and when it is doubted."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

import uadbench as ub
from uadbench.cli.main import main
from uadbench.evaluation.stored_calibration import CALIBRATION
from uadbench.space import atlas
from uadbench.types import Scan


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ub.CompletedRun:
    return ub.run("pca_recon", protocol="smoke", output=tmp_path_factory.mktemp("runs"), progress=False)


@pytest.fixture(scope="module")
def scan(run: ub.CompletedRun) -> Scan:
    """A healthy test scan on the grid of the protocol."""
    return run._run.fold_data.cases.scans[0]  # type: ignore[union-attr]


def saved(file: Path, data: np.ndarray, affine: np.ndarray) -> Path:
    nibabel.save(nibabel.Nifti1Image(np.asarray(data, dtype=np.float32), affine), file)
    return file


@pytest.mark.slow
def test_a_test_scan_is_answered_as_in_the_run(run: ub.CompletedRun, scan: Scan, tmp_path: Path) -> None:
    file = saved(tmp_path / "own.nii.gz", scan.data, scan.affine)
    (applied,) = ub.apply(run, file, tmp_path / "out", progress=False)
    rows = run.scores
    stored = rows[(rows["participant_id"] == scan.participant) & (rows["anomaly"] == "healthy")]
    assert applied.score == pytest.approx(stored["subject.score"].iloc[0], rel=1e-4)
    validation = rows.loc[rows["anomaly"] == "validation", "subject.score"]
    assert applied.percentile == pytest.approx((validation < applied.score).mean())
    low, high = applied.percentile_interval
    assert low <= applied.percentile <= high
    assert sorted(applied.files) == [
        "native_map", "picture", "reconstruction", "regions", "standard_map", "summary", "viewer",
    ]  # fmt: skip
    assert applied.files["viewer"].stat().st_size < 3e6 and "no diagnosis" in applied.files["viewer"].read_text()
    assert json.loads(applied.files["summary"].read_text())["model"] == "pca_recon"


ORIENTATIONS = {
    "RAS": np.diag([3.0, 3, 3, 1]),
    "LAS": np.diag([-3.0, 3, 3, 1]),
    "PIR": np.array([[0, 0, 3.0, 0], [-3, 0, 0, 0], [0, -3, 0, 0], [0, 0, 0, 1]]),
}


def turned(angle: float) -> np.ndarray:
    """An oblique lattice: 3 mm, turned about two axes."""
    c, s = np.cos(angle), np.sin(angle)
    affine = np.eye(4)
    affine[:3, :3] = 3 * np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return affine


@pytest.mark.parametrize("name", [*ORIENTATIONS, "oblique"])
def test_maps_lie_where_the_lesion_lies(name: str, run: ub.CompletedRun, scan: Scan, tmp_path: Path) -> None:
    """A lesion on the left, in a file of any orientation: the map is highest there, in millimetres."""
    left = np.array([-48.0, -30, 20])
    millimetres = np.moveaxis(np.indices(scan.data.shape), 0, -1) @ scan.affine[:3, :3].T + scan.affine[:3, 3]
    lesion = np.exp(-((millimetres - left) ** 2).sum(-1) / (2 * 14**2))
    altered = scan.data * (1 - 0.7 * lesion).astype(np.float32)
    lattice = turned(0.3) if name == "oblique" else ORIENTATIONS[name].copy()
    shape = (70, 70, 70)
    lattice[:3, 3] = np.array([0, -18, 0]) - lattice[:3, :3] @ (np.array(shape) / 2)
    file = saved(tmp_path / "scan.nii.gz", atlas.resample(altered, scan.affine, lattice, shape), lattice)
    (applied,) = ub.apply(run, file, tmp_path / "out", viewer=False, progress=False)
    image = nibabel.load(applied.files["standard_map"])
    assert image.shape == shape
    np.testing.assert_allclose(image.affine, lattice, atol=1e-4)
    data = image.get_fdata()
    heaviest = np.argwhere(data > np.percentile(data, 99.9)).mean(0)
    found = (image.affine @ [*heaviest, 1])[:3]
    assert np.linalg.norm(found - left) < 25 and found[0] < 0
    top = applied.regions.head(3)
    assert top["region"].str.endswith("_L").all()
    assert top["uptake"].lt(top["reconstruction"]).all()


def test_tables_trees_and_the_command(run: ub.CompletedRun, scan: Scan, tmp_path: Path, capsys) -> None:
    for who in ("sub-A", "sub-B"):
        saved(tmp_path / f"{who}.nii.gz", scan.data, scan.affine)
    table = tmp_path / "scans.tsv"
    table.write_text("participant_id\tsession_id\tpath\tdiagnosis\n" + "".join(
        f"{who}\tses-M000\t{who}.nii.gz\tCN\n" for who in ("sub-A", "sub-B")))  # fmt: skip
    with pytest.raises(SystemExit) as stopped:
        main(["apply", str(run.folder), str(table), "--output", str(tmp_path / "out"), "--json", "--no-viewer"])
    assert not stopped.value.code
    told = json.loads(capsys.readouterr().out)
    assert [each["scan"] for each in told] == ["sub-A_ses-M000", "sub-B_ses-M000"]
    assert told[0]["score"] == told[1]["score"] and "diagnosis" in told[0]["note"]
    assert len(list((tmp_path / "out").glob("sub-A_ses-M000_*"))) == 6


def test_options_of_files_are_not_ignored_for_a_table(run: ub.CompletedRun, tmp_path: Path) -> None:
    (tmp_path / "scans.tsv").write_text("participant_id\tpath\tdiagnosis\nsub-A\ta.nii\tCN\n")
    for option in ({"suvr": "cerebellum-pons"}, {"nan": "zero"}):
        with pytest.raises(ub.InputError, match="=".join(*option.items())):
            ub.apply(run, tmp_path / "scans.tsv", tmp_path / "out", progress=False, **option)  # type: ignore[arg-type]


def test_a_scan_of_another_kind_is_doubted(run: ub.CompletedRun, scan: Scan, tmp_path: Path) -> None:
    def doubts(data: np.ndarray, **options: str) -> str:
        file = saved(tmp_path / "scan.nii.gz", data, scan.affine)
        (applied,) = ub.apply(run, file, tmp_path / "out", viewer=False, progress=False, **options)  # type: ignore[arg-type]
        return " ".join(applied.doubts)

    assert "phantom" in doubts(scan.data) and "mean in the brain" not in doubts(scan.data)
    assert "cerebellum" in doubts(scan.data * 5000)
    assert "mean in the brain" not in doubts(scan.data * 5000, suvr="cerebellum-pons")
    empty = scan.data.copy()
    empty[:, : empty.shape[1] // 2] = 0.01
    assert "fills" in doubts(empty)


def test_what_cannot_be_applied_is_refused(run: ub.CompletedRun, scan: Scan, tmp_path: Path) -> None:
    file = saved(tmp_path / "scan.nii.gz", scan.data, scan.affine)
    bare = tmp_path / "bare"
    bare.mkdir()
    for each in run.folder.iterdir():
        if each.is_file() and each.name != CALIBRATION:
            (bare / each.name).write_bytes(each.read_bytes())
    for folder, scans, named in [
        (tmp_path, file, "result"),
        (bare, file, CALIBRATION),
        (run, tmp_path / "none.nii.gz", "none.nii.gz"),
        (run, [file, file], "scan"),
    ]:
        with pytest.raises(ub.InputError) as refused:
            ub.apply(folder, scans, tmp_path / "out", progress=False)
        assert named in str(refused.value)
    assert not (tmp_path / "out").exists()
    read_back = saved(tmp_path / "scan_native-map.nii.gz", scan.data, scan.affine)
    with pytest.raises(ub.InputError, match="scan_native-map"):
        ub.apply(run, [file, read_back], tmp_path, progress=False)
    whole = (run.folder / CALIBRATION).read_bytes()
    flipped = bytes([*whole[:-9], whole[-9] ^ 1, *whole[-8:]])
    for content, named in ((whole[:-8], "safetensors"), (flipped, "corrupted")):
        (bare / CALIBRATION).write_bytes(content)
        with pytest.raises(ub.InputError, match=named):
            ub.apply(bare, file, tmp_path / "out", progress=False)
