"""Answers in files are scored exactly like a model, and every fault is found before."""

from __future__ import annotations

import gzip
import json
import shutil
from contextlib import contextmanager
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch

from uadbench.cli.main import main
from uadbench.errors import InputError, Unfinished
from uadbench.exchange.answers import find_answers, read_answer
from uadbench.exchange.inputs import shown_scans, voxel_digest
from uadbench.exchange.manifest import MANIFEST
from uadbench.exchange.model import AnswerBook, FromMaps
from uadbench.exchange.scoring import answered_run
from uadbench.leaderboard.boards import boards
from uadbench.leaderboard.committing import add, generated
from uadbench.leaderboard.render import command
from uadbench.leaderboard.rerun import rerun
from uadbench.report.page import _page
from uadbench.results.scores import KEYS, read_scores
from uadbench.runs import keys
from uadbench.runs.keys import Outcome, Run
from uadbench.runs.run import complete
from uadbench.runtime.progress import Silent

CPU = torch.device("cpu")

TOLERANCE = 1e-4
"""Of any score, absolute: maps are stored as float32, and the tool sums in another order than the model."""


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    printed = capsys.readouterr()
    return int(stopped.value.code or 0), printed.out, printed.err


def only(folder: Path, kind: str, tmp_path: Path) -> Path:
    """A copy of an export with answers of one kind alone."""
    unwanted = ({"maps", "reconstructions"} - {kind}).pop()
    return Path(shutil.copytree(folder, tmp_path / kind, ignore=shutil.ignore_patterns(unwanted)))


def scored(folder: Path, name: str, output: Path):
    return complete(answered_run(folder, name, Silent(), reference="Nobody 2024"), output, CPU, Silent())


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert list(found.columns) == list(expected.columns)
    for name in found.columns:
        if name in KEYS or not pd.api.types.is_numeric_dtype(found[name]):
            assert found[name].equals(expected[name]), name
        else:
            np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=TOLERANCE, err_msg=name)


@pytest.fixture(scope="module")
def models(fold_data, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    """The scores of zscore and mean as models of code."""
    output = tmp_path_factory.mktemp("models")
    return {
        name: read_scores(complete(Run(name, fold_data, 0), output, CPU, Silent()).folder)
        for name in ("zscore", "mean")
    }


@pytest.mark.slow
def test_maps_of_another_process_score_like_the_model_of_code(models, answered: Path, tmp_path: Path, capsys) -> None:
    folder = only(answered, "maps", tmp_path)
    options = ["--name", "spm12", "--reference", "Friston 1994", "--output", str(tmp_path / "runs"), "--json"]
    code, out, err = call(capsys, "score", str(folder), *options)
    assert code == 0, err
    told = json.loads(out)
    assert_same(read_scores(Path(told["folder"])), models["zscore"])
    result = told["result"]
    assert result["model"]["name"] == "spm12" and result["model"]["reference"] == "Friston 1994"
    assert len(result["model"]["answers"]) == 64 and result["protocol"]["ranked"]
    assert not result["model"]["reconstructs"] and result["training"] is None
    unknown = ("train_seconds", "inference_seconds_per_scan", "parameters", "cpu_minutes")
    assert [result["cost"][name] for name in unknown] == [None] * 4
    assert result["provenance"]["model_source"] == "unknown: it answered in files"
    assert (Path(told["folder"]) / "mlflow.json").is_file()
    code, out, err = call(capsys, "score", str(folder), *options[:-1])  # there already, and shown to people
    assert code == 0 and "evaluating" not in err
    assert "spm12" in out and "answers in files" in out and "checkpoint" not in out


def test_reconstructions_score_like_the_model_of_code(models, answered: Path, tmp_path: Path) -> None:
    outcome = scored(only(answered, "reconstructions", tmp_path), "average", tmp_path)
    assert outcome.result.model.reconstructs
    assert_same(read_scores(outcome.folder), models["mean"])


@pytest.fixture(scope="module")
def both(answered: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The result of a tool that gives reconstructions and maps of its own."""
    return scored(answered, "tool", tmp_path_factory.mktemp("both"))


@pytest.mark.slow
def test_with_both_the_map_is_the_tools_own(models, both: Outcome) -> None:
    table = read_scores(both.folder)
    np.testing.assert_allclose(table["ap.standard"], models["zscore"]["ap.standard"], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(table["recovered"], models["mean"]["recovered"], rtol=0, atol=TOLERANCE)


class Stopping(Silent):
    """Stops the work after the eleventh step of any task."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    @contextmanager
    def task(self, label: str, total: int):
        yield self

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.left = getattr(self, "left", 11) - steps
        if not self.left:
            raise KeyboardInterrupt

    def notice(self, text: str) -> None:
        self.notices.append(text)


@pytest.mark.slow
def test_a_stopped_scoring_continues(both: Outcome, answered: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(keys, "SAVE_EVERY_S", 0.0)
    run = answered_run(answered, "tool", Silent(), reference="Nobody 2024")
    stopping = Stopping()
    with pytest.raises(KeyboardInterrupt):
        complete(run, tmp_path, CPU, stopping)
    stopping.left = 1000
    outcome = complete(run, tmp_path, CPU, stopping)
    assert stopping.notices == ["tool: evaluation continues after 10 scans"]
    assert outcome.result.score_hash == both.result.score_hash and outcome.folder.name == both.folder.name


def test_the_board_ranks_it_with_a_mark_and_nobody_can_run_it_again(both: Outcome, tmp_path: Path) -> None:
    root = tmp_path / "board"
    entry = add(both.folder, root)
    ((row,),) = (board.rows for board in boards([entry], root))
    assert row.name == "tool (answers in files)" and not row.reproduced
    export, score = command(row).split("\n")
    assert export == "uadbench testset export fold0 --protocol smoke --cohort phantom --fold 0"
    assert score == "uadbench score fold0 --name tool"
    page = "".join(generated(root)[1].values())
    assert "unknown: the tool ran outside uadbench" in page and "| n/a | n/a | n/a | cpu | self-reported |" in page
    with pytest.raises(InputError, match="tool answered in files"):
        rerun(entry, [entry], root, tmp_path, CPU, Silent())


def test_a_tool_cannot_be_applied(both: Outcome, tmp_path: Path, capsys) -> None:
    """Its answers to other images say nothing about a new scan."""
    (tmp_path / "scan.nii.gz").write_bytes(b"never read")
    with pytest.raises(SystemExit) as stopped:
        main(["apply", str(both.folder), str(tmp_path / "scan.nii.gz"), "--output", str(tmp_path / "out")])
    error = capsys.readouterr().err.strip()
    assert stopped.value.code == 2 and str(both.folder) in error and both.result.model.name in error
    assert len(error.splitlines()) == 1 and "answered in files" in error and not (tmp_path / "out").exists()


def test_its_report_says_that_it_ran_elsewhere(both: Outcome) -> None:
    text = _page(both.result, [])
    assert both.result.model.answers and f"hash {both.result.model.answers[:12]}" in " ".join(text.split())
    assert "a tool that ran elsewhere" in text


def test_a_smaller_export_is_scored_and_unranked(use_tool, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "small"
    fewer = ["--severities", "0.3", "--anomalies", "ad,unseen", "--uncompressed"]
    code, out, err = call(capsys, "testset", "export", str(folder), "--protocol", "smoke", *fewer)
    assert code == 0, err
    # 8 scans, with ad, unseen, two varied and hyper; under 11 shifts, with ad and unseen of 4; patients; audit
    assert f"{8 * 6 + 11 * (8 + 4 * 2) + 24 + 24} test images" in out
    code, _, err = call(capsys, "score", str(folder), "--name", "spm12", "--output", str(tmp_path / "runs"))
    assert code == 2 and "maps/NAME.nii " in err
    use_tool(folder, "maps")
    result = scored(folder, "spm12", tmp_path).result
    assert not result.protocol.ranked
    assert (result.dementias, result.severities) == (["ad"], [0.3])
    assert result.headline.ap_standard is not None and result.headline.ap_standard > 0.3


def rewrite(file: Path, change) -> None:
    image = nibabel.load(file)
    data, affine = change(image.get_fdata(dtype=np.float32).copy(), image.affine.copy())
    nibabel.Nifti1Image(data, affine).to_filename(file)


def shifted(data, affine):
    affine[0, 3] += 2
    return data, affine


def holed(data, affine):
    data[3, 4, 5] = np.nan
    return data, affine


def endless(data, affine):
    data[3, 4, :2] = np.inf
    return data, affine


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda data, affine: (data[1:], affine), "23 x 32 x 24 voxels, but its image has 24 x 32 x 24"),
        (lambda data, affine: (data[None], affine), "shape 1 x 24 x 32 x 24"),
        (shifted, r"its affine differs .*2\); copy the header"),
        (holed, "1 voxel is NaN or infinite; give every voxel a number$"),
        (endless, "2 voxels are NaN or infinite; give every voxel a number$"),
    ],
)
def test_an_answer_that_is_none_is_refused(change, complaint: str, fold_data, spoilt: Path) -> None:
    file = sorted((spoilt / "maps").iterdir())[5]
    rewrite(file, change)
    with pytest.raises(InputError, match=complaint) as found:
        read_answer(file, fold_data.protocol.lattice)
    assert str(file) in str(found.value) and "\n" not in str(found.value)


def test_a_damaged_answer_is_refused_before_anything_is_scored(spoilt: Path, tmp_path: Path, capsys) -> None:
    file = sorted((spoilt / "maps").iterdir())[-1]
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()))[:-40])
    code, _, err = call(capsys, "score", str(spoilt), "--name", "spm12", "--output", str(tmp_path / "runs"))
    assert code == 2 and f"error: {file}: corrupted or truncated" in err and "evaluating" not in err
    assert not list((tmp_path / "runs").rglob("*.json"))


def test_an_answer_may_be_empty_integer_or_stored_in_another_orientation(fold_data, spoilt: Path) -> None:
    grid = fold_data.protocol.lattice
    file = sorted((spoilt / "maps").iterdir())[0]
    expected = read_answer(file, grid).copy()

    def flipped(data, affine):
        return data[::-1], affine @ np.array([[-1, 0, 0, len(data) - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])

    rewrite(file, flipped)
    assert np.array_equal(read_answer(file, grid), expected)
    nibabel.Nifti1Image(np.zeros(grid.shape, np.int16), grid.affine).to_filename(file)
    assert not read_answer(file, grid).any()


def without_answers(folder: Path) -> None:
    for kind in ("maps", "reconstructions"):
        shutil.rmtree(folder / kind)


def without_three(folder: Path) -> None:
    for file in sorted((folder / "maps").iterdir())[:3]:
        file.unlink()


def with_a_stray(folder: Path) -> None:
    shutil.copy(next((folder / "maps").iterdir()), folder / "maps" / "mean.nii.gz")


def answered_twice(folder: Path) -> None:
    file = next((folder / "maps").iterdir())
    nibabel.load(file).to_filename(str(file).removesuffix(".gz"))


def unfinished(folder: Path) -> None:
    edited(folder, lambda told: told.update(files={}))


def of_another_cohort(folder: Path) -> None:
    edited(folder, lambda told: told["cohort"].update(reference="phantom:seed=7"))


def of_another_version(folder: Path) -> None:
    edited(folder, lambda told: told["cohort"].update(version="1"))


def of_other_test_sets(folder: Path) -> None:
    edited(folder, lambda told: told.update(testset="0" * 64))


def of_another_fold(folder: Path) -> None:
    edited(folder, lambda told: told.update(fold=1))


def of_a_changed_protocol(folder: Path) -> None:
    edited(folder, lambda told: told["protocol"]["standard_map"].update(fwhm_mm=8.0))


def edited(folder: Path, change) -> None:
    told = json.loads((folder / MANIFEST).read_text())
    change(told)
    (folder / MANIFEST).write_text(json.dumps(told))


def with_changed_images(folder: Path) -> None:
    first, second = sorted((folder / "test").iterdir())[:2]
    rewrite(first, lambda data, affine: (data * 1.01, affine))
    second.unlink()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (without_answers, "no answers; write reconstructions/NAME.nii.gz or maps/NAME.nii.gz for each of 380 images"),
        (without_three, r"maps: 3 of 380 answers are missing \((\w+\.nii\.gz(, )?){3}\)"),
        (with_a_stray, r"maps: remove 1 file .*\(mean.nii.gz\)"),
        (answered_twice, r"maps: both \w+.nii and \w+.nii.gz exist"),
        (unfinished, "the export is incomplete"),
        (of_another_cohort, "from cohort phantom, version .*, but phantom:seed=7 is"),
        (of_another_version, "from cohort phantom, version 1, but phantom is phantom, version"),
        (of_other_test_sets, "with test sets or participants that differ"),
        (of_another_fold, "the 404 images are not those of protocol smoke .*, fold 1; export again"),
        (of_a_changed_protocol, "protocol was changed after the export"),
        (lambda folder: (folder / MANIFEST).unlink(), "no manifest.json"),
        (lambda folder: (folder / MANIFEST).write_text("{}"), "manifest.json: corrupted"),
        (
            with_changed_images,
            r"2 of 404 images differ .*\.nii.gz was changed, test/\w+.nii.gz no such file",
        ),
    ],
)
def test_a_fault_is_one_line(spoil, complaint: str, fold_data, spoilt: Path) -> None:
    spoil(spoilt)
    with pytest.raises(InputError, match=complaint) as found:
        answered_run(spoilt, "spm12", Silent())
    assert ("\n" not in str(found.value) and str(spoilt) in str(found.value)) or "cohort" in str(found.value)


@pytest.mark.parametrize("name", ["zscore", "", "../up", "a b", "x" * 41])
def test_a_name_that_results_cannot_have_is_refused(name: str, answered: Path) -> None:
    with pytest.raises(InputError, match="--name"):
        answered_run(answered, name, Silent())


def test_only_exported_images_are_answered(fold_data, answered: Path) -> None:
    names = {voxel_digest(next(each.images())): each.names[0] for each in shown_scans(fold_data, "validation")}
    answers = find_answers(
        answered, [file.name[:-7] for file in (answered / "maps").iterdir()], fold_data.protocol.lattice, ".nii.gz"
    )
    model = FromMaps(AnswerBook(answers, names))
    batch = next(iter(fold_data.batches("validation", 0, CPU)))
    assert model.anomaly_map(batch).shape == batch.images.shape
    batch.images[0, 0, 5, 5, 5] += 1
    with pytest.raises(Unfinished, match="not in the export"):
        model.anomaly_map(batch)
