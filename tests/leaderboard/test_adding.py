"""A run comes into the leaderboard: checked, slimmed, without a private id; or it does not, and nothing is written."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import nibabel
import pandas as pd
import pytest

from tests.leaderboard.builder import CPU, copied_run, edited
from uadbench.cohorts.opening import open_cohort
from uadbench.cohorts.phantom import Phantom
from uadbench.cohorts.splits.listed import Fold, GivenSplit
from uadbench.cohorts.splits.split import baseline
from uadbench.errors import InputError
from uadbench.leaderboard.checks import protocol_file, recomputed, require_sound
from uadbench.leaderboard.committing import add, generated
from uadbench.leaderboard.entries import RESULTS, read_entries, result_path, slim
from uadbench.protocols.schema import load_protocol
from uadbench.results.schema import PEOPLE, RESULT, read_result, write_result
from uadbench.results.scores import SCORES, read_scores, score_hash, write_table
from uadbench.runs.fold_data import FoldData, Selection, plan_fold
from uadbench.runs.keys import Run
from uadbench.runs.run import complete
from uadbench.runtime.progress import Silent

SITES = ("Paris-Salpetriere", "Rouen")
SESSION = "ses-20150317"


@pytest.fixture
def run(mean_run, tmp_path) -> Path:
    """A real run, to be changed."""
    return copied_run(mean_run, tmp_path / "run")


def refused(run: Path, root: Path) -> str:
    """Why a run is not taken; fails if anything was written."""
    home = root.parent
    before = sorted(home.rglob("*"))
    with pytest.raises(InputError) as error:
        add(run, root)
    assert sorted(home.rglob("*")) == before
    assert str(error.value).isprintable()
    return str(error.value)


def files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_real_run(run, mean_run, tmp_path) -> None:
    root = tmp_path / "leaderboard"
    entry = add(run, root)
    told, table = read_result(mean_run), read_scores(mean_run)
    assert entry.file == root / RESULTS / result_path(told)
    (read,) = read_entries(root)
    assert read == entry
    pd.testing.assert_frame_equal(entry.scores(), slim(table))
    require_sound(entry, root)
    assert set(files(root)) == {
        f"{RESULTS}/{result_path(told)}",
        f"{RESULTS}/{result_path(told).with_suffix('.parquet')}",
        protocol_file(root, told).relative_to(root).as_posix(),
    }
    same = {"model", "cohort", "protocol", "fold", "seed", "fit_key", "eval_key", "testset", "training", "cost"}
    assert entry.result.model_dump(include=same) == told.model_dump(include=same)
    assert entry.result.headline.ap_standard == pytest.approx(told.headline.ap_standard, rel=2e-6)
    assert entry.result.score_hash == score_hash(slim(table)) != told.score_hash


def test_adding_twice_gives_the_same_bytes(run, tmp_path) -> None:
    root = tmp_path / "leaderboard"
    add(run, root)
    once = files(root)
    add(run / RESULT, root)
    assert files(root) == once


def test_scores_that_were_changed_after_the_result_was_written(run, tmp_path) -> None:
    table = read_scores(run)
    for column, value in (("ap.standard", 1.0), ("residual.truth.mse", 0.0)):
        row = table.index[table["anomaly"] == "ad"][0]
        write_table(table.assign(**{column: table[column].where(table.index != row, value)}), run / SCORES)
        reason = refused(run, tmp_path / "leaderboard")
        assert "but its cases give" in reason


def test_a_case_that_was_taken_out_after_the_result_was_written(run, tmp_path) -> None:
    table = read_scores(run)
    write_table(table.drop(table.index[0]), run / SCORES)
    refused(run, tmp_path / "leaderboard")


def test_a_result_that_was_changed(run, tmp_path) -> None:
    write_result(edited(read_result(run), headline__ap_standard=0.99), run)
    assert "headline.ap_standard is 0.99, but its cases give 0." in refused(run, tmp_path / "leaderboard")


def test_an_incomplete_test_set(run, tmp_path) -> None:
    """The run was made so, and tells what its cases say."""
    from uadbench.leaderboard.checks import recomputed

    table = read_scores(run)
    left = table[~((table["anomaly"] == "unseen") & (table["severity"] == 0.5))].reset_index(drop=True)
    write_table(left, run / SCORES)
    write_result(recomputed(read_result(run), left, load_protocol("smoke")), run)
    assert "unseen at 50% has 0 cases of 8 participants" in refused(run, tmp_path / "leaderboard")


def test_what_is_no_run(run, tmp_path) -> None:
    root = tmp_path / "leaderboard"
    assert "no result here" in refused(tmp_path / "none", root)
    (run / SCORES).unlink()
    assert "cannot be read" in refused(run, root)
    (run / RESULT).write_text("{")
    assert "not a readable JSON file" in refused(run, root)


def test_another_protocol_beside_the_result(run, tmp_path) -> None:
    stored = json.loads((run / "protocol.json").read_text())
    (run / "protocol.json").write_text(json.dumps(stored | {"ranking": {"severities": [0.5]}}))
    assert "protocol.json is not the protocol" in refused(run, tmp_path / "leaderboard")


# --- protocols that are not ranked


@pytest.fixture(scope="module")
def changed_run(tmp_path_factory) -> Path:
    """As with `--set protocol.ranking.severities=[0.5]`."""
    fold_data = plan_fold(open_cohort("phantom"), load_protocol("smoke", {"ranking.severities": "[0.5]"}), 0)
    return complete(Run("mean", fold_data, 0), tmp_path_factory.mktemp("changed"), CPU, Silent()).folder


def test_a_protocol_that_was_changed_is_not_ranked(changed_run, tmp_path) -> None:
    run = copied_run(changed_run, tmp_path / "run")
    reason = refused(run, tmp_path / "leaderboard")
    assert reason.startswith(f"{run}: protocol smoke was changed")


def test_a_protocol_that_was_changed_is_not_ranked_whatever_the_result_says(changed_run, tmp_path) -> None:
    run = copied_run(changed_run, tmp_path / "run")
    write_result(edited(read_result(run), protocol__ranked=True), run)
    assert "was changed for this run" in refused(run, tmp_path / "leaderboard")


# --- what a run folder tells to do harm


@pytest.mark.parametrize(
    "changes",
    [
        {"model__name": "<script>alert(1)</script>"},
        {"model__options": {"<b>": 1}},
        {"protocol__name": "quick"},
    ],
    ids=str,
)
def test_names_that_nobody_will_read(run, tmp_path, changes: dict[str, Any]) -> None:
    write_result(edited(read_result(run), **changes), run)
    refused(run, tmp_path / "leaderboard")


@pytest.mark.parametrize(
    "changes",
    [
        {"fit_key": "/../../../"},
        {"protocol__name": "../../outside"},
    ],
    ids=str,
)
def test_nothing_is_written_elsewhere(run, tmp_path, changes: dict[str, Any]) -> None:
    write_result(edited(read_result(run), **changes), run)
    refused(run, tmp_path / "deep" / "leaderboard")


@pytest.mark.parametrize("spelled", ["NaN", '"inf"'])
def test_costs_that_are_no_numbers(run, tmp_path, spelled: str) -> None:
    text = (run / RESULT).read_text()
    (run / RESULT).write_text(re.sub(r'"train_seconds": [\d.]+', f'"train_seconds": {spelled}', text))
    refused(run, tmp_path / "leaderboard")


def test_text_that_no_file_can_hold(run, tmp_path) -> None:
    text = (run / RESULT).read_text()
    (run / RESULT).write_text(text.replace('"reference": ""', '"reference": "\\ud800"'))
    assert "\\ud800" in (run / RESULT).read_text()
    refused(run, tmp_path / "leaderboard")


# --- a private cohort


def written(folder: Path) -> Path:
    """A lab's table: 24 healthy people of two sites and two patients of each diagnosis, on the protocol's grid."""
    phantom = Phantom(participants=24, patients=2)
    scans = phantom.scans(load_protocol("smoke").lattice, baseline(phantom.participants))
    lines = ["participant_id\tsession_id\tpath\tdiagnosis\tage\tsex\tsite"]
    for number, scan in enumerate(scans, start=1):
        nibabel.save(nibabel.Nifti1Image(scan.data, scan.affine), folder / f"{number}.nii")
        name = f"sub-ADNI{number:02d}S{4000 + number}"
        about = (name, SESSION, f"{number}.nii", scan.group, scan.age, scan.sex, SITES[number % 2])
        lines.append("\t".join(map(str, about)))
    (folder / "scans.tsv").write_text("\n".join(lines))
    return folder / "scans.tsv"


@pytest.fixture(scope="module")
def private(tmp_path_factory) -> FoldData:
    """Four train, four validate, the other sixteen test, under smoke as it is."""
    cohort = open_cohort(str(written(tmp_path_factory.mktemp("lab"))))
    people = cohort.participants
    keys = [(str(who), SESSION) for who in people.participant_id]
    healthy = [key for key, group in zip(keys, people.group, strict=True) if group == "CN"]
    fold = Fold(tuple(healthy[:4]), tuple(healthy[:4]), tuple(healthy[4:8]))
    split = GivenSplit("split", tuple(healthy[8:]), (fold,))
    return plan_fold(cohort, load_protocol("smoke"), 0, Silent(), Selection(split=split))


@pytest.fixture(scope="module")
def private_run(private, tmp_path_factory) -> Path:
    return complete(Run("zscore", private, 0), tmp_path_factory.mktemp("private"), CPU, Silent()).folder


def leaks(root: Path, words: set[str]) -> set[str]:
    """The words that are in any file, tables unpacked, or in a file's name."""
    found = set()
    for file in (path for path in root.rglob("*") if path.is_file()):
        text = str(file.relative_to(root)) + file.read_bytes().decode("latin-1")
        if file.suffix == ".parquet":
            text += pd.read_parquet(file).to_csv()
        found |= {word for word in words if word in text}
    return found


@pytest.mark.slow
def test_a_private_cohort_comes_in_as_hashes(private, private_run, tmp_path) -> None:
    root = tmp_path / "leaderboard"
    entry = add(private_run, root)
    ids = {str(who) for who in private.cohort.participants.participant_id}
    words = ids | {name.removeprefix("sub-") for name in ids} | {SESSION, *SITES, str(private.cohort.name) + ".tsv"}
    for file, text in generated(root)[1].items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert leaks(root, words) == set()
    assert leaks(private_run, words) >= ids, "this looks for them well"
    table = entry.scores()
    assert table["participant_id"].str.fullmatch("anon-[0-9a-f]{16}").all()
    assert table["session_id"].str.fullmatch("ses-[0-9a-f]{16}").all()
    assert table["site"].dropna().str.fullmatch("site-[0-9a-f]{4}").all() and table["site"].nunique() == 2
    assert table["participant_id"].nunique() == 24
    require_sound(entry, root)
    assert entry.result.headline.ap_standard == pytest.approx(read_result(private_run).headline.ap_standard, rel=1e-5)
    once = files(root / RESULTS)
    add(private_run, root)
    assert files(root / RESULTS) == once, "one secret, always the same hashes"


def test_draws_that_do_not_follow_from_the_hashes_are_refused(private_run, tmp_path) -> None:
    """As those of schema version 3 would not, whatever version they say they are."""
    run = copied_run(private_run, tmp_path / "run")
    table = read_scores(run)
    renamed = {name: f"anon-{place:016x}" for place, name in enumerate(sorted(set(table["participant_id"])))}
    for names, reason in (
        (table["participant_id"].map(renamed), "it must be|not those that protocol and participants determine"),
        (table["participant_id"].str.replace("anon-", "sub-"), r"participant sub-\S+ is not a pseudonym"),
    ):
        other = table.assign(participant_id=names)
        write_table(other, run / SCORES)
        write_result(recomputed(read_result(private_run), other, load_protocol("smoke")), run)
        with pytest.raises(InputError, match=reason):
            add(run, tmp_path / "leaderboard")
    assert not (tmp_path / "leaderboard").exists()


@pytest.mark.parametrize("root", [".", "inside"])
def test_a_board_does_not_lie_in_the_run(root, private_run, tmp_path) -> None:
    run = copied_run(private_run, tmp_path / "run")
    before = files(run)
    with pytest.raises(InputError, match="one lies in the other"):
        add(run, run / root)
    assert files(run) == before


def test_an_id_in_an_option_is_refused(private_run, tmp_path) -> None:
    run = copied_run(private_run, tmp_path / "run")
    shutil.copy(private_run / PEOPLE, run / PEOPLE)
    write_result(edited(read_result(run), model__options={"prior": "/data/sub-ADNI09S4009/prior.nii"}), run)
    assert "which names a participant" in refused_whole(run, tmp_path)


def refused_whole(run: Path, folder: Path) -> str:
    with pytest.raises(InputError) as error:
        add(run, folder / "leaderboard")
    assert not (folder / "leaderboard").exists()
    return str(error.value)


def test_a_private_cohort_that_calls_itself_public(private_run, tmp_path) -> None:
    run = copied_run(private_run, tmp_path / "run")
    write_result(edited(read_result(run), cohort__public=True), run)
    reason = refused_whole(run, tmp_path)
    assert re.search(r"cohort \S+ is not public", reason)
    shutil.rmtree(run)
