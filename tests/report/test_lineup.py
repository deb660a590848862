"""The picture of several models: the same case, common scales, honest gaps, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.leaderboard.builder import run_folder
from uadbench.cli.main import main
from uadbench.report.lineup import ShownRun, lineup, read_entries
from uadbench.results.examples import EXAMPLES, read_examples, write_examples
from uadbench.results.schema import read_result
from uadbench.results.scores import read_scores


@pytest.fixture(scope="module")
def runs(trained, fold_data, tmp_path_factory) -> list[Path]:
    return [trained[0].folder, *(run_folder(model, fold_data, tmp_path_factory) for model in ("mean", "zscore"))]


@pytest.fixture
def entries(runs: list[Path]) -> list[ShownRun]:
    return read_entries(runs, [read_result(run) for run in runs], [read_scores(run) for run in runs])


def compare(capsys, *arguments: str | Path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(["compare", *map(str, arguments)])
    printed = capsys.readouterr()
    return int(stopped.value.code or 0), printed.out, printed.err


def images(figure, label: str) -> list:
    """The slices with the colours of one scale, in the order in which they were drawn."""
    return [image for axes in figure.axes for image in axes.get_images() if image.get_cmap().name == label]


@pytest.mark.slow
def test_the_average_precision_is_that_of_the_case_shown(runs, entries) -> None:
    for run, entry in zip(runs, entries, strict=True):
        who = json.loads((run / "draws.json").read_text())[0]["participant_id"]
        scores = pd.read_parquet(run / "scores.parquet")
        anomaly, severity = re.match(r"(\w+), severity (\d+)%", entry.examples.titles["case"]).groups()
        own = scores[(scores["participant_id"] == who) & (scores["anomaly"] == anomaly)]
        expected = own.loc[np.isclose(own["severity"], int(severity) / 100), "ap.standard"].item()
        assert entry.average_precision == expected


def test_every_column_has_one_scale_and_the_slices_are_those_of_the_case(entries) -> None:
    figure = lineup(entries, entries)
    grey, signed = images(figure, "gray"), images(figure, "RdBu_r")
    assert len(grey) == 3 * 4, "healthy, altered, and the reconstructions of two of three models"
    assert len({image.get_clim() for image in grey}) == 1
    assert len(signed) == 3 * (1 + 2 + 3) and len({image.get_clim() for image in signed}) == 2
    assert len(images(figure, "Reds")) == 3
    case = entries[0].examples.volumes["case"]
    taken = case["healthy"] - case["altered"]
    assert signed[0].get_clim()[1] == pytest.approx(np.abs(taken).max())
    for image in images(figure, "Reds"):
        assert np.nanmax(image.get_array()) > 50 * case["reduction"].max(), "the slice goes through the anomaly"
    texts = [text.get_text() for text in figure.texts]
    assert texts.count("n/a: no reconstruction") == 2
    assert {"vae3d", "mean", "zscore"} < set(texts)


def test_a_wild_map_does_not_fade_the_others(entries) -> None:
    case = dict(entries[0].examples.volumes["case"])
    case["standard_map"] = 1000 * case["standard_map"]
    wild = replace(entries[0], examples=replace(entries[0].examples, volumes={"case": case}))
    limits = [max(i.get_clim()[1] for i in images(lineup(e, e), "RdBu_r")) for e in (entries, [wild, *entries[1:]])]
    assert limits[1] < 2 * limits[0]


def test_runs_of_one_model_are_told_apart(fold_data, runs, tmp_path_factory) -> None:
    both = [*runs, run_folder("zscore", fold_data, tmp_path_factory, seed=1)]
    told = read_entries(both, [read_result(run) for run in both], [read_scores(run) for run in both])
    assert [entry.differing for entry in told] == [(), (), ("seed 0",), ("seed 1",)]


def test_pictures_on_the_command_line(runs, tmp_path, capsys) -> None:
    for suffix in ("png", "svg"):
        file = tmp_path / "deep" / f"models.{suffix}"
        code, out, err = compare(capsys, *runs, "--pictures", file)
        assert code == 0 and f"pictures {file}" in out, err
    with Image.open(tmp_path / "deep" / "models.png") as image:
        assert image.width == 2160 and image.height > 1000
    assert "<svg" in file.read_text()[:1000]


@pytest.mark.slow
def test_a_pdf_has_pages(entries, tmp_path) -> None:
    from uadbench.report.lineup import draw_lineup

    draw_lineup([*entries * 3, *entries[:2]], tmp_path / "models.pdf")
    assert len(re.findall(rb"/Type /Page\b", (tmp_path / "models.pdf").read_bytes())) == 2


def test_other_scans_grids_and_missing_pictures_are_refused_in_a_line(runs, tmp_path, capsys) -> None:
    examples = read_examples(runs[1] / EXAMPLES)
    case = examples.volumes["case"]
    changes = {
        "person": {"case": {**case, "healthy": 1.1 * case["healthy"]}},
        "grid": {"case": {name: volume[1:] for name, volume in case.items()}},
        "bare": {"patient": {"scan": case["healthy"]}},
    }
    for name, changed in changes.items():
        shutil.copytree(runs[1], tmp_path / name)
        write_examples(replace(examples, volumes=changed), tmp_path / name / EXAMPLES)
    for name in ("none", "damaged"):
        shutil.copytree(runs[1], tmp_path / name)
        (tmp_path / name / EXAMPLES).unlink()
    (tmp_path / "damaged" / EXAMPLES).write_bytes(b"PK nothing")
    file = tmp_path / "models.png"
    for name, reason in (
        ("person", "their examples are of different scans"),
        ("grid", "'case/healthy' is of shape"),
        ("bare", "run again with --fresh"),
        ("none", f"has no {EXAMPLES} to draw"),
        ("damaged", "run again with --fresh"),
    ):
        code, out, err = compare(capsys, runs[0], tmp_path / name, "--pictures", file)
        assert (code, out) == (2, "") and reason in err and len(err.strip().splitlines()) == 1, name
    code, _, err = compare(capsys, *runs, "--pictures", tmp_path / "models.gif")
    assert code == 2 and "give a .png, .svg or .pdf file" in err
    assert not file.exists()
