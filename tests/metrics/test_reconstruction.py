"""MSE, MAE, PSNR and SSIM against scikit-image, MONAI and a build of the formula on scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics.regression import SSIMMetric
from scipy import ndimage
from skimage import metrics as skimage_metrics

from uadbench.metrics import reconstruction
from uadbench.metrics.reconstruction import (
    compiled_means,
    plain_means,
    separable,
    ssim_map,
)
from uadbench.space.gaussian import gaussian_matrix, gaussian_taps

SHAPE = (22, 27, 24)
INTERIOR = (slice(5, -5),) * 3  # where no window of 11 voxels reaches padding
PAIRS = {"recon": ("altered", "pseudo"), "heal": ("healthy", "pseudo")}


def brains(cases: int, shape: tuple[int, int, int] = SHAPE, seed: int = 0, error: float = 0.05) -> torch.Tensor:
    """Smooth texture around 0.6 in an ellipsoid, exactly 0 outside; (N, X, Y, Z) float32."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    inside = sum(axis**2 for axis in axes) < 0.8
    texture = ndimage.gaussian_filter(rng.normal(size=(cases, *shape)), 1.5, axes=(1, 2, 3))
    return torch.tensor((0.6 + error * texture / texture.std()) * inside, dtype=torch.float32)


def windowed(volume: np.ndarray) -> np.ndarray:
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    for axis in range(3):
        volume = ndimage.correlate1d(volume, taps / taps.sum(), axis=axis, mode="constant")
    return volume


def wang_2004(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Equation 13 as it is printed, in float64, zero padding."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    mean_a, mean_b = windowed(a), windowed(b)
    var_a, var_b = windowed(a * a) - mean_a**2, windowed(b * b) - mean_b**2
    covariance = windowed(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
    return luminance * (2 * covariance + 9e-4) / (var_a + var_b + 9e-4)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Volumes are small here: threads would wait for each other longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=["compiled", "plain"])
def compare(request: pytest.FixtureRequest):
    """`compare` both ways: compiled as on a CPU, and in torch as on other devices."""

    def either(*inputs):
        with pytest.MonkeyPatch.context() as patch:
            if request.param == "plain":
                patch.setattr(reconstruction, "compiled_means", plain_means)
            return reconstruction.compare(*inputs)

    return either


@pytest.fixture
def precise():
    """torch filters in float64, as on devices and in modes that would round float32 products."""
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("error", [0.001, 0.05, 0.2])
def test_ssim_equals_the_printed_formula_everywhere(error: float) -> None:
    a, b = brains(1, error=error)[0], brains(1, seed=1, error=error)[0]
    expected = wang_2004(a.numpy(), b.numpy())
    found = ssim_map(a, b).numpy()
    assert np.abs(found - expected).max() < 1e-4
    assert abs(found.mean() - expected.mean()) < 2e-7


@pytest.mark.usefixtures("precise")
def test_ssim_in_float64_equals_the_printed_formula_to_rounding() -> None:
    a, b = brains(2), brains(2, seed=1)
    expected = np.stack([wang_2004(one, other) for one, other in zip(a.numpy(), b.numpy(), strict=True)])
    np.testing.assert_allclose(ssim_map(a, b).numpy(), expected, rtol=0, atol=1e-12)


def test_ssim_stays_accurate_where_images_are_flat() -> None:
    a = (brains(1)[0] > 0).float()
    b = 0.97 * a
    expected = wang_2004(a.numpy(), b.numpy())
    assert abs(float(ssim_map(a, b).mean()) - expected.mean()) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(("levels", "tolerance"), [((1.0, 0.97), 1e-6), ((0.6, 0.7), 2e-6)])
def test_compiled_ssim_stays_accurate_where_images_are_flat(levels: tuple[float, float], tolerance: float) -> None:
    inside = (brains(1) > 0).float()
    a, b = (level * inside for level in levels)
    expected = wang_2004(a[0].numpy(), b[0].numpy())
    found = reconstruction.compare(
        {"a": a, "b": b}, {"p": ("a", "b")}, {"whole": torch.ones(1, *SHAPE, dtype=torch.bool)}
    )
    assert abs(float(found["p.whole.ssim"]) - expected.mean()) < tolerance


def test_ssim_equals_scikit_image_where_padding_cannot_reach() -> None:
    a, b = brains(1)[0], brains(1, seed=1)[0]
    _, expected = skimage_metrics.structural_similarity(
        a.double().numpy(), b.double().numpy(), gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        data_range=1, full=True,
    )  # fmt: skip
    np.testing.assert_allclose(ssim_map(a, b).numpy()[INTERIOR], expected[INTERIOR], rtol=0, atol=1e-4)


def test_ssim_over_the_interior_equals_monai(compare) -> None:
    a, b = brains(3), brains(3, seed=1)
    interior = torch.zeros(1, *SHAPE, dtype=torch.bool)
    interior[(0, *INTERIOR)] = True
    metric = SSIMMetric(spatial_dims=3, data_range=1.0, kernel_type="gaussian", win_size=11, kernel_sigma=1.5)
    expected = metric(a[:, None], b[:, None]).squeeze(1).numpy()
    found = compare({"a": a, "b": b}, {"p": ("a", "b")}, {"interior": interior})["p.interior.ssim"]
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-5)


def test_whole_volume_errors_equal_scikit_image(compare) -> None:
    a, b = brains(3), brains(3, seed=1)
    whole = torch.ones(1, *SHAPE, dtype=torch.bool)
    scores = compare({"a": a, "b": b}, {"p": ("a", "b")}, {"whole": whole})
    for case in range(3):
        one, other = a[case].double().numpy(), b[case].double().numpy()
        mse = skimage_metrics.mean_squared_error(one, other)
        psnr = skimage_metrics.peak_signal_noise_ratio(one, other, data_range=1)
        assert float(scores["p.whole.mse"][case]) == pytest.approx(mse, rel=1e-7)
        assert float(scores["p.whole.psnr"][case]) == pytest.approx(psnr, rel=1e-7)


def test_regions_equal_numpy_on_the_masked_voxels(compare) -> None:
    images = {
        "healthy": brains(1),
        "altered": brains(3, seed=1),
        "pseudo": brains(3, seed=2),
        "still": brains(1, seed=3),
    }
    generator = torch.Generator().manual_seed(0)
    regions = {
        "own": torch.rand(3, *SHAPE, generator=generator) < 0.1,  # differs between cases
        "shared": torch.rand(1, *SHAPE, generator=generator) < 0.5,
    }
    pairs = PAIRS | {"both_shared": ("healthy", "still")}
    scores = compare(images, pairs, regions)
    assert set(scores) == {f"{p}.{r}.{m}" for p in pairs for r in regions for m in ("mse", "mae", "psnr", "ssim")}
    for pair, (first, second) in pairs.items():
        for case in range(3):
            a, b = (images[n][case % len(images[n])].double().numpy() for n in (first, second))
            for name, region in regions.items():
                mask = region[case % len(region)].numpy()
                found = {m: float(scores[f"{pair}.{name}.{m}"][case]) for m in ("mse", "mae", "psnr", "ssim")}
                mse = np.mean((a - b)[mask] ** 2)
                assert found["mse"] == pytest.approx(mse, rel=1e-7)
                assert found["mae"] == pytest.approx(np.mean(np.abs(a - b)[mask]), rel=1e-7)
                assert found["psnr"] == pytest.approx(10 * np.log10(1 / mse), rel=1e-7)
                assert found["ssim"] == pytest.approx(wang_2004(a, b)[mask].mean(), abs=1e-6)


sizes = st.tuples(*[st.integers(5, 14)] * 3)


@given(shape=sizes, cases=st.integers(2, 5), seed=st.integers(0, 10**6), data=st.data())
@settings(max_examples=30, deadline=None)
def test_a_case_scores_the_same_alone_and_in_any_batch(compare, shape, cases, seed, data) -> None:
    images = {
        "healthy": brains(1, shape, seed),
        "altered": brains(cases, shape, seed + 1),
        "pseudo": brains(cases, shape, seed + 2),
    }
    regions = {"own": images["altered"] > 0.6, "shared": images["healthy"] > 0}
    together = compare(images, PAIRS, regions)
    order = data.draw(st.permutations(range(cases)))
    shuffled = compare(
        {name: stack if len(stack) == 1 else stack[order] for name, stack in images.items()},
        PAIRS,
        {"own": regions["own"][order], "shared": regions["shared"]},
    )
    case = data.draw(st.integers(0, cases - 1))
    alone = compare(
        {name: stack if len(stack) == 1 else stack[case, None].clone() for name, stack in images.items()},
        PAIRS,
        {"own": regions["own"][case, None].clone(), "shared": regions["shared"]},
    )
    repeated = compare(images | {"healthy": images["healthy"].repeat(cases, 1, 1, 1)}, PAIRS, regions)
    for key, values in together.items():
        assert torch.equal(values[order].nan_to_num(), shuffled[key].nan_to_num())
        assert torch.equal(values[case, None].nan_to_num(), alone[key].nan_to_num())
        assert torch.equal(values.nan_to_num(), repeated[key].nan_to_num())


@given(shape=sizes, seed=st.integers(0, 10**6), scale=st.floats(0, 2))
@settings(max_examples=30, deadline=None)
def test_a_perfect_reconstruction_scores_best(compare, shape, seed, scale) -> None:
    image = brains(2, shape, seed, error=0.2) * scale
    region = torch.ones(1, *shape, dtype=torch.bool)
    scores = compare({"a": image, "b": image.clone()}, {"p": ("a", "b")}, {"whole": region})
    best = {"mse": 0.0, "mae": 0.0, "psnr": float("inf"), "ssim": 1.0}
    for metric, value in best.items():
        assert scores[f"p.whole.{metric}"].tolist() == [value, value]


@given(shape=sizes, cases=st.integers(1, 2), seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_the_order_of_a_pair_does_not_matter(compare, shape, cases, seed) -> None:
    images = {"a": brains(2, shape, seed), "b": brains(cases, shape, seed + 1)}
    regions = {"brain": images["a"] > 0, "whole": torch.ones(1, *shape, dtype=torch.bool)}
    scores = compare(images, {"there": ("a", "b"), "back": ("b", "a")}, regions)
    for region in regions:
        for metric in ("mse", "mae", "psnr", "ssim"):
            assert torch.equal(scores[f"there.{region}.{metric}"], scores[f"back.{region}.{metric}"])


def test_an_empty_region_is_nan_and_only_for_its_case(compare) -> None:
    a, b = brains(2), brains(2, seed=1)
    region = a > 0
    region[1] = False
    scores = compare({"a": a, "b": b}, {"p": ("a", "b")}, {"half": region})
    for values in scores.values():
        assert values.isnan().tolist() == [False, True]


def test_scores_are_float64_whatever_the_default(compare) -> None:
    a = brains(2)
    scores = compare({"a": a, "b": 0.9 * a}, {"p": ("a", "b")}, {"brain": a > 0})
    assert {(values.dtype, tuple(values.shape)) for values in scores.values()} == {(torch.float64, (2,))}


def both_means(images, pairs, regions) -> tuple[torch.Tensor, torch.Tensor]:
    """(cases, pairs, regions, 3) of the compiled way and of the plain one."""
    return compiled_means(images, pairs, regions), plain_means(images, pairs, regions)


def noisy(shape: tuple[int, int, int], seed: int):
    """Three cases of noise and two images that they share, pairs of all kinds, and regions of all kinds."""
    generator = torch.Generator().manual_seed(seed)
    names = {"healthy": 1, "altered": 3, "pseudo": 3, "still": 1}
    images = {name: torch.rand(cases, *shape, generator=generator) for name, cases in names.items()}
    pairs = PAIRS | {"back": ("pseudo", "healthy"), "both_shared": ("healthy", "still"), "same": ("altered", "altered")}
    regions = {
        "own": torch.rand(3, *shape, generator=generator) < 0.5,
        "shared": torch.rand(1, *shape, generator=generator) < 0.5,
        "whole": torch.ones(1, *shape, dtype=torch.bool),
        "empty": torch.zeros(1, *shape, dtype=torch.bool),
    }
    regions["own"][1] = False
    return images, pairs, regions


ODD_SHAPES = [(2, 3, 4), (3, 4, 17), (11, 2, 7), (4, 30, 3), (5, 5, 5), (6, 11, 10), (13, 8, 21), SHAPE]


@pytest.mark.parametrize("shape", ODD_SHAPES)
def test_compiled_means_equal_plain_ones(shape: tuple[int, int, int]) -> None:
    images, pairs, regions = noisy(shape, 0)
    found, expected = both_means(images, pairs, regions)
    assert found.shape == expected.shape == (3, len(pairs), 4, 3) and found.dtype == expected.dtype == torch.float64
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7, equal_nan=True)
    empty = ~torch.stack([region.expand(3, *shape).flatten(1).any(dim=1) for region in regions.values()], dim=1)
    assert empty[1, 0] and empty[:, 3].all()
    assert torch.equal(found.isnan(), empty[:, None, :, None].expand_as(found))


@pytest.mark.parametrize("shape", ODD_SHAPES)
@pytest.mark.usefixtures("precise")
def test_compiled_means_equal_float64(shape: tuple[int, int, int]) -> None:
    found, expected = both_means(*noisy(shape, 1))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7, equal_nan=True)


@pytest.mark.parametrize("error", [0.05, 0.2])
@pytest.mark.usefixtures("precise")
def test_compiled_means_of_brains_equal_float64(error: float) -> None:
    """SSIM less closely than of noise: smooth texture varies little beside its mean, and float32 squares both."""
    images = {"healthy": brains(1), "altered": brains(3, seed=1, error=error), "pseudo": brains(3, seed=2, error=error)}
    regions = {"own": images["altered"] > 0.6, "brain": images["healthy"] > 0}
    found, expected = both_means(images, PAIRS, regions)
    torch.testing.assert_close(found[..., :2], expected[..., :2], rtol=0, atol=1e-8)
    torch.testing.assert_close(found[..., 2], expected[..., 2], rtol=0, atol=1e-6)


@given(
    shape=st.tuples(*[st.integers(1, 14)] * 3),
    cases=st.lists(st.sampled_from([1, 3]), min_size=3, max_size=3),
    alike=st.booleans(),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=60, deadline=None)
def test_compiled_and_plain_means_agree_on_any_shape(shape, cases, alike, seed) -> None:
    """SSIM less closely than on larger volumes: over a voxel or two, rounding does not average out."""
    generator = torch.Generator().manual_seed(seed)
    images = {name: torch.rand(n, *shape, generator=generator) for name, n in zip("abc", cases, strict=True)}
    pairs = {"ab": ("a", "b"), "cb": ("c", "b"), "aa": ("a", "a")}
    regions = {
        "one": torch.rand(1, *shape, generator=generator) < 0.5,
        "other": torch.rand(1 if alike else max(cases), *shape, generator=generator) < 0.2,
    }
    found, expected = both_means(images, pairs, regions)
    torch.testing.assert_close(found[..., :2], expected[..., :2], rtol=0, atol=1e-7, equal_nan=True)
    torch.testing.assert_close(found[..., 2], expected[..., 2], rtol=0, atol=5e-7, equal_nan=True)


def test_how_images_lie_in_memory_does_not_matter(compare) -> None:
    images = {"a": brains(2), "b": brains(2, seed=1), "c": brains(1, seed=2)}
    pairs, regions = {"ab": ("a", "b"), "cb": ("c", "b")}, {"own": images["a"] > 0.6, "whole": images["c"] > 0}
    turned = [
        {name: stack.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0) for name, stack in stacks.items()}
        for stacks in (images, regions)
    ]
    expected, found = compare(images, pairs, regions), compare(turned[0], pairs, turned[1])
    assert all(torch.equal(found[key], values) for key, values in expected.items())


@pytest.mark.parametrize(
    ("images", "regions", "said"),
    [
        ({"a": torch.zeros(2, 4, 4, 4), "b": torch.zeros(3, 4, 4, 4)}, {}, "image a is"),
        ({"a": torch.zeros(2, 4, 4, 4), "b": torch.zeros(2, 4, 4, 5)}, {}, "image b is"),
        ({"a": torch.zeros(2, 1, 4, 4, 4)}, {}, "image a is"),
        ({"a": torch.zeros(1, 4, 4, 4)}, {"r": torch.ones(1, 4, 4, 4)}, "region r is torch.float32"),
        ({"a": torch.full((1, 4, 4, 4), float("nan"))}, {}, "image a has voxels that are not finite"),
        ({"a": torch.full((1, 4, 4, 4), float("inf"))}, {}, "image a has voxels that are not finite"),
    ],
)
def test_what_does_not_fit_is_named(images, regions, said) -> None:
    with pytest.raises(ValueError, match=said):
        reconstruction.compare(images, {"p": ("a", "a")}, regions)


def test_ssim_map_refuses_different_shapes() -> None:
    with pytest.raises(ValueError, match="different shapes"):
        ssim_map(torch.zeros(1, 4, 4, 4), torch.zeros(2, 4, 4, 4))


@given(n=st.integers(1, 40), sigma=st.floats(0.3, 4), radius=st.integers(0, 12), seed=st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_gaussian_matrix_equals_a_correlation_with_zero_padding(n, sigma, radius, seed) -> None:
    line = np.random.default_rng(seed).normal(size=n)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    expected = ndimage.correlate1d(line, taps / taps.sum(), mode="constant")
    np.testing.assert_allclose(gaussian_matrix(n, sigma, radius) @ line, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan")])
def test_gaussian_matrix_refuses_a_width_that_is_not_positive(sigma: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        gaussian_matrix(5, sigma, 2)
    with pytest.raises(ValueError, match="must be positive"):
        gaussian_taps(sigma, 2)


@given(sigma=st.floats(0.3, 4), radius=st.integers(0, 12))
@settings(max_examples=30, deadline=None)
def test_gaussian_taps_are_symmetric_and_sum_to_one(sigma, radius) -> None:
    taps = gaussian_taps(sigma, radius)
    assert taps.shape == (2 * radius + 1,) and taps.dtype == np.float64
    assert float(taps.sum()) == pytest.approx(1, rel=1e-15)
    assert (taps == taps[::-1]).all() and (np.diff(taps)[:radius] > 0).all()
    np.testing.assert_allclose(taps / taps[radius], np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2))


def test_separable_gives_each_axis_its_own_matrix() -> None:
    volumes = torch.tensor(np.random.default_rng(0).normal(size=(2, 9, 14, 11)))
    sigmas = (0.7, 1.9, 3.1)
    matrices = [
        torch.from_numpy(gaussian_matrix(n, s, int(4 * s + 0.5)))
        for n, s in zip(volumes.shape[1:], sigmas, strict=True)
    ]
    expected = np.stack([ndimage.gaussian_filter(v, sigmas, mode="constant") for v in volumes.numpy()])
    np.testing.assert_allclose(separable(volumes, matrices).numpy(), expected, rtol=0, atol=1e-12)
