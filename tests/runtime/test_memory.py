"""Memory that is handed back: what is read again is the same, and what is not of a mapped file is left alone."""

from __future__ import annotations

import mmap
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from uadbench.cohorts.batches import Batches
from uadbench.runtime.memory import peak_resident_bytes, release_pages
from uadbench.types import Intensity, Scan

SIZE = 64 << 20
PAGE = mmap.PAGESIZE


@pytest.fixture
def mapped(tmp_path: Path) -> np.memmap:
    """(16, 1024, 1024) float32 of 64 MiB, read-only."""
    with (tmp_path / "images").open("wb") as file:
        np.arange(SIZE // 4, dtype=np.float32).tofile(file)
    return np.memmap(tmp_path / "images", np.float32, "r", shape=(16, 1024, 1024))


def resident(mapped: np.memmap) -> int:
    """Bytes of a mapped file that this process holds in memory."""
    held, of_file = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, *rest = line.split()
        if not name.endswith(":"):
            of_file = rest[-1] == str(mapped.filename)
        elif of_file and name == "Rss:":
            held += int(rest[0]) * 1024
    return held


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


@linux
def test_the_peak_is_that_of_this_program_and_not_of_the_one_that_started_it() -> None:
    held = np.ones(300 << 17)  # 300 MiB
    ask = "from uadbench.runtime.memory import peak_resident_bytes; print(peak_resident_bytes())"
    child = subprocess.run([sys.executable, "-c", ask], check=True, capture_output=True, text=True)
    assert held.nbytes < peak_resident_bytes() and 0 < int(child.stdout) < held.nbytes


@linux
@pytest.mark.parametrize("view", [np.asarray, lambda array: array.reshape(-1, 32)[1:].T], ids=["whole", "a view"])
def test_memory_of_a_mapped_file_is_handed_back(mapped, view) -> None:
    total = float(mapped.sum(dtype=np.float64))
    assert resident(mapped) > 0.9 * SIZE
    release_pages(view(mapped))
    assert resident(mapped) <= PAGE
    assert float(mapped.sum(dtype=np.float64)) == total
    assert resident(mapped) > 0.9 * SIZE, "it is read again"


@linux
def test_only_the_part_that_is_meant_is_handed_back(mapped) -> None:
    mapped.sum()
    release_pages(np.asarray(mapped[5]))
    assert 0.9 * SIZE < resident(mapped) <= SIZE - SIZE // 16


@linux
def test_going_through_scans_holds_none_of_them(mapped) -> None:
    volumes = np.asarray(mapped).reshape(16, 64, 128, 128)
    scans = [Scan(f"sub-{k}", "ses-M000", volume, np.eye(4), (0.0, 1.0)) for k, volume in enumerate(volumes)]
    batches = Batches(scans, [Intensity(0.0, 1.0)] * 16, 1, 0)
    first = next(iter(batches)).images.clone()
    seen = sum(float(batch.images.double().sum()) for batch in batches)
    assert resident(mapped) <= PAGE
    assert seen == float(mapped.sum(dtype=np.float64)) and first.sum() == volumes[0].sum()


@pytest.mark.parametrize(
    "part",
    [
        np.s_[:],
        np.s_[3],
        np.s_[-1],
        np.s_[0, 0, :3],
        np.s_[15, 1023, 1021:],
        np.s_[::2],
        np.s_[::-1],
        np.s_[:, ::-7, 5:9],
        np.s_[4:4],
        np.s_[16:],
        np.s_[..., None],
        np.s_[7, 8, 9],
    ],
)
def test_values_are_what_they_were(mapped, part) -> None:
    chosen = mapped[part]
    expected = np.array(chosen)
    release_pages(chosen)
    np.testing.assert_array_equal(chosen, expected)
    assert mapped[15, 1023, 1023] == np.float32(SIZE // 4 - 1)


@pytest.mark.parametrize("offset", [4, 4096, 5000])
def test_a_map_that_begins_within_the_file(tmp_path: Path, mapped, offset: int) -> None:
    inner = np.memmap(tmp_path / "images", np.float32, "r", offset=offset, shape=(1000, 1000))
    expected = np.array(inner)
    for part in (inner, inner[-1], inner[:0]):
        release_pages(part)
    np.testing.assert_array_equal(inner, expected)


def test_what_was_written_to_a_shared_map_stays(tmp_path: Path) -> None:
    written = np.memmap(tmp_path / "images", np.float32, "w+", shape=(1000, 1000))
    written[:] = 7
    release_pages(written[500:])
    assert (written == 7).all()


@pytest.mark.parametrize(
    "array",
    [
        np.arange(100_000, dtype=np.float32),
        np.arange(100_000, dtype=np.float32)[5:-5].reshape(90, -1)[::-2],
        np.empty(0, dtype=np.float32),
        np.empty((3, 0, 2), dtype=np.float32),
        np.float32(3) * np.ones(()),
        np.broadcast_to(np.float32(2), (4, 4)),
        np.frombuffer(bytearray(4000), np.float32),
    ],
    ids=["ordinary", "view", "empty", "empty 3D", "0D", "broadcast", "bytes"],
)
def test_other_arrays_are_left_alone(array: np.ndarray) -> None:
    expected = array.copy()
    release_pages(array)
    np.testing.assert_array_equal(array, expected)


def test_what_was_written_to_a_private_map_stays(tmp_path: Path, mapped) -> None:
    """Changes of a copy-on-write map are nowhere else."""
    private = np.memmap(tmp_path / "images", np.float32, "c", shape=(1000, 1000))
    private[:] = 7
    release_pages(private)
    assert (private == 7).all()
