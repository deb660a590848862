"""Homes that are missing, folders that may not be written, and file systems without locks.

Everything works, or one line names the variable to set.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.faults.conftest import SMOKE, hashes_of, one_error, run_of
from tests.faults.environments import in_shell
from tests.faults.writers import COARSE
from uadbench import tracking

pytestmark = pytest.mark.slow

WITHOUT_LOCKS = """
import errno, fcntl, os

def flock(*_):
    raise OSError(errno.{error}, os.strerror(errno.{error}))

fcntl.flock = flock
"""
NOBODY = "import os; os.environ.pop('HOME', None); os.environ.pop('{variable}', None); os.getuid = lambda: 54321"
"""A user whom the system does not know, as in a container, without HOME."""


@pytest.mark.fault("HOME is a file, or in /proc: {home}")
@pytest.mark.parametrize("home", ["a file", "/proc/1"])
def test_a_home_that_cannot_be_written(home: str, nursery, undisturbed, tmp_path: Path, outcome) -> None:
    place = Path(home) if home.startswith("/") else tmp_path / home
    if not place.exists():
        place.write_text("")
    command = (*SMOKE, "--model", "mean", "--output", tmp_path / "runs")
    unset = "import os; os.environ.pop('UADBENCH_CACHE', None); os.environ.pop('XDG_CACHE_HOME', None)"
    code, _, err = nursery.start(*command, before=unset, HOME=place).ended()
    assert code == 2 and str(place) in one_error(err) and "set UADBENCH_CACHE" in one_error(err)
    code, _, err = nursery.start(*command, HOME=place).ended()
    assert code == 0, err
    assert hashes_of(tmp_path / "runs")["mean"] == hashes_of(undisturbed)["mean"]
    outcome("one line that names UADBENCH_CACHE; with it the run is as ever")


@pytest.mark.fault("no HOME, and a user whom the system does not know")
def test_no_home_at_all(nursery, tmp_path: Path, outcome) -> None:
    code, _, err = nursery.start(
        *SMOKE, "--model", "mean", "--output", tmp_path / "runs",
        before=f"{NOBODY.format(variable='UADBENCH_CACHE')}; os.chdir({str(tmp_path)!r})",
    ).ended()  # fmt: skip
    assert code == 2 and "set UADBENCH_CACHE" in one_error(err)
    assert not (tmp_path / "~").exists(), "a folder that is called like the sign for home"
    outcome("one line that names UADBENCH_CACHE; no folder '~' is made")


@pytest.mark.parametrize("error", ["ENOLCK", "ENOSYS"])
@pytest.mark.fault("a file system without locks ({error})")
def test_a_file_system_without_locks(error: str, nursery, undisturbed, tmp_path: Path, outcome) -> None:
    before, cache = WITHOUT_LOCKS.format(error=error), tmp_path / "cache"
    command = (*SMOKE, "--model", "mean", "--output", tmp_path / "runs")
    code, _, err = nursery.start(*command, before=before, UADBENCH_CACHE=cache).ended()
    assert code == 3 and "cannot lock files); set UADBENCH_CACHE" in one_error(err)
    code, _, err = nursery.start(*command, before=before).ended()  # the cache is full, the output has no locks
    assert code == 0, err
    assert hashes_of(tmp_path / "runs")["mean"] == hashes_of(undisturbed)["mean"]
    assert nursery.start(*command, UADBENCH_CACHE=cache).wait() == 0, "nothing is left that blocks the next"
    outcome("filling a cache: one line that names UADBENCH_CACHE, and no marker is left that blocks; output: as ever")


@pytest.fixture
def powerless() -> str:
    """Words before a command that keep folders from being written whose permissions say so."""
    if os.getuid():
        return ""
    if shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere, and there is no setpriv to take that away")
    return "setpriv --bounding-set=-dac_override --inh-caps=-dac_override "


@pytest.mark.fault("a user who may write neither in HOME nor in the working folder; TMPDIR is missing")
def test_a_user_who_may_write_almost_nowhere(powerless: str, done: Path, tmp_path: Path, outcome) -> None:
    """As a container is started with another user's id: no library says what it misses in HOME."""
    home, uri = tmp_path / "home", f"sqlite:///{tmp_path}/mlflow.db"
    home.mkdir()
    home.chmod(0o555)
    changed = dict.fromkeys(("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR"))
    changed |= {"HOME": home, "TMPDIR": tmp_path / "missing"}
    track = f"uadbench track '{run_of(done, 'mean')}' --tracking-uri '{uri}'"
    code, out, err = in_shell(track, home, powerless, **changed)
    assert (code, err) == (0, ""), err
    assert "logged to" in out and list((tmp_path / "mlartifacts").rglob("scores.parquet"))
    assert not list(home.iterdir())
    outcome("logged, with nothing else on stderr; artifacts lie beside the database")


@pytest.mark.fault("no folder for the secret of a cohort can be written: cohort export, cohort check")
def test_no_place_for_a_secret(nursery, tmp_path: Path, outcome) -> None:
    tree, salts = tmp_path / "tree", "/proc/1/salts"
    export = ("cohort", "export", tree, "--participants", "1", "--baseline")
    code, out, err = nursery.start(*export, before=COARSE, UADBENCH_SALTS=salts).ended()
    assert code == 0 and "error" not in err, err
    assert f"uadbench cohort check {tree}" in out
    code, _, err = nursery.start("cohort", "check", tree, UADBENCH_SALTS=salts).ended()
    assert code == 3 and salts in one_error(err) and "set UADBENCH_SALTS" in one_error(err)
    outcome("the tree is written, which needs none; the check names UADBENCH_SALTS in one line")


NO_TEMPORARY = "import tempfile; tempfile.tempdir, tempfile._candidate_tempdir_list = None, lambda: ['/missing']"


@pytest.mark.fault("no folder for temporary files can be written: {command}")
@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("test-model mean", 2),
        ("track {run} --tracking-uri sqlite:///{folder}/mlflow.db", 3),
        ("run --protocol smoke --model mean --launcher dask --workers 1 --tracking-uri none --output {folder}/new", 2),
        ("run --protocol smoke --model mean --output {done}", 0),
        ("share {run} --output {folder}/shared", 0),
        ("leaderboard add {run} --root {folder}/board", 0),
    ],
)
def test_no_folder_for_temporary_files(command: str, expected: int, nursery, done: Path, tmp_path: Path, outcome):
    (done / "mlflow.db").unlink(missing_ok=True)
    words = [word.format(run=run_of(done, "mean"), done=done, folder=tmp_path) for word in command.split()]
    code, _, err = nursery.start(*words, before=NO_TEMPORARY).ended()
    assert code == expected, err
    if code:
        assert "set TMPDIR" in one_error(err) and "--debug" not in err
    if command.startswith("run") and not code:
        (warning,) = [line for line in err.splitlines() if line.startswith("warning: MLflow")]
        assert "set TMPDIR" in warning and "uadbench track" in warning
        assert not (run_of(done, "mean") / tracking.LOGGED).exists()
    outcome(f"exit code {code}" + ("; one line that names TMPDIR" if "TMPDIR" in err else ""))
