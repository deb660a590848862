"""uadbench: a benchmark of unsupervised anomaly detection on brain FDG PET."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Batch": "uadbench.types",
    "Case": "uadbench.types",
    "Grid": "uadbench.types",
    "Intensity": "uadbench.types",
    "Model": "uadbench.models.base",
    "ReconstructionModel": "uadbench.models.base",
    "Scan": "uadbench.types",
    "load_protocol": "uadbench.protocols.schema",
    "open_cohort": "uadbench.cohorts.opening",
    "read_result": "uadbench.results.schema",
    "register_cohort": "uadbench.registry",
    "register_model": "uadbench.registry",
}
"""Public name -> the module that holds it; loaded when first asked for, so that importing uadbench is cheap."""


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'uadbench' has no attribute '{name}'")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*_PUBLIC, "__version__"])
