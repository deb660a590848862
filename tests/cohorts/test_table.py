"""Tables of NIfTI files: any columns, orientation, voxel size and unit give the same scans, or a line that helps."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from uadbench.cohorts.base import COLUMNS, Cohort
from uadbench.cohorts.intake import gather
from uadbench.cohorts.io.export import CAPS_GRID
from uadbench.cohorts.opening import open_cohort
from uadbench.cohorts.phantom import Phantom
from uadbench.cohorts.table import Table
from uadbench.errors import InputError
from uadbench.runtime.progress import Silent
from uadbench.types import Grid

PAPER = Grid((80, 96, 80), 2.0, (-80.0, -111.0, -70.0))
ROWS = "participant_id,session_id,path,diagnosis,age,sex\nb,ses-M000,b.nii,AD,71.5,M\na,ses-M012,a1.nii,CN,66,F\n"
ROWS += "a,ses-M000,a0.nii,CN,65,F\n"


def field(grid: Grid) -> np.ndarray:
    """Uptake that rises evenly, differently along each axis: linear interpolation gives it on any lattice."""
    x, y, z = (grid.origin[k] + grid.voxel_mm * np.arange(grid.shape[k]) for k in range(3))
    return (1 + 0.001 * x[:, None, None] + 0.002 * y[:, None] + 0.003 * z).astype(np.float32)


def save(file: Path, data: np.ndarray, affine: np.ndarray) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(data, affine), file)
    return file


def write(file: Path, text: str, mark: str = ",") -> Path:
    file.write_text(text.replace(",", mark))
    return file


@pytest.fixture(scope="module")
def scan(tmp_path_factory) -> Path:
    """One phantom scan at 1 mm."""
    phantom = Phantom(participants=1, patients=0)
    (made,) = phantom.scans(CAPS_GRID, phantom.participants.iloc[[0]])
    return save(tmp_path_factory.mktemp("table") / "scan.nii", made.data, made.affine)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two participants with three scans on the paper's grid, and a table of them."""
    for number, name in enumerate(("b", "a1", "a0"), start=1):
        save(tmp_path / f"{name}.nii", number * field(PAPER), PAPER.affine)
    write(tmp_path / "scans.csv", ROWS)
    return tmp_path


def one(folder: Path, file: Path, options: str = "") -> np.ndarray:
    """The image that a table of one file gives on the paper's grid."""
    write(folder / "one.csv", f"participant_id,path,diagnosis\na,{file},CN\n")
    cohort = open_cohort(f"{folder / 'one.csv'}{options}")
    (read,) = cohort.scans(PAPER, cohort.participants)
    return read.data


# --- who is in it


def test_tsv_and_csv(folder):
    write(folder / "scans.tsv", ROWS, "\t")
    write(folder / "SCANS.TSV", ROWS, "\t")
    for name in ("scans.csv", "scans.tsv", "SCANS.TSV"):
        cohort = open_cohort(str(folder / name))
        assert isinstance(cohort, Table) and isinstance(cohort, Cohort) and not cohort.public
        assert tuple(cohort.participants.columns) == COLUMNS
        assert cohort.participants.iloc[:, :5].to_numpy().tolist() == [
            ["a", "ses-M000", "CN", 65.0, "F"],
            ["a", "ses-M012", "CN", 66.0, "F"],
            ["b", "ses-M000", "AD", 71.5, "M"],
        ]
        means = [scan.data.mean() for scan in cohort.scans(PAPER, cohort.participants)]
        np.testing.assert_allclose(means, [3 * field(PAPER).mean(), 2 * field(PAPER).mean(), field(PAPER).mean()])


def test_columns_by_their_own_names(folder):
    text = "Subject,Visit,file,DX,Years,PTGENDER,Where,Scan Ner,MMSCORE,AB\n"
    text += "a,bl,a0.nii,CN,65,Female,Paris,mCT,30,neg\nb,m12,b.nii,Dementia,71.5,male,n/a,,-4,pos\n"
    write(folder / "scans.csv", text)
    options = (
        "image=file,diagnosis=DX,participant=Subject,session=visit,age=years,site=Where,scanner=Scan Ner,amyloid=AB"
    )
    cohort = open_cohort(f"{folder / 'scans.csv'}:{options}")
    first, second = cohort.participants.to_numpy().tolist()
    assert first == ["a", "ses-M000", "CN", 65.0, "F", "Paris", "mCT", "neg", 30.0]
    assert second[:-1] == ["b", "ses-M012", "Dementia", 71.5, "M", "", "", "pos"] and np.isnan(second[-1])
    (read, _) = cohort.scans(PAPER, cohort.participants)
    assert (read.key, read.group, read.site, read.scanner, read.mmse) == (("a", "ses-M000"), "CN", "Paris", "mCT", 30.0)


def test_names_that_everybody_knows_need_no_option(folder):
    write(folder / "scans.csv", "participant_id,path,DX_bl,AGE,Gender,SITE_ID,MMS\na,a0.nii,CN,65,f,12,29\n")
    (row,) = open_cohort(str(folder / "scans.csv")).participants.to_numpy().tolist()
    assert row == ["a", "ses-M000", "CN", 65.0, "F", "12", "", "", 29.0]


@pytest.mark.parametrize("other", ["\u00c4nne", "a\u0308NNE"])
def test_one_name_in_two_spellings_of_unicode(other, folder):
    one = "A\u0308nne"
    write(folder / "scans.csv", f"participant_id,path,diagnosis\n{one},a0.nii,CN\n{other},b.nii,AD\n")
    with pytest.raises(InputError, match=re.escape(f"{one!a} and {other!a}")):
        open_cohort(str(folder / "scans.csv"))


@pytest.mark.parametrize("sign", ["\u200b", "\u202e", "\u00ad", "\x1b"])
def test_ids_with_signs_that_nobody_sees(sign, folder):
    write(folder / "scans.csv", f"participant_id,path,diagnosis\na{sign},a0.nii,CN\nb,b.nii,AD\n")
    with pytest.raises(InputError, match="has the id") as refused:
        open_cohort(str(folder / "scans.csv"))
    assert sign not in str(refused.value)


def test_without_sessions_everything_is_baseline(folder):
    write(folder / "scans.csv", "participant_id,path,diagnosis\nb,b.nii,AD\na,a0.nii,CN\n")
    people = open_cohort(str(folder / "scans.csv")).participants
    assert list(zip(people.participant_id, people.session_id, strict=True)) == [("a", "ses-M000"), ("b", "ses-M000")]
    assert people.age.isna().all() and set(people.sex) == {""}


def test_sessions_as_adni_spells_them_and_age_at_baseline(folder):
    text = (
        "participant_id,session_id,path,diagnosis,age_bl\na,bl,a0.nii,CN,65.2\na,m12,a1.nii,CN,65.2\nb,M6,b.nii,AD,70\n"
    )
    write(folder / "scans.csv", text)
    people = open_cohort(str(folder / "scans.csv")).participants
    assert list(people.session_id) == ["ses-M000", "ses-M012", "ses-M006"] and list(people.age) == [65.2, 66.2, 70.5]


def test_paths_are_relative_to_the_table_or_absolute(folder, tmp_path_factory, monkeypatch):
    elsewhere = save(tmp_path_factory.mktemp("elsewhere") / "b.nii", 7 * field(PAPER), PAPER.affine)
    save(folder / "below" / "a0.nii", 3 * field(PAPER), PAPER.affine)
    (folder / "below" / "a1.nii").symlink_to(folder / "a1.nii")
    text = "participant_id,session_id,path,diagnosis\n"
    text += f"a,M0,../below/a0.nii,CN\na,M12,../below/a1.nii,CN\nb,M0,{elsewhere},AD\n"
    (folder / "tables").mkdir()
    write(folder / "tables" / "scans.csv", text)
    monkeypatch.chdir(folder / "below")  # where somebody stands does not matter
    cohort = open_cohort("../tables/scans.csv")
    found = [scan.data[40, 48, 40] / field(PAPER)[40, 48, 40] for scan in cohort.scans(PAPER, cohort.participants)]
    np.testing.assert_allclose(found, [3, 2, 7])


def test_name_tells_who_is_in_it_and_not_where(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("lab")
    write(other / "ours.tsv", ROWS.replace(".nii", ".nii.gz"), "\t")
    first, second = open_cohort(str(folder / "scans.csv")), open_cohort(str(other / "ours.tsv"))
    assert first.name == second.name and re.fullmatch("table-[0-9a-f]{8}", first.name)
    assert open_cohort(f"{folder / 'scans.csv'}:name=ADNI-3_v1.2").name == "ADNI-3_v1.2"
    with pytest.raises(InputError, match="cohort name 'a b': use letters"):
        open_cohort(f"{folder / 'scans.csv'}:name=a b")


def test_another_option_is_another_version(folder):
    place = folder / "scans.csv"
    options = ("", ":nan=zero", ":suvr=cerebellum-pons", ":nan=zero,suvr=cerebellum-pons")
    assert len({open_cohort(f"{place}{option}").version for option in options}) == 4
    cohort = open_cohort(str(place))
    before = cohort.scan_keys(cohort.participants)
    save(folder / "a1.nii", 9 * field(PAPER), PAPER.affine)
    after = open_cohort(str(place)).scan_keys(cohort.participants)
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True]


# --- where and how large its voxels are


@pytest.mark.parametrize("voxel_mm", [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("turn", ["RAS", "LAS", "LPI", "PIR"])
def test_any_lattice_is_put_on_the_grid(turn, voxel_mm, tmp_path):
    """A file of other voxels and axes gives the field where its affine says that it is."""
    shape = tuple(int(170 / voxel_mm) + 25 for _ in range(3))
    stored = Grid(shape, voxel_mm, (-85.0, -115.0, -75.0))
    image = nibabel.Nifti1Image(field(stored), stored.affine)
    codes = nibabel.orientations
    move = codes.ornt_transform(codes.axcodes2ornt("RAS"), codes.axcodes2ornt(turn))
    image = image.as_reoriented(move)
    assert "".join(nibabel.aff2axcodes(image.affine)) == turn
    nibabel.save(image, tmp_path / "a.nii")
    np.testing.assert_allclose(one(tmp_path, tmp_path / "a.nii"), field(PAPER), atol=1e-5)


def test_an_oblique_file_is_put_on_the_grid(tmp_path):
    from scipy.spatial.transform import Rotation

    affine = np.eye(4)
    affine[:3, :3] = 2 * Rotation.from_euler("xyz", [4, -3, 5], degrees=True).as_matrix()
    affine[:3, 3] = affine[:3, :3] @ [-60, -70, -55]
    places = np.stack(np.meshgrid(*(np.arange(n) for n in (120, 130, 115)), indexing="ij"), axis=-1)
    where = places @ affine[:3, :3].T + affine[:3, 3]
    data = (1 + where @ [0.001, 0.002, 0.003]).astype(np.float32)
    save(tmp_path / "a.nii", data, affine)
    np.testing.assert_allclose(one(tmp_path, tmp_path / "a.nii"), field(PAPER), atol=1e-4)


def test_a_scan_of_any_orientation_and_container_is_the_same(scan, tmp_path):
    """A phantom at 1 mm, as it is, right to left, at 2 mm, packed, in integers with a slope."""
    image = nibabel.load(scan)
    data = np.asarray(image.dataobj)
    expected = data[4:164:2, 8:200:2, 8:168:2]
    np.testing.assert_array_equal(one(tmp_path, scan), expected)
    las = CAPS_GRID.affine
    las[0] = [-1, 0, 0, CAPS_GRID.origin[0] + CAPS_GRID.shape[0] - 1]
    np.testing.assert_array_equal(one(tmp_path, save(tmp_path / "las.nii", data[::-1], las)), expected)
    coarse = CAPS_GRID.affine
    coarse[:3, :3] *= 2
    packed = save(tmp_path / "2mm.nii.gz", data[::2, ::2, ::2], coarse)
    np.testing.assert_array_equal(one(tmp_path, packed), expected)
    whole = nibabel.Nifti1Image(data[::2, ::2, ::2], coarse)
    whole.set_data_dtype(np.int16)
    nibabel.save(whole, tmp_path / "int16.nii")
    np.testing.assert_allclose(one(tmp_path, tmp_path / "int16.nii"), expected, atol=1e-4)


# --- its unit and its space


def test_suvr_does_away_with_the_unit(scan, tmp_path):
    """Bq/ml or SUVR: divided by cerebellum and pons a scan is the same, and that of a phantom is as it was made."""
    image = nibabel.load(scan)
    data = np.asarray(image.dataobj)
    raw = save(tmp_path / "raw.nii", data * np.float32(5000), image.affine)
    write(tmp_path / "t.csv", f"participant_id,path,diagnosis\na,{scan},CN\nb,{raw},CN\n")
    cohort = open_cohort(f"{tmp_path / 't.csv'}:suvr=cerebellum-pons")
    suvr, other = cohort.scans(PAPER, cohort.participants)
    np.testing.assert_allclose(other.data, suvr.data, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(other.extent, suvr.extent, rtol=1e-5, atol=1e-6)
    unit = suvr.data[suvr.data > 0.5] / one(tmp_path, scan)[suvr.data > 0.5]
    assert np.ptp(unit) < 1e-5 and abs(unit.mean() - 1) < 0.03
    as_is = one(tmp_path, raw)
    np.testing.assert_allclose(as_is[as_is > 2500], 5000 * one(tmp_path, scan)[as_is > 2500], rtol=1e-6)


def test_no_reference_region_is_told(tmp_path):
    above = np.where(np.arange(PAPER.shape[2]) > 60, field(PAPER), 0)
    file = save(tmp_path / "a.nii", above.astype(np.float32), PAPER.affine)
    with pytest.raises(InputError, match=r"a\.nii: no uptake in cerebellum and pons; is it in MNI space"):
        one(tmp_path, file, ":suvr=cerebellum-pons,space=trust")


def test_what_is_not_in_mni_space_is_refused_or_trusted(scan, tmp_path):
    image = nibabel.load(scan)
    moved = image.affine.copy()
    moved[1, 3] += 60
    file = save(tmp_path / "a.nii", np.asarray(image.dataobj), moved)
    with pytest.raises(InputError, match=r"a\.nii: it fills only \d\d% of the MNI brain.*space=trust"):
        one(tmp_path, file)
    trusted = one(tmp_path, file, ":space=trust")
    np.testing.assert_array_equal(trusted[:, 30:], one(tmp_path, scan)[:, :-30])


class Heard(Silent):
    """Progress that remembers its warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, text: str) -> None:
        self.warnings.append(text)


def test_scans_with_two_affines_are_told_in_one_line(folder, monkeypatch, tmp_path):
    """Once: when they are read, and not when they come from the cache."""
    monkeypatch.setenv("UADBENCH_CACHE", str(tmp_path / "cache"))
    elsewhere = PAPER.affine
    elsewhere[1:3, 3] += (9, 12)
    for name in ("a0", "b"):
        image = nibabel.Nifti1Image(field(PAPER), PAPER.affine)
        image.set_qform(elsewhere, code=1)
        nibabel.save(image, folder / f"{name}.nii")
    table, progress = Table(folder / "scans.csv"), Heard()
    stack = gather(table, PAPER, table.participants, progress)
    np.testing.assert_array_equal(stack.scan(0).data, field(PAPER))
    (line,) = progress.warnings
    assert str(folder / "a0.nii") in line and "15.0 mm" in line and "0.0 degrees" in line and "first of 2" in line
    gather(table, PAPER, table.participants, progress)
    assert len(progress.warnings) == 1


def test_nan_is_refused_or_zero(tmp_path):
    data = field(PAPER)
    data[0, 0, 0], data[40, 40, 40] = np.nan, np.inf
    file = save(tmp_path / "a.nii", data, PAPER.affine)
    with pytest.raises(InputError, match="2 voxels are NaN or infinite"):
        one(tmp_path, file)
    assert one(tmp_path, file, ":nan=zero")[40, 40, 40] == 0


# --- every error in one line


def changed(old: str, new: str) -> Callable[[Path], str]:
    """The table with something else in it."""

    def change(folder: Path) -> str:
        assert old in ROWS
        write(folder / "scans.csv", ROWS.replace(old, new))
        return str(folder / "scans.csv")

    return change


def options(text: str) -> Callable[[Path], str]:
    return lambda folder: f"{folder / 'scans.csv'}:{text}"


def content(raw: bytes) -> Callable[[Path], str]:
    def put(folder: Path) -> str:
        (folder / "scans.csv").write_bytes(raw)
        return str(folder / "scans.csv")

    return put


def nowhere(folder: Path) -> str:
    (folder / "scans.csv").unlink()
    return str(folder / "scans.csv")


def a_folder(folder: Path) -> str:
    nowhere(folder)
    (folder / "scans.csv").mkdir()
    return str(folder / "scans.csv")


BAD = {
    "no table": (nowhere, "no such file; give a .tsv or .csv table"),
    "a folder": (a_folder, "is a folder; give a .tsv or .csv table"),
    "empty": (content(b""), "is empty"),
    "binary": (content(b"\xff\xfe\x00a"), "not UTF-8"),
    "no rows": (content(ROWS.split("\n")[0].encode()), "has no rows"),
    "tabs in a csv": (content(ROWS.replace(",", "\t").encode()), "separated by tabs.*name it .tsv"),
    "no image column": (changed(",path,", ",paht,"), "has no column 'path'; did you mean 'paht'"),
    "no participants": (changed("participant_id", "who"), "has no column 'participant_id'.*(known are|did you mean)"),
    "no diagnoses": (changed("diagnosis", "verdict"), "no column of diagnoses; .*PATH:diagnosis=COL.*verdict"),
    "another image column": (options("image=file"), "has no column 'file'"),
    "another session column": (options("session=visit"), "has no column 'visit'"),
    "another diagnosis": (options("diagnosis=DXX"), "has no column 'DXX'"),
    "another age": (options("age=years"), "has no column 'years'"),
    "no participant": (changed("\nb,", "\n,"), "line 2: has no participant_id"),
    "no image": (changed("a1.nii", ""), "line 3: has no path"),
    "twice": (changed("ses-M012", "M0"), "line 4: a ses-M000 has two rows"),
    "bad age": (changed("71.5", "71;5"), "line 2: b has age '71;5'; write years as a number, or n/a"),
    "decimal comma": (changed("71.5", '"71,5"'), "line 2: b has age '71,5'; write 71.5"),
    "too many cells": (changed("CN,66,F", "CN,66,F,x"), "line 3 has 7 cells"),
    "the same file twice": (changed("a1.nii", "a0.nii"), "line 4: a ses-M000 has the same file as a ses-M012"),
    "a rounded id": (changed("\nb,", "\n9.41E+17,"), "line 2: has the id 9.41E\\+17"),
    "codes of a change": (changed("diagnosis,age", "DXCHANGE,age"), "PATH:diagnosis=COLUMN.*DXCHANGE"),
    "codes that are chosen": (
        lambda f: changed("diagnosis,age", "DXCHANGE,age")(f) + ":diagnosis=DXCHANGE", "'DXCHANGE' contains codes"
    ),
    "unknown option": (options("imag=file"), "cohort table has no option 'imag'; its options: path, image, "),
    "no such unit": (options("suvr=pons"), "cohort table.suvr='pons' is not of type"),
    "no such space": (options("space=mni"), "cohort table.space='mni' is not of type"),
    "no path": (lambda folder: "table:image=file", "cohort table needs 'path'; give the folder of a CAPS tree"),
    "another kind of file": (lambda folder: str(folder / "b.nii"), "or a table of scans with tabs"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_tables(kind, folder):
    make, expected = BAD[kind]
    reference = make(folder)
    with pytest.raises(InputError) as caught:
        open_cohort(reference)
    told = str(caught.value)
    assert re.search(expected, told) and "\n" not in told, told
    if "column" not in expected and not told.startswith("cohort"):
        assert told.startswith(reference.split(":")[0])


def test_decimal_commas_in_a_csv_are_no_silent_shift(folder):
    """65,5 is two runs of a CSV: an age of 65, and an MMSE of 5."""
    text = "participant_id,path,diagnosis,age,mmse\na,a0.nii,CN,65,5,29\nb,b.nii,AD,71,5,20\n"
    with pytest.raises(InputError, match=r"scans\.csv: line 2 has 6 cells"):
        open_cohort(str(write(folder / "scans.csv", text)))


SCANS = {
    "missing": (lambda file: file.unlink(), "no such file"),
    "a folder": (lambda file: (file.unlink(), file.mkdir()), "a folder, not a file"),
    "text": (lambda file: file.write_text("x"), "not a readable NIfTI file"),
    "cut short": (lambda file: file.write_bytes(file.read_bytes()[:-99]), "corrupted or truncated"),
    "4D": (lambda file: save(file, np.ones((4, 4, 4, 3), np.float32), np.eye(4)), "is 4D, shape 4 x 4 x 4 x 3"),
    "constant": (lambda file: save(file, np.ones((9, 9, 9), np.float32), np.eye(4)), "every voxel is 1"),
}


@pytest.mark.parametrize("kind", SCANS)
def test_bad_scans(kind, folder):
    damage, expected = SCANS[kind]
    cohort = open_cohort(str(folder / "scans.csv"))
    damage(folder / "a1.nii")
    with pytest.raises(InputError) as caught:
        list(cohort.scans(PAPER, cohort.participants))
    told = str(caught.value)
    assert told.startswith(str(folder / "a1.nii")) and re.search(expected, told) and "\n" not in told
    whole = pd.concat([cohort.participants.iloc[[0]], cohort.participants.iloc[[2]]])
    assert len(list(cohort.scans(PAPER, whole))) == 2, "the others can be used"
