"""The cohort cache: every scan is made once, whoever asks and whatever happens, and damage is found and mended."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import textwrap
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from uadbench.cohorts import intake
from uadbench.cohorts.base import COLUMNS, Cohort
from uadbench.cohorts.cache import FLUSHED, IMAGES, INDEX, ImageCache, Writer, digest
from uadbench.cohorts.findings import Finding, ScanError
from uadbench.cohorts.intake import MOST_BAD, ScanStack, cache_folder, gather
from uadbench.errors import InputError, Unfinished
from uadbench.runtime import files
from uadbench.runtime.progress import Silent
from uadbench.types import Grid, Scan

GRID = Grid((6, 7, 8), 4.0, (0.0, 0.0, 0.0))
BYTES = 4 * GRID.size


class Numbers:
    """A cohort whose scan k is drawn from seed k; it remembers the scans that it makes, in `log` if there is one."""

    public = False

    def __init__(self, count: int = 5, version: str = "1", bad: tuple[int, ...] = (), log: Path | None = None) -> None:
        self.name, self.version, self.bad, self.log = "numbers", version, bad, log
        self.made: list[int] = []
        self.edited: dict[str, str] = {}
        rows = [
            (f"sub-{k:03d}", "ses-M000", "CN", 60.0 + k, "FM"[k % 2], f"site-{k}", "mCT", "", 29.0)
            for k in range(count)
        ]
        self.participants = pd.DataFrame(rows, columns=list(COLUMNS))

    def scan_keys(self, rows: pd.DataFrame) -> list[str]:
        return [files.content_hash(self.version, name, self.edited.get(name, "")) for name in rows.participant_id]

    def scans(self, grid: Grid, rows: pd.DataFrame) -> Iterator[Scan]:
        for row in rows.itertuples():
            index = number(row.participant_id)
            if index in self.bad:
                raise ScanError(Finding("NaN", f"{row.participant_id}.nii.gz", "1 voxel is NaN", "mend the file"))
            self.made.append(index)
            if self.log is not None:
                with self.log.open("a") as log:
                    log.write(f"{index}\n")
            known = {"age": row.age, "sex": row.sex, "site": row.site, "scanner": row.scanner, "group": row.group}
            yield Scan(row.participant_id, row.session_id, image(index), grid.affine, (-float(index), 9.0), **known)


def number(participant: str) -> int:
    return int(participant.removeprefix("sub-"))


def image(index: int) -> np.ndarray:
    return np.random.default_rng(index).random(GRID.shape, dtype=np.float32)


class Told(Silent):
    """Progress that remembers."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.warnings: list[str] = []
        self.labels: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def task(self, label: str, total: int):
        self.labels.append(label)
        return super().task(label, total)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("UADBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(cache) -> Path:
    """Where the scans of `Numbers` lie."""
    return cache_folder(Numbers(), GRID)


def everything(cohort: Numbers, told: Silent | None = None) -> ScanStack:
    return gather(cohort, GRID, cohort.participants, told or Silent())


def check(stack: ScanStack) -> None:
    """Every row has its own image and range."""
    for position, row in enumerate(stack.rows.itertuples()):
        scan = stack.scan(position)
        assert scan.key == (row.participant_id, row.session_id)
        np.testing.assert_array_equal(scan.data, image(number(scan.participant)))
        assert scan.extent == (-float(number(scan.participant)), 9.0)


# --- what is stored is what is read


def test_built_once_then_read():
    cohort, told = Numbers(), Told()
    assert isinstance(cohort, Cohort)
    check(everything(cohort, told))
    again = everything(cohort, told)
    check(again)
    assert cohort.made == [0, 1, 2, 3, 4] and told.labels == ["numbers: 5 scans on 6 x 7 x 8 at 4 mm"]
    assert not told.warnings and not told.notices and len(again) == 5
    assert again.scan(0).data.shape == GRID.shape and again.scan(0).data.dtype == np.float32
    assert tuple(again.rows.columns) == (*COLUMNS, "slot", "minimum", "maximum", "digest")
    assert list(again.rows.minimum) == [0, -1, -2, -3, -4]
    assert list(again.rows.digest) == [digest(image(k).tobytes()) for k in range(5)]


def test_a_scan_tells_what_the_table_tells():
    scan = everything(Numbers()).scan(3)
    found = (scan.age, scan.sex, scan.site, scan.scanner, scan.amyloid, scan.group, scan.mmse)
    assert found == (63.0, "M", "site-3", "mCT", "", "CN", 29.0)
    np.testing.assert_array_equal(scan.affine, GRID.affine)


def test_images_are_read_only():
    stack = everything(Numbers())
    with pytest.raises(ValueError, match="read-only"):
        stack.scan(0).data[0, 0, 0] = 1
    check(stack)


def test_rows_keep_their_order_and_are_selected():
    cohort = Numbers()
    stack = gather(cohort, GRID, cohort.participants.iloc[[3, 1, 2]], Silent())
    assert [stack.scan(i).participant for i in range(3)] == ["sub-003", "sub-001", "sub-002"]
    check(stack)
    women = stack.select((stack.rows.sex == "F").to_numpy())
    assert list(women.rows.participant_id) == ["sub-002"]
    turned = stack.select([2, 0])
    check(turned)
    assert [row.participant_id for row in turned.select([1]).rows.itertuples()] == ["sub-003"]
    check(turned.select([1, 1, 0]))
    assert np.shares_memory(stack.select([1, 2]).scan(0).data, stack.scan(1).data)
    assert len(stack.select([])) == 0 and len(stack.select(np.zeros(3, dtype=bool))) == 0


def test_another_selection_reads_what_is_new():
    cohort, told = Numbers(9), Told()
    gather(cohort, GRID, cohort.participants.iloc[[5, 2]], told)
    some = gather(cohort, GRID, cohort.participants.iloc[[0, 2, 8, 5]], told)
    check(some)
    assert cohort.made == [5, 2, 0, 8]
    check(everything(cohort, told))
    assert sorted(cohort.made) == list(range(9))
    assert [label.split()[1] for label in told.labels] == ["2", "2", "5"] and not told.warnings


def test_a_row_that_is_asked_for_twice_is_given_twice():
    cohort = Numbers()
    stack = gather(cohort, GRID, cohort.participants.iloc[[1, 1, 0]], Silent())
    check(stack)
    assert len(stack) == 3
    gather(cohort, GRID, cohort.participants.iloc[[0, 1]], Silent())
    assert set(cohort.made) == {0, 1} and cohort.made.count(0) == 1


def test_cohorts_versions_and_grids_keep_apart():
    other = Numbers()
    other.name = "others"
    grids = [GRID, Grid(GRID.shape, 4.0, (0.0, 0.0, 1.0)), Grid(GRID.shape, 3.0, GRID.origin)]
    folders = {cache_folder(Numbers(), grid) for grid in grids}
    folders |= {cache_folder(Numbers(version="2"), GRID), cache_folder(other, GRID)}
    assert len(folders) == 5


def test_a_changed_scan_is_read_again():
    cohort, told = Numbers(), Told()
    everything(cohort, told)
    cohort.edited["sub-002"] = "edited yesterday"
    check(everything(cohort, told))
    assert cohort.made == [0, 1, 2, 3, 4, 2] and not told.warnings


def test_ages_are_those_of_the_table_today():
    """The cache holds images; a corrected table is seen at once."""
    cohort = Numbers()
    everything(cohort)
    cohort.participants.loc[0, "age"] = 77.0
    assert everything(cohort).scan(0).age == 77.0
    assert len(cohort.made) == 5


def test_no_rows():
    with pytest.raises(InputError, match="no scans were asked for"):
        gather(cohort := Numbers(), GRID, cohort.participants.iloc[:0], Silent())


# --- damage


def cut_short(folder: Path) -> None:
    raw = (folder / IMAGES).read_bytes()
    (folder / IMAGES).write_bytes(raw[: BYTES * 3 - 100])


def flip_bits(*slots: int) -> Callable[[Path], None]:
    def flip(folder: Path) -> None:
        raw = bytearray((folder / IMAGES).read_bytes())
        for slot in slots:
            raw[BYTES * slot + 50] ^= 1
        (folder / IMAGES).write_bytes(raw)

    return flip


def lines_of(folder: Path) -> list[bytes]:
    return [line for line in (folder / INDEX).read_bytes().split(b"\n") if line]


def change_line(position: int, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        lines = lines_of(folder)
        lines[position] = change(lines[position])
        (folder / INDEX).write_bytes(b"\n".join(lines) + b"\n")

    return write


def change_entry(position: int, place: int, value: object) -> Callable[[Path], None]:
    def change(line: bytes) -> bytes:
        entry = json.loads(line)
        entry[place] = value
        return json.dumps(entry).encode()

    return change_line(position, change)


DAMAGED_IMAGES = {
    "a bit": (flip_bits(2), {2}),
    "three bits": (flip_bits(0, 3, 4), {0, 3, 4}),
    "cut short": (cut_short, {2, 3, 4}),
    "empty": (lambda folder: (folder / IMAGES).write_bytes(b""), {0, 1, 2, 3, 4}),
    "no images": (lambda folder: (folder / IMAGES).unlink(), {0, 1, 2, 3, 4}),
    "zeros": (lambda folder: (folder / IMAGES).write_bytes(bytes(5 * BYTES)), {0, 1, 2, 3, 4}),
    "another slot": (change_entry(1, 1, 3), {1}),
    "another hash": (change_entry(4, 4, "0" * 64), {4}),
}
"""What is done to a cache of five scans, and which of them must be made again."""

DAMAGED_INDEX = {
    "no index": (lambda folder: (folder / INDEX).unlink(), {0, 1, 2, 3, 4}),
    "empty index": (lambda folder: (folder / INDEX).write_bytes(b""), {0, 1, 2, 3, 4}),
    "cut line": (change_line(4, lambda line: line[:-30]), {4}),
    "garbage line": (change_line(2, lambda line: b"\xff\xfe\x00\x80 garbage"), {2}),
    "other JSON": (change_line(1, lambda line: b'{"a": 1}'), {1}),
    "a number": (change_line(1, lambda line: b"12"), {1}),
    "short line": (change_line(3, lambda line: b'["key", 3]'), {3}),
    "word for slot": (change_entry(0, 1, "first"), {0}),
    "no slot": (change_entry(0, 1, None), {0}),
    "slot below 0": (change_entry(0, 1, -1), {0}),
    "slot beyond": (change_entry(0, 1, 5), {0}),
    "absurd slot": (change_entry(0, 1, 10**30), {0}),
    "word for a range": (change_entry(3, 2, "low"), {3}),
    "another key": (change_entry(2, 0, "nobody"), {2}),
}


@pytest.mark.parametrize("kind", [*DAMAGED_IMAGES, *DAMAGED_INDEX])
def test_damage_is_mended_and_no_more_than_that(kind, folder):
    damage, lost = {**DAMAGED_IMAGES, **DAMAGED_INDEX}[kind]
    cohort, told = Numbers(), Told()
    everything(cohort, told)
    cohort.made.clear()
    damage(folder)
    check(everything(cohort, told))
    assert set(cohort.made) == lost and len(cohort.made) == len(lost)
    told.warnings.clear()
    check(everything(cohort, told))
    assert len(cohort.made) == len(lost) and not told.warnings, "it is sound again"


@pytest.mark.parametrize("kind", DAMAGED_IMAGES)
def test_damaged_images_are_told(kind, folder):
    damage, lost = DAMAGED_IMAGES[kind]
    cohort, told = Numbers(), Told()
    everything(cohort, told)
    damage(folder)
    everything(cohort, told)
    (warning,) = told.warnings
    assert str(folder) in warning and f" {len(lost)} " in warning and "\n" not in warning


@pytest.mark.parametrize("slot", ["Infinity", "1e999", "[" * 100_000])
def test_an_index_that_no_number_holds(slot, folder):
    cohort = Numbers()
    everything(cohort)
    with (folder / INDEX).open("a") as index:
        index.write(f'\n["key", {slot}, 0, 1, "0"]\n["key", 1, 1{"0" * 400}, 1, "0"]\n')
    check(everything(cohort))
    assert len(cohort.made) == 5


def test_two_versions_share_a_cache(monkeypatch):
    """A newer version that stores other images for the same keys: neither reads what the other has stored."""

    class Newer(Numbers):
        def scans(self, grid, rows):
            for scan in super().scans(grid, rows):
                yield dataclasses.replace(scan, data=scan.data + np.float32(1))

    own, newer, stored = Numbers(), Newer(), []
    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(intake, "REVISION", "3")
            stored.append(everything(newer).scan(4).data.copy())
        check(everything(own))
    assert len(own.made) == len(newer.made) == 5
    for each in stored:
        np.testing.assert_array_equal(each, image(4) + np.float32(1))


@pytest.mark.parametrize("line", ['{"key": "KEY", "slot": 0}', '["KEY", 0, -3.0, 9.0, "blake3:00", "11", "float16"]'])
def test_lines_of_a_newer_version_are_not_read_as_ours(line, folder):
    """Should a newer version add to the same index in another form, an image is made again, never misread."""
    cohort = Numbers()
    everything(cohort)
    with (folder / INDEX).open("a") as index:
        index.write("\n" + line.replace("KEY", cohort.scan_keys(cohort.participants)[3]) + "\n")
    check(everything(cohort))
    check(everything(cohort))
    assert len(cohort.made) <= 6


@pytest.mark.parametrize("place", [2, 3])
def test_a_range_that_was_changed_is_found(place, folder):
    """The range scales the image, so that a digit of it is as good as a voxel."""
    cohort = Numbers()
    everything(cohort)
    change_entry(3, place, 4.0)(folder)
    check(everything(cohort))


def test_damage_to_others_is_left_alone(folder):
    """Only what is asked for is looked at, and made again."""
    cohort, told = Numbers(), Told()
    everything(cohort, told)
    flip_bits(4)(folder)
    check(gather(cohort, GRID, cohort.participants.iloc[:4], told))
    assert len(cohort.made) == 5 and not told.warnings


def test_a_cache_of_another_revision_is_no_cache(folder):
    """Scraps of anything in the folder are none of ours."""
    folder.mkdir(parents=True)
    (folder / IMAGES).write_bytes(b"\x93NUMPY")
    (folder / INDEX).write_bytes(b"[]\n" + os.urandom(500))
    cohort = Numbers()
    check(everything(cohort))
    check(everything(cohort))
    assert len(cohort.made) == 5


# --- interruptions


def python(program: str) -> list[str]:
    """A process that has this file as `tests`."""
    begin = f"""
        import importlib.util, os, signal, sys, time
        from pathlib import Path
        spec = importlib.util.spec_from_file_location("intake_tests", {__file__!r})
        tests = importlib.util.module_from_spec(spec)
        sys.modules["intake_tests"] = tests
        spec.loader.exec_module(tests)
    """
    return [sys.executable, "-c", textwrap.dedent(begin) + textwrap.dedent(program)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.mark.parametrize("killed_at", [3, FLUSHED, 2 * FLUSHED + 9])
def test_a_killed_intake_continues(killed_at):
    program = f"""
        class Doomed(tests.Numbers):
            def scans(self, grid, rows):
                for scan in super().scans(grid, rows):
                    if tests.number(scan.participant) == {killed_at}:
                        os.kill(os.getpid(), signal.SIGKILL)
                    yield scan
        tests.everything(Doomed(50))
    """
    killed = subprocess.run(python(program), env=environment(), check=False)
    assert killed.returncode == -signal.SIGKILL
    cohort, told = Numbers(50), Told()
    check(everything(cohort, told))
    stored = killed_at - killed_at % FLUSHED
    assert cohort.made == list(range(stored, 50)) and not told.warnings
    check(everything(cohort, told))
    assert len(cohort.made) == 50 - stored


def test_killed_at_any_moment(tmp_path):
    """Again and again, wherever it happens to be; what is left over is always sound."""
    program = f"""
        class Slow(tests.Numbers):
            def scans(self, grid, rows):
                for count, scan in enumerate(super().scans(grid, rows)):
                    if count == 90:  # it does not end by itself
                        signal.pause()
                    yield scan
        tests.everything(Slow(400, log=Path({str(tmp_path / "log")!r})))
    """
    rounds = 4
    for _ in range(rounds):
        before = lines(tmp_path / "log")
        process = subprocess.Popen(python(program), env=environment())
        while lines(tmp_path / "log") < before + 60 and process.poll() is None:
            time.sleep(0.001)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    cohort, told = Numbers(400), Told()
    check(everything(cohort, told))
    assert not told.warnings
    assert lines(tmp_path / "log") + len(cohort.made) <= 400 + rounds * (FLUSHED + 1)


def lines(file: Path) -> int:
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_an_interrupted_intake_keeps_what_it_has():
    class Interrupted(Numbers):
        def scans(self, grid: Grid, rows: pd.DataFrame) -> Iterator[Scan]:
            for scan in super().scans(grid, rows):
                if scan.participant == "sub-003":
                    raise KeyboardInterrupt
                yield scan

    with pytest.raises(KeyboardInterrupt):
        everything(Interrupted())
    cohort = Numbers()
    check(everything(cohort))
    assert cohort.made == [3, 4]


def test_half_a_write_is_left_behind(folder):
    """A machine that loses power leaves half an image, and half a line of the index."""
    cohort = Numbers()
    gather(cohort, GRID, cohort.participants.iloc[:2], Silent())
    with (folder / IMAGES).open("ab") as images:
        images.write(image(2).tobytes()[: BYTES // 2])
    with (folder / INDEX).open("ab") as index:
        index.write(b'\n["' + cohort.scan_keys(cohort.participants)[2].encode() + b'", 2, -2.0')
    check(everything(cohort))
    again = everything(cohort)
    check(again)
    assert cohort.made == [0, 1, 2, 3, 4] and list(again.rows.slot) == [0, 1, 3, 4, 5]


@pytest.fixture
def small_disk() -> Iterator[Callable[[int], None]]:
    """No file may grow beyond so many bytes; the system itself says no."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_one_line_and_keeps_what_is_stored(folder, small_disk):
    cohort = Numbers()
    small_disk(int(3.5 * BYTES))
    with pytest.raises(Unfinished, match=r"cannot store scans \(File too large\).*UADBENCH_CACHE.*kept") as caught:
        everything(cohort)
    small_disk(resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
    cohort.made.clear()
    told = Told()
    check(everything(cohort, told))
    assert cohort.made == [3, 4] and not told.warnings


def test_an_index_that_cannot_be_written_is_one_line_too(folder, small_disk):
    cohort = Numbers(40)
    gather(cohort, GRID, cohort.participants.iloc[:2], Silent())
    (folder / INDEX).write_bytes((folder / INDEX).read_bytes() + b" " * 50 * BYTES)
    small_disk(50 * BYTES)
    with pytest.raises(Unfinished, match="cannot store scans"):
        everything(cohort)
    small_disk(resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    cohort.made.clear()
    check(everything(cohort))
    assert cohort.made == list(range(2, 40))


# --- scans that cannot be used


def test_a_bad_scan_is_told_at_the_end_and_the_others_are_stored():
    cohort = Numbers(12, bad=(0, 4, 5, 11))
    with pytest.raises(InputError, match=r"sub-000.nii.gz: 1 voxel is NaN; mend the file \(the first of 4 ") as caught:
        everything(cohort)
    assert "cohort check" in str(caught.value) and "\n" not in str(caught.value)
    assert cohort.made == [1, 2, 3, 6, 7, 8, 9, 10]
    check(gather(cohort, GRID, cohort.participants.iloc[cohort.made], Silent()))
    cohort.bad = (4,)
    with pytest.raises(InputError, match=r"sub-004\.nii\.gz") as caught:
        everything(cohort)
    assert "the first of" not in str(caught.value)
    cohort.bad = ()
    check(everything(cohort))
    assert cohort.made[8:] == [0, 5, 11, 4]


def test_after_many_bad_scans_the_others_are_not_looked_at():
    cohort = Numbers(100, bad=tuple(range(10, 90)))
    with pytest.raises(InputError, match=f"sub-010.*the first of {MOST_BAD} "):
        everything(cohort)
    assert cohort.made == list(range(10))


def test_a_fault_of_the_cohorts_disk_is_not_told_as_one_of_the_cache():
    class Unreadable(Numbers):
        def scans(self, grid: Grid, rows: pd.DataFrame) -> Iterator[Scan]:
            yield from super().scans(grid, rows.iloc[:2])
            (folder / "nowhere.nii.gz").read_bytes()

    folder = Path(__file__).parent
    with pytest.raises((OSError, Unfinished), match=r"nowhere\.nii\.gz"):
        everything(Unreadable())


class Swapped(Numbers):
    def scans(self, grid: Grid, rows: pd.DataFrame) -> Iterator[Scan]:
        yield from super().scans(grid, rows.iloc[::-1])


class Short(Numbers):
    def scans(self, grid: Grid, rows: pd.DataFrame) -> Iterator[Scan]:
        yield from super().scans(grid, rows.iloc[:-1])


class Long(Numbers):
    def scans(self, grid: Grid, rows: pd.DataFrame) -> Iterator[Scan]:
        yield from super().scans(grid, pd.concat([rows, rows]))


class Other(Numbers):
    def scans(self, grid: Grid, rows: pd.DataFrame) -> Iterator[Scan]:
        for scan in super().scans(grid, rows):
            yield Scan(scan.participant, scan.session, scan.data[1:], grid.affine, scan.extent)


@pytest.mark.parametrize(
    ("plugin", "expected"), [(Swapped, "out of order"), (Short, "4 scans for 5"), (Long, "order"), (Other, "shape")]
)
def test_a_cohort_that_breaks_the_contract(plugin, expected):
    with pytest.raises(Unfinished, match=expected):
        everything(plugin())


def test_a_cohort_that_gives_no_numbers():
    class Infinite(Numbers):
        def scans(self, grid: Grid, rows: pd.DataFrame) -> Iterator[Scan]:
            for scan in super().scans(grid, rows):
                yield Scan(scan.participant, scan.session, scan.data / np.float32(0), grid.affine, scan.extent)

    with np.errstate(divide="ignore"), pytest.raises(InputError, match=r"sub-000_ses-M000.*NaN or infinite"):
        everything(Infinite())


# --- several processes, and folders that cannot be written


def test_two_processes_at_once_make_no_scan_twice(tmp_path):
    log, begin, waited_for = (tmp_path / name for name in ("log", "begin", "waited_for"))
    program = f"""
        class Slow(tests.Numbers):
            def scans(self, grid, rows):
                for scan in super().scans(grid, rows):
                    while not Path({str(waited_for)!r}).exists():
                        time.sleep(0.001)
                    yield scan
        class Tells(tests.Told):
            def notice(self, text):
                super().notice(text)
                if "another process" in text:
                    Path({str(waited_for)!r}).touch()
        cohort, told = Slow(40, log=Path({str(log)!r})), Tells()
        mine = cohort.participants.iloc[int(sys.argv[1]):int(sys.argv[2])]
        Path({str(tmp_path)!r}, "ready" + sys.argv[1]).touch()
        while not Path({str(begin)!r}).exists():
            time.sleep(0.001)
        tests.check(tests.gather(cohort, tests.GRID, mine, told))
        assert not told.warnings, told.warnings
        print(told.notices)
    """
    selections = (("0", "30"), ("10", "40"))
    processes = [
        subprocess.Popen([*python(program), *each], env=environment(), stdout=subprocess.PIPE, text=True)
        for each in selections
    ]
    while len(list(tmp_path.glob("ready*"))) < 2 and all(process.poll() is None for process in processes):
        time.sleep(0.001)
    begin.touch()
    try:
        printed = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0]
    assert sum("another process is storing scans" in text for text in printed) == 1
    assert sorted(map(int, log.read_text().split())) == list(range(40))
    cohort = Numbers(40)
    check(everything(cohort))
    assert not cohort.made


def test_a_whole_cache_is_read_without_a_lock_or_a_write(folder):
    cohort = Numbers()
    everything(cohort)
    (folder / "lock").unlink(missing_ok=True)
    folder.chmod(0o555)
    for file in (IMAGES, INDEX):
        (folder / file).chmod(0o444)
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    try:
        check(everything(cohort))  # the superuser may write here, so that it must be seen that nobody did
        assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == before
        assert set(before) == {IMAGES, INDEX} and len(cohort.made) == 5
    finally:
        folder.chmod(0o755)


def test_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UADBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="cannot write here"):
        everything(Numbers())


def test_scans_are_let_go_once_they_are_stored():
    class Watched(Numbers):
        def scans(self, grid: Grid, rows: pd.DataFrame) -> Iterator[Scan]:
            for scan in super().scans(grid, rows):
                volumes.append(weakref.ref(scan.data))
                most.append(sum(volume() is not None for volume in volumes))
                yield scan

    volumes: list[weakref.ref[np.ndarray]] = []
    most: list[int] = []
    everything(Watched(3 * FLUSHED))
    assert max(most) <= 2


# --- the folder itself


def test_a_slot_is_never_written_twice(tmp_path):
    cache = ImageCache(tmp_path / "some" / "where", GRID)
    assert cache.entries() == {}
    for key in ("a", "b", "a"):
        with Writer(cache) as writer:
            writer.add(key, image(ord(key)), (0.0, 1.0))
    entries = cache.entries()
    assert {key: entry.slot for key, entry in entries.items()} == {"a": 2, "b": 1}
    assert cache.sound(entries) == {"a", "b"}
    np.testing.assert_array_equal(cache.mapped(3), [image(ord(key)) for key in ("a", "b", "a")])


def test_images_are_stored_in_one_layout(tmp_path):
    cache = ImageCache(tmp_path, GRID)
    turned = np.asfortranarray(image(3)).astype(np.float64)
    with Writer(cache) as writer:
        writer.add("turned", turned, (0.0, 1.0))
    np.testing.assert_array_equal(cache.mapped(1)[0], image(3))


# --- whose scans they are


@pytest.mark.parametrize("public", [False, True])
def test_private_scans_are_for_their_owner_alone(public, tmp_path, monkeypatch) -> None:
    """Folder and files, whatever the umask. The phantom's may be used by all."""
    monkeypatch.setenv("UADBENCH_CACHE", str(tmp_path / "cache"))
    cohort = Numbers()
    monkeypatch.setattr(cohort, "public", public, raising=False)
    place = cache_folder(cohort, GRID)
    before = os.umask(0o022)
    try:
        gather(cohort, GRID, cohort.participants, Silent())
    finally:
        os.umask(before)
    assert stat.S_IMODE(place.stat().st_mode) == (0o755 if public else 0o700)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in place.iterdir()}
    assert set(modes) >= {IMAGES, INDEX} and set(modes.values()) == {0o644 if public else 0o600}
    place.chmod(0o755)  # as earlier versions made it
    gather(cohort, GRID, cohort.participants, Silent())
    assert stat.S_IMODE(place.stat().st_mode) == (0o755 if public else 0o700)


def test_private_scans_are_not_stored_where_others_may_read_them(folder, monkeypatch) -> None:
    """As on vfat, where folders have the permissions of the mount, and chmod is refused."""
    folder.mkdir(parents=True, mode=0o755)
    before = stat.S_IMODE(folder.stat().st_mode)

    def refuse(path: Path, mode: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(Unfinished, match=r"cannot keep other users out.*UADBENCH_CACHE") as caught:
        everything(Numbers())
    assert str(folder) in str(caught.value) and not list(folder.iterdir())
    assert stat.S_IMODE(folder.stat().st_mode) == before
