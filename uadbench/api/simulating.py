"""Simulated hypometabolism on one image in memory."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from uadbench.errors import InputError

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image


@dataclass(frozen=True)
class Simulated:
    """What was made of one scan, as nibabel images on its own lattice.

    Attributes:
        image: The altered scan x' = x (1 - s G(m)), in the unit of the scan.
        mask: The smoothed mask G(m), 0 to 1.
        reduction: The reduction r = s G(m), 0 to s.
        effective_reduction: The mean of r in the truth, which smoothing and weights below 1 make less than s.
    """

    image: Nifti1Image
    mask: Nifti1Image
    reduction: Nifti1Image
    effective_reduction: float


def simulate(
    image: Nifti1Image | str | PathLike[str] | tuple[npt.NDArray[Any], npt.NDArray[Any]],
    anomaly: str,
    severity: float = 0.3,
    *,
    sigma_mm: float | None = None,
) -> Simulated:
    """Simulate the hypometabolism of a dementia in a scan in MNI space (Hassanaly et al. 2023, section 2.2).

    Args:
        image: A nibabel image, a NIfTI file, or (array (X, Y, Z), affine (4, 4) to MNI millimetres), for example of a
            scan of a protocol: `scans = uadbench.train_dataset("quick")`, then `(scans[0][0].numpy(), scans.affine)`.
        anomaly: "ad", "bvftd", "lvppa", "svppa", "nfvppa" or "pca".
        severity: Share of the uptake that is removed in the mask: 0.3 for 30 %.
        sigma_mm: Standard deviation of the Gaussian that smooths the mask, in mm; by default that of the protocols.

    Returns:
        Altered scan, mask and reduction, with the affine and the header of the input.

    Raises:
        InputError: If the anomaly or the severity is unknown, the image is not 3D or holds NaN or infinite voxels, or
            none of its voxels lies in the mask.
    """
    import nibabel

    from uadbench.simulation import hypometabolism
    from uadbench.simulation.regions import dementia
    from uadbench.space.atlas import brain_on

    name = dementia(anomaly).key
    data, affine, header = _opened(image)
    sigma = hypometabolism.SIGMA_MM if sigma_mm is None else sigma_mm
    mask = hypometabolism.smoothed_mask(name, affine, data.shape, sigma)
    support = hypometabolism.smoothed_support(name, affine, data.shape, sigma)
    inside = hypometabolism.truth(mask, brain_on(affine, data.shape), support=support) == 1
    if not inside.any():
        raise InputError(f"no voxel of the '{name}' mask lies in the image; is its affine in MNI millimetres?")
    altered = hypometabolism.alter(data, mask, severity)
    reduction = hypometabolism.reduction(mask, severity)
    make: Any = nibabel.Nifti1Image
    one, two, three = (make(volume, affine, header) for volume in (altered, np.array(mask), reduction))
    for each in (one, two, three):
        each.set_data_dtype(np.float32)
    return Simulated(one, two, three, float(reduction[inside].mean(dtype=np.float64)))


def _opened(image: Any) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64], Any]:
    """Voxels (X, Y, Z) float32 in the order of the file, affine, header or None."""
    if isinstance(image, str | PathLike):
        from uadbench.cohorts.io.nifti import image_of, read_volume
        from uadbench.simulation.files import in_file_order

        volume = read_volume(Path(image))
        image = image_of(in_file_order(volume), volume.header.forms)
    if isinstance(image, tuple):
        if len(image) != 2:
            raise InputError(f"image: a tuple of {len(image)}; give (array, affine)")
        voxels, affine, header = np.asarray(image[0]), np.asarray(image[1], dtype=np.float64), None
    elif hasattr(image, "get_fdata"):
        voxels, affine, header = np.asanyarray(image.dataobj), np.asarray(image.affine), image.header
    else:
        raise InputError(f"image: a {type(image).__name__}; give a nibabel image, a path, or (array, affine)")
    while voxels.ndim > 3 and voxels.shape[-1] == 1:
        voxels = voxels[..., 0]
    if voxels.ndim != 3 or affine.shape != (4, 4):
        raise InputError(f"image: voxels {voxels.shape}, affine {affine.shape}; give (X, Y, Z) and (4, 4)")
    data = np.asarray(voxels, dtype=np.float32)
    if not np.isfinite(data).all():
        raise InputError("image: has NaN or infinite voxels; set them, or leave the scan out")
    return data, affine, header
