"""The leaderboard's pages in a real browser: what they show, do and ask for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.browser import Visit, chromium, needs_browser, watched
from uadbench.leaderboard import render
from uadbench.leaderboard.boards import Board, Row
from uadbench.leaderboard.entries import Entry
from uadbench.results.model_scores import ModelScores
from uadbench.results.schema import Result
from uadbench.stats.bootstrap import Interval

pytestmark = needs_browser

DEMENTIAS = ("ad", "bvftd", "lvppa")
SEVERITIES = (0.05, 0.1, 0.2, 0.3, 0.5)
MARKUP = '<img src=x onerror="document.title=1"> </script><b>bold'
HASH = "0123456789abcdef" * 4


class Model(NamedTuple):
    """What differs between the models of a test board; `ms` is the inference time of a scan."""

    name: str
    ap: float
    ms: float | None
    rank: tuple[int, int]
    parameters: int
    model: str = "vae3d"
    device: str = "cuda: H100"
    reproduced: bool = False
    maps_only: bool = False


MODELS = (
    Model("ddpm", 0.72, 400.0, (1, 2), 9_500_000, "ddpm", reproduced=True),
    Model("vae3d (latent=128)", 0.64, 24.0, (1, 4), 1_026_721, reproduced=True),
    Model("vae3d (latent=256)", 0.62, 30.0, (3, 5), 1_900_000),
    Model("patchcore", 0.6, None, (3, 5), 2_000, "patchcore", maps_only=True),
    Model("pca_recon", 0.55, 1.4, (5, 6), 92_160, "pca_recon", "cpu: x86_64"),
    Model("zscore", 0.4, 0.9, (6, 7), 18_432, "zscore", "cpu: x86_64", reproduced=True, maps_only=True),
    Model("mean", 0.38, 2.0, (6, 8), 9_216, "mean", "cpu: x86_64"),
    Model("identity", 0.09, 0.25, (8, 8), 0, "identity", "cpu: x86_64"),
)
OLD = (
    Model("mean", 0.31, 2.0, (1, 1), 9_216, "mean", "cpu: x86_64"),
    Model(MARKUP, 0.3, 5.0, (1, 2), 10, MARKUP, MARKUP),
)
BASELINES = {"zscore", "mean", "identity"}
FRONT = ("identity", "zscore", "pca_recon", "vae3d (latent=128)", "ddpm")


def _estimate(mean: float | None) -> dict[str, Any]:
    low, high = (None, None) if mean is None else (max(0.0, mean - 0.06), min(1.0, mean + 0.06))
    return {"mean": mean, "low": low, "high": high, "sd": 0.1, "n": 30}


def _bounded(value: float | None) -> dict[str, float | None]:
    return {"value": value, "low": value, "high": value}


def _scores(model: Model, place: int, anomaly: str, severity: float) -> dict[str, Any]:
    ap = min(1.0, 1.5 * model.ap * (1 - 0.1 * place) * (1 - math.exp(-8 * severity)))
    unknown = model.maps_only and anomaly == "unseen"
    values = {"ap.standard": None if unknown else ap, "damage": 1 - model.ap, "identified": model.ap}
    if not model.maps_only:
        values |= {"recovered": model.ap + 0.2, "healthiness.from_altered": model.ap, "healthiness.healthy": 0.9}
    metrics = {name: _estimate(value) for name, value in values.items()}
    return {"anomaly": anomaly, "severity": severity, "metrics": metrics}


def result(model: Model, protocol: str, severities: tuple[float, ...] = SEVERITIES) -> Result:
    """A run's result with what the pages tell of it."""
    tests = (*DEMENTIAS, "unseen")
    detected = [*((name, at) for name in tests for at in severities[:2]), ("patients", 0.0)]
    reaction = {"minimum_detectable": severities[1], "monotonicity": _bounded(1.0), "paper": []}
    return Result.model_validate(
        {
            "model": {
                "name": model.model,
                "options": {"latent": 128, "note": MARKUP},
                "reconstructs": not model.maps_only,
                "reference": "Hassanaly et al. 2023",
            },
            "cohort": {
                **{"name": "phantom", "version": "3", "public": True, "tested_on": None, "tested_version": None},
                **{"healthy": ["CN"], "ill": ["AD", "MCI"], "split": HASH, "origin": "protocol", "train": 237},
                **{"validation": 34, "test": 30, "patients": 40, "audit": 20, "shared_images": 0},
            },
            "protocol": {"name": protocol, "version": 4, "hash": HASH, "intensity": "suvr", "ranked": True},
            **{"fold": 0, "seed": 0, "fit_key": HASH, "eval_key": HASH, "score_hash": HASH, "strata": []},
            "testset": {"recipe": HASH, "sketch": {}},
            "headline": {
                **{"severities": severities[:2], "ap_standard": model.ap, "ap_interval": None, "ap_native": None},
                **{"ap_dementias": None, "ap_unseen": None, "prevalence": 0.08},
                **{"healthy_mse": 0.001, "validation_mse": 0.001},
            },
            "detection": {
                **{"voxel_thresholds": [], "validation_scans": 34, "threshold": 1.0, "specificity_bounds": None},
                **{"specificity": _bounded(0.95), "clinical": _bounded(None), "clinical_patients": 0},
                "testsets": [
                    {"anomaly": name, "severity": at, "auroc": _bounded(model.ap)}
                    | dict.fromkeys(("sensitivity", "matched"), _bounded(0.5))
                    for name, at in detected
                ],
                "severities": [{"anomaly": name, **reaction} for name in tests],
            },
            "scores": [_scores(model, place, name, at) for place, name in enumerate(tests) for at in severities],
            "training": {
                **{"epochs": 4, "best_epoch": 3, "losses": [{"vae": 1.0}] * 4, "precision": "bf16"},
                "validation_mse": [0.004, 0.002, None, 0.001],
            }
            if model.model == "vae3d"
            else None,
            "cost": {
                **{"train_seconds": 3600 * model.ap, "evaluation_seconds": 1.0, "peak_memory_mib": 512.0},
                "inference_seconds_per_scan": None if model.ms is None else model.ms / 1000,
                "parameters": model.parameters,
            },
            "provenance": {
                **{"uadbench": "0.1.0", "python": "3.11.7", "packages": {"torch": "2.8"}, "platform": "Linux"},
                **{"device": model.device, "threads": 2, "commit": None, "revisions": {}, "model_source": HASH},
                "finished": "2026-01-01T00:00:00+00:00",
            },
        }
    )


def board(protocol: str, models: tuple[Model, ...], apart: str = "") -> Board:
    rows = []
    for model in models:
        scores = ModelScores(model.name, np.zeros((1, 2)))
        interval = Interval(model.ap, model.ap - 0.05, model.ap + 0.05)
        parts = dict.fromkeys(("both", "dementias", "unseen", "native"), interval)
        entry = Entry(Path("fold0.json"), result(model, protocol))
        rows.append(Row(model.name, (entry,), scores, parts, model.reproduced, model.rank))
    return Board(protocol, "phantom", tuple(rows), apart=apart)


def with_a_failure() -> Board:
    """A board whose last model failed in its only training."""
    whole = board("paper", MODELS[:2])
    *others, last = whole.rows
    unknown = dict.fromkeys(last.parts, Interval(None, None, None))
    lost = replace(last, entries=(), parts=unknown, rank=None, failed=((last.entries[0], "no better than the mean"),))
    return replace(whole, rows=(*others, lost))


def many(count: int) -> str:
    """An index page of one board of `count` models, with as many test sets and severities as the paper's protocol."""
    tests, severities = 7, (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7)
    described = render._described(board("paper", MODELS[:1]))
    first = described["rows"][0]
    names = [f"test{number}" for number in range(tests)]
    written = [str(value) for points in first["curves"].values() for point in points for value in point]
    digits = max(len(value.partition(".")[2]) for value in written)  # as many as real curves are told with
    chance = np.random.default_rng(0)
    rows = []
    for number in range(count):
        curves = {name: chance.random((len(severities), 3)).round(digits).tolist() for name in names}
        own = {"name": f"model_{number}", "curves": curves, "parameters": int(chance.integers(10**7))}
        rows.append({**first, **own, "page": f"models/paper-phantom/model_{number}.html"})
    return render._index([{**described, "severities": severities, "testsets": names, "rows": rows}])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All pages of two boards, one of 500 models, and of none."""
    folder = tmp_path_factory.mktemp("site")
    boards = [board("paper", MODELS), board("paper", OLD, "protocol version 3 instead of 4")]
    failed = render.files([with_a_failure()])
    pages = {**render.files(boards), "many.html": many(500), "none.html": render.files([])["index.html"]}
    pages |= {"failed.html": failed["index.html"]}
    for path, text in pages.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(context: Any, site: Path) -> Iterator[Visit]:
    with watched(context, site) as opened:
        yield opened


def names(page: Any) -> list[str]:
    """The models of the table, from above."""
    return page.locator("#board td.name b").all_text_contents()


def column(page: Any, key: str) -> list[str]:
    """The texts of a column, from above."""
    keys = page.locator("#board thead button").evaluate_all("buttons => buttons.map(b => b.dataset.sort)")
    return page.locator(f"#board tr.row td:nth-child({keys.index(key) + 1})").all_text_contents()


def header(page: Any, key: str) -> Any:
    return page.locator(f'[data-sort="{key}"]')


def row(page: Any, name: str) -> Any:
    return page.locator("tr.row").filter(has=page.locator("b", has_text=name))


def focused(page: Any) -> Any:
    return page.locator(":focus")


def model_page(site: Path, start: str) -> str:
    found = sorted((site / "models" / "paper-phantom").glob(f"{start}*.html"))
    return found[0].relative_to(site).as_posix()


def test_pages_are_closed_to_the_network_and_drawn_without_complaint(visit: Visit, site: Path) -> None:
    for path in ("index.html", "none.html", model_page(site, "ddpm"), model_page(site, "patchcore")):
        page = visit(path)
        policy = page.locator('meta[http-equiv="Content-Security-Policy"]').get_attribute("content")
        allowed = "style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
        assert policy == f"default-src 'none'; {allowed}"


def test_board_shows_every_model_with_its_values(visit: Visit) -> None:
    page = visit()
    assert names(page) == [model.name for model in MODELS]
    assert column(page, "ap") == [f"{model.ap:.3f}" for model in MODELS]
    assert column(page, "rank")[:2] == ["1–2", "1–4"] and column(page, "rank")[-1] == "8"
    assert column(page, "recovered")[3] == "n/a"
    assert column(page, "parameters")[0] == "9.50 M"
    assert page.locator("#board .bar").count() == len(MODELS)
    assert page.locator("td.name .tag", has_text="baseline").count() == len(BASELINES)
    assert page.locator("td.name .tag.reproduced").count() == 3


def test_a_failed_training_is_shown_and_comes_last_by_rank(visit: Visit) -> None:
    page = visit("failed.html")
    assert names(page) == [model.name for model in MODELS[:2]]
    assert column(page, "rank") == ["1–2", "none"] and column(page, "ap")[1] == "n/a"
    assert page.locator("td.name .tag.failed").all_inner_texts() == ["1 of 1 failed"]
    for _ in range(2):  # in either direction
        page.locator('[data-sort="rank"]').click()
        assert column(page, "rank")[-1] == "none"
    page.locator("#filter").fill("failed")
    assert names(page) == [MODELS[1].name]


def test_tabs_change_the_board_by_click_and_by_arrow(visit: Visit) -> None:
    page = visit()
    tabs = page.get_by_role("tab")
    assert page.get_by_role("tabpanel").count() == 1
    tabs.nth(1).click()
    assert names(page)[0] == "mean" and len(names(page)) == 2
    assert "newer results: protocol version 3 instead of 4" in page.locator("#content").inner_text()
    for key, chosen in (("ArrowLeft", 0), ("ArrowRight", 1), ("ArrowRight", 0), ("ArrowLeft", 1)):
        page.keyboard.press(key)
        assert focused(page).get_attribute("id") == f"tab-{chosen}"
        assert tabs.evaluate_all("tabs => tabs.map(t => t.ariaSelected === 'true')") == [chosen == 0, chosen == 1]
        assert tabs.evaluate_all("tabs => tabs.map(t => t.tabIndex)") == [-chosen, chosen - 1]
        assert len(names(page)) == (8, 2)[chosen]


def test_table_and_filter_agree_after_going_back(visit: Visit) -> None:
    page = visit()
    page.locator("#filter").fill("ddpm")
    row(page, "ddpm").click()
    page.locator("tr.detail a").click()
    page.go_back()
    shown = 1 if page.locator("#filter").input_value() else len(MODELS)
    assert len(names(page)) == shown


def test_tabs_can_be_told_apart(visit: Visit) -> None:
    titles = visit().get_by_role("tab").all_text_contents()
    assert len(set(titles)) == len(titles)


def test_headers_sort_and_sort_back(visit: Visit) -> None:
    page = visit()
    heads = page.locator("#board > thead th")
    for key, first in (("damage", "ascending"), ("name", "ascending"), ("ap", "descending")):
        for direction in (first, "descending" if first == "ascending" else "ascending"):
            header(page, key).click()
            told = heads.evaluate_all("heads => heads.map(h => h.getAttribute('aria-sort')).filter(Boolean)")
            assert told == [direction]
            assert header(page, key).locator("..").get_attribute("aria-sort") == direction
            assert focused(page).get_attribute("data-sort") == key
            values = column(page, key) if key != "name" else names(page)
            assert values == sorted(values, reverse=direction == "descending")


def test_numbers_sort_as_numbers_and_unknown_ones_come_last_both_ways(visit: Visit) -> None:
    page = visit()
    header(page, "parameters").click()
    by_size = sorted(MODELS, key=lambda model: model.parameters)
    assert names(page) == [model.name for model in by_size]
    header(page, "parameters").click()
    assert names(page) == [model.name for model in reversed(by_size)]
    for key in ("inference", "recovered", "healthiness"):
        for _ in range(2):
            header(page, key).click()
            values = column(page, key)
            unknown = values.count("n/a")
            assert unknown and values[-unknown:] == ["n/a"] * unknown
    timed = sorted((model for model in MODELS if model.ms is not None), key=lambda model: model.ms or 0)
    header(page, "inference").click()
    assert names(page)[:-1] == [model.name for model in timed]


def test_filter_narrows_the_table(visit: Visit) -> None:
    page = visit()
    page.keyboard.press("/")
    assert focused(page).get_attribute("id") == "filter"
    page.keyboard.type("VAE")
    assert names(page) == ["vae3d (latent=128)", "vae3d (latent=256)"]
    page.keyboard.type("  reproduced 128")
    assert names(page) == ["vae3d (latent=128)"]
    assert "1 of 8 models" in page.locator("#content").inner_text()
    page.keyboard.type(" nothing/like this")
    assert names(page) == []
    assert "0 of 8 models" in page.locator("#content").inner_text()
    assert focused(page).get_attribute("id") == "filter"
    page.keyboard.press("Escape")
    assert page.locator("#filter").input_value() == ""
    assert len(names(page)) == 8


def test_filter_tells_reproduced_and_devices(visit: Visit) -> None:
    page = visit()
    page.locator("#filter").fill("cpu self-reported")
    assert names(page) == ["pca_recon", "mean", "identity"]


def test_baselines_can_be_left_out(visit: Visit) -> None:
    page = visit()
    page.get_by_label("baselines").uncheck()
    assert BASELINES.isdisjoint(names(page)) and len(names(page)) == 5
    page.get_by_label("baselines").press("Space")
    assert len(names(page)) == 8


@pytest.mark.parametrize("way", ["Enter", "Space", "click"])
def test_row_opens_its_heat_map_and_closes_it(visit: Visit, way: str) -> None:
    page = visit()
    for shown in (1, 0):
        if way == "click":
            row(page, "ddpm").click()
        else:
            row(page, "ddpm").press(way)
        assert row(page, "ddpm").get_attribute("aria-expanded") == ("true" if shown else "false")
        assert focused(page).get_attribute("data-row") == "ddpm"
        assert page.locator(".heat").count() == shown
        assert page.locator(".heat td").count() == shown * (len(DEMENTIAS) + 1) * (len(SEVERITIES) + 1)  # and effective


def test_heat_map_shows_unknown_values(visit: Visit) -> None:
    page = visit()
    row(page, "patchcore").click()
    unseen = page.locator(".heat tr", has_text="unseen").locator("td").all_text_contents()
    assert unseen == ["n/a"] * (len(SEVERITIES) + 1)
    head = page.locator(".heat thead th").all_text_contents()
    assert head[1:] == ["5 %", "10 %", "20 %", "30 %", "50 %", "effective"]


def test_arrows_go_from_row_to_row(visit: Visit) -> None:
    page = visit()
    row(page, "ddpm").press("Enter")
    for key, name in (
        ("ArrowDown", MODELS[1].name),
        ("ArrowDown", MODELS[2].name),
        ("ArrowUp", MODELS[1].name),
        ("ArrowUp", "ddpm"),
        ("ArrowUp", "ddpm"),
    ):
        page.keyboard.press(key)
        assert focused(page).get_attribute("data-row") == name


def test_keyboard_alone_reaches_everything(visit: Visit) -> None:
    page = visit()
    for expected in ("light / dark", "paper", None, None, "model"):
        page.keyboard.press("Tab")
        if expected:
            assert expected in focused(page).inner_text()
    assert focused(page).get_attribute("data-sort") == "name"
    for _ in range(2):
        page.keyboard.press("Tab")
    assert focused(page).locator("..").get_attribute("aria-sort") == "descending", "the best comes first"
    page.keyboard.press("Enter")
    assert focused(page).get_attribute("data-sort") == "ap"
    assert focused(page).locator("..").get_attribute("aria-sort") == "ascending"
    for _ in range(page.locator("[data-sort]").count() - 2):
        page.keyboard.press("Tab")
    assert focused(page).get_attribute("data-row") == "identity"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert focused(page).get_attribute("href").endswith("identity.html")
    outline = focused(page).evaluate("node => getComputedStyle(node).outlineStyle")
    assert outline == "solid"


def test_severity_plot_follows_its_test_set(visit: Visit) -> None:
    page = visit()
    lines = "lines => lines.map(line => line.getAttribute('d'))"
    before = page.locator("#severity path.line").evaluate_all(lines)
    assert len(before) == 8 and all(line.count("L") == len(SEVERITIES) - 1 for line in before)
    page.get_by_label("test set").select_option("unseen")
    after = page.locator("#severity path.line").evaluate_all(lines)
    assert len(after) == 6 and set(before).isdisjoint(after), "two are n/a on unseen"
    assert focused(page).evaluate("node => node.tagName") == "SELECT"
    assert page.get_by_label("test set").input_value() == "unseen"


@pytest.mark.parametrize("figure", ["severity", "pareto"])
def test_legend_dims_the_others(visit: Visit, figure: str) -> None:
    page = visit()
    dimmed = "nodes => nodes.filter(n => getComputedStyle(n).opacity < 0.5).map(n => n.dataset.model)"
    drawn = page.locator(f"#{figure} [data-model]")
    button = page.locator(f"#{figure} .legend button", has_text="ddpm")
    others = set(drawn.evaluate_all("nodes => nodes.map(n => n.dataset.model)")) - {"ddpm"}
    for mark, unmark in ((button.hover, lambda: page.mouse.move(0, 0)), (button.focus, button.blur)):
        mark()
        assert set(drawn.evaluate_all(dimmed)) == others
        unmark()
        assert drawn.evaluate_all(dimmed) == []


def test_pareto_front_joins_those_whom_nobody_beats(visit: Visit) -> None:
    page = visit()
    path = page.locator("#pareto svg.plot > path").get_attribute("d")
    start, *steps = path.removeprefix("M").replace("H", "|").replace("V", " ").split("|")
    corners = [tuple(map(float, point.split())) for point in (start, *steps)]
    centres = "(node) => { const b = node.getBBox(); return [b.x + b.width / 2, b.y + b.height / 2]; }"
    for name, corner in zip(FRONT, corners, strict=True):
        mark = page.locator(f'#pareto [data-model="{name}"]').locator("circle, rect")
        assert mark.evaluate(centres) == pytest.approx(corner, abs=0.1)


def test_pareto_legend_names_only_what_is_drawn(visit: Visit) -> None:
    page = visit()
    drawn = page.locator("#pareto [data-model]").evaluate_all("nodes => nodes.map(n => n.dataset.model)")
    assert page.locator("#pareto .legend button").all_text_contents() == drawn


def test_colours_of_models_stay_when_the_table_is_filtered(visit: Visit) -> None:
    page = visit()
    line = page.locator('#severity [data-model="pca_recon"] path.line')
    before = line.get_attribute("stroke")
    page.get_by_label("filter models").fill("pca")
    assert line.get_attribute("stroke") == before


def test_plots_show_the_first_models_of_the_table(visit: Visit) -> None:
    page = visit("many.html")
    header(page, "parameters").click()
    assert "the first 12 models" in page.locator("#content").inner_text()
    drawn = page.locator("#severity [data-model]").evaluate_all("nodes => nodes.map(n => n.dataset.model)")
    assert drawn == names(page)[:12]


def test_link_leads_to_the_page_of_the_model(visit: Visit) -> None:
    page = visit()
    row(page, MODELS[1].name).click()
    page.locator("tr.detail a").click()
    assert page.locator("h1").inner_text() == MODELS[1].name
    assert page.locator(".heat td").count() == (len(DEMENTIAS) + 1) * (len(SEVERITIES) + 1)
    assert page.locator("#severity path.line").count() == 1
    assert page.locator("pre").inner_text().startswith("uadbench run --model vae3d --protocol paper --cohort phantom")
    assert "--set vae3d.latent=128" in page.locator("pre").inner_text()
    assert "of 8" in page.locator("main > p").inner_text()


def test_page_of_a_model_leads_back(visit: Visit, site: Path) -> None:
    page = visit(model_page(site, "ddpm"))
    page.get_by_role("link", name="All models").click()
    assert page.locator("h1").inner_text() == "uadbench leaderboard"


def test_card_of_a_model_has_no_powers_of_ten(visit: Visit, site: Path) -> None:
    card = visit(model_page(site, "ddpm")).locator("dl").first.inner_text()
    assert "training " in card and " s, inference" in card and "e+" not in card


def test_page_of_a_model_changes_its_test_set(visit: Visit, site: Path) -> None:
    page = visit(model_page(site, "ddpm"))
    before = page.locator("path.line").get_attribute("d")
    page.get_by_label("test set").select_option("unseen")
    assert page.locator("path.line").get_attribute("d") != before


def test_page_of_a_trained_model_shows_its_validation_error(visit: Visit, site: Path) -> None:
    page = visit(model_page(site, "vae3d"))
    figure = page.locator("figure", has_text="Healthy validation error by epoch")
    assert figure.locator("path.line").get_attribute("d").count("L") == 2, "three of four epochs are known"
    assert "NaN" not in page.content() and "Infinity" not in page.content()
    assert visit(model_page(site, "ddpm")).locator("figure").count() == 1


def test_every_model_has_a_page_of_its_own() -> None:
    twins = [MODELS[0]._replace(name=name) for name in ("vae3d (note=a+b)", "vae3d (note=a-b)", "vae3d (note=A-b)")]
    pages = [path.lower() for path in render.files([board("paper", tuple(twins))]) if path.startswith("models/")]
    assert len(set(pages)) == len(twins)


def test_focus_stays_on_the_test_set_of_a_model_page(visit: Visit, site: Path) -> None:
    page = visit(model_page(site, "ddpm"))
    page.get_by_label("test set").focus()
    page.keyboard.press("ArrowDown")
    assert page.get_by_label("test set").input_value() == "ad"
    assert page.evaluate("document.activeElement.tagName") == "SELECT"


def test_markup_in_names_is_text(visit: Visit, site: Path) -> None:
    page = visit()
    page.get_by_role("tab").nth(1).click()
    row(page, MARKUP[:20]).click()
    assert MARKUP in names(page)
    assert page.locator("tr.detail a").inner_text().startswith(MARKUP)
    assert page.locator(f"#severity .legend button:has-text('{MARKUP[:10]}')").count() == 1
    assert page.locator("img, script:not([id]):not(:last-of-type)").count() == 0
    assert page.title() == "uadbench leaderboard"
    page.locator("tr.detail a").click()
    assert page.locator("h1").inner_text() == MARKUP
    assert MARKUP.replace('"', '\\"') in page.locator("dl").last.inner_text()
    assert page.locator("img").count() == 0
    assert page.title().startswith(MARKUP[:20])


# every text's contrast with what is behind it, colours blended from the outermost element inwards
CONTRAST = """() => {
  const parse = (text) => {
    const numbers = text.match(/[\\d.]+/g).map(Number);
    const alpha = numbers[3] ?? 1;
    return [...numbers.slice(0, 3).map((v) => (text.startsWith("color(") ? 255 * v : v)), alpha];
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[3] * top[i] + (1 - top[3]) * under[i]);
  const light = (colour) => colour.map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + [0.2126, 0.7152, 0.0722][i] * v, 0);
  const behind = (node) => over(parse(getComputedStyle(node).backgroundColor),
    node.parentElement ? behind(node.parentElement) : [255, 255, 255]);
  const ratio = (node, colour) => {
    const ground = behind(node);
    const both = [light(over(parse(colour), ground)), light(ground)];
    return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
  };
  const found = [];
  for (const node of document.querySelectorAll("body, body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!own || !node.getClientRects().length || ["script", "noscript", "title"].includes(node.localName)) continue;
    const style = getComputedStyle(node);
    found.push([node.textContent.trim().slice(0, 40), ratio(node, node.ownerSVGElement ? style.fill : style.color)]);
  }
  const filter = document.querySelector("[placeholder]");
  return { texts: found, placeholder: filter && ratio(filter, getComputedStyle(filter, "::placeholder").color) };
}"""


def faint(page: Any) -> list[tuple[str, float]]:
    """Texts with a contrast below 4.5."""
    found = page.evaluate(CONTRAST)["texts"]
    assert len(found) > 40
    return [(text, round(ratio, 2)) for text, ratio in found if ratio < 4.5]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_in_light_and_dark(visit: Visit, site: Path, scheme: str) -> None:
    page = visit(scheme=scheme)
    assert faint(page) == []
    page.get_by_role("tab").nth(1).click()
    row(page, "mean").focus()
    assert faint(page) == []
    assert faint(visit(model_page(site, "identity"), scheme=scheme)) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_hint_of_the_filter_stands_out(visit: Visit, scheme: str) -> None:
    assert visit(scheme=scheme).evaluate(CONTRAST)["placeholder"] >= 4.5


DARK = "dark"


@pytest.mark.parametrize("scheme", ["light", DARK])
def test_numbers_of_the_heat_map_stand_out(visit: Visit, scheme: str) -> None:
    page = visit(scheme=scheme)
    row(page, "ddpm").click()
    assert "1.00" in page.locator(".heat").inner_text()
    assert faint(page) == []


@pytest.mark.parametrize("path", ["index.html", "model"])
def test_theme_follows_the_system_until_it_is_chosen(visit: Visit, site: Path, path: str) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    grounds = {}
    for scheme in ("light", "dark"):
        page = visit(model_page(site, "ddpm") if path == "model" else path, scheme=scheme)
        grounds[scheme] = page.evaluate(ground)
        page.locator("#theme").click()
        grounds[f"{scheme}, changed"] = page.evaluate(ground)
        page.locator("#theme").click()
        assert page.evaluate(ground) == grounds[scheme]
    assert grounds["light"] == grounds["dark, changed"] != grounds["dark"] == grounds["light, changed"]


@pytest.mark.parametrize("width", [390, 1280])
def test_page_fits_the_window_and_the_table_scrolls(visit: Visit, site: Path, width: int) -> None:
    fits = "document.documentElement.scrollWidth <= innerWidth"
    page = visit(width=width)
    assert page.evaluate(fits)
    row(page, MODELS[1].name).click()
    assert page.evaluate(fits)
    assert page.locator("#content > .scroll").evaluate("node => node.scrollWidth > node.clientWidth")
    page.get_by_role("tab").nth(1).click()
    row(page, MARKUP[:20]).click()
    assert page.evaluate(fits)
    for start in ("vae3d", "patchcore"):
        assert visit(model_page(site, start), width).evaluate(fits)


def test_table_stays_where_it_was_scrolled(visit: Visit) -> None:
    page = visit(width=390)
    page.locator("#content > .scroll").evaluate("node => { node.scrollLeft = 300; }")
    header(page, "native").click()
    assert page.locator("#content > .scroll").evaluate("node => node.scrollLeft") >= 290
    left = page.locator("td.name").first.bounding_box()["x"]
    assert left == pytest.approx(page.locator("#content > .scroll").bounding_box()["x"], abs=2), "names stay in sight"


def test_print_leaves_the_controls_out(visit: Visit) -> None:
    page = visit()
    controls = [page.locator(name) for name in ("#tabs", "#filter", "#baselines", "#theme")]
    assert all(control.is_visible() for control in controls)
    page.emulate_media(media="print")
    assert not any(control.is_visible() for control in controls)
    assert page.locator("#board").is_visible() and page.locator("#pareto").is_visible()


def test_print_is_light(visit: Visit) -> None:
    page = visit()
    page.locator("#theme").click()
    page.emulate_media(media="print")
    assert faint(page) == []
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


TIMED = "() => { const start = performance.now(); %s; document.body.offsetHeight; return performance.now() - start; }"
SORT = TIMED % """document.querySelector('[data-sort="parameters"]').click()"""
TYPE = TIMED % "const f = document.getElementById('filter'); f.value = '%s'; f.dispatchEvent(new Event('input'))"


def test_five_hundred_models_are_quick(visit: Visit) -> None:
    page = visit("many.html")
    assert page.evaluate("performance.getEntriesByType('navigation')[0].domComplete") < 2000
    assert len(names(page)) == 500
    for action in (SORT, TYPE % "model", TYPE % ""):
        assert any(page.evaluate(action) < 500 for _ in range(20)), f"{action}: never quick, not even at a quiet moment"
    page.evaluate(TYPE % "model_4")
    assert "111 of 500 models" in page.locator("#content").inner_text()


def test_five_hundred_models_are_less_than_a_megabyte(site: Path) -> None:
    assert (site / "many.html").stat().st_size < 1_000_000


def test_every_control_has_a_name(visit: Visit, site: Path) -> None:
    roles = {"button", "checkbox", "searchbox", "textbox", "combobox", "tab", "link", "tablist"}
    for path in ("index.html", "none.html", model_page(site, "ddpm")):
        page = visit(path)
        if path == "index.html":
            row(page, "ddpm").click()
        session = page.context.new_cdp_session(page)
        tree = [node for node in session.send("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
        controls = [node for node in tree if node["role"]["value"] in roles]
        assert controls
        assert [node["role"]["value"] for node in controls if not node["name"]["value"].strip()] == []


def test_headers_of_tables_tell_their_direction(visit: Visit, site: Path) -> None:
    page = visit()
    row(page, "ddpm").click()
    without = "heads => heads.filter(h => !h.scope).map(h => h.textContent)"
    assert page.locator("th").evaluate_all(without) == []
    assert visit(model_page(site, "ddpm")).locator("th").evaluate_all(without) == []
