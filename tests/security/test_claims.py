"""Small files that claim to be large: refused in a line, before anything is allocated for what they claim."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from tests.security.limits import GIB, STEPS, address_space, measured, processor_time
from uadbench.cohorts.io.nifti import read_volume
from uadbench.cohorts.io.text_tables import MOST_ROWS, read_table
from uadbench.errors import InputError
from uadbench.leaderboard.entries import read_cases
from uadbench.protocols.schema import FOLDER, load_protocol
from uadbench.results.examples import EXAMPLES, read_examples
from uadbench.results.scores import read_scores

REPOSITORY = Path(__file__).parents[2]
MIB = 1 << 20
SMALL = 4 * MIB
"""Bytes that reading a header may take."""


def nifti(version: int = 1, **fields: object) -> bytearray:
    """A sound file of 3 x 4 x 5 float32 voxels with other header fields; `ext` are the bytes of an extension."""
    kind = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    image = kind(np.arange(60, dtype=np.float32).reshape(3, 4, 5), np.diag([2.0, 2, 2, 1]))
    raw = bytearray(image.to_bytes())
    types = image.header.template_dtype.fields
    for name, value in fields.items():
        if name == "ext":
            continue
        dtype, offset = types[name][:2]
        stored = np.asarray(value, dtype=dtype.base)
        raw[offset : offset + stored.nbytes] = stored.tobytes()
    if "ext" in fields:
        header = image.header.template_dtype.itemsize
        raw[header : header + 4] = b"\1\0\0\0"
        raw[header + 4 : header + 4] = fields["ext"]
    return raw


def dims(*shape: int) -> list[int]:
    return [len(shape), *shape, *[1] * (7 - len(shape))]


CLAIMS: dict[str, tuple[Callable[[], bytearray], str]] = {
    "1e12 voxels": (lambda: nifti(dim=dims(10_000, 10_000, 10_000)), "claims 10000 x 10000 x 10000 voxels"),
    "1e12 voxels, NIfTI-2": (lambda: nifti(2, dim=dims(10**6, 10**6, 1)), "claims 1000000 x 1000000 x 1 voxels"),
    "2**64 voxels are not 0": (lambda: nifti(2, dim=dims(2**32, 2**32, 1)), "4294967296 x 4294967296 x 1 voxels"),
    "2**126": (lambda: nifti(2, dim=dims(2**63 - 1, 2**63 - 1, 1)), "its header claims"),
    "just few enough": (lambda: nifti(dim=dims(1000, 1000, 99)), "corrupted or truncated .*396000352 bytes"),
    "as float64": (lambda: nifti(dim=dims(9000, 9000, 1), datatype=64, bitpix=64), "claims 648000352 bytes"),
    "a negative axis": (lambda: nifti(dim=dims(3, -4, 5)), "claims 3 x -4 x 5 voxels"),
    "two negative axes": (lambda: nifti(2, dim=dims(-3, -4, 5)), "claims -3 x -4 x 5 voxels"),
    "an empty axis": (lambda: nifti(dim=dims(3, 0, 5)), "claims 3 x 0 x 5 voxels"),
    "a surface": (lambda: nifti(dim=dims(-1, 1, 1), glmin=2**31 - 1), "claims 2147483647 x 1 x 1 voxels"),
    "no axes": (lambda: nifti(dim=[0] * 8), "is 0D|is 1D"),
    "seven axes": (lambda: nifti(dim=[7, 3, 4, 5, 1, 1, 1, 9]), "is 7D"),
    "99 axes": (lambda: nifti(dim=[99, 3, 4, 5, 1, 1, 1, 1]), "begin at byte|corrupted NIfTI header"),
    "voxels at 1e18": (lambda: nifti(vox_offset=1e18), "voxels begin at byte 1e.18"),
    "voxels at 2**62": (lambda: nifti(2, vox_offset=2**62), "voxels begin at byte 4.6.*e.18"),
    "voxels beyond the end": (lambda: nifti(vox_offset=1e6), "corrupted or truncated"),
    "voxels before the begin": (lambda: nifti(vox_offset=-352), "voxels begin at byte -352"),
    "voxels in the header": (lambda: nifti(vox_offset=0), "voxels begin at byte 0"),
    "voxels in a long header": (lambda: nifti(2, vox_offset=352), "voxels begin at byte 352"),
    "voxels at NaN": (lambda: nifti(vox_offset=np.nan), "voxels begin at byte nan"),
    "voxels at infinity": (lambda: nifti(vox_offset=np.inf), "voxels begin at byte inf"),
    "scaled by infinity": (lambda: nifti(scl_slope=np.inf), "slope inf"),
    "raised by NaN": (lambda: nifti(scl_slope=2, scl_inter=np.nan), "intercept nan"),
    "scaled beyond float32": (lambda: nifti(scl_slope=3e38), "NaN or infinite"),
    "numbers that nobody has": (lambda: nifti(datatype=777), "corrupted NIfTI header .data code 777"),
    "16 bytes a number": (lambda: nifti(datatype=1536, bitpix=128), "corrupted NIfTI header|voxels of type"),
    "colours": (lambda: nifti(datatype=128, bitpix=24), "voxels of type"),
    "half of a pair": (lambda: nifti(magic=b"ni1"), "pair"),
    "another magic": (lambda: nifti(magic=b"n+9"), "not a readable NIfTI file"),
    "NaN for space": (lambda: nifti(srow_y=[np.nan] * 4), "affine cannot be inverted"),
    "infinite space": (lambda: nifti(srow_y=[np.inf] * 4), "sform .*inf mm"),
    "astronomic space": (lambda: nifti(srow_x=[3e38, 0, 0, 0]), r"sform .*3e\+38 mm"),
    "flat space": (lambda: nifti(srow_x=[0, 2, 1e-9, 0]), "affine cannot be inverted"),
    "no quaternion": (lambda: nifti(sform_code=0, qform_code=1, quatern_b=9), "quaternion"),
    "empty": (bytearray, "is empty|cannot be decompressed"),
    "nothing but a size": (lambda: nifti()[:4], "header is truncated"),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is imported once is not to be counted."""
    file = tmp_path_factory.mktemp("sound") / "a.nii.gz"
    file.write_bytes(gzip.compress(nifti()))
    read_volume(file)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("claim", CLAIMS)
def test_what_a_header_claims_is_not_allocated(claim: str, ending: str, tmp_path: Path) -> None:
    make, said = CLAIMS[claim]
    raw = bytes(make())
    file = tmp_path / f"scan{ending}"
    file.write_bytes(gzip.compress(raw) if ending == ".nii.gz" else raw)
    with measured() as peak, processor_time(), pytest.raises(InputError, match=said) as refused:
        read_volume(file)
    assert str(refused.value).startswith(f"{file}: ") and str(refused.value).isprintable()
    assert peak.bytes < SMALL


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("size", [-8, -(2**31), 0, 2**31 - 1, 16])
def test_extensions_are_passed_over_whatever_their_size(version: int, size: int, tmp_path: Path) -> None:
    """A reader that believed a negative size would read the file to its end; its bytes may inflate to terabytes."""
    begin = {1: 352, 2: 544}[version] + 16
    raw = nifti(version, vox_offset=begin, ext=struct.pack("<ii", size, 4) + bytes(8))
    file = tmp_path / "scan.nii.gz"
    file.write_bytes(gzip.compress(raw))
    with measured() as peak:
        image = read_volume(file)
    np.testing.assert_array_equal(image.data.ravel(order="C"), np.arange(60))
    assert peak.bytes < SMALL


def test_a_slope_of_nan_or_0_is_none(tmp_path: Path) -> None:
    for slope in (np.nan, 0.0):
        (tmp_path / "scan.nii").write_bytes(nifti(scl_slope=slope, scl_inter=np.nan))
        assert read_volume(tmp_path / "scan.nii").data.max() == 59


def test_the_name_may_be_in_capitals(tmp_path: Path) -> None:
    for name, raw in (("A.NII", nifti()), ("B.NII.GZ", gzip.compress(nifti()))):
        (tmp_path / name).write_bytes(raw)
        assert read_volume(tmp_path / name).data.max() == 59


def test_names_that_no_file_has(tmp_path: Path) -> None:
    for name in ("a" * 5000 + ".nii", "a\0.nii", "a\n.nii"):
        with pytest.raises(InputError) as refused:
            read_volume(tmp_path / name)
        assert str(refused.value).isprintable()


def test_a_file_of_gigabytes_is_not_read_for_60_voxels(tmp_path: Path) -> None:
    """Eight gigabytes that take no room on the disk."""
    for name, raw in (("a.nii", bytes(nifti())), ("a.nii.gz", gzip.compress(nifti()))):
        (tmp_path / name).write_bytes(raw)
        os.truncate(tmp_path / name, 8 << 30)
    with measured() as peak, processor_time():
        assert read_volume(tmp_path / "a.nii").data.max() == 59
        with pytest.raises(InputError, match=r"8589934592 bytes.*claims 592"):
            read_volume(tmp_path / "a.nii.gz")
    assert peak.bytes < SMALL


BOMBS = """
import gzip, sys
from pathlib import Path
from tests.security.limits import address_space
from uadbench.cohorts.findings import ScanError
from uadbench.cohorts.io.nifti import read_volume
from uadbench.runtime.memory import peak_resident_bytes

folder = Path(sys.argv[1])
with address_space():
    for file in sorted(folder.iterdir()):
        try:
            read_volume(file)
            print(file.name, "read", sep=": ")
        except ScanError as error:
            print(file.name, error.finding.value, sep=": ")
print("peak:", peak_resident_bytes() >> 20)
"""


def test_what_inflates_to_gigabytes_stays_below_two(tmp_path: Path) -> None:
    """Bombs of some megabytes: behind the voxels, before them, and as many voxels as are allowed."""
    zeros = gzip.compress(bytes(MIB), mtime=0)
    sound, folder = bytes(nifti()), tmp_path / "bombs"
    folder.mkdir()
    bombs = {
        "after": gzip.compress(sound) + zeros * 600,
        "far after": gzip.compress(sound) + zeros * 4096,
        "before": gzip.compress(nifti(vox_offset=60 << 20)[:352]) + zeros * 4096,
        "extension": gzip.compress(nifti(ext=struct.pack("<ii", -(2**31), 4))) + zeros * 600,
        "voxels": gzip.compress(nifti(dim=dims(9999, 9999, 1), datatype=64, bitpix=64)) + zeros * 763,
    }
    for name, raw in bombs.items():
        (folder / f"{name}.nii.gz").write_bytes(raw)
    told = subprocess.run(
        [sys.executable, "-c", BOMBS, str(folder)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    lines = dict(line.split(": ", 1) for line in told.stdout.splitlines())
    for name in ("after", "before", "extension"):
        assert "it continues after" in lines[f"{name}.nii.gz"], name
    assert "its header claims 592" in lines["far after.nii.gz"]
    assert lines["voxels.nii.gz"] == "read"
    assert int(lines["peak"]) < 2048


# --- pictures


@pytest.mark.parametrize("shape", ["(1000000, 1000000)", "(-1000000, -1000000)", "(999999999999999999999,)"])
def test_pictures_of_terabytes(shape: str, tmp_path: Path) -> None:
    header = f"{{'descr': '<f2', 'fortran_order': False, 'shape': {shape}}}"
    with zipfile.ZipFile(tmp_path / EXAMPLES, "w") as archive:
        archive.writestr(
            "case/healthy.npy", b"\x93NUMPY\1\0" + struct.pack("<H", len(header) + 1) + header.encode() + b"\n"
        )
    with measured() as peak, processor_time(), pytest.raises(InputError, match=r"claims \d+ bytes of pictures"):
        read_examples(tmp_path / EXAMPLES)
    assert peak.bytes < SMALL


# --- tables


def columns(count: int) -> str:
    return "\t".join(f"c{number}" for number in range(count)) + "\n"


TABLES: dict[str, tuple[Callable[[], str], str]] = {
    "a million columns": (lambda: columns(1_000_000), "has .* (columns|characters)"),
    "columns behind a blank line": (lambda: "\n \n" + columns(1_000_000), "has .* (columns|characters)"),
    "columns behind a quoted line": (lambda: '"a\nb"\t' + columns(1_000_000), "has .* (columns|characters)"),
    "columns without a name": (lambda: "\t" * 1_000_000, "is empty"),
    "a thousand too many columns": (lambda: columns(3_000), "has 3000 columns"),
    "a million blank lines": (lambda: "\n" * MIB + "a\tb\n", "has more than 1000000 lines"),
    "60 MiB of tabs": (lambda: "\t" * (60 * MIB) + "a", "characters"),
    "60 MiB of tabs below a header": (lambda: "a\tb\n" + "\t" * (60 * MIB) + "c", "line 2 has .* characters"),
    "a column of a megabyte": (lambda: "c" * MIB + "\tb\n", "characters"),
    "more rows than people": (lambda: "a\tb\n" + "1\t2\n" * (MOST_ROWS + 1), f"more than {MOST_ROWS} rows"),
    "rows that are filled up": (lambda: columns(2_000) + "x\n" * 50_000, "more than 2500 rows"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", TABLES)
def test_tables_that_would_grow(kind: str, tmp_path: Path) -> None:
    make, said = TABLES[kind]
    (tmp_path / "t.tsv").write_text(make())
    with address_space(GIB), processor_time(5 * STEPS), pytest.raises(InputError, match=said):
        read_table(tmp_path / "t.tsv")


def test_a_table_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("a\tb\n")
    os.truncate(tmp_path / "t.tsv", 8 << 30)
    with measured() as peak, pytest.raises(InputError, match="8589934592 bytes"):
        read_table(tmp_path / "t.tsv")
    assert peak.bytes < SMALL


def test_a_packed_table_is_none(tmp_path: Path) -> None:
    (tmp_path / "t.tsv.gz").write_bytes(gzip.compress(b"a\tb\n" + b"1\t2\n" * MIB))
    with pytest.raises(InputError, match="compressed"):
        read_table(tmp_path / "t.tsv.gz")


@pytest.mark.parametrize("read", [read_cases, lambda file: read_scores(file.parent)], ids=["untrusted", "own"])
def test_scores_of_few_bytes_and_many_rows(read: Callable[[Path], object], tmp_path: Path) -> None:
    """A column of one value takes no room, however long."""
    column = pyarrow.array(np.zeros(30_000_000, dtype=np.int8))
    file = tmp_path / "scores.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"a": column, "b": column}), file)
    assert file.stat().st_size < MIB
    with pytest.raises(InputError, match="claims 30000000 rows of 2 columns"):
        read(file)


@pytest.mark.parametrize("shape", ["[100000, 100000, 100000]", "[1000000, 1000000, 1]", f"[{2**40}, 1, 1]"])
def test_a_grid_that_no_memory_holds(shape: str, tmp_path: Path) -> None:
    text = (FOLDER / "smoke.toml").read_text()
    assert "shape = [24, 32, 24]" in text
    (tmp_path / "p.toml").write_text(text.replace("[24, 32, 24]", shape))
    with pytest.raises(InputError, match=r"grid.*(voxels|less than or equal)"):
        load_protocol(str(tmp_path / "p.toml"))
