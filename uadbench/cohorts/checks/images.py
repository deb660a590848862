"""Checks of images: each scan by itself (space, values), and compared with others (outliers, duplicates, mirroring)."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from uadbench.cohorts.file_cohort import FILLED, filled, not_in_mni, require_reference
from uadbench.cohorts.findings import Finding
from uadbench.cohorts.io.forms import doubt
from uadbench.cohorts.io.nifti import read_volume
from uadbench.cohorts.synthetic import norms
from uadbench.space import atlas
from uadbench.types import Grid, Mask

SYMMETRIC = Grid((80, 96, 80), 2.0, (-79.0, -111.0, -70.0))
"""The grid of the checks, which is symmetric: voxel i on the left is opposite voxel 79 - i on the right."""

BLOCK = 4
"""The edge length, in voxels (8 mm), of the blocks in which scans are compared."""

LIKENESS = 0.6
"""The smallest correlation with MNI tissue, over the brain and 8 mm around it. It is .81 to .89 for healthy phantoms
and average brains, .67 with severe atrophy, .51 upside down, and .45 with front and back exchanged."""

NEGATIVE = 0.01
"""The largest share of brain voxels that may be negative, because interpolation causes some."""

FAR = 6.0
"""The number of robust standard deviations from the median beyond which a scan's uptake is an outlier, if it also
deviates by 15 %."""

SUVR_RANGE = (0.5, 2.0)
"""The range of the mean over cerebellum and pons if values are SUVR, for any reference region."""

COPY = 0.98
"""The correlation of asymmetries above which two scans are considered copies. It is at most .88 for two sessions of a
phantom, and more than .999 for a scan and its copy in integers, or shifted by .01 mm."""

MIRRORED = -0.3
"""The correlation of asymmetries below which one of two scans is considered mirrored. It is at least .39 for two
sessions of a phantom."""

_SAME_BRAIN = "find out which participant it belongs to; otherwise the same brain may be in training and test sets"

Floats = npt.NDArray[np.float32]
Key = tuple[str, str]


@dataclass(frozen=True)
class Measured:
    """The measurements of a scan.

    Attributes:
        shape: The shape of the volume.
        affine: (4, 4) the affine of the file.
        doubt: A warning that sform and qform disagree; None if they agree.
        digest: A hash of the resampled image.
        lowest: The smallest value.
        negative: The share of brain voxels with negative values.
        filled: The share of the brain mask that contains tissue.
        uptake: The mean over the brain.
        reference: The mean over cerebellum and pons.
        likeness: The correlation with MNI tissue.
        asymmetry: (blocks,) the difference between left and right, relative to `uptake`.
    """

    shape: tuple[int, ...]
    affine: npt.NDArray[np.float64]
    doubt: Finding | None
    digest: str
    lowest: float
    negative: float
    filled: float
    uptake: float
    reference: float
    likeness: float
    asymmetry: Floats


def measure(file: Path, nan: Literal["refuse", "zero"] = "refuse", in_units_of_reference: bool = False) -> Measured:
    """Read and measure a scan.

    Args:
        file: The file.
        nan: "refuse" a file with NaN or infinite voxels, or set these voxels to "zero".
        in_units_of_reference: Whether to divide the scan by its mean over cerebellum and pons.

    Returns:
        The measurements.

    Raises:
        ScanError: If the file cannot be used.
    """
    image = read_volume(file, nan)
    data = atlas.resample(image.data, image.affine, SYMMETRIC.affine, SYMMETRIC.shape)
    unit = float(data[_reference()].mean(dtype=np.float64))
    if in_units_of_reference:
        require_reference(file, unit)
        data, unit = data / np.float32(unit), 1.0
    brain, blocks = atlas.brain_mask(SYMMETRIC), _blocks(data)
    uptake = float(data[brain].mean(dtype=np.float64))
    inside, around, tissue = _template()
    with np.errstate(invalid="ignore", divide="ignore"):
        likeness = float(np.nan_to_num(np.corrcoef(blocks[around], tissue[around])[0, 1]))
        asymmetry = ((blocks - blocks[::-1])[: len(blocks) // 2] / np.float32(uptake))[inside[: len(inside) // 2]]
    return Measured(
        shape=image.data.shape,
        affine=image.header.affine,
        doubt=doubt(file, image.header.forms, image.header.shape),
        digest=hashlib.sha256(data.data).hexdigest(),
        lowest=float(image.data.min()),
        negative=float((data[brain] < 0).mean()),
        filled=filled(data, brain),
        uptake=uptake,
        reference=unit,
        likeness=likeness,
        asymmetry=np.nan_to_num(asymmetry),
    )


def of_scan(file: Path, scan: Measured, trusted: bool = False) -> Iterator[Finding]:
    """Find the problems of a single scan.

    Args:
        file: The file.
        scan: Its measurements.
        trusted: Whether the user trusts that the scan is in MNI space.

    Yields:
        The problems.
    """
    where = str(file)
    if scan.filled < FILLED:
        yield not_in_mni(file, scan.filled, trusted)
    elif scan.likeness < LIKENESS:
        value = f"its correlation with MNI tissue is {scan.likeness:.3f} (at least {LIKENESS:.3f} is expected)"
        advice = "inspect it: its orientation or registration may be wrong; register it again"
        yield Finding("not MNI", where, value, advice, not trusted)
    if scan.negative > NEGATIVE:
        value = f"{scan.negative:.0%} of the brain's voxels are negative (lowest {scan.lowest:.3g})"
        advice = "uptake cannot be negative; check the scaling and offset of the file"
        yield Finding("negative", where, value, advice)
    if scan.doubt:
        yield scan.doubt


def across_scans(scans: Mapping[Key, Measured], files: Mapping[Key, Path]) -> Iterator[Finding]:
    """Find problems by comparing the scans of a cohort.

    Args:
        scans: The measurements by (participant, session).
        files: The files by (participant, session).

    Yields:
        The problems.
    """
    if scans:
        yield from _other_lattices(scans, files)
        yield from _outliers(scans, files)
        yield from _duplicates(scans, files)
        yield from _mirrored(scans, files)


def _other_lattices(scans: Mapping[Key, Measured], files: Mapping[Key, Path]) -> Iterator[Finding]:
    """Scans whose shape or affine differs from that of most scans; they are resampled like the others."""
    lattices: dict[Key, str] = {key: _lattice(scan) for key, scan in scans.items()}
    ((usual, count),) = Counter(lattices.values()).most_common(1)
    for key, lattice in lattices.items():
        if lattice != usual:
            value = f"{lattice}; {count} of {len(scans)} scans are {usual}"
            advice = "it is resampled by its affine; check that it was processed like the others"
            yield Finding("other grid", str(files[key]), value, advice, False)


def _lattice(scan: Measured) -> str:
    from nibabel import orientations

    codes: Any = orientations
    steps = np.sqrt(np.square(scan.affine[:3, :3]).sum(axis=0))
    size = " x ".join(f"{step:.3g}" for step in steps)
    origin = ", ".join(f"{value:.4g}" for value in scan.affine[:3, 3])
    turned = "".join(codes.aff2axcodes(scan.affine))
    return f"{' x '.join(map(str, scan.shape))} voxels of {size} mm, {turned}, first at ({origin})"


def _outliers(scans: Mapping[Key, Measured], files: Mapping[Key, Path]) -> Iterator[Finding]:
    """Scans whose uptake differs much from the others, and values that are not SUVR."""
    references = np.array([scan.reference for scan in scans.values()])
    middle = float(np.median(references))
    if not SUVR_RANGE[0] <= middle <= SUVR_RANGE[1]:
        value = f"the scans' mean over cerebellum and pons is {middle:.3g} (median), so they are not SUVR"
        advice = "divide them by this mean: PATH:suvr=cerebellum-pons"
        yield Finding("not SUVR", f"{len(scans)} scans", value, advice)
    uptakes = np.array([scan.uptake for scan in scans.values()])
    centre = float(np.median(uptakes))
    spread = 1.4826 * float(np.median(np.abs(uptakes - centre)))
    for key, uptake in zip(scans, uptakes.tolist(), strict=True):
        if abs(uptake - centre) > max(FAR * spread, 0.15 * abs(centre)):
            value = f"mean uptake in the brain is {uptake:.3g}; the cohort's median is {centre:.3g}"
            yield Finding("intensity", str(files[key]), value, "check its unit and its reference region", False)


def _duplicates(scans: Mapping[Key, Measured], files: Mapping[Key, Path]) -> Iterator[Finding]:
    """Identical images in several files."""
    by_digest: dict[str, Key] = {}
    for key, scan in scans.items():
        first = by_digest.setdefault(scan.digest, key)
        if first != key:
            value = f"is the same image as {files[first]}"
            yield Finding("duplicate", str(files[key]), value, "keep one" if first[0] == key[0] else _SAME_BRAIN)
    kept = sorted(by_digest.values(), key=list(scans).index)
    yield from _copies({key: scans[key] for key in kept}, files)


def _copies(scans: Mapping[Key, Measured], files: Mapping[Key, Path]) -> Iterator[Finding]:
    """Copies of an image with another data type, unit or grid, which have the same asymmetry."""
    keys = list(scans)
    shapes = np.stack([scan.asymmetry for scan in scans.values()]).astype(np.float64)
    shapes -= shapes.mean(axis=1, keepdims=True)
    sizes = np.linalg.norm(shapes, axis=1)
    shapes /= np.where(sizes > 0, sizes, 1)[:, None]
    for index, key in enumerate(keys[1:], start=1):
        likeness = shapes[:index] @ shapes[index]
        nearest = int(likeness.argmax())
        if sizes[index] > 0 and likeness[nearest] > COPY:
            value = f"seems to be a copy of {files[keys[nearest]]} (correlation of asymmetries {likeness[nearest]:.4f})"
            yield Finding("copy", str(files[key]), value, _SAME_BRAIN, False)


def _mirrored(scans: Mapping[Key, Measured], files: Mapping[Key, Path]) -> Iterator[Finding]:
    """Scans whose asymmetry is opposite to that of the participant's other sessions, or of all other participants."""
    by_person: dict[str, list[Key]] = {}
    for key in scans:
        by_person.setdefault(key[0], []).append(key)
    total = np.stack([scan.asymmetry for scan in scans.values()]).sum(axis=0, dtype=np.float64)
    others = {}
    for keys in by_person.values():
        own = np.stack([scans[key].asymmetry for key in keys]).sum(axis=0, dtype=np.float64)
        for key in keys:
            others[key] = _correlation(scans[key].asymmetry, total - own)
    # asymmetries must be similar across participants for one to stand out
    alike = len(by_person) >= 10 and float(np.median(list(others.values()))) > -MIRRORED
    for keys in by_person.values():
        for key in keys:
            rest = [scans[other].asymmetry for other in keys if other != key]
            within = _correlation(scans[key].asymmetry, np.mean(np.stack(rest), axis=0)) if rest else 0.0
            # if two scans contradict each other, the second is reported
            contradicts = within < MIRRORED and (len(keys) > 2 or key == keys[1])
            if contradicts or (alike and others[key] < MIRRORED):
                against = "the participant's other sessions" if contradicts else "all other participants"
                shown = within if contradicts else others[key]
                value = (
                    "left and right seem to be exchanged: its asymmetry has a correlation of "
                    f"{shown:.2f} with that of {against}"
                )
                either = " (or the first session is)" if contradicts and len(keys) == 2 else ""
                advice = f"compare it with the original; it is probably mirrored{either}"
                yield Finding("left-right", str(files[key]), value, advice)


def _correlation(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    one, other = one - one.mean(), other - other.mean()
    size = float(np.sqrt(np.square(one).sum() * np.square(other).sum()))
    return float((one * other).sum()) / size if size > 0 else 0.0


def _blocks(data: Floats) -> Floats:
    """The means of blocks, (20, 24, 20) float32."""
    x, y, z = (count // BLOCK for count in SYMMETRIC.shape)
    blocks: Floats = data.reshape(x, BLOCK, y, BLOCK, z, BLOCK).mean(axis=(1, 3, 5))
    return blocks


@cache
def _template() -> tuple[Mask, Mask, Floats]:
    """Blocks in the brain, blocks in or next to it, and the expected FDG uptake of MNI tissue, blurred to 8 mm."""
    inside = _blocks(atlas.brain_mask(SYMMETRIC).astype(np.float32)) > 0.5
    uptake = ndimage.gaussian_filter(norms.tissue("grey") + 0.5 * norms.tissue("white"), 3.4 / norms.BASE.voxel_mm)
    tissue = atlas.resample(uptake, norms.BASE.affine, SYMMETRIC.affine, SYMMETRIC.shape)
    return inside & inside[::-1], ndimage.binary_dilation(inside), _blocks(tissue)


@cache
def _reference() -> Mask:
    mask = norms.reference().astype(np.float32)
    return atlas.resample(mask, norms.BASE.affine, SYMMETRIC.affine, SYMMETRIC.shape) > 0.5
