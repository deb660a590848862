"""What leaves the machine: scores without a name, paired as before, and no server that is told one."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch

from uadbench.cells import Cell, Outcome, run_cell
from uadbench.cli.main import main
from uadbench.cohorts.given_split import Fold, GivenSplit
from uadbench.cohorts.opening import open_cohort
from uadbench.cohorts.phantom import Phantom
from uadbench.cohorts.splits import baseline
from uadbench.errors import InputError, Unfinished
from uadbench.examples import EXAMPLES
from uadbench.material import Material, Selection, plan_material
from uadbench.progress import Silent
from uadbench.protocol import load_protocol
from uadbench.report.figures import draw_figures
from uadbench.report.page import write_report
from uadbench.results import RESULT, Result, read_result
from uadbench.scores import SCORES, read_scores, score_hash, write_table
from uadbench.sharing import pseudonym, refuse_ids, salt, salt_file, share
from uadbench.store import read_sealed, write_sealed
from uadbench.tracking import Tracker, attach, default_uri

CHANGES = {"testsets.anomalies": "['ad']", "detection.least_validation": "4", "detection.specificity": "0.6"}
PROTOCOL = load_protocol("smoke", CHANGES)
"""As with `--set`, so that a dozen people are enough for every number."""
CPU = torch.device("cpu")
SITES = ("Paris-Salpetriere", "Rouen")
SESSION = "ses-20150317"


def name_of(number: int) -> str:
    """Ids whose order is that of the table, with letters and digits."""
    return f"sub-ADNI{number:02d}S{4000 + number}"


def written(folder: Path, names: list[str]) -> Path:
    """A table of scans on the protocol's grid: 18 healthy people of two sites, and patients."""
    phantom = Phantom(participants=18, patients=len(names) - 18)
    lines = ["participant_id\tsession_id\tpath\tdiagnosis\tage\tsex\tsite\tmmse"]
    for number, scan in enumerate(phantom.scans(PROTOCOL.lattice, baseline(phantom.participants))):
        nibabel.save(nibabel.Nifti1Image(scan.data, scan.affine), folder / f"{number}.nii")
        about = (scan.group, scan.age, scan.sex, SITES[number % 2], scan.mmse)
        lines.append("\t".join(map(str, (names[number], SESSION, f"{number}.nii", *about))))
    (folder / "scans.tsv").write_text("\n".join(lines))
    return folder / "scans.tsv"


def planned(table: Path, protocol=PROTOCOL) -> Material:
    """Four train, four validate, ten test."""
    cohort = open_cohort(str(table))
    keys = [(str(who), SESSION) for who in cohort.participants.participant_id]
    healthy = [key for key, group in zip(keys, cohort.participants.group, strict=True) if group == "CN"]
    fold = Fold(tuple(healthy[:4]), tuple(healthy[:4]), tuple(healthy[4:8]))
    split = GivenSplit("split", tuple(healthy[8:]), (fold,))
    return plan_material(cohort, protocol, 0, Silent(), Selection(split=split))


@pytest.fixture(scope="module")
def private(tmp_path_factory) -> Material:
    return planned(written(tmp_path_factory.mktemp("lab"), [name_of(number) for number in range(1, 22)]))


@pytest.fixture(scope="module")
def public() -> Material:
    return plan_material(Phantom(participants=16, patients=2), PROTOCOL, 0)


@pytest.fixture(scope="module")
def outcomes(private, tmp_path_factory) -> dict[str, Outcome]:
    """Two models on a private cohort."""
    output = tmp_path_factory.mktemp("runs")
    return {model: run_cell(Cell(model, private, 0), output, CPU, Silent()) for model in ("zscore", "mean")}


@pytest.fixture
def salts(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("UADBENCH_SALTS", str(tmp_path / "salts"))
    return tmp_path / "salts"


@pytest.fixture(scope="module")
def shared(outcomes, private, tmp_path_factory) -> Iterator[dict[str, Path]]:
    """What `share` writes of both, with one secret, always the same; and the secret's folder."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "salts").mkdir()
    (folder / "salts" / f"{private.cohort.name}.salt").write_text("5a" * 32 + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UADBENCH_SALTS", str(folder / "salts"))
        for model, outcome in outcomes.items():
            share(outcome.folder, folder / model)
        yield {model: folder / model for model in outcomes} | {"salts": folder / "salts"}


@pytest.fixture(scope="module")
def secret(shared) -> bytes:
    (file,) = shared["salts"].iterdir()
    return bytes.fromhex(file.read_text())


def clear(material: Material) -> set[str]:
    """Every id, session and site of the cohort, and ids without `sub-`."""
    ids = {str(who) for who in material.cohort.participants.participant_id}
    return ids | {who.removeprefix("sub-") for who in ids} | {SESSION, *SITES}


def leaks(where: Path, words: set[str]) -> set[str]:
    """The words that are in any file below a folder, tables unpacked."""
    found = set()
    for file in [where] if where.is_file() else [path for path in where.rglob("*") if path.is_file()]:
        text = file.read_bytes().decode("latin-1")
        if file.suffix == ".parquet":
            text += pd.read_parquet(file).to_csv()
        found |= {word for word in words if word in text}
    return found


# --- names


def test_people_sessions_and_sites_are_hashes(shared, private, outcomes) -> None:
    table = read_scores(shared["zscore"])
    assert sorted(path.name for path in shared["zscore"].iterdir()) == [RESULT, SCORES]
    assert table.participant_id.str.fullmatch("anon-[0-9a-f]{16}").all()
    assert table.session_id.str.fullmatch("ses-[0-9a-f]{16}").all()
    sites = table.site[table.site.notna()]
    assert sites.str.fullmatch("site-[0-9a-f]{4}").all() and sites.nunique() == 2 and len(sites) == 13
    assert table.participant_id.nunique() == read_scores(outcomes["zscore"].folder).participant_id.nunique() == 17
    for model in outcomes:
        assert leaks(shared[model], clear(private)) == set()
        assert leaks(outcomes[model].folder / SCORES, clear(private)), "this looks for them well"


def test_the_hashes_are_those_of_the_secret(shared, secret, outcomes) -> None:
    original = read_scores(outcomes["mean"].folder)
    table = read_scores(shared["mean"])
    assert set(table.participant_id) == {pseudonym(secret, "anon", who) for who in original.participant_id}
    visits = zip(original.participant_id, original.session_id, strict=True)
    assert set(table.session_id) == {pseudonym(secret, "ses", f"{who} {visit}") for who, visit in visits}
    assert len(set(table.session_id)) == 17, "one session of everybody, and no two the same"


def test_rows_are_not_in_the_order_of_the_ids(shared, secret, outcomes) -> None:
    names = sorted(set(read_scores(outcomes["mean"].folder).participant_id))
    order = list(dict.fromkeys(read_scores(shared["mean"]).query("anomaly == 'healthy'").participant_id))
    assert order == sorted(order)
    assert order != [pseudonym(secret, "anon", name) for name in names]


def test_two_models_stay_paired(shared, outcomes) -> None:
    """Joined by hash, the rows of two models are those that are joined by name."""
    keys = ["participant_id", "session_id", "anomaly", "severity"]

    def joined(folders: list[Path]) -> pd.DataFrame:
        one, other = (read_scores(folder) for folder in folders)
        both = one.merge(other, on=keys, suffixes=("", ".other"), validate="one_to_one")
        assert len(both) == len(one) == len(other)
        values = both[["ap.standard", "ap.standard.other", "subject.score", "subject.score.other", "mmse"]]
        return values.sort_values(list(values.columns)).reset_index(drop=True)

    by_name = joined([outcome.folder for outcome in outcomes.values()])
    pd.testing.assert_frame_equal(joined([shared[model] for model in outcomes]), by_name)


def test_another_secret_gives_other_hashes(outcomes, shared, salts, tmp_path) -> None:
    share(outcomes["mean"].folder, tmp_path / "out")
    first, second = read_scores(shared["mean"]), read_scores(tmp_path / "out")
    for column in ("participant_id", "session_id"):
        assert not set(first[column]) & set(second[column])
    share(outcomes["mean"].folder, tmp_path / "again")
    pd.testing.assert_frame_equal(read_scores(tmp_path / "again"), second)
    assert (tmp_path / "again" / RESULT).read_bytes() == (tmp_path / "out" / RESULT).read_bytes()


def test_pseudonyms_depend_on_everything() -> None:
    first = pseudonym(b"a", "anon", "sub-1")
    assert re.fullmatch("anon-[0-9a-f]{16}", first) and first == pseudonym(b"a", "anon", "sub-1")
    others = [pseudonym(b"b", "anon", "sub-1"), pseudonym(b"a", "ses", "sub-1"), pseudonym(b"a", "anon", "sub-2")]
    assert len({name.partition("-")[2] for name in [first, *others]}) == 4
    assert pseudonym(b"a", "site", "Paris", 4) == pseudonym(b"a", "site", "Paris")[:9]


# --- the secret


def test_the_secret_is_made_once_and_for_nobody_else_to_read(salts) -> None:
    first = salt("caps-1")
    file = salt_file("caps-1")
    assert file.parent == salts and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(first) == 32 and salt("caps-1") == first != salt("caps-2")
    assert len(list(salts.iterdir())) == 2
    assert salt_file("phantom:seed=7").name == "phantom-seed-7.salt"


@pytest.mark.parametrize("content", ["", "abc", "zz" * 32, "ab" * 31])
def test_a_damaged_secret_is_not_replaced(content, salts) -> None:
    salts.mkdir()
    salt_file("caps-1").write_text(content)
    with pytest.raises(InputError, match=r"caps-1\.salt: is damaged; put the cohort's secret back"):
        salt("caps-1")
    assert salt_file("caps-1").read_text() == content


def test_where_no_secret_can_be_kept(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("UADBENCH_SALTS", str(tmp_path / "file"))
    with pytest.raises(Unfinished, match=r"cannot keep the cohort's secret.*set UADBENCH_SALTS"):
        salt("caps-1")


# --- what the result says


def numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Every number below a JSON value, under its path."""
    if isinstance(value, bool | str) or value is None:
        return
    if isinstance(value, int | float):
        yield path, float(value)
    else:
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from numbers(inner, f"{path}.{key}")


def keyed(result: Result, names: dict[str, str]) -> dict[str, Any]:
    """What follows from the scores; test sets and strata, which change places, under their names."""
    told = result.model_dump(include={"headline", "detection", "scores", "strata"})
    detection = told["detection"]
    told["graded"] = {each["anomaly"]: each for each in detection.pop("severities")}
    told["strata"] = {names.get(each["value"], each["value"]): each for each in told["strata"]}
    for key, sets in (("scores", told["scores"]), ("testsets", detection.pop("testsets"))):
        told[key] = {f"{each['anomaly']} {each.pop('severity')}": each for each in sets}
    return told


def test_aggregates_are_those_of_the_result(shared, outcomes, secret) -> None:
    """Means are equal; intervals are over people in another order, and move by a part of their width."""
    names = {pseudonym(secret, "site", site, 4): site for site in SITES}
    for model, outcome in outcomes.items():
        original, result = outcome.result, read_result(shared[model])
        kept = {"model", "cohort", "protocol", "fold", "seed", "fit_key", "eval_key", "testset", "cost", "provenance"}
        assert result.model_dump(include=kept) == original.model_dump(include=kept)
        known = [dict(numbers(keyed(each, names))) for each in (original, result)]
        assert known[0].keys() == known[1].keys() and len(known[0]) > 400
        bounds = [path for path in known[0] if re.search(r"\.(low|high|ap_interval\.\d|\w+_bounds\.\d)$", path)]
        for path in known[0].keys() - set(bounds):
            assert known[1][path] == pytest.approx(known[0][path], rel=1e-5), path
        for path in bounds:
            low, high = opposite(path, known[0])
            assert known[1][path] == pytest.approx(known[0][path], abs=0.25 * (high - low) + 1e-6), path
        assert original.detection.threshold is not None and len(original.strata) == 2


def opposite(path: str, known: dict[str, float]) -> tuple[float, float]:
    """Both ends of the interval that a bound belongs to."""
    stem = path.rpartition(".")[0]
    low, high = (f"{stem}.low", f"{stem}.high") if f"{stem}.low" in known else (f"{stem}.0", f"{stem}.1")
    return known[low], known[high]


def test_the_score_hash_is_that_of_the_shared_table(shared, outcomes) -> None:
    for model, outcome in outcomes.items():
        result, table = read_result(shared[model]), read_scores(shared[model])
        assert result.score_hash == score_hash(table) != outcome.result.score_hash
        assert score_hash(table.sample(frac=1, random_state=0)) == result.score_hash
        table.loc[table["ap.standard"].first_valid_index(), "ap.standard"] += 1e-4
        assert score_hash(table) != result.score_hash


def test_a_public_cohort_is_shared_as_it_is(public, tmp_path, salts) -> None:
    outcome = run_cell(Cell("mean", public, 0), tmp_path / "runs", CPU, Silent())
    assert share(outcome.folder, tmp_path / "out") == outcome.result == read_result(tmp_path / "out")
    pd.testing.assert_frame_equal(read_scores(tmp_path / "out"), read_scores(outcome.folder))
    assert not salts.exists()


# --- what is refused


@pytest.mark.parametrize(
    "option", ["/data/sub-ADNI09S4009/ses-M00/prior.nii", "prior of adni07s4007", "x_sub-ADNI20S4020_y"]
)
def test_an_option_that_holds_an_id_is_refused(option, outcomes, tmp_path, salts) -> None:
    """Of a test participant, of one who validates, of a patient; and nothing is written."""
    run = with_option(outcomes["mean"], option, tmp_path / "run")
    with pytest.raises(InputError, match=r"the result contains '.*', which names a participant; take it out"):
        share(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    share(with_option(outcomes["mean"], "/data/prior.nii", tmp_path / "other"), tmp_path / "out")


def with_option(outcome: Outcome, option: str, folder: Path) -> Path:
    """The run as one whose model had an option more."""
    shutil.copytree(outcome.folder, folder)
    content = read_sealed(folder / RESULT)
    content["model"]["options"]["prior"] = option
    write_sealed(folder / RESULT, content)
    return folder


def test_a_protocol_that_is_not_the_results_is_refused(outcomes, tmp_path, salts) -> None:
    """The protocol was changed with --set, so that its name does not tell it: it is stored, and its hash is checked."""
    source = outcomes["mean"]
    assert not source.result.protocol.ranked and source.result.protocol.hash == PROTOCOL.hash
    folder = shutil.copytree(source.folder, tmp_path / "run")
    assert share(folder, tmp_path / "out").protocol == source.result.protocol
    stored = json.loads((folder / "protocol.json").read_text())
    stored["ranking"]["severities"] = [0.5]
    for content in (json.dumps(stored), None):
        (folder / "protocol.json").unlink()
        if content:
            (folder / "protocol.json").write_text(content)
        with pytest.raises(InputError, match=r"its protocol\.json is not the protocol of its result; run again"):
            share(folder, tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("/data/sub-001S4001/pet.nii", "sub-001S4001"),
        ("/data/001S4001/pet.nii", "sub-001S4001"),
        ("SUB-001s4001", "sub-001S4001"),
        ("sub-001S4001_ses-M000", "sub-001S4001"),
        ("x.001S4001,y", "sub-001S4001"),
        ("/data/sub-01/pet.nii", "sub-01"),
        ("patient 0042", "0042"),
        ("(a+b)", "(a+b)"),
    ],
)
def test_an_id_is_found(text, name) -> None:
    with pytest.raises(InputError, match=r"here contains '.*', which names a participant"):
        refuse_ids("here", ["nothing", text], {name, "sub-other"})


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("sub-001S40012", "sub-001S4001"),
        ("x001S4001", "sub-001S4001"),
        ("sub-001S400", "sub-001S4001"),
        ("version 01 of 2", "sub-01"),
        ("anon-0042abcd", "0042"),
        ("", "sub-001S4001"),
    ],
)
def test_what_is_no_id_is_not(text, name) -> None:
    refuse_ids("here", [text], {name})


def test_people_who_are_called_by_numbers_can_be_shared(outcomes, tmp_path, salts) -> None:
    """'2' is in every version of a package."""
    run = shutil.copytree(outcomes["mean"].folder, tmp_path / "run")
    table = read_scores(run)
    numbers = {name: str(number) for number, name in enumerate(dict.fromkeys(table.participant_id), start=1)}
    table = table.assign(participant_id=table.participant_id.map(numbers))
    write_table(table, run / SCORES)
    write_sealed(run / RESULT, {**read_sealed(run / RESULT), "score_hash": score_hash(table)})
    share(run, tmp_path / "out")
    assert read_scores(tmp_path / "out").participant_id.str.startswith("anon-").all()


def test_no_run(tmp_path, salts) -> None:
    with pytest.raises(InputError, match="no result here"):
        share(tmp_path, tmp_path / "out")


def test_the_command(outcomes, private, tmp_path, salts, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["share", str(outcomes["mean"].folder), "--output", str(tmp_path / "out")])
    printed = capsys.readouterr()
    assert not stopped.value.code, printed.err
    result = read_result(tmp_path / "out")
    assert result.score_hash[:16] in printed.out and str(salt_file(private.cohort.name)) in printed.out
    assert leaks(tmp_path / "out", clear(private)) == set()


def test_who_is_tested_elsewhere_carries_that_cohorts_secret(private, public, tmp_path, salts) -> None:
    elsewhere = replace(public, test_cohort=private.cohort, rows=public.rows | private.rows)
    elsewhere.rows.update({part: public.rows[part] for part in ("train", "validation")})
    outcome = run_cell(Cell("mean", elsewhere, 0), tmp_path / "runs", CPU, Silent())
    assert not outcome.result.cohort.public and outcome.result.cohort.tested_on == private.cohort.name
    share(outcome.folder, tmp_path / "out")
    assert [file.stem for file in salts.iterdir()] == [private.cohort.name]
    assert leaks(tmp_path / "out", clear(private)) == set()


# --- MLflow


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """A real MLflow server on sqlite: its address, and the folder with all that it was told."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    stores = ["--backend-store-uri", f"sqlite:///{folder / 'db'}", "--artifacts-destination", str(folder / "artifacts")]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    quiet = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, *stores], stdout=log, stderr=log, cwd=folder, env=quiet, start_new_session=True
        )
    try:
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                    break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}", folder
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


def test_a_server_is_told_no_name(server, outcomes, private, tmp_path, salts) -> None:
    from mlflow.tracking import MlflowClient

    uri, folder = server
    run = shutil.copytree(outcomes["zscore"].folder, tmp_path / "run")
    result = read_result(run)
    draw_figures(result, run)
    (run / EXAMPLES).unlink()  # pictures of brains take a report most of its time
    tracker = Tracker(uri, "title", tmp_path)
    run_id = tracker.log(result, run)
    tracker.close()
    client = MlflowClient(uri)
    logged = client.get_run(run_id)
    assert logged.data.metrics["headline.ap_standard"] == pytest.approx(result.headline.ap_standard)
    assert {artifact.path for artifact in client.list_artifacts(run_id)} >= {RESULT, SCORES, "figures", "scores.json"}
    (scores,) = folder.rglob(SCORES)
    assert read_result(scores.parent).score_hash == score_hash(read_scores(scores.parent)) != result.score_hash
    written = write_report(result, read_scores(run), run, tmp_path / "report", Silent())
    assert attach(result, run, written) is None, "no address is taken from a folder"
    assert attach(result, run, written, uri) == run_id
    assert list(folder.rglob("report/*.html")), "a report of what may be known follows"
    assert leaks(folder, clear(private)) == set()
    assert tracker.has(result, run), "it is known by the hash of the result that stays here"


def test_a_server_gets_nothing_of_a_result_that_holds_an_id(server, outcomes, tmp_path, salts) -> None:
    uri, folder = server
    run = with_option(outcomes["zscore"], f"/data/{name_of(12)}.nii", tmp_path / "run")
    with pytest.raises(Unfinished, match="which names a participant"):
        Tracker(uri, "refused", tmp_path).log(read_result(run), run)
    assert leaks(folder, {name_of(12), name_of(12).removeprefix("sub-")}) == set()


def test_sqlite_gets_the_files_as_they_are(outcomes, tmp_path, salts) -> None:
    run = shutil.copytree(outcomes["mean"].folder, tmp_path / "run")
    tracker = Tracker(default_uri(tmp_path), "title", tmp_path / "mlartifacts")
    tracker.log(read_result(run), run)
    tracker.close()
    for name in (RESULT, SCORES):
        (logged,) = (tmp_path / "mlartifacts").rglob(name)
        assert logged.read_bytes() == (run / name).read_bytes()
    assert not salts.exists()
    assert np.isfinite(read_scores(run)["subject.score"]).all()
