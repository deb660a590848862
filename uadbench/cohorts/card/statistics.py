"""Statistics of a cohort's scans, accumulated one scan at a time: regional values, voxelwise moments, coarse images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from uadbench.cohorts.synthetic import norms
from uadbench.cohorts.synthetic.norms import BASE, REGIONS
from uadbench.errors import InputError
from uadbench.space import atlas
from uadbench.types import Mask, Scan, Values, Volume

SMOOTHING_MM = 12.0
"""The FWHM of the smoothing of coarse images, in mm."""


class ScanStatistics:
    """Statistics of scans, accumulated one scan at a time.

    Attributes:
        regions: For each scan (3, regions) SUVR: left, right, and both sides.
        meta: For each scan the mean SUVR in the AD meta-region.
        contrast: For each scan the ratio of grey to white matter uptake.
        unit: For each scan the mean over cerebellum and pons, in the unit of the cohort.
        coarse: The smoothed brains at 4 mm, each (voxels,), of scans for which they were requested.
        ages: The age of each scan, in years.
        sexes: The sex of each scan.
        sum: (X, Y, Z) the sum of SUVR.
        squares: (X, Y, Z) the sum of squared SUVR.
    """

    def __init__(self) -> None:
        self.regions: list[Values] = []
        self.meta: list[float] = []
        self.contrast: list[float] = []
        self.unit: list[float] = []
        self.coarse: list[npt.NDArray[np.float32]] = []
        self.ages: list[float] = []
        self.sexes: list[str] = []
        self.sum = np.zeros(BASE.shape)
        self.squares = np.zeros(BASE.shape)

    def add(self, scan: Scan, coarse: bool) -> Volume:
        """Measure a scan.

        Args:
            scan: The scan on `norms.BASE`.
            coarse: Whether to store the coarse image.

        Returns:
            The image, divided by its mean over cerebellum and pons.

        Raises:
            InputError: If that mean is not positive.
        """
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
        """Regional SUVR, (scans, 3, regions): left, right, and both sides."""
        return np.stack(self.regions)

    def moments(self) -> tuple[Volume, Volume]:
        """Voxelwise statistics.

        Returns:
            The mean, and the coefficient of variation (0 outside the brain), each (X, Y, Z) float32.
        """
        count, brain = len(self.unit), atlas.brain_mask(BASE)
        mean = self.sum / count
        variance = np.clip(self.squares - count * mean**2, 0, None) / max(count - 1, 1)
        variation = np.where(brain, np.sqrt(variance) / np.where(brain, np.maximum(mean, 1e-6), 1), 0)
        return mean.astype(np.float32), variation.astype(np.float32)


def _regional_means(image: Volume) -> Values:
    """The mean of the measured voxels of each region, (3, regions): left, right, and both sides."""
    inside, own = norms.measured(), norms.region_of_voxel()
    right = np.broadcast_to(norms.millimetres()[0] > 0, BASE.shape)[inside]
    index = own[inside] + len(REGIONS) * right
    counts = np.bincount(index, minlength=2 * len(REGIONS)).reshape(2, -1)
    sums = np.bincount(index, weights=image[inside], minlength=2 * len(REGIONS)).reshape(2, -1)
    return np.concatenate([sums / np.maximum(counts, 1), [sums.sum(axis=0) / counts.sum(axis=0)]])


def coarse_places() -> Values:
    """The MNI coordinates of the voxels of coarse images, (voxels, 3), in mm."""
    at = np.argwhere(_coarse_brain())
    return np.asarray(at * 2 * BASE.voxel_mm + np.array(BASE.origin) + BASE.voxel_mm / 2)


def _coarse_brain() -> Mask:
    x, y, z = (n // 2 for n in BASE.shape)
    return atlas.brain_mask(BASE)[: 2 * x : 2, : 2 * y : 2, : 2 * z : 2]


def _coarse(image: Volume) -> npt.NDArray[np.float32]:
    """The smoothed brain at 4 mm (means of 2 x 2 x 2 voxels), (voxels,)."""
    x, y, z = (n // 2 for n in BASE.shape)
    halved = image[: 2 * x, : 2 * y, : 2 * z].reshape(x, 2, y, 2, z, 2).mean(axis=(1, 3, 5))
    smooth = ndimage.gaussian_filter(halved, SMOOTHING_MM / 2.3548 / (2 * BASE.voxel_mm))
    return np.asarray(smooth[_coarse_brain()], dtype=np.float32)
