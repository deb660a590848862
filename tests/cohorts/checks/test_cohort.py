"""A cohort's check-up: every fault is found and named, whoever is whole is left in peace, and nothing is changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from uadbench.cli.main import main
from uadbench.cohorts.base import COLUMNS
from uadbench.cohorts.checks.cohort import CheckUp, check_cohort
from uadbench.cohorts.io.export import CAPS_GRID, scan_path
from uadbench.cohorts.io.forms import mni
from uadbench.cohorts.io.nifti import write_volume
from uadbench.cohorts.phantom import Phantom
from uadbench.cohorts.splits.listed import FORMAT, VERSION
from uadbench.cohorts.splits.roles import Roles
from uadbench.runtime.files import write_json
from uadbench.runtime.progress import Silent

ROLES = Roles(("CN",), ("AD",))
REAL = Path(__file__).parents[4] / "shared" / "real"
FDG = "trc-18FFDG"

Damage = Callable[[Path, np.ndarray], Path]


def scan_of(phantom: Phantom, participant: str, visit: int = 0) -> np.ndarray:
    """A scan at 1 mm; rounded, so that it packs quickly."""
    rows = phantom.participants[phantom.participants.participant_id == participant].iloc[[visit]]
    (scan,) = phantom.scans(CAPS_GRID, rows)
    return np.round(scan.data * np.float32(256)) / np.float32(256)


def save(file: Path, data: np.ndarray, affine: np.ndarray = CAPS_GRID.affine) -> Path:
    """Unpacked (.nii), which takes no time."""
    file = file.with_suffix("")
    nibabel.save(nibabel.Nifti1Image(data.astype(np.float32), affine), file)
    return file


def pack(file: Path, data: np.ndarray) -> Path:
    write_volume(file, data, mni(CAPS_GRID.affine))
    return file


def moved(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    affine = CAPS_GRID.affine
    affine[:3, 3] += (x, y, z)
    return affine


def spotted(value: float) -> Damage:
    def spot(file: Path, data: np.ndarray) -> Path:
        data[80, 100, 90] = value
        return save(file, data)

    return spot


def unreadable(file: Path, data: np.ndarray) -> Path:
    file.write_bytes(b"this is no scan" * 99)
    return file


def empty(file: Path, data: np.ndarray) -> Path:
    file.touch()
    return file


def truncated(file: Path, data: np.ndarray) -> Path:
    raw = pack(file, data).read_bytes()
    file.write_bytes(raw[: len(raw) * 2 // 3])
    return file


def flipped(file: Path, data: np.ndarray) -> Path:
    raw = bytearray(pack(file, data).read_bytes())
    raw[len(raw) // 2] ^= 4
    file.write_bytes(raw)
    return file


def negative(file: Path, data: np.ndarray) -> Path:
    data[60:90, 80:120, 70:100] -= 1.3  # a scatter correction that went too far
    return save(file, data)


def two_forms(file: Path, data: np.ndarray) -> Path:
    image = nibabel.Nifti1Image(data, CAPS_GRID.affine)
    other = CAPS_GRID.affine
    other[0] = [-1, 0, 0, 84]
    image.set_sform(CAPS_GRID.affine, code=4)
    image.set_qform(other, code=4)
    nibabel.save(image, file.with_suffix(""))
    return file.with_suffix("")


# participant -> what is done to the scan, and the findings (kind, fatal) about its file
FAULTS: dict[str, tuple[Damage, set[tuple[str, bool]]]] = {
    "unreadable": (unreadable, {("unreadable", True)}),
    "empty": (empty, {("unreadable", True)}),
    "truncated": (truncated, {("truncated", True)}),
    "flipped": (flipped, {("truncated", True)}),
    "fourd": (lambda f, d: save(f, np.stack([d[::4, ::4, ::4]] * 3, axis=-1)), {("not 3D", True)}),
    "nan": (spotted(np.nan), {("NaN", True)}),
    "inf": (spotted(np.inf), {("NaN", True)}),
    "constant": (lambda f, d: save(f, np.full_like(d, 0.5)), {("constant", True)}),
    "negative": (negative, {("negative", True)}),
    "bright": (lambda f, d: save(f, 1.4 * d), {("intensity", False)}),
    "cut": (lambda f, d: save(f, d[:, :, :-6]), {("other grid", False)}),
    "shifted": (lambda f, d: save(f, d, moved(z=0.5)), {("other grid", False)}),
    "far": (lambda f, d: save(f, d, moved(y=60)), {("not MNI", True), ("other grid", False), ("intensity", False)}),
    "upside": (lambda f, d: save(f, d[:, :, ::-1]), {("not MNI", True)}),
    "forms": (two_forms, {("left-right", False)}),
}


# others, whose scans are whole, and what is wrong with them in the tables: (kind, fatal, where)
TABLES = {
    "noage": ("no age", False, "sub-noage ses-M000"),
    "nosex": ("no sex", False, "sub-nosex ses-M000"),
    "old": ("age", False, "sub-old ses-M000"),
    "twosexes": ("sex", False, "sub-twosexes"),
    "younger": ("sessions", False, "sub-younger"),
    "badage": ("table", True, "sessions.tsv"),
    "badsex": ("sex", False, "sub-badsex ses-M000"),
    "tworows": ("table", True, "sessions.tsv"),
    "norow": ("no diagnosis", False, ""),
    "twoscans": ("several scans", True, ": sub-twoscans ses-M000"),
}


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return Phantom(participants=40, patients=1, recipe=2)


@pytest.fixture(scope="module")
def whole(phantom, tmp_path_factory) -> Iterator[Path]:
    """Three healthy people and a patient at 1 mm, with all their sessions."""
    tree = tmp_path_factory.mktemp("whole") / "tree"
    rows = phantom.participants
    rows = rows[rows.participant_id.isin(["sub-P0001", "sub-P0002", "sub-P0003", "sub-Q0001"])]
    for scan in phantom.scans(CAPS_GRID, rows):
        save(place(tree, *scan.key), scan.data)
    rows[list(COLUMNS)].rename(columns={"group": "diagnosis"}).to_csv(tree / "sessions.tsv", sep="\t", index=False)
    yield tree
    shutil.rmtree(tree)


def copied(whole: Path, tree: Path) -> Path:
    """The same tree, its scans hard-linked."""
    shutil.copytree(whole, tree, copy_function=os.link)
    (tree / "sessions.tsv").unlink()
    shutil.copyfile(whole / "sessions.tsv", tree / "sessions.tsv")
    return tree


def place(tree: Path, participant: str, session: str = "ses-M000") -> Path:
    file = tree / scan_path(participant, session)
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


@pytest.fixture(scope="module")
def hurt(whole, phantom, tmp_path_factory) -> Iterator[Path]:
    """The whole tree, and beside it one participant for every fault."""
    tree = copied(whole, tmp_path_factory.mktemp("hurt") / "tree")
    others = iter(f"sub-P{k:04d}" for k in range(10, 41))
    rows = []

    def row(who: str, session: str = "ses-M000", age: object = 72.5, sex: str = "F") -> None:
        rows.append((who, session, "CN", age, sex))

    for name, (damage, _) in FAULTS.items():
        row(f"sub-{name}")
        damage(place(tree, f"sub-{name}"), scan_of(phantom, next(others)))
    for name in (*TABLES, "mirrored"):
        sessions = ("ses-M000", "ses-M024") if name in ("twosexes", "younger", "mirrored") else ("ses-M000",)
        person = next(o for o in others if (phantom.participants.participant_id == o).sum() >= len(sessions))
        for visit, session in enumerate(sessions):
            data = scan_of(phantom, person, visit)
            mirror = name == "mirrored" and session == "ses-M024"
            save(place(tree, f"sub-{name}", session), data[::-1] if mirror else data)
            age, sex = 72.5 + 2 * visit, "F"
            age = {"noage": "n/a", "old": 720, "younger": 72.5 - 4 * visit, "badage": "seventy"}.get(name, age)
            sex = {"nosex": "n/a", "twosexes": "FM"[visit], "badsex": "3"}.get(name, sex)
            if name != "norow":
                row(f"sub-{name}", session, age, sex)
    row("sub-tworows", age=80)
    row("sub-twin")
    original = (whole / scan_path("sub-P0001", "ses-M000")).with_suffix("")
    shutil.copyfile(original, place(tree, "sub-twin").with_suffix(""))
    twice = place(tree, "sub-twoscans").with_suffix("")
    os.link(twice, twice.with_name(twice.name.replace(FDG, f"{FDG}_rec-uniform")))
    table = pd.DataFrame(rows, columns=["participant_id", "session_id", "diagnosis", "age", "sex"])
    known = pd.read_csv(tree / "sessions.tsv", sep="\t", dtype=str, keep_default_na=False)
    pd.concat([known, table.astype(str)])[list(table.columns)].to_csv(tree / "sessions.tsv", sep="\t", index=False)
    yield tree
    shutil.rmtree(tree)


@pytest.fixture(scope="module")
def split(hurt) -> Path:
    """A split in which somebody trains and tests, and somebody whom the tree has never seen."""
    people = [path.name for path in sorted((hurt / "subjects").iterdir())]
    first = [[who, "ses-M000"] for who in people[:20]]
    fold = {"train": first[:12], "first": first[:12], "validation": first[12:16]}
    manifest = {"test": [*first[16:], first[2], ["sub-nobody", "M0"]], "folds": [fold]}
    write_json(hurt.parent / "split.json", {FORMAT: VERSION, **manifest})
    return hurt.parent / "split.json"


def state(tree: Path) -> dict[str, tuple[str, int]]:
    """Hash and time of change of everything in a tree."""
    return {
        str(path.relative_to(tree)): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
            path.stat().st_mtime_ns,
        )
        for path in tree.rglob("*")
    }


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(["cohort", "check", *arguments])
    printed = capsys.readouterr()
    return int(stopped.value.code or 0), printed.out, printed.err


@pytest.fixture(scope="module")
def found(hurt, split) -> CheckUp:
    before = state(hurt)
    found = check_cohort(str(hurt), ROLES, Silent(), split)
    assert state(hurt) == before, "a check-up changes nothing"
    return found


def about(found: CheckUp, word: str) -> set[tuple[str, bool]]:
    """Kind and weight of what is said of a place."""
    return {(f.kind, f.fatal) for f in found.findings if word in f.where}


# --- a whole tree


def test_of_a_whole_tree_nothing_is_said(whole, capsys):
    before = state(whole)
    found = check_cohort(str(whole), ROLES, Silent())
    assert found.findings == () and found.fatal == 0
    assert (found.participants, found.scans) == (4, len(list(whole.rglob("*.nii"))))
    assert found.people.startswith("CN 3 participants, ") and "AD 1 participant, " in found.people
    code, out, err = call(capsys, str(whole))
    assert code == 0 and "no problems found" in out and found.cohort in out, err
    assert state(whole) == before


def test_warnings_alone_are_no_failure(whole, tmp_path, capsys):
    tree = copied(whole, tmp_path / "tree")
    text = (tree / "sessions.tsv").read_text().replace("\tF\t", "\tn/a\t")
    (tree / "sessions.tsv").write_text(text)
    code, out, _ = call(capsys, str(tree))
    assert code == 0 and "warning: no sex" in out and "\n0 fatal, " in out


# --- a hurt tree


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_damaged_scan_is_named(name, found):
    assert about(found, f"/sub-{name}/") == FAULTS[name][1]


@pytest.mark.parametrize("name", TABLES)
def test_a_fault_of_the_table_is_named(name, found, hurt):
    kind, fatal, where = TABLES[name]
    words = {"badage": "'seventy'", "badsex": "sex is '3'", "tworows": "'80'", "old": "720"}.get(name, "")
    told = [
        f for f in found.findings if f.kind == kind and f"sub-{name}" in f"{f.where} {f.value}" and words in f.value
    ]
    assert len(told) == 1, [f for f in found.findings if name in str(f)]
    assert told[0].fatal == fatal and told[0].where.endswith(where or str(hurt))


def test_a_mirrored_session_is_named(found):
    (told,) = [f for f in found.findings if "sub-mirrored" in f.where]
    assert told.kind == "left-right" and told.fatal and "ses-M024" in told.where and "exchanged" in told.value


def test_a_copied_scan_is_named_with_its_original(found):
    (told,) = [f for f in found.findings if f.kind == "duplicate"]
    assert told.fatal and "sub-twin" in told.where and scan_path("sub-P0001", "ses-M000").stem in told.value


def test_a_copy_in_integers_is_named(whole, tmp_path):
    """Its bytes and voxels differ from those of the original."""
    original = (whole / scan_path("sub-P0001", "ses-M000")).with_suffix("")
    image = nibabel.load(original)
    copy = nibabel.Nifti1Image(np.asarray(image.dataobj)[::2, ::2, ::2] * 1.001, image.affine @ np.diag([2, 2, 2, 1]))
    copy.set_data_dtype(np.int16)
    nibabel.save(copy, tmp_path / "copy.nii")
    other = (whole / scan_path("sub-P0002", "ses-M000")).with_suffix("")
    rows = [("a", original, "CN"), ("b", tmp_path / "copy.nii", "AD"), ("c", other, "CN")]
    lines = ["participant_id,path,diagnosis", *(",".join(map(str, row)) for row in rows)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    copies = [f for f in check_cohort(str(tmp_path / "t.csv"), ROLES, Silent()).findings if f.kind == "copy"]
    assert [Path(f.where).name for f in copies] == ["copy.nii"] and str(original) in copies[0].value


def test_who_is_in_two_parts_is_named(found, split):
    (told,) = [f for f in found.findings if f.kind == "two parts"]
    assert told.fatal and told.where == str(split) and "in train and test" in told.value
    (lost,) = [f for f in found.findings if f.kind == "not in cohort"]
    assert not lost.fatal and "1 of 21 listed scans" in lost.value and "sub-nobody_ses-M000" in lost.value


def test_whoever_is_whole_is_left_in_peace(found):
    """There are no findings but those about the faults, and what follows from them."""
    assert not [f for f in found.findings if "sub-P" in f.where or "sub-Q" in f.where]
    expected = Counter(kind for _, said in FAULTS.values() for kind, _ in said)
    expected += Counter(kind for kind, _, _ in TABLES.values())
    expected += Counter({"left-right": 1, "duplicate": 1, "two parts": 1, "not in cohort": 1})
    expected += Counter({"no age": 4, "no sex": 2})  # of who has a bad run or rows that differ, and of who has no row
    assert Counter(f.kind for f in found.findings) == expected
    assert [f.fatal for f in found.findings] == sorted((f.fatal for f in found.findings), reverse=True)


def test_everything_is_one_line_and_says_what_to_do(found):
    for finding in found.findings:
        assert finding.value and len(finding.advice) > 5 and "\n" not in str(finding) and "Error" not in finding.kind


@pytest.mark.slow
def test_the_command_says_it_all(hurt, split, found, capsys):
    before = state(hurt)
    code, out, err = call(capsys, str(hurt), "--split", str(split), "--json")
    assert code == 1 and "Traceback" not in err
    told = json.loads(out)
    assert told["fatal"] == found.fatal and told["scans"] == found.scans
    assert told["findings"] == [vars(finding) for finding in found.findings]
    code, out, _ = call(capsys, str(hurt), "--split", str(split))
    assert code == 1 and f"{found.fatal} fatal, {len(found.findings) - found.fatal} warning" in out
    for finding in found.findings:
        assert f"{finding.where}: {finding.value}" in out and finding.advice in out
    assert state(hurt) == before


# --- faults of a whole cohort


def test_nobody_healthy(whole, capsys):
    code, out, _ = call(capsys, str(whole), "--healthy", "HC,NC", "--json")
    (told,) = json.loads(out)["findings"]
    assert code == 1 and told["kind"] == "no healthy scans" and told["fatal"] and "CN 3 participants" in told["value"]
    assert call(capsys, str(whole), "--healthy", "cn")[0] == 0


@pytest.fixture
def raw(whole, tmp_path) -> Path:
    """A table of scans in Bq/ml."""
    lines = ["participant_id,path,diagnosis,age,sex"]
    for number, file in enumerate(sorted(whole.rglob("*ses-M000*.nii"))[:3]):
        data = np.asarray(nibabel.load(file).dataobj)[::2, ::2, ::2]
        affine = CAPS_GRID.affine
        affine[:3, :3] *= 2
        save(tmp_path / f"{number}.nii.gz", 5000 * data, affine)
        lines.append(f"sub-{number},{number}.nii,CN,7{number},F")
    (tmp_path / "raw.csv").write_text("\n".join(lines))
    return tmp_path / "raw.csv"


def test_no_suvr(raw, capsys):
    code, out, _ = call(capsys, str(raw), "--json")
    (told,) = json.loads(out)["findings"]
    assert code == 1 and (told["kind"], told["where"], told["fatal"]) == ("not SUVR", "3 scans", True)
    assert "suvr=cerebellum-pons" in told["advice"]


def test_who_does_what_is_advised_is_not_told_again(raw):
    image = nibabel.load(raw.parent / "0.nii")
    data = np.asarray(image.dataobj).copy()
    data[0, 0, 0] = np.nan
    nibabel.save(nibabel.Nifti1Image(data, image.affine), raw.parent / "0.nii")
    assert {finding.kind for finding in check_cohort(str(raw), ROLES, Silent()).findings} == {"NaN", "not SUVR"}
    assert check_cohort(f"{raw}:nan=zero,suvr=cerebellum-pons", ROLES, Silent()).findings == ()


def changed(file: Path, **forms: tuple[np.ndarray | None, int]) -> None:
    """The same scan with other forms, (affine, code)."""
    image = nibabel.load(file)
    image.set_qform(*forms.get("qform", (None, 0)))
    image.set_sform(*forms.get("sform", (image.affine, 4)))
    raw = bytearray(nibabel.Nifti1Image(np.asarray(image.dataobj), None, image.header).to_bytes())
    file.unlink()  # it may be mapped
    file.write_bytes(raw)


def test_a_scan_that_lies_nowhere_or_in_two_places(raw, capsys):
    there = nibabel.load(raw.parent / "0.nii").affine
    elsewhere = there.copy()
    elsewhere[1:3, 3] += (9, 12)
    changed(raw.parent / "0.nii", sform=(there, 4), qform=(elsewhere, 1))
    changed(raw.parent / "1.nii", sform=(None, 0))
    code, out, _ = call(capsys, f"{raw}:suvr=cerebellum-pons", "--json")
    told = {Path(f["where"]).name: f for f in json.loads(out)["findings"]}
    assert code == 1 and told.keys() == {"0.nii", "1.nii"}
    assert (told["0.nii"]["kind"], told["0.nii"]["fatal"]) == ("two affines", False)
    assert "15.0 mm" in told["0.nii"]["value"]
    assert (told["1.nii"]["kind"], told["1.nii"]["fatal"]) == ("no position", True)


def test_what_is_trusted_is_no_more_than_a_warning(raw, capsys):
    """Of a scan that lies elsewhere, and of one that stands upside down."""
    lower = nibabel.load(raw.parent / "0.nii").affine
    lower[1, 3] += 60
    changed(raw.parent / "0.nii", sform=(lower, 4))
    image = nibabel.load(raw.parent / "1.nii")
    save(raw.parent / "1.nii.gz", np.asarray(image.dataobj)[:, :, ::-1].copy(), image.affine)
    for options, fatal in (("", True), (",nan=zero,space=trust", False)):
        code, out, _ = call(capsys, f"{raw}:suvr=cerebellum-pons{options}", "--json")
        told = [f for f in json.loads(out)["findings"] if f["kind"] == "not MNI"]
        assert code == fatal and {Path(f["where"]).name for f in told} == {"0.nii", "1.nii"}
        assert all(f["fatal"] == fatal and (fatal or "PATH:" not in f["advice"]) for f in told)


def test_a_scan_without_a_reference_region_is_not_advised_what_was_done(raw):
    for number in range(3):
        image = nibabel.load(raw.parent / f"{number}.nii")
        data = np.asarray(image.dataobj).copy()
        data[:, :, :50] = 0  # below 22 mm
        save(raw.parent / f"{number}.nii.gz", data, image.affine)
    found = check_cohort(f"{raw}:suvr=cerebellum-pons", ROLES, Silent()).findings
    assert [finding.kind for finding in found] == 3 * ["no reference"]


def test_a_table_of_scans(raw, capsys):
    """Its faults are told by line, and the other lines are looked at all the same."""
    with raw.open("a") as lines:
        lines.write("\n,2.nii,CN,70,F\nsub-9,9.nii,CN,70,F\nsub-8,,CN,70,F\nsub-7,7.nii,n/a,70,F\n")
    shutil.copyfile(raw.parent / "1.nii", raw.parent / "7.nii")
    code, out, _ = call(capsys, str(raw), "--json")
    told = {(f["kind"], Path(f["where"]).name, f["value"].split(";")[0]) for f in json.loads(out)["findings"]}
    assert code == 1
    assert told >= {
        ("table", "raw.csv", "line 5: has no participant_id"),
        ("missing", "9.nii", "no such file"),
        ("table", "raw.csv", "line 7: has no path"),
        ("no diagnosis", "raw.csv", "1 of 5 scans (sub-7 ses-M000) have no diagnosis at their visit"),
    }
    assert {kind for kind, *_ in told} == {"table", "missing", "no diagnosis", "duplicate", "not SUVR"}


def test_a_table_without_one_usable_row(tmp_path):
    (tmp_path / "t.csv").write_text("participant_id,path,diagnosis\n,a.nii,CN\n")
    found = check_cohort(str(tmp_path / "t.csv"), ROLES, Silent())
    assert ("table", True) in about(found, "t.csv")


def test_a_tree_of_which_nothing_can_be_read(tmp_path):
    for who in ("sub-1", "sub-2"):
        place(tmp_path, who).write_bytes(b"x")
    (tmp_path / "participants.tsv").write_text(
        "participant_id\tdiagnosis\tage\tsex\nsub-1\tCN\t70\tF\nsub-2\tCN\t7\tF\n"
    )
    found = check_cohort(str(tmp_path), ROLES, Silent())
    assert [f.kind for f in found.findings] == ["unreadable", "unreadable", "age"] and found.scans == 2


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("nowhere/tree", "no such folder"),
        (".", "no 'subjects' folder"),
        ("./none.csv", "no such file"),
        ("phantom", "does not consist of files"),
        ("phantm", "no cohort is called 'phantm'"),
    ],
)
def test_where_there_is_no_cohort(reference, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    code, out, err = call(capsys, reference)
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    assert code == 2 and said in line and out == ""


def test_a_split_that_is_none_is_an_error(whole, tmp_path, capsys):
    code, _, err = call(capsys, str(whole), "--split", str(tmp_path / "none.json"))
    assert code == 2 and "no such file or folder" in err


# --- real averages


@pytest.mark.skipif(not REAL.exists(), reason="the real averages are not here")
def test_real_averages(tmp_path, capsys):
    """Of one the affine is not MNI; the other is in MNI space, though stored right to left."""
    good, bad = (REAL / f"fdg-mean_{name}.nii.gz" for name in ("dellarosa-2014", "dlut-cn_affine-not-mni"))
    lines = "".join(f"{name},{file},CN,70,F\n" for name, file in (("a", good), ("b", bad)))
    (tmp_path / "t.csv").write_text(f"participant_id,path,diagnosis,age,sex\n{lines}")
    code, out, _ = call(capsys, str(tmp_path / "t.csv"), "--json")
    told = json.loads(out)["findings"]
    assert code == 1 and [f["kind"] for f in told if f["where"] == str(bad) and f["fatal"]] == ["not MNI"]
    assert not [f for f in told if f["where"] == str(good) and f["fatal"]]
