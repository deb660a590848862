"""The phantom: the same person always, healthy or ill, young or old. (card/test_card.py measures the crowd.)"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import adjusted_mutual_info_score

from uadbench.cohorts.base import COLUMNS, Cohort, content_key
from uadbench.cohorts.phantom import Phantom
from uadbench.cohorts.splits.split import baseline
from uadbench.cohorts.synthetic import disease, maps, norms
from uadbench.cohorts.synthetic.ageing import LOBES, SUBTYPES, Ageing, draw_ageing, losses
from uadbench.cohorts.synthetic.brain import Person, draw_brain
from uadbench.cohorts.synthetic.incidental import (
    LARGEST_SHARE,
    PER_YEAR,
    SECOND,
    YOUNGEST,
    Finding,
    draw_findings,
    kept_uptake,
)
from uadbench.cohorts.synthetic.recipe import RECIPES
from uadbench.cohorts.synthetic.render import sampling_points
from uadbench.errors import InputError
from uadbench.space import atlas
from uadbench.types import Grid

PAPER = Grid((80, 96, 80), 2.0, (-80.0, -111.0, -70.0))
QUICK = Grid((40, 48, 40), 4.0, (-80.0, -111.0, -70.0))
ODD = Grid((24, 32, 24), 7.0, (-80.0, -111.0, -70.0))
FINE = Grid((60, 60, 60), 1.5, (-40.5, -80.0, -30.0))
BEYOND = Grid((30, 30, 30), 8.0, (-120.0, -119.0, -100.0))
PEOPLE = 40
NEW = RECIPES[3]
WORST = [("sub-P0265", "ses-M000"), ("sub-Q0029", "ses-M000")]


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return Phantom()


@pytest.fixture(scope="module")
def earlier() -> Phantom:
    return Phantom(recipe=2)


@pytest.fixture(scope="module")
def crowd(phantom) -> np.ndarray:
    """(PEOPLE, X, Y, Z) SUVR on the base lattice."""
    return np.stack([scan.data for scan in phantom.scans(norms.BASE, baseline(phantom.participants)[:PEOPLE])])


@pytest.fixture(scope="module")
def first(phantom) -> pd.DataFrame:
    """Everybody's first scan."""
    return baseline(phantom.participants)


def test_table(phantom, first):
    table = phantom.participants
    assert isinstance(phantom, Cohort) and phantom.name == "phantom" and phantom.public
    assert len(set(phantom.scan_keys(table))) == len(table)
    assert tuple(table.columns) == COLUMNS
    assert not table.duplicated(["participant_id", "session_id"]).any()
    assert table.sort_values(["participant_id", "session_id"]).index.tolist() == list(range(len(table)))
    assert first.groupby("group").size().to_dict() == {"AD": 80, "CN": 701, "MCI": 80}
    healthy = first[first.group == "CN"]
    assert healthy.age.between(55, 90).all() and abs(healthy.age.mean() - 73) < 1.5 and 5.5 < healthy.age.std() < 8
    assert set(table.sex) == {"F", "M"} and 0.4 < (healthy.sex == "F").mean() < 0.6
    assert table.site.nunique() == 10


def test_sessions_follow_one_another(phantom):
    table = phantom.participants
    visits = table.groupby("participant_id").size()
    assert 2.2 < visits.mean() < 2.6 and visits.min() == 1 and visits.max() == 5
    months = table.session_id.str.removeprefix("ses-M").astype(int)
    born = (table.age - months / 12).groupby(table.participant_id)
    assert (born.max() - born.min() < 0.2).all()
    assert months.groupby(table.participant_id).min().eq(0).all()
    assert table.groupby("participant_id")[["sex", "site", "group"]].nunique().eq(1).all(axis=None)


def test_clinical_score_follows_the_disease(phantom, first):
    assert phantom.participants.mmse.between(0, 30).all()
    means = first.groupby("group").mmse.mean()
    assert 28 < means.CN < 30 and 26 < means.MCI < 28 and 19 < means.AD < 25
    patients = phantom.participants[phantom.participants.group == "AD"].groupby("participant_id").mmse
    assert (patients.last() - patients.first())[patients.size() > 1].mean() < -1
    rows = pd.concat([first[first.group == group][:14] for group in ("AD", "MCI")])
    lost = [scan.data[norms.meta_region()].mean() for scan in phantom.scans(norms.BASE, rows)]
    assert np.corrcoef(lost, rows.mmse)[0, 1] > 0.5


def test_people_do_not_depend_on_how_many_there_are(phantom):
    few = Phantom(participants=5, patients=0)
    assert few.participants.equals(phantom.participants.iloc[: len(few.participants)])
    assert set(few.participants.group) == {"CN"}
    assert few.scan_keys(few.participants) == phantom.scan_keys(phantom.participants.iloc[: len(few.participants)])


def test_order_and_company_change_nothing(phantom, crowd):
    rows = baseline(phantom.participants).iloc[[4, 0, 2]]
    again = list(Phantom().scans(norms.BASE, rows))
    assert [scan.participant for scan in again] == list(rows.participant_id)
    for scan, index in zip(again, (4, 0, 2), strict=True):
        np.testing.assert_array_equal(scan.data, crowd[index])


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_nothing(phantom, crowd, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        (scan,) = phantom.scans(norms.BASE, baseline(phantom.participants).iloc[[1]])
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(scan.data, crowd[1])


def test_seed_matters(phantom, crowd):
    other = Phantom(seed=7)
    assert other.name == "phantom:seed=7"
    assert not other.participants.equals(phantom.participants)
    assert content_key(other, phantom.participants) != content_key(phantom, phantom.participants)
    assert not set(other.scan_keys(phantom.participants)) & set(phantom.scan_keys(phantom.participants))
    (scan,) = other.scans(norms.BASE, other.participants.iloc[[0]])
    assert not np.allclose(scan.data, crowd[0], atol=0.05)


def test_a_second_session_is_the_same_brain(phantom, first):
    again = phantom.participants[phantom.participants.duplicated("participant_id")].iloc[[0]]
    index = int(first.index[first.participant_id == again.participant_id.iloc[0]][0])
    before, stranger = (s.data for s in phantom.scans(norms.BASE, first.iloc[[index, index + 1]]))
    (after,) = (s.data for s in phantom.scans(norms.BASE, again))
    brain = atlas.brain_mask(norms.BASE)

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.sqrt(np.mean((a - b)[brain] ** 2)))

    assert 0.01 < distance(before, after) < 0.6 * distance(before, stranger)


@pytest.mark.parametrize("grid", [PAPER, QUICK, ODD, FINE, BEYOND])
def test_grids_are_samples_of_the_base_lattice(phantom, crowd, grid):
    (scan,) = phantom.scans(grid, baseline(phantom.participants).iloc[[3]])
    base = norms.BASE
    expected = atlas.resample(crowd[3], base.affine, grid.affine, grid.shape)
    np.testing.assert_allclose(scan.data, expected, atol=1e-6)
    assert scan.data.shape == grid.shape and scan.data.dtype == np.float32
    assert scan.extent == (float(crowd[3].min()), float(crowd[3].max()))


@pytest.mark.parametrize("name", ["sub-P0702", "sub-P0000", "P0001", "sub-Pabc"])
def test_unknown_participant(phantom, name):
    with pytest.raises(InputError, match=f"no scan {name}_ses-M000; its participants are sub-P0001 to sub-R0080"):
        list(phantom.scans(QUICK, phantom.participants.iloc[[0]].assign(participant_id=name)))


def test_no_participants():
    with pytest.raises(InputError, match="participants=0"):
        Phantom(participants=0)


def test_scans_are_suvr(crowd):
    assert crowd.min() >= 0 and np.isfinite(crowd).all() and crowd.max() < 3
    assert np.allclose([image[norms.reference()].mean() for image in crowd], 1, atol=1e-5)
    outside = np.ones(crowd.shape[1:], dtype=bool)
    outside[3:-3, 3:-3, 3:-3] = False
    assert crowd[:, outside].mean() < 0.05


@pytest.mark.parametrize(
    ("version", "participant", "sketch"),
    [
        (2, "sub-P0001", (0.3826, 0.4857, 1.7600, 1.1408, 0.5562)),
        (2, "sub-Q0001", (0.3183, 0.4156, 0.5404, 1.0222, 0.4323)),
        (3, "sub-P0001", (0.3504, 0.4599, 1.2966, 0.9181, 0.6736)),
        (3, "sub-Q0001", (0.2919, 0.4063, 1.2028, 0.6720, 0.4100)),
        (3, "sub-R0001", (0.3706, 0.4852, 1.6734, 1.4763, 0.7093)),
    ],
)
def test_images_change_with_the_version_only(phantom, earlier, version, participant, sketch):
    """A recipe is frozen: whoever would change these numbers adds a version instead."""
    cohort = {2: earlier, 3: phantom}[version]
    assert cohort.version == str(version)
    rows = baseline(cohort.participants)
    (scan,) = cohort.scans(norms.BASE, rows[rows.participant_id == participant])
    found = (scan.data.mean(), scan.data.std(), *(scan.data[at] for at in ((42, 30, 50), (20, 60, 40), (60, 40, 55))))
    np.testing.assert_allclose(found, sketch, atol=3e-4)


def test_version_2_is_still_there(earlier):
    assert earlier.name == "phantom:recipe=2"
    assert baseline(earlier.participants).groupby("group").size().to_dict() == {"AD": 80, "CN": 401}
    assert set(earlier.participants.amyloid) == {""}


@pytest.mark.parametrize("version", [1, 4])
def test_unknown_recipe(version):
    with pytest.raises(InputError, match=rf"^phantom: recipe={version}; choose 2 or 3$"):
        Phantom(recipe=version)


def jacobian(person: Person) -> np.ndarray:
    """The determinant of the Jacobian of the deformation, in the voxels of the brain."""
    points = sampling_points(person, draw_brain(person), maps.maps(person.recipe)).numpy()
    slopes = np.stack([np.stack(np.gradient(points[..., axis], 2.0), -1) for axis in range(3)], -2)
    return np.asarray(np.linalg.det(slopes)[atlas.brain_mask(norms.BASE)])


@pytest.mark.parametrize("version", [2, 3])
def test_shapes_are_invertible(phantom, version):
    """The Jacobian of the deformation is positive in the brain, for old people and advanced patients too."""
    of = RECIPES[version]
    people = [Person(of, phantom.seed, index, age, "F", 1) for index in range(3) for age in (60.0, 90.0)]
    people.append(Person(of, phantom.seed, 0, 90.0, "M", 1, "patient", 1.0))
    assert min(jacobian(person).min() for person in people) > 0.05


@pytest.mark.parametrize("scan", WORST, ids="_".join)
def test_hardly_a_voxel_folds(phantom, scan):
    """The people of version 3 with the most folded voxels: by wide ventricles, and by displacements that add up."""
    folded = jacobian(phantom._visit(*scan).person) <= 0
    assert folded.sum() < 20 and folded.mean() < 1e-4


@pytest.mark.slow
def test_version_3_has_more_anatomy(phantom, earlier):
    """Gyral labels of different people overlap less, and as much as affine registration leaves."""
    less, more = phantom.label_overlap(6), earlier.label_overlap(6)
    assert 0.40 < less < 0.62 and less < more - 0.05


def test_the_disease_spares_what_it_should():
    """A patient beside the same brain without the disease: sensorimotor, visual and cerebellar cortex keep theirs."""
    ratios = []
    for index in range(6):
        course = disease.draw_course(np.random.default_rng(index))
        lost = disease.lost_uptake(course, 0.6).numpy()
        assert lost.min() == 0 and lost.max() <= 0.85
        ratios.append([lost[norms.region_of_voxel() == norms.ROWS[name]].mean() for name in norms.ROWS])
    mean = dict(zip(norms.ROWS, np.mean(ratios, axis=0), strict=True))
    assert min(mean["precuneus"], mean["posterior cingulate"]) > 0.2 and mean["lateral temporal"] > 0.1
    assert max(mean["sensorimotor"], mean["pericalcarine"], mean["cerebellum"], mean["putamen"]) < 0.06
    assert not disease.lost_uptake(course, 0.0).any()


def test_parcels_are_not_the_atlas():
    """To know a voxel's parcel is not to know its label, and the right half mirrors the left."""
    parcels = maps.maps(NEW).parcels.numpy()
    inside = norms.measured() & (parcels < 2 * maps.PARCELS)
    both = np.stack([parcels[inside], norms.labels()[inside]])
    assert len(np.unique(both[0])) > 1.9 * maps.PARCELS
    assert adjusted_mutual_info_score(*both) < 0.7
    left, right = parcels[:42], parcels[:42:-1]
    pairs = (left < 2 * maps.PARCELS) & (right < 2 * maps.PARCELS)
    assert pairs.mean() > 0.2 and (right[pairs] - left[pairs] == maps.PARCELS).all()


def test_regional_values_without_images_are_those_of_images(phantom, first, crowd):
    """The short way leaves out shape, scanner and noise, and nothing else."""
    short = np.array([values for _, _, values in phantom.regional_values(PEOPLE)])
    own = norms.region_of_voxel()
    images = np.array(
        [[image[norms.measured() & (own == row)].mean() for row in norms.ROWS.values()] for image in crowd]
    )
    table = [norms.ROWS[name] for name in norms.REGIONS if norms.REGIONS[name].published and name != "cerebellum"]
    together = [np.corrcoef(short[:, row], images[:, row])[0, 1] for row in table]
    assert min(together) > 0.6 and np.median(together) > 0.85
    np.testing.assert_allclose(short[:, table].mean(axis=0), images[:, table].mean(axis=0), rtol=0.06)


# --- ageing


@pytest.mark.parametrize("decades", [-1.5, 0.0, 1.5])
def test_losses_by_ageing_average_to_zero_at_every_age(decades):
    rng = np.random.default_rng(5)
    drawn = np.array([losses(draw_ageing(rng), decades) for _ in range(1200)])
    error = drawn.std(axis=0) / np.sqrt(len(drawn))
    assert drawn.std(axis=0).min() > 0.1
    assert (np.abs(drawn.mean(axis=0)) < 4 * error + 1e-3).all()


@pytest.mark.parametrize("subtype", list(SUBTYPES))
def test_lobes_are_lost_in_the_order_of_their_onsets(subtype):
    """The first lobe of a subtype is lost first, and a lobe before its onset is as in a person who hardly ages."""
    quantiles = np.linspace(0.001, 0.995, 120)
    lost = np.array([losses(Ageing(subtype, quantile, 0.0), 0.0) for quantile in quantiles])
    lost -= lost[0]
    assert (np.diff(lost, axis=0) >= 0).all()
    starts = (lost > 0.01).argmax(axis=0)
    onsets = np.array(SUBTYPES[subtype][1])
    assert len(onsets) == len(LOBES) and (lost[-1] > 0.01).all()
    assert (np.diff(starts[np.argsort(onsets, kind="stable")]) >= 0).all()
    assert starts[onsets.argmin()] < starts[onsets.argmax()]


def test_a_brain_ahead_of_its_age_has_lost_more():
    ageing = Ageing("parietal", 0.6, 0.0)
    assert (losses(ageing, 0.0, 1.0) >= losses(ageing, 0.0)).all()
    assert losses(ageing, 0.0, 1.0).sum() > losses(ageing, 0.0).sum() + 0.1


# --- incidental findings


def findings(index: int, age: float) -> tuple[Finding, ...]:
    return draw_findings(np.random.default_rng(index), age)


@pytest.mark.parametrize(("age", "share"), [(50.0, 0.0), (57.9, 0.0), (65.0, 0.042), (80.0, 0.132), (96.0, 0.20)])
def test_the_share_of_people_with_findings_grows_with_age(age, share):
    assert share == pytest.approx(min(LARGEST_SHARE, max(0, PER_YEAR * (age - YOUNGEST))))
    counts = np.array([len(findings(index, age)) for index in range(3000)])
    assert (counts > 0).mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / len(counts)))
    if share > 0.1:
        assert (counts[counts > 0] == 2).mean() == pytest.approx(SECOND, abs=0.09)


def test_findings_stay():
    grown = 0
    for index in range(600):
        before, after = findings(index, 70.0), findings(index, 88.0)
        assert set(before) <= set(after)
        grown += len(after) > len(before)
    assert grown > 20


def test_only_healthy_people_of_version_3_have_findings():
    people = [Person(NEW, 1, index, 90.0, "F", 1) for index in range(60)]
    assert 3 < sum(bool(draw_brain(person).findings) for person in people) < 30
    for person in people:
        assert not draw_brain(replace(person, recipe=RECIPES[2])).findings
        assert not draw_brain(replace(person, kind="patient", stage=0.5)).findings
        assert not draw_brain(replace(person, kind="mild", stage=0.1)).findings


def test_a_finding_lacks_uptake_where_it_is():
    finding = Finding((20.0, 0.0, 10.0), (8.0, 6.0, 6.0), 0.7)
    kept = kept_uptake((finding,)).numpy()
    distance = norms.ellipsoid(finding.centre, finding.half_axes)
    assert kept.min() == pytest.approx(0.3) and kept.max() == 1
    assert (kept[distance < 0.4] < 0.31).all() and (kept[distance > 2.2] == 1).all()
    volume = 8 * (1 - kept).sum() / 0.7
    assert volume == pytest.approx(4 / 3 * np.pi * 8 * 6 * 6, rel=0.15)


# --- mild patients


def test_mild_patients_are_early_or_have_another_cause(phantom):
    visits = [visit for visit in phantom._visits.values() if visit.group == "MCI"]
    amyloid = {visit.participant_id: visit.amyloid for visit in visits}
    assert set(amyloid.values()) == {"positive", "negative"}
    assert 0.4 < np.mean([status == "positive" for status in amyloid.values()]) < 0.75
    for visit in visits:
        person = visit.person
        if visit.amyloid == "positive":
            assert person.ahead == 0 and person.stage >= 0.05
            assert person.stage < 0.25 or visit.session_id != "ses-M000"
        else:
            assert person.stage == 0 and 0 <= person.ahead <= 1.5
    negative = next(visit.person for visit in visits if visit.amyloid == "negative")
    assert not disease.lost_uptake(draw_brain(negative).course, negative.stage).any()
    mmse = {status: np.mean([v.mmse for v in visits if v.amyloid == status]) for status in ("positive", "negative")}
    assert 24.5 < mmse["positive"] < 28 and mmse["negative"] == pytest.approx(27.5, abs=0.6)


def test_scans_carry_the_amyloid_status(phantom, first):
    rows = first[first.group == "MCI"][:3]
    assert [scan.amyloid for scan in phantom.scans(QUICK, rows)] == rows.amyloid.tolist()
