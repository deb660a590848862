"""The phantom: the same person always, and a crowd that looks like published healthy FDG PET."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from uadbench import atlas
from uadbench.cohorts import phantom_maps, phantom_recipe
from uadbench.cohorts.base import COLUMNS, Cohort
from uadbench.cohorts.phantom import Phantom
from uadbench.errors import InputError
from uadbench.types import Grid

PAPER = Grid((80, 96, 80), 2.0, (-80.0, -111.0, -70.0))
QUICK = Grid((40, 48, 40), 4.0, (-80.0, -111.0, -70.0))
ODD = Grid((24, 32, 24), 7.0, (-80.0, -111.0, -70.0))
FINE = Grid((60, 60, 60), 1.5, (-40.5, -80.0, -30.0))
BEYOND = Grid((30, 30, 30), 8.0, (-120.0, -119.0, -100.0))
PEOPLE = 60


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return Phantom()


@pytest.fixture(scope="module")
def crowd(phantom) -> np.ndarray:
    """(PEOPLE, X, Y, Z) SUVR on the base lattice."""
    return np.stack([scan.data for scan in phantom.scans(phantom_maps.BASE, phantom.participants.iloc[:PEOPLE])])


def regional(images: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
    """(N, regions): mean SUVR of the grey voxels of each region of the table."""
    inside, own = phantom_maps.measured_voxels(phantom_maps.tissue_on_base("grey"))
    inside = inside if where is None else inside & where
    counts = np.bincount(own[inside], minlength=len(phantom_maps.REGIONS))
    return np.stack([np.bincount(own[inside], weights=image[inside]) for image in images]) / counts


def test_table(phantom):
    table = phantom.participants
    assert isinstance(phantom, Cohort) and phantom.name == "phantom"
    assert tuple(table.columns) == COLUMNS and len(table) == 401
    assert table.participant_id.is_unique and table.participant_id.is_monotonic_increasing
    assert table.age.between(55, 90).all() and abs(table.age.mean() - 73) < 1.5 and 5.5 < table.age.std() < 8
    assert set(table.sex) == {"F", "M"} and 0.4 < (table.sex == "F").mean() < 0.6
    assert set(table.group) == {"CN"} and table.site.nunique() == 10


def test_people_do_not_depend_on_how_many_there_are(phantom):
    few = Phantom(participants=5)
    assert few.participants.equals(phantom.participants.iloc[:5])
    assert few.content_key(few.participants) == phantom.content_key(phantom.participants.iloc[:5])


def test_order_and_company_change_nothing(phantom, crowd):
    rows = phantom.participants.iloc[[4, 0, 2]]
    again = list(Phantom().scans(phantom_maps.BASE, rows))
    assert [scan.participant for scan in again] == list(rows.participant_id)
    for scan, index in zip(again, (4, 0, 2), strict=True):
        np.testing.assert_array_equal(scan.data, crowd[index])


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_nothing(phantom, crowd, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        (scan,) = phantom.scans(phantom_maps.BASE, phantom.participants.iloc[[1]])
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(scan.data, crowd[1])


def test_seed_and_session_matter(phantom, crowd):
    other = Phantom(seed=7)
    assert other.name == "phantom:seed=7"
    assert not other.participants.equals(phantom.participants)
    assert other.content_key(phantom.participants) != phantom.content_key(phantom.participants)
    (scan,) = other.scans(phantom_maps.BASE, other.participants.iloc[[0]])
    brain = atlas.brain_mask(phantom_maps.BASE)
    stranger = np.corrcoef(scan.data[brain], crowd[0][brain])[0, 1]
    again = phantom.participants.iloc[[0]].assign(session_id="ses-M012")
    (rescan,) = phantom.scans(phantom_maps.BASE, again)
    assert stranger < np.corrcoef(rescan.data[brain], crowd[0][brain])[0, 1] < 0.9999


@pytest.mark.parametrize("grid", [PAPER, QUICK, ODD, FINE, BEYOND])
def test_grids_are_samples_of_the_base_lattice(phantom, crowd, grid):
    (scan,) = phantom.scans(grid, phantom.participants.iloc[[3]])
    base = phantom_maps.BASE
    expected = atlas.resample(crowd[3], base.affine, grid.affine, grid.shape)
    np.testing.assert_allclose(scan.data, expected, atol=1e-6)
    assert scan.data.shape == grid.shape and scan.data.dtype == np.float32
    assert scan.extent == (float(crowd[3].min()), float(crowd[3].max()))


@pytest.mark.parametrize("name", ["sub-P0402", "sub-P0000", "P0001", "sub-Pabc"])
def test_unknown_participant(phantom, name):
    with pytest.raises(InputError, match="sub-P0001 to sub-P0401"):
        list(phantom.scans(QUICK, phantom.participants.iloc[[0]].assign(participant_id=name)))


def test_no_participants():
    with pytest.raises(InputError, match="participants=0"):
        Phantom(participants=0)


def test_scans_are_suvr(crowd):
    assert crowd.min() >= 0 and np.isfinite(crowd).all() and crowd.max() < 3
    assert np.allclose([image[phantom_maps.reference_mask()].mean() for image in crowd], 1, atol=1e-5)
    outside = np.ones(crowd.shape[1:], dtype=bool)
    outside[3:-3, 3:-3, 3:-3] = False
    assert crowd[:, outside].mean() < 0.05


def test_shapes_are_invertible(phantom):
    """The Jacobian of the deformation is positive in the brain, for old people with large ventricles too."""
    brain = atlas.brain_mask(phantom_maps.BASE)
    for index in phantom.participants.age.nlargest(4).index:
        row = phantom.participants.loc[index]
        drawn = phantom_recipe.draw_brain(phantom_recipe.Person(phantom.seed, int(index), row.age, row.sex, 1))
        points = phantom_recipe.sampling_points(drawn, phantom_maps.maps()).numpy()
        slopes = np.stack([np.stack(np.gradient(points[..., axis], 2.0), -1) for axis in range(3)], -2)
        assert np.linalg.det(slopes)[brain].min() > 0.05


def test_regional_means_are_the_tables(crowd):
    measured = regional(crowd).mean(axis=0)
    for value, (name, (_, mean, *_)) in zip(measured, phantom_maps.REGIONS.items(), strict=True):
        # the cerebellum is the unit, fixed by its whole labels: its grey voxels lie a little above
        assert value == pytest.approx(mean, rel=0.05 if name == "cerebellum" else 0.04), name


def test_regional_spread_is_the_tables(crowd):
    measured = regional(crowd).std(axis=0, ddof=1)
    for value, (name, (_, _, sd, _)) in zip(measured, phantom_maps.REGIONS.items(), strict=True):
        if name != "cerebellum":  # 60 people: an SD is known to 9 %
            assert 0.58 < value / sd < 1.42, name


def test_how_people_differ(crowd):
    """First component, both sides, and single voxels, against the published ranges (with room for 60 people)."""
    values = np.delete(regional(crowd), list(phantom_maps.REGIONS).index("cerebellum"), axis=1)
    power = np.linalg.svd(values / values.mean(axis=0) - 1, compute_uv=False) ** 2
    assert 0.40 < power[0] / power.sum() < 0.65
    x = phantom_maps.millimetres()[0] + np.zeros(phantom_maps.BASE.shape)
    left, right = regional(crowd, x < 0), regional(crowd, x > 0)
    asymmetry = ((left - right) / (left + right) * 2).std(axis=0, ddof=1)
    assert 0.02 < np.median(asymmetry) < 0.04
    together = [np.corrcoef(a, b)[0, 1] for a, b in zip(left.T, right.T, strict=True)]
    assert 0.85 < np.median(together) < 0.98
    brain = atlas.brain_mask(phantom_maps.BASE)
    inside = crowd[:, brain]
    low, middle, high = np.percentile(inside.std(axis=0, ddof=1) / inside.mean(axis=0), [25, 50, 75])
    assert low > 0.08 and 0.09 < middle < 0.12 and high < 0.145


def test_grey_to_white(crowd):
    grey = phantom_maps.tissue_on_base("grey") > 0.6
    ratio = crowd[:, grey].mean(axis=1) / crowd[:, phantom_maps.deep_white()].mean(axis=1)
    assert 1.6 < ratio.mean() < 2.05


def test_age(phantom):
    """The same person ten years older: less uptake in front, none lost in the cerebellum, wider ventricles."""
    average, names = phantom_maps.maps(), list(phantom_maps.REGIONS)
    images = []
    for age in (63.0, 83.0):
        person = phantom_recipe.Person(phantom.seed, 5, age, "F", 1)
        images.append(phantom_recipe.render(person, "ses-M000"))
    change = np.divide(*regional(np.stack(images))[::-1]) / 2 - 0.5
    for name in ("superior frontal", "anterior cingulate", "orbitofrontal"):
        assert -0.045 < change[names.index(name)] < -0.02, name
    for name in ("lateral occipital", "cerebellum", "pericalcarine"):
        assert abs(change[names.index(name)]) < 0.015, name
    assert -0.035 < change[names.index("dorsolateral parietal")] < -0.005
    assert average.reference.any()
