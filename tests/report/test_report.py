"""The report: whole, self-contained, honest about what is missing, and the same each time."""

from __future__ import annotations

import html
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.tracking import MlflowClient
from scipy import stats

from uadbench.cli.main import main
from uadbench.errors import Unfinished
from uadbench.protocols.schema import load_protocol
from uadbench.report import paper
from uadbench.report.exhibits import exhibits
from uadbench.report.page import Report, bibtex, methods, write_report
from uadbench.results.examples import EXAMPLES, read_examples
from uadbench.results.schema import read_result
from uadbench.results.scores import read_scores
from uadbench.runs.fold_data import plan_fold
from uadbench.runs.keys import Run
from uadbench.runs.run import complete
from uadbench.runtime.progress import Silent
from uadbench.simulation.regions import DEMENTIAS
from uadbench.tracking import Tracker, attach

EXHIBITS_OF_PAPER = {"figure1", "table1", "consistency", "table2", "figure2"}


class Links(HTMLParser):
    """Everything that a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.scripts: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.targets += [value or "" for name, value in attrs if name in ("src", "href")]
        self.scripts += [dict(attrs).get("type")] if tag == "script" else []


@pytest.fixture(scope="module")
def run(trained) -> Path:
    return trained[0].folder


@pytest.fixture(scope="module")
def written(run: Path, tmp_path_factory) -> Path:
    """What the command writes, once for all tests that look at it."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.raises(SystemExit) as stopped:
        main(["report", str(run), "--output", str(folder), "--no-track"])
    assert not stopped.value.code
    return folder


@pytest.mark.slow
def test_the_page_needs_nothing_but_itself(written: Path) -> None:
    text = html.unescape((written / "report.html").read_text(encoding="utf-8"))
    links = Links()
    links.feed((written / "report.html").read_text(encoding="utf-8"))
    anchors = {target for target in links.targets if target.startswith("#")}
    assert all(target.startswith(("data:", "#")) for target in links.targets)
    assert anchors and all(f'id="{anchor[1:]}"' in text for anchor in anchors)
    assert links.scripts == ["application/json", None], "of the viewer: its volumes, and what draws them"
    assert "default-src 'none'" in text and text.count("script-src 'sha256-") == 1
    for name in EXHIBITS_OF_PAPER | {
        "precision",
        "response",
        "restoration",
        "detection",
        "detectable",
        "worst",
        "viewer",
    }:
        assert f'id="{name}"' in text
    told = re.sub(r'"data:[^"]*"|<script.*?</script>', "", text, flags=re.DOTALL)
    assert not re.search(r"\b(nan|inf|None)\b", told)


def test_figures_are_svg_and_png_and_tables_csv(written: Path) -> None:
    for name in ("figure1", "figure2", "precision", "response", "detection", "training", "worst"):
        assert (written / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in (written / "figures" / f"{name}.svg").read_bytes()[:1000]
    for name in ("figure1", "table1", "consistency", "table2", "precision", "findings", "restoration", "detectable"):
        assert len(pd.read_csv(written / "tables" / f"{name}.csv")) > 0


def test_the_papers_numbers_are_computed_from_the_scores(run: Path) -> None:
    """Figure 1's tests, Table 1 and Table 2 against pandas and scipy."""
    result, scores = read_result(run), read_scores(run)
    shown = {e.name: e for e in exhibits(result, scores, None)}
    ad = scores[(scores["anomaly"] == "ad") & (scores["severity"] == 0.3)].set_index("participant_id")
    healthy = scores[scores["anomaly"] == "healthy"].set_index("participant_id").loc[ad.index]
    first = shown["figure1"].table.iloc[0]
    altered, unaltered = ad["residual.whole.mse"], healthy["residual.whole.mse"]
    assert float(first["p, paired"]) == pytest.approx(stats.ttest_rel(altered, unaltered).pvalue, rel=0.05)
    assert float(first["p, unpaired"]) == pytest.approx(stats.ttest_ind(altered, unaltered).pvalue, rel=0.05)
    assert float(first["MSE / healthy MSE"]) == pytest.approx(altered.mean() / unaltered.mean(), rel=5e-3)
    row = shown["table1"].table.iloc[0]
    assert row["SSIM"].endswith("(0.729)")
    assert float(row["SSIM"].split()[0]) == pytest.approx(ad["restoration.whole.ssim"].mean(), rel=1e-3)
    patients, people = shown["table2"].table["MSE"]
    own = scores.groupby("anomaly")["residual.whole.mse"].mean()
    assert float(patients.split()[0]) == pytest.approx(own["patients"], rel=5e-3) and patients.endswith("(0.00408)")
    assert float(people.split()[0]) == pytest.approx(own["healthy"], rel=5e-3)


def test_it_says_in_what_it_differs_from_the_paper(run: Path) -> None:
    result = read_result(run)
    told = " ".join(paper.differences(result))
    for word in ("phantom", "24 x 32 x 24", "4 epochs", "SUVR 2.5"):
        assert word in told
    other = result.model_copy(update={"protocol": result.protocol.model_copy(update={"hash": "0"})})
    assert "version of uadbench" in " ".join(paper.differences(other))


def test_methods_and_references_can_be_pasted(run: Path) -> None:
    result = read_result(run)
    text = methods(result)
    for word in ("vae3d", result.protocol.hash[:12], "30, 50 %", "24 x 32 x 24 at 7 mm", "10,000 resamples", "(2023)"):
        assert word in text
    assert "{{" not in text and "  " not in text
    entries = re.findall(r"^@\w+\{(\w+),", bibtex(result), re.MULTILINE)
    assert entries == ["uadbench", "hassanaly2023simulation", "hassanaly2024evaluation", "rolls2020automated"]
    assert bibtex(result).count("{") == bibtex(result).count("}")
    assert "{0.1.0}" in bibtex(result) and "<<" not in bibtex(result)


@pytest.mark.slow
def test_markup_in_a_result_is_text(run: Path, tmp_path: Path) -> None:
    result = read_result(run)
    model = result.model.model_copy(update={"name": "<script>alert(1)</script>"})
    page = write_report(
        result.model_copy(update={"model": model}), read_scores(run), tmp_path / "none", tmp_path, Silent()
    )
    assert "<script>" not in page.page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_model_without_reconstruction_has_no_papers_tables(fold_data, tmp_path: Path) -> None:
    folder = complete(Run("zscore", fold_data, 0), tmp_path, torch.device("cpu"), Silent()).folder
    result, scores = read_result(folder), read_scores(folder)
    names = {e.name for e in exhibits(result, scores, read_examples(folder / EXAMPLES))}
    assert names & EXHIBITS_OF_PAPER == {"figure2"} and {"precision", "detection", "worst"} <= names
    page = write_report(result, scores, folder, tmp_path / "report", Silent()).page.read_text(encoding="utf-8")
    assert "a map and no reconstruction" in page


@pytest.mark.slow
def test_the_identity_errs_nowhere_and_a_cohort_may_have_no_patients(fold_data, tmp_path: Path) -> None:
    nobody = load_protocol("smoke", {"split.patients": "'FTD'"})
    there = plan_fold(fold_data.cohort, nobody, 0, Silent())
    folder = complete(Run("identity", there, 0), tmp_path, torch.device("cpu"), Silent()).folder
    result, scores = read_result(folder), read_scores(folder)
    assert result.cohort.patients == 0 and result.detection.clinical.value is None
    shown = {e.name: e for e in exhibits(result, scores, read_examples(folder / EXAMPLES))}
    assert "figure1" not in shown, "no error rises from 0 by a factor"
    assert "no patients" in shown["table2"].caption
    page = write_report(result, scores, folder, tmp_path / "report", Silent()).page.read_text(encoding="utf-8")
    assert "Unranked" in page and "ratio of Figure 1" in page


def test_the_kept_volumes_are_those_of_the_cases(run: Path, fold_data) -> None:
    examples = read_examples(run / EXAMPLES)
    assert set(examples.volumes) == {"case", "patient", *(f"worst{k}" for k in range(5))}
    scan = fold_data.cases.scans[0]
    healthy = fold_data.cases.intensity(scan).normalise(scan.data)
    np.testing.assert_allclose(examples.volumes["case"]["healthy"], healthy, atol=1e-3)
    scores = read_scores(run)
    graded = scores[(scores["severity"] == 0.3) & scores["anomaly"].isin([*DEMENTIAS, "unseen"])]
    assert f"AP {graded['ap.standard'].min():.2f}" in examples.titles["worst0"]


def test_bad_input_is_one_line(run: Path, tmp_path: Path, capsys) -> None:
    for arguments, complaint in (
        ([str(tmp_path / "none")], "no result here"),
        ([str(run), "--output", "/proc/report"], "cannot write here"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["report", *arguments])
        assert stopped.value.code == 2
        assert complaint in capsys.readouterr().err


def test_scores_that_the_result_does_not_vouch_for_are_refused(run: Path, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    scores = read_scores(folder)
    scores["ap.standard"] += 0.1
    scores.to_parquet(folder / "scores.parquet")
    with pytest.raises(SystemExit) as stopped:
        main(["report", str(folder)])
    assert stopped.value.code == 2 and "not the scores" in capsys.readouterr().err


@pytest.mark.slow
def test_the_report_goes_into_the_mlflow_run_of_the_result(run: Path, written: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    result = read_result(folder)
    (folder / "mlflow.json").unlink(missing_ok=True)
    report = Report(written / "report.html", tuple(file for file in written.rglob("*") if file.is_file()))
    assert attach(result, folder, report) is None, "never logged"
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    run_id = Tracker(uri, "test", tmp_path).log(read_result(folder), folder)
    assert attach(result, folder, report) is None, "the folder tells of an address, which is not enough"
    assert attach(result, folder, report, uri) == run_id
    other = result.model_copy(update={"score_hash": "0"})
    assert attach(other, folder, report, uri) is None, "the run is another result's"
    logged = {file.path for file in MlflowClient(uri).list_artifacts(run_id, "report")}
    assert {"report/report.html", "report/figures", "report/tables"} <= logged
    logged = {"uri": "http://127.0.0.1:9", "run_id": run_id, "score_hash": result.score_hash}
    (folder / "mlflow.json").write_text(json.dumps(logged))
    with pytest.raises(Unfinished, match=r"127\.0\.0\.1:9"):
        attach(result, folder, report, "http://127.0.0.1:9")
