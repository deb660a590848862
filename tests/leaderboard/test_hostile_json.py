"""A result's JSON that somebody has written by hand, to harm: refused in one line, with the reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from uadbench.errors import InputError
from uadbench.leaderboard.entries import LARGEST_JSON, read_untrusted

Content = dict[str, Any]
MARKUP = "<script>alert(1)</script>"
NUMBER = "@number@"


@pytest.fixture
def content(mean) -> Content:
    found: Content = json.loads(mean.file.read_text(encoding="utf-8"))
    return found


def at(content: Content, *path: str | int, value: Any) -> Content:
    """The content with another value at a place."""
    inner: Any = content
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return content


def refused(folder: Path, text: str | bytes) -> str:
    """Why a result with this text is refused; fails for any other exception, and for more than one short line."""
    file = folder / "r.json"
    file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    with pytest.raises(InputError) as error:
        read_untrusted(file)
    message = str(error.value)
    assert message.startswith(f"{file}: ") and message.isprintable() and len(message) < 3000, message
    return message.removeprefix(f"{file}: ")


def test_the_content_itself_is_taken(content, mean, tmp_path) -> None:
    (tmp_path / "r.json").write_text(json.dumps(content))
    assert read_untrusted(tmp_path / "r.json") == mean.result


# --- no JSON, or no result


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a readable JSON file"),
        ("not json", "not a readable JSON file"),
        ("{", "not a readable JSON file"),
        (b"\xff\xfe{\x00", "not a readable JSON file"),
        (b"PAR1" + bytes(range(256)), "not a readable JSON file"),
        ("\ufeff{}", "not a readable JSON file"),
        ("[" * 100_000, "not a readable JSON file"),
        ('{"a":' * 100_000, "not a readable JSON file"),
        ("[]", "not a result of schema version 5"),
        ("null", "not a result of schema version 5"),
        ("3", "not a result of schema version 5"),
        ('"text"', "not a result of schema version 5"),
        ("{}", "model: Field required"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_what_is_no_result(text, reason: str, tmp_path) -> None:
    assert reason in refused(tmp_path, text)


def test_a_folder_or_nothing_is_no_result(tmp_path) -> None:
    (tmp_path / "folder.json").mkdir()
    for name, reason in (("folder.json", "no result here"), ("none.json", "no result here")):
        with pytest.raises(InputError, match=f"{name}: {reason}"):
            read_untrusted(tmp_path / name)


@pytest.mark.parametrize("deep", [300, 900, 3000, 100_000])
@pytest.mark.parametrize("one", ["[]", "{}"])
def test_an_option_that_is_nested_deeply(content, deep: int, one: str, tmp_path) -> None:
    """pydantic goes down 255 levels, and says so in a line."""
    first, last = ("[", "]") if one == "[]" else ('{"a":', "}")
    text = json.dumps(at(content, "model", "options", value={"a": NUMBER}))
    refused(tmp_path, text.replace(f'"{NUMBER}"', first * deep + "1" + last * deep))


def test_ten_megabytes_are_not_read(content, tmp_path) -> None:
    size = len(json.dumps(at(content, "model", "reference", value="x" * 10_000_000)))
    reason = refused(tmp_path, json.dumps(content))
    assert reason == f"has {size} bytes; at most {LARGEST_JSON} are read"


# --- numbers


PLACES = [
    ("fold",),
    ("seed",),
    ("cohort", "test"),
    ("headline", "ap_standard"),
    ("detection", "voxel_thresholds", 0, "value"),
    ("scores", 0, "severity"),
    ("cost", "train_seconds"),
    ("cost", "parameters"),
    ("testset", "sketch", "mean_uptake"),
    ("model", "options", "lots"),
    ("model", "options", "nested"),
]


def with_number(content: Content, place: tuple[str | int, ...], spelled: str) -> str:
    """The JSON with a number that Python would not write."""
    content["model"]["options"] = {"lots": 1, "nested": [{"deep": 1}]}
    if place[-1] == "nested":
        place = (*place, 0, "deep")
    return json.dumps(at(content, *place, value=NUMBER)).replace(f'"{NUMBER}"', spelled)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
@pytest.mark.parametrize("spelled", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e16", "9" * 5000])
def test_numbers_that_are_no_scores(content, place, spelled: str, tmp_path) -> None:
    refused(tmp_path, with_number(content, place, spelled))


@pytest.mark.parametrize("spelled", ["1e16", "1" + "0" * 16])
def test_a_number_beyond_all_scores_is_named(content, spelled: str, tmp_path) -> None:
    for place in (("cost", "parameters"), ("model", "options", "lots")):
        assert (
            refused(tmp_path, with_number(content, place, spelled))
            == f"{'.'.join(place)} is 1e+16, which is not a valid value"
        )


@pytest.mark.parametrize("place", [("fold",), ("cost", "parameters"), ("model", "options", "lots")])
def test_integers_of_400_digits(content, place, tmp_path) -> None:
    refused(tmp_path, with_number(content, place, "1" + "0" * 400))


@pytest.mark.parametrize("spelled", ['"nan"', '"inf"', '"-Infinity"', '"1e999"'])
@pytest.mark.parametrize("place", [("scores", 0, "severity"), ("cost", "train_seconds"), ("headline", "ap_standard")])
def test_numbers_in_quotes_are_no_scores_either(content, place, spelled: str, tmp_path) -> None:
    refused(tmp_path, with_number(content, place, spelled))


# --- types and fields


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("schema_version",), 4),
        (("schema_version",), "5"),
        (("seed",), "zero"),
        (("seed",), None),
        (("seed",), 0.5),
        (("fold",), []),
        (("model",), "mean"),
        (("model", "name"), 3),
        (("model", "options"), ["a"]),
        (("model", "reconstructs"), "perhaps"),
        (("cohort", "public"), None),
        (("cohort", "origin"), "made up"),
        (("cohort", "healthy"), "CN"),
        (("protocol", "intensity"), "other"),
        (("testset", "sketch"), {"ad": None}),
        (("headline", "severities"), None),
        (("headline", "ap_interval"), [0.1]),
        (("headline", "ap_interval"), [0.1, 0.2, 0.3]),
        (("detection", "testsets"), {}),
        (("strata",), [{"by": "sex"}]),
        (("scores",), {}),
        (("scores", 0), None),
        (("scores", 0, "metrics", "prevalence"), 0.1),
        (("training",), []),
        (("cost", "parameters"), 0.5),
        (("provenance", "packages"), {"torch": 2}),
        (("score_hash",), 7),
    ],
    ids=str,
)
def test_wrong_types(content, place, value, tmp_path) -> None:
    reason = refused(tmp_path, json.dumps(at(content, *place, value=value)))
    assert reason.startswith(f"not a result of schema version 5: {place[0]}"), reason


def sections(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Content]]:
    """Every object of a result with fixed fields, under its path; the first of a list speaks for all."""
    if isinstance(value, list):
        for inner in value[:1]:
            yield from sections(inner, (*path, 0))
    elif isinstance(value, dict):
        free = path and path[-1] in ("options", "sketch", "packages", "kernel_libraries", "revisions", "metrics")
        if not free:
            yield path, value
        for key, inner in value.items():
            yield from sections(inner, (*path, key))


WITH_DEFAULT = {
    *("schema_version", "robustness", "bias", "cohort.audit", "detection.patients", "cost.cpu_minutes"),
    *("cost.budget_minutes", "model.weights", "model.answers", "model.unranked"),
    *("provenance.processor", "provenance.instruction_set", "provenance.kernel_libraries"),
}


def test_every_missing_and_every_additional_field(content, tmp_path) -> None:
    checked = 0
    for path, section in list(sections(content)):
        for name in [*section, "more"]:
            where = ".".join(map(str, (*path, name)))
            if where in WITH_DEFAULT:
                continue
            before = dict(section)
            section.pop(name, None) if name in section else section.update(more=1)
            reason = refused(tmp_path, json.dumps(content))
            complaint = "Extra inputs are not permitted" if name == "more" else "Field required"
            assert reason == f"not a result of schema version 5: {where}: {complaint}"
            section.clear()
            section.update(before)
            checked += 1
    assert checked > 100


# --- names


NAMES: dict[str, Callable[[Content, str], Any]] = {
    "model": lambda c, name: at(c, "model", "name", value=name),
    "option": lambda c, name: at(c, "model", "options", value={name: 1}),
    "cohort": lambda c, name: at(c, "cohort", "name", value=name),
    "test cohort": lambda c, name: at(c, "cohort", "tested_on", value=name),
    "protocol": lambda c, name: at(c, "protocol", "name", value=name),
    "test set": lambda c, name: at(c, "scores", 0, "anomaly", value=name),
    "metric": lambda c, name: at(c, "scores", 0, "metrics", name, value=c["scores"][0]["metrics"]["prevalence"]),
}
BAD_NAMES = [
    *(MARKUP, '"><img src=x onerror=alert(1)>', "a&b", "it's", "| x |", '=HYPERLINK("x")', "`x`", "[x](y)", "a b"),
    *("../x", "a/b", "a\\b", "/etc/passwd", "..", ".hidden", "-rf", "", "\0", "a\n", "a\nb", "\u202ex", "ä", "x" * 81),
]


@pytest.mark.parametrize("what", NAMES)
@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_names_that_are_none(content, what: str, name: str, tmp_path) -> None:
    content["scores"][0]["metrics"]["prevalence"] = content["scores"][0]["metrics"]["residual.whole.mse"]
    reason = refused(tmp_path, json.dumps(NAMES[what](content, name)))
    assert what in reason and repr(name[:80]) in reason and "use letters, digits" in reason


@pytest.mark.parametrize("what", NAMES)
def test_names_that_are_some(content, what: str, tmp_path) -> None:
    content["scores"][0]["metrics"]["prevalence"] = content["scores"][0]["metrics"]["residual.whole.mse"]
    for name in ("x", "vae3d_v2.1", "phantom:seed=7,participants=50", "A+b-c", "x" * 80):
        (tmp_path / "r.json").write_text(json.dumps(NAMES[what](content, name)))
        read_untrusted(tmp_path / "r.json")


def test_a_test_set_that_is_there_twice(content, tmp_path) -> None:
    content["scores"].append(content["scores"][0])
    assert refused(tmp_path, json.dumps(content)) == "a test set appears twice"


def test_a_field_that_is_there_twice_is_refused(content, tmp_path) -> None:
    """Readers differ in which of the two counts."""
    reason = refused(tmp_path, json.dumps(content)[:-1] + ', "seed": 5}')
    assert "'seed' twice" in reason


# --- messages


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("a\nb\x1b[31m",), 1),
        (("cohort", "a\nb"), 1),
        (("model", "options"), {"x": {"a\nb": 1e16}}),
        (("testset", "sketch"), {"a\nb": 1e16}),
        (("cost", "\u2028"), 1),
    ],
    ids=str,
)
def test_the_reason_is_a_line_whatever_the_keys(content, place, value, tmp_path) -> None:
    refused(tmp_path, json.dumps(at(content, *place, value=value)))


def test_the_reason_is_short_however_long_the_key(content, tmp_path) -> None:
    refused(tmp_path, json.dumps(at(content, "k" * 100_000, value=1)))


@pytest.mark.parametrize("place", [("model", "options", "text"), ("model", "reference"), ("provenance", "device")])
def test_text_that_no_file_can_hold(content, place, tmp_path) -> None:
    refused(tmp_path, json.dumps(at(content, *place, value="a\ud800b")))
