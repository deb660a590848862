"""Files that are called .nii or .nii.gz and are something else: said what they are, and what to do."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest

from uadbench.cohorts.findings import Finding, ScanError
from uadbench.cohorts.io.nifti import read_volume

DATA = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
NIFTI = nibabel.Nifti1Image(DATA, np.diag([2.0, 2, 2, 1])).to_bytes()
LONG = nibabel.Nifti2Image(DATA, np.diag([2.0, 2, 2, 1])).to_bytes()
KEY = "SHA256E-s35--0c13d2ed0a2fd0f1c6f7b2c9b7f5a3d1f0.nii.gz"
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0c' * 32}\nsize 12345\n"


def finding(path: Path) -> Finding:
    with pytest.raises(ScanError) as refused:
        read_volume(path)
    assert "\n" not in str(refused.value) and refused.value.finding.where == str(path)
    return refused.value.finding


def content(path: Path, raw: bytes) -> Finding:
    path.write_bytes(raw)
    return finding(path)


@pytest.mark.parametrize("raw", [NIFTI, LONG], ids=["NIfTI-1", "NIfTI-2"])
@pytest.mark.parametrize(("name", "right"), [("a.nii.gz", "a.nii"), ("B.NII.GZ", "B.NII")])
def test_an_uncompressed_file_called_gz_may_be_renamed(tmp_path: Path, raw: bytes, name: str, right: str) -> None:
    found = content(tmp_path / name, raw)
    assert "is uncompressed" in found.value and found.advice == f"name it {right}"
    (tmp_path / name).rename(tmp_path / right)
    np.testing.assert_array_equal(read_volume(tmp_path / right).data, DATA)


@pytest.mark.parametrize("raw", [NIFTI, LONG], ids=["NIfTI-1", "NIfTI-2"])
def test_a_gzip_file_called_nii_may_be_renamed(tmp_path: Path, raw: bytes) -> None:
    found = content(tmp_path / "a.nii", gzip.compress(raw))
    assert "is gzip" in found.value and found.advice == "name it a.nii.gz"
    (tmp_path / "a.nii").rename(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").data, DATA)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize(
    ("raw", "fetched"), [(POINTER.encode(), "git lfs pull"), (f"/annex/objects/{KEY}\n".encode(), "git annex get")]
)
def test_content_that_was_not_fetched(tmp_path: Path, name: str, raw: bytes, fetched: str) -> None:
    found = content(tmp_path / name, raw)
    assert found.kind == "missing" and "not fetched" in found.value and fetched in found.advice


def test_a_link_into_git_annex(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    path.symlink_to(f".git/annex/objects/Xk/9q/{KEY}/{KEY}")
    found = finding(path)
    assert found.kind == "missing" and "not fetched" in found.value and "git annex get" in found.advice
    (tmp_path / path.readlink()).parent.mkdir(parents=True)
    (tmp_path / path.readlink()).write_bytes(gzip.compress(NIFTI))
    np.testing.assert_array_equal(read_volume(path).data, DATA)


def test_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "a.nii").symlink_to("/archive/gone.nii")
    (tmp_path / "folder").symlink_to(tmp_path / "unmounted")
    (tmp_path / "loop.nii").symlink_to(tmp_path / "loop.nii")
    targets = {"a.nii": "/archive/gone.nii", "folder/b.nii": f"{tmp_path / 'unmounted'}", "loop.nii": "loop.nii"}
    for name, target in targets.items():
        found = finding(tmp_path / name)
        assert found.kind == "missing" and target in found.value and "link" in found.value
    assert finding(tmp_path / "never.nii").value == "no such file"


def zipped(raw: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.nii", raw)
    return packed.getvalue()


def tarred(raw: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("a.nii")
        member.size = len(raw)
        archive.addfile(member, io.BytesIO(raw))
    return packed.getvalue()


def analyze(order: str = "<") -> bytes:
    header = nibabel.AnalyzeHeader(endianness=order)
    header.set_data_shape((3, 4, 5))
    header.set_data_dtype(np.float32)
    return header.binaryblock + bytes(500)


OTHERS = {
    "zip": (zipped(NIFTI), "zip"),
    "bzip2": (bz2.compress(NIFTI), "bzip2"),
    "xz": (lzma.compress(NIFTI), "xz"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(500), "zstd"),
    "tar": (tarred(NIFTI), "tar"),
    "DICOM": (bytes(128) + b"DICM" + bytes(500), "DICOM"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(500), "MINC"),
    "netCDF": (b"CDF\1" + bytes(500), "MINC"),
    "page": (b"\n<!DOCTYPE html>\n<title>Log in</title>" + bytes(500), "web page"),
    "page with a mark": (b"\xef\xbb\xbf<HTML>" + bytes(500), "web page"),
    "Analyze": (analyze(), "Analyze 7.5"),
    "Analyze, big-endian": (analyze(">"), "Analyze 7.5"),
    "text": (b"no image " * 100, "NIfTI"),
    "nothing": (b"", "is empty"),
}


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("kind", OTHERS)
def test_something_else_is_called_what_it_is(tmp_path: Path, kind: str, name: str) -> None:
    raw, said = OTHERS[kind]
    found = content(tmp_path / name, raw)
    assert found.kind == "unreadable" and said in found.value and found.advice
    if raw and kind != "text":
        assert said in content(tmp_path / "packed.nii.gz", gzip.compress(raw)).value


def test_gzip_inside_gzip(tmp_path: Path) -> None:
    for name in ("a.nii", "a.nii.gz"):
        assert "gzip inside gzip" in content(tmp_path / name, gzip.compress(gzip.compress(NIFTI))).value


def test_a_pair_is_refused_by_its_names(tmp_path: Path) -> None:
    nibabel.Nifti1Pair(DATA, np.eye(4)).to_filename(tmp_path / "a.hdr")
    for name in ("a.hdr", "a.img"):
        assert "pair of .hdr and .img" in finding(tmp_path / name).value
