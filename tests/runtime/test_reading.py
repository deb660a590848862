"""The one reader: regular files of bounded size, and JSON with bounded values."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from uadbench.errors import InputError
from uadbench.runtime.reading import MOST_DEPTH, MOST_VALUES, Unreadable, first_fault, parse_json, read_bytes, read_json


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "empty").touch()
    assert read_bytes(tmp_path / "a", 3) == b"abc" and read_bytes(tmp_path / "empty", 3) == b""
    with pytest.raises(Unreadable, match="has 3 bytes; at most 2"):
        read_bytes(tmp_path / "a", 2)
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "none", 2)


@pytest.mark.parametrize("links", [True, False])
def test_what_is_no_file_is_not_opened(links: bool, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for file in (tmp_path, tmp_path / "pipe", tmp_path / "zero", tmp_path / "loop", Path("/dev/zero"), Path("a\0b")):
        with pytest.raises(Unreadable) as refused:
            read_bytes(file, 100, links=links)
        assert str(refused.value).isprintable() and isinstance(refused.value, InputError)


def test_a_link_is_for_the_user_to_give(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert read_bytes(tmp_path / "b", 3, links=True) == b"abc"
    with pytest.raises(Unreadable, match="is a link"):
        read_bytes(tmp_path / "b", 3)


@pytest.mark.parametrize("value", [{"a": [1, 'x,{[\\"', None]}, [], 3, "[" * 1000, {"[": "\\"}], ids=str)
def test_json_is_what_it_is(value: object, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(value))
    assert read_json(tmp_path / "a.json", 5000) == value


@pytest.mark.parametrize(
    "text",
    [
        "[" * (MOST_DEPTH + 1) + "]" * (MOST_DEPTH + 1),
        "[" + "1," * MOST_VALUES + "1]",
        '{"a": 1, "a": 1}',
        '"\\ud800"',
        '"open',
        '"' + '\\"' * 10_000,
        '{"a": NaN}',
    ],
    ids=lambda text: text[:8],
)
def test_json_that_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_json(text, finite=True)


class Schema(BaseModel):
    model_config = ConfigDict(extra="forbid")
    a: int = 0


@pytest.mark.parametrize(("keys", "reason"), [(1, "Extra inputs"), (5000, "5000 places")])
def test_faults_are_counted_where_they_are_many(keys: int, reason: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Schema.model_validate({f"k{number}": 1 for number in range(keys)})
    assert reason in first_fault(refused.value)[1]
