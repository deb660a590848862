"""Means of a scan and its maps in AAL3 regions."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from uadbench.application.trained import ModelOutput
from uadbench.space import atlas
from uadbench.types import Grid


def region_table(answer: ModelOutput, grid: Grid, threshold: float) -> pd.DataFrame:
    """Measure every AAL3 region that has voxels on the grid.

    Args:
        answer: The output of a model for a scan.
        grid: The grid of its volumes.
        threshold: The threshold of the standard map, in SD.

    Returns:
        A row per region, the most suspicious first: `region`, `uptake` (mean SUVR), `reconstruction` (mean SUVR, NaN if
        there is none), `map` (mean standard map, SD), `above` (share of voxels above the threshold), `voxels`.
    """
    labels, names = _labels(grid)
    counts = np.bincount(labels.ravel(), minlength=len(names) + 1)[1:]

    def means(volume: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
        sums = np.bincount(labels.ravel(), weights=volume.ravel().astype(np.float64), minlength=len(names) + 1)[1:]
        return np.asarray(sums / np.where(counts > 0, counts, np.nan), dtype=np.float64)

    table = pd.DataFrame(
        {
            "region": names,
            "uptake": means(answer.scan),
            "reconstruction": np.nan if answer.reconstruction is None else means(answer.reconstruction),
            "map": means(answer.standard_map),
            "above": means(answer.standard_map > threshold),
            "voxels": counts,
        }
    )
    there = table[table["voxels"] > 0]
    return there.sort_values(["above", "map"], ascending=False, kind="stable").reset_index(drop=True)


@lru_cache(maxsize=4)
def _labels(grid: Grid) -> tuple[npt.NDArray[np.intp], tuple[str, ...]]:
    """Region numbers from 1 on the grid, 0 outside of every region, and the regions' names."""
    ids = atlas.region_ids()
    data, affine = atlas.aal3()
    placed = atlas.resample(data, affine, grid.affine, grid.shape, order=0)
    numbers = np.zeros(int(data.max()) + 1, dtype=np.intp)
    for place, value in enumerate(ids.values(), start=1):
        numbers[value] = place
    return numbers[np.rint(placed).astype(np.intp)], tuple(ids)
