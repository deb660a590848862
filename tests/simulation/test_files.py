"""`simulate`: each file keeps its own lattice, the table tells what was done, bad input writes nothing."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from nibabel.affines import apply_affine

from uadbench.errors import InputError
from uadbench.runtime.progress import Silent
from uadbench.simulation.files import simulate, spell

LAS = np.array([[-4.0, 0, 0, 90], [0, 4, 0, -126], [0, 0, 4, -72], [0, 0, 0, 1]])
RAS = np.array([[4.0, 0, 0, -90], [0, 4, 0, -126], [0, 0, 4, -72], [0, 0, 0, 1]])
PIR = np.array([[0.0, 0, 4, -90], [-4, 0, 0, 90], [0, -4, 0, 108], [0, 0, 0, 1]])
SHAPES = {"LAS": (46, 55, 46), "RAS": (46, 55, 46), "PIR": (55, 46, 46)}
AFFINES = {"LAS": LAS, "RAS": RAS, "PIR": PIR}
REAL = Path(__file__).parents[3] / "shared" / "real"


class Heard(Silent):
    """Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.warnings: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def warning(self, text: str) -> None:
        self.warnings.append(text)


def shift(millimetres: float) -> np.ndarray:
    matrix = np.zeros((4, 4))
    matrix[1, 3] = millimetres
    return matrix


def write(path: Path, axes: str = "LAS", affine: np.ndarray | None = None, seed: int = 0) -> Path:
    data = np.random.default_rng(seed).uniform(0.9, 1.1, SHAPES[axes]).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(data, AFFINES[axes] if affine is None else affine), path)
    return path


def world_centre(image: nibabel.Nifti1Image) -> np.ndarray:
    """The centre of mass in MNI mm, from the file's own voxels and affine."""
    weights = image.get_fdata()
    return np.average(apply_affine(image.affine, np.argwhere(weights > 0)), axis=0, weights=weights[weights > 0])


@pytest.mark.parametrize("axes", ["LAS", "RAS", "PIR"])
def test_a_file_keeps_its_orientation_and_left_is_left(tmp_path: Path, axes: str) -> None:
    source = write(tmp_path / "sub-1_pet.nii.gz", axes)
    progress = Heard()
    table = simulate(source, ["lvppa"], [0.3], tmp_path / "out", progress)
    row = table.iloc[0]
    before = nibabel.load(source)
    altered, reduction, mask = (nibabel.load(tmp_path / "out" / row[c]) for c in ("altered", "reduction", "mask"))
    for image in (altered, reduction, mask):
        np.testing.assert_array_equal(image.affine, before.affine)
        assert image.shape == before.shape
        assert image.get_data_dtype() == np.float32
    x, x_, r, g = (np.asarray(image.dataobj) for image in (before, altered, reduction, mask))
    np.testing.assert_array_equal(x_[r == 0], x[r == 0])
    np.testing.assert_array_equal(x_, x * (1 - r))
    np.testing.assert_array_equal(r, np.float32(0.3) * g)
    assert 0.2 < r.max() <= np.float32(0.3)
    assert world_centre(reduction)[0] < -8
    lost = nibabel.Nifti1Image(x - x_, altered.affine)
    assert world_centre(lost)[0] < -8
    assert not progress.warnings


def test_every_orientation_shows_the_same_anomaly(tmp_path: Path) -> None:
    maps = []
    for axes in ("LAS", "RAS", "PIR"):
        source = write(tmp_path / f"{axes}.nii.gz", axes)
        row = simulate(source, ["svppa"], [0.5], tmp_path / "out", Silent()).iloc[0]
        maps.append(nibabel.as_closest_canonical(nibabel.load(tmp_path / "out" / row["reduction"])).get_fdata())
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-6)
    np.testing.assert_allclose(maps[2], maps[1], atol=1e-6)


def placed(path: Path, sform: np.ndarray | None, qform: np.ndarray | None, codes: tuple[int, int], unit: str) -> Path:
    """A scan with these forms, whose first volume axis lies in LAS."""
    image = nibabel.load(write(path))
    image.set_qform(qform, code=codes[1])
    image.set_sform(sform, code=codes[0])
    image.header.set_xyzt_units(unit)
    raw = bytearray(image.to_bytes())
    raw[252:256] = np.array(codes[::-1], dtype="<i2").tobytes()  # nibabel would set one of two that are 0
    path.write_bytes(gzip.compress(raw))
    return path


@pytest.mark.parametrize(
    ("sform", "qform", "codes", "unit"),
    [
        (LAS, LAS, (1, 1), "unknown"),
        (LAS, None, (2, 0), "mm"),
        (None, LAS, (0, 1), "mm"),
        (LAS, LAS + shift(15), (4, 1), "unknown"),
    ],
)
def test_no_space_is_claimed_that_the_scan_does_not_claim(
    tmp_path: Path, sform: np.ndarray | None, qform: np.ndarray | None, codes: tuple[int, int], unit: str
) -> None:
    source = placed(tmp_path / "a.nii.gz", sform, qform, codes, unit)
    progress = Heard()
    row = simulate(source, ["ad"], [0.3], tmp_path / "out", progress).iloc[0]
    for column in ("altered", "reduction", "mask"):
        header = nibabel.load(tmp_path / "out" / row[column]).header
        assert (header["sform_code"], header["qform_code"]) == codes and header.get_xyzt_units()[0] == unit
        for given, stored in ((sform, header.get_sform(coded=True)[0]), (qform, header.get_qform(coded=True)[0])):
            assert stored is None if given is None else np.allclose(stored, given, atol=1e-4)
    assert len(progress.warnings) == (codes == (4, 1))
    assert all("15.0 mm" in text and str(source) in text for text in progress.warnings)


def test_scans_with_two_affines_are_told_in_one_line(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        placed(tmp_path / f"{name}.nii.gz", LAS, LAS if name == "a" else LAS + shift(15), (1, 1), "mm")
    (tmp_path / "scans.tsv").write_text("path\nc.nii.gz\na.nii.gz\nb.nii.gz\n")
    progress = Heard()
    simulate(tmp_path / "scans.tsv", ["ad"], [0.3], tmp_path / "out", progress)
    (line,) = progress.warnings
    assert str(tmp_path / "b.nii.gz") in line and "15.0 mm" in line and "first of 2" in line


def test_the_table_says_what_was_done(tmp_path: Path) -> None:
    source = write(tmp_path / "sub-1_pet.nii.gz")
    out = tmp_path / "out"
    table = simulate(source, ["ad", "lvppa"], [0.3, 0.02, 0.025], out, Silent())
    assert list(table["anomaly"]) == ["ad"] * 3 + ["lvppa"] * 3
    assert list(table["severity"]) == [0.3, 0.02, 0.025] * 2
    assert list(table["altered"][:3]) == [f"sub-1_anomaly-ad_severity-{s}_pet.nii.gz" for s in ("30", "02", "02p5")]
    assert table["reduction"][0] == "sub-1_anomaly-ad_severity-30_reduction.nii.gz"
    assert table["mask"][5] == "sub-1_anomaly-lvppa_mask.nii.gz"
    written = {path.name for path in out.iterdir()}
    assert written == {"simulated.tsv", *table["altered"], *table["reduction"], *table["mask"]}
    read = pd.read_csv(out / "simulated.tsv", sep="\t", keep_default_na=False)
    assert list(read.columns) == list(table.columns)
    np.testing.assert_allclose(read["effective_reduction"], table["effective_reduction"], rtol=1e-5)
    assert (table["effective_reduction"] < 0.85 * table["severity"]).all()
    fraction = 1 - table["uptake_after"] / table["uptake_before"]
    np.testing.assert_allclose(fraction, table["effective_reduction"], rtol=0.02)  # x is nearly flat here


@pytest.mark.parametrize(
    ("severity", "text"),
    [(0.3, "30"), (0.02, "02"), (0.025, "02p5"), (0.2, "20"), (0.07, "07"), (1.0, "100"), (0.00001, "00p001")],
)
def test_severities_are_spelled_apart(severity: float, text: str) -> None:
    assert spell(severity) == text


def test_a_table_of_scans(tmp_path: Path) -> None:
    write(tmp_path / "data" / "sub-1" / "pet.nii.gz", seed=1)
    elsewhere = write(tmp_path / "other" / "b_pet.nii.gz", seed=2)
    listed = tmp_path / "data" / "scans.csv"
    listed.write_text(f"participant_id,path,session_id\nsub-1,sub-1/pet.nii.gz,ses-M000\nsub-2,{elsewhere},ses-M006\n")
    table = simulate(listed, ["nfvppa"], [0.1], tmp_path / "out", Silent())
    assert list(table["source"]) == ["sub-1/pet.nii.gz", str(elsewhere)]
    assert list(table["participant_id"]) == ["sub-1", "sub-2"]
    assert list(table["session_id"]) == ["ses-M000", "ses-M006"]
    assert list(table["altered"]) == [f"{s}_anomaly-nfvppa_severity-10_pet.nii.gz" for s in ("sub-1/pet", "b")]
    assert all((tmp_path / "out" / file).is_file() for file in table["altered"])


def test_a_table_is_read_as_by_a_cohort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns in any letters, blanks after commas, blank lines, and ~ for the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "data" / "a_pet.nii.gz", seed=1)
    listed = tmp_path / "scans.csv"
    listed.write_text("Participant_ID, Path\n\nsub-1, ~/data/a_pet.nii.gz\n")
    table = simulate(listed, ["ad"], [0.3], tmp_path / "out", Silent())
    assert list(table["participant_id"]) == ["sub-1"] and (tmp_path / "out" / table["altered"][0]).is_file()


def test_a_caps_tree_is_mirrored(tmp_path: Path) -> None:
    end = "space-MNI152NLin2009cSym_desc-Crop_res-1x1x1_suvr-cerebellumPons2"
    folder = tmp_path / "caps" / "subjects" / "sub-A" / "ses-M00"
    write(folder / "pet_linear" / f"sub-A_ses-M00_trc-18FFDG_rec-uniform_{end}_pet.nii.gz")
    write(folder / "pet_linear" / f"sub-A_ses-M00_trc-18FAV45_{end}_pet.nii.gz")
    write(folder / "pet_linear" / f"sub-A_ses-M00_trc-18FFDG_{end}_pat-ad_deg-30_pet.nii.gz")
    write(
        tmp_path / "caps/subjects/sub-B/ses-M000/pet-linear" / f"sub-B_ses-M000_task-rest_acq-fdg_pet_{end}_pet.nii.gz"
    )
    progress = Heard()
    table = simulate(tmp_path / "caps", ["pca"], [0.3], tmp_path / "out", progress)
    assert list(table["participant_id"]) == ["sub-A", "sub-B"]
    assert list(table["session_id"]) == ["ses-M00", "ses-M000"]
    stems = [
        f"subjects/sub-A/ses-M00/pet_linear/sub-A_ses-M00_trc-18FFDG_rec-uniform_{end}",
        f"subjects/sub-B/ses-M000/pet_linear/sub-B_ses-M000_task-rest_acq-fdg_pet_{end}",
    ]
    assert list(table["altered"]) == [f"{stem}_anomaly-pca_severity-30_pet.nii.gz" for stem in stems]
    assert all((tmp_path / "out" / file).is_file() for file in [*table["altered"], *table["mask"], *table["reduction"]])
    (notice,) = progress.notices
    assert notice.startswith(f"{tmp_path / 'caps'}: ") and "2 PET files" in notice


def bad_severity(value: float) -> Callable[[Path], tuple[Path, list[str], list[float]]]:
    return lambda folder: (write(folder / "a.nii.gz"), ["ad"], [0.3, value])


def unknown_anomaly(folder: Path) -> tuple[Path, list[str], list[float]]:
    return write(folder / "a.nii.gz"), ["ad", "lvpa"], [0.3]


def nothing_asked(folder: Path) -> tuple[Path, list[str], list[float]]:
    return write(folder / "a.nii.gz"), [], [0.3]


def no_file(folder: Path) -> tuple[Path, list[str], list[float]]:
    return folder / "absent.nii.gz", ["ad"], [0.3]


def no_table(folder: Path) -> tuple[Path, list[str], list[float]]:
    return folder / "absent.tsv", ["ad"], [0.3]


def not_caps(folder: Path) -> tuple[Path, list[str], list[float]]:
    return folder, ["ad"], [0.3]


def not_nifti(folder: Path) -> tuple[Path, list[str], list[float]]:
    (folder / "a.nii.gz").write_bytes(b"no NIfTI at all")
    return folder / "a.nii.gz", ["ad"], [0.3]


def a_series(folder: Path) -> tuple[Path, list[str], list[float]]:
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 4, 4, 3), dtype=np.float32), LAS), folder / "a.nii.gz")
    return folder / "a.nii.gz", ["ad"], [0.3]


def not_mni(folder: Path) -> tuple[Path, list[str], list[float]]:
    return write(folder / "a.nii.gz", affine=LAS + shift(300)), ["ad"], [0.3]


def with_nan(folder: Path) -> tuple[Path, list[str], list[float]]:
    data = np.ones(SHAPES["LAS"], dtype=np.float32)
    data[0, 0, 0] = np.nan
    nibabel.save(nibabel.Nifti1Image(data, LAS), folder / "a.nii.gz")
    return folder / "a.nii.gz", ["ad"], [0.3]


def nowhere(folder: Path) -> tuple[Path, list[str], list[float]]:
    return placed(folder / "a.nii.gz", None, None, (0, 0), "mm"), ["ad"], [0.3]


def rows(*lines: str) -> Callable[[Path], tuple[Path, list[str], list[float]]]:
    def make(folder: Path) -> tuple[Path, list[str], list[float]]:
        write(folder / "a.nii.gz")
        write(folder / "a_pet.nii.gz")
        (folder / "scans.tsv").write_text("".join(line + "\n" for line in lines))
        return folder / "scans.tsv", ["ad"], [0.3]

    return make


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (bad_severity(0.0), r"severity 0 .*; give 0\.3 for 30 %"),
        (bad_severity(30), r"severity 30 .*give 0\.3 for 30 %"),
        (bad_severity(-0.1), r"severity -0\.1"),
        (bad_severity(float("nan")), "severity nan"),
        (bad_severity(1 / 3), "more than three decimals of a percent"),
        (unknown_anomaly, "'lvpa'; did you mean 'lvppa'"),
        (nothing_asked, "at least one --anomaly"),
        (no_file, r"absent\.nii\.gz: no such file"),
        (no_table, r"absent\.tsv: no such file; give a \.tsv or \.csv table"),
        (not_caps, "no subjects/.*give a CAPS tree or a file"),
        (not_nifti, r"a\.nii\.gz: .*"),
        (a_series, r"a\.nii\.gz: is 4D"),
        (nowhere, r"a\.nii\.gz: its sform_code and qform_code are 0"),
        (not_mni, r"a\.nii\.gz: no voxel of the 'ad' mask .* its affine is probably not MNI"),
        (rows("file", "a.nii.gz"), r"scans\.tsv: has no column 'path'; known are: file"),
        (rows("path"), r"scans\.tsv: has no rows"),
        (rows(), r"scans\.tsv: is empty"),
        (rows("participant_id\tpath", "sub-1\ta.nii.gz", "sub-2\t"), r"scans\.tsv: line 3 has no path"),
        (rows("path", "a.nii.gz", "absent.nii.gz"), r"absent\.nii\.gz: no such file"),
        (rows("path", "a.nii.gz", "a_pet.nii.gz"), r"a\.nii\.gz and a_pet\.nii\.gz .* a_\.\.\."),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    tmp_path: Path, make: Callable[[Path], tuple[Path, list[str], list[float]]], reason: str
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    source, anomalies, severities = make(folder)
    with pytest.raises(InputError, match=reason) as refused:
        simulate(source, anomalies, severities, tmp_path / "out", Silent())
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_nan_is_refused_or_set_to_zero(tmp_path: Path) -> None:
    source, anomalies, severities = with_nan(tmp_path)
    with pytest.raises(InputError, match=r"a\.nii\.gz: 1 voxel is NaN .*nan=zero.*--nan zero"):
        simulate(source, anomalies, severities, tmp_path / "out", Silent())
    assert not list((tmp_path / "out").iterdir())
    table = simulate(source, anomalies, severities, tmp_path / "out", Silent(), nan="zero")
    altered = nibabel.load(tmp_path / "out" / table["altered"][0]).get_fdata()
    assert altered[0, 0, 0] == 0 and np.isfinite(altered).all()


def test_an_output_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match=r"a\.nii\.gz: cannot write here"):
        simulate(source, ["ad"], [0.3], source, Silent())
    assert sorted(tmp_path.iterdir()) == [source]


def test_a_misplaced_brain_is_told(tmp_path: Path) -> None:
    centre = apply_affine(LAS, np.indices(SHAPES["LAS"]).reshape(3, -1).T)
    ball = (np.linalg.norm((centre - (0, -17, 10)) / (75, 92, 75), axis=1) < 1).reshape(SHAPES["LAS"])
    for name, affine, told in (("good", LAS, 0), ("bad", LAS + shift(45), 1)):
        nibabel.save(nibabel.Nifti1Image(ball.astype(np.float32), affine), tmp_path / f"{name}.nii.gz")
        progress = Heard()
        simulate(tmp_path / f"{name}.nii.gz", ["lvppa"], [0.3], tmp_path / "out", progress)
        assert len(progress.warnings) == told
        assert all("is its affine MNI?" in text for text in progress.warnings)


def test_a_real_template_stored_from_right_to_left(tmp_path: Path) -> None:
    source = REAL / "fdg-mean_dellarosa-2014.nii.gz"
    if not source.is_file():
        pytest.skip("the real FDG template is not here")
    progress = Heard()
    row = simulate(source, ["lvppa"], [0.3], tmp_path, progress).iloc[0]
    before, altered = nibabel.load(source), nibabel.load(tmp_path / row["altered"])
    assert nibabel.aff2axcodes(altered.affine) == ("L", "A", "S")
    np.testing.assert_array_equal(altered.affine, before.affine)
    lost = np.maximum(before.get_fdata() - altered.get_fdata(), 0)
    assert world_centre(nibabel.Nifti1Image(lost, altered.affine))[0] < -10
    assert 0.15 < row["effective_reduction"] < 0.2
    assert not progress.warnings


def test_a_real_template_whose_affine_is_not_mni_is_told(tmp_path: Path) -> None:
    source = REAL / "fdg-mean_dlut-cn_affine-not-mni.nii.gz"
    if not source.is_file():
        pytest.skip("the real FDG template is not here")
    progress = Heard()
    simulate(source, ["lvppa"], [0.3], tmp_path, progress)
    assert "68% of the MNI brain" in progress.warnings[0]
