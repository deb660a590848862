"""The region table: complete, on AAL3, and refused with a reason when it is broken."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from uadbench.errors import InputError
from uadbench.simulation import regions
from uadbench.space import atlas

TEXT = Path(regions.__file__).with_name("regions.toml").read_text(encoding="utf-8")


def test_the_six_dementias_are_there_in_the_papers_order() -> None:
    assert tuple(regions.dementias()) == regions.DEMENTIAS
    assert [entry.key for entry in regions.dementias().values()] == list(regions.DEMENTIAS)


@pytest.mark.parametrize("name", regions.DEMENTIAS)
def test_every_region_has_voxels_and_a_cited_source(name: str) -> None:
    entry = regions.dementia(name)
    labels = [label for region in entry.regions for label in region.labels]
    assert len(labels) == len(set(labels)) == len(entry.weights)
    assert set(labels) <= set(atlas.region_ids())
    assert max(entry.weights.values()) == 1.0
    assert {source for region in entry.regions for source in region.sources} <= set(regions.sources())


def test_every_source_is_cited() -> None:
    cited = {source for entry in regions.dementias().values() for region in entry.regions for source in region.sources}
    assert cited == set(regions.sources())


def test_a_side_becomes_the_label_of_that_side() -> None:
    assert regions.dementia("nfvppa").weights["Insula_L"] == 1.0
    assert "Insula_R" not in regions.dementia("nfvppa").weights
    assert regions.dementia("ad").weights["Angular_L"] == regions.dementia("ad").weights["Angular_R"]


def test_entries_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        regions.dementia("ad").regions[0].weight = 0.1
    regions.dementias().clear()
    assert len(regions.dementias()) == 6


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(InputError, match="'lvpa'; did you mean 'lvppa'"):
        regions.dementia("lvpa")


def test_the_digest_follows_numbers_and_not_prose_or_order() -> None:
    table = regions.dementias()
    entry = table["pca"]

    def digest_with(**changes: object) -> str:
        first = entry.regions[0].model_copy(update=changes)
        return regions.digest(table | {"pca": entry.model_copy(update={"regions": (*entry.regions[1:], first)})})

    same = regions.regions_digest()
    assert digest_with() == digest_with(why="other words", sources=("cerami2015",)) == same
    assert digest_with(weight=0.75) != same
    assert digest_with(side="left") != same
    assert digest_with(region="Fusiform") != same


def test_the_digest_is_the_published_one() -> None:
    """Results say which masks they were made with; whoever edits the table makes new test sets."""
    assert regions.regions_digest().startswith("0a1965d74fd60241")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('region = "Parietal_Inf"', 'region = "Parietal_Low"', r"ad\.regions\.1 .*no voxels of 'Parietal_Low_L'"),
        ('side = "both"', 'side = "middle"', r"ad\.regions\.0\.side: .*'middle'"),
        ("weight = 1.0", "weight = 1.5", r"ad\.regions\.0\.weight: .*1\.5"),
        ("weight = 1.0", 'weight = "1.0"', r"ad\.regions\.0\.weight: .*valid number"),
        ("weight = 1.0", "weight = 0.0", r"ad\.regions\.0\.weight"),
        ("weight = 1.0\n", "", r"ad\.regions\.0\.weight: Field required"),
        ("weight = 1.0", "weight = 1.0\nwieght = 1.0", r"ad\.regions\.0\.wieght"),
        ('region = "Parietal_Inf"', 'region = "Parietal_Sup"', r"ad\.regions\.1 .*'Parietal_Sup_L' is listed twice"),
        ('sources = ["hassanaly2023", ', 'sources = ["hassanaly1923", ', r"ad\.regions\.0 .*'hassanaly1923'"),
        ("[sources]", "[source]", r"the table \[sources\] is missing"),
        ("verified = true }", 'verified = "perhaps" }', r"sources\.hassanaly2023\.verified"),
        ("[ad]\n", "[add]\n", r"\[add\] is not a dementia; did you mean 'ad'"),
        ("[ad]\n", "[ad\n", "cannot be read"),
    ],
)
def test_a_broken_table_is_refused_by_entry(tmp_path: Path, old: str, new: str, reason: str) -> None:
    assert old in TEXT
    path = tmp_path / "regions.toml"
    path.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError, match=reason) as refused:
        regions.read_table(path)
    assert "\n" not in str(refused.value)


def test_a_missing_dementia_is_named(tmp_path: Path) -> None:
    path = tmp_path / "regions.toml"
    path.write_text(TEXT[: TEXT.index("[pca]")], encoding="utf-8")
    with pytest.raises(InputError, match=r"the table \[pca\] is missing"):
        regions.read_table(path)
