"""The table `fault -> outcome`, undisturbed runs to compare with, a small disk, and processes that may be killed."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from rich.table import Table

from tests.faults.given import Given, make_given
from tests.faults.processes import Nursery
from uadbench.cli.main import main
from uadbench.results.schema import read_result
from uadbench.results.scores import has_scores

MINE = Path(__file__).with_name("mine.py")
GAIN = f"{MINE}:Gain"
SMOKE = ("run", "--protocol", "smoke", "--tracking-uri", "none")
SAVE_AT_ONCE = "from uadbench.runs import keys; keys.SAVE_EVERY_S = 0.0"
"""All that a run puts aside while it is worked on is put aside after every epoch, and every scan."""

FAULT, OUTCOME = "fault", "outcome"
KILLED, FULL = "killed", "full"
TABLES = {
    KILLED: ("command", "kill points", "all whole", "some whole", "all absent", "works again"),
    FULL: ("command", "full disks", "for want of room not written", "old lost", "works with room"),
}
"""Tables of commands that write, by the names under which tests record their rows."""
ENDED = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault(text): what is done to uadbench; {name} stands for a parameter's value")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    marker = item.get_closest_marker(FAULT)
    if marker is not None and (report.when == "call" or not report.passed):
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        report.user_properties.append((FAULT, marker.args[0].format(**parameters)))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name, columns in TABLES.items():
        print_table(terminalreporter, name, columns)
    reports = [each for kind in ENDED for each in terminalreporter.getreports(kind) if told(each, FAULT)]
    if not reports:
        return
    table = Table("fault", "outcome", show_lines=True)
    for report in sorted(reports, key=lambda report: report.location[:2]):
        table.add_row(told(report, FAULT), seen(report))
    printed = io.StringIO()
    Console(file=printed, width=max(120, shutil.get_terminal_size().columns), markup=False).print(table)
    terminalreporter.section("fault -> outcome")
    terminalreporter.write(printed.getvalue())


def print_table(terminalreporter: pytest.TerminalReporter, name: str, columns: tuple[str, ...]) -> None:
    """The rows that tests have recorded under a name, each a JSON list."""
    rows = [json.loads(text) for each in terminalreporter.getreports("passed") if (text := told(each, name))]
    if rows:
        table = Table(*columns)
        for row in rows:
            table.add_row(*row)
        printed = io.StringIO()
        Console(file=printed, width=max(120, shutil.get_terminal_size().columns), markup=False).print(table)
        terminalreporter.section(f"{columns[0]} -> {columns[-1]}")
        terminalreporter.write(printed.getvalue())


def told(report: pytest.TestReport, name: str) -> str:
    """A property of a report; "" where it has none."""
    return str(dict(getattr(report, "user_properties", ())).get(name, ""))


def seen(report: pytest.TestReport) -> str:
    """What came of a test, in words."""
    if report.passed:
        return told(report, OUTCOME)
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        return f"not tried: {reason.removeprefix('Skipped: ')}"
    crash = getattr(report.longrepr, "reprcrash", None)
    why = (crash.message if crash else str(report.longrepr)).splitlines()
    return f"FAILED: {why[0] if why else ''}"


@pytest.fixture
def outcome(record_property) -> Callable[[str], None]:
    """Say what was seen, for the table."""
    return lambda text: record_property(OUTCOME, text)


@pytest.fixture(scope="session")
def undisturbed(trained, tmp_path_factory) -> Path:
    """The output folder of runs to which nothing happened: vae3d, mean, identity, and Gain. Not to be written to."""
    output = tmp_path_factory.mktemp("undisturbed") / "runs"
    shutil.copytree(trained[1], output)
    models = [word for name in ("vae3d", "mean", "identity", GAIN) for word in ("--model", name)]
    with pytest.raises(SystemExit) as stopped:
        main([*SMOKE, *models, "--output", str(output)])
    assert not stopped.value.code
    return output


@pytest.fixture(scope="session")
def database(logged_once) -> str:
    """The address of a sqlite database of MLflow, with a run in it."""
    return logged_once[0]


@pytest.fixture(scope="session")
def logged_once(undisturbed, tmp_path_factory) -> tuple[str, float]:
    """A database with a run in it; and how long MLflow took on this machine to make it, and to log."""
    folder = tmp_path_factory.mktemp("database")
    uri = f"sqlite:///{folder}/mlflow.db"
    run = shutil.copytree(run_of(undisturbed, "identity"), folder / "run")
    started = time.monotonic()
    with pytest.MonkeyPatch.context() as patched, pytest.raises(SystemExit) as stopped:
        patched.chdir(folder)
        main(["track", str(run), "--tracking-uri", uri])
    assert not stopped.value.code
    return uri, time.monotonic() - started


@pytest.fixture
def done(undisturbed, tmp_path) -> Path:
    """A copy of the undisturbed runs, to which something may happen."""
    return shutil.copytree(undisturbed, tmp_path / "done")


def run_of(output: Path, model: str) -> Path:
    """The run folder of a model."""
    (found,) = (output / "phantom" / "smoke" / model).glob("fold0-seed0-*")
    return found


def hashes_of(output: Path) -> dict[str, str]:
    """The score hash of each model that has a result; its scores are there, and have that hash."""
    found = {}
    for file in output.glob("phantom/smoke/*/fold*/result.json"):
        result = read_result(file)
        assert has_scores(file.parent, result.score_hash), file.parent
        found[result.model.name] = result.score_hash
    return found


def require_whole(folder: Path) -> None:
    """Fail for a file that is torn; what a killed write has left lies apart, in a folder `.part-...`."""
    readers = {".json": json.loads, ".safetensors": _read_tensors, ".parquet": pd.read_parquet, ".npz": np.load}
    for file in folder.rglob("*"):
        if file.is_file() and file.suffix in readers and not any(p.startswith(".part-") for p in file.parts):
            readers[file.suffix](file.read_text(encoding="utf-8") if file.suffix == ".json" else file)


def _read_tensors(file: Path) -> None:
    from safetensors.torch import load_file

    load_file(file)


@pytest.fixture(scope="session")
def nursery(own_cache, fold_data, tmp_path_factory) -> Iterator[Nursery]:
    """Real processes that need not import everything anew. They share the cache, in which all scans are."""
    fold_data.scans("train")
    with Nursery(tmp_path_factory.mktemp("processes")) as opened:
        yield opened


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys) -> Call:
    """Run the command line in this process: exit code, stdout, stderr."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return int(stopped.value.code or 0), printed.out, printed.err

    return run


class Disk:
    """A file system of its own, as small as one likes."""

    def __init__(self, folder: Path, kib: int) -> None:
        self.folder = folder
        self._mount("-t", "tmpfs", "-o", f"size={kib}k", "tmpfs")

    def resize(self, kib: int) -> None:
        self._mount("-o", f"remount,size={kib}k")

    def read_only(self, yes: bool = True) -> None:
        self._mount("-o", f"remount,{'ro' if yes else 'rw'}")

    @property
    def used_kib(self) -> int:
        state = os.statvfs(self.folder)
        return (state.f_blocks - state.f_bfree) * state.f_frsize // 1024

    def _mount(self, *arguments: str) -> None:
        subprocess.run(["mount", *arguments, str(self.folder)], check=True, capture_output=True, text=True)


@pytest.fixture
def disk(tmp_path) -> Iterator[Callable[[int], Disk]]:
    """A disk of so many KiB; the test is skipped, with the reason, where nothing may be mounted."""
    mounted: list[Disk] = []

    def make(kib: int) -> Disk:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        try:
            mounted.append(Disk(folder, kib))
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no tmpfs can be mounted here ({' '.join(str(getattr(error, 'stderr', error)).split())})")
        return mounted[-1]

    yield make
    for each in mounted:
        subprocess.run(["umount", "-l", str(each.folder)], check=True, capture_output=True)


def one_error(err: str) -> str:
    """The error in what was printed to stderr: one line, the last, and no traceback."""
    lines = err.strip().splitlines()
    assert "Traceback" not in err, err
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:], err
    return lines[-1]


@pytest.fixture(scope="session")
def given(fold_data, nursery, tmp_path_factory) -> Given:
    """What commands that write are given."""
    return make_given(tmp_path_factory.mktemp("given"), fold_data, tmp_path_factory)
