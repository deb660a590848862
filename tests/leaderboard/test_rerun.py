"""Committed runs trained and evaluated again: what agrees, what does not, and who is a badge given to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.leaderboard.builder import (
    CPU,
    commit,
    consistent,
    copy_of,
    edited,
    made_up,
    run_folder,
    shifted,
    the,
)
from uadbench.cli.main import main
from uadbench.cli.reruns import print_rerun
from uadbench.errors import InputError
from uadbench.leaderboard.boards import REPRODUCED, boards
from uadbench.leaderboard.committing import add
from uadbench.leaderboard.entries import RESULTS, read_entries
from uadbench.leaderboard.rerun import Rerun, keep, rerun
from uadbench.leaderboard.tolerance import changes
from uadbench.runtime.progress import Silent


@pytest.fixture(scope="module")
def output(tmp_path_factory) -> Path:
    """Where reruns go."""
    return tmp_path_factory.mktemp("verify")


@pytest.fixture
def lone(committed, tmp_path) -> Path:
    """A leaderboard folder with `zscore` alone."""
    root = copy_of(committed, tmp_path / "leaderboard")
    shutil.rmtree(root / RESULTS / "smoke" / "phantom" / "mean")
    return root


def verify(capsys: pytest.CaptureFixture[str], root: Path, output: Path, *arguments: str) -> tuple[int, str, str]:
    """`leaderboard verify` in this process: exit code, stdout, stderr."""
    options = ["--root", str(root), "--output", str(output), "--device", "cpu"]
    with pytest.raises(SystemExit) as stopped:
        main(["leaderboard", "verify", *options, *arguments])
    printed = capsys.readouterr()
    return int(stopped.value.code or 0), printed.out, printed.err


def badges(root: Path) -> dict[str, bool]:
    return {row.name: row.reproduced for board in boards(list(read_entries(root)), root) for row in board.rows}


def test_a_rerun_that_agrees_gives_the_badge(root, output, capsys) -> None:
    entry = the(root, "zscore")
    code, out, err = verify(capsys, root, output, "--rerun", "zscore", "--protocol", "smoke", "--seed", "0")
    assert code == 0, err
    assert "2 of 2 committed results pass" in out
    ap = f"ranking AP {entry.result.headline.ap_standard:.4f}"
    assert f"zscore smoke fold 0 seed 0: {ap}" in out and "metrics agree" in out
    assert badges(root) == {"mean": False, "zscore": True}
    told = json.loads((root / REPRODUCED).read_text())
    assert list(told) == [entry.result.score_hash]
    known_by = told[entry.result.score_hash]
    assert known_by["result"] == entry.file.relative_to(root).as_posix()
    assert abs(known_by["difference"]) <= known_by["tolerance"] and known_by["device"].startswith("cpu")


def test_a_forged_result_is_sound_but_is_not_made_again(lone, output, capsys) -> None:
    """Its cases were changed, and everything computed from them again."""
    entry = the(lone, "zscore")
    forged = consistent(lone, entry.result, shifted(entry.scores(), 0.1))
    gained = forged.result.headline.ap_standard - entry.result.headline.ap_standard
    assert gained > 0.03
    assert verify(capsys, lone, output)[0] == 0
    code, out, _ = verify(capsys, lone, output, "--rerun", "zscore")
    assert code == 1
    assert f"ranking AP: {forged.result.headline.ap_standard} -> {entry.result.headline.ap_standard}" in out
    assert badges(lone) == {"zscore": False} and "zscore" not in (lone / REPRODUCED).read_text()


def test_what_is_better_than_committed_is_no_reproduction_either(lone, output, capsys) -> None:
    entry = the(lone, "zscore")
    forged = consistent(lone, entry.result, shifted(entry.scores(), -0.1))
    code, out, _ = verify(capsys, lone, output, "--rerun", "zscore", "--json")
    (found,) = json.loads(out)["reruns"]
    assert code == 1 and not found["holds"] and found["file"] == str(forged.file)
    changes_by_name = {change["metric"]: change for change in found["changes"]}
    assert changes_by_name["ranking AP"]["verdict"] == "better"
    assert changes_by_name["AUROC patients"]["verdict"] == "same"
    assert badges(lone) == {"zscore": False}


def test_seeds_of_a_row_widen_what_agrees(lone, output) -> None:
    """Three seeds that lie apart by more than what one result's interval allows."""
    entry = the(lone, "zscore")
    moved = [made_up(lone, entry, "zscore", by, seed=seed, noise=0) for seed, by in ((1, 0.05), (2, -0.05))]
    moved.append(consistent(lone, entry.result, shifted(entry.scores(), 0.03)))
    together = rerun(moved[-1], moved, lone, output, CPU, Silent())
    alone = changes(together.result, [moved[-1].result])
    assert next(change.verdict for change in alone if change.metric == "ranking AP") == "worse"
    assert "ranking AP" not in {change.metric for change in together.moved}
    for one, other in zip(alone, together.changes, strict=True):
        assert other.tolerance is None or other.tolerance >= one.tolerance


def test_what_is_not_sound_is_not_made_again(lone, output, capsys) -> None:
    entry = the(lone, "zscore")
    commit(lone, edited(entry.result, headline__ap_standard=0.99), entry.scores())
    code, out, _ = verify(capsys, lone, output, "--rerun", "zscore")
    assert code == 1
    assert "failed: " in out and "headline.ap_standard is 0.99, but its cases give 0." in out
    assert "0 of 1 committed results pass" in out
    assert not (lone / REPRODUCED).exists()


# --- other people


@pytest.mark.slow
def test_on_other_people_intervals_meet_or_do_not(lone, output, capsys) -> None:
    entry = the(lone, "zscore")
    table = entry.scores()
    before = {path: path.read_bytes() for path in lone.rglob("*") if path.is_file()}
    code, out, err = verify(capsys, lone, output, "--rerun", "zscore", "--cohort-seed", "7")
    assert code == 0, err
    assert "on phantom:seed=7: the intervals overlap" in out
    assert f"{entry.result.headline.ap_standard:.4f}" in out
    assert {path: path.read_bytes() for path in before} == before
    assert badges(lone) == {"zscore": False}, "other people are no reproduction"
    consistent(lone, entry.result, shifted(table, -0.5))
    code, out, _ = verify(capsys, lone, output, "--rerun", "zscore", "--cohort-seed", "7", "--json")
    (told,) = json.loads(out)["reruns"]
    assert (code, told["holds"], told["changes"]) == (1, False, [])
    assert told["interval"][0] <= told["ap_standard"] <= told["interval"][1]


@pytest.mark.parametrize(("holds", "words"), [(True, "the intervals overlap"), (False, "the intervals do not overlap")])
def test_what_is_printed_of_other_people(holds: bool, words: str, lone, capsys) -> None:
    entry = the(lone, "zscore")
    print_rerun(Rerun(entry, entry.result, (), holds))
    out = capsys.readouterr().out
    assert out.startswith("zscore smoke fold 0 seed 0: ranking AP 0.") and out.endswith(f"on phantom: {words}\n")


# --- refused


def test_a_private_cohort_can_only_be_run_by_its_owner(lone, output, capsys) -> None:
    entry = the(lone, "zscore")
    entry.file.unlink()
    table, told = entry.scores(), entry.result
    hashes = {
        name: f"anon-{place:016x}"
        for place, name in enumerate(sorted(table.loc[table["anomaly"] == "validation", "participant_id"]))
    }
    table = table.assign(participant_id=table["participant_id"].replace(hashes))
    elsewhere = {"cohort__tested_on": "phantom", "cohort__tested_version": told.cohort.version}
    private = edited(told, cohort__name="caps-1", cohort__public=False, **elsewhere)
    consistent(lone, private, table)
    for arguments, reason in (
        ([], "cohort caps-1 is private; only its owner can run it again"),
        (["--cohort-seed", "7"], "only results on the phantom"),
    ):
        code, _, err = verify(capsys, lone, output, "--rerun", "zscore", *arguments)
        assert code == 2 and err.count("error:") == 1 and reason in err
    assert not (lone / REPRODUCED).exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--rerun", "zscor"], "--rerun zscor: no committed result of that model; did you mean 'zscore'?"),
        (
            ["--rerun", "zscore", "--protocol", "quick"],
            "no committed run with --protocol quick; available: smoke, seed",
        ),
        (["--rerun", "zscore", "--seed", "4"], "no committed run with --seed 4; available: smoke, seed 0"),
        (["--cohort-seed", "7"], "add --rerun MODEL"),
        (["--seed", "0"], "add --rerun MODEL"),
        (["--protocol", "smoke"], "add --rerun MODEL"),
    ],
    ids=" ".join,
)
def test_bad_input_is_one_line(arguments: list[str], complaint: str, lone, output, capsys) -> None:
    if complaint.endswith("seed 4"):
        complaint = "seed 4"
    code, _, err = verify(capsys, lone, output, *arguments)
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert code == 2 and len(lines) == 1 and complaint in lines[0]
    assert not (lone / REPRODUCED).exists()


def test_a_version_of_the_cohort_that_is_gone(lone, output, capsys) -> None:
    entry = the(lone, "zscore")
    commit(lone, edited(entry.result, cohort__version="1"), entry.scores())
    before = set(output.rglob("*"))
    code, _, err = verify(capsys, lone, output / "gone", "--rerun", "zscore")
    assert code == 2 and "different cohorts" in err
    assert set(output.rglob("*")) == before


def test_a_model_is_no_file_to_be_run(lone, output, tmp_path, monkeypatch, capsys) -> None:
    entry = the(lone, "zscore")
    entry.file.unlink()
    commit(lone, edited(entry.result, model__name="evil.py:Net"), entry.scores())
    (tmp_path / "evil.py").write_text("from pathlib import Path\nPath('was-here').touch()\nclass Net: pass\n")
    monkeypatch.chdir(tmp_path)
    code, _, _ = verify(capsys, lone, output, "--rerun", "evil.py:Net")
    assert code and not (tmp_path / "was-here").exists()


# --- badges


def judged(root: Path, holds: bool) -> Rerun:
    """As if a rerun had come out."""
    entry = the(root, "zscore")
    found = tuple(changes(entry.result, [entry.result]))
    return Rerun(entry, entry.result, found, holds)


def test_badges_are_kept_beside_each_other(lone) -> None:
    (lone / REPRODUCED).write_text(json.dumps({"0" * 64: {"result": "results/a.json"}}))
    keep([judged(lone, True)], lone)
    assert len(json.loads((lone / REPRODUCED).read_text())) == 2
    first = (lone / REPRODUCED).read_bytes()
    keep([judged(lone, True)], lone)
    assert (lone / REPRODUCED).read_bytes() == first


def test_a_rerun_that_does_not_agree_takes_the_badge_away(lone) -> None:
    keep([judged(lone, True)], lone)
    assert badges(lone) == {"zscore": True}
    keep([judged(lone, False)], lone)
    assert badges(lone) == {"zscore": False}


@pytest.mark.parametrize("content", ['{"a": 1}', '{"a": {}}', '{"a": {"result": 1}, "b": {"result": "x"}}'])
def test_a_damaged_list_of_badges_is_refused(content: str, lone) -> None:
    (lone / REPRODUCED).write_text(content)
    with pytest.raises(InputError, match=r"reproduced\.json"):
        keep([judged(lone, True)], lone)


def test_a_rerun_is_no_result_that_lay_there_and_leaves_it(lone, tmp_path, fold_data, tmp_path_factory) -> None:
    """Whoever says --output runs has other uses for them."""
    entry = the(lone, "zscore")
    run = run_folder("zscore", fold_data, tmp_path_factory)
    shutil.copytree(run.parents[3], tmp_path / "runs")
    before = {file: file.read_bytes() for file in tmp_path.rglob("runs/**/*") if file.is_file()}
    found: Any = rerun(entry, [entry], lone, tmp_path / "runs", CPU, Silent())
    assert found.result.provenance.finished > entry.result.provenance.finished
    assert {file: file.read_bytes() for file in before} == before


# --- a model that learns by gradients


@pytest.mark.slow
def test_a_network_is_reproduced(trained, output, tmp_path, capsys) -> None:
    root = tmp_path / "leaderboard"
    add(trained[0].folder, root)
    code, out, err = verify(capsys, root, output, "--rerun", "vae3d")
    assert code == 0, out + err
    assert badges(root) == {"vae3d": True}
