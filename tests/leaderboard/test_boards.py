"""Committed results as boards: what makes a row, what stands apart and why, ranks, failed trainings, badges."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.leaderboard.builder import commit, edited, made_up, vouching
from uadbench.errors import InputError
from uadbench.leaderboard import render
from uadbench.leaderboard.boards import REPRODUCED, Board, boards, over_runs, read_reproduced
from uadbench.leaderboard.entries import Entry, read_entries
from uadbench.protocols.schema import load_protocol
from uadbench.results.scores import ranking_scores
from uadbench.results.verdicts import ranked_models, ranking_of
from uadbench.stats.bootstrap import Noise, mean_intervals
from uadbench.stats.paired import ONE_TRAINING, contrasts

SMOKE = load_protocol("smoke").hash[:8]


def all_boards(root: Path) -> list[Board]:
    return boards(list(read_entries(root)), root)


def only(root: Path) -> Board:
    (board,) = all_boards(root)
    return board


def test_real_results_are_a_row_each(committed) -> None:
    board = only(committed)
    assert (board.protocol, board.cohort, board.apart) == ("smoke", "phantom", "")
    assert {row.name for row in board.rows} == {"mean", "zscore"}
    for row in board.rows:
        assert row.baseline and not row.reproduced and len(row.entries) == 1
        headline = row.result.headline
        assert row.parts["both"].mean == pytest.approx(headline.ap_standard, rel=1e-5)
        assert (row.parts["both"].low, row.parts["both"].high) == pytest.approx(headline.ap_interval, rel=1e-5)
        assert row.parts["dementias"].mean == pytest.approx(headline.ap_dementias, rel=1e-5)
        assert row.parts["unseen"].mean == pytest.approx(headline.ap_unseen, rel=1e-5)
        assert row.parts["native"].mean == pytest.approx(headline.ap_native, rel=1e-5)


def test_seeds_and_folds_are_one_row(root, mean) -> None:
    runs = [(seed, fold) for seed in (0, 1, 3) for fold in (0, 2)]
    made = {run: made_up(root, mean, "net", seed=run[0], fold=run[1], sound=False) for run in runs}
    row = next(row for row in only(root).rows if row.name == "net")
    assert [(entry.result.seed, entry.result.fold) for entry in row.entries] == sorted(runs)
    assert not row.baseline
    by_seed = []
    for seed in (0, 1, 3):
        folds = [ranking_scores(made[seed, fold].scores(), (0.3,)) for fold in (0, 2)]
        by_seed.append(pd.concat(folds, axis=1).mean(axis=1).sort_index().to_numpy())
    np.testing.assert_allclose(row.scores.values, np.stack(by_seed), rtol=1e-12)
    seeds = Noise(np.stack(by_seed).mean(axis=1).var(ddof=1) / 3, 2)
    (interval,) = mean_intervals(np.stack(by_seed).mean(axis=0)[:, None], noise=[seeds])
    assert (row.parts["both"].low, row.parts["both"].high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    values = render.files([only(root)])["leaderboard.json"]
    told = next(row for row in json.loads(values)["boards"][0]["rows"] if row["name"] == "net")
    assert (told["seeds"], told["folds"]) == (3, 2)


def test_a_seed_without_one_of_the_folds_counts_with_those_it_has(root, mean) -> None:
    for seed, fold in ((0, 0), (0, 1), (1, 0)):
        made_up(root, mean, "net", seed=seed, fold=fold, sound=False)
    row = next(row for row in only(root).rows if row.name == "net")
    assert row.scores.values.shape == (2, 8) and np.isfinite(row.scores.values).all()


def test_options_apart_are_rows_with_what_differs_in_the_name(root, mean) -> None:
    shared = {"width": 16, "deep": [1, 2]}
    for latent in (64, 128):
        for seed in (0, 1):
            made_up(root, mean, "net", options=shared | {"latent": latent}, seed=seed, sound=False)
    made_up(root, mean, "other", options=shared | {"latent": 64}, sound=False)
    found = {row.name: len(row.entries) for row in only(root).rows}
    assert found == {"mean": 1, "zscore": 1, "net (latent=64)": 2, "net (latent=128)": 2, "other": 1}


def test_the_order_of_options_makes_no_row(root, mean) -> None:
    for seed, options in enumerate(({"a": 1, "b": 2}, {"b": 2, "a": 1})):
        made_up(root, mean, "net", options=options, seed=seed, sound=False)
    assert sum(row.name == "net" for row in only(root).rows) == 1


def test_an_option_that_only_one_row_has_is_in_the_name(root, mean) -> None:
    made_up(root, mean, "net", options={"a": 1}, sound=False)
    made_up(root, mean, "net", options={"a": 1, "b": 2}, sound=False)
    names = [row.name for row in only(root).rows if row.result.model.name == "net"]
    assert len(set(names)) == 2 and all(name not in ("net", "net ()") for name in names)


# --- what stands apart


SOME_HASH = "f" * 64


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"testset__recipe": SOME_HASH}, r"different test sets: [0-9a-f]{12} and ffffffffffff"),
        ({"cohort__version": "9"}, r"different cohorts: phantom \(version 3\) and phantom \(version 9\)"),
        ({"testset__sketch__mean_uptake": 1.1}, r"their test images differ: mean_uptake is 1\.\d+ and 1\.1"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_compared_stands_apart(root, mean, changes: dict[str, Any], reason: str) -> None:
    late = {"provenance__finished": "2099-01-01T00:00:00+00:00"}
    for seed in (0, 1):
        made_up(root, mean, "net", seed=seed, sound=False, **changes, **late)
    newest, older = all_boards(root)
    assert newest.apart == "" and [row.name for row in newest.rows] == ["net"] and len(newest.rows[0].entries) == 2
    assert re.fullmatch(reason, older.apart), older.apart
    assert {row.name for row in older.rows} == {"mean", "zscore"}
    assert newest.slug != older.slug
    page = render.files([newest, older])
    assert older.apart.replace("(", "\\(").replace(")", "\\)").replace("_", "\\_") in page["README.md"]


def test_what_is_older_stands_apart_from_the_newest(root, mean) -> None:
    made_up(root, mean, "net", sound=False, cohort__version="1", provenance__finished="2001-01-01T00:00:00+00:00")
    newest, older = all_boards(root)
    assert {row.name for row in newest.rows} == {"mean", "zscore"} and [row.name for row in older.rows] == ["net"]


def test_a_sketch_that_moved_as_between_machines_does_not(root, mean) -> None:
    moved = mean.result.testset.sketch["mean_uptake"] * (1 + 2e-4)
    made_up(root, mean, "net", sound=False, testset__sketch__mean_uptake=moved)
    assert {row.name for row in only(root).rows} == {"mean", "zscore", "net"}


def test_cohorts_and_protocols_have_boards_of_their_own(root, mean) -> None:
    made_up(root, mean, "net", sound=False, cohort__name="phantom:seed=7")
    made_up(root, mean, "net", sound=False, cohort__tested_on="phantom:seed=7", cohort__tested_version="3")
    for name in ("quick", "paper", "paper-cv", "lab"):
        made_up(root, mean, "net", sound=False, protocol__name=name)
    found = [(board.protocol, board.cohort, board.apart) for board in all_boards(root)]
    assert found == [
        *(("quick", "phantom", ""), ("paper", "phantom", ""), ("paper-cv", "phantom", ""), ("smoke", "phantom", "")),
        *(("smoke", "phantom -> phantom:seed=7", ""), ("smoke", "phantom:seed=7", ""), ("lab", "phantom", "")),
    ]
    assert len({board.slug for board in all_boards(root)}) == 7


def test_a_protocol_that_never_shipped_does_not_stand_before_one_that_did(root, mean) -> None:
    made_up(root, mean, "net", sound=False, protocol__hash=SOME_HASH, provenance__finished="9999")
    first, other = all_boards(root)
    assert {row.name for row in first.rows} == {"mean", "zscore"}
    assert other.apart == f"different protocols: smoke (ffffffff) and smoke ({SMOKE})"


def test_an_earlier_version_of_the_cohort_does_not_stand_before_todays(root, mean) -> None:
    """Whose cases nobody can check any more."""
    made_up(root, mean, "net", sound=False, cohort__version="1", provenance__finished="9999")
    assert {row.name for row in all_boards(root)[0].rows} == {"mean", "zscore"}


def test_versions_of_the_phantom_are_numbers(root, mean) -> None:
    for version in ("9", "10"):
        made_up(root, mean, f"net{version}", sound=False, cohort__version=version)
    assert [board.rows[0].name for board in all_boards(root)][:2] == ["net10", "net9"]


# --- ranks


def three(root: Path, mean: Entry) -> list[Entry]:
    """Two that can be told apart from a third, and not from each other."""
    made = [("a", -0.3, 0), ("b", 0.0, 0), ("b", 0.0, 1), ("b", 0.0, 2), ("c", 0.001, 0)]
    return [made_up(root, mean, name, by, seed=seed, noise=0.03, sound=False) for name, by, seed in made]


def test_ranks_are_those_of_the_decision_rule(root, mean) -> None:
    entries = three(root, mean)
    (board,) = boards(entries, root)
    scores = {row.name: row.scores.scored for row in board.rows}
    ranks = dict(zip("abc", contrasts([scores[name] for name in "abc"]).rank_sets(), strict=True))
    assert {row.name: row.rank for row in board.rows} == ranks == {"a": (3, 3), "b": (1, 2), "c": (1, 2)}
    models = ranking_of([entry.result for entry in entries], [entry.scores() for entry in entries])
    assert {row.model: row.ranks for row in ranked_models(models)} == ranks, "run and board agree"


def test_rows_are_best_first(root, mean) -> None:
    (board,) = boards(three(root, mean), root)
    means = [row.parts["both"].mean for row in board.rows]
    assert means == sorted(means, reverse=True) and board.rows[-1].name == "a"


def test_a_single_model_is_first(root, mean) -> None:
    (board,) = boards([mean], root)
    assert [row.rank for row in board.rows] == [(1, 1)]
    assert boards([], root) == []


def learnt(root: Path, mean: Entry, name: str, by: float, seed: int, error: float | None) -> Entry:
    """A made-up network with a healthy validation error."""
    curve = {"epochs": 1, "best_epoch": 0, "losses": [{"loss": 1.0}], "precision": "float32"}
    training = {**curve, "validation_mse": [error]}
    changes = {"headline__validation_mse": error, "training": training}
    return made_up(root, mean, name, by, seed=seed, noise=0.03, sound=False, **changes)


def test_failed_trainings_are_counted_and_do_not_count(root, mean) -> None:
    error = mean.result.headline.validation_mse
    for seed, (by, own) in enumerate(((0.1, 0.5 * error), (-0.4, error), (0.12, 0.5 * error), (0.3, None))):
        learnt(root, mean, "net", by, seed, own)
    board = only(root)
    net = next(row for row in board.rows if row.name == "net")
    assert net.failures == "2 of 4 failed"
    assert [entry.result.seed for entry in net.entries] == [0, 2]
    assert [(entry.result.seed, bool(reason)) for entry, reason in net.runs] == [(k, k in (1, 3)) for k in range(4)]
    assert net.scores.values.shape == (2, 8)
    assert net.parts["both"].mean == pytest.approx(net.scores.values.mean())
    assert net.parts["both"].low > net.parts["both"].mean - 0.2, "the failed trainings are no part of the variance"
    assert board.rows[0].name == "net" and "--seed 0,1,2,3" in render.command(net)
    pages = render.files([board])
    told = next(row for row in json.loads(pages["leaderboard.json"])["boards"][0]["rows"] if row["name"] == "net")
    assert (told["failures"], told["seeds"]) == ("2 of 4 failed", 2)
    assert "**net** (2 of 4 failed)" in pages["README.md"] and "2 of 4 failed" in render.head([board])
    page = pages["models/smoke-phantom/net.html"]
    assert "2 of 4 failed" in page and page.count("failed: ") == 2


def test_a_model_that_always_failed_has_no_rank(root, mean) -> None:
    error = mean.result.headline.validation_mse
    learnt(root, mean, "net", 0.1, 0, 0.5 * error)
    learnt(root, mean, "lost", 0.5, 0, 2 * error)
    board = only(root)
    lost = board.rows[-1]
    assert (lost.name, lost.rank, lost.failures, lost.parts["both"].mean) == ("lost", None, "1 of 1 failed", None)
    assert max(row.rank[1] for row in board.rows[:-1]) == 3, "it takes nobody's rank"
    pages = render.files([board])
    told = json.loads(pages["leaderboard.json"])["boards"][0]["rows"][-1]
    assert told["rank"] is None and told["ap"] == [None] * 3 and told["matched"] is None
    line = next(line for line in pages["README.md"].splitlines() if "**lost**" in line)
    assert line.startswith("| none | **lost** (1 of 1 failed) | n/a |")
    assert "No rank" in pages["models/smoke-phantom/lost.html"]


def test_only_failed_trainings_are_a_board_without_ranks(root, mean) -> None:
    entry = learnt(root, mean, "lost", 0.5, 0, None)
    (board,) = boards([entry], root)
    assert [row.rank for row in board.rows] == [None] and len(render.files([board])) == 5


def test_one_training_each_is_said(root, mean) -> None:
    error = mean.result.headline.validation_mse
    assert not only(root).conditional and ONE_TRAINING not in render.files([only(root)])["README.md"]
    learnt(root, mean, "net", 0.1, 0, 0.5 * error)
    assert only(root).conditional and ONE_TRAINING in render.files([only(root)])["README.md"]


def test_the_order_of_the_entries_does_not_matter(root, mean) -> None:
    for number in range(8):
        for seed in range(3):
            luck = 0.03 * np.sin(7 * number + 3 * seed)
            made_up(root, mean, f"net{number}", 0.01 * number + luck, seed=seed, noise=0.03, sound=False)
    entries = list(read_entries(root))
    pages = render.files(boards(entries, root))
    for seed in range(2):
        assert render.files(boards(random.Random(seed).sample(entries, len(entries)), root)) == pages


# --- refused


def test_two_results_of_one_run(root, mean) -> None:
    made_up(root, mean, "net", seed=1, sound=False)
    other = edited(mean.result, model__name="net", seed=1, fit_key="0" * 64)
    commit(root, other, mean.scores())
    with pytest.raises(InputError, match=r"net: two results of fold 0, seed 1; remove one$"):
        all_boards(root)


def test_other_participants(root, mean) -> None:
    table = mean.scores()
    less = table[table["participant_id"] != table["participant_id"].iloc[0]]
    commit(root, vouching(edited(mean.result, model__name="net"), less), less)
    with pytest.raises(InputError, match=r"different test participants"):
        all_boards(root)


def test_as_many_participants_but_others(root, mean) -> None:
    table = mean.scores()
    renamed = table.assign(participant_id=table["participant_id"].str.replace("sub-P0", "sub-Q0"))
    commit(root, vouching(edited(mean.result, model__name="net"), renamed), renamed)
    with pytest.raises(InputError):
        all_boards(root)


# --- badges


def test_a_row_is_reproduced_when_all_its_runs_are(root, mean) -> None:
    entries = [made_up(root, mean, "net", seed=seed, sound=True) for seed in (0, 1)]
    hashes = [entry.result.score_hash for entry in entries]

    def badges(known_hashes: list[str]) -> dict[str, bool]:
        (root / REPRODUCED).write_text(json.dumps({each: {"result": "x"} for each in known_hashes}))
        return {row.name: row.reproduced for row in only(root).rows}

    assert badges([]) == {"mean": False, "zscore": False, "net": False}
    assert badges(hashes[:1])["net"] is badges(hashes[1:])["net"] is False
    assert badges(hashes) == {"mean": False, "zscore": False, "net": True}
    assert badges([*hashes, mean.result.score_hash])["mean"]
    pages = render.files([only(root)])
    assert "reproduced" in next(line for line in pages["README.md"].splitlines() if "**net**" in line)
    assert "self-reported" in next(line for line in pages["README.md"].splitlines() if "**zscore**" in line)


DEEP = "[" * 100_000


@pytest.mark.parametrize("content", ["", "[]", "{", "null", "\ufeff{}", DEEP], ids=lambda text: ascii(text)[:9])
def test_a_damaged_list_of_badges(tmp_path, content: str) -> None:
    (tmp_path / REPRODUCED).write_text(content)
    with pytest.raises(InputError, match=r"reproduced\.json: (cannot be read|not a readable)"):
        read_reproduced(tmp_path)


# --- what a row tells


def test_what_is_unknown_in_a_run_is_unknown_in_the_row(root, mean) -> None:
    first = made_up(root, mean, "net", seed=0, sound=False)
    second = made_up(root, mean, "net", seed=1, sound=False, cost__inference_seconds_per_scan=None)
    row = next(row for row in only(root).rows if row.name == "net")
    assert over_runs(row, lambda result: result.cost.inference_seconds_per_scan) is None
    means = [entry.result.cost.train_seconds for entry in (first, second)]
    assert over_runs(row, lambda result: result.cost.train_seconds) == pytest.approx(np.mean(means))
    assert over_runs(replace(row, entries=(first,)), lambda result: result.cost.inference_seconds_per_scan) > 0


def test_the_command_makes_the_runs_again(root, mean) -> None:
    for seed in (0, 2):
        made_up(root, mean, "net", seed=seed, options={"path": "a b; rm -rf /", "none": None, "on": True}, sound=False)
    row = next(row for row in only(root).rows if row.name == "net")
    assert render.command(row) == (
        "uadbench run --model net --protocol smoke --cohort phantom --fold 0 --seed 0,2 "
        "--set 'net.path=a b; rm -rf /' --set net.on=True"
    )
