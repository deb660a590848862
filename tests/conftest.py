"""What tests share: a cache of their own, and one small trained run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from threadpoolctl import threadpool_limits

REPOSITORY = Path(__file__).parents[1]

settings.register_profile("untimed", deadline=None)  # a busy machine is no fault
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No test reads or writes the user's cache or secrets, or logs to the user's server."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["UADBENCH_CACHE"] = str(folder)
    os.environ["UADBENCH_SALTS"] = str(tmp_path_factory.mktemp("salts"))
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    threads = 1 if "PYTEST_XDIST_WORKER" in os.environ else 2
    os.environ["OMP_NUM_THREADS"] = str(threads)  # for processes that tests start: their scores are to be equal
    torch.set_num_threads(threads)
    threadpool_limits(threads)
    return folder


@pytest.fixture(scope="session")
def fold_data():
    """The scans of the smoke protocol, on the phantom."""
    from uadbench.cohorts.opening import open_cohort
    from uadbench.protocols.schema import load_protocol
    from uadbench.runs.fold_data import plan_fold
    from uadbench.runtime.progress import Silent

    return plan_fold(open_cohort("phantom"), load_protocol("smoke"), 0, Silent())


@pytest.fixture(scope="session")
def trained(fold_data, tmp_path_factory: pytest.TempPathFactory):
    """vae3d under the smoke protocol: (outcome, output folder)."""
    from uadbench.runs.keys import Run
    from uadbench.runs.run import complete
    from uadbench.runtime.progress import Silent

    output = tmp_path_factory.mktemp("trained")
    return complete(Run("vae3d", fold_data, 0), output, torch.device("cpu"), Silent()), output
