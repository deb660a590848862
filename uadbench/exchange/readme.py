"""The README of an export: what a tool finds there, and what it writes back, in plain words."""

from __future__ import annotations

from collections.abc import Mapping

from uadbench.exchange.manifest import Manifest

TEXT = """# FDG PET for a tool that finds hypometabolism

{label}.

## What is here

| folder | images | what they are |
|---|---|---|
| `train/` | {train} | healthy scans: your tool may learn from these, and from nothing else of this cohort |
| `validation/` | {validation} | other healthy scans: to choose settings; your answers to them calibrate your maps |
| `test/` | {test} | healthy scans, versions of them with simulated changes of uptake, and patients, mixed |

- Every image is 3D, {shape} voxels of {voxel_mm:g} mm, float32, axes in RAS, in MNI space (affine in each header).
- {unit}
- `brain_mask{suffix}` is 1 in the brain and 0 elsewhere, on the same grid. Maps are scored in the brain alone.
- `train.tsv`, `validation.tsv` and `test.tsv` give age (years) and sex (F, M) of every file; n/a is unknown.
- Names tell nothing. Which test image is what is not in this folder, and your tool must not try to find out: treat
  every test image on its own, in any order. Do not change or move the images; what you add beside them is ignored.

## What your tool writes

For **every** file of `validation/` and `test/`, under the same name, one or both of

- `reconstructions/NAME{suffix}`: the image as it would be if the brain were healthy, in the unit of the image, outside
  of the brain, too (some similarities are over the whole image).
- `maps/NAME{suffix}`: how suspicious each voxel is of *lower* uptake than in health. Any unit; signed; **higher = more
  suspicious**. Do not clip it at a threshold: voxels are ranked. For a z-score write (mean - image) / SD, so that a
  voxel with too little uptake is positive.

With reconstructions alone the map is reconstruction - image. With maps alone nothing is said of reconstructions. With
both, the map is yours.

Answers have the shape and the affine of the images (copy their header: an answer whose sform_code and qform_code are 0
is refused), .nii or .nii.gz, any data type, and no voxel that is NaN or infinite (where a map has none, write 0). Give
each image one answer of a kind. Each kind takes about {gigabytes:.2g} GB as float32.

## Scoring

    uadbench score DIR --name mytool --reference "Author et al. 2024, Journal 1:1"

checks every file first and names what is wrong, then smooths, standardises and scores your maps exactly as those of
the models that `uadbench run` trains. The result lies in `runs/`, and may go onto the leaderboard.
"""


def readme(manifest: Manifest, counts: Mapping[str, int]) -> str:
    """The README of an export with so many images in each part."""
    grid, intensity = manifest.protocol.grid, manifest.protocol.intensity
    answered = (counts["validation"] + counts["test"]) * 4 * manifest.protocol.lattice.size
    if intensity.kind == "suvr":
        unit = f"Values are SUVR (uptake over that of cerebellum and pons) divided by {intensity.scale:g}."
    else:
        unit = (
            "Values are uptake on the scale of each scan: 0 and 1 are the smallest and largest value of the healthy "
            "scan at full resolution, also in its altered versions."
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
