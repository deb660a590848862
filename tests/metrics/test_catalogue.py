"""The catalogue of metrics: it has every number that is scored, stored or shown, and texts come from it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uadbench.leaderboard import render
from uadbench.leaderboard.columns import BOARD
from uadbench.metrics.catalogue import METRICS, metric_of
from uadbench.metrics.metric import PLACEHOLDERS
from uadbench.metrics.score_columns import SCORES
from uadbench.results.schema import Result
from uadbench.results.scores import KEYS, TRAITS, read_scores
from uadbench.types import HEALTHY, HYPER, PATIENTS, UNSEEN, VALIDATION, VARIED

REPOSITORY = Path(__file__).parents[2]
TEXTS = {
    *("name", "model", "device", "threads", "processors", "baseline", "reproduced", "overBudget", "failures", "page"),
}
"""What a board's row holds besides numbers."""


@pytest.fixture(scope="module")
def outcome(trained) -> Any:
    """A trained run that has every kind of test set."""
    found = trained[0]
    assert {s.anomaly for s in found.result.scores} >= {HEALTHY, VALIDATION, PATIENTS, UNSEEN, VARIED, HYPER}
    return found


def columns(table) -> list[str]:
    return [column for column in table.columns if column not in (*KEYS, *TRAITS)]


def families_of(name: str) -> list[str]:
    return [metric.name for metric in METRICS if metric.matched(name)]


def test_every_column_of_scores_is_in_it_once(outcome) -> None:
    found = columns(read_scores(outcome.folder))
    assert len(found) > 70
    stored = {name for scored in outcome.result.scores for name in scored.metrics}
    assert stored <= set(found)
    families = {name: families_of(name) for name in found}
    assert {name: names for name, names in families.items() if len(names) != 1} == {}
    assert {names[0] for names in families.values()} == {metric.name for metric in SCORES}, "no family is out of use"


def test_every_score_lies_in_its_range(outcome) -> None:
    table = read_scores(outcome.folder)
    for name in columns(table):
        values = table[name].to_numpy(dtype=np.float64)
        metric = metric_of(name)
        assert (np.nanmin(values), np.nanmax(values)) == (
            pytest.approx(np.nanmin(values).clip(metric.low, metric.high), abs=1e-9),
            pytest.approx(np.nanmax(values).clip(metric.low, metric.high), abs=1e-9),
        ), name


@pytest.mark.parametrize(
    ("name", "label", "heading", "better"),
    [
        ("ap.standard", "AP", "AP", "higher"),
        ("ap.native", "AP native", "AP native", "higher"),
        ("auroc.standard", "voxel AUROC", "AUROC", "higher"),
        ("dice.fpr0.05", "Dice at FPR 0.05", "Dice at FPR 0.05", "higher"),
        ("recall.fpr1e-05", "recall at FPR 1e-05", "recall at FPR 1e-05", "higher"),
        ("restoration.whole.mse", "MSE(x̂', x)", "MSE", "lower"),
        ("consistency.outside.ssim", "SSIM(x̂', x̂) outside", "SSIM outside", "higher"),
        ("residual.brain.psnr", "PSNR(x̂', x') brain", "PSNR brain", "neither"),
        ("healthiness.from_altered", "healthiness x̂'", "healthiness x̂'", "neither"),
    ],
)
def test_placeholders_are_filled_in(name: str, label: str, heading: str, better: str) -> None:
    metric = metric_of(name)
    assert (metric.name, metric.label, metric.heading, metric.better) == (name, label, heading, better)
    assert "<" not in metric.description + metric.explained


@pytest.mark.parametrize("name", ["ap", "ap.", "ap.other", "dice.fprx", "restoration.whole", "ap.<map>", "apxstandard"])
def test_what_it_does_not_have_is_refused(name: str) -> None:
    with pytest.raises(KeyError, match=re.escape(name)):
        metric_of(name)


def test_entries_are_well_formed() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert metric.low < metric.high and set(metric.placeholders) <= set(PLACEHOLDERS)
        assert metric.label and not metric.help.endswith(".") and not re.search(r"\.\s[A-Z]", metric.help), metric.name


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_the_function_that_computes_it_exists(metric) -> None:
    module, _, path = metric.computed.partition(":")
    found: Any = import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    assert callable(found)


# --- where its texts are shown


def test_every_number_of_a_board_is_in_it() -> None:
    board = json.loads((REPOSITORY / "leaderboard" / "leaderboard.json").read_text(encoding="utf-8"))["boards"][0]
    (*_, row) = board["rows"]
    numbers = set(row) - TEXTS
    assert numbers - {"seeds", "folds", "patientGroups"} == set(BOARD) - {"trainings", "chance", "nearIdeal"}
    assert {shown.metric.name for shown in BOARD.values()} <= {m.name for m in METRICS} | {"ap.standard"}
    script = render._source("board.js")
    shown = re.findall(r'\{ key: "(\w+)"', script)
    assert len(shown) == 19 and set(shown) - {"name", "bar", "device"} <= set(BOARD)


def test_the_board_s_page_holds_its_texts() -> None:
    page = render.files([])["index.html"]
    told = json.loads(page.partition('id="data">')[2].partition("</script>")[0])["columns"]
    assert told["damage"] == {
        "heading": "damage",
        "help": f"{metric_of('damage').sentence} At the highest ranking severity, mean over dementias.",
        "better": "lower",
    }
    assert told["auroc"]["heading"] == "AUROC dementias" and "better" not in told["healthiness"]


def numbers_of(section: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every entry of the catalogue that is a field of a section, with its definition and its schema."""
    definitions = Result.model_json_schema()["$defs"]
    sections = {
        "headline": "Headline",
        "detection": "Detection",
        "detection.testsets": "DetectedTestSet",
        "detection.severities": "SeverityResponse",
        "detection.severities.paper": "PaperTest",
        "detection.voxel_thresholds": "VoxelThreshold",
        "cost": "Cost",
    }
    for metric in METRICS:
        path, _, field = metric.name.rpartition(".")
        if path.partition(".")[0] == section:
            yield metric.name, field, definitions[sections[path]]["properties"]


@pytest.mark.parametrize("section", ["headline", "detection", "cost"])
def test_the_schema_describes_its_fields_by_it(section: str) -> None:
    found = list(numbers_of(section))
    assert found
    for name, field, properties in found:
        assert properties[field]["description"] == metric_of(name).description
    if section != "detection":
        (*_, (_, _, properties)) = found
        assert [field for field, schema in properties.items() if "description" not in schema] in ([], ["severities"])


def test_the_schema_describes_the_columns_by_it() -> None:
    definitions = Result.model_json_schema()["$defs"]
    told = definitions["TestSetScores"]["properties"]["metrics"]["description"]
    for metric in SCORES:
        assert f"`{metric.name}`: {metric.description}" in told
    stratum = definitions["Stratum"]["properties"]
    assert stratum["ap_standard"]["description"] == metric_of("headline.ap_standard").description
