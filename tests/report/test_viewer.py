"""The viewer in a real browser: what it shows where, what moves it, and what it costs."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from matplotlib.image import imread

import uadbench as ub
from tests.browser import Visit, chromium, needs_browser, watched
from uadbench.protocols.schema import load_protocol
from uadbench.report.page import write_report
from uadbench.report.viewer import ViewedScan, viewer, viewer_page
from uadbench.results.examples import EXAMPLES, read_examples
from uadbench.results.schema import read_result
from uadbench.results.scores import read_scores
from uadbench.runtime.progress import Silent
from uadbench.types import Grid

GRID = Grid((20, 24, 18), 8.0, (-76.0, -108.0, -64.0))
LESION = (4, 7, 11)
"""On the left, at (-44, -52, 24) mm, and at no place that a mirrored or exchanged axis would also give."""
HOSTILE = "</script><img src=x onerror=\"document.title='broken'\">{{ 7 * 7 }}\u202e"


def viewed(title: str, lesion: float) -> ViewedScan:
    """A scan whose voxels all differ, and a map with one lesion and one weaker spot of increased uptake."""
    image = np.linspace(0, 2, np.prod(GRID.shape), dtype=np.float32).reshape(GRID.shape)
    suspicion = np.zeros(GRID.shape, np.float32)
    suspicion[LESION] = lesion
    suspicion[LESION[0] + 1, *LESION[1:]] = lesion / 2
    return ViewedScan(title, image, image[::-1], suspicion, suspicion > 0)


@pytest.fixture(scope="module")
def folder(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A viewer of known volumes, a report, and what `apply` writes of a healthy scan."""
    folder = tmp_path_factory.mktemp("pages")
    inner = viewer([viewed("altered", 6.0), viewed(HOSTILE, 3.0)], GRID.affine, "SUVR", 2.5)
    (folder / "known.html").write_text(viewer_page(HOSTILE, inner, "note"), encoding="utf-8")
    run = trained[0].folder
    write_report(read_result(run), read_scores(run), run, folder, Silent())
    examples = read_examples(run / EXAMPLES)
    scan = nibabel.Nifti1Image(examples.volumes["case"]["healthy"] * np.float32(2.5), examples.affine)
    nibabel.save(scan, folder / "own.nii.gz")
    ub.apply(run, folder / "own.nii.gz", folder, progress=False)
    return folder


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(context: Any, folder: Path) -> Iterator[Visit]:
    with watched(context, folder) as opened:
        yield opened


def shown(page: Any, name: str) -> str:
    """A value beside the pictures, once there is one."""
    field = page.locator(f'[data-value="{name}"]')
    field.filter(has_text=re.compile(".")).wait_for()
    return field.text_content()


def value(page: Any, name: str) -> float:
    return float(shown(page, name).split()[0])


def position(page: Any) -> tuple[float, ...]:
    return tuple(float(part) for part in shown(page, "position").removesuffix(" mm").split(","))


def canvas(page: Any, picture: str, plane: str) -> Any:
    return page.get_by_role("img", name=f"{picture}, {plane} slice", exact=True)


def click(page: Any, picture: str, plane: str, right: float, up: float) -> None:
    """Click at fractions of a picture's width and height."""
    box = canvas(page, picture, plane).bounding_box()
    page.mouse.click(box["x"] + right * box["width"], box["y"] + (1 - up) * box["height"])


def red(page: Any, plane: str) -> np.ndarray:
    """Where the map of a plane is red: fractions of its width and height, (N, 2), upward."""
    url = canvas(page, "map on input", plane).evaluate("c => c.toDataURL()")
    colours = imread(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    height, width = colours.shape[:2]
    rows, columns = np.nonzero(colours[..., 0] > colours[..., 1:3].max(-1) + 0.25)
    return np.stack([columns / width, 1 - rows / height], axis=1)


def expected(right: int, up: int) -> tuple[float, float]:
    """The place of the lesion in a picture, from the axes that point right and up."""
    return (LESION[right] + 0.5) / GRID.shape[right], (LESION[up] + 0.5) / GRID.shape[up]


@needs_browser
@pytest.mark.slow
def test_left_is_left_and_a_click_goes_where_it_points(visit: Visit) -> None:
    page = visit("known.html")
    page.get_by_role("button", name="validation threshold").click()
    assert position(page) == pytest.approx((GRID.affine @ [*LESION, 1])[:3])
    for plane, right, up in (("axial", 0, 1), ("coronal", 0, 2), ("sagittal", 1, 2)):
        found = red(page, plane)
        assert len(found) and found.mean(0) == pytest.approx(expected(right, up), abs=1.2 / 18)
    for plane, right, up, picture in (("axial", 0, 1, "input"), ("sagittal", 1, 2, "reconstruction")):
        click(page, picture, "coronal", 0.9, 0.9)
        assert position(page)[0] > 0 and value(page, "map") == 0
        click(page, picture, plane, *expected(right, up))
        there = position(page)
        assert there[right] == (GRID.affine @ [*LESION, 1])[right] and there[up] == (GRID.affine @ [*LESION, 1])[up]


@needs_browser
@pytest.mark.slow
def test_values_are_those_of_the_volumes(visit: Visit) -> None:
    page = visit("known.html")
    scan = viewed("", 6.0)
    for voxel in ((2, 7, 9), (12, 21, 3), (19, 0, 17)):
        right, up, at = ((place + 0.5) / count for place, count in zip(voxel, GRID.shape, strict=True))
        click(page, "input", "axial", right, up)
        click(page, "input", "coronal", right, at)
        assert position(page) == pytest.approx((GRID.affine @ [*voxel, 1])[:3])
        assert value(page, "image") == pytest.approx(scan.image[voxel], abs=0.01)
        assert scan.reconstruction is not None
        assert value(page, "reconstruction") == pytest.approx(scan.reconstruction[voxel], abs=0.01)
    page.get_by_role("button", name="highest value").click()
    assert value(page, "map") == pytest.approx(6.0, abs=0.05) and shown(page, "map").endswith("SD")


@needs_browser
@pytest.mark.slow
def test_keys_move_the_cross_hair_and_the_threshold(visit: Visit) -> None:
    page = visit("known.html")
    start = position(page)
    for axis, name in enumerate(("x", "y", "z")):
        page.locator(f'[data-axis="{axis}"]').focus()
        page.keyboard.press("ArrowRight")
        moved = list(start)
        moved[axis] += GRID.voxel_mm
        assert position(page) == pytest.approx(moved), name
        page.keyboard.press("ArrowLeft")
    assert value(page, "threshold") == 2.5
    wide = len(red(page, "axial"))
    page.locator("[data-threshold]").focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    assert value(page, "threshold") > 2.5 and 0 < len(red(page, "axial")) < wide  # the weaker voxel is below it
    page.get_by_role("button", name="validation threshold").click()
    assert value(page, "threshold") == 2.5 and len(red(page, "axial")) == wide


@needs_browser
@pytest.mark.slow
def test_names_are_text_and_scans_can_be_chosen(visit: Visit) -> None:
    page = visit("known.html")
    before = value(page, "map")
    assert page.title().startswith("</script><img") and "{{ 7 * 7 }}?" in page.locator("h1").text_content()
    page.locator("[data-scan]").select_option("1")
    assert value(page, "map") == pytest.approx(before / 2, abs=0.05)
    assert page.locator("main img").count() == 0


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_of_a_run_are_drawn_on_any_screen(width: int, scheme: str, visit: Visit, folder: Path) -> None:
    for path in ("report.html", "own_viewer.html"):
        page = visit(path, width, scheme)
        there = position(page), shown(page, "image")
        box = canvas(page, "input", "axial").bounding_box()
        assert box["width"] > 60 and box["x"] + box["width"] <= width
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        canvas(page, "input", "axial").scroll_into_view_if_needed()
        click(page, "input", "axial", 0.4, 0.6)
        assert (position(page), shown(page, "image")) != there
    page = visit("report.html")
    altered = value(page, "map")
    page.locator("[data-scan]").select_option("1")
    assert value(page, "map") < altered  # the healthy scan, at the voxel that is highest in the altered one


def test_a_view_is_small_on_the_grid_of_the_paper() -> None:
    """Even noise, which cannot be compressed; two scans of a report count twice."""
    grid = load_protocol("paper").lattice
    noise = np.random.default_rng(0).random((3, *grid.shape), dtype=np.float32)
    inner = viewer([ViewedScan("noise", noise[0], noise[1], noise[2] - 0.5)], grid.affine, "SUVR", 2.3)
    assert len(viewer_page("noise", inner, "")) < 3e6


def test_volumes_without_contrast_and_values_that_are_no_numbers_are_shown() -> None:
    empty = np.zeros(GRID.shape, np.float32)
    holed = empty.copy()
    holed[0] = np.nan
    page = viewer_page("empty", viewer([ViewedScan("empty", empty, None, empty)], GRID.affine, "", None), "")
    assert "NaN" not in page and "Infinity" not in page
