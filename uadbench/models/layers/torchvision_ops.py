"""Import of packages that need torchvision (timm, MONAI) if its compiled operators do not match the torch version."""

from __future__ import annotations

import importlib
import sys
from functools import cache
from types import ModuleType

import torch

MISSING = "operator torchvision::nms does not exist"
"""Message of torchvision's error if its compiled operators cannot be loaded, for example built for another torch."""

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
"""Operators that torchvision refers to while it is imported."""


def import_timm() -> ModuleType:
    """Import timm, even if torchvision's compiled operators are missing."""
    return import_above_torchvision("timm")


def import_above_torchvision(package: str) -> ModuleType:
    """Import a package that imports torchvision, even if torchvision's compiled operators are missing.

    These operators are for object detection; the networks used here do not need them. If the import fails because of
    them, they are declared without code, and the package is imported again. Any other error is raised unchanged.

    Args:
        package: Name of the package or module, such as "timm" or "monai.networks.nets".
    """
    try:
        return importlib.import_module(package)
    except RuntimeError as error:
        if MISSING not in str(error):
            raise
    _forget("torchvision", package.partition(".")[0])
    _declare_operators()
    return importlib.import_module(package)


def _forget(*packages: str) -> None:
    """Remove partly imported modules from `sys.modules`."""
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[name]


@cache
def _declare_operators() -> torch.library.Library:
    """Declare the operators once per process; the cache keeps the library, and with it the operators, alive."""
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    return library
