"""Temporary folders: a living writer keeps its own, a dead one's is swept, and nothing else is."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from uadbench.runtime.parts import DAY_S, PART, is_bare, part_folder, sweep, sweep_tree

LEFT = f"{PART}ab12_x9z"


def left(place: Path, name: str = LEFT) -> Path:
    folder = place / name
    folder.mkdir(parents=True)
    (folder / "half.json").write_text("{")
    return folder


def test_what_a_killed_write_left_is_swept_and_what_is_written_now_is_not(tmp_path: Path) -> None:
    with part_folder(tmp_path) as mine:
        dead = left(tmp_path)
        sweep(tmp_path)
        assert mine.is_dir() and not dead.exists()
        (mine / "file").write_text("still mine")
    assert not list(tmp_path.iterdir())


def test_the_folder_of_another_process_is_kept_until_it_dies(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from uadbench.runtime.parts import part_folder

with part_folder(Path({str(tmp_path)!r})) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""
    writer = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    theirs = Path(writer.stdout.readline().strip())
    sweep(tmp_path)
    assert theirs.is_dir()
    writer.kill()
    writer.communicate()
    assert theirs.is_dir()
    sweep(tmp_path)
    assert not theirs.exists()


def test_a_first_write_into_a_folder_sweeps_it(tmp_path: Path) -> None:
    dead = left(tmp_path)
    with part_folder(tmp_path):
        assert not dead.exists()


def test_only_what_tempfile_may_have_named_is_swept(tmp_path: Path) -> None:
    kept = [left(tmp_path, name) for name in (".part-1", ".part-of-my-thesis", ".part-AB12CD34", "part-ab12cd34")]
    (tmp_path / ".part-ab12cd34").write_text("a file")
    target = left(tmp_path / "elsewhere", "notes")
    (tmp_path / ".part-link1234").symlink_to(target)
    below = left(tmp_path / "below")
    sweep(tmp_path)
    assert all(folder.is_dir() for folder in (*kept, target, below)) and (tmp_path / ".part-ab12cd34").is_file()
    sweep_tree(tmp_path)
    assert target.is_dir() and not below.exists()


def test_without_locks_only_what_is_a_day_old_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    young, old = left(tmp_path), left(tmp_path, f"{PART}ab12_x9y")
    long_ago = young.stat().st_mtime - 2 * DAY_S
    os.utime(old, (long_ago, long_ago))
    with part_folder(tmp_path) as mine:
        assert mine.is_dir() and young.is_dir() and not old.exists()
    assert is_bare(tmp_path)
