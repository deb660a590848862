"""Files are whole or absent."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from uadbench.errors import InputError
from uadbench.runtime.files import (
    Unwritable,
    atomic_path,
    content_hash,
    keyed_seed,
    require_folder,
    require_place,
    require_writable,
    write_json,
    write_together,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_json(target, {"x": 1})
    before = target.read_text()
    with pytest.raises(RuntimeError), atomic_path(target) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert target.read_text() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_files_that_belong_together_are_written_together_or_not_at_all(tmp_path: Path) -> None:
    first, last = tmp_path / "scores", tmp_path / "result"

    def fails(partial: Path) -> None:
        raise OSError(errno.ENOSPC, "full")

    def writes(text: str) -> Callable[[Path], object]:
        return lambda partial: partial.write_text(text)

    write_together({first: writes("one"), last: writes("one")})
    with pytest.raises(Unwritable, match="result: cannot be written"):
        write_together({first: writes("two"), last: fails})
    assert (first.read_text(), last.read_text()) == ("one", "one")
    write_together({first: writes("two"), last: writes("two")})
    assert (first.read_text(), last.read_text()) == ("two", "two")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["result", "scores"]


def test_hashes_tell_boundaries_and_types_apart() -> None:
    assert content_hash("ab", "c") != content_hash("a", "bc")
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1})
    assert content_hash(1) != content_hash("1")
    assert len({keyed_seed("a", 1), keyed_seed("a", 2), keyed_seed("b", 1)}) == 3
    assert 0 <= keyed_seed("a") < 2**63


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(InputError, match="cannot write here"):
        require_writable(blocked / "runs")


@pytest.mark.parametrize("require", [require_folder, require_place])
@pytest.mark.parametrize("name", ["file/below", "file/below/it", "x" * 300])
def test_a_place_that_cannot_be_made_is_refused_and_one_that_can_leaves_nothing(require, name: str, tmp_path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot write here"):
        require(tmp_path / name)
    require(tmp_path / "a" / "b")
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]


def test_a_file_is_no_folder(tmp_path) -> None:
    (tmp_path / "file").write_text("x")
    require_place(tmp_path / "file")
    with pytest.raises(InputError, match="cannot write here"):
        require_folder(tmp_path / "file")
