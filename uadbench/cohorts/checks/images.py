"""What is wrong with scans: each by itself, and beside the others."""

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
"""Scans are looked at here: voxel i on the left lies opposite voxel 79 - i on the right."""

BLOCK = 4
"""Voxels a side of the blocks, 8 mm, in which a scan is compared with others."""

LIKENESS = 0.6
"""The least correlation, over the brain and 8 mm around it, with MNI tissue. Scans of healthy phantoms and of average
brains have .81 to .89, of severe atrophy .67; upside down .51, front to back .45."""

NEGATIVE = 0.01
"""The share of the brain's voxels that may be below 0: interpolation leaves some."""

FAR = 6.0
"""Robust standard deviations from the median beyond which a scan's uptake is an outlier, if it is also 15 % off."""

SUVR_RANGE = (0.5, 2.0)
"""Where the mean over cerebellum and pons lies, if values are SUVR of whatever reference region."""

COPY = 0.98
"""Above this correlation of asymmetries one of two scans is a copy. Two sessions of a phantom have at most .88, a scan
and its copy in integers, or moved by .01 mm, more than .999."""

MIRRORED = -0.3
"""Below this correlation of asymmetries one of two scans is mirrored. Two sessions of a phantom: .39 or more."""

Floats = npt.NDArray[np.float32]
Key = tuple[str, str]


@dataclass(frozen=True)
class Measured:
    """What is kept of a scan.

    `doubt` is a warning that sform and qform disagree; `negative` and `filled` are shares of the brain; `uptake` is its
    mean, `reference` that of cerebellum and pons; `likeness` the correlation with MNI tissue; `asymmetry` (voxels,)
    left minus right over `uptake`, in blocks.
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
    """Read a file as its cohort does, and measure it.

    Raises:
        ScanError: For one that cannot be used.
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
    """What is wrong with one scan by itself; `trusted`: the user says that it lies in MNI space."""
    where = str(file)
    if scan.filled < FILLED:
        yield not_in_mni(file, scan.filled, trusted)
    elif scan.likeness < LIKENESS:
        value = f"it correlates {scan.likeness:.3f} with MNI tissue (at least {LIKENESS:.3f} is expected)"
        advice = "look at it: turned, or registered wrongly? register it again"
        yield Finding("not MNI", where, value, advice, not trusted)
    if scan.negative > NEGATIVE:
        value = f"{scan.negative:.0%} of the brain's voxels are negative (lowest {scan.lowest:.3g})"
        yield Finding("negative", where, value, "uptake cannot be: check scaling and offset of the file")
    if scan.doubt:
        yield scan.doubt


def across_scans(scans: Mapping[Key, Measured], files: Mapping[Key, Path]) -> Iterator[Finding]:
    """What is seen when scans are laid side by side."""
    if scans:
        yield from _other_lattices(scans, files)
        yield from _outliers(scans, files)
        yield from _duplicates(scans, files)
        yield from _mirrored(scans, files)


def _other_lattices(scans: Mapping[Key, Measured], files: Mapping[Key, Path]) -> Iterator[Finding]:
    """Scans whose shape or affine is not that of most; they are put on the grid like the others."""
    told: dict[Key, str] = {key: _lattice(scan) for key, scan in scans.items()}
    ((usual, count),) = Counter(told.values()).most_common(1)
    for key, lattice in told.items():
        if lattice != usual:
            value = f"{lattice}; {count} of {len(scans)} scans are {usual}"
            advice = "it is sampled through its affine; make sure that it was processed like the others"
            yield Finding("other lattice", str(files[key]), value, advice, False)


def _lattice(scan: Measured) -> str:
    from nibabel import orientations

    codes: Any = orientations
    steps = np.sqrt(np.square(scan.affine[:3, :3]).sum(axis=0))
    size = " x ".join(f"{step:.3g}" for step in steps)
    origin = ", ".join(f"{value:.4g}" for value in scan.affine[:3, 3])
    turned = "".join(codes.aff2axcodes(scan.affine))
    return f"{' x '.join(map(str, scan.shape))} voxels of {size} mm, {turned}, first at ({origin})"


def _outliers(scans: Mapping[Key, Measured], files: Mapping[Key, Path]) -> Iterator[Finding]:
    """Uptake that is far from the others', or that is no SUVR at all."""
    references = np.array([scan.reference for scan in scans.values()])
    middle = float(np.median(references))
    if not SUVR_RANGE[0] <= middle <= SUVR_RANGE[1]:
        value = f"the scans' mean over cerebellum and pons is {middle:.3g} (median), so they are not SUVR"
        advice = "divide them by it: PATH:suvr=cerebellum-pons"
        yield Finding("not SUVR", f"{len(scans)} scans", value, advice)
    uptakes = np.array([scan.uptake for scan in scans.values()])
    centre = float(np.median(uptakes))
    spread = 1.4826 * float(np.median(np.abs(uptakes - centre)))
    for key, uptake in zip(scans, uptakes.tolist(), strict=True):
        if abs(uptake - centre) > max(FAR * spread, 0.15 * abs(centre)):
            value = f"mean uptake in the brain is {uptake:.3g}; the cohort's median is {centre:.3g}"
            yield Finding("intensity", str(files[key]), value, "check its unit and its reference region", False)


def _duplicates(scans: Mapping[Key, Measured], files: Mapping[Key, Path]) -> Iterator[Finding]:
    """One image under several names."""
    known: dict[str, Key] = {}
    for key, scan in scans.items():
        first = known.setdefault(scan.digest, key)
        if first != key:
            value = f"is the same image as {files[first]}"
            advice = "keep one" if first[0] == key[0] else "find out whose it is: the same brain may train and test"
            yield Finding("duplicate", str(files[key]), value, advice)
    kept = sorted(known.values(), key=list(scans).index)
    yield from _copies({key: scans[key] for key in kept}, files)


def _copies(scans: Mapping[Key, Measured], files: Mapping[Key, Path]) -> Iterator[Finding]:
    """One image saved anew, in another type, unit or lattice: what left and right differ by is the same."""
    keys = list(scans)
    shapes = np.stack([scan.asymmetry for scan in scans.values()]).astype(np.float64)
    shapes -= shapes.mean(axis=1, keepdims=True)
    sizes = np.linalg.norm(shapes, axis=1)
    shapes /= np.where(sizes > 0, sizes, 1)[:, None]
    for place, key in enumerate(keys[1:], start=1):
        likeness = shapes[:place] @ shapes[place]
        nearest = int(likeness.argmax())
        if sizes[place] > 0 and likeness[nearest] > COPY:
            value = f"looks like a copy of {files[keys[nearest]]} (its asymmetry correlates {likeness[nearest]:.4f})"
            advice = "find out whose it is: the same brain may train and test"
            yield Finding("copy", str(files[key]), value, advice, False)


def _mirrored(scans: Mapping[Key, Measured], files: Mapping[Key, Path]) -> Iterator[Finding]:
    """Scans whose left looks like the right of the same person's other sessions, or of everybody else."""
    by_person: dict[str, list[Key]] = {}
    for key in scans:
        by_person.setdefault(key[0], []).append(key)
    total = np.stack([scan.asymmetry for scan in scans.values()]).sum(axis=0, dtype=np.float64)
    others = {}
    for keys in by_person.values():
        own = np.stack([scans[key].asymmetry for key in keys]).sum(axis=0, dtype=np.float64)
        for key in keys:
            others[key] = _correlation(scans[key].asymmetry, total - own)
    # people's asymmetries must be alike before anybody stands out
    alike = len(by_person) >= 10 and float(np.median(list(others.values()))) > -MIRRORED
    for keys in by_person.values():
        for key in keys:
            rest = [scans[other].asymmetry for other in keys if other != key]
            within = _correlation(scans[key].asymmetry, np.mean(np.stack(rest), axis=0)) if rest else 0.0
            # of two scans that contradict each other the second is named
            contradicts = within < MIRRORED and (len(keys) > 2 or key == keys[1])
            if contradicts or (alike and others[key] < MIRRORED):
                against = "the same person's other sessions" if contradicts else "everybody else"
                shown = within if contradicts else others[key]
                value = f"left and right look exchanged: its asymmetry correlates {shown:.2f} with that of {against}"
                doubt = " (or the first session is)" if contradicts and len(keys) == 2 else ""
                yield Finding("left-right", str(files[key]), value, f"compare with the original; it is mirrored{doubt}")


def _correlation(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    one, other = one - one.mean(), other - other.mean()
    size = float(np.sqrt(np.square(one).sum() * np.square(other).sum()))
    return float((one * other).sum()) / size if size > 0 else 0.0


def _blocks(data: Floats) -> Floats:
    """Means of blocks, (20, 24, 20)."""
    x, y, z = (count // BLOCK for count in SYMMETRIC.shape)
    blocks: Floats = data.reshape(x, BLOCK, y, BLOCK, z, BLOCK).mean(axis=(1, 3, 5))
    return blocks


@cache
def _template() -> tuple[Mask, Mask, Floats]:
    """Blocks inside the brain, those and their neighbours, and MNI tissue as FDG PET would show it, blurred to 8 mm."""
    inside = _blocks(atlas.brain_mask(SYMMETRIC).astype(np.float32)) > 0.5
    uptake = ndimage.gaussian_filter(norms.tissue("grey") + 0.5 * norms.tissue("white"), 3.4 / norms.BASE.voxel_mm)
    tissue = atlas.resample(uptake, norms.BASE.affine, SYMMETRIC.affine, SYMMETRIC.shape)
    return inside & inside[::-1], ndimage.binary_dilation(inside), _blocks(tissue)


@cache
def _reference() -> Mask:
    mask = norms.reference().astype(np.float32)
    return atlas.resample(mask, norms.BASE.affine, SYMMETRIC.affine, SYMMETRIC.shape) > 0.5
