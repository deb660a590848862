"""MLflow: a copy of results, logged in one go; never the reason that a score is lost."""

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
"""In a run folder: where it was logged, and as which score hash."""
SCORE_HASH = "uadbench.score_hash"
"""The tag of a run by which its result is known."""
RUN_ID = re.compile(r"[0-9a-f]{32}")
LARGEST_LOGGED, LARGEST_FILE = 1 << 16, 64 << 20
"""Bytes of that file, and of a file that is uploaded."""
PING_S = 3.0
"""How long a server may take to say that it is there, or a database to be free."""
ANSWER_S = 7
"""How long a server may take for one answer; it is not asked twice, so that no more than this and a ping is lost."""
LOCKED_S = 5
"""How long a database may be locked by others in the middle of logging."""
CHUNK = 1000
"""The most metrics that MLflow takes in one batch."""


OPTION, VARIABLE = "--tracking-uri", "MLFLOW_TRACKING_URI"
SQLITE = "sqlite:///"
FORMS = "sqlite:///PATH or http://HOST:PORT"


def chosen_uri(given: str | None, output: Path) -> str | None:
    """Where results are logged: what the option says, else the environment, else a sqlite database in `output`.

    Args:
        given: The value of `--tracking-uri`.
        output: The folder for results.

    Returns:
        An address, or None where the user wants no logging (`none`).

    Raises:
        InputError: For an address of no known form, or a database that cannot lie where it says.
    """
    variable = os.environ.get(VARIABLE) or None
    named = given or variable
    if named == "none":
        return None
    if named is None:
        return default_uri(output)
    require_address(named, OPTION if given else VARIABLE)
    return named


def chosen_by(given: str | None) -> str:
    """` (MLFLOW_TRACKING_URI)` where the environment chose the address, else nothing: to be printed behind it."""
    return f" ({VARIABLE})" if given is None and os.environ.get(VARIABLE) else ""


def default_uri(output: Path) -> str:
    """The sqlite database beside the run folders.

    Raises:
        InputError: For a folder whose name an address cannot hold.
    """
    return sqlite_uri(output.resolve() / "mlflow.db")


def sqlite_uri(file: Path) -> str:
    """The address of a sqlite database.

    Raises:
        InputError: For a name that MLflow takes for something else: it would make another folder beside it.
    """
    if {"?", "%"} & set(str(file)):
        raise InputError(f"{file}: MLflow's address cannot hold '?' or '%'; choose another folder, or {OPTION} none")
    return SQLITE + str(file)


def database_of(uri: str) -> Path:
    """The file that a sqlite address names."""
    return Path(uri.removeprefix(SQLITE))


def require_address(uri: str, source: str = OPTION) -> None:
    """Refuse an address before any work is done for it.

    Args:
        uri: `sqlite:///PATH` or `http(s)://HOST:PORT`.
        source: The option or variable that holds it, for the message.

    Raises:
        InputError: For another form, or a database that cannot lie where it says.
    """
    label, otherwise = f"{source} {uri}", f"give {FORMS}, or {OPTION} none"
    if uri.startswith("sqlite"):
        path = uri.removeprefix("sqlite:").lstrip("/")
        if not uri.startswith(SQLITE) or path in ("", ":memory:"):
            meant = f"; did you mean {SQLITE}{path}?" if path not in ("", ":memory:") else ""
            raise InputError(f"{label}: not the address of a database; {otherwise}{meant}")
        sqlite_uri(database_of(uri))
        _require_place(label, database_of(uri))
        return
    try:
        parsed = urlparse(uri)
        known = parsed.scheme in {"http", "https"} and bool(parsed.hostname) and parsed.port != 0
    except ValueError:  # a port that is no number
        known = False
    if not known or any(c.isspace() for c in uri):
        raise InputError(f"{label}: not an address of MLflow; {otherwise}")


def _require_place(label: str, file: Path) -> None:
    """Raises InputError where a database can be neither opened nor made; makes nothing."""
    if file.is_dir():
        raise InputError(f"{label}: is a folder; give the path of a file, as in {SQLITE}{file / 'mlflow.db'}")
    place = next(folder for folder in file.absolute().parents if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"{label}: cannot write in {place}; give another path")


def title_of(models: Iterable[str], about: str) -> str:
    """What the run of an invocation is called; a model from a file is called by its class, not by the file's path."""
    names = (name.rpartition(":")[2] if ".py:" in name else name for name in models)
    return f"{', '.join(dict.fromkeys(names))} ({about})"


@dataclass
class Tracker:
    """One MLflow parent run, begun with the first run, into which runs are logged as nested runs.

    Making one raises InputError for an address of no known kind. Its methods raise Unfinished, in one
    line, for whatever MLflow may raise: the caller decides what to say.

    Attributes:
        uri: The address. Artifacts lie beside a sqlite database, in `mlartifacts`, if its experiment is new.
        title: What the parent run is called.
        output: The folder with the runs. A database in it may have come from anybody together with it.
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
        """Log one run with the files of its run folder; returns the id of its run."""
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
                    with suppress(Exception):  # why it failed is told, and not that this cannot be told either
                        _require_answer(self.uri)
                        client.set_terminated(run_id, "FAILED")
                        client.set_terminated(self._parent, "FAILED")
                    raise
            client.set_terminated(run_id)
        write_json(folder / LOGGED, {"uri": self.uri, "run_id": run_id, "score_hash": result.score_hash})
        return run_id

    def has(self, result: Result, folder: Path) -> bool:
        """Whether this very result was logged here already."""
        if self.uri.startswith(SQLITE) and not database_of(self.uri).is_file():
            return False
        logged = _logged(folder)
        return bool(logged.get("uri") == self.uri and logged.get("score_hash") == result.score_hash)

    def close(self, status: str = "FINISHED") -> None:
        """End the parent run, if one was begun."""
        if self._client is not None and self._parent:
            with _as_unfinished(self.uri):
                _require_answer(self.uri)
                self._client.set_terminated(self._parent, status)

    def _connected(self) -> MlflowClient:
        if self._client is None:
            client = _client(self.uri)
            known = client.get_experiment_by_name(EXPERIMENT)
            if known is None:
                beside = database_of(self.uri).parent.resolve() / "mlartifacts"
                location = beside.as_uri() if self.uri.startswith(SQLITE) else None
                self._experiment = client.create_experiment(EXPERIMENT, artifact_location=location)
            else:
                self._experiment = known.experiment_id
            parent = client.create_run(self._experiment, run_name=self.title).info
            if _lies_in(self.uri, self.output):
                _require_artifacts_inside(self.output, str(parent.artifact_uri))
            self._parent = str(parent.run_id)
            self._client = client
        return self._client


def attach(result: Result, folder: Path, report: Report, uri: str | None = None) -> str | None:
    """Log a report into the MLflow run of a result.

    What the run folder tells of the address is only compared: it may have come from anybody.

    Args:
        result: The result.
        folder: Its run folder, which tells of the run's id.
        report: The report's files, just written. Nothing else is uploaded.
        uri: The address that the user gave. Default: the database in the output folder of the run, if it was logged
            there, and its artifacts lie there, too.

    Returns:
        The run's id; None where the result was never logged to this address.

    Raises:
        Unfinished: In one line, for whatever MLflow may raise.
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
            raise InputError(f"run {run_id} is of another result")
        if uri is None and home is not None:
            _require_artifacts_inside(home, str(run.info.artifact_uri), "report")
        with _shown_to_all(result, folder, report) as files:
            client.log_artifacts(run_id, str(files), "report")
    return run_id


def was_logged(folder: Path) -> bool:
    """Whether a run folder says that it was logged, to whatever address."""
    return bool(_logged(folder))


def _logged(folder: Path) -> dict[str, Any]:
    """What a run folder tells of where it was logged; nothing where it does not."""
    try:
        logged = read_json(folder / LOGGED, LARGEST_LOGGED)
    except OSError:
        return {}
    return logged if isinstance(logged, dict) else {}


def _output_of(folder: Path) -> Path | None:
    """The output folder of a run folder, which is COHORT/PROTOCOL/MODEL/CELL in it."""
    parents = folder.resolve().parents
    return parents[3] if len(parents) > 4 else None


def _lies_in(uri: str, folder: Path) -> bool:
    """Whether an address is that of a database in a folder."""
    return uri.startswith(SQLITE) and database_of(uri).parent.resolve() == folder.resolve()


def _require_artifacts_inside(home: Path, artifact_uri: str, *parts: str) -> None:
    """Raise InputError unless artifacts are files below the folder in which their database lies, and none is a link.

    The database says where they are, and may have come from anybody together with the folder.
    """
    parsed = urlparse(artifact_uri)
    folder = Path(unquote(parsed.path), *parts)
    if parsed.scheme not in ("", "file") or parsed.netloc or (home / "mlflow.db").is_symlink():
        raise InputError(f"its artifacts lie at {artifact_uri}, not in {home}; give --tracking-uri")
    require_inside(home, folder / "x")
    if link := next((file for file in folder.rglob("*") if file.is_symlink()), None):
        raise InputError(f"{link}: is a link; nothing is written there: remove it")


@contextmanager
def _staged(result: Result, folder: Path) -> Iterator[tuple[Result, Path]]:
    """What is logged, and a folder with its files, written anew: nothing else in the run folder is uploaded.

    Of a private cohort it is what may be shared, wherever the store is.
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
    """A folder with the files of a report alone; for a private cohort with a report of what may be shared."""
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
    """A client that does not phone home, wait for minutes, or talk. What the user's environment sets is left."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(ANSWER_S))
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    import logging

    from mlflow.tracking import MlflowClient

    temporary_place()  # which MLflow needs, too, for its locks
    for name in ("mlflow", "alembic"):  # after the import, which sets its own levels; a traceback is an error to them
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if uri.startswith("sqlite"):
        _wait_less_for_locks()
        _make_database(database_of(uri))
    return MlflowClient(tracking_uri=uri)


def _make_database(file: Path) -> None:
    """Let MLflow make its tables in a file that gets its name when it is whole.

    That takes MLflow seconds and a hundred steps; a database in which it was killed on the way never works again.
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
        except FileExistsError:  # another process was faster, and its database is in use
            return
        except OSError:  # a file system without links
            partial.replace(file)


@cache
def _wait_less_for_locks() -> None:
    """MLflow tells every session of a sqlite database to wait 20 s for a lock; shorten what it says."""
    from sqlalchemy import Engine, event

    def shortened(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        return re.sub(r"(?i)(pragma busy_timeout\s*=\s*)\d+", rf"\g<1>{1000 * LOCKED_S}", statement), parameters

    event.listen(Engine, "before_cursor_execute", shortened, retval=True)


def _require_answer(uri: str) -> None:
    """Ask a server whether it answers at all, and a database whether it may be written, before MLflow waits for them.

    Raises:
        OSError: Http.client.HTTPException or sqlite3.Error.
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
    if parsed.scheme == "https":  # nothing is told; whether it is who it says is for MLflow to ask
        anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        server: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, parsed.port, timeout=PING_S, context=anybody
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
    except Exception as error:  # sqlite, http and MLflow each raise their own; scores are safe on disk already
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
    """Severity in percent is the step of the scores; the epoch is the step of the training curve."""
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
    for found in result.detection.testsets:
        for name, bounded in (("auroc", found.auroc), ("sensitivity", found.sensitivity)):
            if bounded.value is not None:
                yield Metric(f"{found.anomaly}.subject.{name}", bounded.value, now, _percent(found.severity))


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
    """One row a test set and metric, as MLflow shows tables."""
    rows = [
        (scored.anomaly, scored.severity, name, estimate.mean, estimate.sd, estimate.n)
        for scored in result.scores
        for name, estimate in scored.metrics.items()
    ]
    names = ("anomaly", "severity", "metric", "mean", "sd", "n")
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}
