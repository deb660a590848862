"""compare, check and leaderboard as a user types them: what they print, write, and return."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
from PIL import Image

from tests.leaderboard.builder import (
    committed_folder,
    copied_run,
    copy_of,
    edited,
    made_up,
    run_folder,
    the,
)
from uadbench.cli.main import main
from uadbench.leaderboard import render
from uadbench.leaderboard.entries import RESULTS
from uadbench.leaderboard.tolerance import metrics_of, tolerance
from uadbench.protocols.schema import load_protocol
from uadbench.results.schema import RESULT, Result, read_result, write_result
from uadbench.results.scores import SCORES
from uadbench.runtime.commands import command

SMOKE = load_protocol("smoke").hash[:8]


def call(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Run the command line in this process: exit code, stdout, stderr."""
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return int(stopped.value.code or 0), printed.out, printed.err


def one_error(err: str) -> str:
    """The only line on stderr."""
    (line,) = err.strip().splitlines()
    assert line.startswith("error: ")
    return line


@pytest.fixture(scope="module")
def mean_run(fold_data, tmp_path_factory) -> Path:
    return run_folder("mean", fold_data, tmp_path_factory)


@pytest.fixture(scope="module")
def zscore_run(fold_data, tmp_path_factory) -> Path:
    return run_folder("zscore", fold_data, tmp_path_factory)


@pytest.fixture(scope="module")
def committed(fold_data, tmp_path_factory) -> Path:
    return committed_folder(fold_data, tmp_path_factory)


@pytest.fixture
def root(committed, tmp_path) -> Path:
    return copy_of(committed, tmp_path / "leaderboard")


def content(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


# --- leaderboard add, build


@pytest.mark.slow
def test_add_and_build(mean_run, zscore_run, tmp_path, monkeypatch, capsys) -> None:
    """In the folder of a project, as the README says it."""
    monkeypatch.chdir(tmp_path)
    Path("README.md").write_text(f"{render.BEGIN}\n{render.END}\n")
    code, out, err = call(capsys, "leaderboard", "add", mean_run, zscore_run)
    assert code == 0, err
    assert "mean fold 0 seed 0" in out and "zscore fold 0 seed 0" in out and "uadbench leaderboard build" in out
    code, out, err = call(capsys, "leaderboard", "build", "--check")
    assert code == 1 and "out of date" in out
    assert not Path("leaderboard/index.html").exists(), "nothing is written"
    code, out, err = call(capsys, "leaderboard", "build")
    assert code == 0, err
    assert "leaderboard/index.html: 2 models on 1 board;" in out
    assert "**mean**" in Path("README.md").read_text() and "**mean**" in Path("leaderboard/README.md").read_text()
    first = content(tmp_path)
    assert call(capsys, "leaderboard", "build", "--check")[:2] == (0, "leaderboard: up to date (7 files)\n")
    stamps = {path: path.stat().st_mtime_ns for path in first}
    assert call(capsys, "leaderboard", "build")[0] == 0
    assert content(tmp_path) == first
    assert {path: path.stat().st_mtime_ns for path in first} == stamps, "what is up to date is not written again"


def test_add_says_why_not(mean_run, tmp_path, capsys) -> None:
    run = copied_run(mean_run, tmp_path / "run")
    write_result(edited(read_result(run), headline__ap_standard=0.99), run)
    code, _, err = call(capsys, "leaderboard", "add", run, "--root", tmp_path / "leaderboard")
    assert code == 2 and "headline.ap_standard is 0.99, but its cases give" in one_error(err)
    assert not (tmp_path / "leaderboard").exists()


@pytest.fixture
def built(root, tmp_path, capsys) -> Path:
    """Pages up to date, and a README beside them."""
    (tmp_path / "README.md").write_text(f"# Title\n{render.BEGIN}\n{render.END}\nThe rest.\n")
    assert call(capsys, "leaderboard", "build", "--root", root)[0] == 0
    return root


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "change", "shown"),
    [
        ("leaderboard/index.html", ("<h1>uadbench", "<h1>my"), "-<h1>my leaderboard</h1>"),
        ("leaderboard/README.md", ("# Leaderboard", "# Board"), "-# Board"),
        ("leaderboard/leaderboard.csv", None, "leaderboard.csv (built)"),
        ("leaderboard/models/smoke-phantom/mean.html", None, "mean.html (built)"),
        (
            "leaderboard/models/smoke-phantom/gone.html",
            ("", "x"),
            "gone.html: page of a model that is no longer on a board",
        ),
        ("leaderboard/models/old/gone.html", ("", "x"), "gone.html: page of a model that is no longer on a board"),
        ("README.md", ("**mean**", "**mine**"), "**mine**"),
    ],
)
def test_check_says_what_is_out_of_date(built, tmp_path, file: str, change, shown: str, capsys) -> None:
    path = tmp_path / file
    if change is None:
        path.unlink()
    elif path.exists():
        assert change[0] in path.read_text()
        path.write_text(path.read_text().replace(*change))
    else:
        path.parent.mkdir(exist_ok=True)
        path.write_text(change[1])
    before = content(tmp_path)
    code, out, _ = call(capsys, "leaderboard", "build", "--check", "--root", built)
    assert code == 1 and shown in out
    build = re.escape(command("uadbench", "leaderboard", "build", root=built))
    assert re.search(rf"\nout of date.*{build}", out)
    assert content(tmp_path) == before
    assert call(capsys, "leaderboard", "build", "--root", built)[0] == 0
    assert call(capsys, "leaderboard", "build", "--check", "--root", built)[0] == 0
    assert not (tmp_path / "leaderboard/models/old/gone.html").exists()
    assert "The rest." in (tmp_path / "README.md").read_text()


def test_a_long_diff_is_cut(built, capsys) -> None:
    for page in built.rglob("*.html"):
        page.write_text("")
    code, out, _ = call(capsys, "leaderboard", "build", "--check", "--root", built)
    assert code == 1 and len(out.splitlines()) == 61 and re.search(r"out of date \(\d{3,} more lines\)", out)
    assert max(map(len, out.splitlines())) <= 200


def test_a_readme_without_marks(built, tmp_path, capsys) -> None:
    (tmp_path / "README.md").write_text("# Title\n")
    for check in ([], ["--check"]):
        code, _, err = call(capsys, "leaderboard", "build", "--root", built, *check)
        assert code == 2 and "README.md: add the lines '<!-- leaderboard: begin -->'" in one_error(err)
    other = tmp_path / "OTHER.md"
    other.write_text(f"{render.BEGIN}{render.END}")
    assert call(capsys, "leaderboard", "build", "--root", built, "--readme", other)[0] == 0
    assert "**mean**" in other.read_text()


def test_a_readme_that_is_not_there(built, tmp_path, capsys) -> None:
    code, _, err = call(capsys, "leaderboard", "build", "--root", built, "--readme", tmp_path / "none.md")
    assert code == 2 and "none.md" in one_error(err)


def test_no_results_yet(tmp_path, capsys) -> None:
    for name in ("build", "verify"):
        code, _, err = call(capsys, "leaderboard", name, "--root", tmp_path / "leaderboard")
        assert code == 2 and "uadbench leaderboard add RUN --root" in one_error(err)


def test_verify_names_every_fault(root, capsys) -> None:
    assert call(capsys, "leaderboard", "verify", "--root", root)[:2] == (
        0,
        "2 of 2 committed results pass all checks\n",
    )
    entry = the(root, "mean")
    text = entry.file.read_text()
    entry.file.write_text(text.replace(f'"ap_standard":{entry.result.headline.ap_standard}', '"ap_standard":0.99'))
    (entry.file.parents[1] / "zscore").glob("*.parquet").__next__().write_bytes(b"")
    code, out, _ = call(capsys, "leaderboard", "verify", "--root", root)
    assert code == 1 and out.count("failed: ") == 2
    assert "headline.ap_standard is 0.99, but its cases give 0." in out and "cannot be read" in out
    assert out.endswith("0 of 2 committed results pass all checks\n")


def test_verify_names_faults_of_the_json_beside_others(root, capsys) -> None:
    the(root, "mean").file.write_text("{")
    code, out, _ = call(capsys, "leaderboard", "verify", "--root", root)
    assert code == 1 and out.count("failed: ") == 1 and "1 of 2" in out


# --- check


def moved(run: Path, target: Path, steps: float, metric: str = "ranking AP") -> Path:
    """The run with a metric moved in the bad direction, in tolerances."""
    copied_run(run, target)
    result = read_result(run)
    watched = next(each for each in metrics_of(result) if each.name == metric)
    off = steps * tolerance([result], watched) * (-1 if watched.higher_is_better else 1)
    to = watched.value(result).value + off
    if metric == "ranking AP":
        changed = edited(result, headline__ap_standard=to)
    else:
        place = next(k for k, scores in enumerate(result.scores) if scores.anomaly == "healthy")
        told = result.model_dump(mode="json")
        told["scores"][place]["metrics"]["residual.whole.mse"]["mean"] = to
        changed = Result.model_validate(told)
    write_result(changed, target)
    return target


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["ranking AP", "healthy MSE"])
@pytest.mark.parametrize(("steps", "code", "verdict"), [(1.1, 1, "worse"), (0.9, 0, "same"), (-3.0, 0, "better")])
def test_check_returns_whether_something_got_worse(
    metric: str, steps: float, code: int, verdict: str, mean_run, tmp_path, capsys
) -> None:
    run = moved(mean_run, tmp_path / "run", steps, metric)
    found, out, err = call(capsys, "check", run, "--against", mean_run, "--json")
    assert (found, err) == (code, "")
    changes = {change["metric"]: change for change in json.loads(out)}
    assert changes.pop(metric)["verdict"] == verdict
    assert {change["verdict"] for change in changes.values()} == {"same"}
    found, out, _ = call(capsys, "check", run, "--against", mean_run, "--markdown")
    assert found == code
    summary, blank, head, rule, *rows = out.rstrip("\n").splitlines()
    assert summary.startswith("**mean, protocol smoke: ") and (verdict == "same" or f"1 {verdict}" in summary)
    assert (blank, head, rule) == ("", "| metric | baseline | result | tolerance | |", "|---|---|---|---|---|")
    assert len(rows) == 47 and all(len(re.findall(r"(?<!\\)\|", row)) == 6 for row in rows)
    if verdict != "same":
        assert rows[0].startswith(f"| {metric}") and rows[0].endswith(f"{verdict} |")
    found, out, _ = call(capsys, "check", run, "--against", mean_run)
    assert found == code and "baseline of 1 training)" in out and (metric in out) == (verdict != "same")


def test_check_against_a_leaderboard_takes_its_seeds(root, mean_run, capsys) -> None:
    entry = the(root, "mean")
    made_up(root, entry, "mean", 0.0, seed=1, noise=0.05)
    for against in (root, root / RESULTS, root / RESULTS / "smoke" / "phantom" / "mean"):
        code, out, err = call(capsys, "check", mean_run, "--against", against)
        assert code == 0, err
        assert "baseline of 2 trainings" in out
    code, out, _ = call(capsys, "check", entry.file, "--against", root)
    assert code == 0


def test_check_against_run_folders(mean_run, zscore_run, tmp_path, capsys) -> None:
    """What is no result in a run folder is passed over."""
    for run in (mean_run, zscore_run):
        copied_run(run, tmp_path / "runs" / run.parent.name / run.name)
    shutil.copy(mean_run / "model.json", tmp_path / "runs" / "mean" / mean_run.name)
    code, out, err = call(capsys, "check", mean_run, "--against", tmp_path / "runs")
    assert code == 0, err
    assert "baseline of 1 training)" in out


def test_check_does_not_mix_options(root, capsys) -> None:
    entry = the(root, "mean")
    for option in (1, 2):
        made_up(root, entry, "net", options={"a": option}, sound=False)
    own = made_up(root, entry, "net", options={"a": 2}, seed=1, sound=False)
    code, out, _ = call(capsys, "check", own.file, "--against", root)
    assert code == 0 and "baseline of 2 trainings" in out


def mistakes(folder: Path, mean_run: Path, zscore_run: Path) -> Iterable[tuple[Path, Path, str]]:
    """Result, baseline, and why they cannot be compared."""
    result = read_result(mean_run)
    yield mean_run, folder / "none", "none"
    yield folder / "none", mean_run, "none"
    (folder / "empty").mkdir()
    yield mean_run, folder / "empty", "no results found; give a run folder, a result file"
    (folder / "garbage.json").write_text("not json")
    yield mean_run, folder / "garbage.json", "not a readable JSON file"
    yield folder / "garbage.json", mean_run, "not a readable JSON file"
    (folder / "other.json").write_text('{"a": 1}')
    yield mean_run, folder / "other.json", "not a result of schema version"
    (folder / "binary.json").write_bytes(bytes(range(256)))
    yield mean_run, folder / "binary.json", "not a readable JSON file"
    yield mean_run, zscore_run, "no result of mean, fold 0"
    for name, changes, reason in (
        ("cohort", {"cohort__name": "phantom:seed=7"}, "different cohorts: phantom (version 3) and phantom:seed=7"),
        ("version", {"cohort__version": "1"}, "different cohorts: phantom (version 3) and phantom (version 1)"),
        ("protocol", {"protocol__hash": "f" * 64}, f"different protocols: smoke ({SMOKE}) and smoke (ffffffff)"),
        ("testset", {"testset__recipe": "f" * 64}, "different test sets"),
        ("fold", {"fold": 1}, "no result of mean, fold 0"),
    ):
        write_result(edited(result, **changes), folder / name)
        yield mean_run, folder / name, reason


@pytest.mark.slow
def test_what_cannot_be_compared_is_exit_3_and_a_line(mean_run, zscore_run, tmp_path, capsys) -> None:
    count = 0
    for run, against, reason in mistakes(tmp_path, mean_run, zscore_run):
        for form in ([], ["--json"], ["--markdown"]):
            code, out, err = call(capsys, "check", run, "--against", against, *form)
            assert (code, out) == (3, ""), against
            assert reason in one_error(err)
        count += 1
    assert count == 13


# --- compare


def test_compare_prints_a_table(mean_run, zscore_run, capsys) -> None:
    code, out, err = call(capsys, "compare", mean_run, zscore_run)
    assert code == 0, err
    for word in ("ranking AP", "mean - zscore", "p (Holm)", "effect", "of 8", "pca", "unseen"):
        assert word in out


def test_compare_as_json_and_from_the_leaderboard(mean_run, zscore_run, committed, capsys) -> None:
    code, out, err = call(capsys, "compare", mean_run, zscore_run, "--json")
    assert code == 0, err
    runs = json.loads(out)
    assert [pair["measure"] for pair in runs] == ["ranking AP", *read_result(mean_run).dementias, "unseen"]
    first, second = (read_result(run).headline for run in (mean_run, zscore_run))
    assert runs[0]["difference"]["mean"] == pytest.approx(first.ap_standard - second.ap_standard, abs=2e-6)
    files = [the(committed, name).file for name in ("mean", "zscore")]
    for one, other in (files, (mean_run / RESULT, files[1]), (files[0], zscore_run)):
        kept = json.loads(call(capsys, "compare", one, other, "--json")[1])
        for ours, theirs in zip(kept, runs, strict=True):
            assert ours["difference"]["mean"] == pytest.approx(theirs["difference"]["mean"], abs=1e-5)
            assert ours["p"] == pytest.approx(theirs["p"], rel=1e-3) and ours["subjects"] == theirs["subjects"] == 8


@pytest.mark.parametrize("suffix", ["PNG", "svg"])
def test_compare_draws(suffix: str, mean_run, zscore_run, tmp_path, capsys) -> None:
    file = tmp_path / "deep" / f"forest.{suffix}"
    code, out, err = call(capsys, "compare", mean_run, zscore_run, "--figure", file)
    assert code == 0, err
    assert f"figure {file}" in out
    if suffix == "svg":
        assert "<svg" in file.read_text()[:1000]
    else:
        with Image.open(file) as image:
            assert image.width > 400 and image.height > 200
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_compare_says_why_not(mean_run, zscore_run, root, tmp_path, capsys) -> None:
    other = edited(read_result(zscore_run), testset__recipe="f" * 64)
    write_result(other, copied_run(zscore_run, tmp_path / "other"))
    lost = copied_run(zscore_run, tmp_path / "lost")
    (lost / SCORES).unlink()
    cases = [
        (
            [mean_run, tmp_path / "other"],
            f"{mean_run} and {tmp_path / 'other'} cannot be compared: different test sets",
        ),
        ([mean_run, mean_run], "two results of fold 0, seed 0"),
        ([mean_run], "all results are of one model"),
        ([mean_run, tmp_path / "none"], "no result here"),
        ([mean_run, lost], "cannot be read"),
        ([mean_run, zscore_run, "--figure", tmp_path / "f.pdf"], "give a .png or .svg file"),
    ]
    for arguments, reason in cases:
        code, out, err = call(capsys, "compare", *arguments)
        assert (code, out) == (2, "") and reason in one_error(err)
    assert not (tmp_path / "f.pdf").exists()
