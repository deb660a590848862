"""uadbench: a benchmark of unsupervised anomaly detection on brain FDG PET.

    import uadbench as ub

    run = ub.run("vae3d", protocol="smoke")        # train and score a model; ub.list_models() names them
    print(run.result.headline.ap_standard)         # the result, typed
    run.scores                                     # DataFrame, one row per case; ub.columns(run.scores) explains it
    run.plot.severity()                            # average precision against severity
    run.report("report.html")                      # one self-contained page
    ub.compare([run, ub.run("zscore", protocol="smoke")])          # paired tests over participants
    ub.evaluate(my_module, protocol="smoke")       # score a torch module or a function
    ub.simulate("scan.nii.gz", "ad", severity=0.3)                 # or a nibabel image, or (array, affine)
    ub.train_dataset("quick"), ub.test_dataset("quick")            # torch datasets, for a training loop of your own
    ub.read("runs/phantom/smoke/vae3d/fold0-...")  # an earlier run
    ub.apply(run, "scan.nii.gz", "folder")         # the trained model on a scan

`help(ub.run)` describes a function; `uadbench --help` lists the commands, which use the same run folders and results.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uadbench.api.applying import apply as apply
    from uadbench.api.cohorts import cohort as cohort
    from uadbench.api.comparing import compare as compare
    from uadbench.api.completed import CompletedRun as CompletedRun
    from uadbench.api.completed import Runs as Runs
    from uadbench.api.datasets import test_dataset as test_dataset
    from uadbench.api.datasets import train_dataset as train_dataset
    from uadbench.api.evaluating import evaluate as evaluate
    from uadbench.api.listing import columns as columns
    from uadbench.api.listing import list_models as list_models
    from uadbench.api.reading import read as read
    from uadbench.api.running import run as run
    from uadbench.api.simulating import simulate as simulate
    from uadbench.cohorts.opening import open_cohort as open_cohort
    from uadbench.errors import InputError as InputError
    from uadbench.errors import Unfinished as Unfinished
    from uadbench.models.base import Model as Model
    from uadbench.models.base import ReconstructionModel as ReconstructionModel
    from uadbench.protocols.schema import load_protocol as load_protocol
    from uadbench.registry import register_cohort as register_cohort
    from uadbench.registry import register_model as register_model
    from uadbench.results.schema import read_result as read_result
    from uadbench.types import Batch as Batch
    from uadbench.types import Case as Case
    from uadbench.types import Grid as Grid
    from uadbench.types import Intensity as Intensity
    from uadbench.types import Scan as Scan

__version__ = "0.1.0"

_PUBLIC = {
    "Batch": "uadbench.types",
    "Case": "uadbench.types",
    "CompletedRun": "uadbench.api.completed",
    "Grid": "uadbench.types",
    "InputError": "uadbench.errors",
    "Intensity": "uadbench.types",
    "Model": "uadbench.models.base",
    "ReconstructionModel": "uadbench.models.base",
    "Runs": "uadbench.api.completed",
    "Scan": "uadbench.types",
    "Unfinished": "uadbench.errors",
    "apply": "uadbench.api.applying",
    "cohort": "uadbench.api.cohorts",
    "columns": "uadbench.api.listing",
    "compare": "uadbench.api.comparing",
    "evaluate": "uadbench.api.evaluating",
    "list_models": "uadbench.api.listing",
    "load_protocol": "uadbench.protocols.schema",
    "open_cohort": "uadbench.cohorts.opening",
    "read": "uadbench.api.reading",
    "read_result": "uadbench.results.schema",
    "register_cohort": "uadbench.registry",
    "register_model": "uadbench.registry",
    "run": "uadbench.api.running",
    "simulate": "uadbench.api.simulating",
    "test_dataset": "uadbench.api.datasets",
    "train_dataset": "uadbench.api.datasets",
}
"""Public name -> the module that holds it; loaded when first asked for, so that importing uadbench is cheap."""

__all__ = ["__version__", *_PUBLIC]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'uadbench' has no attribute '{name}'")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
