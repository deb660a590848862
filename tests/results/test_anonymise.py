"""What leaves the machine: scores without a name, paired as before, and no server that is told one."""

from __future__ import annotations

import errno
import hmac
import json
import os
import platform
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

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch

from uadbench.cli.main import main
from uadbench.cohorts.base import keys_of
from uadbench.cohorts.opening import open_cohort
from uadbench.cohorts.phantom import Phantom
from uadbench.cohorts.secrecy import Secret, salt, salt_file, secret_of
from uadbench.cohorts.splits.listed import Fold, GivenSplit
from uadbench.cohorts.splits.split import baseline
from uadbench.errors import InputError, Unfinished
from uadbench.launch.sweep import require_known_secrets
from uadbench.protocols.schema import load_protocol
from uadbench.report.figures import draw_figures
from uadbench.report.page import write_report
from uadbench.results.anonymise import refuse_ids, share, share_aggregates
from uadbench.results.examples import EXAMPLES
from uadbench.results.schema import PEOPLE, RESULT, read_result
from uadbench.results.scores import SCORES, read_scores, score_hash, write_table
from uadbench.runs.fold_data import FoldData, Selection, plan_fold
from uadbench.runs.keys import Outcome, Run
from uadbench.runs.run import complete
from uadbench.runtime.files import read_sealed, write_sealed
from uadbench.runtime.progress import Silent
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
    """A table of scans on the protocol's grid: 18 healthy people of two sites, and three patients."""
    phantom = Phantom(participants=18, patients=2)
    lines = ["participant_id\tsession_id\tpath\tdiagnosis\tage\tsex\tsite\tmmse"]
    for number, scan in enumerate(phantom.scans(PROTOCOL.lattice, baseline(phantom.participants)[: len(names)])):
        nibabel.save(nibabel.Nifti1Image(scan.data, scan.affine), folder / f"{number}.nii")
        about = (scan.group, scan.age, scan.sex, SITES[number % 2], scan.mmse)
        lines.append("\t".join(map(str, (names[number], SESSION, f"{number}.nii", *about))))
    (folder / "scans.tsv").write_text("\n".join(lines))
    return folder / "scans.tsv"


def planned(table: Path, protocol=PROTOCOL) -> FoldData:
    """Four train, four validate, ten test."""
    cohort = open_cohort(str(table))
    keys = [(str(who), SESSION) for who in cohort.participants.participant_id]
    healthy = [key for key, group in zip(keys, cohort.participants.group, strict=True) if group == "CN"]
    fold = Fold(tuple(healthy[:4]), tuple(healthy[:4]), tuple(healthy[4:8]))
    split = GivenSplit("split", tuple(healthy[8:]), (fold,))
    return plan_fold(cohort, protocol, 0, Silent(), Selection(split=split))


SECRET = Secret(bytes.fromhex("5a" * 32))


@pytest.fixture(scope="module")
def private(tmp_path_factory) -> Iterator[FoldData]:
    """A private cohort with SECRET, for as long as the tests of this file last."""
    folder = tmp_path_factory.mktemp("lab")
    table = written(folder, [name_of(number) for number in range(1, 22)])
    (folder / "salts").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UADBENCH_SALTS", str(folder / "salts"))
        salt_file(open_cohort(str(table)).identity).write_text("5a" * 32 + "\n")
        yield planned(table)


@pytest.fixture(scope="module")
def public() -> FoldData:
    return plan_fold(Phantom(participants=16, patients=2), PROTOCOL, 0)


@pytest.fixture(scope="module")
def outcomes(private, tmp_path_factory) -> dict[str, Outcome]:
    """Two models on a private cohort."""
    output = tmp_path_factory.mktemp("runs")
    return {model: complete(Run(model, private, 0), output, CPU, Silent()) for model in ("zscore", "mean")}


@pytest.fixture
def salts(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("UADBENCH_SALTS", str(tmp_path / "salts"))
    return tmp_path / "salts"


@pytest.fixture(scope="module")
def shared(outcomes, tmp_path_factory) -> dict[str, Path]:
    """What `share` writes of both."""
    folder = tmp_path_factory.mktemp("shared")
    for model, outcome in outcomes.items():
        share(outcome.folder, folder / model)
    return {model: folder / model for model in outcomes}


def clear(fold_data: FoldData) -> set[str]:
    """Every id, session and site of the cohort, and ids without `sub-`."""
    ids = {str(who) for who in fold_data.cohort.participants.participant_id}
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


@pytest.mark.slow
def test_people_sessions_and_sites_are_hashes(shared, private, outcomes) -> None:
    """In the run folder already: only people.json and the file of the table know better, and they stay."""
    table = read_scores(shared["zscore"])
    assert sorted(path.name for path in shared["zscore"].iterdir()) == [RESULT, SCORES]
    assert table.participant_id.str.fullmatch("anon-[0-9a-f]{16}").all()
    assert table.session_id.str.fullmatch("ses-[0-9a-f]{16}").all()
    sites = table.site[table.site.notna()]
    assert sites.str.fullmatch("site-[0-9a-f]{4}").all() and sites.nunique() == 2
    assert table.participant_id.nunique() == 17
    for model, outcome in outcomes.items():
        assert leaks(shared[model], clear(private)) == set()
        knowing = {file.name for file in outcome.folder.rglob("*") if file.is_file() and leaks(file, clear(private))}
        assert knowing == {PEOPLE}
        assert stat.S_IMODE((outcome.folder / PEOPLE).stat().st_mode) == 0o600


def test_the_hashes_are_those_of_the_secret(shared, private) -> None:
    table = read_scores(shared["mean"])
    tested = [key for part in ("validation", "test", "patients") for key in keys_of(private.rows[part])]
    known = set(zip(table.participant_id, table.session_id, strict=True))
    assert known == {SECRET.key(who, visit) for who, visit in tested}
    assert len(set(table.session_id)) == 17, "one session of everybody, and no two the same"


def test_the_run_folder_tells_its_owner_who_is_who(outcomes, private) -> None:
    told = json.loads((outcomes["mean"].folder / PEOPLE).read_text())
    for part in ("train", "validation", "test", "patients"):
        assert told[part] == [[*key, *SECRET.key(*key)] for key in keys_of(private.rows[part])]
    assert {tuple(pair) for pair in told["sites"]} == {(site, SECRET.site(site)) for site in SITES}


def test_rows_are_not_in_the_order_of_the_ids(shared, private) -> None:
    order = list(dict.fromkeys(read_scores(shared["mean"]).query("anomaly == 'healthy'").participant_id))
    assert order == sorted(order)
    assert order != [SECRET.participant(name) for name in sorted(private.rows["test"].participant_id)]


def test_two_models_stay_paired(shared) -> None:
    keys = ["participant_id", "session_id", "anomaly", "severity"]
    one, other = (read_scores(folder) for folder in shared.values())
    both = one.merge(other, on=keys, suffixes=("", ".other"), validate="one_to_one")
    assert len(both) == len(one) == len(other)
    assert both["prevalence"].equals(both["prevalence.other"]) and both["mmse"].equals(both["mmse.other"])


def test_sharing_twice_gives_the_same_bytes(outcomes, shared, salts, tmp_path) -> None:
    """It takes no secret: the run folder knows nobody by name."""
    share(outcomes["mean"].folder, tmp_path / "again")
    for name in (RESULT, SCORES):
        assert (tmp_path / "again" / name).read_bytes() == (shared["mean"] / name).read_bytes()
    assert not salts.exists()


def test_pseudonyms_depend_on_everything() -> None:
    first, other = Secret(b"a"), Secret(b"b")
    name = first.pseudonym("anon", "sub-1")
    assert re.fullmatch("anon-[0-9a-f]{16}", name) and name == Secret(b"a").participant("sub-1")
    others = [other.participant("sub-1"), first.pseudonym("ses", "sub-1"), first.participant("sub-2")]
    assert len({each.partition("-")[2] for each in [name, *others]}) == 4
    assert first.site("Paris") == first.pseudonym("site", "Paris")[:9] and first.site("") == ""
    assert len({first.fingerprint, other.fingerprint, first.seal("0" * 64), other.seal("0" * 64)}) == 4


def test_no_secret_is_in_what_is_printed() -> None:
    assert "5a" not in repr(SECRET) and str(SECRET.value) not in repr(SECRET)


def test_a_name_of_version_3_is_not_a_name_of_today() -> None:
    """Who was named then, by results that can be reversed, is not named in results of today."""
    former = hmac.digest(SECRET.value, b"anon:sub-1", "sha256").hex()[:16]
    assert SECRET.participant("sub-1") != f"anon-{former}"


def test_public_names_stay(public) -> None:
    assert Secret(b"").key("sub-1", "ses-1") == ("sub-1", "ses-1") and Secret(b"").seal("ab") == "ab"
    for part in ("train", "test", "patients"):
        assert [scan.key for scan in public.scans(part)] == keys_of(public.rows[part])


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
    with pytest.raises(InputError, match=r"caps-1\.salt: is corrupted"):
        salt("caps-1")
    assert salt_file("caps-1").read_text() == content


def test_where_no_secret_can_be_kept(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("UADBENCH_SALTS", str(tmp_path / "file"))
    with pytest.raises(Unfinished, match=r"cohort's secret.*set UADBENCH_SALTS"):
        salt("caps-1")


def test_a_file_system_without_links_keeps_no_secret(salts, monkeypatch) -> None:
    """As vfat, which has no permissions either. Nothing half is left that would count as a secret."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(Unfinished, match=r"cohort's secret.*set UADBENCH_SALTS"):
        salt("caps-1")
    assert not list(salts.iterdir())


def test_runs_go_on_with_their_secret(private, salts, tmp_path) -> None:
    """Another one, or one that was lost and made anew, is not taken silently: other people would train and test."""
    output, other = tmp_path / "runs", planned(private.cohort.home / "scans.tsv")
    runs = [Run("mean", other, 0)]
    require_known_secrets(runs, output)
    require_known_secrets(runs, output)
    (kept,) = (output / ".secrets").iterdir()
    assert kept.read_text().strip() == secret_of(other.cohort).fingerprint
    salt_file(other.cohort.identity).unlink()
    with pytest.raises(InputError, match=r"\.salt: is not the secret"):
        require_known_secrets(runs, output)
    assert kept.read_text().strip() != secret_of(other.cohort).fingerprint
    require_known_secrets(runs, tmp_path / "elsewhere")


def test_another_secret_is_another_evaluation(private, outcomes, salts, tmp_path) -> None:
    """And another training: what is drawn on the way depends on it, too."""
    run = Run("mean", planned(private.cohort.home / "scans.tsv"), 0)
    told = outcomes["mean"].result
    assert run.fit_key != told.fit_key and run.eval_key != told.eval_key
    assert run.fold_data.testset_recipe != told.testset.recipe and run.fold_data.split_digest != told.cohort.split
    assert run.fold_data.split.digest == private.split.digest != told.cohort.split, "the split was given"


# --- what the result says


def test_the_result_is_the_run_folders(shared, outcomes) -> None:
    """Every aggregate, the intervals too: people stand in the order of their hashes there already.

    Ages and sexes stay in the run folder, and with them the bias audit.
    """
    for model, outcome in outcomes.items():
        assert outcome.result.bias is not None and outcome.result.bias.participants == 10
        assert read_result(shared[model]) == outcome.result.model_copy(update={"bias": None})
        rows = read_scores(outcome.folder).drop(columns=["age", "sex"])
        pd.testing.assert_frame_equal(read_scores(shared[model]), rows)
        assert outcome.result.detection.threshold is not None and len(outcome.result.strata) == 2


def test_the_score_hash_is_that_of_the_shared_table(shared) -> None:
    for model in ("zscore", "mean"):
        result, table = read_result(shared[model]), read_scores(shared[model])
        assert result.score_hash == score_hash(table) == score_hash(table.sample(frac=1, random_state=0))
        table.loc[table["ap.standard"].first_valid_index(), "ap.standard"] += 1e-4
        assert score_hash(table) != result.score_hash


def test_a_public_cohort_is_shared_as_it_is(public, tmp_path, salts) -> None:
    outcome = complete(Run("mean", public, 0), tmp_path / "runs", CPU, Silent())
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
    with pytest.raises(InputError, match=r"the result contains '.*', which names a participant"):
        share(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("folder", ["/home/somebody/study", "~/study", "C:\\\\study", "/home/somebody"])
def test_of_an_option_that_is_a_path_the_name_is_shared(folder, outcomes, tmp_path) -> None:
    run = with_option(outcomes["mean"], f"{folder}/prior.nii", tmp_path / "run")
    assert share(run, tmp_path / "out").model.options["prior"] == "prior.nii"
    assert leaks(tmp_path / "out", {"study", "somebody"}) == set()


@pytest.mark.parametrize("where", [".", "inside", "inside/further", "..", "link"])
def test_what_is_shared_does_not_lie_in_the_run(where, outcomes, tmp_path) -> None:
    run = shutil.copytree(outcomes["mean"].folder, tmp_path / "runs" / "run")
    (tmp_path / "link").symlink_to(run)
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    output = tmp_path / "link" if where == "link" else run / where
    for leave in (share, share_aggregates):
        with pytest.raises(InputError, match="one lies in the other"):
            leave(run, output)
    with pytest.raises(SystemExit) as stopped:
        main(["share", str(run), "--output", str(output)])
    assert stopped.value.code == 2
    assert before == {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["run"]


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


def test_scores_that_hold_an_id_are_refused(outcomes, tmp_path) -> None:
    run = shutil.copytree(outcomes["mean"].folder, tmp_path / "run")
    table = read_scores(run)
    write_table(table.assign(scanner=f"scanner of {name_of(12)}"), run / SCORES)
    with pytest.raises(InputError, match=r"the scores' column scanner contains '.*', which names a participant"):
        share(run, tmp_path / "out")
    write_table(table.assign(participant_id="sub-1"), run / SCORES)
    with pytest.raises(InputError, match="not the scores"):
        share(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_run(tmp_path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(InputError, match="no result here"):
        share(tmp_path / "run", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command(outcomes, private, tmp_path, salts, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["share", str(outcomes["mean"].folder), "--output", str(tmp_path / "out")])
    printed = capsys.readouterr()
    assert not stopped.value.code, printed.err
    result = read_result(tmp_path / "out")
    assert result.score_hash[:16] in printed.out and PEOPLE in printed.out
    assert leaks(tmp_path / "out", clear(private)) == set()


def test_who_is_tested_elsewhere_carries_that_cohorts_secret(private, public, tmp_path) -> None:
    elsewhere = replace(public, test_cohort=private.cohort, rows=public.rows | private.rows)
    elsewhere.rows.update({part: public.rows[part] for part in ("train", "validation")})
    outcome = complete(Run("mean", elsewhere, 0), tmp_path / "runs", CPU, Silent())
    assert not outcome.result.cohort.public and outcome.result.cohort.tested_on == private.cohort.name
    share(outcome.folder, tmp_path / "out")
    table = read_scores(tmp_path / "out")
    tested = table[table.anomaly != "validation"]
    assert set(tested.participant_id) <= {
        SECRET.participant(str(who)) for who in private.cohort.participants.participant_id
    }
    assert set(table[table.anomaly == "validation"].participant_id) <= set(public.cohort.participants.participant_id)
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


@pytest.mark.slow
def test_a_server_is_told_no_name(server, outcomes, private, tmp_path, salts, monkeypatch) -> None:
    """Of no person, and of no folder, machine or user either."""
    from mlflow.tracking import MlflowClient

    uri, folder = server
    for variable in ("LOGNAME", "USER"):
        monkeypatch.setenv(variable, "somebody-in-the-lab")
    monkeypatch.setattr(socket, "gethostname", lambda: "scanner-room-7")
    monkeypatch.setattr(platform, "node", lambda: "scanner-room-7")
    around = {"somebody-in-the-lab", "scanner-room-7", str(private.cohort.home), str(tmp_path), "scans.tsv"}
    around |= {str(outcomes["zscore"].folder), str(Path.home())}
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
    assert read_result(scores.parent).score_hash == score_hash(read_scores(scores.parent)) == result.score_hash
    written = write_report(result, read_scores(run), run, tmp_path / "report", Silent())
    assert attach(result, run, written) is None, "no address is taken from a folder"
    assert attach(result, run, written, uri) == run_id
    assert list(folder.rglob("report/*.html")), "a report of what may be known follows"
    assert leaks(folder, clear(private)) == set()
    assert leaks(folder / "db", around) == leaks(folder / "artifacts", around) == set()
    assert tracker.has(result, run), "it is known by the hash of the result that stays here"


def test_a_server_gets_nothing_of_a_result_that_holds_an_id(server, outcomes, tmp_path, salts) -> None:
    uri, folder = server
    run = with_option(outcomes["zscore"], f"/data/{name_of(12)}.nii", tmp_path / "run")
    with pytest.raises(Unfinished, match="which names a participant"):
        Tracker(uri, "refused", tmp_path).log(read_result(run), run)
    assert leaks(folder, {name_of(12), name_of(12).removeprefix("sub-")}) == set()


@pytest.mark.slow
def test_a_database_is_told_no_name_either(outcomes, private, tmp_path) -> None:
    run = shutil.copytree(outcomes["mean"].folder, tmp_path / "run")
    tracker = Tracker(default_uri(tmp_path), "title", tmp_path)
    tracker.log(read_result(run), run)
    tracker.close()
    for name in (RESULT, SCORES):
        (logged,) = (tmp_path / "mlartifacts").rglob(name)
        assert read_result(logged.parent) == read_result(run).model_copy(update={"bias": None})
        assert leaks(logged, clear(private)) == set()
    assert leaks(tmp_path / "mlflow.db", clear(private)) == set()
    assert np.isfinite(read_scores(run)["subject.score"]).all()
