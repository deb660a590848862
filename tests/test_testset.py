"""Cases: what is simulated on a scan, and the fingerprint of it all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from uadbench.cohorts.phantom import Phantom
from uadbench.material import plan_material
from uadbench.progress import Silent
from uadbench.protocol import load_protocol
from uadbench.testset import SimulatedCases


def test_cases_are_the_crossing(material) -> None:
    cases = material.cases
    scan = cases.scans[0]
    made = list(cases.cases(scan))
    assert [(c.anomaly, c.severity) for c in made] == cases.names
    assert len(made) == 6 * 2
    for case in made:
        np.testing.assert_allclose(case.altered, scan.data * (1 - case.reduction), atol=1e-6)
        untouched = case.reduction == 0
        assert np.array_equal(case.altered[untouched], scan.data[untouched])
        assert 0.5 * case.severity < case.effective_reduction <= case.severity
        assert case.intensity == cases.intensity(scan)
        assert set(np.unique(case.truth)) == {-1, 0, 1}
        assert (case.truth[~cases.brain] == -1).all()


def test_the_altered_scan_keeps_the_healthy_scale(material) -> None:
    """Min-max scaling of the altered scan itself would betray it wherever the maximum lies in the mask."""
    minmax = SimulatedCases(load_protocol("smoke", {"intensity.kind": "'minmax'"}), material.cases.scans)
    scan = minmax.scans[0]
    for case in minmax.cases(scan):
        assert case.intensity.offset == scan.extent[0]
        assert case.intensity.scale == scan.extent[1] - scan.extent[0]


def test_the_fingerprint_follows_what_matters(material) -> None:
    recipe = material.testset_recipe
    assert recipe == plan_material(material.cohort, material.protocol, 0, Silent()).testset_recipe
    assert recipe == plan_material(material.cohort, material.protocol, 1, Silent()).testset_recipe
    assert recipe != plan_material(Phantom(seed=7), material.protocol, 0, Silent()).testset_recipe
    fewer = {**material.rows, "test": material.rows["test"][1:]}
    assert recipe != replace(material, rows=fewer).testset_recipe
    for changed, key in ((True, "testsets.positive"), (False, "ranking.severities")):
        protocol = load_protocol("smoke", {key: "0.6" if changed else "[0.5]"})
        assert (recipe != replace(material, protocol=protocol).testset_recipe) == changed
    cases = material.cases
    assert cases.sketch["ad.truth_voxels"] > 0
    assert 0.5 < cases.sketch["ad.effective_reduction"] <= 1
