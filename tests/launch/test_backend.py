"""Which workers are started, and what is refused before anything is."""

from __future__ import annotations

from pathlib import Path

import pytest

from uadbench.cli.main import app
from uadbench.errors import InputError
from uadbench.launch import backend
from uadbench.launch.backend import Backend, threads_of, workers_of
from uadbench.launch.slurm import parse_slurm
from uadbench.runtime.progress import Silent


def test_options_of_a_job() -> None:
    assert parse_slurm("partition=gpu, gpus=1,time=4h") == {"partition": "gpu", "gpus": "1", "time": "4h"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpu", "'gpu' is not KEY=VALUE; example: partition=gpu,gpus=1,time=4h"),
        ("partion=gpu", "unknown option 'partion'; did you mean 'partition'?"),
        ("gpus=one", "gpus must be a number, not 'one'"),
        ("time=4", "give a time such as 90s"),
        ("partition=gpu --wrap=x", "contains a space"),
        ("", "'' is not KEY=VALUE"),
    ],
)
def test_what_is_no_option_of_a_job(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_slurm(text)
    assert message in str(caught.value)


def test_times_as_sbatch_reads_them() -> None:
    assert [backend._clock_time(s) for s in (90, 4 * 3600, 2.5 * 86400)] == ["00:01:30", "04:00:00", "60:00:00"]


def test_threads_and_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_cores", lambda: 8)
    assert (workers_of(Backend()), threads_of(Backend())) == (8, 1)
    assert (workers_of(Backend(workers=2)), threads_of(Backend(workers=2))) == (2, 4)
    assert (workers_of(Backend(gpus=4)), threads_of(Backend(gpus=4))) == (4, 2)
    assert threads_of(Backend(workers=2, threads=3)) == 3
    assert (workers_of(Backend(slurm={"cpus": "6"})), threads_of(Backend(slurm={"cpus": "6"}))) == (1, 6)
    assert threads_of(Backend(scheduler="tcp://x:1")) is None, "whoever started those workers knows better"


def test_each_worker_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert backend._visible(3) == ["0", "1", "2"] and backend._visible(0) == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-7")
    assert backend._visible(2) == ["4", "GPU-7"]


def test_no_slurm_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(InputError, match="sbatch not found"),
        backend.connected(Backend(slurm={"partition": "gpu"}), 1, tmp_path, Silent()),
    ):
        pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "2"], "--workers 2: only valid with --launcher dask"),
        (["--slurm", "partition=x"], "--slurm partition=x: only valid with --launcher dask"),
        (["--launcher", "ray"], "--launcher ray: give local or dask"),
        (["--launcher", "dask", "--scheduler", "tcp://a:1", "--workers", "2"], "has its own workers"),
        (["--launcher", "dask", "--slurm", "gpus=x"], "gpus must be a number"),
        (["--time-limit", "soon"], "--time-limit soon: give a time"),
    ],
)
def test_what_does_not_belong_together(options: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        app(["run", "--model", "mean", "--output", str(tmp_path), *options], standalone_mode=False)
    assert message in str(caught.value) and not list(tmp_path.iterdir())


def test_without_dask_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'uadbench\[cluster\]'"):
        backend.require_dask()
