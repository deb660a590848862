"""The position of a NIfTI volume in space: sform and qform, the choice between them, and their difference."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np

from uadbench.cohorts.findings import Finding, refuse
from uadbench.types import Affine

CODES = range(1, 6)
"""Valid codes: 1 scanner, 2 aligned, 3 Talairach, 4 MNI, 5 another template; 0 means that an affine is not set."""

MNI = 4
UNITS = {0: "unknown", 2: "mm"}
"""Units of length for which affines are in millimetres. Most tools, including nibabel, do not set the unit."""

OTHER_UNITS = {1: "metres", 3: "micrometres"}

FURTHEST_MM = 1e6

APART_MM = 1.0
"""The largest distance, anywhere in the volume, between the positions of a voxel by sform and by qform without a
warning. Rounding to float32 moves a voxel by less than 0.01 mm; 1 mm is half a voxel of protocol `paper`."""

SET = "set a valid sform (e.g. convert the image again)"


@dataclass(frozen=True)
class Form:
    """An affine of a NIfTI header.

    Attributes:
        affine: (4, 4) from voxel indices in the file to RAS millimetres.
        code: The code of the space, see CODES.
    """

    affine: Affine
    code: int


@dataclass(frozen=True)
class Forms:
    """The affines of a NIfTI header, at least one of which is set.

    Attributes:
        sform: The sform; None if its code is 0.
        qform: The qform; None if its code is 0 or it cannot be used.
        unit: The unit of length in the header.
        unusable: The reason why a qform with a code cannot be used; "" otherwise.
    """

    sform: Form | None
    qform: Form | None
    unit: Literal["mm", "unknown"] = "mm"
    unusable: str = ""

    @property
    def affine(self) -> Affine:
        """The affine of the sform if it is set, otherwise that of the qform, as recommended by the NIfTI standard."""
        form = self.sform or self.qform
        assert form is not None
        return form.affine


def mni(affine: Affine) -> Forms:
    """The forms of a volume on a grid that was defined in MNI space; not for volumes from other files.

    Args:
        affine: (4, 4) from voxel indices to MNI millimetres.

    Returns:
        Sform and qform with the code of MNI.
    """
    return Forms(Form(affine, MNI), Form(affine, MNI))


def read_forms(path: Path, header: Any) -> Forms:
    """Read the forms of a header.

    Values that are interpreted differently by different tools, such as a negative voxel size, are refused.

    Args:
        path: The file, for error messages.
        header: A nibabel header as stored, before corrections by nibabel.

    Returns:
        The forms.

    Raises:
        ScanError: If neither form is set, the one that is used is invalid, or the unit is not mm.
    """
    unit = _unit(path, int(header["xyzt_units"]) & 7)
    codes = int(header["sform_code"]), int(header["qform_code"])
    if codes == (0, 0):
        value = "its sform_code and qform_code are 0, so its position and its left and right side are unknown"
        advice = "convert the original again (e.g. dcm2niix), or check left and right and set the codes"
        refuse("no position", path, value, advice)
    if codes[0]:
        try:
            sform = _form(header.get_sform(), codes[0], "sform")
        except ValueError as error:
            refuse("affine", path, f"its {error}", SET)
        try:
            return Forms(sform, _qform(header), unit)
        except ValueError as error:
            return Forms(sform, None, unit, str(error))
    try:
        return Forms(None, _qform(header), unit)
    except ValueError as error:
        refuse("affine", path, f"its {error}", SET)


def doubt(path: Path, forms: Forms, shape: tuple[int, ...]) -> Finding | None:
    """Warn if sform and qform disagree, so that other tools may use another position.

    Args:
        path: The file.
        forms: The forms of its header.
        shape: The shape of the volume.

    Returns:
        The warning; None if the forms agree.
    """
    where, advice = str(path), "the sform is used; check that it is correct, and set the qform to the same affine"
    if forms.unusable:
        return Finding("two affines", where, f"its qform cannot be used: {forms.unusable}", advice, False)
    if forms.sform is None or forms.qform is None:
        return None
    one, other = forms.sform.affine, forms.qform.affine
    distance = _furthest(one, other, shape)
    if np.linalg.det(one[:3, :3]) * np.linalg.det(other[:3, :3]) < 0:
        value = f"its sform and qform disagree about left and right (by up to {distance:.1f} mm)"
        return Finding("left-right", where, value, advice, False)
    if distance <= APART_MM:
        return None
    value = f"its sform and qform differ by up to {distance:.1f} mm and {_degrees(one, other):.1f} degrees"
    return Finding("two affines", where, value, advice, False)


def _unit(path: Path, code: int) -> Literal["mm", "unknown"]:
    if code not in UNITS:
        unit = OTHER_UNITS.get(code, f"a unit that NIfTI does not define ({code})")
        refuse("unit", path, f"its affine is in {unit}, not millimetres", "rewrite it in mm, with xyzt_units 2")
    return "mm" if UNITS[code] == "mm" else "unknown"


def _qform(header: Any) -> Form | None:
    """The qform; None if its code is 0. Raises ValueError if it cannot be used."""
    code = int(header["qform_code"])
    if code == 0:
        return None
    side, *sizes = (float(number) for number in header["pixdim"][:4])
    if side not in (-1, 0, 1):
        raise ValueError(f"pixdim[0] is {side:g}, not 1 or -1, so its qform does not define left and right")
    if not all(0 < size < np.inf for size in sizes):
        raise ValueError(f"voxel sizes (pixdim) are {' x '.join(f'{size:g}' for size in sizes)} mm")
    whole = header.copy()
    whole["pixdim"][0] = side or 1  # in the standard, 0 means 1
    try:
        affine = whole.get_qform()
    except Exception:  # nibabel has its own exceptions
        raise ValueError("qform has a quaternion that is not a rotation") from None
    return _form(affine, code, "qform")


def _form(affine: Any, code: int, name: str) -> Form:
    """Validate an affine. Raises ValueError if it cannot be used."""
    matrix = np.asarray(affine, dtype=np.float64)
    if code not in CODES:
        raise ValueError(f"{name}_code is {code}, which NIfTI does not define")
    furthest = float(np.abs(matrix).max())
    if furthest > FURTHEST_MM:  # NaN is handled below
        raise ValueError(f"{name} affine contains {furthest:.3g} mm")
    axes = matrix[:3, :3]
    with np.errstate(all="ignore"):
        volume, box = abs(float(np.linalg.det(axes))), float(np.prod(np.linalg.norm(axes, axis=0)))
    if not (volume >= 1e-9 and volume > 1e-6 * box) or not np.isfinite(matrix).all():
        raise ValueError(f"{name} affine cannot be inverted")
    return Form(matrix, code)


def _furthest(one: Affine, other: Affine, shape: tuple[int, ...]) -> float:
    """The largest distance, in mm, between the positions of a voxel by two affines, which occurs at a corner."""
    corners = np.array([(*corner, 1) for corner in product(*((0, count - 1) for count in shape[:3]))])  # (8, 4)
    return float(np.linalg.norm(((one - other) @ corners.T)[:3], axis=0).max())


def _degrees(one: Affine, other: Affine) -> float:
    """The angle, in degrees, of the rotation that is closest to the transformation between two affines."""
    left, _, right = np.linalg.svd(one[:3, :3] @ np.linalg.inv(other[:3, :3]))
    return float(np.degrees(np.arccos(np.clip((np.trace(left @ right) - 1) / 2, -1, 1))))
