"""Real processes that are quick to start: a parent that has imported everything forks a child for every command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__)


@dataclass(frozen=True)
class Child:
    """A command under way; what it prints goes into `out` and `err`."""

    nursery: Nursery
    pid: int
    out: Path
    err: Path

    def kill(self) -> None:
        """kill -9, as an operator or a machine that runs out of memory does it."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """The exit code; negative for a signal."""
        return int(self.nursery.ask({"wait": self.pid}))

    def ended(self) -> tuple[int, str, str]:
        """Wait: exit code, stdout, stderr."""
        return self.wait(), self.out.read_text(), self.err.read_text()

    def ends_within(self, seconds: float) -> bool:
        """Whether it ends by itself before so many seconds have passed."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if (Path("/proc") / str(self.pid) / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
            time.sleep(0.002)
        return False


class Nursery:
    """The parent, as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.born = 0

    def __enter__(self) -> Nursery:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parents[2]), *filter(None, sys.path)])}
        self.parent = subprocess.Popen(
            [sys.executable, str(HERE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.parent.communicate()

    def start(self, *arguments: str | Path, before: str = "", **environment: str | Path) -> Child:
        """`uadbench ARGUMENTS` in a process of its own, after the Python code `before`."""
        self.born += 1
        out, err = (self.folder / f"{self.born}.{kind}" for kind in ("out", "err"))
        for file in (out, err):
            file.touch()  # the child may be killed before it opens them
        order = {"arguments": [str(each) for each in arguments], "before": before, "out": str(out), "err": str(err)}
        pid = self.ask(order | {"environment": {name: str(value) for name, value in environment.items()}})
        return Child(self, int(pid), out, err)

    def ask(self, order: dict[str, Any]) -> str:
        assert self.parent.stdin is not None and self.parent.stdout is not None
        self.parent.stdin.write(json.dumps(order) + "\n")
        self.parent.stdin.flush()
        return self.parent.stdout.readline()


def serve() -> None:
    """Fork children as they are asked for. Nothing is computed here: a fork copies no other thread than this."""
    import matplotlib.pyplot  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import safetensors.torch  # noqa: F401

    import uadbench.cli.main
    import uadbench.cli.tables
    import uadbench.cli.verdicts
    import uadbench.cohorts.card.card
    import uadbench.cohorts.checks.cohort
    import uadbench.cohorts.io.export
    import uadbench.exchange.export
    import uadbench.exchange.scoring
    import uadbench.launch.local
    import uadbench.leaderboard.committing
    import uadbench.leaderboard.verifying
    import uadbench.models.mean
    import uadbench.models.vae3d
    import uadbench.report.forest
    import uadbench.report.lineup
    import uadbench.report.page
    import uadbench.report.portrait
    import uadbench.results.compare
    import uadbench.simulation.files  # noqa: F401

    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            print(os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1]), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            be_born(order)
        print(pid, flush=True)


def be_born(order: dict[str, Any]) -> None:
    """What a child does; it does not return."""
    from uadbench.cli.main import main

    code = 1
    try:
        for descriptor, name in ((0, os.devnull), (1, order["out"]), (2, order["err"])):
            opened = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            os.dup2(opened, descriptor)
        os.environ.update(order["environment"])
        exec(order["before"], {})
        main(order["arguments"])
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
