"""Logging of results and reports to MLflow; a failure to log never loses a result."""

from __future__ import annotations

import http.client
import os
import re
import sqlite3
import ssl
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from uadbench.errors import InputError, UadbenchError, Unfinished
from uadbench.report.figures import FIGURES, figures_of
from uadbench.report.page import Report, write_report
from uadbench.results.anonymise import share
from uadbench.results.schema import RESULT, Result
from uadbench.results.scores import SCORES, read_scores, read_scores_of, write_scored
from uadbench.runtime.files import content_hash, require_inside, temporary_place, write_json
from uadbench.runtime.parts import part_folder, sweep
from uadbench.runtime.progress import Silent
from uadbench.runtime.reading import read_bytes, read_json
from uadbench.runtime.text import plain

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

EXPERIMENT = "uadbench"
LOGGED = "mlflow.json"
"""File in a run folder with the address, the MLflow run and the score hash that were logged."""
SCORE_HASH = "uadbench.score_hash"
"""Tag that identifies the result of an MLflow run."""
RUN_ID = re.compile(r"[0-9a-f]{32}")
LARGEST_LOGGED, LARGEST_FILE = 1 << 16, 64 << 20
"""Largest size of that file, and of a file that is uploaded, in bytes."""
PING_S = 3.0
"""Time limit for a connection to a server, or to a locked database, in seconds."""
ANSWER_S = 7
"""Time limit for one request; there are no retries, so that at most this and a ping is lost, in seconds."""
LOCKED_S = 5
"""How long to wait for a database that is locked during logging, in seconds."""
CHUNK = 1000
"""Largest number of metrics in one MLflow batch."""


OPTION, VARIABLE = "--tracking-uri", "MLFLOW_TRACKING_URI"
SQLITE = "sqlite:///"
FORMS = "sqlite:///PATH or http://HOST:PORT"


def chosen_uri(option: str | None, output: Path) -> str | None:
    """The address to log to: from the option, else the environment, else a sqlite database in `output`.

    Args:
        option: The value of `--tracking-uri`.
        output: The folder for results.

    Returns:
        The address, or None if the user wants no logging (`none`).

    Raises:
        InputError: If the address has an unknown form, or its database cannot be created.
    """
    variable = os.environ.get(VARIABLE) or None
    uri = option or variable
    if uri == "none":
        return None
    if uri is None:
        return default_uri(output)
    require_address(uri, OPTION if option else VARIABLE)
    return uri


def chosen_by(option: str | None) -> str:
    """The suffix ` (MLFLOW_TRACKING_URI)` for printing if the environment chose the address; otherwise ""."""
    return f" ({VARIABLE})" if option is None and os.environ.get(VARIABLE) else ""


def default_uri(output: Path) -> str:
    """The address of the sqlite database beside the run folders.

    Raises:
        InputError: If the folder has a name that cannot be part of an address.
    """
    return sqlite_uri(output.resolve() / "mlflow.db")


def sqlite_uri(file: Path) -> str:
    """The address of a sqlite database.

    Raises:
        InputError: If MLflow would interpret the name differently, and create another folder.
    """
    if {"?", "%"} & set(str(file)):
        raise InputError(f"{file}: MLflow's address cannot hold '?' or '%'; choose another folder, or {OPTION} none")
    return SQLITE + str(file)


def database_of(uri: str) -> Path:
    """The file of a sqlite address."""
    return Path(uri.removeprefix(SQLITE))


def require_address(uri: str, source: str = OPTION) -> None:
    """Check an address before any work is done.

    Args:
        uri: `sqlite:///PATH` or `http(s)://HOST:PORT`.
        source: The option or variable that holds it, for the message.

    Raises:
        InputError: If the address has an unknown form, or its database cannot be created.
    """
    label, otherwise = f"{source} {uri}", f"give {FORMS}, or {OPTION} none"
    if uri.startswith("sqlite"):
        path = uri.removeprefix("sqlite:").lstrip("/")
        if not uri.startswith(SQLITE) or path in ("", ":memory:"):
            meant = f"; did you mean {SQLITE}{path}?" if path not in ("", ":memory:") else ""
            raise InputError(f"{label}: not the address of a database; {otherwise}{meant}")
        sqlite_uri(database_of(uri))
        _require_writable(label, database_of(uri))
        return
    try:
        parsed = urlparse(uri)
        valid = parsed.scheme in {"http", "https"} and bool(parsed.hostname) and parsed.port != 0
    except ValueError:  # the port is not a number
        valid = False
    if not valid or any(c.isspace() for c in uri):
        raise InputError(f"{label}: not an address of MLflow; {otherwise}")


def _require_writable(label: str, file: Path) -> None:
    """Raise InputError if a database can be neither opened nor created; creates nothing."""
    if file.is_dir():
        raise InputError(f"{label}: is a folder; give the path of a file, as in {SQLITE}{file / 'mlflow.db'}")
    parent = next(folder for folder in file.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"{label}: cannot write in {parent}; give another path")


def title_of(models: Iterable[str], about: str) -> str:
    """The title of an invocation's parent run; a model from a file appears with its class, without the path."""
    names = (name.rpartition(":")[2] if ".py:" in name else name for name in models)
    return f"{', '.join(dict.fromkeys(names))} ({about})"


@dataclass
class Tracker:
    """Logs runs to MLflow as nested runs of one parent run, which is created with the first.

    Methods raise Unfinished, with one line, for any error of MLflow; the caller decides how to continue.

    Attributes:
        uri: The address to log to. Artifacts of a new sqlite database lie beside it, in `mlartifacts`.
        title: Name of the parent run.
        output: The folder with the runs. A database in it may come from someone else, together with it.

    Raises:
        InputError: If the address has an unknown form.
    """

    uri: str
    title: str
    output: Path
    _client: MlflowClient | None = field(default=None, init=False)
    _parent: str = field(default="", init=False)
    _experiment: str = field(default="", init=False)

    def __post_init__(self) -> None:
        require_address(self.uri)

    def log(self, result: Result, folder: Path) -> str:
        """Log one run with the files of its run folder; returns the id of its MLflow run."""
        with _as_unfinished(self.uri):
            _require_answer(self.uri)
            client = self._connected()
            with _staged(result, folder) as (shown, files):
                tags = {"mlflow.parentRunId": self._parent, SCORE_HASH: shown.score_hash}
                run = client.create_run(self._experiment, run_name=_run_name(shown), tags=tags)
                run_id = str(run.info.run_id)
                try:
                    _log_all(client, run_id, shown, files)
                except Exception:
                    with suppress(Exception):  # report the first error, not that MLflow cannot be updated
                        _require_answer(self.uri)
                        client.set_terminated(run_id, "FAILED")
                        client.set_terminated(self._parent, "FAILED")
                    raise
            client.set_terminated(run_id)
        write_json(folder / LOGGED, {"uri": self.uri, "run_id": run_id, "score_hash": result.score_hash})
        return run_id

    def has(self, result: Result, folder: Path) -> bool:
        """Whether this result was already logged to this address."""
        if self.uri.startswith(SQLITE) and not database_of(self.uri).is_file():
            return False
        logged = _logged(folder)
        return bool(logged.get("uri") == self.uri and logged.get("score_hash") == result.score_hash)

    def close(self, status: str = "FINISHED") -> None:
        """End the parent run, if it was created."""
        if self._client is not None and self._parent:
            with _as_unfinished(self.uri):
                _require_answer(self.uri)
                self._client.set_terminated(self._parent, status)

    def _connected(self) -> MlflowClient:
        if self._client is None:
            client = _client(self.uri)
            experiment = client.get_experiment_by_name(EXPERIMENT)
            if experiment is None:
                beside = database_of(self.uri).parent.resolve() / "mlartifacts"
                location = beside.as_uri() if self.uri.startswith(SQLITE) else None
                self._experiment = client.create_experiment(EXPERIMENT, artifact_location=location)
            else:
                self._experiment = experiment.experiment_id
            parent = client.create_run(self._experiment, run_name=self.title).info
            if _lies_in(self.uri, self.output):
                _require_artifacts_inside(self.output, str(parent.artifact_uri))
            self._parent = str(parent.run_id)
            self._client = client
        return self._client


def attach(result: Result, folder: Path, report: Report, uri: str | None = None) -> str | None:
    """Log a report to the MLflow run of a result.

    The address in the run folder is only compared, since the folder may come from an untrusted source.

    Args:
        result: The result.
        folder: Its run folder, with the id of its MLflow run.
        report: The report's files, just written. Nothing else is uploaded.
        uri: The address from the user. By default, the database in the output folder of the run, if the result was
            logged there and its artifacts are there, too.

    Returns:
        The id of the MLflow run; None if the result was never logged to this address.

    Raises:
        Unfinished: For any error of MLflow, with one line.
    """
    home = _output_of(folder)
    address = uri or (default_uri(home) if home is not None else "")
    run_id = str(_logged(folder).get("run_id"))
    if not address or not Tracker(address, "", folder).has(result, folder) or not RUN_ID.fullmatch(run_id):
        return None
    with _as_unfinished(address):
        _require_answer(address)
        client = _client(address)
        run = client.get_run(run_id)
        if run.data.tags.get(SCORE_HASH) != result.score_hash:
            raise InputError(f"run {run_id} belongs to another result")
        if uri is None and home is not None:
            _require_artifacts_inside(home, str(run.info.artifact_uri), "report")
        with _shown_to_all(result, folder, report) as files:
            client.log_artifacts(run_id, str(files), "report")
    return run_id


def was_logged(folder: Path) -> bool:
    """Whether a run folder records that its result was logged, to any address."""
    return bool(_logged(folder))


def _logged(folder: Path) -> dict[str, Any]:
    """The record of logging in a run folder; empty if there is none."""
    try:
        logged = read_json(folder / LOGGED, LARGEST_LOGGED)
    except OSError:
        return {}
    return logged if isinstance(logged, dict) else {}


def _output_of(folder: Path) -> Path | None:
    """The output folder of a run folder, which is COHORT/PROTOCOL/MODEL/RUN in it."""
    parents = folder.resolve().parents
    return parents[3] if len(parents) > 4 else None


def _lies_in(uri: str, folder: Path) -> bool:
    """Whether an address is a database in this folder."""
    return uri.startswith(SQLITE) and database_of(uri).parent.resolve() == folder.resolve()


def _require_artifacts_inside(home: Path, artifact_uri: str, *parts: str) -> None:
    """Raise InputError unless artifacts are files below the folder of their database, and none is a link.

    The database contains their location, and may come from an untrusted source together with the folder.
    """
    parsed = urlparse(artifact_uri)
    folder = Path(unquote(parsed.path), *parts)
    if parsed.scheme not in ("", "file") or parsed.netloc or (home / "mlflow.db").is_symlink():
        raise InputError(f"its artifacts lie at {artifact_uri}, not in {home}; give --tracking-uri")
    require_inside(home, folder / "x")
    if link := next((file for file in folder.rglob("*") if file.is_symlink()), None):
        raise InputError(f"{link}: is a link, and nothing is written there; remove it")


@contextmanager
def _staged(result: Result, folder: Path) -> Iterator[tuple[Result, Path]]:
    """The result to log, and a temporary folder with its files; nothing else in the run folder is uploaded.

    For a private cohort this is what may be shared, wherever the store is.
    """
    with part_folder(temporary_place()) as files:
        if result.cohort.public:
            write_scored(result, read_scores_of(result, folder / SCORES), files)
        else:
            result = share(folder, files)
        for figure in figures_of(folder):
            _copy(figure, files / FIGURES / figure.name)
        yield result, files


@contextmanager
def _shown_to_all(result: Result, folder: Path, report: Report) -> Iterator[Path]:
    """A temporary folder with only the files of a report; for a private cohort, of a report of what may be shared."""
    with part_folder(temporary_place()) as staged:
        files = staged / "report"
        if result.cohort.public:
            for file in report.files:
                _copy(file, files / file.relative_to(report.page.parent))
        else:
            shown = share(folder, staged)
            write_report(shown, read_scores(staged), folder, files, Silent())
        yield files


def _copy(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(read_bytes(file, LARGEST_FILE))


def _log_all(client: MlflowClient, run_id: str, result: Result, files: Path) -> None:
    client.log_batch(run_id, params=_params(result))
    metrics = list(_metrics(result))
    for start in range(0, len(metrics), CHUNK):
        client.log_batch(run_id, metrics=metrics[start : start + CHUNK])
    _log_dataset(client, run_id, result)
    client.log_table(run_id, _summary_table(result), "scores.json")
    for file in (files / RESULT, files / SCORES):
        client.log_artifact(run_id, str(file))
    for figure in sorted((files / FIGURES).glob("*.png")):
        client.log_artifact(run_id, str(figure), FIGURES)


def _client(uri: str) -> MlflowClient:
    """A client without telemetry, long waits and console output; variables that the user has set are kept."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(ANSWER_S))
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    import logging

    from mlflow.tracking import MlflowClient

    temporary_place()  # which MLflow needs, too, for its locks
    # after the import, which sets its own levels; both log tracebacks as errors
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if uri.startswith("sqlite"):
        _wait_less_for_locks()
        _make_database(database_of(uri))
    return MlflowClient(tracking_uri=uri)


def _make_database(file: Path) -> None:
    """Let MLflow create its tables in a temporary file, and rename it when it is complete.

    Creation takes MLflow seconds and a hundred steps; a database in which it was interrupted is unusable.
    """
    sweep(file.parent)
    if file.exists():
        return
    from mlflow.tracking import MlflowClient

    with part_folder(file.parent) as folder:
        partial = folder.resolve() / file.name
        MlflowClient(tracking_uri=sqlite_uri(partial)).search_experiments(max_results=1)
        try:
            os.link(partial, file)
        except FileExistsError:  # another process has created the database meanwhile
            return
        except OSError:  # the file system has no links
            partial.replace(file)


@cache
def _wait_less_for_locks() -> None:
    """Shorten the 20 s that MLflow lets every session of a sqlite database wait for a lock."""
    from sqlalchemy import Engine, event

    def shortened(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        return re.sub(r"(?i)(pragma busy_timeout\s*=\s*)\d+", rf"\g<1>{1000 * LOCKED_S}", statement), parameters

    event.listen(Engine, "before_cursor_execute", shortened, retval=True)


def _require_answer(uri: str) -> None:
    """Check that a server responds or a database can be written, before MLflow waits for it.

    Raises:
        OSError: If the server cannot be reached.
        http.client.HTTPException: If its response is invalid.
        sqlite3.Error: If the database is locked or damaged.
    """
    parsed = urlparse(uri)
    if parsed.scheme == "sqlite":
        file = database_of(uri)
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.is_file():
            with closing(sqlite3.connect(file, timeout=PING_S, isolation_level=None)) as database:
                database.execute("BEGIN IMMEDIATE")
                database.execute("ROLLBACK")
        return
    host = parsed.hostname or ""
    if parsed.scheme == "https":  # no data is sent; MLflow itself verifies the certificate
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        server: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, parsed.port, timeout=PING_S, context=unverified
        )
    else:
        server = http.client.HTTPConnection(host, parsed.port, timeout=PING_S)
    with closing(server) as connection:
        connection.request("GET", f"{parsed.path.rstrip('/')}/health")
        connection.getresponse()


@contextmanager
def _as_unfinished(uri: str) -> Iterator[None]:
    try:
        yield
    except UadbenchError as error:
        raise Unfinished(f"MLflow at {uri}: {error}") from error
    except Exception as error:  # sqlite, http and MLflow have different exceptions; scores are already stored
        raise Unfinished(f"MLflow at {uri}: {type(error).__name__}: {' '.join(str(error).split())[:200]}") from error


def _run_name(result: Result) -> str:
    return f"{result.model.name} {result.protocol.name} fold {result.fold} seed {result.seed}"


def _params(result: Result) -> list[Any]:
    from mlflow.entities import Param

    values: dict[str, object] = {
        "model": result.model.name,
        "cohort": result.cohort.name,
        "protocol": result.protocol.name,
        "protocol_hash": result.protocol.hash,
        "ranked": result.protocol.ranked,
        "fold": result.fold,
        "seed": result.seed,
        "device": result.provenance.device,
        "testset": result.testset.recipe,
        **{f"option.{name}": value for name, value in result.model.options.items()},
    }
    return [Param(name, plain(str(value))) for name, value in values.items()]


def _metrics(result: Result) -> Iterator[Metric]:
    """Yield all metrics; their step is the severity in percent, or the epoch for the training curve."""
    import time

    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    for name, value in result.headline.model_dump(exclude={"severities", "ap_interval"}).items():
        if value is not None:
            yield Metric(f"headline.{name}", value, now, 0)
    for name, value in result.cost.model_dump().items():
        if value is not None:
            yield Metric(f"cost.{name}", float(value), now, 0)
    yield from _score_metrics(result, now)
    if result.training:
        for epoch, losses in enumerate(result.training.losses):
            for name, value in losses.items():
                yield Metric(f"training.{name}", value, now, epoch)
        for epoch, error in enumerate(result.training.validation_mse):
            if error is not None:
                yield Metric("training.validation_mse", error, now, epoch)


def _score_metrics(result: Result, now: int) -> Iterator[Metric]:
    from mlflow.entities import Metric

    for scored in result.scores:
        for name, estimate in scored.metrics.items():
            if estimate.mean is not None:
                yield Metric(f"{scored.anomaly}.{name}", estimate.mean, now, _percent(scored.severity))
    for testset in result.detection.testsets:
        for name in ("auroc", "sensitivity", "matched"):
            value = getattr(testset, name).value
            if value is not None:
                yield Metric(f"{testset.anomaly}.subject.{name}", value, now, _percent(testset.severity))


def _percent(severity: float | None) -> int:
    return round(100 * (severity or 0.0))


def _log_dataset(client: MlflowClient, run_id: str, result: Result) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    cohort = result.cohort
    profile = f'{{"train": {cohort.train}, "validation": {cohort.validation}, "test": {cohort.test}}}'
    digest = content_hash([cohort.name, cohort.version, cohort.split])[:16]
    dataset = Dataset(
        f"{cohort.name} {cohort.version}", digest, "uadbench", f'{{"cohort": "{cohort.name}"}}', profile=profile
    )
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training and evaluation")])])


def _summary_table(result: Result) -> dict[str, list[Any]]:
    """One row per test set and metric, in the form in which MLflow shows tables."""
    rows = [
        (scored.anomaly, scored.severity, name, estimate.mean, estimate.sd, estimate.n)
        for scored in result.scores
        for name, estimate in scored.metrics.items()
    ]
    names = ("anomaly", "severity", "metric", "mean", "sd", "n")
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}
