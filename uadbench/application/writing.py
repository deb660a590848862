"""Writes the files of `uadbench apply`: maps, region table, picture, viewer, summary."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uadbench.application.doubts import doubts
from uadbench.application.inputs import Wanted
from uadbench.application.regions import region_table
from uadbench.application.trained import ModelOutput, TrainedModel
from uadbench.cohorts.io.header import read_header
from uadbench.cohorts.io.nifti import write_volume
from uadbench.report.viewer import ViewedScan, viewer, viewer_page
from uadbench.runtime.files import atomic_path, write_json, write_text
from uadbench.space import atlas
from uadbench.types import Volume

if TYPE_CHECKING:
    import pandas as pd

RESEARCH = "Research software: this is no diagnosis, and no medical device."


@dataclass(frozen=True)
class Applied:
    """The results of a model for one scan.

    Attributes:
        label: The beginning of the names of its files.
        score: The mean of the top 1 % of the standard map, in SDs of healthy scans.
        percentile: Share of healthy validation scans that score lower.
        percentile_interval: Its 95 % interval.
        regions: A row per AAL3 region, the most suspicious first; see `application.regions.region_table`.
        doubts: Reasons to doubt these results.
        files: Name -> what was written: `reconstruction`, `native_map`, `standard_map`, `regions`, `picture`, `viewer`,
            `summary`.
    """

    label: str
    score: float
    percentile: float
    percentile_interval: tuple[float, float]
    regions: pd.DataFrame
    doubts: tuple[str, ...]
    files: dict[str, Path]

    def to_json(self) -> dict[str, Any]:
        """The summary, for programs."""
        return {
            "scan": self.label,
            "score": self.score,
            "percentile": self.percentile,
            "percentile_interval": list(self.percentile_interval),
            "highest_regions": self.regions.head(10).round(6).to_dict("records"),
            "doubts": list(self.doubts),
            "files": {name: file.name for name, file in self.files.items()},
            "note": RESEARCH,
        }


def apply_to(trained: TrainedModel, wanted: Wanted, output: Path, viewed: bool = True) -> Applied:
    """Apply a model to a scan and write the results.

    Args:
        trained: The model.
        wanted: The scan.
        output: An existing folder.
        viewed: Also write an interactive page.

    Raises:
        ScanError: If the scan cannot be used.
        Unfinished: If an output of the model is not finite, or the disk is full.
    """
    files = output_files(wanted.label, output)
    scan = wanted.read(trained.protocol.lattice)
    answer = trained.answer(scan)
    regions = region_table(answer, trained.protocol.lattice, trained.threshold)
    files["summary"].unlink(missing_ok=True)  # it vouches for the others, which are written now
    _write_volumes(answer, wanted, trained, files)
    write_text(files["regions"], regions.to_csv(sep="\t", index=False, float_format="%.6g"))
    with atomic_path(files["picture"]) as partial:
        planes(answer, trained, wanted.label).savefig(partial, dpi=130, format="png")
    if viewed:
        write_text(files["viewer"], view(answer, trained, wanted.label))
    low, high = answer.percentile.low, answer.percentile.high
    left_out = {*([] if viewed else ["viewer"]), *([] if answer.reconstruction is not None else ["reconstruction"])}
    applied = Applied(
        label=wanted.label,
        score=answer.score,
        percentile=float(answer.percentile.mean or 0.0),
        percentile_interval=(float(low or 0.0), float(1.0 if high is None else high)),
        regions=regions,
        doubts=tuple(doubts(answer, trained)),
        files={name: file for name, file in files.items() if name not in left_out},
    )
    write_json(files["summary"], {"model": trained.result.model.name, **applied.to_json()})
    return applied


def output_files(label: str, output: Path) -> dict[str, Path]:
    """Name -> the file in the output folder, of all that is written of a scan."""
    endings = {
        "native_map": "native-map.nii.gz",
        "standard_map": "standard-map.nii.gz",
        "reconstruction": "reconstruction.nii.gz",
        "regions": "regions.tsv",
        "picture": "planes.png",
        "viewer": "viewer.html",
        "summary": "summary.json",
    }
    return {name: output / f"{label}_{ending}" for name, ending in endings.items()}


def _write_volumes(answer: ModelOutput, wanted: Wanted, trained: TrainedModel, files: dict[str, Path]) -> None:
    """Volumes on the lattice of the scan's file, with its sform and qform."""
    header = read_header(wanted.file)
    shape = (header.shape[0], header.shape[1], header.shape[2])
    volumes = {"native_map": answer.native_map, "standard_map": answer.standard_map}
    if answer.reconstruction is not None:
        volumes["reconstruction"] = answer.reconstruction
    for name, volume in volumes.items():
        placed = atlas.resample(volume, trained.protocol.lattice.affine, header.affine, shape)
        write_volume(files[name], placed, header.forms)


def planes(answer: ModelOutput, trained: TrainedModel, title: str) -> Any:
    """The scan, its reconstruction and the standard map over it, in three planes through the map's highest voxel."""
    from nilearn import plotting

    from uadbench.report.figures import new_figure

    affine = trained.protocol.lattice.affine
    highest = np.unravel_index(int(answer.standard_map.argmax()), answer.standard_map.shape)
    centre = tuple((affine @ [*map(float, highest), 1.0])[:3])
    rows: list[tuple[str, Volume, Volume | None]] = [("scan", answer.scan, None)]
    if answer.reconstruction is not None:
        rows.append(("reconstruction", answer.reconstruction, None))
    rows.append(("standard map [SD]", answer.scan, answer.standard_map))
    figure = new_figure(9, 2.9 * len(rows), layout=None)
    top = float(np.percentile(answer.scan, 99.8))
    limit = max(3.0, float(np.percentile(np.abs(answer.standard_map), 99.9)))
    for place, (label, below, above) in enumerate(rows):
        frame = (0.0, 1 - (place + 1) / len(rows), 1.0, 1 / len(rows))
        common: dict[str, Any] = {"figure": figure, "axes": frame, "cut_coords": centre, "black_bg": True}
        words = f"{title}: {label}"
        if above is None:
            plotting.plot_anat(_nifti(below, affine), title=words, vmin=0, vmax=top, dim=0, **common)
        else:
            plotting.plot_stat_map(
                _nifti(above, affine),
                bg_img=_nifti(below, affine),
                title=words,
                threshold=1.0,
                vmax=limit,
                cmap="RdBu_r",
                **common,
            )
    return figure


def view(answer: ModelOutput, trained: TrainedModel, title: str) -> str:
    """A self-contained interactive page: scan, reconstruction, and the standard map over the scan."""
    scan = ViewedScan(title, answer.scan, answer.reconstruction, answer.standard_map)
    inner = viewer([scan], trained.protocol.lattice.affine, "SUVR", trained.threshold)
    return viewer_page(title, inner, f"Model {trained.result.model.name}. {RESEARCH}")


def _nifti(volume: Volume, affine: Any) -> Any:
    import nibabel

    make: Any = nibabel.Nifti1Image
    return make(np.asarray(volume, dtype=np.float32), affine)
