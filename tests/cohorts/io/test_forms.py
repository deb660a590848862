"""Where a volume lies: said by its header or refused, doubted where two answers differ, and never made up."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from uadbench.cohorts.findings import Finding, ScanError
from uadbench.cohorts.io.forms import APART_MM, Form, Forms, doubt, mni
from uadbench.cohorts.io.header import read_header
from uadbench.cohorts.io.nifti import read_volume, write_volume

SHAPE = (5, 6, 7)
LAS = np.array([[-2.0, 0, 0, 10], [0, 2, 0, -20], [0, 0, 2, -30], [0, 0, 0, 1]])
DATA = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)


def moved(affine: np.ndarray = LAS, degrees: float = 0.0, by: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    """The affine turned about the first axis of the world, and then shifted."""
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("x", degrees, degrees=True).as_matrix()
    turn[:3, 3] = by
    return turn @ affine


def save(
    path: Path,
    sform: np.ndarray | None = None,
    qform: np.ndarray | None = None,
    codes: tuple[int, int] = (1, 1),
    kind: type = nibabel.Nifti1Image,
    order: str = "<",
    **fields: object,
) -> Path:
    """A file with these affines (code 0 for None) and these fields of the header, as they are."""
    image = kind(DATA, None, kind.header_class(endianness=order))
    image.header.set_zooms((2, 2, 2))
    image.header.set_sform(sform, 0 if sform is None else codes[0])
    image.header.set_qform(qform, 0 if qform is None else codes[1])
    raw = bytearray(image.to_bytes())
    types = image.header.structarr.dtype.fields
    for name, value in fields.items():
        dtype, offset = types[name][:2]
        stored = np.asarray(value, dtype=dtype.base)
        raw[offset : offset + stored.nbytes] = stored.tobytes()
    path.write_bytes(raw)
    return path


def doubts(path: Path) -> Finding | None:
    header = read_header(path)
    return doubt(path, header.forms, header.shape)


def refusal(path: Path) -> Finding:
    with pytest.raises(ScanError) as refused:
        read_volume(path)
    assert refused.value.finding.where == str(path) and refused.value.finding.fatal
    return refused.value.finding


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("forms", [{"sform": LAS}, {"qform": LAS}, {"sform": LAS, "qform": moved(by=(50, 0, 0))}])
def test_the_sform_counts_and_without_it_the_qform(tmp_path: Path, kind: type, order: str, forms: dict) -> None:
    path = save(tmp_path / "a.nii", **forms, kind=kind, order=order)
    np.testing.assert_allclose(read_header(path).affine, LAS, atol=1e-6)
    image = read_volume(path)
    np.testing.assert_array_equal(image.data, DATA[::-1])
    np.testing.assert_allclose(image.affine, nibabel.as_closest_canonical(nibabel.load(path)).affine, atol=1e-6)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_volume_that_lies_nowhere_is_refused(tmp_path: Path, kind: type, order: str) -> None:
    found = refusal(save(tmp_path / "a.nii", kind=kind, order=order))
    assert found.kind == "no position" and "sform_code and qform_code are 0" in found.value and found.advice


NAN = [np.nan] * 4
USELESS = {
    "sform of zeros": ({"sform": LAS, "qform": LAS, "srow_x": [0] * 4, "srow_y": [0] * 4, "srow_z": [0] * 4}, "sform"),
    "singular sform": ({"sform": LAS, "qform": LAS, "srow_z": [0, 2, 0, 0]}, "sform"),
    "sform of NaN": ({"sform": LAS, "qform": LAS, "srow_y": NAN}, "sform"),
    "sform at NaN": ({"sform": LAS, "srow_y": [0, 2, 0, np.nan]}, "sform"),
    "sform code 99": ({"sform": LAS, "qform": LAS, "sform_code": 99}, "sform_code is 99"),
    "sform code -1": ({"sform": LAS, "sform_code": -1}, "sform_code is -1"),
    "quaternion": ({"qform": LAS, "quatern_b": 0.9, "quatern_c": 0.9}, "quaternion"),
    "quaternion of NaN": ({"qform": LAS, "quatern_b": np.nan}, "qform"),
    "qform at NaN": ({"qform": LAS, "qoffset_y": np.nan}, "qform"),
    "qform code 99": ({"qform": LAS, "qform_code": 99}, "qform_code is 99"),
    "side 2": ({"qform": LAS, "pixdim": [2, 2, 2, 2]}, r"pixdim[0] is 2"),
    "side -3": ({"qform": LAS, "pixdim": [-3, 2, 2, 2]}, r"pixdim[0] is -3"),
    "side NaN": ({"qform": LAS, "pixdim": [np.nan, 2, 2, 2]}, r"pixdim[0] is nan"),
    "size 0": ({"qform": LAS, "pixdim": [-1, 2, 0, 2]}, "2 x 0 x 2 mm"),
    "size below 0": ({"qform": LAS, "pixdim": [1, -2, 2, 2]}, "-2 x 2 x 2 mm"),
    "size NaN": ({"qform": LAS, "pixdim": [1, 2, 2, np.nan]}, "2 x 2 x nan mm"),
    "size infinite": ({"qform": LAS, "pixdim": [1, 2, 2, np.inf]}, "2 x 2 x inf mm"),
}


@pytest.mark.parametrize("case", USELESS)
def test_an_affine_that_tools_read_differently_is_refused(tmp_path: Path, case: str) -> None:
    fields, named = USELESS[case]
    found = refusal(save(tmp_path / "a.nii", **fields))
    assert found.kind == "affine" and named in found.value and "sform" in found.advice


def test_a_qform_whose_side_is_0_means_1(tmp_path: Path) -> None:
    """So the standard says."""
    ras = LAS.copy()
    ras[0] = [2, 0, 0, -10]
    path = save(tmp_path / "a.nii", qform=ras, pixdim=[0, 2, 2, 2])
    np.testing.assert_allclose(read_header(path).affine, ras, atol=1e-6)


@pytest.mark.parametrize(
    "field", [{"quatern_b": 9}, {"pixdim": [7, 2, 2, 2]}, {"pixdim": [1, 0, 2, 2]}, {"qform_code": 9}]
)
def test_beside_a_good_sform_a_useless_qform_is_only_doubted(tmp_path: Path, field: dict) -> None:
    path = save(tmp_path / "a.nii", sform=LAS, qform=LAS, **field)
    np.testing.assert_array_equal(read_header(path).affine, LAS)
    found = doubts(path)
    assert (
        found is not None and found.kind == "two affines" and not found.fatal and "qform cannot be used" in found.value
    )


@pytest.mark.parametrize(
    ("code", "unit"), [(1, "metres"), (3, "micrometres"), (9, "metres"), (5, "not define (5)"), (4, "not define (4)")]
)
def test_another_unit_than_mm_is_refused(tmp_path: Path, code: int, unit: str) -> None:
    found = refusal(save(tmp_path / "a.nii", sform=LAS, xyzt_units=code))
    assert found.kind == "unit" and unit in found.value


@pytest.mark.parametrize(("code", "unit"), [(0, "unknown"), (2, "mm"), (8, "unknown"), (10, "mm"), (18, "mm")])
def test_an_unknown_unit_is_taken_as_mm(tmp_path: Path, code: int, unit: str) -> None:
    """As every tool does; whatever the unit of time."""
    header = read_header(save(tmp_path / "a.nii", sform=LAS, xyzt_units=code))
    np.testing.assert_array_equal(header.affine, LAS)
    assert header.forms.unit == unit


# --- two affines


def test_15_mm_and_12_degrees_are_named(tmp_path: Path) -> None:
    found = doubts(save(tmp_path / "a.nii", sform=LAS, qform=moved(by=(9, 12, 0))))
    assert found is not None and found.kind == "two affines" and not found.fatal
    assert "15.0 mm" in found.value and "0.0 degrees" in found.value
    found = doubts(save(tmp_path / "b.nii", sform=LAS, qform=moved(degrees=12)))
    assert found is not None and "12.0 degrees" in found.value


def test_the_distance_is_that_of_the_farthest_voxel(tmp_path: Path) -> None:
    """Against every voxel's two places."""
    path = save(tmp_path / "a.nii", sform=LAS, qform=moved(degrees=-7, by=(1, 2, 3)))
    image = nibabel.load(path)
    voxels = np.indices(SHAPE).reshape(3, -1).T
    one, other = (nibabel.affines.apply_affine(a, voxels) for a in (image.get_sform(), image.get_qform()))
    found = doubts(path)
    assert found is not None and f"{np.linalg.norm(one - other, axis=1).max():.1f} mm" in found.value


@pytest.mark.parametrize(
    ("qform", "agree"),
    [
        (moved(), True),
        (moved(by=(0.9 * APART_MM, 0, 0)), True),
        (moved(by=(0, 1.1 * APART_MM, 0)), False),
        (moved(by=(1e-3, 2e-3, 0), degrees=0.01), True),
        (LAS * [[1.1], [1.1], [1.1], [1]], False),
    ],
)
def test_a_rounding_is_no_difference(tmp_path: Path, qform: np.ndarray, agree: bool) -> None:
    assert (doubts(save(tmp_path / "a.nii", sform=LAS, qform=qform)) is None) == agree


def test_float32_is_no_difference_at_an_odd_angle(tmp_path: Path) -> None:
    oblique = moved(degrees=33.3, by=(-91.7, 123.4, 77.1))
    assert doubts(save(tmp_path / "a.nii", sform=oblique, qform=oblique)) is None


def test_left_against_right_is_named_so(tmp_path: Path) -> None:
    other = LAS.copy()
    other[0] = [2, 0, 0, 2]
    found = doubts(save(tmp_path / "a.nii", sform=LAS, qform=other))
    assert found is not None and found.kind == "left-right" and "left and right" in found.value and not found.fatal


# --- written


@pytest.mark.parametrize(
    ("sform", "qform", "unit"),
    [(Form(LAS, 2), None, "unknown"), (None, Form(LAS, 1), "mm"), (Form(LAS, 4), Form(moved(by=(9, 12, 0)), 1), "mm")],
)
def test_what_is_written_claims_what_it_is_given(tmp_path: Path, sform: Form, qform: Form, unit: str) -> None:
    path = tmp_path / "a.nii.gz"
    write_volume(path, DATA, Forms(sform, qform, unit))
    header = nibabel.load(path).header
    for form, (affine, code) in ((sform, header.get_sform(coded=True)), (qform, header.get_qform(coded=True))):
        assert code == (form.code if form else 0)
        assert form is None or np.allclose(affine, form.affine, atol=1e-5)
    assert header.get_xyzt_units()[0] == unit
    np.testing.assert_allclose(header.get_zooms(), (2, 2, 2), rtol=1e-6)
    np.testing.assert_allclose(read_header(path).affine, LAS, atol=1e-6)


def test_mni_is_claimed_twice(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.nii", DATA, mni(LAS))
    header = nibabel.load(tmp_path / "a.nii").header
    assert header["sform_code"] == header["qform_code"] == 4 and header.get_xyzt_units()[0] == "mm"


def test_nothing_else_loads_somebodys_files() -> None:
    """nibabel alone would mend, guess and invent; it may load the atlas that a package ships."""
    package = Path(read_header.__code__.co_filename).parents[2]
    loading = {
        file.relative_to(package).as_posix() for file in package.rglob("*.py") if "nibabel.load" in file.read_text()
    }
    assert loading == {"space/atlas.py"}
