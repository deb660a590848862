"""How the phantom makes one person's scan: anatomy and uptake drawn around the average, then a scanner.

A person's brain (shape, regional uptake, atrophy) is drawn apart from what one scan adds (sharpness, noise),
so that a person can be scanned again. Every draw has its own key: order and company change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from uadbench.cohorts.phantom_maps import BASE, NETWORKS, Maps, maps, millimetres
from uadbench.store import keyed_seed
from uadbench.types import Volume

REVISION = "1"
"""Changes whenever the same participant would get another image."""

REFERENCE_AGE = 73.0
COARSE = (11, 13, 11)
"""Nodes of the 20 mm lattice from which smooth random fields grow, centred on the midline."""

SHARED, NETWORK, PAIRED, SINGLE = 0.054, 0.050, 0.048, 0.016
"""SD of what the forebrain shares, of a network, of a field on both sides, of a field on one side; where the
table's SD is 8 %, and in proportion elsewhere."""

SEX, NOISE, SHADING, STRETCH = 0.01, 0.04, 0.008, 0.02
"""Women's higher forebrain uptake; noise SD in a voxel; shading over 70 mm; stretch per axis."""

PAIRED_SHIFT, SINGLE_SHIFT = 0.9, 0.6
"""SD in mm, per axis, of the displacement that both sides share (mirrored) and of the rest: with the stretch
2.3 mm in all (root mean square over the brain)."""

Sides = Literal["free", "same", "opposite"]


@dataclass(frozen=True)
class Person:
    """One row of the participants' table, as far as the image depends on it."""

    seed: int
    index: int
    age: float
    sex: str
    site: int


@dataclass(frozen=True)
class Brain:
    """What stays the same in a person: standard normal draws, shaped by the recipe.

    `shared` and `networks` (8,) move the uptake of the forebrain and of networks; `paired` and `single`
    COARSE are fields, the same on both sides or not; `paired_shift` and `single_shift` (3, *COARSE) deform;
    `axes` (3,) stretches;
    `widening` is the loss of grey matter beside fluid; `ventricles` their growth in mm; `scalp` its SUVR.
    """

    shared: float
    networks: npt.NDArray[np.float32]
    paired: npt.NDArray[np.float32]
    single: npt.NDArray[np.float32]
    paired_shift: npt.NDArray[np.float32]
    single_shift: npt.NDArray[np.float32]
    axes: npt.NDArray[np.float32]
    widening: float
    ventricles: float
    scalp: float


def draw_brain(person: Person) -> Brain:
    """Draw a person's brain; older people have wider sulci and ventricles."""
    rng = _generator(person, "brain")
    decades = (person.age - REFERENCE_AGE) / 10
    return Brain(
        shared=float(rng.standard_normal()),
        networks=rng.standard_normal(len(NETWORKS), dtype=np.float32),
        paired=rng.standard_normal(COARSE, dtype=np.float32),
        single=rng.standard_normal(COARSE, dtype=np.float32),
        paired_shift=rng.standard_normal((3, *COARSE), dtype=np.float32),
        single_shift=rng.standard_normal((3, *COARSE), dtype=np.float32),
        axes=rng.standard_normal(3, dtype=np.float32),
        widening=max(0.0, 0.5 + 0.15 * decades + 0.2 * float(rng.standard_normal())),
        ventricles=float(np.clip(0.7 + 0.6 * decades + 0.7 * rng.standard_normal(), -1, 3)),
        scalp=0.25 * float(np.exp(0.3 * rng.standard_normal())),
    )


def render(person: Person, session: str) -> Volume:
    """One finished scan on the base lattice, (X, Y, Z) float32 SUVR.

    Tissue -> the person's uptake -> the person's shape -> scanner blur -> shading and noise -> divided by
    the mean of cerebellum and pons, measured on the finished scan as one would on a real one.
    """
    average, brain = maps(), draw_brain(person)
    with _one_thread():
        image = _uptake(person, brain, average)
        image = _deform(image, brain, average)
        image = _scan(image, person, session)
        image /= image[average.reference].mean(dtype=torch.float64).to(torch.float32)
    return np.asarray(image.numpy())


def _uptake(person: Person, brain: Brain, average: Maps) -> torch.Tensor:
    """The person's uptake in the shape of the average brain."""
    decades = (person.age - REFERENCE_AGE) / 10
    factor = _field(brain.paired, "same").mul_(PAIRED)
    factor.add_(_field(brain.single), alpha=SINGLE)
    weights = torch.from_numpy(NETWORK * brain.networks)
    factor.add_(torch.tensordot(weights, average.networks, dims=1))
    factor.add_(average.cerebrum, alpha=SHARED * brain.shared)
    factor.mul_(average.spread)
    factor.add_(average.slope, alpha=decades)
    factor.add_(average.cerebrum, alpha=SEX * (0.5 if person.sex == "F" else -0.5))
    lost = torch.exp(average.near_fluid * -brain.widening).sub_(1).mul_(average.grey_part)
    image = lost.add_(average.uptake).mul_(factor.add_(1).clamp_(min=0.2))
    return image.add_(average.scalp, alpha=brain.scalp)


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
    for axis, coordinate in enumerate(_millimetres()):
        displacement = _field(brain.paired_shift[axis], "opposite" if axis == 0 else "same").mul_(PAIRED_SHIFT)
        displacement.add_(_field(brain.single_shift[axis]), alpha=SINGLE_SHIFT)
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
    x, y, z = (m / 70 for m in _millimetres())
    a, b, c, d = (SHADING * shading).tolist()
    return image.mul_(x * a + (1 + d * (x * x + y * y + z * z)) + (y * b + z * c))


def _field(nodes: npt.NDArray[np.float32], sides: Sides = "free") -> torch.Tensor:
    """Grow a smooth field of unit variance from random nodes.

    `sides`: how the right half relates to the left: "free", the "same", or "opposite" in sign.
    """
    across, along, up = _bases()
    a, b, c = nodes.shape
    grown = torch.from_numpy(nodes).reshape(-1, c) @ up.T  # (a b, Z)
    grown = torch.matmul(along, grown.reshape(a, b, -1))  # (a, Y, Z)
    return (across[sides] @ grown.reshape(a, -1)).reshape(BASE.shape)


@cache
def _bases() -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """Per axis, (voxels, nodes): Gaussians of 12 mm SD around nodes 20 mm apart, rows of unit norm."""
    hills = []
    for count, coordinate in zip(COARSE, _millimetres(), strict=True):
        middle = (float(coordinate.min()) + float(coordinate.max())) / 2
        nodes = middle + 20.0 * (torch.arange(count) - (count - 1) / 2)
        hills.append(torch.exp(-0.5 * ((coordinate.flatten()[:, None] - nodes) / 12.0) ** 2))
    x, y, z = (torch.nn.functional.normalize(basis, dim=1) for basis in hills)
    same = torch.nn.functional.normalize(x + x.flip(1), dim=1)
    opposite = (x - x.flip(1)) / 2**0.5  # falls to 0 on the midline: normalising it would tear there
    return {"free": x, "same": same, "opposite": opposite}, y, z


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


@cache
def _millimetres() -> tuple[torch.Tensor, ...]:
    return tuple(torch.from_numpy(m) for m in millimetres())


def _generator(person: Person, *key: Any) -> np.random.Generator:
    return np.random.default_rng(keyed_seed("phantom", REVISION, person.seed, person.index, *key))
