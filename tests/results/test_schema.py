"""Results: checked, and the same JSON everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from uadbench.errors import InputError
from uadbench.results import schema
from uadbench.results.schema import Result, read_result

ROOT = Path(schema.__file__).parent


def test_the_committed_schema_is_the_code_s() -> None:
    committed = json.loads((ROOT / "result.schema.json").read_text(encoding="utf-8"))
    assert committed == Result.model_json_schema(), (
        "run: python -m uadbench.results.schema > uadbench/results/result.schema.json"
    )


def test_a_result_that_does_not_fit_is_refused(trained, tmp_path: Path) -> None:
    outcome, _ = trained
    content = json.loads((outcome.folder / "result.json").read_text())
    assert read_result(outcome.folder / "result.json") == read_result(outcome.folder)
    for key, value, complaint in (
        ("schema_version", 1, "schema_version"),
        ("schema_version", 4, "not a result of schema version 5: schema_version.*repeat the run"),
        ("surprise", 1, "surprise"),
        ("seed", "zero", "seed"),
        ("strata", [{"by": "sex", "value": "F"}], r"strata\.0\.by"),
        ("cohort", {**content["cohort"], "origin": "guessed"}, r"cohort\.origin"),
        ("protocol", {**content["protocol"], "intensity": "z"}, r"protocol\.intensity"),
    ):
        file = tmp_path / "result.json"
        file.write_text(json.dumps({**content, key: value}))
        with pytest.raises(InputError, match=complaint):
            read_result(file)
    file.write_text("{")
    with pytest.raises(InputError, match="not a readable JSON"):
        read_result(file)
    with pytest.raises(InputError, match="no result here"):
        read_result(tmp_path / "none")


def test_the_json_holds_no_nan(trained) -> None:
    outcome, _ = trained
    text = (outcome.folder / "result.json").read_text()
    assert json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
