"""What is kept of a cohort's scans as they pass one by one: regional values, voxelwise moments, coarse images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from uadbench.cohorts.synthetic import norms
from uadbench.cohorts.synthetic.norms import BASE, REGIONS
from uadbench.errors import InputError
from uadbench.space import atlas
from uadbench.types import Scan, Values, Volume

SMOOTHING_MM = 12.0
"""FWHM of the smoothing of coarse images."""


class ReferenceScans:
    """What is kept of scans that pass one by one: regional values, voxelwise moments, coarse images."""

    def __init__(self) -> None:
        self.regions: list[Values] = []  # (left, right, both) x regions
        self.meta: list[float] = []
        self.contrast: list[float] = []
        self.unit: list[float] = []
        self.coarse: list[npt.NDArray[np.float32]] = []
        self.ages: list[float] = []
        self.sexes: list[str] = []
        self.sum = np.zeros(BASE.shape)
        self.squares = np.zeros(BASE.shape)

    def add(self, scan: Scan, coarse: bool) -> Volume:
        """Measure one scan; returns it in SUVR."""
        unit = float(scan.data[norms.reference()].mean(dtype=np.float64))
        if unit <= 0:
            raise InputError(f"{'_'.join(scan.key)}: no uptake in cerebellum and pons; is it in MNI space?")
        image = scan.data / np.float32(unit)
        self.unit.append(unit)
        self.regions.append(_regional_means(image))
        self.meta.append(float(image[norms.meta_region()].mean()))
        self.contrast.append(float(image[norms.pure_grey()].mean() / image[norms.deep_white()].mean()))
        self.sum += image
        self.squares += np.square(image, dtype=np.float64)
        self.ages.append(scan.age)
        self.sexes.append(scan.sex)
        if coarse:
            self.coarse.append(_coarse(image))
        return image

    @property
    def values(self) -> Values:
        """(scans, sides (left, right, both), regions)."""
        return np.stack(self.regions)

    def moments(self) -> tuple[Volume, Volume]:
        """Voxelwise mean and coefficient of variation (0 outside the brain), (X, Y, Z) float32."""
        count, brain = len(self.unit), atlas.brain_mask(BASE)
        mean = self.sum / count
        variance = np.clip(self.squares - count * mean**2, 0, None) / max(count - 1, 1)
        variation = np.where(brain, np.sqrt(variance) / np.where(brain, np.maximum(mean, 1e-6), 1), 0)
        return mean.astype(np.float32), variation.astype(np.float32)


def _regional_means(image: Volume) -> Values:
    """(3, regions): mean of each region's measured voxels on the left, the right, and both."""
    inside, own = norms.measured(), norms.region_of_voxel()
    right = np.broadcast_to(norms.millimetres()[0] > 0, BASE.shape)[inside]
    index = own[inside] + len(REGIONS) * right
    counts = np.bincount(index, minlength=2 * len(REGIONS)).reshape(2, -1)
    sums = np.bincount(index, weights=image[inside], minlength=2 * len(REGIONS)).reshape(2, -1)
    return np.concatenate([sums / np.maximum(counts, 1), [sums.sum(axis=0) / counts.sum(axis=0)]])


def _coarse(image: Volume) -> npt.NDArray[np.float32]:
    """The brain at 4 mm (means of 2 x 2 x 2 voxels), smoothed; flat."""
    x, y, z = (n // 2 for n in BASE.shape)
    halved = image[: 2 * x, : 2 * y, : 2 * z].reshape(x, 2, y, 2, z, 2).mean(axis=(1, 3, 5))
    smooth = ndimage.gaussian_filter(halved, SMOOTHING_MM / 2.3548 / (2 * BASE.voxel_mm))
    brain = atlas.brain_mask(BASE)[: 2 * x : 2, : 2 * y : 2, : 2 * z : 2]
    return np.asarray(smooth[brain], dtype=np.float32)
