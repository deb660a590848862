"""Splits that others made: ClinicaDL's folders and manifests, read whole, refused with a reason, and kept to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from uadbench.cli.main import main
from uadbench.cohorts.base import keys_of
from uadbench.cohorts.findings import collecting
from uadbench.cohorts.io.sessions import canonical
from uadbench.cohorts.phantom import Phantom
from uadbench.cohorts.splits.listed import FORMAT, VERSION, Fold, GivenSplit, read_split, write_split
from uadbench.cohorts.splits.split import baseline
from uadbench.errors import InputError
from uadbench.protocols.schema import load_protocol
from uadbench.runs.fold_data import PARTS, Selection, plan_fold, split_manifest
from uadbench.runtime.commands import command
from uadbench.runtime.files import write_json

SMOKE = load_protocol("smoke")
ALL = load_protocol("smoke", {"split.sessions": "'all'"})
FOLDS = 5

Key = tuple[str, str]


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    """25 healthy people: 5 folds of 4, and 5 who test; 3 patients, of whom two test."""
    return Phantom(participants=25, patients=3, recipe=2)


def scans_of(phantom: Phantom, numbers: Iterable[int], letter: str = "P", first: bool = False) -> pd.DataFrame:
    table = phantom.participants
    rows = table[table.participant_id.isin([f"sub-{letter}{number:04d}" for number in numbers])]
    return baseline(rows) if first else rows.reset_index(drop=True)


def validating(fold: int) -> range:
    return range(4 * fold + 1, 4 * fold + 5)


def training(fold: int) -> list[int]:
    return [number for number in range(1, 21) if number not in validating(fold)]


def write(file: Path, rows: pd.DataFrame, spell: Callable[[str], str]) -> None:
    """A table as ClinicaDL writes it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    told = rows[["participant_id", "session_id", "group", "age", "sex"]].rename(columns={"group": "diagnosis"})
    told.assign(session_id=told.session_id.map(spell)).to_csv(file, sep="\t", index=False)


def clinicadl(phantom: Phantom, folder: Path, spell: Callable[[str], str] = lambda session: session) -> Path:
    """What `clinicadl tsvtools split` and `kfold` leave, with its sessions in some spelling."""
    everybody = range(1, 21)
    for name, first in (("train", False), ("train_baseline", True)):
        write(folder / f"{name}.tsv", scans_of(phantom, everybody, first=first), spell)
    tested = pd.concat([scans_of(phantom, range(21, 26), first=True), scans_of(phantom, (1, 2), "Q", first=True)])
    write(folder / "test_baseline.tsv", tested, spell)
    for fold in range(FOLDS):
        inside = folder / f"{FOLDS}_fold" / f"split-{fold}"
        write(inside / "train.tsv", scans_of(phantom, training(fold)), spell)
        write(inside / "train_baseline.tsv", scans_of(phantom, training(fold), first=True), spell)
        write(inside / "validation_baseline.tsv", scans_of(phantom, validating(fold), first=True), spell)
    return folder


@pytest.fixture
def split(phantom, tmp_path) -> Path:
    return clinicadl(phantom, tmp_path / "split")


def keys(rows: pd.DataFrame) -> tuple[Key, ...]:
    return tuple(sorted(keys_of(rows)))


def people(fold_data) -> dict[str, set[str]]:
    return {part: set(fold_data.rows[part].participant_id) for part in PARTS}


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(stopped.value.code or 0)


# --- ClinicaDL's folders


@pytest.mark.parametrize("place", [".", "5_fold"])
def test_the_folder_or_that_of_its_folds(place, split, phantom):
    found = read_split(split / place)
    assert found.source == str(split / place) and len(found.folds) == FOLDS
    assert [key[0] for key in found.test] == [f"sub-P{k:04d}" for k in range(21, 26)] + ["sub-Q0001", "sub-Q0002"]
    for number, fold in enumerate(found.folds):
        assert fold.train == keys(scans_of(phantom, training(number)))
        assert fold.first == keys(scans_of(phantom, training(number), first=True))
        assert fold.validation == keys(scans_of(phantom, validating(number), first=True))
        assert len(fold.train) > len(fold.first) == 16
    assert found.everyone == set(phantom.participants.participant_id) - {"sub-Q0003"}


def test_those_who_are_listed_train_validate_and_test(split, phantom):
    given_split = read_split(split)
    for fold in range(FOLDS):
        for protocol in (SMOKE, ALL):
            found = plan_fold(phantom, protocol, fold, selection=Selection(split=given_split))
            expected = scans_of(phantom, training(fold), first=protocol is SMOKE)
            assert keys(found.rows["train"]) == keys(expected)
            assert people(found)["validation"] == set(scans_of(phantom, validating(fold)).participant_id)
            assert people(found)["test"] == {f"sub-P{k:04d}" for k in range(21, 26)}
            assert people(found)["patients"] == {"sub-Q0001", "sub-Q0002"}


@pytest.mark.parametrize(
    "spell",
    [
        lambda s: f"ses-M{int(s[5:]):02d}",
        lambda s: f"M{int(s[5:])}",
        lambda s: "bl" if s == "ses-M000" else f"m{s[5:]}",
    ],
)
def test_sessions_may_be_spelled_otherwise(spell, split, phantom, tmp_path):
    other = read_split(clinicadl(phantom, tmp_path / "other", spell))
    assert (other.folds, other.test) == (read_split(split).folds, read_split(split).test)


def test_ten_folds_stay_in_their_order(split, phantom):
    for number in range(5, 12):
        shutil.copytree(split / "5_fold" / f"split-{number % 5}", split / "5_fold" / f"split-{number}")
    expected = [keys(scans_of(phantom, validating(number % 5), first=True)) for number in range(12)]
    assert [fold.validation for fold in read_split(split).folds] == expected, "split-10 comes after split-9"


def test_two_folders_of_folds(split):
    shutil.copytree(split / "5_fold", split / "3_fold")
    shutil.rmtree(split / "3_fold" / "split-4")
    with pytest.raises(InputError, match="split: has 3_fold, 5_fold; give one of them"):
        read_split(split)
    assert len(read_split(split / "3_fold").folds) == 4 and len(read_split(split / "5_fold").folds) == 5


def test_tables_of_all_sessions_do_where_those_of_baseline_are_missing(split, phantom):
    (split / "5_fold" / "split-0" / "train_baseline.tsv").unlink()
    write(split / "test.tsv", scans_of(phantom, range(21, 26)), str)
    (split / "test_baseline.tsv").unlink()
    found = plan_fold(phantom, ALL, 0, selection=Selection(split=read_split(split)))
    assert keys(found.rows["train"]) == keys(scans_of(phantom, training(0)))
    assert keys(found.rows["test"]) == keys(scans_of(phantom, range(21, 26), first=True))


def test_only_first_sessions_train_where_the_protocol_says_so(split, phantom):
    (split / "5_fold" / "split-0" / "train_baseline.tsv").unlink()
    found = plan_fold(phantom, SMOKE, 0, selection=Selection(split=read_split(split)))
    assert keys(found.rows["train"]) == keys(scans_of(phantom, training(0), first=True))


def test_without_tables_of_all_sessions_those_of_baseline_train(split, phantom):
    (split / "5_fold" / "split-0" / "train.tsv").unlink()
    found = plan_fold(phantom, ALL, 0, selection=Selection(split=read_split(split)))
    assert keys(found.rows["train"]) == keys(scans_of(phantom, training(0), first=True))


def lose(*names: str) -> Callable[[Path], None]:
    def remove(split: Path) -> None:
        for name in names:
            shutil.rmtree(split / name) if (split / name).is_dir() else (split / name).unlink()

    return remove


def instead(name: str, text: str) -> Callable[[Path], object]:
    return lambda split: (split / name).write_text(text)


VALIDATION = "5_fold/split-2/validation_baseline.tsv"
BROKEN = {
    "nothing there": (lose("."), "no such file or folder; give ClinicaDL's split folder"),
    "no folds": (lose("5_fold"), "has no <k>_fold/split-0; run 'clinicadl tsvtools kfold'"),
    "an empty folder of folds": (lambda s: (lose("5_fold")(s), (s / "5_fold").mkdir()), "has no <k>_fold/split-0"),
    "no test": (lose("test_baseline.tsv"), r"has no test_baseline\.tsv; .*--subset_name test"),
    "named by default": (
        lambda s: (s / "test_baseline.tsv").rename(s / "validation_baseline.tsv"),
        r"has no test_baseline\.tsv, but validation_baseline\.tsv.*--subset_name test",
    ),
    "no validation": (lose(VALIDATION), r"split-2: has no validation_baseline\.tsv"),
    "no train": (lose("5_fold/split-1/train.tsv", "5_fold/split-1/train_baseline.tsv"), "split-1: has no train_basel"),
    "no table": (instead(VALIDATION, ""), "validation_baseline.tsv: is empty"),
    "no ids": (
        instead(VALIDATION, "subject\tsession_id\nsub-1\tM0\n"),
        "has no column 'participant_id'; .*known are: subj",
    ),
    "no sessions": (instead(VALIDATION, "participant_id\nsub-1\n"), "has no column 'session_id'"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_folders(kind, split):
    damage, expected = BROKEN[kind]
    damage(split)
    with pytest.raises(InputError, match=expected) as caught:
        read_split(split)
    assert str(caught.value).startswith(str(split)) and "\n" not in str(caught.value)


# --- nobody is in two parts


def add(table: Path, participant: str, session: str = "ses-M060") -> None:
    with table.open("a") as lines:
        lines.write(f"{participant}\t{session}\tCN\t70\tF\n")


@pytest.mark.parametrize(
    ("table", "participant", "said"),
    [
        ("5_fold/split-0/validation_baseline.tsv", "sub-P0007", "fold 0: participant sub-P0007 is in train and valid"),
        ("5_fold/split-3/train.tsv", "sub-P0013", "fold 3: participant sub-P0013 is in train and validation"),
        ("5_fold/split-3/train_baseline.tsv", "sub-P0014", "fold 3: participant sub-P0014 is in train and validation"),
        ("test_baseline.tsv", "sub-P0005", "fold 0: participant sub-P0005 is in train and test"),
        ("test_baseline.tsv", "sub-P0001", "fold 0: participant sub-P0001 is in validation and test"),
        ("5_fold/split-4/train.tsv", "sub-P0025", "fold 4: participant sub-P0025 is in train and test"),
    ],
)
def test_a_leak_is_named(table, participant, said, split):
    add(split / table, participant)
    with pytest.raises(InputError, match=f"{split}: {said}.*each participant belongs to one part"):
        read_split(split)


def test_all_leaks_are_told_to_who_collects(split):
    add(split / "test_baseline.tsv", "sub-P0005")
    add(split / "5_fold" / "split-0" / "validation_baseline.tsv", "sub-P0009")
    with collecting() as told:
        read_split(split)
    assert {finding.kind for finding in told} == {"two parts"} and all(finding.fatal for finding in told)
    said = [finding.value for finding in told]
    assert [text for text in said if "P0009" in text] == ["fold 0: participant sub-P0009 is in train and validation"]
    assert len([text for text in said if "P0005" in text]) == FOLDS, "it trains or validates in every fold"


def test_a_leak_in_a_manifest_is_named(tmp_path):
    fold = {"train": [["a", "M0"], ["b", "M12"]], "first": [["a", "M0"]], "validation": [["b", "M0"]]}
    write_json(tmp_path / "s.json", {FORMAT: VERSION, "test": [["c", "M0"]], "folds": [fold]})
    with pytest.raises(InputError, match="participant b is in train and validation"):
        read_split(tmp_path / "s.json")


# --- manifests

IDS = st.text(min_size=1, max_size=6)
SESSIONS = st.sampled_from(["ses-M000", "ses-M012", "ses-20150317"])
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def splits(draw: st.DrawFn) -> GivenSplit:
    """Some people with a session or two, everybody in one part of each fold."""
    names = draw(st.lists(IDS, min_size=3, max_size=9, unique=True))
    scans = {name: sorted(draw(st.sets(SESSIONS, min_size=1))) for name in names}

    def listed(part: list[str]) -> tuple[Key, ...]:
        return tuple(sorted((name, session) for name in part for session in scans[name]))

    test, pool = names[:1], names[1:]
    folds = []
    for _ in range(draw(st.integers(1, 3))):
        learners = draw(st.sets(st.sampled_from(pool)))
        train = listed([name for name in pool if name in learners])
        first = tuple(key for place, key in enumerate(train) if place == 0 or train[place - 1][0] != key[0])
        folds.append(Fold(train, first, listed([name for name in pool if name not in learners])))
    return GivenSplit("somewhere", listed(test), tuple(folds))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(splits())
def test_a_manifest_is_read_as_it_was_written(tmp_path, made):
    file = tmp_path / "split.json"
    write_json(file, write_split(made))
    found = read_split(file)
    assert (found.test, found.folds, found.source) == (made.test, made.folds, str(file))
    assert set(json.loads(file.read_text())) == {FORMAT, "source", "test", "folds"}


def read_or_refuse(file: Path) -> None:
    try:
        found = read_split(file)
    except InputError as error:
        assert str(error).startswith(str(file)) and "\n" not in str(error)
    else:
        assert all(canonical(session) == session for fold in found.folds for _, session in (*fold.train, *found.test))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ANY_JSON)
def test_any_json_is_a_split_or_is_refused(tmp_path, content):
    (tmp_path / "s.json").write_text(json.dumps(content))
    read_or_refuse(tmp_path / "s.json")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_a_manifest_with_anything_in_any_place_is_a_split_or_is_refused(tmp_path, data):
    manifest = {
        FORMAT: VERSION,
        "source": "x",
        "test": [["a", "M0"], ["b", "M0"]],
        "folds": [{"train": [["c", "M0"], ["c", "M12"]], "first": [["c", "M0"]], "validation": [["d", "M0"]]}],
    }
    inside = manifest
    while True:  # walk down some way, and put something there
        place = data.draw(st.sampled_from(sorted(inside) if isinstance(inside, dict) else range(len(inside))))
        if not isinstance(inside[place], list | dict) or data.draw(st.booleans()):
            break
        inside = inside[place]
    inside[place] = data.draw(ANY_JSON)
    (tmp_path / "s.json").write_text(json.dumps(manifest))
    read_or_refuse(tmp_path / "s.json")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "not a valid split .*not a readable JSON"),
        (b"\xff\xfe\x00", "not a valid split .*not a readable JSON"),
        (b"{}", "not a valid split .KeyError"),
        (b'{"uadbench_split": 2}', "is a split of version 2, not 1; update uadbench"),
        (b'{"uadbench_split": 1, "test": [["a"]], "folds": []}', "not a valid split .ValueError"),
        (
            b'{"uadbench_split": 1, "test": [[1, "M0"]], "folds": []}',
            "not a valid split .TypeError: 1, 'M0' are not ids",
        ),
        (b"[" * 100_000, "not a valid split"),
    ],
)
def test_no_manifest(raw, said, tmp_path):
    (tmp_path / "s.json").write_bytes(raw)
    with pytest.raises(InputError, match=said):
        read_split(tmp_path / "s.json")


# --- a split that uadbench made


def test_a_manifest_gives_every_fold_as_the_protocol_does(phantom, tmp_path):
    for protocol in (SMOKE, ALL):
        write_json(tmp_path / "s.json", split_manifest(phantom, protocol, Selection()))
        listed = read_split(tmp_path / "s.json")
        assert len(listed.folds) == protocol.split.folds
        for fold in range(protocol.split.folds):
            own = plan_fold(phantom, protocol, fold)
            found = plan_fold(phantom, protocol, fold, selection=Selection(split=listed))
            assert found.split.digest == own.split.digest and (own.origin, found.origin) == ("scaled", "given")
            for part in PARTS:
                pd.testing.assert_frame_equal(*(each.rows[part].reset_index(drop=True) for each in (found, own)))
            assert found.testset_recipe == own.testset_recipe


@pytest.mark.slow
def test_split_then_run_is_run(tmp_path, capsys):
    """`uadbench cohort split` and `run --split` give the scores of `run` alone, to the hash."""
    cohort = "phantom:participants=16,patients=2,recipe=2"
    split = tmp_path / "split.json"
    assert call("cohort", "split", cohort, "--output", str(split), "--protocol", "smoke") == 0
    hint = command("uadbench", "run", model="vae3d", protocol="smoke", cohort=cohort, split=split)
    assert f"3 folds in {split}; use it with: {hint}" in capsys.readouterr().out
    options = ["--model", "mean", "--protocol", "smoke", "--cohort", cohort, "--tracking-uri", "none", "--json"]
    options += ["--set", "protocol.testsets.anomalies=['ad']"]
    results = []
    for name, given_split in (("own", []), ("given", ["--split", str(split)])):
        assert call("run", *options, *given_split, "--output", str(tmp_path / name)) == 0
        printed = capsys.readouterr()
        (found,) = json.loads(printed.out)["results"]
        assert ("as listed" in printed.err) == (name == "given")
        results.append(found["result"])
    own, given_result = results
    for key in ("fit_key", "testset", "score_hash", "headline"):
        assert own[key] == given_result[key], key
    assert own["cohort"]["split"] == given_result["cohort"]["split"]
    assert (own["cohort"]["origin"], given_result["cohort"]["origin"]) == ("scaled", "given")


def test_clinicadls_split_as_a_manifest(split, phantom, tmp_path, capsys):
    cohort, manifest = "phantom:participants=25,patients=3,recipe=2", tmp_path / "split.json"
    options = ["--protocol", str(tmp_path / "all.toml"), "--split", str(split / "5_fold")]
    smoke = Path(__file__).parents[3] / "uadbench" / "protocols" / "smoke.toml"
    (tmp_path / "all.toml").write_text(smoke.read_text().replace('sessions = "baseline"', 'sessions = "all"'))
    assert call("cohort", "split", cohort, "--output", str(manifest), *options) == 0, capsys.readouterr().err
    found, source = read_split(manifest), read_split(split)
    assert found.folds == source.folds and found.test == source.test


@pytest.mark.parametrize("arguments", [["--fold", "5"], ["--fold", "all", "--healthy", "SMC"]])
def test_bad_use_is_one_line(arguments, split, tmp_path, capsys):
    options = ["--model", "mean", "--protocol", "smoke", "--cohort", "phantom:participants=25,patients=3,recipe=2"]
    code = call("run", *options, "--split", str(split), "--output", str(tmp_path), *arguments)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert code == 2 and len(lines) == 1
    assert ("has folds 0 to 4" if "5" in arguments else "no scan has the diagnosis SMC") in lines[0]


def test_every_fold_of_a_given_split_is_run(split, tmp_path, capsys):
    """Smoke has three folds, the split five."""
    options = [
        "--model",
        "mean",
        "--protocol",
        "smoke",
        "--cohort",
        "phantom:participants=25,patients=3,recipe=2",
        "--dry-run",
    ]
    assert call("run", *options, "--split", str(split), "--fold", "all", "--output", str(tmp_path), "--json") == 0
    planned = json.loads(capsys.readouterr().out)
    assert [row["fold"] for row in planned] == [0, 1, 2, 3, 4] and len({row["folder"] for row in planned}) == 5
