"""A real Slurm of one node, on this machine, for as long as it is needed.

`python tests/cluster/slurm_node.py COMMAND...` runs a command inside it. Needs Debian's `slurm-wlm` and `munge`;
neither systemd nor a configuration outside the temporary folder.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
START_S = 60
STOP_S = 20
CONFIGURATION = """
ClusterName=uadbench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
ReturnToService=2
KillWait=5
SlurmdParameters=config_overrides
GresTypes=gpu
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=65536 Gres=gpu:2
PartitionName=debug Nodes={host} Default=YES MaxTime=60 State=UP
"""
"""The node says that it has four cores, 64 GiB and two GPUs, so that what a job asks for is granted on any machine."""


class NoSlurm(Exception):
    """Slurm cannot be started here; says what is missing."""


@contextmanager
def slurm_node(start_s: float = START_S) -> Iterator[Path]:
    """A node that is idle and takes jobs in the partition `debug`; yields the folder with its logs.

    `SLURM_CONF` is set meanwhile. Afterwards all jobs are cancelled, the daemons end, and the folder is gone.

    Raises
    ------
    NoSlurm : a program is not installed, or a daemon did not come up within `start_s` seconds
    """
    missing = [program for program in PROGRAMS if _program(program) is None]
    if missing:
        raise NoSlurm(f"not installed: {', '.join(missing)} (Debian: slurm-wlm, munge)")
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)  # munged takes no socket that others cannot reach
    daemons: list[subprocess.Popen[bytes]] = []
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(_configure(folder))
    try:
        _start(folder, daemons, time.monotonic() + start_s)
        yield folder
    finally:
        _stop(daemons)
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before
        shutil.rmtree(folder, ignore_errors=True)


def jobs(*options: str) -> list[str]:
    """The ids of the jobs in the queue, those that are ending too."""
    return _output("squeue", "--noheader", "--format=%i", *options).split()


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _output(name: str, *arguments: str) -> str:
    """What a client of Slurm prints; nothing while the controller does not answer."""
    called = subprocess.run([str(_program(name)), *arguments], capture_output=True, text=True, check=False)
    return called.stdout if called.returncode == 0 else ""


def _configure(folder: Path) -> Path:
    """Write the configuration and the key of this cluster."""
    with socket.socket() as first, socket.socket() as second:
        for free in (first, second):
            free.bind(("127.0.0.1", 0))
        controller_port, node_port = first.getsockname()[1], second.getsockname()[1]
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(0o600)
    key.write_bytes(os.urandom(128))
    host = socket.gethostname().partition(".")[0]
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n", encoding="utf-8")
    configuration = folder / "slurm.conf"
    values = {"controller_port": controller_port, "node_port": node_port, "user": getpass.getuser()}
    configuration.write_text(CONFIGURATION.format(folder=folder, host=host, **values), encoding="utf-8")
    return configuration


def _start(folder: Path, daemons: list[subprocess.Popen[bytes]], until: float) -> None:
    """Start the three daemons, each when the one before it answers."""

    def start(name: str, *options: str) -> None:
        with (folder / f"{name}.log").open("wb") as log:
            daemons.append(subprocess.Popen([str(_program(name)), *options], stdout=log, stderr=log))

    def wait(name: str, ready: Callable[[], bool]) -> None:
        while not ready():
            ended = daemons[-1].poll() is not None
            if ended or time.monotonic() > until:
                said = (folder / f"{name}.log").read_text(errors="replace").strip().splitlines() or ["it said nothing"]
                clue = next((line for line in said if "fatal" in line), said[-1])
                state = _output("sinfo", "--noheader", "--Node", "--format=; the node is %T (%E)").strip()
                what = f"ended with code {daemons[-1].returncode}" if ended else "was not ready in time"
                raise NoSlurm(f"{name} {what}: {clue}{state}")
            time.sleep(0.2)

    munge = [f"--{what}={folder}/munge.{what.partition('-')[0]}" for what in ("socket", "key-file", "pid-file")]
    munge += [f"--log-file={folder}/munged.log", f"--seed-file={folder}/munge.seed"]
    start("munged", "--foreground", "--force", *munge)
    wait("munged", (folder / "munge.socket").exists)
    configuration = str(folder / "slurm.conf")
    start("slurmctld", "-D", "-f", configuration)
    wait("slurmctld", lambda: bool(_output("sinfo", "--noheader")))
    start("slurmd", "-D", "-f", configuration)
    wait("slurmd", lambda: _output("sinfo", "--noheader", "--format=%T").strip() == "idle")


def _stop(daemons: list[subprocess.Popen[bytes]]) -> None:
    """End what still runs in the queue, then the daemons, the last one first."""
    until = time.monotonic() + STOP_S
    if len(daemons) == 3 and (left := jobs()):
        _output("scancel", *left)
        while jobs() and time.monotonic() < until:
            time.sleep(0.2)
    for daemon in reversed(daemons):
        daemon.terminate()
        try:
            daemon.wait(STOP_S)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def main() -> int:
    """Run the command in `sys.argv` inside a Slurm of its own; its exit code, or 3 where there is no Slurm."""
    try:
        with slurm_node():
            return subprocess.run(sys.argv[1:], check=False).returncode
    except NoSlurm as why:
        print(f"skipped, no Slurm: {why}", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
