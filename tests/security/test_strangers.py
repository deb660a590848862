"""A stranger's folder is only data: what it tries, command by command, in processes with little memory.

`pytest tests/security/test_strangers.py -m ""` prints the table attempt -> outcome, before and now.
"""

from __future__ import annotations

import csv
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet
import pytest

from tests.faults.processes import Nursery
from tests.leaderboard.builder import committed_folder, run_folder
from tests.security import hostile
from uadbench.results.examples import EXAMPLES
from uadbench.results.schema import RESULT, read_result
from uadbench.results.scores import SCORES, read_scores, score_hash, write_table
from uadbench.runtime.files import write_sealed
from uadbench.tracking import LOGGED

SECONDS = 120.0
"""In which a command ends by itself; those that hang do so for good."""
CONFINED = "from tests.security.limits import confine; confine()"
SECRET = "the user's own words"


@pytest.fixture(scope="module")
def nursery(own_cache, tmp_path_factory) -> Iterator[Nursery]:
    with Nursery(tmp_path_factory.mktemp("processes")) as opened:
        yield opened


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(nursery: Nursery, tmp_path: Path) -> Call:
    """Run a command in a process that gets two GiB and two minutes: exit code, stdout, stderr."""

    def run(*arguments: str | Path, **environment: str | Path) -> tuple[int, str, str]:
        before = f"import os; os.chdir({str(tmp_path)!r})\n{CONFINED}"
        child = nursery.start(*arguments, before=before, **environment)
        if not child.ends_within(SECONDS):
            child.kill()
            child.wait()
            pytest.fail(f"hangs: {arguments[0]}")
        return child.ended()

    return run


def refusal(told: tuple[int, str, str], code: int = 2) -> str:
    """The one line in which a file was refused, before it took any memory."""
    found, out, err = told
    assert found == code, (found, out, err)
    (line,) = err.splitlines()
    assert line.startswith("error: ") and line.isprintable()
    assert not any(word in line.lower() for word in ("malloc", "alloc", "memory", "traceback")), line
    return line.removeprefix("error: ")


def shown(line: str, *folders: Path) -> str:
    """A message without the folders of this test."""
    for folder in folders:
        line = line.replace(f"{folder}/", "")
    return line


@pytest.fixture(scope="module")
def run(fold_data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_folder("mean", fold_data, tmp_path_factory)


@pytest.fixture(scope="module")
def other(fold_data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of another model."""
    return run_folder("zscore", fold_data, tmp_path_factory)


@pytest.fixture
def given(run: Path, tmp_path: Path) -> Path:
    """A run folder that came from somebody else, in an output folder of theirs."""
    folder = Path(shutil.copytree(run, tmp_path / "theirs" / "phantom" / "smoke" / "mean" / run.name))
    (folder / EXAMPLES).unlink()  # pictures of brains take a report most of its time
    return folder


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret.png"
    file.write_text(SECRET)
    return file


def edit(folder: Path, change: Callable[[dict[str, Any]], object], sealed: bool = True) -> None:
    """Change a result as somebody does who knows how it is sealed, or removes the seal."""
    content = json.loads((folder / RESULT).read_text())
    content.pop("seal", None)
    change(content)
    if sealed:
        write_sealed(folder / RESULT, content)
    else:
        (folder / RESULT).write_text(json.dumps(content))


# --- addresses


class Listener(ThreadingHTTPServer):
    """A server that writes down all that it gets."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, score_hash: str, artifacts: Path) -> None:
        super().__init__(("127.0.0.1", 0), Listens)
        self.heard: list[str] = []
        self.run = {"info": {"run_id": "7" * 32, "experiment_id": "1", "status": "RUNNING"}}
        self.run["info"]["artifact_uri"] = artifacts.as_uri()
        self.run["data"] = {"tags": [{"key": "uadbench.score_hash", "value": score_hash}]}

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Listens(BaseHTTPRequestHandler):
    server: Listener
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.heard.append(f"{self.path}\n{self.headers}\n{content.decode(errors='replace')}")
        body = json.dumps({"run": self.server.run}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = do_PUT = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def listener(given: Path, tmp_path: Path) -> Iterator[Listener]:
    with Listener(read_result(given).score_hash, tmp_path / "artifacts") as opened:
        threading.Thread(target=opened.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield opened
        opened.shutdown()


def logged_at(folder: Path, uri: str, run_id: str = "7" * 32) -> None:
    told = {"uri": uri, "run_id": run_id, "score_hash": read_result(folder).score_hash}
    (folder / LOGGED).write_text(json.dumps(told))


@pytest.mark.slow
@pytest.mark.attempt(
    "report on a run folder whose mlflow.json names a server",
    "it is contacted, with the user's tracking credentials",
)
def test_no_address_is_taken_from_a_folder(given: Path, listener: Listener, call: Call, outcome) -> None:
    logged_at(given, listener.uri)
    code, _, err = call("report", given, MLFLOW_TRACKING_USERNAME="somebody", MLFLOW_TRACKING_PASSWORD=SECRET)
    assert code == 0, err
    assert listener.heard == []
    outcome("not contacted; the report is written")


@pytest.mark.attempt(
    "report to the user's own server, with a link in the folder of the report",
    "the linked file is uploaded",
)
def test_only_what_was_just_written_is_uploaded(
    given: Path, listener: Listener, secret: Path, tmp_path: Path, call: Call, outcome
) -> None:
    logged_at(given, listener.uri)
    (given / "report" / "figures").mkdir(parents=True)
    (given / "report" / "figures" / "more.png").symlink_to(secret)
    code, _, err = call("report", given, MLFLOW_TRACKING_URI=listener.uri)
    assert code == 0, err
    logged = {file.relative_to(tmp_path / "artifacts").as_posix() for file in (tmp_path / "artifacts").rglob("*.*")}
    assert "report/report.html" in logged and "report/figures/more.png" not in logged
    outcome("the report is uploaded, and nothing else")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of MLflow, as it is when it is new."""
    from mlflow.tracking import MlflowClient

    file = tmp_path_factory.mktemp("database") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments(max_results=1)
    return file


def with_artifacts(database: Path, folder: Path, given: Path, artifacts: str) -> str:
    """The address of a database in a folder, with a run whose artifacts lie anywhere."""
    from mlflow.tracking import MlflowClient

    shutil.copy(database, folder / "mlflow.db")
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.create_experiment("uadbench", artifact_location=artifacts)
    made = client.create_run(experiment, tags={"uadbench.score_hash": read_result(given).score_hash})
    logged_at(given, f"sqlite:///{folder}/mlflow.db", made.info.run_id)
    return made.info.run_id


@pytest.mark.slow
@pytest.mark.attempt(
    "report on a run folder with a database whose artifacts lie elsewhere (file:///...)",
    "files are written there",
)
def test_a_database_does_not_choose_where_artifacts_go(
    given: Path, database: Path, tmp_path: Path, call: Call, outcome
) -> None:
    elsewhere = tmp_path / "elsewhere"
    with_artifacts(database, tmp_path / "theirs", given, elsewhere.as_uri())
    code, _, err = call("report", given)
    assert code == 0, err
    assert not elsewhere.exists()
    assert "artifacts" in err
    outcome(shown(err.strip(), tmp_path))


@pytest.mark.slow
@pytest.mark.attempt(
    "the same, with a link in the place of an artifact",
    "the linked file is overwritten",
)
def test_artifacts_are_written_through_no_link(
    given: Path, database: Path, secret: Path, tmp_path: Path, call: Call, outcome
) -> None:
    home = tmp_path / "theirs" / "mlartifacts"
    run_id = with_artifacts(database, tmp_path / "theirs", given, home.as_uri())
    (home / run_id / "artifacts" / "report").mkdir(parents=True)
    (home / run_id / "artifacts" / "report" / "report.html").symlink_to(secret)
    code, _, err = call("report", given)
    assert code == 0, err
    assert secret.read_text() == SECRET
    outcome(shown(err.strip(), tmp_path))


@pytest.mark.slow
@pytest.mark.attempt("the database of one's own output folder", "the report is logged")
def test_a_run_of_ones_own_is_found_again(given: Path, database: Path, tmp_path: Path, call: Call, outcome) -> None:
    home = tmp_path / "theirs" / "mlartifacts"
    run_id = with_artifacts(database, tmp_path / "theirs", given, home.as_uri())
    code, out, err = call("report", given)
    assert code == 0 and run_id in out, err
    assert (home / run_id / "artifacts" / "report" / "report.html").is_file()
    outcome("the report is logged")


@pytest.mark.slow
@pytest.mark.attempt("track with a link in figures/", "the linked file is uploaded")
def test_track_uploads_no_link(given: Path, database: Path, secret: Path, tmp_path: Path, call: Call, outcome) -> None:
    (tmp_path / "runs").mkdir()
    shutil.copy(database, tmp_path / "runs" / "mlflow.db")
    (given / "figures").mkdir(exist_ok=True)
    (given / "figures" / "more.png").symlink_to(secret)
    code, _, err = call("track", given)
    assert code == 0, err
    uploaded = {file.name: file for file in (tmp_path / "runs" / "mlartifacts").rglob("*.*")}
    assert {RESULT, SCORES, "severity.png"} <= set(uploaded)
    assert "more.png" not in uploaded
    outcome("result, scores and figures drawn anew are uploaded, and nothing else")


# --- what a result vouches for


def changed_digit(content: dict[str, Any]) -> None:
    content["headline"]["ap_standard"] += 0.3
    for scored in content["scores"]:
        for estimate in scored["metrics"].values():
            estimate["mean"] = estimate["mean"] and 0.9 * estimate["mean"]


READERS = ("compare", "check", "report", "share", "track", "add", "build", "verify")


@pytest.fixture
def commands(other: Path, fold_data, tmp_path: Path, tmp_path_factory) -> Callable[[str, Path], list[str | Path]]:
    """Every command that reads a result, by its name."""

    def of(command: str, folder: Path) -> list[str | Path]:
        root = tmp_path / "leaderboard"
        if command in ("build", "verify"):
            shutil.copytree(committed_folder(fold_data, tmp_path_factory), root)
            (entry,) = (root / "results").rglob("mean/*.json")
            for name, there in ((RESULT, entry), (SCORES, entry.with_suffix(".parquet"))):
                there.unlink()
                (folder / name).rename(there)
        return {
            "compare": ["compare", folder, other],
            "check": ["check", folder, "--against", other],
            "report": ["report", folder],
            "share": ["share", folder, "--output", tmp_path / "shared"],
            "track": ["track", folder],
            "add": ["leaderboard", "add", folder, "--root", root],
            "build": ["leaderboard", "build", "--root", root],
            "verify": ["leaderboard", "verify", "--root", root],
        }[command]

    return of


def exit_code(command: str) -> int:
    """What the command returns for a result that it does not read."""
    return {"check": 3, "verify": 1}.get(command, 2)


def refused_by(command: str, told: tuple[int, str, str]) -> str:
    if command == "verify":  # every fault is a line of its answer
        code, out, err = told
        assert code == 1 and "Traceback" not in err, err
        line = out.splitlines()[0].removeprefix("failed: ")
        assert not any(word in line.lower() for word in ("malloc", "memory")), line
        return line
    return refusal(told, exit_code(command))


@pytest.mark.parametrize("command", [name for name in READERS if name not in ("add", "verify")])
@pytest.mark.attempt("{command} where the scores are another model's", "compare, check, share, build: accepted")
def test_scores_are_those_of_the_result(
    command: str, given: Path, other: Path, commands, call: Call, tmp_path: Path, outcome
) -> None:
    if command == "check":
        commands("check", other)  # the baseline is read in the same way
    shutil.copy(other / SCORES, given / SCORES)
    line = refused_by(command, call(*commands(command, given)))
    assert "hash" in line or "not the scores" in line
    outcome(shown(line, tmp_path))


@pytest.mark.parametrize("sealed", [True, False], ids=["seal kept", "seal removed"])
@pytest.mark.parametrize("command", ["compare", "check", "report", "share", "track", "add"])
@pytest.mark.attempt("{command} on a result with changed digits", "check: better, exit 0; without seal: accepted")
def test_a_changed_digit_is_found(
    command: str, sealed: bool, given: Path, commands, call: Call, tmp_path: Path, outcome
) -> None:
    content = json.loads((given / RESULT).read_text())
    changed_digit(content)
    if not sealed:
        del content["seal"]
    (given / RESULT).write_text(json.dumps(content))
    line = refused_by(command, call(*commands(command, given)))
    assert "seal" in line
    outcome(shown(line, tmp_path))


# --- files that are none


NO_FILES: dict[str, Callable[[Path], None]] = {
    "a link to /dev/zero": lambda file: hostile.linked(file, "/dev/zero"),
    "a link to a file": lambda file: hostile.linked(file, file.rename(file.with_name("real"))),
    "a FIFO": hostile.fifo,
    "a folder": lambda file: (file.unlink(), file.mkdir()),
}


@pytest.mark.parametrize("kind", NO_FILES)
@pytest.mark.parametrize("name", [RESULT, SCORES])
@pytest.mark.attempt("{name} is {kind}", "/dev/zero: memory ends; FIFO: hangs; link: followed")
def test_a_file_is_a_file(name: str, kind: str, given: Path, commands, call: Call, tmp_path: Path, outcome) -> None:
    NO_FILES[kind](given / name)
    for command in ("report", "compare"):
        line = refusal(call(*commands(command, given)))
        assert name in line
    outcome(shown(line, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("command", READERS)
@pytest.mark.attempt("{command} where result.json is a FIFO", "hangs")
def test_no_command_waits_for_a_pipe(command: str, given: Path, commands, call: Call, tmp_path: Path, outcome) -> None:
    arguments = commands(command, given)
    for file in [given / RESULT, *(tmp_path / "leaderboard" / "results").rglob("mean/*.json")]:
        hostile.fifo(file)
    line = refused_by(command, call(*arguments))
    assert "not a regular file" in line
    outcome(shown(line, tmp_path))


BESIDE = {EXAMPLES: "report", "protocol.json": "share", LOGGED: "report", "people.json": "share"}


@pytest.mark.slow
@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.attempt("{name} is a FIFO", "ignored, or hangs")
def test_nothing_beside_a_result_is_waited_for(name: str, given: Path, call: Call, tmp_path: Path, outcome) -> None:
    hostile.fifo(given / name)
    edit(given, lambda content: content["cohort"].update(public=False))
    output = ["--output", tmp_path / "out"]
    code, _, err = call(BESIDE[name], given, *output, UADBENCH_SALTS=tmp_path / "salts")
    assert code in (0, 2) and "Traceback" not in err
    outcome(shown(err.strip(), tmp_path) or "ignored")


# --- few bytes that decode to many


TABLES: dict[str, Callable[[Path], None]] = {
    "a dictionary page: 52 GB": hostile.dictionary_bomb,
    "prefixes: 5 GB": hostile.prefix_bomb,
    "lists of lists": hostile.many_lists,
    "400 lists in each other": hostile.deep_lists,
    "a page of 2 GB": lambda file: hostile.larger_page(file, pyarrow.parquet.read_table(file).select([0, 3, 4])),
    "a structure": lambda file: hostile.struct_columns(file, pyarrow.parquet.read_table(file)),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.attempt("scores.parquet with {kind}", "all of it is decoded: malloc fails, or gigabytes")
def test_a_table_decodes_to_little(kind: str, given: Path, commands, call: Call, tmp_path: Path, outcome) -> None:
    TABLES[kind](given / SCORES)
    size = (given / SCORES).stat().st_size
    for command in ("compare", "report", "share"):
        line = refusal(call(*commands(command, given)))
    outcome(f"{size} bytes: {shown(line, tmp_path)}")


GIB_OF = {"case/healthy": ("|i1", (1024, 1024, 1000))}
PICTURES: dict[str, tuple[dict[str, tuple[str, tuple[int, ...]]], str]] = {
    "1 GiB of int8": ({**GIB_OF, "affine": ("<f8", (4, 4)), "brain": ("|b1", (2, 2, 2))}, "{}"),
    "500 MiB of another type": ({"affine": ("<f8", (65536, 1000)), "brain": ("|b1", (2, 2, 2))}, "{}"),
}


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.attempt("examples.npz with {kind}", "6.7 GB")
def test_pictures_decode_to_little(kind: str, given: Path, call: Call, tmp_path: Path, outcome) -> None:
    members, titles = PICTURES[kind]
    hostile.picture(given / EXAMPLES, members, titles)
    line = refusal(call("report", given))
    outcome(f"{(given / EXAMPLES).stat().st_size} bytes: {shown(line, tmp_path)}")


DOCUMENTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "3 million keys": lambda content: f"{json.dumps(content)[:-1]},{hostile.many_keys()[1:]}",
    "300 000 wrong keys": lambda content: f"{json.dumps(content)[:-1]},{hostile.many_keys(300_000)[1:]}",
    "lists in lists": lambda content: json.dumps({**content, "seed": "@"}).replace('"@"', "[" * 900 + "]" * 900),
    "a key twice": lambda content: f'{json.dumps(content)[:-1]}, "seed": {content["seed"]}}}',
}


@pytest.mark.parametrize("kind", DOCUMENTS)
@pytest.mark.attempt("result.json with {kind}", "3 million keys: 4.3 GB; a key twice: the last counts")
def test_a_document_decodes_to_little(kind: str, given: Path, commands, call: Call, tmp_path: Path, outcome) -> None:
    (given / RESULT).write_text(DOCUMENTS[kind](json.loads((given / RESULT).read_text())))
    for command in ("report", "check"):
        line = refused_by(command, call(*commands(command, given)))
    outcome(shown(line, tmp_path)[:200])


# --- text


STEERING = {"escape code": "\x1b]0;mine\x07\x1b[31m", "bidi override": "a\u202eb", "zero width": "me\u200ban"}


@pytest.mark.parametrize("kind", STEERING)
@pytest.mark.attempt("a model whose name holds a {kind}", "raw on the terminal (compare, check, verify)")
def test_a_name_is_made_of_letters(kind: str, given: Path, commands, call: Call, tmp_path: Path, outcome) -> None:
    edit(given, lambda content: content["model"].update(name=STEERING[kind]))
    for command in ("compare", "check", "report"):
        line = refused_by(command, call(*commands(command, given)))
    outcome(shown(line, tmp_path))


FORMULA = '=HYPERLINK("http://x","y")'


def called(content: dict[str, Any], table: pd.DataFrame, before: str, name: str) -> pd.DataFrame:
    """Give a test set another name, in a result and in its cases."""
    text = json.dumps(content).replace(f'"anomaly": "{before}"', f'"anomaly": {json.dumps(name)}')
    table = table.assign(anomaly=table["anomaly"].where(table["anomaly"] != before, name))
    content.clear()
    content.update({**json.loads(text), "score_hash": score_hash(table)})
    return table


@pytest.mark.attempt(
    "report on a result with escape codes in its text, and an anomaly called =HYPERLINK(...)",
    "raw codes on the page, a formula in the CSV",
)
def test_a_report_holds_no_code_and_no_formula(given: Path, call: Call, outcome) -> None:
    def change(content: dict[str, Any]) -> None:
        write_table(called(content, read_scores(given), "ad", FORMULA), given / SCORES)
        content["provenance"]["device"] = "cpu: \x1b[31m\u202e<b>fast</b>"

    edit(given, change)
    code, _, err = call("report", given, "--no-track")
    page = (given / "report" / "report.html").read_text()
    assert code == 0 and "fast" in page, err
    assert "\x1b" not in page and "\u202e" not in page and "<b>fast" not in page
    files = list((given / "report" / "tables").glob("*.csv"))
    runs = [run for file in files for row in csv.reader(file.read_text().splitlines()) for run in row]
    assert any("HYPERLINK" in run for run in runs)
    assert not [run for run in runs if run.startswith(("=", "+", "@", "\t"))]
    outcome("codes are shown as ?, the formula as text")
