"""CAPS trees: written and read back, found in every spelling, refused with a line that helps."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from uadbench.cohorts.base import COLUMNS, Cohort
from uadbench.cohorts.caps import Caps
from uadbench.cohorts.export import CAPS_GRID, export_caps, scan_path
from uadbench.cohorts.intake import gather
from uadbench.cohorts.nifti import write_volume
from uadbench.cohorts.opening import open_cohort
from uadbench.cohorts.phantom import Phantom
from uadbench.errors import InputError
from uadbench.progress import Silent
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
    write_volume(path, np.random.default_rng(len(path.name)).random((4, 4, 4), dtype=np.float32), SMALL.affine)
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
        assert (read.key, read.age, read.sex, read.site, read.group) == (
            made.key, made.age, made.sex, made.site, made.group,
        )  # fmt: skip


def test_through_the_cache(exported):
    caps = Caps(exported)
    stack = gather(caps, PAPER, caps.participants.iloc[[2, 0]], Silent())
    expected = list(caps.scans(PAPER, caps.participants.iloc[[2, 0]]))
    for index, scan in enumerate(expected):
        np.testing.assert_array_equal(stack.images[index], scan.data)
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
    from uadbench import atlas
    from uadbench.cohorts.nifti import read_volume

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
    with pytest.raises(InputError, match="not empty and no CAPS tree"):
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
        ["sub-1", "ses-M000", "CN", 70.0, "F", ""],
        ["sub-1", "ses-M012", "CN", 71.0, "F", ""],
        ["sub-2", "ses-M000", "AD", 65.5, "M", ""],
    ]


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
def test_spellings(tmp_path, source, folder):
    name = f"sub-1_ses-M00_{source}_space-MNI152NLin2009cSym_res-1x1x1_suvr-pons2_pet.nii.gz"
    place(tmp_path, "sub-1", "ses-M00", name, folder)
    table(tmp_path, "participant_id session_id diagnosis\nsub-1 ses-M000 cn")
    assert list(Caps(tmp_path).participants.group) == ["CN"]


def test_other_tracers_and_simulated_scans_are_left_out(tree):
    real = scan_path("sub-2", "ses-M000").name
    place(tree, "sub-2", "ses-M000", real.replace("18FFDG", "18FAV45"))
    place(tree, "sub-2", "ses-M000", real.replace("_pet.nii", "_pat-ad_deg-30_pet.nii"))
    assert len(Caps(tree).participants) == 3


def test_name_tells_the_data_and_not_the_folder(tree, tmp_path):
    shutil.copytree(tree, tmp_path / "elsewhere")
    first, second = Caps(tree), Caps(tmp_path / "elsewhere")
    assert first.name == second.name and re.fullmatch("caps-[0-9a-f]{8}", first.name)


def test_content_key_follows_the_files(tree):
    caps = Caps(tree)
    before = caps.content_key(caps.participants), caps.content_key(caps.participants.iloc[:2])
    os.utime(caps.files(caps.participants)[2], (1, 1))
    assert caps.content_key(caps.participants) != before[0]
    assert caps.content_key(caps.participants.iloc[:2]) == before[1]


def test_nan(tree):
    path = Caps(tree).files(Caps(tree).participants)[0]
    data = np.ones((4, 4, 4), dtype=np.float32)
    data[0, 0, 0], data[1, 1, 1] = np.nan, 3
    write_volume(path, data, SMALL.affine)
    rows = Caps(tree).participants
    with pytest.raises(InputError, match="1 voxel is NaN"):
        list(Caps(tree).scans(SMALL, rows))
    scan = next(iter(open_cohort(f"{tree}:nan=zero").scans(SMALL, rows)))
    assert scan.extent == (0.0, 3.0) and scan.data[0, 0, 0] == 0


def two_scans(tree: Path) -> None:
    name = scan_path("sub-2", "ses-M000").name
    place(tree, "sub-2", "ses-M000", name.replace("18FFDG", "18FFDG_rec-coregiso"))


def lose(tree: Path, name: str) -> None:
    shutil.rmtree(tree / name) if (tree / name).is_dir() else (tree / name).unlink()


BROKEN = {
    "no subjects": (lambda t: lose(t, "subjects"), "no folder 'subjects'.*looked for"),
    "no scans": (lambda t: [p.unlink() for p in t.rglob("*.nii.gz")], "no healthy FDG scan.*no file there fits"),
    "no tables": (lambda t: lose(t, "participants.tsv"), "no participants.tsv and no sessions.tsv.*diagnosis"),
    "two scans": (two_scans, "sub-2 ses-M000 has 2 scans: .*rec-coregiso.*contains="),
    "missing row": (lambda t: table(t, "participant_id diagnosis\nsub-1 CN\n002 CN"), "1 of 3 scans.*sub-2 ses-M000"),
    "no diagnosis": (lambda t: table(t, "participant_id age\nsub-1 70\nsub-2 70"), "3 of 3 scans.*diagnosis"),
    "no ids": (lambda t: table(t, "subject diagnosis\nsub-1 CN"), "has the columns subject, diagnosis; it needs"),
    "bad age": (lambda t: table(t, "participant_id diagnosis age\nsub-1 CN old"), "sub-1 has age 'old'"),
    "bad sex": (lambda t: table(t, "participant_id diagnosis sex\nsub-1 CN 3"), "sub-1 has sex '3'"),
    "twice": (lambda t: table(t, "participant_id diagnosis\nsub-1 CN\nsub-1 AD"), "sub-1  ?has two rows"),
    "empty table": (lambda t: (t / "participants.tsv").write_text(""), "not a readable table"),
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


def test_damaged_scan_names_its_file(tree):
    caps = Caps(tree)
    path = caps.files(caps.participants)[1]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=re.escape(path.name)):
        list(caps.scans(SMALL, caps.participants))


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
        ("phantom:seed", "after the colon come options"),
        ("phantom:seed=7,,", "'' is no option"),
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
    with pytest.raises(InputError, match="is a file"):
        open_cohort(str(tree / "participants.tsv"))
