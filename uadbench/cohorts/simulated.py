"""Altered scans that another tool (ClinicaDL) wrote, as additional test sets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from uadbench.cohorts.caps import FDG, PATTERN, is_of, require_tree
from uadbench.cohorts.io.nifti import read_volume
from uadbench.cohorts.io.sessions import canonical
from uadbench.errors import InputError
from uadbench.runtime.files import content_hash
from uadbench.runtime.plurals import counted
from uadbench.space import atlas
from uadbench.types import GIVEN, Grid, Scan, Volume

REVISION = 1
"""Increase this number whenever the same files would give different cases."""

NAMES = (
    re.compile(r"_pat-(?P<anomaly>[A-Za-z0-9]+)_deg-(?P<percent>[0-9]+(?:[.][0-9]+)?)_"),  # ClinicaDL
    re.compile(
        r"_anomaly-(?P<anomaly>[A-Za-z0-9]+)_severity-(?P<percent>[0-9]+(?:p[0-9]+)?)_pet"
    ),  # `uadbench simulate`
)
"""Names of files with altered scans from ClinicaDL and from `uadbench simulate`."""

LEAST_UPTAKE = 0.05
"""The share of a scan's maximum below which x'/x is noise, and the reduction is set to 0."""

SAME = 0.005
"""The largest deviation of x'/x in unaltered voxels."""

LEAST_UNTOUCHED = 0.25
"""The smallest share of the brain that must be unaltered."""

Case = tuple[str, float]


def named_simulation(name: str) -> Case | None:
    """The simulation that a file name describes.

    Args:
        name: The file name.

    Returns:
        The anomaly and its severity, 0 to 1; None for an unaltered scan.
    """
    for pattern in NAMES:
        if match := pattern.search(name):
            return match["anomaly"].lower(), round(float(match["percent"].replace("p", ".")) / 100, 5)
    return None


@dataclass(frozen=True)
class AlteredScans:
    """The altered scans of a cohort.

    Attributes:
        files: The files by (participant, session) of the healthy scan, and by (anomaly, severity).
        grid: The grid of the cases.
        summary: A line about the scans that were found.
        rescaled: Whether the cohort divides its scans by a reference uptake, so that altered scans must be rescaled.
        nan: Whether a file with NaN or infinite voxels is refused, or these voxels are set to 0.
    """

    files: Mapping[tuple[str, str], Mapping[Case, Path]]
    grid: Grid
    summary: str
    rescaled: bool = False
    nan: Literal["refuse", "zero"] = "refuse"

    @staticmethod
    def find(
        tree: Path,
        keys: Sequence[tuple[str, str]],
        grid: Grid,
        rescaled: bool = False,
        nan: Literal["refuse", "zero"] = "refuse",
    ) -> AlteredScans:
        """Find the altered versions of healthy scans in a CAPS tree.

        Args:
            tree: The CAPS tree.
            keys: (participant, session) of the healthy scans; altered versions of other scans are left out.
            grid: The grid of the cases.
            rescaled: Whether the cohort divides its scans by a reference uptake.
            nan: Whether a file with NaN or infinite voxels is refused, or these voxels are set to 0.

        Returns:
            The altered scans.

        Raises:
            InputError: If there are none, or two files with the same simulation.
        """
        tree = tree.expanduser()
        require_tree(tree)
        by_scan: dict[tuple[str, str], dict[Case, Path]] = {}
        seen = 0
        for file in sorted(tree.glob(PATTERN)):
            case = named_simulation(file.name)
            if case is None or not is_of(file.name, FDG):
                continue
            seen += 1
            if not 0 < case[1] <= 1:
                raise InputError(f"{file}: its name says that uptake is reduced by {case[1]:.0%}; rename or remove it")
            key = file.parts[-4], canonical(file.parts[-3])
            if key not in keys:
                continue
            cases = by_scan.setdefault(key, {})
            if case in cases:
                raise InputError(f"{file}: is the same simulation as {cases[case].name}; remove one")
            cases[case] = file
        if not by_scan:
            raise InputError(
                f"{tree}: {seen} altered scans (_pat-..._deg-...), none of which is a version of the {len(keys)} "
                "healthy test scans; give a tree that was simulated from this cohort"
            )
        used = sum(map(len, by_scan.values()))
        summary = f"{tree}: {counted(used, 'altered scan')} of {counted(len(by_scan), 'test participant')}"
        if used < seen:
            summary += f"; {seen - used} of participants outside the test set are left out"
        return AlteredScans(
            {key: dict(sorted(by_scan[key].items())) for key in sorted(by_scan)}, grid, summary, rescaled, nan
        )

    def known_as(self, name: Callable[[str, str], tuple[str, str]]) -> AlteredScans:
        """Rename the healthy scans.

        Args:
            name: A function from (participant, session) to the new (participant, session).

        Returns:
            The same files under the new names.
        """
        renamed = {name(*key): cases for key, cases in self.files.items()}
        return replace(self, files={key: renamed[key] for key in sorted(renamed)})

    @property
    def recipe(self) -> str:
        """A hash of the scans and their simulations."""
        simulations = [[*key, [list(case) for case in cases]] for key, cases in self.files.items()]
        return content_hash(REVISION, simulations)

    @property
    def content(self) -> str:
        """A hash of the sizes and modification times of the files."""
        stats = [file.stat() for cases in self.files.values() for file in cases.values()]
        return content_hash([[stat.st_size, stat.st_mtime_ns] for stat in stats])

    def reductions(self, scan: Scan) -> Iterator[tuple[str, float, Volume]]:
        """Compute the reduction maps of the altered versions of a healthy scan.

        Args:
            scan: The healthy scan x, on the grid.

        Yields:
            The name of the test set, the severity, and the reduction map 1 - x'/x, (X, Y, Z) float32.

        Raises:
            InputError: If a file cannot be used, or is not an altered version of the scan.
        """
        for (anomaly, severity), file in self.files.get(scan.key, {}).items():
            image = read_volume(file, self.nan)
            altered = atlas.resample(image.data, image.affine, self.grid.affine, self.grid.shape)
            ratio = np.ones_like(altered)
            np.divide(altered, scan.data, out=ratio, where=scan.data > LEAST_UPTAKE * float(scan.data.max()))
            inside = ratio[atlas.brain_mask(self.grid)]
            middle = float(np.median(inside))
            untouched = float((np.abs(inside / middle - 1) < SAME).mean()) if middle > 0 else 0.0
            if untouched < LEAST_UNTOUCHED or (abs(middle - 1) > SAME and not self.rescaled):
                raise InputError(
                    f"{file}: has {middle:.2f} times the uptake of {'_'.join(scan.key)} in the cohort (median in the "
                    f"brain), and this ratio in {untouched:.0%} of the brain, so it is not an altered "
                    "version of that scan; simulate from the files of the cohort"
                )
            if self.rescaled:
                ratio /= np.float32(middle)
            yield f"{GIVEN}{anomaly}", severity, np.clip(1 - ratio, -1, 1, dtype=np.float32)
