"""Committed results: what is kept of one, where it lies, and how it is read back."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.leaderboard.builder import edited
from uadbench.errors import InputError
from uadbench.leaderboard import checks, render
from uadbench.leaderboard.boards import boards
from uadbench.leaderboard.entries import (
    KEPT,
    KEPT_BEGINNINGS,
    MEANS,
    RESULTS,
    read_entries,
    read_untrusted,
    result_path,
    slim,
    slim_means,
    write_lines,
)
from uadbench.leaderboard.tolerance import changes
from uadbench.results.scores import KEYS, TRAITS, read_scores, read_table, score_hash, write_table


def test_slim_keeps_what_boards_and_exhibits_need(mean_run) -> None:
    table = read_scores(mean_run)
    kept = slim(table)
    dropped = set(table.columns) - set(kept.columns)
    assert set(KEYS) | {name for name in TRAITS if name in table} <= set(kept.columns)
    for name in set(kept.columns) - {*KEYS, *TRAITS}:
        assert name in KEPT or name.startswith(KEPT_BEGINNINGS), name
    assert {"residual.truth.mse", "restoration.outside.ssim", "consistency.whole.mse"} <= dropped
    assert not dropped & set(KEPT) and not any(name.startswith(KEPT_BEGINNINGS) for name in dropped)
    assert len(kept) == len(table)


def test_slim_rounds_to_six_digits(mean_run) -> None:
    table = read_scores(mean_run)
    kept = slim(table)
    numbers = kept.select_dtypes("number").columns.difference(["severity", "mmse"])
    exact = table[numbers].to_numpy()
    found = kept[numbers].to_numpy()
    known = np.isfinite(exact)
    assert (np.isfinite(found) == known).all()
    assert (np.abs(found - exact)[known] <= 5.0001e-6 * np.abs(exact)[known]).all()
    assert (found != exact)[known].mean() > 0.5
    pd.testing.assert_series_equal(kept["severity"], table["severity"])
    assert score_hash(kept) == score_hash(slim(kept))


def test_slim_of_slim_is_slim(mean_run) -> None:
    once = slim(read_scores(mean_run))
    pd.testing.assert_frame_equal(slim(once), once)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=64), min_size=1, max_size=20))
def test_rounding_is_stable(values) -> None:
    rows = pd.DataFrame({"participant_id": "p", "session_id": "s", "anomaly": "ad", "severity": 0.3, "damage": values})
    once = slim(rows)
    pd.testing.assert_frame_equal(slim(once), once)
    spelled = [value if np.isnan(value) else float(f"{value:.5e}") for value in values]
    np.testing.assert_array_equal(once["damage"], spelled)


def test_test_sets_that_were_given_stay_at_home(mean_run) -> None:
    table = read_scores(mean_run)
    given_rows = table[table["anomaly"] == "hyper"].assign(anomaly="given-lesions")
    both = pd.concat([given_rows, table], ignore_index=True)
    pd.testing.assert_frame_equal(slim(both), slim(table))


def test_board_and_gate_lack_nothing_in_what_is_committed(committed, mean) -> None:
    table = mean.scores()
    whole = checks.recomputed(mean.result, table, checks.protocol_of(committed, mean.result))
    assert slim_means(whole) == mean.result != whole
    assert {name for scores in mean.result.scores for name in scores.metrics} == set(MEANS)
    assert changes(whole, [mean.result]) == changes(whole, [whole])
    pages = [render.files(boards([entry], committed)) for entry in (mean, replace(mean, result=whole))]
    assert pages[0] == pages[1]


def test_committed_results_are_small_and_come_back_exactly(mean_run, tmp_path) -> None:
    kept = slim(read_scores(mean_run))
    write_table(kept, tmp_path / "small.parquet")
    kept.to_parquet(tmp_path / "earlier.parquet", index=False)
    for name in ("small", "earlier"):  # versions before wrote every number in double precision
        again = read_table(tmp_path / f"{name}.parquet")
        pd.testing.assert_frame_equal(again, kept, check_exact=True)
        assert score_hash(again) == score_hash(kept)
    small, earlier = ((tmp_path / f"{name}.parquet").stat().st_size for name in ("small", "earlier"))
    assert small < earlier / 2
    plain = pd.read_parquet(tmp_path / "small.parquet")  # whoever has no uadbench reads six digits, too
    assert (plain["ap.standard"].dtype, plain["participant_id"].tolist()) == (
        "float32",
        kept["participant_id"].tolist(),
    )
    np.testing.assert_allclose(plain["ap.standard"], kept["ap.standard"], rtol=1e-7)


def test_a_result_comes_back_as_it_was_written(mean, tmp_path) -> None:
    odd = {"text": '"x"\n</script>', "kanji": "脳", "none": None, "nested": {"a": [1, 2.5, True]}}
    result = edited(mean.result, model__options=odd)
    write_lines(tmp_path / "r.json", result)
    assert read_untrusted(tmp_path / "r.json") == result
    first = (tmp_path / "r.json").read_bytes()
    write_lines(tmp_path / "r.json", read_untrusted(tmp_path / "r.json"))
    assert (tmp_path / "r.json").read_bytes() == first


def test_a_test_set_is_a_line(mean) -> None:
    lines = mean.file.read_text(encoding="utf-8").splitlines()
    for scores in mean.result.scores:
        (line,) = [line for line in lines if line.startswith(f'{{"anomaly":"{scores.anomaly}","severity":')
                   and json.loads(line.rstrip(","))["severity"] == scores.severity]  # fmt: skip
        assert json.loads(line.rstrip(",")) == scores.model_dump(mode="json")


def test_where_a_result_lies(mean) -> None:
    result = edited(mean.result, fit_key="0123456789ab", protocol__hash="ba9876543210", seed=3, fold=2)
    assert result_path(result).as_posix() == "smoke/phantom/mean/fold2-seed3-01234567-ba987654.json"
    elsewhere = edited(result, cohort__name="phantom:seed=7", cohort__tested_on="caps-1", cohort__tested_version="a")
    assert result_path(elsewhere).as_posix() == "smoke/phantom-seed-7--caps-1/mean/fold2-seed3-01234567-ba987654.json"


def test_entries_come_in_the_order_of_their_names(committed) -> None:
    found = list(read_entries(committed))
    assert [entry.result.model.name for entry in found] == ["mean", "zscore"]
    for entry in found:
        assert entry.file == committed / RESULTS / result_path(entry.result)
        assert set(entry.scores(("participant_id", "ap.standard")).columns) == {"participant_id", "ap.standard"}
        assert score_hash(entry.scores()) == entry.result.score_hash


@pytest.mark.parametrize(
    "wrong", ["smoke/phantom/zscore/{name}", "smoke/{name}", "{name}", "smoke/phantom/mean/x.json"]
)
def test_a_result_in_the_wrong_place_is_refused(root, mean, wrong: str) -> None:
    file = root / RESULTS / result_path(mean.result)
    target = root / RESULTS / wrong.format(name=file.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(file, target)
    with pytest.raises(InputError) as refused:
        list(read_entries(root))
    assert str(refused.value) == f"{target}: this result belongs in {result_path(mean.result)}"


def test_an_empty_folder_says_what_to_do(tmp_path) -> None:
    with pytest.raises(InputError, match=r"results: no such folder; .*uadbench leaderboard add RUN --root"):
        list(read_entries(tmp_path))
    (tmp_path / RESULTS).mkdir()
    assert list(read_entries(tmp_path)) == []
