"""The cohort cache: built once, never half, mended when damaged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from uadbench import store
from uadbench.cohorts.base import COLUMNS
from uadbench.cohorts.intake import IMAGES, META, TABLE, cache_key, gather
from uadbench.errors import InputError, Unfinished
from uadbench.progress import Silent
from uadbench.types import Grid, Scan

GRID = Grid((6, 7, 8), 4.0, (0.0, 0.0, 0.0))


class Numbers:
    """A cohort whose scan k is drawn from seed k; it counts the scans that it makes."""

    def __init__(self, count: int = 5, version: str = "1", fail_at: int | None = None) -> None:
        self.name, self.version, self.fail_at, self.made = "numbers", version, fail_at, 0
        self.participants = pd.DataFrame(
            [(f"sub-{k}", "ses-M000", "CN", 60.0 + k, "FM"[k % 2], "", 29.0) for k in range(count)],
            columns=list(COLUMNS),
        )

    def content_key(self, rows: pd.DataFrame) -> str:
        return store.content_hash(list(rows.participant_id))

    def scans(self, grid: Grid, rows: pd.DataFrame) -> Iterator[Scan]:
        for row in rows.itertuples():
            index = int(row.participant_id.removeprefix("sub-"))
            if index == self.fail_at:
                raise KeyboardInterrupt
            self.made += 1
            data = np.random.default_rng(index).random(grid.shape, dtype=np.float32)
            yield Scan(row.participant_id, row.session_id, data, grid.affine, (-float(index), 9.0), row.age, row.sex)


class Told(Silent):
    """Progress that remembers."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.labels: list[str] = []

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def task(self, label: str, total: int):
        self.labels.append(label)
        return super().task(label, total)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("UADBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def entry(cohort: Numbers) -> Path:
    return store.cache_folder() / "scans" / cache_key(cohort, GRID, cohort.participants)


def check(stack, cohort: Numbers) -> None:
    for k, scan in enumerate(cohort.scans(GRID, cohort.participants)):
        np.testing.assert_array_equal(stack.images[k], scan.data)


def test_built_once_then_read():
    cohort, told = Numbers(), Told()
    stack = gather(cohort, GRID, cohort.participants, told)
    again = gather(cohort, GRID, cohort.participants, told)
    assert cohort.made == 5 and told.labels == ["numbers: 5 scans on 6 x 7 x 8 at 4 mm"] and not told.warnings
    assert len(again) == 5 and again.images.shape == (5, *GRID.shape) and again.images.dtype == np.float32
    np.testing.assert_array_equal(stack.images, again.images)
    assert tuple(again.rows.columns) == (*COLUMNS, "minimum", "maximum")
    assert list(again.rows.minimum) == [0, -1, -2, -3, -4]
    check(again, cohort)


def test_images_are_read_only():
    cohort = Numbers()
    stack = gather(cohort, GRID, cohort.participants, Silent())
    with pytest.raises(ValueError, match="read-only"):
        stack.scan(0).data[0, 0, 0] = 1
    stack.batch([0])[...] = 7
    check(stack, cohort)


def test_scan_select_and_batch():
    cohort = Numbers()
    stack = gather(cohort, GRID, cohort.participants.iloc[[3, 1, 2]], Silent())
    assert [stack.scan(i).participant for i in range(3)] == ["sub-3", "sub-1", "sub-2"]
    scan = stack.scan(0)
    assert (scan.extent, scan.age, scan.sex, scan.group) == ((-3.0, 9.0), 63.0, "M", "CN")
    women = stack.select((stack.rows.sex == "F").to_numpy())
    assert list(women.rows.participant_id) == ["sub-2"] and women.scan(0).participant == "sub-2"
    turned = stack.select([2, 0])
    np.testing.assert_array_equal(turned.images, stack.images[[2, 0]])
    np.testing.assert_array_equal(turned.select([1]).images[0], scan.data)
    np.testing.assert_array_equal(turned.batch([1, 1, 0]), stack.images[[0, 0, 2]])
    assert np.shares_memory(stack.select([1, 2]).images, stack.images)
    assert len(stack.select([])) == 0 and stack.select([]).images.shape == (0, *GRID.shape)


def test_key_depends_on_all_that_matters():
    cohort, table = Numbers(), Numbers().participants
    keys = {
        cache_key(cohort, GRID, table),
        cache_key(Numbers(version="2"), GRID, table),
        cache_key(cohort, GRID, table.iloc[:2]),
        cache_key(cohort, GRID, table.iloc[::-1]),
        cache_key(cohort, Grid(GRID.shape, 4.0, (0.0, 0.0, 1.0)), table),
        cache_key(cohort, Grid(GRID.shape, 3.0, GRID.origin), table),
    }
    assert len(keys) == 6


def cut_short(folder: Path) -> None:
    raw = (folder / IMAGES).read_bytes()
    (folder / IMAGES).write_bytes(raw[:-100])


def flip_bit(folder: Path) -> None:
    raw = bytearray((folder / IMAGES).read_bytes())
    raw[-50] ^= 1
    (folder / IMAGES).write_bytes(raw)


def wrong_shape(folder: Path) -> None:
    np.save(folder / IMAGES, np.zeros((5, 2, 2, 2), dtype=np.float32))


DAMAGE = {
    "cut short": cut_short,
    "one bit": flip_bit,
    "wrong shape": wrong_shape,
    "empty": lambda folder: (folder / IMAGES).write_bytes(b""),
    "no images": lambda folder: (folder / IMAGES).unlink(),
    "no table": lambda folder: (folder / TABLE).unlink(),
    "bad table": lambda folder: (folder / TABLE).write_bytes(b"PAR1 no"),
    "other table": lambda folder: pd.DataFrame({"a": [1]}).to_parquet(folder / TABLE),
    "bad meta": lambda folder: (folder / META).write_text("{"),
    "no meta": lambda folder: (folder / META).unlink(),
    "old meta": lambda folder: (folder / META).write_text("[]"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_told_and_mended(kind):
    cohort, told = Numbers(), Told()
    gather(cohort, GRID, cohort.participants, told)
    DAMAGE[kind](entry(cohort))
    stack = gather(cohort, GRID, cohort.participants, told)
    assert len(told.warnings) == 1 and str(entry(cohort)) in told.warnings[0] and "\n" not in told.warnings[0]
    check(stack, cohort)
    made = cohort.made
    gather(cohort, GRID, cohort.participants, told)
    assert cohort.made == made and len(told.warnings) == 1


def test_rebuild():
    cohort = Numbers()
    gather(cohort, GRID, cohort.participants, Silent())
    check(gather(cohort, GRID, cohort.participants, Silent(), rebuild=True), cohort)
    assert cohort.made == 15  # twice five, and five of the check


def test_an_interrupted_build_leaves_nothing(cache):
    with pytest.raises(KeyboardInterrupt):
        gather(cohort := Numbers(fail_at=3), GRID, cohort.participants, Silent())
    assert list((cache / "scans").iterdir()) == []
    check(gather(whole := Numbers(), GRID, whole.participants, Silent()), whole)


def test_a_killed_build_leaves_nothing_that_is_used(cache):
    """SIGKILL in the middle: no entry under the key, and the next build is whole."""
    program = f"""
        import importlib.util, os, signal, sys
        spec = importlib.util.spec_from_file_location("intake_tests", {__file__!r})
        tests = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(tests)
        class Doomed(tests.Numbers):
            def scans(self, grid, rows):
                for scan in super().scans(grid, rows):
                    if scan.participant == "sub-3":
                        os.kill(os.getpid(), signal.SIGKILL)
                    yield scan
        tests.gather(Doomed(), tests.GRID, Doomed().participants, tests.Silent())
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    cohort, told = Numbers(), Told()
    leftovers = list((cache / "scans").iterdir())
    assert not entry(cohort).exists() and len(leftovers) == 1
    check(gather(cohort, GRID, cohort.participants, told), cohort)
    assert not told.warnings
    os.utime(leftovers[0], (0, 0))  # a day later
    gather(cohort, GRID, cohort.participants, told, rebuild=True)
    assert not leftovers[0].exists()


def test_ages_are_those_of_the_table_today():
    """The cache holds images; a corrected table is seen at once."""
    cohort = Numbers()
    gather(cohort, GRID, cohort.participants, Silent())
    cohort.participants.loc[0, "age"] = 77.0
    assert gather(cohort, GRID, cohort.participants, Silent()).scan(0).age == 77.0
    assert cohort.made == 5


class Swapped(Numbers):
    def scans(self, grid: Grid, rows: pd.DataFrame) -> Iterator[Scan]:
        yield from super().scans(grid, rows.iloc[::-1])


class Short(Numbers):
    def scans(self, grid: Grid, rows: pd.DataFrame) -> Iterator[Scan]:
        yield from super().scans(grid, rows.iloc[:-1])


class Other(Numbers):
    def scans(self, grid: Grid, rows: pd.DataFrame) -> Iterator[Scan]:
        yield from super().scans(Grid((2, 2, 2), 1.0, (0.0, 0.0, 0.0)), rows)


@pytest.mark.parametrize(("plugin", "expected"), [(Swapped, "out of order"), (Short, "4 scans"), (Other, "shape")])
def test_a_cohort_that_breaks_the_contract(plugin, expected):
    with pytest.raises(Unfinished, match=expected):
        gather(cohort := plugin(), GRID, cohort.participants, Silent())


def test_no_rows():
    with pytest.raises(InputError, match="no scans were asked for"):
        gather(cohort := Numbers(), GRID, cohort.participants.iloc[:0], Silent())


def test_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UADBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="cannot write here"):
        gather(cohort := Numbers(), GRID, cohort.participants, Silent())
