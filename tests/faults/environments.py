"""`uadbench` as a shell starts it: a process of its own, with the streams and the environment that a test chooses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = f"{sys.executable} -c 'from uadbench.cli.main import main; main()'"
"""For a shell."""


def environment(**changes: str | Path | None) -> dict[str, str]:
    """This process's environment with changes; None removes a variable."""
    changed = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    for name, value in changes.items():
        changed.pop(name, None)
        if value is not None:
            changed[name] = str(value)
    return changed


def in_shell(line: str, folder: Path, before: str = "", **changes: str | Path | None) -> tuple[int, str, str]:
    """Run a line of bash in which `uadbench` is the program, after the words `before`: exit code, stdout, stderr."""
    script = f'set -o pipefail; uadbench() {{ {before}{PROGRAM} "$@"; }}; {line}'
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment(**changes), capture_output=True, check=False
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()
