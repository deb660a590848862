"""Which value holds at which visit: nobody is healthy, old or young by a value of another visit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from uadbench.cli.main import main
from uadbench.cohorts.base import visits_of
from uadbench.cohorts.caps import Caps
from uadbench.cohorts.checks.people import people_findings
from uadbench.cohorts.findings import Finding, collecting
from uadbench.cohorts.io.export import scan_path
from uadbench.cohorts.opening import open_cohort
from uadbench.cohorts.phantom import Phantom
from uadbench.cohorts.splits.roles import Roles
from uadbench.errors import InputError
from uadbench.protocols.schema import load_protocol
from uadbench.runs.fold_data import Selection, plan_fold
from uadbench.types import Grid

COARSE = Grid((40, 48, 40), 4.0, (-80.0, -111.0, -70.0))
ROLES = Roles(("CN",), ("AD",))
VISITS = ("ses-M000", "ses-M024", "ses-M036")
PEOPLE = [f"sub-{number:02d}" for number in range(24)]


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    phantom = Phantom(participants=4, patients=0)
    return [scan.data for scan in phantom.scans(COARSE, phantom.participants.iloc[:4])]


def scan(tree: Path, participant: str, session: str, image: np.ndarray | None = None) -> Path:
    """A scan in a CAPS tree; without an image a small one, which no test reads."""
    path = (tree / scan_path(participant, session)).with_suffix("")
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.random.default_rng(0).random((4, 4, 4), dtype=np.float32) if image is None else image
    nibabel.save(nibabel.Nifti1Image(data, COARSE.affine), path)
    return path


def tsv(file: Path, rows: Iterable[Iterable[object]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    return file


LAST = {
    "n/a": [("ses-M036", "n/a")],
    "empty": [("ses-M036", "")],
    "-4": [("ses-M036", "-4")],
    "no row": [],
}


def converters(tree: Path, last: str, scanned: Iterable[str], image: Callable[[int], np.ndarray | None]) -> Path:
    """24 people, CN at baseline and AD two years later; of the last visit nothing is known."""
    tsv(
        tree / "participants.tsv",
        [("participant_id", "diagnosis_bl", "age_bl", "sex"), *((who, "CN", 70, "F") for who in PEOPLE)],
    )
    visits = [("ses-M000", "CN"), ("ses-M024", "AD"), *LAST[last]]
    rows = [(who, *visit) for who in PEOPLE for visit in visits]
    tsv(tree / "sessions.tsv", [("participant_id", "session_id", "diagnosis"), *rows])
    for number, who in enumerate(PEOPLE):
        for session in scanned:
            scan(tree, who, session, image(number))
    return tree


def called(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return int(stopped.value.code or 0), printed.out, printed.err


def groups(tree: Path) -> list[str]:
    return list(Caps(tree).participants.group)


def findings_of(tree: Path) -> list[Finding]:
    with collecting() as findings:
        Caps(tree)
    return findings


# --- people who convert


@pytest.mark.parametrize("last", LAST)
def test_after_a_conversion_a_visit_without_diagnosis_is_not_healthy(last, tmp_path):
    """Half of those who would train were patients: the baseline's CN filled every visit."""
    tree = converters(tmp_path, last, ("ses-M000", "ses-M036"), lambda _: None)
    caps = Caps(tree)
    assert list(caps.participants.group) == ["CN", ""] * 24
    healthy = ROLES.healthy_rows(caps.participants, visits_of(caps))
    assert list(healthy.session_id) == ["ses-M000"] * 24
    (line,) = ROLES.left_out(caps.participants, visits_of(caps))
    assert "24 scans of 24 participants (sub-00 ses-M036" in line and "24 follow another diagnosis" in line


def test_a_visit_with_another_diagnosis_has_it(tmp_path):
    tree = converters(tmp_path, "no row", VISITS, lambda _: None)
    tsv(tree / "subjects" / "sub-00" / "sub-00_sessions.tsv", [("session_id", "diagnosis"), ("M36", "MCI")])
    assert groups(tree)[:6] == ["CN", "AD", "MCI", "CN", "AD", ""]


def test_thirty_two_healthy_scans_and_not_fifty_two(tmp_path):
    """20 people convert before their second scan, 12 have one scan."""
    tree = converters(tmp_path, "n/a", ("ses-M000",), lambda _: None)
    for who in PEOPLE[:20]:
        scan(tree, who, "ses-M036")
    for number in range(8):
        scan(tree, f"sub-x{number}", "ses-M000")
    with (tree / "sessions.tsv").open("a") as file:
        file.writelines(f"sub-x{number}\tses-M000\tCN\n" for number in range(8))
    caps = Caps(tree)
    assert len(caps.participants) == 52 and len(ROLES.healthy_rows(caps.participants, visits_of(caps))) == 32


@pytest.fixture(scope="module")
def tree_of_converters(images, tmp_path_factory) -> Path:
    return converters(tmp_path_factory.mktemp("late"), "n/a", ("ses-M036",), lambda number: images[number % 4])


def test_each_command_says_what_became_of_the_scans(tree_of_converters, tmp_path, capsys):
    code, out, err = called(
        capsys, "run", "--model", "mean", "--protocol", "smoke", "--cohort", tree_of_converters, "--output", tmp_path
    )
    assert code == 2 and not out and not list(tmp_path.iterdir())
    assert "24 of 24 scans (sub-00 ses-M036" in err and "CN at ses-M000, AD at ses-M024" in err
    code, out, err = called(capsys, "cohort", "info", tree_of_converters, "--output", tmp_path)
    assert code == 2 and "24 of 24 scans" in err and not list(tmp_path.iterdir())
    code, out, _ = called(capsys, "cohort", "check", tree_of_converters, "--json")
    told = json.loads(out)
    assert code == 1 and "24 participants, 24 scans (not used)" in told["people"]
    kinds = {(finding["kind"], finding["fatal"]) for finding in told["findings"]}
    assert kinds >= {("no diagnosis", True), ("no healthy scans", True), ("converts", False)}
    (line,) = told["left_out"]
    assert "24 scans of 24 participants" in line and "24 follow another diagnosis" in line
    converting = [f for f in told["findings"] if f["kind"] == "converts"]
    assert [f["where"] for f in converting] == PEOPLE
    assert converting[0]["value"] == "CN at ses-M000, AD at ses-M024"


def test_a_run_counts_who_is_left_out(images, tmp_path, capsys):
    tree = converters(tmp_path / "tree", "no row", ("ses-M000", "ses-M036"), lambda number: images[number % 4])
    code, _, err = called(
        capsys, "run", "--model", "mean", "--protocol", "smoke", "--cohort", tree, "--dry-run",
        "--output", tmp_path / "runs",
    )  # fmt: skip
    said = " ".join(err.split())
    assert code == 0 and "CN 24 participants, 24 scans (healthy)" in said
    assert "left out: 24 scans of 24 participants (sub-00 ses-M036, ...) without a diagnosis at the visit" in said
    assert "warning: " in said and "24 of 48 scans" in said
    assert "not checked here: position" in said and "uadbench cohort check" in said


def test_who_trains_and_who_is_tested_elsewhere_follow_the_same_rule(images, tmp_path):
    """Ten people are AD at a visit without a scan, and CN at a later one with a scan: none of them is healthy."""
    tree = converters(tmp_path, "no row", ("ses-M000",), lambda number: images[number % 4])
    with (tree / "sessions.tsv").open("a") as file:
        for number in range(10):
            file.write(f"sub-r{number}\tses-M000\tAD\nsub-r{number}\tses-M012\tCN\n")
            scan(tree, f"sub-r{number}", "ses-M012")
    reverted = {f"sub-r{number}" for number in range(10)}
    cohort = open_cohort(str(tree))
    for fold_data in (
        plan_fold(cohort, load_protocol("smoke"), 0),
        plan_fold(Phantom(), load_protocol("smoke"), 0, selection=Selection(test_cohort=cohort)),
    ):
        used = {name for part in ("train", "validation", "test") for name in fold_data.rows[part]["participant_id"]}
        assert used & set(PEOPLE) and not used & reverted


# --- a baseline value, a value of a person, a value of a visit


def test_a_baseline_value_holds_at_baseline_only(tmp_path):
    for session in ("ses-M000", "ses-M012"):
        scan(tmp_path, "sub-1", session)
    tsv(tmp_path / "participants.tsv", [("participant_id", "diagnosis_sc", "mmse_bl"), ("sub-1", "CN", 30)])
    people = Caps(tmp_path).participants
    assert list(people.group) == ["CN", ""] and people.mmse[0] == 30 and np.isnan(people.mmse[1])


def test_a_persons_diagnosis_holds_at_all_visits_unless_visits_have_their_own(tmp_path):
    for session in ("ses-M000", "ses-M012"):
        scan(tmp_path, "sub-1", session)
    tsv(tmp_path / "participants.tsv", [("participant_id", "diagnosis"), ("sub-1", "CN")])
    assert groups(tmp_path) == ["CN", "CN"]
    tsv(
        tmp_path / "sessions.tsv",
        [("participant_id", "session_id", "diagnosis"), ("sub-1", "ses-M012", "n/a"), ("sub-2", "ses-M012", "AD")],
    )
    assert groups(tmp_path) == ["CN", ""]


@pytest.mark.parametrize(
    ("sessions", "expected"),
    [
        (("ses-M000", "ses-M012"), [29, None]),
        (("ses-M012",), [29]),
        (("ses-01", "ses-02"), [29, None]),
        (("ses-20190312", "ses-20200312"), [None, None]),
    ],
)
def test_an_mmse_given_once_is_that_of_the_first_or_only_visit(sessions, expected, tmp_path):
    for session in sessions:
        scan(tmp_path, "sub-1", session)
    tsv(tmp_path / "participants.tsv", [("participant_id", "diagnosis", "mmse"), ("sub-1", "CN", 29)])
    found = [None if np.isnan(value) else value for value in Caps(tmp_path).participants.mmse]
    assert found == expected


@pytest.mark.parametrize(
    ("column", "sessions", "expected"),
    [
        ("age", ("ses-M000", "ses-M018"), [70, 71.5]),
        ("age_bl", ("ses-M000", "ses-M018"), [70, 71.5]),
        ("age", ("ses-20190312",), [70]),
        ("age", ("ses-20190312", "ses-20200312"), [None, None]),
        ("age_bl", ("ses-20190312",), [None]),
        ("age_bl", ("ses-1", "ses-2"), [70, None]),
    ],
)
def test_age_grows_by_the_months_and_is_unknown_without_them(column, sessions, expected, tmp_path):
    for session in sessions:
        scan(tmp_path, "sub-1", session)
    tsv(tmp_path / "participants.tsv", [("participant_id", "diagnosis", column), ("sub-1", "CN", 70)])
    assert [None if np.isnan(age) else age for age in Caps(tmp_path).participants.age] == expected


def test_a_table_of_scans_follows_the_same_rule(tmp_path):
    rows = [("sub-1", "bl", "a.nii", "CN", 70), ("sub-1", "m24", "b.nii", "CN", 70), ("sub-2", "m06", "c.nii", "", "")]
    tsv(tmp_path / "t.tsv", [("participant_id", "session_id", "path", "DX_bl", "AGE_bl"), *rows])
    with collecting() as findings:
        people = open_cohort(str(tmp_path / "t.tsv")).participants
    assert list(people.group) == ["CN", "", ""] and list(people.age[:2]) == [70, 72]
    (finding,) = findings
    assert finding.kind == "no diagnosis" and not finding.fatal and "2 of 3 scans" in finding.value


def test_the_visit_outweighs_the_baseline_column_and_both_are_shown(tmp_path):
    scan(tmp_path, "sub-1", "ses-M000")
    tsv(tmp_path / "participants.tsv", [("participant_id", "diagnosis_sc"), ("sub-1", "CN")])
    tsv(tmp_path / "sessions.tsv", [("participant_id", "session_id", "diagnosis"), ("sub-1", "M00", "MCI")])
    assert groups(tmp_path) == ["MCI"]
    (finding,) = findings_of(tmp_path)
    assert finding.kind == "two diagnoses" and "'MCI'" in finding.value and "'CN'" in finding.value


# --- a diagnosis that improves


def visits(*known: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame([("sub-1", *each) for each in known], columns=["participant_id", "session_id", "group"])


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ([("ses-M000", "AD"), ("ses-M012", "CN")], []),
        ([("ses-M000", "CN"), ("ses-M012", "MCI"), ("ses-M024", "CN")], ["ses-M000"]),
        ([("ses-M000", "CN"), ("ses-M012", "CN"), ("ses-M024", "AD")], ["ses-M000", "ses-M012"]),
        ([("ses-2", "AD"), ("ses-10", "CN")], []),
        ([("ses-2", "CN"), ("ses-10", "AD")], ["ses-2"]),
        ([("sc", "MCI"), ("ses-M000", "CN")], []),
        ([("ses-M000", "CN"), ("ses-M012", "")], ["ses-M000"]),
        ([("ses-M000", "CN"), ("ses-02", "AD")], ["ses-M000"]),
        ([("d0099", "CN"), ("d2430", "AD")], ["d0099"]),
        ([("2010-03-12", "CN"), ("2012-04-01", "AD")], ["2010-03-12"]),
        ([("ses-20100312", "CN"), ("ses-20120401", "AD")], ["ses-20100312"]),
        ([("25032010", "AD"), ("01042012", "CN")], []),
        ([("ses-11152010", "AD"), ("ses-03012012", "CN")], []),
        ([("ses-V1", "CN"), ("ses-V2", "AD")], []),
    ],
)
def test_healthy_after_another_diagnosis_does_not_count(known, expected):
    """Where session ids do not say which visit is earlier, the other diagnosis may be: the scan is left out."""
    table = visits(*known)
    if not expected:
        with pytest.raises(InputError, match="follow another diagnosis"):
            ROLES.healthy_rows(table)
        assert "left out: 1 scan of 1 participant" in "".join(ROLES.left_out(table))
    else:
        assert list(ROLES.healthy_rows(table).session_id) == expected


def test_what_is_certain_and_what_is_not_are_two_reasons():
    first, *_ = ROLES.left_out(visits(("ses-M000", "AD"), ("ses-M012", "CN")))
    assert "after another diagnosis" in first
    first, *_ = ROLES.left_out(visits(("25032010", "AD"), ("01042012", "CN")))
    assert "session ids do not show" in first


def test_a_persons_diagnosis_is_that_at_baseline_where_visits_have_their_own(tmp_path):
    """AD in participants.tsv, then CN at the only visit of sessions.tsv: not healthy."""
    scan(tmp_path, "sub-1", "ses-M012")
    tsv(tmp_path / "participants.tsv", [("participant_id", "diagnosis"), ("sub-1", "AD")])
    tsv(tmp_path / "sessions.tsv", [("participant_id", "session_id", "diagnosis"), ("sub-1", "M12", "CN")])
    caps = Caps(tmp_path)
    with pytest.raises(InputError, match="follow another diagnosis"):
        ROLES.healthy_rows(caps.participants, visits_of(caps))
    scan(tmp_path, "sub-1", "ses-M000")
    tsv(tmp_path / "sessions.tsv", [("participant_id", "session_id", "diagnosis"), ("sub-1", "M00", "CN")])
    assert {finding.kind for finding in findings_of(tmp_path)} == {"two diagnoses", "no diagnosis"}


@pytest.mark.parametrize("column", ["DX.bl", "dx_bl", "Diagnosis baseline", "baseline_diagnosis", "DX_SC"])
def test_baseline_columns_in_every_spelling(column, tmp_path):
    rows = [("sub-1", "m12", "a.nii", "CN", "LMCI"), ("sub-2", "m12", "b.nii", "CN", "CN")]
    tsv(tmp_path / "t.tsv", [("participant_id", "session_id", "path", "DX", column), *rows])
    cohort = open_cohort(str(tmp_path / "t.tsv"))
    assert list(ROLES.healthy_rows(cohort.participants, visits_of(cohort)).participant_id) == ["sub-2"]
    with pytest.raises(InputError, match="2 of 2 scans"):  # a baseline value holds at baseline, chosen or not
        open_cohort(f"{tmp_path / 't.tsv'}:diagnosis={column}")


@pytest.mark.parametrize(("one", "other"), [("0001", "1"), ("sub-0001", "0001"), ("sub-abc8", "sub-ABC8")])
def test_one_participant_in_two_spellings_is_refused(one, other, tmp_path):
    """They trained and validated."""
    tsv(tmp_path / "t.tsv", [("participant_id", "path", "diagnosis"), (one, "a.nii", "CN"), (other, "b.nii", "CN")])
    with pytest.raises(InputError, match="seem to be the same participant"):
        open_cohort(str(tmp_path / "t.tsv"))


@pytest.mark.parametrize(
    ("first", "second", "ages"),
    [("ses-01", "ses-02", (70, 66)), ("20100312", "20120401", (70, 66)), ("d0010", "d0800", (70, 75))],
)
def test_ages_that_contradict_the_sessions_are_named(first, second, ages):
    table = pd.DataFrame([("sub-1", first, "CN", ages[0]), ("sub-1", second, "CN", ages[1])])
    table.columns = ["participant_id", "session_id", "group", "age"]
    found = people_findings(table.assign(sex="F"), table, ROLES)
    assert ("sessions", "sub-1") in {(finding.kind, finding.where) for finding in found}


def test_a_visit_without_a_scan_counts_for_the_order(tmp_path):
    scan(tmp_path, "sub-1", "ses-M024")
    scan(tmp_path, "sub-2", "ses-M024")
    rows = [("sub-1", "M00", "AD"), ("sub-1", "M24", "CN"), ("sub-2", "M24", "CN")]
    tsv(tmp_path / "sessions.tsv", [("participant_id", "session_id", "diagnosis"), *rows])
    caps = Caps(tmp_path)
    assert list(ROLES.healthy_rows(caps.participants, visits_of(caps)).participant_id) == ["sub-2"]


def test_a_check_names_who_improves_and_who_converts(images, tmp_path, capsys):
    rows = [("sub-1", "M00", "AD"), ("sub-1", "M24", "CN"), ("sub-2", "M00", "CN"), ("sub-2", "M24", "MCI")]
    for (who, session, _), image in zip(rows, images, strict=True):
        scan(tmp_path, who, f"ses-{session}", image)
    tsv(tmp_path / "sessions.tsv", [("participant_id", "session_id", "diagnosis"), *rows])
    _, out, _ = called(capsys, "cohort", "check", tmp_path, "--json")
    told = {
        f["where"]: (f["kind"], f["value"]) for f in json.loads(out)["findings"] if f["where"] in ("sub-1", "sub-2")
    }
    assert told["sub-1"] == ("diagnosis improves", "AD at ses-M000, CN at ses-M024")
    assert told["sub-2"] == ("converts", "CN at ses-M000, MCI at ses-M024")


# --- rows that are used, and rows that are not


def test_only_rows_that_are_used_are_judged(tmp_path):
    scan(tmp_path, "sub-1", "ses-M000")
    rows = [
        ("sub-1", "CN", 70, "F"),
        ("sub-2", "CN", "old", "other"),
        ("sub-3", "AD", "71,5", "3"),
        ("sub-3", "CN", 9, "M"),
    ]
    tsv(tmp_path / "participants.tsv", [("participant_id", "diagnosis", "age", "sex"), *rows])
    assert findings_of(tmp_path) == [] and list(Caps(tmp_path).participants.age) == [70]


@pytest.mark.parametrize(
    ("column", "text"), [("sex", "other"), ("sex", "1"), ("age", "89+"), ("age", ">89"), ("age", "720"), ("mmse", "88")]
)
def test_what_cannot_be_a_value_is_unknown_and_said(column, text, tmp_path):
    scan(tmp_path, "sub-1", "ses-M000")
    tsv(tmp_path / "participants.tsv", [("participant_id", "diagnosis", column), ("sub-1", "CN", text)])
    (finding,) = findings_of(tmp_path)
    assert finding.kind == column and not finding.fatal and f"'{text}'" in finding.value
    value = Caps(tmp_path).participants[column][0]
    assert value == "" if column == "sex" else np.isnan(value)


@pytest.mark.parametrize("text", ["71,5", "seventy", "7_0", "٧٠", "70 years"])
def test_a_number_that_cannot_be_read_is_refused(text, tmp_path):
    scan(tmp_path, "sub-1", "ses-M000")
    tsv(tmp_path / "participants.tsv", [("participant_id", "diagnosis", "age"), ("sub-1", "CN", text)])
    with pytest.raises(InputError, match="line 2"):
        Caps(tmp_path)


def test_rows_of_one_visit_may_agree_but_not_differ(tmp_path):
    scan(tmp_path, "sub-1", "ses-M000")
    head = ("participant_id", "session_id", "diagnosis", "age")
    agreeing = [("sub-1", "M00", "CN", 70), ("sub-1", "bl", "cn", "70.0"), ("sub-1", "M000", "n/a", "n/a")]
    tsv(tmp_path / "sessions.tsv", [head, *agreeing])
    assert list(Caps(tmp_path).participants.age) == [70]
    tsv(tmp_path / "sessions.tsv", [head, *agreeing, ("sub-1", "ses-M0", "AD", 70)])
    with pytest.raises(InputError, match=r"'cn' \(line 3\)|'CN' \(line 2\).*'AD' \(line 5\)"):
        Caps(tmp_path)


def test_sessions_that_the_tables_spell_otherwise_are_shown(tmp_path):
    scan(tmp_path, "sub-1", "ses-M000")
    tsv(tmp_path / "sessions.tsv", [("participant_id", "session_id", "diagnosis"), ("sub-1", "sc", "CN")])
    with pytest.raises(InputError, match="sub-1: CN at sc"):
        Caps(tmp_path)


def test_a_column_may_be_chosen(tmp_path):
    scan(tmp_path, "sub-1", "ses-M000")
    tsv(tmp_path / "participants.tsv", [("participant_id", "verdict", "dx", "sex"), ("sub-1", "CN", "AD", "F")])
    assert list(open_cohort(f"{tmp_path}:diagnosis=Verdict").participants.group) == ["CN"]
    with pytest.raises(InputError, match=r"no table has a column 'verdikt'.*participant_id, verdict, dx, sex"):
        open_cohort(f"{tmp_path}:diagnosis=verdikt")


def test_an_empty_column_beside_a_full_one_of_the_same_is_refused(tmp_path):
    scan(tmp_path, "sub-1", "ses-M000")
    tsv(tmp_path / "participants.tsv", [("participant_id", "diagnosis", "dx"), ("sub-1", "n/a", "CN")])
    with pytest.raises(InputError, match=r"'diagnosis' has no value but 'dx' has some.*PATH:diagnosis=dx"):
        Caps(tmp_path)
    assert list(open_cohort(f"{tmp_path}:diagnosis=dx").participants.group) == ["CN"]


def test_a_file_that_names_somebody_else_is_said(tmp_path):
    head = ("participant_id", "path", "diagnosis")
    rows = [("sub-01", "sub-02_pet.nii", "CN"), ("002_S_0295", "sub-ADNI002S0295_pet.nii", "CN"), ("9", "c.nii", "AD")]
    tsv(tmp_path / "t.tsv", [head, *rows])
    with collecting() as findings:
        open_cohort(str(tmp_path / "t.tsv"))
    (finding,) = findings
    assert (finding.kind, Path(finding.where).name) == (
        "label mismatch",
        "sub-02_pet.nii",
    ) and "sub-01" in finding.value


@pytest.mark.parametrize(
    ("who", "session", "said"), [("sub-2", "ses-M000", "sub-1"), ("sub-1", "ses-M012", "ses-M000")]
)
def test_a_scan_in_anothers_folder_is_said(who, session, said, tmp_path):
    folder = scan(tmp_path, who, session).parent
    scan(tmp_path / "other", "sub-1", "ses-M000").rename(folder / scan_path("sub-1", "ses-M000").with_suffix("").name)
    (folder / scan_path(who, session).with_suffix("").name).unlink()
    tsv(tmp_path / "participants.tsv", [("participant_id", "diagnosis"), (who, "CN")])
    (finding,) = findings_of(tmp_path)
    assert finding.kind == "label mismatch" and said in finding.value and not finding.fatal


def test_sessions_may_be_numbered_from_zero(tmp_path):
    """Where somebody has ses-00, nobody's ses-01 is the baseline."""
    for who, session in (("sub-1", "ses-00"), ("sub-1", "ses-01"), ("sub-2", "ses-01")):
        scan(tmp_path, who, session)
    tsv(tmp_path / "participants.tsv", [("participant_id", "diagnosis_bl"), ("sub-1", "CN"), ("sub-2", "CN")])
    assert groups(tmp_path) == ["CN", "", ""]


def test_a_row_without_a_session_in_a_table_of_visits_is_of_no_visit(tmp_path):
    scan(tmp_path, "sub-1", "ses-M000")
    scan(tmp_path, "sub-2", "ses-M000")
    rows = [("sub-1", "", "CN"), ("sub-2", "M00", "CN")]
    tsv(tmp_path / "sessions.tsv", [("participant_id", "session_id", "diagnosis"), *rows])
    assert groups(tmp_path) == ["", "CN"]


def test_numbers_as_diagnoses_are_not_guessed(tmp_path):
    scan(tmp_path, "sub-1", "ses-M000")
    tsv(tmp_path / "participants.tsv", [("participant_id", "diagnosis"), ("sub-1", "1")])
    table = Caps(tmp_path).participants
    with pytest.raises(InputError, match="codes"):
        ROLES.healthy_rows(table)
    assert len(Roles(("1",), ("3",)).healthy_rows(table)) == 1, "who chooses a code knows it"
