"""How the phantom makes one person's scan: anatomy and uptake drawn around the average, then a scanner.

A person's brain (shape, regional uptake, atrophy) is drawn apart from what one scan adds (sharpness, noise),
so that a person can be scanned again. Every draw has its own key: order and company change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from uadbench.cohorts.synthetic import norms
from uadbench.cohorts.synthetic.disease import (
    VENTRICLES_PER_STAGE,
    WIDENING_PER_STAGE,
    Course,
    draw_course,
    lost_uptake,
)
from uadbench.cohorts.synthetic.fields import coordinates, draw_nodes, grow
from uadbench.cohorts.synthetic.maps import MEAN_WIDENING, NETWORKS, PARCELS, WIDENING_PER_DECADE, Maps, maps
from uadbench.cohorts.synthetic.norms import BASE, REGIONS
from uadbench.runtime.files import keyed_seed
from uadbench.types import Volume

REVISION = "2"
"""Changes whenever the same participant would get another image."""

REFERENCE_AGE = 73.0
SHARED, NETWORK, PAIRED, PARCEL_PAIRED = 0.050, 0.048, 0.040, 0.080
"""SD of what the forebrain shares, of a network, and of a field and a parcel on both sides, where the table's SD is
8 %; in proportion elsewhere."""

SINGLE, PARCEL_SINGLE, LEFTWARD = 0.015, 0.013, 0.014
"""SD of a field and a parcel on one side, and of how far the left half exceeds the mean of both; in proportion to the
table's SD where that is below 8 %."""

STATE = 0.008
"""SD of what a day changes in the forebrain and in each network: the same person, scanned again."""

SEX, NOISE, SHADING, STRETCH, THICKNESS = 0.01, 0.026, 0.008, 0.02, 0.15
"""Women's higher forebrain uptake; noise SD in a voxel; shading over 70 mm; stretch per axis; SD of the local
loss of cortical thickness, in the unit of `Brain.widening`."""

PAIRED_SHIFT, SINGLE_SHIFT = 1.0, 0.2
"""SD in mm, per axis, of the displacement that both sides share (mirrored) and of the rest: with the stretch
2.2 mm in all (root mean square over the brain)."""


@dataclass(frozen=True)
class Person:
    """One row of the participants' table, as far as the image depends on it.

    `kind` is "healthy" or "patient", each counted on its own by `index`; `stage` is a patient's at that visit.
    """

    seed: int
    index: int
    age: float
    sex: str
    site: int
    kind: str = "healthy"
    stage: float = 0.0


@dataclass(frozen=True)
class Brain:
    """What stays the same in a person: standard normal draws, shaped by the recipe.

    `shared`, `leftward` and `networks` (8,) move the uptake of the forebrain, of its left side and of networks;
    `parcels` (3, PARCELS) that of parcels (both sides, left, right); `paired` and `single` NODES are fields, the same
    on both sides or not; `thickness` NODES thins the cortex; `paired_shift` and `single_shift` (3, *NODES) deform;
    `axes` (3,) stretches; `widening` is the loss of grey matter beside fluid; `ventricles` their growth in mm;
    `scalp` its SUVR; `course` a patient's disease.
    """

    shared: float
    leftward: float
    networks: npt.NDArray[np.float32]
    parcels: npt.NDArray[np.float32]
    paired: npt.NDArray[np.float32]
    single: npt.NDArray[np.float32]
    thickness: npt.NDArray[np.float32]
    paired_shift: npt.NDArray[np.float32]
    single_shift: npt.NDArray[np.float32]
    axes: npt.NDArray[np.float32]
    widening: float
    ventricles: float
    scalp: float
    course: Course | None


def draw_brain(person: Person) -> Brain:
    """Draw a person's brain at an age and stage; older people and patients have wider sulci and ventricles."""
    rng = _generator(person, "brain")
    decades = (person.age - REFERENCE_AGE) / 10
    return Brain(
        shared=float(rng.standard_normal()),
        leftward=float(rng.standard_normal()),
        networks=rng.standard_normal(len(NETWORKS), dtype=np.float32),
        parcels=rng.standard_normal((3, PARCELS), dtype=np.float32),
        paired=draw_nodes(rng),
        single=draw_nodes(rng),
        thickness=draw_nodes(rng),
        paired_shift=draw_nodes(rng, (3,)),
        single_shift=draw_nodes(rng, (3,)),
        axes=rng.standard_normal(3, dtype=np.float32),
        widening=max(0.0, MEAN_WIDENING + WIDENING_PER_DECADE * decades + 0.2 * float(rng.standard_normal()))
        + WIDENING_PER_STAGE * person.stage,
        ventricles=float(np.clip(0.7 + 0.6 * decades + 0.7 * rng.standard_normal(), -1, 3))
        + VENTRICLES_PER_STAGE * person.stage,
        scalp=0.25 * float(np.exp(0.3 * rng.standard_normal())),
        course=draw_course(_generator(person, "disease")) if person.kind == "patient" else None,
    )


def render(person: Person, session: str) -> Volume:
    """One finished scan on the base lattice, (X, Y, Z) float32 SUVR.

    Tissue -> the person's uptake -> the person's shape -> scanner blur -> shading and noise -> divided by
    the mean of cerebellum and pons, measured on the finished scan as one would on a real one.
    """
    average, brain = maps(), draw_brain(person)
    with _one_thread():
        image = _uptake(person, session, brain, average)
        image = _deform(image, brain, average)
        image = _scan(image, person, session)
        image /= image[average.reference].mean(dtype=torch.float64).to(torch.float32)
    return np.asarray(image.numpy())


def regional_values(person: Person, session: str) -> list[float]:
    """Mean SUVR of REGIONS, in their order, without making an image (about 40 ms).

    The uptake is that of `render`; the person's shape, the scanner's variation and its noise are left out.
    """
    average, (support, weights, reference) = maps(), _regional_weights()
    with _one_thread():
        image = _uptake(person, session, draw_brain(person), average).flatten()[support]
        values: list[float] = (weights @ image / (reference @ image)).tolist()
    return values


@cache
def _regional_weights() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Voxels (flat) that have a part in a blurred regional mean, what part (regions, voxels), and in the reference."""
    kernels = [_blur_matrix(n, 8.0 / BASE.voxel_mm) for n in BASE.shape]
    own = np.where(norms.measured(), norms.region_of_voxel(), -1)
    masks = [torch.from_numpy(own == row) for row in range(len(REGIONS))] + [torch.from_numpy(norms.reference())]
    spread = torch.stack([_separable(mask.float() / mask.sum(), kernels).flatten() for mask in masks])
    support = torch.nonzero(spread.sum(dim=0) > 1e-7).flatten()
    spread = spread[:, support].contiguous()
    return support, spread[:-1], spread[-1]


def _uptake(person: Person, session: str, brain: Brain, average: Maps) -> torch.Tensor:
    """The person's uptake on that day in the shape of the average brain."""
    decades = (person.age - REFERENCE_AGE) / 10
    day = _generator(person, "day", session).standard_normal(1 + len(NETWORKS), dtype=np.float32)
    both, left, right = torch.from_numpy(brain.parcels)
    weights = torch.from_numpy(NETWORK * brain.networks + STATE * day[1:])
    factor = grow(brain.paired, "same").mul_(PAIRED)
    factor.add_(_by_parcel(PARCEL_PAIRED * both, PARCEL_PAIRED * both, average))
    factor.add_(torch.tensordot(weights, average.networks, dims=1))
    factor.add_(average.cerebrum, alpha=SHARED * brain.shared + STATE * float(day[0]))
    factor.mul_(average.spread)
    uneven = grow(brain.single).mul_(SINGLE)
    uneven.add_(_by_parcel(PARCEL_SINGLE * left, PARCEL_SINGLE * right, average))
    uneven.add_(average.leftness, alpha=LEFTWARD * brain.leftward)
    factor.add_(uneven.mul_(average.spread.clamp(max=1)))
    factor.add_(average.slope, alpha=decades)
    factor.add_(average.cerebrum, alpha=SEX * (0.5 if person.sex == "F" else -0.5))
    thinned = grow(brain.thickness).mul_(THICKNESS).add_(brain.widening).clamp_(min=0)
    lost = thinned.mul_(average.near_fluid).neg_().expm1_().mul_(average.grey_part)
    image = lost.add_(average.uptake).mul_(factor.add_(1).clamp_(min=0.2))
    if brain.course is not None:
        image.mul_(1 - lost_uptake(brain.course, person.stage))
    return image.add_(average.scalp, alpha=brain.scalp)


def _by_parcel(left: torch.Tensor, right: torch.Tensor, average: Maps) -> torch.Tensor:
    """One value a parcel as a map, (X, Y, Z); the borders vanish in the scanner's blur."""
    return torch.cat([left, right, torch.zeros(1)])[average.parcels]


def _deform(image: torch.Tensor, brain: Brain, average: Maps) -> torch.Tensor:
    """Give an image the person's shape.

    Before the blur, as in life: anatomy differs between people, a scanner's resolution does not follow it.
    """
    low = torch.tensor(BASE.origin)
    span = torch.tensor([(n - 1) * BASE.voxel_mm for n in BASE.shape])
    points = sampling_points(brain, average).sub_(low).mul_(2 / span).sub_(1)
    points = points.flip(-1)[None]  # grid_sample wants the last axis first, in -1..1
    return torch.nn.functional.grid_sample(image[None, None], points, padding_mode="zeros", align_corners=True)[0, 0]


def sampling_points(brain: Brain, average: Maps) -> torch.Tensor:
    """(X, Y, Z, 3): where in the average brain, in MNI mm, each voxel of the person's brain comes from.

    A smooth displacement, the stretch per axis that linear registration leaves, and larger ventricles.
    """
    points = average.swelling * -brain.ventricles  # sampling further in moves tissue out
    for axis, coordinate in enumerate(coordinates()):
        displacement = grow(brain.paired_shift[axis], "opposite" if axis == 0 else "same").mul_(PAIRED_SHIFT)
        displacement.add_(grow(brain.single_shift[axis]), alpha=SINGLE_SHIFT)
        displacement.add_(coordinate * (1 + STRETCH * float(brain.axes[axis])))
        points[..., axis] += displacement
    return points


def _scan(image: torch.Tensor, person: Person, session: str) -> torch.Tensor:
    """What a scanner does: blur, a faint shading across the field of view, and noise as smooth as the image."""
    site = np.random.default_rng(keyed_seed("phantom", REVISION, person.seed, "site", person.site))
    sharpness, shading, noise = site.standard_normal(), site.standard_normal(4), site.standard_normal()
    rng = _generator(person, "scan", session)
    fwhm = 8.0 * (1 + 0.06 * sharpness + 0.08 * float(rng.standard_normal()))
    level = NOISE * float(np.exp(0.25 * noise + 0.15 * rng.standard_normal()))
    kernels = [_blur_matrix(n, fwhm / BASE.voxel_mm) for n in BASE.shape]
    grain = _separable(torch.from_numpy(rng.standard_normal(BASE.shape, dtype=np.float32)), kernels)
    for kernel in kernels:
        grain.div_(kernel[len(kernel) // 2].square().sum().sqrt())
    image = _separable(image, kernels)
    image.mul_(grain.mul_(level).add_(1).clamp_(min=0))
    x, y, z = (m / 70 for m in coordinates())
    a, b, c, d = (SHADING * shading).tolist()
    return image.mul_(x * a + (1 + d * (x * x + y * y + z * z)) + (y * b + z * c))


def _blur_matrix(count: int, fwhm_voxels: float) -> torch.Tensor:
    """(count, count): convolution with a Gaussian as a matrix; what lies outside is 0."""
    steps = torch.arange(count, dtype=torch.float32)
    matrix = torch.exp((steps[:, None] - steps).square_().mul_(-4 * np.log(2) / fwhm_voxels**2))
    return matrix.div_(matrix[count // 2].sum())


def _separable(volume: torch.Tensor, matrices: list[torch.Tensor]) -> torch.Tensor:
    """Apply one matrix along each axis."""
    x, y, z = matrices
    volume = (x @ volume.reshape(BASE.shape[0], -1)).reshape(BASE.shape)
    volume = torch.matmul(y, volume)
    return (volume.reshape(-1, BASE.shape[2]) @ z.T).reshape(BASE.shape)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch use one thread: the steps are so short that threads mostly wait, four times over on a busy machine.

    It also makes a scan bit-equal whatever the number of threads.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _generator(person: Person, *key: Any) -> np.random.Generator:
    return np.random.default_rng(keyed_seed("phantom", REVISION, person.seed, person.kind, person.index, *key))
