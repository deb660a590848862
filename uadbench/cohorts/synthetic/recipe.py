"""The phantom recipe, which generates a scan of a person: individual anatomy and uptake, then a simulated scanner.

A person's brain (shape, regional uptake, atrophy) is drawn independently of the properties of a scan (sharpness,
noise), so that a person can be scanned repeatedly. Each draw has its own seed, so that a scan does not depend on other
scans or on the order of generation.
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
"""Changes whenever the same participant would get a different image."""

REFERENCE_AGE = 73.0
SHARED, NETWORK, PAIRED, PARCEL_PAIRED = 0.050, 0.048, 0.040, 0.080
"""The SDs of components of relative uptake: the whole forebrain, a network, and a bilateral field and parcel. The
values apply where the published regional SD is 8 %; elsewhere they are scaled in proportion."""

SINGLE, PARCEL_SINGLE, LEFTWARD = 0.015, 0.013, 0.014
"""The SDs of a unilateral field and parcel, and of the left-right asymmetry. They are scaled in proportion where the
published regional SD is below 8 %."""

STATE = 0.008
"""The SD of changes between sessions of a person, in the whole forebrain and in each network."""

SEX, NOISE, SHADING, STRETCH, THICKNESS = 0.01, 0.026, 0.008, 0.02, 0.15
"""The difference between women and men in relative forebrain uptake; the SD of noise in a voxel; of shading over 70 mm;
of the stretch along each axis; and of the local loss of cortical thickness, in the unit of `Brain.widening`."""

PAIRED_SHIFT, SINGLE_SHIFT = 1.0, 0.2
"""The SDs, in mm per axis, of the symmetric part of the displacement and of the remainder; together with the stretch,
the root mean square over the brain is 2.2 mm."""


@dataclass(frozen=True)
class Person:
    """The properties of a participant at a visit on which the image depends.

    Attributes:
        seed: The seed of the cohort.
        index: The number of the participant among those of the same kind.
        age: The age in years.
        sex: "F" or "M".
        site: The number of the site.
        kind: "healthy" or "patient".
        stage: The stage of a patient's disease, 0 to 1.
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
    """The properties of a person's brain, which are independent of the scan; standard normal unless stated otherwise.

    Attributes:
        shared: The uptake of the whole forebrain.
        leftward: The left-right asymmetry of uptake.
        networks: (8,) the uptake of each network.
        parcels: (3, PARCELS) the uptake of parcels: bilateral, left, right.
        paired: NODES random numbers of a bilateral field of uptake.
        single: NODES random numbers of a field of uptake without symmetry.
        thickness: NODES random numbers of a field of cortical thinning.
        paired_shift: (3, *NODES) random numbers of the symmetric displacement.
        single_shift: (3, *NODES) random numbers of the remaining displacement.
        axes: (3,) the stretch along each axis.
        widening: The loss of grey matter next to CSF.
        ventricles: The growth of ventricles, in mm.
        scalp: The SUVR of the scalp.
        course: The disease of a patient; None for a healthy person.
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
    """Draw the brain of a person; sulci and ventricles are wider in older people and patients.

    Args:
        person: The person at a visit.

    Returns:
        The brain.
    """
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
    """Generate a scan.

    The steps are: uptake of the person, deformation to the person's anatomy, blur, shading and noise of the scanner,
    and division by the mean of cerebellum and pons, which is measured on the image as in a real scan.

    Args:
        person: The person at the visit.
        session: The session identifier, which determines the random properties of the scan.

    Returns:
        (X, Y, Z) float32, SUVR, on `norms.BASE`.
    """
    average, brain = maps(), draw_brain(person)
    with _one_thread():
        image = _uptake(person, session, brain, average)
        image = _deform(image, brain, average)
        image = _scan(image, person, session)
        image /= image[average.reference].mean(dtype=torch.float64).to(torch.float32)
    return np.asarray(image.numpy())


def regional_values(person: Person, session: str) -> list[float]:
    """Compute regional values without generating an image, in about 40 ms.

    The uptake is that of `render`; the person's anatomy and the variation and noise of the scanner are left out.

    Args:
        person: The person at the visit.
        session: The session identifier.

    Returns:
        The mean SUVR of each region, in the order of REGIONS.
    """
    average, (support, weights, reference) = maps(), _regional_weights()
    with _one_thread():
        image = _uptake(person, session, draw_brain(person), average).flatten()[support]
        values: list[float] = (weights @ image / (reference @ image)).tolist()
    return values


@cache
def _regional_weights() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The flat indices of voxels that affect blurred regional means, and their weights for regions and reference."""
    kernels = [_blur_matrix(n, 8.0 / BASE.voxel_mm) for n in BASE.shape]
    own = np.where(norms.measured(), norms.region_of_voxel(), -1)
    masks = [torch.from_numpy(own == row) for row in range(len(REGIONS))] + [torch.from_numpy(norms.reference())]
    spread = torch.stack([_separable(mask.float() / mask.sum(), kernels).flatten() for mask in masks])
    support = torch.nonzero(spread.sum(dim=0) > 1e-7).flatten()
    spread = spread[:, support].contiguous()
    return support, spread[:-1], spread[-1]


def _uptake(person: Person, session: str, brain: Brain, average: Maps) -> torch.Tensor:
    """The person's uptake in this session, in the anatomy of the average brain."""
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
    """Convert one value per parcel to a map, (X, Y, Z); the borders disappear in the blur of the scanner."""
    return torch.cat([left, right, torch.zeros(1)])[average.parcels]


def _deform(image: torch.Tensor, brain: Brain, average: Maps) -> torch.Tensor:
    """Deform an image to the person's anatomy.

    This precedes the blur, as in reality: the resolution of the scanner does not depend on anatomy.
    """
    low = torch.tensor(BASE.origin)
    span = torch.tensor([(n - 1) * BASE.voxel_mm for n in BASE.shape])
    points = sampling_points(brain, average).sub_(low).mul_(2 / span).sub_(1)
    points = points.flip(-1)[None]  # grid_sample wants the last axis first, in -1..1
    return torch.nn.functional.grid_sample(image[None, None], points, padding_mode="zeros", align_corners=True)[0, 0]


def sampling_points(brain: Brain, average: Maps) -> torch.Tensor:
    """The deformation of the average brain to a person's brain.

    It consists of a smooth displacement, the stretch along each axis that linear registration does not remove, and
    enlarged ventricles.

    Args:
        brain: The person's brain.
        average: The maps of the average brain.

    Returns:
        (X, Y, Z, 3) float32: for each voxel of the person's brain, the position in the average brain, in MNI mm.
    """
    points = average.swelling * -brain.ventricles  # sampling further inward moves tissue outward
    for axis, coordinate in enumerate(coordinates()):
        displacement = grow(brain.paired_shift[axis], "opposite" if axis == 0 else "same").mul_(PAIRED_SHIFT)
        displacement.add_(grow(brain.single_shift[axis]), alpha=SINGLE_SHIFT)
        displacement.add_(coordinate * (1 + STRETCH * float(brain.axes[axis])))
        points[..., axis] += displacement
    return points


def _scan(image: torch.Tensor, person: Person, session: str) -> torch.Tensor:
    """Simulate the scanner: blur, weak shading across the field of view, and noise with the smoothness of the image."""
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
    """Gaussian convolution with zero padding as a matrix, (count, count)."""
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
    """Let torch use one thread within the context.

    The steps are so short that several threads would mostly wait for each other and take up to four times as long on a
    busy machine. One thread also makes scans bit-identical on all machines with any number of threads.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _generator(person: Person, *key: Any) -> np.random.Generator:
    return np.random.default_rng(keyed_seed("phantom", REVISION, person.seed, person.kind, person.index, *key))
