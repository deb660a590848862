"""Protocols: frozen, checked, hashed."""

from __future__ import annotations

from pathlib import Path

import pytest

from uadbench.errors import InputError
from uadbench.protocols.schema import (
    FOLDER,
    STORED,
    is_shipped,
    load_protocol,
    protocol_names,
    store_protocol,
    stored_protocol,
)


@pytest.mark.parametrize("name", protocol_names())
def test_shipped_protocols_are_sound(name: str) -> None:
    protocol = load_protocol(name)
    assert protocol.name == name
    assert is_shipped(protocol)
    assert all(n % 8 == 0 for n in protocol.grid.shape)


def test_the_paper_is_the_paper() -> None:
    paper = load_protocol("paper")
    assert paper.grid.shape == (80, 96, 80)
    assert (paper.split.train, paper.split.validation, paper.split.test, paper.split.folds) == (237, 34, 30, 8)
    assert (paper.training.epochs, paper.training.batch_size) == (300, 24)
    assert paper.testsets.severities == (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7)
    assert load_protocol("paper-cv").hash == paper.hash
    assert load_protocol("paper-cv").runs.folds == tuple(range(8))


def test_an_override_changes_the_hash_and_the_rank() -> None:
    changed = load_protocol("smoke", {"training.epochs": "2"})
    assert changed.training.epochs == 2
    assert changed.hash != load_protocol("smoke").hash
    assert not is_shipped(changed)


def test_patients_may_be_one_diagnosis_or_several() -> None:
    one = load_protocol("smoke", {"split.patients": "'FTD'"})
    assert one.split.patients == ("FTD",) and one.hash == load_protocol("smoke", {"split.patients": "['FTD']"}).hash
    for bad in ("[]", "['AD', 'ad']"):
        with pytest.raises(InputError, match=r"patients"):
            load_protocol("smoke", {"split.patients": bad})


def test_a_protocol_that_calls_its_runs_cells_is_read(tmp_path: Path) -> None:
    """As earlier versions stored it."""
    smoke = load_protocol("smoke")
    file = tmp_path / "smoke.toml"
    file.write_text((FOLDER / "smoke.toml").read_text().replace("[runs]", "[cells]"))
    assert load_protocol(str(file)) == smoke
    assert load_protocol(str(file), {"cells.folds": "[0]"}).hash == smoke.hash


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        ({"training.epoch": "2"}, "no key 'training.epoch'; did you mean 'epochs'"),
        ({"trainning.epochs": "2"}, "no section 'trainning'.*did you mean 'training'"),
        ({"training.epochs": "many"}, "training.epochs: "),
        ({"training.epochs": "0"}, "training.epochs: "),
        ({"testsets.severities": "[0.5, 0.3]"}, "severities"),
        ({"ranking.severities": "[0.11]"}, "must be among"),
        ({"runs.folds": "[9]"}, "below split.folds"),
        ({"intensity.kind": "'maxmin'"}, "intensity.kind"),
        ({"intensity.scale": "inf"}, "intensity.scale: "),
        ({"testsets.anomalies": "[]"}, "testsets.anomalies: "),
        ({"testsets.ignored": "0.9"}, "ignored must not be above positive"),
        ({"name": "'../elsewhere'"}, "name: "),
    ],
)
def test_bad_overrides_are_refused(overrides: dict[str, str], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        load_protocol("smoke", overrides)


def test_bad_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'quick'"):
        load_protocol("quik")
    with pytest.raises(InputError, match="no such protocol file"):
        load_protocol(str(tmp_path / "none.toml"))
    file = tmp_path / "mine.toml"
    text = (FOLDER / "smoke.toml").read_text()
    file.write_text(text.replace("voxel_mm", "voxel_size"))
    with pytest.raises(InputError, match=r"unknown key|Field required"):
        load_protocol(str(file))
    file.write_text(text + "\n[grid]\n")
    with pytest.raises(InputError, match="not valid TOML"):
        load_protocol(str(file))
    file.write_text(text.replace("[grid]", "[grid]\nvoxels = 3"))
    with pytest.raises(InputError, match=r"unknown key 'grid.voxels'; did you mean 'voxel_mm'"):
        load_protocol(str(file))


def test_intensity_of_a_scan() -> None:
    assert load_protocol("quick").intensity_of((0.0, 1.7)).scale == 2.5
    minmax = load_protocol("paper").intensity_of((0.2, 1.7))
    assert (minmax.offset, minmax.scale) == (0.2, 1.5)


@pytest.mark.parametrize("name", protocol_names())
def test_a_stored_protocol_is_read_as_it_was(tmp_path: Path, name: str) -> None:
    changed = load_protocol(name, {"training.epochs": "7", "standard_map.fwhm_mm": "10.1"})
    store_protocol(changed, tmp_path)
    found = stored_protocol(tmp_path, name)
    assert found == changed and found.hash == changed.hash and not is_shipped(found)


def test_a_run_folder_without_a_protocol_has_that_of_its_name(tmp_path: Path) -> None:
    assert stored_protocol(tmp_path, "quick") == load_protocol("quick")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "smoke"}'])
def test_a_stored_protocol_that_is_damaged_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / STORED).write_text(content)
    with pytest.raises(InputError, match=r"protocol\.json: "):
        stored_protocol(tmp_path, "smoke")
