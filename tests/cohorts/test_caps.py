"""CAPS trees: written and read back, found in every spelling, refused with a line that helps."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from uadbench.cohorts.base import COLUMNS, Cohort, content_key
from uadbench.cohorts.caps import Caps
from uadbench.cohorts.findings import ScanError
from uadbench.cohorts.intake import gather
from uadbench.cohorts.io.export import CAPS_GRID, export_caps, scan_path
from uadbench.cohorts.io.forms import mni
from uadbench.cohorts.io.nifti import write_volume
from uadbench.cohorts.opening import open_cohort
from uadbench.cohorts.phantom import Phantom
from uadbench.cohorts.splits.roles import Roles
from uadbench.errors import InputError
from uadbench.runtime.progress import Silent
from uadbench.types import Grid

PAPER = Grid((80, 96, 80), 2.0, (-80.0, -111.0, -70.0))
SMALL = Grid((4, 4, 4), 2.0, (0.0, 0.0, 0.0))
PEOPLE = 3
REAL = Path(__file__).parents[3] / "shared" / "real" / "fdg-mean_dellarosa-2014.nii.gz"


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return Phantom(participants=PEOPLE, patients=0)


@pytest.fixture(scope="module")
def exported(phantom, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "tree"
    export_caps(phantom, phantom.participants, folder, Silent())
    return folder


def place(tree: Path, participant: str, session: str, name: str = "", folder: str = "pet_linear") -> Path:
    """A small scan in a tree."""
    path = tree / scan_path(participant, session)
    path = path.parents[1] / folder / (name or path.name)
    data = 0.8 + 0.2 * np.random.default_rng(len(path.name)).random((4, 4, 4), dtype=np.float32)
    write_volume(path, data, mni(SMALL.affine))
    return path


def table(tree: Path, text: str, name: str = "participants.tsv") -> None:
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_text(re.sub(" +", "\t", text.strip()) + "\n")


@pytest.fixture
def tree(tmp_path) -> Path:
    """Two participants; the first with two sessions."""
    for participant, session in (("sub-1", "ses-M000"), ("sub-1", "ses-M012"), ("sub-2", "ses-M000")):
        place(tmp_path / "tree", participant, session)
    table(tmp_path / "tree", "participant_id diagnosis age_bl sex\nsub-1 CN 70 F\nsub-2 AD 65.5 M")
    return tmp_path / "tree"


# --- what the phantom writes, Caps reads


@pytest.mark.slow
def test_export_looks_like_clinicas(exported, phantom):
    names = sorted(path.relative_to(exported).as_posix() for path in exported.rglob("*.nii.gz"))
    assert names[0] == (
        "subjects/sub-P0001/ses-M000/pet_linear/sub-P0001_ses-M000_trc-18FFDG_space-MNI152NLin2009cSym_desc-Crop"
        "_res-1x1x1_suvr-cerebellumPons2_pet.nii.gz"
    )
    image = nibabel.load(exported / names[0])
    assert image.shape == CAPS_GRID.shape and image.get_data_dtype() == np.float32
    np.testing.assert_array_equal(image.affine, CAPS_GRID.affine)
    assert list(pd.read_csv(exported / "sessions.tsv", sep="\t").columns[:4]) == [
        "participant_id", "session_id", "diagnosis", "age",
    ]  # fmt: skip
    assert len(pd.read_csv(exported / "participants.tsv", sep="\t")) == PEOPLE


def test_export_and_phantom_are_one_cohort(exported, phantom):
    """Sampled on the paper's grid, the 1 mm tree gives what the phantom itself gives, number for number."""
    caps = Caps(exported)
    assert isinstance(caps, Cohort)
    pd.testing.assert_frame_equal(caps.participants, phantom.participants, check_dtype=False)
    pairs = zip(caps.scans(PAPER, caps.participants), phantom.scans(PAPER, phantom.participants), strict=True)
    for read, made in pairs:
        np.testing.assert_allclose(read.data, made.data, atol=1e-5)
        np.testing.assert_allclose(read.extent, made.extent, atol=1e-5)
        assert (read.key, read.age, read.sex, read.site, read.group, read.mmse) == (
            made.key, made.age, made.sex, made.site, made.group, made.mmse,
        )  # fmt: skip


def test_through_the_cache(exported):
    caps = Caps(exported)
    stack = gather(caps, PAPER, caps.participants.iloc[[2, 0]], Silent())
    expected = list(caps.scans(PAPER, caps.participants.iloc[[2, 0]]))
    for index, scan in enumerate(expected):
        np.testing.assert_array_equal(stack.scan(index).data, scan.data)
        assert stack.scan(index).extent == scan.extent


def test_las_file_is_put_right(exported, phantom, tmp_path):
    """A tree whose file is stored right to left gives the same scan: left stays left."""
    source = nibabel.load(exported / scan_path("sub-P0001", "ses-M000"))
    las = CAPS_GRID.affine
    las[0] = [-1, 0, 0, CAPS_GRID.origin[0] + CAPS_GRID.shape[0] - 1]
    path = tmp_path / scan_path("sub-P0001", "ses-M000")
    path.parent.mkdir(parents=True)
    nibabel.Nifti1Image(np.asarray(source.dataobj)[::-1].copy(), las).to_filename(path)
    shutil.copy(exported / "sessions.tsv", tmp_path)
    (read,) = Caps(tmp_path).scans(PAPER, Caps(tmp_path).participants)
    (made,) = phantom.scans(PAPER, phantom.participants.iloc[[0]])
    np.testing.assert_allclose(read.data, made.data, atol=1e-5)
    assert not np.allclose(read.data, made.data[::-1], atol=0.05)


@pytest.mark.skipif(not REAL.exists(), reason="the real average is not here")
def test_real_average_lies_where_the_phantom_lies(phantom):
    from uadbench.cohorts.io.nifti import read_volume
    from uadbench.space import atlas

    real = read_volume(REAL)
    moved = atlas.resample(real.data, real.affine, PAPER.affine, PAPER.shape)
    mean = np.mean([scan.data for scan in phantom.scans(PAPER, phantom.participants)], axis=0)
    brain = atlas.brain_mask(PAPER)
    assert np.corrcoef(moved[brain], mean[brain])[0, 1] > 0.7  # three people; the card has the whole cohort


# --- exporting again


def test_export_is_completed_and_whole_files_are_kept(exported, phantom, tmp_path):
    shutil.copytree(exported, tmp_path / "copy")
    kept, gone, cut = ((tmp_path / "copy") / scan_path(f"sub-P000{k}", "ses-M000") for k in (1, 2, 3))
    gone.unlink()
    raw = cut.read_bytes()
    cut.write_bytes(raw[: len(raw) // 2])
    before = kept.stat().st_mtime_ns
    export_caps(phantom, phantom.participants, tmp_path / "copy", Silent())
    assert kept.stat().st_mtime_ns == before
    assert cut.read_bytes() == raw
    assert gone.read_bytes() == (exported / gone.relative_to(tmp_path / "copy")).read_bytes()


def test_export_in_parts_keeps_the_tables(phantom, tmp_path):
    export_caps(phantom, phantom.participants.iloc[[1]], tmp_path / "t", Silent())
    one = (tmp_path / "t" / "sessions.tsv").read_text()
    export_caps(phantom, phantom.participants.iloc[[0]], tmp_path / "t", Silent())
    assert set(one.splitlines()) < set((tmp_path / "t" / "sessions.tsv").read_text().splitlines())
    assert list(Caps(tmp_path / "t").participants.age) == list(phantom.participants.age[:2])


def test_export_refuses_other_folders(exported, phantom, tmp_path, tree):
    rows = phantom.participants
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="not a CAPS tree"):
        export_caps(phantom, rows, tmp_path / "full", Silent())
    with pytest.raises(InputError, match="another CAPS tree"):
        export_caps(phantom, rows, tree, Silent())
    with pytest.raises(InputError, match="another CAPS tree"):
        export_caps(Phantom(seed=7, participants=3, patients=0), rows, exported, Silent())
    with pytest.raises(InputError, match="is a file"):
        export_caps(phantom, rows, tmp_path / "full" / "thesis.tex", Silent())


# --- trees of others


def test_tables(tree):
    people = Caps(tree).participants
    assert tuple(people.columns) == COLUMNS
    assert people.mmse.isna().all()
    assert people.drop(columns="mmse").to_numpy().tolist() == [
        ["sub-1", "ses-M000", "CN", 70.0, "F", "", "", ""],
        ["sub-1", "ses-M012", "CN", 71.0, "F", "", "", ""],
        ["sub-2", "ses-M000", "AD", 65.5, "M", "", "", ""],
    ]


def test_columns_by_other_names(tree):
    table(
        tree,
        "Participant_ID DX AGE PTGENDER Site_ID manufacturers_model_name amyloid_status MMSCORE\n"
        "sub-1 CN 70 Female 7 mCT A+ 29\nsub-2 AD 65.5 m n/a Ingenuity unknown -4",
    )
    people = Caps(tree).participants
    assert list(people.group) == ["CN", "CN", "AD"] and list(people.sex) == ["F", "F", "M"]
    assert list(people.site) == ["7", "7", ""] and list(people.scanner) == ["mCT", "mCT", "Ingenuity"]
    assert list(people.amyloid) == ["A+", "A+", ""]
    assert people.mmse[0] == 29 and people.mmse[1:].isna().all(), "an MMSE given once is that at baseline"


def test_an_age_at_baseline_in_a_table_of_sessions(tree):
    """ADNI's AGE_BL stands beside every visit, and people age."""
    table(tree, "participant_id session_id dx age_bl\nsub-1 bl CN 70\nsub-1 M12 CN 70\nsub-2 M00 AD 65", "sessions.tsv")
    (tree / "participants.tsv").unlink()
    assert list(Caps(tree).participants.age) == [70, 71, 65]


def test_sessions_outweigh_participants(tree):
    table(tree, "participant_id session_id diagnosis age\nsub-1 ses-M12 MCI 71.3\nsub-2 ses-M00 AD n/a", "sessions.tsv")
    people = Caps(tree).participants
    assert list(people.group) == ["CN", "MCI", "AD"] and list(people.age) == [70.0, 71.3, 65.5]


def test_tables_of_single_subjects(tree):
    (tree / "participants.tsv").unlink()
    table(tree, "session_id diagnosis age\nses-M000 CN 70\nses-M012 CN 71", "subjects/sub-1/sub-1_sessions.tsv")
    table(tree, "session_id diagnosis\nses-M000 CN", "subjects/sub-2/sessions.tsv")
    people = Caps(tree).participants
    assert list(people.age[:2]) == [70, 71] and np.isnan(people.age[2]) and list(people.sex) == ["", "", ""]


@pytest.mark.parametrize("source", ["trc-18FFDG_rec-uniform", "trc-18FFDG_pet", "task-rest_acq-fdg_pet"])
@pytest.mark.parametrize("folder", ["pet_linear", "pet-linear"])
@pytest.mark.parametrize(("session", "ending"), [("ses-M00", "nii.gz"), ("ses-M000", "nii"), ("ses-bl", "nii.gz")])
def test_spellings(tmp_path, source, folder, session, ending):
    name = f"sub-1_{session}_{source}_space-MNI152NLin2009cSym_res-1x1x1_suvr-pons2_pet.nii.gz"
    path = place(tmp_path, "sub-1", session, name, folder)
    if ending == "nii":
        nibabel.load(path).to_filename(path.with_suffix(""))
        path.unlink()
    table(tmp_path, "participant_id session_id diagnosis\nsub-1 M0 cn")
    caps = Caps(tmp_path)
    assert list(caps.participants.group) == ["cn"] and list(caps.participants.session_id) == ["ses-M000"]
    assert len(Roles(("CN",), ("AD",)).healthy_rows(caps.participants)) == 1
    (scan,) = caps.scans(SMALL, caps.participants)
    assert scan.key == ("sub-1", "ses-M000") and scan.data.min() > 0.7


def test_sessions_sort_by_month_however_they_are_spelled(tmp_path):
    for session in ("ses-M6", "ses-M120", "ses-M012", "ses-M00"):
        place(tmp_path, "sub-1", session)
    table(tmp_path, "participant_id diagnosis age\nsub-1 CN 70")
    people = Caps(tmp_path).participants
    assert list(people.session_id) == ["ses-M000", "ses-M006", "ses-M012", "ses-M120"]
    assert list(people.age) == [70, 70.5, 71, 80]


def test_sessions_without_a_month_are_taken_as_they_are(tmp_path):
    for session in ("ses-2", "ses-20150317"):
        place(tmp_path, "sub-1", session)
    table(tmp_path, "participant_id session_id diagnosis age\nsub-1 ses-2 CN 70\nsub-1 ses-20150317 AD 73")
    people = Caps(tmp_path).participants
    assert list(people.session_id) == ["ses-2", "ses-20150317"] and list(people.age) == [70, 73]


def test_one_visit_in_two_folders(tree):
    place(tree, "sub-2", "ses-M00")
    with pytest.raises(InputError, match="sub-2 ses-M000: has 2 scans"):
        Caps(tree)


def test_other_tracers_and_simulated_scans_are_left_out(tree):
    real = scan_path("sub-2", "ses-M000").name
    place(tree, "sub-2", "ses-M000", real.replace("18FFDG", "18FAV45"))
    place(tree, "sub-2", "ses-M000", real.replace("_pet.nii", "_pat-ad_deg-30_pet.nii"))
    place(tree, "sub-2", "ses-M000", real.replace("_pet.nii", "_anomaly-ad_severity-30_pet.nii"))
    caps = Caps(tree)
    assert len(caps.participants) == 3 and caps.files(caps.participants)[2].name == real


def test_another_tracer(tree):
    name = scan_path("sub-2", "ses-M000").name
    place(tree, "sub-2", "ses-M000", name.replace("18FFDG", "18FAV45"))
    caps = open_cohort(f"{tree}:tracer=18fav45")
    (file,) = caps.files(caps.participants)
    assert "18FAV45" in file.name
    with pytest.raises(InputError, match=r"tracer 11CPIB.*18FAV45, 18FFDG.*tracer="):
        open_cohort(f"{tree}:tracer=11CPIB")


def test_of_cropped_and_whole_the_cropped_one(tree):
    cropped = scan_path("sub-2", "ses-M000").name
    place(tree, "sub-2", "ses-M000", cropped.replace("_desc-Crop", ""))
    caps = Caps(tree)
    assert caps.files(caps.participants)[2].name == cropped
    place(tree, "sub-2", "ses-M000", cropped.replace("_desc-Crop", "").replace("pons", "cerebellum"))
    caps.files(caps.participants)[2].unlink()
    caps = Caps(tree)
    assert "Crop" not in caps.files(caps.participants)[2].name


def test_of_packed_and_unpacked_the_packed_one(tree):
    packed = place(tree, "sub-2", "ses-M000")
    nibabel.load(packed).to_filename(packed.with_suffix(""))
    caps = Caps(tree)
    assert caps.files(caps.participants)[2] == packed


def test_name_tells_the_people_and_not_the_folder(tree, tmp_path):
    shutil.copytree(tree, tmp_path / "elsewhere")
    first, second = Caps(tree), Caps(tmp_path / "elsewhere")
    assert first.name == second.name and re.fullmatch("caps-[0-9a-f]{8}", first.name)
    place(tree, "sub-2", "ses-M024")
    assert Caps(tree).name != first.name
    assert not first.public and first.version == Caps(tree).version


def test_name_is_the_users(tree):
    assert open_cohort(f"{tree}:name=ADNI-2.1_fdg").name == "ADNI-2.1_fdg"
    for name in ("my cohort", "a/b", "b:c"):
        with pytest.raises(InputError, match="use letters, digits"):
            Caps(tree, name=name)


def test_content_key_follows_the_files(tree):
    caps = Caps(tree)
    rows = caps.participants
    before = caps.scan_keys(rows), content_key(caps, rows), content_key(caps, rows.iloc[:2])
    assert len(set(before[0])) == 3
    file = caps.files(rows)[2]
    stat = file.stat()
    os.utime(file, (1, 1))
    assert caps.scan_keys(rows)[:2] == before[0][:2] and caps.scan_keys(rows)[2] != before[0][2]
    assert content_key(caps, rows) != before[1] and content_key(caps, rows.iloc[:2]) == before[2]
    file.write_bytes(file.read_bytes() + b"\0")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert caps.scan_keys(rows)[2] != before[0][2]
    file.unlink()
    assert len(set(caps.scan_keys(rows))) == 3
    with pytest.raises(InputError, match=f"{re.escape(file.name)}: no such file"):
        list(caps.scans(SMALL, rows))


@pytest.mark.parametrize("option", ["nan=zero", "suvr=cerebellum-pons"])
def test_what_changes_images_changes_keys(tree, option):
    plain, other = Caps(tree), open_cohort(f"{tree}:{option}")
    assert plain.name == other.name and plain.version != other.version
    assert not set(plain.scan_keys(plain.participants)) & set(other.scan_keys(other.participants))


def test_nan(tree):
    path = Caps(tree).files(Caps(tree).participants)[0]
    data = np.ones((4, 4, 4), dtype=np.float32)
    data[0, 0, 0], data[1, 1, 1] = np.nan, 3
    write_volume(path, data, mni(SMALL.affine))
    rows = Caps(tree).participants
    with pytest.raises(ScanError, match="1 voxel is NaN"):
        list(Caps(tree).scans(SMALL, rows))
    scan = next(iter(open_cohort(f"{tree}:nan=zero").scans(SMALL, rows)))
    assert scan.extent == (0.0, 3.0) and scan.data[0, 0, 0] == 0


def two_scans(tree: Path) -> None:
    name = scan_path("sub-2", "ses-M000").name
    place(tree, "sub-2", "ses-M000", name.replace("18FFDG", "18FFDG_rec-coregiso"))


def lose(tree: Path, name: str) -> None:
    shutil.rmtree(tree / name) if (tree / name).is_dir() else (tree / name).unlink()


BROKEN = {
    "no subjects": (lambda t: lose(t, "subjects"), "no 'subjects' folder.*looked for"),
    "no scans": (
        lambda t: [p.unlink() for p in t.rglob("*.nii.gz")],
        "tracer 18FFDG.*clinica run pet-linear",
    ),
    "no tables": (lambda t: lose(t, "participants.tsv"), "no participants.tsv and no sessions.tsv.*diagnosis"),
    "two scans": (two_scans, "sub-2 ses-M000: has 2 scans: .*rec-coregiso.*contains=rec-coregiso"),
    "missing rows": (
        lambda t: table(t, "participant_id diagnosis\n001 CN\n002 CN"),
        "'001' and 'sub-1' seem to be the same",
    ),
    "strange rows": (lambda t: table(t, "participant_id diagnosis\n7 CN\n8 CN"), "3 of 3 scans.*sub-1.*'7'"),
    "no diagnosis": (lambda t: table(t, "participant_id diagnosis\nsub-1 n/a\nsub-2 -4"), "3 of 3 scans.*diagnosis"),
    "no diagnoses": (lambda t: table(t, "participant_id age\nsub-1 70"), "PATH:diagnosis=COLUMN.*participant_id, age"),
    "no ids": (lambda t: table(t, "subject diagnosis\nsub-1 CN"), "the columns are subject, diagnosis; it needs"),
    "bad age": (lambda t: table(t, "participant_id diagnosis age\nsub-1 CN old"), "sub-1 has age 'old'"),
    "twice": (lambda t: table(t, "participant_id diagnosis\nsub-1 CN\nsub-1 AD"), "sub-1 .*'CN' .*'AD' .*one row"),
    "empty table": (lambda t: (t / "participants.tsv").write_text(""), "is empty"),
    "binary table": (lambda t: (t / "participants.tsv").write_bytes(b"\xff\xfe\x00a"), "participants.tsv: "),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_trees(tree, kind):
    damage, expected = BROKEN[kind]
    damage(tree)
    with pytest.raises(InputError) as caught:
        Caps(tree)
    message = str(caught.value)
    assert message.startswith(str(tree)) and re.search(expected, message) and "\n" not in message


def test_one_of_several_scans_is_picked(tree):
    two_scans(tree)
    caps = open_cohort(f"{tree}:contains=rec-coregiso")
    assert list(caps.participants.participant_id) == ["sub-2"]
    with pytest.raises(InputError, match=r"tracer 18FFDG .*'rec-uniform'"):
        open_cohort(f"{tree}:contains=rec-uniform")


def test_damaged_scan_names_its_file(tree):
    caps = Caps(tree)
    path = caps.files(caps.participants)[1]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ScanError, match=re.escape(path.name)):
        list(caps.scans(SMALL, caps.participants))


def test_after_a_bad_scan_it_goes_on_with_those_that_follow(tree):
    caps = Caps(tree)
    caps.files(caps.participants)[1].unlink()
    scans = caps.scans(SMALL, caps.participants)
    assert next(scans).key == ("sub-1", "ses-M000")
    with pytest.raises(ScanError, match="no such file"):
        next(scans)
    assert [scan.key for scan in caps.scans(SMALL, caps.participants.iloc[2:])] == [("sub-2", "ses-M000")]


# --- space and unit


def change(exported: Path, tree: Path, to: Callable[[np.ndarray], np.ndarray], shift: float = 0) -> Path:
    """A tree with the phantom's first scan in another unit or place."""
    source = nibabel.load(exported / scan_path("sub-P0001", "ses-M000"))
    affine = source.affine.copy()
    affine[1, 3] += shift
    path = tree / scan_path("sub-P0001", "ses-M000")
    path.parent.mkdir(parents=True)
    nibabel.Nifti1Image(to(np.asarray(source.dataobj)).astype(np.float32), affine).to_filename(path)
    shutil.copy(exported / "sessions.tsv", tree)
    return path


def test_a_scan_that_does_not_fill_the_brain_is_refused(exported, tmp_path):
    path = change(exported, tmp_path, np.asarray, shift=60)
    caps = Caps(tmp_path)
    with pytest.raises(ScanError, match=f"{re.escape(path.name)}: it fills only [0-9]+% of the MNI brain") as caught:
        list(caps.scans(PAPER, caps.participants))
    assert "space=trust" in str(caught.value) and caught.value.finding.kind == "not MNI"
    trusted = open_cohort(f"{tmp_path}:space=trust")
    assert len(list(trusted.scans(PAPER, trusted.participants))) == 1


def test_a_scan_that_was_trusted_is_refused_by_who_does_not_trust_it(exported, tmp_path):
    change(exported, tmp_path, np.asarray, shift=60)
    trusted, checked = open_cohort(f"{tmp_path}:space=trust"), Caps(tmp_path)
    gather(trusted, PAPER, trusted.participants, Silent())
    with pytest.raises(InputError, match="of the MNI brain"):
        gather(checked, PAPER, checked.participants, Silent())


@pytest.mark.skipif(not REAL.exists(), reason="the real averages are not here")
@pytest.mark.parametrize(("name", "refused"), [(REAL.name, False), ("fdg-mean_dlut-cn_affine-not-mni.nii.gz", True)])
def test_real_averages(tmp_path, name, refused):
    path = tmp_path / scan_path("sub-1", "ses-M000")
    path.parent.mkdir(parents=True)
    shutil.copy(REAL.with_name(name), path)
    table(tmp_path, "participant_id diagnosis\nsub-1 CN")
    caps = Caps(tmp_path, nan="zero")
    if refused:
        with pytest.raises(ScanError, match=r"fills only 6[89]% of the MNI brain"):
            list(caps.scans(PAPER, caps.participants))
    else:
        assert len(list(caps.scans(PAPER, caps.participants))) == 1


def test_a_scan_in_any_unit_becomes_suvr(exported, phantom, tmp_path):
    change(exported, tmp_path, lambda data: 5000 * data)
    (plain,) = Caps(tmp_path).scans(PAPER, Caps(tmp_path).participants)
    caps = open_cohort(f"{tmp_path}:suvr=cerebellum-pons")
    (read,) = caps.scans(PAPER, caps.participants)
    (made,) = phantom.scans(PAPER, phantom.participants.iloc[[0]])
    np.testing.assert_allclose(plain.data, 5000 * made.data, rtol=1e-3, atol=0.1)
    np.testing.assert_allclose(read.data, made.data, rtol=0.02, atol=1e-4)
    np.testing.assert_allclose(read.extent, made.extent, rtol=0.02, atol=1e-4)


def test_a_scan_without_a_reference_has_no_suvr(exported, tmp_path):
    path = change(exported, tmp_path, lambda data: np.where(np.indices(data.shape)[2] < 110, 0, data))
    caps = Caps(tmp_path, suvr="cerebellum-pons", space="trust")
    with pytest.raises(ScanError, match=f"{re.escape(path.name)}: no uptake in cerebellum and pons"):
        list(caps.scans(PAPER, caps.participants))


# --- what a user writes


def test_open_by_name_and_options():
    assert open_cohort("phantom").name == "phantom"
    cohort = open_cohort("phantom:seed=7,participants=4,patients=0")
    assert (
        cohort.name == "phantom:seed=7,participants=4,patients=0" and cohort.participants.participant_id.nunique() == 4
    )


def test_open_folder(tree, monkeypatch):
    assert open_cohort(str(tree)).name == Caps(tree).name
    monkeypatch.chdir(tree.parent)
    assert open_cohort("tree").name == open_cohort("./tree/").name == open_cohort("caps:path=tree").name


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("phantm", "no cohort is called 'phantm'.*did you mean 'phantom'"),
        ("phantom:sed=7", "no option 'sed'; its options: seed, participants, patients"),
        ("phantom:seed=x", "seed='x' is not of type int"),
        ("phantom:seed", "seed=7"),
        ("phantom:seed=7,,", "'' is not an option"),
        ("caps", "needs 'path'"),
        ("/no/such/place", "/no/such/place: no such folder"),
        ("./nowhere", "nowhere: no such folder"),
    ],
)
def test_open_what_is_not_there(reference, expected):
    with pytest.raises(InputError, match=expected):
        open_cohort(reference)


def test_open_the_wrong_folder(tree):
    with pytest.raises(InputError, match=f"did you mean {re.escape(str(tree))}"):
        open_cohort(str(tree.parent))
    with pytest.raises(InputError, match=f"give {re.escape(str(tree))}"):
        open_cohort(str(tree / "subjects"))
    with pytest.raises(InputError, match="not a table of scans"):
        open_cohort(str(next(tree.rglob("*.nii.gz"))))
    with pytest.raises(InputError, match=r"participants\.tsv: has no column 'path'"):
        open_cohort(str(tree / "participants.tsv"))
