"""The card: what it measures, and that the phantom measures like a real cohort."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from uadbench.cohorts.card import figures
from uadbench.cohorts.card.card import Card, draw_card
from uadbench.cohorts.card.figures import Figure, icc
from uadbench.cohorts.phantom import Phantom
from uadbench.cohorts.synthetic import norms
from uadbench.errors import InputError
from uadbench.runtime.progress import Silent
from uadbench.types import Grid, Scan

REAL = Path(__file__).parents[4] / "shared/real/fdg-mean_dellarosa-2014.nii.gz"


class Scaled(Phantom):
    """The phantom in another unit, without its shortcuts to regional values and labels."""

    regional_values = None  # type: ignore[assignment]
    label_overlap = None  # type: ignore[assignment]

    def scans(self, grid: Grid, rows) -> Iterator[Scan]:
        """Seven times the uptake."""
        return (replace(scan, data=7 * scan.data) for scan in super().scans(grid, rows))


@pytest.fixture(scope="module")
def phantom_card() -> Card:
    return draw_card(Phantom(), Silent(), template=REAL if REAL.is_file() else None)


@pytest.fixture(scope="module")
def small() -> Card:
    return draw_card(Scaled(participants=8, patients=2), Silent())


def value(drawn: Card, name: str) -> float | None:
    return next(figure.value for figure in drawn.figures if figure.name == name)


@pytest.mark.parametrize(
    ("codes", "voxel", "advice"), [(2, np.nan, "a template without them"), (0, 1.0, "set the codes")]
)
def test_a_template_is_read_like_a_scan(tmp_path, codes, voxel, advice):
    """Refused in a line before anything is drawn, and without advice on options that only scans have."""
    file = tmp_path / "template.nii"
    data = np.ones((3, 4, 5), dtype=np.float32)
    data[0], data[1, 1, 1] = 2, voxel
    raw = bytearray(nibabel.Nifti1Image(data, np.eye(4)).to_bytes())
    raw[252:256] = np.array([0, codes], dtype="<i2").tobytes()
    file.write_bytes(raw)
    with pytest.raises(InputError, match=f"^{re.escape(str(file))}: .*{advice}") as refused:
        draw_card(Phantom(participants=2, patients=0), Silent(), template=file)
    assert "PATH:" not in str(refused.value)


@pytest.mark.nightly
def test_the_phantom_measures_like_a_real_cohort(phantom_card):
    """Every band of the card; the one figure that needs a real image is measured where there is one."""
    off = [figure for figure in phantom_card.figures if figure.verdict != "pass"]
    assert [figure.name for figure in off] == ([] if REAL.is_file() else [figures.TEMPLATE]), off
    assert len(phantom_card.figures) > 50
    assert phantom_card.counts["healthy measured"] == 701 and phantom_card.counts["patients measured"] >= 60


@pytest.mark.slow
def test_any_unit_will_do(small, monkeypatch):
    monkeypatch.setattr(figures, "AGE_PEOPLE", 20)
    plain = draw_card(Phantom(participants=8, patients=2), Silent())
    for name in ("mean SUVR, precuneus", "voxelwise CV, median", "grey to white"):
        assert value(small, name) == pytest.approx(value(plain, name), rel=1e-4)


def test_what_cannot_be_measured_is_not_available(small):
    lacking = {figure.name: figure.note for figure in small.figures if figure.verdict == "n/a"}
    assert "--template FILE" in lacking.pop(figures.TEMPLATE)
    assert len(lacking) >= 10 and all("needs" in note for note in lacking.values())
    assert "needs a cohort with labels of each participant" in lacking.values()
    assert "needs 200 healthy participants" in lacking.values()


def test_a_card_without_healthy_participants():
    with pytest.raises(InputError, match=r"no scan has the diagnosis HC.*--healthy"):
        draw_card(Phantom(participants=3), Silent(), healthy="HC")


def test_diagnoses_in_small_letters(small):
    lower = Scaled(participants=8, patients=2)
    lower.participants["group"] = lower.participants["group"].str.lower()
    assert draw_card(lower, Silent()).counts == small.counts


@pytest.mark.parametrize(
    ("measured", "low", "high", "verdict"),
    [
        (1.0, 0.9, 1.1, "pass"),
        (1.2, 0.9, 1.1, "fail"),
        (0.8, 0.9, None, "fail"),
        (5.0, 0.9, None, "pass"),
        (None, 0, 1, "n/a"),
    ],
)
def test_verdicts(measured, low, high, verdict):
    assert Figure("x", "", measured, low, high, "").verdict == verdict


def test_icc_is_shrout_and_fleiss():
    """The example of Shrout and Fleiss 1979 (Psychol Bull 86:420), table 2: ICC(2,1) = 0.29."""
    ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    assert icc(np.array(ratings, dtype=float)) == pytest.approx(0.29, abs=0.005)


def test_every_label_has_a_region():
    own = norms.region_of_voxel()
    assert (own[norms.labels() > 0] >= 0).all()
    assert set(np.unique(own)) == {-1, *norms.ROWS.values()}


@pytest.mark.parametrize("width", [80, 100, 140])
def test_every_number_of_a_card_is_whole_in_a_terminal(small: Card, width: int):
    from rich.console import Console

    from uadbench.cli.cards import card_table

    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(card_table(small))
    values = {f"{figure.value:.3g}" for figure in small.figures if figure.value is not None}
    assert values <= set(captured.get().split()) and "…" not in captured.get()
