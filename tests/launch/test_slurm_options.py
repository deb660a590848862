"""Options of a Slurm job: what becomes of them in the script, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from uadbench.errors import InputError
from uadbench.launch import backend
from uadbench.launch.backend import Backend, require_reachable
from uadbench.launch.slurm import asks_for_memory, has_gpu, parse_slurm


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The job script that an sbatch is asked about."""
    pytest.importorskip("dask_jobqueue")
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text(f'#!/bin/sh\ntest "$1" = --test-only && cp "$2" "{tmp_path}/script"\n')
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", str(sbatch.parent), prepend=":")

    def ask(text: str) -> list[str]:
        require_reachable(Backend(slurm=parse_slurm(text)))
        return (tmp_path / "script").read_text(encoding="utf-8").splitlines()

    return ask


@pytest.mark.parametrize(
    ("text", "there", "absent"),
    [
        ("partition=x", ["--mem=8G"], "--gres"),
        ("memory=32GB", ["--mem=30G"], "--gres"),  # GiB
        ("memory=none", [], "--mem"),
        ("mem-per-cpu=4GB,cpus=8", ["--mem-per-cpu=4G", "--cpus-per-task=8"], "--mem="),
        ("gpus=2", ["--gres=gpu:2"], "--exclusive"),
        ("gres=gpu:a100:1", ["--gres=gpu:a100:1"], "--exclusive"),
        ("extra=--gres=gpu:1;--exclusive", ["--gres=gpu:1", "--exclusive"], "--nothing"),
        ("extra=--exclusive,extra=--licenses=a:1", ["--exclusive", "--licenses=a:1"], "--gres"),
    ],
)
def test_what_a_job_asks_for(text: str, there: list[str], absent: str, script) -> None:
    lines = [line.removeprefix("#SBATCH ") for line in script(text) if line.startswith("#SBATCH")]
    assert set(there) <= set(lines)
    assert not [line for line in lines if line.startswith(absent)]
    assert ("--resources GPU=1" in " ".join(script(text))) == has_gpu(parse_slurm(text))


@pytest.mark.parametrize(
    "text",
    [
        "extra=--comment=a\nrm",
        "extra=--comment=$(rm)",
        "extra=--comment=`rm`",
        "extra=--comment='a'",
        'partition=a"b',
        "partition=a;b",
        "account=a#b",
        "qos=a>b",
        "extra=rm",
        "extra=-x",
        "extra=--wrap=rm",
        "extra=--array=1-9",
        "extra=--mem=4G",
        "memory=much",
        "memory=none,mem-per-cpu=none",
        "gpus=1,gres=gpu:1",
        "memory=4GB,mem-per-cpu=1GB",
    ],
)
def test_what_is_no_option_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_slurm(text)


def test_memory_that_is_not_asked_for() -> None:
    assert [asks_for_memory(parse_slurm(t)) for t in ("memory=none", "memory=1GB", "qos=x")] == [False, True, True]


def test_a_scheduler_that_does_not_answer_is_refused_before_scans_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    from uadbench.cli.main import app

    monkeypatch.setattr(backend, "CONNECT_S", 0.5)
    monkeypatch.setenv("UADBENCH_CACHE", str(tmp_path / "cache"))
    run = ["run", "--model", "mean", "--protocol", "smoke", "--output", str(tmp_path / "runs"), "--launcher", "dask"]
    with pytest.raises(InputError, match=r"tcp://127\.0\.0\.1:9"):
        app([*run, "--scheduler", "tcp://127.0.0.1:9"], standalone_mode=False)
    assert not (tmp_path / "cache").exists()
