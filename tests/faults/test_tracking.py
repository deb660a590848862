"""MLflow in trouble: little time lost, no score, one line, and `uadbench track` logs later."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.faults.conftest import Call, hashes_of, run_of
from uadbench import tracking
from uadbench.runtime.profiling import clock

pytestmark = pytest.mark.slow


@pytest.fixture
def logged_in_vain(
    done: Path,
    logged_once: tuple[str, float],
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    undisturbed,
):
    """Run two runs with a tracking address that does not work; returns the seconds that MLflow took.

    It is waited for as long as is promised, and computes meanwhile, which a machine does as fast as it can.
    """
    monkeypatch.chdir(tmp_path)
    most_s = tracking.PING_S + max(tracking.ANSWER_S, tracking.LOCKED_S) + 3 * logged_once[1]

    def run(uri: str, *, untracked: tuple[str, ...] = ("identity", "mean")) -> float:
        before = clock.seconds.get("MLflow", 0.0)
        models = ("--model", "identity", "--model", "mean")
        code, out, err = call("run", "--protocol", "smoke", *models, "--output", done, "--tracking-uri", uri, "--json")
        lost = clock.seconds["MLflow"] - before
        assert code == 0, err
        assert len(json.loads(out)["results"]) == 2 and hashes_of(done) == hashes_of(undisturbed)
        (line,) = [line for line in err.splitlines() if "MLflow" in line]
        assert line.startswith(f"warning: MLflow at {uri}: ") and "Traceback" not in err
        assert f"log them later with: uadbench track {run_of(done, untracked[0])} --tracking-uri {uri}" in line
        logged = {model for model in ("identity", "mean") if (run_of(done, model) / tracking.LOGGED).is_file()}
        assert logged == {"identity", "mean"} - set(untracked)
        assert lost < most_s
        return lost

    return run


def track_later(done: Path, uri: str, call: Call) -> None:
    """Log what was not logged; the database then has its scores."""
    from mlflow.tracking import MlflowClient

    code, out, err = call("track", run_of(done, "mean"), "--tracking-uri", uri)
    assert code == 0, err
    run = MlflowClient(uri).get_run(out.split()[-1])
    assert run.data.tags["uadbench.score_hash"] == hashes_of(done)["mean"] and run.info.status == "FINISHED"


LATER = "; scores safe, the run's exit code 0, one line; 'uadbench track' logs later"


@pytest.mark.fault("MLflow server dead from the start")
def test_a_dead_server(logged_in_vain, outcome) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    lost = logged_in_vain(f"http://127.0.0.1:{port}")
    outcome(f"{lost:.1f} s lost{LATER}")


@pytest.mark.fault("MLflow server that takes connections and never answers")
def test_a_server_that_hangs_from_the_start(logged_in_vain, done: Path, database: str, call: Call, outcome) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        lost = logged_in_vain(f"http://127.0.0.1:{listening.getsockname()[1]}")
    track_later(done, database, call)
    outcome(f"{lost:.1f} s lost{LATER}")


class Server(ThreadingHTTPServer):
    """Answers like MLflow's until a request comes whose path ends in `last`, for the `times`-th time."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, how: str, last: str, times: int, artifacts: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.how, self.last, self.times, self.artifacts = how, last, times, artifacts
        self.over = threading.Event()
        self.released = threading.Event()

    def reached(self, path: str) -> bool:
        """Whether the end has come."""
        if path.partition("?")[0].endswith(self.last):
            self.times -= 1
        if self.times <= 0 and not self.over.is_set():
            self.over.set()
            if self.how == "dies":
                threading.Thread(target=self.end).start()
        return self.over.is_set()

    def end(self) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are no news; whatever else it was is printed."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Answers(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.reached(self.path):
            if self.server.how == "hangs":
                self.server.released.wait(60)
            self.close_connection = True
            return
        run = {"info": {"run_id": "7", "experiment_id": "1", "status": "RUNNING"}, "data": {}}
        run["info"]["artifact_uri"] = str(self.server.artifacts)
        known = {
            "experiments/get-by-name": {"experiment": {"experiment_id": "1", "name": "uadbench"}},
            "runs/create": {"run": run},
            "runs/get": {"run": run},
            "runs/update": {"run_info": run["info"]},
        }
        name = self.path.partition("?")[0].partition("/mlflow/")[2]
        body = json.dumps(known.get(name, {})).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = do_PUT = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[object]:
    opened: list[Server] = []

    def serve(how: str, last: str, times: int) -> Server:
        opened.append(Server(how, last, times, tmp_path / "artifacts"))
        threading.Thread(target=opened[-1].serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return opened[-1]

    yield serve
    for each in opened:
        each.end()


@pytest.mark.parametrize(
    ("how", "moment", "last", "times", "untracked"),
    [
        ("dies", "while a run is logged", "log-batch", 2, ("identity", "mean")),
        ("hangs", "while a run is logged", "log-batch", 2, ("identity", "mean")),
        ("dies", "before the second run", "runs/create", 3, ("mean",)),  # the sweep's own run is the first
    ],
)
@pytest.mark.fault("MLflow server {how} {moment}")
def test_a_server_in_mid_run(
    how: str, moment: str, last: str, times: int, untracked: tuple[str, ...], logged_in_vain, server, outcome
) -> None:
    opened = server(how, last, times)
    lost = logged_in_vain(f"http://127.0.0.1:{opened.server_port}", untracked=untracked)
    assert opened.over.is_set()
    outcome(f"{lost:.1f} s lost{LATER}")


@pytest.fixture
def locked(database: str) -> Iterator[object]:
    """Another process holds the database, for itself alone."""
    program = (
        "import sqlite3, sys\n"
        "database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)\n"
        "database.execute('BEGIN EXCLUSIVE')\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    holders: list[subprocess.Popen[str]] = []

    def hold() -> None:
        command = [sys.executable, "-c", program, database.removeprefix("sqlite:///")]
        holders.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        assert holders[-1].stdout is not None and holders[-1].stdout.readline() == "held\n"

    def release() -> None:
        for holder in holders:
            holder.communicate("")
        holders.clear()

    yield hold, release
    release()


@pytest.mark.fault("kill -9 while MLflow's sqlite database is made")
def test_a_database_that_is_not_whole(nursery, done: Path, call: Call, tmp_path: Path, outcome) -> None:
    dies = (
        "import os, signal, sqlalchemy\n"
        "altered = []\n"
        "def count(connection, cursor, statement, *rest):\n"
        "    if 'ALTER TABLE' in statement:\n"
        "        altered.append(statement)\n"
        "    if len(altered) == 5:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "sqlalchemy.event.listen(sqlalchemy.Engine, 'after_cursor_execute', count)\n"
    )
    command = ("run", "--protocol", "smoke", "--model", "mean", "--output", done)
    assert nursery.start(*command, before=dies).wait() == -signal.SIGKILL
    code, _, err = nursery.start(*command).ended()
    assert code == 0 and "warning" not in err, err
    assert (run_of(done, "mean") / tracking.LOGGED).is_file()
    outcome("the same command makes it anew, and logs")


@pytest.mark.parametrize("moment", ["from the start", "while a run is logged"])
@pytest.mark.fault("sqlite database locked by another process {moment}")
def test_a_locked_database(
    moment: str, locked, logged_in_vain, done: Path, database: str, call: Call, monkeypatch, outcome
) -> None:
    hold, release = locked
    if moment == "from the start":
        hold()
    with monkeypatch.context() as patched:
        if moment != "from the start":
            plain = tracking._log_dataset
            patched.setattr(tracking, "_log_dataset", lambda *given: (hold(), plain(*given)))
        lost = logged_in_vain(database)
    release()
    track_later(done, database, call)
    outcome(f"{lost:.1f} s lost{LATER}")
