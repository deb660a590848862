"""Answers are asked for under the names of the export, and accepted packed or not, once each."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest

from uadbench.errors import InputError
from uadbench.exchange.answers import find_answers, read_answer
from uadbench.types import Grid

GRID = Grid((3, 4, 5), 2.0, (-2.0, -3.0, -4.0))
DATA = np.arange(60, dtype=np.float32).reshape(3, 4, 5)


def answer(file: Path, affine: np.ndarray = GRID.affine) -> Path:
    file.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(DATA, affine), file)
    return file


@pytest.mark.parametrize(("suffix", "other"), [(".nii", ".nii.gz"), (".nii.gz", ".nii")])
def test_what_was_exported_is_asked_for(tmp_path: Path, suffix: str, other: str) -> None:
    def refusal() -> str:
        with pytest.raises(InputError) as refused:
            find_answers(tmp_path, ["a", "b"], GRID, suffix)
        return str(refused.value)

    assert f"maps/NAME{suffix} " in refusal()
    answer(tmp_path / "maps" / f"a{suffix}")
    assert f"(b{suffix})" in refusal()
    answer(tmp_path / "maps" / f"b{other}")
    assert {file.name for file in find_answers(tmp_path, ["a", "b"], GRID, suffix).maps.values()} == {
        f"a{suffix}",
        f"b{other}",
    }
    answer(tmp_path / "maps" / f"b{suffix}")
    assert f"b{suffix}" in refusal() and f"b{other}" in refusal()


def test_an_answer_that_lies_nowhere_is_refused(tmp_path: Path) -> None:
    file = answer(tmp_path / "a.nii")
    raw = bytearray(file.read_bytes())
    raw[252:256] = bytes(4)  # qform_code and sform_code
    file.write_bytes(raw)
    with pytest.raises(InputError, match=r"sform_code and qform_code are 0.*copy the header of its image"):
        read_answer(file, GRID)


def test_an_answer_under_the_wrong_ending_is_told_the_right_one(tmp_path: Path) -> None:
    file = answer(tmp_path / "a.nii")
    file.write_bytes(gzip.compress(file.read_bytes()))
    with pytest.raises(InputError, match=r"name it a\.nii\.gz"):
        read_answer(file, GRID)
