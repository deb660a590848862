"""Code for a process that is killed at a chosen moment, however busy the machine is."""

from __future__ import annotations

from pathlib import Path


def dies_after(pattern: str, times: int = 1) -> str:
    """Python code: kill -9 as soon as so many files whose path matches the pattern have been put in place."""
    return f"""
import os, signal
from fnmatch import fnmatch
from itertools import count
from pathlib import Path

put, seen = Path.replace, count(1)

def replace(file, target):
    done = put(file, target)
    if fnmatch(str(target), {pattern!r}) and next(seen) >= {times}:
        os.kill(os.getpid(), signal.SIGKILL)
    return done

Path.replace = replace
"""


def dies_at(step: int, log: Path) -> str:
    """Python code: kill -9 at a step of putting files on the disk; 0 for never.

    A step is what comes before an fsync, and before and after a link or a renaming. Each adds a byte to `log`.
    """
    return f"""
import os, signal
from itertools import count

steps, log = count(1), os.open({str(log)!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def tick():
    os.write(log, b".")
    if next(steps) == {step}:
        os.kill(os.getpid(), signal.SIGKILL)

def ticking(work, also_after):
    def ticked(*arguments, **options):
        tick()
        done = work(*arguments, **options)
        if also_after:
            tick()
        return done
    return ticked

for name in ("fsync", "link", "rename", "replace"):
    setattr(os, name, ticking(getattr(os, name), name != "fsync"))
"""
