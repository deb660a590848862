"""Importing what needs torchvision (timm, MONAI) where its compiled operators do not fit the torch installed."""

from __future__ import annotations

import importlib
import sys
from functools import cache
from types import ModuleType

import torch

MISSING = "operator torchvision::nms does not exist"
"""What torchvision raises when its compiled operators could not be loaded, as with a build for another torch."""

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
"""Operators that torchvision names while it is imported."""


def import_timm() -> ModuleType:
    """The package timm, also where torchvision's compiled operators are missing."""
    return import_above_torchvision("timm")


def import_above_torchvision(package: str) -> ModuleType:
    """Import a package that imports torchvision, also where torchvision's compiled operators are missing.

    No network for images uses these operators, which belong to object detection. Where torchvision stumbles over them,
    they are declared without code, and it is imported again; any other error is raised as it is.

    Args:
        package: Such as "timm" or "monai.networks.nets".
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
    """Drop modules that were imported by half."""
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[name]


@cache
def _declare_operators() -> torch.library.Library:
    """Declare the operators, once in a process; they live as long as the library, which the cache keeps."""
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    return library
