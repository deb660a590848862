"""An interactive viewer of scans: input, reconstruction and map in three planes, as part of a self-contained page."""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from uadbench.report.template import rendered, source
from uadbench.results.examples import Examples
from uadbench.runtime.text import plain
from uadbench.types import Affine, Mask, Values, Volume

if TYPE_CHECKING:
    from markupsafe import Markup

COLOURS = "RdBu_r"
"""The colour map of the other pictures: red where uptake is missing, blue where it is increased."""

LEVELS = 127
"""Levels of a map on each side of 0."""


@dataclass(frozen=True)
class ViewedScan:
    """One scan of a viewer.

    Attributes:
        title: Its title.
        image: What the model sees, (X, Y, Z).
        reconstruction: (X, Y, Z) in the unit of `image`; None if the model does not reconstruct.
        standard_map: (X, Y, Z) in SDs of healthy scans, 0 outside the brain.
        outlined: A region to outline, (X, Y, Z), or None.
    """

    title: str
    image: Volume
    reconstruction: Volume | None
    standard_map: Volume
    outlined: Mask | None = None


def viewer(scans: Sequence[ViewedScan], affine: Affine, unit: str, threshold: float | None) -> Markup:
    """Make the viewer as part of a page; the page needs `page_parts`.

    Volumes are stored with 8 bits per voxel, compressed. Left in the picture is left in the scan.

    Args:
        scans: One or more scans on one grid, of which one is shown at a time. All reconstruct, or none.
        affine: (4, 4), voxels to MNI mm; a positive diagonal, so that axes are in RAS.
        unit: The unit of images.
        threshold: The value of the standard map that healthy validation scans have set, in SD; None if there is none.

    Returns:
        HTML in which all text is escaped.
    """
    images = np.stack([volume for scan in scans for volume in (scan.image, scan.reconstruction) if volume is not None])
    maps = np.stack([scan.standard_map for scan in scans])
    low, top = min(0.0, float(images.min())), float(np.percentile(images, 99.8))
    image_step = (float(images.max()) - low) / 255 or 1.0
    map_step = float(np.abs(maps).max()) / LEVELS or 1.0
    highest = np.unravel_index(int(scans[0].standard_map.argmax()), maps.shape[1:])
    data = {
        "shape": maps.shape[1:],
        "steps": np.diag(affine)[:3].tolist(),
        "origin": affine[:3, 3].tolist(),
        "start": [int(n) for n in highest],
        "image": {"low": low, "step": image_step, "top": top, "unit": plain(unit)},
        "map": {"low": -(LEVELS + 1) * map_step, "step": map_step, "unit": "SD"},
        "limit": max(3.0, float(np.percentile(np.abs(maps), 99.9)), 1.25 * (threshold or 0.0)),
        "threshold": threshold,
        "colours": _colours(),
        "scans": [
            {
                "title": plain(scan.title),
                "image": _packed((scan.image - low) / image_step),
                "reconstruction": None
                if scan.reconstruction is None
                else _packed((scan.reconstruction - low) / image_step),
                "map": _packed(scan.standard_map / map_step + LEVELS + 1),
                "outlined": None if scan.outlined is None else _packed(scan.outlined),
            }
            for scan in scans
        ],
    }
    return rendered("viewer.html", data=data)


def viewer_page(title: str, inner: Markup, note: str) -> str:
    """A page that holds a viewer and nothing else.

    Args:
        title: Its title.
        inner: The viewer.
        note: A line of text below the title.
    """
    return str(rendered("viewer_page.html", parts=page_parts(), title=title, inner=inner, note=note))


@dataclass(frozen=True)
class PageParts:
    """What a page with viewers needs.

    Attributes:
        style: The style sheet; its colours are custom properties of the page.
        script: The script that starts every viewer of the page.
        policy: A Content-Security-Policy under which the page loads nothing, and runs no other script.
    """

    style: Markup
    script: Markup
    policy: str


def page_parts() -> PageParts:
    """What a page with viewers needs."""
    script = source("viewer.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"
    return PageParts(source("viewer.css"), script, policy)


def case_viewer(examples: Examples, threshold: float | None) -> Markup:
    """Make a viewer of the example case of a run: the altered scan with its lesion outlined, and the healthy scan.

    Args:
        examples: The volumes that the run has stored.
        threshold: As for `viewer`.

    Returns:
        As `viewer`.
    """
    inside = np.argwhere(examples.brain)
    first, last = np.maximum(inside.min(0) - 2, 0), np.minimum(inside.max(0) + 3, examples.brain.shape)
    crop = tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    affine = examples.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ first
    case = {name: volume[crop] for name, volume in examples.volumes["case"].items()}
    lesion = case["reduction"] >= 0.5 * case["reduction"].max()
    altered = ViewedScan(
        examples.titles["case"], case["altered"], case.get("from_altered"), case["standard_map"], lesion
    )
    healthy = ViewedScan(
        "the same scan, healthy", case["healthy"], case.get("from_healthy"), case["healthy_standard_map"]
    )
    return viewer([altered, healthy], affine, "", threshold)


def _packed(levels: Values | Volume | Mask) -> str:
    """Levels from 0 to 255 as compressed bytes, in base64."""
    rounded = np.clip(np.rint(np.nan_to_num(levels)), 0, 255).astype(np.uint8)
    return base64.b64encode(gzip.compress(rounded.tobytes(), mtime=0)).decode()


def _colours() -> list[list[int]]:
    """The colours of the levels of a map."""
    import matplotlib as mpl

    scale = mpl.colormaps[COLOURS](np.linspace(0.0, 1.0, 2 * LEVELS + 1), bytes=True)
    return [[int(part) for part in colour[:3]] for colour in scale]
