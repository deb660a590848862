"""Figures of brains in three planes: the paper's Figure 2, and the worst cases of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from uadbench.report.figures import new_figure
from uadbench.results.examples import Examples
from uadbench.space import atlas
from uadbench.types import Affine, Volume

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FINE_MM = 2.0
"""Voxel size to which volumes are resampled for drawing, so that voxels of 4 mm do not look like tiles."""

Point = tuple[float, float, float]


def planes_figure(examples: Examples) -> Figure:
    """Draw input, reconstruction and difference of a patient, a healthy scan, and the same scan altered.

    The difference (reconstruction - input) is drawn over the input, with the same colour scale in all rows. For a model
    without a reconstruction, the standard map is drawn instead.
    """
    case = examples.volumes["case"]
    rows = [("healthy scan", case["healthy"], case.get("from_healthy"), case["healthy_standard_map"])]
    altered = f"the same, {examples.titles['case']}"
    rows.append((altered, case["altered"], case.get("from_altered"), case["standard_map"]))
    if "patient" in examples.volumes:
        patient = examples.volumes["patient"]
        images = patient["scan"], patient.get("reconstruction"), patient["standard_map"]
        rows.insert(0, (examples.titles["patient"], *images))
    point = deepest(case["reduction"], examples.affine)
    top = float(np.percentile(case["healthy"], 99.8))
    maps = [standard if restored is None else restored - image for _, image, restored, standard in rows]
    limit = float(np.percentile(np.abs(np.stack(maps)[:, examples.brain]), 99.5)) or 1.0
    reconstructs = "from_altered" in case
    figure = new_figure(15 if reconstructs else 10.5, 2.6 * len(rows), layout=None)
    first, second = (0.32, 0.32) if reconstructs else (0.47, 0.0)  # the remaining width is for map and colour bar
    height = 1 / len(rows)
    for row, ((title, image, restored, _), shown) in enumerate(zip(rows, maps, strict=True)):
        bottom = 1 - (row + 1) * height
        _image(figure, (0.0, bottom, first, height), examples, image, point, top, f"{title}: input")
        if restored is not None:
            _image(figure, (first, bottom, second, height), examples, restored, point, top, "reconstruction")
        label = "standard map [SD]" if restored is None else "reconstruction - input"
        frame = (first + second, bottom, 1 - first - second, height)
        _overlay(figure, frame, examples, image, shown, point, top, limit, label)
    return figure


def worst_figure(examples: Examples) -> Figure:
    """Draw the worst cases, one per row: the altered scan with the outline of the truth, and the standard map."""
    labels = sorted(label for label in examples.volumes if label.startswith("worst"))
    figure = new_figure(11, 2.6 * len(labels), layout=None)
    limit = max(float(np.percentile(np.abs(examples.volumes[k]["standard_map"][examples.brain]), 99.5)) for k in labels)
    for row, label in enumerate(labels):
        case = examples.volumes[label]
        point = deepest(case["reduction"], examples.affine)
        top = float(np.percentile(case["healthy"], 99.8))
        height = 1 / len(labels)
        bottom = 1 - (row + 1) * height
        title = examples.titles[label]
        shown = _image(figure, (0.0, bottom, 0.47, height), examples, case["altered"], point, top, title)
        shown.add_contours(_nifti(outlined(case), examples.affine), levels=[0.5], colors=["#56B4E9"], linewidths=1.2)
        frame = (0.47, bottom, 0.53, height)
        _overlay(figure, frame, examples, case["altered"], case["standard_map"], point, top, limit, "standard map [SD]")
    return figure


def outlined(case: Mapping[str, Volume]) -> Volume:
    """A volume that is above 0.5 in the truth of a case.

    Files of earlier versions lack the truth, which was then where the reduction exceeded half of its largest value.
    """
    return case["truth"] if "truth" in case else case["reduction"] / max(float(case["reduction"].max()), 1e-6)


def deepest(reduction: Volume, affine: Affine) -> Point:
    """MNI coordinates in mm of a voxel well inside an anomaly: the maximum of the smoothed reduction."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(reduction, 2.0)
    voxel = np.unravel_index(int(smooth.argmax()), smooth.shape)
    x, y, z = (affine[:3, :3] @ np.array(voxel) + affine[:3, 3]).tolist()
    return x, y, z


def _image(
    figure: Any,
    frame: tuple[float, float, float, float],
    examples: Examples,
    volume: Volume,
    point: Point,
    top: float,
    title: str,
) -> Any:
    from nilearn import plotting

    return plotting.plot_img(
        _nifti(volume, examples.affine),
        cut_coords=point,
        figure=figure,
        axes=frame,
        cmap="gray",
        vmin=0.0,
        vmax=top,
        draw_cross=False,
        black_bg=True,
        colorbar=False,
        title=title,
    )


def _overlay(
    figure: Any,
    frame: tuple[float, float, float, float],
    examples: Examples,
    under: Volume,
    volume: Volume,
    point: Point,
    top: float,
    limit: float,
    title: str,
) -> None:
    """Draw a signed map over a scan: red where uptake is missing, blue where it is increased."""
    shown = _image(figure, frame, examples, under, point, top, title)
    inside = np.where(examples.brain, volume, 0.0).astype(np.float32)
    shown.add_overlay(
        _nifti(inside, examples.affine), cmap="RdBu_r", vmin=-limit, vmax=limit, threshold=0.15 * limit, colorbar=True
    )


def _nifti(volume: Volume, affine: Affine) -> Any:
    import nibabel

    make: Any = nibabel.Nifti1Image
    steps = np.abs(np.diag(affine)[:3]) / FINE_MM
    fine = affine.copy()
    fine[:3, :3] = affine[:3, :3] / steps
    shape = tuple(int(n) for n in np.round((np.array(volume.shape) - 1) * steps) + 1)
    return make(atlas.resample(volume, affine, fine, shape, order=3), fine)
