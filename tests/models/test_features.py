"""PaDiM and PatchCore against numpy, scipy and scikit-learn, and on a scan with a lesion."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from uadbench.errors import InputError
from uadbench.models import patchcore, patches
from uadbench.models.padim import Moments, PaDiM
from uadbench.models.patchcore import PatchCore, k_centres, projected
from uadbench.models.patches import PatchModel
from uadbench.types import Batch, Grid

GRID = Grid((16, 16, 16), 10.0, (-76.0, -91.0, -66.0))
COARSE = {"spacing_mm": 24.0, "pixel_mm": 8.0}
OPTIONS = {PaDiM: {"channels": 8, **COARSE}, PatchCore: {"bank": 40, **COARSE}}


def scans(count: int, seed: int = 0) -> Batch:
    """Smooth volumes that differ in their gain and their noise."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.linspace(-1, 1, 16)
    shape = (-torch.stack(torch.meshgrid(place, place, place, indexing="ij")).square().sum(0)).exp()
    gains = 0.5 + 0.03 * torch.randn(count, 1, 1, 1, 1, generator=generator)
    images = gains * shape + 0.01 * torch.randn(count, 1, 16, 16, 16, generator=generator)
    return Batch(images, torch.zeros(count), torch.zeros(count), [0] * count)


def fitted(kind: type[PatchModel], batches: list[Batch]) -> PatchModel:
    torch.manual_seed(0)
    model = kind(GRID, **OPTIONS[kind])
    with torch.no_grad():
        model.fit(batches)
    return model.eval()


@pytest.fixture(scope="module", params=[PaDiM, PatchCore], ids=["padim", "patchcore"])
def model(request: pytest.FixtureRequest) -> PatchModel:
    return fitted(request.param, [scans(20)])


def test_a_lesion_is_found_where_it_is(model: PatchModel) -> None:
    healthy, altered = scans(1, seed=1), scans(1, seed=1)
    lesion = torch.zeros(16, 16, 16, dtype=torch.bool)
    lesion[3:7, 9:13, 8:12] = True  # on one side, front, above the middle
    altered.images[0, 0, lesion] *= 0.6
    with torch.no_grad():
        gain = (model.anomaly_map(altered) - model.anomaly_map(healthy))[0, 0]
    heaviest = np.argwhere(gain.numpy() > 0.7 * float(gain.max())).mean(axis=0)
    assert np.abs(heaviest - [4.5, 10.5, 9.5]).max() < 1.5  # voxels


@pytest.mark.parametrize("kind", [PaDiM, PatchCore])
def test_how_scans_are_batched_changes_nothing(kind: type[PatchModel], monkeypatch: pytest.MonkeyPatch) -> None:
    whole, seen = scans(10), scans(3, seed=1)
    first = fitted(kind, [whole])
    monkeypatch.setattr(patches, "SCANS_AT_ONCE", 2)
    second = fitted(kind, [Batch(part, whole.age, whole.sex, [0] * len(part)) for part in whole.images.split(3)])
    with torch.no_grad():
        expected = first.anomaly_map(seen)
        torch.testing.assert_close(second.anomaly_map(seen), expected, rtol=1e-3, atol=1e-3 * float(expected.max()))


def test_moments_are_numpys() -> None:
    vectors = 100 + torch.randn(23, 5, 4, generator=torch.Generator().manual_seed(0))
    moments = Moments()
    for part in vectors.split(7):
        moments.add(part)
    np.testing.assert_allclose(moments.mean, vectors.double().mean(dim=0), rtol=1e-6)
    for place in range(5):
        np.testing.assert_allclose(
            moments.covariance[place], np.cov(vectors[:, place].double().T), rtol=1e-4, atol=1e-5
        )


def test_padims_distance_is_scipys() -> None:
    train, seen = scans(20), scans(2, seed=1)
    model = fitted(PaDiM, [train])
    assert isinstance(model, PaDiM)
    with torch.no_grad():
        healthy = model.features(1, train.images)[..., model.chosen].double().numpy()
        features = model.features(1, seen.images)
        found = model.scores(1, features)
    covariances = [np.cov(healthy[:, place].T) for place in range(healthy.shape[1])]
    level = model.regularisation * np.mean([covariance.diagonal() for covariance in covariances])
    for place in (0, 17, healthy.shape[1] - 1):
        inverse = np.linalg.inv(covariances[place] + level * np.eye(8))
        for scan in range(2):
            given = features[scan, place, model.chosen].double().numpy()
            expected = mahalanobis(given, healthy[:, place].mean(axis=0), inverse)
            assert float(found[scan, place]) == pytest.approx(expected, rel=1e-3)


def test_patchcores_distance_is_scikit_learns() -> None:
    model, seen = fitted(PatchCore, [scans(20)]), scans(2, seed=1)
    assert isinstance(model, PatchCore)
    with torch.no_grad():
        features = model.features(2, seen.images)
        found = model.scores(2, features)
    known = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(model.bank[2].double().numpy())
    expected, _ = known.kneighbors(features.flatten(0, 1).double().numpy())
    np.testing.assert_allclose(found.flatten(), expected[:, 0], rtol=1e-4)


def test_a_patch_in_the_bank_has_distance_0(model: PatchModel) -> None:
    if isinstance(model, PatchCore):
        assert model.scores(0, model.bank[0][None]).tolist() == [[0.0] * 40]


def chosen_by_hand(points: np.ndarray, first: int, count: int) -> list[int]:
    found = [first]
    for _ in range(count - 1):
        distances = np.linalg.norm(points[:, None] - points[found][None], axis=2).min(axis=1)
        found.append(int(distances.argmax()))
    return found


def test_the_bank_is_chosen_greedily() -> None:
    points = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    found = k_centres(points, 12).tolist()
    assert found == chosen_by_hand(points.double().numpy(), found[0], 12)


def test_a_bank_larger_than_what_there_is_holds_all_of_it() -> None:
    points = torch.randn(6, 5)
    assert set(k_centres(points, 20).tolist()) == set(range(6))


def test_projection_keeps_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    points = torch.randn(50, 700, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    image = projected(points)
    assert image.shape == (50, patchcore.PROJECTED)
    ratio = torch.pdist(image) / torch.pdist(points)
    assert 0.97 < float(ratio.mean()) < 1.03
    assert float(ratio.std()) < 0.1
    assert projected(points[:, :64]) is not image
    assert torch.equal(projected(points[:, :64]), points[:, :64])


def test_a_neighbourhood_is_averaged() -> None:
    plain, averaged = (PatchCore(GRID, bank=1, neighbourhood=side, **COARSE) for side in (1, 3))
    images = scans(1).images
    slices, height, width = plain.planes[0].shape
    full = torch.zeros(slices, height, width, plain.backbone.channels).flatten(0, 2)
    with torch.no_grad():
        full[plain.planes[0].kept] = plain.features(0, images)[0]
        found = full.clone()
        found[plain.planes[0].kept] = averaged.features(0, images)[0]
    full, found = (each.view(slices, height, width, -1) for each in (full, found))
    middle = (slices // 2, height // 2, width // 2)
    around: Tensor = full[middle[0], middle[1] - 1 : middle[1] + 2, middle[2] - 1 : middle[2] + 2]
    torch.testing.assert_close(found[middle], around.mean(dim=(0, 1)))


def test_wrong_options_are_refused() -> None:
    with pytest.raises(InputError, match="channels=65"):
        PaDiM(GRID, channels=65)
    with pytest.raises(InputError, match="neighbourhood=2"):
        PatchCore(GRID, neighbourhood=2)
