"""Image similarity metrics: MSE, MAE, PSNR and SSIM over regions of a volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from uadbench.space.gaussian import gaussian_matrix, gaussian_taps

REVISION = 2
"""Increase this number whenever the results for the same images change."""

SSIM_SIGMA, SSIM_RADIUS = 1.5, 5
"""The Gaussian window of Wang 2004, 11 voxels wide."""

C1, C2 = 0.01**2, 0.03**2
"""(K1 L)^2 and (K2 L)^2 of Wang 2004 for the data range L = 1."""


def compare(
    images: Mapping[str, Tensor], pairs: Mapping[str, tuple[str, str]], regions: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Compute the similarity of pairs of images over regions.

    Cases are computed one after the other and independently: the scores of a case are bit-identical in any batch, and
    the memory does not grow with the batch. The computation uses compiled code on a CPU (`compiled.similarity`) and
    torch on other devices; the two agree to 1e-6 unless images are flat.

    Args:
        images: Images by name, each (N, X, Y, Z) float32 in normalised units (data range 1), or (1, X, Y, Z) if all
            cases share the image.
        pairs: The names of two images by the name of the pair; the metrics are symmetric.
        regions: Masks by name, each (N, X, Y, Z) or (1, X, Y, Z) bool, on the device of the images.

    Returns:
        (N,) float64 for each name `"<pair>.<region>.<metric>"`. The metrics are `mse` and `mae` (means over the voxels
        of the region), `psnr` (dB, -10 log10 mse; +inf if mse is 0) and `ssim` (mean over the region of the `ssim_map`
        of the whole volume). They are NaN for an empty region.

    Raises:
        ValueError: If shapes do not match, a region is not bool, or an image contains a value that is not finite.
    """
    _check(images, regions)
    if not pairs or not regions:
        return {}
    on_cpu = next(iter(images.values())).device.type == "cpu"
    means = (compiled_means if on_cpu else plain_means)(images, pairs, regions)
    scores: dict[str, Tensor] = {}
    for index, pair in enumerate(pairs):
        for position, region_name in enumerate(regions):
            mse, mae, ssim = means[:, index, position].unbind(dim=1)
            metrics = {"mse": mse, "mae": mae, "psnr": -10 * torch.log10(mse), "ssim": ssim}
            scores |= {f"{pair}.{region_name}.{metric}": values for metric, values in metrics.items()}
    return scores


def compiled_means(
    images: Mapping[str, Tensor],
    pairs: Mapping[str, tuple[str, str]],
    regions: Mapping[str, Tensor],
) -> Tensor:
    """Means of squared error, absolute error and SSIM over regions, on a CPU by compiled code.

    Args:
        images: As in `compare`.
        pairs: As in `compare`.
        regions: As in `compare`.

    Returns:
        (cases, pairs, regions, 3) float64.
    """
    from uadbench.metrics.compiled.similarity import padded, region_sums, window

    cases = _count(images, regions)
    taps = gaussian_taps(SSIM_SIGMA, SSIM_RADIUS).astype(np.float32)
    used = sorted({name for pair in pairs.values() for name in pair})
    arrays = {name: images[name].float().contiguous().numpy() for name in used}
    shared = np.array([len(arrays[name]) == 1 and cases > 1 for name in used])
    none = np.empty((0, 0), dtype=np.float32)
    windows = [window(arrays[name][0], taps) if k else (none, none) for name, k in zip(used, shared, strict=True)]
    means, variances = zip(*windows, strict=True)
    which = np.array([sorted((used.index(a), used.index(b))) for a, b in pairs.values()])  # symmetric to the bit
    result = torch.empty(cases, len(pairs), len(regions), 3, dtype=torch.float64)
    alike = all(len(region) == 1 for region in regions.values())
    for case in range(cases):
        if case == 0 or not alike:
            masks = np.stack([region[case if len(region) > 1 else 0].numpy() for region in regions.values()])
            weights = padded(masks)
            voxels = torch.tensor([np.count_nonzero(mask) for mask in masks], dtype=torch.float64)
        volumes = tuple(stack[case if len(stack) > 1 else 0] for stack in arrays.values())
        sums = region_sums(volumes, shared, means, variances, which, weights, taps, C1, C2)
        result[case] = torch.from_numpy(sums) / voxels[:, None]
    return result


def plain_means(
    images: Mapping[str, Tensor],
    pairs: Mapping[str, tuple[str, str]],
    regions: Mapping[str, Tensor],
) -> Tensor:
    """Means of squared error, absolute error and SSIM over regions, on any device by torch.

    Args:
        images: As in `compare`.
        pairs: As in `compare`.
        regions: As in `compare`.

    Returns:
        (cases, pairs, regions, 3) float64, equal to those of `compiled_means` to 1e-6.
    """
    cases = _count(images, regions)
    used = sorted({name for pair in pairs.values() for name in pair})
    shape, device = images[used[0]].shape[1:], images[used[0]].device
    matrices = _ssim_matrices(shape, device)
    shared = {name: _seen(images[name][0], matrices) for name in used if len(images[name]) == 1}
    constant = {pair: (a, b) for pair, (a, b) in pairs.items() if a in shared and b in shared}
    shared_maps = {pair: _error_maps(shared[a], shared[b], matrices) for pair, (a, b) in constant.items()}
    inside = torch.zeros(len(regions), shape.numel(), dtype=torch.float64, device=device)
    means = torch.empty(cases, len(pairs), len(regions), 3, dtype=torch.float64, device=device)
    for case in range(cases):
        for row, region in zip(inside, regions.values(), strict=True):
            if case == 0 or len(region) > 1:
                row.copy_(region[case].reshape(-1))
        voxels = inside.sum(dim=1)
        seen = shared | {name: _seen(images[name][case], matrices) for name in used if name not in shared}
        for index, (pair, (a, b)) in enumerate(pairs.items()):
            maps = shared_maps[pair] if pair in shared_maps else _error_maps(seen[a], seen[b], matrices)
            means[case, index] = (maps @ inside.T / voxels).T  # (3, V) @ (V, R): a masked sum in float64
    return means


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of each voxel: Gaussian window, zero padding, biased variance, data range 1.

    From Wang et al. 2004, IEEE Trans. Image Process. 13:600, equation 13, in three dimensions.

    Args:
        a: (..., X, Y, Z) float32, normalised.
        b: The same shape, normalised.

    Returns:
        (..., X, Y, Z) float64; exactly 1 where the images are equal throughout the window.

    Raises:
        ValueError: If the shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"images of different shapes: {tuple(a.shape)} and {tuple(b.shape)}")
    if a.dim() > 3:
        return torch.stack([ssim_map(one, other) for one, other in zip(a, b, strict=True)])
    matrices = _ssim_matrices(a.shape, a.device)
    return _ssim(_seen(a, matrices), _seen(b, matrices), matrices).double()


def separable(images: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Multiply each of the last three axes by a square matrix.

    At these sizes, multiplication by a dense matrix, even if most of its elements are 0, takes a tenth of the time of a
    convolution.

    Args:
        images: (..., X, Y, Z) float. Each volume is computed separately, so that it does not depend on the others.
        matrices: (X, X), (Y, Y) and (Z, Z), in the dtype of the computation and the result.

    Returns:
        (..., X, Y, Z).
    """
    if images.dim() > 3:
        return torch.stack([separable(image, matrices) for image in images])
    rotated = images.to(matrices[0].dtype)
    for matrix in reversed(matrices):  # (X, Y, Z) -> (Z, X, Y) -> (Y, Z, X) -> (X, Y, Z), in three products
        rotated = matrix @ rotated.reshape(-1, len(matrix)).T
    return rotated.view(images.shape)


def _ssim_matrices(shape: Sequence[int], device: torch.device) -> list[Tensor]:
    """The SSIM window as matrices along X, Y and Z, in the precision of the computation.

    Compared with float64, float32 changes the mean SSIM over a brain by less than 1e-6 (up to 4e-5 if both images are
    flat, at the top of the data range) and takes 0.6 of the time. Other devices, and a reduced matmul precision, may
    round float32 products to 10 bits; float64, which is never rounded in this way, is used there.
    """
    exact = device.type == "cpu" and torch.get_float32_matmul_precision() == "highest"
    dtype = torch.float32 if exact else torch.float64
    return [torch.from_numpy(gaussian_matrix(n, SSIM_SIGMA, SSIM_RADIUS)).to(device, dtype) for n in shape]


@dataclass(frozen=True)
class _Seen:
    """An image with its local mean and variance in the SSIM window, each (X, Y, Z)."""

    image: Tensor
    mean: Tensor
    mean_squared: Tensor
    variance: Tensor


def _seen(image: Tensor, matrices: Sequence[Tensor]) -> _Seen:
    image = image.to(matrices[0].dtype)
    mean = separable(image, matrices)
    mean_squared = mean.square()
    return _Seen(image, mean, mean_squared, separable(image.square(), matrices).sub_(mean_squared))


def _ssim(a: _Seen, b: _Seen, matrices: Sequence[Tensor]) -> Tensor:
    """SSIM from the difference d = a - b: (L - md^2) (S - vd) / (L S), L = ma^2 + mb^2 + C1, S = va + vb + C2.

    This equals Wang's formula, because 2 ma mb = ma^2 + mb^2 - md^2 and 2 cov = va + vb - vd. It avoids computing vd as
    a small difference of large variances, which in float32 causes errors of up to 1e-4 where images are flat.
    """
    squared = (a.mean - b.mean).square_()
    variance = separable((a.image - b.image).square_(), matrices).sub_(squared)
    luminance = (a.mean_squared + b.mean_squared).add_(C1)
    structure = (a.variance + b.variance).add_(C2)
    alike = (luminance - squared).mul_(structure - variance)
    return alike.div_(luminance.mul_(structure))


def _error_maps(a: _Seen, b: _Seen, matrices: Sequence[Tensor]) -> Tensor:
    """The squared error, absolute error and SSIM of each voxel: (3, X * Y * Z) float64."""
    maps = torch.empty(3, *a.image.shape, dtype=torch.float64, device=a.image.device)
    difference = maps[1].copy_(a.image - b.image)
    torch.square(difference, out=maps[0])
    difference.abs_()
    maps[2].copy_(_ssim(a, b, matrices))
    return maps.flatten(start_dim=1)


def _count(images: Mapping[str, Tensor], regions: Mapping[str, Tensor]) -> int:
    """The number of cases."""
    return max(len(stack) for stack in [*images.values(), *regions.values()])


def _check(images: Mapping[str, Tensor], regions: Mapping[str, Tensor]) -> None:
    """Raise ValueError if the inputs do not match."""
    stacks = [(f"image {name}", stack) for name, stack in images.items()]
    stacks += [(f"region {name}", stack) for name, stack in regions.items()]
    cases, shape = _count(images, regions), stacks[0][1].shape[1:]
    for label, stack in stacks:
        if len(shape) != 3 or stack.shape[1:] != shape or len(stack) not in (1, cases):
            raise ValueError(f"{label} is {tuple(stack.shape)}; expected ({cases} or 1, X, Y, Z) as for the others")
    for name, region in regions.items():
        if region.dtype != torch.bool:
            raise ValueError(f"region {name} is {region.dtype}; expected torch.bool")
    for name, image in images.items():
        if not torch.stack(image.aminmax()).isfinite().all():
            raise ValueError(f"image {name} has voxels that are not finite")
