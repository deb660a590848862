"""The processor of this machine."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


@cache
def processor() -> str | None:
    """The model name of the processor, such as "AMD EPYC 7763 64-Core Processor"; None if the system does not say."""
    if platform.system() == "Linux":
        return _in_cpuinfo()
    if platform.system() == "Darwin":
        return _of_sysctl()
    return platform.processor() or None


def _of_sysctl() -> str | None:
    """The model name that macOS states."""
    command = ["sysctl", "-n", "machdep.cpu.brand_string"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _in_cpuinfo() -> str | None:
    """The first model name that Linux lists; ARM kernels list none."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    names = (value.strip() for key, _, value in (line.partition(":") for line in lines) if key.strip() == "model name")
    return next(filter(None, names), None)
