"""What no model can move: prevalence, reduction and ceiling of every case, made again from protocol and ids alone."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd

from uadbench.protocols.schema import Protocol
from uadbench.results.scores import KEYS
from uadbench.types import Case, Scan

FACTS = ("prevalence", "effective_reduction", "ap.ceiling")

Key = tuple[str, str]


def facts(protocol: Protocol, keys: tuple[Key, ...]) -> pd.DataFrame:
    """One row a case of these healthy scans, with FACTS; dementias, unseen, varied and hyper.

    Masks are drawn from participant and session, so no scan is needed.
    """
    return _facts(protocol.model_dump_json(), keys)


@lru_cache(maxsize=8)
def _facts(stored: str, keys: tuple[Key, ...]) -> pd.DataFrame:
    import torch

    from uadbench.metrics import localisation
    from uadbench.metrics.postprocessing import BrainSmoothing
    from uadbench.simulation.testset import SimulatedCases

    protocol = Protocol.model_validate_json(stored)
    empty = np.zeros(protocol.lattice.shape, dtype=np.float32)
    scans = [Scan(*key, empty, protocol.lattice.affine, (0.0, 1.0)) for key in keys]
    cases = SimulatedCases(protocol, scans)
    brain = torch.from_numpy(cases.brain)
    smooth = BrainSmoothing(brain, protocol.standard_map.fwhm_mm, protocol.grid.voxel_mm)

    def ceiling(case: Case) -> float:
        oracle = smooth(torch.from_numpy(np.abs(case.reduction))[None])
        truth = smooth.voxels(torch.from_numpy(case.truth))[0]
        return float(localisation.rank(oracle, truth).average_precision[0])

    rows, known = [], dict[int, tuple[float, float]]()
    kept = []  # an id is an object's own only as long as it lives
    for scan in scans:
        for case in cases.cases(scan):
            if id(case.truth) not in known:
                inside, outside = int((case.truth == 1).sum()), int((case.truth == 0).sum())
                known[id(case.truth)] = inside / max(1, inside + outside), ceiling(case)
                kept.append(case.truth)
            prevalence, best = known[id(case.truth)]
            rows.append((*scan.key, case.anomaly, case.severity, prevalence, case.effective_reduction, best))
    return pd.DataFrame(rows, columns=[*KEYS, *FACTS])
