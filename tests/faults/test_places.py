"""Homes that are missing, and file systems without locks: it works, or one line names the variable to set."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.conftest import SMOKE, hashes_of, one_error

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
