"""Generation of a scan of a person: individual anatomy and uptake, then a simulated scanner.

A person's brain (shape, regional uptake, atrophy) is drawn independently of the properties of a scan (sharpness,
noise), so that a person can be scanned repeatedly. Each draw has its own seed, so that a scan does not depend on other
scans or on the order of generation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import torch

from uadbench.cohorts.synthetic import norms
from uadbench.cohorts.synthetic.ageing import losses
from uadbench.cohorts.synthetic.brain import Brain, Person, draw_brain
from uadbench.cohorts.synthetic.disease import lost_uptake
from uadbench.cohorts.synthetic.fields import FINE, coordinates, grow
from uadbench.cohorts.synthetic.incidental import kept_uptake
from uadbench.cohorts.synthetic.maps import NETWORKS, Maps, maps
from uadbench.cohorts.synthetic.norms import BASE, REGIONS
from uadbench.runtime.files import keyed_seed
from uadbench.types import Volume


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
    average, brain = maps(person.recipe), draw_brain(person)
    with _one_thread():
        image = _uptake(person, session, brain, average)
        image = _deform(image, person, brain, average)
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
    average, (support, weights, reference) = maps(person.recipe), _regional_weights()
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
    recipe, decades = person.recipe, person.decades + person.ahead
    day = person.generator("day", session).standard_normal(1 + len(NETWORKS), dtype=np.float32)
    both, left, right = torch.from_numpy(brain.unevenness * brain.parcels)
    weights = torch.from_numpy(recipe.network * brain.unevenness * brain.networks + recipe.state * day[1:])
    factor = grow(brain.paired, "same").mul_(recipe.paired * brain.unevenness)
    factor.add_(_by_parcel(recipe.parcel_paired * both, recipe.parcel_paired * both, average))
    factor.add_(torch.tensordot(weights, average.networks, dims=1))
    factor.add_(average.cerebrum, alpha=recipe.shared * brain.shared + recipe.state * float(day[0]))
    if brain.ageing is not None:
        loss = -recipe.ageing * losses(brain.ageing, person.decades, person.ahead)
        lost = torch.tensordot(torch.from_numpy(loss.astype(np.float32)), average.lobes, dims=1)
        factor.add_(lost.mul_(average.leftness.mul(brain.ageing.leftward).add_(1)))
    factor.mul_(average.spread)
    uneven = grow(brain.single).mul_(recipe.single * brain.unevenness)
    uneven.add_(_by_parcel(recipe.parcel_single * left, recipe.parcel_single * right, average))
    uneven.add_(average.leftness, alpha=recipe.leftward * brain.leftward)
    factor.add_(uneven.mul_(average.spread.clamp(max=1)))
    factor.add_(average.slope, alpha=decades)
    factor.add_(average.cerebrum, alpha=recipe.sex * (0.5 if person.sex == "F" else -0.5))
    widening: float | torch.Tensor = brain.widening
    if brain.atrophy is not None:
        local = torch.tensordot(torch.from_numpy(brain.atrophy), average.lobes, dims=1)
        widening = local.add_(1 - average.cerebrum).mul_(brain.widening)
    thinned = grow(brain.thickness).mul_(recipe.thickness).add_(widening).clamp_(min=0)
    lost = thinned.mul_(average.near_fluid).neg_().expm1_().mul_(average.grey_part)
    image = lost.add_(average.uptake).mul_(factor.add_(1).clamp_(min=0.2))
    if brain.findings:
        image.mul_(kept_uptake(brain.findings))
    if brain.course is not None:
        image.mul_(1 - lost_uptake(brain.course, person.stage))
    return image.add_(average.scalp, alpha=brain.scalp)


def _by_parcel(left: torch.Tensor, right: torch.Tensor, average: Maps) -> torch.Tensor:
    """Convert one value per parcel to a map, (X, Y, Z); the borders disappear in the blur of the scanner."""
    return torch.cat([left, right, torch.zeros(1)])[average.parcels]


def _deform(image: torch.Tensor, person: Person, brain: Brain, average: Maps) -> torch.Tensor:
    """Deform an image to the person's anatomy.

    This precedes the blur, as in reality: the resolution of the scanner does not depend on anatomy.
    """
    return _sample(image[None], sampling_points(person, brain, average))[0]


def _sample(volumes: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Sample volumes (N, X, Y, Z) linearly at positions (X, Y, Z, 3) in MNI mm; 0 outside."""
    low = torch.tensor(BASE.origin)
    span = torch.tensor([(n - 1) * BASE.voxel_mm for n in BASE.shape])
    # grid_sample wants the last axis first, in -1..1
    scaled = (points - low).mul_(2 / span).sub_(1).flip(-1)[None]
    return torch.nn.functional.grid_sample(volumes[None], scaled, padding_mode="zeros", align_corners=True)[0]


def sampling_points(person: Person, brain: Brain, average: Maps) -> torch.Tensor:
    """The deformation of the average brain to a person's brain.

    It consists of a smooth displacement, the stretch along each axis that linear registration does not remove, and
    enlarged ventricles; then, from version 3 on, displacements of single gyri.

    Args:
        person: The person.
        brain: The person's brain.
        average: The maps of the average brain.

    Returns:
        (X, Y, Z, 3) float32: for each voxel of the person's brain, the position in the average brain, in MNI mm.
    """
    recipe = person.recipe
    points = average.swelling * -brain.ventricles  # sampling further inward moves tissue outward
    for axis, coordinate in enumerate(coordinates()):
        displacement = grow(brain.paired_shift[axis], "opposite" if axis == 0 else "same").mul_(recipe.paired_shift)
        displacement.add_(grow(brain.single_shift[axis]), alpha=recipe.single_shift)
        displacement.mul_(average.outer.mul(1 - recipe.central_shift).add_(recipe.central_shift))
        displacement.add_(coordinate * (1 + recipe.stretch * float(brain.axes[axis])))
        points[..., axis] += displacement
    if brain.fold_shift is None:
        return points
    here = torch.stack([coordinate.expand(BASE.shape) for coordinate in coordinates()], dim=-1)
    smooth = points.sub_(here)
    # affine registration aligns the outer surface of brains, so that tissue near it mostly shifts along it
    smooth -= average.across * (smooth * average.across).sum(-1, keepdim=True).mul_(recipe.along_surface)
    folds = torch.empty_like(here)
    for axis, (both, one) in enumerate(zip(*brain.fold_shift, strict=True)):
        folds[..., axis] = grow(both, "opposite" if axis == 0 else "same", FINE).mul_(recipe.fold_shift)
        folds[..., axis] += grow(one, on=FINE).mul_(recipe.fold_single)
    folds.mul_(average.cortex[..., None])
    folds -= average.across * (folds * average.across).sum(-1, keepdim=True)
    # one deformation after the other: each is invertible but in a few voxels, their sum would be in fewer people
    folds += here
    return folds + _sample(smooth.movedim(-1, 0), folds).movedim(0, -1)


def _scan(image: torch.Tensor, person: Person, session: str) -> torch.Tensor:
    """Simulate the scanner: blur, weak shading across the field of view, and noise with the smoothness of the image."""
    site = np.random.default_rng(keyed_seed("phantom", str(person.recipe.version), person.seed, "site", person.site))
    sharpness, shading, noise = site.standard_normal(), site.standard_normal(4), site.standard_normal()
    rng = person.generator("scan", session)
    fwhm = 8.0 * (1 + 0.06 * sharpness + 0.08 * float(rng.standard_normal()))
    level = person.recipe.noise * float(np.exp(0.25 * noise + 0.15 * rng.standard_normal()))
    kernels = [_blur_matrix(n, fwhm / BASE.voxel_mm) for n in BASE.shape]
    grain = _separable(torch.from_numpy(rng.standard_normal(BASE.shape, dtype=np.float32)), kernels)
    for kernel in kernels:
        grain.div_(kernel[len(kernel) // 2].square().sum().sqrt())
    image = _separable(image, kernels)
    image.mul_(grain.mul_(level).add_(1).clamp_(min=0))
    x, y, z = (m / 70 for m in coordinates())
    a, b, c, d = (person.recipe.shading * shading).tolist()
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
