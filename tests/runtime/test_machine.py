"""The name of the processor: as Linux writes it, and unknown where no system names it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_info

from uadbench.runtime import machine

X86 = (
    "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel\t\t: 1\nmodel name\t: AMD EPYC 7763: 64 Cores\n\nprocessor\t: 1\n"
)
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nCPU implementer\t: 0x41\n"


@pytest.mark.parametrize(("text", "name"), [(X86, "AMD EPYC 7763: 64 Cores"), (ARM, None), (None, None)])
def test_linux(text: str | None, name: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "cpuinfo"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(machine, "CPUINFO", file)
    monkeypatch.setattr(machine.platform, "system", lambda: "Linux")
    assert machine.processor.__wrapped__() == name


@pytest.mark.parametrize(
    ("system", "stated", "name"), [("Windows", "Intel64 Family 6", "Intel64 Family 6"), ("Darwin", "arm", None)]
)
def test_other_systems(system: str, stated: str, name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `sysctl` is missing, macOS names only the architecture, which is no model."""
    monkeypatch.setattr(machine.platform, "system", lambda: system)
    monkeypatch.setattr(machine.platform, "processor", lambda: stated)
    monkeypatch.setenv("PATH", "")
    assert machine.processor.__wrapped__() == name


def test_the_libraries_are_those_that_threadpoolctl_and_torch_name() -> None:
    libraries = machine.kernel_libraries()
    assert libraries["onednn"] in torch.__config__.show() and libraries["onednn"].count(".") == 2
    loaded = {each["prefix"] for each in threadpool_info() if each["user_api"] == "blas"}
    assert loaded == set(libraries) - {"onednn", "mkl"}
    assert machine.instruction_set().startswith(torch.backends.cpu.get_cpu_capability())
