"""Expected values that do not depend on the model: prevalence and reduction of every simulated case."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd

from uadbench.protocols.schema import Protocol
from uadbench.results.scores import KEYS
from uadbench.types import Scan

EXPECTED = ("prevalence", "effective_reduction")
"""Columns of a table of cases that follow from the protocol and the participants."""

Key = tuple[str, str]


def expected_values(protocol: Protocol, keys: tuple[Key, ...]) -> pd.DataFrame:
    """Compute the expected values of every simulated case of healthy scans.

    Masks depend on participant and session only, so no images are needed.

    Args:
        protocol: The protocol.
        keys: Participant and session of each healthy test scan.

    Returns:
        One row per case of the dementias, unseen, varied and hyper, with the columns in EXPECTED.
    """
    return _expected_values(protocol.model_dump_json(), keys)


@lru_cache(maxsize=8)
def _expected_values(stored: str, keys: tuple[Key, ...]) -> pd.DataFrame:
    from uadbench.simulation.testset import SimulatedCases

    protocol = Protocol.model_validate_json(stored)
    empty = np.zeros(protocol.lattice.shape, dtype=np.float32)
    scans = [Scan(*key, empty, protocol.lattice.affine, (0.0, 1.0)) for key in keys]
    cases = SimulatedCases(protocol, scans)
    rows = []
    for scan in scans:
        for case in cases.cases(scan):
            inside, outside = int((case.truth == 1).sum()), int((case.truth == 0).sum())
            prevalence = inside / max(1, inside + outside)
            rows.append((*scan.key, case.anomaly, case.severity, prevalence, case.effective_reduction))
    return pd.DataFrame(rows, columns=[*KEYS, *EXPECTED])
