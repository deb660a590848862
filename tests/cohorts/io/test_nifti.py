"""Reading and writing NIfTI: orientation, number types, and a line for every kind of bad file."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel
import numpy as np
import pytest

from uadbench.cohorts.io.forms import mni
from uadbench.cohorts.io.nifti import read_volume, write_volume
from uadbench.errors import InputError

AFFINE = np.array([[2.0, 0, 0, -10], [0, 2, 0, -20], [0, 0, 2, -30], [0, 0, 0, 1]])


def ramp(shape=(5, 6, 7)) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def save(path: Path, data: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nibabel.Nifti1Image(data, affine).to_filename(path)
    return path


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "new" / "a.nii.gz"
    write_volume(path, ramp(), mni(AFFINE))
    image = read_volume(path)
    assert image.data.dtype == np.float32 and image.affine.dtype == np.float64
    np.testing.assert_array_equal(image.data, ramp())
    np.testing.assert_array_equal(image.affine, AFFINE)
    header = nibabel.load(path).header
    assert header["sform_code"] == header["qform_code"] == 4
    assert [p.name for p in path.parent.iterdir()] == ["a.nii.gz"]


def test_same_content_same_bytes(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        write_volume(tmp_path / name, ramp(), mni(AFFINE))
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_las_is_put_right(tmp_path):
    """A volume stored right to left comes back left to right: each voxel keeps its place in the world."""
    las = AFFINE.copy()
    las[0] = [-2, 0, 0, -10 + 2 * 4]
    image = read_volume(save(tmp_path / "las.nii.gz", ramp()[::-1].copy(), las))
    np.testing.assert_array_equal(image.data, ramp())
    np.testing.assert_array_equal(image.affine, AFFINE)


def test_permuted_axes_are_put_right(tmp_path):
    image = read_volume(save(tmp_path / "p.nii.gz", ramp().transpose(2, 0, 1).copy(), AFFINE[:, [2, 0, 1, 3]]))
    np.testing.assert_array_equal(image.data, ramp())
    np.testing.assert_array_equal(image.affine, AFFINE)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64, np.float32])
def test_number_types(tmp_path, dtype):
    image = read_volume(save(tmp_path / "t.nii", (ramp() % 200).astype(dtype)))
    np.testing.assert_array_equal(image.data, ramp() % 200)
    assert image.data.dtype == np.float32


def test_scaled_integers_agree_with_nibabel(tmp_path):
    stored = nibabel.Nifti1Image((ramp() / 37).astype(np.float32), AFFINE)
    stored.header.set_data_dtype(np.int16)
    stored.to_filename(tmp_path / "s.nii.gz")
    expected = nibabel.load(tmp_path / "s.nii.gz").get_fdata()
    np.testing.assert_allclose(read_volume(tmp_path / "s.nii.gz").data, expected, rtol=1e-6, atol=1e-6)


def test_trailing_axis_is_dropped(tmp_path):
    assert read_volume(save(tmp_path / "t.nii.gz", ramp()[..., None])).data.shape == (5, 6, 7)


def with_nan() -> np.ndarray:
    data = ramp()
    data[0, 0, :3] = [np.nan, np.inf, -np.inf]
    return data


def test_nan_can_be_zero(tmp_path):
    data = read_volume(save(tmp_path / "n.nii.gz", with_nan()), nan="zero").data
    assert (data[0, 0, :3] == 0).all() and np.isfinite(data).all()
    np.testing.assert_array_equal(data[1:], ramp()[1:])


def singular() -> np.ndarray:
    affine = AFFINE.copy()
    affine[2] = 0
    return affine


def absurd(path: Path) -> Path:
    save(path, ramp())
    raw = bytearray(path.read_bytes())
    raw[40:48] = np.array([3, 30000, 30000, 30000], dtype="<i2").tobytes()
    path.write_bytes(raw)
    return path


def bad_singular(path: Path) -> Path:
    image = nibabel.Nifti1Image(ramp(), AFFINE)
    image.header["sform_code"], image.header["qform_code"] = 1, 0
    image.to_filename(path)
    raw = bytearray(path.read_bytes())
    raw[280:328] = np.zeros(12, dtype="<f4").tobytes()  # srow_x, srow_y, srow_z
    path.write_bytes(raw)
    return path


def cut(path: Path, share: float) -> Path:
    write_volume(path, np.random.default_rng(0).random((20, 20, 20), dtype=np.float32), mni(AFFINE))
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])
    return path


def flipped(path: Path) -> Path:
    write_volume(path, np.random.default_rng(0).random((20, 20, 20), dtype=np.float32), mni(AFFINE))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    path.write_bytes(raw)
    return path


def text(path: Path) -> Path:
    path.write_text("not an image")
    return path


def mgh(path: Path) -> Path:
    nibabel.MGHImage(ramp(), AFFINE).to_filename(path.with_suffix(".mgz"))
    return path.with_suffix(".mgz")


def folder(path: Path) -> Path:
    path.mkdir()
    return path


BAD = {
    "missing": (lambda p: p, "no such file"),
    "folder": (folder, "a folder, not a file"),
    "text": (text, "not a readable NIfTI file"),
    "not NIfTI": (mgh, "not NIfTI"),
    "header cut short": (lambda p: cut(p, 0.001), "NIfTI"),
    "voxels cut short": (lambda p: cut(p, 0.7), "corrupted or truncated"),
    "byte flipped": (flipped, "corrupted or truncated"),
    "4D": (lambda p: save(p, np.stack([ramp(), ramp()], axis=-1)), "is 4D, shape 5 x 6 x 7 x 2"),
    "2D": (lambda p: save(p, ramp()[0]), "is 2D, shape 6 x 7"),
    "NaN": (lambda p: save(p, with_nan()), r"3 voxels are NaN or infinite; .*--nan zero"),
    "zeros": (lambda p: save(p, 0 * ramp()), "every voxel is 0"),
    "constant": (lambda p: save(p, 0 * ramp() + 7), "every voxel is 7"),
    "affine": (bad_singular, "affine cannot be inverted"),
    "absurd": (absurd, "30000 x 30000 x 30000 voxels"),
    "complex": (lambda p: save(p, ramp().astype(np.complex64)), "complex64"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_one_line_that_names_the_file(tmp_path, kind):
    make, expected = BAD[kind]
    plain = kind in {"absurd", "affine"}
    path = make(tmp_path / ("bad.nii" if plain else "bad.nii.gz"))
    with pytest.raises(InputError) as caught:
        read_volume(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and re.search(expected, message) and "; " in message
    assert "\n" not in message
