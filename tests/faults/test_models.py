"""Models of anybody's make: whatever they do, the other runs have their results, and one line says what was wrong."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import MINE, SMOKE, hashes_of, one_error, run_of
from uadbench.results.schema import read_result

pytestmark = pytest.mark.slow

REASONS = {
    "Raises": "RuntimeError: the model's own words, in two lines",
    "GivesAnotherShape": "GivesAnotherShape: its reconstruction has shape (8, 1, 24, 32, 23), the images have",
    "GivesNaN": "GivesNaN: its reconstruction has voxels that are not finite",
    "LearnsNaN": "LearnsNaN: loss 'gain' is nan; a lower learning rate may help",
    "DivergesSilently": "DivergesSilently: the validation error is NaN after epoch 1",
    "EatsMemoryOfTorch": "out of memory (",
    "EatsMemoryOfNumpy": "out of memory (",
}
"""Class -> how its one line begins."""

WHAT = {
    "Raises": "raises an error of two lines in fit",
    "GivesAnotherShape": "gives another shape",
    "GivesNaN": "gives NaN",
    "LearnsNaN": "has a loss that becomes NaN",
    "DivergesSilently": "has a finite loss, and gradients that are NaN",
    "EatsMemoryOfTorch": "asks torch for 8 TiB in fit",
    "EatsMemoryOfNumpy": "asks NumPy for 8 TiB in reconstruct",
}

LITTLE_MEMORY = "import resource; resource.setrlimit(resource.RLIMIT_AS, (64 << 30, 64 << 30))"


@dataclass(frozen=True)
class Swept:
    """A sweep over every faulty model, with a sound one before and after them."""

    code: int
    document: dict[str, Any]
    err: str
    output: Path


@pytest.fixture(scope="module")
def swept(nursery, tmp_path_factory) -> Swept:
    output = tmp_path_factory.mktemp("swept")
    faulty = [f"{MINE}:{name}" for name in REASONS]
    models = [f"{MINE}:ChangesItsInput", *faulty, f"{MINE}:Half", "mean"]
    options = [word for name in models for word in ("--model", name)]
    code, out, err = nursery.start(*SMOKE, *options, "--output", output, "--json", before=LITTLE_MEMORY).ended()
    assert out.startswith("{"), err
    return Swept(code, json.loads(out), err, output)


@pytest.mark.parametrize("model", REASONS)
@pytest.mark.fault("a model that does something wrong: {model}")
def test_a_faulty_model(model: str, swept: Swept, undisturbed, outcome) -> None:
    assert swept.code == 3
    reason = swept.document["failures"][f"{model}, fold 0, seed 0"]
    assert reason.startswith(REASONS[model]) and "\n" not in reason
    assert f"{model}, fold 0, seed 0: {reason}" in one_error(swept.err)
    assert json.loads((run_of(swept.output, model) / "failure.json").read_text())["error"] == reason
    assert hashes_of(swept.output)["mean"] == hashes_of(undisturbed)["mean"]
    outcome(f"{WHAT[model]}: told in one line ('{reason[:80]}'), recorded, exit code 3, the others have their results")


@pytest.mark.fault("a model that changes its input in place")
def test_a_model_that_changes_its_input(swept: Swept, undisturbed, outcome) -> None:
    found = hashes_of(swept.output)
    assert found["ChangesItsInput"] == found["Half"]
    assert found["mean"] == hashes_of(undisturbed)["mean"]
    assert set(found) == {"ChangesItsInput", "Half", "mean"}
    outcome("scored against the images as they were: equal to a model that works on a copy; the runs that follow, too")


@pytest.mark.fault("a model that prints wherever it can, under --json")
def test_a_model_that_prints(nursery, tmp_path: Path, outcome) -> None:
    loud = MINE.with_name("loud.py")
    code, out, err = nursery.start(*SMOKE, "--model", f"{loud}:Loud", "--output", tmp_path, "--json").ended()
    assert code == 0, err
    assert [each["result"]["model"]["name"] for each in json.loads(out)["results"]] == ["Loud"]
    for word in ("imported", "made", "fitted", "asked"):
        assert f"loud: {word}" in err
    outcome("stdout is one JSON document; what the model printed is on stderr")


@pytest.mark.parametrize(("model", "reason"), [("Hangs", "took longer than the 4 s"), ("Exits", "SystemExit")])
@pytest.mark.fault("a model that never comes back: {model}")
def test_a_model_that_does_not_come_back(
    model: str, reason: str, nursery, undisturbed, tmp_path: Path, outcome
) -> None:
    """`mean` is done already, so that the limit can be short."""
    target = run_of(undisturbed, "mean").relative_to(undisturbed)
    shutil.copytree(undisturbed / target, tmp_path / target)
    before = read_result(tmp_path / target)
    models = ("--model", f"{MINE}:{model}", "--model", "mean", "--time-limit", "4s")
    code, out, err = nursery.start(*SMOKE, *models, "--output", tmp_path, "--json").ended()
    assert code == 3, err
    document = json.loads(out)
    assert reason in document["failures"][f"{model}, fold 0, seed 0"] and reason in one_error(err)
    assert [each["result"]["score_hash"] for each in document["results"]] == [before.score_hash]
    outcome(f"told in one line ('{reason} ...'), exit code 3, the others have their results")


@pytest.mark.fault("a single model that fails")
def test_a_single_model_that_fails(call, tmp_path: Path, outcome) -> None:
    code, out, err = call(*SMOKE, "--model", f"{MINE}:Raises", "--output", tmp_path, "--json")
    assert code == 3 and not out
    assert REASONS["Raises"] in one_error(err)
    outcome("its error is the command's, in one line; exit code 3")
