"""Altered scans that another tool has written, ClinicaDL's above all, as test sets of their own."""

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
"""Raise it whenever the same files would give other cases."""

NAMES = (
    re.compile(r"_pat-(?P<anomaly>[A-Za-z0-9]+)_deg-(?P<percent>[0-9]+(?:[.][0-9]+)?)_"),  # ClinicaDL's
    re.compile(
        r"_anomaly-(?P<anomaly>[A-Za-z0-9]+)_severity-(?P<percent>[0-9]+(?:p[0-9]+)?)_pet"
    ),  # of `uadbench simulate`
)
"""ClinicaDL's, and those of `uadbench simulate`."""

LEAST_UPTAKE = 0.05
"""Below this share of a scan's maximum x'/x is noise, and the reduction 0."""

SAME = 0.005
"""By so much x'/x may be off where nothing was done."""

LEAST_UNTOUCHED = 0.25
"""The share of the brain in which nothing was done, at least."""

Case = tuple[str, float]


def named_simulation(name: str) -> Case | None:
    """Anomaly and severity in a file name; None for a scan that nobody has altered."""
    for pattern in NAMES:
        if match := pattern.search(name):
            return match["anomaly"].lower(), round(float(match["percent"].replace("p", ".")) / 100, 5)
    return None


@dataclass(frozen=True)
class AlteredScans:
    """Files of altered scans, by (participant, session) of the healthy scan, anomaly and severity."""

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
        """The altered scans in a CAPS tree of the healthy scans `keys`; those of others are left out.

        `rescaled`: the cohort divides its scans by something, and the altered ones must follow. `nan`: as the cohort's.

        Raises:
            InputError: If there are none, or two of the same.
        """
        tree = tree.expanduser()
        require_tree(tree)
        found: dict[tuple[str, str], dict[Case, Path]] = {}
        seen = 0
        for file in sorted(tree.glob(PATTERN)):
            case = named_simulation(file.name)
            if case is None or not is_of(file.name, FDG):
                continue
            seen += 1
            if not 0 < case[1] <= 1:
                raise InputError(f"{file}: tells of a reduction by {case[1]:.0%}; rename or remove it")
            key = file.parts[-4], canonical(file.parts[-3])
            if key not in keys:
                continue
            cases = found.setdefault(key, {})
            if case in cases:
                raise InputError(f"{file}: is the same simulation as {cases[case].name}; remove one")
            cases[case] = file
        if not found:
            raise InputError(
                f"{tree}: {seen} altered scans (_pat-..._deg-...), none of them of the {len(keys)} healthy test scans; "
                "give a tree that was simulated from this cohort"
            )
        used = sum(map(len, found.values()))
        summary = f"{tree}: {counted(used, 'altered scan')} of {counted(len(found), 'test participant')}"
        if used < seen:
            summary += f"; {seen - used} of people who do not test are left out"
        return AlteredScans(
            {key: dict(sorted(found[key].items())) for key in sorted(found)}, grid, summary, rescaled, nan
        )

    def known_as(self, name: Callable[[str, str], tuple[str, str]]) -> AlteredScans:
        """The same files, of scans that have other names."""
        renamed = {name(*key): cases for key, cases in self.files.items()}
        return replace(self, files={key: renamed[key] for key in sorted(renamed)})

    @property
    def recipe(self) -> str:
        """A hash of whose scans are altered how."""
        told = [[*key, [list(case) for case in cases]] for key, cases in self.files.items()]
        return content_hash(REVISION, told)

    @property
    def content(self) -> str:
        """A hash of the files' sizes and times of change."""
        stats = [file.stat() for cases in self.files.values() for file in cases.values()]
        return content_hash([[stat.st_size, stat.st_mtime_ns] for stat in stats])

    def reductions(self, scan: Scan) -> Iterator[tuple[str, float, Volume]]:
        """Name of the test set, severity, and reduction map 1 - x'/x, (X, Y, Z) float32, of a healthy scan on the grid.

        Raises:
            InputError: For a file that cannot be used, or that is not an altered version of the scan.
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
                    f"brain), exactly so in {untouched:.0%} of it; so it is no altered version of that scan; simulate "
                    "from the cohort's own files"
                )
            if self.rescaled:
                ratio /= np.float32(middle)
            yield f"{GIVEN}{anomaly}", severity, np.clip(1 - ratio, -1, 1, dtype=np.float32)
