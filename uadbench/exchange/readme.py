"""The README of an export: what the folders contain, which files a tool has to write, and how they are scored."""

from __future__ import annotations

from collections.abc import Mapping

from uadbench.exchange.manifest import Manifest

TEXT = """# FDG PET images for the evaluation of anomaly detection

{label}.

## Contents

| folder | images | description |
|---|---|---|
| `train/` | {train} | healthy scans; the only scans of this cohort that your tool may learn from |
| `validation/` | {validation} | other healthy scans, for choosing settings; they also calibrate your anomaly maps |
| `test/` | {test} | healthy scans, the same scans with simulated changes of uptake, and patients, in random order |

- Every image is 3D, {shape} voxels of {voxel_mm:g} mm, float32, axes in RAS, in MNI space (affine in each header).
- {unit}
- `brain_mask{suffix}` is 1 inside the brain and 0 outside, on the same grid. Maps are scored inside the brain only.
- `train.tsv`, `validation.tsv` and `test.tsv` list the age (years) and sex (F, M) for every file; n/a means unknown.
- File names are anonymised. This folder does not say which test images were altered, and your tool must not try to
  find out: process every test image on its own, in any order. Do not change or move the images; other files that you
  add are ignored.

## Files that your tool has to write

For **every** file in `validation/` and `test/`, write one or both of these files with the same name:

- `reconstructions/NAME{suffix}`: the image as it would look if the brain were healthy, in the unit of the image, also
  outside the brain (some similarity metrics use the whole image).
- `maps/NAME{suffix}`: the anomaly map. It says how likely each voxel has *lower* uptake than in health: signed, in any
  unit, **higher = more suspicious**. Do not apply a threshold, because voxels are ranked. For a z-score, write
  (mean - image) / SD, so that voxels with reduced uptake are positive.

If you write reconstructions only, the anomaly map is reconstruction - image. If you write maps only, metrics of
reconstructions are n/a. If you write both, your maps are used.

Use the shape and affine of the images (copy their header: a file whose sform_code and qform_code are both 0 is
refused), .nii or .nii.gz, and any data type. No voxel may be NaN or infinite; write 0 where a map is undefined. Write
one file per image and kind. Each kind takes about {gigabytes:.2g} GB as float32.

## Scoring

    uadbench score DIR --name mytool --reference "Author et al. 2024, Journal 1:1"

`uadbench score` first checks every file and reports problems. It then smooths, standardises and scores your maps in the
same way as those of models trained with `uadbench run`. The result is written to `runs/` and can be added to the
leaderboard.
"""


def readme(manifest: Manifest, counts: Mapping[str, int]) -> str:
    """Write the text of an export's README.

    Args:
        manifest: The manifest of the export.
        counts: Number of images in each part.

    Returns:
        The text, as Markdown.
    """
    grid, intensity = manifest.protocol.grid, manifest.protocol.intensity
    answered = (counts["validation"] + counts["test"]) * 4 * manifest.protocol.lattice.size
    if intensity.kind == "suvr":
        unit = f"Values are SUVR (uptake over that of cerebellum and pons) divided by {intensity.scale:g}."
    else:
        unit = (
            "Values are uptake scaled per scan: 0 and 1 are the smallest and largest values of the healthy scan at "
            "full resolution, also for its altered versions."
        )
    return TEXT.format(
        label=manifest.label[0].upper() + manifest.label[1:],
        shape=" x ".join(map(str, grid.shape)),
        voxel_mm=grid.voxel_mm,
        unit=unit,
        suffix=manifest.suffix,
        gigabytes=answered / 1e9,
        **counts,
    )
