"""The processor of this machine, and the libraries whose kernels compute on it."""

from __future__ import annotations

import platform
import re
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


def instruction_set() -> str:
    """The vector instructions that torch uses, such as "AVX512 bf16"; what it does not use is left out."""
    import torch

    extensions = {"bf16": "_is_avx512_bf16_supported", "AMX": "_is_amx_tile_supported"}
    supported = [name for name, test in extensions.items() if getattr(torch.cpu, test, bool)()]
    return " ".join([torch.backends.cpu.get_cpu_capability(), *supported])


def kernel_libraries() -> dict[str, str]:
    """Versions of oneDNN and MKL in torch, and of every BLAS that is loaded, with the processor that it is tuned to."""
    import torch
    from threadpoolctl import threadpool_info

    patterns = {"onednn": r"MKL-DNN v([\d.]+)", "mkl": r"Math Kernel Library Version ([\d.]+)"}
    found = {name: re.search(pattern, torch.__config__.show()) for name, pattern in patterns.items()}
    libraries = {name: match[1] for name, match in found.items() if match}
    for each in threadpool_info():
        if each["user_api"] == "blas":
            libraries[each["prefix"]] = f"{each['version']} {each.get('architecture') or ''}".strip()
    return libraries
