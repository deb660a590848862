"""Where a NIfTI header says that its voxels lie: its sform and qform, which of them counts, and how far they differ."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np

from uadbench.cohorts.findings import Finding, refuse
from uadbench.types import Affine

CODES = range(1, 6)
"""1 scanner, 2 aligned, 3 Talairach, 4 MNI, 5 another template; 0 says that an affine is not set."""

MNI = 4
UNITS = {0: "unknown", 2: "mm"}
"""Units of length whose affines are read as millimetres. Most tools, nibabel among them, leave the unit unknown."""

OTHER_UNITS = {1: "metres", 3: "micrometres"}

FURTHEST_MM = 1e6

APART_MM = 1.0
"""A sform and a qform that lie further apart, anywhere in the volume, get a warning. Rounding to float32 moves a voxel
by less than 0.01 mm; 1 mm is half a voxel of protocol `paper`, from which on another voxel shows the same place."""

SET = "set a valid sform (e.g. convert the image again)"


@dataclass(frozen=True)
class Form:
    """An affine (4, 4), from the axes of the file to RAS in millimetres, and the code of the space that it claims."""

    affine: Affine
    code: int


@dataclass(frozen=True)
class Forms:
    """What a header says of the place of its voxels.

    Attributes:
        sform: None where its code is 0; one of the two forms is always there.
        qform: None where its code is 0, or where it cannot be used.
        unit: Of length, as the header has it.
        unusable: Why the qform cannot be used although its code is set; "" otherwise.
    """

    sform: Form | None
    qform: Form | None
    unit: Literal["mm", "unknown"] = "mm"
    unusable: str = ""

    @property
    def affine(self) -> Affine:
        """That of the sform where it is set, else that of the qform, as the NIfTI standard recommends."""
        form = self.sform or self.qform
        assert form is not None
        return form.affine


def mni(affine: Affine) -> Forms:
    """Both forms say MNI: for volumes on a grid that was laid out there, never for those that somebody gave."""
    return Forms(Form(affine, MNI), Form(affine, MNI))


def read_forms(path: Path, header: Any) -> Forms:
    """The forms of a nibabel header as it was stored, before nibabel mends anything.

    What tools read differently, such as a negative voxel size, is refused and never guessed.

    Raises:
        ScanError: Neither form is set, the one that counts cannot be used, or the unit is not mm.
    """
    unit = _unit(path, int(header["xyzt_units"]) & 7)
    codes = int(header["sform_code"]), int(header["qform_code"])
    if codes == (0, 0):
        value = "its sform_code and qform_code are 0, so nothing says where the volume lies or which side is left"
        advice = "convert the original again (e.g. dcm2niix), or set the codes once you have checked left and right"
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
    """A warning where the two forms of a volume do not agree, so that other tools may see it elsewhere."""
    where, advice = str(path), "the sform is used; make sure that it is right, and set both alike"
    if forms.unusable:
        return Finding("two affines", where, f"its qform cannot be used: {forms.unusable}", advice, False)
    if forms.sform is None or forms.qform is None:
        return None
    one, other = forms.sform.affine, forms.qform.affine
    distance = _furthest(one, other, shape)
    if np.linalg.det(one[:3, :3]) * np.linalg.det(other[:3, :3]) < 0:
        value = f"its sform and qform disagree about left and right (voxels lie up to {distance:.1f} mm apart)"
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
    """The qform, None where its code is 0.

    Raises:
        ValueError: Why it cannot be used.
    """
    code = int(header["qform_code"])
    if code == 0:
        return None
    side, *sizes = (float(number) for number in header["pixdim"][:4])
    if side not in (-1, 0, 1):
        raise ValueError(f"pixdim[0] is {side:g}, not 1 or -1, so its qform does not say which side is left")
    if not all(0 < size < np.inf for size in sizes):
        raise ValueError(f"voxel sizes (pixdim) are {' x '.join(f'{size:g}' for size in sizes)} mm")
    whole = header.copy()
    whole["pixdim"][0] = side or 1  # the standard: 0 is to be taken as 1
    try:
        affine = whole.get_qform()
    except Exception:  # nibabel has its own exceptions
        raise ValueError("qform has a quaternion that is no rotation") from None
    return _form(affine, code, "qform")


def _form(affine: Any, code: int, name: str) -> Form:
    """The form of an affine.

    Raises:
        ValueError: Why it cannot be used.
    """
    matrix = np.asarray(affine, dtype=np.float64)
    if code not in CODES:
        raise ValueError(f"{name}_code is {code}, which NIfTI does not define")
    furthest = float(np.abs(matrix).max())
    if furthest > FURTHEST_MM:  # NaN is named below
        raise ValueError(f"{name} affine holds {furthest:.3g} mm")
    axes = matrix[:3, :3]
    with np.errstate(all="ignore"):
        volume, box = abs(float(np.linalg.det(axes))), float(np.prod(np.linalg.norm(axes, axis=0)))
    if not (volume >= 1e-9 and volume > 1e-6 * box) or not np.isfinite(matrix).all():
        raise ValueError(f"{name} affine cannot be inverted")
    return Form(matrix, code)


def _furthest(one: Affine, other: Affine, shape: tuple[int, ...]) -> float:
    """By how many mm two affines place a voxel apart, at most: where they differ most is a corner."""
    corners = np.array([(*corner, 1) for corner in product(*((0, count - 1) for count in shape[:3]))])  # (8, 4)
    return float(np.linalg.norm(((one - other) @ corners.T)[:3], axis=0).max())


def _degrees(one: Affine, other: Affine) -> float:
    """The angle of the rotation that is nearest to what leads from one affine to the other."""
    left, _, right = np.linalg.svd(one[:3, :3] @ np.linalg.inv(other[:3, :3]))
    return float(np.degrees(np.arccos(np.clip((np.trace(left @ right) - 1) / 2, -1, 1))))
