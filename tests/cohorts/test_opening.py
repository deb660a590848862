"""From what a user writes to a cohort: names, folders, tables, and what is none of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from uadbench.cohorts.caps import Caps
from uadbench.cohorts.io.export import export_caps
from uadbench.cohorts.opening import open_cohort
from uadbench.cohorts.phantom import Phantom
from uadbench.errors import InputError
from uadbench.runtime.progress import Silent


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with CAPS trees that are called like cohorts of uadbench."""
    folder = tmp_path_factory.mktemp("home")
    cohort = Phantom(participants=2, patients=0)
    rows = cohort.participants.iloc[:1]
    for name in ("caps", "table", "phantom"):
        export_caps(cohort, rows, folder / name, Silent())
    return folder


@pytest.mark.parametrize("reference", ["caps", "./caps", "table", "caps:name=mine", "./phantom"])
def test_a_folder_wins_over_a_name_that_would_only_ask_for_it(reference: str, home: Path, monkeypatch) -> None:
    monkeypatch.chdir(home)
    assert isinstance(open_cohort(reference), Caps)


def test_a_name_that_needs_no_path_stays_a_name(home: Path, monkeypatch) -> None:
    monkeypatch.chdir(home)
    assert isinstance(open_cohort("phantom"), Phantom)
    assert isinstance(open_cohort("caps:path=table"), Caps)


@pytest.mark.parametrize("name", ["scans.txt", "scans.xlsx", "scans", "scan.nii.gz"])
def test_another_kind_of_file_is_told_the_two_that_are_read(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("participant_id\tpath\n")
    with pytest.raises(InputError) as caught:
        open_cohort(str(tmp_path / name))
    assert all(word in str(caught.value) for word in (name, ".tsv", ".csv"))


def test_a_plugin_without_its_path(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"cohort caps needs 'path'.*\.tsv"):
        open_cohort("caps")
