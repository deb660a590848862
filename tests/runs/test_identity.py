"""A run is known by all that decides its weights: files that the constructor reads, and code in a notebook."""

from __future__ import annotations

import json
import linecache
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from uadbench import registry
from uadbench.cli.main import main
from uadbench.cohorts.phantom import Phantom
from uadbench.errors import InputError
from uadbench.launch.plan import plan_runs
from uadbench.models.initial_state import initial_state
from uadbench.protocols.schema import load_protocol
from uadbench.results.schema import RESULT, read_result
from uadbench.runs import keys
from uadbench.runs.fold_data import FoldData, plan_fold
from uadbench.runs.keys import Run
from uadbench.runs.run import complete
from uadbench.runtime.progress import Silent

CPU = torch.device("cpu")
SMOKE = load_protocol("smoke")
LOADING = """
from pathlib import Path
import torch
from safetensors.torch import load_file
from uadbench.models.base import ReconstructionModel
class Loaded(ReconstructionModel):
    '''Subtracts a pattern that was learnt elsewhere.'''
    def __init__(self, grid):
        super().__init__(grid)
        self.pattern = torch.nn.Parameter(torch.zeros(grid.shape))
        self.load_state_dict(load_file(Path(__file__).with_name('weights.safetensors')))
    def reconstruct(self, batch):
        return self.pattern + 0 * batch.images
"""


@pytest.fixture(scope="module")
def few() -> FoldData:
    """A small cohort under the smoke protocol."""
    return plan_fold(Phantom(participants=20, patients=2), SMOKE, 0)


@pytest.fixture
def reference(tmp_path: Path) -> str:
    (tmp_path / "loaded.py").write_text(LOADING)
    write_weights(tmp_path, seed=0)
    return f"{tmp_path / 'loaded.py'}:Loaded"


def write_weights(folder: Path, seed: int) -> None:
    pattern = torch.rand(SMOKE.lattice.shape, generator=torch.Generator().manual_seed(seed))
    save_file({"pattern": pattern}, folder / "weights.safetensors")


def test_other_weights_in_the_constructor_are_another_run(reference: str, few: FoldData, tmp_path: Path) -> None:
    first = complete(Run(reference, few, 0), tmp_path / "runs", CPU, Silent())
    assert complete(Run(reference, few, 0), tmp_path / "runs", CPU, Silent()).reused
    write_weights(tmp_path, seed=1)
    assert Run(reference, few, 0).state(tmp_path / "runs") == "to do"
    second = complete(Run(reference, few, 0), tmp_path / "runs", CPU, Silent())
    assert not second.reused and second.folder != first.folder
    assert second.result.fit_key != first.result.fit_key and second.result.score_hash != first.result.score_hash
    write_weights(tmp_path, seed=0)
    assert complete(Run(reference, few, 0), tmp_path / "runs", CPU, Silent()).result == first.result


def test_undeclared_weights_have_no_rank(reference: str, few: FoldData, tmp_path: Path) -> None:
    warned: list[str] = []

    class Listening(Silent):
        def warning(self, text: str) -> None:
            warned.append(text)

    outcome = complete(Run(reference, few, 0), tmp_path / "runs", CPU, Listening())
    why = outcome.result.unranked
    assert "Loaded" in why and "pattern" in why and why == outcome.result.model.unranked
    assert not outcome.result.protocol.ranked and any(why in text for text in warned)
    told = json.loads((outcome.folder / RESULT).read_text(encoding="utf-8"))
    told["protocol"]["ranked"] = True
    (outcome.folder / RESULT).write_text(json.dumps(told))
    with pytest.raises(InputError, match="not ranked"):
        read_result(outcome.folder)
    declares = LOADING.replace("    def __init__", "    pretrained = {'pattern': 'package x 1.0'}\n    def __init__")
    (tmp_path / "loaded.py").write_text(declares)
    declared = Run(reference, few, 0)
    assert declared.unranked is None and declared.fit_key != outcome.result.fit_key


def test_the_table_and_the_leaderboard_say_so(
    reference: str, fold_data: FoldData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "runs"
    run = ["run", "--model", reference, "--protocol", "smoke", "--output", str(output), "--tracking-uri", "none"]
    with pytest.raises(SystemExit) as ended:
        main(run)
    printed = " ".join(capsys.readouterr().out.split())
    assert not ended.value.code and "Unranked: Loaded" in printed and "pattern" in printed
    (folder,) = output.glob("phantom/smoke/Loaded/fold0-*")
    with pytest.raises(SystemExit) as ended:
        main(["leaderboard", "add", str(folder), "--root", str(tmp_path / "board")])
    assert ended.value.code == 2 and not (tmp_path / "board").exists()


def test_a_file_that_changes_while_runs_wait_is_noticed(reference: str, few: FoldData, tmp_path: Path) -> None:
    for change in (lambda: write_weights(tmp_path, seed=2), lambda: Path(reference[:-7]).write_text(LOADING + "x=1\n")):
        run = Run(reference, few, 0)
        assert run.fit_key
        change()
        with pytest.raises(InputError, match="changed during the run"):
            complete(run, tmp_path / "runs", CPU, Silent())
        assert not list(tmp_path.glob("runs/**/model.safetensors"))


def test_a_plan_finds_the_initial_state_of_a_model_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Any] = []

    def counted(build: Any) -> Any:
        found.append(initial_state(build))
        return found[-1]

    monkeypatch.setattr(keys, "initial_state", counted)
    small = Phantom(participants=20, patients=2)
    planned = plan_runs(small, SMOKE, ["zscore", "ae3d"], {"ae3d": {"latent": 3}}, [0, 1], [0, 1, 2], Silent())
    assert len({run.fit_key for run in planned}) == 12 and len(found) == 2


def in_a_cell(text: str) -> None:
    """Run code in `__main__` as IPython does."""
    name = f"/tmp/ipykernel_1/{abs(hash(text))}.py"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    exec(compile(text, name, "exec"), vars(sys.modules["__main__"]))


HELPER = "def of_identity_test(images):\n    return {} * images\n"
NOTEBOOK = (
    "from uadbench import ReconstructionModel, register_model\n"
    "@register_model('of_identity_test')\nclass OfIdentityTest(ReconstructionModel):\n"
    "    def reconstruct(self, batch):\n        return of_identity_test(batch.images)\n"
)


@pytest.fixture
def main_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """`__main__` as a kernel has it: without a file."""
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    monkeypatch.setattr(registry.models, "_loaded", dict(registry.models._loaded))
    for name in ("of_identity_test", "OfIdentityTest", "ReconstructionModel", "register_model"):
        monkeypatch.setattr(sys.modules["__main__"], name, None, raising=False)


@pytest.mark.usefixtures("main_module")
def test_a_model_of_a_notebook_runs_and_is_reused(few: FoldData, tmp_path: Path) -> None:
    outcomes = []
    for factor in (0.5, 0.5, 0.25):
        in_a_cell(HELPER.format(factor))
        in_a_cell(NOTEBOOK)
        outcomes.append(complete(Run("of_identity_test", few, 0), tmp_path, CPU, Silent()))
    assert [outcome.reused for outcome in outcomes] == [False, True, False]
    assert outcomes[0].result.protocol.ranked and outcomes[0].result.unranked == ""
    assert outcomes[0].result.score_hash != outcomes[2].result.score_hash


@pytest.mark.usefixtures("main_module")
def test_a_model_of_unknown_source_is_never_reused_or_ranked(few: FoldData, tmp_path: Path) -> None:
    exec(HELPER.format(0.5) + NOTEBOOK, vars(sys.modules["__main__"]))
    outcomes = [complete(Run("of_identity_test", few, 0), tmp_path, CPU, Silent()) for _ in range(2)]
    assert [outcome.reused for outcome in outcomes] == [False, False]
    one, other = (outcome.result for outcome in outcomes)
    assert "source of of_identity_test is unknown" in one.unranked and not one.protocol.ranked
    assert one.fit_key != other.fit_key and one.score_hash == other.score_hash
    assert one.provenance.model_source == "unknown"
    run = Run("of_identity_test", few, 0)
    assert run.fit_key == run.fit_key != replace(run).fit_key
