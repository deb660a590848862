"""Average precision, AUROC, recall and Dice against scikit-learn and MONAI, ties included."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from monai.metrics import compute_dice
from sklearn.metrics import average_precision_score, f1_score, recall_score, roc_auc_score

from uadbench.metrics import localisation
from uadbench.metrics.localisation import Ranking, compiled_row, plain_row


@pytest.fixture(scope="module", params=["compiled", "plain"])
def rank(request: pytest.FixtureRequest):
    """`rank` both ways: compiled as on a CPU, and in torch as on other devices."""

    def either(*inputs):
        with pytest.MonkeyPatch.context() as patch:
            if request.param == "plain":
                patch.setattr(localisation, "compiled_row", plain_row)
            return localisation.rank(*inputs)

    return either


def expected(scores: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """(average precision, AUROC, prevalence) of one case by scikit-learn; NaN where it is undefined."""
    counts = truth >= 0
    scores, labels = scores[counts], truth[counts]
    positives = int(labels.sum())
    precision = average_precision_score(labels, scores) if positives else math.nan
    auroc = roc_auc_score(labels, scores) if 0 < positives < len(labels) else math.nan
    return precision, auroc, labels.mean() if len(labels) else math.nan


def found(ranking: Ranking, case: int) -> tuple[float, float, float]:
    return float(ranking.average_precision[case]), float(ranking.auroc[case]), float(ranking.prevalence[case])


# few distinct values make ties, also between the classes; wide floats make none
values = st.one_of(st.integers(-2, 2).map(float), st.floats(-1e6, 1e6, width=32, allow_subnormal=False), st.just(-0.0))


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 40)))
    scores = draw(npst.arrays(np.float32, shape, elements=values))
    return scores, draw(npst.arrays(np.int8, shape, elements=st.integers(-1, 1)))


@given(cases())
@settings(max_examples=80, deadline=None)
def test_equals_scikit_learn(rank, case) -> None:
    scores, truth = case
    own = rank(torch.tensor(scores), torch.tensor(truth))
    shared = rank(torch.tensor(scores), torch.tensor(truth[0]))
    for index in range(len(scores)):
        np.testing.assert_allclose(found(own, index), expected(scores[index], truth[index]), rtol=1e-12, atol=0)
        np.testing.assert_allclose(found(shared, index), expected(scores[index], truth[0]), rtol=1e-12, atol=0)


@pytest.mark.parametrize("decimals", [1, 7])
def test_equals_scikit_learn_on_a_whole_brain(rank, decimals: int) -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice(np.array([-1, 0, 1], dtype=np.int8), size=25_000, p=[0.1, 0.85, 0.05])
    scores = np.round(rng.normal(size=(2, 25_000)) + (truth == 1), decimals).astype(np.float32)
    ranking = rank(torch.tensor(scores), torch.tensor(truth))
    for case in range(2):
        np.testing.assert_allclose(found(ranking, case), expected(scores[case], truth), rtol=1e-12, atol=0)


@given(positives=st.integers(1, 400), negatives=st.integers(1, 400), value=st.floats(-10, 10, width=32))
@settings(max_examples=50, deadline=None)
def test_a_constant_map_scores_exactly_the_prevalence(rank, positives, negatives, value) -> None:
    truth = torch.tensor([1] * positives + [0] * negatives, dtype=torch.int8)
    ranking = rank(torch.full((1, len(truth)), value), truth)
    assert found(ranking, 0) == (positives / len(truth), 0.5, positives / len(truth))


def test_the_best_and_the_worst_map(rank) -> None:
    truth = torch.tensor([1, 1, 0, 0, 0], dtype=torch.int8)
    scores = torch.tensor([[5.0, 4, 3, 2, 1], [1, 2, 3, 4, 5]])
    ranking = rank(scores, truth)
    assert found(ranking, 0) == (1.0, 1.0, 0.4)
    assert found(ranking, 1) == (pytest.approx((1 / 4 + 2 / 5) / 2, rel=1e-15), 0.0, 0.4)


def test_infinite_scores_have_their_place(rank) -> None:
    truth = torch.tensor([1, 0, 1, 0], dtype=torch.int8)
    ranking = rank(torch.tensor([[math.inf, 0.0, -math.inf, -math.inf]]), truth)
    assert found(ranking, 0) == (0.75, (2 + 0.5) / 4, 0.5)


@given(cases(), st.data())
@settings(max_examples=30, deadline=None)
def test_an_increasing_transform_changes_nothing(rank, case, data) -> None:
    scores, truth = torch.tensor(case[0]), torch.tensor(case[1])
    # the place of each value among all, then stretched: increasing, and exact in float32
    _, places = scores.unique(return_inverse=True)
    slope, offset = data.draw(st.integers(1, 50)), data.draw(st.integers(-1000, 1000))
    before, after = rank(scores, truth), rank((slope * places**2 + offset).float(), truth)
    for index in range(len(scores)):
        np.testing.assert_array_equal(found(before, index), found(after, index))


@given(cases(), st.data())
@settings(max_examples=30, deadline=None)
def test_a_case_scores_the_same_alone_and_in_any_order(rank, case, data) -> None:
    scores, truth = torch.tensor(case[0]), torch.tensor(case[1])
    together = rank(scores, truth)
    order = data.draw(st.permutations(range(len(scores))))
    voxels = data.draw(st.permutations(range(scores.shape[1])))
    shuffled = rank(scores[order][:, voxels], truth[order][:, voxels])
    for place, index in enumerate(order):
        alone = rank(scores[index, None], truth[index])
        np.testing.assert_array_equal(found(alone, 0), found(together, index))
        np.testing.assert_array_equal(found(shuffled, place), found(together, index))


@given(cases(), st.sampled_from([-1e30, 0.0, 1e30, math.nan]))
@settings(max_examples=30, deadline=None)
def test_ignored_voxels_do_not_matter(rank, case, junk) -> None:
    scores, truth = torch.tensor(case[0]), torch.tensor(case[1])
    before, after = rank(scores, truth), rank(scores.where(truth >= 0, junk), truth)
    for index in range(len(scores)):
        np.testing.assert_array_equal(found(before, index), found(after, index))


@pytest.mark.parametrize(
    ("truth", "defined"),
    [([1, 1, -1], (1.0, math.nan, 1.0)), ([0, 0, -1], (math.nan, math.nan, 0.0)), ([-1, -1, -1], (math.nan,) * 3)],
)
def test_what_the_truth_leaves_undefined_is_nan(rank, truth, defined) -> None:
    ranking = rank(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor(truth, dtype=torch.int8))
    np.testing.assert_array_equal(found(ranking, 0), defined)


@pytest.mark.parametrize("voxel", [0, 1])
def test_a_score_that_is_nan_is_an_error(rank, voxel: int) -> None:
    scores = torch.zeros(2, 3)
    scores[1, voxel] = math.nan
    for truth in ([1, 0, 0], [1, 1, -1], [0, 0, -1], [[0, -1, -1], [1, 0, 0]]):
        with pytest.raises(ValueError, match="case 1 of the batch has scores that are NaN"):
            rank(scores, torch.tensor(truth, dtype=torch.int8))


@pytest.mark.parametrize(("scores", "truth"), [((2, 3), (4,)), ((2, 3), (3, 3)), ((2, 3), (2,)), ((3,), (3,))])
def test_shapes_that_do_not_fit_are_an_error(rank, scores, truth) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        rank(torch.zeros(scores), torch.zeros(truth, dtype=torch.int8))


def test_scores_are_float64(rank) -> None:
    ranking = rank(torch.rand(3, 10, requires_grad=True), torch.ones(10, dtype=torch.int8))
    columns = (ranking.average_precision, ranking.auroc, ranking.prevalence)
    assert {(column.dtype, tuple(column.shape)) for column in columns} == {(torch.float64, (3,))}


@given(cases(), st.lists(values, min_size=1, max_size=4))
@settings(max_examples=80, deadline=None)
def test_recall_and_dice_equal_scikit_learn(rank, case, levels) -> None:
    scores, truth = case
    levels = [float(np.float32(level)) for level in [*levels, scores[0, 0]]]  # one that ties with a voxel
    ranking = rank(torch.tensor(scores), torch.tensor(truth), levels)
    assert ranking.recall.shape == ranking.dice.shape == (len(scores), len(levels))
    for index in range(len(scores)):
        counts = truth[index] >= 0
        labels = truth[index][counts]
        for place, level in enumerate(levels):
            found_voxels = scores[index][counts] > level
            wanted = [math.nan, math.nan]
            if labels.any():
                wanted = [recall_score(labels, found_voxels), f1_score(labels, found_voxels)]
            got = [float(ranking.recall[index, place]), float(ranking.dice[index, place])]
            np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=0)


def test_dice_equals_monai_on_a_whole_volume(rank) -> None:
    rng = np.random.default_rng(2)
    truth = torch.tensor(rng.random((3, 8, 9, 7)) < 0.2)
    scores = torch.tensor(rng.normal(size=(3, 8, 9, 7)), dtype=torch.float32) + truth
    levels = [-0.5, 0.5, 1.5]
    ranking = rank(scores.flatten(1), truth.flatten(1).to(torch.int8), levels)
    for place, level in enumerate(levels):
        expected = compute_dice(scores[:, None] > level, truth[:, None]).squeeze(1)
        np.testing.assert_allclose(ranking.dice[:, place], expected, rtol=1e-6)


@given(cases(), st.lists(values, max_size=4))
@settings(max_examples=80, deadline=None)
def test_the_oracles_dice_is_the_best_of_all_thresholds(rank, case, levels) -> None:
    scores, truth = case
    ranking = rank(torch.tensor(scores), torch.tensor(truth), levels)
    for index in range(len(scores)):
        counts = truth[index] >= 0
        labels, ours = truth[index][counts], scores[index][counts]
        oracle = float(ranking.oracle_dice[index])
        if not labels.any():
            assert math.isnan(oracle)
            continue
        best = max(f1_score(labels, ours > level) for level in [-math.inf, *np.unique(ours)])
        assert oracle == pytest.approx(best, rel=1e-12)
        assert all(oracle >= dice - 1e-12 for dice in ranking.dice[index].tolist())


@given(cases(), st.lists(st.integers(0, 40), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_what_is_found_follows_the_order_of_scores_alone(rank, case, chosen) -> None:
    """Scores and thresholds replaced by their places, then cubed: increasing, and exact in float32."""
    scores, truth = torch.tensor(case[0]), torch.tensor(case[1])
    distinct, places = scores.unique(return_inverse=True)
    levels = [place % len(distinct) for place in chosen]
    before = rank(scores, truth, [float(distinct[place]) for place in levels])
    after = rank((places**3).float(), truth, [float(place**3) for place in levels])
    for name, column in vars(before).items():
        np.testing.assert_array_equal(column, getattr(after, name), err_msg=name)


def test_an_ideal_map_has_a_perfect_oracle_and_a_blind_one_finds_everything_or_nothing(rank) -> None:
    truth = torch.tensor([1, 1, 0, 0, 0, -1], dtype=torch.int8)
    scores = torch.tensor([[9.0, 8, 3, 2, 1, 99], [0, 0, 0, 0, 0, 99]])
    ranking = rank(scores, truth, [3.0, -1.0])
    assert ranking.oracle_dice.tolist() == [1.0, pytest.approx(2 * 2 / (2 + 5))]
    assert ranking.recall.tolist() == [[1.0, 1.0], [0.0, 1.0]]
    assert ranking.dice.tolist() == [[1.0, pytest.approx(4 / 7)], [0.0, pytest.approx(4 / 7)]]
    assert rank(scores, truth).recall.shape == (2, 0)


def test_without_positives_nothing_is_defined_but_the_prevalence(rank) -> None:
    ranking = rank(torch.rand(2, 4), torch.tensor([0, 0, -1, 0], dtype=torch.int8), [0.1, 0.5])
    assert ranking.oracle_dice.isnan().all() and ranking.recall.isnan().all() and ranking.dice.isnan().all()
    assert ranking.recall.shape == ranking.dice.shape == (2, 2)
    assert ranking.prevalence.tolist() == [0, 0]


def test_how_scores_lie_in_memory_does_not_matter(rank) -> None:
    scores, truth = torch.randn(3, 50), torch.randint(-1, 2, (3, 50), dtype=torch.int8)
    expected, turned = rank(scores, truth, [0.0]), rank(scores.T.contiguous().T, truth.T.contiguous().T, [0.0])
    for name, column in vars(expected).items():
        np.testing.assert_array_equal(getattr(turned, name), column, err_msg=name)


def both_rows(scores, truth, levels) -> tuple[list[float], list[float]]:
    """The row of a case, of the compiled way and of the plain one."""
    scores, truth, levels = (torch.as_tensor(np.array(each, dtype=np.float32)) for each in (scores, truth, levels))
    inputs = (scores, *((truth == label).nonzero().squeeze(1) for label in (1, 0)), levels)
    return compiled_row(*inputs), plain_row(*inputs)


TINY, LEAST, MOST = 1e-45, float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
"""The smallest subnormal number, the smallest that is none, the largest."""

EXTREMES = [math.inf, -math.inf, -0.0, 0.0, TINY, -TINY, 3 * TINY, LEAST / 2, -LEAST / 2, LEAST, -LEAST, MOST, -MOST]

# bits of all exponents and both signs; ties come from the extremes and the integers
anything = st.one_of(
    st.sampled_from(EXTREMES), st.integers(-2, 2).map(float), st.floats(width=32, allow_nan=False, allow_infinity=True)
)


@st.composite
def single_cases(draw: st.DrawFn, labels: st.SearchStrategy[int]) -> tuple[np.ndarray, np.ndarray, list[float]]:
    size = draw(st.integers(1, 50))
    scores = draw(npst.arrays(np.float32, size, elements=anything))
    return scores, draw(npst.arrays(np.int8, size, elements=labels)), draw(st.lists(anything, max_size=4))


@given(single_cases(st.integers(-1, 1)))
@settings(max_examples=200, deadline=None)
def test_compiled_rows_equal_plain_ones(case) -> None:
    scores, truth, levels = case
    compiled, plain = both_rows(scores, truth, [*levels, scores[0]])
    assert len(compiled) == 4 + 2 * (len(levels) + 1)
    np.testing.assert_allclose(compiled, plain, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("scores", "truth"),
    [
        ([2, 2, 1, 1, 1, 0, 2], [1, 0, 1, 1, 0, 0, -1]),  # ties within and between the classes
        ([0.0, -0.0, 0.0, -0.0, 1, -1], [1, 1, 0, 0, 0, 1]),
        ([-0.0, -0.0, 0.0], [1, 1, 0]),
        ([math.inf, -math.inf, math.inf, -math.inf, 0, MOST, -MOST], [1, 1, 0, 0, 1, 0, 1]),
        ([7, 7, 7, 7, 7], [1, 0, 0, 1, 0]),  # all equal
        ([-math.inf] * 4, [1, 0, 0, 1]),
        ([3, 1, 2, 5, 4], [0, 0, 1, 0, 0]),  # one positive
        ([3], [1]),
        ([3, 1, 2, 2], [1, 1, 1, 1]),  # no negatives
        ([3, 1, 2, 2], [1, -1, 1, -1]),
        ([3, 1, 2, 2], [0, 0, 0, -1]),  # no positives
        ([3, 1], [-1, -1]),
        ([-3, -1, -2, -5, -4, -1], [0, 1, 1, 0, 1, 0]),  # negative scores
        ([TINY, -TINY, 2 * TINY, 0.0, -0.0, LEAST / 2, LEAST, -LEAST / 2], [1, 0, 0, 1, 0, 1, 0, 1]),
    ],
)
def test_compiled_rows_equal_plain_ones_at_their_ends(scores, truth) -> None:
    levels = [*EXTREMES, *scores]
    compiled, plain = both_rows(scores, truth, levels)
    np.testing.assert_allclose(compiled, plain, rtol=1e-12, atol=0)
    # by scikit-learn through the places of the scores, as it takes no infinity; NumPy too takes -0.0 for 0.0
    places = np.unique(np.array(scores, dtype=np.float32), return_inverse=True)[1]
    np.testing.assert_allclose(compiled[:3], expected(places, np.array(truth)), rtol=1e-12, atol=0)


@pytest.mark.parametrize("positives", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["bits", "ties", "normal"])
def test_compiled_rows_equal_plain_ones_on_a_whole_brain(positives: float, kind: str) -> None:
    rng = np.random.default_rng(3)
    size = 25_000
    normal = rng.normal(size=size).astype(np.float32)
    bits = rng.integers(0, 2**32, size, dtype=np.uint32).view(np.float32)
    scores = {"bits": np.where(np.isnan(bits), normal, bits), "ties": np.round(normal, 1), "normal": normal}[kind]
    truth = np.where(rng.random(size) < 0.1, -1, rng.random(size) < positives)
    compiled, plain = both_rows(scores, truth, [*EXTREMES, *scores[:5]])
    np.testing.assert_allclose(compiled, plain, rtol=1e-12, atol=0)


@given(single_cases(st.integers(0, 1)), st.data(), st.sampled_from([0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFFFFFFF]))
@settings(max_examples=60, deadline=None)
def test_rows_begin_with_nan_where_a_score_that_counts_is_nan(case, data, bits) -> None:
    """NaN of either sign, quiet or signalling."""
    scores, truth, levels = case
    scores = scores.copy()
    scores.view(np.uint32)[data.draw(st.integers(0, len(scores) - 1))] = bits
    compiled, plain = both_rows(scores, truth, levels)
    assert math.isnan(compiled[0]) and math.isnan(plain[0])
    np.testing.assert_array_equal(compiled, plain)
    ignored = np.where(np.isnan(scores), -1, truth)
    compiled, plain = both_rows(scores, ignored, levels)
    np.testing.assert_allclose(compiled, plain, rtol=1e-12, atol=0)
    assert math.isnan(compiled[0]) == (not (ignored == 1).any())


@given(st.floats(0, 1), st.floats(0, 0.99))
def test_normalised_precision_is_0_at_chance_and_1_at_best(precision: float, chance: float) -> None:
    scores = torch.tensor([precision, chance, 1.0], dtype=torch.float64)
    normalised = localisation.above_chance(scores, torch.full((3,), chance, dtype=torch.float64))
    expected = [(precision - chance) / (1 - chance), 0.0, 1.0]
    np.testing.assert_allclose(normalised.numpy(), expected, atol=1e-12)
    assert localisation.above_chance(scores, torch.ones(3, dtype=torch.float64)).isnan().all()


def test_chance_is_the_precision_of_noise_for_any_size_of_the_truth() -> None:
    rng = np.random.default_rng(3)
    noise = torch.tensor(rng.normal(size=(40, 4000)).astype(np.float32))
    for share in (0.02, 0.2, 0.6):
        truth = torch.tensor((np.arange(4000) < share * 4000).astype(np.int8))
        ranking = localisation.rank(noise, truth)
        normalised = localisation.above_chance(ranking.average_precision, ranking.prevalence)
        assert abs(float(normalised.mean())) < 0.01 < float(ranking.average_precision.mean())
