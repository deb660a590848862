"""Scores: summarised by test set and by participant, and hashed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from uadbench.errors import InputError
from uadbench.results.scores import by_testset, ranking_scores, read_table, score_hash, summarise, write_table
from uadbench.stats.bootstrap import mean_intervals


def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        (f"p{i}", "s", a, v, rng.random(), rng.random()) for i in range(5) for a in ("ad", "pca") for v in (0.1, 0.3)
    ]
    return pd.DataFrame(
        rows, columns=["participant_id", "session_id", "anomaly", "severity", "ap.standard", "x.y.psnr"]
    )


def test_summary_is_pandas() -> None:
    rows = table()
    rows.loc[0, "x.y.psnr"] = np.nan
    rows.loc[1, "x.y.psnr"] = np.inf
    summary = {(s.anomaly, s.severity): s.metrics for s in summarise(rows)}
    expected = rows.groupby(["anomaly", "severity"])["ap.standard"].agg(["mean", "std", "count"])
    for key, metrics in summary.items():
        ours = metrics["ap.standard"]
        np.testing.assert_allclose([ours.mean, ours.sd, ours.n], expected.loc[key].to_numpy(), rtol=1e-5)
        (interval,) = mean_intervals(
            rows[(rows["anomaly"] == key[0]) & (rows["severity"] == key[1])][["ap.standard"]].to_numpy()
        )
        assert (ours.low, ours.high) == (pytest.approx(interval.low, rel=1e-5), pytest.approx(interval.high, rel=1e-5))
        assert ours.low <= ours.mean <= ours.high
    assert summary["ad", 0.1]["x.y.psnr"].n == 4
    assert summary["ad", 0.3]["x.y.psnr"].mean is None, "an infinite PSNR has no mean"


def test_what_ranks_is_half_dementias_half_unseen() -> None:
    rows = table()
    blobs = rows[rows["anomaly"] == "pca"].assign(anomaly="unseen", **{"ap.standard": 0.9})
    others = rows.assign(anomaly="varied", **{"ap.standard": -5.0})
    whole = pd.concat([rows, blobs, others], ignore_index=True)
    found = ranking_scores(whole, (0.1,))
    for person, own in rows[rows["severity"] == 0.1].groupby("participant_id"):
        assert found[person] == pytest.approx(0.5 * own["ap.standard"].mean() + 0.5 * 0.9)
    assert (ranking_scores(whole, (0.1,), halves="unseen") == 0.9).all()
    whole.loc[whole["participant_id"] == "p1", "ap.standard"] = np.nan
    missing = ranking_scores(whole, (0.1,))
    assert np.isnan(missing["p1"]) and missing.drop("p1").notna().all()


def test_varied_is_one_test_set_whatever_its_severities() -> None:
    rows = pd.concat([table(), table().assign(anomaly="varied")], ignore_index=True)
    found = dict(by_testset(rows))
    assert set(found) == {("ad", 0.1), ("ad", 0.3), ("pca", 0.1), ("pca", 0.3), ("varied", None)}
    assert len(found["varied", None]) == 20


def test_hash_follows_scores_to_six_digits() -> None:
    rows = table()
    known = score_hash(rows)
    assert score_hash(rows.sample(frac=1, random_state=1)) == known
    nudged = rows.copy()
    nudged["ap.standard"] *= 1 + 1e-12
    assert score_hash(nudged) == known
    almost, one = rows.copy(), rows.copy()
    almost.loc[3, "ap.standard"], one.loc[3, "ap.standard"] = 1 - 1e-12, 1.0
    assert score_hash(almost) == score_hash(one)
    for value in (rows["ap.standard"].iloc[3] * (1 + 1e-4), np.nan, np.inf, -np.inf, 0.0):
        changed = rows.copy()
        changed.loc[3, "ap.standard"] = value
        assert score_hash(changed) != known
    renamed = rows.rename(columns={"ap.standard": "ap.native"})
    assert score_hash(renamed) != known


@pytest.mark.parametrize("left_out", [[], [4]], ids=["as many each", "one fewer"])
def test_what_ranks_is_the_mean_of_each_participants_rows(left_out: list[int]) -> None:
    rng = np.random.default_rng(2)
    people = [f"sub-{number}" for number in rng.permutation(12)]
    rows = pd.DataFrame([(p, "ad", severity) for severity in (0.1, 0.2, 0.3) for p in people])
    rows.columns = ["participant_id", "anomaly", "severity"]
    rows["ap.standard"] = rng.random(len(rows))
    rows.loc[7, "ap.standard"] = np.nan
    rows = rows.drop(index=left_out)
    found = ranking_scores(rows, (0.1, 0.2, 0.3), halves="dementias")
    expected = rows.groupby("participant_id")["ap.standard"].agg(lambda values: values.mean(skipna=False))
    pd.testing.assert_series_equal(found, expected, check_exact=True)
    assert found.isna().sum() == 1


def test_a_table_comes_back_as_it_was_written(tmp_path) -> None:
    rows = table().assign(single=np.float32(0.1), mmse=28.0, site="a", count=3, unknown=np.nan)
    rows["rounded"] = [float(f"{value:.6g}") for value in rows["ap.standard"]]
    write_table(rows, tmp_path / "t.parquet")
    again = read_table(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(again, rows.astype({"single": np.float64}), check_exact=True)
    stored = pd.read_parquet(tmp_path / "t.parquet").dtypes
    assert [stored[name] for name in ("rounded", "mmse", "severity", "ap.standard", "single")] == [
        *("float32", "float32", "float32", "float64", "float64"),
    ]


def test_a_table_that_was_changed_is_damaged(tmp_path) -> None:
    import pyarrow.parquet

    rows = table().assign(mmse=28.0)
    write_table(rows, tmp_path / "t.parquet")
    stored = pyarrow.parquet.read_table(tmp_path / "t.parquet")
    place = stored.column_names.index("mmse")
    pyarrow.parquet.write_table(
        stored.set_column(place, "mmse", pyarrow.array(np.full(len(rows), 27, np.float32))), tmp_path / "t.parquet"
    )
    with pytest.raises(InputError, match=r"t\.parquet"):
        read_table(tmp_path / "t.parquet")
