"""So few participants, or so many comparisons, that no test can be decided: it is said, and with what numbers."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest

from uadbench.cli.verdicts import places_line, verdict_line
from uadbench.results.compare import Pair
from uadbench.results.model_scores import ModelScores
from uadbench.results.verdicts import verdicts
from uadbench.stats.paired import compare_paired, holm, least_p, too_few


@pytest.mark.parametrize("subjects", [1, 3, 5, 8])
def test_the_least_p_is_that_of_the_most_extreme_signs(subjects: int) -> None:
    """All signs of the same differences, each with the test that is used."""
    sizes = 1.0 + np.arange(subjects) / 10
    found = [
        compare_paired(np.array(signs) * sizes, np.zeros(subjects)).p for signs in product((-1, 1), repeat=subjects)
    ]
    assert min(found) == pytest.approx(least_p(subjects))
    tests = 3
    assert min(holm([min(found)] * tests)) == pytest.approx(min(1.0, least_p(subjects, tests)))


def test_eight_of_eight_among_many_comparisons() -> None:
    comparison = compare_paired(np.linspace(0.5, 0.6, 8), np.linspace(0.4, 0.49, 8))
    assert comparison.prefer_a == 8
    many = Pair("m", "a", "b", comparison, 24 * comparison.p, tests=24)
    assert not many.decided and "8 participants and 24 comparisons" in many.too_few and ".188" in many.too_few
    assert many.to_json()["p_least"] == pytest.approx(24 * 2 / 2**8)
    alone = Pair("m", "a", "b", comparison, comparison.p, tests=1)
    assert alone.decided and not alone.too_few


@pytest.mark.parametrize(("subjects", "tests", "few"), [(5, 1, True), (6, 1, False), (8, 6, False), (8, 7, True)])
def test_where_five_percent_can_be_reached(subjects: int, tests: int, few: bool) -> None:
    assert bool(too_few(subjects, tests)) == few


def test_a_run_says_it_beside_its_verdicts() -> None:
    people = np.linspace(0.4, 0.5, 4)[None]
    models = [ModelScores("zscore", people), ModelScores("a", people + 0.1), ModelScores("b", people + 0.2)]
    (first, second) = verdicts(models)
    assert "4 participants and 2 comparisons" in verdict_line(first) and first.to_json()["p_least"] == 0.25
    assert "4 participants and 3 comparisons" in places_line(models)[0]
    assert json.dumps(second.to_json())
    enough = [ModelScores(m.name, np.repeat(m.values, 10, axis=1)) for m in models]
    assert "cannot be below" not in verdict_line(verdicts(enough)[0]) + places_line(enough)[0]
