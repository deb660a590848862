"""Tuning lesions on healthy validation scans, on which settings are chosen; unlike any lesion of the test sets.

A test lesion is a dementia's regions or one rounded blob, smoothed by the same Gaussian, with one depth. A tuning
lesion consists of irregular patches anywhere in the forebrain, has its own sharpness, and its depth varies in space.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from uadbench.errors import Unfinished
from uadbench.protocols.schema import GridSection, Protocol
from uadbench.runtime.files import keyed_seed
from uadbench.simulation import blobs, hypometabolism
from uadbench.simulation.fields import CANVAS, VOXEL_CM3, forebrain, onto, smooth_field, soften
from uadbench.simulation.testset import SimulatedCases, draw_unseen
from uadbench.space import atlas
from uadbench.types import TUNING, UNSEEN, Case, Mask, Scan, Volume

REVISION: Final = 1
"""Increased by hand whenever the same draw would give another lesion, or the same seed another draw."""

GRAINS_MM: Final = (6.0, 9.0, 12.0)
"""SD of the Gaussian that smooths the random field whose highest values are the patches, in mm."""

DEPTH_SCALE_MM: Final = 16.0
SHALLOWEST: Final = 0.5
"""Smallest depth within a lesion, relative to the largest."""

LEAST_CM3: Final = 5.0
"""Smallest volume of the truth; a lesion with less is drawn again."""

ATTEMPTS: Final = 200


@dataclass(frozen=True)
class TuningLesion:
    """The parameters that were drawn; `tuning_maps` computes the same lesion from them every time.

    Attributes:
        depth: Largest relative reduction before smoothing, 0.3 for 30 %.
        volume_cm3: Volume of all patches before smoothing, in cm3.
        grain_mm: One of GRAINS_MM.
        sigma_mm: SD of the Gaussian that smooths the patches, in mm.
        field_seed: Seed of the field of patches; the next seed is that of the depth.
    """

    depth: float
    volume_cm3: float
    grain_mm: float
    sigma_mm: float
    field_seed: int


def draw_lesion(protocol: Protocol, key: tuple[str, str], number: int, truths: LesionTruths) -> TuningLesion:
    """Draw a lesion of a scan: a pure function of the protocol's seed, participant, session, number and `truths`.

    Args:
        protocol: Defines the ranges, and the largest Dice with the truths of test lesions.
        key: Participant and session.
        number: Which of the scan's lesions.
        truths: The truths of the test lesions; draws are repeated until they overlap little with all of them.

    Raises:
        Unfinished: If two hundred draws are not enough.
    """
    section = protocol.tuning
    rng = np.random.default_rng(keyed_seed("tuning", protocol.testsets.seed, *key, number))
    for _ in range(ATTEMPTS):
        depth, volume = (
            float(np.exp(rng.uniform(np.log(limits.low), np.log(limits.high))))
            for limits in (section.depth, section.volume_cm3)
        )
        lesion = TuningLesion(
            depth=round(depth, 4),
            volume_cm3=round(volume, 2),
            grain_mm=GRAINS_MM[int(rng.integers(len(GRAINS_MM)))],
            sigma_mm=round(float(rng.uniform(section.sigma_mm.low, section.sigma_mm.high)), 3),
            field_seed=int(rng.integers(2**31)),
        )
        truth = lesion_truth(protocol, lesion)
        if truth.sum() * VOXEL_CM3 >= LEAST_CM3 and truths.dice(truth).max() <= section.most_dice:
            return lesion
    raise Unfinished(f"found no tuning lesion with a Dice of at most {section.most_dice:g} with every test lesion")


def tuning_cases(protocol: Protocol, scans: Iterable[Scan], truths: LesionTruths) -> Iterator[Case]:
    """Yield the cases of healthy validation scans with tuning lesions, one at a time, scan by scan.

    Args:
        protocol: Defines the number of cases per scan, the ranges, grid and intensity.
        scans: Healthy validation scans on the protocol's grid. What is drawn for one does not depend on the others.
        truths: The truths of the test lesions, which tuning lesions avoid.

    Yields:
        Cases of the test set TUNING; the severity is the largest relative reduction before smoothing.

    Raises:
        Unfinished: If no lesion within the limits of the protocol can be drawn.
    """
    for scan in scans:
        for number in range(protocol.tuning.cases):
            yield tuning_case(protocol, scan, draw_lesion(protocol, scan.key, number, truths))


def tuning_case(protocol: Protocol, scan: Scan, lesion: TuningLesion) -> Case:
    """The case of a scan with a lesion.

    Args:
        protocol: Defines grid, intensity, and the limits of the truth.
        scan: The healthy scan on the protocol's grid.
        lesion: The lesion.
    """
    section, (patches, depth) = protocol.testsets, _soft(lesion)
    support = onto(patches, protocol.lattice)
    truth = hypometabolism.truth(support, atlas.brain_mask(protocol.lattice), section.positive, section.ignored)
    reduction = np.float32(lesion.depth) * onto(patches * depth, protocol.lattice)
    return Case(scan, reduction, truth, TUNING, lesion.depth, protocol.intensity_of(scan.extent))


@dataclass(frozen=True)
class LesionTruths:
    """The truths of test lesions on the canvas, computed without reading a scan.

    Attributes:
        names: The test set of each: dementias, and UNSEEN once per test scan.
        masks: (L, voxels of the canvas) float32, 1 for positive voxels.
    """

    names: tuple[str, ...]
    masks: npt.NDArray[np.float32]

    @classmethod
    def of(cls, protocol: Protocol, test: Sequence[tuple[str, str]]) -> LesionTruths:
        """The truths of the dementias, and of the blobs of test scans.

        Args:
            protocol: The protocol.
            test: Participant and session of every test scan, as named in results.

        Raises:
            Unfinished: If a blob cannot be drawn within the limits of the protocol.
        """
        truths = [(name, truth == 1) for name, truth in SimulatedCases(_on_canvas(protocol), []).truths.items()]
        for key in test:
            blob = blobs.blob_mask(draw_unseen(protocol, key), CANVAS, protocol.testsets.sigma_mm)
            truths.append((UNSEEN, _positive(protocol, blob)))
        return cls(tuple(name for name, _ in truths), np.stack([mask.ravel() for _, mask in truths]).astype(np.float32))

    def dice(self, truth: Mask) -> npt.NDArray[np.float64]:
        """Dice of a truth on the canvas, (X, Y, Z) bool, with each of these, (L,)."""
        flat = truth.ravel().astype(np.float32)
        sizes = self.masks.sum(axis=1, dtype=np.float64) + flat.sum(dtype=np.float64)
        return np.asarray(2 * (self.masks @ flat) / np.maximum(1, sizes))


def overlaps(protocol: Protocol, validation: Iterable[tuple[str, str]], truths: LesionTruths) -> dict[str, Overlap]:
    """Measure how much tuning lesions overlap with test lesions.

    Args:
        protocol: The protocol.
        validation: Participant and session of every validation scan.
        truths: The truths of the test lesions.

    Returns:
        For every dementia and UNSEEN, the Dice over all pairs of a tuning lesion and a test lesion.
    """
    table = np.stack(
        [
            truths.dice(lesion_truth(protocol, draw_lesion(protocol, key, number, truths)))
            for key in validation
            for number in range(protocol.tuning.cases)
        ]
    )
    names = np.array(truths.names)
    columns = {name: table[:, names == name] for name in dict.fromkeys(truths.names)}
    return {name: Overlap(float(dice.mean()), float(dice.max())) for name, dice in columns.items()}


class Overlap(NamedTuple):
    """Mean and largest Dice over pairs of lesions."""

    mean: float
    largest: float


def lesion_truth(protocol: Protocol, lesion: TuningLesion) -> Mask:
    """The positive voxels of a lesion on the canvas, (X, Y, Z) bool."""
    return _positive(protocol, _soft(lesion)[0])


def _positive(protocol: Protocol, smoothed: Volume) -> Mask:
    return np.asarray((smoothed > protocol.testsets.positive) & atlas.brain_mask(CANVAS))


def _on_canvas(protocol: Protocol) -> Protocol:
    grid = GridSection(shape=CANVAS.shape, voxel_mm=CANVAS.voxel_mm, origin=CANVAS.origin)
    return protocol.model_copy(update={"grid": grid})


@lru_cache(maxsize=8)  # drawing computes the lesion that is needed next
def _soft(lesion: TuningLesion) -> tuple[Volume, Volume]:
    """Smoothed patches (0..1) and the depth within them (SHALLOWEST..1), on the canvas."""
    field, within = smooth_field(lesion.field_seed, lesion.grain_mm), forebrain()
    count = max(1, min(round(lesion.volume_cm3 / VOXEL_CM3), int(within.sum())))
    limit = np.partition(field[within], -count)[-count]
    patches = soften(within & (field >= limit), lesion.sigma_mm)
    depth = SHALLOWEST + (1 - SHALLOWEST) / (1 + np.exp(-2 * smooth_field(lesion.field_seed + 1, DEPTH_SCALE_MM)))
    return patches, np.asarray(depth, dtype=np.float32)
