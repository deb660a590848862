"""54 altered scans of one healthy scan, against a file per image as ClinicaDL writes them."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from uadbench.simulation import hypometabolism
from uadbench.types import Grid

DEMENTIAS = ("ad", "bvftd", "lvppa", "svppa", "nfvppa", "pca")
SEVERITIES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7)
GRIDS = {
    "80 x 96 x 80": Grid((80, 96, 80), 2.0, (-80.0, -111.0, -70.0)),
    "169 x 208 x 179": Grid((169, 208, 179), 1.0, (-84.0, -119.0, -78.0)),
}


@pytest.mark.parametrize("shape", GRIDS)
def test_54_altered_scans(shape: str, versus, tmp_path: Path) -> None:
    grid = GRIDS[shape]
    scan = np.random.default_rng(0).random(grid.shape, dtype=np.float32)
    nibabel.save(nibabel.Nifti1Image(scan, grid.affine), tmp_path / "scan.nii.gz")
    mask = np.array(hypometabolism.smoothed_mask("ad", grid.affine, grid.shape, 0.0))

    def ours() -> None:
        hypometabolism._sampled.cache_clear()
        for name in DEMENTIAS:
            smoothed = hypometabolism.smoothed_mask(name, grid.affine, grid.shape)
            for severity in SEVERITIES:
                hypometabolism.alter(scan, smoothed, severity)

    def one_file() -> None:
        image = nibabel.load(tmp_path / "scan.nii.gz")
        factor = ndimage.gaussian_filter(1 - 0.3 * mask, 5.0 / grid.voxel_mm)
        altered = nibabel.Nifti1Image(image.get_fdata() * factor, image.affine)
        nibabel.save(altered, tmp_path / "altered.nii.gz")

    against = "an image at a time: load .nii.gz, smooth the mask, multiply, save .nii.gz"
    versus(f"54 altered scans, {shape}", against, 50, ours, one_file, rounds=3, scale=54)
