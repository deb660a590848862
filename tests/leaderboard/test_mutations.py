"""One value of a sound result's JSON is changed, at random: it is refused, or nothing that is shown changes."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.leaderboard.builder import copy_of, the
from uadbench.errors import InputError
from uadbench.leaderboard.checks import DERIVED, require_sound
from uadbench.leaderboard.committing import generated
from uadbench.leaderboard.entries import Entry, read_entries, read_untrusted

Path_ = tuple[str | int, ...]

VOUCHED = (*DERIVED, "score_hash")
"""What follows from the cases."""

UNKNOWABLE = ("validation_mse", "voxel_thresholds")
"""What a table of cases cannot tell."""

FIXED = [
    *(("fold",), ("cohort", "name"), ("cohort", "public"), ("cohort", "tested_on"), ("cohort", "test")),
    *(
        ("cohort", "validation"),
        ("cohort", "patients"),
        ("cohort", "audit"),
        ("protocol", "name"),
        ("protocol", "hash"),
    ),
    *(("testset", "recipe"), ("testset", "sketch", "ad.effective_reduction"), ("schema_version",)),
]
VALUES: list[Any] = [
    *(None, True, False, -1, 0, 1, 7, 1e-3, 0.42, 0.5, 1.5, 1e9, 1e17, "", "x", "0.5", "<b>", "../x"),
    *([], [0.5], {}, {"x": 1}, [None], "phantom", "caps-1", "0" * 64),
]


def leaves(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    """The paths of everything that is no object and no list."""
    if isinstance(value, dict | list) and value:
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, key))
    else:
        yield path


def value_at(content: Any, path: Path_) -> Any:
    for key in path:
        content = content[key]
    return content


@pytest.fixture(scope="module")
def own(committed, tmp_path_factory) -> Path:
    return copy_of(committed, tmp_path_factory.mktemp("mutated") / "leaderboard")


@pytest.fixture(scope="module")
def entry(own) -> Entry:
    return the(own, "mean")


@pytest.fixture(scope="module")
def content(entry) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(entry.file.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def shown(own, entry) -> dict[Path, str]:
    return generated(own)[1]


def refused_or_unseen(entry: Entry, own: Path, shown: dict[Path, str], changed: Any) -> None:
    """Any exception but InputError fails, and so does a page that has changed."""
    before = entry.file.read_text(encoding="utf-8")
    try:
        entry.file.write_text(json.dumps(changed), encoding="utf-8")
        try:
            require_sound(Entry(entry.file, read_untrusted(entry.file)), own)
            list(read_entries(own))
        except InputError as error:
            assert str(error).isprintable()
            return
        assert generated(own)[1] == shown
    finally:
        entry.file.write_text(before, encoding="utf-8")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_follows_from_the_cases(data, own, entry, content, shown, computed_once) -> None:
    part = data.draw(st.sampled_from(VOUCHED))
    places = [path for path in leaves(content[part], (part,)) if not set(path) & set(UNKNOWABLE)]
    path = data.draw(st.sampled_from(places))
    old = value_at(content, path)
    options = VALUES + ([2 * old, -old, old + 1, 1.001 * old] if isinstance(old, float) else [])
    value = data.draw(st.sampled_from(options))
    assume(value != old or type(value) is not type(old))
    changed = copy.deepcopy(content)
    value_at(changed, path[:-1])[path[-1]] = value
    refused_or_unseen(entry, own, shown, changed)


@pytest.mark.parametrize("path", FIXED, ids=".".join)
def test_what_everybody_knows(path: Path_, own, entry, content, shown, computed_once) -> None:
    old = value_at(content, path)
    for value in VALUES[::2]:
        if value == old and type(value) is type(old):
            continue
        changed = copy.deepcopy(content)
        value_at(changed, path[:-1])[path[-1]] = value
        refused_or_unseen(entry, own, shown, changed)


def test_what_nobody_can_know_is_shown_as_it_is_told(own, entry, content, shown, computed_once) -> None:
    """This can fail: a page does change with what it shows."""
    changed = copy.deepcopy(content)
    changed["cost"]["parameters"] = 123_456_789
    with pytest.raises(AssertionError):
        refused_or_unseen(entry, own, shown, changed)
